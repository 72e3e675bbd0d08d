//! The neighbours of this host, and which of them is the router on a link: what the kernel learned from
//! router advertisements and from whoever spoke (RFC 4861, RFC 826).
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Event, Neighbour};

/// Why the router on a link is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoRouter {
    /// Nobody has spoken there
    #[error(
        "no router has been seen on {0} yet: it must send router advertisements there, or be named \
         by `address`"
    )]
    NoneSeen(String),
    /// More than one may be meant
    #[error(
        "several routers are on {0}: {first} and {second} (hosts with vipcast or FRR count as such); \
         `address` says which is meant",
        first = .1[0],
        second = .1[1]
    )]
    Several(String, [Ipv6Addr; 2]),
}

/// The mirror of the kernel's neighbour tables.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// The kernel has said who is there
    known: bool,
    present: BTreeMap<(u32, IpAddr), Neighbour>,
    /// Who was found on each interface: it stays the one until another takes its place
    found: BTreeMap<u32, Found>,
    changed: bool,
}

/// Who was held to be the router on a link.
#[derive(Clone, Copy, Debug)]
struct Found {
    address: Ipv6Addr,
    /// It said that it is one
    router: bool,
}

impl Neighbours {
    /// Takes in what the driver reports.
    pub fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Neighbours(all) => {
                self.known = true;
                self.present = all.iter().map(|one| ((one.index, one.address), *one)).collect();
            }
            Event::Neighbour(one) => {
                // The kernel reports far more than that, above all of those that are of no interest.
                if self.present.insert((one.index, one.address), *one) == Some(*one) {
                    return;
                }
            }
            Event::NeighbourGone(one) => drop(self.present.remove(&(one.index, one.address))),
            Event::LinkGone(gone) => {
                self.present.retain(|(index, _), _| index != gone);
                self.found.remove(gone);
            }
            Event::Dump(..)
            | Event::Link(_)
            | Event::Address(_)
            | Event::AddressGone(_)
            | Event::Done(..)
            | Event::AlreadyThere(..)
            | Event::Route(_)
            | Event::Broken(_) => return,
        }
        self.changed = true;
    }

    /// Whether the kernel has said who is there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether [`Self::router`] may have another answer.
    pub fn poll_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The router on an interface: whoever says to be one; where nobody does, and nobody did before,
    /// whoever is there at all. One that falls silent stays the one until there is another.
    ///
    /// # Errors
    ///
    /// When there is none, or several.
    pub fn router(&mut self, index: u32, interface: &str) -> Result<Ipv6Addr, NoRouter> {
        let before = self.found.get(&index).copied();
        let there = self.there(index).filter_map(|one| match one.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                Some(Found { address, router: one.router })
            }
            IpAddr::V6(_) | IpAddr::V4(_) => None,
        });
        let (routers, others): (Vec<Found>, Vec<Found>) = there.partition(|one| one.router);
        let candidates = match before {
            _ if !routers.is_empty() => routers,
            Some(Found { router: true, .. }) => Vec::new(),
            Some(_) | None => others,
        };
        let is_before = |one: &Found| before.is_some_and(|before| before.address == one.address);
        let several = |one: Found, other: Found| {
            NoRouter::Several(interface.into(), [one.address, other.address])
        };
        let found = match candidates[..] {
            [] => before.ok_or_else(|| NoRouter::NoneSeen(interface.into()))?,
            [one] => one,
            [one, other, ..] => {
                let same = candidates.into_iter().find(is_before);
                same.ok_or_else(|| several(one, other))?
            }
        };
        self.found.insert(index, found);
        Ok(found.address)
    }

    /// The hardware address of somebody on a link.
    #[must_use]
    pub fn hardware(&self, index: u32, address: IpAddr) -> Option<[u8; 6]> {
        self.present.get(&(index, address)).filter(|one| one.there)?.hardware
    }

    fn there(&self, index: u32) -> impl Iterator<Item = &Neighbour> {
        let first = (index, IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let last = (index, IpAddr::from(Ipv6Addr::from(u128::MAX)));
        self.present.range(first..=last).map(|(_, one)| one).filter(|one| one.there)
    }
}
