//! Programs that use the network, the loopback only, and databases.

use crate::compat::row::{Row, row};

const SITE: &str = "mkdir site && cp $INPUTS/noise $INPUTS/lines site";

const SQL: &str = "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT); \
    WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 50000) INSERT INTO t(n) SELECT x * 7919 % 10007 FROM c; \
    CREATE INDEX i ON t(n); UPDATE t SET n = n + 1 WHERE n % 3 = 0; SELECT count(*), sum(n), max(n) FROM t; \
    DELETE FROM t WHERE n > 5000; PRAGMA wal_checkpoint(truncate); SELECT count(*) FROM t; PRAGMA integrity_check;";

/// The same without the write-ahead log, whose index is a shared mapping.
const SQL_ROLLBACK: &str = "PRAGMA journal_mode=delete; CREATE TABLE t(id INTEGER PRIMARY KEY, n INT); \
    WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 50000) INSERT INTO t(n) SELECT x * 7919 % 10007 FROM c; \
    UPDATE t SET n = n + 1 WHERE n % 3 = 0; SELECT count(*), sum(n), max(n) FROM t; VACUUM; PRAGMA integrity_check;";

/// The rows.
pub fn rows() -> Vec<Row> {
    vec![
        row("curl", "curl", "fetches two files", &["curl", "-sS", "-o", "one", "http://127.0.0.1:{port}/noise", "-o", "two", "http://127.0.0.1:{port}/lines"])
            .setup(SITE)
            .served()
            .files(&["one", "two"]),
        row("curl -Z", "curl", "fetches twenty in parallel", &["curl", "-Z", "--no-progress-meter", "-o", "f#1", "http://127.0.0.1:{port}/noise?[1-20]"])
            .setup(SITE)
            .served()
            .files(&["f1", "f20"]),
        row("wget", "wget", "fetches a file", &["wget", "-q", "-O", "one", "http://127.0.0.1:{port}/noise"])
            .setup(SITE)
            .served()
            .files(&["one"]),
        row("git clone", "git", "clones over HTTP", &["git", "clone", "-q", "http://127.0.0.1:{port}/r.git", "copy"])
            .setup("git init -q -b main r && cd r && seq 5000 >a && git add . && git commit -qm one && cd .. && mkdir site && git clone -q --bare r site/r.git && git -C site/r.git update-server-info")
            .served()
            .files(&["copy/a"]),
        row("sqlite3", "sqlite3", "50,000 rows with a rollback journal", &["sqlite3", "db", SQL_ROLLBACK]),
        row("sqlite3 WAL", "sqlite3", "50,000 rows with a write-ahead log", &["sqlite3", "db", SQL]),
        row(
            "nc",
            "netcat-openbsd",
            "4 MB from one process to another",
            &["sh", "-c", "nc -l -U -N s >got </dev/null & while [ ! -S s ]; do sleep 0.02; done; nc -U -N s <noise; wait"],
        )
        .version("dpkg-query -W netcat-openbsd")
        .setup("cp $INPUTS/noise .")
        .files(&["got"]),
        row(
            "socat",
            "socat",
            "4 MB over a socket",
            &["sh", "-c", "socat -u UNIX-LISTEN:s - >got & socat -u - UNIX-CONNECT:s,retry=100,interval=0.05 <noise; wait"],
        )
        .version("socat -V")
        .setup("cp $INPUTS/noise .")
        .files(&["got"]),
    ]
}
