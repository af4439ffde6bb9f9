//! What a row of the syscall table says.
//!
//! Invariant: plain constant data; nothing here performs or decides anything.

/// How long a buffer is. Indices count arguments from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Len {
    /// This many bytes.
    Fixed(u32),
    /// As many bytes as argument `i` says.
    Arg(u8),
    /// Argument `i` elements of so many bytes.
    ArgTimes(u8, u32),
    /// As many bytes as the call returned (output only).
    Ret,
    /// So many elements as the call returned, of so many bytes (output only).
    RetTimes(u32),
    /// The `u32` (`socklen_t`) that argument `i` points to: capacity before the call, and for
    /// what came out the smaller of capacity and the value after the call.
    U32At(u8),
    /// An `fd_set` for argument `i` descriptors: `(n + 63) / 64 * 8` bytes.
    FdSet(u8),
    /// `(argument i + 7) / 8` bytes.
    Bits(u8),
    /// As [`Len::Arg`], where the kernel's parameter is an `int` or `unsigned int`: only the low
    /// half of the register counts, what stands above it is not defined (System V ABI, 3.2.3). A
    /// negative `int` is so a length beyond every buffer; the kernel answers it with `EINVAL`.
    Arg32(u8),
    /// As [`Len::ArgTimes`], for an `int` or `unsigned int` parameter.
    Times32(u8, u32),
    /// Argument `i` and so many bytes (the `mtype` before a message of msgsnd(2)).
    ArgPlus(u8, u32),
    /// As many bytes as the call returned, and so many more (output only).
    RetPlus(u32),
    /// So many bytes if the call returned more than 0, else none (output only): wait4(2) with
    /// `WNOHANG` leaves its buffers alone when no child has changed.
    IfRet(u32),
    /// A length that stands inside a structure of the program.
    Inside(Inside),
}

/// Lengths that a structure in the program's memory carries. The index is the argument that points
/// to that structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// `struct sched_attr`: its `size`, where 0 means 48 (sched_setattr(2)).
    SchedAttr(u8),
    /// `struct file_handle`: 8 and `handle_bytes`, which is at most 128 (open_by_handle_at(2)).
    FileHandle(u8),
    /// The data of capget(2): 12 bytes for version 1 in the header, 24 for versions 2 and 3.
    CapData(u8),
    /// `struct fiemap`: 32 and 56 for each of `fm_extent_count`.
    Fiemap(u8),
    /// `struct file_dedupe_range`: 24 and 32 for each of `dest_count`.
    Dedupe(u8),
    /// `struct rand_pool_info`: 8 and `buf_size` (random(4)).
    RandPool(u8),
}

/// What one argument is. Scalars and addresses are compared as the full 64 bits; buffers going in
/// are compared by their bytes too. A null pointer is always allowed and means "no buffer".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number: flags, length, signal, identity …
    Int,
    /// A file descriptor of the application.
    Fd,
    /// A file descriptor of the application or `AT_FDCWD`.
    DirFd,
    /// An address that the call does not read or write through (or that only a native call does).
    Addr,
    /// A NUL-terminated path, at most `PATH_MAX`.
    Path,
    /// Another NUL-terminated string (attribute name, file system type …), at most 4096 bytes.
    Str,
    /// A buffer read by the kernel.
    In(Len),
    /// A buffer written by the kernel: room, and how much of it the result fills.
    Out {
        /// Bytes the kernel may write.
        cap: Len,
        /// Bytes that are copied back after success.
        used: Len,
    },
    /// A buffer read and then written, of one length.
    InOut(Len),
    /// As [`Arg::InOut`], and copied back whatever the result: the kernel writes it when the call
    /// fails too (the rest of an interrupted nanosleep(2)), or leaves it as it was.
    InOutAlways(Len),
    /// An `iovec` array whose buffers are read; its count is argument `i`.
    IovIn(u8),
    /// An `iovec` array whose buffers are written; its count is argument `i`.
    IovOut(u8),
    /// `struct msghdr` of sendmsg(2).
    MsgIn,
    /// `struct msghdr` of recvmsg(2).
    MsgOut,
    /// `struct mmsghdr` array of sendmmsg(2); its count is argument `i`.
    MmsgIn(u8),
    /// `struct mmsghdr` array of recvmmsg(2); its count is argument `i`.
    MmsgOut(u8),
    /// `struct sock_fprog`: a number of instructions (u16), and where they are.
    Filter,
    /// `struct ifconf`: a length in bytes (int), and where so many may be written (netdevice(7)).
    Ifconf,
}

/// What becomes of a call that was interrupted by a signal whose handler ran (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never interrupted, or `EINTR` always.
    No,
    /// Restarted when the handler has `SA_RESTART`, else `EINTR` (kernel: `-ERESTARTSYS`).
    Sys,
    /// Restarted behind any handler (kernel: `-ERESTARTNOINTR`).
    Always,
}

/// Who executes a call, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Runs inside the replica, is never trapped: it touches only the sphere of replication.
    Native,
    /// Voted; performed once by the outside when K equal ballots are in; result fanned out.
    Sync,
    /// Has no effect outside (clock, identity, stat of a descriptor): may be performed for the
    /// first ballot, the others are compared as they come.
    First,
    /// Voted and performed by the outside; when that succeeded, run by every replica as well,
    /// because it also changes the sphere (resource limits, working directory, credentials).
    Mirror,
    /// Has a handler of its own.
    Special(Special),
    /// Answered with the row's `errno` (`ENOSYS`, if nothing else is said), as by a kernel built
    /// without it; why is in the row's note.
    Nosys,
    /// Refused with the row's `errno`: the run is told so by name; why is in the row's note.
    Refused,
}

/// The calls with handlers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// fork, vfork, clone.
    Fork,
    /// execve, execveat.
    Exec,
    /// exit, exit_group.
    Exit,
    /// mmap of a file or shared memory (private anonymous mappings are native).
    Mmap,
    /// rt_sigaction.
    SigAction,
    /// rt_sigprocmask.
    SigMask,
    /// rt_sigreturn.
    SigReturn,
    /// rt_sigsuspend, and pselect6, ppoll, epoll_pwait, epoll_pwait2 with a mask.
    MaskedWait,
    /// set_tid_address.
    TidAddress,
    /// close, close_range, dup2, dup3: calls that may take a planted descriptor away.
    Close,
    /// fchdir: a working directory by descriptor.
    Fchdir,
    /// CPU clocks and usage of the program itself: answered from the replicas.
    CpuTime,
    /// Timers of CPU time: the dispatcher watches the clock of a replica.
    CpuTimer,
    /// read, pread64, write, pwrite64: may be performed in pieces, and on the quick way.
    ReadWrite,
    /// futex, set_robust_list, sched_yield: the kernel's with one replica, the dispatcher's with
    /// several.
    Thread,
    /// shmat, shmdt.
    SharedMemory,
    /// munmap, mremap, msync: native but where writable shared memory is mapped with several replicas.
    SharedRange,
}

/// One system call (or one request of a multiplexed one).
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kernel's name, for example `"write"` or `"ioctl TCGETS"`.
    pub name: &'static str,
    /// Who executes it.
    pub class: Class,
    /// Its arguments in order; calls with fewer than six have a shorter slice.
    pub args: &'static [Arg],
    /// What an interruption means.
    pub restart: Restart,
    /// Whether it may wait for something outside for ever.
    pub blocks: bool,
    /// A roll-back can take it back, though it is not of the class First: it changes nothing outside, or
    /// what it changes is put back.
    pub retracted: bool,
    /// What the program gets where the class is Nosys or Refused: a positive errno; else 0.
    pub errno: i32,
    /// Why it is classified so, for the page; one plain sentence, or empty where the class says all.
    pub note: &'static str,
}

impl Row {
    /// Whether a roll-back may take it back once it is decided, as far as its row says (ADR 0016).
    #[must_use]
    pub const fn can_be_taken_back(&self) -> bool {
        match self.class {
            Class::First | Class::Native | Class::Nosys | Class::Refused => true,
            Class::Special(Special::CpuTime) => true,
            _ => self.retracted,
        }
    }
}
