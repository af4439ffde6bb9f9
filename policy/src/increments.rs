//! Whether it is worth while to look which pages a process has changed since its last image.
//!
//! To look costs while the program stands still: the page tables are gone through, and what was written
//! to is protected again. It saves work of the process that writes, beside the program. The first
//! write to a page behind a checkpoint costs a fault in any case (it is copied), so that watching adds nothing
//! there (measured: a gigabyte rewritten took the same time). What a page costs to write is taken from the
//! whole images of the same process.
//!
//! Invariant: whatever was decided, it is looked again some time: a program may change its ways. Used by
//! interposition, for each process.

/// A nanosecond in which the program stands still counts as so many of work beside it.
const STOPPED: u64 = 4;
/// Images that are not looked for after the first time that it was not worth while, and after the last.
const FIRST_REST: u32 = 2;
const LONGEST_REST: u32 = 64;
/// If less than this part of the pages can be left to the image before, a whole one is written: it has
/// nearly the same length, and needs no other.
const LEAST_LEFT: u64 = 16;

/// Whether an image that could leave `unchanged` pages to the one before, and has `changed` ones, is better
/// written whole.
pub fn is_nearly_whole(changed: u64, unchanged: u64) -> bool {
    unchanged < changed / LEAST_LEFT || unchanged == 0
}

/// What one image has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Nanoseconds of CPU time for which the program stood still to be looked through; 0 if it was not.
    pub looked_ns: u64,
    /// Whether that could show what was unchanged: what comes before the first image is not.
    pub compared: bool,
    /// Pages of the image before.
    pub before: u64,
    /// Pages that have changed, or may have.
    pub changed: u64,
    /// Pages that have not.
    pub unchanged: u64,
    /// Whether all of them were written.
    pub whole: bool,
    /// CPU time of the writer in nanoseconds.
    pub written_ns: u64,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    /// Nanoseconds that a page costs to write; 0 as long as it is not known.
    pub page_ns: u64,
    /// Images until it is looked again.
    pub rest: u32,
    /// How many they were the last time.
    pub rests: u32,
}

impl Worth {
    /// Whether the process is to be looked through at its next image.
    pub fn looks(&self) -> bool {
        self.rest == 0
    }

    /// What is known after one more image.
    pub fn after(self, image: Written) -> Self {
        let all = image.changed + image.unchanged;
        let page_ns = match image.written_ns.checked_div(all) {
            Some(ns) if image.whole => ns.max(1),
            _ => self.page_ns,
        };
        let known = Self { page_ns, ..self };
        if image.looked_ns == 0 {
            return Self { rest: self.rest.saturating_sub(1), ..known };
        }
        // One that has grown by so much has not rewritten what it had.
        if !image.compared || page_ns == 0 || image.before < all / 2 {
            return known;
        }
        if image.unchanged * page_ns >= image.looked_ns * STOPPED {
            return Self { rests: 0, ..known };
        }
        let rests = (self.rests * 2).clamp(FIRST_REST, LONGEST_REST);
        Self { rest: rests, rests, ..known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Written = Written {
        looked_ns: 6_000_000,
        compared: false,
        before: 100_000,
        changed: 100_000,
        unchanged: 0,
        whole: true,
        written_ns: 400_000_000,
    };

    fn increment(changed: u64) -> Written {
        let unchanged = 100_000 - changed;
        Written { compared: true, changed, unchanged, whole: false, written_ns: 1, ..WHOLE }
    }

    const NOT_LOOKED: Written = Written { looked_ns: 0, ..WHOLE };

    #[test]
    fn few_changes_are_worth_a_look() {
        let known = Worth::default().after(WHOLE);
        assert_eq!(known.page_ns, 4000);
        assert!(known.after(increment(1000)).looks());
        assert!(known.after(increment(60_000)).looks());
        // Also where it was written whole for another reason.
        let whole = Written { whole: true, written_ns: WHOLE.written_ns, ..increment(1000) };
        assert!(known.after(whole).looks());
    }

    #[test]
    fn a_program_that_rewrites_everything_is_left_alone_for_longer_and_longer() {
        let mut known = Worth::default().after(WHOLE);
        let mut rests = Vec::new();
        for _ in 0..8 {
            known = known.after(increment(99_990));
            let mut rest = 0;
            while !known.looks() {
                known = known.after(NOT_LOOKED);
                rest += 1;
            }
            // The first look behind it shows nothing.
            known = known.after(WHOLE);
            rests.push(rest);
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 64, 64, 64]);
        // It changes its ways.
        known = known.after(increment(10)).after(increment(99_990));
        assert_eq!(known.rest, FIRST_REST);
    }

    #[test]
    fn nothing_is_decided_without_a_whole_image() {
        assert!(Worth::default().after(increment(99_999)).looks());
        let empty = Written { changed: 0, written_ns: 5, ..WHOLE };
        assert_eq!(Worth::default().after(empty).page_ns, 0);
    }

    #[test]
    fn a_program_that_grows_is_looked_through_again() {
        let known = Worth::default().after(WHOLE);
        let grown = Written { before: 10, compared: true, unchanged: 7, ..WHOLE };
        assert!(known.after(grown).looks());
        assert!(!known.after(Written { before: 90_000, ..grown }).looks());
    }

    #[test]
    fn hardly_anything_left_is_a_whole_image() {
        assert!(is_nearly_whole(0, 0) && is_nearly_whole(10, 0) && is_nearly_whole(100_000, 1));
        assert!(!is_nearly_whole(0, 1) && !is_nearly_whole(16, 1) && !is_nearly_whole(3, 100_000));
    }
}
