//! What the host's links, addresses and neighbours mean for its peers: where a peer is that is known
//! by its interface, and whether anything still reaches our end of a session.
use std::collections::BTreeMap;
use std::time::Instant;

use super::peers::BfdLook;
use super::{Output, Speaker};
use crate::bfd::driver::Command as BfdCommand;
use crate::bfd::echo::Path as EchoPath;
use crate::bfd::sessions::{Config as BfdConfig, Generation as BfdGeneration};
use crate::bgp::peer::BfdVerdict;
use crate::bgp::transport::{NoPath, Remote, Transport};
use crate::config::Peer as Config;
use crate::netlink::{Addresses, Neighbours, Request};
use crate::route::{PeerName, ScopedAddress};

/// Where to connect to, or why that is not known.
pub(super) fn path(
    transport: &Transport,
    addresses: &Addresses,
    neighbours: &mut Neighbours,
) -> Result<ScopedAddress, NoPath> {
    let (interface, known) = match &transport.remote {
        Remote::Address(address) => return Ok((*address).into()),
        Remote::LinkLocal(address, interface) => (interface, Some(*address)),
        Remote::Router(interface) => (interface, None),
    };
    if !addresses.is_known() && !addresses.is_broken() {
        return Err(NoPath::Unread);
    }
    let zone = addresses.usable_link(interface).map_err(NoPath::Because)?;
    let address = match known {
        Some(address) => address,
        None if !neighbours.is_known() => return Err(NoPath::Unread),
        None => {
            let router = neighbours.router(zone, interface);
            router.map_err(|error| NoPath::Because(error.to_string()))?
        }
    };
    Ok(ScopedAddress { ip: address.into(), zone })
}

/// Whether who is on the links is of interest for this peer: it is known by its interface alone, or is
/// to be given Echo packets.
pub(super) fn needs_neighbours(config: &Config) -> bool {
    matches!(config.bgp.transport.remote, Remote::Router(_)) || has_echo(config)
}

fn has_echo(config: &Config) -> bool {
    config.bfd.as_ref().is_some_and(|bfd| bfd.session.echo.is_some())
}

impl Speaker {
    /// The host's links, addresses or neighbours changed.
    pub(super) fn update_paths(&mut self, now: Instant) {
        for name in self.config.peers.keys().cloned().collect::<Vec<_>>() {
            self.update_cut_off(&name, now);
            let Some(config) = self.config.peers.get(&name) else { continue };
            let path = path(&config.bgp.transport, &self.addresses, &mut self.neighbours);
            let Some(entry) = self.peers.get_mut(&name) else { continue };
            entry.peer.set_path(path, now);
            let source = config.bgp.transport.source_address;
            let has_source = source.is_some_and(|source| self.addresses.is_usable(source));
            let had_source = std::mem::replace(&mut entry.has_source, has_source);
            if has_source && !had_source {
                entry.peer.hurry(now);
            }
            self.update_echo_path(&name);
        }
        self.advertise();
    }

    /// Says on the links of peers that are known by them that we are there.
    fn advertise(&mut self) {
        let remotes = self.config.peers.values().map(|config| &config.bgp.transport.remote);
        let links = remotes.filter_map(Remote::interface);
        let usable =
            links.filter_map(|link| Some((self.addresses.usable_link(link).ok()?, link.into())));
        let usable: BTreeMap<u32, String> = usable.collect();
        if self.advertised != usable {
            self.advertised.clone_from(&usable);
            self.outputs.push_back(Output::Advertise(usable));
        }
    }

    /// Whether anything still reaches our end of a peer's connections.
    pub(super) fn update_cut_off(&mut self, name: &PeerName, now: Instant) {
        if let Some(entry) = self.peers.get_mut(name) {
            entry.peer.update_cut_off(|ends| self.addresses.cut_off(ends), now);
        }
    }

    /// Whose address this is. On a link it is that of the router which was found there, and of nobody
    /// else who is on it.
    pub(super) fn peer_at(&self, remote: ScopedAddress) -> Option<PeerName> {
        let mut peers = self.peers.iter();
        let (name, _) = peers.find(|(_, entry)| entry.peer.path() == Ok(remote))?;
        Some(name.clone())
    }

    /// Asks for the neighbours, if they are of use and were not before.
    pub(super) fn watch_neighbours(&mut self, before: bool) {
        let watch = self.config.peers.values().any(needs_neighbours);
        if watch != before {
            self.outputs.push_back(Output::Netlink(Request::WatchNeighbours(watch)));
        }
    }

    /// Starts BFD with a peer, or changes its timers; as soon as it is known where the peer is.
    pub(super) fn set_bfd(&mut self, name: &PeerName, now: Instant) {
        let Some(config) = self.config.peers.get(name) else { return };
        let Some(entry) = self.peers.get_mut(name) else { return };
        let remote = entry.peer.address().ok().or(entry.bfd.remote);
        let (Some(bfd), Some(remote)) = (config.bfd.clone(), remote) else { return };
        if entry.bfd.remote.is_some_and(|before| before != remote) {
            entry.bfd = BfdLook::new(now);
            entry.peer.handle_bfd(&BfdVerdict::Awaited, now);
        }
        entry.bfd.remote = Some(remote);
        let generation = *entry.bfd.generation.get_or_insert_with(|| {
            self.next_generation += 1;
            BfdGeneration(self.next_generation)
        });
        let source = config.bgp.transport.source_address;
        let config = BfdConfig {
            generation,
            remote,
            source,
            hops: bfd.hops,
            minimum_ttl: bfd.minimum_ttl,
            session: bfd.session,
            authentication: bfd.authentication,
        };
        self.outputs.push_back(Output::Bfd(BfdCommand::Set(name.clone(), config)));
        if let Some(entry) = self.peers.get_mut(name) {
            entry.bfd.echo_path = None;
        }
        self.update_echo_path(name);
    }

    /// Tells BFD where the Echo packets for a peer go, once that is known, and when it changes. A
    /// router that is gone is not forgotten: that nothing comes back from there is what counts.
    fn update_echo_path(&mut self, name: &PeerName) {
        let config = self.config.peers.get(name).filter(|config| has_echo(config));
        let Some(config) = config else { return };
        let Some(entry) = self.peers.get_mut(name) else { return };
        let Some(remote) = entry.bfd.remote else { return };
        let mut known = self.addresses.links_towards(remote.ip);
        known.retain(|(link, _)| self.neighbours.hardware(link.index, remote.ip).is_some());
        let source = config.bgp.transport.source_address;
        let of_session = known.iter().find(|(_, ours)| Some(*ours) == source);
        let Some((link, local)) = of_session.or(known.first()).copied() else { return };
        let Some(router) = self.neighbours.hardware(link.index, remote.ip) else { return };
        let forwards = if local.is_ipv4() { link.forwards.ipv4 } else { link.forwards.ipv6 };
        let path = EchoPath { interface: link.index, router, local, forwards };
        if entry.bfd.echo_path.replace(path) != Some(path) {
            self.outputs.push_back(Output::Bfd(BfdCommand::EchoPath(name.clone(), path)));
        }
    }

    /// Where another router has taken the place of the one before, BFD is with that from now on.
    pub(super) fn follow_with_bfd(&mut self, now: Instant) {
        let moved = self.peers.iter().filter(|(name, entry)| {
            let has_moved = |address| entry.bfd.remote != Some(address);
            entry.peer.address().is_ok_and(has_moved)
                && self.config.peers.get(*name).is_some_and(|config| config.bfd.is_some())
        });
        for name in moved.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.set_bfd(&name, now);
        }
    }
}
