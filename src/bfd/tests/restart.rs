//! What a planned restart of the process needs: slower packets before, the session as it was after.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bfd::session::{Session, Snapshot};

fn drain(session: &mut Session, now: Instant) -> Vec<Packet> {
    std::iter::from_fn(|| session.poll_transmit(now)).collect()
}

/// A session that is Up at intervals of 100 ms, and what its peer says.
fn up(now: Instant) -> (Session, Packet) {
    let mut session = Session::new(config(3, 100, 100), discriminator(1), 7, now);
    let said =
        |state| Packet { desired_min_tx: millis(100), required_min_rx: millis(100), ..said(state) };
    for packet in [said(State::Down), said(State::Up)] {
        session.handle_packet(&packet, now);
        drain(&mut session, now);
    }
    session.handle_packet(&Packet { is_final: true, ..said(State::Up) }, now);
    while session.poll_event().is_some() {}
    (session, said(State::Up))
}

#[test]
fn a_session_slows_down_by_a_poll_and_speeds_up_by_another() {
    let mut now = start();
    let (mut session, said) = up(now);
    let agreed = Packet { is_final: true, ..said };
    assert_eq!(session.timing(), (millis(100), Some(millis(300))));

    session.slow_down(secs(2), now);
    assert!(!session.is_settled());
    // Slower holds when the peer knows it; until then the peer hears as much as before. Expecting
    // less holds at once (RFC 5880 §6.8.3).
    assert_eq!(session.timing(), (millis(100), Some(secs(6))));
    now += millis(100);
    let polls = drain(&mut session, now);
    assert!(polls.iter().all(|packet| packet.poll && packet.desired_min_tx == secs(2)));
    session.handle_packet(&agreed, now);
    assert!(session.is_settled());
    assert_eq!(session.timing(), (secs(2), Some(secs(6))));

    session.slow_down(Duration::ZERO, now);
    // Faster holds at once; expecting more waits for the peer.
    assert_eq!(session.timing(), (millis(100), Some(secs(6))));
    session.handle_packet(&agreed, now + millis(100));
    assert_eq!(session.timing(), (millis(100), Some(millis(300))));
    assert_eq!((session.state(), session.poll_event()), (State::Up, None));
}

#[test]
fn a_restart_shorter_than_the_detection_time_is_not_noticed() {
    let now = start();
    let (session, said) = up(now);
    let text = serde_json::to_string(&session.snapshot(now + millis(50))).expect("JSON");
    drop(session);
    let snapshot: Snapshot = serde_json::from_str(&text).expect("what was written");
    let mut session = Session::restore(config(3, 100, 100), &snapshot, now + millis(50));
    let back = now + millis(250);
    session.handle_timeout(back);
    assert_eq!((session.state(), session.poll_event()), (State::Up, None));
    let sent = drain(&mut session, back);
    assert_eq!(sent.len(), 1, "one was due meanwhile");
    assert_eq!((sent[0].state, sent[0].poll), (State::Up, false));
    assert_eq!(sent[0].your_discriminator, Some(said.my_discriminator));
    // Longer: the peer has given us up, or is silent itself.
    session.handle_timeout(now + millis(300));
    assert_eq!(session.state(), State::Down);
}

#[test]
fn other_intervals_after_a_restart_are_polled_for() {
    let now = start();
    let (session, said) = up(now);
    let mut session = Session::restore(config(3, 500, 100), &session.snapshot(now), now);
    assert!(!session.is_settled());
    assert_eq!(session.timing().0, millis(100), "until the peer knows");
    session.handle_packet(&Packet { is_final: true, ..said }, now);
    assert_eq!(session.timing().0, millis(500));
}

/// What may happen to a session.
#[derive(Clone, Debug)]
enum Step {
    Heard(State, bool, bool),
    Waits(u64),
    Configured(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop::sample::select(STATES.to_vec());
    prop_oneof![
        4 => (state, any::<bool>(), any::<bool>())
            .prop_map(|(state, poll, is_final)| Step::Heard(state, poll, is_final && !poll)),
        4 => (1..400_u64).prop_map(Step::Waits),
        1 => (50..1000_u64).prop_map(Step::Configured),
    ]
}

/// Does it, and says what came of it.
fn perform(
    session: &mut Session,
    step: &Step,
    now: Instant,
) -> (Vec<Packet>, Vec<crate::bfd::session::Event>, Option<Instant>) {
    match step {
        Step::Heard(state, poll, is_final) => {
            let packet = Packet { poll: *poll, is_final: *is_final, ..said(*state) };
            session.handle_packet(&packet, now);
        }
        Step::Waits(_) => session.handle_timeout(now),
        Step::Configured(interval) => session.configure(config(3, *interval, *interval), now),
    }
    let sent = drain(session, now);
    let events = std::iter::from_fn(|| session.poll_event()).collect();
    (sent, events, session.poll_timeout())
}

proptest! {
    /// One that was restored does what the one it was taken from would have done, to the packet.
    #[test]
    fn a_restored_session_goes_on_as_the_first_would_have(
        before in vec(step(), 0..40),
        after in vec(step(), 0..40),
    ) {
        let (mut now, mut interval) = (start(), 100);
        let mut first = Session::new(config(3, interval, interval), discriminator(1), 7, now);
        for step in &before {
            match step {
                Step::Waits(time) => now += millis(*time),
                Step::Configured(time) => interval = *time,
                Step::Heard(..) => {}
            }
            perform(&mut first, step, now);
        }
        let snapshot = first.snapshot(now);
        let mut second = Session::restore(config(3, interval, interval), &snapshot, now);
        for step in &after {
            if let Step::Waits(time) = step {
                now += millis(*time);
            }
            prop_assert_eq!(perform(&mut first, step, now), perform(&mut second, step, now));
        }
    }
}
