//! `chameleon logs`: what an application writes.
//!
//! Invariant: bytes go to stdout as they are; where files are on another node it is said, and where. Whoever
//! follows ends when the application has ended and all of it has been shown. Called by `main`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chameleon_proto::ask::{Ask, LogFile, Told};

use super::apps;
use super::asking::Environment;
use crate::cli::LogsArgs;

/// Between two looks at files that are followed.
const LOOK: Duration = Duration::from_millis(100);

/// Shows it.
pub fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let mut environment = Environment::of(&args.place)?;
    let files = files(&mut environment, args)?;
    if args.json {
        crate::print(&serde_json::to_string(&files)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let here = environment.node();
    let (near, far): (Vec<LogFile>, Vec<LogFile>) =
        files.into_iter().partition(|file| file.node == here);
    for file in &far {
        eprintln!(
            "chameleon: {} is on node {} ({}): {}",
            file.what, file.node, file.host, file.path
        );
    }
    let mut shown: Vec<Shown> = near.into_iter().map(|file| Shown { file, at: 0 }).collect();
    loop {
        // Asked first: what is written after that is of one that runs.
        let over = !args.follow || is_over(&mut environment, &args.app)?;
        for one in &mut shown {
            one.show()?;
        }
        if over {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK);
    }
}

fn files(environment: &mut Environment, args: &LogsArgs) -> anyhow::Result<Vec<LogFile>> {
    let Told::Logs { files } = environment.ask(&Ask::Logs { app: args.app.clone() })? else {
        bail!(super::NOT_UNDERSTOOD);
    };
    let wanted = |file: &LogFile| match args.what.as_slice() {
        [] => args.json || file.what != "report",
        named => named.contains(&file.what),
    };
    let there: Vec<&str> = files.iter().map(|file| file.what.as_str()).collect();
    if let Some(unknown) = args.what.iter().find(|what| !there.contains(&what.as_str())) {
        bail!("{} has no {unknown}; it has: {}", args.app, there.join(", "));
    }
    Ok(files.into_iter().filter(wanted).collect())
}

fn is_over(environment: &mut Environment, app: &str) -> anyhow::Result<bool> {
    let number = app.parse().ok();
    let apps = apps::ask(environment, true)?;
    // The newest of its name.
    let row = apps.iter().rev().find(|row| row.app.name == app || Some(row.app.id.0) == number);
    Ok(row.is_none_or(|row| row.app.state.is_over()))
}

/// A file and how far it was shown.
struct Shown {
    file: LogFile,
    at: u64,
}

impl Shown {
    fn show(&mut self) -> anyhow::Result<()> {
        let path = &self.file.path;
        let mut file = match File::open(path) {
            // It is made when the program starts.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            file => file.with_context(|| format!("cannot read {path}"))?,
        };
        file.seek(SeekFrom::Start(self.at)).with_context(|| format!("cannot read {path}"))?;
        let mut piece = vec![0; 64 << 10];
        let mut stdout = std::io::stdout();
        loop {
            let n = file.read(&mut piece).with_context(|| format!("cannot read {path}"))?;
            if n == 0 {
                return stdout.flush().context("cannot write to stdout");
            }
            stdout.write_all(&piece[..n]).context("cannot write to stdout")?;
            self.at += n as u64;
        }
    }
}
