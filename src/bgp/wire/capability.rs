//! The capabilities of an OPEN (RFC 5492), reduced to those that change what this speaker does.
//! All others are read past: what is not understood cannot be got wrong.
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
    /// Four-octet AS number (code 65, RFC 6793)
    pub four_octet_asn: Option<Asn>,
}

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const FOUR_OCTET_ASN: u8 = 65;

impl Capabilities {
    /// An offer of all families that this speaker announces, and of nothing else.
    #[must_use]
    pub fn of_all_families() -> Self {
        let multiprotocol = Family::ALL.map(|family| (family.afi(), family.safi())).to_vec();
        Self { multiprotocol, ..Self::default() }
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
    /// comes twice counts as it came last.
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
                FOUR_OCTET_ASN => self.four_octet_asn = Some(Asn(value.u32()?)),
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
            out.extend([MULTIPROTOCOL, 4, high, low, 0, *safi]);
        }
        if self.route_refresh {
            out.extend([ROUTE_REFRESH, 0]);
        }
        if let Some(asn) = self.four_octet_asn {
            out.extend([FOUR_OCTET_ASN, 4]);
            out.extend(asn.0.to_be_bytes());
        }
        out
    }
}
