//! `chameleon images inspect`: what an image says, and what stands in the way of starting it here.
//!
//! Invariant: reads only. Called by `images`.

use std::process::ExitCode;

use anyhow::Context;
use chameleon_ckpt::PAGE;
use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::image::{Image, OpenKind, Whole};
use chameleon_ckpt::map::Content;
use chameleon_ckpt::preflight::{Finding, Host, Severity, passes, preflight};
use chameleon_ckpt::read::Chain;
use chameleon_ckpt::undo::Rollback;
use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use serde_json::{Value, json};

use super::list::{size, words};

/// What was found, and the exit status that says whether the image can be started.
pub fn run(dir: &Dir, at: Option<u64>, as_json: bool) -> anyhow::Result<(String, ExitCode)> {
    let chain = Chain::open_at(dir, at)?;
    let image = chain.image();
    let has_log = dir.logs()?.contains(&image.sequence);
    let rollback = has_log.then(|| Rollback::of(dir, image.sequence)).transpose()?;
    let host = Host::look(image, rollback.as_ref()).context("/proc cannot be read")?;
    let mut findings = preflight(image, &host);
    findings.extend(no_rollback(dir, rollback.as_ref(), image.sequence));
    let good = passes(&findings);
    let text =
        if as_json { value(&chain, &findings, good).to_string() } else { text(&chain, &findings) };
    Ok((text, if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// What keeps files from being rolled back.
fn no_rollback(dir: &Dir, rollback: Option<&Rollback>, sequence: u64) -> Option<Finding> {
    let Some(rollback) = rollback else {
        return Some(Finding {
            severity: Severity::Note,
            what: format!("there is no undo log {}", dir.log(sequence).display()),
            advice: "files that the program wrote since stay as they are".to_string(),
        });
    };
    let error = rollback.check().err()?;
    let advice = "see the line itself".to_string();
    Some(Finding { severity: Severity::Obstacle, what: error.to_string(), advice })
}

fn value(chain: &Chain, findings: &[Finding], good: bool) -> Value {
    let image = chain.image();
    let processes: Vec<Value> = image
        .processes
        .iter()
        .map(|one| {
            json!({
                "pid": one.pid, "parent": one.parent, "name": String::from_utf8_lossy(&one.name),
                "threads": one.threads.len(), "ranges": one.memory.ranges.len(),
                "descriptors": one.descriptors.len(), "ended": one.ended.is_some(),
            })
        })
        .collect();
    let found: Vec<Value> = findings
        .iter()
        .map(|one| {
            let stops = one.severity == Severity::Obstacle;
            json!({ "obstacle": stops, "what": one.what, "advice": one.advice })
        })
        .collect();
    let command: Vec<_> = image.command.iter().map(|word| String::from_utf8_lossy(word)).collect();
    json!({
        "image": image.sequence, "parent": image.parent,
        "kind": kind_of(image), "whole": image.whole.map(Whole::word), "version": image.version,
        "created_ns": image.created_ns, "mode": image.mode, "command": command,
        "kernel": image.machine.kernel, "cpu": image.machine.cpu_model,
        "builds_on": chain.images().iter().skip(1).map(|one| one.image().sequence).collect::<Vec<_>>(),
        "memory_bytes": bytes(chain, Content::Data), "zero_bytes": bytes(chain, Content::Zero),
        "left_bytes": bytes(chain, Content::Parent), "processes": processes,
        "files": image.files.iter().map(|open| kind(&open.kind)).collect::<Vec<_>>(),
        "startable": good, "findings": found,
    })
}

/// What sort of image it is, in one word.
pub(super) fn kind_of(image: &Image) -> &'static str {
    if image.parent.is_some() { "increment" } else { "full" }
}

/// Bytes of pages of this kind in the image itself.
fn bytes(chain: &Chain, content: Content) -> u64 {
    let own = chain.images().first().into_iter().flat_map(|own| &own.maps);
    let segments = own.flat_map(|map| map.segments()).filter(|one| one.content == content);
    segments.map(|one| one.pages * PAGE as u64).sum()
}

fn text(chain: &Chain, findings: &[Finding]) -> String {
    let image = chain.image();
    let older: Vec<String> =
        chain.images().iter().skip(1).map(|one| one.image().sequence.to_string()).collect();
    let mut facts = Table::new();
    facts.load_preset(UTF8_BORDERS_ONLY);
    facts.add_row(["image".to_string(), image.sequence.to_string()]);
    facts.add_row(["command".to_string(), words(&image.command)]);
    facts.add_row(["mode".to_string(), image.mode.clone()]);
    let kind = match image.whole {
        Some(whole) => format!("{}: {whole}", kind_of(image)),
        None => kind_of(image).to_owned(),
    };
    facts.add_row(["kind".to_string(), kind]);
    facts.add_row(["builds on".to_string(), older.join(", ")]);
    facts.add_row(["memory in it".to_string(), size(bytes(chain, Content::Data))]);
    facts.add_row(["left to those".to_string(), size(bytes(chain, Content::Parent))]);
    facts.add_row(["chameleon".to_string(), image.version.clone()]);
    facts.add_row(["kernel".to_string(), image.machine.kernel.clone()]);
    facts.add_row(["CPU".to_string(), image.machine.cpu_model.clone()]);
    let mut out = facts.to_string();
    if !image.processes.is_empty() {
        out.push_str(&format!("\n{}", processes(image)));
    }
    for one in findings {
        let word = if one.severity == Severity::Obstacle { "OBSTACLE" } else { "note" };
        out.push_str(&format!("\n{word}: {}: {}", one.what, one.advice));
    }
    if passes(findings) {
        out.push_str("\nnothing stands in the way of starting it here");
    }
    out
}

fn processes(image: &Image) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["pid", "parent", "name", "threads", "ranges", "descriptors"]);
    for one in &image.processes {
        let name: String = String::from_utf8_lossy(&one.name).escape_debug().collect();
        table.add_row([
            one.pid.to_string(),
            one.parent.to_string(),
            if one.ended.is_some() { format!("{name} (ended)") } else { name },
            one.threads.len().to_string(),
            one.memory.ranges.len().to_string(),
            one.descriptors.len().to_string(),
        ]);
    }
    table
}

fn kind(open: &OpenKind) -> &'static str {
    match open {
        OpenKind::Regular(_) => "file",
        OpenKind::Directory { .. } => "directory",
        OpenKind::Device { .. } => "device",
        OpenKind::Pipe(_) => "pipe",
        OpenKind::SocketPair { .. } => "socket pair",
        OpenKind::Listening(_) => "bound socket",
        OpenKind::Connected { .. } => "connection",
        OpenKind::Socket { .. } => "socket",
        OpenKind::EventFd { .. } => "eventfd",
        OpenKind::TimerFd(_) => "timerfd",
        OpenKind::SignalFd { .. } => "signalfd",
        OpenKind::Epoll { .. } => "epoll",
        OpenKind::Memfd { .. } => "memfd",
        OpenKind::Inotify { .. } => "inotify",
        OpenKind::Other(_) => "other",
    }
}
