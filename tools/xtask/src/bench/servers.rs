//! Servers: how many requests a second, against a plain one, and against three plain ones at once.
//!
//! A mode in which a server does not come up is skipped, and what was refused is said.
//!
//! Invariant: loopback only; a server that was started has ended when its figure is taken.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::figure::Figures;
use super::launch::{Bench, output};
use crate::report;

const PART: &str = "servers";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it must then stay.
const SETTLING: Duration = Duration::from_millis(500);

/// Seconds after which a client is given up: some go on trying when the server is gone.
const CLIENT_LIMIT: &str = "60";

/// A server and its load.
struct Kind {
    name: &'static str,
    needs: [&'static str; 2],
    /// The words of the server on this port.
    server: fn(&Bench, u16) -> anyhow::Result<Vec<OsString>>,
    /// The words of the client.
    client: fn(u16) -> String,
    /// The requests a second in what the client printed.
    rate: fn(&str) -> Option<f64>,
}

const KINDS: [Kind; 3] = [
    redis_kind("redis, SET", |port| {
        format!("redis-benchmark -p {port} -c 10 -n 20000 -t set --csv")
    }),
    redis_kind("redis, SET, 16 at a time", |port| {
        format!("redis-benchmark -p {port} -c 10 -n 100000 -P 16 -t set --csv")
    }),
    Kind {
        name: "nginx, 3 KB",
        needs: ["nginx", "wrk"],
        server: nginx,
        client: |port| format!("wrk -t 1 -c 10 -d 2 http://127.0.0.1:{port}/page"),
        rate: |text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"))?;
            line.trim().parse().ok()
        },
    },
];

const fn redis_kind(name: &'static str, client: fn(u16) -> String) -> Kind {
    let needs = ["redis-server", "redis-benchmark"];
    Kind { name, needs, server: redis, client, rate: of_csv }
}

fn of_csv(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("\"SET\""))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn redis(_: &Bench, port: u16) -> anyhow::Result<Vec<OsString>> {
    let line = format!("redis-server --bind 127.0.0.1 --port {port} --save");
    Ok(line.split(' ').map(OsString::from).chain(["".into()]).collect())
}

fn nginx(bench: &Bench, port: u16) -> anyhow::Result<Vec<OsString>> {
    let at = bench.path(&format!("nginx-{port}"));
    fs::create_dir_all(&at)?;
    fs::write(at.join("page"), vec![b'c'; 3000])?;
    let at = at.display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/{kind}; "))
        .collect();
    let config = format!(
        "worker_processes 1; daemon off; pid {at}/pid; events {{ }} http {{ access_log off; \
         {scratch} server {{ listen 127.0.0.1:{port}; root {at}; }} }}"
    );
    fs::write(format!("{at}/config"), config)?;
    let line = format!("nginx -p {at} -e stderr -c {at}/config");
    Ok(line.split(' ').map(OsString::from).collect())
}

/// Measures each server, all ways, once a round.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    for kind in &KINDS {
        if let Some(missing) = kind.needs.iter().find(|name| !is_installed(name)) {
            eprintln!("bench: {}: skipped, {missing} is not installed", kind.name);
            continue;
        }
        eprintln!("bench: {}", kind.name);
        measure_one(bench, figures, kind)?;
    }
    Ok(())
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

fn measure_one(bench: &Bench, figures: &mut Figures, kind: &Kind) -> anyhow::Result<()> {
    let mut of_modes = [("simplex", 1, Some(Vec::new())), ("tmr", 3, Some(Vec::new()))];
    let mut rates = Vec::new();
    for _ in 0..bench.rounds {
        let alone = rate(bench, kind, None, 1)?;
        rates.push(alone);
        for (mode, copies, values) in &mut of_modes {
            let Some(list) = values else { continue };
            let rival = if *copies == 1 { alone } else { rate(bench, kind, None, *copies)? };
            match rate(bench, kind, Some(mode), 1) {
                Ok(rate) => list.push(rival / rate),
                Err(error) => {
                    eprintln!("bench: {} in {mode}: skipped, {error:#}", kind.name);
                    *values = None;
                }
            }
        }
    }
    figures.add(PART, format!("{}, native", kind.name), "1/s", rates, None);
    for (mode, copies, values) in of_modes {
        let rival = if copies == 1 { "one native server" } else { "one of three native servers" };
        if let Some(values) = values {
            figures.add(PART, format!("{}, {rival} / {mode}", kind.name), "x", values, None);
        }
    }
    Ok(())
}

/// Requests a second of each of so many servers that are under load at once.
fn rate(bench: &Bench, kind: &Kind, mode: Option<&str>, copies: usize) -> anyhow::Result<f64> {
    let mut servers = Vec::new();
    for _ in 0..copies {
        servers.push(Server::start(bench, kind, mode)?);
    }
    let texts: Vec<anyhow::Result<String>> = std::thread::scope(|scope| {
        let clients: Vec<_> = servers
            .iter()
            .map(|server| {
                let line = (kind.client)(server.port);
                let limit = ["timeout", "-s", "KILL", CLIENT_LIMIT];
                let words: Vec<&str> = limit.into_iter().chain(line.split(' ')).collect();
                let command = bench.plain(&words);
                scope.spawn(|| output(command))
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("it does not panic")).collect()
    });
    let mut sum = 0.0;
    for text in texts {
        let text = text?;
        sum += (kind.rate)(&text).with_context(|| format!("no rate in {text:?}"))?;
    }
    Ok(sum / copies as f64)
}

/// A server under way; it is ended when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(bench: &Bench, kind: &Kind, mode: Option<&str>) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let words = (kind.server)(bench, port)?;
        let report = bench.path("server-report");
        let options = [OsStr::new("--report"), report.as_os_str()];
        let mut command: Command = match mode {
            Some(mode) => bench.voted(mode, &options, &words),
            None => bench.plain(&words),
        };
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Self { child, port };
        let start = Instant::now();
        // It may listen first and be refused something then.
        let mut up = None;
        while up.is_none_or(|since: Instant| since.elapsed() < SETTLING) {
            if up.is_none() && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                up = Some(Instant::now());
            }
            if let Some(status) = server.child.try_wait()? {
                match report::refusals(&report::events(&report)).first() {
                    Some(refusal) => bail!("it refuses {}", refusal.brief()),
                    None => bail!("the server ended: {status}"),
                }
            }
            ensure!(up.is_some() || start.elapsed() < PATIENCE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // timeout(1), which was started, hands the signal on to the server.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
