//! Clocks read inside a replica: code that takes the place of the kernel's vDSO (vdso(7)) in each
//! replica, and the log through which all read one time.
//!
//! ```text
//!  libc ──► vDSO ──jmp──► here: reading k ──► the log's place k: filled? ──► that time
//!                                                      └─ by nobody yet: the kernel's, and filled
//! ```
//!
//! The replica that comes first decides, as it would if the call were made outside. Each asks the
//! kernel as well, in a `clock_gettime` of its own that the filter lets through at [`call`] alone: the
//! time in the log must lie between what it last read and what the kernel says now, or it does not take
//! it and makes the call outside, where it is compared.
//!
//! Invariant: which places are read, and which readings go outside, follows from the program's own
//! calls alone, so it is the same in all replicas; so is all that is left behind in memory and registers.
//! One in [`OUTSIDE_EVERY`] goes outside, so that no replica is a whole log behind another.
//!
//! Readings of the time stamp counter are readings of a clock, too: `crate::stamp`.

use std::arch::global_asm;

use crate::filter::WINDOW;

/// Where the code stands in a replica: in the window's page.
pub const CODE: u64 = WINDOW + 0x100;
/// A page of the replica's own: how far it is.
pub const PRIVATE: u64 = WINDOW + 0x2000;
/// Its bytes.
pub const PRIVATE_LEN: u64 = 4096;
/// Where the log is.
pub const LOG: u64 = 0x5554_0020_0000;
/// Its bytes: places of a number, 1 for the first reading, and a time in nanoseconds.
pub const LOG_LEN: u64 = 1 << 20;
/// One reading in so many is made outside.
pub const OUTSIDE_EVERY: u64 = 32;

global_asm!(
    r#"
    .text
    .globl chameleon_clock
chameleon_clock:
    .globl chameleon_clock_gettime
chameleon_clock_gettime:                // edi clock, rsi timespec
    mov edi, edi
    cmp edi, 12
    jae 1f
    mov eax, 0x8f3                      // REALTIME, MONOTONIC, their RAW and COARSE, BOOTTIME, TAI
    bt eax, edi
    jnc 1f
    push rsi
    push rdi
    call 5f
    pop rdi
    pop rsi
    jc 1f
    mov ecx, 1000000000
    xor edx, edx
    div rcx
    mov [rsi], rax
    mov [rsi+8], rdx
    xor eax, eax
    ret
1:  mov eax, 228
    syscall
    ret

    .globl chameleon_clock_gettimeofday
chameleon_clock_gettimeofday:           // rdi timeval, rsi timezone
    test rsi, rsi
    jnz 2f
    test rdi, rdi
    jz 2f
    push rdi
    xor edi, edi
    call 5f
    pop rdi
    mov esi, 0
    jc 2f
    mov ecx, 1000000000
    xor edx, edx
    div rcx
    mov [rdi], rax
    mov rax, rdx
    xor edx, edx
    mov ecx, 1000
    div rcx
    mov [rdi+8], rax
    xor eax, eax
    ret
2:  mov eax, 96
    syscall
    ret

    .globl chameleon_clock_time
chameleon_clock_time:                   // rdi time_t
    push rdi
    mov edi, 5                          // REALTIME_COARSE, as the kernel's
    call 5f
    pop rdi
    jc 3f
    mov ecx, 1000000000
    xor edx, edx
    div rcx
    test rdi, rdi
    jz 4f
    mov [rdi], rax
4:  ret
3:  mov eax, 201
    syscall
    ret

    .globl chameleon_clock_getres
chameleon_clock_getres:
    mov eax, 229
    syscall
    ret

    .globl chameleon_clock_getcpu
chameleon_clock_getcpu:
    mov eax, 309
    syscall
    ret

    .globl chameleon_clock_none
chameleon_clock_none:
    mov eax, -38                        // ENOSYS
    ret

5:  // edi clock; rax the time, or carry
    movabs r9, 0x555400002000           // PRIVATE
    cmp dword ptr [r9], 0               // on
    je 4f
    mov ecx, [r9+4]
    inc ecx
    and ecx, 31                         // OUTSIDE_EVERY
    mov [r9+4], ecx
    jz 4f
    jmp 22f
21: // the same, never outside
    movabs r9, 0x555400002000
    cmp dword ptr [r9], 0
    je 4f
22: mov r8, [r9+8]                      // readings so far
    inc r8
    mov [r9+8], r8
    movzx r10d, r8w
    shl r10, 4
    movabs rcx, 0x555400200000          // LOG
    add r10, rcx
    sub rsp, 24
    xor edx, edx
    mov rax, [r10]
    cmp rax, r8
    ja 8f
    sete dl                             // whether it is filled: then the kernel is asked behind that
3:  mov rsi, rsp
    mov eax, 228
    syscall
    .globl chameleon_clock_call
chameleon_clock_call:
    test eax, eax
    jnz 8f
    imul rcx, [rsp], 1000000000
    add rcx, [rsp+8]                    // now
    test edx, edx
    jnz 7f
    mov edx, 1
    mov rax, [r10]
    cmp rax, r8
    je 3b
    ja 8f
    mov rdx, [r10+8]
    mov r11, rbx
    mov rbx, r8
    lock cmpxchg16b [r10]
    mov rbx, r11
    je 9f
    mov edx, 1
    cmp rax, r8
    je 3b
    jmp 8f
7:  mov rdx, [r10+8]
    mov eax, 0xd2                       // the clocks that nobody sets
    bt eax, edi
    jnc 6f
    cmp rdx, rcx
    ja 8f
    cmp rdx, [r9+rdi*8+0x40]
    jb 8f
    mov rcx, rdx
    jmp 9f
6:  mov rax, rdx
    sub rax, rcx
    movabs r11, 0x40000000000           // an hour: it may have been set meanwhile
    add rax, r11
    shr rax, 43
    jnz 8f
    mov rcx, rdx
9:  mov [r9+rdi*8+0x40], rcx
    mov rax, rcx
    mov qword ptr [rsp], 0              // nothing of this replica's own stays
    mov qword ptr [rsp+8], 0
    add rsp, 24
    xor edx, edx
    xor r11d, r11d
    clc
    ret
8:  xor ecx, ecx
    mov qword ptr [rsp], 0
    mov qword ptr [rsp+8], 0
    add rsp, 24
    xor edx, edx
    xor r11d, r11d
    stc
    ret
4:  stc
    ret

    // rdtsc (`crate::stamp`). The stack begins below the 128 bytes that are the program's; all but rax
    // and rdx is kept. Where a reading that has trapped goes on is in PRIVATE.
    .globl chameleon_clock_stamp_trapped
chameleon_clock_stamp_trapped:
    lea rsp, [rsp-128]
    .byte 0xff, 0x35                    // push qword ptr [rip+…]: PRIVATE+0x118
    .long 0x1f00 + 0x118 - (23f - chameleon_clock)
23: .globl chameleon_clock_stamp
chameleon_clock_stamp:                  // on the stack: where to go on
    pushfq
    push rcx
    xor ecx, ecx
    jmp 24f
    .globl chameleon_clock_stamp_once
chameleon_clock_stamp_once:             // a reading that has trapped, not outside
    lea rsp, [rsp-128]
    .byte 0xff, 0x35
    .long 0x1f00 + 0x118 - (25f - chameleon_clock)
25: pushfq
    push rcx
    mov ecx, 1
24: push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    mov edi, 4                          // MONOTONIC_RAW
    test ecx, ecx
    jnz 26f
    call 5b
    jmp 27f
26: call 21b
27: jnc 28f
    sub rsp, 16
    mov edi, 4
    mov rsi, rsp
    mov eax, 228
    syscall
    imul rax, [rsp], 1000000000
    add rax, [rsp+8]
    add rsp, 16
28: movabs r9, 0x555400002000
    sub rax, [r9+0x100]                 // the scale: nanoseconds, ticks in 2^32 of them, ticks
    mul qword ptr [r9+0x108]
    shrd rax, rdx, 32
    add rax, [r9+0x110]
    mov rdx, rax
    shr rdx, 32
    mov eax, eax
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rcx
    popfq
    ret 128
    .globl chameleon_clock_end
chameleon_clock_end:
"#
);

unsafe extern "C" {
    static chameleon_clock: u8;
    static chameleon_clock_gettime: u8;
    static chameleon_clock_gettimeofday: u8;
    static chameleon_clock_time: u8;
    static chameleon_clock_getres: u8;
    static chameleon_clock_getcpu: u8;
    static chameleon_clock_none: u8;
    static chameleon_clock_call: u8;
    static chameleon_clock_stamp_trapped: u8;
    static chameleon_clock_stamp: u8;
    static chameleon_clock_stamp_once: u8;
    static chameleon_clock_end: u8;
}

// The numbers in the assembly.
const _: () = {
    assert!(PRIVATE == 0x5554_0000_2000 && LOG == 0x5554_0020_0000);
    assert!(LOG_LEN == 16 << 16 && OUTSIDE_EVERY == 32 && crate::stamp::STATE == PRIVATE + 0x100);
};

/// The code, as it stands at [`CODE`].
pub fn code() -> &'static [u8] {
    let (begin, end) = (&raw const chameleon_clock, &raw const chameleon_clock_end);
    // SAFETY: both labels are in one piece of this program's text, the second behind the first.
    unsafe { std::slice::from_raw_parts(begin, end as usize - begin as usize) }
}

fn at(label: *const u8) -> u64 {
    CODE + (label as u64 - &raw const chameleon_clock as u64)
}

/// The instruction behind the `clock_gettime` that the filter lets through.
pub fn call() -> u64 {
    at(&raw const chameleon_clock_call)
}

/// Where the time stamp counter is read: where to go on is on the stack, below 128 bytes of the program's.
pub fn stamp() -> u64 {
    at(&raw const chameleon_clock_stamp)
}

/// Where a reading of the time stamp counter that has trapped is led to; where it goes on is in
/// [`crate::stamp::State`]. `once` if that must not be in the midst of a call: it is not made outside.
pub fn stamp_trapped(once: bool) -> u64 {
    at(if once {
        &raw const chameleon_clock_stamp_once
    } else {
        &raw const chameleon_clock_stamp_trapped
    })
}

/// Where a function of the vDSO is led to, by its name; `None` if it is not known.
pub fn place_of(name: &str) -> Option<u64> {
    Some(at(match name {
        "__vdso_clock_gettime" => &raw const chameleon_clock_gettime,
        "__vdso_gettimeofday" => &raw const chameleon_clock_gettimeofday,
        "__vdso_time" => &raw const chameleon_clock_time,
        "__vdso_clock_getres" => &raw const chameleon_clock_getres,
        "__vdso_getcpu" => &raw const chameleon_clock_getcpu,
        // getrandom(2) as a call; enclaves are nothing that several replicas could enter.
        "__vdso_getrandom" | "__vdso_sgx_enter_enclave" => &raw const chameleon_clock_none,
        _ => return None,
    }))
}

/// Bytes of [`jump`].
pub const JUMP_LEN: u64 = 13;

/// `movabs r11, to; jmp r11`: what a function of the vDSO begins with.
pub fn jump(to: u64) -> [u8; JUMP_LEN as usize] {
    let mut code = [0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3];
    code[2..10].copy_from_slice(&to.to_le_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_fits_into_the_window() {
        assert!(code().len() < 0x600);
        let behind = (call() - CODE) as usize;
        assert_eq!(code()[behind - 2..behind], [0x0f, 0x05]);
        assert!(place_of("__vdso_time").is_some_and(|p| p > CODE));
        assert_eq!(place_of("__vdso_tomorrow"), None);
    }

    #[test]
    fn a_reading_that_has_trapped_goes_on_where_the_state_says() {
        for once in [false, true] {
            let push = (stamp_trapped(once) - CODE) as usize + 5;
            let [0xff, 0x35, by @ ..]: [u8; 6] = code()[push..push + 6].try_into().unwrap() else {
                panic!("no push");
            };
            let from = CODE + push as u64 + 6;
            let back = from.wrapping_add_signed(i64::from(i32::from_le_bytes(by)));
            assert_eq!(
                back,
                crate::stamp::STATE + std::mem::offset_of!(crate::stamp::State, back) as u64
            );
        }
    }
}
