//! Tests of the choice of a row by number and by request.
//!
//! Invariant: request numbers are the C library's, not this table's.

use super::super::row::{Arg, Class, Len, Special};
use super::super::{Unknown, native_numbers, resolve, row};
use super::by;

#[test]
fn numbers_of_requests_are_those_of_the_c_library() {
    for (request, name) in [
        (libc::TCGETS, "TCGETS"),
        (libc::TIOCGWINSZ, "TIOCGWINSZ"),
        (libc::TIOCGPTN, "TIOCGPTN"),
        (libc::TIOCSPTLCK, "TIOCSPTLCK"),
        (libc::TIOCGPTPEER, "TIOCGPTPEER"),
        (libc::TIOCSPGRP, "TIOCSPGRP"),
        (libc::FIONREAD, "FIONREAD"),
        (libc::FIONBIO, "FIONBIO"),
        (libc::FIOCLEX, "FIOCLEX"),
        (libc::FICLONE, "FICLONE"),
        (libc::SIOCGIFINDEX, "SIOCGIFINDEX"),
        (libc::BLKSSZGET, "BLKSSZGET"),
    ] {
        assert_eq!(by(libc::SYS_ioctl, 1, request).name, format!("ioctl {name}"));
    }
    for (command, name) in [
        (libc::F_OFD_SETLKW, "F_OFD_SETLKW"),
        (libc::F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"),
        (libc::F_GETPIPE_SZ, "F_GETPIPE_SZ"),
        (libc::F_ADD_SEALS, "F_ADD_SEALS"),
    ] {
        let command = u64::try_from(command).expect("a command");
        assert_eq!(by(libc::SYS_fcntl, 1, command).name, format!("fcntl {name}"));
    }
    for (option, name) in [
        (libc::PR_SET_NAME, "PR_SET_NAME"),
        (libc::PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"),
        (libc::PR_SET_CHILD_SUBREAPER, "PR_SET_CHILD_SUBREAPER"),
        (libc::PR_SET_VMA, "PR_SET_VMA"),
    ] {
        let option = u64::try_from(option).expect("an option");
        assert_eq!(by(libc::SYS_prctl, 0, option).name, format!("prctl {name}"));
    }
}

#[test]
fn requests_are_compared_by_their_low_half() {
    // As a C library that takes the request as an int passes it.
    let sign_extended = 0xffff_ffff_8004_5430;
    assert_eq!(by(libc::SYS_ioctl, 1, sign_extended).name, "ioctl TIOCGPTN");
    assert_eq!(by(libc::SYS_clock_gettime, 0, 0xdead_beef_0000_0001).class, Class::First);
}

#[test]
fn an_unknown_request_is_named_with_its_number() {
    let answer = resolve(16, &[0, 0xffff_ffff_c068_6611, 0, 0, 0, 0]);
    let unknown = Unknown { what: "ioctl", request: 0xc068_6611, errno: libc::ENOTTY };
    assert_eq!(answer.map(|r| r.name), Err(unknown));
    assert_eq!(resolve(72, &[0, 4711, 0, 0, 0, 0]).map_err(|u| u.errno).err(), Some(libc::EINVAL));
}

#[test]
fn clocks_of_cpu_time_are_told_from_the_others() {
    let cpu = Class::Special(Special::CpuTime);
    // 0xff..fa is clock_getcpuclockid(0); 0xff..fb a clock by descriptor.
    for (clock, class) in [
        (0, Class::First),
        (1, Class::First),
        (2, cpu),
        (3, cpu),
        (7, Class::First),
        (0xffff_fffa, cpu),
        (0xffff_fffe, cpu),
        (0xffff_fffb, Class::First),
    ] {
        assert_eq!(by(libc::SYS_clock_gettime, 0, clock).class, class, "clock {clock:#x}");
    }
    assert_eq!(by(libc::SYS_setitimer, 0, 0).class, Class::Sync);
    let timer = Class::Special(Special::CpuTimer);
    assert_eq!(by(libc::SYS_setitimer, 0, 2).class, timer);
    assert_eq!(by(libc::SYS_getitimer, 0, 1).class, timer);
    assert_eq!(by(libc::SYS_getitimer, 0, 0).class, Class::First);
}

#[test]
fn limits_are_mirrored_only_for_the_caller() {
    let limit =
        |pid, resource, new| resolve(302, &[pid, resource, new, 0, 0, 0]).expect("a row").class;
    assert_eq!(limit(0, 3, 0), Class::First);
    assert_eq!(limit(17, 3, 0), Class::First);
    assert_eq!(limit(0, 3, 0x1000), Class::Mirror);
    assert_eq!(limit(17, 3, 0x1000), Class::Sync);
    assert_eq!(limit(0, 6, 0x1000), Class::Sync);
}

#[test]
fn other_choices_find_their_rows() {
    assert_eq!(by(libc::SYS_personality, 0, 0xffff_ffff).class, Class::First);
    assert_eq!(by(libc::SYS_madvise, 2, 4).class, Class::Native);
    let wiped = by(libc::SYS_madvise, 2, 18);
    let named = (wiped.class, wiped.name);
    assert_eq!(named, (Class::Native, "madvise MADV_DONTFORK, MADV_WIPEONFORK"));
    assert_eq!(by(libc::SYS_epoll_ctl, 1, 2).args[3], Arg::Addr);
    let ambient = resolve(157, &[47 + (1 << 32), 1, 0, 0, 0, 0]).expect("a row");
    assert_eq!((ambient.name, ambient.class), ("prctl PR_CAP_AMBIENT_IS_SET", Class::First));
    assert_eq!(by(libc::SYS_name_to_handle_at, 4, 1).args[3], Arg::InOutAlways(Len::Fixed(8)));
    let filter = resolve(54, &[3, 1, 26, 0x1000, 16, 0]).expect("a row");
    assert_eq!(filter.args[3], Arg::Filter);
    assert_eq!(resolve(54, &[3, 1, 2, 0x1000, 4, 0]).expect("a row").name, "setsockopt");
}

#[test]
fn a_number_that_the_kernel_does_not_know_is_answered_with_enosys() {
    for nr in [337, 400, 423, 470, 0x4000_0001, u32::MAX] {
        assert_eq!((row(nr).class, row(nr).errno), (Class::Nosys, libc::ENOSYS));
        assert_eq!(resolve(nr, &[0; 6]).expect("a row").name, "unused");
    }
    assert_eq!(row(0).name, "read");
    assert_eq!(row(469).name, "file_setattr");
}

#[test]
fn native_calls_are_those_of_the_sphere() {
    let native: Vec<u32> = native_numbers().collect();
    assert!(native.is_sorted());
    for nr in [libc::SYS_brk, libc::SYS_mprotect, libc::SYS_sigaltstack] {
        assert!(native.contains(&u32::try_from(nr).expect("a call number")));
    }
    for nr in [libc::SYS_mmap, libc::SYS_munmap, libc::SYS_read, libc::SYS_exit, libc::SYS_futex] {
        assert!(!native.contains(&u32::try_from(nr).expect("a call number")));
    }
}

#[test]
fn a_single_replica_makes_itself_what_knows_no_owner() {
    let owned = [
        libc::FUTEX_LOCK_PI,
        libc::FUTEX_UNLOCK_PI,
        libc::FUTEX_TRYLOCK_PI,
        libc::FUTEX_WAIT_REQUEUE_PI,
        libc::FUTEX_CMP_REQUEUE_PI,
        crate::table::LOCK_PI2,
    ];
    for operation in 0..=13 {
        for flags in [0, libc::FUTEX_PRIVATE_FLAG, libc::FUTEX_CLOCK_REALTIME, 0x180] {
            let whole = (operation | flags) as u32;
            let plain = crate::table::PLAIN_FUTEXES.iter().any(|(mask, is)| whole & mask == *is);
            assert_eq!(plain, !owned.contains(&operation), "{operation} with {flags:#x}");
        }
    }
}
