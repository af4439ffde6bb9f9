//! What the page says of the machine and the day.
//!
//! Invariant: reads only.

use std::process::Command;
use std::thread;

/// One line for the head of the page.
pub fn describe() -> String {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "an unknown system".to_string(), |name| name.replace('"', ""));
    let (day, kernel) = (say("date", &["-u", "+%F"]), say("uname", &["-r"]));
    format!("{day}, {system}, Linux {kernel}, {cpus} CPUs.")
}

fn say(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    text.unwrap_or_else(|_| "?".to_string())
}
