//! Real programs on real input in every mode: output, files and status of the native run.
//!
//! Invariant: each is sized to end within about a second natively, so that all of them in all modes
//! stay within minutes. Run by `cargo test`.

use chameleon_tests::{Ending, MODES, Scenario, have, program, python, script, workload};

/// A module a program: what must be installed, and its scenario.
macro_rules! programs {
    ($($name:ident [$($need:literal)*] $scenario:expr;)*) => {$(
        mod $name {
            use super::*;
            fn run(mode: &str) {
                if have(&[$($need),*]) {
                    let outcome = $scenario.check(mode);
                    assert!(
                        !matches!(outcome.ending, Ending::Exited(126 | 127)),
                        "it did not even start: {}",
                        outcome.err()
                    );
                }
            }
            #[test]
            fn native() {
                if have(&[$($need),*]) {
                    let scenario = $scenario;
                    scenario.same(&scenario.native(), &scenario.native(), "native, twice");
                }
            }
            #[test]
            fn simplex() {
                run("simplex");
            }
            #[test]
            fn dual() {
                run("dual");
            }
            #[test]
            fn tmr() {
                run("tmr");
            }
            #[test]
            fn nmr_3_of_5() {
                run("nmr:3/5");
            }
        }
    )*};
}

/// A shell line, with 200 KB of text in `words` and 100 KB of noise in `noise`.
fn sh(line: &str) -> Scenario {
    with_input(program("sh").args(["-c", line]))
}

fn with_input(scenario: Scenario) -> Scenario {
    scenario.file("words", workload::text(1, 200_000)).file("noise", workload::noise(2, 100_000))
}

/// A script of `tests/programs` through its interpreter.
fn run_script(interpreter: &str, name: &str) -> Scenario {
    with_input(program(interpreter).args([script(name).as_os_str()]))
}

/// A directory of 200 files in 10 directories.
fn tree(line: &str) -> Scenario {
    let mut scenario = program("sh").args(["-c", line]);
    for number in 0..200u64 {
        let path = format!("tree/d{}/file-{number}", number % 10);
        scenario = scenario.file_with_mode(
            path,
            workload::text(number, 300),
            if number % 7 == 0 { 0o755 } else { 0o644 },
        );
    }
    scenario
}

fn on_terminal(steps: &[&str], command: &str) -> Scenario {
    program(command).prefix(
        [python(), script("drive.py").to_str().expect("a plain path")]
            .iter()
            .chain(steps)
            .chain(&["--"]),
    )
}

const GIT: &str = "git init -q -b main . && echo one >a && git add a && git commit -qm first && \
    echo two >>a && cp words w && git add . && git commit -qm second && \
    git log --stat --format='%an %s %H' && git diff HEAD~1 --stat && git status --short && git fsck";

const PROJECT: &str = "all: prog sums\n\
    prog: a.o b.o\n\t$(CC) -o $@ $^\n\
    %.o: %.c common.h\n\t$(CC) -c -O1 -o $@ $<\n\
    sums: words\n\tsort words | uniq -c >$@\n\
    run: all\n\t./prog\n\t@echo done with status $$?\n";

fn c_project(line: &str) -> Scenario {
    sh(line)
        .file("Makefile", PROJECT)
        .file("common.h", "int twice(int);\n")
        .file("a.c", "#include <stdio.h>\n#include \"common.h\"\nint main(void) { printf(\"%d\\n\", twice(21)); return 0; }\n")
        .file("b.c", "#include \"common.h\"\nint twice(int x) { return 2 * x; }\n")
}

programs! {
    // coreutils
    sort_text ["sort"] program("sort").args(["--parallel=1", "-k2", "big"]).file("big", workload::text(3, 2_000_000));
    sort_stdin ["sort"] program("sort").args(["-u"]).stdin(workload::text(4, 300_000));
    sort_with_files ["sort"] program("sort").args(["--parallel=1", "-S", "200k", "-o", "out", "big"]).file("big", workload::text(5, 800_000));
    sort_default ["sort"] program("sort").args(["big"]).file("big", workload::text(6, 1_000_000));
    sha256sum ["sha256sum"] program("sha256sum").args(["big", "big", "-"]).file("big", workload::noise(3, 4_000_000)).stdin("x");
    ls_recursive ["ls"] program("ls").args(["-lR", "/usr/include"]);
    ls_tree ["ls"] tree("ls -laRF --time-style=+ tree; ls -1 tree | head -3; ls missing");
    cp_mv_rm ["cp"] tree("cp -a tree copy && mv copy moved && ln moved/d1/file-1 hard && rm -r tree/d2 && rmdir missing; touch -d 2020-01-01 t; stat -c '%n %s %a %F %y' t; stat -c '%n %a %F' moved; chmod -R g-w moved; du -s --apparent-size moved >/dev/null");
    small_tools ["seq"] sh("wc words; head -c 50 noise | od -c; cut -d' ' -f1 words | sort | uniq -c; seq 5 | tac | paste -sd+ ; printf '%s ' *; echo; tail -n 2 words; split -n 3 noise part.; cat part.* | cmp - noise && tee t1 t2 <words | cksum; expr 6 \\* 7; basename /a/b.c .c; nl words | tail -1; comm -12 words words | wc -l; dd if=noise of=copy bs=1000 count=50 2>/dev/null; id -u; date -d @0 +%F; yes | head -2; timeout 0.1 sleep 9; echo $?; nice -n 5 nice; nohup true; env -i A=b env; truncate -s 5000 hole; shuf -n 3 --random-source=noise words; mktemp -u >/dev/null; tsort /dev/null; test -e noise");
    tail_follow ["tail"] sh(": >log; (for i in 1 2 3 4 5; do echo line $i; sleep 0.05; done >>log) & tail -n +1 -f --pid=$! log");
    dates_and_sleeps ["date"] sh("a=$(date +%s%N); sleep 0.05; b=$(date +%s%N); [ $a -lt $b ] && echo forward; [ $(cat /proc/self/stat | cut -d' ' -f1) -gt 0 ] && uname -sm; nproc; pwd; echo $((b > a))");

    // packing
    gzip ["gzip"] sh("gzip -n words && gzip -l words.gz | tail -1 | cut -c1-30 && gzip -t words.gz && gzip -dc words.gz | cksum && gzip -9nc noise >n.gz && gunzip -c n.gz | cmp - noise");
    xz ["xz"] sh("xz -T1 -k words && xz -dc words.xz | cmp - words && xz -T1 -1 noise && xz -t noise.xz");
    bzip2 ["bzip2"] sh("bzip2 -k words && bzip2 -dc words.bz2 | cmp - words && bzip2 noise && bzip2 -t noise.bz2");
    tar ["tar"] tree("tar cf t.tar --sort=name --mtime=@0 tree && tar tf t.tar | wc -l && mkdir x && tar xf t.tar -C x && diff -r tree x/tree && tar czf t.tgz --sort=name --mtime=@0 tree && tar tzf t.tgz | tail -2 && rm t.tgz");

    // searching and rewriting
    find ["find"] tree("find tree -type f -name '*7*' | sort; find tree -perm 755 -exec basename {} ';' | sort | head; find tree -size +0 -print0 | sort -z | xargs -0 -n 50 cat | cksum; find tree -name 'file-1*' -delete; find . -newer /missing; find tree | wc -l");
    grep ["grep"] tree("grep -r quorum tree | sort | cksum; grep -rlE 'lease|epoch' tree | sort | wc -l; grep -c fault tree/d1/file-1; grep -q nothing tree/d1/file-1; echo $?; grep -n repair missing; grep -ohw 'call [0-9]*' -r tree | sort | head -5");
    sed ["sed"] sh("sed -n '10,12p;$=' words; sed -i.bak 's/fault/FAULT/g;1d' words; sed -E 's/([a-z]+) (.*)/\\2 \\1/;5q' words");
    mawk ["mawk"] program("mawk").args(["{ for (i = 1; i < NF; i++) n[$i]++; s += $NF } END { for (w in n) print w, n[w] | \"sort\"; close(\"sort\"); printf \"%.3f %d\\n\", s / NR, NR; print substr(\"mawk\", 2) > \"out\" }", "words"]).file("words", workload::text(7, 500_000));

    // shells and languages
    bash_pipelines ["bash"] run_script("bash", "shell.sh");
    bash_features ["bash"] run_script("bash", "bashism.sh");
    dash ["dash"] run_script("dash", "shell.sh");
    perl ["perl"] run_script("perl", "text.pl");
    python_work ["python3"] run_script(python(), "work.py");
    python_children ["python3"] run_script(python(), "children.py");
    python_maps ["python3"] run_script(python(), "maps.py");
    python_echo ["python3"] run_script(python(), "echo.py");
    python_random ["python3"] program(python()).args(["-c", "import random, os, uuid, time, tempfile\nfor x in (random.random(), os.urandom(9), uuid.uuid4(), time.time(), id(x) if (x := object()) else 0, os.getpid(), tempfile.mkdtemp(), hash('x')):\n    os.write(os.open('/dev/null', 1), repr(x).encode())\nfor name in os.listdir(os.environ['TMPDIR']): os.rmdir(os.environ['TMPDIR'] + '/' + name)\nprint('ok')"]);
    bc ["bc"] program("bc").args(["-l"]).stdin("scale=300\n4*a(1)\n2^1000\nsqrt(2)\nfor (i = 0; i < 20; i++) i^i\n");

    // data and secrets
    sqlite ["sqlite3"] sh("sqlite3 db 'PRAGMA journal_mode=delete; CREATE TABLE t(id INTEGER PRIMARY KEY, w TEXT, n INT);' && (echo 'BEGIN;'; i=0; while read -r a b rest && [ $i -lt 800 ]; do i=$((i + 1)); echo \"INSERT INTO t(w,n) VALUES('$a',$i);\"; done <words; echo 'COMMIT;') | sqlite3 db && for k in 1 2 3; do sqlite3 db \"UPDATE t SET n = n * $k WHERE w = 'fault'\"; done; sqlite3 db 'CREATE INDEX i ON t(w); SELECT w, count(*), sum(n) FROM t GROUP BY w ORDER BY w; PRAGMA integrity_check; DELETE FROM t WHERE n % 2; VACUUM;' && sqlite3 db 'SELECT count(*) FROM t' && sqlite3 db 'BEGIN; DELETE FROM t; ROLLBACK; SELECT count(*) FROM t; SELECT nothing;'");
    sqlite_wal ["sqlite3"] sh("sqlite3 db 'PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, w TEXT, n INT); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000) INSERT INTO t SELECT x, x || \" row\", x * 7 FROM c; SELECT count(*), sum(n) FROM t; UPDATE t SET n = n + 1 WHERE id % 3 = 0; PRAGMA wal_checkpoint; PRAGMA integrity_check;' && sqlite3 db 'PRAGMA mmap_size=1000000; BEGIN; DELETE FROM t WHERE id % 2; COMMIT; SELECT count(*), sum(n) FROM t; INSERT INTO t(w) VALUES(1); PRAGMA journal_mode=delete' && sqlite3 db 'PRAGMA integrity_check; SELECT count(*) FROM t'");
    openssl_enc ["openssl"] sh("openssl enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 000102030405060708090a0b0c0d0e0f -in noise -out secret && openssl enc -d -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 000102030405060708090a0b0c0d0e0f -in secret | cmp - noise && openssl dgst -sha256 noise words && openssl dgst -md5 -hmac key words");
    openssl_random ["openssl"] sh("openssl genrsa -out key 1024 2>/dev/null && openssl rsa -in key -check -noout && openssl rand -hex 16 | wc -c && openssl enc -aes-128-cbc -pbkdf2 -pass pass:x -in words -out w.enc && openssl enc -d -aes-128-cbc -pbkdf2 -pass pass:x -in w.enc | cmp - words; rm -f key w.enc");

    // building
    gcc ["gcc"] c_project("gcc -O2 -g -Wall -c a.c && gcc -O2 -c b.c && gcc -o prog a.o b.o && ./prog; echo $?; gcc -E b.c | tail -2; echo 'int x = y;' | gcc -x c - -c -o bad.o; echo $?");
    make ["make" "gcc"] c_project("make run && make && touch -d tomorrow b.c && make -n && make missing; echo $?");
    make_jobs ["make" "gcc"] c_project("make -s -j3 all && ./prog");
    git ["git"] sh(GIT)
        .env("GIT_AUTHOR_NAME", "A").env("GIT_AUTHOR_EMAIL", "a@b").env("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z")
        .env("GIT_COMMITTER_NAME", "A").env("GIT_COMMITTER_EMAIL", "a@b").env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
        .ignoring("/.git/index");

    // network
    socat_100_mb ["socat" "sha256sum"] {
        let port = workload::free_port();
        program("sh").args(["-c", "socat -u TCP-LISTEN:$0,bind=127.0.0.1,reuseaddr - | sha256sum & head -c 100000000 /dev/zero | socat -u - TCP:127.0.0.1:$0,retry=100,interval=0.05; wait", &port.to_string()])
    };
    netcat ["nc"] {
        let port = workload::free_port();
        sh("nc -l -p $1 -s 127.0.0.1 >got </dev/null & for i in $(seq 200); do nc -N 127.0.0.1 $1 <noise 2>/dev/null && break; sleep 0.05; done; wait; cmp got noise && echo same")
            .args(["sh", &port.to_string()])
    };

    // the terminal
    curses ["python3"] on_terminal(
        &["expect:press q", "send:a", "expect:key 97", "send:b", "expect:key 98", "send:q", "eof"],
        chameleon_tests::guest("curses").to_str().expect("a plain path"));
    less ["python3" "less"] on_terminal(&["expect:(END)", "send:q", "eof"], "less")
        .args(["short"]).file("short", "one\ntwo\n").env("LESSHISTFILE", "-").env("LESS", "");
}

/// Writes of a size that is gathered inside the replicas, until there is no room: the program hears of
/// it at the write at which it does natively.
#[test]
fn a_full_disk_is_the_programs_to_hear_of() {
    if !have(&["unshare", "mount", "dd"]) {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        println!(
            "skipped: a_full_disk_is_the_programs_to_hear_of: only root may mount a small disk"
        );
        return;
    }
    let mount = "mount -t tmpfs -o size=72m tmpfs disk && exec \"$@\"";
    let fill = "dd if=/dev/zero of=disk/a bs=8k status=none; echo $?; stat -c %s disk/a; rm disk/a; \
        seq 30000000 >disk/b; echo $?; wc -c disk/b";
    for mode in MODES {
        let scenario =
            sh(fill).file("disk/keep", "").prefix(["unshare", "-m", "sh", "-c", mount, "sh"]);
        let outcome = scenario.check(mode);
        assert!(outcome.err().contains("No space left"), "{}", outcome.err());
    }
}
