use super::*;

const RDTSC: [u8; 2] = [0x0f, 0x31];

fn taken(behind: &[u8]) -> Option<usize> {
    let mut text = vec![0xcc; 64];
    text[20..22].copy_from_slice(&RDTSC);
    text[22..22 + behind.len()].copy_from_slice(behind);
    site(&text, 20).map(|s| s.length() as usize - 2)
}

#[test]
fn what_compilers_put_behind_a_reading_is_taken_along() {
    let or = [0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0]; // shl $32,%rdx; or %rdx,%rax
    assert_eq!(taken(&or), Some(7));
    assert_eq!(taken(&[0x48, 0xc1, 0xe2, 0x20, 0x89, 0xc0]), Some(6)); // shl; mov %eax,%eax
    assert_eq!(taken(&[0xba, 1, 0, 0, 0]), Some(5)); // mov $1,%edx
    assert_eq!(taken(&[0x89, 0xc2, 0x44, 0x29, 0xc0]), Some(5)); // mov %eax,%edx; sub %r8d,%eax
    assert_eq!(taken(&[0x89, 0x45, 0xf8, 0x89, 0x55, 0xfc]), Some(6)); // mov %eax,-8(%rbp); …
    assert_eq!(taken(&[0x48, 0x89, 0x44, 0x24, 0x08]), Some(5)); // mov %rax,8(%rsp)
    assert_eq!(taken(&[0x0f, 0xae, 0xe8, 0x89, 0xc1]), Some(5)); // lfence; mov %eax,%ecx
}

#[test]
fn what_depends_on_its_place_or_goes_elsewhere_is_not() {
    for behind in [
        &[0x33, 0x05, 1, 2, 3, 4][..],               // xor 0x4030201(%rip),%eax
        &[0x89, 0xc1, 0xc3],                         // mov %eax,%ecx; ret
        &[0x89, 0xc1, 0x75, 0x02, 0x31, 0xc0],       // mov; jne
        &[0x89, 0xc1, 0xe8, 1, 2, 3, 4],             // mov; call
        &[0x50, 0x52, 0x51, 0x50, 0x52],             // push
        &[0x89, 0x07, 0x89, 0x57, 0x04],             // mov %eax,(%rdi)
        &[0x41, 0x89, 0x45, 0x00, 0x89, 0xc0],       // mov %eax,0(%r13)
        &[0x43, 0x89, 0x44, 0x24, 0x08, 0x89, 0xc0], // mov %eax,8(%r12,%r12)
        &[0xc7, 0xf8, 1, 2, 3, 4],                   // xbegin
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],       // alignment
    ] {
        assert_eq!(taken(behind), None, "{behind:x?}");
    }
}

#[test]
fn a_jump_is_the_last_that_is_taken_along() {
    assert_eq!(taken(&[0x83, 0xe9, 0x01, 0x75, 0xf9]), Some(5)); // sub $1,%ecx; jne to the reading
    assert_eq!(taken(&[0x83, 0xe9, 0x01, 0x75, 0xfb]), None); // to the sub
    assert_eq!(taken(&[0x0f, 0x82, 1, 2, 3, 0]), Some(6));
    let site = |code: &[u8]| site(&[code, &[0xcc; 16]].concat(), 0).unwrap();
    let ends = |code: &[u8], n: usize| {
        let code = stub(0, &site(code), 0x1_0000);
        let end = |i: usize| *code[..code.len() - 14 * i].last_chunk::<8>().unwrap();
        (0..n).map(|i| u64::from_le_bytes(end(i))).collect::<Vec<_>>()
    };
    assert_eq!(ends(&[0x0f, 0x31, 0x83, 0xe9, 0x01, 0x75, 0xf9], 2), [0xfff9, 0x1_0000]);
    assert_eq!(ends(&[0x0f, 0x31, 0xe9, 1, 2, 0, 0], 1), [0x1_0201]);
}

#[test]
fn a_site_that_is_jumped_into_stays() {
    let mut text = vec![0x90; 64];
    text[20..22].copy_from_slice(&RDTSC);
    text[22..29].copy_from_slice(&[0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0]);
    text[40..42].copy_from_slice(&[0x75, (20i8 - 42) as u8]); // jne to its beginning
    assert!(site(&text, 20).is_some());
    text[40..42].copy_from_slice(&[0x75, (22i8 - 42) as u8]);
    assert_eq!(site(&text, 20), None);
}

#[test]
fn a_stub_fits_and_ends_where_the_site_does() {
    let last = Jump { len: 2, condition: Some(5), by: 100 };
    let site = Site { numbered: true, taken: vec![0x90; 3 + MOST_TAKEN], jump: Some(last) };
    let code = stub(MOST_STUBS - 1, &site, 0x1234_5678_9abc);
    assert!(code.len() as u64 <= STUB_LEN && stub_at(MOST_STUBS) <= STUBS + STUBS_LEN);
    assert!(code.ends_with(&0x1234_5678_9b20_u64.to_le_bytes()));
    assert!(is_jump(&jump(0)) && is_jump(&jump(MOST_STUBS - 1)) && !is_jump(&[0xff, 0x24]));
}

#[test]
fn a_place_is_patched_when_it_was_come_to_often() {
    let mut state = State::zeroed();
    assert!(!state.may_become_often(1000));
    for _ in 1..OFTEN {
        assert_eq!(state.count(1000), Trapped::Seldom);
        assert!(state.may_become_often(1000));
    }
    assert_eq!(state.count(1000), Trapped::Often);
    state.give_up(1000);
    assert_eq!(state.count(1000), Trapped::Hopeless);
    assert!(!state.may_become_often(1000));
    (1..PLACES as u64).for_each(|p| assert_eq!(state.count(p), Trapped::Seldom));
    assert_eq!(state.count(2000), Trapped::Hopeless);
    assert!(!state.may_become_often(2000));
}

#[test]
fn a_reading_is_found_shortly_before() {
    let mut code = [0x90; 24];
    assert_eq!(shortly_before(&code), None);
    code[18..20].copy_from_slice(&RDTSC);
    assert_eq!(shortly_before(&code), Some(6));
    assert_eq!(shortly_before(&code[..20]), Some(2));
    assert_eq!(shortly_before(&[&code[..], &[0x90]].concat()), None); // behind the jump
}

#[test]
fn a_scale_has_the_frequency_of_the_counter() {
    let (a, b) = (Moment { ns: 1000, ticks: 7 }, Moment { ns: 2000, ticks: 2507 });
    let scale = Scale::between(a, b);
    assert_eq!(scale, Scale { ns: 1000, rate: 5 << 31, ticks: 7 });
    assert_eq!((scale.at(1000), scale.at(1001), scale.at(1004)), (7, 9, 17));
    assert!(!scale.is_none() && Scale::zeroed().is_none());
    let (first, second) = (Moment::now(), Moment::now());
    assert!(first.ns <= second.ns && first.ticks < second.ticks);
}
