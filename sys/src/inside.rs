//! The call path inside a replica: code and data that are put into its address space, so that calls
//! whose result is certain need not leave it (docs/adr/0008).
//!
//! ```text
//!  libc:  mov $1,%eax; syscall   ──patched──►  jmp *SLOT ──► stub ──► COMMON ──► back behind the call
//!                                                             └─(not certain)─► syscall, as ever
//! ```
//!
//! COMMON keeps what the call would have carried in a *ring* in the replica's own memory and answers
//! it. The ring is part of the ballot of the next call that is trapped. Nothing outside is touched
//! here, and the dispatcher says for which descriptors a result is certain.
//!
//! Invariant: whatever is not certain runs the original `syscall` with its registers as they were;
//! all registers but rax, rcx and r11 are kept, as by the kernel; the red zone and the stack are not
//! touched. The code runs in one thread at a time.

use std::arch::global_asm;

/// Where the code is: [`CODE_LEN`] bytes, common part first, then stubs.
pub const CODE: u64 = 0x5554_0001_0000;
/// Bytes of code.
pub const CODE_LEN: u64 = 0x4000;
/// Where the header, the ring and the read-ahead buffer are.
pub const DATA: u64 = 0x5554_0010_0000;
/// A page below 2 GiB with the addresses of the stubs: `jmp *disp32` reaches it from anywhere and
/// is as long as `mov $nr,%eax; syscall`. Just below 2 GiB, so that it is far from the heap of a
/// program that is linked to low addresses.
pub const SLOTS: u64 = 0x7fff_0000;
/// Most sites that are patched.
pub const MOST_SITES: usize = 128;

/// Offset of the `u32` that says how many bytes the ring holds.
pub const USED: u64 = 0x00;
/// Offset of the `u32` that is not 0 while the path may be taken.
pub const ON: u64 = 0x04;
/// Offset of the descriptor that the read-ahead buffer is for (u64, all ones for none), of the place
/// in it, and of the bytes left.
pub const AHEAD: u64 = 0x08;
/// Offset of the registers that COMMON puts away: rdi, rsi, rdx, rcx, rax.
pub const SAVED: u64 = 0x20;
/// Offset of a byte for each descriptor below [`TABLE_LEN`]: 1 if writing to it may be put off.
pub const TABLE: u64 = 0x80;
/// Descriptors in the table.
pub const TABLE_LEN: usize = 64;
/// Offset of the ring.
pub const RING: u64 = 0x1000;
/// Bytes of the ring.
pub const RING_LEN: usize = 112 << 10;
/// Offset of the read-ahead buffer.
pub const BUFFER: u64 = RING + RING_LEN as u64;
/// Bytes of it.
pub const BUFFER_LEN: usize = 256 << 10;
/// Bytes of all data.
pub const DATA_LEN: u64 = BUFFER + BUFFER_LEN as u64;
/// Most bytes of one write that is put off.
pub const MOST_WRITE: usize = 32 << 10;

/// What the replica asked for, before the bytes in a record of the ring: call number and descriptor
/// (u32 each), address, length.
pub const RECORD: usize = 24;

global_asm!(
    r#"
    .text
    .globl chameleon_inside
chameleon_inside:                       // rax nr, rdi rsi rdx arguments, rcx behind the stub's syscall
    movabs r11, 0x555400100000          // DATA
    cmp dword ptr [r11+0x04], 0         // ON
    je 9f
    cmp edi, 64
    jae 9f
    mov [r11+0x20], rdi
    mov [r11+0x28], rsi
    mov [r11+0x30], rdx
    mov [r11+0x38], rcx
    mov [r11+0x40], rax
    .globl chameleon_inside_saved
chameleon_inside_saved:
    mov edi, edi
    test eax, eax
    je 2f
    // write(2)
    test byte ptr [r11+rdi+0x80], 1     // TABLE
    je 8f
    lea rax, [rdx-1]
    cmp rax, 0x7fff                     // MOST_WRITE
    ja 8f
    mov eax, [r11]
    lea rcx, [rax+rdx+31]
    and rcx, -8
    cmp rcx, 0x1c000                    // RING_LEN
    ja 8f
    mov [r11+0x48], rcx
    mov qword ptr [r11+rcx+0xff8], 0    // the last word of the record: its filling is 0
    lea rax, [r11+rax+0x1000]           // RING
    mov dword ptr [rax], 1
    mov [rax+4], edi
    mov [rax+8], rsi
    mov [rax+16], rdx
    lea rdi, [rax+24]
    mov rcx, rdx
    rep movsb
    mov rcx, [r11+0x48]
    .globl chameleon_inside_wrote
chameleon_inside_wrote:
    mov [r11], ecx
    jmp 7f
    .globl chameleon_inside_read
chameleon_inside_read:
2:  // read(2)
    cmp rdi, [r11+0x08]                 // AHEAD
    jne 8f
    test rdx, rdx
    je 8f
    cmp rdx, [r11+0x18]
    ja 8f
    mov eax, [r11]
    lea rcx, [rax+24]
    cmp rcx, 0x1c000
    ja 8f
    lea rax, [r11+rax+0x1000]
    mov dword ptr [rax], 0
    mov [rax+4], edi
    mov [rax+8], rsi
    mov [rax+16], rdx
    mov rdi, rsi
    mov rsi, [r11+0x10]
    lea rsi, [r11+rsi+0x1d000]          // BUFFER
    mov rcx, rdx
    rep movsb
    .globl chameleon_inside_has_read
chameleon_inside_has_read:
    add [r11+0x10], rdx
    sub [r11+0x18], rdx
    add dword ptr [r11], 24
7:  mov rax, rdx
    mov rdi, [r11+0x20]
    mov rsi, [r11+0x28]
    mov rcx, [r11+0x38]
    jmp rcx
    .globl chameleon_inside_undo
chameleon_inside_undo:
8:  mov rdi, [r11+0x20]
    mov rsi, [r11+0x28]
    mov rcx, [r11+0x38]
    mov rax, [r11+0x40]
    .globl chameleon_inside_leave
chameleon_inside_leave:
9:  sub rcx, 2
    jmp rcx
    .globl chameleon_inside_end
chameleon_inside_end:
"#
);

unsafe extern "C" {
    static chameleon_inside: u8;
    static chameleon_inside_saved: u8;
    static chameleon_inside_wrote: u8;
    static chameleon_inside_read: u8;
    static chameleon_inside_has_read: u8;
    static chameleon_inside_undo: u8;
    static chameleon_inside_leave: u8;
    static chameleon_inside_end: u8;
}

// The numbers in the assembly.
const _: () = {
    assert!(DATA == 0x5554_0010_0000 && USED == 0 && ON == 4 && AHEAD == 8 && SAVED == 0x20);
    assert!(TABLE == 0x80 && TABLE_LEN == 64 && RING == 0x1000 && RING_LEN == 0x1_c000);
    assert!(BUFFER == 0x1_d000 && MOST_WRITE == 0x8000 && RECORD == 24);
};

/// The common part, as it stands at [`CODE`].
pub fn common() -> &'static [u8] {
    let (begin, end) = (&raw const chameleon_inside, &raw const chameleon_inside_end);
    // SAFETY: both labels are in one piece of this program's text, the second behind the first.
    unsafe { std::slice::from_raw_parts(begin, end as usize - begin as usize) }
}

/// How a replica that was stopped with its instruction pointer at `ip` gets out of COMMON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is not in COMMON.
    Elsewhere,
    /// Nothing has happened yet and the registers are the program's: the call can be made as ever.
    Before,
    /// Nothing has happened yet; the registers that were put away are the program's.
    Amid,
    /// It has happened, or the call is about to be made as ever: a few more instructions.
    Behind,
}

/// See [`Place`].
pub fn place(ip: u64) -> Place {
    let begin = &raw const chameleon_inside as u64;
    let at = |label: *const u8| CODE + (label as u64 - begin);
    if !(CODE..at(&raw const chameleon_inside_end)).contains(&ip) {
        return Place::Elsewhere;
    }
    let amid = [
        (at(&raw const chameleon_inside_saved), at(&raw const chameleon_inside_wrote)),
        (at(&raw const chameleon_inside_read), at(&raw const chameleon_inside_has_read)),
        (at(&raw const chameleon_inside_undo), at(&raw const chameleon_inside_leave)),
    ];
    if ip < amid[0].0 {
        Place::Before
    } else if amid.iter().any(|(from, to)| (*from..*to).contains(&ip)) {
        Place::Amid
    } else {
        Place::Behind
    }
}

/// A call in the program's text that can be led here: `read` or `write` of a C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Offset of its first instruction in what was searched.
    pub at: usize,
    /// The call number.
    pub nr: u32,
    /// The bytes that are replaced end in the midst of `cmp $-4096,%rax` behind the call, which the
    /// stub then makes in its place.
    pub compares: bool,
}

impl Site {
    /// Bytes from the first instruction to where the program goes on.
    pub fn length(&self) -> usize {
        if self.compares { 10 } else { 7 }
    }

    /// Offset behind its `syscall`, which is where a replica that was answered stands.
    pub fn behind_call(&self) -> usize {
        self.at + if self.compares { 4 } else { 7 }
    }
}

/// `mov $1,%eax; syscall`.
const WRITE: [u8; 7] = [0xb8, 1, 0, 0, 0, 0x0f, 0x05];
/// `xor %eax,%eax; syscall; cmp $-4096,%rax`.
const READ: [u8; 10] = [0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff];

/// The sites in a piece of text.
pub fn sites(text: &[u8]) -> Vec<Site> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(i) = text[from..].windows(2).position(|w| w == [0x0f, 0x05]) {
        let call = from + i;
        from = call + 2;
        let write = call.checked_sub(5).filter(|at| text[*at..].starts_with(&WRITE));
        let read = call.checked_sub(2).filter(|at| text[*at..].starts_with(&READ));
        let site = match (write, read) {
            (Some(at), _) => Site { at, nr: 1, compares: false },
            (_, Some(at)) => Site { at, nr: 0, compares: true },
            _ => continue,
        };
        let inside = site.at + 1..site.at + site.length();
        if !is_jumped_into(text, site.at, |to| inside.contains(&to)) {
            found.push(site);
        }
    }
    found
}

/// Whether something near `at` looks like a jump to a place that is `inside`.
pub(crate) fn is_jumped_into(text: &[u8], at: usize, inside: impl Fn(usize) -> bool) -> bool {
    let (low, high) = (at.saturating_sub(4096), (at + 4096).min(text.len()));
    (low..high.saturating_sub(6)).any(|i| {
        let short = matches!(text[i], 0x70..=0x7f | 0xeb | 0xe3);
        let near = if matches!(text[i], 0xe8 | 0xe9) { 1 } else { 2 };
        let long = near == 1 || text[i] == 0x0f && matches!(text[i + 1], 0x80..=0x8f);
        let to = |end: usize, by: i64| usize::try_from(end as i64 + by).unwrap_or(usize::MAX);
        short && inside(to(i + 2, i64::from(text[i + 1] as i8)))
            || long && {
                let d: [u8; 4] = std::array::from_fn(|b| text[i + near + b]);
                inside(to(i + near + 4, i64::from(i32::from_le_bytes(d))))
            }
    })
}

/// What replaces a site's first bytes: `jmp *SLOT(index)`.
pub fn jump(index: usize) -> [u8; 7] {
    let mut code = [0xff, 0x24, 0x25, 0, 0, 0, 0];
    code[3..].copy_from_slice(&(SLOTS as u32 + 8 * index as u32).to_le_bytes());
    code
}

/// A stub, to stand at `address` in the code, for a site that goes on at `resume`; and the offset in
/// it behind its `syscall`.
pub fn stub(site: &Site, address: u64, resume: u64) -> (Vec<u8>, usize) {
    const HEAD: usize = 5 + 10 + 5;
    let behind = HEAD + 2;
    let mut code = vec![0xb8];
    code.extend(site.nr.to_le_bytes());
    code.extend([0x48, 0xb9]); // movabs rcx
    code.extend((address + behind as u64).to_le_bytes());
    code.push(0xe9);
    let from = address + HEAD as u64;
    code.extend((CODE.wrapping_sub(from) as u32).to_le_bytes());
    code.extend([0x0f, 0x05]);
    if site.compares {
        code.extend([0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff]);
    }
    code.extend([0xff, 0x25, 0, 0, 0, 0]); // jmp *0(%rip)
    code.extend(resume.to_le_bytes());
    (code, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_found_and_a_site_that_is_jumped_into_is_not() {
        let mut text = vec![0x90; 64];
        text[8..15].copy_from_slice(&WRITE);
        text[30..40].copy_from_slice(&READ);
        let write = Site { at: 8, nr: 1, compares: false };
        let read = Site { at: 30, nr: 0, compares: true };
        assert_eq!(sites(&text), [write, read]);
        assert_eq!((write.behind_call(), read.behind_call()), (15, 34));
        text[50..52].copy_from_slice(&[0x75, (34i8 - 52) as u8]); // jne behind the read's syscall
        assert_eq!(sites(&text), [write]);
    }

    #[test]
    fn a_stub_leads_to_the_common_part_and_back() {
        let site = Site { at: 0, nr: 0, compares: true };
        let address = CODE + 0x400;
        let (code, behind) = stub(&site, address, 0x1234_5678_9abc);
        assert_eq!(code[behind - 2..behind], [0x0f, 0x05]);
        let jump = i32::from_le_bytes([code[16], code[17], code[18], code[19]]);
        assert_eq!((address + 20).wrapping_add_signed(i64::from(jump)), CODE);
        assert!(code.ends_with(&0x1234_5678_9abc_u64.to_le_bytes()));
    }

    #[test]
    fn every_instruction_of_the_common_part_has_its_place() {
        let len = common().len() as u64;
        assert!(len < 0x400);
        assert_eq!(place(CODE), Place::Before);
        assert_eq!(place(CODE + len), Place::Elsewhere);
        assert_eq!(place(CODE + len - 1), Place::Behind);
    }
}
