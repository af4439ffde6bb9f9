//! A daemon and an ARMOR for the tests and the benchmark of this crate: processes that can be killed.
//!
//! ```text
//! netd-probe daemon DIRECTORY [PING-MS]   a daemon without other nodes: DIRECTORY/daemon.sock
//! netd-probe armor KIND                   an ARMOR, as a daemon starts it
//! netd-probe bench DIRECTORY [MESSAGES]   messages a second through a daemon in DIRECTORY
//! ```
//!
//! The ARMOR does what a Request says: `echo TEXT`, `count` (its messages so far), `exit N`, `abort`,
//! `hang`, `downs` (what was reported to it), `places`, `tell-places`, `beat`, `beaten`, `nodes` (as an FTM), `play KIND NUMBER` (sends numbered requests to that one, each when the one before was
//! answered), `flood KIND NUMBER N WINDOW` (sends N messages, so many ahead of what was read). Messages of kind Note are
//! counted, and told about to who asked with `told N` when there were so many.

mod armor;
mod bench;
mod daemon;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["daemon", directory] => daemon::run(directory, 500),
        ["daemon", directory, ping] => daemon::run(directory, ping.parse().unwrap_or(500)),
        ["bench", directory] => bench::run(directory, 1_000_000),
        ["bench", directory, messages] => bench::run(directory, messages.parse().unwrap_or(1)),
        ["armor", ..] => armor::run(),
        _ => Err("netd-probe daemon DIRECTORY [PING-MS] | armor KIND | bench DIRECTORY [MESSAGES]"
            .into()),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            eprintln!("netd-probe: {why}");
            ExitCode::FAILURE
        }
    }
}
