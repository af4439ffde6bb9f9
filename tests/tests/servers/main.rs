//! Real servers under load from plain clients: every reply right, no connection dropped, whatever
//! happens to a replica.
//!
//! Invariant: loopback only; each server has a directory and a port of its own. Run by `cargo test`.

mod databases;
mod files;

use std::os::unix::fs::PermissionsExt;

use chameleon_tests::server::Fault;
use tempfile::TempDir;

/// Tests of a server: the modes it runs in, and those in which a fault in it is masked.
macro_rules! servers {
    ($($name:ident: $serve:path, modes [$($mode:ident)*], masking [$($fault:ident)*];)*) => {$(
        mod $name {
            use super::*;
            $(mod $mode {
                use super::*;
                #[test] fn undisturbed() { $serve(stringify!($mode), Fault::None); }
                #[test] fn a_killed_armor() { $serve(stringify!($mode), Fault::KillArmor); }
            })*
            masking!($serve, [$($fault)*]);
        }
    )*};
}

macro_rules! masking {
    ($serve:path, []) => {};
    ($serve:path, [$($mode:ident)*]) => {
        mod masks {
            use super::*;
            $(mod $mode {
                use super::*;
                #[test] fn a_killed_replica() { $serve(stringify!($mode), Fault::KillFirst); }
                #[test] fn a_killed_replica_of_a_child() { $serve(stringify!($mode), Fault::KillLast); }
                #[test] fn a_flipped_bit() { $serve(stringify!($mode), Fault::Injected); }
            })*
        }
    };
}

servers! {
    redis: databases::redis, modes [simplex tmr], masking [tmr];
    memcached: databases::memcached, modes [simplex tmr], masking [tmr];
    postgres: databases::postgres, modes [simplex tmr], masking [tmr];
    nginx: files::nginx, modes [simplex tmr], masking [tmr];
    http_with_threads: files::http_with_threads, modes [simplex tmr], masking [tmr];
    http_alone: files::http_alone, modes [simplex dual tmr], masking [tmr];
    sshd: files::sshd, modes [simplex dual tmr], masking [tmr];
}

/// A directory of a server's own that any user may write into.
fn home() -> TempDir {
    let home = tempfile::Builder::new().prefix("server-").tempdir().expect("a directory");
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777))
        .expect("the mode can be set");
    home
}

/// The flag that flips a bit of the stack pointer, which makes the replica crash, at this call.
fn flip(process: u32, call: u32) -> String {
    format!("--inject=replica=1,process={process},call={call},reg=rsp,bit=46")
}

/// Adds the flip where that is the fault.
fn with_fault(
    scenario: chameleon_tests::Scenario,
    fault: Fault,
    process: u32,
    call: u32,
) -> chameleon_tests::Scenario {
    match fault {
        Fault::Injected => scenario.flag(flip(process, call)),
        _ => scenario,
    }
}
