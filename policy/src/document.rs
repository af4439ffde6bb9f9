//! Settings that a person writes in TOML, read so that nothing is accepted silently.
//!
//! Invariant: a table's keys are named before any is read, and one that is not among them is an error;
//! an error names its line, its key and what is allowed there. Called by the registry of strategies
//! and by the specifications of applications.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{duration, size};

/// The longest text that is read, in bytes: nobody writes more, and somebody may send more.
pub const LONGEST: usize = 1 << 20;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {}{what}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct DocumentError {
    /// From 1.
    pub line: usize,
    /// The key with the tables that it is in, `dependability.max-pause`; empty if it is not about one.
    pub key: String,
    /// What is wrong and what is allowed, in one line.
    pub what: String,
}

/// A table of a document.
pub struct Section<'a> {
    text: &'a str,
    /// Its name with a dot behind it; empty for the document itself.
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

/// Parses `text` and gives its outermost table to `read`.
///
/// # Errors
/// [`DocumentError`] if it is too long or no TOML, or what `read` says.
pub fn read<T>(
    text: &str,
    read: impl FnOnce(&Section<'_>) -> Result<T, DocumentError>,
) -> Result<T, DocumentError> {
    if text.len() > LONGEST {
        let what = format!("{} bytes are more than the {LONGEST} that are read", text.len());
        return Err(DocumentError { line: 1, key: String::new(), what });
    }
    let table = DeTable::parse(text).map_err(|error| DocumentError {
        line: line(text, error.span().map_or(0, |span| span.start)),
        key: String::new(),
        what: format!("no TOML: {}", one_line(error.message())),
    })?;
    let span = table.span();
    read(&Section { text, path: String::new(), table: table.get_ref(), span })
}

impl<'a> Section<'a> {
    /// Names all keys that the table may have.
    ///
    /// # Errors
    /// The first key in the text that is none of them, with the one it may have been meant to be.
    pub fn only(&self, keys: &[&str]) -> Result<(), DocumentError> {
        let unknown = self.table.keys().filter(|key| !keys.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        Err(self.wrong(name, at, format!("there is no such key; {}", meant(name, keys))))
    }

    /// An error about a key of this table, or about the table itself if it has no such key.
    pub fn error(&self, key: &str, what: impl Into<String>) -> DocumentError {
        let at = self.entry(key).map_or(self.span.start, |(at, _)| at);
        self.wrong(key, at, what.into())
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// A text.
    ///
    /// # Errors
    /// It is none, or has a NUL in it, which no name or argument can have.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, DocumentError> {
        let Some((_, value)) = self.entry(key) else { return Ok(None) };
        self.string(key, value, "a text in quotes").map(Some)
    }

    /// A list of texts.
    ///
    /// # Errors
    /// It is none.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, DocumentError> {
        const WANTED: &str = "a list of texts, for example [\"a\", \"b\"]";
        let Some((at, value)) = self.entry(key) else { return Ok(None) };
        let list = value.get_ref().as_array();
        let list = list.ok_or_else(|| self.kind(key, at, value, WANTED))?;
        list.iter().map(|value| self.string(key, value, WANTED)).collect::<Result<_, _>>().map(Some)
    }

    /// A table of texts, sorted by their names.
    ///
    /// # Errors
    /// It is none.
    pub fn pairs(&self, key: &str) -> Result<Vec<(&'a str, &'a str)>, DocumentError> {
        let Some(section) = self.table(key)? else { return Ok(Vec::new()) };
        let names = section.table.keys().map(|name| name.get_ref().as_ref());
        names.map(|name| Ok((name, section.text(name)?.unwrap_or_default()))).collect()
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none, or outside of the range.
    pub fn whole(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, DocumentError> {
        let Some((at, value)) = self.entry(key) else { return Ok(None) };
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let number = value.get_ref().as_integer();
        let number = number.ok_or_else(|| self.kind(key, at, value, &wanted))?;
        let digits = number.as_str().replace('_', "");
        match u64::from_str_radix(digits.trim_start_matches('+'), number.radix()) {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(self.wrong(key, at, format!("{digits} is not allowed; write {wanted}"))),
        }
    }

    /// A number that is finite and not negative.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, key: &str) -> Result<Option<f64>, DocumentError> {
        const WANTED: &str = "a number that is not negative, for example 0.5 or 1e-9";
        let Some((at, value)) = self.entry(key) else { return Ok(None) };
        let text = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(self.kind(key, at, value, WANTED)),
        };
        match text.replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            _ => Err(self.wrong(key, at, format!("{text} is not allowed; write {WANTED}"))),
        }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, DocumentError> {
        let Some((at, value)) = self.entry(key) else { return Ok(None) };
        match value.get_ref().as_bool() {
            Some(flag) => Ok(Some(flag)),
            None => Err(self.kind(key, at, value, "true or false, without quotes")),
        }
    }

    /// One of several words.
    ///
    /// # Errors
    /// It is another.
    pub fn choice<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, DocumentError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some((_, chosen)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*chosen));
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(self.error(key, format!("'{text}' is not known; {}", meant(text, &words))))
    }

    /// A duration, as on the command line.
    ///
    /// # Errors
    /// It is none.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, DocumentError> {
        let Some((_, value)) = self.entry(key) else { return Ok(None) };
        let text = self.string(key, value, "a duration in quotes, for example \"1.5s\"")?;
        duration::parse(text)
            .map(Some)
            .map_err(|error| self.error(key, one_line(&error.to_string())))
    }

    /// A size of memory in bytes, as on the command line.
    ///
    /// # Errors
    /// It is none.
    pub fn size(&self, key: &str) -> Result<Option<u64>, DocumentError> {
        let Some((_, value)) = self.entry(key) else { return Ok(None) };
        let text = self.string(key, value, "a size in quotes, for example \"64M\"")?;
        size::parse(text).map(Some).map_err(|error| self.error(key, one_line(&error.to_string())))
    }

    /// A table in this one.
    ///
    /// # Errors
    /// It is none.
    pub fn table(&self, key: &str) -> Result<Option<Section<'a>>, DocumentError> {
        let Some((at, value)) = self.entry(key) else { return Ok(None) };
        let path = format!("{}{key}.", self.path);
        match value.get_ref().as_table() {
            Some(table) => Ok(Some(Section { text: self.text, path, table, span: at..at })),
            None => Err(self.kind(key, at, value, &format!("a table, [{}{key}]", self.path))),
        }
    }

    /// Tables of one name in this one, `[[…]]`.
    ///
    /// # Errors
    /// They are none.
    pub fn tables(&self, key: &str) -> Result<Vec<Section<'a>>, DocumentError> {
        let Some((at, value)) = self.entry(key) else { return Ok(Vec::new()) };
        let wanted = format!("tables, each beginning with [[{}{key}]]", self.path);
        let list = value.get_ref().as_array();
        let list = list.ok_or_else(|| self.kind(key, at, value, &wanted))?;
        let mut sections = Vec::new();
        for value in list.iter() {
            let table = value.get_ref().as_table();
            let table = table.ok_or_else(|| self.kind(key, at, value, &wanted))?;
            let path = format!("{}{key}.", self.path);
            sections.push(Section { text: self.text, path, table, span: value.span() });
        }
        Ok(sections)
    }

    /// Where a key is, and its value.
    fn entry(&self, key: &str) -> Option<(usize, &'a Spanned<DeValue<'a>>)> {
        let (key, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((key.span().start, value))
    }

    fn string(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        wanted: &str,
    ) -> Result<&'a str, DocumentError> {
        let at = value.span().start;
        let text = value.get_ref().as_str().ok_or_else(|| self.kind(key, at, value, wanted))?;
        if text.contains('\0') {
            return Err(self.wrong(key, at, "a text cannot have a NUL in it".to_owned()));
        }
        Ok(text)
    }

    fn kind(
        &self,
        key: &str,
        at: usize,
        value: &Spanned<DeValue<'_>>,
        wanted: &str,
    ) -> DocumentError {
        let kind = value.get_ref().type_str();
        self.wrong(key, at, format!("expected {wanted}; what stands here is of type {kind}"))
    }

    fn wrong(&self, key: &str, at: usize, what: String) -> DocumentError {
        let key = one_line(&format!("{}{key}", self.path));
        DocumentError { line: line(self.text, at), key, what: one_line(&what) }
    }
}

/// What may have been meant, and all that is allowed.
pub fn meant(text: &str, allowed: &[&str]) -> String {
    let near = allowed.iter().map(|word| (strsim::osa_distance(text, word), word)).min();
    let all = format!("allowed: {}", allowed.join(", "));
    match near {
        Some((distance, word)) if distance <= 1 + word.len() / 4 => {
            format!("did you mean '{word}'? {all}")
        }
        _ => all,
    }
}

/// The line that a byte is in, from 1.
fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// A message that is one line whatever was quoted in it.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
name = \"a\"
size = \"64M\"
wait = \"1.5s\"
part = 0.25
many = 3

[inner]
flag = true
list = [\"x\", \"y\"]
";

    #[test]
    fn what_is_there_is_read() {
        read(TEXT, |top| {
            top.only(&["name", "size", "wait", "part", "many", "inner"])?;
            assert_eq!(top.text("name")?, Some("a"));
            assert_eq!(top.size("size")?, Some(64 << 20));
            assert_eq!(top.duration("wait")?, Some(Duration::from_millis(1500)));
            assert_eq!(top.number("part")?, Some(0.25));
            assert_eq!(top.number("many")?, Some(3.0));
            assert_eq!(top.whole("many", 1..=4)?, Some(3));
            assert_eq!(top.text("absent")?, None);
            let inner = top.table("inner")?.unwrap();
            assert_eq!(inner.flag("flag")?, Some(true));
            assert_eq!(inner.texts("list")?, Some(vec!["x", "y"]));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn an_error_names_line_key_and_what_is_allowed() {
        let said = |error: DocumentError| error.to_string();
        read(TEXT, |top| {
            let error = said(top.only(&["names", "size", "wait", "part", "inner"]).unwrap_err());
            assert_eq!(
                error,
                "line 1: name: there is no such key; did you mean 'names'? allowed: names, size, wait, part, inner"
            );
            assert_eq!(
                said(top.whole("many", 4..=9).unwrap_err()),
                "line 5: many: 3 is not allowed; write a whole number from 4 to 9"
            );
            assert_eq!(
                said(top.choice("name", &[("b", 1), ("c", 2)]).unwrap_err()),
                "line 1: name: 'a' is not known; did you mean 'b'? allowed: b, c"
            );
            assert_eq!(
                said(top.text("many").unwrap_err()),
                "line 5: many: expected a text in quotes; what stands here is of type integer"
            );
            let inner = top.table("inner")?.unwrap();
            assert_eq!(
                said(inner.only(&["list"]).unwrap_err()),
                "line 8: inner.flag: there is no such key; allowed: list"
            );
            Ok(())
        })
        .unwrap();
        let error = said(read("a = 1\nb = \n", |_| Ok(())).unwrap_err());
        assert!(error.starts_with("line 2: no TOML: "), "{error}");
    }

    #[test]
    fn what_is_quoted_cannot_break_the_line() {
        let error = read("\"a\\nb\" = 1", |top| top.only(&[])).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        let error = read("a = \"\\u0000\"", |top| top.text("a").map(|_| ())).unwrap_err();
        assert_eq!(error.what, "a text cannot have a NUL in it");
    }
}
