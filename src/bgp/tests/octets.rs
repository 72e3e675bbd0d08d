//! Messages as octets: put together without the encoder under test, and read whole for comparison.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::bgp::wire::{self, Agreed, Encoding, MessageType, Notification, Open, Refresh, Update};
use crate::route::Family;

pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
pub(super) const ROUTE_REFRESH: u8 = 5;

/// Attribute flags: well-known, optional transitive, optional non-transitive, extended length.
pub(super) const WELL_KNOWN: u8 = 0x40;
pub(super) const TRANSITIVE: u8 = 0xc0;
pub(super) const NON_TRANSITIVE: u8 = 0x80;
pub(super) const EXTENDED: u8 = 0x10;

/// What most sessions agree on: four-octet AS numbers with a peer in another AS.
pub(super) const EXTERNAL: Encoding = Encoding { four_octet_asn: true, ..TWO_OCTETS };
pub(super) const INTERNAL: Encoding = Encoding { internal: true, ..EXTERNAL };
/// What the newest peers may send.
pub(super) const EVERYTHING: Agreed =
    Agreed { extended_message: true, enhanced_route_refresh: true };
/// What the oldest peers agree to.
pub(super) const TWO_OCTETS: Encoding = Encoding {
    four_octet_asn: false,
    internal: false,
    extended_message: false,
    extended_next_hop: false,
    only_to_customer: None,
};

/// A header with these fields, whatever follows it.
pub(super) fn header(length: u16, kind: u8) -> Vec<u8> {
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind]].concat()
}

/// A message of this type around a body.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [header(u16::try_from(19 + body.len()).unwrap(), kind), body.to_vec()].concat()
}

pub(super) fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

/// ROUTE-REFRESH for AFI, SAFI 1.
pub(super) fn route_refresh(afi: u8) -> Vec<u8> {
    message(ROUTE_REFRESH, &[0, afi, 0, 1])
}

/// The fixed fields of an OPEN.
pub(super) fn open_fields(version: u8, asn: u16, hold_time: u16, router_id: [u8; 4]) -> Vec<u8> {
    [&[version][..], &asn.to_be_bytes(), &hold_time.to_be_bytes(), &router_id].concat()
}

/// Capabilities as an optional parameter with its length before it.
pub(super) fn parameters(capabilities: &[u8]) -> Vec<u8> {
    let length = u8::try_from(capabilities.len()).unwrap();
    [&[length + 2, 2, length], capabilities].concat()
}

/// Both families, route refresh, and a four-octet AS number.
pub(super) fn capabilities(asn: u32) -> Vec<u8> {
    let families = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1];
    [&families[..], &[2, 0, 65, 4], &asn.to_be_bytes()].concat()
}

/// The OPEN of a modern peer.
pub(super) fn open(asn: u32, hold_time: u16, router_id: [u8; 4]) -> Vec<u8> {
    let two_octets = u16::try_from(asn).unwrap_or(23456);
    let fields = open_fields(4, two_octets, hold_time, router_id);
    message(OPEN, &[fields, parameters(&capabilities(asn))].concat())
}

/// An attribute; its length has two octets if the flags say so.
pub(super) fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let length = if flags & EXTENDED == 0 { &length[1..] } else { &length[..] };
    [&[flags, code], length, value].concat()
}

/// The body of an UPDATE.
pub(super) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    [&length(withdrawn)[..], withdrawn, &length(attributes), attributes, nlri].concat()
}

/// ORIGIN IGP, AS_PATH 64500 (four octets), NEXT_HOP 192.0.2.9.
pub(super) fn mandatory() -> Vec<u8> {
    let path = attribute(WELL_KNOWN, 2, &[2, 1, 0, 0, 0xfb, 0xf4]);
    [attribute(WELL_KNOWN, 1, &[0]), path, attribute(WELL_KNOWN, 3, &[192, 0, 2, 9])].concat()
}

/// The octets of hexadecimal text; white space does not count.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A message that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Message {
    Open(Open),
    Update(Update),
    Notification(Notification),
    Keepalive,
    RouteRefresh(Refresh),
}

/// Everything in a stream of whole, valid messages.
pub(super) fn read(mut stream: &[u8], encoding: Encoding) -> Vec<Message> {
    let mut messages = Vec::new();
    while !stream.is_empty() {
        let (frame, length) =
            wire::split(stream, EVERYTHING).expect("a valid header").expect("a whole message");
        messages.push(match frame.kind {
            MessageType::Open => Message::Open(Open::decode(frame.body).expect("a valid OPEN")),
            MessageType::Update => {
                Message::Update(Update::decode(frame.body, encoding).expect("a valid UPDATE"))
            }
            MessageType::Notification => {
                Message::Notification(Notification::decode(frame.body).expect("both codes"))
            }
            MessageType::Keepalive => Message::Keepalive,
            MessageType::RouteRefresh => {
                Message::RouteRefresh(Refresh::decode(frame.body, true).expect("four octets"))
            }
        });
        stream = &stream[length..];
    }
    messages
}

pub(super) fn router_id(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// Host routes, as many as one likes.
pub(super) fn hosts(family: Family, count: u32) -> Vec<IpNet> {
    let address = |number: u32| match family {
        Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)),
        Family::Ipv6Unicast => {
            let network = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0));
            IpAddr::V6(Ipv6Addr::from(network + u128::from(number)))
        }
    };
    (0..count).map(|number| IpNet::from(address(number))).collect()
}
