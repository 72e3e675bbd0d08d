//! Random routes and streams for the properties.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::Config;
use proptest::{option, prop_oneof};

use super::octets::{
    EXTENDED, EXTERNAL, attribute, capabilities, keepalive, mandatory, message, open, open_fields,
    parameters, route_refresh, update,
};
use crate::bgp::wire::{Capabilities, Encoding, GracefulRestart, Notification};
use crate::route::{
    Asn, Attributes, Community, ExtendedCommunity, Family, LargeCommunity, NextHop, Weight,
};

/// How many cases, and nothing is written beside the sources.
pub(super) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

pub(super) fn family() -> impl Strategy<Value = Family> {
    select(&Family::ALL[..])
}

/// A prefix without host bits.
pub(super) fn prefix(family: Family) -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0..=family.max_prefix_len()).prop_map(move |(bits, length)| {
        let address = match family {
            Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from(u32::try_from(bits >> 96).unwrap())),
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::from(bits)),
        };
        IpNet::new(address, length).unwrap().trunc()
    })
}

/// What can be a next hop; an IPv6 one perhaps with a link-local one behind it.
pub(super) fn next_hop(family: Family) -> impl Strategy<Value = NextHop> {
    let link_local = option::of(any::<u64>());
    let four = (1..0xe000_0000_u32).prop_filter("a loopback address", |four| four >> 24 != 127);
    (four, 1..u128::MAX, link_local).prop_map(move |(four, six, link_local)| match family {
        Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from(four)).into(),
        Family::Ipv6Unicast => NextHop {
            address: IpAddr::V6(Ipv6Addr::from(six)),
            link_local: link_local.map(|id| Ipv6Addr::from((0xfe80_u128 << 112) | u128::from(id))),
        },
    })
}

pub(super) fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![1..=65535_u32, 65536..=u32::MAX].prop_map(Asn)
}

pub(super) fn encoding() -> impl Strategy<Value = Encoding> {
    let flags = any::<[bool; 4]>();
    (flags, option::of(asn())).prop_map(|(flags, only_to_customer)| {
        let [four_octet_asn, internal, extended_message, extended_next_hop] = flags;
        let mut encoding = Encoding { four_octet_asn, internal, only_to_customer, ..EXTERNAL };
        encoding.extended_message = extended_message;
        encoding.extended_next_hop = extended_next_hop;
        encoding
    })
}

/// As many communities as the configuration allows, and a few more.
pub(super) fn attributes() -> impl Strategy<Value = Attributes> {
    let large = any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity {
        global,
        local1,
        local2,
    });
    let communities = btree_set(any::<u32>().prop_map(Community), 0..80);
    let extended = btree_set(extended_community(), 0..80);
    let metrics = (option::of(any::<u32>()), option::of(any::<u32>()), 0..=20_u8);
    let weight = option::of((1..=10_000_u16).prop_map(Weight));
    let metrics = (metrics, weight);
    (communities, extended, btree_set(large, 0..80), metrics).prop_map(
        |(
            communities,
            extended_communities,
            large_communities,
            ((local_pref, med, prepend), weight),
        )| {
            Attributes {
                communities,
                extended_communities,
                large_communities,
                local_pref,
                med,
                prepend,
                weight,
            }
        },
    )
}

/// A route target or route origin of any form, or a link bandwidth.
fn extended_community() -> impl Strategy<Value = ExtendedCommunity> {
    let forms = select(vec![0x0002_u16, 0x0003, 0x0102, 0x0103, 0x0202, 0x0203, 0x0004, 0x4004]);
    (forms, any::<u64>())
        .prop_map(|(form, value)| ExtendedCommunity(u64::from(form) << 48 | value >> 16))
}

/// One message of any type, right or nearly so.
pub(super) fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let attributes = vec((any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..20)), 0..6);
    let attributes = attributes.prop_map(|attributes| {
        let one = |(flags, code, value): (u8, u8, Vec<u8>)| attribute(flags, code % 40, &value);
        attributes.into_iter().flat_map(one).collect::<Vec<u8>>()
    });
    let updates = (attributes, vec(0..33_u8, 0..12), any::<bool>());
    prop_oneof![
        valid_message(),
        valid_message(),
        updates.prop_map(|(random, nlri, well)| {
            let attributes = if well { [mandatory(), random].concat() } else { random };
            message(2, &update(&[], &attributes, &nlri))
        }),
        (1..=255_u8, vec(any::<u8>(), 2..60)).prop_map(|(kind, body)| message(kind, &body)),
    ]
}

/// One message that is right by itself.
fn valid_message() -> impl Strategy<Value = Vec<u8>> {
    let reach = [&[0, 2, 1, 16][..], &[0x20; 16], &[0, 32, 0x20, 1, 0x0d, 0xb8]].concat();
    let six = [attribute(0x80 | EXTENDED, 14, &reach), mandatory()].concat();
    let plain = [open_fields(4, 64500, 9, [10, 0, 0, 2]), parameters(&capabilities(64500))];
    select(vec![
        open(64500, 90, [10, 0, 0, 2]),
        open(64500, 0, [10, 0, 0, 2]),
        message(1, &plain.concat()),
        keepalive(),
        keepalive(),
        keepalive(),
        route_refresh(1),
        route_refresh(2),
        route_refresh(9),
        message(2, &[0; 4]),
        message(2, &update(&[8, 10], &[], &[])),
        message(2, &update(&[], &mandatory(), &[8, 10, 32, 192, 0, 2, 1])),
        message(2, &update(&[], &six, &[])),
        Notification::cease(2).encode(),
    ])
}

/// A few things that happen to octets on the way.
pub(super) fn mutated(octets: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let place = (any::<Index>(), any::<u8>(), 0..4_u8);
    vec(place, 0..4).prop_map(move |places| {
        let mut octets = octets.clone();
        for (index, octet, what) in places {
            if octets.is_empty() {
                break;
            }
            let at = index.index(octets.len());
            match what {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                2 => drop(octets.remove(at)),
                _ => octets.truncate(at),
            }
        }
        octets
    })
}

/// Whatever a peer may offer beside its AS number.
pub(super) fn some_capabilities() -> impl Strategy<Value = Capabilities> {
    let families = || subsequence(Family::ALL.to_vec(), 0..=2);
    let f_bits = (families(), any::<bool>()).prop_map(|(families, preserved)| {
        families.into_iter().map(|family| (family, preserved)).collect()
    });
    let restart = (any::<[bool; 2]>(), 0..4096_u16, f_bits).prop_map(|(bits, time, families)| {
        let [restarted, notification] = bits;
        GracefulRestart { restarted, notification, time, families }
    });
    let long_lived =
        (families(), any::<bool>(), 0..1_u32 << 24).prop_map(|(all, preserved, time)| {
            all.into_iter().map(|family| (family, (preserved, time))).collect()
        });
    let multiprotocol = btree_set(any::<(u16, u8)>(), 0..20);
    let lists = (multiprotocol, btree_set(any::<u8>(), 0..3), long_lived);
    let name = option::of("[a-z0-9._-]{1,63}");
    (lists, any::<[bool; 5]>(), option::of(restart), name).prop_map(
        |((multiprotocol, roles, long_lived), flags, graceful_restart, host_name)| {
            let [route_refresh, extended_next_hop, extended_message, enhanced, strict] = flags;
            Capabilities {
                multiprotocol: multiprotocol.into_iter().collect(),
                route_refresh,
                extended_next_hop,
                extended_message,
                roles,
                graceful_restart,
                four_octet_asn: None,
                enhanced_route_refresh: enhanced,
                long_lived,
                host_name,
                bfd_strict: strict,
            }
        },
    )
}
