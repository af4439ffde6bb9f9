//! Tests of the table: what can be checked of it without performing a call.
//!
//! Invariant: completeness is checked by the compiler; here are the relations within a row and
//! the sizes of structures; `choose` has the choice of rows by request, `lengths` that of lengths.

mod choose;
mod lengths;

use std::mem::size_of;

use super::row::{Arg, Class, Inside, Len, Restart, Row};
use super::*;

/// Every row of every table.
fn all_rows() -> Vec<(u32, &'static Row)> {
    let tables = ioctl::TABLES.iter().map(|t| t.1).chain([
        fcntl::ROWS,
        prctl::ROWS,
        prctl::AMBIENT,
        ctl::SHM,
        ctl::SEM,
        ctl::MSG,
        ctl::QUOTA,
        ctl::QUOTA_FD,
        ctl::FSCONFIG,
        ctl::SYSLOG,
        keyctl::ROWS,
    ]);
    let families = FAMILIES.iter().map(|f| f.1);
    let mut rows: Vec<_> = families.chain(tables).flatten().map(|e| (e.nr, &e.row)).collect();
    rows.extend(choice::OTHERS.iter().map(|r| (0, r)));
    rows.extend(sockopt::SET.iter().chain(sockopt::GET).map(|c| (0, &c.2)));
    rows.push((0, &sockopt::GET_SCTP));
    rows
}

/// The argument that a length depends on.
fn source(len: Len) -> Option<u8> {
    match len {
        Len::Fixed(_) | Len::Ret | Len::RetTimes(_) | Len::RetPlus(_) | Len::IfRet(_) => None,
        Len::Arg(i) | Len::ArgTimes(i, _) | Len::Arg32(i) | Len::Times32(i, _) => Some(i),
        Len::ArgPlus(i, _) | Len::U32At(i) | Len::FdSet(i) | Len::Bits(i) => Some(i),
        Len::Inside(
            Inside::SchedAttr(i)
            | Inside::FileHandle(i)
            | Inside::CapData(i)
            | Inside::Fiemap(i)
            | Inside::Dedupe(i)
            | Inside::RandPool(i),
        ) => Some(i),
    }
}

/// Whether a length is only known after the call.
fn of_result(len: Len) -> bool {
    matches!(len, Len::Ret | Len::RetTimes(_) | Len::RetPlus(_) | Len::IfRet(_))
}

/// Whether a length stands in memory, so that its argument is a pointer.
fn in_memory(len: Len) -> bool {
    matches!(len, Len::U32At(_) | Len::Inside(_))
}

fn lengths(arg: Arg) -> Vec<Len> {
    match arg {
        Arg::In(len) | Arg::InOut(len) | Arg::InOutAlways(len) => vec![len],
        Arg::Out { cap, used } => vec![cap, used],
        Arg::IovIn(i) | Arg::IovOut(i) | Arg::MmsgIn(i) | Arg::MmsgOut(i) => vec![Len::Arg(i)],
        _ => vec![],
    }
}

#[test]
fn every_length_comes_from_a_fitting_argument() {
    for (_, row) in all_rows() {
        assert!(row.args.len() <= 6, "{}", row.name);
        for len in row.args.iter().flat_map(|&a| lengths(a)) {
            let Some(i) = source(len) else { continue };
            let from = row.args.get(usize::from(i)).unwrap_or_else(|| panic!("{}", row.name));
            let pointer =
                matches!(from, Arg::In(_) | Arg::InOut(_) | Arg::InOutAlways(_) | Arg::Out { .. });
            assert!(
                if in_memory(len) { pointer } else { *from == Arg::Int },
                "{}: {len:?} from {from:?}",
                row.name
            );
        }
    }
}

#[test]
fn room_is_known_before_the_call_and_what_is_used_fits_it() {
    for (_, row) in all_rows() {
        for arg in row.args {
            match *arg {
                Arg::In(len) | Arg::InOut(len) | Arg::InOutAlways(len) => {
                    assert!(!of_result(len), "{}", row.name);
                }
                Arg::Out { cap, used } => {
                    assert!(!of_result(cap), "{}", row.name);
                    let fits = match (cap, used) {
                        (Len::Fixed(cap), Len::Fixed(used) | Len::IfRet(used)) => used <= cap,
                        (Len::Arg(_) | Len::Arg32(_), Len::Ret) => true,
                        (Len::ArgTimes(_, a) | Len::Times32(_, a), Len::RetTimes(b)) => a == b,
                        (Len::ArgPlus(_, a), Len::RetPlus(b)) => a == b,
                        // The kernel writes no more than the room, whatever size it reports.
                        (Len::Arg(_) | Len::Arg32(_), Len::U32At(_)) => true,
                        (a, b) => a == b,
                    };
                    assert!(fits, "{}: {used:?} of {cap:?}", row.name);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn refusals_have_a_reason_and_an_error_and_others_none() {
    for (_, row) in all_rows() {
        let refusal = matches!(row.class, Class::Nosys | Class::Refused);
        assert_eq!(refusal, row.errno != 0, "{}", row.name);
        assert!(!refusal || !row.note.is_empty(), "{}", row.name);
        assert!(!refusal || doc::errno_name(row.errno) != "?", "{}", row.name);
        assert!(row.note.is_empty() || row.note.ends_with('.'), "{}", row.name);
        assert!(row.restart == Restart::No || row.blocks, "{}", row.name);
    }
}

#[test]
fn requests_have_the_arguments_of_their_call() {
    for &(nr, name) in names::NAMES {
        let prefix = format!("{name} ");
        for (_, sub) in all_rows().iter().filter(|(_, r)| r.name.starts_with(&prefix)) {
            assert!(sub.args.len() <= row(nr).args.len(), "{}", sub.name);
        }
    }
}

/// The size that `_IOC` puts into a request number is that of the buffer, where it is used.
#[test]
fn sizes_in_request_numbers_agree_with_the_rows() {
    // Numbers made with the wrong type, or whose argument is no pointer.
    const WRONG: &[u32] = &[
        0x4008_6602,
        0x4008_7602,
        0x8008_6601,
        0x8008_7601,
        0x4008_1271,
        0x8008_1270,
        0x4004_54ca,
        0x8004_54d2,
    ];
    for entry in ioctl::TABLES.iter().flat_map(|t| t.1) {
        let size = entry.nr >> 16 & 0x3fff;
        if size == 0 || WRONG.contains(&entry.nr) {
            continue;
        }
        match entry.row.args[2] {
            Arg::In(Len::Fixed(n)) | Arg::InOut(Len::Fixed(n)) => {
                assert_eq!(n, size, "{}", entry.row.name);
            }
            Arg::Out { cap, .. } => assert_eq!(cap, Len::Fixed(size), "{}", entry.row.name),
            _ => {}
        }
    }
}

/// The bytes that argument `i` of call `nr` has.
fn fixed(nr: libc::c_long, i: usize) -> usize {
    fixed_in(row(u32::try_from(nr).expect("a call number")), i)
}

fn fixed_in(row: &Row, i: usize) -> usize {
    match row.args[i] {
        Arg::In(Len::Fixed(n))
        | Arg::InOut(Len::Fixed(n))
        | Arg::InOutAlways(Len::Fixed(n))
        | Arg::Out { cap: Len::Fixed(n), .. } => n as usize,
        other => panic!("{}: {other:?}", row.name),
    }
}

#[test]
fn structures_have_the_sizes_of_the_c_library() {
    assert_eq!(fixed(libc::SYS_fstat, 1), size_of::<libc::stat>());
    assert_eq!(fixed(libc::SYS_newfstatat, 2), size_of::<libc::stat>());
    assert_eq!(fixed(libc::SYS_statx, 4), size_of::<libc::statx>());
    assert_eq!(fixed(libc::SYS_statfs, 1), size_of::<libc::statfs>());
    assert_eq!(fixed(libc::SYS_clock_gettime, 1), size_of::<libc::timespec>());
    assert_eq!(fixed(libc::SYS_gettimeofday, 0), size_of::<libc::timeval>());
    assert_eq!(fixed(libc::SYS_adjtimex, 0), size_of::<libc::timex>());
    assert_eq!(fixed(libc::SYS_times, 0), size_of::<libc::tms>());
    assert_eq!(fixed(libc::SYS_getrusage, 1), size_of::<libc::rusage>());
    assert_eq!(fixed(libc::SYS_wait4, 3), size_of::<libc::rusage>());
    assert_eq!(fixed(libc::SYS_waitid, 2), size_of::<libc::siginfo_t>());
    assert_eq!(fixed(libc::SYS_waitid, 4), size_of::<libc::rusage>());
    assert_eq!(fixed(libc::SYS_rt_sigqueueinfo, 2), size_of::<libc::siginfo_t>());
    assert_eq!(fixed(libc::SYS_setitimer, 1), size_of::<libc::itimerval>());
    assert_eq!(fixed(libc::SYS_timer_settime, 2), size_of::<libc::itimerspec>());
    assert_eq!(fixed(libc::SYS_timer_create, 1), size_of::<libc::sigevent>());
    assert_eq!(fixed(libc::SYS_uname, 0), size_of::<libc::utsname>());
    assert_eq!(fixed(libc::SYS_sysinfo, 0), size_of::<libc::sysinfo>());
    assert_eq!(fixed(libc::SYS_getrlimit, 1), size_of::<libc::rlimit64>());
    assert_eq!(fixed(libc::SYS_epoll_ctl, 3), size_of::<libc::epoll_event>());
    assert_eq!(fixed(libc::SYS_mq_getsetattr, 2), size_of::<libc::mq_attr>());
    assert_eq!(fixed(libc::SYS_utime, 1), size_of::<libc::utimbuf>());
    assert_eq!(fixed(libc::SYS_sched_getparam, 1), size_of::<libc::sched_param>());
    assert_eq!(fixed_in(by(libc::SYS_fcntl, 1, 5), 2), size_of::<libc::flock>());
    assert_eq!(fixed_in(by(libc::SYS_ioctl, 1, 0x5413), 2), size_of::<libc::winsize>());
    assert_eq!(fixed_in(by(libc::SYS_ioctl, 1, 0x8913), 2), size_of::<libc::ifreq>());
    assert_eq!(fixed_in(by(libc::SYS_ioctl, 1, 0x8953), 2), size_of::<libc::arpreq>());
    assert_eq!(fixed_in(by(libc::SYS_ioctl, 1, 0x802c_542a), 2), size_of::<libc::termios2>());
    assert_eq!(fixed_in(by(libc::SYS_shmctl, 1, 2), 2), size_of::<libc::shmid_ds>());
    assert_eq!(fixed_in(by(libc::SYS_semctl, 2, 2), 3), size_of::<libc::semid_ds>());
    assert_eq!(fixed_in(by(libc::SYS_semctl, 2, 3), 3), size_of::<libc::seminfo>());
    assert_eq!(fixed_in(by(libc::SYS_msgctl, 1, 2), 2), size_of::<libc::msqid_ds>());
    assert_eq!(fixed_in(by(libc::SYS_msgctl, 1, 3), 2), size_of::<libc::msginfo>());
    assert_eq!(fixed_in(by(libc::SYS_quotactl, 0, 0x8000_0700), 3), size_of::<libc::dqblk>());
}

/// The row of call `nr` with argument `i` as given and 0 elsewhere.
fn by(nr: libc::c_long, i: usize, value: u64) -> &'static Row {
    let mut args = [0; 6];
    args[i] = value;
    resolve(u32::try_from(nr).expect("a call number"), &args).expect("a row")
}

#[test]
fn the_page_is_current() {
    let written = include_str!("../../../../docs/syscalls.md");
    assert!(
        written == page(),
        "docs/syscalls.md is not what the table says: run `cargo xtask syscalls`"
    );
}
