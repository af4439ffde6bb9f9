//! `chameleon ps`, `checkpoint` and `set`: the runs of this user, and what they are asked for; beside
//! them the applications of the environment, if there is one.
//!
//! Invariant: changes nothing but what dead runs left behind, and what `checkpoint` and `set` ask for. Called
//! by `main`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use chameleon_policy::checkpoint::Cadence;
use chameleon_policy::mode::Mode;
use chameleon_proto::ask::AppRow;
use chameleon_supervisor::runs::{self, ImageState, Living, Question, Reply, Request, Status};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Value, json};

use crate::cli::{CheckpointArgs, PsArgs, SetArgs};
use crate::environment;

/// How long all runs together are waited for: one that works answers between two calls.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is asked how far an image is.
const LOOK: Duration = Duration::from_millis(100);

/// Lists the runs.
pub fn ps(args: &PsArgs) -> anyhow::Result<ExitCode> {
    let living = runs::list();
    let asked: Vec<Question> =
        living.iter().map(|run| Question::send(run, Request::Status)).collect();
    let start = std::time::Instant::now();
    let mut rows = Vec::new();
    for (run, question) in living.iter().zip(asked) {
        // Whoever has not answered by then has still a moment: its answer may be there already.
        let left = PATIENCE.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        match question.answer(left) {
            Err(runs::AskError::Ended(_)) => {}
            Ok(Reply::Status(status)) => rows.push((run, Some(status))),
            _ => rows.push((run, None)),
        }
    }
    let apps = environment::running(&args.place, args.all)?;
    let text = match (args.json, &apps) {
        (true, _) => as_json(&rows, apps.as_deref().unwrap_or_default()).to_string(),
        (false, None) => as_text(&rows),
        (false, Some(apps)) => format!("{}\n\n{}", environment::apps(apps), as_text(&rows)),
    };
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(rows: &[(&Living, Option<Status>)], apps: &[AppRow]) -> Value {
    let row = |(run, status): &(&Living, Option<Status>)| {
        let info = &run.info;
        json!({
            "kind": "run",
            "id": info.id,
            "pid": info.pid,
            "mode": mode(run, status.as_ref()),
            "changes_to": status.as_ref().and_then(|status| status.changes_to.clone()),
            "argv": info.argv,
            "started": info.started,
            "age": age(run),
            "state": state(info.pid, status.is_some()),
            "checkpoint": cadence(run, status.as_ref()),
            "app": apps.iter().find(|app| app.runs.contains(&info.id)).map(|app| &app.app.name),
            "report": info.report,
            "status": status,
        })
    };
    let app = |app: &AppRow| {
        let mut value = json!(app);
        value["kind"] = "app".into();
        value
    };
    rows.iter().map(row).chain(apps.iter().map(app)).collect()
}

fn as_text(rows: &[(&Living, Option<Status>)]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["ID", "PID", "MODE", "AGE", "STATE", "CHECKPOINTS", "COMMAND"]);
    for (run, status) in rows {
        let info = &run.info;
        let checkpoints = match (&info.checkpoint, status) {
            (None, _) => "off".to_owned(),
            (Some(_), None) => "?".to_owned(),
            (Some(_), Some(status)) => status.checkpoints.to_string(),
        };
        table.add_row([
            info.id.clone(),
            info.pid.to_string(),
            match status.as_ref().and_then(|status| status.changes_to.as_ref()) {
                None => mode(run, status.as_ref()),
                Some(to) => format!("{} to {to}", mode(run, status.as_ref())),
            },
            environment::age(age(run)),
            state(info.pid, status.is_some()).to_owned(),
            checkpoints,
            plain(&info.argv.join(" ")),
        ]);
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("\n")
}

/// The mode as it is now, or was at the start if the run does not say.
fn mode(run: &Living, status: Option<&Status>) -> String {
    let now = status.map(|status| status.mode.clone()).filter(|mode| !mode.is_empty());
    now.unwrap_or_else(|| run.info.mode.clone())
}

/// The cadence of its checkpoints, in the same way.
fn cadence(run: &Living, status: Option<&Status>) -> Option<String> {
    let now = status.and_then(|status| status.checkpoint.clone());
    now.or_else(|| run.info.checkpoint.clone())
}

/// Control characters of a program's arguments are not for the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Seconds since the run began.
fn age(run: &Living) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (now - run.info.started).max(0.0)
}

/// What the run is doing: its first process as the kernel sees it, and whether its ARMOR answers.
fn state(pid: u32, answers: bool) -> &'static str {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let letter = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    match letter {
        None | Some('Z' | 'X') => "ending",
        Some('T') => "stopped",
        _ if answers => "running",
        _ => "silent",
    }
}

/// Has a run take a checkpoint, and waits until it has.
pub fn checkpoint(args: &CheckpointArgs) -> anyhow::Result<ExitCode> {
    let living = runs::list();
    let run = find(&living, &args.run)?;
    let id = &run.info.id;
    let reply = runs::ask(run, Request::Checkpoint, args.timeout);
    let late = matches!(reply, Err(runs::AskError::Late(..)));
    let reply = reply.with_context(|| {
        let hint = if late { " (it takes one at its next call; see --timeout)" } else { "" };
        format!("no checkpoint of run {id}{hint}")
    })?;
    let ticket = match reply {
        Reply::Taken { ticket, images } => images.then_some(ticket),
        Reply::Refused { why } => bail!("no checkpoint of run {id}: {why}"),
        _ => bail!("run {id} answers what this version does not understand"),
    };
    let mut said = json!({ "id": id, "pid": run.info.pid, "taken": true });
    let mut text = format!("checkpoint of run {id} taken");
    if let Some(ticket) = ticket {
        let (image, bytes, parent) = image(run, ticket, args)?;
        (said["image"], said["bytes"], said["parent"]) =
            (image.into(), bytes.into(), json!(parent));
        let on = parent.map_or(String::new(), |parent| format!(", an increment of image {parent}"));
        text += &format!(": image {image}, {bytes} bytes{on}");
    }
    crate::print(&if args.json { said.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// A run that a word may mean.
#[derive(Debug)]
pub struct Meant {
    living: Vec<Living>,
    word: String,
    /// Whether the word is all of its ID.
    pub exact: bool,
}

/// The run that a word means, if it means one.
pub fn meant(word: &str) -> Option<Meant> {
    let living = runs::list();
    let exact = find(&living, word).ok()?.info.id == word;
    Some(Meant { living, word: word.to_owned(), exact })
}

/// Changes a run, and waits until all of it is so.
pub fn set(
    meant: &Meant,
    values: &BTreeMap<String, String>,
    args: &SetArgs,
) -> anyhow::Result<ExitCode> {
    let run = find(&meant.living, &meant.word)?;
    let id = &run.info.id;
    let (mut mode, mut timeout_ns, mut checkpoint) = (None, None, None);
    for (name, value) in values {
        match name.as_str() {
            "mode" => mode = Some(value.parse::<Mode>()?.to_string()),
            "timeout" => {
                let timeout = chameleon_policy::duration::parse(value)?;
                timeout_ns = Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
            }
            "checkpoint" => checkpoint = Some(value.parse::<Cadence>()?.to_string()),
            _ => bail!(
                "a run has no {name} that can be changed; it has mode, timeout and checkpoint"
            ),
        }
    }
    let mut now = Vec::new();
    let (changes_mode, changes_timeout) = (mode.is_some(), timeout_ns.is_some());
    let wanted = checkpoint.clone();
    let request = Request::Set { mode, timeout_ns, checkpoint };
    let reply = runs::ask(run, request, args.wait);
    let late = matches!(reply, Err(runs::AskError::Late(..)));
    let reply = reply.with_context(|| match late {
        true => format!(
            "run {id} is not as asked for yet, but will be once each of its processes has made its next \
             call (`chameleon ps` shows it; see --wait)"
        ),
        false => format!("run {id} was not changed"),
    })?;
    let mode = match reply {
        Reply::Set { mode } => mode,
        Reply::Refused { why } => bail!("run {id} stays as it is: {why}"),
        _ => bail!("run {id} answers what this version does not understand"),
    };
    let said = json!({ "id": id, "pid": run.info.pid, "mode": mode });
    now.extend(changes_mode.then(|| format!("is in mode {mode}")));
    now.extend(changes_timeout.then(|| "has another voting timeout".to_owned()));
    now.extend(wanted.map(|cadence| format!("takes checkpoints every {cadence}")));
    let text = format!("run {id} {}", now.join(" and "));
    crate::print(&if args.json { said.to_string() } else { text })?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until the image of a checkpoint is on the disk: its number, length and parent.
fn image(
    run: &Living,
    ticket: u64,
    args: &CheckpointArgs,
) -> anyhow::Result<(u64, u64, Option<u64>)> {
    let id = &run.info.id;
    let bar = crate::progress::bar(0);
    loop {
        let reply = runs::ask(run, Request::Image { ticket }, args.timeout);
        match reply.with_context(|| format!("the image of run {id} was not finished"))? {
            Reply::Image(ImageState::Written { image, bytes, parent }) => {
                bar.finish_and_clear();
                return Ok((image, bytes, parent));
            }
            Reply::Image(ImageState::Writing { image, read, of }) => {
                bar.set_message(format!("image {image}"));
                bar.set_length(of);
                bar.set_position(read);
                if args.json {
                    let line = json!({ "id": id, "image": image, "read": read, "of": of });
                    crate::print(&line.to_string())?;
                }
            }
            Reply::Image(ImageState::Failed { why }) | Reply::Refused { why } => {
                bar.finish_and_clear();
                bail!("no image of run {id}: {why}");
            }
            _ => bail!("run {id} answers what this version does not understand"),
        }
        std::thread::sleep(LOOK);
    }
}

/// The run of this ID, of an ID that begins so, or of this process number.
fn find<'a>(living: &'a [Living], word: &str) -> anyhow::Result<&'a Living> {
    let pid = word.parse::<u32>().ok();
    let fits: Vec<&Living> = living
        .iter()
        .filter(|run| match pid {
            Some(pid) => run.info.pid == pid,
            None => !word.is_empty() && run.info.id.starts_with(word),
        })
        .collect();
    match fits.as_slice() {
        [one] => Ok(one),
        [] => bail!("there is no run {word}; `chameleon ps` lists those there are"),
        several => match several.iter().find(|run| run.info.id == word) {
            Some(one) => Ok(one),
            None => bail!("{} runs begin with {word}; `chameleon ps` lists them", several.len()),
        },
    }
}
