//! The auxiliary vector of a replica that has just executed a program (getauxval(3)).
//!
//! Invariant: called at the exec event, before the program's first instruction, when the stack
//! holds exactly what the kernel put there.

use crate::error::Result;
use crate::memory;

const AT_IGNORE: u64 = 1;

/// Where the vector begins.
fn begin(pid: u32, stack_pointer: u64) -> Result<u64> {
    let argc: u64 = memory::read_value(pid, stack_pointer)?;
    // argc, argv with its null, then the environment with its null, then the vector.
    let mut at = stack_pointer + 8 * (argc + 2);
    loop {
        let mut words = [0u64; 32];
        let room = (4096 - (at as usize & 4095)) / 8;
        let step = room.min(words.len());
        memory::read(pid, at, bytemuck::cast_slice_mut(&mut words[..step]))?;
        match words[..step].iter().position(|w| *w == 0) {
            Some(i) => return Ok(at + 8 * (i as u64 + 1)),
            None => at += 8 * step as u64,
        }
    }
}

/// Where the vDSO is (`AT_SYSINFO_EHDR`), if there is one.
pub fn vdso(pid: u32, stack_pointer: u64) -> Result<Option<u64>> {
    let mut at = begin(pid, stack_pointer)?;
    loop {
        match memory::read_value::<[u64; 2]>(pid, at)? {
            [libc::AT_NULL, _] => return Ok(None),
            [libc::AT_SYSINFO_EHDR, address] => return Ok(Some(address)),
            _ => at += 16,
        }
    }
}

/// Makes what differs from replica to replica the same: the 16 bytes of `AT_RANDOM` become
/// `random`, and unless the program may `keep` the vDSO, it is hidden (`AT_SYSINFO_EHDR`), so that
/// clocks become system calls.
pub fn equalise(pid: u32, stack_pointer: u64, random: &[u8; 16], keep: bool) -> Result<()> {
    let mut at = begin(pid, stack_pointer)?;
    loop {
        let [key, value]: [u64; 2] = memory::read_value(pid, at)?;
        match key {
            libc::AT_NULL => return Ok(()),
            libc::AT_RANDOM => memory::write(pid, value, random)?,
            libc::AT_SYSINFO_EHDR if !keep => memory::write_value(pid, at, &AT_IGNORE)?,
            _ => {}
        }
        at += 16;
    }
}
