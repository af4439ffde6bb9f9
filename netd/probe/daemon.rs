//! A daemon of one node.

use std::error::Error;
use std::future::pending;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chameleon_netd::{Config, Settings};

pub fn run(directory: &str, ping: u64) -> Result<ExitCode, Box<dyn Error>> {
    let directory = Path::new(directory);
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    let config = Config {
        socket: directory.join("daemon.sock"),
        state: directory.join("state"),
        program: vec![own, "armor".into()],
        users: vec![],
        network: None,
        authority: None,
        metrics: None,
        settings: Settings { ping: Duration::from_millis(ping), ..Settings::default() },
    };
    let ready = |_| {
        println!("ready");
        // Who started it waits for this line; if nobody does it is of no use.
        let _ = std::io::stdout().flush();
    };
    chameleon_netd::run(config, ready, pending())?;
    Ok(ExitCode::SUCCESS)
}
