//! Reading and writing a replica's memory (process_vm_readv(2)).
//!
//! Invariant: a transfer is whole or it is an error; a short transfer is [`Errno::EFAULT`], as the
//! kernel would answer the call whose buffer it was.

use crate::error::{Errno, Error, Result};

/// One stretch of memory in a replica and its length.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Address in the replica.
    pub addr: u64,
    /// Length in bytes.
    pub len: usize,
}

fn transfer(write: bool, pid: u32, addr: u64, buf: *mut u8, len: usize) -> Result<usize> {
    let operation = if write { "process_vm_writev" } else { "process_vm_readv" };
    let local = libc::iovec { iov_base: buf.cast(), iov_len: len };
    let remote = libc::iovec { iov_base: addr as *mut _, iov_len: len };
    // SAFETY: `buf` is valid for `len` bytes by the callers below; the remote side is checked by
    // the kernel.
    let n = unsafe {
        if write {
            libc::process_vm_writev(pid as i32, &local, 1, &remote, 1, 0)
        } else {
            libc::process_vm_readv(pid as i32, &local, 1, &remote, 1, 0)
        }
    };
    if n < 0 { Err(Error::last(operation)) } else { Ok(n as usize) }
}

/// Fills `buf` from `addr` in `pid`.
pub fn read(pid: u32, addr: u64, buf: &mut [u8]) -> Result<()> {
    if buf.is_empty() {
        return Ok(());
    }
    let n = transfer(false, pid, addr, buf.as_mut_ptr(), buf.len())?;
    whole(n, buf.len(), "process_vm_readv")
}

/// Writes `buf` to `addr` in `pid`.
pub fn write(pid: u32, addr: u64, buf: &[u8]) -> Result<()> {
    if buf.is_empty() {
        return Ok(());
    }
    let n = transfer(true, pid, addr, buf.as_ptr().cast_mut(), buf.len())?;
    whole(n, buf.len(), "process_vm_writev")
}

fn whole(n: usize, want: usize, operation: &'static str) -> Result<()> {
    if n == want { Ok(()) } else { Err(Error { operation, errno: Errno::EFAULT }) }
}

/// Reads a NUL-terminated string with its NUL into `buf`; its length with the NUL.
/// `ENAMETOOLONG` when there is no NUL within the buffer.
pub fn read_str(pid: u32, addr: u64, buf: &mut [u8]) -> Result<usize> {
    let mut have = 0;
    while have < buf.len() {
        let at = addr.wrapping_add(have as u64);
        // Never past the end of a page or beyond what a path usually needs: the next page may not
        // be mapped, and a string rarely is long.
        let to_page_end = 4096 - (at as usize & 4095);
        let step = to_page_end.min(buf.len() - have).min(256);
        read(pid, at, &mut buf[have..have + step])?;
        if let Some(nul) = buf[have..have + step].iter().position(|b| *b == 0) {
            return Ok(have + nul + 1);
        }
        have += step;
    }
    Err(Error { operation: "reading a string", errno: Errno::ENAMETOOLONG })
}

/// Reads a plain value.
pub fn read_value<T: bytemuck::Pod>(pid: u32, addr: u64) -> Result<T> {
    let mut value = T::zeroed();
    read(pid, addr, bytemuck::bytes_of_mut(&mut value))?;
    Ok(value)
}

/// Writes a plain value.
pub fn write_value<T: bytemuck::Pod>(pid: u32, addr: u64, value: &T) -> Result<()> {
    write(pid, addr, bytemuck::bytes_of(value))
}

/// Fills as much of `buf` from `addr` in `pid` as can be read; how many bytes.
pub fn read_some(pid: u32, addr: u64, buf: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buf.len() {
        let at = addr.wrapping_add(done as u64);
        let step = (4096 - (at as usize & 4095)).min(buf.len() - done);
        if read(pid, at, &mut buf[done..done + step]).is_err() {
            break;
        }
        done += step;
    }
    done
}
