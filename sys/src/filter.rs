//! The trap filter of a replica: which calls run natively, all others become notifications.
//!
//! Invariant: the default is to notify. A filter can never be loosened, so the window for injected
//! calls is there from the start: one instruction at [`WINDOW`], the same in every replica.

use std::collections::BTreeMap;

use crate::clock;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Address of the reserved page in every replica; its first instruction is a `syscall` whose calls
/// pass the filter. Below all that the kernel places with the layout fixed, above 4 GiB.
pub const WINDOW: u64 = 0x5554_0000_0000;

/// The window's page: `syscall; int3`, then filling with `int3`.
pub const WINDOW_CODE: [u8; 8] = [0x0f, 0x05, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc];

/// A second instruction in the page, whose calls are trapped like any of the program's: a thread
/// that is preempted makes its call here.
pub const YIELD: u64 = WINDOW + 16;

/// A third place in the page: `lock cmpxchg [rdi], esi; int3`. What a thread has there in rax after
/// it is what it found.
pub const SWAP: u64 = WINDOW + 32;

/// See [`SWAP`].
pub const SWAP_CODE: [u8; 8] = [0xf0, 0x0f, 0xb1, 0x37, 0xcc, 0xcc, 0xcc, 0xcc];

/// What a filter lets through.
#[derive(Clone, Debug)]
pub struct Natives<'a> {
    /// Calls that are native whatever their arguments.
    pub numbers: &'a [u32],
    /// Values of madvise's advice that are trapped all the same.
    pub trapped_advice: &'a [u32],
    /// Operations of futex(2) that are native: those that are the second of a pair under the mask that
    /// is the first.
    pub futexes: &'a [(u32, u32)],
    /// Shared anonymous memory is native as well (only one replica: nothing to keep equal).
    pub shared_anonymous: bool,
    /// Calls that are native unless their first argument is in `guard`. Private anonymous mappings
    /// are trapped there, too.
    pub guarded: &'a [u32],
    /// See `guarded`.
    pub guard: std::ops::Range<u64>,
}

const RET_TRACE: u32 = 0x7ff0_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

/// Compiles the filter. Fails only on a mistake in the table.
pub fn compile(natives: Natives<'_>) -> Result<BpfProgram, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        natives.numbers.iter().map(|n| (i64::from(*n), vec![])).collect();
    // mmap: MAP_ANONYMOUS (0x20) with MAP_PRIVATE (0x2) and not MAP_SHARED (0x1).
    let (mask, value) = if natives.shared_anonymous { (0x20, 0x20) } else { (0x23, 0x22) };
    let anonymous =
        SeccompCondition::new(3, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
            .map_err(|e| e.to_string())?;
    rules.insert(libc::SYS_mmap, outside(&natives.guard, &[anonymous])?);
    for n in natives.guarded {
        let always = natives.guard.is_empty();
        let rule = if always { vec![] } else { outside(&natives.guard, &[])? };
        rules.insert(i64::from(*n), rule);
    }
    let operation = |(mask, value): &(u32, u32)| {
        let equal = SeccompCmpOp::MaskedEq(u64::from(*mask));
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, equal, u64::from(*value))
            .and_then(|c| SeccompRule::new(vec![c]))
            .map_err(|e| e.to_string())
    };
    if !natives.futexes.is_empty() {
        let all = natives.futexes.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        rules.insert(libc::SYS_futex, all);
    }
    // madvise: native but for the advice that would make a fork lose pages.
    let harmless = natives
        .trapped_advice
        .iter()
        .map(|a| SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(*a)))
        .collect::<Result<Vec<_>, _>>()
        .and_then(SeccompRule::new)
        .map_err(|e| e.to_string())?;
    rules.insert(libc::SYS_madvise, vec![harmless]);
    let filter = SeccompFilter::new(
        rules,
        // seccompiler 0.5 cannot name USER_NOTIF: its "trace" stands for it until the rewrite.
        SeccompAction::Trace(0),
        SeccompAction::Allow,
        TargetArch::x86_64,
    )
    .map_err(|e| e.to_string())?;
    let compiled: BpfProgram =
        filter.try_into().map_err(|e: seccompiler::BackendError| e.to_string())?;
    Ok(with_window(notify_instead_of_trace(compiled)))
}

/// Rules for a call whose first argument is not in `guard`, each with these conditions.
fn outside(
    guard: &std::ops::Range<u64>,
    also: &[SeccompCondition],
) -> Result<Vec<SeccompRule>, String> {
    let sides = match guard.is_empty() {
        true => vec![None],
        false => vec![Some((SeccompCmpOp::Lt, guard.start)), Some((SeccompCmpOp::Ge, guard.end))],
    };
    let rule = |side: Option<(SeccompCmpOp, u64)>| {
        let mut all = also.to_vec();
        if let Some((op, value)) = side {
            all.push(SeccompCondition::new(0, SeccompCmpArgLen::Qword, op, value)?);
        }
        SeccompRule::new(all)
    };
    sides.into_iter().map(rule).collect::<Result<_, _>>().map_err(|e| e.to_string())
}

fn notify_instead_of_trace(mut program: BpfProgram) -> BpfProgram {
    for i in &mut program {
        if i.code == 0x06 && i.k == RET_TRACE {
            i.k = RET_USER_NOTIF;
        }
    }
    program
}

/// Prepends: "if the instruction pointer is just behind the window's `syscall`, allow"; and the same
/// for a clock_gettime(2) of the code that reads clocks. Jumps are relative, so what follows stays as
/// it is.
fn with_window(program: BpfProgram) -> BpfProgram {
    let (ip, clock) = (WINDOW + 2, clock::call());
    let mut out = vec![
        sock_filter { code: 0x20, jt: 0, jf: 0, k: 8 }, // low half of instruction_pointer
        sock_filter { code: 0x15, jt: 0, jf: 3, k: ip as u32 },
        sock_filter { code: 0x20, jt: 0, jf: 0, k: 12 }, // high half
        sock_filter { code: 0x15, jt: 0, jf: 7, k: (ip >> 32) as u32 },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: RET_ALLOW },
        sock_filter { code: 0x15, jt: 0, jf: 5, k: clock as u32 },
        sock_filter { code: 0x20, jt: 0, jf: 0, k: 12 },
        sock_filter { code: 0x15, jt: 0, jf: 3, k: (clock >> 32) as u32 },
        sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 }, // number
        sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_clock_gettime as u32 },
        sock_filter { code: 0x06, jt: 0, jf: 0, k: RET_ALLOW },
    ];
    out.extend(program);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn natives(numbers: &[u32], shared_anonymous: bool) -> Natives<'_> {
        let guard = 0x5800_0000_0000..0x5c00_0000_0000;
        let futexes = &[(0xffff_fe7c, 0)];
        Natives { numbers, trapped_advice: &[10], futexes, shared_anonymous, guarded: &[26], guard }
    }

    #[test]
    fn every_return_is_allow_notify_or_the_architecture_check() {
        let p = compile(natives(&[12, 11], false)).unwrap();
        let returns: Vec<u32> = p.iter().filter(|i| i.code == 0x06).map(|i| i.k).collect();
        assert!(returns.contains(&RET_USER_NOTIF));
        assert!(returns.contains(&RET_ALLOW));
        assert!(!returns.iter().any(|k| k & 0xffff_0000 == RET_TRACE));
    }

    #[test]
    fn the_window_comes_first() {
        let p = compile(natives(&[], true)).unwrap();
        assert_eq!(p[1].k, WINDOW as u32 + 2);
        assert_eq!(p[4].k, RET_ALLOW);
        assert_eq!((p[5].k, p[10].k), (clock::call() as u32, RET_ALLOW));
    }
}
