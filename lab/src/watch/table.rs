//! The kernel's main routing table, kept from rtnetlink messages.
//!
//! A prefix can have several routes, by metric and, for IPv4, several of one metric, of which the
//! kernel uses the first. What a message means differs by family (seen with `ip monitor route`):
//!
//! | message | IPv4 | IPv6 |
//! |---|---|---|
//! | new, replace | takes the place of the first of its metric | holds the whole set of next hops of its metric |
//! | new, append | comes after those of its metric | holds the whole set, the new ones included |
//! | new, otherwise | comes before those of its metric | holds the whole set |
//! | delete | removes the one with these next hops | removes these next hops from the set |

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags,
    RouteType, RouteVia,
};

/// A next hop by interface index; the value in [`Entry::hops`] says whether it is alive.
pub(super) type Hop = (u32, Option<IpAddr>);

/// The routes of each prefix, in the order in which the kernel prefers them.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<IpNet, Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    metric: u32,
    hops: BTreeMap<Hop, bool>,
}

impl Table {
    /// The prefixes that have a route.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.0.keys().copied()
    }

    /// The live next hops that packets to a prefix use.
    pub(super) fn next_hops(&self, prefix: IpNet) -> Vec<Hop> {
        let used = self.0.get(&prefix).and_then(|entries| entries.first());
        let hops = used.into_iter().flat_map(|entry| &entry.hops);
        hops.filter(|(_, alive)| **alive).map(|(hop, _)| *hop).collect()
    }

    /// Takes in a route of a dump; those of one prefix come in order.
    pub(super) fn add_dumped(&mut self, message: &RouteMessage) {
        if let Some((prefix, entry)) = read(message) {
            let entries = self.0.entry(prefix).or_default();
            let place = entries.partition_point(|other| other.metric <= entry.metric);
            entries.insert(place, entry);
        }
    }

    /// Takes in the notification of a new or changed route, and says which prefix it was about.
    pub(super) fn add(&mut self, message: &RouteMessage, flags: u16) -> Option<IpNet> {
        let (prefix, entry) = read(message)?;
        let entries = self.0.entry(prefix).or_default();
        let first = entries.partition_point(|other| other.metric < entry.metric);
        let after = entries.partition_point(|other| other.metric <= entry.metric);
        let replaces = prefix.addr().is_ipv6() || flags & NLM_F_REPLACE != 0;
        let known =
            entries[first..after].iter().any(|other| other.hops.keys().eq(entry.hops.keys()));
        if replaces && first < after {
            entries[first] = entry;
        } else if !known {
            // A known one is news that an earlier dump has told already.
            entries.insert(if flags & NLM_F_APPEND != 0 { after } else { first }, entry);
        }
        Some(prefix)
    }

    /// Takes in the notification of a deleted route, and says which prefix it was about.
    pub(super) fn remove(&mut self, message: &RouteMessage) -> Option<IpNet> {
        let (prefix, gone) = read(message)?;
        let entries = self.0.get_mut(&prefix)?;
        if prefix.addr().is_ipv6() {
            for entry in entries.iter_mut().filter(|entry| entry.metric == gone.metric) {
                entry.hops.retain(|hop, _| !gone.hops.contains_key(hop));
            }
            entries.retain(|entry| !entry.hops.is_empty());
        } else {
            let same = |entry: &Entry| {
                entry.metric == gone.metric && entry.hops.keys().eq(gone.hops.keys())
            };
            if let Some(place) = entries.iter().position(same) {
                entries.remove(place);
            }
        }
        if entries.is_empty() {
            self.0.remove(&prefix);
        }
        Some(prefix)
    }
}

/// The prefix and the content of a route of the main table; `None` for any other.
fn read(message: &RouteMessage) -> Option<(IpNet, Entry)> {
    let header = &message.header;
    let (mut table, mut metric, mut destination) = (u32::from(header.table), 0, None);
    let (mut via, mut interface, mut hops) = (None, 0, BTreeMap::new());
    let alive = !header.flags.contains(RouteFlags::Dead);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Destination(found) => destination = address(found),
            RouteAttribute::Gateway(found) => via = address(found),
            RouteAttribute::Via(found) => via = other_family(found),
            RouteAttribute::Oif(index) => interface = *index,
            RouteAttribute::MultiPath(members) => {
                for member in members {
                    let alive = !member.flags.contains(RouteNextHopFlags::Dead);
                    let via = member.attributes.iter().find_map(gateway);
                    hops.insert((member.interface_index, via), alive);
                }
            }
            _ => {}
        }
    }
    let counts = table == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !header.flags.contains(RouteFlags::Cloned);
    if !counts {
        return None;
    }
    if header.kind == RouteType::Unicast && hops.is_empty() {
        hops.insert((interface, via), alive);
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let address = destination.unwrap_or(unspecified);
    let prefix = IpNet::new(address, header.destination_prefix_length).ok()?;
    Some((prefix, Entry { metric, hops }))
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(found) => address(found),
        RouteAttribute::Via(found) => other_family(found),
        _ => None,
    }
}

fn address(found: &RouteAddress) -> Option<IpAddr> {
    match found {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// An IPv6 next hop of an IPv4 route (RFC 8950).
fn other_family(found: &RouteVia) -> Option<IpAddr> {
    match found {
        RouteVia::Inet(address) => Some((*address).into()),
        RouteVia::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
