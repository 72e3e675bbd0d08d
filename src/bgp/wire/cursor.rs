//! Reads octets front to back; every read says whether there was enough.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::route::Family;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A field that is preceded by its length in one octet.
    pub(super) fn counted_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A field that is preceded by its length in two octets.
    pub(super) fn counted_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// One prefix (RFC 4271 §4.3, RFC 4760 §5): its length in bits, then as many octets as that
    /// needs. Bits behind the length have no meaning and are cleared.
    pub(super) fn prefix(&mut self, family: Family) -> Option<IpNet> {
        let length = self.u8().filter(|length| *length <= family.max_prefix_len())?;
        let octets = self.take(usize::from(length).div_ceil(8))?;
        let mut address = [0; 16];
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        let address = match family {
            Family::Ipv4Unicast => {
                let [a, b, c, d, ..] = address;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::from(address)),
        };
        IpNet::new(address, length).ok().map(|prefix| prefix.trunc())
    }
}

/// Writes one prefix as [`Cursor::prefix`] reads it.
pub(super) fn put_prefix(out: &mut Vec<u8>, prefix: IpNet) {
    let length = prefix.prefix_len();
    out.push(length);
    let octets = usize::from(length).div_ceil(8);
    match prefix.addr() {
        IpAddr::V4(address) => out.extend(address.octets().iter().take(octets)),
        IpAddr::V6(address) => out.extend(address.octets().iter().take(octets)),
    }
}

/// How many octets a prefix takes in a message.
#[must_use]
pub fn prefix_size(prefix: IpNet) -> usize {
    1 + usize::from(prefix.prefix_len()).div_ceil(8)
}
