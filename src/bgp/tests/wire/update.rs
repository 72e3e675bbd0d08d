//! UPDATE (RFC 4271 §4.3, RFC 4760): what we announce and withdraw octet by octet, how much fits, and
//! how valid messages are read.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::bgp::tests::octets::{
    EXTENDED, EXTERNAL, INTERNAL, NON_TRANSITIVE, TRANSITIVE, TWO_OCTETS, UPDATE, WELL_KNOWN,
    attribute, hosts, mandatory, message, update,
};
use crate::bgp::wire::{
    Announcement, AsPath, Encoding, Origin, PathAttributes, Segment, Update, announce, end_of_rib,
    withdraw,
};
use crate::route::{
    Asn, Attributes, Community, ExtendedCommunity, Family, LargeCommunity, NextHop,
};

const NEXT_HOP: [u8; 4] = [192, 0, 2, 9];
const NEXT_HOP_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn announcement<'a>(
    family: Family,
    as_path: &'a [Asn],
    attributes: &'a Attributes,
) -> Announcement<'a> {
    let next_hop = match family {
        Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from(NEXT_HOP)),
        Family::Ipv6Unicast => IpAddr::V6(NEXT_HOP_6),
    };
    let next_hop = next_hop.into();
    Announcement { family, next_hop, as_path, extended_communities: &[], attributes }
}

/// The body of what we announce, without its header.
fn announced(announcement: Announcement<'_>, prefixes: &[IpNet], encoding: Encoding) -> Vec<u8> {
    let (octets, count) = announce(announcement, prefixes, encoding);
    assert_eq!(count, prefixes.len());
    assert_eq!(octets, message(UPDATE, &octets[19..]), "the header");
    octets[19..].to_vec()
}

fn everything() -> Attributes {
    Attributes {
        communities: [Community(0xffff_0000), Community(0xfbf4_0064)].into(),
        extended_communities: [0x0203_fa56_ea00_0001, 0x0002_fbf4_0000_0064]
            .map(ExtendedCommunity)
            .into(),
        large_communities: [LargeCommunity { global: 64500, local1: 1, local2: 2 }].into(),
        local_pref: Some(200),
        med: Some(50),
        ..Attributes::default()
    }
}

#[test]
fn attributes_go_out_in_ascending_order_of_type() {
    let (attributes, path) = (everything(), [Asn(64500), Asn(4_200_000_000)]);
    let expected = [
        attribute(WELL_KNOWN, 1, &[0]),
        attribute(WELL_KNOWN, 2, &[2, 2, 0, 0, 0xfb, 0xf4, 0xfa, 0x56, 0xea, 0]),
        attribute(WELL_KNOWN, 3, &NEXT_HOP),
        attribute(NON_TRANSITIVE, 4, &[0, 0, 0, 50]),
        attribute(TRANSITIVE, 8, &[0xfb, 0xf4, 0, 100, 0xff, 0xff, 0, 0]),
        attribute(
            TRANSITIVE,
            16,
            &[0, 2, 0xfb, 0xf4, 0, 0, 0, 100, 2, 3, 0xfa, 0x56, 0xea, 0, 0, 1],
        ),
        attribute(TRANSITIVE, 32, &[0, 0, 0xfb, 0xf4, 0, 0, 0, 1, 0, 0, 0, 2]),
    ]
    .concat();
    let prefixes = [prefix("198.51.100.1/32"), prefix("198.51.100.128/25"), prefix("0.0.0.0/0")];
    let extended_communities: Vec<_> = attributes.extended_communities.iter().copied().collect();
    let announcement = Announcement {
        extended_communities: &extended_communities,
        ..announcement(Family::Ipv4Unicast, &path, &attributes)
    };
    let nlri = [32, 198, 51, 100, 1, 25, 198, 51, 100, 128, 0];
    let body = announced(announcement, &prefixes, EXTERNAL);
    assert_eq!(body, update(&[], &expected, &nlri));
}

#[test]
fn ipv6_goes_into_mp_reach_nlri_which_comes_first() {
    let attributes = Attributes::default();
    let value = [
        &[0, 2, 1, 16][..],
        &NEXT_HOP_6.octets(),
        &[0, 128, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[33, 0x20, 1, 0x0d, 0xb8, 0x80],
    ]
    .concat();
    let expected = [
        attribute(NON_TRANSITIVE, 14, &value),
        attribute(WELL_KNOWN, 1, &[0]),
        attribute(WELL_KNOWN, 2, &[2, 1, 0, 0, 0xfb, 0xf4]),
    ]
    .concat();
    let prefixes = [prefix("2001:db8::1/128"), prefix("2001:db8:8000::/33")];
    let announcement = announcement(Family::Ipv6Unicast, &[Asn(64500)], &attributes);
    assert_eq!(announced(announcement, &prefixes, EXTERNAL), update(&[], &expected, &[]));
}

#[test]
fn an_internal_peer_gets_an_empty_path_and_always_a_local_pref() {
    for (local_pref, sent) in [(None, 100), (Some(0), 0), (Some(u32::MAX), u32::MAX)] {
        let attributes = Attributes { local_pref, ..Attributes::default() };
        let expected = [
            attribute(WELL_KNOWN, 1, &[0]),
            attribute(WELL_KNOWN, 2, &[]),
            attribute(WELL_KNOWN, 3, &NEXT_HOP),
            attribute(WELL_KNOWN, 5, &sent.to_be_bytes()),
        ]
        .concat();
        let announcement = announcement(Family::Ipv4Unicast, &[], &attributes);
        let body = announced(announcement, &[prefix("10.0.0.0/8")], INTERNAL);
        assert_eq!(body, update(&[], &expected, &[8, 10]));
    }
}

#[test]
fn a_peer_without_four_octets_gets_as_trans_and_as4_path() {
    let two_octets = TWO_OCTETS;
    let attributes = everything();
    let body = |path: &[Asn]| {
        let announcement = announcement(Family::Ipv4Unicast, path, &attributes);
        announced(announcement, &[prefix("10.0.0.0/8")], two_octets)
    };
    let expected = |path: &[u8], as4_path: Option<&[u8]>| {
        let attributes = [
            attribute(WELL_KNOWN, 1, &[0]),
            attribute(WELL_KNOWN, 2, path),
            attribute(WELL_KNOWN, 3, &NEXT_HOP),
            attribute(NON_TRANSITIVE, 4, &[0, 0, 0, 50]),
            attribute(TRANSITIVE, 8, &[0xfb, 0xf4, 0, 100, 0xff, 0xff, 0, 0]),
            as4_path.map(|path| attribute(TRANSITIVE, 17, path)).unwrap_or_default(),
            attribute(TRANSITIVE, 32, &[0, 0, 0xfb, 0xf4, 0, 0, 0, 1, 0, 0, 0, 2]),
        ];
        update(&[], &attributes.concat(), &[8, 10])
    };
    let mapped = [Asn(64500), Asn(65535)];
    assert_eq!(body(&mapped), expected(&[2, 2, 0xfb, 0xf4, 0xff, 0xff], None));
    let path = [2, 2, 0x5b, 0xa0, 0xfb, 0xf4];
    let as4_path = [2, 2, 0, 1, 0, 0, 0, 0, 0xfb, 0xf4];
    assert_eq!(body(&[Asn(65536), Asn(64500)]), expected(&path, Some(&as4_path)));
}

#[test]
fn an_attribute_of_more_than_255_octets_has_a_length_of_two() {
    for (count, flags) in [(63, TRANSITIVE), (64, TRANSITIVE | EXTENDED)] {
        let communities: BTreeSet<_> = (0..count).map(Community).collect();
        let attributes = Attributes { communities, ..Attributes::default() };
        let announcement = announcement(Family::Ipv4Unicast, &[Asn(64500)], &attributes);
        let body = announced(announcement, &[prefix("10.0.0.0/8")], EXTERNAL);
        let value: Vec<u8> = (0..count).flat_map(u32::to_be_bytes).collect();
        let all = [mandatory(), attribute(flags, 8, &value)].concat();
        assert_eq!(body, update(&[], &all, &[8, 10]));
        let read = Update::decode(&body, EXTERNAL).unwrap();
        assert_eq!(read.attributes.communities, attributes.communities);
    }
}

#[test]
fn the_longest_path_is_one_segment_of_255() {
    let path = [Asn(64500); 255];
    let attributes = Attributes::default();
    let announcement = announcement(Family::Ipv4Unicast, &path, &attributes);
    let body = announced(announcement, &[prefix("10.0.0.0/8")], EXTERNAL);
    let read = Update::decode(&body, EXTERNAL).unwrap();
    assert_eq!(read.attributes.as_path, Some(AsPath(vec![Segment::Sequence(path.to_vec())])));
}

#[test]
fn a_message_is_filled_to_the_limit_and_no_further() {
    // Of 4096 octets the header and the two lengths take 23; ORIGIN takes 4, AS_PATH 9, NEXT_HOP 7,
    // MP_REACH_NLRI 25 around its prefixes and MP_UNREACH_NLRI 7. A /32 takes 5, a /128 17.
    let attributes = Attributes::default();
    for (family, announcements, withdrawals) in [
        (Family::Ipv4Unicast, (4096 - 23 - 20) / 5, (4096 - 23) / 5),
        (Family::Ipv6Unicast, (4096 - 23 - 13 - 25) / 17, (4096 - 23 - 7) / 17),
    ] {
        let prefixes = hosts(family, 1000);
        let announcement = announcement(family, &[Asn(64500)], &attributes);
        let (octets, count) = announce(announcement, &prefixes, EXTERNAL);
        assert_eq!(count, announcements, "{family}");
        let read = Update::decode(&octets[19..], EXTERNAL).unwrap();
        assert_eq!(read.announced, prefixes[..count]);
        let (octets, count) = withdraw(family, &prefixes, EXTERNAL);
        assert_eq!(count, withdrawals, "{family}");
        let read = Update::decode(&octets[19..], EXTERNAL).unwrap();
        assert_eq!(read.withdrawn, prefixes[..count]);
    }
    assert_eq!([(4096 - 23 - 20) / 5, (4096 - 23) / 5], [810, 814]);
    assert_eq!([(4096 - 23 - 13 - 25) / 17, (4096 - 23 - 7) / 17], [237, 239]);
}

#[test]
fn the_last_octet_of_a_message_is_used() {
    // 4073 octets of withdrawn prefixes: 814 times /32 (5 octets), then three octets, a /16, fit.
    let mut prefixes = hosts(Family::Ipv4Unicast, 814);
    prefixes.extend([prefix("172.16.0.0/16"), prefix("0.0.0.0/0")]);
    let (octets, count) = withdraw(Family::Ipv4Unicast, &prefixes, EXTERNAL);
    assert_eq!((octets.len(), count), (4096, 815));
    // 4035 octets of NLRI: 237 times /128 (17 octets), then six octets, a /40, fit.
    let mut prefixes = hosts(Family::Ipv6Unicast, 237);
    prefixes.extend([prefix("2001:db8:ff00::/40"), prefix("::/0")]);
    let attributes = Attributes::default();
    let announcement = announcement(Family::Ipv6Unicast, &[Asn(64500)], &attributes);
    let (octets, count) = announce(announcement, &prefixes, EXTERNAL);
    assert_eq!((octets.len(), count), (4096, 238));
}

#[test]
fn withdrawals_are_nothing_but_prefixes() {
    let (octets, count) = withdraw(Family::Ipv4Unicast, &[prefix("198.51.100.1/32")], EXTERNAL);
    let expected = message(UPDATE, &update(&[32, 198, 51, 100, 1], &[], &[]));
    assert_eq!((octets, count), (expected, 1));
    let (octets, count) = withdraw(Family::Ipv6Unicast, &[prefix("2001:db8::/32")], EXTERNAL);
    let value = [0, 2, 1, 32, 0x20, 1, 0x0d, 0xb8];
    let expected = message(UPDATE, &update(&[], &attribute(NON_TRANSITIVE, 15, &value), &[]));
    assert_eq!((octets, count), (expected, 1));
}

#[test]
fn end_of_rib_is_an_empty_update_or_an_empty_mp_unreach_nlri() {
    assert_eq!(end_of_rib(Family::Ipv4Unicast), message(UPDATE, &[0; 4]));
    let unreach = attribute(NON_TRANSITIVE, 15, &[0, 2, 1]);
    assert_eq!(end_of_rib(Family::Ipv6Unicast), message(UPDATE, &update(&[], &unreach, &[])));
}

#[test]
fn end_of_rib_is_read_from_nothing_else() {
    let unreach = |value: &[u8]| attribute(NON_TRANSITIVE, 15, value);
    let reach_6 =
        [&[0, 2, 1, 16][..], &NEXT_HOP_6.octets(), &[0, 32, 0x20, 1, 0x0d, 0xb8]].concat();
    let reach_6 = [attribute(NON_TRANSITIVE, 14, &reach_6), mandatory()].concat();
    use Family::{Ipv4Unicast, Ipv6Unicast};
    for (body, family) in [
        (update(&[], &[], &[]), Some(Ipv4Unicast)),
        (update(&[], &unreach(&[0, 1, 1]), &[]), Some(Ipv4Unicast)),
        (update(&[], &unreach(&[0, 2, 1]), &[]), Some(Ipv6Unicast)),
        // The length of an attribute may be written either way.
        (
            update(&[], &attribute(NON_TRANSITIVE | EXTENDED, 15, &[0, 2, 1]), &[]),
            Some(Ipv6Unicast),
        ),
        // Of a family that we know nothing of
        (update(&[], &unreach(&[0, 25, 70]), &[]), None),
        (update(&[], &unreach(&[0, 2, 1, 0]), &[]), None),
        (update(&[8, 10], &[], &[]), None),
        (update(&[], &mandatory(), &[]), None),
        (update(&[8, 10], &unreach(&[0, 2, 1]), &[]), None),
        (update(&[], &[mandatory(), unreach(&[0, 2, 1])].concat(), &[8, 10]), None),
        (update(&[], &[unreach(&[0, 2, 1]), reach_6.clone()].concat(), &[]), None),
        (update(&[], &[reach_6, unreach(&[0, 2, 1])].concat(), &[]), None),
    ] {
        let read = Update::decode(&body, EXTERNAL).unwrap();
        assert_eq!((read.end_of_rib, read.defects), (family, vec![]), "{body:?}");
    }
}

#[test]
fn every_attribute_of_a_valid_update_is_read() {
    let attributes = [
        attribute(WELL_KNOWN, 1, &[2]),
        attribute(WELL_KNOWN, 2, &[2, 2, 0, 0, 0, 1, 0xff, 0, 0, 0, 1, 1, 0, 0, 0, 3]),
        attribute(WELL_KNOWN, 3, &NEXT_HOP),
        attribute(NON_TRANSITIVE, 4, &[0, 0, 0, 50]),
        attribute(WELL_KNOWN, 5, &[0, 0, 0, 150]),
        attribute(WELL_KNOWN, 6, &[]),
        attribute(TRANSITIVE, 7, &[0, 0, 0, 1, 192, 0, 2, 1]),
        attribute(TRANSITIVE | 0x20, 8, &[0xff, 0xff, 0, 0, 0xfb, 0xf4, 0, 100]), // Partial
        attribute(NON_TRANSITIVE, 9, &[192, 0, 2, 1]),
        attribute(NON_TRANSITIVE, 10, &[192, 0, 2, 1, 192, 0, 2, 2]),
        attribute(
            TRANSITIVE,
            16,
            &[2, 3, 0xfa, 0x56, 0xea, 0, 0, 1, 0, 2, 0xfb, 0xf4, 0, 0, 0, 100],
        ),
        attribute(TRANSITIVE | EXTENDED, 32, &[0, 0, 0xfb, 0xf4, 0, 0, 0, 1, 0, 0, 0, 2]),
        attribute(TRANSITIVE, 35, &[0, 0, 0xfb, 0xf4]), // Only to Customer, unknown here
    ]
    .concat();
    let path = vec![Segment::Sequence(vec![Asn(1), Asn(0xff00_0000)]), Segment::Set(vec![Asn(3)])];
    let expected = Update {
        announced: vec![prefix("10.0.0.0/8"), prefix("10.128.0.0/9")],
        withdrawn: vec![prefix("172.16.0.0/12")],
        attributes: PathAttributes {
            origin: Some(Origin::Incomplete),
            as_path: Some(AsPath(path)),
            next_hop: Some(IpAddr::from(NEXT_HOP)),
            link_local_next_hop: None,
            med: Some(50),
            local_pref: Some(150),
            communities: everything().communities,
            extended_communities: everything().extended_communities,
            large_communities: everything().large_communities,
        },
        ..Update::default()
    };
    // Bits behind the length of a prefix mean nothing.
    let body = update(&[12, 172, 0x1f], &attributes, &[8, 10, 9, 10, 0xff]);
    assert_eq!(Update::decode(&body, INTERNAL), Ok(expected));
}

#[test]
fn a_two_octet_path_is_read_as_it_is_and_as4_path_is_not_merged() {
    let attributes = [
        attribute(WELL_KNOWN, 1, &[0]),
        attribute(WELL_KNOWN, 2, &[2, 2, 0xfb, 0xf4, 0x5b, 0xa0]),
        attribute(WELL_KNOWN, 3, &NEXT_HOP),
        attribute(TRANSITIVE, 7, &[0x5b, 0xa0, 192, 0, 2, 1]),
        attribute(TRANSITIVE, 17, &[2, 1, 0, 1, 0, 0]),
        attribute(TRANSITIVE, 18, &[0, 1, 0, 0, 192, 0, 2, 1]),
    ]
    .concat();
    let encoding = TWO_OCTETS;
    let read = Update::decode(&update(&[], &attributes, &[8, 10]), encoding).unwrap();
    let path = vec![Segment::Sequence(vec![Asn(64500), Asn::TRANS])];
    assert_eq!((read.attributes.as_path, read.defects), (Some(AsPath(path)), vec![]));
}

#[test]
fn the_next_hop_is_that_of_mp_reach_nlri_wherever_it_stands() {
    let reach = [&[0, 2, 1, 16][..], &NEXT_HOP_6.octets(), &[0, 32, 0x20, 1, 0x0d, 0xb8]].concat();
    let reach = attribute(NON_TRANSITIVE, 14, &reach);
    for attributes in [[reach.clone(), mandatory()].concat(), [mandatory(), reach.clone()].concat()]
    {
        let read = Update::decode(&update(&[], &attributes, &[]), EXTERNAL).unwrap();
        assert_eq!(read.attributes.next_hop, Some(IpAddr::V6(NEXT_HOP_6)));
        assert_eq!((read.announced, read.defects), (vec![prefix("2001:db8::/32")], vec![]));
    }
}

#[test]
fn a_link_local_next_hop_counts_where_there_is_no_global_one() {
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    for (global, expected) in [(NEXT_HOP_6, NEXT_HOP_6), (Ipv6Addr::UNSPECIFIED, link_local)] {
        let value = [
            &[0, 2, 1, 32][..],
            &global.octets(),
            &link_local.octets(),
            &[0, 0], // reserved, then ::/0
        ]
        .concat();
        let attributes = [attribute(NON_TRANSITIVE, 14, &value), mandatory()].concat();
        let read = Update::decode(&update(&[], &attributes, &[]), EXTERNAL).unwrap();
        assert_eq!(read.attributes.next_hop, Some(IpAddr::V6(expected)));
        assert_eq!(read.attributes.link_local_next_hop, Some(link_local));
        assert_eq!((read.announced, read.defects), (vec![prefix("::/0")], vec![]));
    }
}

/// RFC 2545 §3.
#[test]
fn a_link_local_next_hop_goes_behind_the_global_one() {
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let attributes = Attributes::default();
    for (family, nlri) in
        [(Family::Ipv6Unicast, "2001:db8::/32"), (Family::Ipv4Unicast, "10.0.0.0/8")]
    {
        for global in [NEXT_HOP_6, link_local] {
            let next_hop = NextHop { address: global.into(), link_local: Some(link_local) };
            let announcement = Announcement { next_hop, ..announcement(family, &[], &attributes) };
            let encoding = Encoding { extended_next_hop: true, ..EXTERNAL };
            let body = announced(announcement, &[prefix(nlri)], encoding);
            let expected = [&[32][..], &global.octets(), &link_local.octets(), &[0]].concat();
            let found = body.windows(expected.len()).any(|window| window == expected);
            assert!(found, "{body:02x?}");
            let read = Update::decode(&body, encoding).unwrap();
            assert_eq!(read.attributes.next_hop, Some(global.into()));
            assert_eq!(read.attributes.link_local_next_hop, Some(link_local));
        }
    }
}

#[test]
fn ipv4_in_the_multiprotocol_attributes_is_read_as_well() {
    let reach = [&[0, 1, 1, 4][..], &NEXT_HOP, &[0, 8, 10]].concat();
    let unreach = [0, 1, 1, 12, 172, 16];
    let attributes = [
        attribute(NON_TRANSITIVE, 15, &unreach),
        attribute(NON_TRANSITIVE, 14, &reach),
        attribute(WELL_KNOWN, 1, &[0]),
        attribute(WELL_KNOWN, 2, &[2, 1, 0, 0, 0xfb, 0xf4]),
    ]
    .concat();
    let read = Update::decode(&update(&[], &attributes, &[]), EXTERNAL).unwrap();
    assert_eq!(read.announced, [prefix("10.0.0.0/8")]);
    assert_eq!(read.withdrawn, [prefix("172.16.0.0/12")]);
    assert_eq!(read.attributes.next_hop, Some(IpAddr::from(NEXT_HOP)));
    assert_eq!(read.defects, []);
}
