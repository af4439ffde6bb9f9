//! A replica's memory map (proc(5), /proc/PID/maps).
//!
//! Invariant: only reads; used for fault injection, for comparing donors and for finding text, never on the hot
//! path.

/// A range of addresses, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
}

impl Range {
    /// Bytes in it.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// One line of the map.
struct Line {
    range: Range,
    writable: bool,
    executable: bool,
    anonymous: bool,
    file: String,
    name: String,
}

fn lines(pid: u32) -> Vec<Line> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let (offset, device, inode) = (words.next()?, words.next()?, words.next()?);
    Some(Line {
        range: Range {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
        },
        writable: rights.starts_with("rw"),
        executable: rights.as_bytes().get(2) == Some(&b'x'),
        anonymous: inode == "0",
        file: format!("{device} {inode} {offset}"),
        name: words.next().unwrap_or_default().to_owned(),
    })
}

/// Everything the process may write to.
pub fn writable(pid: u32) -> Vec<Range> {
    lines(pid).into_iter().filter(|l| l.writable).map(|l| l.range).collect()
}

/// Text of files: where it is, and which part of which file it is.
pub fn texts(pid: u32) -> Vec<(Range, String)> {
    let text = |l: &Line| l.executable && !l.writable && !l.anonymous;
    lines(pid).into_iter().filter(text).map(|l| (l.range, l.file)).collect()
}

/// The heap; without one, the largest anonymous mapping.
pub fn heap(pid: u32) -> Option<Range> {
    let all = lines(pid);
    let heap = all.iter().find(|l| l.name == "[heap]").map(|l| l.range);
    heap.or_else(|| {
        all.iter()
            .filter(|l| l.writable && l.anonymous && l.name.is_empty())
            .map(|l| l.range)
            .max_by_key(Range::len)
    })
}

/// The main stack; its upper 64 KiB, where frames are.
pub fn stack(pid: u32) -> Option<Range> {
    let r = lines(pid).into_iter().find(|l| l.name == "[stack]")?.range;
    Some(Range { start: r.start.max(r.end.saturating_sub(64 << 10)), end: r.end })
}

/// Writable data of the program's own file.
pub fn data(pid: u32) -> Option<Range> {
    lines(pid).into_iter().find(|l| l.writable && l.name.starts_with('/')).map(|l| l.range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood() {
        let l = parse("7ffff7dd5000-7ffff7dd7000 rw-p 00000000 00:00 0 [heap]").unwrap();
        assert_eq!(l.range, Range { start: 0x7fff_f7dd_5000, end: 0x7fff_f7dd_7000 });
        assert!(l.writable && l.anonymous);
        assert_eq!(l.name, "[heap]");
    }
}
