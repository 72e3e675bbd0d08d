//! Routes that are learned from peers, where the configuration has `accept`: what each peer has
//! announced, which of it is used, and what the kernel is to have of that.
//!
//! ```text
//! UPDATE -> Adj-RIB-In (filter) -> can it be followed? -> decision -> one route -> kernel
//! ```
//!
//! When the daemon stops, its routes stay in the kernel: they may be the only way to this host, and
//! the next daemon takes them over or removes them. A session that only a reload starts anew keeps
//! its routes as stale ones meanwhile.
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::notice::{Level, Notice};
use super::restarts::Restarts;
use super::{Output, Speaker};
use crate::bgp::adj_rib_in::{AdjRibIn, Route, Source, TooMany};
use crate::bgp::connection::Session;
use crate::bgp::decision;
use crate::bgp::down::DownReason;
use crate::bgp::peer::Event;
use crate::config::Peer as Config;
use crate::netlink::reach::Unreachable;
use crate::netlink::routes::{Installation, METRIC};
use crate::netlink::{self, Addresses, NextHop, RouteKey, Routes};
use crate::route::{Asn, Ends, Family, PeerName};
pub use status::{Accepted, AcceptedRoute};

/// For how long the routes of a session that a reload ended wait for the next one.
const RESTART_TIME: Duration = Duration::from_secs(120);

/// Everything that is learned.
#[derive(Debug)]
pub(super) struct Received {
    peers: BTreeMap<PeerName, Teacher>,
    routes: Routes,
    /// Prefixes to decide about
    dirty: BTreeSet<IpNet>,
    /// Tables that have been used since the start
    tables: BTreeSet<u32>,
    /// The log says that routes from before the start are kept
    told_kept: bool,
    /// The last reason of the kernel's that the log has: a thousand routes may share it
    told_refusal: Option<String>,
}

/// A peer that routes are learned from.
#[derive(Debug)]
struct Teacher {
    rib: AdjRibIn,
    local_asn: Asn,
    /// Those of the session, or of the last one
    ends: Option<Ends>,
    /// Why routes are not used
    unused: BTreeMap<IpNet, Unused>,
    /// Of which reasons the log has an example from this session
    told: BTreeSet<&'static str>,
}

/// Why a route that was let in is not used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum Unused {
    /// RFC 4271 §9.1.2
    #[error("our AS {0} is in its AS_PATH")]
    Looped(Asn),
    /// A check would find the service of another host, and hold ours for healthy
    #[error("it is a VIP of this host")]
    OwnVip,
    #[error("{0} is connected to this host")]
    Connected(IpNet),
    /// RFC 4271 §9.1.2.1
    #[error("{0}")]
    Unreachable(#[from] Unreachable),
    #[error("the route of another peer is better")]
    Worse,
}

impl Unused {
    /// For the log, which has one example of each.
    fn kind(&self) -> &'static str {
        match self {
            Self::Looped(_) => "looped",
            Self::OwnVip => "own-vip",
            Self::Connected(_) => "connected",
            Self::Unreachable(_) => "unreachable",
            Self::Worse => "worse",
        }
    }
}

impl Received {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            peers: BTreeMap::new(),
            routes: Routes::new(now),
            dirty: BTreeSet::new(),
            tables: BTreeSet::new(),
            told_kept: false,
            told_refusal: None,
        }
    }

    /// Begins with a peer, whose routes may be stale ones of its last session.
    fn add(&mut self, name: &PeerName, config: &Config) {
        let Some(accept) = &config.accept else { return };
        self.tables.insert(accept.table);
        let local_asn = config.bgp.session.local_asn;
        if let Some(peer) = self.peers.get_mut(name) {
            peer.local_asn = local_asn;
            // Too many of them will be too many of the next session.
            let _ = peer.rib.set_accept(accept.clone());
        } else {
            let rib = AdjRibIn::new(accept.clone());
            let (unused, told) = (BTreeMap::new(), BTreeSet::new());
            let peer = Teacher { rib, local_asn, ends: None, unused, told };
            self.peers.insert(name.clone(), peer);
        }
        self.note_changes(name);
    }

    /// Nothing is learned from a peer any more.
    fn remove(&mut self, name: &PeerName) {
        if let Some(peer) = self.peers.remove(name) {
            self.dirty.extend(peer.rib.routes().map(|(prefix, _)| prefix));
        }
    }

    /// The session is over. The routes of `kept` families wait for the next one (RFC 4724 §4.2).
    fn end(&mut self, name: &PeerName, kept: &[Family], until: Instant) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.rib.mark_stale(kept, until);
        self.note_changes(name);
    }

    fn start(&mut self, name: &PeerName, session: &Session, ends: Ends, restarts: &Restarts) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.ends = Some(ends);
        peer.told.clear();
        // RFC 4724 §4.2: where the peer did not go on forwarding, nothing is worth waiting for.
        let preserved: BTreeSet<Family> = session.preserved().collect();
        let lost = |family: &Family| restarts.kept().is_some() && !preserved.contains(family);
        Family::ALL.into_iter().filter(lost).for_each(|family| peer.rib.sweep(family));
        peer.rib.start(Source {
            local_asn: peer.local_asn,
            internal: session.encoding.internal,
            link_local: ends.remote.zone != 0,
            families: session.families.clone(),
        });
        // By another of our addresses, a link-local next hop is on another interface.
        self.dirty.extend(peer.rib.routes().map(|(prefix, _)| prefix));
        self.note_changes(name);
    }

    /// Takes in what a peer has to say; why its session is to end, if it is. `ends` are those of the
    /// session; `restarts` has taken in the same.
    pub(super) fn handle_event(
        &mut self,
        name: &PeerName,
        event: &Event,
        ends: Option<Ends>,
        restarts: &Restarts,
    ) -> Option<DownReason> {
        let peer = self.peers.get_mut(name)?;
        let mut result = Ok(());
        match event {
            Event::Established(session) => self.start(name, session, ends?, restarts),
            Event::Down(_) => match restarts.kept() {
                Some((families, until)) => peer.rib.mark_stale(families, until),
                None => peer.rib.stop(),
            },
            Event::Received(update) => result = peer.rib.handle_update(update),
            Event::AwaitsBfd | Event::Failed(_) | Event::Defects(_) | Event::Sent(_) => {}
        }
        self.note_changes(name);
        result.err().map(|TooMany(limit)| DownReason::TooManyPrefixes(limit))
    }

    /// Whether routes of a peer wait for it to announce them again.
    pub(super) fn has_stale(&self, name: &PeerName) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.rib.has_stale())
    }

    /// The path to a peer is dead: what is stale is of no use.
    pub(super) fn sweep(&mut self, name: &PeerName) {
        if let Some(peer) = self.peers.get_mut(name) {
            peer.rib.sweep_all();
            self.note_changes(name);
        }
    }

    pub(super) fn handle_netlink(&mut self, event: &netlink::Event, now: Instant) {
        self.routes.handle_event(event, now);
    }

    /// Takes in the passing of time; what the log should say of it.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Notice> {
        for name in self.peers.keys().cloned().collect::<Vec<_>>() {
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.rib.handle_timeout(now);
            }
            self.note_changes(&name);
        }
        let kept = self.kept();
        self.routes.handle_timeout(now);
        (kept > 0 && !self.routes.keeps_leftovers()).then(|| removing(kept))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|peer| peer.rib.poll_timeout());
        peers.chain(self.routes.poll_timeout()).min()
    }

    /// The host's addresses changed, and with them perhaps everything.
    pub(super) fn touch_all(&mut self) {
        for peer in self.peers.values() {
            self.dirty.extend(peer.rib.routes().map(|(prefix, _)| prefix));
        }
    }

    /// How many routes from before the start are kept that no peer has announced yet.
    pub(super) fn kept(&self) -> usize {
        if self.routes.keeps_leftovers() { self.routes.leftovers().count() } else { 0 }
    }

    fn note_changes(&mut self, name: &PeerName) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        while let Some(prefix) = peer.rib.poll_changed() {
            peer.unused.remove(&prefix);
            self.dirty.insert(prefix);
        }
    }

    /// Decides about everything that changed; what the log should say of it.
    fn decide(
        &mut self,
        addresses: &Addresses,
        is_vip: impl Fn(&IpAddr) -> bool,
        now: Instant,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        for prefix in std::mem::take(&mut self.dirty) {
            for table in self.tables.iter().copied().collect::<Vec<_>>() {
                self.decide_about(table, prefix, addresses, &is_vip, now, &mut notices);
            }
        }
        notices
    }

    fn decide_about(
        &mut self,
        table: u32,
        prefix: IpNet,
        addresses: &Addresses,
        is_vip: &impl Fn(&IpAddr) -> bool,
        now: Instant,
        notices: &mut Vec<Notice>,
    ) {
        let mut usable = Vec::new();
        let mut unused = Vec::new();
        for (name, peer) in self.peers.iter().filter(|(_, p)| p.rib.accept().table == table) {
            let Some(route) = peer.rib.route(prefix) else { continue };
            match peer.judge(prefix, route, addresses, is_vip) {
                Ok(next_hop) => usable.push(((name.clone(), next_hop), route)),
                Err(reason) => unused.push((name.clone(), reason)),
            }
        }
        let best = decision::best(usable.iter().map(|(key, route)| (key, *route)));
        let worse = usable.iter().filter(|(key, _)| !best.contains(&key));
        unused.extend(worse.map(|((name, _), _)| (name.clone(), Unused::Worse)));
        let used: Vec<PeerName> = best.iter().map(|(name, _)| name.clone()).collect();
        let next_hops: BTreeSet<NextHop> = best.iter().map(|(_, next_hop)| *next_hop).collect();

        for name in used {
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.unused.remove(&prefix);
            }
        }
        for (name, reason) in unused {
            let Some(peer) = self.peers.get_mut(&name) else { continue };
            if reason != Unused::Worse && peer.told.insert(reason.kind()) {
                let text = format!("its route to {prefix} is not used");
                notices.push(Notice::peer(Level::Warn, &name, text).because(&reason));
            }
            peer.unused.insert(prefix, reason);
        }
        let key = RouteKey { table, prefix, metric: METRIC };
        if next_hops.is_empty() && self.routes.next_hops(key).is_some() {
            let text = format!("route {prefix} removed: no peer announces one that can be used");
            notices.push(about(prefix, Level::Warn, text));
        }
        self.routes.want(table, prefix, next_hops, now);
    }

    /// What the kernel made of it.
    fn report(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Some(RouteKey { prefix, .. }) = self.routes.poll_lost() {
            let text = format!("route {prefix} disappeared from the kernel; putting it back");
            notices.push(Notice::new(Level::Warn, text));
        }
        while let Some(key) = self.routes.poll_changed() {
            let Some(next_hops) = self.routes.next_hops(key) else { continue };
            let by: Vec<_> = next_hops.iter().map(|hop| hop.address.to_string()).collect();
            let route = format!("route {} by {}", key.prefix, by.join(" and "));
            match self.routes.installation(key.table, key.prefix) {
                Installation::Pending => {}
                Installation::Installed => {
                    self.told_refusal = None;
                    notices.push(about(key.prefix, Level::Info, format!("{route} installed")));
                }
                Installation::Refused(reason) => {
                    let is_told = self.told_refusal.as_ref() == Some(reason);
                    let level = if is_told { Level::Debug } else { Level::Error };
                    self.told_refusal = Some(reason.clone());
                    let text = format!("{route} is not installed");
                    notices.push(Notice::new(level, text).because(reason));
                }
            }
        }
        let kept = self.kept();
        if kept > 0 && !std::mem::replace(&mut self.told_kept, true) {
            let text = format!(
                "{kept} route(s) in the kernel from before the start stay until the routers have \
                 announced theirs"
            );
            notices.push(Notice::new(Level::Info, text));
        }
        notices
    }

    /// What a daemon before this one left behind can go once every peer has said everything.
    fn release(&mut self, now: Instant) -> Option<Notice> {
        let is_complete = self.peers.values().all(|peer| peer.rib.is_complete());
        if !is_complete || !self.routes.keeps_leftovers() || !self.routes.is_known() {
            return None;
        }
        let kept = self.kept();
        self.routes.release_leftovers(now);
        (kept > 0).then(|| removing(kept))
    }
}

impl Teacher {
    /// How a route can be followed.
    fn judge(
        &self,
        prefix: IpNet,
        route: &Route,
        addresses: &Addresses,
        is_vip: &impl Fn(&IpAddr) -> bool,
    ) -> Result<NextHop, Unused> {
        if route.looped {
            return Err(Unused::Looped(self.local_asn));
        }
        if prefix.prefix_len() == prefix.max_prefix_len() && is_vip(&prefix.addr()) {
            return Err(Unused::OwnVip);
        }
        if let Some(connected) = addresses.connected(prefix) {
            return Err(Unused::Connected(connected));
        }
        let ends = self.ends.ok_or(Unreachable::NotOnLink(route.next_hop))?;
        Ok(addresses.reach(route.next_hop, ends)?)
    }
}

impl Speaker {
    /// Lets what was learned run through to the kernel. When we stop, nothing changes any more.
    pub(super) fn settle_received(&mut self, now: Instant) {
        if !self.phase.is_running() || !self.addresses.is_known() {
            return;
        }
        let is_vip = |address: &IpAddr| self.owners.contains_key(address);
        let mut notices = self.received.decide(&self.addresses, is_vip, now);
        notices.extend(self.received.release(now));
        notices.extend(self.received.report());
        for notice in notices {
            self.notice(notice);
        }
        while let Some(request) = self.received.routes.poll_request() {
            self.outputs.push_back(Output::Netlink(netlink::Request::Route(request)));
        }
    }

    /// A peer begins, or begins anew.
    pub(super) fn begin_receiving(&mut self, name: &PeerName) {
        let Some(config) = self.config.peers.get(name) else { return };
        self.received.add(name, config);
    }

    /// A peer is removed, or will begin anew: then its routes wait for it.
    pub(super) fn end_receiving(&mut self, name: &PeerName, before: &Config, now: Instant) {
        let after = self.config.peers.get(name).filter(|after| after.accept.is_some());
        let remote = |config: &Config| config.bgp.transport.remote.clone();
        match after {
            Some(after) if remote(after) == remote(before) => {
                self.received.end(name, &Family::ALL, now + RESTART_TIME);
            }
            _ => self.received.remove(name),
        }
    }

    /// Takes over another `accept` for a peer whose session goes on.
    pub(super) fn reconfigure_receiving(&mut self, name: &PeerName, now: Instant) {
        let Some(config) = self.config.peers.get(name) else { return };
        let Some(entry) = self.peers.get_mut(name) else { return };
        entry.peer.set_receiving(config.accept.is_some());
        let Some(accept) = &config.accept else {
            self.received.remove(name);
            return;
        };
        let session = entry.peer.session().map(|(session, ends)| (session.clone(), ends));
        let (result, is_new) = match self.received.peers.get_mut(name) {
            Some(peer) => (peer.rib.set_accept(accept.clone()), false),
            None => (Ok(true), true),
        };
        self.received.add(name, config);
        if let Some((session, ends)) = session.as_ref().filter(|_| is_new) {
            self.received.start(name, session, *ends, &entry.restarts);
        }
        match result {
            Ok(false) => {}
            Err(TooMany(limit)) => {
                entry.peer.close_all(&DownReason::TooManyPrefixes(limit), now);
            }
            Ok(true) => {
                let families = session.map(|(session, _)| session.families).unwrap_or_default();
                let concerned = |family: &Family| {
                    accept.prefixes.iter().any(|one| Family::of(one.prefix) == *family)
                };
                let families: Vec<_> = families.into_iter().filter(concerned).collect();
                if !entry.peer.request_refresh(&families) {
                    let text = "accept lets in more, and the peer cannot announce again without a \
                                new session (no route refresh, RFC 2918)";
                    let notice = Notice::peer(Level::Info, name, text);
                    entry.peer.close_all(&DownReason::ConfigurationChanged, now);
                    self.notice(notice);
                }
            }
        }
    }
}

/// The default route is worth a line, others where somebody looks for them.
fn about(prefix: IpNet, level: Level, text: String) -> Notice {
    Notice::new(if prefix.prefix_len() == 0 { level } else { Level::Debug }, text)
}

fn removing(count: usize) -> Notice {
    let text = format!("removing {count} route(s) from before the start that no router announces");
    Notice::new(Level::Warn, text)
}
