//! A description with something of everything reads back, and its bytes are those of this format.
//!
//! If the checksum below is another one, images of two versions would misunderstand each other: raise
//! [`crate::FORMAT`], then change it.

use std::path::Path;

use super::*;
use crate::frame::{self, Kind, checksum};

fn file() -> MappedFile {
    let id = FileId { dev: 3, ino: 400 };
    MappedFile { path: b"/lib/c.so".to_vec(), id, size: 9000, mtime_ns: -5 }
}

fn memory() -> Memory {
    let range = |start, backing, name| Range {
        start,
        end: start + 0x1000,
        prot: 3,
        flags: 0x4000,
        advice: Advice { dont_fork: true, huge: Some(false), ..Advice::default() },
        backing,
        name,
    };
    Memory {
        ranges: vec![
            range(0x1000, Backing::Anonymous, Some("arena".to_string())),
            range(0x3000, Backing::File { file: file(), offset: 4096, private: true }, None),
            range(0x5000, Backing::Shared { object: 1, offset: 8192 }, None),
            range(0x7000, Backing::Special("[vdso]".to_string()), None),
        ],
        brk: (0x10_0000, 0x20_0000),
        arguments: (1, 2),
        environment: (3, 4),
        auxv: vec![5; 16],
    }
}

fn process() -> Process {
    let pending = Pending { signal: 10, info: vec![1; 128] };
    let thread = Thread {
        tid: 100,
        name: b"main".to_vec(),
        registers: vec![7; 216],
        extended: vec![8; 832],
        blocked: 1 << 9,
        pending: vec![pending.clone()],
        alt_stack: AltStack { base: 0x9000, flags: 2, size: 8192 },
        clear_child_tid: 0x7f00,
        robust_list: RobustList { head: 0x7f10, len: 24 },
        schedule: Schedule {
            attributes: vec![56; 56],
            io: 6,
            cpus: vec![3],
            slack_ns: 50_000,
            death_signal: 9,
        },
        interrupted: true,
        opaque: vec![1],
    };
    let timers = vec![
        Timer::Interval { which: 0, left_ns: 5, every_ns: 10 },
        Timer::Posix {
            id: 1,
            clock: 1,
            event: vec![0; 64],
            left_ns: 1,
            every_ns: 0,
            overrun: 2,
            due_ns: Some(9),
        },
    ];
    Process {
        pid: 100,
        parent: 1,
        pgid: 100,
        sid: 90,
        exit_signal: 17,
        ended: Some(256),
        name: b"prog".to_vec(),
        exe: b"/bin/prog".to_vec(),
        cwd: b"/home".to_vec(),
        root: b"/".to_vec(),
        umask: 0o22,
        credentials: Credentials { uids: [1000; 4], groups: vec![4, 27], ..Default::default() },
        limits: vec![Limit { resource: 7, soft: 1024, hard: u64::MAX }],
        personality: 0,
        subreaper: true,
        no_huge_pages: true,
        barriers: 16,
        oom_score: -5,
        locked: vec![(0x1000, 0x2000)],
        dispositions: vec![Disposition { signal: 2, handler: 99, flags: 4, restorer: 5, mask: 6 }],
        pending: vec![pending],
        timers,
        threads: vec![thread],
        memory: memory(),
        descriptors: vec![Descriptor { fd: 3, file: 0, close_on_exec: true }],
        locks: vec![(0, lock(LockKind::Process, Some(19)))],
        opaque: b"outside".to_vec(),
    }
}

fn kinds() -> Vec<OpenKind> {
    let options = vec![SocketOption { level: 1, name: 2, value: vec![1, 0, 0, 0] }];
    let listen = Listen {
        family: 2,
        kind: 1,
        protocol: 6,
        address: vec![2, 0, 31, 144],
        backlog: Some(128),
        peer: Some(vec![2, 0, 31, 145]),
        unread: vec![Message { bytes: vec![3], files: vec![], from: vec![1, 0] }],
        lost: true,
        options: options.clone(),
    };
    let pipe = PipeEnd {
        pipe: 5,
        writes: false,
        path: None,
        capacity: 65536,
        unread: b"in it".to_vec(),
        outward: true,
    };
    let regular = Regular {
        path: b"/tmp/out".to_vec(),
        id: FileId { dev: 1, ino: 2 },
        offset: 10,
        size: 20,
        writable: true,
        unlinked: true,
        contents: b"bytes".to_vec(),
        mode: 0o600,
        times_ns: [-1, 1],
    };
    vec![
        OpenKind::Regular(regular),
        OpenKind::Directory { path: b"/etc".to_vec(), offset: 7 },
        OpenKind::Device {
            path: b"/dev/pts/0".to_vec(),
            rdev: 34816,
            controlling: true,
            termios: vec![9; 44],
        },
        OpenKind::Pipe(pipe),
        OpenKind::SocketPair {
            pair: 6,
            kind: 1,
            unread: vec![Message { bytes: vec![1, 2], files: vec![0], from: vec![] }],
            shut: (true, false),
            options: options.clone(),
        },
        OpenKind::Listening(listen),
        OpenKind::Connected { family: 2, kind: 1, local: vec![2, 0], peer: vec![2, 1] },
        OpenKind::Socket { family: 1, kind: 2, protocol: 0, options },
        OpenKind::EventFd { count: 3, semaphore: true },
        OpenKind::TimerFd(TimerFd {
            clock: 1,
            left_ns: 2,
            every_ns: 3,
            expired: 4,
            due_ns: Some(5),
            cancels: true,
        }),
        OpenKind::SignalFd { mask: 1 << 14 },
        OpenKind::Epoll {
            items: vec![EpollItem { fd: 3, file: 0, events: 1, data: u64::MAX }],
            quiet: true,
        },
        OpenKind::Memfd { object: 0, offset: 100 },
        OpenKind::Inotify { watches: vec![(1, 2, b"/etc".to_vec())] },
        OpenKind::Other("anon_inode:[bpf]".to_string()),
    ]
}

fn lock(kind: LockKind, last: Option<u64>) -> Lock {
    Lock { kind, exclusive: true, first: 10, last }
}

fn open(kind: OpenKind) -> OpenFile {
    let locks = vec![lock(LockKind::Whole, None), lock(LockKind::Open, Some(1 << 62))];
    OpenFile { flags: 2, owner: Owner { kind: 2, number: 5, signal: 29 }, kind, locks }
}

fn sample() -> Image {
    let shared = |kind| SharedObject { kind, size: 4096 };
    Image {
        sequence: 7,
        parent: Some(6),
        whole: Some(Whole::Rewritten),
        version: "0.1.0".to_string(),
        created_ns: 1_700_000_000_000_000_000,
        clocks: Clocks { monotonic_ns: 1 << 50, boottime_ns: 1 << 51 },
        run: [9; 16],
        command: vec![b"prog".to_vec(), vec![0xff]],
        mode: "tmr".to_string(),
        machine: Machine {
            kernel: "6.18".to_string(),
            arch: "x86_64".to_string(),
            cpu_vendor: "v".to_string(),
            cpu_model: "m".to_string(),
            cpu_features: vec!["avx2".to_string()],
            page_size: 4096,
        },
        processes: vec![process()],
        shared: vec![
            shared(SharedKind::Anonymous),
            shared(SharedKind::Memfd { name: b"m".to_vec(), seals: 1, mode: 0o640 }),
            shared(SharedKind::Segment { key: 1, id: 2, mode: 0o600 }),
            shared(SharedKind::File(file())),
            shared(SharedKind::Removed { path: b"/dev/shm/r".to_vec() }),
        ],
        files: kinds().into_iter().map(open).collect(),
        opaque: vec![1, 2, 3],
    }
}

#[test]
fn something_of_everything_reads_back() {
    let (bytes, sum) = frame::seal(Kind::Manifest, &sample()).unwrap();
    let (image, found) =
        frame::open::<Image>(Path::new("manifest"), Kind::Manifest, &bytes, 0).unwrap();
    assert_eq!(image, sample());
    assert_eq!(found, sum);
    let value = &bytes[frame::HEADER..];
    assert_eq!((value.len(), checksum(value)), (2473, 408_801_326_380_443_078));
}
