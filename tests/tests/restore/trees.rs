//! Programs of several processes: everything is killed in the midst of it, and what goes on from the newest
//! image ends as the program ends natively.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use chameleon_tests::{have, until};
use nix::unistd::Uid;

use crate::place::{Place, Run};

/// Four programs and one that is slow.
const PIPELINE: &str = "
{ i=0; while [ $i -lt 100 ]; do echo line $i $((i * 7919 % 1000)); i=$((i + 1)); [ -e hurry ] || sleep 0.02; done; } |
    cat | tr a-z A-Z | sort -k 3 | gzip -nc > out
";

/// Jobs in the background, one of which has ended long before it is waited for, and the shell's own number.
const JOBS: &str = "
for j in 1 2 3; do
    ( i=0; while [ $i -lt 40 ]; do echo $j $i >> part$j; i=$((i + 1)); [ -e hurry ] || sleep 0.03; done; exit $j ) &
    eval p$j=$!
done
( exit 7 ) & ended=$!
i=0; while [ $i -lt 15 ]; do i=$((i + 1)); [ -e hurry ] || sleep 0.1; done
wait $ended; echo ended $? > sum
for j in 3 1 2; do eval wait \\$p$j; echo $j $? >> sum; done
kill -0 $$ && echo alive >> sum
cat sum part1 part2 part3 > out
";

/// A parent that sends faster than its children read, by a pair of sockets and by a pipe.
const CHILDREN: &str = "
import hashlib, os, socket, time
a, b = socket.socketpair()
r, w = os.pipe()
back, answer = os.pipe()
parent, pids = os.getpid(), []
for k in range(2):
    pid = os.fork()
    if pid == 0:
        a.close(); os.close(back); os.close(w)
        h, n = hashlib.sha256(), 0
        while True:
            d = b.recv(7000) if k == 0 else os.read(r, 3333)
            if not d: break
            h.update(d); n += len(d)
            if not os.path.exists('hurry'): time.sleep(0.005)
        ok = os.getppid() == parent
        os.write(answer, b'%d %d %s %d\\n' % (k, n, h.hexdigest().encode(), ok))
        os._exit(k + 3)
    pids.append(pid)
b.close(); os.close(r); os.close(answer)
for i in range(60):
    a.sendall(bytes([i]) * 20000)
    at = memoryview(bytes([i]) * 10000)
    assert os.write(w, at) == 10000
a.shutdown(socket.SHUT_WR); os.close(w)
said = b''
while True:
    d = os.read(back, 100)
    if not d: break
    said += d
ended = {pids.index(pid): status for pid, status in (os.wait(), os.wait())}
assert os.getpid() == parent
with open('out', 'w') as out:
    for line in sorted(said.decode().splitlines()): print(line, file=out)
    print(sorted(ended.items()), file=out)
";

/// Open files that nobody has while they are on their way: in a stream amid bytes, in messages, and a socket in
/// another that lies in it.
const ON_THEIR_WAY: &str = "
import os, socket, time
def tell(s, data, fds): assert socket.send_fds(s, [data], fds) == len(data)
a, b = socket.socketpair()
c, d = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
e, f = socket.socketpair()
r, w = os.pipe()
out = os.open('out', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(out, b'first ')
os.write(w, b'in the pipe')
pid = os.fork()
if pid == 0:
    a.close(); c.close(); e.close(); f.close(); os.close(r); os.close(w); os.close(out)
    for i in range(60): time.sleep(0.02)
    assert b.recv(3) == b'abc'
    data, (p, q), _, _ = socket.recv_fds(b, 100, 5)
    assert data == b'with', data
    assert os.read(p, 100) == b'in the pipe'
    assert b.recv(100) == b'behind'
    data, (s,), _, _ = socket.recv_fds(d, 100, 5)
    assert data == b'm1' and d.recv(100) == b'm2'
    s = socket.socket(fileno=s)
    data, (o,), _, _ = socket.recv_fds(s, 100, 5)
    os.lseek(o, 0, os.SEEK_CUR)
    os.write(o, data)
    os.write(q, b'back'); os.close(q)
    os.write(o, os.read(p, 100)); assert os.read(p, 100) == b''
    os._exit(5)
a.sendall(b'abc'); tell(a, b'with', [r, w]); a.sendall(b'behind')
tell(e, b' second ', [out])
tell(c, b'm1', [f.fileno()]); c.sendall(b'm2')
for fd in (r, w, out): os.close(fd)
b.close(); d.close(); f.close()
assert os.waitpid(pid, 0)[1] == 5 << 8
";

/// A child with a timer, which its parent has not.
const TICKING: &str = "
import os, signal
pid = os.fork()
if pid == 0:
    ticks, out = [], open('out', 'w')
    signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
    for i in range(100):
        while len(ticks) <= i: signal.pause()
        print('tick', i, file=out, flush=True)
    os._exit(3)
assert os.waitpid(pid, 0) == (pid, 3 << 8)
";

/// A server with a process for each connection.
const SERVER: &str = "
import os, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 0)); s.listen(5)
with open('port', 'w') as f: f.write('%d\\n' % s.getsockname()[1])
while True:
    c, _ = s.accept()
    if os.fork() == 0:
        s.close()
        n = 0
        while True:
            try: d = c.recv(100)
            except ConnectionResetError: d = b''
            if not d: break
            n += 1
            c.sendall(b'%d %s' % (n, d))
        os._exit(0)
    c.close()
";

/// One that writes to a FIFO, reads it in another process, and leaves a third in a session of its own.
const FIFO: &str = "
mkfifo fifo
( exec 4> fifo; i=0; while [ $i -lt 60 ]; do echo $i >&4; i=$((i + 1)); [ -e hurry ] || sleep 0.02; done ) &
setsid sh -c 'i=0; while [ $i -lt 60 ]; do echo $i >> own; i=$((i + 1)); [ -e hurry ] || sleep 0.02; done' &
while read line; do [ -e hurry ] || sleep 0.01; echo got $line >> got; done < fifo
wait
cat got own > out
";

/// Kills all of it once there are some images, and has it end from the newest.
#[track_caller]
fn ends_alike(place: &Place, mode: &str, words: &[String], images: u64) {
    let wanted = place.natively(words, &["out"]);
    let run = place.run(mode, words);
    run.kill_all_after(images);
    place.restores(&[]);
    assert!(wanted[0].is_some());
    assert_eq!(place.files(&["out"]), wanted, "{}", place.said());
}

fn places() -> Vec<Place> {
    match Uid::effective().is_root() {
        true => vec![Place::new(), Place::of_nobody()],
        false => vec![Place::new()],
    }
}

#[test]
fn a_pipeline_of_five_ends_with_the_same_bytes() {
    for place in places() {
        let words = place.shell(PIPELINE);
        for mode in ["simplex", "tmr"] {
            ends_alike(&place, mode, &words, 4);
            place.forget_images();
        }
    }
}

#[test]
fn a_shell_waits_for_the_jobs_that_it_had() {
    for (place, mode) in places().iter().zip(["tmr", "simplex"]) {
        ends_alike(place, mode, &place.shell(JOBS), 4);
    }
}

#[test]
fn what_was_on_its_way_to_children_arrives_once() {
    if !have(&["python3"]) {
        return;
    }
    for (place, mode) in places().iter().zip(["simplex", "tmr"]) {
        ends_alike(place, mode, &place.script(CHILDREN), 3);
    }
}

#[test]
fn open_files_arrive_that_were_on_their_way() {
    if !have(&["python3"]) {
        return;
    }
    for (place, mode) in places().iter().zip(["simplex", "tmr"]) {
        ends_alike(place, mode, &place.script(ON_THEIR_WAY), 3);
    }
}

#[test]
fn the_timer_of_a_child_goes_on_after_two_deaths() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(TICKING);
    let wanted = place.natively(&words, &["out"]);
    place.run("simplex", &words).kill_all_after(3);
    let last = place.images().last().copied().unwrap_or(0);
    place.restarts(&[]).kill_all_after(last + 2);
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_fifo_and_a_session_of_its_own_come_back() {
    if !have(&["setsid"]) {
        return;
    }
    for (place, mode) in places().iter().zip(["simplex", "tmr"]) {
        ends_alike(place, mode, &place.shell(FIFO), 3);
    }
}

/// Many children that end soon, and memory that takes a while to write.
const SHORT: &str = "
import os, time
blob = os.urandom(20 << 20)
for i in range(70):
    pid = os.fork()
    if pid == 0:
        for k in range(i % 5): os.getppid(); time.sleep(0.01)
        os._exit(i)
    assert os.waitpid(pid, 0)[1] == i << 8
open('out', 'w').write('done')
";

#[test]
fn a_child_that_ends_leaves_its_checkpoint_to_the_writer() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let mut run = place.run_every("simplex", "10ms", &place.script(SHORT));
    let status = run.child.wait().expect("it ends");
    assert!(status.success(), "{status}: {}", place.said());
    let report = fs::read_to_string(place.path().join("report")).expect("there is a report");
    assert!(!place.written().is_empty(), "{report}");
    let failed = report.lines().filter(|line| line.contains("memory"));
    assert_eq!(failed.collect::<Vec<_>>(), [""; 0]);
}

/// What a connection to the server answers, if it does.
fn asks(stream: &mut TcpStream, word: &[u8]) -> Option<String> {
    stream.write_all(word).ok()?;
    let mut room = [0; 100];
    match stream.read(&mut room) {
        Ok(n) if n > 0 => Some(String::from_utf8_lossy(&room[..n]).into_owned()),
        _ => None,
    }
}

#[test]
fn a_server_that_forks_listens_again_and_says_that_connections_are_gone() {
    if !have(&["python3"]) {
        return;
    }
    for (place, mode) in places().iter().zip(["simplex", "tmr"]) {
        let words = place.script(SERVER);
        let mut run = place.run(mode, &words);
        let port = || place.files(&["port"]).remove(0).filter(|text| text.ends_with(b"\n"));
        assert!(until(|| run.is_over() || port().is_some()), "{}", place.said());
        let port = port().expect("the server has said its port");
        let port: u16 = String::from_utf8_lossy(&port).trim().parse().expect("a number");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        assert_eq!(asks(&mut stream, b"a").as_deref(), Some("1 a"));
        let there = until(|| {
            let said = place.inspected();
            run.is_over()
                || said.contains("the connection with 127.0.0.1") && said.contains("bound")
        });
        assert!(there && !run.is_over(), "{}", place.said());
        run.kill_all();
        assert_eq!(asks(&mut stream, b"b"), None, "its end is gone");
        let mut command = place.command(&["restore", "ckpt"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(place.path().join("again")).unwrap());
        let mut run = Run { place, child: command.spawn().expect("it starts") };
        let answered = until(|| {
            let fresh = TcpStream::connect(("127.0.0.1", port)).ok();
            let said = fresh.and_then(|mut fresh| asks(&mut fresh, b"c"));
            said.as_deref() == Some("1 c") || run.is_over()
        });
        let said = fs::read_to_string(place.path().join("again")).unwrap_or_default();
        assert!(answered && !run.is_over(), "{said}");
        assert!(said.contains("the connection with 127.0.0.1"), "{said}");
        run.kill_all();
    }
}
