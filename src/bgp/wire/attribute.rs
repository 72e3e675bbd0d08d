//! Path attributes (RFC 4271 §4.3, §5): one table says for each what its flags are and what a
//! defect costs (RFC 7606 §7).
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cursor::Cursor;
use crate::route::{Asn, Community, ExtendedCommunity, LargeCommunity};

/// Attribute type codes.
pub(super) mod code {
    pub(in crate::bgp::wire) const ORIGIN: u8 = 1;
    pub(in crate::bgp::wire) const AS_PATH: u8 = 2;
    pub(in crate::bgp::wire) const NEXT_HOP: u8 = 3;
    pub(in crate::bgp::wire) const MULTI_EXIT_DISC: u8 = 4;
    pub(in crate::bgp::wire) const LOCAL_PREF: u8 = 5;
    pub(in crate::bgp::wire) const ATOMIC_AGGREGATE: u8 = 6;
    pub(in crate::bgp::wire) const AGGREGATOR: u8 = 7;
    pub(in crate::bgp::wire) const COMMUNITIES: u8 = 8;
    pub(in crate::bgp::wire) const ORIGINATOR_ID: u8 = 9;
    pub(in crate::bgp::wire) const CLUSTER_LIST: u8 = 10;
    pub(in crate::bgp::wire) const MP_REACH_NLRI: u8 = 14;
    pub(in crate::bgp::wire) const MP_UNREACH_NLRI: u8 = 15;
    pub(in crate::bgp::wire) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(in crate::bgp::wire) const AS4_PATH: u8 = 17;
    pub(in crate::bgp::wire) const AS4_AGGREGATOR: u8 = 18;
    pub(in crate::bgp::wire) const LARGE_COMMUNITY: u8 = 32;
    pub(in crate::bgp::wire) const ONLY_TO_CUSTOMER: u8 = 35;
}

/// Attribute flags (RFC 4271 §4.3).
pub(super) mod flag {
    pub(in crate::bgp::wire) const OPTIONAL: u8 = 0x80;
    pub(in crate::bgp::wire) const TRANSITIVE: u8 = 0x40;
    pub(in crate::bgp::wire) const EXTENDED_LENGTH: u8 = 0x10;
}

/// What a defect costs (RFC 7606 §2); the stronger wins, in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// The attribute is ignored
    Discard,
    /// The routes of the message are taken as withdrawn
    Withdraw,
    /// The session ends
    Reset,
}

/// One row of the attribute table.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) code: u8,
    pub(super) name: &'static str,
    /// The Optional and Transitive bits it must have
    pub(super) flags: u8,
    /// What it costs when its value is wrong
    pub(super) defect: Action,
    /// From others it means nothing, and is ignored whatever is in it
    pub(super) sender: Sender,
}

/// Whose attribute means something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sender {
    Any,
    /// RFC 7606 §7.5, §7.9, §7.10
    Internal,
    /// RFC 6793 §4.1: the others have the whole number in its place
    TwoOctet,
}

const WELL_KNOWN: u8 = flag::TRANSITIVE;
const TRANSITIVE: u8 = flag::OPTIONAL | flag::TRANSITIVE;
const NON_TRANSITIVE: u8 = flag::OPTIONAL;

const fn rule(code: u8, name: &'static str, flags: u8, defect: Action) -> Rule {
    Rule { code, name, flags, defect, sender: Sender::Any }
}

const fn from(sender: Sender, rule: Rule) -> Rule {
    Rule { sender, ..rule }
}

const RULES: &[Rule] = &[
    rule(code::ORIGIN, "ORIGIN", WELL_KNOWN, Action::Withdraw),
    rule(code::AS_PATH, "AS_PATH", WELL_KNOWN, Action::Withdraw),
    rule(code::NEXT_HOP, "NEXT_HOP", WELL_KNOWN, Action::Withdraw),
    rule(code::MULTI_EXIT_DISC, "MULTI_EXIT_DISC", NON_TRANSITIVE, Action::Withdraw),
    from(Sender::Internal, rule(code::LOCAL_PREF, "LOCAL_PREF", WELL_KNOWN, Action::Withdraw)),
    rule(code::ATOMIC_AGGREGATE, "ATOMIC_AGGREGATE", WELL_KNOWN, Action::Discard),
    rule(code::AGGREGATOR, "AGGREGATOR", TRANSITIVE, Action::Discard),
    rule(code::COMMUNITIES, "COMMUNITIES", TRANSITIVE, Action::Withdraw),
    from(
        Sender::Internal,
        rule(code::ORIGINATOR_ID, "ORIGINATOR_ID", NON_TRANSITIVE, Action::Withdraw),
    ),
    from(
        Sender::Internal,
        rule(code::CLUSTER_LIST, "CLUSTER_LIST", NON_TRANSITIVE, Action::Withdraw),
    ),
    rule(code::MP_REACH_NLRI, "MP_REACH_NLRI", NON_TRANSITIVE, Action::Reset),
    rule(code::MP_UNREACH_NLRI, "MP_UNREACH_NLRI", NON_TRANSITIVE, Action::Reset),
    rule(code::EXTENDED_COMMUNITIES, "EXTENDED_COMMUNITIES", TRANSITIVE, Action::Withdraw),
    // RFC 6793 §6
    from(Sender::TwoOctet, rule(code::AS4_PATH, "AS4_PATH", TRANSITIVE, Action::Discard)),
    from(
        Sender::TwoOctet,
        rule(code::AS4_AGGREGATOR, "AS4_AGGREGATOR", TRANSITIVE, Action::Discard),
    ),
    rule(code::LARGE_COMMUNITY, "LARGE_COMMUNITY", TRANSITIVE, Action::Withdraw), // RFC 8092 §6
    rule(code::ONLY_TO_CUSTOMER, "ONLY_TO_CUSTOMER", TRANSITIVE, Action::Withdraw), // RFC 9234 §5
];

impl Rule {
    pub(super) fn of(code: u8) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.code == code)
    }

    /// Whether the Optional and Transitive bits are its own; the other bits do not matter
    /// (RFC 7606 §3 c).
    pub(super) fn fits(&self, flags: u8) -> bool {
        flags & (flag::OPTIONAL | flag::TRANSITIVE) == self.flags
    }
}

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Origin {
    /// 0
    Igp,
    /// 1
    Egp,
    /// 2
    Incomplete,
}

/// One segment of an `AS_PATH` (RFC 4271 §4.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Segment {
    /// Unordered
    Set(Vec<Asn>),
    /// Ordered, the nearest first
    Sequence(Vec<Asn>),
}

/// `AS_PATH`: its segments, the nearest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AsPath(pub Vec<Segment>);

/// The attributes of a received UPDATE, as far as they were valid.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub struct PathAttributes {
    pub origin: Option<Origin>,
    pub as_path: Option<AsPath>,
    /// That of MP_REACH_NLRI if it announces anything, else NEXT_HOP
    pub next_hop: Option<IpAddr>,
    /// The link-local one behind that (RFC 2545 §3)
    pub link_local_next_hop: Option<Ipv6Addr>,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    pub communities: BTreeSet<Community>,
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    pub large_communities: BTreeSet<LargeCommunity>,
}

impl PathAttributes {
    /// Takes in the value of one attribute other than the two of RFC 4760. `None`: malformed.
    pub(super) fn decode(&mut self, code: u8, value: &[u8], four_octet: bool) -> Option<()> {
        let mut cursor = Cursor::new(value);
        match code {
            code::ORIGIN => self.origin = Some(decode_origin(&mut cursor)?),
            code::AS_PATH => self.as_path = Some(decode_as_path(&mut cursor, four_octet)?),
            code::NEXT_HOP => self.next_hop = Some(decode_next_hop(&mut cursor)?),
            code::MULTI_EXIT_DISC => self.med = Some(cursor.u32()?),
            code::LOCAL_PREF => self.local_pref = Some(cursor.u32()?),
            code::COMMUNITIES => {
                non_empty(cursor)?; // RFC 7606 §7.8
                while !cursor.is_empty() {
                    self.communities.insert(Community(cursor.u32()?));
                }
            }
            code::EXTENDED_COMMUNITIES => {
                non_empty(cursor)?; // RFC 7606 §7.14
                while !cursor.is_empty() {
                    let octets = cursor.array::<8>()?;
                    self.extended_communities.insert(ExtendedCommunity(u64::from_be_bytes(octets)));
                }
            }
            code::LARGE_COMMUNITY => {
                non_empty(cursor)?; // RFC 8092 §6
                while !cursor.is_empty() {
                    let (global, local1, local2) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
                    self.large_communities.insert(LargeCommunity { global, local1, local2 });
                }
            }
            _ => return check(code, cursor, four_octet),
        }
        cursor.is_empty().then_some(())
    }
}

/// For attributes whose value has no use here.
fn check(code: u8, cursor: Cursor<'_>, four_octet: bool) -> Option<()> {
    let length = cursor.len();
    let fits = match code {
        code::ATOMIC_AGGREGATE => length == 0,
        code::AGGREGATOR => is_aggregator(cursor, four_octet),
        code::ORIGINATOR_ID | code::ONLY_TO_CUSTOMER => length == 4,
        code::CLUSTER_LIST => length != 0 && length.is_multiple_of(4),
        code::AS4_PATH => length != 0 && decode_as_path(&mut { cursor }, true).is_some(),
        code::AS4_AGGREGATOR => is_aggregator(cursor, true),
        _ => true,
    };
    fits.then_some(())
}

/// An AS number and an address (RFC 7606 §7.7).
fn is_aggregator(mut cursor: Cursor<'_>, four_octet: bool) -> bool {
    decode_asn(&mut cursor, four_octet).is_some() && cursor.len() == 4
}

fn non_empty(cursor: Cursor<'_>) -> Option<()> {
    (!cursor.is_empty()).then_some(())
}

fn decode_origin(cursor: &mut Cursor<'_>) -> Option<Origin> {
    match cursor.u8()? {
        0 => Some(Origin::Igp),
        1 => Some(Origin::Egp),
        2 => Some(Origin::Incomplete),
        _ => None,
    }
}

/// RFC 7606 §7.3 judges its length alone; an address no host has is no next hop either
/// (RFC 4271 §6.3).
fn decode_next_hop(cursor: &mut Cursor<'_>) -> Option<IpAddr> {
    let address = Ipv4Addr::from(cursor.array::<4>()?);
    let unusable = address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_loopback();
    (!unusable).then_some(IpAddr::V4(address))
}

/// RFC 7606 §7.2: no unknown segment, none that is empty or overruns. Confederation segments
/// (3 and 4) have no business outside one (RFC 5065 §5).
fn decode_as_path(cursor: &mut Cursor<'_>, four_octet: bool) -> Option<AsPath> {
    let mut path = AsPath::default();
    while !cursor.is_empty() {
        let kind = cursor.u8()?;
        let count = cursor.u8().filter(|count| *count != 0)?;
        let asns =
            (0..count).map(|_| decode_asn(cursor, four_octet)).collect::<Option<Vec<_>>>()?;
        path.0.push(match kind {
            1 => Segment::Set(asns),
            2 => Segment::Sequence(asns),
            _ => return None,
        });
    }
    Some(path)
}

/// An AS number, which is not 0 (RFC 7607 §2).
fn decode_asn(cursor: &mut Cursor<'_>, four_octet: bool) -> Option<Asn> {
    let asn = if four_octet { cursor.u32()? } else { u32::from(cursor.u16()?) };
    (asn != 0).then_some(Asn(asn))
}

/// Writes an attribute, with the length form that its value needs.
pub(super) fn put_attribute(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let flags = Rule::of(code).map_or(flag::OPTIONAL, |rule| rule.flags);
    match u8::try_from(value.len()) {
        Ok(length) => out.extend([flags, code, length]),
        Err(_) => {
            let length = u16::try_from(value.len()).expect("an attribute fits in a message");
            let [high, low] = length.to_be_bytes();
            out.extend([flags | flag::EXTENDED_LENGTH, code, high, low]);
        }
    }
    out.extend(value);
}

/// The value of an `AS_PATH` of sequences, each of as many numbers as it can hold.
pub(super) fn as_path_value(path: &[Asn], four_octet: bool) -> Vec<u8> {
    let mut value = Vec::new();
    for segment in path.chunks(255) {
        value.extend([2, u8::try_from(segment.len()).expect("at most 255")]);
        for asn in segment {
            if four_octet {
                value.extend(asn.0.to_be_bytes());
            } else {
                value.extend(asn.to_two_octets().to_be_bytes());
            }
        }
    }
    value
}
