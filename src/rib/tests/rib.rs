//! Which peer gets which route with which attributes.
use std::sync::Arc;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::rib::Rib;
use crate::route::{Degradation, Merit, PeerName, Weight};

fn rib(policy: Policy) -> Rib {
    let mut rib = Rib::default();
    assert_eq!(rib.set_policy(policy), BTreeSet::new());
    rib
}

fn set_vip(rib: &mut Rib, vip: IpAddr, announced: bool) -> BTreeSet<IpNet> {
    if announced { rib.announce(vip, Merit::Healthy(None)) } else { rib.withdraw(vip) }
}

/// Everything that a peer is to be told.
fn exports(rib: &mut Rib, peer: &str) -> BTreeMap<IpNet, Attributes> {
    let prefixes: Vec<IpNet> = rib.prefixes().into_iter().collect();
    let exported = prefixes.into_iter().filter_map(|prefix| {
        let attributes = rib.export(prefix, &peer.into())?;
        Some((prefix, Attributes::clone(&attributes)))
    });
    exported.collect()
}

fn routes(routes: &[(&str, &[&str])]) -> BTreeMap<IpNet, Attributes> {
    routes.iter().map(|(prefix, texts)| (net(prefix), communities(texts))).collect()
}

#[test]
fn a_vip_is_announced_as_long_as_it_is_wanted() {
    let mut rib = rib(policy(&[("hosts", advertisement(&["p"], &["tor1"]))]));
    for (vip, route) in [("192.0.2.1", "192.0.2.1/32"), ("2001:db8:1::1", "2001:db8:1::1/128")] {
        assert_eq!(set_vip(&mut rib, ip(vip), true), nets(&[route]));
        assert_eq!(exports(&mut rib, "tor1"), routes(&[(route, &[])]));
        assert_eq!(set_vip(&mut rib, ip(vip), true), nets(&[]), "no news");
        assert_eq!(set_vip(&mut rib, ip(vip), false), nets(&[route]));
        assert_eq!(exports(&mut rib, "tor1"), routes(&[]));
        assert_eq!(set_vip(&mut rib, ip(vip), false), nets(&[]), "no news");
    }
}

#[test]
fn a_vip_outside_all_pools_is_announced_to_nobody() {
    let mut rib = rib(policy(&[("hosts", advertisement(&["p"], &["tor1"]))]));
    for vip in ["203.0.113.1", "198.51.100.1"] {
        assert_eq!(set_vip(&mut rib, ip(vip), true), nets(&[]));
    }
    assert_eq!(exports(&mut rib, "tor1"), routes(&[]));
}

#[test]
fn an_aggregate_lives_as_long_as_one_of_its_vips() {
    let aggregate = Advertisement {
        aggregation_length_v4: 24,
        attributes: communities(&["65000:1"]),
        ..advertisement(&["p"], &["tor1"])
    };
    let mut rib = rib(policy(&[("aggregate", aggregate)]));
    let announced = routes(&[("192.0.2.0/24", &["65000:1"])]);
    for (vip, wanted, expected) in [
        ("192.0.2.1", true, &announced),
        ("192.0.2.2", true, &announced),
        ("192.0.2.1", false, &announced),
        ("192.0.2.3", true, &announced),
        ("192.0.2.2", false, &announced),
        ("192.0.2.3", false, &routes(&[])),
    ] {
        assert_eq!(set_vip(&mut rib, ip(vip), wanted), nets(&["192.0.2.0/24"]));
        assert_eq!(exports(&mut rib, "tor1"), *expected, "{vip} {wanted}");
    }
}

#[test]
fn an_aggregate_is_worse_only_where_none_of_its_vips_is_healthy() {
    let attributes = Attributes { med: Some(50), prepend: 1, ..communities(&["65000:1"]) };
    let aggregate = Advertisement {
        aggregation_length_v4: 24,
        attributes: attributes.clone(),
        ..advertisement(&["p"], &["tor1"])
    };
    let mut rib = rib(policy(&[("aggregate", aggregate)]));
    let Attributes { communities: worst, .. } = communities(&["65000:666"]);
    let worse =
        Degradation { communities: worst.clone(), prepend: Some(9), ..Degradation::default() };
    let worse = Arc::new(worse);
    let last_resort = Merit::LastResort(Some(Weight(100)), worse);
    let mut exported = |vip: &str, merit: &Merit| {
        rib.announce(ip(vip), merit.clone());
        let exported = rib.export(net("192.0.2.0/24"), &"tor1".into()).expect("it is announced");
        Attributes::clone(&exported)
    };
    let mut degraded = Attributes { prepend: 9, weight: Some(Weight(100)), ..attributes.clone() };
    degraded.communities.extend(worst);
    let healthy = Merit::Healthy(None);
    for (vip, merit, expected) in [
        ("192.0.2.1", &healthy, &attributes),
        ("192.0.2.2", &last_resort, &attributes),
        ("192.0.2.1", &last_resort, &degraded),
        ("192.0.2.2", &healthy, &attributes),
    ] {
        assert_eq!(exported(vip, merit), *expected, "{vip} {merit:?}");
    }
}

#[test]
fn an_aggregate_has_the_weight_of_the_heaviest_of_its_vips() {
    let aggregate = Advertisement { aggregation_length_v4: 24, ..advertisement(&["p"], &["tor1"]) };
    let other = Advertisement { pools: ["q".into()].into(), ..aggregate.clone() };
    let mut rib = rib(policy(&[("aggregate", aggregate), ("other", other)]));
    let mut weight = |vip: &str, announced: Option<Option<u16>>| {
        let changed = match announced {
            Some(weight) => rib.announce(ip(vip), Merit::Healthy(weight.map(Weight))),
            None => rib.withdraw(ip(vip)),
        };
        assert_eq!(changed, nets(&["192.0.2.0/24"]));
        let exported = rib.export(net("192.0.2.0/24"), &"tor1".into());
        exported.map(|attributes| attributes.weight.map(|weight| weight.0))
    };
    for (vip, announced, expected) in [
        ("192.0.2.1", Some(None), Some(None)),
        ("192.0.2.2", Some(Some(100)), Some(Some(100))),
        ("192.0.2.3", Some(Some(50)), Some(Some(100))),
        ("192.0.2.4", Some(Some(100)), Some(Some(100))),
        ("192.0.2.2", None, Some(Some(100))),
        ("192.0.2.4", Some(Some(70)), Some(Some(70))), // a reload
        ("192.0.2.4", None, Some(Some(50))),
        ("192.0.2.3", None, Some(None)),
        ("192.0.2.1", None, None),
    ] {
        assert_eq!(weight(vip, announced), expected, "{vip} {announced:?}");
    }
}

#[test]
fn an_aggregate_outlives_the_host_route_of_one_of_its_vips() {
    let aggregate = Advertisement { aggregation_length_v4: 24, ..advertisement(&["p"], &["tor1"]) };
    let hosts = advertisement(&["p"], &["tor1", "tor2"]);
    let mut rib = rib(policy(&[("aggregate", aggregate), ("hosts", hosts)]));
    set_vip(&mut rib, ip("192.0.2.1"), true);
    set_vip(&mut rib, ip("192.0.2.2"), true);
    assert_eq!(
        set_vip(&mut rib, ip("192.0.2.1"), false),
        nets(&["192.0.2.0/24", "192.0.2.1/32"]),
        "both may have changed"
    );
    assert_eq!(exports(&mut rib, "tor1"), routes(&[("192.0.2.0/24", &[]), ("192.0.2.2/32", &[])]));
    assert_eq!(exports(&mut rib, "tor2"), routes(&[("192.0.2.2/32", &[])]));
}

#[test]
fn advertisements_of_one_prefix_add_up_their_communities_for_the_peers_they_share() {
    let with = |peers: &[&str], texts: &[&str]| Advertisement {
        attributes: communities(texts),
        ..advertisement(&["p"], peers)
    };
    let mut rib = rib(policy(&[
        (
            "first",
            with(&["tor1", "tor2"], &["65000:1", "65000:2", "large:65000:1:1", "rt:65000:1"]),
        ),
        (
            "second",
            with(&["tor2", "tor3"], &["65000:2", "no-export", "large:65000:1:2", "ro:10.0.0.1:1"]),
        ),
        ("nobody", with(&[], &["65000:666"])),
    ]));
    set_vip(&mut rib, ip("192.0.2.1"), true);
    let first: &[&str] = &["65000:1", "65000:2", "large:65000:1:1", "rt:65000:1"];
    let second: &[&str] = &["65000:2", "no-export", "large:65000:1:2", "ro:10.0.0.1:1"];
    let both = [first, second].concat();
    for (peer, expected) in [("tor1", first), ("tor2", &both), ("tor3", second)] {
        assert_eq!(exports(&mut rib, peer), routes(&[("192.0.2.1/32", expected)]), "{peer}");
    }
    assert_eq!(exports(&mut rib, "tor4"), routes(&[]));
}

#[test]
fn what_is_no_community_is_exported_as_it_was_written() {
    let attributes =
        Attributes { local_pref: Some(50), med: Some(7), prepend: 3, ..communities(&["65000:1"]) };
    let written =
        Advertisement { attributes: attributes.clone(), ..advertisement(&["p"], &["tor1"]) };
    let mut rib = rib(policy(&[("first", written.clone()), ("second", written)]));
    set_vip(&mut rib, ip("192.0.2.1"), true);
    let expected = BTreeMap::from([(net("192.0.2.1/32"), attributes)]);
    assert_eq!(exports(&mut rib, "tor1"), expected);
}

#[test]
fn a_new_policy_returns_what_is_gone_and_what_is_new() {
    let mut rib = rib(policy(&[("hosts", advertisement(&["p"], &["tor1"]))]));
    set_vip(&mut rib, ip("192.0.2.1"), true);
    set_vip(&mut rib, ip("198.51.100.1"), true);
    let aggregate =
        Advertisement { aggregation_length_v4: 24, ..advertisement(&["p", "q"], &["tor1"]) };
    assert_eq!(
        rib.set_policy(policy(&[("aggregate", aggregate)])),
        nets(&["192.0.2.1/32", "192.0.2.0/24", "198.51.100.0/24"])
    );
    assert_eq!(
        exports(&mut rib, "tor1"),
        routes(&[("192.0.2.0/24", &[]), ("198.51.100.0/24", &[])])
    );
    // The VIPs are still wanted when a policy for them comes back.
    rib.set_policy(policy(&[]));
    assert_eq!(exports(&mut rib, "tor1"), routes(&[]));
    rib.set_policy(policy(&[("hosts", advertisement(&["q"], &["tor1"]))]));
    assert_eq!(exports(&mut rib, "tor1"), routes(&[("198.51.100.1/32", &[])]));
}

#[test]
fn the_prefixes_of_a_vip_are_known_whether_it_is_announced_or_not() {
    let aggregate = Advertisement { aggregation_length_v4: 24, ..advertisement(&["p"], &["tor2"]) };
    let hosts = advertisement(&["p"], &["tor1", "tor2"]);
    let mut rib = rib(policy(&[("aggregate", aggregate), ("hosts", hosts)]));
    for wanted in [true, false] {
        set_vip(&mut rib, ip("192.0.2.1"), wanted);
        let of = |peer: &str| rib.prefixes_for(ip("192.0.2.1"), &peer.into());
        assert_eq!(of("tor1"), nets(&["192.0.2.1/32"]));
        assert_eq!(of("tor2"), nets(&["192.0.2.0/24", "192.0.2.1/32"]));
        assert_eq!(of("tor3"), nets(&[]));
    }
}

#[test]
fn equal_attributes_are_one_for_all_prefixes_and_peers() {
    let with = |pool, texts: &[&str]| Advertisement {
        attributes: communities(texts),
        ..advertisement(&[pool], &["tor1", "tor2"])
    };
    let mut rib = rib(policy(&[("first", with("p", &["65000:1"])), ("second", with("q", &[]))]));
    for vip in ["192.0.2.1", "192.0.2.2", "198.51.100.1"] {
        set_vip(&mut rib, ip(vip), true);
    }
    let mut export = |prefix: &str, peer: &str| -> Arc<Attributes> {
        rib.export(net(prefix), &peer.into()).expect("it is announced")
    };
    let one = export("192.0.2.1/32", "tor1");
    assert!(Arc::ptr_eq(&one, &export("192.0.2.1/32", "tor1")));
    assert!(Arc::ptr_eq(&one, &export("192.0.2.1/32", "tor2")));
    assert!(Arc::ptr_eq(&one, &export("192.0.2.2/32", "tor1")));
    assert!(!Arc::ptr_eq(&one, &export("198.51.100.1/32", "tor1")));
}

const PEERS: [&str; 3] = ["tor1", "tor2", "tor3"];

#[derive(Clone, Debug)]
enum Step {
    Announce(IpAddr, Merit),
    Withdraw(IpAddr),
    SetPolicy(Policy),
}

fn any_vip() -> impl Strategy<Value = IpAddr> {
    // Few enough to meet again, in both pools and outside of them.
    (0u8..4, prop::sample::select(vec!["192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:1::"]))
        .prop_map(|(last, first)| ip(&format!("{first}{}", last * 60)))
}

prop_compose! {
    fn any_policy()(
        advertisements in vec(
            (
                btree_set(prop::sample::select(vec!["p", "q"]), 0..3),
                btree_set(prop::sample::select(PEERS.to_vec()), 0..4),
                prop::sample::select(vec![0u8, 16, 24, 26, 32]),
                prop::sample::select(vec![48u8, 64, 120, 128]),
                btree_set(prop::sample::select(vec!["65000:1", "rt:65000:1", "large:65000:1:1"]), 0..4),
            ),
            0..4,
        ),
        // The configuration is checked to agree in this for one prefix and peer.
        med in any::<Option<u32>>(),
    ) -> Policy {
        let named = ["first", "second", "third"].into_iter().zip(advertisements);
        let advertisements: Vec<_> = named
            .map(|(name, (pools, peers, v4, v6, texts))| {
                let texts: Vec<&str> = texts.into_iter().collect();
                let pools: Vec<&str> = pools.into_iter().collect();
                let peers: Vec<&str> = peers.into_iter().collect();
                let made = Advertisement {
                    aggregation_length_v4: v4,
                    aggregation_length_v6: v6,
                    attributes: Attributes { med, ..communities(&texts) },
                    ..advertisement(&pools, &peers)
                };
                (name, made)
            })
            .collect();
        policy(&advertisements)
    }
}

fn any_merit() -> impl Strategy<Value = Merit> {
    let weight = prop::option::of((1..4_u16).prop_map(Weight));
    let med = prop::option::of(7..9_u32);
    let prepend = prop::option::of(1..3_u8);
    (weight, prop::option::of((med, prepend))).prop_map(|(weight, worse)| match worse {
        None => Merit::Healthy(weight),
        Some((med, prepend)) => {
            let Attributes { communities, .. } = communities(&["65000:666"]);
            let worse = Degradation { communities, med, prepend, ..Degradation::default() };
            Merit::LastResort(weight, Arc::new(worse))
        }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any_vip(), any_merit()).prop_map(|(vip, merit)| Step::Announce(vip, merit)),
        2 => any_vip().prop_map(Step::Withdraw),
        1 => any_policy().prop_map(Step::SetPolicy),
    ]
}

/// What a peer should have, worked out from nothing but what is wanted.
fn naive(
    policy: &Policy,
    wanted: &BTreeMap<IpAddr, Merit>,
    peer: &PeerName,
) -> BTreeMap<IpNet, Attributes> {
    let mut routes: BTreeMap<IpNet, Attributes> = BTreeMap::new();
    let mut merits: BTreeMap<IpNet, Merit> = BTreeMap::new();
    for (vip, merit) in wanted {
        for advertisement in policy.advertisements.values() {
            let in_pool = |(name, pool): (&_, &Pool)| {
                advertisement.pools.contains(name)
                    && pool.prefixes.iter().any(|prefix| prefix.contains(vip))
            };
            if !policy.pools.iter().any(in_pool) || !advertisement.peers.contains(peer) {
                continue;
            }
            let length = match vip {
                IpAddr::V4(_) => advertisement.aggregation_length_v4,
                IpAddr::V6(_) => advertisement.aggregation_length_v6,
            };
            let prefix = IpNet::new(*vip, length).expect("a length").trunc();
            let Attributes { communities, large_communities, med, .. } = &advertisement.attributes;
            let extended = &advertisement.attributes.extended_communities;
            let route = routes.entry(prefix).or_default();
            route.communities.extend(communities);
            route.extended_communities.extend(extended);
            route.large_communities.extend(large_communities);
            route.med = *med;
            let greatest = merits.entry(prefix).or_insert_with(|| merit.clone());
            *greatest = greatest.clone().max(merit.clone());
        }
    }
    for (prefix, merit) in merits {
        let route = routes.entry(prefix).or_default();
        route.weight = merit.weight();
        if let Merit::LastResort(_, worse) = merit {
            route.communities.extend(&worse.communities);
            route.med = worse.med.or(route.med);
            route.prepend = worse.prepend.unwrap_or(0);
        }
    }
    routes
}

proptest! {
    /// Telling peers nothing but the prefixes that were returned leaves each with exactly what a
    /// new peer would be told.
    #[test]
    fn the_returned_prefixes_are_all_that_changed(steps in vec(any_step(), 0..60)) {
        let mut rib = Rib::default();
        let mut policy = Policy::default();
        let mut wanted: BTreeMap<IpAddr, Merit> = BTreeMap::new();
        let mut told: BTreeMap<PeerName, BTreeMap<IpNet, Attributes>> =
            PEERS.map(|peer| (peer.into(), BTreeMap::new())).into();
        for step in steps {
            let changed = match step {
                Step::Announce(vip, merit) => {
                    wanted.insert(vip, merit.clone());
                    rib.announce(vip, merit)
                }
                Step::Withdraw(vip) => {
                    wanted.remove(&vip);
                    rib.withdraw(vip)
                }
                Step::SetPolicy(new) => {
                    policy = new.clone();
                    rib.set_policy(new)
                }
            };
            for (peer, routes) in &mut told {
                for prefix in &changed {
                    match rib.export(*prefix, peer) {
                        Some(attributes) => drop(routes.insert(*prefix, Attributes::clone(&attributes))),
                        None => drop(routes.remove(prefix)),
                    }
                }
                let expected = naive(&policy, &wanted, peer);
                prop_assert_eq!(&*routes, &expected, "told by and by");
                prop_assert_eq!(exports(&mut rib, peer.as_ref()), expected, "told all at once");
            }
        }
    }
}
