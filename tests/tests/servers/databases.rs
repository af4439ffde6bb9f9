//! redis, memcached and PostgreSQL.
//!
//! Invariant: what a client was told is stored is read back, after a restart, too, where it is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use chameleon_tests::server::{Fault, Server, Talk, client};
use chameleon_tests::workload::free_port;
use chameleon_tests::{Ending, Scenario, chameleon, have, need, program, until};

use super::{home, with_fault};

/// Ten clients set and get, one request at a time and many; a child process saves; what was saved is
/// there after a restart.
pub fn redis(mode: &str, fault: Fault) {
    if !have(&["redis-server", "redis-benchmark", "redis-cli"]) {
        return;
    }
    let (home, port) = (home(), free_port().to_string());
    let directory = home.path().to_str().expect("a plain path");
    let number = port.parse().expect("a port");
    let scenario = program("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port, "--dir", directory, "--save", ""])
        .args(["--appendonly", "no"]);
    let scenario = with_fault(scenario, fault, 0, 3000);
    let say = |words: &[&str]| client(&[&["redis-cli", "-p", &port], words].concat());
    let load = |pipeline: &str| {
        let words = ["redis-benchmark", "-p", &port, "-c", "10", "-n", "3000", "-t", "set,get"];
        let said = client(&[&words, ["-q", "-P", pipeline].as_slice()].concat());
        assert_eq!(said.matches("requests per second").count(), 2, "{said}");
    };
    let server = Server::start(&scenario, mode, number, fault);
    server.under_load(|| {
        load("1");
        load("16");
        let mut one = Talk::with(number);
        for key in 0..300 {
            let set = format!("SET key:{key} value-{key}\r\n");
            one.says(set.as_bytes(), b"+OK\r\n");
            let value = format!("value-{key}");
            let reply = format!("${}\r\n{value}\r\n", value.len());
            one.says(format!("GET key:{key}\r\n").as_bytes(), reply.as_bytes());
        }
    });
    say(&["bgsave"]);
    let saved = until(|| {
        let said = say(&["info", "persistence"]);
        said.contains("rdb_bgsave_in_progress:0") && said.contains("rdb_saves:1")
    });
    assert!(saved, "nothing was saved");
    server.stop(Ending::Exited(0));
    let server = Server::start(&scenario, mode, number, Fault::None);
    let mut one = Talk::with(number);
    for key in [0, 150, 299] {
        let value = format!("value-{key}");
        let reply = format!("${}\r\n{value}\r\n", value.len());
        one.says(format!("GET key:{key}\r\n").as_bytes(), reply.as_bytes());
    }
    drop(one);
    if fault == Fault::None {
        server.stop(Ending::Exited(0));
    }
}

/// Many connections at once, each with values of its own.
pub fn memcached(mode: &str, fault: Fault) {
    if !have(&["memcached"]) {
        return;
    }
    let port = free_port();
    let scenario = program("memcached").args([
        "-l",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        "0",
        "-t",
        "4",
        "-u",
        "nobody",
    ]);
    let scenario = with_fault(scenario, fault, 0, 200);
    let server = Server::start(&scenario, mode, port, fault);
    server.under_load(|| {
        thread::scope(|scope| {
            for client in 0..40 {
                scope.spawn(move || {
                    let mut one = Talk::with(port);
                    for key in 0..50 {
                        let value = format!("{client}-{key} ").repeat(30);
                        let (name, length) = (format!("key-{client}-{key}"), value.len());
                        let set = format!("set {name} 7 0 {length}\r\n{value}\r\n");
                        one.says(set.as_bytes(), b"STORED\r\n");
                        let reply = format!("VALUE {name} 7 {length}\r\n{value}\r\nEND\r\n");
                        one.says(format!("get {name}\r\n").as_bytes(), reply.as_bytes());
                        one.says(b"get nothing\r\n", b"END\r\n");
                    }
                });
            }
        });
    });
    server.stop(Ending::Exited(0));
}

/// Where PostgreSQL's own programs are: not on the path.
fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|directory| directory.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop()
}

/// A database is made, served, filled, used by several clients and read by parallel workers.
pub fn postgres(mode: &str, fault: Fault) {
    let Some(programs) = postgres_programs() else {
        return need("postgres is not installed");
    };
    if !have(&["setpriv"]) {
        return;
    }
    let (home, port) = (home(), free_port().to_string());
    let path = |name: &str| home.path().join(name).to_str().expect("a plain path").to_owned();
    let tool = |name: &str| programs.join(name).to_str().expect("a plain path").to_owned();
    // It refuses to run as root; and what it runs must be readable for the other user.
    let binary = home.path().join("chameleon");
    std::fs::copy(chameleon(), &binary).expect("the program can be copied");
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))
        .expect("the mode can be set");
    let unprivileged = |scenario: Scenario| {
        let scenario = scenario.binary(&binary);
        if !nix::unistd::geteuid().is_root() {
            return scenario;
        }
        scenario.prefix(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"])
    };
    let data = path("data");
    let init = ["-D", &data, "-A", "trust", "-U", "tester", "--no-sync", "-N"];
    let made = unprivileged(program(tool("initdb")).args(init)).under(mode);
    made.ended(Ending::Exited(0));
    let scenario = program(tool("postgres"))
        .args(["-D", &data, "-k", home.path().to_str().expect("a plain path"), "-p", &port])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=20"]);
    let scenario = with_fault(unprivileged(scenario), fault, 0, 1000);
    let number = port.parse().expect("a port");
    let reach = ["-h", "127.0.0.1", "-p", &port, "-U", "tester"];
    let psql = |sql: &str| {
        let psql = tool("psql");
        client(&[&[psql.as_str()], reach.as_slice(), &["-XqAt", "-c", sql, "postgres"]].concat())
    };
    let bench = |words: &[&str]| {
        let pgbench = tool("pgbench");
        client(&[&[pgbench.as_str()], reach.as_slice(), words, &["postgres"]].concat())
    };
    let server = Server::start(&scenario, mode, number, fault);
    // It accepts connections before it is ready for them.
    let ready = tool("pg_isready");
    let accepts =
        || Command::new(&ready).args(reach).arg("-q").status().is_ok_and(|status| status.success());
    assert!(until(accepts), "it does not get ready");
    let lossy = matches!(fault, Fault::KillFirst | Fault::KillLast | Fault::Injected);
    server.under_load(|| {
        psql("CREATE TABLE t(a int); INSERT INTO t SELECT generate_series(1, 1000)");
        bench(&["-i", "-q", "-n"]);
        let said = bench(&["-n", "-c", "4", "-t", "50"]);
        assert!(said.contains("processed: 200/200"), "{said}");
    });
    assert!(!lossy || server.is_whole(3), "replicas are missing after the fault");
    if lossy {
        // A pair would not survive another one.
        server.under_load(|| {
            for _ in 0..20 {
                assert_eq!(
                    psql("UPDATE t SET a = a + 1; UPDATE t SET a = a - 1 RETURNING 1").len(),
                    2000
                );
            }
        });
        assert!(server.is_whole(3), "replicas are missing after the second fault");
    }
    assert_eq!(psql("SELECT sum(a) FROM t"), "500500\n");
    let balances = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = \
        (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)";
    assert_eq!(psql(balances), "t|200\n");
    let parallel = "SET parallel_setup_cost=0; SET parallel_tuple_cost=0; \
        SET min_parallel_table_scan_size=0; SELECT count(*) FROM pgbench_accounts";
    assert_eq!(psql(parallel), "100000\n");
    let outcome = server.stop(Ending::Exited(0));
    assert!(outcome.err().contains("database system is shut down"), "{}", outcome.err());
}
