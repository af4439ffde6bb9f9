//! `chameleon status`: how the environment is.
//!
//! Called by `main`.

use std::process::ExitCode;

use anyhow::bail;
use chameleon_proto::ask::{ArmorRow, Ask, Status, Told};

use super::asking::Environment;
use crate::cli::StatusArgs;

/// Asks and prints it.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let status = ask(&mut Environment::of(&args.place)?)?;
    crate::print(&if args.json { serde_json::to_string(&status)? } else { text(&status) })?;
    Ok(ExitCode::SUCCESS)
}

/// How it is.
pub fn ask(environment: &mut Environment) -> anyhow::Result<Status> {
    match environment.ask(&Ask::Status)? {
        Told::Status(status) => Ok(status),
        _ => bail!(super::NOT_UNDERSTOOD),
    }
}

fn armor(row: &ArmorRow) -> String {
    let again = if row.life == 0 { String::new() } else { format!(", life {}", row.life) };
    format!("{} on {}{again}", row.called, row.at)
}

/// For people, some lines.
pub fn summary(status: &Status) -> String {
    let (up, nodes) = status.nodes;
    let (running, apps) = status.apps;
    let (incidents, open) = status.incidents;
    let mut lines = vec![
        format!("ftm        {}", armor(&status.ftm)),
        format!("backup     {}", status.backup.as_ref().map_or_else(|| "none".into(), armor)),
        format!("epoch      {}", status.epoch),
        format!("nodes      {up} of {nodes} up"),
        format!("apps       {running} of {apps} running"),
        format!("incidents  {incidents}, {open} of them not over"),
    ];
    lines.extend(status.warnings.iter().map(|warning| format!("warning    {warning}")));
    lines.join("\n")
}

/// The same with all ARMORs and parameters.
fn text(status: &Status) -> String {
    let mut lines = vec![summary(status)];
    let parameters = status.parameters.iter().map(|(name, value)| format!("{name}={value}"));
    lines.push(format!("parameters {}", parameters.collect::<Vec<_>>().join(" ")));
    for row in &status.armors {
        lines.push(format!("armor      {}, managed by {}", armor(row), row.managed_by));
    }
    lines.join("\n")
}
