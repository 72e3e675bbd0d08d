//! The state machine of one connection (RFC 4271 §8.2.2): every input in every state, what two OPENs
//! come to, and its timers over hours of virtual time.
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::clock::{secs, start};
use super::octets::{
    EXTERNAL, INTERNAL, KEEPALIVE, Message, NOTIFICATION, OPEN, ROUTE_REFRESH, TWO_OCTETS, UPDATE,
    capabilities, header, keepalive, mandatory, message, open, open_fields, parameters, read,
    route_refresh, router_id, update,
};
use crate::bgp::connection::{
    Config, Connection, Event, Opening, RemoteAsn, Restart, Session, State,
};
use crate::bgp::down::DownReason;
use crate::bgp::wire::{Capabilities, Encoding, GracefulRestart, Notification, Open, Update};
use crate::route::{Asn, Family, Role};

const LOCAL: Asn = Asn(64501);
const REMOTE: Asn = Asn(64500);

fn config() -> Config {
    Config {
        local_asn: LOCAL,
        remote_asn: RemoteAsn::Number(REMOTE),
        families: Family::ALL.to_vec(),
        hold_time: secs(90),
        keepalive_time: None,
        role: None,
        restart: None,
        bfd_strict: false,
    }
}

/// The OPEN of the peer in most of these tests.
fn peer_open() -> Vec<u8> {
    open(REMOTE.0, 30, [10, 0, 0, 2])
}

/// What has come of a connection since it was asked last.
#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    state: State,
    events: Vec<Event>,
    sent: Vec<Message>,
}

fn outcome(connection: &mut Connection) -> Outcome {
    let events = std::iter::from_fn(|| connection.poll_event()).collect();
    let had_output = connection.has_output();
    let octets = connection.poll_transmit();
    assert_eq!(had_output, !octets.is_empty());
    let sent = read(&octets, EXTERNAL);
    Outcome { state: connection.state(), events, sent }
}

/// A connection that has come this far, with nothing left to say.
fn connection_in(state: State, now: Instant) -> Connection {
    let mut connection = Connection::new(config(), Opening::new(router_id(1)), 7, now);
    let input = match state {
        State::OpenSent => vec![],
        State::OpenConfirm => peer_open(),
        State::Established => [peer_open(), keepalive()].concat(),
        State::Closed => Notification::cease(2).encode(),
    };
    connection.handle_input(&input, now);
    assert_eq!(outcome(&mut connection).state, state);
    connection
}

/// Everything that can happen to a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Input {
    Open,
    WrongOpen,
    Update,
    WrongUpdate,
    Notification,
    WrongNotification,
    Keepalive,
    RouteRefresh,
    RouteRefreshOfUnknownFamily,
    WrongHeader,
    HoldTimer,
    KeepaliveTimer,
    UpdateSent,
    Shutdown,
    TcpClosed,
}

impl Input {
    const ALL: [Self; 15] = [
        Self::Open,
        Self::WrongOpen,
        Self::Update,
        Self::WrongUpdate,
        Self::Notification,
        Self::WrongNotification,
        Self::Keepalive,
        Self::RouteRefresh,
        Self::RouteRefreshOfUnknownFamily,
        Self::WrongHeader,
        Self::HoldTimer,
        Self::KeepaliveTimer,
        Self::UpdateSent,
        Self::Shutdown,
        Self::TcpClosed,
    ];

    fn happens_to(self, connection: &mut Connection, now: Instant) {
        let octets = match self {
            Self::Open => peer_open(),
            Self::WrongOpen => open(REMOTE.0, 1, [10, 0, 0, 2]),
            Self::Update => message(UPDATE, &update(&[], &mandatory(), &[8, 10])),
            Self::WrongUpdate => message(UPDATE, &[0, 9, 0, 0]),
            Self::Notification => Notification::cease(4).encode(),
            Self::WrongNotification => header(20, NOTIFICATION),
            Self::Keepalive => keepalive(),
            Self::RouteRefresh => route_refresh(2),
            Self::RouteRefreshOfUnknownFamily => route_refresh(25),
            Self::WrongHeader => header(19, 9),
            Self::HoldTimer => return connection.handle_timeout(now + secs(90)),
            Self::KeepaliveTimer => return connection.handle_timeout(now + secs(10)),
            Self::UpdateSent => return connection.handle_update_sent(now),
            Self::Shutdown => return connection.close(DownReason::Shutdown("bye".into())),
            Self::TcpClosed => {
                return connection.close(DownReason::ConnectionLost("reset".into()));
            }
        };
        connection.handle_input(&octets, now);
    }
}

/// Nothing to tell or to send.
fn nothing(state: State) -> Outcome {
    Outcome { state, events: vec![], sent: vec![] }
}

fn told(state: State, event: Event) -> Outcome {
    Outcome { events: vec![event], ..nothing(state) }
}

fn sent(state: State, message: Message) -> Outcome {
    Outcome { sent: vec![message], ..nothing(state) }
}

fn closed(reason: DownReason) -> Outcome {
    let sent = reason.notification().map(Message::Notification).into_iter().collect();
    Outcome { state: State::Closed, events: vec![Event::Down(reason)], sent }
}

fn fault(detail: &str, code: u8, subcode: u8, data: &[u8]) -> Outcome {
    let notification = Notification::new(code, subcode, data.to_vec());
    closed(DownReason::ProtocolError { detail: detail.into(), notification })
}

/// RFC 6608: the subcode is that of the state, the data is the type.
fn unexpected(what: &str, state: State, kind: u8) -> Outcome {
    let subcode = match state {
        State::OpenSent => 1,
        State::OpenConfirm => 2,
        State::Established | State::Closed => 3,
    };
    fault(&format!("unexpected {what} message in {state:?}"), 5, subcode, &[kind])
}

/// What is the same in all three states with a connection.
fn anywhere(input: Input) -> Option<Outcome> {
    Some(match input {
        Input::Notification => Outcome {
            sent: vec![],
            ..closed(DownReason::NotificationReceived(Notification::cease(4)))
        },
        Input::WrongNotification => closed(DownReason::MalformedNotification),
        Input::WrongHeader => fault("message type 9 does not exist", 1, 3, &[9]),
        Input::Shutdown => closed(DownReason::Shutdown("bye".into())),
        Input::TcpClosed => closed(DownReason::ConnectionLost("reset".into())),
        Input::Open
        | Input::WrongOpen
        | Input::Update
        | Input::WrongUpdate
        | Input::Keepalive
        | Input::RouteRefresh
        | Input::RouteRefreshOfUnknownFamily
        | Input::HoldTimer
        | Input::KeepaliveTimer
        | Input::UpdateSent => return None,
    })
}

fn in_open_sent(input: Input) -> Outcome {
    use State::OpenSent;
    match input {
        Input::Open => Outcome {
            state: State::OpenConfirm,
            events: vec![Event::Opened],
            sent: vec![Message::Keepalive],
        },
        Input::WrongOpen => fault("hold time 1 s; it must be 0 or at least 3 s", 2, 6, &[]),
        Input::Update | Input::WrongUpdate => unexpected("Update", OpenSent, UPDATE),
        Input::Keepalive => unexpected("Keepalive", OpenSent, KEEPALIVE),
        Input::RouteRefresh | Input::RouteRefreshOfUnknownFamily => {
            unexpected("RouteRefresh", OpenSent, ROUTE_REFRESH)
        }
        Input::HoldTimer => closed(DownReason::HoldTimerExpired(secs(90))),
        Input::KeepaliveTimer | Input::UpdateSent => nothing(OpenSent),
        Input::Notification
        | Input::WrongNotification
        | Input::WrongHeader
        | Input::Shutdown
        | Input::TcpClosed => anywhere(input).unwrap(),
    }
}

fn in_open_confirm(input: Input) -> Outcome {
    use State::OpenConfirm;
    match input {
        Input::Open | Input::WrongOpen => unexpected("Open", OpenConfirm, OPEN),
        Input::Update | Input::WrongUpdate => unexpected("Update", OpenConfirm, UPDATE),
        Input::Keepalive => told(State::Established, Event::Established),
        Input::RouteRefresh | Input::RouteRefreshOfUnknownFamily => {
            unexpected("RouteRefresh", OpenConfirm, ROUTE_REFRESH)
        }
        Input::HoldTimer => closed(DownReason::HoldTimerExpired(secs(30))),
        Input::KeepaliveTimer => sent(OpenConfirm, Message::Keepalive),
        Input::UpdateSent => nothing(OpenConfirm),
        Input::Notification
        | Input::WrongNotification
        | Input::WrongHeader
        | Input::Shutdown
        | Input::TcpClosed => anywhere(input).unwrap(),
    }
}

fn in_established(input: Input) -> Outcome {
    use State::Established;
    match input {
        Input::Open | Input::WrongOpen => unexpected("Open", Established, OPEN),
        Input::Update => {
            let body = update(&[], &mandatory(), &[8, 10]);
            told(Established, Event::Received(Update::decode(&body, EXTERNAL).unwrap()))
        }
        Input::WrongUpdate => {
            fault("malformed UPDATE: Withdrawn Routes Length overruns the message", 3, 1, &[])
        }
        Input::Keepalive | Input::RouteRefreshOfUnknownFamily | Input::UpdateSent => {
            nothing(Established)
        }
        Input::RouteRefresh => told(Established, Event::Refresh(Family::Ipv6Unicast)),
        Input::HoldTimer => closed(DownReason::HoldTimerExpired(secs(30))),
        Input::KeepaliveTimer => sent(Established, Message::Keepalive),
        Input::Notification
        | Input::WrongNotification
        | Input::WrongHeader
        | Input::Shutdown
        | Input::TcpClosed => anywhere(input).unwrap(),
    }
}

#[test]
fn every_input_in_every_state_has_its_outcome() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established, State::Closed] {
        for input in Input::ALL {
            let now = start();
            let mut connection = connection_in(state, now);
            input.happens_to(&mut connection, now);
            let expected = match state {
                State::OpenSent => in_open_sent(input),
                State::OpenConfirm => in_open_confirm(input),
                State::Established => in_established(input),
                State::Closed => nothing(State::Closed),
            };
            assert_eq!(outcome(&mut connection), expected, "{input:?} in {state:?}");
            let is_over = connection.state() == State::Closed;
            assert_eq!(connection.poll_timeout().is_none(), is_over, "{input:?} in {state:?}");
        }
    }
}

#[test]
fn a_connection_begins_with_our_open() {
    let mut connection = Connection::new(config(), Opening::new(router_id(1)), 7, start());
    let capabilities = Capabilities {
        multiprotocol: vec![(1, 1), (2, 1)],
        route_refresh: true,
        extended_next_hop: true,
        extended_message: true,
        four_octet_asn: Some(LOCAL),
        enhanced_route_refresh: true,
        ..Capabilities::default()
    };
    let open = Open { asn: LOCAL, hold_time: 90, router_id: router_id(1), capabilities };
    assert_eq!(outcome(&mut connection), sent(State::OpenSent, Message::Open(open)));
}

#[test]
fn a_whole_session_may_come_in_one_segment() {
    let stream = [
        peer_open(),
        keepalive(),
        message(UPDATE, &[0; 4]),
        route_refresh(1),
        Notification::administrative_shutdown("night").encode(),
        message(UPDATE, &[0; 4]), // nobody listens any more
    ];
    let mut connection = connection_in(State::OpenSent, start());
    connection.handle_input(&stream.concat(), start());
    let end_of_rib = Update { end_of_rib: Some(Family::Ipv4Unicast), ..Update::default() };
    let shutdown = Notification::administrative_shutdown("night");
    let expected = Outcome {
        state: State::Closed,
        events: vec![
            Event::Opened,
            Event::Established,
            Event::Received(end_of_rib),
            Event::Refresh(Family::Ipv4Unicast),
            Event::Down(DownReason::NotificationReceived(shutdown)),
        ],
        sent: vec![Message::Keepalive],
    };
    assert_eq!(outcome(&mut connection), expected);
}

#[test]
fn a_fault_after_good_messages_is_answered_after_their_answers() {
    let mut connection = connection_in(State::OpenSent, start());
    connection.handle_input(&[peer_open(), header(18, KEEPALIVE)].concat(), start());
    let notification = Notification::new(1, 2, vec![0, 18]);
    let detail = "a message of 18 octets, which its type 4 cannot have".into();
    let reason = DownReason::ProtocolError { detail, notification: notification.clone() };
    let expected = Outcome {
        state: State::Closed,
        events: vec![Event::Opened, Event::Down(reason)],
        sent: vec![Message::Keepalive, Message::Notification(notification)],
    };
    assert_eq!(outcome(&mut connection), expected);
}

#[test]
fn a_connection_that_is_over_forgets_what_it_is_fed() {
    let mut connection = connection_in(State::Closed, start());
    for _ in 0..1000 {
        connection.handle_input(&[0xff; 4096], start());
    }
    assert_eq!(outcome(&mut connection), nothing(State::Closed));
    let shown = format!("{connection:?}");
    assert!(shown.len() < 2000, "{} octets of state", shown.len());
}

#[test]
fn every_reason_tells_the_peer_what_it_should() {
    let reason = |text: &str| text.to_string();
    for (reason, notification) in [
        (DownReason::Shutdown(reason("x")), Some(Notification::new(6, 2, b"\x01x".to_vec()))),
        (DownReason::Shutdown(reason("")), Some(Notification::new(6, 2, vec![0]))),
        (DownReason::Deconfigured, Some(Notification::cease(3))),
        (DownReason::ConfigurationChanged, Some(Notification::cease(6))),
        (DownReason::CollisionLost, Some(Notification::cease(7))),
        (DownReason::BfdDown(reason("x")), Some(Notification::cease(10))),
        (DownReason::HoldTimerExpired(secs(9)), Some(Notification::new(4, 0, vec![]))),
        (DownReason::ConnectionLost(reason("x")), None),
        (DownReason::ClosedByPeer { before_open: false }, None),
        (DownReason::MalformedNotification, None),
    ] {
        let mut connection = connection_in(State::Established, start());
        connection.close(reason.clone());
        let expected = Outcome {
            state: State::Closed,
            events: vec![Event::Down(reason)],
            sent: notification.map(Message::Notification).into_iter().collect(),
        };
        assert_eq!(outcome(&mut connection), expected);
        connection.close(DownReason::Deconfigured);
        assert_eq!(outcome(&mut connection), nothing(State::Closed), "only the first counts");
    }
}

/// What this configuration and the OPEN of the peer come to.
fn negotiated(config: Config, open: &[u8]) -> Result<Session, (String, Notification)> {
    let mut connection = Connection::new(config, Opening::new(router_id(1)), 7, start());
    connection.poll_transmit();
    connection.handle_input(open, start());
    match connection.poll_event() {
        Some(Event::Opened) => {
            assert_eq!(read(&connection.poll_transmit(), EXTERNAL), [Message::Keepalive]);
            Ok(connection.session().unwrap().clone())
        }
        Some(Event::Down(DownReason::ProtocolError { detail, notification })) => {
            let answer = Message::Notification(notification.clone());
            assert_eq!(read(&connection.poll_transmit(), EXTERNAL), [answer]);
            assert_eq!(connection.session(), None);
            Err((detail, notification))
        }
        event => panic!("{event:?}"),
    }
}

#[test]
fn the_smaller_hold_time_counts_and_a_third_of_it_between_keepalives() {
    for (ours, theirs, keepalive_time, hold_time, keepalive) in [
        (90, 180, None, 90, secs(30)),
        (180, 90, None, 90, secs(30)),
        (90, 90, None, 90, secs(30)),
        (90, 3, None, 3, secs(1)),
        (3, 65535, None, 3, secs(1)),
        (65535, 65535, None, 65535, secs(21845)),
        (10, 90, None, 10, secs(10) / 3),
        (0, 90, None, 0, secs(0)),
        (90, 0, None, 0, secs(0)),
        (0, 0, None, 0, secs(0)),
        // Ours where it is shorter
        (90, 90, Some(secs(10)), 90, secs(10)),
        (90, 9, Some(secs(10)), 9, secs(3)),
        (90, 0, Some(secs(10)), 0, secs(0)),
    ] {
        let config = Config { hold_time: secs(ours), keepalive_time, ..config() };
        let session = negotiated(config, &open(REMOTE.0, theirs, [10, 0, 0, 2])).unwrap();
        let times = (session.hold_time, session.keepalive_time);
        assert_eq!(times, (secs(hold_time), keepalive), "{ours} and {theirs}");
    }
}

/// An OPEN with these capabilities.
fn open_with(asn: u16, capabilities: &[u8]) -> Vec<u8> {
    let fields = open_fields(4, asn, 90, [10, 0, 0, 2]);
    message(OPEN, &[fields, parameters(capabilities)].concat())
}

#[test]
fn the_families_of_both_are_announced() {
    use Family::{Ipv4Unicast, Ipv6Unicast};
    let (four, six, evpn): (&[u8], &[u8], &[u8]) =
        (&[1, 4, 0, 1, 0, 1], &[1, 4, 0, 2, 0, 1], &[1, 4, 0, 25, 0, 70]);
    for (offered, families) in [
        (vec![], vec![Ipv4Unicast]), // RFC 4271 by itself
        (vec![four], vec![Ipv4Unicast]),
        (vec![six], vec![Ipv6Unicast]),
        (vec![six, four], vec![Ipv4Unicast, Ipv6Unicast]),
        (vec![evpn, six], vec![Ipv6Unicast]),
    ] {
        let session = negotiated(config(), &open_with(64500, &offered.concat())).unwrap();
        assert_eq!(session.families, families, "{offered:?}");
    }
    let refused = negotiated(config(), &open_with(64500, evpn)).unwrap_err();
    let detail = "no address family in common: the peer offers AFI 25 SAFI 70, we offer IPv4 \
                  unicast and IPv6 unicast";
    let data = [four, six].concat();
    assert_eq!(refused, (detail.into(), Notification::new(2, 7, data)));

    // As many as an OPEN without the extended form holds; the first eight are enough to see why.
    let all: Vec<u8> = (100..140).flat_map(|safi| [1, 4, 0, 25, 0, safi]).collect();
    let (detail, _) = negotiated(config(), &open_with(64500, &all)).unwrap_err();
    assert!(detail.contains("AFI 25 SAFI 100, AFI 25 SAFI 101, "), "{detail}");
    assert!(detail.contains("AFI 25 SAFI 107, 32 more, we offer"), "{detail}");
}

#[test]
fn the_peer_must_be_in_the_as_that_was_configured() {
    use RemoteAsn::{External, Internal, Number};
    let refused = |received: u32, expected: &str| {
        let detail = format!("the peer says AS {received}, remote-asn says {expected}");
        Err((detail, Notification::new(2, 2, vec![])))
    };
    let big = 4_200_000_000;
    for (local, remote_asn, peer, result) in [
        (64501, Number(Asn(64500)), 64500, Ok(false)),
        (64501, Number(Asn(64501)), 64501, Ok(true)),
        (64501, Number(Asn(big)), big, Ok(false)),
        (64501, Number(Asn(64500)), 64502, refused(64502, "64500")),
        (64501, Number(Asn(64500)), 64501, refused(64501, "64500")),
        // 4200000000 and 59904 have the same low octets.
        (64501, Number(Asn(59904)), big, refused(big, "59904")),
        (64501, External, 64500, Ok(false)),
        (64501, External, big, Ok(false)),
        (64501, External, 64501, refused(64501, "\"external\" (not 64501)")),
        (64501, External, 0, refused(0, "an AS number (RFC 7607)")),
        (64501, Internal, 64501, Ok(true)),
        (big, Internal, big, Ok(true)),
        (64501, Internal, 64500, refused(64500, "\"internal\" (64501)")),
        (64501, Internal, 0, refused(0, "\"internal\" (64501)")),
    ] {
        let config = Config { local_asn: Asn(local), remote_asn, ..config() };
        let session = negotiated(config, &open(peer, 90, [10, 0, 0, 2]));
        let internal = session.map(|session| {
            assert_eq!(session.remote_asn, Asn(peer));
            session.encoding.internal
        });
        assert_eq!(internal, result, "{local} {remote_asn:?} {peer}");
    }
}

#[test]
fn an_as_number_of_zero_is_refused_in_either_place() {
    // RFC 7607 §2
    let external = Config { remote_asn: RemoteAsn::External, ..config() };
    for (two_octets, four_octets) in [(0, 64500), (64500, 0), (0, 0)] {
        let refused =
            negotiated(external.clone(), &open_with(two_octets, &capabilities(four_octets)));
        assert_eq!(refused.unwrap_err().1, Notification::new(2, 2, vec![]));
    }
}

#[test]
fn two_peers_of_one_as_must_differ_in_their_router_id() {
    // RFC 6286 §2.1, §2.2
    let external = config();
    let internal = Config { remote_asn: RemoteAsn::Internal, ..config() };
    let accepted = |config: &Config, asn: Asn, router_id: [u8; 4]| {
        negotiated(config.clone(), &open(asn.0, 90, router_id)).map(|s| s.remote_router_id)
    };
    let refused = |router_id: &str, why: &str| {
        let detail = format!("the peer's BGP identifier (router ID) {router_id} is {why}");
        Err((detail, Notification::new(2, 3, vec![])))
    };
    let [ours, theirs] = [[10, 0, 0, 1], [10, 0, 0, 2]];
    assert_eq!(accepted(&external, REMOTE, ours), Ok(Ipv4Addr::from(ours)));
    assert_eq!(accepted(&internal, LOCAL, theirs), Ok(Ipv4Addr::from(theirs)));
    let same = refused("10.0.0.1", "also ours (RFC 6286 §2.2)");
    assert_eq!(accepted(&internal, LOCAL, ours), same);
    for (config, asn) in [(&external, REMOTE), (&internal, LOCAL)] {
        assert_eq!(accepted(config, asn, [0; 4]), refused("0.0.0.0", "not a valid one"));
        // Any other number is one, though it is no address of a host.
        for any in [[255; 4], [224, 0, 0, 1], [0, 0, 0, 1]] {
            assert_eq!(accepted(config, asn, any), Ok(Ipv4Addr::from(any)));
        }
    }
}

#[test]
fn a_peer_without_four_octets_is_written_to_in_two() {
    let two_octets = TWO_OCTETS;
    let session = negotiated(config(), &open_with(64500, &[2, 0])).unwrap();
    assert_eq!((session.encoding, session.remote_asn), (two_octets, REMOTE));
    // A long number cannot come from such a peer: AS_TRANS is what it is known by.
    let config = |remote_asn| Config { remote_asn, ..config() };
    let trans = RemoteAsn::Number(Asn::TRANS);
    assert_eq!(negotiated(config(trans), &open_with(23456, &[])).unwrap().encoding, two_octets);
    let long = RemoteAsn::Number(Asn(4_200_000_000));
    assert_eq!(
        negotiated(config(long), &open_with(23456, &[])),
        Err((
            "the peer says AS 23456, remote-asn says 4200000000".into(),
            Notification::new(2, 2, vec![])
        ))
    );
}

#[test]
fn what_the_peer_offers_and_we_do_is_agreed() {
    let agreed = |capabilities: &[u8]| {
        let session = negotiated(config(), &open_with(64500, capabilities)).unwrap();
        let Encoding { extended_message, extended_next_hop, .. } = session.encoding;
        (extended_message, extended_next_hop, session.enhanced_route_refresh)
    };
    assert_eq!(agreed(&[]), (false, false, false));
    assert_eq!(agreed(&[6, 0]), (true, false, false));
    assert_eq!(agreed(&[5, 6, 0, 1, 0, 1, 0, 2]), (false, true, false));
    assert_eq!(agreed(&[70, 0]), (false, false, true));
    // Who offers nothing agrees to nothing, whatever the peer can do.
    let all = [&[6, 0, 70, 0, 5, 6, 0, 1, 0, 1, 0, 2][..], &capabilities(64500)].concat();
    let opening = Opening { capabilities: false, ..Opening::new(router_id(1)) };
    let mut connection = Connection::new(config(), opening, 7, start());
    let open = Open {
        asn: LOCAL,
        hold_time: 90,
        router_id: router_id(1),
        capabilities: Capabilities::default(),
    };
    assert_eq!(outcome(&mut connection).sent, [Message::Open(open)]);
    connection.handle_input(&open_with(64500, &all), start());
    let session = connection.session().unwrap();
    assert_eq!((session.encoding, session.enhanced_route_refresh), (TWO_OCTETS, false));
    assert_eq!(session.families, [Family::Ipv4Unicast]);
    // Nor need it take long messages, which others must (RFC 8654 §4).
    connection.handle_input(&keepalive(), start());
    outcome(&mut connection);
    let long = header(5000, UPDATE);
    connection.handle_input(&long, start());
    let notification = Message::Notification(Notification::new(1, 2, vec![0x13, 0x88]));
    assert_eq!(outcome(&mut connection).sent, [notification]);
    let mut connection = connection_in(State::Established, start());
    connection.handle_input(&long, start());
    assert_eq!(outcome(&mut connection).sent, []);
}

#[test]
fn the_roles_of_both_must_go_together_where_both_have_one() {
    let with = |role| Config { role: Some(role), ..config() };
    for (role, theirs) in [
        (Role::Provider, 3),
        (Role::Customer, 0),
        (Role::RouteServer, 2),
        (Role::RouteServerClient, 1),
        (Role::Peer, 4),
    ] {
        for number in 0..6 {
            let answer = negotiated(with(role), &open_with(64500, &[9, 1, number]));
            assert_eq!(answer.is_ok(), number == theirs, "{role} and {number}");
            assert!(negotiated(config(), &open_with(64500, &[9, 1, number])).is_ok());
        }
        let session = negotiated(with(role), &open_with(64500, &[])).unwrap();
        // RFC 9234 §5: what goes to customers, peers and clients must go no further up.
        let marks = matches!(role, Role::Provider | Role::RouteServer | Role::Peer);
        assert_eq!(session.encoding.only_to_customer, marks.then_some(LOCAL), "{role}");
        let twice = [9, 1, theirs, 9, 1, theirs];
        assert!(negotiated(with(role), &open_with(64500, &twice)).is_ok());
    }
    let refused = |text: &str| Err((text.to_owned(), Notification::new(2, 11, vec![])));
    assert_eq!(
        negotiated(with(Role::Customer), &open_with(64500, &[9, 1, 3])),
        refused(
            "our role is \"customer\", so the peer's must be \"provider\"; it says \"customer\""
        )
    );
    assert_eq!(
        negotiated(with(Role::Customer), &open_with(64500, &[9, 1, 0, 9, 1, 9])),
        refused(
            "our role is \"customer\", so the peer's must be \"provider\"; it says \"provider\" and \
             role 9"
        )
    );
    let many: Vec<u8> = (5..80).flat_map(|number| [9, 1, number]).collect();
    let (text, _) = negotiated(with(Role::Customer), &open_with(64500, &many)).unwrap_err();
    assert!(text.ends_with("role 11 and role 12 and 67 more"), "{text}");
}

#[test]
fn a_refresh_that_is_none_ends_the_session() {
    let enhanced = [&capabilities(REMOTE.0)[..], &[70, 0]].concat();
    for (offer, body, notification) in [
        (&capabilities(REMOTE.0), &[0, 1, 1][..], Notification::new(1, 2, vec![0, 22])),
        (&enhanced, &[0, 1, 1], Notification::new(7, 1, message(ROUTE_REFRESH, &[0, 1, 1]))),
    ] {
        let mut connection = connection_in(State::OpenSent, start());
        connection.handle_input(&[open_with(64500, offer), keepalive()].concat(), start());
        outcome(&mut connection);
        connection.handle_input(&message(ROUTE_REFRESH, body), start());
        assert_eq!(outcome(&mut connection).sent, [Message::Notification(notification)]);
    }
    // What says that a refresh begins or ends asks for nothing.
    let mut connection = connection_in(State::OpenSent, start());
    connection.handle_input(&[open_with(64500, &enhanced), keepalive()].concat(), start());
    outcome(&mut connection);
    for subtype in 1..4 {
        connection.handle_input(&message(ROUTE_REFRESH, &[0, 1, subtype, 1]), start());
        assert_eq!(outcome(&mut connection).events, []);
    }
}

/// A configuration that asks peers to keep our routes.
fn keeping() -> Config {
    let restart = Restart { time: secs(20), long_lived: secs(0) };
    Config { restart: Some(restart), ..config() }
}

#[test]
fn the_open_says_what_a_restart_left() {
    let offered = |opening: Opening, config: Config| {
        let mut connection = Connection::new(config, opening, 7, start());
        let sent = outcome(&mut connection).sent;
        let [Message::Open(open)] = &sent[..] else { panic!("{sent:?}") };
        (open.capabilities.graceful_restart.clone(), open.capabilities.long_lived.clone())
    };
    let opening = || Opening::new(router_id(1));
    assert_eq!(offered(opening(), config()), (None, [].into()));
    let families = |four, six| [(Family::Ipv4Unicast, four), (Family::Ipv6Unicast, six)].into();
    let ordinary = GracefulRestart {
        restarted: false,
        notification: true,
        time: 20,
        families: families(true, true),
    };
    assert_eq!(offered(opening(), keeping()), (Some(ordinary.clone()), [].into()));
    let preserved = [Family::Ipv6Unicast].into();
    let after_crash = Opening { restarted: true, preserved, ..opening() };
    let expected =
        GracefulRestart { restarted: true, families: families(false, true), ..ordinary.clone() };
    assert_eq!(offered(after_crash.clone(), keeping()), (Some(expected.clone()), [].into()));
    let restart = Restart { time: secs(20), long_lived: secs(3600) };
    let long = Config { restart: Some(restart), ..config() };
    let long_lived =
        [(Family::Ipv4Unicast, (false, 3600)), (Family::Ipv6Unicast, (true, 3600))].into();
    assert_eq!(offered(after_crash, long), (Some(expected), long_lived));
}

/// RFC 8538 §3: where both said that NOTIFICATIONs keep routes, one that must not is a hard reset.
#[test]
fn an_end_for_good_is_a_hard_reset_where_the_peer_would_keep_our_routes() {
    let ends = [
        (DownReason::Shutdown("night".into()), true),
        (DownReason::Deconfigured, true),
        (DownReason::BfdDown("gone".into()), true),
        (DownReason::ConfigurationChanged, false),
        (DownReason::HoldTimerExpired(secs(30)), false),
    ];
    let n_bit = [64, 2, 0x40, 120];
    let no_n_bit = [64, 2, 0, 120];
    for (config, capability, agreed) in [
        (keeping(), &n_bit[..], true),
        (keeping(), &no_n_bit, false),
        (keeping(), &[], false),
        (config(), &n_bit, false),
    ] {
        for (reason, is_final) in ends.clone() {
            let opening = Opening::new(router_id(1));
            let mut connection = Connection::new(config.clone(), opening, 7, start());
            let open = open_with(64500, capability);
            connection.handle_input(&[open, keepalive()].concat(), start());
            outcome(&mut connection);
            connection.close(reason.clone());
            let plain = reason.notification().unwrap();
            let expected = if agreed && is_final { plain.hard_reset() } else { plain };
            assert_eq!(outcome(&mut connection).sent, [Message::Notification(expected)]);
        }
    }
    // What a restart is about: not a word.
    let mut connection = connection_in(State::Established, start());
    connection.close(DownReason::Restarting);
    assert_eq!(outcome(&mut connection).sent, []);
}

/// RFC 4724 §4.2, RFC 8538 §4
#[test]
fn routes_are_kept_for_a_peer_that_asks_for_it_and_may_be_restarting() {
    let of_four = |flags| [64, 6, flags, 120, 0, 1, 1, 0];
    let (plain, over_notifications, nothing) = (of_four(0), of_four(0x40), [64, 2, 0x40, 120]);
    let received = DownReason::NotificationReceived;
    let reasons = [
        (DownReason::ClosedByPeer { before_open: false }, true, true),
        (DownReason::ConnectionLost("reset".into()), true, true),
        (DownReason::HoldTimerExpired(secs(90)), false, true),
        (received(Notification::administrative_shutdown("night")), false, true),
        (received(Notification::cease(2).hard_reset()), false, false),
        (DownReason::BfdDown("gone".into()), false, false),
        (DownReason::TooManyPrefixes(1), false, false),
        (DownReason::Shutdown("night".into()), false, false),
        (DownReason::MalformedNotification, false, false),
    ];
    let session = |config, capability: &[u8]| {
        negotiated(config, &open_with(64500, capability)).expect("a session")
    };
    let kept = Some((vec![Family::Ipv4Unicast], secs(120)));
    for (reason, by_plain, by_more) in reasons {
        let plainly = session(keeping(), &plain).keeps_routes(&reason);
        assert_eq!(plainly, kept.clone().filter(|_| by_plain), "{reason:?}");
        let more = session(keeping(), &over_notifications).keeps_routes(&reason);
        assert_eq!(more, kept.clone().filter(|_| by_more), "{reason:?}");
        // A peer that only helps others has nothing to be kept; we need not want to help.
        assert_eq!(session(keeping(), &nothing).keeps_routes(&reason), None);
        assert_eq!(session(keeping(), &[]).keeps_routes(&reason), None);
        assert_eq!(session(config(), &over_notifications).keeps_routes(&reason), None);
    }
    let preserved =
        |capability: &[u8]| session(keeping(), capability).preserved().collect::<Vec<_>>();
    assert_eq!(preserved(&plain), []);
    let both = [64, 10, 0, 120, 0, 1, 1, 0, 0, 2, 1, 0x80];
    assert_eq!(preserved(&both), [Family::Ipv6Unicast]);
}

#[test]
fn what_was_agreed_can_be_seen_whole() {
    let expected = Session {
        hold_time: secs(30),
        keepalive_time: secs(10),
        families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
        encoding: EXTERNAL,
        enhanced_route_refresh: false,
        graceful_restart: None,
        route_refresh: true,
        remote_asn: REMOTE,
        remote_router_id: router_id(2),
        remote_host_name: None,
        bfd_strict: false,
    };
    assert_eq!(negotiated(config(), &peer_open()), Ok(expected.clone()));
    let config = Config { remote_asn: RemoteAsn::Internal, ..config() };
    let expected = Session { encoding: INTERNAL, remote_asn: LOCAL, ..expected };
    assert_eq!(negotiated(config, &open(LOCAL.0, 30, [10, 0, 0, 2])), Ok(expected));
}

/// A session with these hold times, Established at the instant that is returned.
fn session(ours: u64, theirs: u16) -> (Connection, Instant) {
    let now = start();
    let config = Config { hold_time: secs(ours), ..config() };
    let mut connection = Connection::new(config, Opening::new(router_id(1)), 7, now);
    let open = open(REMOTE.0, theirs, [10, 0, 0, 2]);
    connection.handle_input(&[open, keepalive()].concat(), now);
    assert_eq!(outcome(&mut connection).state, State::Established);
    (connection, now)
}

/// Runs until `end`, with a KEEPALIVE of the peer every `period`; when we sent one ourselves.
fn keepalives(
    connection: &mut Connection,
    begin: Instant,
    end: Instant,
    period: Duration,
) -> Vec<Instant> {
    let mut sent_at = Vec::new();
    let mut heard = begin + period;
    loop {
        let next = connection.poll_timeout().map_or(heard, |timeout| timeout.min(heard));
        if next > end {
            return sent_at;
        }
        if next == heard {
            connection.handle_input(&keepalive(), next);
            heard += period;
        }
        connection.handle_timeout(next);
        let outcome = outcome(connection);
        assert_eq!((outcome.state, outcome.events), (State::Established, vec![]));
        if !outcome.sent.is_empty() {
            assert_eq!(outcome.sent, [Message::Keepalive]);
            sent_at.push(next);
        }
    }
}

fn gaps(instants: &[Instant]) -> Vec<Duration> {
    instants.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn keepalives_go_out_for_hours_with_the_jitter_of_rfc_4271() {
    let (mut connection, begin) = session(90, 90);
    let hours = 6 * 3600;
    let sent_at = keepalives(&mut connection, begin, begin + secs(hours), secs(30));
    let gaps = gaps(&sent_at);
    assert!(gaps.iter().all(|gap| (secs(22)..=secs(30)).contains(gap) && *gap >= secs(45) / 2));
    assert!(sent_at[0] - begin <= secs(30));
    // Neither always early nor always late
    let mean = (sent_at[sent_at.len() - 1] - sent_at[0]).as_secs_f64() / gaps.len() as f64;
    assert!((26.0..26.5).contains(&mean), "{mean} s");
    let different: BTreeSet<Duration> = gaps.into_iter().collect();
    assert!(different.len() > 100);
}

#[test]
fn two_keepalives_are_never_less_than_a_second_apart() {
    // RFC 4271 §4.4; a third of the shortest hold time is that already, so there is no jitter.
    for hold_time in [3, 4, 9] {
        let (mut connection, begin) = session(hold_time, 90);
        let sent_at = keepalives(&mut connection, begin, begin + secs(3600), secs(1));
        let gaps = gaps(&sent_at);
        let third = secs(hold_time) / 3;
        assert!(gaps.iter().all(|gap| (secs(1)..=third).contains(gap)), "{hold_time} s");
    }
}

#[test]
fn an_update_that_was_sent_takes_the_place_of_a_keepalive() {
    let (mut connection, begin) = session(90, 90);
    for second in 0..3600 {
        let now = begin + secs(second);
        connection.handle_input(&keepalive(), now);
        connection.handle_update_sent(now);
        connection.handle_timeout(now);
        assert_eq!(outcome(&mut connection), nothing(State::Established));
    }
    let sent_at = keepalives(&mut connection, begin + secs(3600), begin + secs(3640), secs(30));
    assert_eq!(sent_at.len(), 1);
    assert!(sent_at[0] >= begin + secs(3599) + secs(45) / 2);
}

#[test]
fn the_hold_timer_fires_exactly_a_hold_time_after_the_last_keepalive_or_update() {
    for (last, counts) in [
        (keepalive(), true),
        (message(UPDATE, &[0; 4]), true),
        (route_refresh(1), false), // RFC 4271 §8.2.2 names the other two
        (vec![0xff; 18], false),   // the beginning of something
    ] {
        let (mut connection, begin) = session(9, 90);
        connection.handle_input(&last, begin + secs(5));
        outcome(&mut connection);
        let end = begin + secs(if counts { 14 } else { 9 });
        while let Some(timeout) = connection.poll_timeout().filter(|timeout| *timeout < end) {
            connection.handle_timeout(timeout);
            assert_eq!(outcome(&mut connection), sent(State::Established, Message::Keepalive));
        }
        connection.handle_timeout(end - Duration::from_nanos(1));
        assert_eq!(connection.state(), State::Established);
        connection.handle_timeout(end);
        let expected = closed(DownReason::HoldTimerExpired(secs(9)));
        assert_eq!(outcome(&mut connection), expected);
    }
}

#[test]
fn without_a_hold_time_nothing_is_ever_sent_or_missed() {
    for (ours, theirs) in [(0, 90), (90, 0), (0, 0)] {
        let (mut connection, begin) = session(ours, theirs);
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_update_sent(begin);
        connection.handle_input(&[keepalive(), message(UPDATE, &[0; 4])].concat(), begin);
        outcome(&mut connection);
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_timeout(begin + secs(1_000_000));
        assert_eq!(outcome(&mut connection), nothing(State::Established));
    }
}

#[test]
fn a_peer_without_an_open_is_waited_for_as_long_as_the_hold_time_or_four_minutes() {
    for (ours, patience) in [(90, 90), (3, 3), (0, 240)] {
        let now = start();
        let config = Config { hold_time: secs(ours), ..config() };
        let mut connection = Connection::new(config, Opening::new(router_id(1)), 7, now);
        connection.poll_transmit();
        assert_eq!(connection.poll_timeout(), Some(now + secs(patience)));
        connection.handle_timeout(now + secs(patience));
        let expected = closed(DownReason::HoldTimerExpired(secs(patience)));
        assert_eq!(outcome(&mut connection), expected);
    }
}

#[test]
fn a_peer_that_falls_silent_after_its_open_is_given_up_even_without_a_hold_time() {
    for (ours, theirs, patience) in [(90, 30, 30), (90, 0, 90), (0, 90, 240), (0, 0, 240)] {
        let now = start();
        let config = Config { hold_time: secs(ours), ..config() };
        let mut connection = Connection::new(config, Opening::new(router_id(1)), 7, now);
        connection.handle_input(&open(REMOTE.0, theirs, [10, 0, 0, 2]), now);
        assert_eq!(outcome(&mut connection).state, State::OpenConfirm);
        let end = now + secs(patience);
        while let Some(timeout) = connection.poll_timeout().filter(|timeout| *timeout < end) {
            connection.handle_timeout(timeout);
            assert_eq!(outcome(&mut connection), sent(State::OpenConfirm, Message::Keepalive));
        }
        connection.handle_timeout(end);
        let expected = closed(DownReason::HoldTimerExpired(secs(patience)));
        assert_eq!(outcome(&mut connection), expected, "{ours} and {theirs}");
    }
}

#[test]
fn extra_timeouts_are_harmless() {
    let (mut connection, begin) = session(90, 90);
    let timeout = connection.poll_timeout();
    for _ in 0..100 {
        connection.handle_timeout(begin + secs(1));
    }
    assert_eq!(outcome(&mut connection), nothing(State::Established));
    assert_eq!(connection.poll_timeout(), timeout);
}

#[test]
fn both_ends_of_a_session_keep_it_up_for_a_day() {
    let begin = start();
    let remote_asn = RemoteAsn::Number(LOCAL);
    let other = Config { local_asn: REMOTE, remote_asn, hold_time: secs(20), ..config() };
    let mut ends = [
        Connection::new(config(), Opening::new(router_id(1)), 1, begin),
        Connection::new(other, Opening::new(router_id(2)), 2, begin),
    ];
    let mut now = begin;
    let mut events: Vec<Event> = Vec::new();
    while now < begin + secs(24 * 3600) {
        loop {
            let from = ends.iter_mut().position(|end| end.has_output());
            let Some(from) = from else { break };
            let octets = ends[from].poll_transmit();
            ends[1 - from].handle_input(&octets, now);
        }
        for end in &mut ends {
            events.extend(std::iter::from_fn(|| end.poll_event()));
        }
        now = ends.iter().filter_map(Connection::poll_timeout).min().unwrap();
        for end in &mut ends {
            end.handle_timeout(now);
        }
    }
    use Event::{Established, Opened};
    assert_eq!(events, [Opened, Established, Opened, Established]);
}
