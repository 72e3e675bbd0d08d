//! `[community]`, `[pool.*]` and `[advertisement.*]`.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::problem::{Problem, suggest};
use super::table::{Located, Reading, Table};
use super::value::{Addresses, Text};
use super::{Named, Peers, Pools, resolve};
use crate::rib::policy::{Advertisement, Pool};
use crate::route::{AdvertisementName, AnyCommunity, Attributes, Community, Family};

/// So that every route fits into a message with room to spare.
const MAX_COMMUNITIES: usize = 64;
const PREPENDS: RangeInclusive<i64> = 0..=20;
const UNSIGNED: RangeInclusive<i64> = 0..=4_294_967_295;

/// `[community]`: names for communities.
pub(super) fn communities(
    reading: &Reading,
    table: Option<Table<'_>>,
) -> BTreeMap<String, AnyCommunity> {
    let Some(table) = table else { return BTreeMap::new() };
    let mut named = BTreeMap::new();
    for (name, written) in table.all::<String>() {
        match written.value.parse::<AnyCommunity>() {
            Ok(community) => {
                named.insert(name.value, community);
            }
            Err(error) => {
                reading.problems.push(Problem::new(&written.place, error.to_string()));
            }
        }
    }
    named
}

/// `[pool.*]`
pub(super) fn pools(named: Named<'_>) -> Pools {
    let mut pools = Pools::new();
    for (name, (place, table)) in named {
        if let Some(value) = pool(table, &pools) {
            pools.insert(name.into(), Located { value, place });
        }
    }
    pools
}

fn pool(mut table: Table<'_>, others: &Pools) -> Option<Pool> {
    table.later(&["auto-assign", "avoid-buggy-ips", "service-allocation"]);
    table.needs("addresses", "[\"203.0.113.0/24\"]");
    let addresses = table.list::<Text<Addresses>>("addresses");
    let mut prefixes = Vec::new();
    for Located { value: Text(Addresses(written)), place } in addresses.unwrap_or_default() {
        for prefix in &written {
            let overlaps =
                |other: &&ipnet::IpNet| other.contains(prefix) || prefix.contains(*other);
            let other =
                others.iter().find(|(_, pool)| pool.value.prefixes.iter().any(|p| overlaps(&p)));
            if let Some((name, pool)) = other {
                let message = format!("these addresses are in pool `{name}` too");
                table.problem(Problem::new(&place, message).also(&pool.place, "the other pool"));
                break;
            }
        }
        prefixes.extend(written);
    }
    table.finish();
    Some(Pool { prefixes })
}

/// What an advertisement may refer to.
pub(super) struct Names<'a> {
    pub(super) communities: &'a BTreeMap<String, AnyCommunity>,
    pub(super) pools: &'a Pools,
    pub(super) peers: &'a Peers,
}

/// `[advertisement.*]`. Where there is none at all, every pool is announced to every peer.
pub(super) fn advertisements(
    reading: &Reading,
    named: Named<'_>,
    names: &Names<'_>,
) -> BTreeMap<AdvertisementName, Advertisement> {
    if named.is_empty() {
        let everything = Advertisement {
            pools: names.pools.keys().cloned().collect(),
            peers: names.peers.keys().cloned().collect(),
            aggregation_length_v4: 32,
            aggregation_length_v6: 128,
            attributes: Attributes::default(),
        };
        return BTreeMap::from([("default".into(), everything)]);
    }
    let mut all: BTreeMap<AdvertisementName, Located<Advertisement>> = BTreeMap::new();
    for (name, (place, table)) in named {
        let value = advertisement(table, names);
        for (other_name, other) in &all {
            if let Some(what) = conflict(&value, &other.value) {
                let message = format!(
                    "advertisements `{name}` and `{other_name}` announce the same prefixes to the \
                     same peer with a different {what}"
                );
                let problem = Problem::new(&place, message).also(&other.place, "the other one");
                reading.problems.push(problem);
            }
        }
        all.insert(name.into(), Located { value, place });
    }
    all.into_iter().map(|(name, located)| (name, located.value)).collect()
}

/// Communities of two advertisements add up; nothing else can.
fn conflict(a: &Advertisement, b: &Advertisement) -> Option<&'static str> {
    let meet = !a.pools.is_disjoint(&b.pools)
        && !a.peers.is_disjoint(&b.peers)
        && (a.aggregation_length_v4 == b.aggregation_length_v4
            || a.aggregation_length_v6 == b.aggregation_length_v6);
    let (a, b) = (&a.attributes, &b.attributes);
    let differences = [
        ("local-pref", a.local_pref != b.local_pref),
        ("med", a.med != b.med),
        ("prepend", a.prepend != b.prepend),
    ];
    let mut found = differences.into_iter().filter(|(_, differs)| meet && *differs);
    found.next().map(|(what, _)| what)
}

fn advertisement(mut table: Table<'_>, names: &Names<'_>) -> Advertisement {
    let pools = names_in(&mut table, "pools", "pool", names.pools.keys());
    let peers = names_in(&mut table, "peers", "peer", names.peers.keys());
    let aggregation_length_v4 = aggregation(&mut table, Family::Ipv4Unicast, &pools, names);
    let aggregation_length_v6 = aggregation(&mut table, Family::Ipv6Unicast, &pools, names);
    let mut attributes = Attributes {
        local_pref: table.number("local-pref", UNSIGNED).map(|pref| pref.value),
        med: table.number("med", UNSIGNED).map(|med| med.value),
        prepend: table.number("prepend", PREPENDS).map_or(0, |times| times.value),
        ..Attributes::default()
    };
    for written in table.list::<String>("communities").unwrap_or_default() {
        match community(&table, &written, names.communities) {
            Some(AnyCommunity::Standard(community)) => {
                attributes.communities.insert(community);
            }
            Some(AnyCommunity::Large(community)) => {
                attributes.large_communities.insert(community);
            }
            None => {}
        }
    }
    if attributes.communities.len() + attributes.large_communities.len() > MAX_COMMUNITIES {
        let message = format!("more than {MAX_COMMUNITIES} communities");
        table.problem(Problem::new(table.place(), message));
    }
    table.finish();
    Advertisement { pools, peers, aggregation_length_v4, aggregation_length_v6, attributes }
}

/// Names of things that must exist; all of them when the key is left out.
fn names_in<'n, N: Clone + Ord + AsRef<str> + 'n>(
    table: &mut Table<'_>,
    key: &'static str,
    what: &str,
    all: impl Iterator<Item = &'n N> + Clone,
) -> BTreeSet<N> {
    match table.list::<String>(key) {
        None => all.cloned().collect(),
        Some(written) => {
            let candidates = all.map(|name| (name.as_ref(), name.clone()));
            let found = written.iter().filter_map(|n| resolve(table, what, n, candidates.clone()));
            found.collect()
        }
    }
}

fn community(
    table: &Table<'_>,
    written: &Located<String>,
    named: &BTreeMap<String, AnyCommunity>,
) -> Option<AnyCommunity> {
    if let Some(community) = named.get(&written.value) {
        return Some(*community);
    }
    match written.value.parse::<AnyCommunity>() {
        Ok(community) => Some(community),
        Err(error) => {
            let well_known = Community::well_known_names().map(str::to_owned);
            let names: Vec<String> = named.keys().cloned().chain(well_known).collect();
            let message = format!("`{}` is no community", written.value);
            let help = suggest(&written.value, names.iter().map(String::as_str))
                .unwrap_or_else(|| error.to_string());
            table.problem(Problem::new(&written.place, message).help(help));
            None
        }
    }
}

/// The length of what is announced; never so short that it reaches beyond a pool.
fn aggregation(
    table: &mut Table<'_>,
    family: Family,
    pools: &BTreeSet<crate::route::PoolName>,
    names: &Names<'_>,
) -> u8 {
    let key = match family {
        Family::Ipv4Unicast => "aggregation-length",
        Family::Ipv6Unicast => "aggregation-length-v6",
    };
    let longest = family.max_prefix_len();
    let written = table.number::<u8>(key, 1..=longest.into());
    let Some(Located { value, place }) = written else { return longest };
    let selected = pools.iter().filter_map(|name| Some((name, names.pools.get(name)?)));
    for (name, pool) in selected {
        let prefixes = pool.value.prefixes.iter();
        let mut of_family = prefixes.filter(|prefix| Family::of(**prefix) == family);
        if let Some(prefix) = of_family.find(|prefix| prefix.prefix_len() > value) {
            let message = format!("`{key}` {value} reaches beyond {prefix} of pool `{name}`");
            let help = "an aggregate must not announce addresses that are not in the pool";
            table.problem(Problem::new(&place, message).help(help));
            break;
        }
    }
    value
}
