//! From the verdicts on checks to the verdict on their service.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::check::schedule::{Mode, Pace};
use crate::check::tcp::Tcp;
use crate::check::{Check, Failure, Outcome};
use crate::route::CheckName;
use crate::service::{CheckConfig, Config, Consequence, Require, Service};

fn check(port: u16, rise: u32, fall: u32) -> CheckConfig {
    let second = Duration::from_secs(1);
    let pace = Pace { steady: second, changing: second, down: second, jitter_percent: 0 };
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let probe = Tcp::to(target).into();
    let check = Arc::new(Check { probe, timeout: second, pace });
    CheckConfig { check, thresholds: thresholds(rise, fall), group: None }
}

fn config(require: Require, checks: &[(&str, CheckConfig)]) -> Config {
    Config {
        vips: vec!["192.0.2.1".parse().expect("an address")],
        interface: Some("lo".into()),
        keep_address: true,
        hooks: None,
        gate: gate(),
        unit: None,
        weight: None,
        degraded: None,
        groups: BTreeMap::new(),
        require,
        checks: checks.iter().map(|(name, check)| ((*name).into(), check.clone())).collect(),
    }
}

/// A service with checks `a`, `b` and `c`.
fn three(require: Require, rise: u32, fall: u32) -> Service {
    let check = |port| check(port, rise, fall);
    Service::new(config(require, &[("a", check(1)), ("b", check(2)), ("c", check(3))]))
}

fn success() -> Outcome {
    Outcome { result: Ok(()), started: start(), finished: start() }
}

fn failure(text: &str) -> Outcome {
    Outcome { result: Err(Failure::new(text)), ..success() }
}

fn verdicts(service: &Service) -> BTreeMap<CheckName, Verdict> {
    let checks = service.checks().iter();
    checks.map(|(name, check)| (name.clone(), check.health().verdict())).collect()
}

#[test]
fn a_group_counts_as_one_check_that_is_up_when_enough_of_its_own_are() {
    use Verdict::{Down, Unknown, Up};
    let grouped = |port| CheckConfig { group: Some("backends".into()), ..check(port, 1, 1) };
    let checks = [("alive", check(1, 1, 1)), ("one", grouped(2)), ("two", grouped(3))];
    let config = Config {
        groups: [("backends".into(), Require::AtLeast(1))].into(),
        ..config(Require::All, &checks)
    };
    let mut service = Service::new(config);
    for (name, outcome, expected) in [
        ("alive", success(), Unknown),
        ("one", failure("no"), Unknown),
        ("two", success(), Up),
        ("two", failure("no"), Down),
        ("one", success(), Up),
        ("alive", failure("no"), Down),
    ] {
        service.handle_outcome(&name.into(), outcome);
        assert_eq!(service.verdict(), expected, "{name}");
    }
}

#[test]
fn a_service_is_up_when_enough_checks_are_and_down_when_no_unknown_one_could_make_it_enough() {
    use Verdict::{Down, Unknown, Up};
    const REQUIREMENTS: [Require; 4] =
        [Require::All, Require::AtLeast(1), Require::AtLeast(2), Require::AtLeast(3)];
    // How many checks of three are up, down and unknown, and the verdict by each requirement.
    let table = [
        ((0, 0, 3), [Unknown, Unknown, Unknown, Unknown]),
        ((0, 1, 2), [Down, Unknown, Unknown, Down]),
        ((0, 2, 1), [Down, Unknown, Down, Down]),
        ((0, 3, 0), [Down, Down, Down, Down]),
        ((1, 0, 2), [Unknown, Up, Unknown, Unknown]),
        ((1, 1, 1), [Down, Up, Unknown, Down]),
        ((1, 2, 0), [Down, Up, Down, Down]),
        ((2, 0, 1), [Unknown, Up, Up, Unknown]),
        ((2, 1, 0), [Down, Up, Up, Down]),
        ((3, 0, 0), [Up, Up, Up, Up]),
    ];
    for ((up, down, unknown), expected) in table {
        for names in [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]] {
            let judged = REQUIREMENTS.map(|require| {
                let mut service = three(require, 3, 3);
                for (number, name) in names.iter().take(up + down).enumerate() {
                    let outcome = if number < up { success() } else { failure("no") };
                    service.handle_outcome(&(*name).into(), outcome);
                }
                service.verdict()
            });
            assert_eq!(judged, expected, "{up} up, {down} down, {unknown} unknown, {names:?}");
        }
    }
}

#[test]
fn an_outcome_says_what_it_led_to() {
    let mut service = three(Require::AtLeast(2), 2, 3);
    let none = Consequence::default();
    let check_changed = Consequence { check_changed: true, ..none.clone() };
    let both = Consequence { service_changed: true, ..check_changed.clone() };
    let with =
        |consequence: &Consequence, mode| Consequence { mode: Some(mode), ..consequence.clone() };
    let table = [
        ("a", true, with(&check_changed, Mode::Steady)),
        ("a", true, none.clone()),
        ("b", true, with(&both, Mode::Steady)),
        ("c", false, with(&check_changed, Mode::Down)),
        ("c", false, none.clone()),
        ("c", true, with(&none, Mode::Changing)),
        ("c", false, with(&none, Mode::Down)),
        ("a", false, with(&none, Mode::Changing)),
        ("a", false, none.clone()),
        ("a", true, with(&none, Mode::Steady)),
        ("a", false, with(&none, Mode::Changing)),
        ("a", false, none.clone()),
        ("a", false, with(&both, Mode::Down)),
        ("c", true, with(&none, Mode::Changing)),
        ("c", true, with(&both, Mode::Steady)),
        ("nobody", true, none.clone()),
    ];
    for (number, (name, success_, expected)) in table.into_iter().enumerate() {
        let outcome = if success_ { success() } else { failure("no") };
        assert_eq!(service.handle_outcome(&name.into(), outcome), expected, "step {number}");
    }
    let state = &service.checks()[&CheckName::from("a")];
    assert_eq!(state.last().map(|outcome| outcome.result.is_ok()), Some(false));
}

#[test]
fn the_reason_names_the_checks_that_failed_and_what_they_said_last() {
    let mut service = three(Require::All, 1, 2);
    assert_eq!(service.reason().as_deref(), Some("no result yet of check a, check b, check c"));
    service.handle_outcome(&"a".into(), success());
    service.handle_outcome(&"b".into(), failure("connect: connection refused"));
    assert_eq!(service.reason().as_deref(), Some("check b: connect: connection refused"));
    service.handle_outcome(&"b".into(), failure("no answer within 1s"));
    service.handle_outcome(&"c".into(), failure("status 503"));
    let both = "check b: no answer within 1s; check c: status 503";
    assert_eq!(service.reason().as_deref(), Some(both));
    for name in ["b", "c"] {
        service.handle_outcome(&name.into(), success());
    }
    assert_eq!((service.verdict(), service.reason()), (Verdict::Up, None));
    service.handle_outcome(&"a".into(), failure("one of two"));
    assert_eq!(service.reason(), None);
    service.handle_outcome(&"a".into(), failure("two of two"));
    assert_eq!(service.reason().as_deref(), Some("check a: two of two"));
}

#[test]
fn a_check_that_is_still_unknown_is_waited_for_by_name() {
    let mut service = three(Require::AtLeast(2), 1, 1);
    service.handle_outcome(&"a".into(), failure("no"));
    service.handle_outcome(&"c".into(), success());
    assert_eq!(service.reason().as_deref(), Some("no result yet of check b"));
}

#[test]
fn a_new_configuration_keeps_what_is_known_of_unchanged_checks_and_begins_changed_ones_anew() {
    use Verdict::{Down, Unknown, Up};
    let mut service = three(Require::All, 2, 2);
    for name in ["a", "b", "c"] {
        service.handle_outcome(&name.into(), success());
    }
    service.handle_outcome(&"a".into(), failure("one of two"));

    let checks = [("a", check(1, 2, 5)), ("b", check(77, 2, 2)), ("d", check(4, 2, 2))];
    let result = service.configure(config(Require::All, &checks));
    assert_eq!(result.started, ["b".into(), "d".into()]);
    assert_eq!(result.stopped, ["c".into()]);
    // A check that knows nothing yet takes nothing away from a service that was up.
    assert!(!result.service_changed);
    assert_eq!(service.verdict(), Up);
    let expected = [("a", Up), ("b", Unknown), ("d", Unknown)];
    assert_eq!(verdicts(&service), expected.map(|(name, verdict)| (name.into(), verdict)).into());
    let kept = &service.checks()[&CheckName::from("a")];
    assert_eq!(kept.health().against(), (1, 5));
    assert!(kept.last().is_some());
    assert!(service.checks()[&CheckName::from("b")].last().is_none());
    assert_eq!(*service.config(), config(Require::All, &checks));

    service.handle_outcome(&"b".into(), failure("no"));
    assert_eq!(service.verdict(), Down);
}

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut service = three(Require::All, 2, 2);
    for name in ["a", "b", "c"] {
        service.handle_outcome(&name.into(), success());
    }
    let result = service.configure(three(Require::All, 2, 2).config().clone());
    assert_eq!((result.started, result.stopped, result.service_changed), (vec![], vec![], false));
    assert_eq!(service.verdict(), Verdict::Up);
}

#[test]
fn a_new_requirement_is_judged_at_once() {
    let mut service = three(Require::All, 1, 1);
    service.handle_outcome(&"a".into(), success());
    service.handle_outcome(&"b".into(), success());
    service.handle_outcome(&"c".into(), failure("no"));
    for (require, expected) in [
        (Require::AtLeast(2), Verdict::Up),
        (Require::AtLeast(3), Verdict::Down),
        (Require::AtLeast(1), Verdict::Up),
        (Require::All, Verdict::Down),
    ] {
        let result = service.configure(three(require, 1, 1).config().clone());
        assert_eq!((service.verdict(), result.service_changed), (expected, true));
        assert_eq!((result.started, result.stopped), (vec![], vec![]));
    }
}

#[test]
fn a_failed_check_that_is_taken_away_lets_the_service_come_up() {
    let mut service = three(Require::All, 1, 1);
    service.handle_outcome(&"a".into(), success());
    service.handle_outcome(&"b".into(), failure("no"));
    service.handle_outcome(&"c".into(), success());
    let result =
        service.configure(config(Require::All, &[("a", check(1, 1, 1)), ("c", check(3, 1, 1))]));
    assert_eq!((service.verdict(), result.service_changed), (Verdict::Up, true));
}

proptest! {
    /// The verdict follows from those of the checks; where they do not decide, it stays.
    #[test]
    fn the_verdict_follows_from_the_checks(
        needed in 1usize..4,
        rise in 1u32..4,
        fall in 1u32..4,
        outcomes in vec((0usize..3, any::<bool>()), 0..60),
    ) {
        let mut service = three(Require::AtLeast(needed), rise, fall);
        for (check, is_good) in outcomes {
            let before = (service.verdict(), verdicts(&service));
            let name = CheckName::from(["a", "b", "c"][check]);
            let outcome = if is_good { success() } else { failure("no") };
            let consequence = service.handle_outcome(&name, outcome);
            let after = verdicts(&service);
            prop_assert_eq!(consequence.check_changed, before.1 != after);
            prop_assert_eq!(consequence.service_changed, before.0 != service.verdict());
            let count = |wanted| after.values().filter(|verdict| **verdict == wanted).count();
            let expected = if count(Verdict::Up) >= needed {
                Verdict::Up
            } else if 3 - count(Verdict::Down) < needed {
                Verdict::Down
            } else {
                before.0
            };
            prop_assert_eq!(service.verdict(), expected);
            prop_assert_eq!(service.reason().is_none(), expected == Verdict::Up);
        }
    }
}
