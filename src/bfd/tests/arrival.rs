//! Stamps of the wall clock, as moments of the monotonic one.
use super::*;
use crate::bfd::arrival::arrival;

#[test]
fn a_stamp_is_believed_between_the_last_look_and_now() {
    let empty_at = start();
    let now = empty_at + millis(100);
    let table = [
        (Some(Duration::ZERO), Some(now)),
        (Some(millis(40)), Some(now - millis(40))),
        (Some(millis(100)), Some(empty_at)),
        // The socket was empty then; or the clock was set forward.
        (Some(millis(100) + TICK), None),
        (Some(secs(3600)), None),
        (Some(Duration::MAX), None),
        // The clock was set back.
        (None, None),
    ];
    for (age, expected) in table {
        assert_eq!(arrival(now, empty_at, age, 0), expected, "{age:?}");
    }
}

#[test]
fn what_may_have_found_no_room_is_not_missed() {
    let now = start();
    let empty_at = now - millis(100);
    let stamp = |waited| arrival(now, empty_at, Some(millis(40)), waited);
    assert_eq!(stamp(127), Some(now - millis(40)));
    assert_eq!(stamp(128), None);
}
