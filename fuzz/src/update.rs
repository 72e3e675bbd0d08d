//! Any body of an UPDATE: what RFC 7606 makes of it holds together, does not depend on what cannot
//! matter, and what is announced can be announced again.
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use vipcast::bgp::wire::{
    self, Action, Announcement, AsPath, Encoding, HEADER_LEN, MAX_EXTENDED_LEN, Notification,
    Origin, PathAttributes, Segment, Update, UpdateError,
};
use vipcast::route::{Asn, Attributes, Family, NextHop};

use super::input::{Input, bits};
use super::memory::bounded;
use super::octets::{self, EVERYTHING, UPDATE, check_notification, check_text};

/// The longest body that a message has room for.
const LONGEST: usize = MAX_EXTENDED_LEN - HEADER_LEN;

type Decoded = Result<Update, UpdateError>;

/// An octet of what was agreed, then the body.
pub fn update(data: &[u8]) {
    let mut input = Input::new(data);
    let [four_octet_asn, internal, extended_next_hop, ..] = bits(input.u8());
    let agreed = Encoding { four_octet_asn, internal, extended_next_hop, ..Encoding::default() };
    let body = input.take(LONGEST);
    let decoded = bounded(body.len(), || Update::decode(body, agreed));
    // What we may send is no matter of how we read.
    let only_to_customer = Some(Asn(64501));
    let sender = Encoding { extended_message: true, only_to_customer, ..agreed };
    assert_eq!(Update::decode(body, sender), decoded);
    match &decoded {
        Ok(update) => {
            check_outcome(update);
            check_again(update, agreed);
        }
        Err(error) => {
            check_text(&error.to_string());
            assert_eq!(error.notification().code, Notification::UPDATE_ERROR);
            check_notification(&error.notification());
        }
    }
    if let Some(parts) = Parts::of(body) {
        check_variants(&parts, &decoded, agreed);
    }
}

/// What holds for every UPDATE that the session survives.
fn check_outcome(update: &Update) {
    let Update { announced, beside, withdrawn, attributes, end_of_rib, defects } = update;
    let reachable: Vec<IpNet> = update.reachable().flat_map(|(_, all)| all).copied().collect();
    assert!(reachable.iter().chain(withdrawn).all(|prefix| prefix.trunc() == *prefix));
    // Nothing is announced without a next hop, and nothing of two kinds where there is but one.
    assert_eq!(reachable.len(), announced.len() + beside.as_ref().map_or(0, |b| b.1.len()));
    assert!(beside.as_ref().is_none_or(|beside| !beside.1.is_empty() && !announced.is_empty()));
    for defect in defects {
        assert_ne!(defect.action, Action::Reset);
        check_text(&defect.to_string());
    }
    if defects.iter().any(|defect| defect.action == Action::Withdraw) {
        assert!(reachable.is_empty(), "treat-as-withdraw announces");
        assert_eq!(*attributes, PathAttributes::default());
    }
    if !announced.is_empty() {
        assert!(attributes.origin.is_some() && attributes.as_path.is_some());
    }
    // RFC 4724 §2: a marker is one by being nothing else.
    if end_of_rib.is_some() {
        assert_eq!(*update, Update { end_of_rib: *end_of_rib, ..Update::default() });
    }
}

/// What is announced by us as it was read is read as it was announced, in as many messages as that
/// takes; likewise what is withdrawn.
fn check_again(update: &Update, agreed: Encoding) {
    for extended_message in [false, true] {
        let encoding = Encoding { extended_message, ..agreed };
        for family in Family::ALL {
            let of_family = |prefixes: &[IpNet]| -> Vec<IpNet> {
                prefixes.iter().filter(|prefix| Family::of(**prefix) == family).copied().collect()
            };
            for (next_hop, prefixes) in update.reachable() {
                announce_again(&update.attributes, next_hop, &of_family(prefixes), encoding);
            }
            let withdrawn = of_family(&update.withdrawn);
            let mut rest = &withdrawn[..];
            while !rest.is_empty() {
                let (octets, count) = wire::withdraw(family, rest, encoding);
                let expected = Update { withdrawn: rest[..count].to_vec(), ..Update::default() };
                assert_eq!(read(&octets, encoding), expected);
                rest = &rest[count..];
            }
        }
    }
}

/// All `prefixes` are of one family.
fn announce_again(read_as: &PathAttributes, next_hop: NextHop, prefixes: &[IpNet], to: Encoding) {
    let Some(family) = prefixes.first().copied().map(Family::of) else { return };
    assert!(family == Family::Ipv4Unicast || next_hop.address.is_ipv6(), "{next_hop:?}");
    // What MP_REACH_NLRI may say (RFC 7606 §7.11 judges its length alone), and NEXT_HOP may not.
    if let IpAddr::V4(ip) = next_hop.address
        && (ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
    {
        return;
    }
    let segments = read_as.as_path.iter().flat_map(|path| &path.0);
    let as_path: Vec<Asn> = segments
        .flat_map(|segment| match segment {
            Segment::Set(all) | Segment::Sequence(all) => all.iter().copied(),
        })
        .collect();
    let attributes = Attributes {
        communities: read_as.communities.clone(),
        extended_communities: read_as.extended_communities.clone(),
        large_communities: read_as.large_communities.clone(),
        local_pref: read_as.local_pref,
        med: read_as.med,
        ..Attributes::default()
    };
    let extended: Vec<_> = read_as.extended_communities.iter().copied().collect();
    let announcement = Announcement {
        family,
        next_hop,
        as_path: &as_path,
        extended_communities: &extended,
        attributes: &attributes,
    };
    let sequences = as_path.chunks(255).map(|asns| Segment::Sequence(asns.to_vec())).collect();
    let expected = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(sequences)),
        next_hop: Some(next_hop.address),
        link_local_next_hop: next_hop.link_local,
        local_pref: to.local_pref(&attributes),
        ..read_as.clone()
    };
    let mut rest = prefixes;
    while let Some(first) = rest.first() {
        if !wire::fits(announcement, *first, to) {
            return;
        }
        let (octets, count) = wire::announce(announcement, rest, to);
        let announced = rest[..count].to_vec();
        assert!(count > 0);
        let expected = Update { announced, attributes: expected.clone(), ..Update::default() };
        assert_eq!(read(&octets, to), expected);
        rest = &rest[count..];
    }
}

/// One message of ours, which is no longer than agreed.
fn read(octets: &[u8], encoding: Encoding) -> Update {
    assert!(octets.len() <= encoding.max_len());
    let (frame, length) = wire::split(octets, EVERYTHING).expect("valid").expect("whole");
    assert_eq!(length, octets.len());
    assert_eq!(octets::message(UPDATE, frame.body), octets);
    Update::decode(frame.body, encoding).expect("what we write")
}

/// The parts of a body whose lengths fit, its attributes each by itself.
struct Parts<'a> {
    withdrawn: &'a [u8],
    attributes: Vec<&'a [u8]>,
    nlri: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(body: &'a [u8]) -> Option<Self> {
        let (withdrawn, rest) = counted(body)?;
        let (mut list, nlri) = counted(rest)?;
        let mut attributes = Vec::new();
        while !list.is_empty() {
            let (header, length) = if list.first()? & 0x10 == 0 {
                (3, usize::from(*list.get(2)?))
            } else {
                (4, usize::from(u16::from_be_bytes([*list.get(2)?, *list.get(3)?])))
            };
            let (attribute, rest) = list.split_at_checked(header + length)?;
            attributes.push(attribute);
            list = rest;
        }
        Some(Self { withdrawn, attributes, nlri })
    }

    fn codes(&self) -> BTreeSet<u8> {
        self.attributes.iter().map(|attribute| attribute[1]).collect()
    }

    /// With these attributes in place of its own; `None` if that is too long.
    fn with(&self, attributes: &[&[u8]]) -> Option<Vec<u8>> {
        let attributes = attributes.concat();
        let length = |part: &[u8]| u16::try_from(part.len()).ok().map(u16::to_be_bytes);
        let (first, second) = (length(self.withdrawn)?, length(&attributes)?);
        let body = [&first, self.withdrawn, &second, &attributes, self.nlri].concat();
        (body.len() <= LONGEST).then_some(body)
    }
}

fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The same UPDATE with something added or moved.
fn check_variants(parts: &Parts<'_>, decoded: &Decoded, agreed: Encoding) {
    let decode =
        |attributes: &[&[u8]]| parts.with(attributes).map(|body| Update::decode(&body, agreed));
    let and = |more| [&parts.attributes[..], &[more]].concat();
    let is_new = |code| !parts.codes().contains(&code);

    // RFC 4271 §5: an optional attribute that nobody here knows changes nothing.
    let unknown: &[u8] = &[0xc0, 99, 0];
    if let Some(found) = decode(&and(unknown)).filter(|_| is_new(99)) {
        let expected = decoded.clone().map(|update| Update { end_of_rib: None, ..update });
        assert_eq!(found, expected);
    }

    // RFC 7606 §2: with one that is wrong, all that was announced is withdrawn, and no more than that.
    let wrong: &[u8] = &[0x40, 98, 0];
    if let (Some(found), Ok(update)) = (decode(&and(wrong)).filter(|_| is_new(98)), decoded) {
        let beside = update.beside.iter().flat_map(|beside| &beside.1);
        let mut prefixes: Vec<IpNet> = update.withdrawn.iter().chain(beside).copied().collect();
        prefixes.extend(&update.announced);
        match found {
            Ok(found) => {
                assert_eq!((found.withdrawn, found.announced), (prefixes, vec![]));
                assert_eq!(found.beside, None);
                assert_eq!(found.defects.len(), update.defects.len() + 1);
            }
            // Prefixes that are withdrawn already are nothing to withdraw (RFC 7606 §5.2).
            Err(error) => {
                assert_eq!(error, UpdateError::NothingToWithdraw);
                assert!(update.announced.is_empty());
            }
        }
    }

    // RFC 4271 §5, RFC 7606 §5.1: attributes may come in any order, as long as each comes once.
    if parts.codes().len() == parts.attributes.len() {
        let backwards: Vec<&[u8]> = parts.attributes.iter().rev().copied().collect();
        let found = decode(&backwards).expect("it is as long as it was");
        match (found, decoded) {
            (Ok(mut found), Ok(update)) => {
                let mut update = update.clone();
                found.defects.sort();
                update.defects.sort();
                assert_eq!(found, update);
            }
            // There may be several reasons.
            (found, decoded) => assert_eq!(found.is_err(), decoded.is_err()),
        }
    }
}
