//! The page `docs/syscalls.md`, written from the table.
//!
//! Invariant: says nothing of a call that its row does not say. Called by `cargo xtask syscalls`
//! and by the test that the page is current.

use std::fmt::Write;

use super::row::{Arg, Class, Inside, Len, Restart, Row, Special};
use super::words::Entry;
use super::{FAMILIES, KERNEL, choice, ctl, fcntl, ioctl, keyctl, names, prctl, row, sockopt};

/// What stands before the tables.
const INTRO: &str = "\
Written by `cargo xtask syscalls` from
`interpose/src/table/`; do not edit.

## Classes

| class | meaning |
|---|---|
| native | Runs inside each replica and is never trapped: it touches only the sphere of replication. |
| sync | Voted; performed once by the outside when enough ballots agree; the result goes to all replicas. |
| first | Has no effect outside: performed for the first ballot, the others are compared as they come. |
| mirror | As sync; when it succeeded, every replica makes the call too, because it also changes the sphere. |
| special | Has a handler of its own, which is named. |
| nosys | Answered with the error given, as by a kernel built without it. |
| refused | Answered with the error given, and the run is told so by name. |

## Arguments

| argument | meaning |
|---|---|
| `int`, `fd`, `dirfd` | A number; a descriptor; a descriptor or `AT_FDCWD`. Compared as 64 bits. |
| `addr` | An address that the outside does not read or write through. |
| `path`, `str` | Text that ends with a NUL byte. |
| `in L` | A buffer that the kernel reads, compared by its bytes. |
| `out L` | A buffer that the kernel writes. `out L -> U`: room L, of which U is filled. |
| `inout L` | Read, then written; `inout! L`: copied back even when the call fails. |
| `iovin`, `iovout`, `msgin`, `msgout` … | Vectors and messages; the index is the argument that counts them. |

A length is a number of bytes; `#i` stands for the value of argument i, counted from 0 (`low #i` for its
low 32 bits), `ret` for the result, `u32 at #i` for the number that argument i points to. A null
pointer means no buffer.

Restart says what a signal handler does to a waiting call: `restart` if the handler has SA_RESTART (else
EINTR), `EINTR` always, `goes on` never; empty where the call does not wait for ever.
";

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = format!(
        "# System calls\n\nEvery system call of x86-64 Linux {KERNEL} ({} numbers), and what becomes of it.\n{INTRO}",
        names::NAMES.len()
    );
    summary(&mut page);
    for (title, rows) in FAMILIES {
        section(&mut page, title, "number", rows, |nr| nr.to_string());
    }
    for (title, rows) in ioctl::TABLES {
        section(&mut page, title, "request", rows, |nr| format!("0x{nr:04x}"));
    }
    let plain = |nr: u32| nr.to_string();
    let hex = |nr: u32| format!("0x{nr:x}");
    section(&mut page, "fcntl", "command", fcntl::ROWS, plain);
    section(&mut page, "prctl", "option", prctl::ROWS, hex);
    section(&mut page, "prctl: PR_CAP_AMBIENT", "argument", prctl::AMBIENT, plain);
    section(&mut page, "shmctl", "command", ctl::SHM, plain);
    section(&mut page, "semctl", "command", ctl::SEM, plain);
    section(&mut page, "msgctl", "command", ctl::MSG, plain);
    section(&mut page, "quotactl", "command", ctl::QUOTA, hex);
    section(&mut page, "quotactl_fd", "command", ctl::QUOTA_FD, hex);
    section(&mut page, "keyctl", "operation", keyctl::ROWS, plain);
    section(&mut page, "fsconfig", "command", ctl::FSCONFIG, plain);
    section(&mut page, "syslog", "type", ctl::SYSLOG, plain);
    head(&mut page, "Socket options", "level, option");
    for (level, option, row) in sockopt::SET.iter().chain(sockopt::GET) {
        line(&mut page, &format!("{level}, {option}"), row);
    }
    line(&mut page, &format!("{}, any", sockopt::SCTP), &sockopt::GET_SCTP);
    head(&mut page, "Calls that other arguments decide", "");
    for row in choice::OTHERS {
        line(&mut page, "", row);
    }
    retracted(&mut page);
    page
}

/// Which calls a roll-back can take back beside those of whole classes.
fn retracted(page: &mut String) {
    page.push_str(
        "\n## Calls that a roll-back can take back\n\n\
         What was decided of them is taken back where a program that failed goes another way when it is \
         executed again (docs/adr/0016): native, first, nosys, refused, `special: CpuTime`, and\n\
         these. Of read and pread64 those of regular files, of rt_sigaction and lseek queries, of futex what woke nobody; the mask of \
         rt_sigprocmask and positions of files are put back.\n\n",
    );
    let families = FAMILIES.iter().flat_map(|(_, rows)| rows.iter().map(|e| &e.row));
    let names = families.chain(choice::OTHERS).filter(|row| row.retracted);
    let list: Vec<&str> = names.map(|row| row.name).collect();
    let _ = writeln!(page, "{}.", list.join(", "));
}

/// How many calls each class has.
fn summary(page: &mut String) {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for &(nr, _) in names::NAMES {
        let word = class_word(row(nr).class);
        match counts.iter_mut().find(|c| c.0 == word) {
            Some(count) => count.1 += 1,
            None => counts.push((word, 1)),
        }
    }
    counts.sort_by_key(|c| (std::cmp::Reverse(c.1), c.0));
    let list: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let _ = write!(page, "\nBy class: {}.\n", list.join(", "));
}

fn section(
    page: &mut String,
    title: &str,
    key: &str,
    rows: &[Entry],
    show: impl Fn(u32) -> String,
) {
    head(page, title, key);
    let mut rows: Vec<&Entry> = rows.iter().collect();
    rows.sort_by_key(|e| e.nr);
    for entry in rows {
        line(page, &show(entry.nr), &entry.row);
    }
}

fn head(page: &mut String, title: &str, key: &str) {
    let _ = write!(
        page,
        "\n## {title}\n\n| {key} | call | class | arguments | restart | note |\n|---|---|---|---|---|---|\n"
    );
}

fn line(page: &mut String, key: &str, row: &Row) {
    let arguments: Vec<String> = row.args.iter().map(|&a| argument(a)).collect();
    let restart = match (row.blocks, row.restart) {
        (false, _) => "",
        (true, Restart::Sys) => "restart",
        (true, Restart::Always) => "goes on",
        (true, Restart::No) => "EINTR",
    };
    let _ = writeln!(
        page,
        "| {key} | {} | {} | {} | {restart} | {} |",
        row.name,
        class(row),
        arguments.join(", "),
        row.note
    );
}

fn class_word(class: Class) -> &'static str {
    match class {
        Class::Native => "native",
        Class::Sync => "sync",
        Class::First => "first",
        Class::Mirror => "mirror",
        Class::Special(_) => "special",
        Class::Nosys => "nosys",
        Class::Refused => "refused",
    }
}

fn class(row: &Row) -> String {
    let word = class_word(row.class);
    match row.class {
        Class::Special(handler) => format!("{word}: {}", handler_name(handler)),
        Class::Nosys | Class::Refused => format!("{word} ({})", errno_name(row.errno)),
        _ => word.to_owned(),
    }
}

fn handler_name(handler: Special) -> String {
    format!("{handler:?}")
}

/// The names of the errors that rows use.
pub(super) fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::ENOSYS => "ENOSYS",
        libc::EPERM => "EPERM",
        libc::EINVAL => "EINVAL",
        libc::ENOTTY => "ENOTTY",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        _ => "?",
    }
}

fn argument(arg: Arg) -> String {
    match arg {
        Arg::Int => "int".to_owned(),
        Arg::Fd => "fd".to_owned(),
        Arg::DirFd => "dirfd".to_owned(),
        Arg::Addr => "addr".to_owned(),
        Arg::Path => "path".to_owned(),
        Arg::Str => "str".to_owned(),
        Arg::In(len) => format!("in {}", length(len)),
        Arg::Out { cap, used } if cap == used => format!("out {}", length(cap)),
        Arg::Out { cap, used } => format!("out {} -> {}", length(cap), length(used)),
        Arg::InOut(len) => format!("inout {}", length(len)),
        Arg::InOutAlways(len) => format!("inout! {}", length(len)),
        Arg::IovIn(i) => format!("iovin #{i}"),
        Arg::IovOut(i) => format!("iovout #{i}"),
        Arg::MsgIn => "msgin".to_owned(),
        Arg::MsgOut => "msgout".to_owned(),
        Arg::MmsgIn(i) => format!("mmsgin #{i}"),
        Arg::MmsgOut(i) => format!("mmsgout #{i}"),
        Arg::Filter => "sock_fprog".to_owned(),
        Arg::Ifconf => "ifconf".to_owned(),
    }
}

fn length(len: Len) -> String {
    match len {
        Len::Fixed(n) => n.to_string(),
        Len::Arg(i) => format!("#{i}"),
        Len::ArgTimes(i, n) => format!("{n} x #{i}"),
        Len::Ret => "ret".to_owned(),
        Len::RetTimes(n) => format!("{n} x ret"),
        Len::U32At(i) => format!("u32 at #{i}"),
        Len::FdSet(i) => format!("fd_set of #{i}"),
        Len::Bits(i) => format!("bits of #{i}"),
        Len::Arg32(i) => format!("low #{i}"),
        Len::Times32(i, n) => format!("{n} x low #{i}"),
        Len::ArgPlus(i, n) => format!("#{i} + {n}"),
        Len::RetPlus(n) => format!("ret + {n}"),
        Len::IfRet(n) => format!("{n} if ret > 0"),
        Len::Inside(Inside::SchedAttr(i)) => format!("sched_attr at #{i}"),
        Len::Inside(Inside::FileHandle(i)) => format!("file_handle at #{i}"),
        Len::Inside(Inside::CapData(i)) => format!("capabilities, header at #{i}"),
        Len::Inside(Inside::Fiemap(i)) => format!("fiemap at #{i}"),
        Len::Inside(Inside::Dedupe(i)) => format!("file_dedupe_range at #{i}"),
        Len::Inside(Inside::RandPool(i)) => format!("rand_pool_info at #{i}"),
    }
}
