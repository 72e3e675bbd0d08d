//! Any body of an OPEN: what is read can be written, and what comes of it is what both sides offered.
use std::time::Duration;

use vipcast::bgp::connection::{Config, Connection, Event, Opening, RemoteAsn, Restart, State};
use vipcast::bgp::down::DownReason;
use vipcast::bgp::wire::{Capabilities, HEADER_LEN, MAX_LEN, Notification, Open, keepalive};
use vipcast::route::{Asn, Family, Role};

use super::input::{Input, bits, pick};
use super::memory::bounded;
use super::octets::{self, OPEN, check_notification, check_text};
use super::start;

/// Two octets of our configuration, then the body.
pub fn open(data: &[u8]) {
    let mut input = Input::new(data);
    let (config, opening) = configuration(input.u8(), input.u8());
    let body = input.take(MAX_LEN - HEADER_LEN);
    let decoded = bounded(body.len(), || Open::decode(body));
    assert_eq!(Open::decode(body), decoded);
    match &decoded {
        Ok(open) => check_round_trip(open),
        Err(error) => {
            check_text(&error.to_string());
            assert_eq!(error.notification().code, Notification::OPEN_ERROR);
            check_notification(&error.notification());
        }
    }
    // Shorter ones are a matter of the header.
    if body.len() >= 10 {
        check_negotiation(config, opening, body, decoded.ok().as_ref());
    }
}

/// What a router and its host can be configured to be for each other.
fn configuration(first: u8, second: u8) -> (Config, Opening) {
    let [_, _, _, _, restarts, capabilities, short, named] = bits(first);
    let remote_asn = pick(
        first,
        &[
            RemoteAsn::External,
            RemoteAsn::Internal,
            RemoteAsn::Number(Asn(64500)),
            RemoteAsn::Number(Asn(4_200_000_000)),
        ],
    );
    let role = Role::ALL.get(usize::from(second % 8)).copied();
    let time = Duration::from_secs(if short { 3 } else { 5000 });
    let config = Config {
        local_asn: pick(second >> 3 & 7, &[Asn(64501), Asn(64500), Asn(4_200_000_000)]),
        remote_asn,
        families: families_of(second >> 6),
        hold_time: Duration::from_secs(pick(first >> 2, &[0, 3, 90, 65535])),
        keepalive_time: short.then_some(Duration::from_secs(1)),
        role,
        restart: restarts.then_some(Restart { time, long_lived: time }),
        bfd_strict: named,
    };
    let opening = Opening {
        host_name: named.then(|| "host1.example".into()),
        capabilities: !capabilities,
        restarted: named,
        ..Opening::new([10, 0, 0, 1].into())
    };
    (config, opening)
}

/// What we can be configured to offer.
pub(crate) fn families_of(which: u8) -> Vec<Family> {
    pick(which, &[&Family::ALL[..], &Family::ALL[..1], &Family::ALL[1..]]).to_vec()
}

/// What was understood is written so that it is understood again.
fn check_round_trip(open: &Open) {
    let octets = open.encode();
    if octets.len() > MAX_LEN {
        return; // one that was full, and wasted an octet less
    }
    let mut expected = open.clone();
    if let Some(name) = &mut expected.capabilities.host_name {
        name.truncate(63); // the longest label; only ASCII is taken in
    }
    assert_eq!(Open::decode(&octets[HEADER_LEN..]), Ok(expected));
}

/// The answer to an OPEN, and the session that it comes to.
fn check_negotiation(config: Config, opening: Opening, body: &[u8], open: Option<&Open>) {
    let mut connection = Connection::new(config.clone(), opening.clone(), 7, start());
    let ours = connection.poll_transmit();
    assert!(ours.len() <= MAX_LEN);
    let ours = Open::decode(&ours[HEADER_LEN..]).expect("our own OPEN");
    connection.handle_input(&octets::message(OPEN, body), start());
    let answer = connection.poll_transmit();
    let event = connection.poll_event().expect("something came of it");
    assert_eq!(connection.poll_event(), None);

    let accepted = open.filter(|open| is_acceptable(&config, &ours, open));
    let Some(open) = accepted else {
        let Event::Down(DownReason::ProtocolError { detail, notification }) = event else {
            panic!("{event:?} of {open:?}")
        };
        check_text(&detail);
        check_notification(&notification);
        assert_eq!(notification.code, Notification::OPEN_ERROR);
        assert_eq!((connection.state(), answer), (State::Closed, notification.encode()));
        return;
    };
    assert_eq!(event, Event::Opened, "{open:?}");
    assert_eq!((connection.state(), answer), (State::OpenConfirm, keepalive()));
    let session = connection.session().expect("both OPENs were accepted");
    let both =
        |what: fn(&Capabilities) -> bool| what(&ours.capabilities) && what(&open.capabilities);
    let hold_time = config.hold_time.min(Duration::from_secs(open.hold_time.into()));
    assert_eq!(session.hold_time, hold_time);
    assert!(session.keepalive_time * 3 <= hold_time);
    assert_eq!((session.remote_asn, session.remote_router_id), (open.asn, open.router_id));
    assert_eq!(session.families, families(&config, &ours, open));
    let encoding = session.encoding;
    assert_eq!(encoding.internal, open.asn == config.local_asn);
    assert_eq!(encoding.four_octet_asn, both(|all| all.four_octet_asn.is_some()));
    assert_eq!(encoding.extended_message, both(|all| all.extended_message));
    assert_eq!(encoding.extended_next_hop, both(|all| all.extended_next_hop));
    assert_eq!(session.enhanced_route_refresh, both(|all| all.enhanced_route_refresh));
    assert_eq!(session.graceful_restart.is_some(), both(|all| all.graceful_restart.is_some()));
    assert_eq!(session.bfd_strict, both(|all| all.bfd_strict));
    assert!(encoding.only_to_customer.is_none_or(|asn| asn == config.local_asn));
}

/// RFC 4760 §8, RFC 5492 §3: without capabilities it is IPv4, where that is wanted.
fn families(config: &Config, ours: &Open, theirs: &Open) -> Vec<Family> {
    let offers = |open: &Open, family: &Family| match &open.capabilities.multiprotocol[..] {
        [] => *family == Family::Ipv4Unicast,
        all => all.contains(&(family.afi(), family.safi())),
    };
    let all = |family: &Family| {
        config.families.contains(family) && offers(ours, family) && offers(theirs, family)
    };
    Family::ALL.into_iter().filter(all).collect()
}

/// RFC 4271 §6.2, RFC 6286 §2.2, RFC 7607 §2, RFC 9234 §4.2.
fn is_acceptable(config: &Config, ours: &Open, theirs: &Open) -> bool {
    let is_internal = theirs.asn == config.local_asn;
    let is_expected = match config.remote_asn {
        RemoteAsn::Number(asn) => theirs.asn == asn,
        RemoteAsn::Internal => is_internal,
        RemoteAsn::External => !is_internal,
    };
    let is_twin = is_internal && theirs.router_id == ours.router_id;
    let mut roles = theirs.capabilities.roles.iter();
    let agrees = |role: Role| roles.all(|number| *number == role.counterpart().number());
    is_expected
        && theirs.asn != Asn(0)
        && !is_twin
        && config.role.is_none_or(agrees)
        && !families(config, ours, theirs).is_empty()
}
