//! `chameleon set`: a run, an application of the environment, or a parameter of it.
//!
//! Invariant: all of a run's ID means the run; else an application's name or number goes before the
//! beginning of an ID or a process number; whoever says which environment means an application. What cannot be meant is refused before anything is asked; whether a value is good is the
//! FTM's to say. Called by `main`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use chameleon_proto::ask::Ask;

use super::apps;
use super::asking::Environment;
use super::place;
use crate::cli::SetArgs;
use crate::runs;

/// Asks for it.
pub fn run(args: &SetArgs) -> anyhow::Result<ExitCode> {
    let (app, values) = meant(args)?;
    let said = args.place.dir.is_some() || args.place.socket.is_some();
    if let Some(word) = app.as_deref().filter(|_| !said)
        && let Some(run) = runs::meant(word)
        && (run.exact || !is_app(word, args))
    {
        return runs::set(&run, &values, args);
    }
    if let Some(word) = app.as_deref().filter(|_| !said)
        && !place::socket(&args.place)?.exists()
    {
        bail!(
            "there is no run {word}; `chameleon ps` lists those there are (and no daemon is here to know \
             of an application)"
        );
    }
    Environment::of(&args.place)?.order(&Ask::Set { app, values }, args.json)
}

/// Whether an application has this name or number.
fn is_app(word: &str, args: &SetArgs) -> bool {
    let apps = apps::running(&args.place, false).ok().flatten().unwrap_or_default();
    apps.iter().any(|row| row.app.name == word || Some(row.app.id.0) == word.parse().ok())
}

/// The run or application, if one is meant, and what it gets.
fn meant(args: &SetArgs) -> anyhow::Result<(Option<String>, BTreeMap<String, String>)> {
    let (app, pairs) = match args.words.split_first() {
        Some((first, rest)) if !first.contains('=') => (Some(first.clone()), rest),
        _ => (None, args.words.as_slice()),
    };
    let mut values = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            bail!("'{pair}' is no NAME=VALUE, for example heartbeat.interval=500ms");
        };
        ensure!(
            values.insert(name.to_owned(), value.to_owned()).is_none(),
            "{name} is given twice"
        );
    }
    let options = [
        ("mode", args.mode.map(|mode| mode.to_string())),
        ("timeout", args.timeout.map(chameleon_policy::duration::text)),
        ("checkpoint", args.checkpoint.map(|cadence| cadence.to_string())),
    ];
    for (name, value) in options {
        let Some(value) = value else { continue };
        ensure!(
            app.is_some(),
            "--{name} is for a run or an application: chameleon set APP --{name} {value}"
        );
        ensure!(values.insert(name.to_owned(), value).is_none(), "{name} is given twice");
    }
    ensure!(!values.is_empty(), "say what is to be set: NAME=VALUE, or --mode and the like");
    Ok((app, values))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn said(line: &str) -> anyhow::Result<(Option<String>, BTreeMap<String, String>)> {
        let Command::Set(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not set");
        };
        meant(&args)
    }

    #[test]
    fn an_application_or_the_environment() {
        let (app, values) = said("chameleon set web --mode tmr --timeout 200ms").unwrap();
        assert_eq!(app.as_deref(), Some("web"));
        assert_eq!(values["mode"], "tmr");
        assert_eq!(values["timeout"], "200ms");
        let (app, values) = said("chameleon set heartbeat.interval=1s retries=2").unwrap();
        assert_eq!((app, values.len()), (None, 2));
        let (app, values) = said("chameleon set web mode=dual").unwrap();
        assert_eq!((app.as_deref(), values["mode"].as_str()), (Some("web"), "dual"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "chameleon set web",
            "chameleon set --mode tmr",
            "chameleon set web x",
            "chameleon set web =1",
            "chameleon set web mode=dual --mode tmr",
            "chameleon set a=1 a=2",
        ] {
            assert!(said(line).is_err(), "{line}");
        }
    }
}
