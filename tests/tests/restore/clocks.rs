//! The clocks that count from the boot, on a machine that seems to have been started anew: the run was in a time
//! namespace in which they are far ahead (time_namespaces(7)).

use chameleon_tests::have;
use nix::unistd::Uid;

use super::place::*;

/// Looks at the clocks, and sleeps until a time of one of them, again and again.
const CLOCKS: &str = "
import time
seen = [0, 0]
for i in range(80):
    for k, clock in enumerate([time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME]):
        now = time.clock_gettime(clock)
        assert now >= seen[k], (clock, now, seen[k])
        seen[k] = now
    time.sleep(0.02)
open('out', 'w').write('done')
";

const AHEAD: &str = "unshare --time --monotonic 1000000 --boottime 1000000 --fork --";

#[test]
fn they_do_not_go_back_or_it_is_said() {
    if !have(&["python3", "setpriv", "unshare"]) || !Uid::effective().is_root() {
        return;
    }
    let ahead = || AHEAD.split(' ').map(str::to_owned);
    let mut place = Place::new();
    let words = place.script(CLOCKS);
    place.prefix = ahead().collect();
    place.run("simplex", &words).kill_all_after(2);
    place.prefix.clear();
    // Twice: what goes on has images of its own.
    let last = place.images().last().copied().unwrap_or(0);
    place.restarts(&[]).kill_all_after(last + 2);
    place.restores(&["--mode", "tmr"]);
    assert_eq!(place.files(&["out"]), [Some(b"done".to_vec())]);

    let mut place = Place::of_nobody();
    let words = place.script(CLOCKS);
    let nobody = place.prefix.clone();
    place.prefix = ahead().chain(nobody.clone()).collect();
    place.run("simplex", &words).kill_all_after(2);
    place.prefix = nobody;
    let said = place.restore(&["--dry-run"]);
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("CLOCK_MONOTONIC goes back by"), "{text}");
}
