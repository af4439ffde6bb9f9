//! The C guests, which check themselves, with deaths at calls that a seed draws.
//!
//! Invariant: only guests whose processes have one thread each and share no memory. Not those that
//! crash on purpose, which is told on stderr. Run by `cargo test`.

use chameleon_tests::{guest, program};

use crate::survives;

/// A test a guest.
macro_rules! each {
    ($($name:ident = $guest:literal $(, $arg:literal)*;)*) => {$(
        #[test]
        fn $name() {
            survives(&program(guest($guest)).args::<&str>([$($arg),*]), "simplex", 3);
        }
    )*};
}

each! {
    hello = "hello";
    hello_status = "hello", "42", "x", "y";
    hello_static = "hello_static", "7";
    clock = "clock";
    clockreads = "clockreads";
    rdtsc = "rdtsc";
    rdrand = "rdrand";
    random = "random";
    pids = "pids";
    capabilities = "capabilities";
    addresses = "addresses";
    auxv = "auxv";
    dirorder = "dirorder";
    procstatus_signals = "procstatus", "signals";
    procstatus_memory = "procstatus", "memory";
    procstatus_times = "procstatus", "times";
    procstatus_places = "procstatus", "places";
    procstatus_reading = "procstatus", "reading";
    procstatus_family = "procstatus", "family";
    system = "system";
    vdso = "vdso";
    cpus = "cpus";
    schedattr = "schedattr";
    filestat = "filestat";
    forks = "forks";
    execs = "execs";
    bigargs = "bigargs";
    waits = "waits";
    cputimes = "cputimes";
    groups = "groups";
    orphans = "orphans";
    stopcont = "stopcont";
    environs = "environs";
    limits = "limits";
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
    pipes = "pipes";
    fifos = "fifos";
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
    xattrs = "xattrs";
    appends = "appends";
    bigio = "bigio";
    hugepages = "hugepages";
    translator = "translator";
    longcalls = "longcalls";
    vectors = "vectors";
    seeks = "seeks";
    pathdirs = "pathdirs";
    names = "names";
    descriptors = "descriptors";
    messages = "messages";
    filemaps = "filemaps";
    anonmaps = "anonmaps";
    recursion = "recursion";
    checksum = "checksum";
    spinner = "spinner", "200";
    ticker = "ticker", "100", "1";
    execfail = "execfail";
    pty = "pty";
    cloned = "cloned";
    spawn = "spawn";
    vforks = "vforks";
    sigtraps = "sigtraps";
}

#[test]
fn direct() {
    survives(&program(guest("direct")), "simplex", 3);
}

#[test]
fn stamps() {
    survives(&program(guest("stamps")), "simplex", 3);
}

/// What is repaired by a roll-back and what by a copy of another replica, in one run.
#[test]
fn with_several_replicas() {
    for name in ["sigorder", "pipes", "execs", "appends", "forks", "alarms", "bigio", "anonmaps"] {
        for mode in ["dual", "tmr"] {
            survives(&program(guest(name)), mode, 2);
        }
    }
}
