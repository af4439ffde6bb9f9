//! `chameleon daemon`: this node's gateway, in the foreground, and beside it the starter of the FTM.
//!
//! Invariant: all that the daemon itself does is on one thread, which also tells systemd that it turns
//! (`sd_notify(3)`); its log is on stderr. SIGTERM and SIGINT end it and nothing else: ARMORs go on, and the
//! next daemon takes them back. Called by `main`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chameleon_netd::Listening;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::ftm;
use super::node_file::NodeFile;
use super::place::Place;
use crate::cli::DaemonArgs;

/// Runs it until it is told to end.
pub fn run(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    log();
    let place = Place::of(&args.place)?;
    let file = NodeFile::load(&place)?;
    let config = file.config(&place)?;
    let socket = config.socket.clone();
    let starts = file.manager && !args.no_ftm;
    let ready = |listening: Listening| {
        info!(socket = %socket.display(), ?listening, "daemon of environment {} is ready", file.name);
        tell(&[NotifyState::Ready]);
        if starts {
            let (place, socket) = (place.clone(), socket.clone());
            std::thread::spawn(move || {
                let Err(error) = ftm::keep(&place, &socket, |_| {});
                warn!("the FTM is not looked after: {error:#}");
            });
        }
    };
    chameleon_netd::run(config, ready, stop())
        .with_context(|| format!("the daemon of {} cannot go on", place.directory().display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for the signal that ends the daemon; meanwhile the watchdog is told that the thread turns.
async fn stop() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        warn!("signals cannot be taken; they end the daemon at once");
        return std::future::pending().await;
    };
    // Half of what systemd waits, as sd_watchdog_enabled(3) advises.
    let half = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |all| all / 2);
    let mut turns = tokio::time::interval(half.max(Duration::from_millis(1)));
    loop {
        tokio::select! {
            _ = turns.tick() => tell(&[NotifyState::Watchdog]),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    info!("daemon ends; its ARMORs go on");
    tell(&[NotifyState::Stopping]);
}

/// Tells systemd, if it started this.
pub fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("systemd cannot be told: {error}");
    }
}

/// The log: lines on stderr, with times unless the journal adds them. `RUST_LOG` says what is in it.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // systemd.exec(5): set when stdout or stderr is the journal's.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().init();
    } else {
        lines.init();
    }
}
