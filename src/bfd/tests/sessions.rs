//! All sessions: demultiplexing, counters, changes of configuration.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bfd::discard::Discard;
use crate::bfd::session::{Event, Plane};
use crate::bfd::sessions::{self, Datagram, Generation, Hops, Sessions};
use crate::route::PeerName;

const SINGLE: &str = "192.0.2.1";
const MULTI: &str = "203.0.113.1";
const BOTH: &str = "2001:db8::1";
const STRANGER: &str = "198.51.100.99";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn wanted(remote: &str, hops: Hops) -> sessions::Config {
    let minimum_ttl = match hops {
        Hops::Single => 255,
        Hops::Multi => 250,
    };
    let session = config(3, 300, 300);
    let (generation, remote, authentication) = (Generation(1), ip(remote).into(), None);
    sessions::Config {
        generation,
        remote,
        source: None,
        hops,
        minimum_ttl,
        session,
        authentication,
    }
}

/// Sessions with a peer next to us, one behind routers, and one that is watched both ways.
fn four(now: Instant) -> Sessions {
    let mut sessions = Sessions::new(7);
    sessions.set(&"single".into(), wanted(SINGLE, Hops::Single), now);
    sessions.set(&"multi".into(), wanted(MULTI, Hops::Multi), now);
    sessions.set(&"both-single".into(), wanted(BOTH, Hops::Single), now);
    sessions.set(&"both-multi".into(), wanted(BOTH, Hops::Multi), now);
    sessions
}

fn discriminator_of(sessions: &Sessions, peer: &str) -> NonZeroU32 {
    let look = sessions.looks(start()).find(|look| look.peer == peer.into()).expect("a session");
    look.session.discriminator
}

fn discards(sessions: &Sessions) -> BTreeMap<Discard, u64> {
    sessions.discards().iter().collect()
}

fn states(sessions: &Sessions) -> BTreeMap<PeerName, State> {
    sessions.looks(start()).map(|look| (look.peer, look.session.state)).collect()
}

fn events(sessions: &mut Sessions) -> Vec<(PeerName, Event)> {
    let events = std::iter::from_fn(|| sessions.poll_event());
    events.map(|(peer, _, event)| (peer, event)).collect()
}

/// The packets that are due, by the peer they are for.
fn drain(sessions: &mut Sessions, now: Instant) -> Vec<(PeerName, Packet)> {
    let mut sent = Vec::new();
    while let Some(packet) = sessions.poll_transmit(now) {
        let (peer, _) = sessions.config(packet.session).expect("it has a configuration");
        sent.push((peer.clone(), Packet::decode(packet.payload.octets()).expect("a good packet")));
    }
    sent.sort_by(|one, other| one.0.cmp(&other.0));
    sent
}

fn deliver(
    sessions: &mut Sessions,
    (hops, source, ttl): (Hops, &str, Option<u8>),
    payload: &[u8],
    at: Instant,
) {
    sessions.handle_datagram(Datagram { hops, source: ip(source).into(), ttl, payload, at });
}

/// The first words of a peer that does not know us.
fn hello() -> Packet {
    Packet { your_discriminator: None, ..said(State::Down) }
}

/// Brings the session with the peer next to us Up, the Poll Sequence of its new rate answered.
fn bring_up(sessions: &mut Sessions, now: Instant) {
    let your_discriminator = Some(discriminator_of(sessions, "single"));
    let way = (Hops::Single, SINGLE, Some(255));
    for (state, is_final) in [(State::Down, false), (State::Up, false), (State::Up, true)] {
        let packet = Packet { your_discriminator, is_final, ..said(state) };
        deliver(sessions, way, &packet.encode(), now);
        drain(sessions, now);
    }
    assert_eq!(events(sessions), [("single".into(), Event::Up)]);
}

#[test]
fn every_datagram_reaches_its_session_or_is_counted_for_what_is_wrong_with_it() {
    use Hops::{Multi, Single};
    let our = |peer: &str| Some(discriminator_of(&four(start()), peer));
    let nobody = Some(discriminator(0xdead_beef));
    let to = |your_discriminator| Packet { your_discriminator, ..said(State::Down) };
    // How it came, what it said, and which session it moved or why it was dropped.
    let table = [
        ((Single, SINGLE, Some(255)), hello(), Ok("single")),
        ((Single, SINGLE, Some(254)), hello(), Err(Discard::Ttl)),
        ((Single, SINGLE, Some(0)), hello(), Err(Discard::Ttl)),
        ((Single, SINGLE, None), hello(), Err(Discard::Ttl)),
        ((Single, SINGLE, Some(255)), to(our("single")), Ok("single")),
        ((Single, SINGLE, Some(254)), to(our("single")), Err(Discard::Ttl)),
        ((Multi, MULTI, Some(255)), hello(), Ok("multi")),
        ((Multi, MULTI, Some(250)), hello(), Ok("multi")),
        ((Multi, MULTI, Some(249)), hello(), Err(Discard::Ttl)),
        ((Multi, MULTI, None), hello(), Err(Discard::Ttl)),
        ((Multi, MULTI, Some(250)), to(our("multi")), Ok("multi")),
        ((Multi, MULTI, Some(249)), to(our("multi")), Err(Discard::Ttl)),
        // The same peer both ways: the port tells which.
        ((Single, BOTH, Some(255)), hello(), Ok("both-single")),
        ((Multi, BOTH, Some(255)), hello(), Ok("both-multi")),
        // The other port.
        ((Multi, SINGLE, Some(255)), hello(), Err(Discard::UnknownSession)),
        ((Single, MULTI, Some(255)), hello(), Err(Discard::UnknownSession)),
        ((Multi, SINGLE, Some(255)), to(our("single")), Err(Discard::WrongSource)),
        ((Single, MULTI, Some(255)), to(our("multi")), Err(Discard::WrongSource)),
        ((Multi, BOTH, Some(255)), to(our("both-single")), Err(Discard::WrongSource)),
        ((Single, BOTH, Some(255)), to(our("both-multi")), Err(Discard::WrongSource)),
        // Somebody else.
        ((Single, STRANGER, Some(255)), hello(), Err(Discard::UnknownSession)),
        ((Multi, STRANGER, Some(255)), hello(), Err(Discard::UnknownSession)),
        ((Single, STRANGER, Some(255)), to(our("single")), Err(Discard::WrongSource)),
        ((Multi, STRANGER, Some(255)), to(our("multi")), Err(Discard::WrongSource)),
        // A discriminator that is none of ours, or another session's.
        ((Single, SINGLE, Some(255)), to(nobody), Err(Discard::UnknownSession)),
        ((Single, SINGLE, Some(255)), to(our("multi")), Err(Discard::WrongSource)),
        ((Single, SINGLE, Some(255)), to(our("both-single")), Err(Discard::WrongSource)),
    ];
    let mut totals = four(start());
    let mut expected_totals: BTreeMap<Discard, u64> = BTreeMap::new();
    for (way, packet, expected) in table {
        let now = start();
        let mut sessions = four(now);
        deliver(&mut sessions, way, &packet.encode(), now);
        let moved: Vec<_> =
            states(&sessions).into_iter().filter(|(_, state)| *state != State::Down).collect();
        let dropped: Vec<_> = sessions.discards().iter().collect();
        match expected {
            Ok(peer) => assert_eq!(
                (moved, dropped),
                (vec![(peer.into(), State::Init)], vec![]),
                "{way:?} {packet:?}"
            ),
            Err(discard) => {
                assert_eq!((moved, dropped), (vec![], vec![(discard, 1)]), "{way:?} {packet:?}");
                *expected_totals.entry(discard).or_default() += 1;
            }
        }
        deliver(&mut totals, way, &packet.encode(), now);
    }
    assert_eq!(discards(&totals), expected_totals);
}

#[test]
fn authentication_is_refused_where_none_is_configured() {
    let now = start();
    let mut sessions = four(now);
    let mut octets = hello().encode().to_vec();
    octets[1] |= 0x04;
    octets[3] = 26;
    octets.extend([1, 2]);
    deliver(&mut sessions, (Hops::Single, SINGLE, Some(255)), &octets, now);
    assert_eq!(discards(&sessions), BTreeMap::from([(Discard::Authentication, 1)]));
    assert!(states(&sessions).values().all(|state| *state == State::Down));
}

#[test]
fn what_is_no_packet_is_counted_too() {
    let now = start();
    let mut sessions = four(now);
    let way = (Hops::Single, SINGLE, Some(255));
    deliver(&mut sessions, way, &[], now);
    deliver(&mut sessions, way, &[0; 24], now);
    deliver(&mut sessions, way, &[0; 24], now);
    assert_eq!(discards(&sessions), BTreeMap::from([(Discard::Length, 1), (Discard::Version, 2)]));
}

#[test]
fn a_datagram_from_elsewhere_does_not_keep_a_session_up() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let your_discriminator = Some(discriminator_of(&sessions, "single"));
    let forged = Packet { your_discriminator, ..said(State::Up) }.encode();
    let later = now + secs(3) - TICK;
    for way in [
        (Hops::Single, STRANGER, Some(255)),
        (Hops::Single, SINGLE, Some(254)),
        (Hops::Multi, SINGLE, Some(255)),
    ] {
        deliver(&mut sessions, way, &forged, later);
    }
    sessions.handle_timeout(later);
    assert_eq!(events(&mut sessions), []);
    sessions.handle_timeout(now + secs(3));
    let failed = Event::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control);
    assert_eq!(events(&mut sessions), [("single".into(), failed)]);
}

#[test]
fn every_session_sends_with_a_discriminator_of_its_own() {
    let now = start();
    let mut sessions = Sessions::new(7);
    for number in 0..100 {
        let remote = format!("192.0.2.{number}");
        sessions.set(&remote.as_str().into(), wanted(&remote, Hops::Single), now);
    }
    assert_eq!(sessions.poll_timeout(), Some(now));
    let sent = drain(&mut sessions, now);
    let discriminators: BTreeSet<_> =
        sent.iter().map(|(_, packet)| packet.my_discriminator).collect();
    assert_eq!((sent.len(), discriminators.len()), (100, 100));
    let first = sessions.poll_timeout().expect("the next packets are due");
    assert!(((now + millis(750))..(now + millis(800))).contains(&first));
    assert_eq!(drain(&mut sessions, first).len(), 1, "each at its own time");
}

#[test]
fn packets_that_waited_while_we_did_not_run_count_for_when_they_came() {
    // The detection time is 3 s, and nobody looked for ten.
    for (last, expected) in [(millis(7001), false), (millis(7000), true)] {
        let now = start();
        let mut sessions = four(now);
        bring_up(&mut sessions, now);
        let your_discriminator = Some(discriminator_of(&sessions, "single"));
        let packet = Packet { your_discriminator, ..said(State::Up) }.encode();
        for at in [secs(1), secs(5), last] {
            deliver(&mut sessions, (Hops::Single, SINGLE, Some(255)), &packet, now + at);
        }
        sessions.handle_timeout(now + secs(10));
        let failed = events(&mut sessions);
        assert_eq!(failed.iter().any(|(peer, _)| *peer == "single".into()), expected, "{failed:?}");
        assert_eq!(drain(&mut sessions, now + secs(10)).len(), 4, "each is late with one packet");
    }
}

#[test]
fn what_a_peer_said_that_gave_us_up_while_we_did_not_run_is_its_reason_and_not_ours() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let your_discriminator = Some(discriminator_of(&sessions, "single"));
    let way = (Hops::Single, SINGLE, Some(255));
    let up = Packet { your_discriminator, ..said(State::Up) };
    let down = Packet {
        diag: Diag::DETECTION_TIME_EXPIRED,
        your_discriminator: None,
        ..said(State::Down)
    };
    for (at, packet) in [(1, &up), (2, &up), (3, &up), (4, &down), (5, &down), (9, &down)] {
        deliver(&mut sessions, way, &packet.encode(), now + secs(at));
    }
    sessions.handle_timeout(now + secs(10));
    let signaled = Event::Down(Diag::NEIGHBOR_SIGNALED_DOWN, Plane::Control);
    assert_eq!(events(&mut sessions), [("single".into(), signaled)]);
    let said = drain(&mut sessions, now + secs(10)).into_iter();
    let ours: Vec<_> = said.filter(|(peer, _)| *peer == "single".into()).collect();
    assert_eq!((ours.len(), ours[0].1.state), (1, State::Init), "it comes back by itself");
}

#[test]
fn a_thousand_sessions_send_each_at_its_time() {
    let now = start();
    let mut sessions = Sessions::new(7);
    for number in 0..1000 {
        let remote = format!("10.0.{}.{}", number / 250, number % 250);
        sessions.set(&remote.as_str().into(), wanted(&remote, Hops::Single), now);
    }
    let mut last: BTreeMap<NonZeroU32, Instant> = BTreeMap::new();
    let mut at = now;
    while at < now + secs(20) {
        sessions.handle_timeout(at);
        while let Some(packet) = sessions.poll_transmit(at) {
            if let Some(before) = last.insert(packet.session, at) {
                assert!((millis(750)..=secs(1)).contains(&(at - before)), "{:?}", at - before);
            }
        }
        let next = sessions.poll_timeout().expect("there is always a next one");
        assert!(next > at, "nothing is left that is due");
        at = next;
    }
    assert_eq!(last.len(), 1000);
}

#[test]
fn changed_timers_keep_the_session_and_are_polled_for() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let before = discriminator_of(&sessions, "single");
    let slower = sessions::Config { session: config(5, 600, 900), ..wanted(SINGLE, Hops::Single) };
    sessions.set(&"single".into(), slower.clone(), now);
    assert_eq!(discriminator_of(&sessions, "single"), before);
    assert_eq!(sessions.config(before), Some((&"single".into(), &slower)));
    let due = sessions.poll_timeout().expect("the next packet is due");
    let announced = Packet {
        poll: true,
        detect_mult: mult(5),
        my_discriminator: before,
        your_discriminator: Some(discriminator(2)),
        desired_min_tx: millis(600),
        required_min_rx: millis(900),
        ..said(State::Up)
    };
    assert_eq!(drain(&mut sessions, due), [("single".into(), announced)]);
    assert_eq!(events(&mut sessions), []);
}

#[test]
fn the_same_configuration_again_changes_nothing() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let before = (discriminator_of(&sessions, "single"), sessions.poll_timeout());
    sessions.set(&"single".into(), wanted(SINGLE, Hops::Single), now);
    assert_eq!((discriminator_of(&sessions, "single"), sessions.poll_timeout()), before);
    assert_eq!(drain(&mut sessions, now), []);
}

#[test]
fn another_minimum_ttl_holds_from_now_on_and_the_session_stays() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let old = discriminator_of(&sessions, "single");
    let changed = sessions::Config { minimum_ttl: 254, ..wanted(SINGLE, Hops::Single) };
    sessions.set(&"single".into(), changed.clone(), now);
    assert_eq!(sessions.config(old), Some((&"single".into(), &changed)));
    assert_eq!(states(&sessions).get(&"single".into()), Some(&State::Up));
}

#[test]
fn other_ends_are_another_session_and_the_old_one_says_goodbye() {
    let here = |last: &str| Some(ip(&format!("192.0.2.{last}")));
    let before = sessions::Config { source: here("8"), ..wanted(SINGLE, Hops::Single) };
    let table = [
        sessions::Config { remote: ip(STRANGER).into(), ..before.clone() },
        sessions::Config { source: here("9"), ..before.clone() },
        sessions::Config { hops: Hops::Multi, ..before.clone() },
        sessions::Config { source: None, hops: Hops::Multi, ..before.clone() },
    ];
    for changed in table {
        let now = start();
        let mut sessions = Sessions::new(7);
        sessions.set(&"single".into(), before.clone(), now);
        bring_up(&mut sessions, now);
        let old = discriminator_of(&sessions, "single");
        sessions.set(&"single".into(), changed.clone(), now);
        let new = discriminator_of(&sessions, "single");
        assert_ne!(old, new);
        assert_eq!(sessions.config(old), Some((&"single".into(), &before)));
        assert_eq!(sessions.config(new), Some((&"single".into(), &changed)));
        assert_eq!(states(&sessions).get(&"single".into()), Some(&State::Down));
        let first = drain(&mut sessions, now);
        let said: BTreeMap<_, _> = first
            .iter()
            .map(|(_, packet)| (packet.my_discriminator, (packet.state, packet.your_discriminator)))
            .collect();
        let goodbye = (State::AdminDown, Some(discriminator(2)));
        assert_eq!(said, [(old, goodbye), (new, (State::Down, None))].into());
        sessions.handle_timeout(now + secs(3));
        assert_eq!(sessions.configs().map(|(one, _)| one).collect::<Vec<_>>(), [new]);
        assert_eq!(events(&mut sessions), []);
    }
}

#[test]
fn what_happened_to_a_session_is_told_from_what_happened_to_the_one_before_it() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let old = discriminator_of(&sessions, "single");
    let (before, after) = (Generation(1), Generation(2));
    sessions.handle_timeout(now + secs(4));
    let again = sessions::Config { generation: after, ..wanted(SINGLE, Hops::Single) };
    sessions.set(&"single".into(), again, now + secs(4));
    assert_ne!(discriminator_of(&sessions, "single"), old);
    let failed = Event::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control);
    assert_eq!(sessions.poll_event(), Some(("single".into(), before, failed)));
    let your_discriminator = Some(discriminator_of(&sessions, "single"));
    let way = (Hops::Single, SINGLE, Some(255));
    for state in [State::Down, State::Up] {
        let packet = Packet { your_discriminator, ..said(state) };
        deliver(&mut sessions, way, &packet.encode(), now + secs(4));
    }
    assert_eq!(sessions.poll_event(), Some(("single".into(), after, Event::Up)));
}

#[test]
fn a_session_whose_source_may_still_be_the_same_says_no_goodbye() {
    // The peer could not tell it from the first words of the new one.
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let old = discriminator_of(&sessions, "single");
    let source = Some(ip("192.0.2.9"));
    let changed = sessions::Config { source, ..wanted(SINGLE, Hops::Single) };
    sessions.set(&"single".into(), changed, now);
    assert_eq!(sessions.config(old), None);
    assert_eq!(sessions.configs().count(), 4);
}

#[test]
fn a_removed_session_says_so_for_a_while_and_is_unknown_then() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    sessions.remove(&"single".into(), now);
    sessions.remove(&"never-there".into(), now);
    let farewell = |sessions: &mut Sessions, at| {
        let sent = drain(sessions, at).into_iter().filter(|(peer, _)| *peer == "single".into());
        sent.map(|(_, packet)| packet.state).collect::<Vec<_>>()
    };
    // At once, then at the slow rate; a packet of the peer brings nothing back.
    assert_eq!(farewell(&mut sessions, now), [State::AdminDown]);
    deliver(&mut sessions, (Hops::Single, SINGLE, Some(255)), &hello().encode(), now);
    assert_eq!(discards(&sessions), BTreeMap::from([(Discard::UnknownSession, 1)]));
    assert_eq!(farewell(&mut sessions, now + secs(1)), [State::AdminDown]);

    sessions.handle_timeout(now + secs(10));
    let others: Vec<PeerName> = states(&sessions).into_keys().collect();
    assert_eq!(others, ["both-multi".into(), "both-single".into(), "multi".into()]);
    assert_eq!(
        events(&mut sessions).iter().filter(|(peer, _)| *peer == "single".into()).count(),
        0
    );
    let sent = drain(&mut sessions, now + secs(10)).into_iter().map(|(peer, _)| peer);
    assert_eq!(sent.collect::<Vec<_>>(), others);
}

#[test]
fn a_session_that_is_wanted_again_while_it_says_goodbye_begins_anew() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    let (old, config) = {
        let old = discriminator_of(&sessions, "single");
        (old, sessions.config(old).expect("there").1.clone())
    };
    sessions.remove(&"single".into(), now);
    sessions.set(&"single".into(), config, now);
    assert_eq!(sessions.config(old), None);
    assert_eq!(sessions.configs().count(), 4);
    assert_eq!(states(&sessions).get(&"single".into()), Some(&State::Down));
}

#[test]
fn the_operators_wish_reaches_every_peer() {
    let now = start();
    let mut sessions = four(now);
    bring_up(&mut sessions, now);
    sessions.admin_down(now);
    let sent = drain(&mut sessions, now);
    let said: Vec<_> = sent.iter().map(|(_, packet)| (packet.state, packet.diag)).collect();
    assert_eq!(said, [(State::AdminDown, Diag::ADMINISTRATIVELY_DOWN); 4]);
    assert_eq!(events(&mut sessions), []);
}

#[test]
fn the_same_seed_gives_the_same_sessions() {
    let now = start();
    let [mut one, mut other] = [(), ()].map(|()| four(now));
    assert_eq!(drain(&mut one, now), drain(&mut other, now));
    assert_eq!(one.poll_timeout(), other.poll_timeout());
}

proptest! {
    #[test]
    fn random_datagrams_never_panic_and_each_is_taken_or_counted(
        datagrams in vec((any::<[bool; 2]>(), 0usize..4, any::<u8>(), vec(any::<u8>(), 24..64)), 0..50),
    ) {
        let now = start();
        let mut sessions = Sessions::new(7);
        sessions.set(&"single".into(), wanted(SINGLE, Hops::Single), now);
        sessions.set(&"multi".into(), wanted(MULTI, Hops::Multi), now);
        let mut dropped = 0;
        for ([single, to_nobody], source, ttl, mut payload) in datagrams {
            let hops = if single { Hops::Single } else { Hops::Multi };
            let source = [SINGLE, MULTI, BOTH, STRANGER][source];
            // Without help hardly any would be good enough.
            (payload[0], payload[1], payload[3]) = (0x20, payload[1] & !0x05, 24);
            if to_nobody {
                payload[8..12].fill(0);
            }
            deliver(&mut sessions, (hops, source, Some(ttl | 0xf0)), &payload, now);
            let counted = discards(&sessions).values().sum::<u64>();
            if counted == dropped {
                let said = Packet::decode(&payload).expect("a good packet").my_discriminator;
                let mut heard = sessions
                    .looks(start())
                    .filter_map(|look| look.session.remote.map(|remote| remote.discriminator));
                prop_assert!(heard.any(|remote| remote == said));
            } else {
                prop_assert_eq!(counted, dropped + 1);
            }
            dropped = counted;
        }
    }
}

#[test]
fn what_is_dropped_counts_for_the_peer_it_came_from() {
    let now = start();
    let mut sessions = four(now);
    deliver(&mut sessions, (Hops::Single, SINGLE, Some(254)), &hello().encode(), now);
    deliver(&mut sessions, (Hops::Single, SINGLE, Some(255)), b"short", now);
    deliver(&mut sessions, (Hops::Single, STRANGER, Some(255)), &hello().encode(), now);
    let theirs: BTreeMap<PeerName, Vec<(Discard, u64)>> =
        sessions.looks(now).map(|look| (look.peer, look.discards.iter().collect())).collect();
    assert_eq!(theirs[&"single".into()], [(Discard::Ttl, 1), (Discard::Length, 1)]);
    assert_eq!(theirs[&"multi".into()], []);
    assert_eq!(discards(&sessions).values().sum::<u64>(), 3);
}
