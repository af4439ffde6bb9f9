//! The smallest part of the outside: performing a call so that a signal is never lost, catching
//! signals for the program, and making new executors.
//!
//! An executor runs on a stack inside its slot of the arena, so that the slot follows from the
//! stack pointer alone: in a signal handler, in a thread, in a forked child.
//!
//! Invariant: nothing here allocates, unwinds, or uses libc's state; each signal that arrives is
//! posted to the slot's ring, and a call that was issued before the post was seen either has
//! started in the kernel (and is interrupted there) or does not start.

use std::arch::global_asm;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::process;
use crate::raw;
use crate::region::Region;

/// Offsets inside a slot of what executor, catcher and dispatcher share.
pub mod slot {
    /// Futex word: who has the slot, see [`super::state`].
    pub const STATE: usize = 0x00;
    /// What is asked for (u32).
    pub const OP: usize = 0x04;
    /// Signals posted so far (u32).
    pub const POSTED: usize = 0x08;
    /// Signals taken by the dispatcher so far (u32).
    pub const TAKEN: usize = 0x0c;
    /// System call number (u32).
    pub const NR: usize = 0x10;
    /// Value of `POSTED` that the request knows of (u32).
    pub const SEEN: usize = 0x14;
    /// Six arguments (u64 each).
    pub const ARGS: usize = 0x20;
    /// Signal mask of the program for the request (u64).
    pub const MASK: usize = 0x50;
    /// Raw result (i64).
    pub const RET: usize = 0x58;
    /// Pid of the executor's process (u32) and its thread id (u32).
    pub const PID: usize = 0x60;
    /// Thread id.
    pub const TID: usize = 0x64;
    /// A futex word that a request may wait at: 1 once it is to go on (u32).
    pub const GATE: usize = 0x68;
    /// 1 while the executor has every signal blocked, because more came than were taken (u32).
    pub const HELD: usize = 0x6c;
    /// How much of a write that is made in pieces has been made (u64).
    pub const WRITTEN: usize = 0x70;
    /// The siginfo of a signal to be queued again (128 bytes).
    pub const AGAIN: usize = 0x80;
    /// Ring of posted signals: [`RING_LEN`] entries of 128 bytes.
    pub const RING: usize = 0x400;
    /// Entries in the ring.
    pub const RING_LEN: usize = 32;
    /// Entries that were not taken from which on the executor blocks all signals.
    pub const RING_HELD: u32 = 24;
    /// The command line that `ps` shows, when it was set by an exec.
    pub const TITLE: usize = 0x1400;
    /// Room for it.
    pub const TITLE_LEN: usize = 0xc00;
    /// Bottom of the executor's stack.
    pub const STACK: usize = 0x2000;
    /// Top of the executor's stack.
    pub const STACK_TOP: usize = 0x1_2000;
}

/// Values of a slot's state word.
pub mod state {
    /// The executor waits for a request.
    pub const IDLE: u32 = 0;
    /// A request is there.
    pub const REQUEST: u32 = 1;
    /// It is being performed.
    pub const RUNNING: u32 = 2;
    /// Its result is there.
    pub const DONE: u32 = 3;
}

/// Answer of [`perform`] when a signal was posted before the call could start.
pub const NOT_STARTED: i64 = -512;

static BASE: AtomicUsize = AtomicUsize::new(0);
static FIRST_SLOT: AtomicUsize = AtomicUsize::new(0);
static STRIDE: AtomicUsize = AtomicUsize::new(0);
static LEN: AtomicUsize = AtomicUsize::new(0);
static BELL: AtomicI32 = AtomicI32::new(-1);
static LIFELINE: AtomicI32 = AtomicI32::new(-1);

/// Descriptor of the bell, the same number in every process of ours: an eventfd.
pub fn bell_fd() -> i32 {
    BELL.load(Ordering::Relaxed)
}

/// Descriptor of the lifeline in every executor: see [`tie_to`].
pub fn lifeline_fd() -> i32 {
    LIFELINE.load(Ordering::Relaxed)
}

/// Tells the catcher where slots are (offset of the first, distance), which eventfd to ring, and
/// under which number the lifeline is kept.
pub fn configure(arena: Region, first_slot: usize, stride: usize, bell: i32, lifeline: i32) {
    LIFELINE.store(lifeline, Ordering::Relaxed);
    BASE.store(arena.address(0) as usize, Ordering::Relaxed);
    LEN.store(arena.len(), Ordering::Relaxed);
    FIRST_SLOT.store(first_slot, Ordering::Relaxed);
    STRIDE.store(stride, Ordering::Relaxed);
    BELL.store(bell, Ordering::Relaxed);
}

/// The arena that [`configure`] was told of; for code that starts on a new stack with a number only.
pub fn arena() -> Region {
    Region::at_base(BASE.load(Ordering::Relaxed), LEN.load(Ordering::Relaxed))
}

global_asm!(
    r#"
    .text
    .globl chameleon_perform
    .type chameleon_perform,@function
chameleon_perform:                      // rdi nr, rsi args, rdx &posted, ecx seen
    push rbx
    push r12
    mov rbx, rdx
    mov r12d, ecx
    mov rax, rdi
    mov r11, rsi
    mov rdi, [r11]
    mov rsi, [r11+8]
    mov rdx, [r11+16]
    mov r10, [r11+24]
    mov r8,  [r11+32]
    mov r9,  [r11+40]
    .globl chameleon_perform_begin
chameleon_perform_begin:
    cmp dword ptr [rbx], r12d
    jne chameleon_perform_abort
    syscall
    .globl chameleon_perform_end
chameleon_perform_end:
    pop r12
    pop rbx
    ret
    .globl chameleon_perform_abort
chameleon_perform_abort:
    mov rax, -512
    jmp chameleon_perform_end

    .globl chameleon_clone
    .type chameleon_clone,@function
chameleon_clone:                        // rdi flags, rsi stack top, rdx entry, rcx argument
    mov r8, rdx
    mov r9, rcx
    mov eax, 56
    xor edx, edx
    xor r10d, r10d
    push r8
    push r9
    xor r8d, r8d
    mov r12, [rsp+8]
    mov r13, [rsp]
    syscall
    test rax, rax
    jz 2f
    add rsp, 16
    ret
2:  xor ebp, ebp
    mov rdi, r13
    call r12
    ud2

    .globl chameleon_switch
    .type chameleon_switch,@function
chameleon_switch:                       // rdi stack top, rsi entry, rdx argument
    mov rsp, rdi
    xor ebp, ebp
    mov rdi, rdx
    call rsi
    ud2

    .globl chameleon_restorer
    .type chameleon_restorer,@function
chameleon_restorer:
    mov eax, 15
    syscall
    ud2
"#
);

unsafe extern "C" {
    fn chameleon_perform(nr: u64, args: *const u64, posted: *const u32, seen: u32) -> i64;
    fn chameleon_switch(top: u64, entry: extern "C" fn(u64) -> !, arg: u64) -> !;
    static chameleon_perform_begin: u8;
    static chameleon_perform_end: u8;
    static chameleon_perform_abort: u8;
    fn chameleon_restorer();
}

/// clone(2) whose child runs `entry(arg)` on the given stack; the callee-saved registers that the
/// assembly uses are kept by declaring them clobbered here.
fn clone_onto(flags: u64, top: u64, entry: extern "C" fn(u64) -> !, arg: u64) -> i64 {
    let ret: i64;
    // SAFETY: the child never returns from `entry` and uses only the stack given, which belongs to
    // its own slot; the parent returns with its stack as it was.
    unsafe {
        std::arch::asm!("call chameleon_clone",
            in("rdi") flags, in("rsi") top, in("rdx") entry as usize, in("rcx") arg,
            lateout("rax") ret, out("r12") _, out("r13") _, clobber_abi("C"));
    }
    ret
}

/// Runs `entry(arg)` on the stack of the slot at `slot_offset`, for ever.
pub fn switch_to_slot(arena: Region, slot_offset: usize, entry: extern "C" fn(u64) -> !) -> ! {
    let top = arena.address(slot_offset + slot::STACK_TOP) - 64;
    // SAFETY: the slot's stack is unused until now and 16-aligned; the old stack is left for good.
    unsafe { chameleon_switch(top, entry, slot_offset as u64) }
}

/// Makes a new executor, as a process or (with the thread flags) a thread, that runs
/// `entry(slot_offset)` on that slot's stack. The raw answer of clone(2).
pub fn spawn(arena: Region, flags: u64, slot_offset: usize, entry: extern "C" fn(u64) -> !) -> i64 {
    let top = arena.address(slot_offset + slot::STACK_TOP) - 64;
    clone_onto(flags, top, entry, slot_offset as u64)
}

/// Performs the call that stands in the slot, unless a signal was posted that the request does not
/// know of ([`NOT_STARTED`]).
///
/// The arguments come from the dispatcher, which built every pointer among them from offsets into
/// the arena; the program's own pointers never get here.
pub fn perform(arena: Region, slot_offset: usize) -> i64 {
    let nr = arena.atomic_u32(slot_offset + slot::NR).load(Ordering::Relaxed);
    perform_as(arena, slot_offset, nr, arena.record::<[u64; 6]>(slot_offset + slot::ARGS))
}

/// Performs the write that stands in the slot (write(2), writev(2), sendto(2)) in pieces of which the
/// kernel takes each wholly or not at all, from byte [`slot::WRITTEN`] on, which it keeps up to date. What
/// the last piece came to, if it failed; else how much has been written in all.
pub fn perform_in_pieces(arena: Region, slot_offset: usize) -> i64 {
    let nr = arena.atomic_u32(slot_offset + slot::NR).load(Ordering::Relaxed);
    let args = *arena.record::<[u64; 6]>(slot_offset + slot::ARGS);
    let written = arena.atomic_u64(slot_offset + slot::WRITTEN);
    loop {
        let done = written.load(Ordering::Relaxed);
        let Some((at, len)) = piece(arena, nr, &args, done) else { return done as i64 };
        let nr = if i64::from(nr) == libc::SYS_writev { libc::SYS_write as u32 } else { nr };
        let piece = [args[0], at, len, args[3], args[4], args[5]];
        let ret = perform_as(arena, slot_offset, nr, &piece);
        if ret < 0 {
            return ret;
        }
        written.store(done + ret as u64, Ordering::Release);
        if ret as u64 != len {
            return (done + ret as u64) as i64;
        }
    }
}

/// The piece of a write that begins at byte `done`: address and length. None behind its end.
fn piece(arena: Region, nr: u32, args: &[u64; 6], done: u64) -> Option<(u64, u64)> {
    let most = libc::PIPE_BUF as u64;
    let (at, len) = if i64::from(nr) == libc::SYS_writev {
        let first = arena.offset_of(args[1])?;
        let mut left = done;
        let all = (0..args[2] as usize).map(|i| *arena.record::<[u64; 2]>(first + i * 16));
        let mut rest = all.skip_while(|[_, len]| {
            let before = left >= *len;
            left -= if before { *len } else { 0 };
            before
        });
        let [at, len] = rest.next()?;
        (at + left, len - left)
    } else {
        (args[1] + done, args[2].saturating_sub(done))
    };
    (len > 0).then_some((at, len.min(most)))
}

fn perform_as(arena: Region, slot_offset: usize, nr: u32, args: &[u64; 6]) -> i64 {
    let seen = arena.atomic_u32(slot_offset + slot::SEEN).load(Ordering::Relaxed);
    let posted = arena.atomic_u32(slot_offset + slot::POSTED);
    // SAFETY: `args` and `posted` are valid for the call; see above for the pointers in `args`.
    unsafe { chameleon_perform(u64::from(nr), args.as_ptr(), posted.as_ptr(), seen) }
}

/// Performs the call that stands in the slot in the calling process, which is not its executor:
/// for calls whose answer is the same wherever they are made.
pub fn perform_here(arena: Region, slot_offset: usize) -> i64 {
    let nr = arena.atomic_u32(slot_offset + slot::NR).load(Ordering::Relaxed);
    let args: &[u64; 6] = arena.record(slot_offset + slot::ARGS);
    // SAFETY: pointers among the arguments lead into the arena, see `perform`.
    unsafe { raw::syscall(i64::from(nr), *args) as i64 }
}

/// The kernel's `struct sigaction` for rt_sigaction(2).
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelSigaction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// fcntl(2): which signal O_ASYNC sends; missing from the libc crate.
const F_SETSIG: u64 = 10;

const SA_RESTORER: u64 = 0x0400_0000;

/// How the outside treats a signal of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// As the kernel does by default.
    Default,
    /// Ignored by the kernel.
    Ignore,
    /// Posted to the dispatcher; `flags` are the program's SA_NOCLDSTOP and SA_NOCLDWAIT.
    Catch(u64),
}

/// Sets how this executor's process treats `signal`.
pub fn dispose(signal: i32, disposition: Disposition) {
    let (handler, flags) = match disposition {
        Disposition::Default => (libc::SIG_DFL as u64, 0),
        Disposition::Ignore => (libc::SIG_IGN as u64, 0),
        Disposition::Catch(f) => (
            catch as extern "C" fn(i32, *const u8, *mut libc::ucontext_t) as usize as u64,
            libc::SA_SIGINFO as u64 | f,
        ),
    };
    let restorer: unsafe extern "C" fn() = chameleon_restorer;
    let act = KernelSigaction {
        handler,
        flags: flags | SA_RESTORER,
        restorer: restorer as usize as u64,
        mask: u64::MAX,
    };
    // SAFETY: a whole kernel sigaction; the handler is written for any point of an executor.
    unsafe {
        raw::syscall(libc::SYS_rt_sigaction, [signal as u64, &raw const act as u64, 0, 8, 0, 0]);
    }
}

/// Whether `signal` is now ignored in this process.
pub fn is_ignored(signal: i32) -> bool {
    let mut act = KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: a whole kernel sigaction to write to.
    unsafe {
        raw::syscall(libc::SYS_rt_sigaction, [signal as u64, 0, &raw mut act as u64, 8, 0, 0]);
    }
    act.handler == libc::SIG_IGN as u64
}

/// The handler of every signal that the program may want to know of. `mask: u64::MAX` above keeps
/// it from being interrupted by another.
extern "C" fn catch(sig: i32, info: *const u8, uc: *mut libc::ucontext_t) {
    let here = &raw const sig as usize;
    let base = BASE.load(Ordering::Relaxed);
    let first = base + FIRST_SLOT.load(Ordering::Relaxed);
    let stride = STRIDE.load(Ordering::Relaxed);
    if here < first || stride == 0 {
        return; // not on a slot's stack: the process is not an executor yet
    }
    let slot = first + (here - first) / stride * stride;
    // SAFETY: `slot` is the slot whose stack this handler runs on; the kernel gave `info` (128
    // bytes) and `uc`; the fields written belong to this executor alone, `POSTED` last.
    unsafe {
        let posted = &*((slot + slot::POSTED) as *const std::sync::atomic::AtomicU32);
        let taken = &*((slot + slot::TAKEN) as *const std::sync::atomic::AtomicU32);
        let n = posted.load(Ordering::Relaxed);
        let code = i32::from_ne_bytes([*info.add(8), *info.add(9), *info.add(10), *info.add(11)]);
        let own_fault = code > 0 && code != libc::SI_KERNEL && is_fault(sig);
        if own_fault {
            // A fault of the executor itself: as the kernel would end it.
            dispose(sig, Disposition::Default);
            return;
        }
        if n.wrapping_sub(taken.load(Ordering::Acquire)) < slot::RING_LEN as u32 {
            let entry = slot + slot::RING + (n as usize % slot::RING_LEN) * 128;
            std::ptr::copy_nonoverlapping(info, entry as *mut u8, 128);
            posted.store(n.wrapping_add(1), Ordering::Release);
        }
        // A timer may send them faster than this handler returns, and nothing else would run. What
        // is blocked stays in the kernel's queue, so that none is lost for want of room here.
        if n.wrapping_add(1).wrapping_sub(taken.load(Ordering::Acquire)) >= slot::RING_HELD {
            let held = &*((slot + slot::HELD) as *const std::sync::atomic::AtomicU32);
            held.store(1, Ordering::Relaxed);
            // The kernel's set has 64 bits, whatever the C library's type says.
            *(&raw mut (*uc).uc_sigmask).cast::<u64>() = u64::MAX;
        }
        let rip = &mut (*uc).uc_mcontext.gregs[libc::REG_RIP as usize];
        let at = *rip as usize;
        let begin = &raw const chameleon_perform_begin as usize;
        let end = &raw const chameleon_perform_end as usize;
        if (begin..end).contains(&at) {
            *rip = &raw const chameleon_perform_abort as i64;
        }
    }
    raw::ring_bell(BELL.load(Ordering::Relaxed));
}

/// Whether `sig` is one that an instruction raises (signal(7)).
pub fn is_fault(sig: i32) -> bool {
    matches!(
        sig,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP | libc::SIGSYS
    )
}

/// Whether the kernel's default for `signal` does nothing (signal(7)).
pub fn default_is_ignore(signal: i32) -> bool {
    matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT)
}

/// Whether the kernel's default for `signal` stops the process (signal(7)).
pub fn default_is_stop(signal: i32) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Ends this process by `signal`, as the program would have ended.
pub fn die_by(signal: i32) -> ! {
    dispose(signal, Disposition::Default);
    process::set_mask(0);
    // To this thread: another one might take its time, and this one would be past it.
    process::tgkill_any(raw::gettid() as u32, signal);
    process::exit_now(128 + signal)
}

/// Has the kernel kill this process when the last write end of the pipe behind `lifeline` closes
/// (fcntl(2): O_ASYNC with F_SETSIG), under descriptor `number`.
pub fn tie_to(lifeline: i32, number: i32) {
    let mut path = [0u8; 32];
    path[..14].copy_from_slice(b"/proc/self/fd/");
    let mut digits = [0u8; 10];
    let (mut i, mut v) = (digits.len(), lifeline as u32);
    loop {
        i -= 1;
        digits[i] = b'0' + (v % 10) as u8;
        v /= 10;
        if v == 0 {
            break;
        }
    }
    path[14..14 + digits.len() - i].copy_from_slice(&digits[i..]);
    let flags = (libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC) as u64;
    // SAFETY: a NUL-terminated path and a byte on this stack; the rest are numbers. Its own open
    // file makes the owner of the signal this process alone.
    unsafe {
        let fd = raw::syscall(libc::SYS_open, [path.as_ptr() as u64, flags, 0, 0, 0, 0]);
        if fd < 0 {
            return; // without /proc: the dispatcher's own watch on its parent remains
        }
        let fd = fd as u64;
        raw::fcntl(fd, libc::F_SETOWN as u64, raw::getpid() as u64);
        raw::fcntl(fd, F_SETSIG, libc::SIGKILL as u64);
        raw::fcntl(fd, libc::F_SETFL as u64, (libc::O_ASYNC | libc::O_NONBLOCK) as u64);
        // If the last write end has gone already, no signal comes any more (pipe(7): end of file).
        let mut byte = 0u8;
        if raw::syscall(libc::SYS_read, [fd, &raw mut byte as u64, 1, 0, 0, 0]) == 0 {
            raw::kill(raw::getpid() as u64, libc::SIGKILL as u64);
        }
        if fd != number as u64 {
            raw::dup3(fd, number as u64, libc::O_CLOEXEC as u64);
            raw::close(fd);
        }
    }
}

/// Queues a signal with its siginfo to the calling thread again (rt_tgsigqueueinfo(2)).
pub fn requeue(info: &[u64; 16]) {
    let signal = info[0] as u32;
    // SAFETY: a whole siginfo; a process may queue any code to itself.
    unsafe {
        raw::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            [
                raw::getpid() as u64,
                raw::gettid() as u64,
                u64::from(signal),
                info.as_ptr() as u64,
                0,
                0,
            ],
        );
    }
}
