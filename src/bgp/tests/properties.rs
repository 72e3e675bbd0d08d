//! Properties of the codec and of how a connection takes in its stream: what is written is what is
//! read, nothing that a peer can send makes a decoder fail, and how TCP cuts the stream means nothing.
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::clock::{secs, start};
use super::octets::{EVERYTHING, EXTERNAL, keepalive, open, router_id};
use super::strategies::{
    any_message, asn, attributes, cases, encoding, family, mutated, next_hop, prefix,
    some_capabilities,
};
use crate::bgp::connection::{Config, Connection, Event, Opening, RemoteAsn, State};
use crate::bgp::wire::{
    self, Action, Announcement, AsPath, Capabilities, Encoding, MessageType, Notification, Open,
    Origin, PathAttributes, Refresh, Segment, Update, announce, withdraw,
};
use crate::route::{Asn, Attributes, Family, NextHop};

/// What a peer reads of what we announce.
fn as_read(announcement: Announcement<'_>, encoding: Encoding) -> PathAttributes {
    let Announcement { attributes, as_path, next_hop, .. } = announcement;
    let shown = |asn: &Asn| {
        if encoding.four_octet_asn { *asn } else { Asn(u32::from(asn.to_two_octets())) }
    };
    let path: Vec<Asn> = as_path.iter().map(shown).collect();
    let segments = if path.is_empty() { vec![] } else { vec![Segment::Sequence(path)] };
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(segments)),
        next_hop: Some(next_hop.address),
        link_local_next_hop: next_hop.link_local,
        med: attributes.med,
        local_pref: encoding.internal.then(|| attributes.local_pref.unwrap_or(100)),
        communities: attributes.communities.clone(),
        extended_communities: announcement.extended_communities.iter().copied().collect(),
        large_communities: attributes.large_communities.clone(),
    }
}

/// Reads one message that we wrote.
fn read(octets: &[u8], encoding: Encoding) -> Update {
    assert!(octets.len() <= encoding.max_len());
    let (frame, length) = wire::split(octets, EVERYTHING).unwrap().unwrap();
    assert_eq!((frame.kind, length), (MessageType::Update, octets.len()));
    Update::decode(frame.body, encoding).unwrap()
}

/// Prefixes of one family, an address to announce them with, a path and attributes.
fn announcements() -> impl Strategy<Value = (Vec<IpNet>, NextHop, Vec<Asn>, Attributes)> {
    family().prop_flat_map(|family| {
        let prefixes = vec(prefix(family), 1..1500);
        (prefixes, next_hop(family), vec(asn(), 0..=255), attributes())
    })
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn what_is_announced_is_what_is_read(
        (prefixes, next_hop, as_path, attributes) in announcements(),
        encoding in encoding(),
    ) {
        let family = Family::of(prefixes[0]);
        let extended: Vec<_> = attributes.extended_communities.iter().copied().collect();
        let announcement =
            Announcement { family, next_hop, as_path: &as_path, extended_communities: &extended, attributes: &attributes };
        let mut rest = &prefixes[..];
        while !rest.is_empty() {
            let (octets, count) = announce(announcement, rest, encoding);
            let expected = Update {
                announced: rest[..count].to_vec(),
                attributes: as_read(announcement, encoding),
                ..Update::default()
            };
            prop_assert!(count > 0);
            prop_assert_eq!(read(&octets, encoding), expected);
            rest = &rest[count..];
        }
    }

    #[test]
    fn what_is_withdrawn_is_what_is_read(
        prefixes in family().prop_flat_map(|family| vec(prefix(family), 1..3000)),
        encoding in encoding(),
    ) {
        let family = Family::of(prefixes[0]);
        let mut rest = &prefixes[..];
        while !rest.is_empty() {
            let (octets, count) = withdraw(family, rest, encoding);
            let withdrawn = rest[..count].to_vec();
            prop_assert!(count > 0);
            prop_assert_eq!(read(&octets, encoding), Update { withdrawn, ..Update::default() });
            rest = &rest[count..];
        }
    }

    #[test]
    fn a_notification_is_read_as_it_was_written(
        code in any::<u8>(),
        subcode in any::<u8>(),
        data in vec(any::<u8>(), 0..4075),
    ) {
        let notification = Notification::new(code, subcode, data);
        let octets = notification.encode();
        prop_assert_eq!(Notification::decode(&octets[wire::HEADER_LEN..]), Some(notification));
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn an_open_is_read_as_it_was_written(
        asn in asn(),
        hold_time in any::<u16>().prop_filter("no hold time", |time| !matches!(time, 1 | 2)),
        router_id in 1..=u32::MAX,
        capabilities in some_capabilities(),
        four_octets in any::<bool>(),
    ) {
        let two_octets = Asn(asn.to_two_octets().into());
        let open = Open {
            asn: if four_octets { asn } else { two_octets },
            hold_time,
            router_id: Ipv4Addr::from(router_id),
            capabilities: Capabilities {
                four_octet_asn: four_octets.then_some(asn),
                ..capabilities
            },
        };
        prop_assert_eq!(Open::decode(&open.encode()[wire::HEADER_LEN..]), Ok(open));
    }

    #[test]
    fn a_shutdown_communication_survives_as_far_as_it_fits(
        text in "[^\\pC\\p{Zl}\\p{Zp}]{0,100}"
    ) {
        let shown = Notification::administrative_shutdown(&text).shutdown_communication();
        let cut = &text[..text.floor_char_boundary(255)];
        prop_assert_eq!(shown.unwrap_or_default(), cut);
    }

    #[test]
    fn no_octets_make_a_decoder_fail(octets in vec(any::<u8>(), 0..300)) {
        decode_in_every_way(&octets);
    }

    #[test]
    fn nothing_that_happens_to_a_message_makes_a_decoder_fail(
        octets in any_message().prop_flat_map(mutated),
    ) {
        decode_in_every_way(&octets);
        decode_in_every_way(octets.get(wire::HEADER_LEN..).unwrap_or_default());
    }

    #[test]
    fn how_tcp_cuts_the_stream_means_nothing(
        stream in stream(),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let cuts: BTreeSet<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&stream[from..cut]);
            from = cut;
        }
        pieces.push(&stream[from..]);
        let whole = outcome(&[&stream]);
        prop_assert_eq!(&outcome(&pieces), &whole);
        let octets: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&outcome(&octets), &whole);
    }

    #[test]
    fn whatever_comes_a_connection_says_valid_things_and_ends_at_most_once(stream in stream()) {
        let (state, events, output) = outcome(&[&stream]);
        let downs = events.iter().filter(|event| matches!(event, Event::Down(_))).count();
        prop_assert_eq!(downs, usize::from(state == State::Closed));
        prop_assert!(downs == 0 || matches!(events.last(), Some(Event::Down(_))));
        let mut kinds = Vec::new();
        let mut rest = &output[..];
        while let Ok(Some((frame, length))) = wire::split(rest, EVERYTHING) {
            kinds.push(frame.kind);
            rest = &rest[length..];
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(kinds.first(), Some(&MessageType::Open));
        let notification = kinds.iter().position(|kind| *kind == MessageType::Notification);
        prop_assert!(notification.is_none_or(|place| place + 1 == kinds.len() && downs == 1));
    }
}

/// Decodes octets as everything, and holds what was read to what every reading must be.
fn decode_in_every_way(octets: &[u8]) {
    let _ =
        wire::split(octets, EVERYTHING).map_err(|error| (error.to_string(), error.notification()));
    let _ = Open::decode(octets).map_err(|error| (error.to_string(), error.notification()));
    let _ = [false, true].map(|enhanced| Refresh::decode(octets, enhanced));
    let _ = Notification::decode(octets).map(|notification| notification.to_string());
    for bits in 0..8 {
        let [four_octet_asn, internal, extended_next_hop] = [1, 2, 4].map(|bit| bits & bit != 0);
        let encoding = Encoding { four_octet_asn, internal, extended_next_hop, ..EXTERNAL };
        match Update::decode(octets, encoding) {
            Err(error) => assert_eq!(error.notification().code, Notification::UPDATE_ERROR),
            Ok(update) => check(&update),
        }
    }
}

fn check(update: &Update) {
    let is_host_free = |prefix: &IpNet| prefix.trunc() == *prefix;
    let reachable = update.reachable().flat_map(|(_, prefixes)| prefixes);
    assert!(reachable.chain(&update.withdrawn).all(is_host_free));
    assert!(update.beside.iter().all(|beside| !beside.1.is_empty()));
    assert_eq!(update.announcements() == 0, update.announced.is_empty());
    let actions: Vec<Action> = update.defects.iter().map(|defect| defect.action).collect();
    assert!(!actions.contains(&Action::Reset));
    assert!(!actions.contains(&Action::Withdraw) || update.announced.is_empty());
    if !update.announced.is_empty() {
        let PathAttributes { origin, as_path, next_hop, .. } = &update.attributes;
        assert!(origin.is_some() && as_path.is_some() && next_hop.is_some());
    }
    if update.end_of_rib.is_some() {
        let alone = Update { end_of_rib: update.end_of_rib, ..Update::default() };
        assert_eq!(*update, alone);
    }
}

/// What a peer might send: a session that comes up and goes on, with a fault somewhere in it or not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let begin = [open(64500, 90, [10, 0, 0, 2]), keepalive()].concat();
    let messages = vec(any_message(), 0..12).prop_map(|messages| messages.concat());
    let one = (any::<bool>(), messages).prop_map(move |(well, messages)| {
        if well { [begin.clone(), messages].concat() } else { messages }
    });
    one.prop_flat_map(|stream| prop_oneof![Just(stream.clone()), mutated(stream)])
}

/// Where a stream in these pieces leads.
fn outcome(pieces: &[&[u8]]) -> (State, Vec<Event>, Vec<u8>) {
    let config = Config {
        local_asn: Asn(64501),
        remote_asn: RemoteAsn::External,
        families: Family::ALL.to_vec(),
        hold_time: secs(90),
        keepalive_time: None,
        role: None,
        restart: None,
        bfd_strict: false,
    };
    let now = start();
    let mut connection = Connection::new(config, Opening::new(router_id(1)), 7, now);
    let (mut events, mut output) = (Vec::new(), connection.poll_transmit());
    for piece in pieces {
        connection.handle_input(piece, now);
        events.extend(std::iter::from_fn(|| connection.poll_event()));
        output.extend(connection.poll_transmit());
    }
    (connection.state(), events, output)
}

#[test]
fn the_streams_of_these_properties_reach_every_state() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..300 {
        let stream = stream().new_tree(&mut runner).unwrap().current();
        let (state, events, _) = outcome(&[&stream]);
        reached.insert((state, events.iter().any(|event| matches!(event, Event::Established))));
    }
    use State::{Closed, Established, OpenConfirm, OpenSent};
    let all = [(OpenSent, false), (OpenConfirm, false), (Established, true), (Closed, true)];
    for expected in all {
        assert!(reached.contains(&expected), "{expected:?} in {reached:?}");
    }
}
