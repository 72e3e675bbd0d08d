//! The UPDATE message (RFC 4271 §4.3, RFC 4760): built for what we announce, read with the error
//! handling of RFC 7606.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::attribute::{
    Action, PathAttributes, Rule, Sender, as_path_value, code, flag, put_attribute,
};
use super::cursor::{Cursor, prefix_size, put_prefix};
use super::notification::Notification;
use super::{HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, MessageType, message};
use crate::route::{Asn, Attributes, ExtendedCommunity, Family, NextHop};

/// How the two ends agreed to write UPDATEs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Encoding {
    /// AS numbers have four octets (RFC 6793)
    pub four_octet_asn: bool,
    /// The peer is in our AS
    pub internal: bool,
    /// Messages may have up to 65535 octets (RFC 8654)
    pub extended_message: bool,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950)
    pub extended_next_hop: bool,
    /// Only to Customer with this number goes with every route (RFC 9234 §5)
    pub only_to_customer: Option<Asn>,
}

impl Encoding {
    /// The longest message.
    #[must_use]
    pub fn max_len(self) -> usize {
        if self.extended_message { MAX_EXTENDED_LEN } else { MAX_LEN }
    }
}

impl Encoding {
    /// RFC 4271 §5.1.5: always to an internal peer, never to an external one.
    #[must_use]
    pub fn local_pref(self, attributes: &Attributes) -> Option<u32> {
        self.internal.then(|| attributes.local_pref.unwrap_or(100))
    }
}

/// A received UPDATE after RFC 7606 was applied to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Update {
    /// Prefixes that are reachable with `attributes`
    pub announced: Vec<IpNet>,
    /// Prefixes of NLRI beside others of MP_REACH_NLRI, whose next hop is not that of `attributes`
    /// but this one: nobody is to send that, and everybody is to take it (RFC 7606 §5.1)
    pub beside: Option<Box<(IpAddr, Vec<IpNet>)>>,
    /// Prefixes that are no longer reachable, also by treat-as-withdraw
    pub withdrawn: Vec<IpNet>,
    /// What holds for `announced`
    pub attributes: PathAttributes,
    /// An End-of-RIB marker (RFC 4724 §2) for this family
    pub end_of_rib: Option<Family>,
    /// What was wrong, and was survived
    pub defects: Vec<Defect>,
}

/// Something wrong in an UPDATE that does not end the session.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[error("{attribute}: {what}")]
pub struct Defect {
    /// The attribute's name, or its number
    pub attribute: String,
    /// In words
    pub what: &'static str,
    /// What was done about it
    pub action: Action,
}

/// What is so wrong with an UPDATE that the session ends.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// Withdrawn Routes Length or Total Path Attribute Length overruns the message
    #[error("malformed UPDATE: {0} overruns the message")]
    Length(&'static str),
    /// The prefixes cannot be read, so they cannot be treated as withdrawn (RFC 7606 §3 j)
    #[error("malformed UPDATE: {0} holds no valid prefixes")]
    InvalidNetworkField(&'static str),
    /// MP_REACH_NLRI or MP_UNREACH_NLRI twice (RFC 7606 §3 g)
    #[error("malformed UPDATE: {0} twice")]
    Duplicate(&'static str),
    /// One of the two cannot be read (RFC 7606 §5.3)
    #[error("malformed UPDATE: {name} {what}")]
    Multiprotocol {
        /// Which of them
        name: &'static str,
        /// In words
        what: &'static str,
        /// All of it, for the peer
        octets: Vec<u8>,
    },
    /// An error that would withdraw routes, and no routes (RFC 7606 §5.2)
    #[error("malformed UPDATE: wrong attributes, and no prefixes to withdraw for it")]
    NothingToWithdraw,
}

impl UpdateError {
    /// What goes to the peer.
    #[must_use]
    pub fn notification(&self) -> Notification {
        let (subcode, data) = match self {
            Self::Length(_) | Self::Duplicate(_) | Self::NothingToWithdraw => (1, Vec::new()),
            // RFC 4760 §7; the data is the attribute (RFC 4271 §6.3)
            Self::Multiprotocol { octets, .. } => (9, octets.clone()),
            Self::InvalidNetworkField(_) => (10, Vec::new()),
        };
        Notification::new(Notification::UPDATE_ERROR, subcode, data)
    }
}

impl Update {
    /// Reads the octets behind the header.
    ///
    /// # Errors
    ///
    /// Only for what RFC 7606 still lets end the session; all else is in [`Update::defects`].
    pub fn decode(body: &[u8], encoding: Encoding) -> Result<Self, UpdateError> {
        let mut cursor = Cursor::new(body);
        let withdrawn =
            cursor.counted_u16().ok_or(UpdateError::Length("Withdrawn Routes Length"))?;
        let attributes =
            cursor.counted_u16().ok_or(UpdateError::Length("Total Path Attribute Length"))?;
        let nlri = cursor.rest();

        let mut update = Self::default();
        prefixes(&mut update.withdrawn, withdrawn, Family::Ipv4Unicast)
            .ok_or(UpdateError::InvalidNetworkField("Withdrawn Routes"))?;
        prefixes(&mut update.announced, nlri, Family::Ipv4Unicast)
            .ok_or(UpdateError::InvalidNetworkField("NLRI"))?;
        if body.len() == 4 {
            update.end_of_rib = Some(Family::Ipv4Unicast);
        }
        let list = AttributeList::new(&mut update, encoding).decode(Cursor::new(attributes))?;
        let AttributeList { seen, reach, .. } = list;
        update.check_mandatory(&seen, &reach);
        update.apply(reach)?;
        if seen.len() > 1 || !update.announced.is_empty() || !update.withdrawn.is_empty() {
            update.end_of_rib = None; // RFC 4724 §2: it is alone
        }
        Ok(update)
    }

    /// RFC 7606 §3 d.
    fn check_mandatory(&mut self, seen: &BTreeSet<u8>, reach: &Reach) {
        let has_nlri = !self.announced.is_empty();
        if !has_nlri && reach.prefixes.is_empty() {
            return;
        }
        let mandatory = [code::ORIGIN, code::AS_PATH, code::NEXT_HOP];
        for code in mandatory.into_iter().filter(|code| !seen.contains(code)) {
            if code != code::NEXT_HOP || has_nlri {
                self.defect(code, "missing", Action::Withdraw);
            }
        }
    }

    /// What the defects make of the announced prefixes: those of NLRI are here, those of
    /// MP_REACH_NLRI come.
    fn apply(&mut self, mut reach: Reach) -> Result<(), UpdateError> {
        if self.defects.iter().any(|defect| defect.action == Action::Withdraw) {
            // RFC 7606 §5.2
            if self.announced.is_empty() && reach.prefixes.is_empty() && !reach.unread {
                return Err(UpdateError::NothingToWithdraw);
            }
            self.withdrawn.append(&mut self.announced);
            self.withdrawn.append(&mut reach.prefixes);
            self.attributes = PathAttributes::default();
        } else if !reach.prefixes.is_empty() {
            let nlri = std::mem::replace(&mut self.announced, reach.prefixes);
            let next_hop = reach.next_hop.map(|next_hop| next_hop.address);
            let of_nlri = std::mem::replace(&mut self.attributes.next_hop, next_hop);
            self.attributes.link_local_next_hop = reach.next_hop.and_then(|hop| hop.link_local);
            let of_nlri = of_nlri.filter(|_| !nlri.is_empty());
            self.beside = of_nlri.map(|next_hop| Box::new((next_hop, nlri)));
        }
        Ok(())
    }

    /// What is announced, by next hop.
    pub fn reachable(&self) -> impl Iterator<Item = (NextHop, &[IpNet])> {
        let PathAttributes { next_hop, link_local_next_hop: link_local, .. } = self.attributes;
        let next_hop = next_hop.map(|address| NextHop { address, link_local });
        let first = next_hop.map(|next_hop| (next_hop, &*self.announced));
        let second = self.beside.iter().map(|beside| (beside.0.into(), &*beside.1));
        first.into_iter().chain(second)
    }

    /// How many prefixes are announced.
    #[must_use]
    pub fn announcements(&self) -> usize {
        self.reachable().map(|(_, prefixes)| prefixes.len()).sum()
    }

    fn defect(&mut self, code: u8, what: &'static str, action: Action) {
        let attribute =
            Rule::of(code).map_or_else(|| format!("attribute {code}"), |rule| rule.name.into());
        self.defects.push(Defect { attribute, what, action });
    }
}

/// What MP_REACH_NLRI says.
#[derive(Debug, Default)]
struct Reach {
    next_hop: Option<NextHop>,
    prefixes: Vec<IpNet>,
    /// It is there, of a family that was never offered
    unread: bool,
}

/// Reads the list of path attributes into an [`Update`].
struct AttributeList<'a> {
    update: &'a mut Update,
    encoding: Encoding,
    /// The codes that were there
    seen: BTreeSet<u8>,
    reach: Reach,
}

impl<'a> AttributeList<'a> {
    fn new(update: &'a mut Update, encoding: Encoding) -> Self {
        Self { update, encoding, seen: BTreeSet::new(), reach: Reach::default() }
    }

    /// Reads all of them.
    fn decode(mut self, mut cursor: Cursor<'_>) -> Result<Self, UpdateError> {
        while !cursor.is_empty() {
            let Some(attribute) = Attribute::read(&mut cursor) else {
                // RFC 7606 §4: what follows cannot be found, what came before can be used.
                self.update.defect(0, "overruns the attribute list", Action::Withdraw);
                break;
            };
            self.attribute(&attribute)?;
        }
        Ok(self)
    }

    fn attribute(&mut self, attribute: &Attribute<'_>) -> Result<(), UpdateError> {
        let Attribute { flags, code, value, .. } = *attribute;
        let duplicate = !self.seen.insert(code);
        let rule = Rule::of(code);
        if let Some(rule) = rule.filter(|rule| rule.defect == Action::Reset) {
            if duplicate {
                return Err(UpdateError::Duplicate(rule.name)); // RFC 7606 §3 g
            }
            return self.multiprotocol(rule, attribute);
        }
        if duplicate {
            // RFC 7606 §3 g, "whether recognized or unrecognized"
            self.update.defect(code, "a second time", Action::Discard);
            return Ok(());
        }
        match rule {
            None if flags & flag::OPTIONAL == 0 => {
                self.update.defect(code, "well-known but unknown", Action::Withdraw);
            }
            None => {}
            Some(rule) if self.is_meaningless(rule) => {} // Nothing in it can be wrong.
            Some(rule) if !rule.fits(flags) => {
                self.update.defect(code, "wrong flags", Action::Withdraw); // RFC 7606 §3 c
            }
            Some(rule) => {
                let attributes = &mut self.update.attributes;
                if attributes.decode(code, value, self.encoding.four_octet_asn).is_none() {
                    self.update.defect(code, "malformed", rule.defect);
                }
            }
        }
        Ok(())
    }

    fn is_meaningless(&self, rule: &Rule) -> bool {
        match rule.sender {
            Sender::Any => false,
            Sender::Internal => !self.encoding.internal,
            Sender::TwoOctet => self.encoding.four_octet_asn,
        }
    }

    /// `MP_REACH_NLRI` and `MP_UNREACH_NLRI`: they can be read, or the session ends (RFC 7606 §5.3).
    fn multiprotocol(&mut self, rule: &Rule, attribute: &Attribute<'_>) -> Result<(), UpdateError> {
        let what = if !rule.fits(attribute.flags) {
            "has wrong flags"
        } else {
            match self.routes(attribute.code, attribute.value) {
                Some(Ok(())) => return Ok(()),
                Some(Err(())) => "holds no valid prefixes",
                None => "has a wrong length or next hop",
            }
        };
        Err(UpdateError::Multiprotocol { name: rule.name, what, octets: attribute.octets.to_vec() })
    }

    /// The value of either (RFC 4760 §3, §4); families that were never offered are read past.
    /// `None`: malformed; `Some(Err)`: its prefixes are.
    fn routes(&mut self, code: u8, value: &[u8]) -> Option<Result<(), ()>> {
        let mut cursor = Cursor::new(value);
        let (afi, safi) = (cursor.u16()?, cursor.u8()?);
        let Some(family) = Family::from_afi_safi(afi, safi) else {
            self.reach.unread |= code == code::MP_REACH_NLRI;
            return Some(Ok(()));
        };
        if code == code::MP_UNREACH_NLRI {
            self.update.end_of_rib = Some(family);
            return Some(prefixes(&mut self.update.withdrawn, cursor.rest(), family).ok_or(()));
        }
        let next_hop = cursor.counted_u8()?;
        let _reserved = cursor.u8()?;
        let extended = self.encoding.extended_next_hop;
        self.reach.next_hop = Some(mp_next_hop(family, next_hop, extended)?);
        Some(prefixes(&mut self.reach.prefixes, cursor.rest(), family).ok_or(()))
    }
}

/// One attribute as it came.
struct Attribute<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    /// All of it
    octets: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The next one; `None` when its length overruns.
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let all = cursor.rest();
        let (flags, code) = (cursor.u8()?, cursor.u8()?);
        let extended = flags & flag::EXTENDED_LENGTH != 0;
        let value = if extended { cursor.counted_u16() } else { cursor.counted_u8() }?;
        let octets = all.get(..all.len() - cursor.len())?;
        Some(Self { flags, code, value, octets })
    }
}

/// RFC 4760 §3; with a link-local address behind the global one for IPv6 (RFC 2545 §3), which may
/// be the next hop of IPv4 too (RFC 8950 §3). A router that has no global one writes `::` in its
/// place.
fn mp_next_hop(family: Family, octets: &[u8], extended: bool) -> Option<NextHop> {
    match family {
        Family::Ipv4Unicast if !extended || octets.len() == 4 => {
            let address: [u8; 4] = octets.try_into().ok()?;
            Some(IpAddr::from(address).into())
        }
        Family::Ipv4Unicast | Family::Ipv6Unicast => {
            let (global, rest) = octets.split_first_chunk::<16>()?;
            let global = Ipv6Addr::from(*global);
            if rest.is_empty() {
                return Some(IpAddr::V6(global).into());
            }
            let link_local = Ipv6Addr::from(<[u8; 16]>::try_from(rest).ok()?);
            let address = if global.is_unspecified() { link_local } else { global };
            let is_link_local = link_local.is_unicast_link_local();
            Some(NextHop {
                address: address.into(),
                link_local: is_link_local.then_some(link_local),
            })
        }
    }
}

/// Reads prefixes to the end of `octets`; `None` when one is malformed (RFC 7606 §5.3).
fn prefixes(out: &mut Vec<IpNet>, octets: &[u8], family: Family) -> Option<()> {
    let mut cursor = Cursor::new(octets);
    while !cursor.is_empty() {
        out.push(cursor.prefix(family)?);
    }
    Some(())
}

/// What one UPDATE announces, apart from the prefixes.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// Of all its prefixes
    pub family: Family,
    /// For IPv6 an IPv6 address; for IPv4 too, where that was agreed (RFC 8950)
    pub next_hop: NextHop,
    /// The nearest first; empty to an internal peer
    pub as_path: &'a [Asn],
    /// Those of `attributes`, and what the session adds to them; in the order in which they are sent
    pub extended_communities: &'a [ExtendedCommunity],
    /// What export policy says
    pub attributes: &'a Attributes,
}

/// Whether a message can hold an announcement of this prefix (RFC 4271 §9.2).
#[must_use]
pub fn fits(announcement: Announcement<'_>, prefix: IpNet, encoding: Encoding) -> bool {
    let Attributes { communities, large_communities, .. } = announcement.attributes;
    let extended = announcement.extended_communities.len();
    let at_least = communities.len() * 4 + extended * 8 + large_communities.len() * 12;
    at_least < encoding.max_len()
        && prefix_size(prefix)
            <= room(announcement, &path_attributes(announcement, encoding), encoding)
}

/// The octets that a message with these attributes has for prefixes.
fn room(announcement: Announcement<'_>, attributes: &[u8], encoding: Encoding) -> usize {
    let multiprotocol = match (announcement.family, announcement.next_hop.address) {
        (Family::Ipv4Unicast, IpAddr::V4(_)) => 0,
        // MP_REACH_NLRI with its header around a family, a next hop and the reserved octet
        _ => 4 + 3 + next_hop_value(announcement.next_hop).len() + 1,
    };
    // Header, and both length fields
    encoding.max_len().saturating_sub(HEADER_LEN + 4 + multiprotocol + attributes.len())
}

/// An UPDATE that announces as many of `prefixes` as fit, and how many it holds; at least one, if
/// each of them [`fits`].
#[must_use]
pub fn announce(
    announcement: Announcement<'_>,
    prefixes: &[IpNet],
    encoding: Encoding,
) -> (Vec<u8>, usize) {
    let attributes = path_attributes(announcement, encoding);
    let (nlri, count) = fill(prefixes, room(announcement, &attributes, encoding));
    match (announcement.family, announcement.next_hop.address) {
        (Family::Ipv4Unicast, IpAddr::V4(_)) => {
            let out = message(MessageType::Update, |out| {
                out.extend([0, 0]);
                put_length(out, attributes.len());
                out.extend(attributes);
                out.extend(nlri);
            });
            (out, count)
        }
        (family, _) => {
            let mut value = family_octets(family);
            value.extend(next_hop_value(announcement.next_hop));
            value.push(0); // reserved
            value.extend(nlri);
            let mut all = Vec::new();
            put_attribute(&mut all, code::MP_REACH_NLRI, &value); // first: RFC 7606 §5.1
            all.extend(attributes);
            let out = message(MessageType::Update, |out| {
                out.extend([0, 0]);
                put_length(out, all.len());
                out.extend(all);
            });
            (out, count)
        }
    }
}

/// An UPDATE that withdraws as many of `prefixes` as fit, at least one, and how many it holds.
#[must_use]
pub fn withdraw(family: Family, prefixes: &[IpNet], encoding: Encoding) -> (Vec<u8>, usize) {
    let room = encoding.max_len() - HEADER_LEN - 4;
    match family {
        Family::Ipv4Unicast => {
            let (nlri, count) = fill(prefixes, room);
            let out = message(MessageType::Update, |out| {
                put_length(out, nlri.len());
                out.extend(nlri);
                out.extend([0, 0]);
            });
            (out, count)
        }
        Family::Ipv6Unicast => {
            let mut value = family_octets(family);
            let (nlri, count) = fill(prefixes, room - value.len() - 4);
            value.extend(nlri);
            (mp_unreach(&value), count)
        }
    }
}

/// The End-of-RIB marker of a family (RFC 4724 §2).
#[must_use]
pub fn end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4Unicast => message(MessageType::Update, |out| out.extend([0; 4])),
        Family::Ipv6Unicast => mp_unreach(&family_octets(family)),
    }
}

fn mp_unreach(value: &[u8]) -> Vec<u8> {
    let mut attribute = Vec::new();
    put_attribute(&mut attribute, code::MP_UNREACH_NLRI, value);
    message(MessageType::Update, |out| {
        out.extend([0, 0]);
        put_length(out, attribute.len());
        out.extend(attribute);
    })
}

/// All but the multiprotocol ones, in ascending order of type (RFC 4271 §5).
fn path_attributes(announcement: Announcement<'_>, encoding: Encoding) -> Vec<u8> {
    let Announcement { next_hop, as_path, attributes, family, .. } = announcement;
    let mut out = Vec::new();
    put_attribute(&mut out, code::ORIGIN, &[0]);
    let four_octet = encoding.four_octet_asn;
    put_attribute(&mut out, code::AS_PATH, &as_path_value(as_path, four_octet));
    if let (Family::Ipv4Unicast, IpAddr::V4(address)) = (family, next_hop.address) {
        put_attribute(&mut out, code::NEXT_HOP, &address.octets());
    }
    if let Some(med) = attributes.med {
        put_attribute(&mut out, code::MULTI_EXIT_DISC, &med.to_be_bytes());
    }
    if let Some(local_pref) = encoding.local_pref(attributes) {
        put_attribute(&mut out, code::LOCAL_PREF, &local_pref.to_be_bytes());
    }
    if !attributes.communities.is_empty() {
        let value: Vec<u8> =
            attributes.communities.iter().flat_map(|c| c.0.to_be_bytes()).collect();
        put_attribute(&mut out, code::COMMUNITIES, &value);
    }
    if !announcement.extended_communities.is_empty() {
        let all = announcement.extended_communities.iter();
        let value: Vec<u8> = all.flat_map(|c| c.0.to_be_bytes()).collect();
        put_attribute(&mut out, code::EXTENDED_COMMUNITIES, &value);
    }
    if !four_octet && as_path.iter().any(|asn| asn.0 > u32::from(u16::MAX)) {
        put_attribute(&mut out, code::AS4_PATH, &as_path_value(as_path, true)); // RFC 6793 §4.2.2
    }
    if !attributes.large_communities.is_empty() {
        let parts =
            attributes.large_communities.iter().flat_map(|c| [c.global, c.local1, c.local2]);
        let value: Vec<u8> = parts.flat_map(u32::to_be_bytes).collect();
        put_attribute(&mut out, code::LARGE_COMMUNITY, &value);
    }
    if let Some(asn) = encoding.only_to_customer {
        put_attribute(&mut out, code::ONLY_TO_CUSTOMER, &asn.0.to_be_bytes());
    }
    out
}

/// A next hop behind its length: one address, or a global and a link-local one (RFC 2545 §3).
fn next_hop_value(NextHop { address, link_local }: NextHop) -> Vec<u8> {
    match (address, link_local) {
        (IpAddr::V4(ip), _) => [[4].as_slice(), &ip.octets()].concat(),
        (IpAddr::V6(ip), None) => [[16].as_slice(), &ip.octets()].concat(),
        (IpAddr::V6(ip), Some(other)) => [[32].as_slice(), &ip.octets(), &other.octets()].concat(),
    }
}

/// As many prefixes as fit in `room` octets.
fn fill(prefixes: &[IpNet], room: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut count = 0;
    for prefix in prefixes {
        if out.len() + prefix_size(*prefix) > room {
            break;
        }
        put_prefix(&mut out, *prefix);
        count += 1;
    }
    (out, count)
}

fn family_octets(family: Family) -> Vec<u8> {
    let [high, low] = family.afi().to_be_bytes();
    vec![high, low, family.safi()]
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u16::try_from(length).expect("a message is at most 65535 octets");
    out.extend(length.to_be_bytes());
}
