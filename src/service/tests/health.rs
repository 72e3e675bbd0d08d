//! Rise and fall.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::service::health::Health;

/// The verdicts after each outcome, `U` and `D`; outcomes are `+` and `-`.
fn verdicts(rise: u32, fall: u32, outcomes: &str) -> String {
    let mut health = Health::new(thresholds(rise, fall));
    let letters = outcomes.chars().map(|outcome| {
        let before = health.verdict();
        let changed = health.handle_outcome(outcome == '+');
        assert_eq!(changed, health.verdict() != before, "{outcomes}: it says what it did");
        match health.verdict() {
            Verdict::Unknown => '?',
            Verdict::Up => 'U',
            Verdict::Down => 'D',
        }
    });
    letters.collect()
}

#[test]
fn outcomes_in_a_row_change_the_verdict() {
    let table = [
        (1, 1, "", ""),
        (1, 1, "+-+-", "UDUD"),
        (3, 3, "+", "U"),
        (3, 3, "-", "D"),
        (1, 3, "+---+---", "UUUDUUUD"),
        (1, 3, "+--+--+--", "UUUUUUUUU"),
        (1, 3, "+-+-+-+-", "UUUUUUUU"),
        (3, 1, "-+++-+++", "DDDUDDDU"),
        (3, 1, "-++-++-++", "DDDDDDDDD"),
        (2, 3, "-++---++", "DDUUUDDU"),
        (2, 3, "+--+---+-++", "UUUUUUDDDDU"),
        (5, 2, "+--++++-+++++", "UUDDDDDDDDDDU"),
        (2, 5, "-++----+-----", "DDUUUUUUUUUUD"),
    ];
    for (rise, fall, outcomes, expected) in table {
        assert_eq!(verdicts(rise, fall, outcomes), expected, "{rise}/{fall} {outcomes}");
    }
}

#[test]
fn nothing_is_known_before_the_first_outcome() {
    let health = Health::new(thresholds(3, 3));
    assert_eq!((health.verdict(), health.against()), (Verdict::Unknown, (0, 1)));
}

#[test]
fn what_speaks_against_the_verdict_is_counted_up_to_what_changes_it() {
    let mut health = Health::new(thresholds(2, 3));
    let looks = "+--+---+-++".chars().map(|outcome| {
        health.handle_outcome(outcome == '+');
        health.against()
    });
    let expected = [
        (0, 3),
        (1, 3),
        (2, 3),
        (0, 3),
        (1, 3),
        (2, 3),
        (0, 2), // down
        (1, 2),
        (0, 2),
        (1, 2),
        (0, 3), // up again
    ];
    assert_eq!(looks.collect::<Vec<_>>(), expected);
}

#[test]
fn lowered_thresholds_leave_the_verdict_to_the_next_outcome() {
    for (next, expected) in [(false, Verdict::Down), (true, Verdict::Up)] {
        let mut health = Health::new(thresholds(1, 5));
        for outcome in [true, false, false, false] {
            health.handle_outcome(outcome);
        }
        health.set_thresholds(thresholds(1, 2));
        assert_eq!((health.verdict(), health.against()), (Verdict::Up, (3, 2)));
        health.handle_outcome(next);
        assert_eq!((health.verdict(), health.against().0), (expected, 0));
    }
}

proptest! {
    /// After any outcomes the verdict is Down if the last `fall` failed, Up if the last `rise`
    /// succeeded, and otherwise what it was; it is only the first that needs no company.
    #[test]
    fn the_verdict_is_what_the_last_outcomes_agree_on(
        rise in 1u32..6,
        fall in 1u32..6,
        outcomes in vec(any::<bool>(), 1..60),
    ) {
        let mut health = Health::new(thresholds(rise, fall));
        let mut expected = if outcomes[0] { Verdict::Up } else { Verdict::Down };
        for (number, outcome) in outcomes.iter().enumerate() {
            health.handle_outcome(*outcome);
            let past = || outcomes[..=number].iter().rev();
            let agree = |count: u32, on: bool| {
                let count = usize::try_from(count).expect("small");
                number + 1 >= count && past().take(count).all(|outcome| *outcome == on)
            };
            if agree(fall, false) {
                expected = Verdict::Down;
            }
            if agree(rise, true) {
                expected = Verdict::Up;
            }
            prop_assert_eq!(health.verdict(), expected);
        }
    }

    #[test]
    fn other_thresholds_never_change_the_verdict_by_themselves(
        steps in vec((any::<bool>(), 1u32..6, 1u32..6), 0..60),
    ) {
        let mut health = Health::new(thresholds(1, 1));
        for (outcome, rise, fall) in steps {
            health.handle_outcome(outcome);
            let before = health.verdict();
            health.set_thresholds(thresholds(rise, fall));
            prop_assert_eq!(health.verdict(), before);
        }
    }
}
