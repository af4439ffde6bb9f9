//! Node crash, link down, network down, daemon: noticed by the HEARTBEAT ARMOR.

use chameleon_tests::environment::Environment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// Three nodes, nothing on the first but managers; two programs on one of the others, of which one may begin on
/// the third and the other may not.
struct Scene<'a> {
    environment: &'a Environment,
    moves: App<'a>,
    stays: App<'a>,
    lost: u32,
    other: u32,
}

impl<'a> Scene<'a> {
    fn of(environment: &'a Environment) -> Self {
        managers(environment);
        environment.done(&["node", "drain", "1"]);
        let moves = App::submit(environment, "moves", COUNTS, "node-loss = \"restarted\"");
        let lost = moves.node(3);
        let other = 5 - lost;
        environment.done(&["node", "drain", &other.to_string()]);
        let stays = App::submit(environment, "stays", COUNTS, "");
        for app in [&moves, &stays] {
            app.counts(3);
            assert_eq!(app.node(3), lost, "{}", environment.done(&["events"]));
        }
        environment.done(&["node", "undrain", &other.to_string()]);
        Self { environment, moves, stays, lost, other }
    }

    /// The HEARTBEAT ARMOR misses the node, and the program that may goes to the other.
    fn moved(&self) {
        let Self { environment, moves, lost, other, .. } = self;
        let before = moves.processes().len();
        stands(environment, *lost, "down");
        let silent = format!("{} does not answer the HEARTBEAT ARMOR", at(environment, *lost));
        let incident = told(environment, "Detected", &silent);
        let said = explained(environment, incident, "Recovered");
        assert!(
            said.contains(&format!("{} gets nothing any more", at(environment, *lost))),
            "{said}"
        );
        environment.until("it is on the other node", || moves.is_on(*other).then_some(()));
        environment.until("it counts there", || (moves.processes().len() > before).then_some(()));
        let began =
            format!("does its work on {}, its program from the beginning", at(environment, *other));
        told(environment, "Recovered", &began);
        moves.counts(3);
    }

    /// The node is there again: what was moved is ended there, what was not goes on.
    fn returned(&self, goes_on: bool) {
        let Self { environment, moves, stays, lost, .. } = self;
        stands(environment, *lost, "up");
        environment.until("what was left is ended", || (!moves.is_on(*lost)).then_some(()));
        stays.running();
        if goes_on {
            let text = format!("{}, its program has gone on all the while", at(environment, *lost));
            told(environment, "Recovered", &text);
        }
        stays.counts(3);
        moves.stops();
        stays.stops();
    }
}

#[test]
fn node_crash() {
    let Some(environment) = Environment::on_a_network(3) else { return };
    let scene = Scene::of(&environment);
    // The link first: nobody hears that its connections are closed.
    environment.link(scene.lost, false);
    environment.crash(scene.lost);
    scene.moved();
    // The machine is started again: what stays there begins anew, since nothing of it is left.
    environment.link(scene.lost, true);
    environment.start_daemon(scene.lost, &[]);
    scene.returned(false);
    assert_eq!(scene.stays.processes().len(), 2);
}

#[test]
fn link_down() {
    let Some(environment) = Environment::on_a_network(3) else { return };
    let scene = Scene::of(&environment);
    environment.link(scene.lost, false);
    scene.moved();
    assert!(scene.moves.is_on(scene.lost), "its EXECUTION ARMOR has heard of nothing");
    scene.stays.counts(3);
    environment.link(scene.lost, true);
    told(
        &environment,
        "Info",
        &format!("what was left on {} is ended", at(&environment, scene.lost)),
    );
    scene.returned(true);
    assert_eq!(scene.stays.processes().len(), 1, "it went on where it was");
}

#[test]
fn link_down_for_a_moment() {
    let Some(environment) = Environment::on_a_network(3) else { return };
    let Scene { moves, stays, lost, .. } = Scene::of(&environment);
    environment.link(lost, false);
    told(
        &environment,
        "Detected",
        &format!("{} does not answer the HEARTBEAT ARMOR", at(&environment, lost)),
    );
    environment.link(lost, true);
    stands(&environment, lost, "up");
    for app in [&moves, &stays] {
        app.running();
        app.counts(3);
        app.stops();
    }
    assert_eq!(stays.processes().len(), 1);
}

#[test]
fn network_down() {
    let Some(environment) = Environment::on_a_network(3) else { return };
    let Scene { moves, stays, lost, other, .. } = Scene::of(&environment);
    environment.done(&["node", "undrain", "1"]);
    environment.switch(false);
    for node in [2, 3] {
        told(
            &environment,
            "Detected",
            &format!("{} does not answer the HEARTBEAT ARMOR", at(&environment, node)),
        );
    }
    let incident = told(&environment, "Detected", "a switch is down, or this node is cut off");
    // The node cannot know that nobody takes its place.
    environment.until("it has ended what may have been moved", || {
        environment.logs().contains("cut off from the FTM").then_some(())
    });
    stays.counts(3);
    assert!(!moves.is_on(1) && !moves.is_on(other));
    environment.switch(true);
    for node in [2, 3] {
        stands(&environment, node, "up");
    }
    let said = explained(&environment, incident, "Recovered");
    assert!(said.contains("nothing can be done until it is back"), "{said}");
    for app in [&moves, &stays] {
        app.running();
        app.counts(3);
    }
    assert!(moves.is_on(lost) && !moves.is_on(1) && !moves.is_on(other));
    moves.stops();
    stays.stops();
    assert!(moves.processes().len() > 1, "it began again where it was");
    assert_eq!(stays.processes().len(), 1);
}

#[test]
fn daemon_crash() {
    let Some(environment) = Environment::on_a_network(3) else { return };
    let scene = Scene::of(&environment);
    environment.end_daemon(scene.lost, Signal::SIGKILL);
    scene.moved();
    scene.stays.counts(3);
    environment.start_daemon(scene.lost, &[]);
    scene.returned(true);
    assert_eq!(scene.stays.processes().len(), 1, "it went on where it was");
}

#[test]
fn daemon_hang() {
    let Some(environment) = Environment::on_a_network(3) else { return };
    let scene = Scene::of(&environment);
    let daemon = Pid::from_raw(environment.daemon(scene.lost));
    kill(daemon, Signal::SIGSTOP).unwrap();
    scene.moved();
    scene.stays.counts(3);
    kill(daemon, Signal::SIGCONT).unwrap();
    scene.returned(true);
    assert_eq!(scene.stays.processes().len(), 1, "it went on where it was");
}
