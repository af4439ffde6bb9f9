//! The guests of threads, named once for all the tests that run them.
//!
//! Invariant: every `tests/guests/thread_*.c` is in one of these lists. Called with the name of a
//! macro that takes `name = "guest", "argument"…;` lines, and what it takes before them.

/// Calls a macro with the guests of threads that run in every mode.
#[macro_export]
macro_rules! thread_guests {
    ($each:ident $($first:tt)*) => {
        $each! {
            $($first)*
            // Locks.
            thread_mutex = "thread_mutex";
            thread_recursive = "thread_recursive";
            thread_cond = "thread_cond";
            thread_barrier = "thread_barrier";
            thread_rwlock = "thread_rwlock";
            thread_sem = "thread_sem";
            thread_once = "thread_once";
            thread_spin = "thread_spin";
            thread_futex = "thread_futex";
            thread_futexerr = "thread_futexerr";
            thread_futexop = "thread_futexop";
            thread_futexv = "thread_futexv";
            thread_futexpi = "thread_futexpi";
            thread_requeue = "thread_requeue";
            thread_futextwo = "thread_futextwo";
            thread_robust = "thread_robust";
            thread_pi = "thread_pi";
            thread_owner = "thread_owner";

            // Lives, signals and endings.
            thread_cancel = "thread_cancel";
            thread_detach = "thread_detach";
            thread_tls = "thread_tls";
            thread_timer = "thread_timer";
            thread_kill = "thread_kill";
            thread_signals = "thread_signals";
            thread_busy = "thread_busy";
            thread_busy_to_death = "thread_busy", "d";
            thread_exit_first = "thread_exit", "p", "r";
            thread_ids = "thread_ids";
            thread_execs = "thread_execs";
            thread_many = "thread_many";

            // Work.
            thread_io = "thread_io";
            thread_records = "thread_records";
            thread_malloc = "thread_malloc";
            thread_stdio = "thread_stdio";
            thread_parallel = "thread_parallel";
            thread_queue = "thread_queue";
            thread_race = "thread_race";
            thread_spinflag = "thread_spinflag";
            thread_traps = "thread_traps";
            thread_stamps = "thread_stamps";
        }
    };
}

/// Calls a macro with those whose threads compute without end or calls while others wait: with several
/// replicas they need `--threads live`.
#[macro_export]
macro_rules! thread_guests_computing {
    ($each:ident $($first:tt)*) => {
        $each! {
            $($first)*
            thread_exec = "thread_exec", "first";
            thread_exec_other = "thread_exec", "other";
            thread_fork = "thread_fork";
            thread_exit = "thread_exit", "m", "e1", "g";
            thread_exit_signals = "thread_exit", "a", "k", "s", "t1";
        }
    };
}
