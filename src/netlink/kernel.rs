//! What rtnetlink's messages say in our words, and the other way round.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "driver: the kernel says far more than concerns us"
)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol,
    RouteScope, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{RouteMessageBuilder, RouteNextHopBuilder};

use super::{
    Address, Event, Forwards, Link, Neighbour, NextHop, PROTOCOL, Route, RouteEvent, RouteKey,
};

/// Ours, with all its next hops.
pub(super) fn route_message(route: &Route) -> RouteMessage {
    let mut message = any_route_message(route.key);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let family = message.header.address_family;
    let next_hops = route.next_hops.iter().filter_map(|next_hop| {
        let builder = RouteNextHopBuilder::new(family).interface(next_hop.index);
        Some(builder.via(next_hop.address).ok()?.build())
    });
    message.attributes.push(RouteAttribute::MultiPath(next_hops.collect()));
    message
}

/// Ours, whatever its type and next hops: what is to be removed.
pub(super) fn any_route_message(RouteKey { table, prefix, metric }: RouteKey) -> RouteMessage {
    let length = prefix.prefix_len();
    let mut message = match prefix.addr() {
        IpAddr::V4(address) => {
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, length).build()
        }
        IpAddr::V6(address) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, length).build()
        }
    };
    // The number of a table may have more octets than the header has for it.
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.scope = RouteScope::NoWhere;
    message.header.kind = RouteType::Unspec;
    message.attributes.extend([RouteAttribute::Table(table), RouteAttribute::Priority(metric)]);
    message
}

/// Ours, without a route of its own. An IPv6 VIP skips duplicate address detection (it is on many
/// hosts by design) and is deprecated from the start, so that it is not chosen as a source.
pub(super) fn mark(message: &mut AddressMessage) {
    let mut flags = AddressFlags::Noprefixroute;
    let is_ipv6 = message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Local(IpAddr::V6(_))));
    if is_ipv6 {
        flags |= AddressFlags::Nodad;
        message.header.flags |= AddressHeaderFlags::Nodad;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = u32::MAX;
        lifetime.ifa_preferred = 0;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
}

pub(super) fn event(message: RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(&message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) => {
            is_whole(&message).then_some(Event::LinkGone(message.header.index))
        }
        RouteNetlinkMessage::NewAddress(message) => address(&message).map(Event::Address),
        RouteNetlinkMessage::DelAddress(message) => address(&message).map(Event::AddressGone),
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message).map(Event::Neighbour),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(&message).map(Event::NeighbourGone),
        RouteNetlinkMessage::NewRoute(message) => {
            Some(Event::Route(RouteEvent::Changed(route(&message)?)))
        }
        RouteNetlinkMessage::DelRoute(message) => {
            Some(Event::Route(RouteEvent::Gone(route(&message)?)))
        }
        _ => None,
    }
}

pub(super) fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(message),
        _ => None,
    }
}

pub(super) fn address_of(message: &RouteNetlinkMessage) -> Option<Address> {
    match message {
        RouteNetlinkMessage::NewAddress(message) => address(message),
        _ => None,
    }
}

pub(super) fn neighbour_of(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    match message {
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(message),
        _ => None,
    }
}

pub(super) fn route_of(message: &RouteNetlinkMessage) -> Option<Route> {
    match message {
        RouteNetlinkMessage::NewRoute(message) => route(message),
        _ => None,
    }
}

/// Whether a message is about the link itself. One of a family is about the link's part in that: with
/// AF_BRIDGE, for one, that it has left its bridge.
fn is_whole(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn link(message: &LinkMessage) -> Option<Link> {
    if !is_whole(message) {
        return None;
    }
    let mut attributes = message.attributes.iter();
    let name = attributes.find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let up = message.header.flags.contains(LinkFlags::Up);
    let carrier = message.header.flags.contains(LinkFlags::LowerUp);
    Some(Link { index: message.header.index, name, up, carrier, forwards: forwards(message) })
}

fn forwards(message: &LinkMessage) -> Forwards {
    let mut forwards = Forwards::default();
    for attribute in &message.attributes {
        let LinkAttribute::AfSpecUnspec(families) = attribute else { continue };
        for family in families {
            match family {
                AfSpecUnspec::Inet(all) => {
                    let is_set = |it: &_| matches!(it, AfSpecInet::DevConf(c) if c.forwarding != 0);
                    forwards.ipv4 |= all.iter().any(is_set);
                }
                AfSpecUnspec::Inet6(all) => {
                    let is_set =
                        |it: &_| matches!(it, AfSpecInet6::DevConf(c) if c.forwarding != 0);
                    forwards.ipv6 |= all.iter().any(is_set);
                }
                _ => {}
            }
        }
    }
    forwards
}

/// `None` for one that has no address of IP.
fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::from(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::from(*ip)),
        _ => None,
    })?;
    let hardware = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(octets) => octets.as_slice().try_into().ok(),
        _ => None,
    });
    let header = &message.header;
    let there = matches!(
        header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let router = header.flags.contains(NeighbourFlags::Router);
    Some(Neighbour { index: header.ifindex, address, hardware, router, there })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut remote, mut ours, mut flags) = (None, None, false, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => remote = Some(*ip),
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            AddressAttribute::Flags(value) => flags = *value,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end; IPv6 has no IFA_LOCAL elsewhere.
    let prefix = IpNet::new(local.or(remote)?, message.header.prefix_len).ok()?;
    // For IPv6 "secondary" means temporary (RFC 8981).
    let unusable = AddressFlags::Tentative
        | AddressFlags::Deprecated
        | AddressFlags::Dadfailed
        | AddressFlags::Secondary;
    let usable = message.header.scope == AddressScope::Universe && !flags.intersects(unusable);
    let tentative = flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
        && !flags.contains(AddressFlags::Optimistic);
    Some(Address { index: message.header.index, prefix, ours, usable, tentative })
}

/// `None` for routes of others.
fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(PROTOCOL) || header.tos != 0 {
        return None;
    }
    let mut address = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut table, mut metric) = (u32::from(header.table), 0);
    let (mut gateway, mut index, mut next_hops) = (None, None, BTreeSet::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => address = IpAddr::V4(*ip),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => address = IpAddr::V6(*ip),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::MultiPath(all) => next_hops.extend(all.iter().filter_map(next_hop)),
            other => gateway = gateway.or(gateway_of(other)),
        }
    }
    // One alone is not reported as a list.
    let alone = gateway.zip(index).map(|(address, index)| NextHop { address, index });
    next_hops.extend(alone);
    let prefix = IpNet::new(address, header.destination_prefix_length).ok()?;
    Some(Route { key: RouteKey { table, prefix, metric }, next_hops })
}

fn next_hop(message: &RouteNextHop) -> Option<NextHop> {
    let address = message.attributes.iter().find_map(gateway_of)?;
    Some(NextHop { address, index: message.interface_index })
}

fn gateway_of(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
