//! From verdicts and wishes to what becomes of the VIPs.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::service::admin::{Admin, Keep, Mode, Wishes};
use crate::service::damping;
use crate::service::gate::{Config, Decision, Gate, Obstacle};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn admin(mode: Mode) -> Admin {
    Admin { mode, reason: None, since: "2026-11-22T00:00:00Z".into() }
}

fn wish(mode: Mode) -> Wishes {
    let mut wishes = Wishes::default();
    wishes.set(Keep::Persistent, Some(admin(mode)));
    wishes
}

/// Announced.
fn up(config: Config, now: Instant) -> Gate {
    let mut gate = Gate::new(config);
    gate.handle_verdict(Verdict::Up, now);
    assert_eq!(gate.decision(), Decision::Announce);
    gate
}

#[test]
fn without_obstacles_the_verdict_decides() {
    let mut with = Gate::new(gate());
    let begin = start();
    assert_eq!(with.decision(), Decision::Wait);
    for (verdict, decision) in [
        (Verdict::Up, Decision::Announce),
        (Verdict::Down, Decision::Withdraw),
        (Verdict::Up, Decision::Announce),
        (Verdict::Unknown, Decision::Wait),
    ] {
        with.handle_verdict(verdict, begin);
        assert_eq!((with.decision(), with.poll_timeout(begin)), (decision, None), "{verdict:?}");
    }
}

#[test]
fn a_service_that_degrades_is_announced_while_it_is_down_but_not_against_the_operators_wish() {
    let begin = start();
    let mut gate = up(Config { degrades: true, ..damped() }, begin);
    gate.handle_verdict(Verdict::Down, begin);
    assert_eq!(gate.decision(), Decision::Degrade);
    gate.set_wishes(wish(Mode::Drain), begin);
    assert_eq!(gate.decision(), Decision::Serve);
    gate.set_wishes(wish(Mode::Down), begin);
    assert_eq!(gate.decision(), Decision::Withdraw);
    gate.set_wishes(Wishes::default(), begin);
    assert_eq!(gate.decision(), Decision::Degrade);
    gate.handle_verdict(Verdict::Unknown, begin);
    assert_eq!(gate.decision(), Decision::Wait, "nothing is known");
    // What flaps is the last resort as what is down is.
    gate.handle_verdict(Verdict::Up, begin);
    (0..3).for_each(|_| {
        gate.handle_verdict(Verdict::Down, begin);
        gate.handle_verdict(Verdict::Up, begin);
    });
    assert_eq!(gate.decision(), Decision::Degrade);
}

#[test]
fn what_is_drained_is_withdrawn_at_once_and_served_for_the_drain_time() {
    let begin = start();
    let mut gate = up(gate(), begin);
    gate.set_wishes(wish(Mode::Drain), begin);
    assert_eq!(
        (gate.decision(), gate.poll_timeout(begin)),
        (Decision::Serve, Some(begin + secs(5)))
    );
    let obstacle = |gate: &Gate, now| gate.obstacle(now).map(|obstacle| obstacle.to_string());
    assert_eq!(obstacle(&gate, begin).as_deref(), Some("draining"));
    // Whatever becomes of it meanwhile.
    gate.handle_verdict(Verdict::Down, begin + secs(1));
    assert_eq!(gate.decision(), Decision::Serve);
    let end = begin + secs(5);
    gate.handle_timeout(end);
    assert_eq!((gate.decision(), gate.poll_timeout(end)), (Decision::Withdraw, None));
    assert_eq!(obstacle(&gate, end).as_deref(), Some("drained"));
    gate.handle_verdict(Verdict::Up, end);
    assert_eq!(gate.decision(), Decision::Withdraw);
    gate.set_wishes(Wishes::default(), end);
    assert_eq!((gate.decision(), obstacle(&gate, end)), (Decision::Announce, None));
}

#[test]
fn what_was_not_served_is_drained_at_once() {
    let begin = start();
    for verdict in [Verdict::Unknown, Verdict::Down] {
        let mut gate = Gate::new(gate());
        gate.handle_verdict(verdict, begin);
        gate.set_wishes(wish(Mode::Drain), begin);
        assert_eq!((gate.decision(), gate.poll_timeout(begin)), (Decision::Withdraw, None));
    }
}

#[test]
fn admin_down_ends_a_drain_and_a_drain_does_not_soften_it() {
    let begin = start();
    let mut gate = up(gate(), begin);
    gate.set_wishes(wish(Mode::Drain), begin);
    gate.set_wishes(wish(Mode::Down), begin + secs(1));
    assert_eq!((gate.decision(), gate.poll_timeout(begin)), (Decision::Withdraw, None));
    gate.set_wishes(wish(Mode::Drain), begin + secs(2));
    assert_eq!(gate.decision(), Decision::Withdraw);
}

#[test]
fn of_two_wishes_the_stronger_counts_and_the_other_stays_when_it_is_undone() {
    let begin = start();
    let mut gate = up(gate(), begin);
    let mut wishes = wish(Mode::Down);
    wishes.set(Keep::Runtime, Some(admin(Mode::Drain)));
    gate.set_wishes(wishes.clone(), begin);
    assert!(matches!(gate.obstacle(begin), Some(Obstacle::Admin { keep: Keep::Persistent, .. })));
    wishes.set(Keep::Persistent, None);
    gate.set_wishes(wishes, begin);
    assert!(matches!(gate.obstacle(begin), Some(Obstacle::Admin { keep: Keep::Runtime, .. })));
    assert_eq!(gate.decision(), Decision::Withdraw);
}

#[test]
fn a_service_that_comes_up_is_announced_after_the_delay_and_served_before() {
    let begin = start();
    let mut gate = Gate::new(Config { announce_delay: secs(10), ..gate() });
    gate.handle_verdict(Verdict::Up, begin);
    assert_eq!(
        (gate.decision(), gate.poll_timeout(begin)),
        (Decision::Serve, Some(begin + secs(10)))
    );
    let text = gate.obstacle(begin + secs(4)).map(|obstacle| obstacle.to_string());
    assert_eq!(text.as_deref(), Some("came up just now, announced in 6s"));
    // Going down in between begins it anew.
    gate.handle_verdict(Verdict::Down, begin + secs(5));
    gate.handle_verdict(Verdict::Up, begin + secs(6));
    gate.handle_timeout(begin + secs(10));
    assert_eq!(gate.decision(), Decision::Serve);
    gate.handle_timeout(begin + secs(16));
    assert_eq!((gate.decision(), gate.obstacle(begin + secs(16))), (Decision::Announce, None));
}

#[test]
fn a_service_that_the_routers_have_kept_is_announced_without_delay() {
    let begin = start();
    let mut gate = Gate::new(Config { announce_delay: secs(10), ..gate() });
    gate.handle_verdict(Verdict::Up, begin);
    gate.skip_delay(begin);
    assert_eq!(gate.decision(), Decision::Announce);
}

/// Held down from the third time within a minute on, for 10, 20, and at most 30 seconds.
fn damped() -> Config {
    let damping = damping::Config { flaps: 2, within: secs(60), hold: secs(10), longest: secs(30) };
    Config { damping: Some(damping), ..gate() }
}

/// It goes down and comes up at once; for how long it is held down.
fn flap(gate: &mut Gate, now: Instant) -> Duration {
    gate.handle_verdict(Verdict::Down, now);
    gate.handle_verdict(Verdict::Up, now);
    if gate.decision() == Decision::Announce {
        return Duration::ZERO;
    }
    gate.poll_timeout(now).expect("it ends") - now
}

#[test]
fn a_service_that_flaps_is_held_down_for_longer_each_time_until_it_rests() {
    let begin = start();
    let mut gate = up(damped(), begin);
    let held: Vec<Duration> = (0..6).map(|number| flap(&mut gate, begin + secs(number))).collect();
    assert_eq!(held, [0, 0, 10, 20, 30, 30].map(secs));
    let text = gate.obstacle(begin + secs(5)).map(|obstacle| obstacle.to_string());
    assert_eq!(text.as_deref(), Some("went down 3 times within 60s, held down for 30s"));
    gate.handle_timeout(begin + secs(35));
    assert_eq!((gate.decision(), gate.obstacle(begin + secs(35))), (Decision::Announce, None));
    // It goes on where it was, until it has rested.
    assert_eq!(flap(&mut gate, begin + secs(40)), secs(30));
    assert_eq!(flap(&mut gate, begin + secs(101)), secs(0));
    assert_eq!(flap(&mut gate, begin + secs(102)), secs(0));
    assert_eq!(flap(&mut gate, begin + secs(103)), secs(10));
}

#[test]
fn what_is_held_down_for_flapping_is_announced_when_it_is_released() {
    let begin = start();
    let mut gate = up(damped(), begin);
    let held: Duration = (0..3).map(|_| flap(&mut gate, begin)).sum();
    assert_eq!(held, secs(10));
    assert_eq!(gate.decision(), Decision::Withdraw);
    assert!(gate.release(begin));
    assert_eq!((gate.decision(), gate.release(begin)), (Decision::Announce, false));
    assert_eq!(flap(&mut gate, begin), secs(0), "it begins anew");
}

#[test]
fn a_reload_without_damping_releases() {
    let begin = start();
    let mut gate = up(damped(), begin);
    let held: Duration = (0..3).map(|_| flap(&mut gate, begin)).sum();
    assert_eq!(held, secs(10));
    gate.configure(damped(), begin);
    assert_eq!(gate.decision(), Decision::Withdraw);
    gate.configure(Config { damping: None, ..damped() }, begin);
    assert_eq!(gate.decision(), Decision::Announce);
}

#[derive(Clone, Debug)]
enum Step {
    Verdict(Verdict),
    Wish(Keep, Option<Mode>),
    Release,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let verdicts = &[Verdict::Up, Verdict::Down, Verdict::Unknown][..];
    let keep = prop::sample::select(&[Keep::Persistent, Keep::Runtime][..]);
    let mode = prop::sample::select(&[None, Some(Mode::Drain), Some(Mode::Down)][..]);
    prop_oneof![
        4 => prop::sample::select(verdicts).prop_map(Step::Verdict),
        2 => (keep, mode).prop_map(|(keep, mode)| Step::Wish(keep, mode)),
        1 => Just(Step::Release),
        4 => (0..20_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn nothing_is_announced_that_is_not_up_or_that_the_operator_has_taken_out(
        steps in vec(step(), 0..60), degrades: bool,
    ) {
        let mut now = start();
        let mut gate = Gate::new(Config { announce_delay: secs(3), degrades, ..damped() });
        let (mut verdict, mut wishes) = (Verdict::Unknown, Wishes::default());
        for step in steps {
            match step {
                Step::Verdict(next) => {
                    verdict = next;
                    gate.handle_verdict(next, now);
                }
                Step::Wish(keep, mode) => {
                    wishes.set(keep, mode.map(admin));
                    gate.set_wishes(wishes.clone(), now);
                }
                Step::Release => drop(gate.release(now)),
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    gate.handle_timeout(now);
                }
            }
            let is_announced = gate.decision() == Decision::Announce;
            // As the last resort, whatever its health, if there is any knowledge of that.
            let is_last_resort = gate.decision() == Decision::Degrade;
            let may_degrade = degrades && verdict != Verdict::Unknown;
            prop_assert!(!is_last_resort || may_degrade && wishes.strongest().is_none());
            let is_free = verdict == Verdict::Up && wishes.strongest().is_none();
            prop_assert!(is_free || !is_announced);
            // What keeps a healthy one back has a name and an end.
            let is_kept = is_free && !is_announced;
            prop_assert_eq!(is_kept, is_free && gate.obstacle(now).is_some());
            prop_assert!(!is_kept || gate.poll_timeout(now).is_some_and(|at| at <= now + secs(30)));
        }
        gate.set_wishes(Wishes::default(), now);
        gate.handle_verdict(Verdict::Up, now);
        while let Some(at) = gate.poll_timeout(now) {
            now = at;
            gate.handle_timeout(now);
        }
        prop_assert_eq!(gate.decision(), Decision::Announce);
    }
}
