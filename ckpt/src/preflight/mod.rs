//! What stands in the way of starting an image on a machine, all of it, before anything is started.
//!
//! Invariant: [`preflight`] is pure: facts about the machine come in ([`Host`]), findings go out, each
//! with what to do. Called before a restart, and by `chameleon images inspect`.

mod address;
mod host;

use std::borrow::Cow;
use std::collections::BTreeSet;

pub use address::{Address, Port};
pub use host::{FileFacts, Host, PortState};

use crate::image::{
    Backing, FileId, Image, Listen, MappedFile, OpenKind, Process, Regular, SharedKind,
};

/// The first kernel that `chameleon run` works on (`chameleon doctor`).
pub const FIRST_KERNEL: (u32, u32) = (6, 6);

/// Whether a finding stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The image cannot be started so.
    Obstacle,
    /// It can, but something will be different.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it stands in the way.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// What a program can use without asking the kernel, by the names of proc_cpuinfo(5): a program that
/// has seen one of these at its start will go on to use it. All other flags concern the kernel.
const FEATURES: &[&str] = &[
    "3dnow",
    "3dnowext",
    "abm",
    "adx",
    "aes",
    "amx_bf16",
    "amx_complex",
    "amx_fp16",
    "amx_int8",
    "amx_tile",
    "avx",
    "avx10_1",
    "avx10_2",
    "avx2",
    "avx512_4fmaps",
    "avx512_4vnniw",
    "avx512_bf16",
    "avx512_bitalg",
    "avx512_fp16",
    "avx512_vbmi2",
    "avx512_vnni",
    "avx512_vp2intersect",
    "avx512_vpopcntdq",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512er",
    "avx512f",
    "avx512ifma",
    "avx512pf",
    "avx512vbmi",
    "avx512vl",
    "avx_ifma",
    "avx_ne_convert",
    "avx_vnni",
    "avx_vnni_int16",
    "avx_vnni_int8",
    "bmi1",
    "bmi2",
    "cldemote",
    "clflush",
    "clflushopt",
    "clwb",
    "clzero",
    "cmov",
    "cmpccxadd",
    "cx16",
    "cx8",
    "enqcmd",
    "erms",
    "f16c",
    "fma",
    "fma4",
    "fpu",
    "fsgsbase",
    "fsrm",
    "fxsr",
    "gfni",
    "lahf_lm",
    "lwp",
    "misalignsse",
    "mmx",
    "mmxext",
    "movbe",
    "movdir64b",
    "movdiri",
    "ospke",
    "pclmulqdq",
    "pni",
    "popcnt",
    "prefetchi",
    "rdpid",
    "rdrand",
    "rdseed",
    "rdtscp",
    "rtm",
    "serialize",
    "sha512",
    "sha_ni",
    "sm3",
    "sm4",
    "sse",
    "sse2",
    "sse4_1",
    "sse4_2",
    "sse4a",
    "ssse3",
    "tbm",
    "tsc",
    "user_shstk",
    "vaes",
    "vpclmulqdq",
    "waitpkg",
    "wbnoinvd",
    "xgetbv1",
    "xop",
    "xsave",
    "xsavec",
    "xsaveopt",
];

/// Everything found about starting `image` on `host`; obstacles first.
pub fn preflight(image: &Image, host: &Host) -> Vec<Finding> {
    let mut check = Check { host, found: Vec::new(), seen: BTreeSet::new() };
    check.machine(image);
    for process in image.processes.iter().filter(|process| process.ended.is_none()) {
        check.process(process);
    }
    for object in &image.shared {
        if let SharedKind::File(file) = &object.kind {
            check.shared_file(file);
        }
    }
    for open in &image.files {
        check.open(&open.kind);
    }
    for conflict in &host.locks {
        check.stop(conflict.to_string(), "end whoever has it, or wait until it has given it up");
    }
    let mut found = check.found;
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Whether nothing stands in the way.
pub fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Note)
}

struct Check<'a> {
    host: &'a Host,
    found: Vec<Finding>,
    /// What was looked at already: a library is mapped by every process, in several ranges.
    seen: BTreeSet<(&'static str, Vec<u8>)>,
}

impl Check<'_> {
    fn stop(&mut self, what: String, advice: impl Into<String>) {
        self.found.push(Finding { severity: Severity::Obstacle, what, advice: advice.into() });
    }

    fn note(&mut self, what: String, advice: impl Into<String>) {
        self.found.push(Finding { severity: Severity::Note, what, advice: advice.into() });
    }

    fn first(&mut self, kind: &'static str, name: &[u8]) -> bool {
        self.seen.insert((kind, name.to_vec()))
    }

    fn machine(&mut self, image: &Image) {
        let (then, now) = (&image.machine, &self.host.machine);
        if then.arch != now.arch {
            let what = format!("the image is of a {} machine, this is {}", then.arch, now.arch);
            self.stop(what, format!("start it on a {} machine", then.arch));
        }
        if then.page_size != now.page_size {
            let what =
                format!("pages had {} bytes, here they have {}", then.page_size, now.page_size);
            self.stop(what, "start it under a kernel with pages of the same size");
        }
        let here: BTreeSet<&str> = now.cpu_features.iter().map(String::as_str).collect();
        let had = then.cpu_features.iter().map(String::as_str);
        let missing: Vec<&str> =
            had.filter(|f| FEATURES.contains(f) && !here.contains(f)).collect();
        if !missing.is_empty() {
            let what = format!("this CPU ({}) lacks {}", now.cpu_model, missing.join(", "));
            let advice = format!("start it on a CPU that has them, such as {}", then.cpu_model);
            self.stop(what, advice);
        } else if (&then.cpu_vendor, &then.cpu_model) != (&now.cpu_vendor, &now.cpu_model) {
            let what = format!("the CPU was {}, here it is {}", then.cpu_model, now.cpu_model);
            self.note(what, "nothing; it has all that the other had");
        }
        let (first, second) = FIRST_KERNEL;
        match (release(&now.kernel), release(&then.kernel)) {
            (Some(here), _) if here < FIRST_KERNEL => self.stop(
                format!("the kernel is {}", now.kernel),
                format!("Linux {first}.{second} or newer is needed"),
            ),
            (Some(here), Some(there)) if here < there => self.note(
                format!("the kernel was {}, here it is the older {}", then.kernel, now.kernel),
                "if a call fails that did not, start it on the newer one",
            ),
            _ => {}
        }
    }

    fn process(&mut self, process: &Process) {
        let pid = process.pid;
        let who = &process.credentials;
        let host = self.host;
        let foreign = who.uids.iter().find(|uid| **uid != host.uid);
        let group = who.gids.iter().find(|gid| **gid != host.gid && !host.groups.contains(gid));
        if let (Some(uid), false) = (foreign, host.may_be_anyone) {
            let what = format!("process {pid} ran as user {uid}, this is user {}", host.uid);
            self.stop(what, format!("start it as user {uid} or as root"));
        } else if let (Some(gid), false) = (group, host.may_be_anyone) {
            let what = format!("process {pid} ran with group {gid}, which you are not in");
            self.stop(what, "start it as the user who ran it, or as root");
        }
        for (what, path) in [("working directory", &process.cwd), ("root", &process.root)] {
            self.there(what, path, "make it again");
        }
        for range in &process.memory.ranges {
            if let Backing::File { file, .. } = &range.backing {
                self.mapped(file);
            }
        }
    }

    /// Something that only has to be there.
    fn there(&mut self, what: &'static str, path: &[u8], advice: &str) {
        if path.is_empty() || !self.first(what, path) {
            return;
        }
        match self.host.file(path) {
            FileFacts::Missing => self.stop(format!("{what} {}: not there", text(path)), advice),
            FileFacts::Unknown(error) => {
                self.stop(format!("{what} {}: {error}", text(path)), "give yourself the right");
            }
            FileFacts::Found { .. } => {}
        }
    }

    /// A file whose pages are not in the image: it has to be what it was.
    fn mapped(&mut self, file: &MappedFile) {
        let path = &file.path;
        if !self.first("mapped", path) {
            return;
        }
        let FileFacts::Found { id, size, mtime_ns } = *self.host.file(path) else {
            return self.there("mapped file", path, "put back the version it was started with");
        };
        let name = text(path);
        let advice = "put back the version it was started with, with its time (cp -p)";
        if size != file.size {
            let what = format!("mapped file {name}: it had {} bytes, now {size}", file.size);
            self.stop(what, advice);
        } else if mtime_ns != file.mtime_ns {
            self.stop(format!("mapped file {name}: it was changed since"), advice);
        } else if id != file.id {
            let what =
                format!("mapped file {name}: it is another inode, of the same size and time");
            self.note(what, "nothing, if it is a copy");
        }
    }

    /// A file that the program shares with others: its bytes may have changed, that is its purpose.
    fn shared_file(&mut self, file: &MappedFile) {
        match *self.host.file(&file.path) {
            FileFacts::Found { size, .. } if size < file.size => {
                let name = text(&file.path);
                let what = format!("shared file {name}: it had {} bytes, now {size}", file.size);
                self.stop(what, "put the file of the program's back");
            }
            FileFacts::Found { .. } => {}
            _ => self.there("shared file", &file.path, "put the file of the program's back"),
        }
    }

    fn open(&mut self, kind: &OpenKind) {
        match kind {
            OpenKind::Regular(file) => self.regular(file),
            OpenKind::Directory { path, .. } => {
                self.there("open directory", path, "make it again");
            }
            OpenKind::Device { path, controlling: false, .. } => {
                self.there("open device", path, "make it available");
            }
            OpenKind::Pipe(end) => match &end.path {
                Some(path) => self.there("FIFO", path, "make it again (mkfifo)"),
                None if end.outward => self.note(
                    "a pipe led out of the program".to_string(),
                    "nothing: the restarted program gets the descriptor of its restart there",
                ),
                None => {}
            },
            OpenKind::Listening(listen) => self.socket(listen),
            OpenKind::Connected { peer, .. } => {
                let peer = Address::read(peer).map_or("a peer".to_string(), |at| at.to_string());
                let what = format!("the connection with {peer} is gone");
                self.note(what, "nothing; the program sees it reset");
            }
            OpenKind::Inotify { watches } if !watches.is_empty() => {
                let what = "the program watches files (inotify)".to_string();
                self.note(what, "nothing; what happened to them meanwhile it does not hear of");
            }
            OpenKind::Other(name) => self.stop(
                format!("the program has {name} open, which cannot be opened again"),
                "restore an image of a time when it had not (--at)",
            ),
            _ => {}
        }
    }

    fn regular(&mut self, file: &Regular) {
        if file.unlinked {
            return;
        }
        let name = text(&file.path);
        let FileFacts::Found { id, size, .. } = *self.host.file(&file.path) else {
            return self.there("open file", &file.path, "put it back");
        };
        if !file.writable {
            if id != file.id || size != file.size {
                let what = format!("open file {name}: it is not what it was");
                self.note(what, "put it back, if the program must read on where it was");
            }
            return;
        }
        if id != file.id {
            let what = format!("open file {name}: another file has its name, and it is written to");
            self.stop(what, "put the file of the program's back");
        } else if size < file.size && !self.host.can_be_rolled_back(id, file.size) {
            let what = format!(
                "open file {name}: it had {} bytes, now {size}, and the bytes are in no undo log",
                file.size
            );
            self.stop(what, "put the file of the program's back");
        }
    }

    fn socket(&mut self, listen: &Listen) {
        let port = Port::of(listen);
        if listen.lost {
            let at = port.as_ref().map_or("a socket".to_owned(), ToString::to_string);
            let what = format!("datagrams that had come to {at} and were not read are lost");
            self.note(what, "nothing, as of those that are lost on their way");
        }
        match (port, &listen.peer) {
            // Without its port it is as one whose peer is gone.
            (Some(port), Some(peer)) if *self.host.port(&port) != PortState::Free => {
                let peer = Address::read(peer).map_or("a peer".to_string(), |at| at.to_string());
                let what = format!("{port} cannot be had, with which datagrams went to {peer}");
                self.note(what, "nothing; the program sees that as a connection that is reset");
            }
            (Some(port), _) => self.port(&port),
            (None, _) => {}
        }
    }

    fn port(&mut self, port: &Port) {
        if !self.first("port", port.to_string().as_bytes()) {
            return;
        }
        match self.host.port(port) {
            PortState::Free => {}
            PortState::Taken => {
                let advice = "end whoever has it (ss -lp), or wait until it has ended";
                self.stop(format!("{port} is taken"), advice);
            }
            PortState::Refused(error) => {
                let advice = "the address has to be one of this machine's, and a port below 1024 \
                              needs root";
                self.stop(format!("{port} cannot be had: {error}"), advice);
            }
        }
    }
}

/// Major and minor of a release such as `6.18.3-amd64`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn text(path: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(path)
}

/// Every path that a preflight asks about.
fn paths(image: &Image) -> BTreeSet<&[u8]> {
    let mut all: BTreeSet<&[u8]> = BTreeSet::new();
    for process in &image.processes {
        all.extend([process.cwd.as_slice(), &process.root]);
        for range in &process.memory.ranges {
            if let Backing::File { file, .. } = &range.backing {
                all.insert(&file.path);
            }
        }
    }
    all.extend(image.shared.iter().filter_map(|object| match &object.kind {
        SharedKind::File(file) => Some(file.path.as_slice()),
        _ => None,
    }));
    all.extend(image.files.iter().filter_map(|open| match &open.kind {
        OpenKind::Regular(Regular { path, unlinked: false, .. })
        | OpenKind::Directory { path, .. }
        | OpenKind::Device { path, .. } => Some(path.as_slice()),
        OpenKind::Pipe(end) => end.path.as_deref(),
        _ => None,
    }));
    all
}

/// Every port that a preflight asks about.
fn ports(image: &Image) -> BTreeSet<Port> {
    let all = image.files.iter().filter_map(|open| match &open.kind {
        OpenKind::Listening(listen) => Port::of(listen),
        _ => None,
    });
    all.collect()
}

/// Sizes that undo logs restore, by file.
pub type Sizes = std::collections::BTreeMap<FileId, u64>;

#[cfg(test)]
mod tests;
