//! What `ps` shows of a process: its command name and command line.
//!
//! Invariant: works without privilege. The command line is moved to memory of ours with
//! PR_SET_MM_MAP where the kernel has it (CONFIG_CHECKPOINT_RESTORE), else written in place.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::raw;

/// `struct prctl_mm_map` (prctl(2), PR_SET_MM_MAP).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl MmMap {
    /// The layout of the calling process, from `/proc/self/stat` (proc(5)).
    pub fn current() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<u64> = stat[stat.rfind(')')? + 2..]
            .split_ascii_whitespace()
            .map(|f| f.parse::<i64>().unwrap_or(0) as u64)
            .collect();
        // proc(5) counts from 1 and the text after the name starts with field 3.
        let f = |n: usize| fields.get(n - 3).copied();
        if LINE.load(Ordering::Relaxed) == 0 {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping at an address of the kernel's choice.
            let p = unsafe { libc::mmap(std::ptr::null_mut(), LINE_LEN, prot, flags, -1, 0) };
            if p != libc::MAP_FAILED {
                LINE.store(p as usize, Ordering::Relaxed);
            }
        }
        // SAFETY: sbrk(0) only asks.
        let brk = unsafe { libc::sbrk(0) } as u64;
        Some(Self {
            start_code: f(26)?,
            end_code: f(27)?,
            start_stack: f(28)?,
            start_data: f(45)?,
            end_data: f(46)?,
            start_brk: f(47)?,
            brk,
            arg_start: f(48)?,
            arg_end: f(49)?,
            env_start: f(50)?,
            env_end: f(51)?,
            auxv: 0,
            auxv_size: 0,
            exe_fd: u32::MAX,
        })
    }
}

/// Where the command line is kept: /proc reads it from a private anonymous mapping only, so
/// neither in the arena nor among the program's data.
static LINE: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the command line that are shown at most.
const LINE_LEN: usize = 4096;

/// Shows `line` (arguments separated and ended by NULs, at most 4096 bytes) as the command line.
pub fn set_command_line(map: &MmMap, line: &[u8]) {
    let n = line.len().min(LINE_LEN);
    let at = LINE.load(Ordering::Relaxed);
    if at == 0 {
        return in_place(map, line);
    }
    // SAFETY: `at` is a mapping of LINE_LEN bytes that only this function writes, in a process
    // with one thread.
    unsafe { std::ptr::copy_nonoverlapping(line.as_ptr(), at as *mut u8, n) };
    let mut m = *map;
    m.arg_start = at as u64;
    m.arg_end = m.arg_start + n as u64;
    // SAFETY: `m` is a whole prctl_mm_map; the kernel checks each address, and nothing of ours is
    // moved: only where /proc reads the command line from.
    let r = unsafe {
        raw::syscall(
            libc::SYS_prctl,
            [
                libc::PR_SET_MM as u64,
                libc::PR_SET_MM_MAP as u64,
                &raw const m as u64,
                size_of::<MmMap>() as u64,
                0,
                0,
            ],
        )
    };
    if r != 0 {
        in_place(map, line);
    }
}

fn in_place(map: &MmMap, line: &[u8]) {
    let room = (map.arg_end - map.arg_start) as usize;
    if room == 0 {
        return;
    }
    let n = line.len().min(room - 1);
    // SAFETY: the argument area belongs to this process, is writable, and nothing of ours reads
    // it after the start; the range is what the kernel says it is.
    unsafe {
        let p = map.arg_start as *mut u8;
        std::ptr::write_bytes(p, 0, room);
        std::ptr::copy_nonoverlapping(line.as_ptr(), p, n);
    }
}

/// Sets the command name, cut to 15 bytes by the kernel (prctl(2), PR_SET_NAME).
pub fn set_name(name: &[u8]) {
    let mut n = [0u8; 16];
    let len = name.len().min(15);
    n[..len].copy_from_slice(&name[..len]);
    // SAFETY: sixteen readable bytes that end in NUL.
    unsafe {
        raw::syscall(libc::SYS_prctl, [libc::PR_SET_NAME as u64, n.as_ptr() as u64, 0, 0, 0, 0])
    };
}
