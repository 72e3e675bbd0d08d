//! What is taken in from a peer, what becomes of it, and which routes are used.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;

use super::clock::start;
use crate::bgp::accept::{Accept, PrefixMatch};
use crate::bgp::adj_rib_in::{AdjRibIn, Route, Source, TooMany};
use crate::bgp::decision::best;
use crate::bgp::wire::{AsPath, Origin, PathAttributes, Segment, Update};
use crate::route::{Asn, Family};

const LOCAL: Asn = Asn(65100);
const MINUTE: Duration = Duration::from_secs(60);

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn within(prefix: &str, shortest: u8, longest: u8) -> PrefixMatch {
    PrefixMatch { prefix: net(prefix), lengths: shortest..=longest }
}

fn accept(prefixes: Vec<PrefixMatch>) -> Accept {
    Accept { prefixes, max_prefixes: 100, table: 254 }
}

/// Both defaults, and what is in 10.0.0.0/8 from /16 to /24.
fn some() -> Accept {
    let defaults = [within("0.0.0.0/0", 0, 0), within("::/0", 0, 0)];
    accept([&defaults[..], &[within("10.0.0.0/8", 16, 24)]].concat())
}

fn everything() -> Accept {
    accept(vec![within("0.0.0.0/0", 0, 32), within("::/0", 0, 128)])
}

fn source() -> Source {
    Source { local_asn: LOCAL, internal: false, link_local: false, families: Family::ALL.to_vec() }
}

fn internal() -> Source {
    Source { internal: true, ..source() }
}

fn sequence(asns: &[u32]) -> Segment {
    Segment::Sequence(asns.iter().copied().map(Asn).collect())
}

fn set(asns: &[u32]) -> Segment {
    Segment::Set(asns.iter().copied().map(Asn).collect())
}

fn attributes() -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(vec![sequence(&[65000])])),
        next_hop: Some("10.0.0.1".parse().unwrap()),
        ..PathAttributes::default()
    }
}

fn announce(prefixes: &[&str]) -> Update {
    let announced = prefixes.iter().map(|prefix| net(prefix)).collect();
    Update { announced, attributes: attributes(), ..Update::default() }
}

fn withdraw(prefixes: &[&str]) -> Update {
    Update { withdrawn: prefixes.iter().map(|p| net(p)).collect(), ..Update::default() }
}

fn end_of_rib(family: Family) -> Update {
    Update { end_of_rib: Some(family), ..Update::default() }
}

fn with(rib: AdjRibIn, updates: &[Update]) -> AdjRibIn {
    let mut rib = rib;
    for update in updates {
        rib.handle_update(update).expect("not too many");
    }
    rib
}

/// With a session, and this announced.
fn rib(accept: Accept, prefixes: &[&str]) -> AdjRibIn {
    let mut rib = AdjRibIn::new(accept);
    rib.start(source());
    let mut rib = with(rib, &[announce(prefixes)]);
    changed(&mut rib);
    rib
}

fn has(rib: &AdjRibIn) -> Vec<String> {
    rib.routes().map(|(prefix, _)| prefix.to_string()).collect()
}

fn changed(rib: &mut AdjRibIn) -> Vec<String> {
    std::iter::from_fn(|| rib.poll_changed()).map(|prefix| prefix.to_string()).collect()
}

const NOTHING: [&str; 0] = [];

mod filter {
    use super::*;

    #[test]
    fn only_what_matches_is_stored() {
        let all = ["0.0.0.0/0", "10.0.0.0/15", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.0/25"];
        let more = ["11.0.0.0/16", "::/0", "2001:db8::/32"];
        let rib = rib(some(), &[&all[..], &more[..]].concat());
        assert_eq!(has(&rib), ["0.0.0.0/0", "10.1.0.0/16", "10.1.2.0/24", "::/0"]);
        assert_eq!(rib.announcements(), 8);
    }

    #[test]
    fn the_default_route_of_one_family_is_not_that_of_the_other() {
        let ipv4 = accept(vec![within("0.0.0.0/0", 0, 32)]);
        assert_eq!(has(&rib(ipv4, &["::/0", "0.0.0.0/0"])), ["0.0.0.0/0"]);
    }

    #[test]
    fn a_family_that_was_not_agreed_is_not_let_in() {
        let mut rib = AdjRibIn::new(everything());
        rib.start(Source { families: vec![Family::Ipv4Unicast], ..source() });
        assert_eq!(has(&with(rib, &[announce(&["::/0", "0.0.0.0/0"])])), ["0.0.0.0/0"]);
    }

    /// RFC 2545 §3: on the link that we share with the router.
    #[test]
    fn a_link_local_next_hop_is_followed_between_link_local_addresses_only() {
        let link_local = Some("fe80::1".parse().unwrap());
        let mut update = announce(&["0.0.0.0/0"]);
        update.attributes.link_local_next_hop = link_local;
        for (is_link_local, next_hop) in [(false, "10.0.0.1"), (true, "fe80::1")] {
            let mut rib = AdjRibIn::new(everything());
            rib.start(Source { link_local: is_link_local, ..source() });
            let rib = with(rib, std::slice::from_ref(&update));
            let route = rib.route(net("0.0.0.0/0")).expect("a route");
            assert_eq!(route.next_hop.to_string(), next_hop);
        }
    }

    #[test]
    fn a_filter_that_lets_in_less_removes_and_one_that_lets_in_more_asks() {
        let mut rib = rib(some(), &["0.0.0.0/0", "10.1.0.0/16", "::/0"]);
        let narrow = accept(vec![within("0.0.0.0/0", 0, 0)]);
        assert_eq!(rib.set_accept(narrow.clone()), Ok(false));
        assert_eq!(changed(&mut rib), ["10.1.0.0/16", "::/0"]);
        assert_eq!(has(&rib), ["0.0.0.0/0"]);
        assert_eq!(rib.set_accept(narrow), Ok(false));
        assert_eq!(rib.set_accept(some()), Ok(true));
        assert_eq!(changed(&mut rib), NOTHING);
    }

    #[test]
    fn another_table_concerns_every_route() {
        let mut rib = rib(some(), &["0.0.0.0/0", "::/0"]);
        assert_eq!(rib.set_accept(Accept { table: 100, ..some() }), Ok(false));
        assert_eq!(changed(&mut rib), ["0.0.0.0/0", "::/0"]);
    }

    #[test]
    fn one_too_many_is_an_error_at_once_and_refused_ones_do_not_count() {
        let two = Accept { max_prefixes: 2, ..some() };
        let mut rib = rib(two.clone(), &["10.1.0.0/16", "192.0.2.0/24", "10.2.0.0/16"]);
        // The same ones again are not more.
        assert_eq!(rib.handle_update(&announce(&["10.1.0.0/16", "192.0.3.0/24"])), Ok(()));
        assert_eq!(rib.handle_update(&announce(&["10.3.0.0/16"])), Err(TooMany(2)));
        let mut rib = super::rib(some(), &["10.1.0.0/16", "192.0.2.0/24", "10.2.0.0/16", "::/0"]);
        assert_eq!(rib.set_accept(two), Err(TooMany(2)));
    }

    fn any_match() -> impl Strategy<Value = PrefixMatch> {
        let parts = (any::<u32>(), 0u8..=32, 0u8..=32, 0u8..=32);
        parts.prop_map(|(address, length, one, other)| {
            let prefix = ipnet::Ipv4Net::new(address.into(), length).unwrap().trunc();
            let (first, last) = (one.min(other).max(length), one.max(other).max(length));
            PrefixMatch { prefix: prefix.into(), lengths: first..=last }
        })
    }

    proptest! {
        /// Else a route refresh would be needed that nobody asks for.
        #[test]
        fn what_is_covered_lets_nothing_new_in(
            old in vec(any_match(), 1..4),
            new in vec(any_match(), 1..4),
            address: u32,
            length in 0u8..=32,
        ) {
            let (old, new) = (accept(old), accept(new));
            let prefix = ipnet::Ipv4Net::new(address.into(), length).unwrap().trunc().into();
            prop_assert!(!old.covers(&new) || !new.matches(prefix) || old.matches(prefix));
            prop_assert!(new.covers(&new));
        }
    }
}

mod attributes {
    use super::*;

    fn route(source: Source, attributes: PathAttributes) -> Route {
        let mut rib = AdjRibIn::new(everything());
        rib.start(source);
        let update = Update { attributes, ..announce(&["0.0.0.0/0"]) };
        let rib = with(rib, &[update]);
        rib.route(net("0.0.0.0/0")).expect("a route").clone()
    }

    fn path(segments: &[Segment]) -> PathAttributes {
        PathAttributes { as_path: Some(AsPath(segments.to_vec())), ..attributes() }
    }

    #[test]
    fn what_is_left_out_has_the_value_of_the_rfc() {
        let expected = Route {
            next_hop: "10.0.0.1".parse().unwrap(),
            origin: Origin::Igp,
            local_pref: 100,
            med: 0,
            path_length: 1,
            neighbour_asn: Asn(65000),
            internal: false,
            looped: false,
        };
        assert_eq!(route(source(), attributes()), expected);
    }

    #[test]
    fn local_pref_counts_from_internal_peers_only() {
        let preferred = PathAttributes { local_pref: Some(500), ..attributes() };
        assert_eq!(route(internal(), preferred.clone()).local_pref, 500);
        assert_eq!(route(source(), preferred).local_pref, 100);
    }

    #[test]
    fn a_set_counts_as_one_and_has_no_neighbour() {
        let one = route(source(), path(&[sequence(&[65000, 65001]), set(&[1, 2, 3])]));
        assert_eq!((one.path_length, one.neighbour_asn), (3, Asn(65000)));
        assert_eq!(route(source(), path(&[set(&[1, 2])])).neighbour_asn, LOCAL);
        let empty = route(internal(), path(&[]));
        assert_eq!((empty.path_length, empty.neighbour_asn), (0, LOCAL));
    }

    #[test]
    fn each_of_two_kinds_of_prefixes_in_an_update_has_its_own_next_hop() {
        let next_hop = "10.0.0.2".parse().unwrap();
        let beside = Box::new((next_hop, vec![net("10.0.0.0/8"), net("10.0.0.0/9")]));
        let mixed = Update { beside: Some(beside), ..announce(&["::/0"]) };
        let mut rib = AdjRibIn::new(everything());
        rib.start(source());
        let rib = with(rib, &[mixed]);
        let next_hops: Vec<_> = rib.routes().map(|(_, route)| Some(route.next_hop)).collect();
        assert_eq!(next_hops, [Some(next_hop), Some(next_hop), attributes().next_hop]);
        assert_eq!(rib.announcements(), 3);
    }

    #[test]
    fn our_as_anywhere_in_the_path_is_a_loop() {
        for segments in
            [[sequence(&[65000, LOCAL.0]), set(&[1])], [sequence(&[1]), set(&[LOCAL.0])]]
        {
            assert!(route(source(), path(&segments)).looped, "{segments:?}");
            assert!(route(internal(), path(&segments)).looped, "{segments:?}");
        }
    }
}

mod updates {
    use super::*;

    #[test]
    fn only_what_changes_is_a_change() {
        let mut rib = rib(everything(), &["0.0.0.0/0", "::/0"]);
        rib.handle_update(&announce(&["0.0.0.0/0", "192.0.2.0/24"])).unwrap();
        assert_eq!(changed(&mut rib), ["192.0.2.0/24"]);
        let attributes = PathAttributes { med: Some(7), ..attributes() };
        rib.handle_update(&Update { attributes, ..announce(&["0.0.0.0/0"]) }).unwrap();
        assert_eq!(changed(&mut rib), ["0.0.0.0/0"]);
        rib.handle_update(&withdraw(&["::/0", "198.51.100.0/24"])).unwrap();
        assert_eq!(changed(&mut rib), ["::/0"]);
        assert_eq!(has(&rib), ["0.0.0.0/0", "192.0.2.0/24"]);
    }

    #[test]
    fn a_prefix_that_is_withdrawn_and_announced_in_one_update_is_announced() {
        let mut rib = rib(everything(), &[]);
        let both = Update { withdrawn: vec![net("0.0.0.0/0")], ..announce(&["0.0.0.0/0"]) };
        rib.handle_update(&both).unwrap();
        assert_eq!(has(&rib), ["0.0.0.0/0"]);
    }

    #[test]
    fn the_routes_go_with_the_session_and_nothing_is_heard_without_one() {
        let mut rib = rib(everything(), &["0.0.0.0/0", "::/0"]);
        rib.stop();
        assert_eq!(
            (changed(&mut rib), has(&rib)),
            (vec!["0.0.0.0/0".into(), "::/0".into()], vec![])
        );
        rib.handle_update(&announce(&["0.0.0.0/0"])).unwrap();
        assert_eq!((has(&rib), rib.announcements()), (vec![], 2));
        rib.start(source());
        assert_eq!(rib.announcements(), 0);
    }

    #[test]
    fn it_is_complete_with_the_end_of_rib_of_every_family_in_this_session() {
        let rib = rib(everything(), &[]);
        let rib = with(rib, &[end_of_rib(Family::Ipv4Unicast)]);
        assert!(!rib.is_complete());
        let mut rib = with(rib, &[end_of_rib(Family::Ipv6Unicast)]);
        assert!(rib.is_complete());
        rib.stop();
        assert!(!rib.is_complete());
        rib.start(Source { families: vec![Family::Ipv6Unicast], ..source() });
        assert!(!rib.is_complete());
        assert!(with(rib, &[end_of_rib(Family::Ipv6Unicast)]).is_complete());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Announce(Vec<u8>, u32),
        Withdraw(Vec<u8>),
        Restart,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let prefixes = || vec(0u8..6, 0..4);
        prop_oneof![
            8 => (prefixes(), 0u32..3).prop_map(|(prefixes, med)| Step::Announce(prefixes, med)),
            4 => prefixes().prop_map(Step::Withdraw),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// Whoever follows the changes has what is stored, and that is what the peer would say.
        #[test]
        fn the_changes_lead_to_what_is_there(steps in vec(any_step(), 0..40)) {
            let nth = |number: &u8| net(&format!("10.{number}.0.0/16"));
            let mut rib = rib(some(), &[]);
            let (mut model, mut seen) = (BTreeMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Announce(prefixes, med) => {
                        let attributes = PathAttributes { med: Some(med), ..attributes() };
                        let announced: Vec<IpNet> = prefixes.iter().map(nth).collect();
                        model.extend(announced.iter().map(|prefix| (*prefix, med)));
                        let update = Update { announced, attributes, ..Update::default() };
                        rib.handle_update(&update).unwrap();
                    }
                    Step::Withdraw(prefixes) => {
                        let withdrawn: Vec<IpNet> = prefixes.iter().map(nth).collect();
                        model.retain(|prefix, _| !withdrawn.contains(prefix));
                        rib.handle_update(&Update { withdrawn, ..Update::default() }).unwrap();
                    }
                    Step::Restart => {
                        model.clear();
                        rib.stop();
                        rib.start(source());
                    }
                }
                while let Some(prefix) = rib.poll_changed() {
                    match rib.route(prefix) {
                        Some(route) => seen.insert(prefix, route.med),
                        None => seen.remove(&prefix),
                    };
                }
                prop_assert_eq!(&seen, &model);
            }
        }
    }
}

/// RFC 4724 §4.2.
mod stale {
    use super::*;

    /// Both defaults, stale for a minute.
    fn stale() -> (AdjRibIn, Instant) {
        let mut rib = rib(everything(), &["0.0.0.0/0", "192.0.2.0/24", "::/0"]);
        let now = start();
        rib.mark_stale(&Family::ALL, now + MINUTE);
        assert_eq!(changed(&mut rib), NOTHING, "they stay in use");
        (rib, now)
    }

    #[test]
    fn the_families_that_are_named_stay_and_the_others_go() {
        let mut rib = rib(everything(), &["0.0.0.0/0", "::/0"]);
        rib.mark_stale(&[Family::Ipv6Unicast], start() + MINUTE);
        assert_eq!((changed(&mut rib), has(&rib)), (vec!["0.0.0.0/0".into()], vec!["::/0".into()]));
        assert!(rib.is_stale(net("::/0")));
        let mut rib = super::rib(everything(), &["0.0.0.0/0"]);
        rib.mark_stale(&[], start() + MINUTE);
        assert_eq!((has(&rib), rib.poll_timeout()), (vec![], None));
    }

    #[test]
    fn they_go_when_their_time_is_over_and_not_before() {
        let (mut rib, now) = stale();
        assert_eq!(rib.poll_timeout(), Some(now + MINUTE));
        rib.handle_timeout(now + MINUTE - Duration::from_nanos(1));
        assert_eq!(has(&rib).len(), 3);
        rib.handle_timeout(now + MINUTE);
        assert_eq!((has(&rib).len(), changed(&mut rib).len(), rib.poll_timeout()), (0, 3, None));
    }

    #[test]
    fn what_is_announced_again_is_fresh_and_end_of_rib_removes_the_rest() {
        let (mut rib, now) = stale();
        rib.start(source());
        let mut rib = with(rib, &[announce(&["0.0.0.0/0"])]);
        assert!(!rib.is_stale(net("0.0.0.0/0")) && rib.is_stale(net("192.0.2.0/24")));
        assert_eq!(changed(&mut rib), NOTHING, "the same route again is no change");
        let mut rib = with(rib, &[end_of_rib(Family::Ipv4Unicast)]);
        assert_eq!(changed(&mut rib), ["192.0.2.0/24"]);
        assert_eq!(has(&rib), ["0.0.0.0/0", "::/0"], "the other family has its own End-of-RIB");
        assert_eq!(rib.poll_timeout(), Some(now + MINUTE));
        let mut rib = with(rib, &[end_of_rib(Family::Ipv6Unicast)]);
        assert_eq!((has(&rib), rib.poll_timeout()), (vec!["0.0.0.0/0".into()], None));
        rib.handle_timeout(now + MINUTE);
        assert_eq!(has(&rib), ["0.0.0.0/0"]);
    }

    #[test]
    fn what_is_stale_can_be_withdrawn() {
        let (mut rib, _) = stale();
        rib.start(source());
        let rib = with(rib, &[withdraw(&["::/0"])]);
        assert_eq!(has(&rib), ["0.0.0.0/0", "192.0.2.0/24"]);
    }

    #[test]
    fn a_second_restart_before_end_of_rib_removes_what_was_stale_from_the_first() {
        let (mut rib, now) = stale();
        rib.start(source());
        let mut rib = with(rib, &[announce(&["0.0.0.0/0"])]);
        rib.mark_stale(&Family::ALL, now + 2 * MINUTE);
        assert_eq!(has(&rib), ["0.0.0.0/0"]);
        assert_eq!(changed(&mut rib), ["192.0.2.0/24", "::/0"]);
    }

    #[test]
    fn a_session_without_a_family_ends_what_was_stale_of_it() {
        let (mut rib, _) = stale();
        rib.start(Source { families: vec![Family::Ipv4Unicast], ..source() });
        assert_eq!(has(&rib), ["0.0.0.0/0", "192.0.2.0/24"]);
    }

    #[test]
    fn the_end_of_the_peer_is_the_end_of_what_is_stale() {
        let (mut rib, _) = stale();
        rib.stop();
        assert_eq!((has(&rib), rib.poll_timeout()), (vec![], None));
        let (mut rib, _) = stale();
        rib.sweep_all();
        assert_eq!((has(&rib), rib.poll_timeout()), (vec![], None));
    }
}

/// RFC 4271 §9.1.
mod decision {
    use super::*;

    fn base() -> Route {
        Route {
            next_hop: "10.0.0.1".parse().unwrap(),
            origin: Origin::Egp,
            local_pref: 100,
            med: 10,
            path_length: 2,
            neighbour_asn: Asn(65000),
            internal: false,
            looped: false,
        }
    }

    fn chosen(routes: &[Route]) -> Vec<usize> {
        best(routes.iter().enumerate())
    }

    #[test]
    fn routes_of_equal_merit_are_used_together() {
        let other = Route { next_hop: "10.0.0.2".parse().unwrap(), ..base() };
        assert_eq!(chosen(&[base(), other]), [0, 1]);
        assert_eq!(chosen(&[]), [0; 0]);
    }

    /// Each rule decides where all before it are even, whatever those after it say.
    #[test]
    fn the_rules_apply_in_the_order_of_the_rfc() {
        let better: [fn(&mut Route); 5] = [
            |route| route.local_pref = 200,
            |route| route.path_length = 1,
            |route| route.origin = Origin::Igp,
            |route| route.med = 5,
            |route| route.internal = false,
        ];
        let start = Route { internal: true, ..base() };
        for (number, rule) in better.iter().enumerate() {
            let mut winner = start.clone();
            rule(&mut winner);
            let mut loser = start.clone();
            better[number + 1..].iter().for_each(|later| later(&mut loser));
            assert_eq!(chosen(&[loser.clone(), winner.clone()]), [1], "rule {number}");
            assert_eq!(chosen(&[winner.clone(), loser, winner]), [0, 2], "rule {number}");
        }
    }

    #[test]
    fn meds_of_different_neighbours_are_not_compared() {
        let elsewhere = Route { neighbour_asn: Asn(65001), med: 500, ..base() };
        let worse = Route { med: 11, ..base() };
        assert_eq!(chosen(&[base(), elsewhere, worse]), [0, 1]);
    }

    fn any_route() -> impl Strategy<Value = Route> {
        let asn = (0u32..2).prop_map(|number| Asn(65000 + number));
        (0u32..2, 0usize..2, 0u32..2, asn, any::<bool>()).prop_map(
            |(local_pref, path_length, med, neighbour_asn, internal)| Route {
                local_pref,
                path_length,
                med,
                neighbour_asn,
                internal,
                ..base()
            },
        )
    }

    proptest! {
        #[test]
        fn some_route_is_always_used_and_their_order_does_not_matter(
            routes in vec(any_route(), 1..6),
        ) {
            let forward: BTreeSet<usize> = chosen(&routes).into_iter().collect();
            let reversed: Vec<Route> = routes.iter().rev().cloned().collect();
            let backward: BTreeSet<usize> =
                chosen(&reversed).into_iter().map(|index| routes.len() - 1 - index).collect();
            prop_assert!(!forward.is_empty());
            prop_assert_eq!(forward, backward);
        }
    }
}
