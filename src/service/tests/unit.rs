//! What the unit that a service follows means to it.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::service::gate::{Decision, Gate, Obstacle};
use crate::service::unit::{Following, News};
use crate::units::{Activity, State, UnitName};

fn name() -> UnitName {
    UnitName::new("nginx.service").expect("the name of a unit")
}

fn state(activity: Activity, stopping: bool, activation: u64) -> State {
    State { activity, stopping, result: None, activation }
}

const NOTHING: News = News { is_other: false, is_back: false, has_crashed: false };
const BACK: News = News { is_other: true, is_back: true, has_crashed: false };
const CRASHED: News = News { is_other: false, is_back: false, has_crashed: true };

/// What follows from each of these, one after the other.
fn follow(states: &[(Activity, bool, u64)]) -> Vec<News> {
    let mut following = Following::new(name(), None);
    let states = states.iter().map(|(activity, stopping, run)| state(*activity, *stopping, *run));
    states.map(|state| following.handle(state)).collect()
}

#[test]
fn a_stop_and_a_start_are_no_crash() {
    use Activity::{Activating, Active, Deactivating, Inactive};
    let restart = [
        (Active, false, 1),
        (Active, true, 1),
        (Deactivating, true, 1),
        (Inactive, true, 1),
        (Activating, false, 1),
        (Active, false, 2),
        (Active, false, 2),
    ];
    let expected = [NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, BACK, NOTHING];
    assert_eq!(follow(&restart), expected);
    // The first of it may be heard late.
    let restart = [(Active, false, 1), (Deactivating, false, 1), (Deactivating, true, 1)];
    assert_eq!(follow(&restart), [NOTHING; 3]);
}

#[test]
fn what_ends_unasked_has_crashed_once() {
    use Activity::{Activating, Active, Deactivating, Failed, Inactive};
    for end in [Failed, Inactive, Activating] {
        let crash =
            [(Active, false, 1), (Deactivating, false, 1), (end, false, 1), (Activating, true, 1)];
        assert_eq!(follow(&crash), [NOTHING, NOTHING, CRASHED, NOTHING], "{end:?}");
    }
    let unseen = follow(&[(Active, false, 1), (Active, false, 2)]);
    assert_eq!(unseen, [NOTHING, News { has_crashed: true, ..BACK }]);
    // It never ran.
    assert_eq!(follow(&[(Activating, false, 0), (Failed, false, 0)]), [NOTHING; 2]);
}

#[test]
fn what_is_not_known_changes_nothing_but_what_was_held() {
    use Activity::{Active, Deactivating, Unknown};
    assert_eq!(
        follow(&[(Active, false, 1), (Unknown, false, 0), (Active, false, 1)]),
        [NOTHING; 3]
    );
    let held = follow(&[(Active, true, 1), (Deactivating, true, 1), (Unknown, false, 0)]);
    assert_eq!(held.last(), Some(&News { is_other: true, ..NOTHING }));
    // It was restarted meanwhile.
    let missed = follow(&[(Active, false, 1), (Unknown, false, 0), (Active, false, 2)]);
    assert!(missed.last().is_some_and(|news| news.is_back));
}

#[test]
fn before_anybody_has_said_anything_nothing_is_announced_nor_taken_off() {
    let now = start();
    let mut gate = Gate::new(gate());
    gate.follow(Some(Following::new(name(), None)), now);
    gate.handle_verdict(Verdict::Up, now);
    assert_eq!(gate.decision(), Decision::Wait);
    assert!(matches!(gate.obstacle(now), Some(Obstacle::Unit { .. })));
    gate.set_unit(State::UNKNOWN, now);
    assert_eq!(gate.decision(), Decision::Announce);
    assert_eq!(gate.obstacle(now), None);
}

fn any_state() -> impl Strategy<Value = State> {
    let activities = &[
        Activity::Active,
        Activity::Reloading,
        Activity::Activating,
        Activity::Deactivating,
        Activity::Inactive,
        Activity::Failed,
        Activity::NotFound,
        Activity::Unknown,
    ][..];
    let activity = prop::sample::select(activities);
    (activity, any::<bool>(), 0..3_u64).prop_map(|(activity, stopping, run)| {
        if activity == Activity::Unknown { State::UNKNOWN } else { state(activity, stopping, run) }
    })
}

proptest! {
    #[test]
    fn nothing_is_announced_whose_unit_is_known_not_to_run_and_all_that_is_healthy_in_the_end(
        states in vec((any_state(), 0..8_u64), 0..40),
    ) {
        let mut now = start();
        let mut gate = Gate::new(gate());
        gate.follow(Some(Following::new(name(), None)), now);
        gate.handle_verdict(Verdict::Up, now);
        for (state, pause) in states {
            let is_free = !state.is_known() || state.runs() && !state.stopping;
            gate.set_unit(state, now);
            prop_assert_eq!(gate.decision().is_announced(), is_free);
            prop_assert_eq!(gate.obstacle(now).is_none(), is_free);
            now += Duration::from_secs(pause);
            gate.handle_timeout(now);
            prop_assert_eq!(gate.decision().is_announced(), is_free);
        }
    }
}
