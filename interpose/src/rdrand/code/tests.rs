//! Code as compilers and libraries have it, and bytes that only look so.

use super::*;

fn found(hex: &str) -> bool {
    let code: Vec<u8> = hex.split(' ').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    find(&code).next().is_some()
}

fn can_draw() -> bool {
    std::arch::is_x86_feature_detected!("rdrand") && std::arch::is_x86_feature_detected!("rdseed")
}

#[test]
fn numbers_that_are_drawn() {
    if !can_draw() {
        return;
    }
    let real = [
        // libstdc++: mov %eax,(%rcx); cmovb %edx,%eax
        "8d 4c 24 0c 0f c7 f0 89 01 0f 42 c2 85 c0",
        // libcrypto: jb; dec %r11
        "00 00 00 49 0f c7 f2 72 16 49 ff cb 75 f5",
        // libgcrypt: jb; dec %edx
        "00 00 00 48 0f c7 f0 72 04 ff ca 75 f6",
        // valgrind: setb %r12b
        "00 00 00 41 0f c7 f3 41 0f 92 c4 4c 89 da",
        // xor %rax,%rax; rdrand %rdx; adc %rax,%rax
        "48 31 c0 48 0f c7 f2 48 11 c0 48 89 17 c3",
        // gcc -O2: rdrand %dx; mov $1,%eax; movzwl %dx,%esi
        "cc cc cc 66 0f c7 f2 b8 01 00 00 00 0f b7 f2",
        // gcc -O0: rdseed %rdx; mov %rdx,(%rax); setb %al
        "8b 45 f8 48 0f c7 fa 48 89 10 0f 92 c0",
        // libsodium does not look at the flag: mov %eax,0xc(%rsp)
        "85 c0 74 1e 0f c7 f0 89 44 24 0c 41 8b 44 24 2c",
        // gcc -O2, flag not looked at: xor %eax,%eax; mov %r14,%rdi; mov %rsi,8(%rsp)
        "cc cc cc 48 0f c7 f6 31 c0 4c 89 f7 48 89 74 24 08",
        // rdrand %r9d; xor %r9d,%ebx behind sub $1,%eax
        "83 e8 01 41 0f c7 f1 44 31 cb",
        // pause; rdseed %edx; mov %edx,(%rcx); jb
        "24 0c f3 90 0f c7 fa 89 11 72 db",
        // rdrand %rax; ret
        "90 90 90 48 0f c7 f0 c3",
        // sub $1,%eax; rdrand %eax; jae
        "44 83 e8 01 0f c7 f0 73 fb",
        // add %esi,%ebx; rdrand %r8; lea; cmovae %r8d,%eax
        "d9 01 f3 49 0f c7 f0 48 8d 3d 76 0f 00 00 41 0f 43 c0",
    ];
    for code in real {
        assert!(found(code), "{code}");
    }
}

#[test]
fn numbers_that_are_not() {
    let other = [
        "00 00 e8 2b 0f c7 fe 48 89 9c 24 90 00 00 00", // call; mov %rbx,0x90(%rsp)
        "00 00 e8 49 0f c7 ff 4c 89 7c 24 08",          // call; mov %r15,8(%rsp)
        "74 24 28 e8 0f c7 f5 fc 48 8b 44 24 08",       // call
        "48 8d 35 bb 0f c7 fe 72 10 90 90 90",          // lea; jb
        "4c 48 8d 05 0f c7 fd 19 e8 2a e7 f1 ff 90 48 89", // lea
        "4c 48 8d 05 0f c7 f6 11 bb 26 00 00 00 11 c0 90", // lea
        "c9 0f 84 6a 0f c7 ff 72 10 90 90 90",          // je; jb
        "00 ff 15 c4 0f c7 fe 89 74 24 08 90",          // call *; mov %esi,8(%rsp)
        "00 00 00 f3 0f c7 f8 89 44 24 0c 85 c0",       // rdpid %rax
        "00 00 f3 41 0f c7 f8 44 89 44 24 0c c3",       // rdpid %r8
        "b1 cc ff ac 0f c7 fb 24 b2 cc ff 6c 10 c7 fb", // a table
        "02 ec fe f7 0f c7 fd 21 ed 25 ff 26 f7 25 ff 69 f3", // a table of jumps
        "b9 05 00 1a 0f c7 fe 02 00 00 00 00 00 00 00", // unwinding
        "0f c7 f0 73 fb 90 90 90 90",                   // nothing is known of what is in front
        "90 90 90 48 0f c7 0e 73 fb 90 90",             // cmpxchg16b
    ];
    for code in other {
        assert!(!found(code), "{code}");
    }
}

#[test]
fn what_was_there_is_read_from_what_is() {
    let draw = |opcode, register, bits| Some(Draw { opcode, len: opcode + 3, register, bits });
    assert_eq!(Draw::decode(b"\x0f\x0b\xf0\x90\x90\x90"), draw(0, 0, 32));
    assert_eq!(Draw::decode(b"\x48\x0f\x0b\xfa\x90\x90"), draw(1, 2, 64));
    assert_eq!(Draw::decode(b"\x66\x41\x0f\x0b\xf7"), draw(2, 15, 16));
    assert_eq!(Draw::decode(b"\x66\x0f\x0b\xf3"), draw(1, 3, 16));
    assert_eq!(Draw::decode(b"\x41\x0f\x0b\xfc"), draw(1, 12, 32));
    assert_eq!(Draw::decode(b"\x0f\x0b\x48\x89"), None);
    assert_eq!(Draw::decode(b"\x0f\x0b"), None);
    assert_eq!(Draw::decode(b"\x0f\xc7\xf0"), None);
}
