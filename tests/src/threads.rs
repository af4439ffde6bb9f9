//! The guests of threads, named once for all the tests that run them.
//!
//! Invariant: every `tests/guests/thread_*.c` is in one of the two lists. Called with the name of a
//! macro that takes `name = "guest", "argument"…;` lines.

/// Calls a macro with the guests of threads that run in every mode that carries threads.
#[macro_export]
macro_rules! thread_guests {
    ($each:ident) => {
        $each! {
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

            // Lives, signals and endings.
            thread_cancel = "thread_cancel";
            thread_detach = "thread_detach";
            thread_tls = "thread_tls";
            thread_timer = "thread_timer";
            thread_kill = "thread_kill";
            thread_signals = "thread_signals";
            thread_fork = "thread_fork";
            thread_exec = "thread_exec", "first";
            thread_exit = "thread_exit", "m", "e", "e1", "_", "_1", "g", "g1";
            thread_ids = "thread_ids";
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
        }
    };
}

/// Calls a macro with the guests of threads that do not even run in simplex yet.
///
/// The kernel compares what the first three write into a lock with the ids of the threads inside,
/// and they write those of the outsides. After an exec of another thread the outside has two. A
/// death by a signal may come out as an exit with 128 and its number. What `set_tid_address` names
/// for the first thread is not cleared at its end. Whatever is mended moves to the list above.
#[macro_export]
macro_rules! thread_guests_beyond {
    ($each:ident) => {
        $each! {
            thread_robust = "thread_robust";
            thread_pi = "thread_pi";
            thread_futexpi = "thread_futexpi";
            thread_exec_other = "thread_exec", "other";
            thread_exit_signals = "thread_exit", "a", "k", "s", "t", "t1";
            thread_exit_first = "thread_exit", "p", "r";
        }
    };
}
