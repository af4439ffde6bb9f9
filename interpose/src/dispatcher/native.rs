//! Programs that a single replica cannot become and its outside can: with more rights than a
//! traced process gets, or of another architecture. In simplex the outside becomes them itself.
//!
//! Invariant: the replica stays parked in its exec until the process ends or the exec fails; what
//! the outside has become needs nothing of ours any more.

use chameleon_sys::memory;

use super::Dispatcher;
use super::ending::End;
use super::rendezvous::row_of;
use super::work::Outcome;
use crate::arena::Entry;
use crate::outside::op;

/// The step of an exec that the outside carries out.
pub(super) const NATIVE: u32 = 1;
/// Most bytes of arguments and environment that are carried, with their pointers.
const MOST: usize = 2 << 20;

impl Dispatcher {
    /// Has the outside execute the program of the call at the head.
    pub(super) fn native_exec(&mut self, t: usize, e: &Entry) -> Outcome {
        let (path, vectors) = if i64::from(e.nr) == libc::SYS_execveat { (1, 2) } else { (0, 1) };
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let (Some(p), Some(pid)) =
            (pieces.iter().find(|p| p.arg as usize == path), self.first_winner(t))
        else {
            return Outcome::Value(-i64::from(libc::EFAULT));
        };
        let mut args = e.args;
        args[path] = self.arena.region.address(p.offset());
        if let Some(errno) = self.redirect(t, row_of(e.nr, &e.args), &mut args) {
            return Outcome::Value(-i64::from(errno));
        }
        for i in [vectors, vectors + 1] {
            match self.strings_outside(t, pid, e.args[i]) {
                Ok(at) => args[i] = at,
                Err(errno) => return Outcome::Value(-i64::from(errno)),
            }
        }
        // Its parent need not wait longer: the replica of this one will not touch their memory.
        self.release_vfork_parent(t);
        chameleon_sys::cpu::set(self.arena.task(t).tid, &self.arena.task(t).cpus);
        self.request(t, op::PERFORM, args);
        self.arena.task(t).step = NATIVE;
        Outcome::Wait
    }

    /// Nothing comes back from an exec but its failure.
    pub(super) fn native_exec_failed(&mut self, t: usize) -> Outcome {
        match self.taken(t) {
            None => Outcome::Wait,
            Some(chameleon_sys::executor::NOT_STARTED) => {
                self.reissue(t);
                Outcome::Wait
            }
            Some(ret) if self.arena.task(t).no_repair == 0 => Outcome::Value(ret),
            // Its parent, with which it shares its memory, has gone on already.
            Some(_) => {
                self.end_process(t, End::Status(127));
                Outcome::Gone
            }
        }
    }

    /// Copies a vector of strings from a replica to where the outside can read it; its address.
    fn strings_outside(&mut self, t: usize, pid: u32, vector: u64) -> Result<u64, i32> {
        let mut pointers: Vec<u64> = Vec::new();
        let mut bytes: Vec<u8> = Vec::new();
        let mut room = vec![0u8; 128 << 10]; // execve(2): the longest string, MAX_ARG_STRLEN
        loop {
            if vector == 0 {
                break; // execve(2): on Linux a null pointer is an empty vector
            }
            let at = vector + 8 * pointers.len() as u64;
            let from: u64 = memory::read_value(pid, at).map_err(|_| libc::EFAULT)?;
            if from == 0 {
                break;
            }
            let n = memory::read_str(pid, from, &mut room).map_err(|x| match x.errno {
                chameleon_sys::Errno::ENAMETOOLONG => libc::E2BIG,
                _ => libc::EFAULT,
            })?;
            pointers.push(bytes.len() as u64);
            bytes.extend_from_slice(&room[..n]);
            if bytes.len() + 8 * pointers.len() > MOST {
                return Err(libc::E2BIG);
            }
        }
        let table = 8 * (pointers.len() + 1);
        let place = self.arena.take_data(t, table + bytes.len()).ok_or(libc::E2BIG)?;
        let strings = self.arena.region.address(place + table);
        pointers.iter_mut().for_each(|p| *p += strings);
        pointers.push(0);
        let whole = self.arena.region.bytes(place, table + bytes.len());
        whole[..table].copy_from_slice(bytemuck::cast_slice(&pointers));
        whole[table..].copy_from_slice(&bytes);
        Ok(self.arena.region.address(place))
    }
}
