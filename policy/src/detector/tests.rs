use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const STEP: u64 = 200 * MS;

type Actions = Vec<Action<u32>>;

fn detector() -> Detector<u32> {
    let mut detector = Detector::new(Settings::default(), 0);
    detector.watch(7, 0);
    detector
}

fn tick(detector: &mut Detector<u32>, now_ns: u64) -> Actions {
    let mut actions = Vec::new();
    detector.tick(now_ns, &mut actions);
    actions
}

#[test]
fn three_missed_are_down_and_an_answer_in_time_is_alive_again() {
    let mut detector = detector();
    assert_eq!(tick(&mut detector, 0), [Action::Send(7, 1)]);
    assert_eq!(detector.answered(7, 1), Ok(Some(Action::Alive(7, State::Unknown))));
    assert_eq!(tick(&mut detector, STEP - 1), []);
    assert_eq!(tick(&mut detector, STEP), [Action::Send(7, 2)]);
    assert_eq!(tick(&mut detector, 2 * STEP), [Action::Suspect(7, 1), Action::Send(7, 3)]);
    assert_eq!(tick(&mut detector, 3 * STEP), [Action::Send(7, 4)]);
    assert_eq!(tick(&mut detector, 4 * STEP), [Action::Down(7, 3), Action::Send(7, 5)]);
    assert_eq!(tick(&mut detector, 5 * STEP), [Action::Send(7, 6)]);
    assert_eq!(detector.answered(7, 5), Ok(None));
    assert_eq!(detector.answered(7, 6), Ok(Some(Action::Alive(7, State::Down))));
    assert_eq!(detector.state(7), Some(State::Alive));
    assert!(Duration::from_nanos(4 * STEP) <= Settings::default().detection());
}

#[test]
fn one_that_never_answered_is_down_too() {
    let mut detector = detector();
    let all: Actions = (0..5).flat_map(|step| tick(&mut detector, step * STEP)).collect();
    assert!(!all.contains(&Action::Suspect(7, 1)));
    assert!(all.contains(&Action::Down(7, 3)));
}

#[test]
fn a_slow_one_is_suspected_but_not_down() {
    // Each answer comes one and a half intervals late.
    let mut detector = detector();
    tick(&mut detector, 0);
    detector.answered(7, 1).unwrap();
    for step in 1..100 {
        let actions = tick(&mut detector, step * STEP);
        assert!(!actions.iter().any(|action| matches!(action, Action::Down(..))), "{actions:?}");
        if step > 2 {
            assert_eq!(detector.state(7), Some(State::Suspect));
            detector.answered(7, step - 1).unwrap();
        }
    }
    // It catches up.
    assert_eq!(detector.answered(7, 100), Ok(Some(Action::Alive(7, State::Suspect))));
}

#[test]
fn one_that_is_always_too_late_does_not_come_and_go() {
    let mut detector = detector();
    let mut changes = Vec::new();
    for step in 0..100u64 {
        let actions = tick(&mut detector, step * STEP);
        changes.extend(actions.into_iter().filter(|action| !matches!(action, Action::Send(..))));
        if step >= 5 {
            changes.extend(detector.answered(7, step - 4).unwrap());
        }
    }
    assert_eq!(changes, [Action::Down(7, 3)]);
}

#[test]
fn answers_that_say_nothing() {
    let mut detector = Detector::new(Settings::default(), 1 << 32);
    detector.watch(7, 0);
    assert_eq!(tick(&mut detector, 0), [Action::Send(7, (1 << 32) + 1)]);
    assert_eq!(detector.answered(8, 1), Err(Ignored::Stranger));
    // Of the life before.
    assert_eq!(detector.answered(7, 5), Err(Ignored::NeverSent));
    assert_eq!(detector.answered(7, (1 << 32) + 2), Err(Ignored::NeverSent));
    assert!(detector.answered(7, (1 << 32) + 1).is_ok());
    assert_eq!(detector.answered(7, (1 << 32) + 1), Err(Ignored::Duplicate));
}

#[test]
fn a_detector_that_slept_blames_nobody_for_it() {
    let mut detector = Detector::new(Settings { misses: 1, ..Settings::default() }, 0);
    detector.watch(7, 0);
    tick(&mut detector, 0);
    detector.answered(7, 1).unwrap();
    tick(&mut detector, STEP);
    assert_eq!(tick(&mut detector, 50 * STEP), [Action::Send(7, 3)]);
    assert_eq!(tick(&mut detector, 51 * STEP), [Action::Down(7, 1), Action::Send(7, 4)]);
}

#[test]
fn who_is_forgotten_and_watched_again_begins_anew() {
    let mut detector = detector();
    for step in 0..5 {
        tick(&mut detector, step * STEP);
    }
    assert_eq!(detector.state(7), Some(State::Down));
    detector.forget(7);
    assert_eq!((detector.state(7), detector.next_ns(), detector.is_empty()), (None, None, true));
    detector.watch(7, 9 * STEP);
    assert_eq!(detector.state(7), Some(State::Unknown));
    assert_eq!(tick(&mut detector, 9 * STEP), [Action::Send(7, 6)]);
    // What the other was asked, it has not answered.
    assert_eq!(detector.answered(7, 5), Err(Ignored::Duplicate));
}

#[test]
fn shorter_settings_hold_at_once() {
    let mut detector = detector();
    tick(&mut detector, 0);
    detector.set(Settings { interval: Duration::from_millis(10), misses: 2 }, MS);
    assert_eq!(detector.next_ns(), Some(11 * MS));
    assert_eq!(tick(&mut detector, 11 * MS), [Action::Send(7, 2)]);
    assert_eq!(tick(&mut detector, 21 * MS), [Action::Down(7, 2), Action::Send(7, 3)]);
}

#[test]
fn a_thousand_are_spread_over_the_interval_and_cost_as_much_as_they_send() {
    let mut detector = Detector::new(Settings::default(), 0);
    for key in 0..1000 {
        detector.watch(key, 0);
    }
    let mut most = 0;
    let mut sent = 0;
    for now in (0..10 * STEP).step_by(MS as usize) {
        let actions = tick(&mut detector, now);
        most = most.max(actions.len());
        for action in actions {
            let Action::Send(key, sequence) = action else { panic!("{action:?}") };
            detector.answered(key, sequence).unwrap();
            sent += 1;
        }
        assert!(detector.due.len() <= 1000);
    }
    // Five in each of the interval's 200 milliseconds, ten intervals.
    assert!(most <= 8, "{most} at once");
    assert!((9_900..=10_000).contains(&sent), "{sent}");
}

#[derive(Clone, Debug)]
enum Event {
    Tick(u64),
    Answer(u32, u64),
    Watch(u32),
    Forget(u32),
    Set(u64, u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0u64..300).prop_map(Event::Tick),
        8 => (0u32..4, 0u64..4).prop_map(|(key, back)| Event::Answer(key, back)),
        1 => (0u32..4).prop_map(Event::Watch),
        1 => (0u32..4).prop_map(Event::Forget),
        1 => (1u64..300, 1u32..5).prop_map(|(ms, misses)| Event::Set(ms, misses)),
    ]
}

proptest! {
    #[test]
    fn down_is_never_said_of_one_that_answers_each_in_time(
        steps in prop::collection::vec((0u64..190, 0u64..10), 1..200), misses in 1u32..4,
    ) {
        // Ticks come up to an interval late; the answer comes before the next heartbeat is due.
        let mut detector = Detector::new(Settings { misses, ..Settings::default() }, 0);
        detector.watch(1, 0);
        let mut now = 0;
        for (late, _) in steps {
            now = detector.next_ns().unwrap().max(now) + late * MS;
            for action in tick(&mut detector, now) {
                match action {
                    Action::Send(_, sequence) => prop_assert!(detector.answered(1, sequence).is_ok()),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }

    #[test]
    fn one_that_is_silent_is_down_after_the_time_that_is_named(
        alive in 0u64..20, interval in 1u64..1000, misses in 1u32..10,
    ) {
        let settings = Settings { interval: Duration::from_millis(interval), misses };
        let mut detector = Detector::new(settings, 0);
        detector.watch(1, 0);
        let mut silent_since = None;
        let mut beats = 0;
        loop {
            let now = detector.next_ns().unwrap();
            let actions = tick(&mut detector, now);
            if actions.iter().any(|action| matches!(action, Action::Down(..))) {
                let since: u64 = silent_since.unwrap();
                prop_assert!(u128::from(now - since) <= settings.detection().as_nanos());
                prop_assert!(u128::from(now - since) >= (settings.interval * misses).as_nanos());
                break;
            }
            beats += 1;
            if beats <= alive {
                detector.answered(1, beats).unwrap();
            } else {
                silent_since.get_or_insert(now);
            }
            prop_assert!(beats < alive + 20);
        }
    }

    #[test]
    fn whatever_happens_states_change_as_they_are_said(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut detector: Detector<u32> = Detector::new(Settings::default(), 10);
        let mut told: HashMap<u32, State> = HashMap::new();
        let mut sent: HashMap<u32, u64> = HashMap::new();
        let mut now = 0;
        for event in events {
            let mut actions = Vec::new();
            match event {
                Event::Tick(ms) => {
                    now += ms * MS;
                    detector.tick(now, &mut actions);
                    prop_assert!(detector.next_ns().is_none_or(|next| next > now));
                }
                Event::Answer(key, back) => {
                    let sequence = sent.get(&key).copied().unwrap_or(0).saturating_sub(back);
                    actions.extend(detector.answered(key, sequence).ok().flatten());
                }
                Event::Watch(key) => {
                    detector.watch(key, now);
                    told.entry(key).or_insert(State::Unknown);
                }
                Event::Forget(key) => {
                    detector.forget(key);
                    told.remove(&key);
                }
                Event::Set(ms, misses) => {
                    let interval = Duration::from_millis(ms);
                    detector.set(Settings { interval, misses }, now);
                }
            }
            for action in actions {
                match action {
                    Action::Send(key, sequence) => {
                        let before = sent.insert(key, sequence).unwrap_or(10);
                        prop_assert!(sequence > before);
                    }
                    Action::Suspect(key, _) => {
                        prop_assert_eq!(told.insert(key, State::Suspect), Some(State::Alive));
                    }
                    Action::Down(key, missed) => {
                        prop_assert!(missed >= detector.settings().misses);
                        prop_assert_ne!(told.insert(key, State::Down), Some(State::Down));
                    }
                    Action::Alive(key, before) => {
                        prop_assert_eq!(told.insert(key, State::Alive), Some(before));
                        prop_assert_ne!(before, State::Alive);
                    }
                }
            }
            for key in 0..4 {
                prop_assert_eq!(detector.state(key), told.get(&key).copied());
            }
            prop_assert_eq!(detector.len(), told.len());
        }
    }
}
