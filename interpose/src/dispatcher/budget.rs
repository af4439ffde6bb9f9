//! What checkpoints may cost: how many are kept, and how much memory they hold that the program would
//! not have used.
//!
//! A checkpoint shares its pages with the replica until that one writes to them; what it then holds alone
//! is what it costs. The oldest goes first, whosever it is, when all together hold more than they may or
//! when the machine has little left. They are what the kernel takes first, too, if it comes to that.
//!
//! Invariant: nothing here delays a call; the newest checkpoint of a process goes last.

use chameleon_policy::checkpoint;

use super::Dispatcher;
use crate::arena::rstate;

/// Nanoseconds between two looks.
const PERIOD_NS: u64 = 500_000_000;
/// From when a process has lost its last checkpoint for this to its next one.
const PAUSE_NS: u64 = 2_000_000_000;
/// One part in so many of the machine's memory is left to others.
const RESERVE: u64 = 16;

impl Dispatcher {
    /// Lets checkpoints go that cost too much.
    pub(super) fn keep_within_budget(&mut self) {
        let Some(c) = self.settings.checkpoints else { return };
        if self.now.saturating_sub(self.budget_seen) < PERIOD_NS {
            return;
        }
        self.budget_seen = self.now;
        let mut all: Vec<(u64, usize, usize)> = (0..self.tasks())
            .flat_map(|t| self.places().map(move |p| (t, p)))
            .filter(|(t, p)| {
                let task = self.arena.task(*t);
                // Of a process with threads its first one stands for all of its memory.
                let first = task.used == 2 && task.leader as usize == *t;
                first && task.replicas[*p].state == rstate::FROZEN
            })
            .map(|(t, p)| (self.arena.task(t).recovery.made_at[p], t, p))
            .collect();
        // At most as much as all of their memory: mostly that is known to be little without a closer look.
        let pid = |t: usize, p: usize| self.arena.task(t).replicas[p].pid;
        let whole: u64 = all.iter().map(|(_, t, p)| resident(pid(*t, *p))).sum();
        let short = is_short();
        if whole <= c.memory && !short {
            return;
        }
        all.sort_unstable();
        let mut held: u64 = all.iter().map(|(_, t, p)| held_alone(pid(*t, *p))).sum();
        let mut spare = usize::from(short);
        for (_, t, p) in all {
            if held <= c.memory && spare == 0 {
                return;
            }
            held = held.saturating_sub(held_alone(self.arena.task(t).replicas[p].pid));
            spare = spare.saturating_sub(1);
            match self.group_of(t) {
                Some(g) => {
                    self.forget_checkpoint_of_group(g, p);
                    if self.usable_group(g).is_empty() {
                        self.arena.group(g).next_freeze = self.now + PAUSE_NS;
                    }
                }
                None => {
                    self.forget_checkpoint(t, p);
                    if self.usable(t).is_empty() {
                        self.arena.task(t).recovery.retry_at = self.now + PAUSE_NS;
                    }
                }
            }
            self.beat(true);
        }
    }

    /// How many checkpoints of a process are kept.
    pub(super) fn kept(&self) -> usize {
        self.settings.checkpoints.map_or(0, |c| c.kept.min(checkpoint::Checkpoints::KEPT) as usize)
    }
}

/// Bytes of a process that are in memory (proc(5), statm).
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) << 12
}

/// Bytes that it has alone (proc(5), smaps_rollup).
fn held_alone(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    kib(&text, "Private_Dirty:") + kib(&text, "Private_Clean:") + kib(&text, "Swap:")
}

/// Whether the machine has little memory left (proc(5), meminfo).
fn is_short() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib(&text, "MemAvailable:") < kib(&text, "MemTotal:") / RESERVE
}

fn kib(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(field));
    let number = line.and_then(|l| l.split_ascii_whitespace().next());
    number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_bytes() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:    12 kB\n";
        assert_eq!(kib(text, "MemAvailable:"), 12 << 10);
        assert_eq!(kib(text, "Swap:"), 0);
    }

    #[test]
    fn what_is_asked_of_this_process_is_there() {
        let own = std::process::id();
        assert!(resident(own) > 0 && held_alone(own) > 0);
        assert!(resident(u32::MAX) == 0 && held_alone(u32::MAX) == 0);
    }
}
