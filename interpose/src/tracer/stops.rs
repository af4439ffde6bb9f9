//! Stops that replicas come to by themselves: signals, time stamps, execs.
//!
//! Invariant: the only signals a replica takes are its own faults and those that the dispatcher
//! has announced for it; everything else that reaches a replica's real pid is dropped here.

use chameleon_sys::executor;
use chameleon_sys::process;
use chameleon_sys::tracee;
use chameleon_sys::{auxv, filter, shadow};

use super::Tracer;
use crate::arena::is_live;
use crate::table::row::{Class, Restart, Special};
use crate::table::{resolve, row};

/// `si_code` of a breakpoint in a debug register (sigaction(2)); a program cannot set one here.
const TRAP_HWBKPT: i32 = 4;
/// In place of the count of signals: the hard limit has ended the program.
const ENDED: u32 = u32::MAX;

impl Tracer {
    pub(super) fn on_signal(&mut self, pid: u32, signal: i32) {
        let Some(t) = self.tracees.get(&pid).copied() else { return };
        // A single replica reads the counter itself, or has said that it must not (PR_SET_TSC).
        let many = self.arena.header().lockstep != 0;
        self.disarm(pid);
        let answered = match signal {
            libc::SIGTRAP => self.goes_on_computing(pid),
            libc::SIGSEGV => many && self.time_stamp(pid),
            libc::SIGILL => many && self.random_number(pid),
            _ => false,
        };
        if answered {
            return;
        }
        if matches!(signal, libc::SIGSEGV | libc::SIGBUS) && self.fault_inside(pid) {
            return;
        }
        let info = tracee::siginfo(pid).unwrap_or([0; 128]);
        if signal == libc::SIGTRAP && info[8..12] == TRAP_HWBKPT.to_ne_bytes() {
            let _ = tracee::resume(pid, 0); // a breakpoint of ours that is gone meanwhile
            return;
        }
        let code = i32::from_ne_bytes([info[8], info[9], info[10], info[11]]);
        let task = self.arena.task(t.task);
        let replica = &mut task.replicas[t.replica];
        if replica.deliver == signal as u32 && code <= 0 {
            let _ = tracee::set_siginfo(pid, &bytemuck::cast(replica.deliver_info));
            replica.deliver = 0;
            let _ = self.leave_inside(pid);
            self.leave_own_call(pid);
            make_again(pid);
            let _ = tracee::resume(pid, signal);
        } else if code > 0 && executor::is_fault(signal) {
            if let Ok(r) = tracee::regs(pid) {
                replica.ip = r.rip;
            }
            self.keep_ring(self.arena, pid, t.task, t.replica);
            let _ = tracee::resume(pid, signal);
        } else {
            if signal == libc::SIGXCPU && code > 0 {
                self.cpu_limit_passed(pid);
            }
            let _ = tracee::resume(pid, 0);
        }
    }

    /// getrlimit(2), RLIMIT_CPU: a replica has used as much as the program may, or a second more.
    /// The first to come so far has the program told, as any signal reaches it: outside.
    fn cpu_limit_passed(&mut self, pid: u32) {
        let Some(t) = self.tracees.get_mut(&pid) else { return };
        t.cpu_signals += 1;
        let task = self.arena.task(t.task);
        let told = self.cpu_signals.entry(task.ordinal).or_default();
        if t.cpu_signals > *told {
            *told = t.cpu_signals;
            process::kill(task.tgid, libc::SIGXCPU);
        }
    }

    /// The same of the hard limit: the kernel has killed a replica, and so would have the program.
    /// Whether that is why it died.
    pub(super) fn cpu_limit_ended(&mut self, task: usize, cpu_ns: u64) -> bool {
        let (tgid, ordinal) = (self.arena.task(task).tgid, self.arena.task(task).ordinal);
        let told = self.cpu_signals.entry(ordinal).or_default();
        if *told == ENDED {
            return true; // the program is gone already, and its limit with it
        }
        // The kernel counts ticks for this, which on a busy machine are far from the time used.
        let half = chameleon_sys::raw::cpu_limit(tgid).saturating_mul(500_000_000);
        let ended = cpu_ns >= half;
        if ended {
            *told = ENDED;
            process::kill(tgid, libc::SIGKILL);
        }
        ended
    }

    /// A replica has executed a program: equalise what the kernel made different, put the window
    /// for injected calls in, and let it start.
    pub(super) fn on_exec(&mut self, pid: u32) {
        if let Ok(former) = tracee::event_message(pid)
            && former as u32 != pid
        {
            // ptrace(2), "execve under ptrace": the thread that called took the leader's id.
            if let Some(t) = self.tracees.remove(&(former as u32)) {
                self.tracees.insert(pid, t);
                self.arena.forget_pid(former as u32);
                self.arena.forget_pid(pid); // it was the first thread's
                self.arena.note_pid(pid, t.task, t.replica);
                self.arena.task(t.task).replicas[t.replica].pid = pid;
            }
        }
        self.watch_no_more(pid);
        let Some(t) = self.tracees.get(&pid).copied() else { return };
        let task = self.arena.task(t.task);
        let exec = task.replicas[t.replica].execs + 1;
        if !task.replicas[..task.n as usize].iter().any(|r| is_live(r) && r.execs > task.execs) {
            // The first: none reads what was read before again.
            shadow::clear_clocks(task.leader as usize);
        }
        if self.prepare_image(pid, t.task, exec).is_err() {
            process::kill(pid, libc::SIGKILL);
            return;
        }
        self.arena.task(t.task).replicas[t.replica].execs += 1;
        crate::arena::commit();
        let task = self.arena.task(t.task);
        if task.leader as usize == t.task
            && task.group == 0
            && let Ok(regs) = tracee::regs(pid)
        {
            self.freeze_beginning(pid, &regs, task.replicas[t.replica].next);
        }
        let _ = tracee::resume(pid, 0);
    }

    /// The first steps on the program of the task's `exec`-th exec, 0 for the one that starts it.
    pub(super) fn prepare_image(
        &mut self,
        pid: u32,
        task: usize,
        exec: u32,
    ) -> chameleon_sys::Result<()> {
        let random: [u8; 16] = bytemuck::cast(self.arena.task(task).random);
        // The exec event comes from inside the call, whose return would overwrite rax: go on to
        // its end first.
        tracee::resume_to_syscall(pid)?;
        loop {
            match self.wait_for(pid)? {
                (tracee::Stop::Syscall, _) => break,
                (stop @ (tracee::Stop::Exited(_) | tracee::Stop::Killed(_)), cpu) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(chameleon_sys::Error {
                        operation: "exec of a replica",
                        errno: chameleon_sys::Errno::ESRCH,
                    });
                }
                _ => tracee::resume_to_syscall(pid)?,
            }
        }
        let mut r = tracee::regs(pid)?;
        r.orig_rax = u64::MAX;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
        let prot = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let saved = tracee::peek(pid, r.rip)?;
        tracee::poke(pid, r.rip, u64::from_ne_bytes(filter::WINDOW_CODE))?;
        let args = [filter::WINDOW, 4096, prot, flags, u64::MAX, 0];
        let ret = self.call_at(pid, &r, r.rip, libc::SYS_mmap, args)?;
        tracee::poke(pid, r.rip, saved)?;
        if ret as u64 != filter::WINDOW {
            return Err(chameleon_sys::Error {
                operation: "mapping the window of a replica",
                errno: chameleon_sys::Errno::ENOMEM,
            });
        }
        for at in [filter::WINDOW, filter::YIELD] {
            tracee::poke(pid, at, u64::from_ne_bytes(filter::WINDOW_CODE))?;
        }
        tracee::poke(pid, filter::SWAP, u64::from_ne_bytes(filter::SWAP_CODE))?;
        let header = self.arena.header();
        // An image is to be restored where the vDSO is another and the log is empty.
        let inside = header.lockstep != 0 && header.images == 0;
        let keeps_vdso =
            header.lockstep == 0 || inside && self.put_clock(pid, &r, task).unwrap_or(false);
        auxv::equalise(pid, r.rsp, &random, keeps_vdso)?;
        self.patch_image(pid, task, exec);
        tracee::set_regs(pid, &r)
    }
}

/// seccomp_unotify(2): a signal withdraws a notification that nobody has received yet, and the call
/// seems interrupted. It has not been looked at: it is made again behind the handler, whether that
/// has SA_RESTART or not.
fn make_again(pid: u32) {
    /// Kernel-internal (include/linux/errno.h): restart the call if the handler has SA_RESTART.
    const ERESTARTSYS: i64 = -512;
    /// Restart it in any case.
    const ERESTARTNOINTR: i64 = -513;
    let Ok(mut r) = tracee::regs(pid) else { return };
    let Ok(nr) = u32::try_from(r.orig_rax as i64) else { return };
    if r.rax as i64 != ERESTARTSYS {
        return;
    }
    // Calls that a replica makes itself are interrupted by the kernel's own rules.
    let args = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
    let goes_on = resolve(nr, &args).is_ok_and(|row| row.restart == Restart::Always);
    if goes_on || !matches!(row(nr).class, Class::Native | Class::Special(Special::Thread)) {
        r.rax = ERESTARTNOINTR as u64;
        let _ = tracee::set_regs(pid, &r);
    }
}
