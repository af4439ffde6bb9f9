//! Each obstacle is found and named, and a machine like the image's has none.

use std::net::TcpListener;

use super::*;
use crate::image::{Descriptor, Listen, Lock, LockKind, Machine, Memory, OpenFile, Owner, Range};
use crate::locks::Conflict;

fn machine() -> Machine {
    Machine {
        kernel: "6.18.3-amd64".into(),
        arch: "x86_64".into(),
        cpu_vendor: "Maker".into(),
        cpu_model: "Fast 1".into(),
        cpu_features: ["avx2", "hypervisor", "sse2"].map(String::from).to_vec(),
        page_size: 4096,
    }
}

fn mapped(path: &str) -> MappedFile {
    let id = FileId { dev: 1, ino: 5 };
    MappedFile { path: path.into(), id, size: 10, mtime_ns: 77 }
}

fn listen(port: u16) -> Listen {
    let [high, low] = port.to_be_bytes();
    let address = vec![2, 0, high, low, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    Listen {
        family: 2,
        kind: 1,
        protocol: 0,
        address,
        backlog: Some(5),
        peer: None,
        unread: vec![],
        lost: false,
        options: vec![],
    }
}

fn regular(path: &str, writable: bool) -> OpenKind {
    OpenKind::Regular(Regular {
        path: path.into(),
        id: FileId { dev: 1, ino: 9 },
        offset: 3,
        size: 50,
        writable,
        unlinked: false,
        contents: vec![],
        mode: 0,
        times_ns: [0; 2],
    })
}

fn open(kind: OpenKind) -> OpenFile {
    OpenFile { flags: 0, owner: Owner::default(), kind, locks: vec![] }
}

fn image(kinds: Vec<OpenKind>) -> Image {
    let backing = Backing::File { file: mapped("/lib/c.so"), offset: 0, private: true };
    let range = Range {
        start: 0x1000,
        end: 0x2000,
        prot: 5,
        flags: 0,
        advice: Default::default(),
        backing,
        name: None,
    };
    let process = Process {
        pid: 100,
        cwd: b"/home".to_vec(),
        memory: Memory { ranges: vec![range], ..Default::default() },
        descriptors: vec![Descriptor { fd: 3, file: 0, close_on_exec: false }],
        ..Default::default()
    };
    Image {
        sequence: 1,
        parent: None,
        whole: Some(crate::image::Whole::First),
        version: "0".into(),
        created_ns: 0,
        clocks: Default::default(),
        run: [0; 16],
        command: vec![b"x".to_vec()],
        mode: "tmr".into(),
        machine: machine(),
        processes: vec![process],
        shared: vec![],
        files: kinds.into_iter().map(open).collect(),
        opaque: vec![],
    }
}

fn host() -> Host {
    let found =
        |ino, size, mtime_ns| FileFacts::Found { id: FileId { dev: 1, ino }, size, mtime_ns };
    let files =
        [("/lib/c.so", found(5, 10, 77)), ("/home", found(2, 0, 0)), ("/out", found(9, 50, 0))];
    Host {
        machine: machine(),
        uid: 0,
        gid: 0,
        groups: vec![],
        may_be_anyone: false,
        files: files.into_iter().map(|(path, facts)| (path.into(), facts)).collect(),
        ports: Default::default(),
        undo: Sizes::default(),
        locks: vec![],
    }
}

/// The one finding there must be.
fn only(image: &Image, host: &Host) -> Finding {
    let mut found = preflight(image, host);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_machine_like_it_has_nothing_in_the_way() {
    let image = image(vec![regular("/out", true), OpenKind::Listening(listen(80))]);
    assert_eq!(preflight(&image, &host()), []);
}

#[test]
fn cpus_are_compared_by_what_programs_use() {
    let mut here = host();
    here.machine.cpu_model = "Slow 1".into();
    here.machine.cpu_features = vec!["sse2".into()];
    let found = only(&image(vec![]), &here);
    assert_eq!(found.severity, Severity::Obstacle);
    assert_eq!(found.what, "this CPU (Slow 1) lacks avx2");
    assert!(found.advice.contains("Fast 1"));
    here.machine.cpu_features = vec!["avx2".into(), "avx512f".into(), "sse2".into()];
    assert_eq!(only(&image(vec![]), &here).severity, Severity::Note);
}

#[test]
fn kernels_and_pages() {
    let mut here = host();
    here.machine.kernel = "6.5.0".into();
    assert!(only(&image(vec![]), &here).advice.contains("6.6"));
    here.machine.kernel = "6.9.1".into();
    assert_eq!(only(&image(vec![]), &here).severity, Severity::Note);
    here = host();
    here.machine.page_size = 65536;
    assert_eq!(only(&image(vec![]), &here).what, "pages had 4096 bytes, here they have 65536");
}

#[test]
fn mapped_files_have_to_be_the_same() {
    let with = |facts| {
        let mut here = host();
        here.files.insert(b"/lib/c.so".to_vec(), facts);
        only(&image(vec![]), &here)
    };
    let found =
        |ino, size, mtime_ns| FileFacts::Found { id: FileId { dev: 1, ino }, size, mtime_ns };
    assert!(with(FileFacts::Missing).what.contains("/lib/c.so: not there"));
    assert!(with(FileFacts::Unknown("denied".into())).what.contains("denied"));
    assert!(with(found(5, 11, 77)).what.contains("it had 10 bytes, now 11"));
    assert!(with(found(5, 10, 78)).what.contains("changed since"));
    assert_eq!(with(found(6, 10, 77)).severity, Severity::Note);
}

#[test]
fn a_file_that_shrank_needs_its_log() {
    let mut here = host();
    let id = FileId { dev: 1, ino: 9 };
    here.files.insert(b"/out".to_vec(), FileFacts::Found { id, size: 20, mtime_ns: 0 });
    let image = image(vec![regular("/out", true)]);
    assert!(only(&image, &here).what.contains("in no undo log"));
    here.undo.insert(id, 50);
    assert_eq!(preflight(&image, &here), []);
}

#[test]
fn ids_and_what_cannot_be_opened() {
    let mut here = host();
    here.uid = 1000;
    assert!(only(&image(vec![]), &here).what.contains("ran as user 0, this is user 1000"));
    here.may_be_anyone = true;
    assert_eq!(preflight(&image(vec![]), &here), []);
    let other = image(vec![OpenKind::Other("anon_inode:[perf_event]".into())]);
    assert!(only(&other, &here).what.contains("perf_event"));
}

#[test]
fn a_port_that_somebody_has_is_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let image = image(vec![OpenKind::Listening(listen(port))]);
    let look =
        || Host { files: host().files, machine: machine(), ..Host::look(&image, None).unwrap() };
    let of_port = |found: Vec<Finding>| {
        found.into_iter().map(|one| one.what).find(|what| what.contains("TCP port"))
    };
    let wanted = format!("TCP port 127.0.0.1:{port} is taken");
    assert_eq!(of_port(preflight(&image, &look())), Some(wanted));
    drop(holder);
    assert_eq!(of_port(preflight(&image, &look())), None);
}

#[test]
fn addresses_are_read_or_refused() {
    assert_eq!(Address::read(&[]), None);
    assert_eq!(Address::read(&[2, 0, 0, 80]), None);
    assert_eq!(Address::read(&[1, 0]), None);
    let path = Address::read(b"\x01\0/run/x\0rest").unwrap();
    assert_eq!(path.to_string(), "/run/x");
    assert_eq!(Address::read(b"\x01\0\0name").unwrap().to_string(), "@name");
    let mut six = vec![10, 0, 0, 80];
    six.extend([0; 24]);
    assert_eq!(Address::read(&six).unwrap().to_string(), "[::]:80");
}

#[test]
fn a_lock_that_somebody_has_is_named_with_range_and_holder() {
    let lock = Lock { kind: LockKind::Process, exclusive: true, first: 10, last: Some(19) };
    let holder = Some((77, "editor".to_owned()));
    let mut here = host();
    here.locks = vec![Conflict { path: b"/out".to_vec(), lock, holder, error: None }];
    let found = only(&image(vec![regular("/out", true)]), &here);
    assert_eq!(found.severity, Severity::Obstacle);
    assert_eq!(found.what, "bytes 10 to 19 of /out: the lock is held by process 77 (editor)");
}
