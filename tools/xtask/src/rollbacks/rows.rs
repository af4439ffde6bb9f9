//! The programs: what writes for long, servers with clients, what changes its own memory, timers.
//!
//! Invariant: names are unique, and none is a row's of `cargo xtask compat`.

use crate::compat::row::{Row, row as named};

const SQL: &str = "create table t(a integer primary key, b text); begin; \
    with recursive c(x) as (select 0 union all select x + 1 from c where x < 1999) insert into t select x, 'row ' || x * 7919 % 1000 from c; \
    update t set b = b || '!' where a % 3 = 0; delete from t where a % 10 = 9; commit; \
    begin; delete from t; select count(*) from t; rollback; select count(*), sum(length(b)), min(b), max(a) from t; pragma integrity_check;";

const REDIS: &str = "until redis-cli -p {port} ping >/dev/null 2>&1; do sleep 0.05; done; \
    for c in 1 2 3 4; do (for i in $(seq 200); do echo INCR n$c; echo RPUSH l$c $i; echo SET s$c:$((i % 17)) $i; echo GET s$c:$((i % 11)); done | \
    redis-cli -p {port} >said$c 2>&1) & done; wait; cat said1 said2 said3 said4 | cksum; rm said?; \
    for c in 1 2 3 4; do redis-cli -p {port} get n$c; redis-cli -p {port} llen l$c; done; redis-cli -p {port} shutdown nosave";

const ECHO: &str = "until [ -s port ]; do sleep 0.02; done; \
    for c in 1 2 3; do head -c 800000 $INPUTS/noise | nc -N 127.0.0.1 $(cat port) >said$c & done; wait; cksum said1 said2 said3; rm said?";

/// A row that is not named after its program.
fn row(
    name: &'static str,
    needs: &'static str,
    does: &'static str,
    command: &'static [&'static str],
) -> Row {
    Row { needs, ..named(name, "", does, command) }
}

/// The rows.
pub fn rows() -> Vec<Row> {
    vec![
        row("counter", "sh", "writes a line a millisecond", &["{guests}/ticker", "150", "1"]),
        row(
            "log",
            "sh",
            "appends a line each tenth of a second",
            &[
                "sh",
                "-c",
                "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i >>log; echo $i; sleep 0.1; done; cksum log",
            ],
        ),
        row(
            "log-each-second",
            "sh",
            "appends a line each second",
            &[
                "sh",
                "-c",
                "i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo line $i >>log; echo $i; sleep 1; done; cksum log",
            ],
        ),
        row("gzip-8MB", "gzip", "8 MB", &["gzip", "-n", "lines"])
            .setup("cp $INPUTS/lines .")
            .files(&["lines.gz", "lines"]),
        row("gzip-200MB", "gzip", "200 MB", &["gzip", "-n", "-1", "big"])
            .setup("for i in $(seq 25); do cat $INPUTS/lines; done >big")
            .files(&["big.gz"])
            .limit(600),
        row(
            "transaction",
            "sqlite3",
            "one that is committed and one that is not",
            &["sqlite3", "db", SQL],
        ),
        row("echo-server", "sh", "three clients over TCP", &["{guests}/echoes", "3"])
            .client(ECHO)
            .also(&["nc"]),
        row(
            "redis-under-load",
            "redis-server",
            "four clients",
            &[
                "redis-server",
                "--port",
                "{port}",
                "--bind",
                "127.0.0.1",
                "--save",
                "sh",
                "--appendonly",
                "no",
                "--crash-log-enabled",
                "no",
            ],
        )
        .client(REDIS)
        .also(&["redis-cli"])
        .status_only(),
        row(
            "pipeline",
            "sh",
            "four programs",
            &["sh", "-c", "seq 3000 | sed 's/7/x/' | sort | uniq -c >counted; cksum counted"],
        ),
        row("remaps", "sh", "maps, unmaps, remaps", &["{guests}/remaps"]),
        row("timers", "sh", "of every kind", &["{guests}/ticking"]),
        row(
            "memory-24MB",
            "sh",
            "24 MB, written again and again",
            &["{guests}/filled", "24", "40"],
        ),
        row(
            "memory-1GB",
            "sh",
            "1 GB, written again and again",
            &["{guests}/filled", "1024", "60"],
        )
        .limit(600),
    ]
}
