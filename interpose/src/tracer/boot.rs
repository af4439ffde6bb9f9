//! The first processes of a replica set: spawned, seized, filtered, and stopped at the first
//! instruction of the program.
//!
//! Invariant: when this returns an error nothing is left running.

use chameleon_ckpt::read::Chain;
use chameleon_sys::process::{self, Program};
use chameleon_sys::tracee::{self, Regs, Stop, event};
use chameleon_sys::{Errno, Error, fd, filter, notify, raw};

use std::sync::atomic::Ordering;

use super::jobs::PLAIN_COPY;
use super::renew::SCRATCH;
use super::{Read, Tracer};
use crate::arena::{Arena, commit, rstate};

/// Why the replicas could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel does not let us do what is needed.
    #[error("{what}: {source}")]
    Kernel {
        /// What was needed.
        what: &'static str,
        /// What the kernel answered.
        source: Error,
    },
    /// The program itself cannot be executed.
    #[error("{0}")]
    Exec(Errno),
    /// The image cannot be made a process again.
    #[error("{0}")]
    Image(String),
    /// The table does not compile to a filter.
    #[error("the trap filter: {0}")]
    Filter(String),
}

/// Replicas that stand at the program's first instruction, and their listeners.
#[derive(Debug)]
pub struct Booted {
    /// One listener for each replica, by index.
    pub listeners: Vec<i32>,
}

fn kernel(what: &'static str) -> impl Fn(Error) -> BootError {
    move |source| BootError::Kernel { what, source }
}

impl Tracer {
    /// Starts `n` replicas of the root task.
    pub fn boot(
        &mut self,
        program: &Program,
        natives: filter::Natives<'_>,
        n: usize,
    ) -> Result<Booted, BootError> {
        let compiled = filter::compile(natives).map_err(BootError::Filter)?;
        let mut listeners = Vec::new();
        for replica in 0..n {
            match self.boot_one(program, &compiled, replica) {
                Ok((pid, l)) => {
                    listeners.push(l);
                    if let Ok(regs) = tracee::regs(pid) {
                        let regs = Regs { orig_rax: u64::MAX, ..regs };
                        self.freeze_beginning(pid, &regs, 0);
                    }
                }
                Err(e) => {
                    self.kill_all();
                    return Err(e);
                }
            }
        }
        Ok(Booted { listeners })
    }

    /// Starts `n` replicas of each process of an image: one is booted as the same program and filled, the
    /// others are copies of it. The first process's is the parent of the filter of all.
    pub fn boot_from(
        &mut self,
        program: &Program,
        natives: filter::Natives<'_>,
        n: usize,
        chain: &mut Chain,
    ) -> Result<Booted, BootError> {
        let compiled = filter::compile(natives).map_err(BootError::Filter)?;
        let booted = self.boot_one(program, &compiled, 0).and_then(|(first, listener)| {
            let living = chain.image().processes.iter().filter(|one| one.ended.is_none());
            let programs: Vec<Vec<u8>> = living.map(|one| one.exe.clone()).collect();
            let mut pids = vec![first];
            for (t, path) in programs.iter().enumerate().skip(1) {
                let shown = String::from_utf8_lossy(path).into_owned();
                let failed = |e: Error| BootError::Image(format!("{shown} cannot be started: {e}"));
                pids.push(self.boot_beside(first, t, path, listener).map_err(failed)?);
            }
            for (t, pid) in pids.iter().enumerate() {
                self.renew(*pid, t, chain, t).map_err(BootError::Image)?;
                match chain.image().processes.get(t).cloned() {
                    Some(process) if self.arena.task(t).group != 0 => {
                        self.renew_threads(*pid, t, &process, n).map_err(BootError::Image)?;
                    }
                    _ => self.multiply(*pid, t, n).map_err(kernel("copying a replica"))?,
                }
            }
            Ok(Booted { listeners: vec![listener] })
        });
        if booted.is_err() {
            self.kill_all();
        }
        booted
    }

    /// Makes the first replica of task `t`, which has executed the program at `path`, by a fork of replica
    /// `first` of the root task, which stands at its first instruction.
    fn boot_beside(
        &mut self,
        first: u32,
        t: usize,
        path: &[u8],
        listener: i32,
    ) -> chameleon_sys::Result<u32> {
        let regs = Regs { orig_rax: u64::MAX, ..tracee::regs(first)? };
        let cloned = self.clone_in(first, &regs, [PLAIN_COPY, 0, 0, 0, 0])?;
        tracee::set_regs(first, &regs)?;
        let pid = cloned.child;
        self.adopt(pid, t, 0, Read::default());
        // The path, and behind it the vector of arguments: the path, and null.
        let room = path.len().next_multiple_of(8) + 8;
        let mut bytes = path.to_vec();
        bytes.resize(room, 0);
        bytes.extend(SCRATCH.to_ne_bytes());
        bytes.extend([0; 8]);
        tracee::poke_bytes(pid, SCRATCH, &bytes)?;
        let vectors = [SCRATCH + room as u64, SCRATCH + room as u64 + 8];
        let args = [SCRATCH, vectors[0], vectors[1], 0, 0, 0];
        self.execute(pid, &cloned.regs, args)?;
        self.prepare_image(pid, t, 0)?;
        let r = &mut self.arena.task(t).replicas[0];
        r.pid = pid;
        r.listener = listener as u32;
        commit();
        r.state = rstate::RUNNING;
        Ok(pid)
    }

    /// Makes the other replicas of task `t` of its first, `pid`, which stands still.
    fn multiply(&mut self, pid: u32, t: usize, n: usize) -> chameleon_sys::Result<()> {
        let regs = Regs { orig_rax: u64::MAX, ..tracee::regs(pid)? };
        let like = self.arena.task(t).replicas[0];
        for replica in 1..n {
            self.copy_of(pid, &regs, t, [0, replica], like)?;
        }
        self.freeze_beginning(pid, &regs, 0);
        tracee::set_regs(pid, &regs)
    }

    fn boot_one(
        &mut self,
        program: &Program,
        compiled: &[seccompiler::sock_filter],
        replica: usize,
    ) -> Result<(u32, i32), BootError> {
        let go = self.arena.go();
        go.store(0, Ordering::Release);
        let pid = process::spawn_replica(program, compiled, go).map_err(kernel("fork"))?;
        if let Err(e) = tracee::seize(pid) {
            process::kill(pid, libc::SIGKILL);
            return Err(kernel("tracing a replica (is ptrace forbidden here?)")(e));
        }
        self.adopt(pid, 0, replica, Read::default());
        go.store(1, Ordering::Release);
        raw::futex_wake(go, 1);
        let shown = self.until_breakpoint(pid)?;
        if shown < 0 {
            let source = Error { operation: "seccomp", errno: Errno::from_raw(-shown as i32) };
            return Err(kernel("installing the trap filter (user notifications)")(source));
        }
        let pidfd = fd::pidfd(pid).map_err(kernel("pidfd"))?;
        let listener = fd::take(pidfd, shown as i32).map_err(kernel("taking the listener"))?;
        fd::close(pidfd);
        notify::set_sync_wake_up(listener, true);
        tracee::resume(pid, 0).map_err(kernel("ptrace"))?;
        self.let_exec(pid, listener)?;
        let r = &mut self.arena.task(0).replicas[replica];
        r.pid = pid;
        r.listener = listener as u32;
        commit();
        r.state = rstate::RUNNING;
        Ok((pid, listener))
    }

    /// The exec is the first call that the filter catches.
    fn let_exec(&mut self, pid: u32, listener: i32) -> Result<(), BootError> {
        let call = self.arena.inbox(0);
        notify::receive(listener, call).map_err(kernel("receiving a notification"))?;
        notify::let_continue(listener, call.id).map_err(kernel("answering a notification"))?;
        call.id = 0;
        loop {
            match tracee::wait(Some(pid), true).map_err(kernel("waitpid"))? {
                Some((_, Stop::Event(event::EXEC), _)) => break,
                Some((_, Stop::Signal(libc::SIGTRAP), _)) => {
                    let r = tracee::regs(pid).map_err(kernel("ptrace"))?;
                    return Err(BootError::Exec(Errno::from_raw(-(r.rax as i64) as i32)));
                }
                Some((_, Stop::Exited(_) | Stop::Killed(_), _)) => {
                    return Err(BootError::Exec(Errno::ENOEXEC));
                }
                Some(_) => tracee::resume(pid, 0).map_err(kernel("ptrace"))?,
                None => {}
            }
        }
        self.prepare_image(pid, 0, 0).map_err(kernel("preparing a replica"))
    }

    fn until_breakpoint(&mut self, pid: u32) -> Result<i64, BootError> {
        loop {
            match tracee::wait(Some(pid), true).map_err(kernel("waitpid"))? {
                Some((_, Stop::Signal(libc::SIGTRAP), _)) => {
                    return Ok(tracee::regs(pid).map_err(kernel("ptrace"))?.rax as i64);
                }
                Some((_, Stop::Exited(_) | Stop::Killed(_), _)) => {
                    let source = Error { operation: "replica", errno: Errno::ESRCH };
                    return Err(kernel("a replica died before it started")(source));
                }
                Some(_) => tracee::resume(pid, 0).map_err(kernel("ptrace"))?,
                None => {}
            }
        }
    }

    /// Lets the `n` replicas of each task run. The descriptors that the caller has now it keeps.
    pub fn start(&mut self, arena: Arena, n: usize) {
        self.may_watch = true;
        for t in 0..arena.header().tasks as usize {
            for r in &arena.task(t).replicas[..n] {
                let _ = tracee::resume(r.pid, 0);
            }
        }
    }
}
