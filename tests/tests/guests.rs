//! Every C guest in every mode: the output, files and ending of the native run, undisturbed.
//!
//! Invariant: each guest first passes natively, twice alike. Run by `cargo test`; a single one with
//! `cargo test -p chameleon-tests --test guests -- clock::tmr`.

use chameleon_tests::{Ending, Scenario, guest, program, thread_guests, thread_guests_computing};

/// A module a guest, with the tests that the macro of this name makes.
macro_rules! each_guest {
    ($tests:ident $($name:ident = $guest:literal $(, $arg:literal)*;)*) => {$(
        mod $name {
            use super::*;
            fn scenario() -> Scenario {
                program(guest($guest)).args::<&str>([$($arg),*])
            }
            $tests!();
        }
    )*};
}

/// The tests of one `scenario()`.
macro_rules! modes {
    () => {
        lockstep!();
        #[test]
        fn simplex() {
            scenario().check("simplex");
        }
    };
}

/// With threads that compute without end, which others do not wait for.
macro_rules! live {
    () => {
        native_and_simplex!();
        #[test]
        fn tmr() {
            scenario().flag("--threads").flag("live").check_disturbed("tmr");
        }
    };
}

/// The tests with several replicas.
macro_rules! lockstep {
    () => {
        native!();
        #[test]
        fn dual() {
            scenario().check("dual");
        }
        #[test]
        fn tmr() {
            scenario().check("tmr");
        }
        #[test]
        fn nmr_3_of_5() {
            scenario().check("nmr:3/5");
        }
    };
}

/// The test of a scenario as it is.
macro_rules! native {
    () => {
        #[test]
        fn native() {
            passes_natively(&scenario());
        }
    };
}

/// The tests of a scenario with one replica at most.
macro_rules! native_and_simplex {
    () => {
        native!();
        #[test]
        fn simplex() {
            scenario().check("simplex");
        }
    };
}

/// The guest's own checks hold (they end with 99), and a second run gives the same.
#[track_caller]
fn passes_natively(scenario: &Scenario) {
    let first = scenario.native();
    assert!(
        !matches!(first.ending, Ending::Exited(97..=99)),
        "{}\n{}{}",
        first.ending,
        first.out(),
        first.err()
    );
    let second = scenario.native();
    scenario.same(&first, &second, "native, twice");
}

each_guest! {
    modes
    // The smallest, and endings.
    hello = "hello";
    hello_status = "hello", "42", "x", "y";
    hello_static = "hello_static", "7";
    exit_0 = "exitcodes", "e", "0";
    exit_1 = "exitcodes", "e", "1";
    exit_255 = "exitcodes", "e", "255";
    exit_group = "exitcodes", "g", "125";
    exit_thread = "exitcodes", "t", "126";
    exit_return = "exitcodes", "r", "127";
    abort = "exitcodes", "a";
    segfault = "exitcodes", "f";
    illegal = "exitcodes", "i";
    signal_1 = "exitcodes", "s", "1";
    signal_2 = "exitcodes", "s", "2";
    signal_9 = "exitcodes", "s", "9";
    signal_13 = "exitcodes", "s", "13";
    signal_15 = "exitcodes", "s", "15";
    signal_34 = "exitcodes", "s", "34";

    // Sources of nondeterminism.
    clock = "clock";
    clockreads = "clockreads";
    rdtsc = "rdtsc";
    stamps = "stamps";
    rdrand = "rdrand";
    random = "random";
    pids = "pids";
    capabilities = "capabilities";
    addresses = "addresses";
    auxv = "auxv";
    dirorder = "dirorder";
    procself = "procself", "one", "two";
    procstatus_signals = "procstatus", "signals";
    procstatus_state = "procstatus", "state";
    procstatus_memory = "procstatus", "memory";
    procstatus_times = "procstatus", "times";
    procstatus_places = "procstatus", "places";
    procstatus_reading = "procstatus", "reading";
    procstatus_family = "procstatus", "family";
    procstatus_maps = "procstatus", "maps";
    system = "system";
    vdso = "vdso";
    cpus = "cpus";
    schedattr = "schedattr";
    filestat = "filestat";

    // Processes.
    forks = "forks";
    vforks = "vforks";
    cloned = "cloned";
    spawn = "spawn";
    execs = "execs";
    execfail = "execfail";
    bigargs = "bigargs";
    waits = "waits";
    cputimes = "cputimes";
    sigdeaths = "sigdeaths";
    groups = "groups";
    orphans = "orphans";
    stopcont = "stopcont";
    environs = "environs";
    limits = "limits";

    // Signals.
    siginfo = "siginfo";
    sigorder = "sigorder";
    restart = "restart";
    sigsuspends = "sigsuspends";
    caught = "caught";
    sigwaits = "sigwaits";
    alarms = "alarms";
    cputimers = "cputimers";
    storms = "storms";
    timerfds = "timerfds";
    faults = "faults";
    sigpipes = "sigpipes";
    sigchlds = "sigchlds";
    sigexec = "sigexec";
    bursts = "bursts";
    fasttimer = "fasttimer";
    exec_rights = "exec_rights";
    exec_timers = "exec_timers";
    jumps = "jumps";
    selfsignals = "selfsignals";
    sigtraps = "sigtraps";

    // Descriptors and what is behind them.
    pipes = "pipes";
    fifos = "fifos";
    pty = "pty";
    passing = "passing";
    unixsockets = "unixsockets";
    tcp = "tcp";
    udp = "udp";
    filters = "filters";
    interfaces = "interfaces";
    epolls = "epolls";
    polls = "polls";
    notify = "notify";
    memfds = "memfds";
    moves = "moves";
    locks = "locks";
    joined = "joined";
    xattrs = "xattrs";
    appends = "appends";
    bigio = "bigio";
    hugepages = "hugepages";
    translator = "translator";
    inside = "inside";
    direct = "direct";
    longcalls = "longcalls";
    vectors = "vectors";
    seeks = "seeks";
    pathdirs = "pathdirs";
    names = "names";
    descriptors = "descriptors";
    messages = "messages";

    // Memory that is shared.
    shared_anon = "shared_anon";
    shared_file = "shared_file";
    shared_memfd = "shared_memfd";
    shared_shm = "shared_shm";
    shared_exit = "shared_exit", "e";
    shared_exit_by_exec = "shared_exit", "x";
    shared_exit_by_signal = "shared_exit", "s";
    shared_trunc = "shared_trunc";
    shared_slow = "shared_slow";
    shared_two = "shared_two";
    shared_copy = "shared_copy";
    shared_sysv = "shared_sysv";
    shared_talk = "shared_talk", "a";
    shared_talk_by_file = "shared_talk", "f";
    shared_talk_by_segment = "shared_talk", "s";
    shared_told = "shared_told";
    shared_heirs = "shared_heirs";
    shared_named_by_executed = "shared_named", "e";
    shared_named_by_forked = "shared_named", "f";
    shared_named_by_segment = "shared_named", "s";
    shared_named_with_threads = "shared_named", "t";
    shared_named_while_one_computes = "shared_named", "w";
    shared_group = "shared_group";
    shared_work = "shared_work";
    sharedmap = "sharedmap";

    // Memory and computing.
    filemaps = "filemaps";
    anonmaps = "anonmaps";
    recursion = "recursion";
    checksum = "checksum";
    spinner = "spinner", "200";
    ticker = "ticker", "100", "1";
}

// Threads.
thread_guests!(each_guest modes);
thread_guests_computing!(each_guest live);

/// Started by a shell that has closed its standard input and output.
mod closed_std {
    use super::*;
    fn scenario() -> Scenario {
        program(guest("closedstd")).prefix(["sh", "-c", "exec \"$@\" <&- >&-", "sh"])
    }
    modes!();
}

/// Started by a shell that has opened descriptors 7 and 8.
mod inherited {
    use super::*;
    fn scenario() -> Scenario {
        let script = "exec \"$@\" 7<seven 8>eight";
        program(guest("inherited")).prefix(["sh", "-c", script, "sh"]).file("seven", "the file\n")
    }
    modes!();
}

/// Started with signals ignored and blocked, a umask and a limit: all of it is inherited.
mod inherited_state {
    use super::*;
    fn scenario() -> Scenario {
        let show = "trap; umask; ulimit -n; kill -USR2 $$; echo alive; >f";
        let prepare = "trap '' USR2; umask 027; ulimit -n 100; exec \"$@\"";
        program("dash").args(["-c", show]).prefix(["bash", "-c", prepare, "bash"])
    }
    modes!();
}

/// Standard error is where standard output is; the lines stay in order.
mod merged_output {
    use super::*;
    fn scenario() -> Scenario {
        let script = "for i in 1 2 3; do echo out $i; echo error $i >&2; done";
        program("sh").args(["-c", script]).prefix(["sh", "-c", "exec \"$@\" 2>&1", "sh"])
    }
    modes!();
}

/// Threads, and what needs one replica.
mod beyond {
    use super::*;

    #[test]
    fn threads() {
        for mode in ["simplex", "dual", "tmr"] {
            program(guest("threads")).check(mode);
        }
    }

    #[test]
    fn a_single_replica_reads_the_time_stamp_counter_itself() {
        program(guest("rdtsc")).args(["many"]).check("simplex");
    }

    #[test]
    fn a_program_forbids_itself_the_time_stamp_counter_in_simplex() {
        program(guest("rdtsc")).args(["off"]).check("simplex");
    }

    #[test]
    fn the_limit_of_cpu_time_ends_a_program() {
        for mode in ["simplex", "tmr"] {
            program(guest("cpulimit")).check(mode);
        }
    }

    #[test]
    fn a_timer_of_cpu_time_interrupts_the_thread_that_computes() {
        for args in [&[][..], &["first one ends"]] {
            program(guest("threadtimers")).args(args).check("simplex");
            for mode in ["dual", "tmr"] {
                let scenario = program(guest("threadtimers")).args(args);
                scenario.flag("--threads").flag("live").check_disturbed(mode);
            }
        }
    }

    #[test]
    fn a_timer_of_cpu_time_interrupts_computing() {
        program(guest("cputimers")).args(["still"]).check("simplex");
        program(guest("cputimers")).args(["still"]).check_disturbed("tmr");
    }

    #[test]
    fn a_robust_mutex_outlives_a_process_in_simplex() {
        for how in ["e", "t"] {
            program(guest("shared_robust")).args([how]).check("simplex");
        }
    }

    #[test]
    fn a_robust_mutex_outlives_a_process_in_lockstep() {
        for mode in ["dual", "tmr", "nmr:3/5"] {
            for how in ["e", "t", "s"] {
                program(guest("shared_robust")).args([how]).check(mode);
            }
        }
    }

    #[test]
    fn a_thread_executes_another_program_in_simplex() {
        program(guest("threadexec")).check("simplex");
        program(guest("threadexec")).args(["thread"]).check("simplex");
    }
}
