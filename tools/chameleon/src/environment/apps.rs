//! Applications as people see them: rows of `ps` and `top`, and what became of one.

use std::time::Duration;

use chameleon_proto::ask::{AppRow, Ask, RunRow, Told};
use chameleon_proto::message::env::AppState;

use super::asking::Environment;
use super::place;
use super::table::table;
use super::when::{age, ago};
use crate::cli::Where;

/// How long `chameleon ps` waits for an FTM.
const PATIENCE: Duration = Duration::from_secs(2);

/// The applications.
pub fn ask(environment: &mut Environment, all: bool) -> anyhow::Result<Vec<AppRow>> {
    match environment.ask(&Ask::Apps { all })? {
        Told::Apps { apps } => Ok(apps),
        _ => anyhow::bail!(super::NOT_UNDERSTOOD),
    }
}

/// The applications of the environment that is meant, for `chameleon ps`; nothing if nobody says which and
/// there is none.
///
/// # Errors
/// The one that is meant does not answer.
pub fn running(args: &Where, all: bool) -> anyhow::Result<Option<Vec<AppRow>>> {
    let said = args.dir.is_some() || args.socket.is_some();
    if !said && !place::socket(args).is_ok_and(|socket| socket.exists()) {
        return Ok(None);
    }
    let rows =
        Environment::of(args).and_then(|environment| ask(&mut environment.patient(PATIENCE), all));
    match rows {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if said => Err(error),
        Err(error) => {
            // Runs of their own need no environment.
            eprintln!("chameleon: applications are not shown: {error:#}");
            Ok(None)
        }
    }
}

/// One of them, in whatever state.
pub fn one(environment: &mut Environment, id: u32) -> anyhow::Result<Option<AppRow>> {
    Ok(ask(environment, true)?.into_iter().find(|row| row.app.id.0 == id))
}

/// In words.
pub fn state(state: &AppState) -> String {
    match state {
        AppState::Starting => "starting".into(),
        AppState::Running => "running".into(),
        AppState::Recovering => "recovering".into(),
        AppState::Ended(status) => format!("ended ({status})"),
        AppState::Failed(why) => format!("failed: {why}"),
    }
}

/// For people.
pub fn text(rows: &[AppRow]) -> String {
    let row = |row: &AppRow| {
        let nodes: Vec<String> = row.nodes.iter().map(u32::to_string).collect();
        [
            row.app.id.0.to_string(),
            row.app.name.clone(),
            row.app.strategy.clone(),
            row.mode.clone(),
            state(&row.app.state),
            nodes.join(","),
            row.recoveries.to_string(),
            row.runs.join(","),
        ]
    };
    let apps = table(
        ["APP", "NAME", "STRATEGY", "MODE", "STATE", "NODES", "RECOVERIES", "RUNS"],
        rows.iter().map(row),
    );
    let running: Vec<&RunRow> = rows.iter().flat_map(|row| &row.running).collect();
    if running.is_empty() { apps } else { format!("{apps}\n\n{}", runs(&running)) }
}

/// Their runs.
fn runs(rows: &[&RunRow]) -> String {
    let row = |run: &&RunRow| {
        [
            run.by.clone(),
            run.id.clone(),
            run.at.clone(),
            run.pid.to_string(),
            run.mode.clone(),
            age(ago(run.began_ns)),
            run.restarts.to_string(),
        ]
    };
    table(["RUN BY", "ID", "NODE", "PID", "MODE", "AGE", "RESTARTS"], rows.iter().map(row))
}
