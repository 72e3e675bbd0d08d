//! Golden vectors: what BIRD, FRR and GoBGP sent to each other (`golden/`, made by
//! `golden/capture.py`), read by us into exactly what they meant.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::octets::{EXTERNAL, INTERNAL, Message, TWO_OCTETS, hex, read};
use crate::bgp::wire::{Announcement, keepalive};
use crate::bgp::wire::{
    AsPath, Capabilities, Encoding, GracefulRestart, Notification, Open, Origin, PathAttributes,
    Refresh, Segment, Update, announce, end_of_rib, withdraw,
};
use crate::route::{Asn, Attributes, Community, Family, LargeCommunity};
use Family::{Ipv4Unicast, Ipv6Unicast};

/// The messages in a file, each as it was sent: a name, then lines of octets that are indented.
fn messages(file: &str) -> Vec<Vec<u8>> {
    let mut messages: Vec<String> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(octets) => messages.last_mut().expect("a name comes first").push_str(octets),
            None => messages.push(String::new()),
        }
    }
    messages.iter().map(|octets| hex(octets)).collect()
}

fn decoded(file: &str, encoding: Encoding) -> Vec<Message> {
    messages(file).iter().flat_map(|message| read(message, encoding)).collect()
}

fn prefixes(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn announced(texts: &[&str], attributes: PathAttributes) -> Message {
    Message::Update(Update { announced: prefixes(texts), attributes, ..Update::default() })
}

fn withdrawn(texts: &[&str]) -> Message {
    Message::Update(Update { withdrawn: prefixes(texts), ..Update::default() })
}

fn ended(family: Family) -> Message {
    Message::Update(Update { end_of_rib: Some(family), ..Update::default() })
}

fn shutdown(text: &str) -> Message {
    Message::Notification(Notification::administrative_shutdown(text))
}

/// ORIGIN IGP, a path of one sequence, a next hop.
fn attributes(path: &[u32], next_hop: &str) -> PathAttributes {
    let path: Vec<Asn> = path.iter().copied().map(Asn).collect();
    let segments = if path.is_empty() { vec![] } else { vec![Segment::Sequence(path)] };
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(segments)),
        next_hop: Some(next_hop.parse::<IpAddr>().unwrap()),
        ..PathAttributes::default()
    }
}

fn communities(values: &[u32]) -> BTreeSet<Community> {
    values.iter().copied().map(Community).collect()
}

fn large(global: u32, local1: u32, local2: u32) -> BTreeSet<LargeCommunity> {
    [LargeCommunity { global, local1, local2 }].into()
}

fn both_families(asn: u32) -> Capabilities {
    Capabilities {
        multiprotocol: vec![(1, 1), (2, 1)],
        route_refresh: true,
        four_octet_asn: Some(Asn(asn)),
        ..Capabilities::default()
    }
}

/// A peer that keeps our routes when we restart, and has none to be kept (RFC 4724 §3).
fn helper() -> GracefulRestart {
    GracefulRestart { time: 120, ..GracefulRestart::default() }
}

/// What BIRD offers.
fn bird(asn: u32) -> Capabilities {
    Capabilities {
        graceful_restart: Some(helper()),
        enhanced_route_refresh: true,
        ..both_families(asn)
    }
}

/// What FRR offers.
fn frr(asn: u32) -> Capabilities {
    let restart = GracefulRestart { restarted: true, notification: true, ..helper() };
    Capabilities {
        extended_message: true,
        graceful_restart: Some(restart),
        enhanced_route_refresh: true,
        long_lived: Family::ALL.map(|family| (family, (true, 0))).into(),
        host_name: Some("frr".into()),
        ..both_families(asn)
    }
}

/// What GoBGP offers.
fn gobgp(asn: u32) -> Capabilities {
    let families = Family::ALL.map(|family| (family, false)).into();
    Capabilities {
        extended_next_hop: true,
        graceful_restart: Some(GracefulRestart { families, ..helper() }),
        host_name: Some("vm".into()),
        ..both_families(asn)
    }
}

fn opened(asn: u32, hold_time: u16, last: u8, capabilities: Capabilities) -> Message {
    let router_id = Ipv4Addr::new(192, 0, 2, last);
    Message::Open(Open { asn: Asn(asn), hold_time, router_id, capabilities })
}

/// What BIRD announces of 198.51.100.0/24 in all three scenarios.
fn of_bird(path: &[u32]) -> PathAttributes {
    PathAttributes {
        communities: communities(&[0xfc00_0064, 0xffff_0000]),
        large_communities: large(64512, 1, 2),
        ..attributes(path, "192.0.2.1")
    }
}

#[test]
fn bird_to_an_external_peer() {
    let six = PathAttributes {
        communities: communities(&[0xfc00_0064]),
        ..attributes(&[64512], "2001:db8::1")
    };
    let six_prefixes = ["2001:db8:1::1/128", "2001:db8:1:8000::/49"];
    assert_eq!(
        decoded(include_str!("golden/bird-external.txt"), EXTERNAL),
        [
            opened(64512, 90, 1, bird(64512)),
            Message::Keepalive,
            announced(&["0.0.0.0/0"], attributes(&[64512], "192.0.2.1")),
            announced(&["198.51.100.2/32", "198.51.100.1/32"], of_bird(&[64512])),
            ended(Ipv4Unicast),
            announced(&six_prefixes, six),
            ended(Ipv6Unicast),
            withdrawn(&["0.0.0.0/0", "198.51.100.2/32", "198.51.100.1/32"]),
            withdrawn(&six_prefixes),
            // What it says of the refresh that it was asked for, and then asks for itself
            Message::RouteRefresh(Refresh::Beginning(Ipv4Unicast)),
            Message::RouteRefresh(Refresh::End(Ipv4Unicast)),
            Message::RouteRefresh(Refresh::Request(Ipv4Unicast)),
            Message::RouteRefresh(Refresh::Request(Ipv6Unicast)),
            shutdown("new cables, back at 14:00 – Zoë"),
        ]
    );
}

#[test]
fn bird_to_an_internal_peer() {
    let internal = |attributes| PathAttributes { local_pref: Some(150), ..attributes };
    let six = PathAttributes {
        communities: communities(&[0xfc00_0064]),
        ..attributes(&[], "2001:db8::1") // and a link-local one behind it
    };
    let four = PathAttributes { med: Some(50), ..internal(of_bird(&[])) };
    assert_eq!(
        decoded(include_str!("golden/bird-internal.txt"), INTERNAL),
        [
            opened(64513, 240, 1, bird(64513)),
            Message::Keepalive,
            announced(&["0.0.0.0/0"], internal(attributes(&[], "192.0.2.1"))),
            announced(&["198.51.100.2/32", "198.51.100.1/32"], four),
            ended(Ipv4Unicast),
            announced(&["2001:db8:1::1/128", "2001:db8:1:8000::/49"], internal(six)),
            ended(Ipv6Unicast),
        ]
    );
}

#[test]
fn bird_to_a_peer_without_four_octet_as_numbers() {
    let only_ipv4 = Capabilities { multiprotocol: vec![(1, 1)], ..bird(4_200_000_001) };
    assert_eq!(
        decoded(include_str!("golden/bird-two-octets.txt"), TWO_OCTETS),
        [
            opened(4_200_000_001, 240, 1, only_ipv4),
            Message::Keepalive,
            announced(&["0.0.0.0/0"], attributes(&[23456], "192.0.2.1")),
            announced(&["198.51.100.2/32", "198.51.100.1/32"], of_bird(&[23456])),
            ended(Ipv4Unicast),
        ]
    );
}

#[test]
fn frr_to_an_external_peer() {
    let asn = 4_200_000_001;
    let echoed = ["198.51.100.1/32", "198.51.100.2/32"];
    let long = [&[asn][..], &[4_200_000_002; 70]].concat();
    let ours = PathAttributes {
        med: Some(10),
        communities: communities(&[0xfc01_0007, 0xffff_0000]),
        large_communities: large(asn, 2, 3),
        ..attributes(&[asn], "192.0.2.2")
    };
    let from_bird =
        PathAttributes { next_hop: Some(IpAddr::from([192, 0, 2, 2])), ..of_bird(&[asn, 64512]) };
    assert_eq!(
        decoded(include_str!("golden/frr-external.txt"), EXTERNAL),
        [
            opened(asn, 180, 2, frr(asn)),
            Message::Keepalive,
            announced(&["0.0.0.0/0"], attributes(&[asn, 64512], "192.0.2.2")),
            ended(Ipv6Unicast),
            announced(&echoed, from_bird),
            ended(Ipv4Unicast),
            withdrawn(&["0.0.0.0/0", "198.51.100.2/32", "198.51.100.1/32"]),
            Message::RouteRefresh(Refresh::Request(Ipv4Unicast)),
            Message::RouteRefresh(Refresh::Beginning(Ipv4Unicast)),
            Message::RouteRefresh(Refresh::Beginning(Ipv6Unicast)),
            announced(
                &["2001:db8:2::1/128"],
                PathAttributes { med: Some(0), ..attributes(&[asn], "2001:db8::2") }
            ),
            announced(
                &["203.0.113.0/24"],
                PathAttributes {
                    origin: Some(Origin::Incomplete),
                    med: Some(0),
                    ..attributes(&long, "192.0.2.2")
                }
            ),
            announced(&["203.0.113.1/32"], ours),
            Message::RouteRefresh(Refresh::End(Ipv4Unicast)),
            Message::RouteRefresh(Refresh::End(Ipv6Unicast)),
            withdrawn(&["203.0.113.1/32"]),
            withdrawn(&["2001:db8:2::1/128"]),
            shutdown("planned work"),
        ]
    );
}

#[test]
fn frr_without_capabilities() {
    let echoed =
        PathAttributes { next_hop: Some(IpAddr::from([192, 0, 2, 2])), ..of_bird(&[64513, 23456]) };
    assert_eq!(
        decoded(include_str!("golden/frr-two-octets.txt"), TWO_OCTETS),
        [
            opened(64513, 180, 2, Capabilities::default()),
            Message::Keepalive,
            announced(&["0.0.0.0/0"], attributes(&[64513, 23456], "192.0.2.2")),
            announced(&["198.51.100.1/32", "198.51.100.2/32"], echoed),
            ended(Ipv4Unicast),
        ]
    );
}

#[test]
fn gobgp_to_an_internal_peer() {
    let four = PathAttributes {
        med: Some(5),
        local_pref: Some(200),
        communities: communities(&[0xfc01_0009, 0xffff_ff01]),
        large_communities: large(64513, 1, 9),
        ..attributes(&[], "192.0.2.2")
    };
    let six = PathAttributes {
        origin: Some(Origin::Egp),
        local_pref: Some(100),
        ..attributes(&[], "2001:db8::2") // in an MP_REACH_NLRI that comes last
    };
    assert_eq!(
        decoded(include_str!("golden/gobgp-internal.txt"), INTERNAL),
        [
            opened(64513, 90, 2, gobgp(64513)),
            Message::Keepalive,
            ended(Ipv4Unicast),
            ended(Ipv6Unicast),
            announced(&["203.0.113.9/32"], four),
            announced(&["2001:db8:9::9/128"], six),
            withdrawn(&["203.0.113.9/32"]),
            withdrawn(&["2001:db8:9::9/128"]),
            shutdown("moving racks"),
        ]
    );
}

#[test]
fn what_we_write_is_what_gobgp_writes_octet_by_octet() {
    let theirs = messages(include_str!("golden/gobgp-internal.txt"));
    let attributes = Attributes {
        communities: communities(&[0xfc01_0009, 0xffff_ff01]),
        large_communities: large(64513, 1, 9),
        local_pref: Some(200),
        med: Some(5),
        ..Attributes::default()
    };
    let announcement = Announcement {
        family: Ipv4Unicast,
        next_hop: IpAddr::from([192, 0, 2, 2]).into(),
        as_path: &[],
        extended_communities: &[],
        attributes: &attributes,
    };
    let ours = [
        keepalive(),
        end_of_rib(Ipv4Unicast),
        end_of_rib(Ipv6Unicast),
        announce(announcement, &prefixes(&["203.0.113.9/32"]), INTERNAL).0,
        withdraw(Ipv4Unicast, &prefixes(&["203.0.113.9/32"]), INTERNAL).0,
        withdraw(Ipv6Unicast, &prefixes(&["2001:db8:9::9/128"]), INTERNAL).0,
        Notification::administrative_shutdown("moving racks").encode(),
    ];
    for message in ours {
        assert!(theirs.contains(&message), "{message:02x?}");
    }
}
