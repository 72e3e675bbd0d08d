//! `[community]`, `[pool.*]` and `[advertisement.*]`.
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::problem::{Place, Problem, suggest};
use super::table::{LATER, Located, Reading, Table};
use super::value::{Addresses, Text};
use super::{Named, Peer, address, in_order, name, resolve};
use crate::rib::policy::{Advertisement, Pool};
use crate::route::{
    AdvertisementName, AnyCommunity, Attributes, Community, Degradation, Family, PeerName, PoolName,
};

/// So that every route fits into a message with room to spare.
const MAX_COMMUNITIES: usize = 64;
const COMMUNITY: &str = "write \"65000:100\" (two numbers up to 65535), \"large:65000:1:100\" (three up \
    to 4294967295), \"rt:65000:100\" (a route target: an AS number or an IPv4 address, and a number; the \
    two have six octets), \"ro:65000:100\" (a route origin) or a well-known name such as \"no-export\"";
const PREPENDS: RangeInclusive<i64> = 0..=20;
const UNSIGNED: RangeInclusive<i64> = 0..=4_294_967_295;

/// What `[pool.*]` say.
pub(super) type Pools = BTreeMap<PoolName, Located<Pool>>;

/// What `[community]` says; `None` for one that cannot be used, so that its name is defined all
/// the same.
pub(super) type Communities = BTreeMap<String, Option<AnyCommunity>>;

/// `[community]`: names for communities.
pub(super) fn communities(reading: &Reading, table: Option<Table<'_>>) -> Communities {
    let Some(table) = table else { return BTreeMap::new() };
    let mut named = BTreeMap::new();
    for (name, written) in table.all::<String>() {
        let Located { value: name, place } = name;
        let problem = if let Some(rfc) = Community::defined_in(&name) {
            let message = format!("`{name}` is a well-known community ({rfc})");
            let help = "leave the line out and use its name, or choose another name";
            Some(Problem::new(&place, message).help(help))
        } else if name.parse::<AnyCommunity>().is_ok() {
            let message = format!("`{name}` is a community already, and cannot be the name of one");
            Some(Problem::new(&place, message).help("choose another name"))
        } else {
            name::problem(&name, &place)
        };
        if let Some(problem) = problem {
            reading.problems.push(problem);
        }
        let community = written.as_ref().and_then(|written| {
            let community = written.value.parse::<AnyCommunity>().ok();
            if community.is_none() {
                let message = format!("`{}` is no community", written.value);
                reading.problems.push(Problem::new(&written.place, message).help(COMMUNITY));
            }
            community
        });
        named.insert(name, community);
    }
    named
}

/// `[pool.*]`
pub(super) fn pools(named: Named<'_>) -> Pools {
    let mut pools = Pools::new();
    for (name, place, table) in in_order(named) {
        let value = pool(table, &pools);
        pools.insert(name.into(), Located { value, place });
    }
    pools
}

fn pool(mut table: Table<'_>, others: &Pools) -> Pool {
    table.only_false(&["avoid-buggy-ips"]);
    table.later(&["auto-assign", "service-allocation"], LATER);
    table.needs("addresses", "[\"203.0.113.0/24\"]");
    let example = "write addresses = [\"203.0.113.0/24\"]";
    let addresses = table.elements::<Text<Addresses>>("addresses", example);
    let mut prefixes = Vec::new();
    for Located { value: Text(Addresses(written)), place } in addresses.unwrap_or_default() {
        if let Some(problem) = written.iter().find_map(|prefix| prefix_problem(*prefix, &place)) {
            table.problem(problem);
        }
        for prefix in &written {
            let overlaps = |other: &&IpNet| other.contains(prefix) || prefix.contains(*other);
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
    Pool { prefixes }
}

fn prefix_problem(prefix: IpNet, place: &Place) -> Option<Problem> {
    if prefix != prefix.trunc() {
        let message = format!("{prefix} is an address inside a prefix, not a prefix");
        let help = format!("did you mean \"{}\" or \"{}\"?", prefix.trunc(), prefix.addr());
        return Some(Problem::new(place, message).help(help));
    }
    address::problem(prefix, place, "in a pool")
}

/// What an advertisement may refer to.
pub(super) struct Names<'a> {
    pub(super) communities: &'a Communities,
    pub(super) pools: &'a Pools,
    pub(super) peers: &'a BTreeMap<PeerName, Option<Peer>>,
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
    for (name, place, table) in in_order(named) {
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
    insert_communities(&mut table, names.communities, &mut attributes);
    table.finish();
    Advertisement { pools, peers, aggregation_length_v4, aggregation_length_v6, attributes }
}

fn insert_communities(table: &mut Table<'_>, named: &Communities, attributes: &mut Attributes) {
    for written in table.list::<String>("communities").unwrap_or_default() {
        if let Some(community) = community(table, &written, named) {
            attributes.insert(community);
        }
    }
    let Attributes { communities, extended_communities, large_communities, .. } = attributes;
    let count = communities.len() + extended_communities.len() + large_communities.len();
    if count > MAX_COMMUNITIES {
        let message = format!("more than {MAX_COMMUNITIES} communities");
        table.problem(Problem::new(table.place(), message));
    }
}

/// `[service.*.degraded]`
pub(super) fn degradation(mut table: Table<'_>, named: &Communities) -> Degradation {
    let local_pref = table.number("local-pref", UNSIGNED).map(|pref| pref.value);
    let med = table.number("med", UNSIGNED).map(|med| med.value);
    let prepend = table.number("prepend", PREPENDS).map(|times| times.value);
    let problems = table.problems();
    let mut attributes = Attributes::default();
    insert_communities(&mut table, named, &mut attributes);
    let is_nothing = attributes == Attributes::default()
        && (local_pref, med, prepend) == (None, None, None)
        && table.problems() == problems;
    if is_nothing && !table.has_unknown() {
        let message = format!("[{}] makes nothing worse", table.path());
        let help = "write prepend = 3, or med, local-pref or communities that the routers go by";
        table.problem(Problem::new(table.place(), message).help(help));
    }
    table.finish();
    let Attributes { communities, extended_communities, large_communities, .. } = attributes;
    Degradation { communities, extended_communities, large_communities, local_pref, med, prepend }
}

/// Names of things that must exist; all of them when the key is left out.
fn names_in<'n, N: Clone + Ord + AsRef<str> + 'n>(
    table: &mut Table<'_>,
    key: &'static str,
    what: &str,
    all: impl Iterator<Item = &'n N> + Clone,
) -> BTreeSet<N> {
    match table.elements::<String>(key, "leave the line out to select all") {
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
    named: &Communities,
) -> Option<AnyCommunity> {
    if let Some(community) = named.get(&written.value) {
        return *community;
    }
    let community = written.value.parse::<AnyCommunity>().ok();
    let is_name = !written.value.contains(':');
    if community.is_none() && (table.is_complete() || !is_name) {
        let well_known = Community::well_known_names().map(|name| -> &str { name });
        let names = named.keys().map(String::as_str).chain(well_known);
        let message = format!("`{}` is no community", written.value);
        let help = suggest(&written.value, names).unwrap_or_else(|| COMMUNITY.into());
        table.problem(Problem::new(&written.place, message).help(help));
    }
    community
}

/// The length of what is announced; never so short that it reaches beyond a pool.
fn aggregation(
    table: &mut Table<'_>,
    family: Family,
    pools: &BTreeSet<PoolName>,
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
