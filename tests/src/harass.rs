//! Killing what belongs to a run, at moments drawn from a seed.
//!
//! Invariant: only processes of the run given are killed; the same seed draws the same numbers. Called
//! by the tests that kill on purpose.

use std::fs;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mark::state;
use crate::run::{Running, until};

/// Runs with a roll-back for each program, unless `CHAMELEON_ROLLBACKS` says otherwise.
const ROLLBACKS: u64 = 2;

/// The number of runs with a roll-back that each program is to have.
pub fn rollbacks() -> u64 {
    let wanted = std::env::var("CHAMELEON_ROLLBACKS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(ROLLBACKS)
}

/// A sequence of numbers that looks random and is the same each time (xorshift64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(1); // the first numbers of neighbours are alike
        dice
    }

    /// A number below this one, which is above 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One of the replicas that run, by the signal of a fault.
    Replica,
    /// All of them.
    All,
    /// A frozen fork.
    Checkpoint,
    /// The ARMOR that votes.
    Armor,
    /// All replicas that run, and the ARMOR while they are made anew.
    AllThenArmor,
}

/// The signals of a process that fails.
const FAULTS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGKILL,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGABRT,
];

/// The supervisor of a run, whose children are its ARMOR, replicas and frozen forks.
pub fn supervisor(running: &mut Running) -> Option<i32> {
    let mut found = None;
    until(|| {
        let own = running.processes();
        let supervisor = own.iter().find(|process| process.is_armor("SUPERVISOR"));
        found = supervisor.map(|process| process.pid);
        found.is_some() || !running.goes_on()
    });
    found
}

/// Kills until the run is over, with pauses of so many microseconds; how often something was killed.
pub fn harass(
    running: &mut Running,
    dice: &mut Dice,
    victims: &[Victim],
    pause_us: Range<u64>,
) -> usize {
    let Some(parent) = supervisor(running) else { return 0 };
    // What fails before there is a checkpoint is lost.
    until(|| running.has_told("checkpoint") > 0 || !running.goes_on());
    let mut kills = 0;
    while running.goes_on() {
        sleep(Duration::from_micros(pause_us.start + dice.below(pause_us.end - pause_us.start)));
        let end = Instant::now() + Duration::from_nanos(dice.below(300_000));
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        kills += usize::from(strike(parent, dice, victims));
    }
    kills
}

fn strike(parent: i32, dice: &mut Dice, victims: &[Victim]) -> bool {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let all: Vec<i32> = children
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    let (armors, others): (Vec<i32>, Vec<i32>) = all.into_iter().partition(|pid| is_own(*pid));
    let send = |pid: i32, signal| kill(Pid::from_raw(pid), signal).is_ok();
    let signal = dice.of(&FAULTS);
    // A tracer holds what is frozen; one that runs may be held for a moment, too.
    let (frozen, run): (Vec<i32>, Vec<i32>) =
        others.into_iter().partition(|pid| state(*pid) == Some('t'));
    match dice.of(victims) {
        Victim::Armor => armors.iter().any(|pid| send(*pid, Signal::SIGKILL)),
        Victim::AllThenArmor => {
            let struck = run.iter().filter(|pid| send(**pid, signal)).count() > 0;
            sleep(Duration::from_micros(dice.below(4_000)));
            armors.iter().any(|pid| send(*pid, Signal::SIGKILL)) || struck
        }
        Victim::Replica => !run.is_empty() && send(dice.of(&run), signal),
        Victim::All => run.iter().filter(|pid| send(**pid, signal)).count() > 0,
        Victim::Checkpoint => !frozen.is_empty() && send(dice.of(&frozen), Signal::SIGKILL),
    }
}

fn is_own(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"chameleon: "))
}
