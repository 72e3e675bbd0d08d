//! Drives Loc-RIB and export policy through their public methods.
mod policy;
mod rib;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::policy::{Advertisement, Policy, Pool};
use crate::route::Attributes;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|text| net(text)).collect()
}

/// Attributes with these communities of both kinds and nothing else.
fn communities(texts: &[&str]) -> Attributes {
    let mut attributes = Attributes::default();
    for text in texts {
        attributes.insert(text.parse().expect("a community"));
    }
    attributes
}

/// An advertisement of these pools to these peers, as host routes.
fn advertisement(pools: &[&str], peers: &[&str]) -> Advertisement {
    Advertisement {
        pools: pools.iter().map(|name| (*name).into()).collect(),
        peers: peers.iter().map(|name| (*name).into()).collect(),
        aggregation_length_v4: 32,
        aggregation_length_v6: 128,
        attributes: Attributes::default(),
    }
}

/// Pool `p` with 192.0.2.0/24 and 2001:db8:1::/64, pool `q` with 198.51.100.0/24 in two parts.
fn policy(advertisements: &[(&str, Advertisement)]) -> Policy {
    let pool =
        |prefixes: &[&str]| Pool { prefixes: prefixes.iter().map(|text| net(text)).collect() };
    let pools = [
        ("p", pool(&["192.0.2.0/24", "2001:db8:1::/64"])),
        ("q", pool(&["198.51.100.0/25", "198.51.100.128/25"])),
    ];
    let named =
        |(name, advertisement): &(&str, Advertisement)| ((*name).into(), advertisement.clone());
    Policy {
        pools: pools.map(|(name, pool)| (name.into(), pool)).into(),
        advertisements: advertisements.iter().map(named).collect::<BTreeMap<_, _>>(),
    }
}
