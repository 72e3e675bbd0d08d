//! RFC 9687: a router that does not read is noticed in a hold time, and one that does never is.
use std::time::Duration;

use super::clock::secs;
use super::octets::{hosts, keepalive, open};
use super::scene::{REMOTE, RETRY, Scene, closed, config};
use crate::bgp::Serial;
use crate::bgp::down::DownReason;
use crate::bgp::peer::{Action, Event, State};
use crate::bgp::wire::Notification;
use crate::route::{Attributes, Family};

const HOLD_TIME: Duration = Duration::from_secs(90);

/// The router's KEEPALIVEs come, and ours go out, for this long or until the session ends.
fn go_on(scene: &mut Scene, serial: Serial, time: Duration) {
    let end = scene.now + time;
    while scene.now < end && scene.peer.state() == State::Established {
        scene.pass(secs(1));
        scene.hear(serial, &keepalive());
        scene.say();
    }
}

fn announce(scene: &mut Scene) {
    for prefix in hosts(Family::Ipv4Unicast, 1) {
        scene.peer.rib_mut().set(prefix, Some(Attributes::default().into()), scene.now);
    }
}

#[test]
fn a_router_that_stops_to_read_is_given_up_in_a_hold_time_though_it_speaks() {
    let (mut scene, serial) = Scene::established();
    scene.keep_up(serial, secs(300));
    scene.reads = false;
    announce(&mut scene);
    let octets = scene.peer.poll_transmit(scene.now).unwrap().1.len() as u64;
    scene.peer.handle_written(serial, scene.now);
    assert!(scene.peer.is_settled(), "for BGP it is sent");
    let begun = scene.now;
    go_on(&mut scene, serial, HOLD_TIME * 2);
    // The looks are as far apart as an eighth of the hold time.
    let waited = scene.now - begun;
    assert!((HOLD_TIME * 7 / 8..=HOLD_TIME).contains(&waited), "given up after {waited:?}");
    let events = scene.events();
    let [Event::Sent(_), Event::Down(reason)] = &events[..] else { panic!("{events:?}") };
    let DownReason::SendHoldTimerExpired { limit, waiting } = reason else { panic!("{reason}") };
    assert_eq!(*limit, HOLD_TIME);
    // The UPDATE, and KEEPALIVEs since then.
    assert!((octets + 3 * 19..=octets + 5 * 19).contains(waiting), "{waiting} of {octets}");
    let said = Notification::new(8, 0, vec![]);
    assert_eq!(scene.actions(), [closed(serial, said)]);
    assert!(!reason.is_refusal() && !reason.is_planned());
    let (waited, _) = scene.next_attempt();
    assert!(waited <= RETRY, "it is asked again");
}

#[test]
fn a_writer_that_is_never_done_counts_too() {
    let (mut scene, serial) = Scene::established();
    announce(&mut scene);
    assert!(scene.peer.poll_transmit(scene.now).is_some());
    let begun = scene.now;
    go_on(&mut scene, serial, HOLD_TIME * 2);
    let events = scene.events();
    let [Event::Down(DownReason::SendHoldTimerExpired { .. })] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(scene.now - begun <= HOLD_TIME);
}

#[test]
fn a_router_that_reads_slowly_keeps_its_session() {
    let (mut scene, serial) = Scene::established();
    scene.reads = false;
    // An octet at a time, and hardly in time.
    for _ in 0..20 {
        go_on(&mut scene, serial, HOLD_TIME * 3 / 4);
        scene.written.entry(serial).or_default().1 += 1;
    }
    assert_eq!(scene.peer.state(), State::Established);
    // All at once: from then on nothing waits.
    scene.reads = true;
    go_on(&mut scene, serial, secs(600));
    assert_eq!(scene.peer.state(), State::Established);
    assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
}

#[test]
fn what_comes_while_the_queue_is_being_looked_at_is_watched() {
    let (mut scene, serial) = Scene::established();
    scene.keep_up(serial, secs(60));
    scene.say();
    // The look is asked for, and something else is sent before its answer is there.
    let asked = loop {
        scene.now = scene.peer.poll_timeout().expect("a KEEPALIVE or a look");
        scene.peer.handle_timeout(scene.now);
        match scene.peer.poll_action() {
            Some(Action::CountAcknowledged(asked)) => break asked,
            other => assert_eq!(other, None),
        }
        scene.say();
        scene.hear(serial, &keepalive());
    };
    let (_, taken) = *scene.written.get(&serial).unwrap();
    scene.reads = false;
    announce(&mut scene);
    scene.say();
    scene.peer.handle_acknowledged(asked, taken, scene.now);
    let begun = scene.now;
    go_on(&mut scene, serial, HOLD_TIME * 2);
    assert_eq!(scene.peer.state(), State::Active);
    assert!(scene.now - begun <= HOLD_TIME);
}

#[test]
fn without_a_hold_time_nothing_is_asked() {
    let (mut scene, serial) = Scene::connected(config());
    scene.say();
    scene.hear(serial, &[open(REMOTE.0, 0, [10, 0, 0, 2]), keepalive()].concat());
    scene.reads = false;
    scene.say();
    go_on(&mut scene, serial, secs(3600));
    assert_eq!(scene.peer.state(), State::Established);
    assert_eq!(scene.peer.poll_timeout(), None);
}

#[test]
fn news_of_a_connection_that_is_gone_is_ignored() {
    let (mut scene, serial) = Scene::established();
    scene.peer.handle_acknowledged(Serial(serial.0.wrapping_add(9)), 0, scene.now);
    scene.peer.handle_closed(serial, None, scene.now);
    scene.events();
    scene.actions();
    scene.peer.handle_acknowledged(serial, 0, scene.now);
    assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
}
