//! How the results of an application are laid out as parts of one vote, and as files when one has won.
//!
//! Invariant: of each part of the application there is one part of the vote for how it ended (its status,
//! which files there are, their modes), then one for each file: so replicas agree on all that natively
//! can be seen. A file that several parts name is theirs one after the other (paper 6.1: the parts are combined at
//! the voter). Pure.

use chameleon_policy::spec::Specification;
use chameleon_policy::vote::results::MOST_PARTS;
use chameleon_proto::message::app::File;
use ring::digest::{Context, SHA256};

/// A part of the vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// How this part of the application ended.
    Head(u32),
    /// The file of this number of this part.
    File(u32, u32),
}

/// The layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The files of each part.
    pub files: Vec<Vec<String>>,
    /// The parts of the vote, in order.
    pub cells: Vec<Cell>,
}

/// The file that the program's output is asked for in: a result, too.
pub(crate) fn output(specification: &Specification) -> Option<&String> {
    specification.app.streams[1].as_ref().filter(|_| specification.app.parts.len() == 1)
}

impl Layout {
    /// That of a specification.
    ///
    /// # Errors
    /// In words: it cannot be voted on.
    pub fn new(specification: &Specification) -> Result<Self, String> {
        let app = &specification.app;
        if app.parts.len() > 1 && app.streams[1].is_some() {
            let why = "the output of several parts cannot go to one file; name it in none, or have \
                       each part write a file of its own";
            return Err(why.to_owned());
        }
        let output = output(specification);
        if output.is_some_and(|path| path.starts_with('/') || path.split('/').any(|n| n == "..")) {
            return Err("stdout is a result here: write a path below the directory".to_owned());
        }
        let files: Vec<Vec<String>> = app
            .parts
            .iter()
            .map(|part| part.results.iter().chain(output).cloned().collect())
            .collect();
        let mut cells = Vec::new();
        for (part, names) in files.iter().enumerate() {
            cells.push(Cell::Head(part as u32));
            cells.extend((0..names.len()).map(|file| Cell::File(part as u32, file as u32)));
        }
        if cells.len() > MOST_PARTS as usize {
            return Err(format!("at most {MOST_PARTS} results and parts can be voted on"));
        }
        Ok(Self { files, cells })
    }

    /// The number of a part of the vote.
    pub fn index(&self, cell: Cell) -> u32 {
        self.cells.iter().position(|known| *known == cell).unwrap_or(0) as u32
    }

    /// The files that are to be there in the end, each with the cells that make it.
    pub fn targets(&self) -> Vec<(String, Vec<Cell>)> {
        let mut targets: Vec<(String, Vec<Cell>)> = Vec::new();
        for (part, names) in self.files.iter().enumerate() {
            for (file, name) in names.iter().enumerate() {
                let cell = Cell::File(part as u32, file as u32);
                match targets.iter_mut().find(|(known, _)| known == name) {
                    Some((_, cells)) => cells.push(cell),
                    None => targets.push((name.clone(), vec![cell])),
                }
            }
        }
        targets
    }
}

/// How a part ended, as bytes that no tolerance lets pass for others: seven letters.
pub(super) fn head(status: i32, files: &[File]) -> Vec<u8> {
    let mut sum = Context::new(&SHA256);
    sum.update(&status.to_le_bytes());
    for file in files {
        let there = u8::from(file.length.is_some());
        sum.update(&[there]);
        sum.update(&file.mode.to_le_bytes());
    }
    let digest = sum.finish();
    let letters = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    std::iter::once(b's').chain(letters.map(|nibble| b'a' + nibble)).take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specification(text: &str) -> Specification {
        Specification::parse(text).unwrap()
    }

    #[test]
    fn parts_are_in_order_and_a_common_file_is_theirs_one_after_the_other() {
        let layout = Layout::new(&specification(
            "[app]\nname = 'm'\n[[part]]\ncommand = ['a']\nresults = ['c', 'x']\n\
             [[part]]\ncommand = ['b']\nresults = ['c']\n",
        ))
        .unwrap();
        assert_eq!(layout.cells.len(), 5);
        assert_eq!(layout.index(Cell::File(1, 0)), 4);
        let targets = layout.targets();
        assert_eq!(targets[0], ("c".to_owned(), vec![Cell::File(0, 0), Cell::File(1, 0)]));
        assert_eq!(targets[1].0, "x");
    }

    #[test]
    fn output_is_a_result_of_a_program_of_one_part() {
        let one = "[app]\nname = 'm'\ncommand = ['a']\nstdout = 'out'\nresults = ['c']\n";
        assert_eq!(Layout::new(&specification(one)).unwrap().files, [["c", "out"]]);
        let away = one.replace("'out'", "'/tmp/out'");
        assert!(Layout::new(&specification(&away)).is_err());
    }

    #[test]
    fn heads_differ_by_status_and_by_what_is_there() {
        let file = |length| File { length, digest: vec![], mode: 0o644 };
        let heads = [
            head(0, &[file(Some(1))]),
            head(1, &[file(Some(1))]),
            head(0, &[file(None)]),
            head(0, &[]),
        ];
        for (one, a) in heads.iter().enumerate() {
            assert!(a.len() == 7 && a.iter().all(u8::is_ascii_lowercase));
            assert!(heads[one + 1..].iter().all(|b| a != b));
        }
        assert_eq!(
            head(0, &[file(Some(1))]),
            head(0, &[file(Some(9))]),
            "lengths are compared as files are"
        );
    }
}
