//! Adj-RIB-Out against a peer that applies what it is sent: whatever happens, the peer ends with
//! exactly what is wanted and can be sent, told in as few messages as it takes.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{select, subsequence};
use proptest::{option, prop_oneof, proptest};

use super::clock::{secs, start};
use super::octets::{EXTERNAL, INTERNAL, Message, hosts, read};
use super::strategies::{cases, encoding};
use crate::bgp::adj_rib_out::{AdjRibOut, NotSendable, Pending, Sent, Target};
use crate::bgp::wire::{AsPath, Encoding, Origin, PathAttributes, Refresh, Segment, Update};
use crate::route::{
    Asn, Attributes, Community, ExtendedCommunity, Family, LargeCommunity, NextHop, NextHops,
    Weight,
};
use Family::{Ipv4Unicast, Ipv6Unicast};

const LOCAL: Asn = Asn(64501);

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn next_hops(last: u8) -> NextHops {
    NextHops {
        ipv4: Some(Ipv4Addr::new(192, 0, 2, last)),
        ipv6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())),
        link_local: None,
    }
}

fn target(encoding: Encoding) -> Target {
    let families = Family::ALL.to_vec();
    let enhanced_route_refresh = false;
    let next_hops = next_hops(1);
    Target { encoding, families, enhanced_route_refresh, local_asn: LOCAL, next_hops }
}

/// Attributes that differ by a community.
fn colour(community: u32) -> Arc<Attributes> {
    Arc::new(Attributes { communities: [Community(community)].into(), ..Attributes::default() })
}

/// The attributes with which a peer should have a route.
fn as_read(attributes: &Attributes, target: &Target, next_hop: NextHop) -> PathAttributes {
    let Encoding { four_octet_asn, internal, .. } = target.encoding;
    let shown = if four_octet_asn { LOCAL } else { Asn(LOCAL.to_two_octets().into()) };
    let path = vec![shown; 1 + usize::from(attributes.prepend)];
    let segments = if internal { vec![] } else { vec![Segment::Sequence(path)] };
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(segments)),
        next_hop: Some(next_hop.address),
        link_local_next_hop: next_hop.link_local,
        med: attributes.med,
        local_pref: internal.then(|| attributes.local_pref.unwrap_or(100)),
        communities: attributes.communities.clone(),
        extended_communities: target.extended_communities(attributes).into_iter().collect(),
        large_communities: attributes.large_communities.clone(),
    }
}

/// The other side: has what it was told.
#[derive(Debug, Default)]
struct Listener {
    routes: BTreeMap<IpNet, PathAttributes>,
    /// Of families that are being refreshed, what has not been told again
    stale: BTreeMap<Family, BTreeSet<IpNet>>,
    ends_of_rib: Vec<Family>,
}

/// The order in which a session that nothing disturbs is told things.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    BeginningOfRefresh,
    Withdrawal,
    Announcement,
    EndOfRefresh,
    EndOfRib,
}

impl Listener {
    /// Takes in one message of `rib`, if there is one: what it was.
    fn listen(&mut self, rib: &mut AdjRibOut, encoding: Encoding) -> Option<Kind> {
        let promised = rib.has_update();
        let built = rib.poll_update();
        assert_eq!(promised, built.is_some());
        let built = built?;
        assert!(built.message.len() <= encoding.max_len());
        let messages = read(&built.message, encoding);
        let changes = match &messages[..] {
            [Message::Update(update)] => update.announced.len() + update.withdrawn.len(),
            _ => 0,
        };
        assert_eq!(built.decided.len(), changes);
        Some(match &messages[..] {
            [Message::Update(update)] => self.apply(update),
            [Message::RouteRefresh(Refresh::Beginning(family))] => {
                assert!(self.ends_of_rib.contains(family), "RFC 7313 §4.1");
                let of_family = self.routes.keys().filter(|p| Family::of(**p) == *family);
                self.stale.insert(*family, of_family.copied().collect());
                Kind::BeginningOfRefresh
            }
            [Message::RouteRefresh(Refresh::End(family))] => {
                assert_eq!(self.stale.remove(family), Some(BTreeSet::new()), "not told again");
                Kind::EndOfRefresh
            }
            _ => panic!("{messages:?}"),
        })
    }

    fn apply(&mut self, update: &Update) -> Kind {
        let Update { announced, beside, withdrawn, attributes, end_of_rib, defects } = update;
        assert_eq!((defects, beside), (&vec![], &None));
        for prefix in withdrawn {
            let had = self.routes.remove(prefix);
            assert!(had.is_some(), "{prefix} was not there to be withdrawn");
        }
        for prefix in announced.iter().chain(withdrawn) {
            if let Some(stale) = self.stale.get_mut(&Family::of(*prefix)) {
                stale.remove(prefix);
            }
        }
        for prefix in announced {
            self.routes.insert(*prefix, attributes.clone());
        }
        self.ends_of_rib.extend(end_of_rib);
        match (announced.is_empty(), withdrawn.is_empty(), end_of_rib) {
            (false, true, None) => Kind::Announcement,
            (true, false, None) => Kind::Withdrawal,
            (true, true, Some(_)) => Kind::EndOfRib,
            _ => panic!("{update:?} is more than one thing"),
        }
    }

    /// Takes in everything there is; in which order it came.
    fn listen_to_all(&mut self, rib: &mut AdjRibOut, encoding: Encoding) -> Vec<Kind> {
        std::iter::from_fn(|| self.listen(rib, encoding)).collect()
    }
}

/// A session that has just begun, with these prefixes of one colour on the other side.
fn session_with(prefixes: &[IpNet]) -> (AdjRibOut, Listener, Instant) {
    let now = start();
    let mut rib = AdjRibOut::default();
    rib.start(target(EXTERNAL), now);
    for prefix in prefixes {
        rib.set(*prefix, Some(colour(1)), now);
    }
    let mut listener = Listener::default();
    listener.listen_to_all(&mut rib, EXTERNAL);
    rib.handle_written(now);
    assert_eq!(listener.routes.keys().copied().collect::<Vec<_>>(), prefixes);
    (rib, listener, now)
}

/// How many messages it takes until there is nothing left to tell.
fn messages(rib: &mut AdjRibOut) -> usize {
    std::iter::from_fn(|| rib.poll_update()).count()
}

type Change<'a> = &'a dyn Fn(&mut AdjRibOut);

#[test]
fn changes_that_cancel_out_before_they_are_sent_are_not() {
    let vip = prefix("198.51.100.1/32");
    let other = prefix("2001:db8::1/128");
    let (mut rib, _, now) = session_with(&[vip]);
    let undone: [(&str, Change<'_>); 5] = [
        ("announced and withdrawn", &|rib| {
            rib.set(other, Some(colour(1)), now);
            rib.set(other, None, now);
        }),
        ("withdrawn and announced", &|rib| {
            rib.set(vip, None, now);
            rib.set(vip, Some(colour(1)), now);
        }),
        ("changed and changed back", &|rib| {
            rib.set(vip, Some(colour(2)), now);
            rib.set(vip, Some(colour(1)), now);
        }),
        ("changed, withdrawn and as before", &|rib| {
            rib.set(vip, Some(colour(2)), now);
            rib.set(vip, None, now);
            rib.set(vip, Some(colour(1)), now);
        }),
        ("set to what it is", &|rib| rib.set(vip, Some(colour(1)), now)),
    ];
    for (what, undone) in undone {
        undone(&mut rib);
        assert!(!rib.has_update(), "{what}");
        assert!(rib.poll_update().is_none(), "{what}");
    }
}

#[test]
fn a_thousand_prefixes_that_flap_while_there_is_no_room_send_nothing() {
    for family in Family::ALL {
        let (stable, flapping) = (hosts(family, 2000), hosts(family, 1000));
        let (mut rib, mut listener, now) = session_with(&stable);
        let told = listener.routes.clone();
        for _ in 0..3 {
            for vip in &flapping {
                rib.set(*vip, None, now);
            }
            assert!(rib.has_update());
            for vip in &flapping {
                rib.set(*vip, Some(colour(1)), now);
            }
        }
        assert!(!rib.has_update());
        assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), []);
        assert_eq!(listener.routes, told);
    }
}

#[test]
fn attributes_are_shared_by_all_that_is_sent_with_them() {
    let vips = hosts(Ipv4Unicast, 1000);
    let now = start();
    let shared = colour(1);
    let mut rib = AdjRibOut::default();
    rib.start(target(EXTERNAL), now);
    for vip in &vips {
        rib.set(*vip, Some(shared.clone()), now);
    }
    Listener::default().listen_to_all(&mut rib, EXTERNAL);
    rib.handle_written(now);
    for vip in &vips {
        assert!(Arc::ptr_eq(&rib.sent(*vip).unwrap().attributes, &shared));
    }
    // Ours, the one that is wanted for each prefix, and the one of each message that was sent.
    assert_eq!(Arc::strong_count(&shared), 1 + vips.len() + 2);
    rib.stop();
    assert_eq!(Arc::strong_count(&shared), 1 + vips.len());
}

#[test]
fn a_route_that_changed_twice_is_told_once_as_it_is_in_the_end() {
    let vip = prefix("198.51.100.1/32");
    let (mut rib, mut listener, now) = session_with(&[vip]);
    rib.set(vip, Some(colour(2)), now);
    rib.set(vip, Some(colour(3)), now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
    assert_eq!(listener.routes[&vip].communities, [Community(3)].into());
}

#[test]
fn withdrawals_go_out_before_announcements() {
    let gone = [prefix("203.0.113.1/32"), prefix("2001:db8:ffff::1/128")];
    let (mut rib, mut listener, now) = session_with(&gone);
    let new = [prefix("198.51.100.1/32"), prefix("2001:db8::1/128")];
    for prefix in new {
        rib.set(prefix, Some(colour(1)), now);
    }
    for prefix in gone {
        rib.set(prefix, None, now);
    }
    use Kind::{Announcement, Withdrawal};
    let order = listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(order, [Withdrawal, Withdrawal, Announcement, Announcement]);
    assert_eq!(listener.routes.into_keys().collect::<Vec<_>>(), new);
}

#[test]
fn a_withdrawal_that_comes_while_announcements_wait_overtakes_them() {
    let vip = prefix("203.0.113.1/32");
    let (mut rib, mut listener, now) = session_with(&[vip]);
    for prefix in hosts(Ipv4Unicast, 3000) {
        rib.set(prefix, Some(colour(1)), now);
    }
    assert_eq!(listener.listen(&mut rib, EXTERNAL), Some(Kind::Announcement));
    rib.set(vip, None, now);
    assert_eq!(listener.listen(&mut rib, EXTERNAL), Some(Kind::Withdrawal));
    assert!(!listener.routes.contains_key(&vip));
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(listener.routes.len(), 3000);
}

#[test]
fn end_of_rib_waits_for_its_release_and_for_everything_that_is_pending() {
    let mut rib = AdjRibOut::default();
    let mut listener = Listener::default();
    let now = start();
    use Kind::{Announcement, EndOfRib};
    rib.set(prefix("198.51.100.1/32"), Some(colour(1)), now);
    rib.start(target(EXTERNAL), now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Announcement]);
    rib.set(prefix("198.51.100.2/32"), Some(colour(1)), now);
    rib.release_end_of_rib();
    rib.set(prefix("2001:db8::1/128"), Some(colour(1)), now);
    let order = listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(order, [Announcement, Announcement, EndOfRib, EndOfRib]);
    assert_eq!(listener.ends_of_rib, [Ipv4Unicast, Ipv6Unicast]);
    // Never again in this session, whatever comes,
    rib.release_end_of_rib();
    rib.refresh(Ipv4Unicast, now);
    rib.set_next_hops(next_hops(2), now);
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(listener.ends_of_rib, [Ipv4Unicast, Ipv6Unicast]);
    // and once in the next, for what it has agreed on.
    let mut listener = Listener::default();
    rib.start(Target { families: vec![Ipv6Unicast], ..target(EXTERNAL) }, now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Announcement, EndOfRib]);
    assert_eq!(listener.ends_of_rib, [Ipv6Unicast]);
}

#[test]
fn end_of_rib_comes_even_where_there_is_nothing_to_announce() {
    let mut rib = AdjRibOut::default();
    rib.release_end_of_rib();
    assert!(!rib.has_update(), "there is no session");
    assert!(rib.poll_update().is_none());
    rib.start(target(EXTERNAL), start());
    let mut listener = Listener::default();
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(listener.ends_of_rib, Family::ALL);
}

#[test]
fn a_thousand_prefixes_take_as_few_messages_as_they_fit_into() {
    for (family, announcements, withdrawals) in [
        // What fits into one message is counted in wire/update.rs; a community takes 7 more.
        (Ipv4Unicast, 1000_usize.div_ceil((4096 - 23 - 27) / 5), 1000_usize.div_ceil(814)),
        (Ipv6Unicast, 1000_usize.div_ceil((4096 - 23 - 20 - 25) / 17), 1000_usize.div_ceil(239)),
    ] {
        let (mut rib, _, now) = session_with(&[]);
        let prefixes = hosts(family, 1000);
        for prefix in &prefixes {
            rib.set(*prefix, Some(colour(1)), now);
        }
        assert_eq!(messages(&mut rib), announcements, "{family}");
        rib.refresh(family, now);
        assert_eq!(messages(&mut rib), announcements, "{family} again");
        for prefix in &prefixes {
            rib.set(*prefix, None, now);
        }
        assert_eq!(messages(&mut rib), withdrawals, "{family}");
    }
}

#[test]
fn every_update_but_the_last_has_no_room_for_another_prefix() {
    for (extended_message, limit) in [(false, 4096), (true, 65535)] {
        for (family, size) in [(Ipv4Unicast, 5), (Ipv6Unicast, 17)] {
            let encoding = Encoding { extended_message, ..EXTERNAL };
            let now = start();
            let mut rib = AdjRibOut::default();
            rib.start(target(encoding), now);
            let prefixes = hosts(family, 30_000);
            let mut told = 0;
            for wanted in [Some(colour(1)), None] {
                prefixes.iter().for_each(|prefix| rib.set(*prefix, wanted.clone(), now));
                let built: Vec<_> = std::iter::from_fn(|| rib.poll_update()).collect();
                let (_last, full) = built.split_last().unwrap();
                assert!(full.len() > 1, "{family}, {limit}");
                for built in full {
                    let room = limit - built.message.len();
                    assert!(room < size, "{family}, {limit}: room for {room} octets");
                }
                told += built.iter().map(|built| built.decided.len()).sum::<usize>();
            }
            assert_eq!(told, 2 * prefixes.len());
        }
    }
}

#[test]
fn prefixes_share_a_message_by_family_and_attributes_wherever_they_stand() {
    let (mut rib, _, now) = session_with(&[]);
    let all: Vec<IpNet> = Family::ALL.into_iter().flat_map(|f| hosts(f, 100)).collect();
    for (number, prefix) in (0..).zip(&all) {
        rib.set(*prefix, Some(colour(number % 3)), now);
    }
    assert_eq!(messages(&mut rib), 2 * 3);
    for prefix in &all {
        rib.set(*prefix, None, now);
    }
    assert_eq!(messages(&mut rib), 2);
}

#[test]
fn a_refresh_during_changes_loses_none_of_them() {
    let [kept, changed, gone, new] =
        ["198.51.100.1/32", "198.51.100.2/32", "198.51.100.3/32", "198.51.100.4/32"].map(prefix);
    let (mut rib, mut listener, now) = session_with(&[kept, changed, gone]);
    rib.set(changed, Some(colour(2)), now);
    rib.set(gone, None, now);
    rib.refresh(Ipv4Unicast, now);
    rib.set(new, Some(colour(1)), now);
    rib.refresh(Ipv4Unicast, now);
    use Kind::{Announcement, Withdrawal};
    let order = listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(order, [Withdrawal, Announcement, Announcement]);
    let colours: Vec<_> =
        listener.routes.iter().map(|(p, a)| (*p, a.communities.clone())).collect();
    let community = |number| BTreeSet::from([Community(number)]);
    let expected = [(kept, community(1)), (changed, community(2)), (new, community(1))];
    assert_eq!(colours, expected);
}

#[test]
fn any_number_of_refreshes_before_a_poll_is_one() {
    let (mut rib, mut listener, now) =
        session_with(&[prefix("198.51.100.1/32"), prefix("2001:db8::1/128")]);
    for _ in 0..1000 {
        rib.refresh(Ipv4Unicast, now);
    }
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
}

#[test]
fn a_refresh_has_a_beginning_and_an_end_where_that_was_agreed() {
    let vips = [prefix("198.51.100.1/32"), prefix("2001:db8::1/128")];
    let now = start();
    let mut rib = AdjRibOut::default();
    let mut listener = Listener::default();
    for vip in vips {
        rib.set(vip, Some(colour(1)), now);
    }
    rib.start(Target { enhanced_route_refresh: true, ..target(EXTERNAL) }, now);
    listener.listen_to_all(&mut rib, EXTERNAL);
    // RFC 7313 §4.1: not before End-of-RIB, until which everything is news anyway.
    rib.refresh(Ipv4Unicast, now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
    rib.release_end_of_rib();
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::EndOfRib; 2]);
    let refresh = [Kind::BeginningOfRefresh, Kind::Announcement, Kind::EndOfRefresh];
    for _ in 0..100 {
        rib.refresh(Ipv4Unicast, now);
    }
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), refresh);
    // Of nothing it is told that it is nothing.
    rib.set(vips[1], None, now);
    listener.listen_to_all(&mut rib, EXTERNAL);
    rib.refresh(Ipv6Unicast, now);
    let nothing = [Kind::BeginningOfRefresh, Kind::EndOfRefresh];
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), nothing);
    // A session that ends in between takes the end along.
    rib.refresh(Ipv4Unicast, now);
    assert_eq!(listener.listen(&mut rib, EXTERNAL), Some(Kind::BeginningOfRefresh));
    rib.stop();
    assert!(!rib.has_update());
}

#[test]
fn an_ipv6_next_hop_serves_ipv4_where_that_was_agreed() {
    let vip = prefix("198.51.100.1/32");
    let encoding = Encoding { extended_next_hop: true, ..EXTERNAL };
    let only_six = NextHops { ipv4: None, ..next_hops(1) };
    let mut rib = AdjRibOut::default();
    let now = start();
    rib.set(vip, Some(colour(1)), now);
    rib.start(Target { next_hops: only_six, ..target(EXTERNAL) }, now);
    assert_eq!(rib.not_sendable(vip), Some(NotSendable::NoNextHop(Ipv4Unicast)));
    rib.start(Target { next_hops: only_six, ..target(encoding) }, now);
    let mut listener = Listener::default();
    listener.listen_to_all(&mut rib, encoding);
    let next_hop = |listener: &Listener| listener.routes[&vip].next_hop.map(NextHop::from);
    assert_eq!(next_hop(&listener), only_six.get(Ipv6Unicast));
    // One of its own family is better, and the other's changes are nothing to it then.
    rib.set_next_hops(next_hops(1), now);
    assert_eq!(listener.listen_to_all(&mut rib, encoding), [Kind::Announcement]);
    assert_eq!(next_hop(&listener), next_hops(1).get(Ipv4Unicast));
    rib.set_next_hops(NextHops { ipv6: next_hops(2).ipv6, ..next_hops(1) }, now);
    assert!(!rib.has_update());
}

#[test]
fn between_link_local_addresses_ipv4_has_an_ipv6_next_hop_or_none() {
    let vip = prefix("198.51.100.1/32");
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let next_hops = NextHops { ipv4: None, ipv6: None, link_local: Some(link_local) };
    let now = start();
    let mut rib = AdjRibOut::default();
    rib.set(vip, Some(colour(1)), now);
    rib.start(Target { next_hops, ..target(EXTERNAL) }, now);
    assert_eq!(rib.not_sendable(vip), Some(NotSendable::NoExtendedNextHop(Ipv4Unicast)));
    let encoding = Encoding { extended_next_hop: true, ..EXTERNAL };
    rib.start(Target { next_hops, ..target(encoding) }, now);
    let mut listener = Listener::default();
    listener.listen_to_all(&mut rib, encoding);
    let route = &listener.routes[&vip];
    assert_eq!(route.next_hop, Some(link_local.into()));
    assert_eq!(route.link_local_next_hop, Some(link_local));
    // One that is configured is an IPv4 one.
    let next_hops = NextHops { ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)), ..next_hops };
    rib.start(Target { next_hops, ..target(EXTERNAL) }, now);
    assert_eq!(rib.not_sendable(vip), None);
}

#[test]
fn a_withdrawal_during_a_refresh_is_still_sent() {
    let vip = prefix("198.51.100.1/32");
    let (mut rib, mut listener, now) = session_with(&[vip]);
    rib.refresh(Ipv4Unicast, now);
    rib.set(vip, None, now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Withdrawal]);
    rib.handle_written(now);
    assert!(!rib.is_sent(vip));
    // And one that came back is told again, since that is what was asked for.
    let (mut rib, mut listener, now) = session_with(&[vip]);
    rib.refresh(Ipv4Unicast, now);
    rib.set(vip, None, now);
    rib.set(vip, Some(colour(1)), now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
}

#[test]
fn a_next_hop_that_changes_is_told_and_one_that_goes_takes_its_family_along() {
    let (four, six) = (prefix("198.51.100.1/32"), prefix("2001:db8::1/128"));
    let (mut rib, mut listener, now) = session_with(&[four, six]);
    let next_hop = |listener: &Listener, prefix| {
        let route: Option<&PathAttributes> = listener.routes.get(&prefix);
        route.map(|attributes| NextHop::from(attributes.next_hop.unwrap()))
    };
    let moved = NextHops { ipv6: next_hops(1).ipv6, ..next_hops(2) };
    rib.set_next_hops(moved, now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
    assert_eq!(next_hop(&listener, four), next_hops(2).get(Ipv4Unicast));
    assert_eq!(next_hop(&listener, six), next_hops(1).get(Ipv6Unicast));

    rib.set_next_hops(NextHops { ipv6: None, ..moved }, now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Withdrawal]);
    assert_eq!(next_hop(&listener, six), None);
    assert_eq!(rib.not_sendable(six), Some(NotSendable::NoNextHop(Ipv6Unicast)));
    assert_eq!(rib.not_sendable(four), None);

    rib.set_next_hops(next_hops(3), now);
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(next_hop(&listener, four), next_hops(3).get(Ipv4Unicast));
    assert_eq!(next_hop(&listener, six), next_hops(3).get(Ipv6Unicast));
    rib.set_next_hops(next_hops(3), now);
    assert!(!rib.has_update());
}

#[test]
fn a_next_hop_that_is_gone_for_a_moment_is_told_again() {
    // The peer may have been sent something in between: better once too often.
    let vip = prefix("198.51.100.1/32");
    let (mut rib, mut listener, now) = session_with(&[vip]);
    rib.set_next_hops(NextHops::default(), now);
    rib.set_next_hops(next_hops(1), now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
    assert_eq!(listener.routes.len(), 1);
}

#[test]
fn a_family_that_was_not_negotiated_is_not_sent() {
    let (four, six) = (prefix("198.51.100.1/32"), prefix("2001:db8::1/128"));
    let mut rib = AdjRibOut::default();
    let now = start();
    for prefix in [four, six] {
        rib.set(prefix, Some(colour(1)), now);
        assert_eq!(rib.not_sendable(prefix), None, "without a session nobody knows");
    }
    rib.start(Target { families: vec![Ipv4Unicast], ..target(EXTERNAL) }, now);
    let mut listener = Listener::default();
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(listener.routes.into_keys().collect::<Vec<_>>(), [four]);
    assert_eq!(rib.not_sendable(six), Some(NotSendable::FamilyNotNegotiated(Ipv6Unicast)));
    assert_eq!(rib.wanted().collect::<Vec<_>>(), [four, six]);
    let refused = NotSendable::FamilyNotNegotiated(Ipv6Unicast);
    assert_eq!(rib.pending(four), Some(Pending::Unwritten));
    assert_eq!(rib.pending(six), Some(Pending::NotSendable(refused)));
    rib.handle_written(now);
    assert_eq!([four, six].map(|prefix| rib.is_sent(prefix)), [true, false]);
    rib.set(six, None, now);
    rib.refresh(Ipv6Unicast, now);
    assert!(!rib.has_update());
}

#[test]
fn what_does_not_fit_into_a_message_is_not_sent_until_it_does() {
    // RFC 4271 §9.2: such a route must not be advertised.
    let large = |count| -> BTreeSet<LargeCommunity> {
        (0..count).map(|local1| LargeCommunity { global: 1, local1, local2: 0 }).collect()
    };
    let attributes = |count| {
        Some(Arc::new(Attributes { large_communities: large(count), ..Attributes::default() }))
    };
    let (four, six) = (prefix("198.51.100.1/32"), prefix("2001:db8::1/128"));
    // Of 4073 octets an IPv4 announcement of one /32 has 4044 for communities, an IPv6 one of a /128
    // 4014; both less the header of four octets and divided by twelve.
    for (vip, fits) in [(four, (4073 - 20 - 5 - 4) / 12), (six, (4073 - 13 - 25 - 17 - 4) / 12)] {
        let (mut rib, mut listener, now) = session_with(&[four, six]);
        rib.set(vip, attributes(fits), now);
        assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
        assert_eq!(rib.not_sendable(vip), None);
        for too_many in [fits + 1, 10_000] {
            rib.set(vip, attributes(too_many), now);
            listener.listen_to_all(&mut rib, EXTERNAL);
            assert!(!listener.routes.contains_key(&vip), "the peer must not keep the old one");
            assert_eq!(rib.not_sendable(vip), Some(NotSendable::TooLong));
        }
        rib.set(vip, attributes(1), now);
        assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
        assert_eq!(listener.routes.len(), 2);
    }
}

#[test]
fn the_most_that_may_be_prepended_is_sent() {
    let (mut rib, mut listener, now) = session_with(&[]);
    let vip = prefix("198.51.100.1/32");
    let attributes = Attributes { prepend: u8::MAX, ..Attributes::default() };
    rib.set(vip, Some(Arc::new(attributes)), now);
    assert_eq!(listener.listen_to_all(&mut rib, EXTERNAL), [Kind::Announcement]);
    // One number more than a segment holds
    let segments = [255, 1].map(|count| Segment::Sequence(vec![LOCAL; count]));
    assert_eq!(listener.routes[&vip].as_path, Some(AsPath(segments.to_vec())));
}

#[test]
fn a_change_counts_from_when_it_was_first_decided() {
    let (mut rib, _, now) = session_with(&[prefix("203.0.113.1/32")]);
    let later = |seconds| now + secs(seconds);
    let [a, b, c] = ["198.51.100.1/32", "198.51.100.2/32", "198.51.100.3/32"].map(prefix);
    rib.set(a, Some(colour(1)), later(1));
    rib.set(a, Some(colour(2)), later(2)); // still waiting to be told of the first
    rib.set(b, Some(colour(2)), later(3));
    rib.set(b, None, later(4)); // which ends it
    rib.set(b, Some(colour(2)), later(5));
    rib.set(c, Some(colour(2)), later(6));
    rib.refresh(Ipv4Unicast, later(7));
    let built = rib.poll_update().unwrap();
    assert_eq!(built.decided, [later(1), later(5), later(6)]);
    let built = rib.poll_update().unwrap();
    assert_eq!(built.decided, [later(7)], "the one that was there, refreshed");
    rib.set(prefix("203.0.113.1/32"), None, later(8));
    rib.set(prefix("203.0.113.1/32"), None, later(9));
    assert_eq!(rib.poll_update().unwrap().decided, [later(8)]);
}

#[test]
fn what_is_wanted_outlives_the_session_and_what_was_sent_does_not() {
    let vips = [prefix("198.51.100.1/32"), prefix("2001:db8::1/128")];
    let (mut rib, _, now) = session_with(&vips);
    rib.stop();
    assert!(!rib.has_update());
    assert!(rib.poll_update().is_none());
    assert_eq!(rib.sent_count(), 0);
    rib.set(vips[0], None, now);
    rib.refresh(Ipv4Unicast, now);
    rib.set_next_hops(next_hops(9), now);
    assert!(!rib.has_update());
    rib.start(target(INTERNAL), now);
    let mut listener = Listener::default();
    assert_eq!(listener.listen_to_all(&mut rib, INTERNAL), [Kind::Announcement]);
    assert_eq!(listener.routes.into_keys().collect::<Vec<_>>(), [vips[1]]);
}

#[test]
fn a_change_has_been_sent_once_the_kernel_has_taken_it() {
    let (old, new) = (prefix("198.51.100.1/32"), prefix("198.51.100.2/32"));
    let (mut rib, mut listener, now) = session_with(&[old]);
    rib.set(old, None, now);
    rib.set(new, Some(colour(1)), now);
    let is_sent = |rib: &AdjRibOut| [old, new].map(|prefix| rib.is_sent(prefix));
    assert_eq!((is_sent(&rib), rib.sent_count()), ([true, false], 1), "decided");
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!((is_sent(&rib), rib.sent_count()), ([true, false], 1), "with the writer");
    let pending = |rib: &AdjRibOut| [old, new].map(|prefix| rib.pending(prefix));
    assert_eq!(pending(&rib), [Some(Pending::Leaving), Some(Pending::Unwritten)]);
    rib.handle_written(now);
    assert_eq!((is_sent(&rib), rib.sent_count()), ([false, true], 1), "with the kernel");
    assert_eq!(pending(&rib), [None, None]);
}

#[test]
fn a_weight_is_sent_so_that_it_reaches_the_peer_and_goes_no_further_than_it_may() {
    let vip = prefix("198.51.100.1/32");
    let written = ExtendedCommunity(0x0202_0001_0000_0001);
    let weighted = Attributes {
        extended_communities: [written].into(),
        weight: Some(Weight(100)),
        ..Attributes::default()
    };
    for (encoding, bandwidth) in
        [(EXTERNAL, 0x0004_fbf5_4b3e_bc20), (INTERNAL, 0x4004_fbf5_4b3e_bc20)]
    {
        let mut rib = AdjRibOut::default();
        rib.start(target(encoding), start());
        rib.set(vip, Some(Arc::new(weighted.clone())), start());
        let mut listener = Listener::default();
        listener.listen_to_all(&mut rib, encoding);
        let expected = [written, ExtendedCommunity(bandwidth)].into();
        assert_eq!(listener.routes[&vip].extended_communities, expected);
    }
}

#[test]
fn a_route_has_been_sent_since_the_kernel_took_it_as_it_is() {
    let vip = prefix("198.51.100.1/32");
    let (mut rib, mut listener, now) = session_with(&[vip]);
    let later = |count| now + secs(count);
    let sent = |rib: &AdjRibOut| rib.sent(vip).map(|sent| (sent.attributes.clone(), sent.since));
    assert_eq!(sent(&rib), Some((colour(1), now)));

    rib.set(vip, Some(colour(2)), later(1));
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(sent(&rib), Some((colour(1), now)), "with the writer");
    assert_eq!(rib.pending(vip), Some(Pending::Changing));
    rib.handle_written(later(3));
    assert_eq!(sent(&rib), Some((colour(2), later(3))));
    assert_eq!(rib.pending(vip), None);

    rib.refresh(Ipv4Unicast, later(4));
    listener.listen_to_all(&mut rib, EXTERNAL);
    assert_eq!(rib.pending(vip), None, "what is told again is what the peer has");
    rib.handle_written(later(5));
    assert_eq!(sent(&rib), Some((colour(2), later(3))), "told again, no other than before");

    rib.set_next_hops(next_hops(2), later(6));
    assert_eq!(rib.pending(vip), Some(Pending::Changing));
    listener.listen_to_all(&mut rib, EXTERNAL);
    rib.handle_written(later(7));
    assert_eq!(sent(&rib), Some((colour(2), later(7))));
    assert_eq!(rib.sent(vip).unwrap().next_hop, IpAddr::from([192, 0, 2, 2]).into());

    rib.set_next_hops(NextHops::default(), later(8));
    assert_eq!(rib.pending(vip), Some(Pending::Leaving), "wanted, but it cannot stay");
    listener.listen_to_all(&mut rib, EXTERNAL);
    rib.handle_written(later(9));
    let refused = NotSendable::NoNextHop(Ipv4Unicast);
    assert_eq!((sent(&rib), rib.pending(vip)), (None, Some(Pending::NotSendable(refused))));
    rib.stop();
    assert_eq!(rib.pending(vip), Some(Pending::NoSession));
    rib.set(vip, None, later(10));
    assert_eq!((rib.pending(vip), rib.prefixes().count()), (None, 0));
}

/// What can happen to an Adj-RIB-Out.
#[derive(Clone, Debug)]
enum Step {
    Set(IpNet, Option<Arc<Attributes>>),
    Refresh(Family),
    NextHops(NextHops),
    Poll(usize),
    Written,
    Start(Target),
    Stop,
    Release,
}

fn universe() -> Vec<IpNet> {
    let texts = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "198.51.100.0/31",
        "198.51.100.1/32",
        "::/0",
        "2001:db8::/64",
        "2001:db8::1/128",
    ];
    texts.map(prefix).to_vec()
}

fn some_attributes() -> impl Strategy<Value = Arc<Attributes>> {
    let plain = Attributes::default();
    let med = Attributes { med: Some(5), prepend: 3, ..plain.clone() };
    let preferred = Attributes { local_pref: Some(7), ..plain.clone() };
    let too_long: BTreeSet<_> = (0..2000).map(Community).collect();
    let too_long = Attributes { communities: too_long, ..plain.clone() };
    select([plain, med, preferred, too_long].map(Arc::new).to_vec())
}

fn some_next_hops() -> impl Strategy<Value = NextHops> {
    let all = (option::of(1..3_u8), option::of(1..3_u8), any::<bool>());
    all.prop_map(|(four, six, link_local)| NextHops {
        ipv4: four.and_then(|last| next_hops(last).ipv4),
        ipv6: six.and_then(|last| next_hops(last).ipv6),
        link_local: link_local.then_some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    })
}

fn some_target() -> impl Strategy<Value = Target> {
    let families = subsequence(Family::ALL.to_vec(), 1..=2);
    (encoding(), families, any::<bool>(), some_next_hops()).prop_map(
        |(encoding, families, enhanced_route_refresh, next_hops)| Target {
            encoding,
            families,
            enhanced_route_refresh,
            local_asn: LOCAL,
            next_hops,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let set = (select(universe()), option::of(some_attributes()));
    let step = prop_oneof![
        8 => set.prop_map(|(prefix, attributes)| Step::Set(prefix, attributes)),
        1 => select(&Family::ALL[..]).prop_map(Step::Refresh),
        1 => some_next_hops().prop_map(Step::NextHops),
        3 => (0..4_usize).prop_map(Step::Poll),
        2 => Just(Step::Written),
        1 => some_target().prop_map(Step::Start),
        1 => prop_oneof![Just(Step::Stop), Just(Step::Release)],
    ];
    vec(step, 0..60)
}

/// The Adj-RIB-Out, the peer that listens to it, and what a simple mind expects of both.
#[derive(Default)]
struct World {
    rib: AdjRibOut,
    listener: Listener,
    /// What the listener had when the kernel last took everything
    written: BTreeMap<IpNet, PathAttributes>,
    wanted: BTreeMap<IpNet, Arc<Attributes>>,
    target: Option<Target>,
    released: bool,
}

impl World {
    fn take(&mut self, step: Step, now: Instant) {
        match step {
            Step::Set(prefix, attributes) => {
                match &attributes {
                    Some(attributes) => self.wanted.insert(prefix, attributes.clone()),
                    None => self.wanted.remove(&prefix),
                };
                self.rib.set(prefix, attributes, now);
            }
            Step::Refresh(family) => self.rib.refresh(family, now),
            Step::NextHops(next_hops) => {
                self.rib.set_next_hops(next_hops, now);
                if let Some(target) = &mut self.target {
                    target.next_hops = next_hops;
                }
            }
            Step::Poll(times) => {
                for _ in 0..times {
                    self.poll();
                }
            }
            Step::Written => {
                self.rib.handle_written(now);
                self.written = self.listener.routes.clone();
            }
            Step::Start(target) => {
                self.rib.start(target.clone(), now);
                self.target = Some(target);
                self.forget();
            }
            Step::Stop => {
                self.rib.stop();
                self.target = None;
                self.forget();
            }
            Step::Release => {
                self.rib.release_end_of_rib();
                self.released = true;
            }
        }
        let sent = universe().into_iter().filter_map(|prefix| {
            let Sent { attributes, next_hop, .. } = self.rib.sent(prefix)?;
            Some((prefix, as_read(attributes, self.target.as_ref()?, *next_hop)))
        });
        assert_eq!(sent.collect::<BTreeMap<_, _>>(), self.written);
        assert_eq!(self.rib.sent_count(), self.written.len());
        assert!(self.rib.wanted().eq(self.wanted.keys().copied()));
    }

    /// The listener is gone, and another one comes.
    fn forget(&mut self) {
        self.listener = Listener::default();
        self.written.clear();
    }

    fn poll(&mut self) -> Option<Kind> {
        let encoding = self.target.as_ref().map_or(EXTERNAL, |target| target.encoding);
        let kind = self.listener.listen(&mut self.rib, encoding)?;
        if kind == Kind::EndOfRib {
            assert!(self.released);
            assert_eq!(self.listener.routes, self.expected(), "End-of-RIB came too early");
        }
        Some(kind)
    }

    /// What is wanted and sendable.
    fn expected(&self) -> BTreeMap<IpNet, PathAttributes> {
        let Some(target) = &self.target else { return BTreeMap::new() };
        let one = |(prefix, attributes): (&IpNet, &Arc<Attributes>)| {
            let next_hop = target.next_hop(Family::of(*prefix)).ok()?;
            let fits = attributes.communities.len() < 100 || target.encoding.extended_message;
            fits.then(|| (*prefix, as_read(attributes, target, next_hop)))
        };
        self.wanted.iter().filter_map(one).collect()
    }

    /// Nothing more happens: the peer is told the rest.
    fn settle(&mut self) {
        let order: Vec<Kind> = std::iter::from_fn(|| self.poll()).collect();
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(self.listener.routes, self.expected());
        let families = self.target.iter().flat_map(|target| target.families.clone());
        let expected: Vec<Family> = families.filter(|_| self.released).collect();
        assert_eq!(self.listener.ends_of_rib, expected);
        assert!(!self.rib.has_update());
        for prefix in universe() {
            let is_sendable = self.rib.not_sendable(prefix).is_none();
            let is_missing =
                self.wanted.contains_key(&prefix) && !self.expected().contains_key(&prefix);
            assert_eq!(is_missing && self.target.is_some(), is_missing && !is_sendable, "{prefix}");
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn whatever_happens_the_peer_ends_with_what_is_wanted_and_sendable(
        first in option::of(some_target()),
        steps in steps(),
        pauses in vec(any::<bool>(), 60),
    ) {
        let mut now = start();
        let mut world = World::default();
        if let Some(target) = first {
            world.take(Step::Start(target), now);
        }
        for (step, pause) in steps.into_iter().zip(pauses) {
            world.take(step, now);
            if pause {
                now += secs(1);
            }
        }
        world.settle();
    }
}
