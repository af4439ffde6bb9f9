//! The texts of /proc/PID/status, stat and wchan (proc(5)) as the program would show them: those
//! of its outside, with the address space of a replica and what only the dispatcher knows.
//!
//! Invariant: pure; a line or field that is not understood stays as the outside has it. Called by
//! the dispatcher for each read of such a file.

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// /proc/PID/status.
    Status,
    /// /proc/PID/stat.
    Stat,
    /// /proc/PID/wchan: where in the kernel it waits.
    Wchan,
}

impl File {
    /// The name of the file in its directory.
    pub fn name(self) -> &'static str {
        match self {
            File::Status => "status",
            File::Stat => "stat",
            File::Wchan => "wchan",
        }
    }
}

/// What neither the outside nor a replica shows of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// It computes, whatever its outside does.
    pub running: bool,
    /// Signals that it blocks, ignores and catches, as bit masks.
    pub blocked: u64,
    /// See `blocked`.
    pub ignored: u64,
    /// See `blocked`.
    pub caught: u64,
    /// Signals taken from the outside that the program has not had yet, sent to a thread.
    pub pending: u64,
    /// The same, sent to the process.
    pub shared_pending: u64,
    /// Its CPU time, in ticks of 1/100 s.
    pub ticks: u64,
    /// That of its children that have been waited for.
    pub child_ticks: u64,
    /// Places in its descriptor table.
    pub slots: u32,
}

/// Lines of status that are about the address space.
const OF_THE_SPACE: [&[u8]; 17] = [
    b"VmPeak",
    b"VmSize",
    b"VmLck",
    b"VmPin",
    b"VmHWM",
    b"VmRSS",
    b"RssAnon",
    b"RssFile",
    b"RssShmem",
    b"VmData",
    b"VmStk",
    b"VmExe",
    b"VmLib",
    b"VmPTE",
    b"VmPMD",
    b"VmSwap",
    b"HugetlbPages",
];

/// Fields of stat that are about the address space, counted from 1 as proc(5) does: page faults,
/// sizes, and where things are.
const FIELDS_OF_THE_SPACE: [usize; 16] =
    [10, 12, 23, 24, 26, 27, 28, 29, 30, 45, 46, 47, 48, 49, 50, 51];

/// The place of the flags of the process among the fields of stat, and the flag that it was forked
/// and has executed nothing since (include/linux/sched.h, PF_FORKNOEXEC): its outside never does.
const FLAGS: usize = 9;
const ONLY_FORKED: u64 = 0x40;

/// The first field of stat behind the name, which may hold anything.
const BEHIND_NAME: usize = 3;

/// The text of `file`: `outside` is that of the executor, `replica` that of a replica.
pub fn text(file: File, outside: &[u8], replica: &[u8], known: &Known) -> Vec<u8> {
    match file {
        File::Status => status(outside, replica, known),
        File::Stat => stat(outside, replica, known),
        File::Wchan if known.running => b"0".to_vec(),
        File::Wchan => outside.to_vec(),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|b| *b == b'\n')
}

fn key(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b':').next().unwrap_or(line)
}

fn hexadecimal(line: &[u8]) -> u64 {
    let value = line.rsplit(|b| b.is_ascii_whitespace()).find(|w| !w.is_empty());
    let value = value.and_then(|v| std::str::from_utf8(v).ok());
    value.and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0)
}

fn status(outside: &[u8], replica: &[u8], known: &Known) -> Vec<u8> {
    let mut all = Vec::with_capacity(outside.len() + 64);
    for line in lines(outside) {
        let name = key(line);
        let mask = match name {
            b"SigPnd" => Some(hexadecimal(line) | known.pending),
            b"ShdPnd" => Some(hexadecimal(line) | known.shared_pending),
            b"SigBlk" => Some(known.blocked),
            b"SigIgn" => Some(known.ignored),
            b"SigCgt" => Some(known.caught),
            _ => None,
        };
        if let Some(mask) = mask {
            all.extend_from_slice(name);
            all.extend_from_slice(format!(":\t{mask:016x}\n").as_bytes());
        } else if name == b"State" && known.running && line.starts_with(b"State:\tS") {
            all.extend_from_slice(b"State:\tR (running)\n");
        } else if name == b"FDSize" && known.slots != 0 {
            all.extend_from_slice(format!("FDSize:\t{}\n", known.slots).as_bytes());
        } else if OF_THE_SPACE.contains(&name) {
            let of_replica = lines(replica).find(|l| key(l) == name);
            all.extend_from_slice(of_replica.unwrap_or(line));
        } else {
            all.extend_from_slice(line);
        }
    }
    all
}

/// What stands before the fields behind the name, and those.
fn fields(text: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let end = text.iter().rposition(|b| *b == b')')? + 2;
    let rest = text.get(end..)?;
    let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
    Some((&text[..end], rest.split(|b| *b == b' ').collect()))
}

fn stat(outside: &[u8], replica: &[u8], known: &Known) -> Vec<u8> {
    let (Some((start, own)), Some((_, theirs))) = (fields(outside), fields(replica)) else {
        return outside.to_vec();
    };
    let mut all = start.to_vec();
    for (i, field) in own.iter().enumerate() {
        if i > 0 {
            all.push(b' ');
        }
        let number = i + BEHIND_NAME;
        let decimal = std::str::from_utf8(field).ok().and_then(|f| f.parse::<u64>().ok());
        // The kernel shows the first 31 signals here.
        let mask = |m: u64| Some(m & 0x7fff_ffff);
        let theirs = theirs.get(i).copied().unwrap_or(field);
        let of_replica = std::str::from_utf8(theirs).ok().and_then(|f| f.parse::<u64>().ok());
        let value = match number {
            FLAGS => decimal.zip(of_replica).map(|(o, r)| o & !ONLY_FORKED | r & ONLY_FORKED),
            14 => Some(known.ticks),
            16 => Some(known.child_ticks),
            15 | 17 => Some(0), // all of it is said to be user time
            31 => mask(decimal.unwrap_or(0) | known.pending),
            32 => mask(known.blocked),
            33 => mask(known.ignored),
            34 => mask(known.caught),
            35 if known.running => Some(0), // waits nowhere
            _ => None,
        };
        match value {
            Some(v) => all.extend_from_slice(v.to_string().as_bytes()),
            None if FIELDS_OF_THE_SPACE.contains(&number) => all.extend_from_slice(theirs),
            _ if number == BEHIND_NAME && known.running && *field == b"S" => all.push(b'R'),
            _ => all.extend_from_slice(field),
        }
    }
    all.push(b'\n');
    all
}

/// The state letter in a text, where it has one.
pub fn state(file: File, text: &[u8]) -> Option<u8> {
    match file {
        File::Status => lines(text).find(|l| key(l) == b"State")?.get(7).copied(),
        File::Stat => fields(text)?.1.first()?.first().copied(),
        File::Wchan => None,
    }
}

/// The same text with the numbers of processes and threads as the program knows them.
pub fn renumbered(file: File, text: Vec<u8>, told: impl Fn(u32) -> u32) -> Vec<u8> {
    let shown = |word: &[u8]| {
        let number = std::str::from_utf8(word).ok()?.trim().parse::<u32>().ok()?;
        Some(told(number).to_string().into_bytes())
    };
    match file {
        File::Status => {
            let mut all = Vec::with_capacity(text.len());
            for line in lines(&text) {
                let numbers = [&b"Tgid"[..], b"Pid", b"PPid", b"NStgid", b"NSpid", b"NSpgid"];
                let name = key(line);
                let value = line.get(name.len() + 1..).and_then(&shown);
                match value.filter(|_| numbers.contains(&name)) {
                    Some(value) => all.extend([name, b":\t", &value, b"\n"].concat()),
                    None => all.extend_from_slice(line),
                }
            }
            all
        }
        File::Stat => {
            let end = text.iter().position(|b| *b == b' ').unwrap_or(0);
            match shown(&text[..end]) {
                Some(own) => [&own, &text[end..]].concat(),
                None => text,
            }
        }
        File::Wchan => text,
    }
}

/// The CPU time of the one thread or process that a text of stat is about, in ticks.
pub fn ticks(text: &[u8]) -> Option<u64> {
    let (_, all) = fields(text)?;
    let field = |n: usize| std::str::from_utf8(all.get(n - BEHIND_NAME)?).ok()?.parse::<u64>().ok();
    Some(field(14)? + field(15)?)
}

/// Which file a path leads to, if it is one of these of a process or a thread: its number, and
/// whether it is the thread's.
pub fn meant(path: &[u8]) -> Option<(File, u32, bool)> {
    let mut parts = path.rsplit(|b| *b == b'/');
    let file = match parts.next()? {
        b"status" => File::Status,
        b"stat" => File::Stat,
        b"wchan" => File::Wchan,
        _ => return None,
    };
    let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    Some((file, number, parts.next() == Some(b"task")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: &[u8] =
        b"Name:\ta: b\nState:\tS (sleeping)\nFDSize:\t1024\nVmPeak:\t 8395232 kB\n\
        VmRSS:\t    3692 kB\nSigPnd:\t0000000000000800\nSigBlk:\t0000000000000000\n\
        SigCgt:\tfffffffff780eefe\nSeccomp:\t0\n";
    const REPLICA: &[u8] = b"Name:\ta: b\nState:\tt (tracing stop)\nFDSize:\t64\n\
        VmPeak:\t   33200 kB\nVmRSS:\t   32236 kB\nSigPnd:\t0000000000000000\nSeccomp:\t2\n";

    fn known() -> Known {
        Known {
            running: true,
            blocked: 1,
            caught: 0x200,
            pending: 2,
            slots: 256,
            ..Known::default()
        }
    }

    #[test]
    fn status_has_the_space_of_a_replica_and_the_signals_of_the_program() {
        let text = text(File::Status, OUTSIDE, REPLICA, &known());
        let wanted = "Name:\ta: b\nState:\tR (running)\nFDSize:\t256\nVmPeak:\t   33200 kB\n\
            VmRSS:\t   32236 kB\nSigPnd:\t0000000000000802\nSigBlk:\t0000000000000001\n\
            SigCgt:\t0000000000000200\nSeccomp:\t0\n";
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }

    #[test]
    fn a_state_other_than_asleep_is_the_outsides() {
        let stopped = b"State:\tT (stopped)\n";
        assert_eq!(text(File::Status, stopped, REPLICA, &known()), stopped);
        assert_eq!(state(File::Status, stopped), Some(b'T'));
    }

    #[test]
    fn stat_is_read_behind_a_name_that_holds_anything() {
        let line = |name: &str, state: &str, from: u64| {
            let numbers: Vec<String> = (from..from + 49).map(|n| n.to_string()).collect();
            format!("7 ({name}) {state} {}\n", numbers.join(" ")).into_bytes()
        };
        let known = Known { ticks: 5, child_ticks: 6, ..known() };
        let all = text(File::Stat, &line("a) S (b", "S", 4), &line("x", "t", 1004), &known);
        assert!(all.starts_with(b"7 (a) S (b) R 4 5 "), "{}", String::from_utf8_lossy(&all));
        let (_, all) = fields(&all).unwrap();
        let field = |n: usize| std::str::from_utf8(all[n - 3]).unwrap();
        assert_eq!([field(9), field(10), field(11)], ["73", "1010", "11"]);
        assert_eq!([field(14), field(15), field(16), field(17)], ["5", "0", "6", "0"]);
        assert_eq!([field(23), field(31), field(34), field(35)], ["1023", "31", "512", "0"]);
        assert_eq!(all.len(), 50);
    }

    #[test]
    fn a_path_says_whose_file_it_is() {
        assert_eq!(meant(b"/proc/12/status"), Some((File::Status, 12, false)));
        assert_eq!(meant(b"/mnt/proc/12/task/13/stat"), Some((File::Stat, 13, true)));
        assert_eq!(meant(b"/proc/stat"), None);
        assert_eq!(meant(b"/proc/12/statm"), None);
    }

    #[test]
    fn times_are_added_up() {
        assert_eq!(ticks(b"1 (a b) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17"), Some(29));
        assert_eq!(ticks(b"1 (a b) S 4"), None);
    }
}
