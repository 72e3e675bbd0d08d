//! When each probe is due.
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::check::CheckId;
use crate::check::schedule::{Mode, Pace, Schedule};

const MICROSECOND: Duration = Duration::from_micros(1);
/// Between the first probes of checks that are added together.
const STAGGER: Duration = Duration::from_micros(200);

fn id(number: usize) -> CheckId {
    CheckId { service: "web".into(), check: format!("check-{number}").into() }
}

/// The same interval in every mode, without jitter.
fn every(interval: Duration) -> Pace {
    Pace { steady: interval, changing: interval, down: interval, jitter_percent: 0 }
}

/// All probes that are due.
fn begin(schedule: &mut Schedule, now: Instant) -> Vec<CheckId> {
    std::iter::from_fn(|| schedule.poll_due(now)).collect()
}

/// Waits for the next probe and runs it in no time; when it was due.
fn next_probe(schedule: &mut Schedule) -> Instant {
    let due = schedule.poll_timeout().expect("a probe is due");
    let [id] = &begin(schedule, due)[..] else { panic!("one check at a time") };
    schedule.handle_finished(id, due);
    due
}

/// A schedule of one check that has found its place on the grid, and the last point of it.
fn settled(pace: Pace, now: Instant) -> (Schedule, Instant) {
    let mut schedule = Schedule::new(7);
    schedule.insert(id(0), pace, now);
    next_probe(&mut schedule);
    let point = next_probe(&mut schedule);
    (schedule, point)
}

#[test]
fn the_first_probes_begin_at_once_one_shortly_after_the_other() {
    let now = start();
    let mut schedule = Schedule::new(7);
    for number in 0..3 {
        schedule.insert(id(number), every(secs(1)), now);
    }
    assert_eq!(begin(&mut schedule, now), [id(0)]);
    assert_eq!(begin(&mut schedule, now + STAGGER - MICROSECOND), []);
    assert_eq!(begin(&mut schedule, now + STAGGER), [id(1)]);
    assert_eq!(schedule.poll_timeout(), Some(now + 2 * STAGGER));
    assert_eq!(begin(&mut schedule, now + secs(1)), [id(2)]);

    let later = now + secs(5);
    schedule.insert(id(3), every(secs(1)), later);
    assert_eq!(begin(&mut schedule, later), [id(3)]);
}

#[test]
fn the_second_probe_finds_a_place_within_the_interval_and_the_rest_follow_on_its_grid() {
    let now = start();
    let (mut schedule, point) = settled(every(secs(1)), now);
    assert!(point > now && point <= now + secs(1));
    for number in 1..100 {
        assert_eq!(next_probe(&mut schedule), point + secs(number));
    }
}

#[test]
fn probes_that_begin_late_or_take_long_do_not_shift_the_ones_after_them() {
    let (mut schedule, point) = settled(every(secs(1)), start());
    for number in 1..100 {
        let due = point + secs(number);
        assert_eq!(schedule.poll_timeout(), Some(due));
        let begun = due + millis(number * 7 % 500);
        assert_eq!(begin(&mut schedule, begun), [id(0)]);
        schedule.handle_finished(&id(0), begun + millis(number * 13 % 500));
    }
}

#[test]
fn points_that_pass_while_a_probe_runs_are_left_out() {
    // How long it takes, and which point of the grid is next; a point that is just now has passed.
    let table = [(999, 1), (1000, 2), (1001, 2), (3400, 4), (100_000, 101)];
    for (takes, next) in table {
        let (mut schedule, point) = settled(every(secs(1)), start());
        let due = point + secs(1);
        assert_eq!(begin(&mut schedule, due), [id(0)]);
        schedule.handle_finished(&id(0), due + millis(takes));
        assert_eq!(schedule.poll_timeout(), Some(due + secs(next)), "{takes} ms");
    }
}

#[test]
fn a_check_never_has_two_probes_at_a_time() {
    let now = start();
    let mut schedule = Schedule::new(7);
    schedule.insert(id(0), every(secs(1)), now);
    assert_eq!(begin(&mut schedule, now), [id(0)]);
    assert_eq!(schedule.poll_timeout(), None);
    assert_eq!(begin(&mut schedule, now + secs(60)), []);
    schedule.set_mode(&id(0), Mode::Down, now + secs(60));
    assert_eq!(begin(&mut schedule, now + secs(120)), []);
}

#[test]
fn the_end_of_a_probe_that_does_not_run_means_nothing() {
    let (mut schedule, _) = settled(every(secs(1)), start());
    let due = schedule.poll_timeout();
    schedule.handle_finished(&id(0), due.expect("a probe is due"));
    schedule.handle_finished(&id(1), due.expect("a probe is due"));
    assert_eq!(schedule.poll_timeout(), due);
}

#[test]
fn jitter_makes_probes_later_by_up_to_its_part_of_the_interval_and_leaves_the_grid_alone() {
    let jittered = Pace { jitter_percent: 10, ..every(secs(1)) };
    let now = start();
    let mut schedule = Schedule::new(7);
    schedule.insert(id(0), jittered, now);
    next_probe(&mut schedule);
    let dues: Vec<Instant> = (0..5000).map(|_| next_probe(&mut schedule)).collect();
    // Where the grid begins is not known, but it must be the same for all.
    let offset = |(number, due): (u64, &Instant)| *due - now - secs(number);
    let offsets: Vec<Duration> = (0..).zip(&dues).map(offset).collect();
    let (least, most) = (offsets.iter().min().expect("some"), offsets.iter().max().expect("some"));
    let spread = *most - *least;
    assert!(spread <= millis(100) && spread > millis(99), "{spread:?}");
}

#[test]
fn a_changed_mode_goes_by_its_interval_from_then_on() {
    let pace = Pace { steady: secs(10), changing: secs(1), down: secs(3), jitter_percent: 0 };
    let (mut schedule, point) = settled(pace, start());
    let mut now = point;
    for (mode, interval) in [
        (Mode::Steady, secs(10)),
        (Mode::Changing, secs(1)),
        (Mode::Down, secs(3)),
        (Mode::Steady, secs(10)),
        (Mode::Down, secs(3)),
        (Mode::Changing, secs(1)),
    ] {
        now += millis(100);
        schedule.set_mode(&id(0), mode, now);
        for _ in 0..3 {
            now += interval;
            assert_eq!(next_probe(&mut schedule), now, "{mode:?}");
        }
    }
}

#[test]
fn a_mode_that_changes_while_a_probe_runs_counts_from_the_change() {
    let pace = Pace { steady: secs(10), changing: secs(1), down: secs(3), jitter_percent: 0 };
    let (mut schedule, point) = settled(pace, start());
    let due = point + secs(1);
    assert_eq!(begin(&mut schedule, due), [id(0)]);
    schedule.set_mode(&id(0), Mode::Down, due + millis(200));
    schedule.handle_finished(&id(0), due + millis(300));
    assert_eq!(next_probe(&mut schedule), due + millis(3200));
}

#[test]
fn a_mode_with_the_same_interval_leaves_the_grid_alone() {
    let (mut schedule, point) = settled(every(secs(1)), start());
    for mode in [Mode::Steady, Mode::Down, Mode::Changing, Mode::Changing] {
        schedule.set_mode(&id(0), mode, point + millis(300));
        assert_eq!(schedule.poll_timeout(), Some(point + secs(1)));
    }
    schedule.set_mode(&id(1), Mode::Down, point);
}

#[test]
fn a_mode_that_changes_before_the_first_probe_does_not_delay_it() {
    let now = start();
    let pace = Pace { steady: secs(10), changing: secs(1), down: secs(3), jitter_percent: 0 };
    let mut schedule = Schedule::new(7);
    schedule.insert(id(0), pace, now);
    schedule.set_mode(&id(0), Mode::Steady, now);
    assert_eq!(begin(&mut schedule, now), [id(0)]);
    schedule.handle_finished(&id(0), now);
    let due = schedule.poll_timeout().expect("the second probe is due");
    assert!(due > now && due <= now + secs(10));
}

#[test]
fn a_check_that_is_replaced_begins_anew() {
    let (mut schedule, point) = settled(every(secs(1)), start());
    schedule.insert(id(0), every(secs(5)), point);
    assert_eq!(next_probe(&mut schedule), point);
    let second = next_probe(&mut schedule);
    assert!(second > point && second <= point + secs(5));
    assert_eq!(next_probe(&mut schedule), second + secs(5));
}

#[test]
fn a_removed_check_is_never_due_again_whether_its_probe_runs_or_not() {
    let (mut schedule, point) = settled(every(secs(1)), start());
    schedule.insert(id(1), every(secs(1)), point);
    assert_eq!(begin(&mut schedule, point), [id(1)]);
    schedule.remove(&id(0));
    schedule.remove(&id(1));
    schedule.remove(&id(2));
    schedule.handle_finished(&id(1), point + millis(10));
    schedule.set_mode(&id(1), Mode::Down, point + millis(20));
    assert_eq!(schedule.poll_timeout(), None);
    assert_eq!(begin(&mut schedule, point + secs(60)), []);
}

#[test]
fn a_probe_that_is_put_in_leaves_the_grid_alone() {
    let (mut schedule, point) = settled(every(secs(1)), start());
    let between = point + millis(300);
    schedule.hasten(&id(0), between);
    assert_eq!(next_probe(&mut schedule), between);
    assert_eq!(next_probe(&mut schedule), point + secs(1));
    schedule.hasten(&id(1), between);
}

#[test]
fn a_probe_that_is_put_in_while_one_runs_follows_it() {
    let (mut schedule, point) = settled(every(secs(1)), start());
    let due = point + secs(1);
    assert_eq!(begin(&mut schedule, due), [id(0)]);
    for wish in 1..=3 {
        schedule.hasten(&id(0), due + millis(wish));
    }
    assert_eq!(schedule.poll_timeout(), None);
    let ended = due + millis(200);
    schedule.handle_finished(&id(0), ended);
    assert_eq!(next_probe(&mut schedule), ended);
    assert_eq!(next_probe(&mut schedule), point + secs(2));
}

#[test]
fn a_probe_that_is_due_already_is_not_put_off() {
    let now = start();
    let mut schedule = Schedule::new(7);
    schedule.insert(id(0), every(secs(1)), now);
    schedule.hasten(&id(0), now + millis(5));
    assert_eq!(schedule.poll_timeout(), Some(now));
}

/// Adds a thousand checks, lets them end as they began and go to a mode, and returns when their
/// second probes are due.
fn second_round(pace: Pace, mode: Mode) -> Vec<Duration> {
    let began = start();
    let mut schedule = Schedule::new(7);
    for number in 0..1000 {
        schedule.insert(id(number), pace, began);
    }
    let mut begun: BTreeMap<CheckId, usize> = BTreeMap::new();
    let mut dues = Vec::new();
    while dues.len() < 1000 {
        let now = schedule.poll_timeout().expect("a probe is due");
        for id in begin(&mut schedule, now) {
            let count = begun.entry(id.clone()).or_default();
            *count += 1;
            if *count == 2 {
                dues.push(now - began);
            }
            // As the driver does: the end is known before the owner has judged the outcome.
            schedule.handle_finished(&id, now + millis(1));
            schedule.set_mode(&id, mode, now + millis(2));
        }
    }
    dues
}

#[test]
fn a_thousand_checks_are_spread_over_the_interval_from_their_second_probe_on() {
    let steady_is_slower =
        Pace { steady: secs(1), changing: millis(250), down: millis(500), jitter_percent: 0 };
    let table = [
        (every(secs(1)), Mode::Steady, 1000),
        (steady_is_slower, Mode::Steady, 1000),
        (steady_is_slower, Mode::Down, 500),
        (steady_is_slower, Mode::Changing, 250),
    ];
    for (pace, mode, interval) in table {
        let dues = second_round(pace, mode);
        // The first round was over after 200 ms.
        assert!(dues.iter().all(|due| *due <= millis(interval + 250)), "{mode:?}");
        let mut buckets: BTreeMap<u128, usize> = BTreeMap::new();
        for due in dues {
            *buckets.entry(due.as_millis() / 10).or_default() += 1;
        }
        let fullest = buckets.values().max().expect("some");
        let average = 1000 * 10 / usize::try_from(interval).expect("small");
        assert!(*fullest <= average * 2 + 15, "{pace:?} {mode:?}: {fullest} in 10 ms");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Pace),
    Remove(usize),
    SetMode(usize, Mode),
    Hasten(usize),
    Finish(usize),
    Wait(Duration),
}

fn any_step() -> impl Strategy<Value = Step> {
    let number = 0usize..5;
    let interval = || (10u64..3000).prop_map(millis);
    let pace = (interval(), interval(), interval(), 0u8..=100).prop_map(
        |(steady, changing, down, jitter_percent)| Pace { steady, changing, down, jitter_percent },
    );
    let mode = prop::sample::select(vec![Mode::Steady, Mode::Changing, Mode::Down]);
    prop_oneof![
        1 => (number.clone(), pace).prop_map(|(number, pace)| Step::Insert(number, pace)),
        1 => number.clone().prop_map(Step::Remove),
        2 => (number.clone(), mode).prop_map(|(number, mode)| Step::SetMode(number, mode)),
        1 => number.clone().prop_map(Step::Hasten),
        5 => number.prop_map(Step::Finish),
        5 => (0u64..2000).prop_map(|number| Step::Wait(millis(number))),
    ]
}

/// What must be true of a check, whatever its place on the grid.
#[derive(Clone, Copy)]
enum Model {
    /// And whether another one is to follow it at once
    Running(bool),
    /// Its next probe begins in this span, ends included
    Waiting(Instant, Instant),
}

proptest! {
    #[test]
    fn every_check_is_probed_within_its_interval_and_never_twice_at_a_time(
        steps in vec(any_step(), 0..200),
    ) {
        let mut now = start();
        let mut schedule = Schedule::new(7);
        let mut checks: BTreeMap<CheckId, (Pace, Mode, Model)> = BTreeMap::new();
        let latest = |pace: Pace, mode: Mode| {
            let interval = match mode {
                Mode::Steady => pace.steady,
                Mode::Changing => pace.changing,
                Mode::Down => pace.down,
            };
            (interval, interval.mul_f64(1.0 + f64::from(pace.jitter_percent) / 100.0) + MICROSECOND)
        };
        for step in steps {
            match step {
                Step::Insert(number, pace) => {
                    schedule.insert(id(number), pace, now);
                    let span = Model::Waiting(now, now + 200 * STAGGER);
                    checks.insert(id(number), (pace, Mode::default(), span));
                }
                Step::Remove(number) => {
                    schedule.remove(&id(number));
                    checks.remove(&id(number));
                }
                Step::SetMode(number, mode) => {
                    schedule.set_mode(&id(number), mode, now);
                    if let Some((pace, before, model)) = checks.get_mut(&id(number)) {
                        let changed = latest(*pace, *before).0 != latest(*pace, mode).0;
                        *before = mode;
                        if let Model::Waiting(_, last) = model && changed {
                            // A first probe stays where it is.
                            let last = (now + latest(*pace, mode).1).max(*last);
                            *model = Model::Waiting(now, last);
                        }
                    }
                }
                Step::Hasten(number) => {
                    schedule.hasten(&id(number), now);
                    match checks.get_mut(&id(number)) {
                        Some((_, _, Model::Running(hastened))) => *hastened = true,
                        Some((_, _, Model::Waiting(_, last))) => *last = now.min(*last),
                        None => {}
                    }
                }
                Step::Finish(number) => {
                    schedule.handle_finished(&id(number), now);
                    if let Some((pace, mode, model)) = checks.get_mut(&id(number))
                        && let Model::Running(hastened) = model
                    {
                        let wait = if *hastened { secs(0) } else { latest(*pace, *mode).1 };
                        *model = Model::Waiting(now, now + wait);
                    }
                }
                Step::Wait(time) => now += time,
            }
            let timeout = schedule.poll_timeout();
            let begun = begin(&mut schedule, now);
            prop_assert_eq!(timeout.is_some_and(|at| at <= now), !begun.is_empty());
            for id in begun {
                let (_, _, model) = checks.get_mut(&id).expect("it was not removed");
                let Model::Waiting(earliest, _) = std::mem::replace(model, Model::Running(false)) else {
                    panic!("{id:?} runs already");
                };
                prop_assert!(earliest <= now);
            }
            prop_assert!(schedule.poll_timeout().is_none_or(|at| at > now));
            for (id, (_, _, model)) in &checks {
                if let Model::Waiting(_, latest) = model {
                    prop_assert!(*latest > now, "{:?} was forgotten", id);
                }
            }
        }
    }
}
