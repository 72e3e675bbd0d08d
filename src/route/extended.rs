//! Extended communities (RFC 4360, RFC 5668): route targets and route origins, as they are written,
//! and Link Bandwidth (RFC 10005), which stands for a weight.
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::community::{NotACommunity, decimal};
use super::{Asn, Weight};

/// An extended community, "rt:65000:100": the eight octets of its type and value.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExtendedCommunity(pub u64);

/// High-order octets of the type, for what is transitive.
const TWO_OCTET_AS: u8 = 0x00; // RFC 4360 §3.1
const IPV4_ADDRESS: u8 = 0x01; // RFC 4360 §3.2
const FOUR_OCTET_AS: u8 = 0x02; // RFC 5668 §2
/// A bit of the high-order octet (RFC 4360 §2)
const NON_TRANSITIVE: u8 = 0x40;

/// The low-order octet of a Link Bandwidth (RFC 10005)
const LINK_BANDWIDTH: u8 = 0x04;
/// A megabit per second, so that routers show the weight as it is configured: "100.000 Mbps".
const OCTETS_PER_WEIGHT: f32 = 125_000.0;

/// What may be written in front, and the low-order octet of the type that it stands for.
const SUBTYPES: &[(&str, u8)] = &[
    ("rt", 0x02), // Route Target, RFC 4360 §4
    ("ro", 0x03), // Route Origin, RFC 4360 §5
];

impl ExtendedCommunity {
    fn new(kind: u8, subtype: u8, value: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = value;
        Self(u64::from_be_bytes([kind, subtype, a, b, c, d, e, f]))
    }

    /// The Link Bandwidth that stands for a weight (RFC 10005): octets per second as a
    /// floating-point number, behind the AS number of who says so. What is not transitive stays in
    /// our AS, so an external peer gets the other form (RFC 4360 §6).
    #[must_use]
    pub fn link_bandwidth(asn: Asn, weight: Weight, transitive: bool) -> Self {
        let kind = if transitive { TWO_OCTET_AS } else { TWO_OCTET_AS | NON_TRANSITIVE };
        let bandwidth = f32::from(weight.0) * OCTETS_PER_WEIGHT;
        Self::new(kind, LINK_BANDWIDTH, wide_local(asn.to_two_octets(), bandwidth.to_bits()))
    }

    /// Understands the parts behind "rt:" and the like. An AS number has two octets where it fits
    /// into them, as every router writes it.
    fn of_subtype(subtype: u8, text: &str) -> Result<Self, NotACommunity> {
        let (global, local) = text.split_once(':').ok_or(NotACommunity)?;
        if global.contains('.') {
            let address: Ipv4Addr = global.parse().map_err(|_| NotACommunity)?;
            let value = address.to_bits();
            return Ok(Self::new(IPV4_ADDRESS, subtype, wide_global(value, decimal(local)?)));
        }
        let asn: u32 = decimal(global)?;
        let Ok(short) = u16::try_from(asn) else {
            return Ok(Self::new(FOUR_OCTET_AS, subtype, wide_global(asn, decimal(local)?)));
        };
        Ok(Self::new(TWO_OCTET_AS, subtype, wide_local(short, decimal(local)?)))
    }
}

/// A Global Administrator of four octets, a Local Administrator of two.
fn wide_global(global: u32, local: u16) -> [u8; 6] {
    let ([a, b, c, d], [e, f]) = (global.to_be_bytes(), local.to_be_bytes());
    [a, b, c, d, e, f]
}

/// A Global Administrator of two octets, a Local Administrator of four.
fn wide_local(global: u16, local: u32) -> [u8; 6] {
    let ([a, b], [c, d, e, f]) = (global.to_be_bytes(), local.to_be_bytes());
    [a, b, c, d, e, f]
}

impl fmt::Display for ExtendedCommunity {
    /// As it is written; a Link Bandwidth with its octets per second; in hexadecimal where that would be read as something else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, subtype, octets @ ..] = self.0.to_be_bytes();
        let [a, b, c, d, e, g] = octets;
        let (wide, narrow) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g]));
        if kind & !NON_TRANSITIVE == TWO_OCTET_AS && subtype == LINK_BANDWIDTH {
            let bandwidth = f32::from_be_bytes([c, d, e, g]);
            return write!(f, "link-bandwidth:{}:{bandwidth}", u16::from_be_bytes([a, b]));
        }
        let name = SUBTYPES.iter().find(|(_, known)| *known == subtype).map(|(name, _)| name);
        match (name, kind) {
            (Some(name), TWO_OCTET_AS) => {
                let local = u32::from_be_bytes([c, d, e, g]);
                write!(f, "{name}:{}:{local}", u16::from_be_bytes([a, b]))
            }
            (Some(name), IPV4_ADDRESS) => write!(f, "{name}:{}:{narrow}", Ipv4Addr::from(wide)),
            (Some(name), FOUR_OCTET_AS) if wide > u32::from(u16::MAX) => {
                write!(f, "{name}:{wide}:{narrow}")
            }
            _ => write!(f, "{:#018x}", self.0),
        }
    }
}

impl FromStr for ExtendedCommunity {
    type Err = NotACommunity;

    fn from_str(text: &str) -> Result<Self, NotACommunity> {
        let (name, parts) = text.split_once(':').ok_or(NotACommunity)?;
        let known = SUBTYPES.iter().find(|(known, _)| *known == name);
        let (_, subtype) = known.ok_or(NotACommunity)?;
        Self::of_subtype(*subtype, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_as_the_rfcs_write_it_and_shown_as_it_is_written() {
        for (text, octets) in [
            ("rt:65000:100", 0x0002_fde8_0000_0064),
            ("ro:65000:4294967295", 0x0003_fde8_ffff_ffff),
            ("rt:0:0", 0x0002_0000_0000_0000),
            ("rt:4200000000:100", 0x0202_fa56_ea00_0064),
            ("ro:65536:65535", 0x0203_0001_0000_ffff),
            ("rt:10.0.0.1:100", 0x0102_0a00_0001_0064),
            ("ro:192.0.2.1:65535", 0x0103_c000_0201_ffff),
        ] {
            let parsed: ExtendedCommunity = text.parse().expect(text);
            assert_eq!(parsed, ExtendedCommunity(octets), "{text}: {:#018x}", parsed.0);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn a_weight_is_so_many_megabits_per_second_in_octets() {
        for (asn, weight, transitive, octets, shown) in [
            (64500, 100, true, 0x0004_fbf4_4b3e_bc20, "link-bandwidth:64500:12500000"),
            (64500, 100, false, 0x4004_fbf4_4b3e_bc20, "link-bandwidth:64500:12500000"),
            (64500, 1, true, 0x0004_fbf4_47f4_2400, "link-bandwidth:64500:125000"),
            // AS_TRANS, since there is no form for four octets
            (4_200_000_000, 10_000, true, 0x0004_5ba0_4e95_02f9, "link-bandwidth:23456:1250000000"),
        ] {
            let made = ExtendedCommunity::link_bandwidth(Asn(asn), Weight(weight), transitive);
            assert_eq!(made, ExtendedCommunity(octets), "{weight}: {:#018x}", made.0);
            assert_eq!(made.to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_written_is_shown_in_hexadecimal() {
        // A number of four octets that would fit into two, another subtype, one that is opaque.
        for octets in [0x0202_0000_0001_0064, 0x0005_fde8_0000_0000, 0x030c_0000_0000_0008] {
            let shown = ExtendedCommunity(octets).to_string();
            assert_eq!(shown, format!("{octets:#018x}"));
            assert_eq!(shown.parse::<ExtendedCommunity>(), Err(NotACommunity));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "rt",
            "rt:",
            "rt:1",
            "rt:1:",
            "rt::1",
            "rt:1:2:3",
            "rt:65000:4294967296",
            "rt:4200000000:65536",
            "rt:4294967296:1",
            "rt:10.0.0.1:65536",
            "rt:10.0.0:1",
            "rt:2001:db8::1:1",
            "rt:+1:1",
            "soo:65000:1",
            "RT:65000:1",
            "65000:1",
        ] {
            assert_eq!(text.parse::<ExtendedCommunity>(), Err(NotACommunity), "{text}");
        }
    }
}
