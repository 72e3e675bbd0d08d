//! The sockets that packets of all sessions come in by: the ports that they need, and for Echo packets
//! the links.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::echo;
use super::echo::socket::Link;
use super::sessions::{Config, Datagram, Hops, Sessions};
use super::socket::{Received, Receiver};
use crate::sys;

/// So many datagrams are read from a socket before it is looked whether a packet is due: what floods
/// it must not keep us from sending.
const BATCH: usize = 256;

/// A port, and whether for IPv4.
pub(super) type Place = (Hops, bool);

/// Where the Control packets of a session come to; nowhere, if there are none.
pub(super) fn place(config: &Config) -> Option<Place> {
    let is_expected = !config.session.is_unaffiliated();
    is_expected.then_some((config.hops, config.remote.ip.is_ipv4()))
}

/// All sockets that are read from.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    ports: BTreeMap<Place, Receiver>,
    /// By whether IPv4
    links: BTreeMap<bool, Link>,
    /// For what routers send to us ourselves to be sent back, as FRR does over IPv6
    echo_port: Option<Receiver>,
}

impl Receivers {
    /// The most there can be.
    pub(super) const MOST: usize = 4 + 2 + 1;

    /// Whether the Control packets of a session are heard, as far as any are expected.
    pub(super) fn hear(&self, config: &Config) -> bool {
        place(config).is_none_or(|place| self.ports.contains_key(&place))
    }

    /// Opens the port for a session's Control packets.
    pub(super) fn open(&mut self, config: &Config) -> io::Result<()> {
        if let Some(place) = place(config).filter(|place| !self.ports.contains_key(place)) {
            let receiver = Receiver::bind(config.hops.port(), config.remote.ip)?;
            self.ports.insert(place, receiver);
        }
        Ok(())
    }

    /// Opens what Echo packets of a family need.
    ///
    /// # Errors
    ///
    /// Why that cannot be, in words.
    pub(super) fn open_echo(&mut self, is_ipv4: bool) -> Result<(), String> {
        if !is_ipv4 && self.echo_port.is_none() {
            let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
            let receiver = Receiver::bind(echo::PORT, any);
            let receiver = receiver.map_err(|error| cannot_receive(echo::PORT, &error))?;
            self.echo_port = Some(receiver);
        }
        if let Entry::Vacant(entry) = self.links.entry(is_ipv4) {
            let link = Link::open(is_ipv4).map_err(|error| {
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                let hint = if is_denied { " (CAP_NET_RAW is needed)" } else { "" };
                format!("cannot open a packet socket: {}{hint}", sys::describe(&error))
            })?;
            entry.insert(link);
        }
        Ok(())
    }

    /// What Echo packets of a family are sent with.
    pub(super) fn link(&self, is_ipv4: bool) -> Option<&Link> {
        self.links.get(&is_ipv4)
    }

    /// Closes what no session needs any more.
    pub(super) fn close_unused(&mut self, sessions: &Sessions) {
        let is_used = |it: &Place| sessions.configs().any(|(_, config)| place(config) == Some(*it));
        self.ports.retain(|place, _| is_used(place));
        self.links.retain(|is_ipv4, _| sessions.has_echo(*is_ipv4));
        if !sessions.has_echo(false) {
            self.echo_port = None;
        }
    }

    /// Reads from every socket, a batch at most; whether all has been read that had come by `now`.
    pub(super) fn receive(&mut self, sessions: &mut Sessions, now: Instant) -> bool {
        let mut is_all = true;
        for ((hops, _), port) in &mut self.ports {
            is_all &= read_batch(|| {
                let Some(Received { source, ttl, payload, at }) = port.receive()? else {
                    return Ok(true);
                };
                let (hops, source) = (*hops, source.into());
                sessions.handle_datagram(Datagram { hops, source, ttl, payload, at });
                Ok(port.is_beyond(now))
            });
        }
        if let Some(port) = &mut self.echo_port {
            is_all &= read_batch(|| {
                let Some(echo) = port.receive()? else { return Ok(true) };
                if sessions.handle_echo_to_us(echo.source.into(), echo.ttl, echo.at) {
                    port.send_back()?;
                }
                Ok(port.is_beyond(now))
            });
        }
        for link in self.links.values_mut() {
            is_all &= read_batch(|| {
                let Some(frame) = link.receive()? else { return Ok(true) };
                if let Some(router) = sessions.handle_echo(frame) {
                    link.send_back(router)?;
                }
                Ok(link.is_beyond(now))
            });
        }
        is_all
    }

    /// To wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let ports = self.ports.values().chain(&self.echo_port).map(AsFd::as_fd);
        ports.chain(self.links.values().map(AsFd::as_fd))
    }
}

/// Reads until `read_one` says that it was the last; whether that was within a batch.
fn read_batch(mut read_one: impl FnMut() -> io::Result<bool>) -> bool {
    // An error is of a single packet, read or sent back.
    (0..BATCH).any(|_| read_one().unwrap_or(false))
}

/// In words.
pub(super) fn cannot_receive(port: u16, error: &io::Error) -> String {
    let in_use = error.kind() == io::ErrorKind::AddrInUse;
    let hint = if in_use { " (another BFD daemon runs on this host)" } else { "" };
    format!("cannot receive on UDP port {port}: {}{hint}", sys::describe(error))
}
