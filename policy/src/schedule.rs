//! Which of the threads that share memory runs next: one at a time, and the outside decides for all
//! replicas, so the choice may follow the moment.
//!
//! Invariant: a thread that is ready is picked after finitely many picks of others. Called for
//! every call of a program with threads: no allocation.

/// What is done with a thread that computes without calls while others wait, when its replicas
/// cannot be brought to one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// It is waited for, and that is said.
    #[default]
    Strict,
    /// The state of one replica is taken for all, and that is said: what it computed since its last
    /// call is not voted.
    Live,
}

impl std::str::FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strict" => Ok(Self::Strict),
            "live" => Ok(Self::Live),
            _ => Err("it is strict or live".into()),
        }
    }
}

/// Picks in a row that a thread has before those that wait.
pub const STREAK: u32 = 64;

/// A thread that is ready to go on behind its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which one.
    pub thread: usize,
    /// When it became ready, in an order of the caller's.
    pub since: u64,
}

/// Whether the thread that ran last, which is ready again, simply goes on: its memory is in the
/// caches, and a switch costs wake-ups.
#[must_use]
pub fn goes_on(streak: u32) -> bool {
    streak < STREAK
}

/// The thread that has been ready longest; the one that ran last only if there is no other.
#[must_use]
pub fn pick(ready: impl Iterator<Item = Ready>, last: Option<usize>) -> Option<usize> {
    ready.min_by_key(|r| (Some(r.thread) == last, r.since)).map(|r| r.thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(all: &[(usize, u64)]) -> impl Iterator<Item = Ready> {
        all.iter().map(|&(thread, since)| Ready { thread, since })
    }

    #[test]
    fn who_has_waited_longest_is_next() {
        assert_eq!(pick(ready(&[(3, 9), (1, 4), (2, 7)]), None), Some(1));
        assert_eq!(pick(ready(&[]), Some(1)), None);
    }

    #[test]
    fn the_last_one_waits_for_the_others() {
        assert_eq!(pick(ready(&[(3, 9), (1, 4)]), Some(1)), Some(3));
        assert_eq!(pick(ready(&[(1, 4)]), Some(1)), Some(1));
    }

    #[test]
    fn threads_are_strict_or_live() {
        assert_eq!("live".parse(), Ok(Threads::Live));
        assert_eq!("strict".parse(), Ok(Threads::default()));
        assert!("quick".parse::<Threads>().is_err());
    }

    #[test]
    fn a_streak_ends() {
        assert!(goes_on(0) && goes_on(STREAK - 1) && !goes_on(STREAK));
    }
}
