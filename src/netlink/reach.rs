//! Through which interface a router is reached, and what is connected to this host: what the
//! mirror of links and addresses says about routes and sessions.
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Address, Addresses, Link, NextHop};
use crate::route::{Ends, ScopedAddress};

/// Why packets cannot be given to a next hop.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreachable {
    /// No host has such an address
    #[error("next hop {0} is no address of a router")]
    NotUnicast(IpAddr),
    /// Some routers name this for IPv6 routes on a session over IPv4; Linux has no such routes
    #[error(
        "next hop {0} is an IPv4 address, by which IPv6 is not routed: let the router name its \
         IPv6 address, or peer with it over IPv6"
    )]
    Mapped(IpAddr),
    /// It would lead back to us
    #[error("next hop {0} is this host's own address")]
    Ours(IpAddr),
    /// RFC 4271 §5.1.3: an external peer on the same link names a next hop there
    #[error("next hop {0} is not on a link of this host")]
    NotOnLink(IpAddr),
    /// Its link is there, but not up
    #[error("next hop {0} is on interface {1}, which is down")]
    Down(IpAddr, String),
}

impl Addresses {
    /// Whether the kernel has said what there is: before that nothing can be reached.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The number of an interface on which packets can be sent to link-local addresses.
    ///
    /// # Errors
    ///
    /// Why they cannot, in words.
    pub fn usable_link(&self, name: &str) -> Result<u32, String> {
        if !self.known {
            let why = self.broken.as_deref().unwrap_or("not read from the kernel yet");
            return Err(format!("interface {name} is not known: {why}"));
        }
        let link = self.links.values().find(|link| link.name == name);
        let link = link.ok_or_else(|| format!("interface {name} does not exist"))?;
        if !link.up {
            return Err(format!("interface {name} is down"));
        }
        if !link.carrier {
            return Err(format!("interface {name} has no carrier"));
        }
        let ours = self.present.values().filter(|address| address.index == link.index);
        let mut ours = ours.filter(|address| match address.prefix.addr() {
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        });
        let first = ours.next().ok_or_else(|| {
            format!("interface {name} has no link-local address (IPv6 may be disabled there)")
        })?;
        if first.tentative && ours.all(|address| address.tentative) {
            return Err(format!(
                "the link-local address of interface {name} is being checked for duplicates, or is \
                 one (RFC 4862)"
            ));
        }
        Ok(link.index)
    }

    /// Whether an address is on this host, and can be used.
    #[must_use]
    pub fn is_usable(&self, address: IpAddr) -> bool {
        let mut holders = self.present.values().filter(|one| one.prefix.addr() == address);
        holders.any(|one| !one.tentative)
    }

    /// Whether the kernel cannot be asked.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// An address of ours as it is on the host; it may be there more than once.
    fn holders(&self, local: ScopedAddress) -> impl Iterator<Item = &Address> {
        self.present.values().filter(move |address| {
            address.prefix.addr() == local.ip && (local.zone == 0 || address.index == local.zone)
        })
    }

    /// The first of those.
    #[must_use]
    pub fn holder(&self, local: ScopedAddress) -> Option<&Address> {
        self.holders(local).next()
    }

    /// Why nothing reaches our end of a session from the other, if that is so.
    #[must_use]
    pub fn cut_off(&self, ends: Ends) -> Option<String> {
        if !self.known {
            return None;
        }
        let Ends { local, remote } = ends;
        let trouble = |index, direct: bool| {
            let link = self.links.get(&index)?;
            if !link.up {
                Some(format!("interface {} is down", link.name))
            } else if direct && !link.carrier {
                Some(format!("interface {} has no carrier", link.name))
            } else {
                None
            }
        };
        // With a link that is down its IPv6 addresses go too.
        if let Some(text) = trouble(local.zone, true) {
            return Some(text);
        }
        let mut why = None;
        for holder in self.holders(local) {
            // A peer further away may come by another link.
            let direct = remote.zone != 0 || holder.prefix.contains(&remote.ip);
            why = Some(trouble(holder.index, direct)?);
        }
        why.or_else(|| Some(format!("our address {} is gone from this host", local.ip)))
    }

    /// The way to a next hop, which was named by the peer of a session.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn reach(&self, next_hop: IpAddr, ends: Ends) -> Result<NextHop, Unreachable> {
        let is_broadcast = matches!(next_hop, IpAddr::V4(address) if address.is_broadcast());
        if next_hop.is_unspecified()
            || next_hop.is_multicast()
            || next_hop.is_loopback()
            || is_broadcast
        {
            return Err(Unreachable::NotUnicast(next_hop));
        }
        if matches!(next_hop, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err(Unreachable::Mapped(next_hop));
        }
        let is_link_local = matches!(next_hop, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let towards_peer = || self.holder(ends.local);
        let index = if is_link_local {
            towards_peer().map(|address| address.index)
        } else {
            // A peer that we speak with over one hop is on a link, whatever our prefix there is.
            let of_peer = || towards_peer().filter(|_| next_hop == ends.remote.ip);
            self.connected_to(next_hop, ends.local).or_else(of_peer).map(|address| address.index)
        };
        // Another link may have the same link-local address.
        let is_ours = |address: &Address| {
            address.prefix.addr() == next_hop && (!is_link_local || Some(address.index) == index)
        };
        if self.present.values().any(is_ours) {
            return Err(Unreachable::Ours(next_hop));
        }
        let link = index.and_then(|index| self.links.get(&index));
        let link = link.ok_or(Unreachable::NotOnLink(next_hop))?;
        if !link.up {
            return Err(Unreachable::Down(next_hop, link.name.clone()));
        }
        Ok(NextHop { address: next_hop, index: link.index })
    }

    /// The links that somebody may be on, and our addresses there: the nearest first, by their prefixes.
    #[must_use]
    pub fn links_towards(&self, neighbour: IpAddr) -> Vec<(&Link, IpAddr)> {
        let mut near: Vec<&Address> = self.present.values().collect();
        near.retain(|ours| ours.prefix.contains(&neighbour) && !ours.tentative);
        near.sort_by_key(|ours| std::cmp::Reverse(ours.prefix.prefix_len()));
        let near = near.into_iter().filter_map(|ours| {
            let link = self.links.get(&ours.index).filter(|link| link.up && link.carrier)?;
            Some((link, ours.prefix.addr()))
        });
        near.filter(|(_, ours)| *ours != neighbour).collect()
    }

    /// The connected prefix of this host that a prefix is, or is a part of; the longest.
    #[must_use]
    pub fn connected(&self, prefix: IpNet) -> Option<IpNet> {
        let connected = self.present.values().map(|address| address.prefix.trunc());
        connected.filter(|ours| ours.contains(&prefix)).max_by_key(IpNet::prefix_len)
    }

    /// The address whose prefix an address is in: the longest, and on the interface of `local` if
    /// that is one of them.
    fn connected_to(&self, address: IpAddr, local: ScopedAddress) -> Option<&Address> {
        let here = self.present.values().filter(|here| here.prefix.contains(&address));
        let index = self.holder(local).map(|here| here.index);
        here.max_by_key(|here| (here.prefix.prefix_len(), Some(here.index) == index))
    }
}
