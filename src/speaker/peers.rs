//! The speaker's dealings with its peers: connections, BFD, next hops, and what each is to be told.
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::histogram::Histogram;
use super::missed::Missed;
use super::notice::{Level, Notice};
use super::restarts::Restarts;
use super::{Output, Speaker, Start, paths};
use crate::bfd::driver::Event as BfdEvent;
use crate::bfd::echo::Path as EchoPath;
use crate::bfd::session::{Event as BfdSessionEvent, Plane};
use crate::bfd::sessions::Generation as BfdGeneration;
use crate::bgp::Serial;
use crate::bgp::adj_rib_out::Pending;
use crate::bgp::connection::Opening;
use crate::bgp::peer::{Action, BfdVerdict, Event, Peer};
use crate::bgp::transport::{Tcp, Transport};
use crate::config::Config;
use crate::netlink;
use crate::route::{Ends, Family, NextHops, PeerName, ScopedAddress};

/// Between attempts to find a router ID.
const FIND_ROUTER_ID: Duration = Duration::from_secs(1);

/// A peer and what goes with it.
#[derive(Debug)]
pub(super) struct PeerEntry {
    pub(super) peer: Peer,
    pub(super) bfd: BfdLook,
    pub(super) restarts: Restarts,
    /// Its source-address can be used
    pub(super) has_source: bool,
    /// From the decision on a prefix to its octets in the socket
    pub(super) decision_to_wire: Histogram,
    /// How many sessions ended, by the kind of reason
    pub(super) session_downs: BTreeMap<&'static str, u64>,
}

impl PeerEntry {
    /// Why the peer does not have a prefix as it is wanted.
    pub(super) fn describe(&self, pending: Pending) -> String {
        if pending == Pending::NoSession {
            return format!("{pending} ({:?})", self.peer.state());
        }
        pending.to_string()
    }
}

/// What is known of a peer's BFD session.
#[derive(Debug)]
pub(super) struct BfdLook {
    pub(super) up: bool,
    /// The router's operator has taken it down
    pub(super) admin_down: bool,
    pub(super) since: Instant,
    /// Why it is not up, once it was
    pub(super) reason: Option<String>,
    /// What keeps it from working on our side
    pub(super) trouble: Option<String>,
    /// While it is not up and that matters
    pub(super) missed: Option<Missed>,
    /// The router that it is with, once that is known
    pub(super) remote: Option<ScopedAddress>,
    /// Which session that is, once there is one: events of earlier ones may still be on their way
    pub(super) generation: Option<BfdGeneration>,
    /// Where its Echo packets go, as it was told
    pub(super) echo_path: Option<EchoPath>,
}

/// What a reload that begins anew with a peer lets it keep, as its BFD session goes on.
pub(super) type Ongoing = (BfdLook, Restarts);

impl BfdLook {
    /// A session that has just begun.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            up: false,
            admin_down: false,
            since: now,
            reason: None,
            trouble: None,
            missed: None,
            remote: None,
            generation: None,
            echo_path: None,
        }
    }

    /// What a peer that begins is to know of a session that goes on.
    fn verdict(&self) -> BfdVerdict {
        match (self.up, self.admin_down) {
            (true, _) => BfdVerdict::Up,
            (false, true) => BfdVerdict::AdminDown,
            (false, false) => BfdVerdict::Awaited,
        }
    }
}

impl Speaker {
    /// Octets for a connection whose writer is idle; [`Tcp::Written`] must follow.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(PeerName, Serial, Vec<u8>)> {
        self.peers.iter_mut().find_map(|(name, entry)| {
            let (serial, octets) = entry.peer.poll_transmit(now)?;
            Some((name.clone(), serial, octets))
        })
    }

    /// A remote speaker opened a connection to us. Returns whose it is and its number, or `None` when
    /// nobody with this address is configured. The driver must have the connection before outputs
    /// are carried out, since one of them may be to close it.
    pub fn handle_accepted(&mut self, ends: Ends, now: Instant) -> Option<(PeerName, Serial)> {
        let name = self.peer_at(ends.remote)?;
        let next_hops = self.next_hops(&name, ends.local);
        let serial = self.peers.get_mut(&name)?.peer.handle_accepted(ends, next_hops, now);
        self.update_cut_off(&name, now);
        self.drain(now);
        Some((name, serial))
    }

    /// What is configured for a peer, else our addresses on the interface of `local`.
    fn next_hops(&self, name: &PeerName, local: ScopedAddress) -> NextHops {
        let fixed = self.config.peers.get(name).map(|peer| peer.next_hops).unwrap_or_default();
        fixed.or(self.addresses.next_hops(local, |address| self.owners.contains_key(address)))
    }

    /// The next hops of every peer may have changed.
    pub(super) fn update_next_hops(&mut self, now: Instant) {
        // Taken out, so that everything else can be looked at meanwhile.
        let mut peers = std::mem::take(&mut self.peers);
        for (name, entry) in &mut peers {
            entry.peer.update_next_hops(|local| self.next_hops(name, local), now);
        }
        self.peers = peers;
    }

    pub(super) fn handle_tcp(&mut self, name: &PeerName, serial: Serial, event: Tcp, now: Instant) {
        let next_hops = match event {
            Tcp::Connected(local) => Some(self.next_hops(name, local)),
            Tcp::Failed(_)
            | Tcp::Received(_)
            | Tcp::Written
            | Tcp::Acknowledged(_)
            | Tcp::KeysChanged
            | Tcp::KeysReplaced(_)
            | Tcp::KeysUnreadable(_)
            | Tcp::Closed(_) => None,
        };
        let Some(entry) = self.peers.get_mut(name) else { return };
        let peer = &mut entry.peer;
        match event {
            Tcp::Connected(local) => {
                peer.handle_connected(serial, local, next_hops.unwrap_or_default(), now);
                self.update_cut_off(name, now);
            }
            Tcp::Failed(error) => peer.handle_connect_failed(serial, error, now),
            Tcp::Received(octets) => peer.handle_input(serial, &octets, now),
            Tcp::Written => peer.handle_written(serial, now),
            Tcp::Acknowledged(total) => peer.handle_acknowledged(serial, total, now),
            Tcp::KeysChanged => peer.handle_keys_changed(serial, now),
            Tcp::KeysReplaced(id) => {
                let text = format!("other TCP-AO keys: it is asked to sign with its key {id}");
                self.notice(Notice::peer(Level::Info, name, &text));
            }
            Tcp::KeysUnreadable(error) => {
                let text = "the session keeps the keys it has";
                self.notice(Notice::peer(Level::Warn, name, text).because(error));
            }
            Tcp::Closed(error) => peer.handle_closed(serial, error, now),
        }
    }

    pub(super) fn handle_bfd(&mut self, event: BfdEvent, now: Instant) {
        match event {
            BfdEvent::NoRealtime(error) => {
                let text = "BFD runs without real-time priority and may miss its deadlines on a \
                            busy host (LimitRTPRIO= in the unit, or CAP_SYS_NICE)";
                self.notice(Notice::new(Level::Warn, text).because(error));
            }
            BfdEvent::KeyUnreadable(name, error) => {
                let text = "BFD keeps the key it has";
                self.notice(Notice::peer(Level::Warn, &name, text).because(error));
            }
            BfdEvent::NoEcho(error) => {
                let text = "no Echo packets of BFD are sent, nor sent back";
                self.notice(Notice::new(Level::Warn, text).because(error));
            }
            BfdEvent::MemoryNotLocked(error) => {
                let text = "BFD may miss its deadlines when memory is short (LimitMEMLOCK= in the \
                            unit, or CAP_IPC_LOCK)";
                self.notice(Notice::new(Level::Warn, text).because(error));
            }
            BfdEvent::Trouble(name, generation, trouble) => {
                let Some(entry) = self.peers.get_mut(&name) else { return };
                if entry.bfd.generation != Some(generation) {
                    return;
                }
                entry.bfd.trouble.clone_from(&trouble);
                self.notice(match trouble {
                    Some(text) => Notice::peer(Level::Warn, &name, "BFD").because(text),
                    None => Notice::peer(Level::Info, &name, "BFD works again"),
                });
            }
            BfdEvent::Look(name, evidence) => self.handle_evidence(&name, evidence),
            BfdEvent::Session(name, generation, event) => {
                let entry = self.peers.get(&name);
                if entry.is_some_and(|entry| entry.bfd.generation == Some(generation)) {
                    self.handle_bfd_session(&name, event, now);
                }
            }
        }
    }

    fn handle_bfd_session(&mut self, name: &PeerName, event: BfdSessionEvent, now: Instant) {
        let Some(entry) = self.peers.get_mut(name) else { return };
        let before = std::mem::replace(&mut entry.bfd.since, now);
        entry.bfd.up = event == BfdSessionEvent::Up;
        entry.bfd.admin_down = event == BfdSessionEvent::PeerAdminDown;
        let notice = match event {
            BfdSessionEvent::Up => {
                entry.bfd.reason = None;
                entry.peer.handle_bfd(&BfdVerdict::Up, now);
                Notice::peer(Level::Info, name, "BFD session up")
            }
            BfdSessionEvent::Down(diag, Plane::Control)
                if entry.restarts.explain_bfd(before, self.received.has_stale(name), now) =>
            {
                entry.bfd.reason = Some(diag.to_string());
                entry.peer.handle_bfd(&BfdVerdict::Awaited, now);
                let text = "BFD session down with the restart of the peer";
                Notice::peer(Level::Info, name, text).because(diag)
            }
            BfdSessionEvent::Down(diag, _) => {
                entry.bfd.reason = Some(diag.to_string());
                self.received.sweep(name);
                entry.peer.handle_bfd(&BfdVerdict::Down(diag.to_string()), now);
                Notice::peer(Level::Warn, name, "BFD session down").because(diag)
            }
            BfdSessionEvent::PeerAdminDown => {
                let reason = "taken down by the peer's operator";
                entry.bfd.reason = Some(reason.into());
                entry.peer.handle_bfd(&BfdVerdict::AdminDown, now);
                Notice::peer(Level::Info, name, "BFD session").because(reason)
            }
            BfdSessionEvent::PeerAdminUp => {
                entry.bfd.reason = None;
                entry.peer.handle_bfd(&BfdVerdict::Awaited, now);
                let text = "BFD is no longer taken down by the peer's operator";
                Notice::peer(Level::Info, name, text)
            }
        };
        self.notice(notice);
    }

    /// Begins with a peer, whose BFD session may be one that goes on.
    pub(super) fn add_peer(&mut self, name: &PeerName, ongoing: Option<Ongoing>, now: Instant) {
        let Some(config) = self.config.peers.get(name) else { return };
        let path = paths::path(&config.bgp.transport, &self.addresses, &mut self.neighbours);
        let mut peer = Peer::new(config.bgp.clone(), path, self.random.u64(..), now);
        peer.set_receiving(config.accept.is_some());
        if self.deferral.is_none() {
            peer.rib_mut().release_end_of_rib();
        }
        let (bfd, restarts) = ongoing.unwrap_or_else(|| (BfdLook::new(now), Restarts::default()));
        peer.handle_bfd(&bfd.verdict(), now);
        if let Some(router_id) = self.router_id {
            peer.start(self.opening(router_id), now);
        }
        let (decision_to_wire, session_downs) = (Histogram::default(), BTreeMap::new());
        let source = config.bgp.transport.source_address;
        let has_source = source.is_some_and(|source| self.addresses.is_usable(source));
        let entry = PeerEntry { peer, bfd, restarts, has_source, decision_to_wire, session_downs };
        self.peers.insert(name.clone(), entry);
        self.set_bfd(name, now);
        self.begin_receiving(name);
        let prefixes = self.rib.prefixes();
        self.export(&prefixes, now);
    }

    /// Tells the listener which passive peers there are.
    pub(super) fn listen(&mut self) {
        let (port, peers) = listened_for(&self.config);
        self.outputs.push_back(Output::Listen(port, peers.into_iter().cloned().collect()));
        self.cannot_listen.clear();
    }

    /// The first news of the host. VIPs that are on it were left by a process before this one, and
    /// packets for them are still served (RFC 4724 §4.1: the F bit).
    pub(super) fn look_at_host(&self, event: &netlink::Event) -> Option<Start> {
        let present = if let netlink::Event::Dump(_, present) = event {
            present.as_slice()
        } else if matches!(event, netlink::Event::Broken(_)) {
            &[]
        } else {
            return None;
        };
        let vips = present.iter().map(|address| address.prefix.addr());
        let vips = vips.filter(|address| self.owners.contains_key(address));
        let preserved = vips.map(Family::of_address).collect();
        self.start.is_none().then_some(Start { restarted: true, preserved })
    }

    /// Starts all peers with the configured router ID, or asks for one.
    pub(super) fn settle_router_id(&mut self, configured: Option<Ipv4Addr>, now: Instant) {
        match configured {
            _ if self.start.is_none() => {}
            Some(router_id) => self.start_peers(router_id, now),
            None => self.find_router_id(now),
        }
    }

    /// A search came to an end. Where nothing was found, the timer begins the next one.
    pub(super) fn handle_router_id(&mut self, found: &[Ipv4Addr], now: Instant) {
        if self.router_id.is_some() {
            return;
        }
        // The lowest, so that it is the same one after every start.
        if let Some(router_id) = found.iter().min() {
            self.told_no_router_id = false;
            self.notice(Notice::new(Level::Info, format!("router ID {router_id}")));
            self.start_peers(*router_id, now);
        } else if !std::mem::replace(&mut self.told_no_router_id, true) {
            let text = "no router ID yet: no IPv4 address of this host reaches a peer; looking \
                        again until one does (router-id in [bgp] sets one)";
            self.notice(Notice::new(Level::Warn, text));
        }
    }

    fn start_peers(&mut self, router_id: Ipv4Addr, now: Instant) {
        self.router_id = Some(router_id);
        self.find_router_id_at = None;
        let opening = self.opening(router_id);
        for entry in self.peers.values_mut() {
            entry.peer.start(opening.clone(), now);
        }
        // Peers that come later know nothing of the process before this one.
        self.start = Some(Start { restarted: false, preserved: Family::ALL.into() });
    }

    /// What we say of ourselves to a peer.
    fn opening(&self, router_id: Ipv4Addr) -> Opening {
        let opening = Opening { host_name: self.host_name.clone(), ..Opening::new(router_id) };
        match self.start.clone() {
            Some(Start { restarted, preserved }) => Opening { restarted, preserved, ..opening },
            None => opening,
        }
    }

    pub(super) fn find_router_id(&mut self, now: Instant) {
        let peers = self.config.peers.values().map(|peer| &peer.bgp.transport);
        let ipv4: Vec<_> = peers.filter(|peer| peer.remote.is_ipv4()).cloned().collect();
        self.find_router_id_at = (!ipv4.is_empty()).then_some(now + FIND_ROUTER_ID);
        if !ipv4.is_empty() {
            self.outputs.push_back(Output::FindRouterId(ipv4));
        }
    }

    /// Sets what every peer should have of these prefixes.
    pub(super) fn export(&mut self, prefixes: &BTreeSet<IpNet>, now: Instant) {
        for (name, entry) in &mut self.peers {
            for prefix in prefixes {
                let attributes = self.rib.export(*prefix, name);
                entry.peer.rib_mut().set(*prefix, attributes, now);
            }
        }
    }

    pub(super) fn release_end_of_rib(&mut self) {
        self.deferral = None;
        for entry in self.peers.values_mut() {
            entry.peer.rib_mut().release_end_of_rib();
        }
    }

    /// Takes in what the peers have to say.
    pub(super) fn drain_peers(&mut self, now: Instant) {
        let host_changed = self.addresses.poll_host_changed();
        if host_changed {
            self.update_next_hops(now);
            self.received.touch_all();
        }
        if self.neighbours.poll_changed() || host_changed {
            self.update_paths(now);
        }
        let mut notices = Vec::new();
        for (name, entry) in &mut self.peers {
            while let Some(event) = entry.peer.poll_event() {
                if let Event::Sent(times) = &event {
                    times.iter().for_each(|time| entry.decision_to_wire.observe(*time));
                } else if let Event::Down(reason) = &event {
                    *entry.session_downs.entry(reason.label()).or_default() += 1;
                }
                entry.restarts.handle_event(&event, now);
                let ends = entry.peer.session().map(|(_, ends)| ends);
                let result = self.received.handle_event(name, &event, ends, &entry.restarts);
                if let Some(reason) = result {
                    entry.peer.close_all(&reason, now);
                }
                notices.extend(describe(name, event));
            }
            let Some(config) = self.config.peers.get(name) else { continue };
            while let Some(action) = entry.peer.poll_action() {
                let name = name.clone();
                self.outputs.push_back(match action {
                    Action::Connect(serial, to) => {
                        let transport = config.bgp.transport.clone();
                        Output::Connect(name, serial, transport, to, config.bgp.user_timeout())
                    }
                    Action::Close(serial, last_words) => Output::Close(name, serial, last_words),
                    Action::SetUserTimeout(serial, limit) => {
                        Output::SetUserTimeout(name, serial, limit)
                    }
                    Action::CountAcknowledged(serial) => Output::CountAcknowledged(name, serial),
                });
            }
        }
        self.follow_with_bfd(now);
        self.miss_bfd(now);
        for notice in notices {
            self.notice(notice);
        }
    }
}

/// The port, and whom to listen for on it: nobody while no peer is passive; else everybody, since
/// peers that we connect to may then connect to us too.
pub(super) fn listened_for(config: &Config) -> (u16, Vec<&Transport>) {
    let peers = config.peers.values();
    let any_passive = peers.clone().any(|peer| peer.bgp.passive);
    let all = peers.filter(|_| any_passive).map(|peer| &peer.bgp.transport);
    (config.bgp.port, all.collect())
}

/// What to log of an event.
fn describe(name: &PeerName, event: Event) -> Option<Notice> {
    Some(match event {
        Event::Established(session) => {
            let families: Vec<_> = session.families.iter().map(ToString::to_string).collect();
            let text = format!(
                "session established with AS {}, router ID {}: {}, hold time {:?}",
                session.remote_asn,
                session.remote_router_id,
                families.join(" and "),
                session.hold_time
            );
            Notice::peer(Level::Info, name, text)
        }
        Event::Down(reason) => {
            let level = if reason.is_planned() { Level::Info } else { Level::Warn };
            Notice::peer(level, name, "session down").because(reason)
        }
        Event::Failed(reason) => Notice::peer(Level::Warn, name, "no session").because(reason),
        Event::Defects(defects) => {
            let all: Vec<_> = defects.iter().map(ToString::to_string).collect();
            let text = "defective UPDATE, treated as RFC 7606 says";
            Notice::peer(Level::Warn, name, text).because(all.join("; "))
        }
        Event::AwaitsBfd | Event::Received(_) | Event::Sent(_) => return None,
    })
}
