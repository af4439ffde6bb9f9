//! `chameleon submit`: hands an application in and, if asked to, waits until it has ended.
//!
//! Invariant: with `--wait` the exit status is the application's. Called by `main`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::message::env::AppState;
use serde_json::json;

use super::apps;
use super::asking::Environment;
use crate::cli::SubmitArgs;

/// Between two looks at an application that is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// Hands it in.
pub fn run(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    let specification = read(&args.specification)?;
    let directory = directory()?;
    let mut environment = Environment::of(&args.place)?;
    let told = environment.ask(&Ask::Submit { specification, directory })?;
    let Told::Submitted { app, name, strategy, because } = &told else {
        bail!(super::NOT_UNDERSTOOD);
    };
    if args.json {
        crate::print(&serde_json::to_string(&told)?)?;
    } else {
        let mut text = format!("{name}: application {app}, strategy {strategy}");
        for line in because {
            text += &format!("\n  {line}");
        }
        crate::print(&text)?;
    }
    if args.wait { wait(&mut environment, *app, name, args.json) } else { Ok(ExitCode::SUCCESS) }
}

/// The text of a specification.
pub fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Where it is handed in.
pub fn directory() -> anyhow::Result<String> {
    let directory = std::env::current_dir().context("the working directory is gone")?;
    let shown = directory.display().to_string();
    directory.into_os_string().into_string().ok().with_context(|| format!("{shown} is not UTF-8"))
}

/// Waits until it has ended; says on stderr what happens meanwhile.
fn wait(
    environment: &mut Environment,
    app: u32,
    name: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut said = None;
    loop {
        let Some(row) = apps::one(environment, app)? else {
            bail!("{name} (application {app}) was forgotten while it was waited for");
        };
        let state = row.app.state;
        if said.as_ref() != Some(&state) {
            if json {
                crate::print(&json!({ "app": app, "state": state }).to_string())?;
            } else {
                // Nobody may read it; the exit status says how it ended.
                let _ = std::io::Write::write_fmt(
                    &mut std::io::stderr(),
                    format_args!("{name}: {}\n", apps::state(&state)),
                );
            }
        }
        match &state {
            AppState::Ended(status) => return Ok(ExitCode::from(*status as u8)),
            AppState::Failed(why) => bail!("{name} (application {app}) failed: {why}"),
            _ => {}
        }
        said = Some(state);
        std::thread::sleep(LOOK);
    }
}
