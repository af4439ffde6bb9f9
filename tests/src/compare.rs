//! The first differences between two runs, in words.
//!
//! Invariant: an empty answer means equal output, files and ending. Called by the scenarios.

use crate::outcome::Outcome;
use crate::tree::{Entry, Tree};

/// What differs between a native run and one under Chameleon; empty if nothing does.
///
/// `ignored` names files (by the end of their path) whose content may differ.
pub fn differences(native: &Outcome, under: &Outcome, ignored: &[String]) -> String {
    let mut text = String::new();
    if native.ending != under.ending {
        text += &format!("ending: {} natively, {}\n", native.ending, under.ending);
    }
    text += &bytes("stdout", &native.stdout, &under.stdout);
    text += &bytes(
        "stderr",
        &native.stderr,
        &without_chameleon_lines(&under.stderr, under.report.disturbances().is_empty()),
    );
    text + &trees(&native.tree, &under.tree, ignored)
}

/// Standard error without the lines in which Chameleon tells what it masked; all of it if the run
/// was undisturbed, since there Chameleon has nothing to say.
pub fn without_chameleon_lines(stderr: &[u8], undisturbed: bool) -> Vec<u8> {
    if undisturbed {
        return stderr.to_vec();
    }
    stderr
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"chameleon: "))
        .flatten()
        .copied()
        .collect()
}

fn bytes(what: &str, native: &[u8], under: &[u8]) -> String {
    if native == under {
        return String::new();
    }
    let at = native.iter().zip(under).take_while(|(left, right)| left == right).count();
    let line = native[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = at.saturating_sub(30);
    let excerpt = |all: &[u8]| {
        let end = all.len().min(at + 90);
        String::from_utf8_lossy(&all[start.min(end)..end]).escape_debug().to_string()
    };
    format!(
        "{what}: differs at byte {at} (line {line}) of {} and {} bytes\n  native: \"{}\"\n  under:  \"{}\"\n",
        native.len(),
        under.len(),
        excerpt(native),
        excerpt(under),
    )
}

fn trees(native: &Tree, under: &Tree, ignored: &[String]) -> String {
    let mut text = String::new();
    for name in native.keys().filter(|name| !under.contains_key(*name)) {
        text += &format!("file {name}: is missing\n");
    }
    for (name, entry) in under {
        match (native.get(name), entry) {
            (None, _) => text += &format!("file {name}: is there, natively it is not\n"),
            (Some(Entry::File(mode, left)), Entry::File(other, right)) => {
                if mode != other {
                    text += &format!("file {name}: mode {other:o}, natively {mode:o}\n");
                }
                if !ignored.iter().any(|end| name.ends_with(end.as_str())) {
                    text += &bytes(&format!("file {name}"), left, right);
                }
            }
            (Some(left), right) if left != right => {
                text += &format!("file {name}: {right:?}, natively {left:?}\n");
            }
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{bytes, without_chameleon_lines};

    #[test]
    fn the_first_differing_byte_is_named_with_its_line() {
        let text = bytes("stdout", b"one\ntwo\n", b"one\ntwx\n");
        assert!(text.starts_with("stdout: differs at byte 6 (line 2) of 8 and 8 bytes"));
        assert!(bytes("stdout", b"same", b"same").is_empty());
        assert!(!bytes("stdout", b"same", b"same and more").is_empty());
    }

    #[test]
    fn lines_of_chameleon_are_taken_out_only_where_it_had_something_to_say() {
        let mixed = b"mine\nchameleon: replica 1 outvoted\nmine too\n";
        assert_eq!(without_chameleon_lines(mixed, false), b"mine\nmine too\n");
        assert_eq!(without_chameleon_lines(mixed, true), mixed);
    }
}
