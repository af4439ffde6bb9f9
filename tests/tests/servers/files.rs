//! Servers of files and logins: nginx, python's http.server, sshd.
//!
//! Invariant: a file arrives as it is, over every connection.

use std::thread;

use chameleon_tests::server::{Fault, Server, Talk, client};
use chameleon_tests::workload::{self, free_port};
use chameleon_tests::{Ending, Scenario, have, need, program, program_path, python};
use nix::sys::signal::Signal;

use super::{home, with_fault};

/// Two pages, and what they hold.
const PAGES: [(&str, usize); 2] = [("small", 3_000), ("large", 300_000)];

fn page(name: &str) -> Vec<u8> {
    let (_, size) = PAGES.into_iter().find(|(other, _)| *other == name).expect("a page");
    workload::noise(size as u64, size)
}

fn with_pages(scenario: Scenario) -> Scenario {
    let name = |name: &str| (format!("site/{name}"), page(name));
    let [(one, first), (two, second)] = PAGES.map(|(page, _)| name(page));
    scenario.file(one, first).file(two, second)
}

/// Eight clients that fetch both pages over and over, each over one connection or a new one a time.
fn fetch(port: u16, rounds: u32, keep: bool) {
    let pages = PAGES.map(|(name, _)| (format!("/{name}"), page(name)));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut one = Talk::with(port);
                for _ in 0..rounds {
                    for (path, content) in &pages {
                        if !keep {
                            one = Talk::with(port);
                        }
                        let got = one.get(path);
                        assert!(got == *content, "{path}: {} wrong bytes", got.len());
                    }
                }
            });
        }
    });
}

/// A master and two workers; a reload under way.
pub fn nginx(mode: &str, fault: Fault) {
    if !have(&["nginx", "wrk"]) {
        return;
    }
    let (home, port) = (home(), free_port());
    let at = home.path().display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/{kind}; "))
        .collect();
    // Files are sent by writev(2) and by sendfile(2).
    let config = format!(
        "worker_processes 2; daemon off; pid {at}/pid; error_log stderr warn; \
         events {{ worker_connections 200; }} \
         http {{ access_log off; {scratch} server {{ listen 127.0.0.1:{port}; root site; \
         location /small {{ sendfile off; }} location /large {{ sendfile on; }} }} }}"
    );
    let prefix = home.path().join("prefix");
    std::fs::create_dir(&prefix).expect("the directory can be made");
    for (name, _) in PAGES {
        let path = prefix.join("site").join(name);
        std::fs::create_dir_all(prefix.join("site")).expect("the directory can be made");
        std::fs::write(path, page(name)).expect("the page can be written");
    }
    let file = home.path().join("nginx.conf");
    std::fs::write(&file, config).expect("the configuration can be written");
    let nginx = program_path("nginx").expect("it was found");
    let scenario = program(nginx)
        .args(["-p".as_ref(), prefix.as_os_str()])
        .args(["-c".as_ref(), file.as_os_str()])
        .args(["-e", "stderr"]);
    // Of a worker: the master does little.
    let scenario = with_fault(scenario, fault, 1, 1000);
    let server = Server::start(&scenario, mode, port, fault);
    server.under_load(|| {
        fetch(port, 20, true);
        fetch(port, 5, false);
        let address = format!("http://127.0.0.1:{port}/small");
        let said = client(&["wrk", "-t", "2", "-c", "10", "-d", "1", &address]);
        assert!(said.contains("requests in"), "{said}");
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    });
    // The workers of the old configuration finish what they have begun.
    let mut before = Talk::with(port);
    assert_eq!(before.get("/small"), page("small"));
    server.signal(Signal::SIGHUP);
    fetch(port, 2, false);
    drop(before);
    server.stop(Ending::Exited(0));
}

/// A thread a connection.
pub fn http_with_threads(mode: &str, fault: Fault) {
    http("ThreadingHTTPServer", mode, fault, true);
}

/// One connection after the other.
pub fn http_alone(mode: &str, fault: Fault) {
    http("HTTPServer", mode, fault, false);
}

fn http(kind: &str, mode: &str, fault: Fault, keep: bool) {
    if !have(&["python3"]) {
        return;
    }
    let port = free_port();
    let script = format!(
        "import http.server, os\nos.chdir('site')\n\
         class Handler(http.server.SimpleHTTPRequestHandler):\n    \
         protocol_version = 'HTTP/1.1' if {} else 'HTTP/1.0'\n    \
         log_message = lambda *a: None\n\
         class Server(http.server.{kind}):\n    request_queue_size = 50\n\
         Server(('127.0.0.1', {port}), Handler).serve_forever()",
        if keep { "True" } else { "False" }
    );
    let scenario = with_pages(program(python()).args(["-c", &script]));
    // Its first thread only accepts, if others serve.
    let scenario = with_fault(scenario, fault, 0, if keep { 1350 } else { 2000 });
    let server = Server::start(&scenario, mode, port, fault);
    server.under_load(|| fetch(port, 5, keep));
    fetch(port, 1, keep);
    server.stop(Ending::Signal(Signal::SIGTERM as i32));
}

/// Logins by key: commands, their input, output and status, a terminal, and a file copied.
pub fn sshd(mode: &str, fault: Fault) {
    if !have(&["sshd", "ssh", "scp", "ssh-keygen", "id"]) {
        return;
    }
    if nix::unistd::geteuid().is_root() && !std::path::Path::new("/run/sshd").is_dir() {
        return need("/run/sshd, which sshd needs as root, is not there");
    }
    let (home, port) = (home(), free_port());
    // It trusts no key in a directory that others may write into.
    let at = home.path().join("own");
    std::fs::create_dir(&at).expect("the directory can be made");
    let path = |name: &str| at.join(name).to_str().expect("a plain path").to_owned();
    for key in ["host", "user"] {
        client(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path(key)]);
    }
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
         MaxStartups 50\nSubsystem sftp internal-sftp\n",
        path("host"),
        path("user.pub")
    );
    std::fs::write(path("config"), config).expect("the configuration can be written");
    let server = program_path("sshd").expect("it was found");
    let scenario = program(server).args(["-D", "-e", "-f", &path("config")]);
    // The first sshd does not more than some dozens of calls a login.
    let scenario = with_fault(scenario, fault, 0, 500);
    let user = client(&["id", "-un"]).trim().to_owned();
    let known = format!("UserKnownHostsFile={}", path("known"));
    let number = port.to_string();
    let key = path("user");
    let options = ["-F", "none", "-q", "-o", "StrictHostKeyChecking=no", "-o", &known, "-i", &key];
    let login = format!("{user}@127.0.0.1");
    let ssh = |flag: &str, line: &str| {
        let words = [flag, "-p", &number, &login, line];
        client(&[["ssh"].as_slice(), &options, &words].concat())
    };
    let server = Server::start(&scenario, mode, port, fault);
    server.under_load(|| {
        // The first to come makes the file of known hosts.
        assert_eq!(ssh("-n", "echo hello; exit 0"), "hello\n");
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let said = ssh("-n", "seq 100000 | cksum");
                    assert_eq!(said, "2052179976 588895\n");
                });
            }
        });
        assert_eq!(ssh("-ntt", "test -t 0 && echo a terminal"), "a terminal\r\n");
        std::fs::write(path("file"), page("large")).expect("a file can be written");
        let (from, to) = (path("file"), format!("{login}:{}", path("copy")));
        let copy = ["-P", &number, &from, &to];
        client(&[["scp"].as_slice(), &options, &copy].concat());
        assert!(std::fs::read(path("copy")).expect("a copy") == page("large"), "a wrong copy");
    });
    assert_eq!(ssh("-n", "echo still there"), "still there\n");

    server.stop(Ending::Exited(0));
}
