//! Where a run with images takes place: its directory, its programs, its death.
//!
//! Invariant: what it starts it ends, by pid, and its files go with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use chameleon_tests::{Dice, chameleon, guest, output, python, until};
use nix::unistd::{Uid, chown};
use serde_json::Value;

/// While there is no such file, the programs here pause now and then, so that there is time to kill them.
const HURRY: &str = "hurry";

/// A program that writes a line now and then.
pub(crate) const LINES: &str = "
import os, time
f = open('out', 'w')
for i in range(80):
    f.write('line %d %d\\n' % (i, i * i)); f.flush()
    if not os.path.exists('hurry'): time.sleep(0.03)
f.write('done\\n')
";

/// One that overwrites, renames, removes and cuts files.
pub(crate) const CHANGES: &str = "
import time, os
f = open('out', 'r+b')
for i in range(60):
    f.seek((i * 7919) % 60000); f.write(b'%06d' % i * 20); f.flush()
    if not os.path.exists('hurry'): time.sleep(0.03)
    if i % 10 == 3:
        open('new', 'w').write('x%d' % i); os.rename('new', 'name')
    if i % 10 == 7:
        os.unlink('name')
f.truncate(50000)
open('name', 'w').write('end')
";

/// One that has a file open which it then renames by another path, as sed(1) does with -i, between children.
pub(crate) const MOVES: &str = "
import os, subprocess, time
for i in range(30):
    f = open('new', 'w')
    for j in range(4):
        f.write('%d %d\\n' % (i, j)); f.flush()
        if not os.path.exists('hurry'): time.sleep(0.02)
    os.makedirs('d', exist_ok=True)
    os.rename('./d/../new', './name')
    f.write('end\\n'); f.close()
";

/// One that makes and removes directories, links and FIFOs.
pub(crate) const TREES: &str = "
import os, shutil, time
f = open('out', 'w')
def pause():
    if not os.path.exists('hurry'): time.sleep(0.01)
for i in range(200):
    d = 'd%d' % (i % 3)
    if i >= 3: shutil.rmtree(d)
    pause()
    os.mkdir(d); os.mkdir(d + '/sub', 0o700)
    open(d + '/sub/file', 'w').write('%d' % i)
    pause()
    os.symlink('sub/file', d + '/link'); os.link(d + '/sub/file', d + '/other'); os.mkfifo(d + '/fifo')
    pause()
    f.write('%d %s %s\\n' % (i, sorted(os.listdir(d)), open(d + '/link').read())); f.flush()
    os.rename(d + '/sub', d + '/moved'); os.unlink(d + '/link'); os.symlink('moved', d + '/link')
    f.write('%o %s\\n' % (os.stat(d + '/moved').st_mode, sorted(os.listdir(d + '/link')))); f.flush()
";

/// One that computes for long and makes no call meanwhile.
pub(crate) const COMPUTES: &str = "
f = open('out', 'w')
n = 1
for i in range(12):
    for j in range(1000000):
        n = (n * 48271 + j) % 2147483647
    f.write('%d %d\\n' % (i, n)); f.flush()
";

/// One with a pipe of its own, a timer, a handler, an epoll, duplicates, and a file without a name.
pub(crate) const KINDS: &str = "
import os, signal, tempfile, select
r, w = os.pipe()
def tick(s, f): os.write(w, b't')
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
t = tempfile.TemporaryFile(dir='.')
o = os.open('out', os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
p = os.dup(o)
e = select.epoll()
e.register(r, select.EPOLLIN)
for i in range(100):
    while not e.poll(1): pass
    os.read(r, 1)
    t.write(b'%d,' % i); t.flush()
    os.write(o if i % 2 else p, b'%d\\n' % i)
signal.setitimer(signal.ITIMER_REAL, 0)
t.seek(0)
os.write(o, t.read())
";

pub(crate) const SERVER: &str = "
import socket, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 0)); s.listen(5)
f = open('port', 'w'); f.write('%d\\n' % s.getsockname()[1]); f.close()
s.settimeout(0.05)
n = 0
while True:
    n += 1
    try:
        c, _ = s.accept()
    except TimeoutError:
        continue
    c.sendall(b'turn %d\\n' % n); c.close()
";

pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) binary: PathBuf,
    pub(crate) prefix: Vec<String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("images-").tempdir();
        let directory = directory.expect("a temporary directory can be made");
        Self { directory, binary: chameleon().to_owned(), prefix: Vec::new() }
    }

    /// The same for a user without privileges, if the caller is root.
    pub(crate) fn of_nobody() -> Self {
        let mut place = Self::new();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        if Uid::effective().is_root() {
            place.binary = place.path().join("chameleon");
            fs::copy(chameleon(), &place.binary).expect("the file can be copied");
            chown(place.path(), Some(65534.into()), Some(65534.into())).expect("an owner");
            let words = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
                         --bounding-set=-all --no-new-privs --";
            place.prefix = words.split_whitespace().map(str::to_owned).collect();
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn script(&self, text: &str) -> Vec<String> {
        fs::write(self.path().join("script.py"), text).expect("a file can be written");
        vec![python().to_owned(), "script.py".to_owned()]
    }

    pub(crate) fn shell(&self, text: &str) -> Vec<String> {
        fs::write(self.path().join("script.sh"), text).expect("a file can be written");
        vec!["sh".to_owned(), "script.sh".to_owned()]
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let binary = self.binary.display().to_string();
        let mut all =
            self.prefix.iter().map(String::as_str).chain([&*binary]).chain(words.to_vec());
        let mut command = Command::new(all.next().expect("there is a program"));
        command.args(all).current_dir(self.path()).env("XDG_RUNTIME_DIR", self.path());
        command.stdin(Stdio::null());
        command
    }

    /// Starts a program that writes images.
    pub(crate) fn run(&self, mode: &str, words: &[String]) -> Run<'_> {
        self.run_every(mode, "100ms", words)
    }

    /// The same as often as `cadence` says.
    pub(crate) fn run_every(&self, mode: &str, cadence: &str, words: &[String]) -> Run<'_> {
        let _ = fs::remove_file(self.path().join(HURRY));
        let cadence = ["--checkpoint", cadence, "--checkpoint-dir", "ckpt"];
        let mut all = vec!["run", "--mode", mode, "--report", "report"];
        all.extend(cadence.iter().chain(&["--"]));
        all.extend(words.iter().map(String::as_str));
        let mut command = self.command(&all);
        let error = fs::File::create(self.path().join("said")).expect("a file can be made");
        if !self.prefix.is_empty() {
            let said = self.path().join("said");
            chown(&said, Some(65534.into()), Some(65534.into())).expect("an owner");
        }
        command.stdout(Stdio::null()).stderr(error);
        Run { place: self, child: command.spawn().expect("it starts") }
    }

    /// It goes on from the newest image.
    pub(crate) fn restoring(&self) -> Run<'_> {
        let mut command = self.command(&["restore", "ckpt", "--report", "report"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Run { place: self, child: command.spawn().expect("it starts") }
    }

    /// A guest that changes its memory in every way, and its input: `turns`, and whether it executes itself.
    pub(crate) fn dirties(&self, turns: u32, execs: bool) -> Vec<String> {
        let mut dice = Dice::new(1);
        let input: Vec<u8> = (0..65536).map(|_| dice.below(256) as u8).collect();
        fs::write(self.path().join("input"), input).expect("a file can be written");
        // Where an ordinary user can execute it.
        let copy = self.path().join("dirties");
        fs::copy(guest("dirties"), &copy).expect("the guest can be copied");
        let execs = u8::from(execs).to_string();
        vec![copy.display().to_string(), turns.to_string(), execs]
    }

    /// What the report says of images, a value each.
    pub(crate) fn written(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("report")).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|event| event["event"] == "image" && event["error"].is_null()).collect()
    }

    /// What it does natively, in a directory of its own; the file `out` there.
    pub(crate) fn natively(&self, words: &[String], files: &[&str]) -> Vec<Option<Vec<u8>>> {
        let native = Place::new();
        for entry in fs::read_dir(self.path()).expect("a directory").flatten() {
            if entry.path().is_file() {
                let to = native.path().join(entry.file_name());
                fs::copy(entry.path(), to).expect("the file can be copied");
            }
        }
        native.hurry();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(native.path());
        let said = output(command);
        assert!(said.status.success(), "{said:?}");
        native.files(files)
    }

    pub(crate) fn files(&self, files: &[&str]) -> Vec<Option<Vec<u8>>> {
        files.iter().map(|name| fs::read(self.path().join(name)).ok()).collect()
    }

    /// The numbers of the images, the oldest first.
    pub(crate) fn images(&self) -> Vec<u64> {
        let list = fs::read_dir(self.path().join("ckpt/images")).into_iter().flatten().flatten();
        let mut found: Vec<u64> =
            list.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        found.sort_unstable();
        found
    }

    /// Nobody is to be killed any more: the program goes on without pauses.
    pub(crate) fn hurry(&self) {
        fs::write(self.path().join(HURRY), b"").expect("a file can be written");
    }

    pub(crate) fn restore(&self, words: &[&str]) -> Output {
        let all: Vec<&str> = ["restore", "ckpt"].iter().chain(words).copied().collect();
        output(self.command(&all))
    }

    /// Starts a restart that goes on writing images.
    pub(crate) fn restarts(&self, words: &[&str]) -> Run<'_> {
        let all: Vec<&str> = ["restore", "ckpt"].iter().chain(words).copied().collect();
        let mut command = self.command(&all);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Run { place: self, child: command.spawn().expect("it starts") }
    }

    /// It goes on from an image to its end.
    #[track_caller]
    pub(crate) fn restores(&self, words: &[&str]) {
        self.hurry();
        let said = self.restore(words);
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// It is refused, in lines that contain these words.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &[&str], why: &[&str]) {
        let said = self.restore(words);
        let text = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(125), "{text}");
        assert!(text.lines().all(|line| line.starts_with("chameleon: ")), "{text}");
        for word in why {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
    }

    /// What is said of the newest image, if there is one.
    pub(crate) fn inspected(&self) -> String {
        let said = output(self.command(&["images", "inspect", "ckpt", "--json"]));
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// Removes all images; a writer that is just ending may still add to them.
    pub(crate) fn forget_images(&self) {
        let images = self.path().join("ckpt");
        let gone = until(|| fs::remove_dir_all(&images).is_ok() || !images.exists());
        assert!(gone, "the images can be removed");
    }

    /// The processes of the runs that took place here.
    fn processes(&self) -> Vec<u32> {
        let mark = format!("XDG_RUNTIME_DIR={}", self.path().display()).into_bytes();
        let ours = |pid: &u32| {
            let all = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            all.split(|byte| *byte == 0).any(|one| one == mark)
        };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(ours).collect()
    }

    /// Whether there is one.
    pub(crate) fn is_busy(&self) -> bool {
        !self.processes().is_empty()
    }

    /// Kills every process of the runs that took place here, until there is none.
    pub(crate) fn kill_all(&self) {
        until(|| {
            let found = self.processes();
            let none = found.is_empty();
            for pid in found {
                let pid = nix::unistd::Pid::from_raw(pid as i32);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            none
        });
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Kills the process that writes an image for the run of `root`; false if there is none.
pub(crate) fn kill_writer(root: u32) -> bool {
    kill_named(root, "chameleon: CHEC")
}

/// Kills a process of the run of `root` whose name begins so; false if there is none.
pub(crate) fn kill_named(root: u32, what: &str) -> bool {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let writers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in writers {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.starts_with(what) && belongs(pid, root) {
            let pid = nix::unistd::Pid::from_raw(pid as i32);
            return nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok();
        }
    }
    false
}

/// Whether a process is of the run of `root`: its environment is that of the command that was started.
fn belongs(pid: u32, root: u32) -> bool {
    let of = |pid: u32| fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let runtime = |bytes: Vec<u8>| {
        let mut all = bytes.split(|byte| *byte == 0);
        all.find(|one| one.starts_with(b"XDG_RUNTIME_DIR=")).map(<[u8]>::to_vec)
    };
    runtime(of(pid)).is_some() && runtime(of(pid)) == runtime(of(root))
}

/// A run under way; killed at the end of the test at the latest.
pub(crate) struct Run<'a> {
    pub(crate) place: &'a Place,
    pub(crate) child: Child,
}

impl Run<'_> {
    pub(crate) fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills all processes of it once there are `images` and the program is not at its end.
    #[track_caller]
    pub(crate) fn kill_all_after(self, images: u64) {
        let place = self.place;
        self.stop_after(images, |_| place.kill_all());
    }

    /// The same, once there are so many more images than when a file was there.
    #[track_caller]
    pub(crate) fn kill_all_after_file(mut self, name: &str, images: u64) {
        let file = self.place.path().join(name);
        let there = until(|| file.exists() || self.is_over());
        assert!(there && !self.is_over(), "no {name}: {}", self.place.said());
        let first = self.place.images().last().copied().unwrap_or(0);
        self.kill_all_after(first + images);
    }

    /// Kills all processes of it.
    pub(crate) fn kill_all(self) {
        self.place.kill_all();
    }

    /// Kills it once there are `images` and the program is not at its end.
    #[track_caller]
    pub(crate) fn kill_after(self, images: u64) {
        self.stop_after(images, drop);
    }

    #[track_caller]
    fn stop_after(mut self, images: u64, stop: impl FnOnce(Self)) {
        let there = until(|| {
            self.place.images().last().is_some_and(|last| *last >= images) || self.is_over()
        });
        assert!(there && !self.is_over(), "no {images} images: {}", self.place.said());
        stop(self);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
