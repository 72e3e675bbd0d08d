//! The link-local neighbours of this host, and which of them is the router on a link: what the kernel
//! learned from router advertisements and from whoever spoke (RFC 4861).
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

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
    #[error("several routers are on {0}: {first} and {second}; `address` says which is meant", first = .1[0], second = .1[1])]
    Several(String, [Ipv6Addr; 2]),
}

/// The mirror of the kernel's neighbour tables.
#[derive(Debug, Default)]
pub struct Neighbours {
    present: BTreeMap<(u32, Ipv6Addr), Neighbour>,
    /// The router that was found on each interface: it stays the one until another takes its place
    found: BTreeMap<u32, Ipv6Addr>,
    changed: bool,
}

impl Neighbours {
    /// Takes in what the driver reports.
    pub fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Neighbours(all) => {
                self.present = all.iter().map(|one| ((one.index, one.address), *one)).collect();
            }
            Event::Neighbour(one) => drop(self.present.insert((one.index, one.address), *one)),
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

    /// Whether [`Self::router`] may have another answer.
    pub fn poll_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The router on an interface: whoever says to be one; where nobody does, whoever is there at
    /// all. One that falls silent stays the one until there is another.
    ///
    /// # Errors
    ///
    /// When there is none, or several.
    pub fn router(&mut self, index: u32, interface: &str) -> Result<Ipv6Addr, NoRouter> {
        let here =
            self.present.range((index, Ipv6Addr::UNSPECIFIED)..=(index, Ipv6Addr::from(u128::MAX)));
        let there: Vec<&Neighbour> =
            here.map(|(_, neighbour)| neighbour).filter(|neighbour| neighbour.there).collect();
        let routers: Vec<Ipv6Addr> =
            there.iter().filter(|one| one.router).map(|one| one.address).collect();
        let candidates = match routers[..] {
            [] => there.iter().map(|one| one.address).collect(),
            _ => routers,
        };
        let before = self.found.get(&index).copied();
        let router = match candidates[..] {
            [] => before.ok_or_else(|| NoRouter::NoneSeen(interface.into()))?,
            [one] => one,
            [first, second, ..] => before
                .filter(|before| candidates.contains(before))
                .ok_or_else(|| NoRouter::Several(interface.into(), [first, second]))?,
        };
        self.found.insert(index, router);
        Ok(router)
    }
}
