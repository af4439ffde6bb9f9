//! Programs from Debian and guests that do one kind of thing at length, with deaths at calls that a seed
//! draws.
//!
//! Invariant: each has one thread. `CHAMELEON_GZIP_MIB` and `CHAMELEON_MEMORY_MIB` make two of them as
//! large as real ones. Run by `cargo test`.

use chameleon_tests::{Scenario, guest, have, program, python, script, workload};
use nix::unistd::Uid;

use crate::{mib, run, survives};

/// A test a program: what must be installed, how many processes die, and its scenario.
macro_rules! programs {
    ($mode:literal $($name:ident [$($need:literal)*] $processes:literal $scenario:expr;)*) => {$(
        #[test]
        fn $name() {
            if have(&[$($need),*]) {
                survives(&$scenario, $mode, $processes);
            }
        }
    )*};
}

fn sh(line: &str) -> Scenario {
    with_input(program("sh").args(["-c", line]))
}

fn with_input(scenario: Scenario) -> Scenario {
    scenario.file("words", workload::text(1, 100_000)).file("noise", workload::noise(2, 100_000))
}

fn run_script(interpreter: &str, name: &str) -> Scenario {
    with_input(program(interpreter).args([script(name).as_os_str()]))
}

/// A table is filled, changed and asked in one transaction, and a second one is taken back.
fn database() -> Scenario {
    let mut lines = String::from("create table t(a integer primary key, b text);\nbegin;\n");
    for i in 0..2000u64 {
        lines += &format!("insert into t values({i}, 'row {}');\n", i * 7919 % 1000);
    }
    lines += "update t set b = b || '!' where a % 3 = 0;\ndelete from t where a % 10 = 9;\ncommit;\n\
        begin; delete from t; select count(*) from t; rollback;\n\
        select count(*), sum(length(b)), min(b), max(a) from t;\n\
        create index i on t(b); select b, count(*) from t group by b order by 2 desc, 1 limit 5;\n\
        pragma integrity_check;\n";
    program("sqlite3").args(["db"]).stdin(lines)
}

programs! {
    "simplex"
    // What writes for long.
    counter [] 1 program(guest("ticker")).args(["150", "1"]);
    a_log_that_is_appended_to [] 1 program("sh").args(["-c",
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i >>log; [ -s log ] && echo $i; done; cksum log"]);
    large_gzip ["gzip"] 1 program("gzip").args(["-n", "big"])
        .file("big", workload::text(11, mib("CHAMELEON_GZIP_MIB", 3) << 20));
    gzip_with_a_small_journal ["gzip"] 1 program("gzip").args(["-n", "big"]).flag("--journal=4K")
        .file("big", workload::text(11, 1_000_000));
    copies_with_a_small_journal [] 1 program("dd").args(["if=big", "of=out", "bs=100k", "status=none"])
        .flag("--journal=4K").file("big", workload::noise(5, 5_000_000));
    transaction ["sqlite3"] 1 database();
    pipeline_of_four [] 4 sh("seq 3000 | sed 's/7/x/' | sort | uniq -c >counted; cksum counted");
    tiny_writes [] 1 program("dd").args(["if=/dev/zero", "of=out", "bs=1", "count=6000", "status=none"]);
    long_reads_and_writes [] 1 program("dd").args(["if=big", "of=out", "bs=9M", "status=none"])
        .file("big", workload::noise(7, 20 << 20));
    long_writes_to_a_pipe [] 3 sh("dd if=/dev/zero bs=3M count=3 status=none | cat | cksum");
    lines_flushed_one_by_one ["mawk"] 1 program("mawk")
        .args(["{ print NR, $2 >\"out\"; fflush(\"out\"); if (NR % 50 == 0) print NR }", "words"])
        .file("words", workload::text(3, 60_000));

    // What changes itself.
    memory_that_is_mapped_and_moved [] 1 program(guest("remaps"));
    memory_that_is_moved_as_one [] 1 program(guest("joined"));
    timers [] 1 program(guest("ticking"));
    much_memory [] 1 program(guest("filled")).args([mib("CHAMELEON_MEMORY_MIB", 24).to_string(), "40".into()]);
    what_was_told_stays [] 1 program(guest("stays"));
    directories_and_files_without_names [] 1 program(guest("wanders"));

    // Processes and languages.
    shell_script [] 4 run_script("sh", "shell.sh");
    bash_script ["bash"] 4 run_script("bash", "bashism.sh");
    perl_script ["perl"] 1 run_script("perl", "text.pl");
    python_script ["python3"] 1 run_script(python(), "work.py");
    trees [] 5 sh("(echo a; (echo b; (echo c; exit 3); echo $?) | cat) | tee copy; \
        for i in 1 2 3; do (sleep 0.01; echo $i >kid$i; exit $i) & done; wait; cat kid?");
    traps [] 3 sh("trap 'echo got' USR1; i=0; while [ $i -lt 12 ]; do i=$((i+1)); kill -USR1 $$; \
        (exit $i); echo $?; done; trap 'echo end' EXIT; kill -TERM $$");
    archive ["tar"] 2 sh("mkdir d; for i in 1 2 3 4 5 6; do cp words d/$i; done; tar cf a.tar d && rm -r d && \
        tar xf a.tar && cksum d/*; rm -r d a.tar; ls");
    stopped_and_continued [] 2 program("sh").args(["-c",
        "sh -c 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $i; done; kill -STOP $$; echo on' & p=$!; \
        until grep -q '^State:.T' /proc/$p/status; do sleep 0.01; done; kill -CONT $p; wait $p; echo $?"]);
}

mod dual {
    use super::*;
    programs! {
        "dual"
        counter [] 1 program(guest("ticker")).args(["100", "1"]);
        transaction ["sqlite3"] 1 database();
        pipeline_of_four [] 4 sh("seq 3000 | sed 's/7/x/' | sort | uniq -c >counted; cksum counted");
    }
}

mod tmr {
    use super::*;
    programs! {
        "tmr"
        counter [] 1 program(guest("ticker")).args(["100", "1"]);
        gzip ["gzip"] 1 program("gzip").args(["-n", "big"]).file("big", workload::text(11, 1_000_000));
        pipeline_of_four [] 4 sh("seq 3000 | sed 's/7/x/' | sort | uniq -c >counted; cksum counted");
        timers [] 1 program(guest("ticking"));
        what_was_told_stays [] 1 program(guest("stays"));
    }
}

/// A program that gives up its privileges on the way.
#[test]
fn privileges_that_are_given_up() {
    if have(&["setpriv"]) && Uid::effective().is_root() {
        let line = "id -u; umask 022; echo mine >file; cat file; (id -g); ls -ln file | cut -c1-10";
        let words = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", line];
        survives(&program("setpriv").args(words), "simplex", 2);
    }
}

/// Its children are begun with vfork(2).
#[test]
fn python_children() {
    if have(&["python3"]) {
        survives(&run_script(python(), "children.py"), "simplex", 3);
    }
}

/// Reads lines from its terminal, to which Chameleon's own lines go, too.
#[test]
fn a_terminal() {
    if !have(&["python3"]) {
        return;
    }
    let steps = ["expect:one", "send:first\n", "expect:got first", "send:second\n", "eof"];
    let words = [python().into(), script("drive.py").display().to_string()];
    let line = "echo one; read a; echo got $a; stty -a | grep -c echo; read b; echo got $b";
    let prefix = words.into_iter().chain(steps.map(String::from)).chain(["--".into()]);
    let scenario = program("sh").args(["-c", line]).prefix(prefix);
    let lines = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let own = text.lines().filter(|line| !line.starts_with("chameleon: "));
        // What the terminal echoes and what is written come in any order.
        let mut all: Vec<String> = own.map(str::to_owned).collect();
        all.sort();
        all
    };
    let native = scenario.native();
    for call in (20..80).step_by(6) {
        let death = format!("--inject=replica=0,call={call},kill");
        let under = run(&scenario, "simplex", &["--checkpoint=10calls".into(), death]);
        assert_eq!(lines(&under.stdout), lines(&native.stdout), "a death at call {call}");
        assert_eq!(under.ending, native.ending, "a death at call {call}");
    }
}
