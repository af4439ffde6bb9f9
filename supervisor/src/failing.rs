//! What is said when a process of ours panics: its standard error is nobody's.
//!
//! Invariant: nothing is written but where the program's messages go.

use chameleon_interpose::dispatcher::Reporter;

/// From here on a panic of this process, the `armor` of the run whose first process is `root`, is told to people.
pub(crate) fn tell_panics(armor: &'static str, root: u32) {
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic.to_string().replace('\n', " ");
        let line = format!(
            "chameleon: the {armor} {what}; this is a fault of chameleon, please report it"
        );
        Reporter::new(None, root, false).tell(&line);
    }));
}
