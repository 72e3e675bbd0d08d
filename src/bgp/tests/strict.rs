//! Sessions that wait for BFD (draft-ietf-idr-bgp-bfd-strict-mode-19).
use std::time::Instant;

use super::clock::{secs, start};
use super::octets::{EXTERNAL, Message, UPDATE, keepalive, message, read, router_id};
use super::scene::{REMOTE, Scene, closed, config, failed};
use crate::bgp::connection::{self, Connection, Event, Opening, State};
use crate::bgp::down::DownReason;
use crate::bgp::event::Event as PeerEvent;
use crate::bgp::peer::{self, Action, BfdVerdict};
use crate::bgp::wire::{Capabilities, Notification, Open};
use crate::route::Family;

/// Cease, BFD Down (RFC 9384)
fn bfd_down() -> Notification {
    Notification::cease(10)
}

fn strict() -> peer::Config {
    let config = config();
    let session = connection::Config { bfd_strict: true, ..config.session };
    peer::Config { session, ..config }
}

/// The router's OPEN, which says whether it waits for BFD too.
fn open(hold_time: u16, bfd_strict: bool) -> Vec<u8> {
    let families = Capabilities::of_families(&Family::ALL);
    let capabilities = Capabilities { bfd_strict, four_octet_asn: Some(REMOTE), ..families };
    Open { asn: REMOTE, hold_time, router_id: router_id(2), capabilities }.encode()
}

/// A connection that is held back, with the OPENs of both ends.
fn waiting(hold_time: u16, both: bool) -> (Connection, Instant) {
    let now = start();
    let mut connection = Connection::new(strict().session, Opening::new(router_id(1)), 7, now);
    connection.set_held(true, now);
    connection.poll_transmit();
    connection.handle_input(&open(hold_time, both), now);
    assert_eq!(events(&mut connection), [Event::Opened, Event::AwaitsBfd]);
    assert_eq!((connection.state(), said(&mut connection)), (State::OpenSent, vec![]));
    assert!(connection.awaits_bfd());
    assert_eq!(connection.session().map(|session| session.bfd_strict), Some(both));
    (connection, now)
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn said(connection: &mut Connection) -> Vec<Message> {
    read(&connection.poll_transmit(), EXTERNAL)
}

#[test]
fn the_capability_is_offered_where_it_is_meant() {
    let offer = |config: peer::Config| {
        let now = start();
        let mut connection = Connection::new(config.session, Opening::new(router_id(1)), 7, now);
        connection.poll_transmit().windows(2).any(|octets| octets == [74, 0])
    };
    assert!(offer(strict()));
    assert!(!offer(config()));
}

#[test]
fn no_keepalive_goes_out_before_bfd_is_up() {
    for both in [false, true] {
        let (mut connection, now) = waiting(90, both);
        let up = now + secs(20);
        connection.handle_timeout(up);
        assert_eq!(said(&mut connection), []);
        connection.set_held(false, up);
        assert_eq!((connection.state(), events(&mut connection)), (State::OpenConfirm, vec![]));
        assert_eq!(said(&mut connection), [Message::Keepalive]);
        connection.handle_input(&keepalive(), up);
        assert_eq!(events(&mut connection), [Event::Established]);
        // From then on the hold timer is what it always is.
        connection.handle_timeout(up + secs(89));
        assert_eq!(events(&mut connection), []);
        connection.handle_timeout(up + secs(90));
        assert_eq!(events(&mut connection), [Event::Down(DownReason::HoldTimerExpired(secs(90)))]);
    }
}

#[test]
fn a_keepalive_that_came_meanwhile_counts() {
    let (mut connection, now) = waiting(90, true);
    for _ in 0..3 {
        connection.handle_input(&keepalive(), now + secs(1));
    }
    assert_eq!((connection.state(), events(&mut connection)), (State::OpenSent, vec![]));
    connection.set_held(false, now + secs(2));
    assert_eq!(connection.state(), State::Established);
    assert_eq!(said(&mut connection), [Message::Keepalive]);
    assert_eq!(events(&mut connection), [Event::Established]);
    assert!(!connection.awaits_bfd());
}

#[test]
fn the_wait_ends_with_bfd_down_before_the_peer_would_end_it() {
    for (hold_time, patience) in [(90, 60), (9, 6), (3, 2), (0, 30)] {
        let (mut connection, now) = waiting(hold_time, false);
        let end = now + secs(patience);
        // What a peer that does not wait sends meanwhile is no reason to wait for longer.
        connection.handle_input(&keepalive(), now + secs(1));
        assert_eq!(connection.poll_timeout(), Some(end));
        connection.handle_timeout(end);
        let reason = DownReason::BfdNotUp(secs(patience));
        assert_eq!(events(&mut connection), [Event::Down(reason)]);
        assert_eq!(said(&mut connection), [Message::Notification(bfd_down())]);
    }
}

#[test]
fn anything_but_a_keepalive_is_an_error_while_it_waits() {
    let update = message(UPDATE, &[0; 4]);
    for input in [open(90, true), update] {
        let (mut connection, now) = waiting(90, true);
        connection.handle_input(&input, now);
        assert_eq!(connection.state(), State::Closed);
        let told = said(&mut connection);
        let [Message::Notification(notification)] = &told[..] else { panic!("{told:?}") };
        // RFC 6608 §3: in OpenSent
        assert_eq!((notification.code, notification.subcode), (Notification::FSM_ERROR, 1));
    }
}

#[test]
fn what_is_up_already_is_not_held_back() {
    let (mut connection, now) = waiting(90, true);
    connection.set_held(false, now);
    connection.handle_input(&keepalive(), now);
    connection.set_held(true, now);
    assert_eq!((connection.state(), connection.awaits_bfd()), (State::Established, false));
}

/// A peer that waits, with a connection on which both OPENs were sent.
fn waiting_peer() -> (Scene, crate::bgp::Serial) {
    let (mut scene, serial) = Scene::connected(strict());
    scene.say();
    scene.hear_open(serial);
    scene.hear(serial, &keepalive());
    assert_eq!((scene.say(), scene.events()), (vec![], vec![PeerEvent::AwaitsBfd]));
    assert!(scene.peer.awaits_bfd());
    (scene, serial)
}

#[test]
fn bfd_up_or_taken_down_by_the_routers_operator_lets_the_session_come_up() {
    for verdict in [BfdVerdict::Up, BfdVerdict::AdminDown] {
        let (mut scene, _) = waiting_peer();
        scene.peer.handle_bfd(&verdict, scene.now);
        assert!(matches!(scene.events()[..], [PeerEvent::Established(_)]));
        // Or before there was a connection
        let mut scene = Scene::started(strict());
        scene.peer.handle_bfd(&BfdVerdict::AdminDown, scene.now);
        let serial = scene.attempt();
        scene.connect(serial);
        scene.come_up(serial);
    }
}

#[test]
fn bfd_that_is_awaited_again_holds_back_only_sessions_to_come() {
    let (mut scene, serial) = waiting_peer();
    scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
    scene.peer.handle_bfd(&BfdVerdict::Awaited, scene.now);
    scene.say();
    scene.actions();
    scene.events();
    scene.keep_up(serial, secs(600));
    scene.peer.handle_closed(serial, None, scene.now);
    let (_, serial) = scene.next_attempt();
    scene.connect(serial);
    scene.events();
    scene.say();
    scene.hear_open(serial);
    assert_eq!(scene.events(), [PeerEvent::AwaitsBfd]);
}

#[test]
fn a_wait_in_vain_is_told_once_and_tried_again_at_the_usual_pace() {
    let (mut scene, mut serial) = waiting_peer();
    for round in 0..5 {
        scene.pass(secs(60));
        let actions = scene.actions();
        assert_eq!(actions.first(), Some(&closed(serial, bfd_down())));
        let told = failed(DownReason::BfdNotUp(secs(60)));
        let expected = if round == 0 { vec![told] } else { vec![] };
        assert_eq!(scene.events(), expected);
        let (wait, next) = scene.next_attempt();
        assert!(wait <= secs(5), "{wait:?}");
        scene.connect(next);
        scene.say();
        scene.hear_open(next);
        assert_eq!(scene.events(), [PeerEvent::AwaitsBfd]);
        serial = next;
    }
}

#[test]
fn strictness_that_changes_begins_anew_what_is_not_up() {
    let (mut scene, serial) = waiting_peer();
    scene.peer.set_bfd_strict(true, scene.now);
    assert_eq!(scene.actions(), []);
    scene.peer.set_bfd_strict(false, scene.now);
    assert_eq!(scene.actions(), [closed(serial, Notification::cease(6))]);
    scene.events();
    let (wait, serial) = scene.next_attempt();
    assert!(wait <= secs(1), "{wait:?}");
    scene.connect(serial);
    scene.come_up(serial);
    scene.peer.set_bfd_strict(true, scene.now);
    scene.keep_up(serial, secs(600));
    scene.peer.handle_bfd(&BfdVerdict::Down("gone".into()), scene.now);
    let closing = scene.actions();
    assert!(matches!(closing[..], [Action::Close(..)]), "{closing:?}");
}
