//! ptrace(2) of replicas: what only it can do (exec, injected calls, registers, signal delivery).
//!
//! Invariant: tracees are seized, never attached with a stop, and die with their tracer
//! (PTRACE_O_EXITKILL), so nothing of ours can be left running without supervision.

use crate::error::{Errno, Error, Result};

/// General registers as the kernel lays them out.
pub type Regs = libc::user_regs_struct;

/// How a tracee was found by [`wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ended with this status.
    Exited(i32),
    /// Killed by this signal.
    Killed(i32),
    /// About to take this signal (signal-delivery-stop).
    Signal(i32),
    /// A `PTRACE_EVENT_…` other than a plain stop.
    Event(i32),
    /// A group-stop, or the stop asked for with [`interrupt`], or the first stop of a new child.
    Interrupted,
    /// A syscall-stop, asked for with [`resume_to_syscall`].
    Syscall,
}

/// The events of this name that [`Stop::Event`] carries.
pub mod event {
    pub use libc::{
        PTRACE_EVENT_CLONE as CLONE, PTRACE_EVENT_EXEC as EXEC, PTRACE_EVENT_FORK as FORK,
        PTRACE_EVENT_VFORK as VFORK, PTRACE_EVENT_VFORK_DONE as VFORK_DONE,
    };
}

fn ptrace(operation: &'static str, request: u32, pid: u32, addr: usize, data: usize) -> Result<()> {
    // SAFETY: requests that write to our memory are only made below, with valid pointers.
    let r = unsafe { libc::ptrace(request, pid, addr, data) };
    if r < 0 { Err(Error::last(operation)) } else { Ok(()) }
}

/// Begins to trace `pid` and all that it creates.
pub fn seize(pid: u32) -> Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_EXITKILL;
    ptrace("ptrace(SEIZE)", libc::PTRACE_SEIZE, pid, 0, options as usize)
}

/// Asks a running tracee to stop where it next can; one that waits for the answer to a
/// notification stops right after it, before any instruction of its own.
pub fn interrupt(pid: u32) -> Result<()> {
    ptrace("ptrace(INTERRUPT)", libc::PTRACE_INTERRUPT, pid, 0, 0)
}

/// Lets a stopped tracee run, with `signal` delivered if it is not 0.
pub fn resume(pid: u32, signal: i32) -> Result<()> {
    ptrace("ptrace(CONT)", libc::PTRACE_CONT, pid, 0, signal as usize)
}

/// Lets a stopped tracee run to the next entry or exit of a system call.
pub fn resume_to_syscall(pid: u32) -> Result<()> {
    ptrace("ptrace(SYSCALL)", libc::PTRACE_SYSCALL, pid, 0, 0)
}

/// Leaves a tracee in its group-stop (ptrace(2), PTRACE_LISTEN).
pub fn listen(pid: u32) -> Result<()> {
    ptrace("ptrace(LISTEN)", libc::PTRACE_LISTEN, pid, 0, 0)
}

/// The registers of a stopped tracee.
pub fn regs(pid: u32) -> Result<Regs> {
    // SAFETY: registers are plain numbers, zero is a value of theirs.
    let mut r: Regs = unsafe { std::mem::zeroed() };
    ptrace("ptrace(GETREGS)", libc::PTRACE_GETREGS, pid, 0, &raw mut r as usize)?;
    Ok(r)
}

/// Sets the registers of a stopped tracee.
pub fn set_regs(pid: u32, regs: &Regs) -> Result<()> {
    ptrace("ptrace(SETREGS)", libc::PTRACE_SETREGS, pid, 0, &raw const *regs as usize)
}

/// The registers as the bytes that an image keeps: struct user_regs_struct.
pub fn register_bytes(regs: &Regs) -> [u8; size_of::<Regs>()] {
    // SAFETY: 27 words without padding.
    unsafe { std::mem::transmute_copy(regs) }
}

/// The same the other way.
pub fn registers_of(bytes: &[u8; size_of::<Regs>()]) -> Regs {
    // SAFETY: 27 words, each of which may be any number.
    unsafe { std::mem::transmute_copy(bytes) }
}

/// What PTRACE_GETREGSET calls the extended state (`NT_X86_XSTATE`, elf.h).
const XSTATE: usize = 0x202;

fn regset(operation: &'static str, request: u32, pid: u32, bytes: &mut [u8]) -> Result<usize> {
    let mut v = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    ptrace(operation, request, pid, XSTATE, &raw mut v as usize)?;
    Ok(v.iov_len)
}

/// The extended state (floating point, vectors …) of a stopped tracee, as XSAVE lays it out.
pub fn extended_state(pid: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 16 << 10];
    let n = regset("ptrace(GETREGSET)", libc::PTRACE_GETREGSET, pid, &mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Sets the extended state of a stopped tracee.
pub fn set_extended_state(pid: u32, state: &[u8]) -> Result<()> {
    let mut bytes = state.to_vec();
    regset("ptrace(SETREGSET)", libc::PTRACE_SETREGSET, pid, &mut bytes).map(drop)
}

/// The signal mask of a stopped tracee (ptrace(2), PTRACE_GETSIGMASK).
pub fn signal_mask(pid: u32) -> Result<u64> {
    let mut mask = 0u64;
    ptrace("ptrace(GETSIGMASK)", GETSIGMASK, pid, 8, &raw mut mask as usize)?;
    Ok(mask)
}

/// Sets the signal mask of a stopped tracee.
pub fn set_signal_mask(pid: u32, mask: u64) -> Result<()> {
    ptrace("ptrace(SETSIGMASK)", SETSIGMASK, pid, 8, &raw const mask as usize)
}

/// Sets the one breakpoint of a stopped tracee at an instruction, or takes it away (Intel SDM 3B,
/// 18.2: debug register 0, enabled in register 7 for execution of one byte).
pub fn set_breakpoint(pid: u32, at: Option<u64>) -> Result<()> {
    let register = |i: usize| std::mem::offset_of!(libc::user, u_debugreg) + 8 * i;
    let poke = |i: usize, value: u64| {
        ptrace("ptrace(POKEUSER)", libc::PTRACE_POKEUSER, pid, register(i), value as usize)
    };
    match at {
        Some(address) => poke(0, address).and_then(|()| poke(7, 1)),
        None => poke(7, 0),
    }
}

const GETSIGMASK: u32 = 0x420a;
const SETSIGMASK: u32 = 0x420b;

/// The message of the event a tracee stands at: a new child's pid for the fork family.
pub fn event_message(pid: u32) -> Result<u64> {
    let mut m: libc::c_ulong = 0;
    ptrace("ptrace(GETEVENTMSG)", libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut m as usize)?;
    Ok(m)
}

/// The `siginfo_t` of a signal-delivery-stop, as its 128 bytes.
pub fn siginfo(pid: u32) -> Result<[u8; 128]> {
    let mut s = [0u64; 16];
    ptrace("ptrace(GETSIGINFO)", libc::PTRACE_GETSIGINFO, pid, 0, s.as_mut_ptr() as usize)?;
    Ok(bytemuck::cast(s))
}

/// Replaces the `siginfo_t` of a signal-delivery-stop.
pub fn set_siginfo(pid: u32, info: &[u8; 128]) -> Result<()> {
    let s: [u64; 16] = bytemuck::pod_read_unaligned(info);
    ptrace("ptrace(SETSIGINFO)", libc::PTRACE_SETSIGINFO, pid, 0, s.as_ptr() as usize)
}

/// Writes eight bytes into a stopped tracee, whatever the protection of the page.
pub fn poke(pid: u32, addr: u64, word: u64) -> Result<()> {
    ptrace("ptrace(POKETEXT)", libc::PTRACE_POKETEXT, pid, addr as usize, word as usize)
}

/// Writes bytes into a stopped tracee, whatever the protection of their pages.
pub fn poke_bytes(pid: u32, addr: u64, bytes: &[u8]) -> Result<()> {
    for (i, part) in bytes.chunks(8).enumerate() {
        let at = addr + 8 * i as u64;
        let mut word = if part.len() < 8 { peek(pid, at)?.to_le_bytes() } else { [0; 8] };
        word[..part.len()].copy_from_slice(part);
        poke(pid, at, u64::from_le_bytes(word))?;
    }
    Ok(())
}

/// Lets a stopped tracee execute one instruction (ptrace(2), PTRACE_SINGLESTEP).
pub fn step(pid: u32) -> Result<()> {
    ptrace("ptrace(SINGLESTEP)", libc::PTRACE_SINGLESTEP, pid, 0, 0)
}

/// Reads eight bytes of a stopped tracee.
pub fn peek(pid: u32, addr: u64) -> Result<u64> {
    Errno::clear();
    // SAFETY: glibc's wrapper returns the word and reports failure in errno.
    let w = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, pid, addr as usize, 0usize) };
    if w == -1 && Errno::last_raw() != 0 {
        return Err(Error::last("ptrace(PEEKTEXT)"));
    }
    Ok(w as u64)
}

/// Waits for tracee or child `pid` (or any: `None`); `Ok(None)` when `block` is false and nothing
/// has happened. With the stop comes the CPU time in nanoseconds that a tracee which ended had used.
pub fn wait(pid: Option<u32>, block: bool) -> Result<Option<(u32, Stop, u64)>> {
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    loop {
        let mut st = 0;
        // SAFETY: an all-zero rusage is valid; both are valid to write to.
        let (r, usage) = unsafe {
            let mut u: libc::rusage = std::mem::zeroed();
            (libc::wait4(pid.map_or(-1, |p| p as i32), &mut st, flags, &mut u), u)
        };
        let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1000;
        return match r {
            0 => Ok(None),
            r if r > 0 => Ok(Some((r as u32, decode(st), ns(usage.ru_utime) + ns(usage.ru_stime)))),
            _ if Errno::last() == Errno::EINTR => continue,
            _ => Err(Error::last("waitpid")),
        };
    }
}

/// ptrace(2), "Stopped tracees": how a wait status says which stop it is.
fn decode(st: i32) -> Stop {
    if libc::WIFEXITED(st) {
        return Stop::Exited(libc::WEXITSTATUS(st));
    }
    if libc::WIFSIGNALED(st) {
        return Stop::Killed(libc::WTERMSIG(st));
    }
    let sig = libc::WSTOPSIG(st);
    match st >> 16 {
        0 if sig == libc::SIGTRAP | 0x80 => Stop::Syscall,
        0 => Stop::Signal(sig),
        libc::PTRACE_EVENT_STOP => Stop::Interrupted,
        e => Stop::Event(e),
    }
}

/// The processor's time stamp counter.
pub fn time_stamp() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and this process may use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}
