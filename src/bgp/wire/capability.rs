//! The capabilities of an OPEN (RFC 5492), reduced to those that change what this speaker does.
//! All others are read past: what is not understood cannot be got wrong.
use std::collections::{BTreeMap, BTreeSet};

use super::cursor::Cursor;
use crate::route::{Asn, Family};

/// What one side offers in its OPEN.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// Multiprotocol Extensions (code 1, RFC 4760 §8): (AFI, SAFI) pairs, also such as this
    /// speaker does not know
    pub multiprotocol: Vec<(u16, u8)>,
    /// Route Refresh (code 2, RFC 2918)
    pub route_refresh: bool,
    /// Extended Next Hop Encoding (code 5, RFC 8950): takes IPv4 unicast with an IPv6 next hop
    pub extended_next_hop: bool,
    /// BGP Extended Message (code 6, RFC 8654): takes messages of up to 65535 octets
    pub extended_message: bool,
    /// BGP Role (code 9, RFC 9234 §4.1): its number; more than one is a contradiction
    pub roles: BTreeSet<u8>,
    /// Graceful Restart (code 64, RFC 4724)
    pub graceful_restart: Option<GracefulRestart>,
    /// Four-octet AS number (code 65, RFC 6793)
    pub four_octet_asn: Option<Asn>,
    /// Enhanced Route Refresh (code 70, RFC 7313)
    pub enhanced_route_refresh: bool,
    /// Long-Lived Graceful Restart (code 71, RFC 9494 §3): seconds for which stale routes are kept
    /// beyond the restart time, and whether forwarding state was preserved
    pub long_lived: BTreeMap<Family, (bool, u32)>,
    /// FQDN (code 73, draft-walton-bgp-hostname-capability): a host name, for people
    pub host_name: Option<String>,
    /// BFD Strict-Mode (code 74, draft-ietf-idr-bgp-bfd-strict-mode-19 §5): no session before BFD
    /// is up
    pub bfd_strict: bool,
}

/// What one side says about its restarts (RFC 4724 §3).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GracefulRestart {
    /// Restart State (R): it has restarted, and does not wait for our End-of-RIB in vain
    pub restarted: bool,
    /// Graceful Notification (N, RFC 8538 §2): NOTIFICATIONs too keep its routes, except for a
    /// hard reset
    pub notification: bool,
    /// Restart Time in seconds, at most 4095: until the session is back
    pub time: u16,
    /// Families whose routes are to be kept, and whether forwarding went on meanwhile (F)
    pub families: BTreeMap<Family, bool>,
}

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const ROLE: u8 = 9;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_ASN: u8 = 65;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const LONG_LIVED: u8 = 71;
const FQDN: u8 = 73;
const BFD_STRICT: u8 = 74;

/// Of the first octet of Graceful Restart; the four low bits belong to the time.
const RESTART_STATE: u8 = 0x80;
const GRACEFUL_NOTIFICATION: u8 = 0x40;
/// Of a family in Graceful Restart or its long-lived kind.
const FORWARDING_STATE: u8 = 0x80;
/// The longest label of a DNS name; longer host names are cut.
const LONGEST_NAME: usize = 63;

impl Capabilities {
    /// An offer of these families, and of nothing else.
    #[must_use]
    pub fn of_families(families: &[Family]) -> Self {
        let numbers = families.iter().map(|family| (family.afi(), family.safi()));
        Self { multiprotocol: numbers.collect(), ..Self::default() }
    }

    /// The families on offer. Without any Multiprotocol capability it is IPv4 unicast (RFC 4760
    /// §8 adds to what RFC 4271 carries by itself).
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        Family::ALL.into_iter().filter(|family| {
            if self.multiprotocol.is_empty() {
                *family == Family::Ipv4Unicast
            } else {
                self.multiprotocol.contains(&(family.afi(), family.safi()))
            }
        })
    }

    /// Takes in the value of one Capabilities optional parameter (RFC 5492 §4). A capability that
    /// comes twice counts as it came last, where it is not a list.
    ///
    /// `None`: a length does not fit.
    pub(super) fn decode(&mut self, parameter: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(parameter);
        while !cursor.is_empty() {
            let code = cursor.u8()?;
            let mut value = Cursor::new(cursor.counted_u8()?);
            match code {
                MULTIPROTOCOL => {
                    let (afi, _reserved, safi) = (value.u16()?, value.u8()?, value.u8()?);
                    if !self.multiprotocol.contains(&(afi, safi)) {
                        self.multiprotocol.push((afi, safi));
                    }
                }
                ROUTE_REFRESH => self.route_refresh = true,
                EXTENDED_NEXT_HOP => {
                    while !value.is_empty() {
                        let (afi, safi, next_hop) = (value.u16()?, value.u16()?, value.u16()?);
                        self.extended_next_hop |= (afi, safi, next_hop) == (1, 1, 2);
                    }
                }
                EXTENDED_MESSAGE => self.extended_message = true,
                ROLE => self.roles.extend([value.u8()?]),
                GRACEFUL_RESTART => self.graceful_restart = Some(decode_restart(&mut value)?),
                FOUR_OCTET_ASN => self.four_octet_asn = Some(Asn(value.u32()?)),
                ENHANCED_ROUTE_REFRESH => self.enhanced_route_refresh = true,
                LONG_LIVED => self.long_lived = decode_long_lived(&mut value)?,
                FQDN => {
                    self.host_name = decode_host_name(value);
                    continue;
                }
                BFD_STRICT => {
                    self.bfd_strict = true;
                    continue; // later drafts may give it a value
                }
                _ => continue,
            }
            if !value.is_empty() {
                return None;
            }
        }
        Some(())
    }

    /// The value of one Capabilities optional parameter.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (afi, safi) in &self.multiprotocol {
            let [high, low] = afi.to_be_bytes();
            put(&mut out, MULTIPROTOCOL, &[high, low, 0, *safi]);
        }
        let flags = [
            (ROUTE_REFRESH, self.route_refresh, &[][..]),
            (EXTENDED_NEXT_HOP, self.extended_next_hop, &[0, 1, 0, 1, 0, 2]),
            (EXTENDED_MESSAGE, self.extended_message, &[]),
            (ENHANCED_ROUTE_REFRESH, self.enhanced_route_refresh, &[]),
            (BFD_STRICT, self.bfd_strict, &[]),
        ];
        for (code, _, value) in flags.iter().filter(|(_, offered, _)| *offered) {
            put(&mut out, *code, value);
        }
        for role in &self.roles {
            put(&mut out, ROLE, &[*role]);
        }
        if let Some(restart) = &self.graceful_restart {
            put(&mut out, GRACEFUL_RESTART, &encode_restart(restart));
        }
        if let Some(asn) = self.four_octet_asn {
            put(&mut out, FOUR_OCTET_ASN, &asn.0.to_be_bytes());
        }
        if !self.long_lived.is_empty() {
            let one = |(family, (preserved, time)): (&Family, &(bool, u32))| {
                let [_, high, middle, low] = time.to_be_bytes();
                let [a, b, c, d] = encode_family(*family, *preserved);
                [a, b, c, d, high, middle, low]
            };
            put(&mut out, LONG_LIVED, &self.long_lived.iter().flat_map(one).collect::<Vec<_>>());
        }
        if let Some(name) = &self.host_name {
            let name = name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or_default();
            let length = u8::try_from(name.len()).unwrap_or_default();
            // No domain: what follows the first dot of a name is part of it here.
            put(&mut out, FQDN, &[&[length], name.as_bytes(), &[0]].concat());
        }
        out
    }
}

fn put(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).expect("our capabilities are short");
    out.extend([code, length]);
    out.extend(value);
}

/// RFC 4724 §3
///
/// ```text
/// flags 4 bits, restart time 12 bits | AFI 2 | SAFI 1 | flags 1 | AFI 2 …
/// ```
fn decode_restart(value: &mut Cursor<'_>) -> Option<GracefulRestart> {
    let [first, low] = value.array()?;
    let mut families = BTreeMap::new();
    while !value.is_empty() {
        families.extend(decode_family(value)?);
    }
    Some(GracefulRestart {
        restarted: first & RESTART_STATE != 0,
        notification: first & GRACEFUL_NOTIFICATION != 0,
        time: u16::from_be_bytes([first & 0x0f, low]),
        families,
    })
}

fn encode_restart(restart: &GracefulRestart) -> Vec<u8> {
    let [high, low] = restart.time.min(0x0fff).to_be_bytes();
    let restarted = if restart.restarted { RESTART_STATE } else { 0 };
    let notification = if restart.notification { GRACEFUL_NOTIFICATION } else { 0 };
    let mut out = vec![restarted | notification | high, low];
    out.extend(restart.families.iter().flat_map(|(family, f)| encode_family(*family, *f)));
    out
}

/// The families of RFC 9494 §3, each followed by a time of three octets.
fn decode_long_lived(value: &mut Cursor<'_>) -> Option<BTreeMap<Family, (bool, u32)>> {
    let mut families = BTreeMap::new();
    while !value.is_empty() {
        let family = decode_family(value)?;
        let [high, middle, low] = value.array()?;
        let time = u32::from_be_bytes([0, high, middle, low]);
        families.extend(family.map(|(family, preserved)| (family, (preserved, time))));
    }
    Some(families)
}

/// A family and its F bit; `Some(None)` for a family that is not ours.
fn decode_family(value: &mut Cursor<'_>) -> Option<Option<(Family, bool)>> {
    let (afi, safi, flags) = (value.u16()?, value.u8()?, value.u8()?);
    let family = Family::from_afi_safi(afi, safi);
    Some(family.map(|family| (family, flags & FORWARDING_STATE != 0)))
}

fn encode_family(family: Family, preserved: bool) -> [u8; 4] {
    let [high, low] = family.afi().to_be_bytes();
    [high, low, family.safi(), if preserved { FORWARDING_STATE } else { 0 }]
}

/// It serves people only: what is wrong with it, or would not just print, is left out.
fn decode_host_name(mut value: Cursor<'_>) -> Option<String> {
    let name = std::str::from_utf8(value.counted_u8()?).ok()?;
    let prints = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!name.is_empty() && name.chars().all(prints)).then(|| name.to_owned())
}
