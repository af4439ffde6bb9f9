//! Tests of the lengths of buffers.
//!
//! Invariant: the memory of the program is a function of the test.

use super::super::row::{Inside, Len};

#[test]
fn lengths_are_computed_without_overflow() {
    let mut none = |_| None;
    let args = [65, u64::MAX, 0xdead_beef_0000_0003, 0, 0, 0];
    assert_eq!(Len::Arg32(2).bytes(&args, 0, &mut none), Some(3));
    assert_eq!(Len::Times32(2, 12).bytes(&args, 0, &mut none), Some(36));
    assert_eq!(Len::ArgTimes(1, 8).bytes(&args, 0, &mut none), Some(u64::MAX));
    assert_eq!(Len::ArgPlus(1, 8).bytes(&args, 0, &mut none), Some(u64::MAX));
    assert_eq!(Len::FdSet(0).bytes(&args, 0, &mut none), Some(16));
    assert_eq!(Len::Bits(0).bytes(&args, 0, &mut none), Some(9));
    assert_eq!(Len::Ret.bytes(&args, -4, &mut none), Some(0));
    assert_eq!(Len::RetPlus(8).bytes(&args, 5, &mut none), Some(13));
    assert_eq!(Len::IfRet(4).bytes(&args, 0, &mut none), Some(0));
    assert_eq!(Len::IfRet(4).bytes(&args, 7, &mut none), Some(4));
    assert_eq!(Len::U32At(3).bytes(&args, 0, &mut none), Some(0));
    assert_eq!(Len::U32At(0).bytes(&args, 0, &mut none), None);
}

#[test]
fn lengths_inside_structures_are_read_where_they_stand() {
    let args = [0x1000, 0, 0, 0, 0, 0];
    let inside = |what, offset: u64, value: u32| {
        let mut word = |addr| (addr == 0x1000 + offset).then_some(value);
        Len::Inside(what).bytes(&args, 0, &mut word)
    };
    assert_eq!(inside(Inside::SchedAttr(0), 0, 0), Some(48));
    assert_eq!(inside(Inside::SchedAttr(0), 0, 56), Some(56));
    assert_eq!(inside(Inside::FileHandle(0), 0, 20), Some(28));
    assert_eq!(inside(Inside::FileHandle(0), 0, u32::MAX), Some(136));
    assert_eq!(inside(Inside::CapData(0), 0, 0x1998_0330), Some(12));
    assert_eq!(inside(Inside::CapData(0), 0, 0x2008_0522), Some(24));
    assert_eq!(inside(Inside::CapData(0), 0, 1), Some(0));
    assert_eq!(inside(Inside::Fiemap(0), 24, 3), Some(200));
    assert_eq!(inside(Inside::Dedupe(0), 16, 0xabcd_0002), Some(88));
    assert_eq!(inside(Inside::RandPool(0), 4, 512), Some(520));
}
