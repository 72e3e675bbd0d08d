//! A host and its routers on one virtual clock: the whole daemon without sockets.
//!
//! The routers are made of our own cores, turned round: a BGP connection that accepts, BFD sessions,
//! and a table of the routes they were sent. The kernel is a table of addresses. Checks run on the
//! daemon's own schedule and find what a story says they find.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipcast::bfd::driver::{Command as BfdCommand, Event as BfdEvent, Report as BfdReport};
use vipcast::bfd::echo::Frame;
use vipcast::bfd::packet::State as BfdState;
use vipcast::bfd::session::Event as BfdSessionEvent;
use vipcast::bfd::sessions::{
    Config as BfdConfig, Datagram, Generation as BfdGeneration, Hops, Sessions, Transmit,
};
use vipcast::bgp::Serial;
use vipcast::bgp::connection::{
    Config as SessionConfig, Connection, Event, Opening, RemoteAsn, Restart,
};
use vipcast::bgp::down::{ConnectError, DownReason};
use vipcast::bgp::transport::Tcp;
use vipcast::bgp::wire::{self, Announcement, Encoding, PathAttributes};
use vipcast::check::driver::{Command as CheckCommand, Generation, Report};
use vipcast::check::schedule::Schedule;
use vipcast::check::{Check, CheckId, Failure, Outcome};
use vipcast::config::{self, Config, Source};
use vipcast::netlink::{
    Address, Event as NetlinkEvent, Forwards, Link, Neighbour, NextHop, Request, Route, RouteEvent,
    RouteKey, RouteRequest,
};
use vipcast::process::{Environment, Surroundings};
use vipcast::route::{Asn, Attributes, Family, PeerName, ScopedAddress, ServiceName};
use vipcast::service::hooks::{Report as HookReport, Run};
use vipcast::speaker::notice::Notice;
use vipcast::speaker::routes::{PeerRoutes, Snapshot};
use vipcast::speaker::status::{Clock, Status};
use vipcast::speaker::{Input, Output, Speaker};
use vipcast::units::UnitName;

/// The host's end of every link; the routers are 10.0.0.1, 10.0.0.2 and so on.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 21);
/// Its link-local address on eth0, where it is the same way to the routers fe80::1 and so on.
pub(crate) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x21);
/// The number of eth0.
pub(crate) const ETH0: u32 = 2;
/// The hardware address of everybody on it.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// How a router treats somebody who connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mood {
    /// Speaks BGP
    Peers,
    /// Nobody listens: a reset
    Refuses,
    /// Accepts, then closes at once
    Hangs,
    /// Sends a NOTIFICATION in place of an OPEN
    Rejects,
    /// Accepts, and says nothing for the time being
    Waits,
    /// Speaks BGP, but never reads what is sent after its window is full: writes never end
    Stuck,
    /// As that, but our kernel has room for all that is written, and it goes on speaking
    Deaf,
}

/// What a probe finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Health {
    Healthy,
    Broken,
    /// No answer: the timeout ends the probe
    Silent,
    /// Not even that: whoever probes hangs
    Stuck,
}

/// What is found where a password is kept, beside what signs the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reread {
    Same,
    Changed,
    /// So that the connection goes on; the number of the key to use
    Replaced(u8),
    Unreadable,
}

impl Reread {
    fn news(self) -> Option<Tcp> {
        match self {
            Self::Same => None,
            Self::Changed => Some(Tcp::KeysChanged),
            Self::Replaced(id) => Some(Tcp::KeysReplaced(id)),
            Self::Unreadable => Some(Tcp::KeysUnreadable("no such file".into())),
        }
    }
}

/// A router.
pub(crate) struct Router {
    pub(crate) address: ScopedAddress,
    pub(crate) asn: Asn,
    pub(crate) mood: Mood,
    /// Whether packets pass
    pub(crate) link: bool,
    /// Whether BFD packets pass too: those to it, and those from it
    pub(crate) bfd_passes: [bool; 2],
    /// It sends back what is for the host
    pub(crate) forwards: bool,
    /// With which BFD packets from it arrive
    pub(crate) bfd_ttl: u8,
    /// What its BFD packets say of itself (RFC 5880 §4.1: the C bit)
    pub(crate) bfd_is_independent: bool,
    pub(crate) routes: BTreeMap<IpNet, PathAttributes>,
    pub(crate) end_of_rib: BTreeSet<Family>,
    /// UPDATEs since the session began
    pub(crate) updates: usize,
    /// Why sessions ended, the last one last
    pub(crate) downs: Vec<DownReason>,
    /// How often it was connected to
    pub(crate) attempts: usize,
    connection: Option<(Serial, Connection)>,
    bfd: Option<Sessions>,
    /// What it announces to the host, and by way of whom
    pub(crate) originates: BTreeMap<IpNet, IpAddr>,
    /// AS numbers behind its own in the paths of that
    pub(crate) behind: Vec<Asn>,
    /// The families that the host wanted to hear again
    pub(crate) refreshes: Vec<Family>,
    /// Whether it offers route refresh
    pub(crate) refreshable: bool,
    /// Whether it sends End-of-RIB
    pub(crate) ends: bool,
    /// What it says about restarts of its own
    pub(crate) restart: Option<Restart>,
    /// Whether it too waits for BFD, and says so
    pub(crate) bfd_strict: bool,
    /// Families for which it goes on forwarding while it restarts
    pub(crate) preserved: BTreeSet<Family>,
    /// Whether it names any, or says only that it helps others to restart (RFC 4724 §3)
    pub(crate) names_families: bool,
    /// Its next OPEN says that it has restarted (RFC 4724 §3: the R bit)
    pub(crate) has_restarted: bool,
    /// UPDATEs that have not left yet
    unsent: Vec<u8>,
    /// Octets that a stuck router does not take
    unread: Option<(Serial, Vec<u8>)>,
    /// Octets that the router's TCP has taken of this connection
    taken: u64,
}

/// A probe under way.
struct Probe {
    id: CheckId,
    generation: Generation,
    started: Instant,
    ends: Instant,
    result: Result<(), Failure>,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) speaker: Speaker,
    pub(crate) routers: BTreeMap<PeerName, Router>,
    /// By "service/check"; healthy unless said otherwise
    pub(crate) health: BTreeMap<String, Health>,
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) addresses: BTreeMap<(u32, IpAddr), Address>,
    /// Whether the daemon wants to know of those
    watches_neighbours: bool,
    /// Where the daemon says that it is there
    pub(crate) advertised: BTreeSet<u32>,
    /// Whom the kernel has met on eth0
    met: BTreeMap<IpAddr, Neighbour>,
    /// The kernel's routes: whether they are ours, and their next hops
    pub(crate) kernel_routes: BTreeMap<RouteKey, (bool, BTreeSet<NextHop>)>,
    /// What was asked about routes
    pub(crate) route_requests: Vec<RouteRequest>,
    /// Our addresses towards the routers, as far as the kernel knows a way
    pub(crate) reachable: Vec<Ipv4Addr>,
    pub(crate) password: Reread,
    /// The units of systemd that the daemon follows
    pub(crate) units: BTreeSet<UnitName>,
    /// Why the kernel refuses to add addresses
    pub(crate) refuse_addresses: Option<String>,
    /// What was logged
    pub(crate) log: Vec<Notice>,
    /// What was asked of the kernel, and which routes the routers had at that moment
    pub(crate) requests: Vec<(Request, BTreeMap<PeerName, BTreeSet<IpNet>>)>,
    pub(crate) stopped: bool,
    /// When each kind of goodbye was seen, in order
    pub(crate) goodbyes: Vec<&'static str>,
    /// What hooks were told
    pub(crate) hooks: Vec<String>,
    /// How long a hook takes, and how it ends
    pub(crate) hook: (Duration, Result<(), Failure>),
    hooks_under_way: Vec<(Instant, ServiceName)>,
    /// What checks that run programs know of their services
    pub(crate) told: BTreeMap<ServiceName, Surroundings>,
    bfd: Sessions,
    schedule: Schedule,
    checks: BTreeMap<CheckId, (Arc<Check>, Generation)>,
    probes: Vec<Probe>,
    dialing: BTreeMap<PeerName, Serial>,
}

impl World {
    /// A daemon with this configuration, its routers ready; nothing has happened yet.
    pub(crate) fn new(text: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
        let start = Instant::now();
        let config = parse(text);
        let mut routers = BTreeMap::new();
        for (name, peer) in &config.peers {
            routers.insert(name.clone(), Router::new(peer, start));
        }
        let [lo, eth0] = [link(1, "lo"), link(ETH0, "eth0")];
        let on_eth0 = |ip: IpAddr, length, usable| Address {
            index: ETH0,
            prefix: IpNet::new(ip, length).expect("a prefix"),
            ours: false,
            usable,
            tentative: false,
        };
        let mut remotes = config.peers.values().map(|peer| &peer.bgp.transport.remote);
        let is_on_link = remotes.any(|remote| remote.interface().is_some());
        let uplink = on_eth0(HOST.into(), 24, true);
        let link_local = on_eth0(LINK_LOCAL.into(), 64, false);
        Self {
            now: start,
            speaker: Speaker::new(config, Some("host1".into()), 1, start),
            routers,
            health: BTreeMap::new(),
            links: BTreeMap::from([(1, lo), (ETH0, eth0)]),
            addresses: [uplink]
                .into_iter()
                .chain(is_on_link.then_some(link_local))
                .map(|address| ((address.index, address.prefix.addr()), address))
                .collect(),
            watches_neighbours: false,
            advertised: BTreeSet::new(),
            met: BTreeMap::new(),
            kernel_routes: BTreeMap::new(),
            route_requests: Vec::new(),
            reachable: vec![HOST],
            password: Reread::Same,
            units: BTreeSet::new(),
            refuse_addresses: None,
            log: Vec::new(),
            requests: Vec::new(),
            stopped: false,
            goodbyes: Vec::new(),
            hooks: Vec::new(),
            hook: (Duration::ZERO, Ok(())),
            hooks_under_way: Vec::new(),
            told: BTreeMap::new(),
            bfd: Sessions::new(5),
            schedule: Schedule::new(9),
            checks: BTreeMap::new(),
            probes: Vec::new(),
            dialing: BTreeMap::new(),
        }
    }

    /// The kernel tells what there is. Until then the daemon knows of no interface.
    pub(crate) fn boot(mut self) -> Self {
        self.dump();
        self.settle();
        self
    }

    pub(crate) fn dump(&mut self) {
        let links = self.links.values().cloned().collect();
        let addresses = self.addresses.values().copied().collect();
        self.feed(Input::Netlink(NetlinkEvent::Dump(links, addresses)));
        let ours = self.kernel_routes.iter().filter(|(_, (ours, _))| *ours);
        let route = |(key, (_, next_hops)): (&RouteKey, &(bool, BTreeSet<NextHop>))| Route {
            key: *key,
            next_hops: next_hops.clone(),
        };
        let routes = RouteEvent::Dump(ours.map(route).collect());
        self.feed(Input::Netlink(NetlinkEvent::Route(routes)));
    }

    pub(crate) fn router(&mut self, name: &str) -> &mut Router {
        self.routers.get_mut(&name.into()).expect("a router")
    }

    /// The prefixes a router has.
    pub(crate) fn routes(&self, name: &str) -> Vec<String> {
        self.routers
            .get(&name.into())
            .expect("a router")
            .routes
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    pub(crate) fn set_health(&mut self, check: &str, health: Health) {
        self.health.insert(check.into(), health);
    }

    /// Cuts the link to a router, or mends it: packets vanish, nobody is told.
    pub(crate) fn set_link(&mut self, name: &str, link: bool) {
        self.router(name).link = link;
    }

    /// The router's TCP dies with a reset, as when its BGP process is killed.
    pub(crate) fn reset(&mut self, name: &str) {
        let router = self.router(name);
        router.forget();
        if let Some((serial, _)) = router.connection.take() {
            let error = Some("connection reset by peer".into());
            self.feed(Input::Tcp(name.into(), serial, Tcp::Closed(error)));
        }
    }

    /// As that, and the process that comes after it says so (RFC 4724 §4.1).
    pub(crate) fn restart_bgp(&mut self, name: &str) {
        self.router(name).has_restarted = true;
        self.reset(name);
    }

    /// The router's BFD dies and begins anew.
    pub(crate) fn restart_bfd(&mut self, name: &str) {
        let now = self.now;
        if let Some(bfd) = &mut self.router(name).bfd {
            let configs: Vec<BfdConfig> = bfd.configs().map(|(_, config)| config.clone()).collect();
            *bfd = Sessions::new(78);
            configs.into_iter().for_each(|config| bfd.set(&"host".into(), config, now));
        }
    }

    /// Both, as where they are one process.
    pub(crate) fn restart_router(&mut self, name: &str) {
        self.restart_bfd(name);
        self.restart_bgp(name);
    }

    /// A router is shut down.
    pub(crate) fn close(&mut self, name: &str, text: &str) {
        if let Some((_, connection)) = &mut self.router(name).connection {
            connection.close(DownReason::Shutdown(text.into()));
        }
        self.settle();
    }

    /// A stuck router reads again, first what it had not taken.
    pub(crate) fn read_on(&mut self, name: &str) {
        let router = self.router(name);
        router.mood = Mood::Peers;
        let (serial, octets) = router.unread.take().expect("something to read");
        self.deliver(&name.into(), serial, &octets);
        self.settle();
    }

    /// The router wants to hear its IPv4 routes again (RFC 2918).
    pub(crate) fn refresh(&mut self, name: &str) {
        let (serial, _) = self.router(name).connection.as_ref().expect("a connection");
        let (serial, header) = (*serial, [255; 16]);
        let octets = [&header[..], &[0, 23, 5, 0, 1, 0, 1]].concat();
        self.feed(Input::Tcp(name.into(), serial, Tcp::Received(octets)));
        self.settle();
    }

    /// The router's operator takes BFD down.
    pub(crate) fn admin_down_bfd(&mut self, name: &str) {
        let now = self.now;
        if let Some(bfd) = &mut self.router(name).bfd {
            bfd.admin_down(now);
        }
    }

    pub(crate) fn reload(&mut self, text: &str) {
        self.feed(Input::Reload(Box::new(parse(text))));
        self.settle();
    }

    pub(crate) fn stop(&mut self, text: &str) {
        self.feed(Input::Stop(text.into()));
        self.settle();
    }

    pub(crate) fn restart(&mut self) {
        self.feed(Input::Restart);
        self.settle();
    }

    /// Somebody takes an address off.
    pub(crate) fn delete_address(&mut self, index: u32, address: &str) {
        let ip: IpAddr = address.parse().expect("an address");
        if let Some(address) = self.addresses.remove(&(index, ip)) {
            self.feed(Input::Netlink(NetlinkEvent::AddressGone(address)));
        }
        self.settle();
    }

    /// The kernel learns of a neighbour on eth0, or that one is not there any more.
    pub(crate) fn meet(&mut self, address: &str, router: bool, there: bool) {
        let address: IpAddr = address.parse().expect("an address");
        let neighbour = Neighbour { index: ETH0, address, hardware: Some(MAC), router, there };
        self.met.insert(address, neighbour);
        if self.watches_neighbours {
            self.feed(Input::Netlink(NetlinkEvent::Neighbour(neighbour)));
        }
        self.settle();
    }

    /// How often the daemon would send BFD packets to a router at the most.
    pub(crate) fn bfd_transmit_interval(&self, peer: &str) -> Duration {
        let mut all = self.bfd.configs().filter_map(|(number, _)| self.bfd.config(number));
        let (_, config) = all.find(|(name, _)| **name == peer.into()).expect("a BFD session");
        config.session.desired_min_tx
    }

    /// Somebody pulls the cable of an interface, or plugs it in.
    pub(crate) fn set_carrier(&mut self, index: u32, carrier: bool) {
        let link = self.links.get_mut(&index).expect("a link");
        link.carrier = carrier;
        let link = link.clone();
        self.feed(Input::Netlink(NetlinkEvent::Link(link)));
        self.settle();
    }

    /// Somebody gives the host an address on eth0.
    pub(crate) fn add_address(&mut self, prefix: &str, tentative: bool) {
        let prefix: IpNet = prefix.parse().expect("a prefix");
        let address = Address { index: ETH0, prefix, ours: false, usable: !tentative, tentative };
        self.addresses.insert((ETH0, prefix.addr()), address);
        self.feed(Input::Netlink(NetlinkEvent::Address(address)));
        self.settle();
    }

    pub(crate) fn set_interface(&mut self, index: u32, up: bool) {
        let link = self.links.get_mut(&index).expect("a link");
        link.up = up;
        let link = link.clone();
        self.feed(Input::Netlink(NetlinkEvent::Link(link)));
        self.settle();
    }

    pub(crate) fn status(&self) -> Status {
        self.speaker.status(self.clock())
    }

    /// What the daemon says it has sent to all routers.
    pub(crate) fn sent_routes(&self) -> Vec<PeerRoutes> {
        let names = self.speaker.peer_names().into_iter();
        let snapshots = names.filter_map(|name| self.speaker.routes(&name, self.clock()));
        snapshots.map(Snapshot::describe).collect()
    }

    /// What the BFD thread reports.
    pub(crate) fn bfd_report(&self) -> BfdReport {
        let sessions = self.bfd.looks(self.now).collect();
        BfdReport { discards: *self.bfd.discards(), sessions }
    }

    fn clock(&self) -> Clock {
        let wall = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Clock { now: self.now, wall }
    }

    /// The daemon stands still for so long, as when its host is suspended.
    pub(crate) fn freeze(&mut self, length: Duration) {
        self.now += length;
        self.tick();
        self.settle();
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until something is true; how long that took. Fails after `limit`.
    pub(crate) fn run_until_true(
        &mut self,
        limit: Duration,
        truth: impl Fn(&Self) -> bool,
    ) -> Duration {
        let begun = self.now;
        let end = begun + limit;
        self.run_until(end, &truth);
        assert!(truth(self), "not within {limit:?}; log:\n{}", self.log_text());
        self.now - begun
    }

    pub(crate) fn log_text(&self) -> String {
        let lines: Vec<_> = self.log.iter().map(|notice| notice.message.clone()).collect();
        lines.join("\n")
    }

    fn run_until(&mut self, end: Instant, truth: impl Fn(&Self) -> bool) {
        self.settle();
        while self.now < end && !truth(self) {
            let probes = self.probes.iter().map(|probe| probe.ends);
            let hooks = self.hooks_under_way.iter().map(|(ends, _)| *ends);
            let probes = probes.chain(hooks);
            let routers = self.routers.values().filter_map(|router| {
                let bgp = router.connection.as_ref().and_then(|(_, c)| c.poll_timeout());
                bgp.into_iter().chain(router.bfd.as_ref().and_then(Sessions::poll_timeout)).min()
            });
            let own = [
                self.speaker.poll_timeout(),
                self.schedule.poll_timeout(),
                self.bfd.poll_timeout(),
            ];
            let next = probes.chain(routers).chain(own.into_iter().flatten()).min();
            // A deadline that has passed must have been acted upon: time always moves.
            let step = self.now + Duration::from_micros(1);
            self.now = next.unwrap_or(end).max(step).min(end);
            self.tick();
            self.settle();
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        self.speaker.handle_timeout(now);
        self.bfd.handle_timeout(now);
        for router in self.routers.values_mut() {
            if let Some((_, connection)) = &mut router.connection {
                connection.handle_timeout(now);
            }
            if let Some(bfd) = &mut router.bfd {
                bfd.handle_timeout(now);
            }
        }
        while let Some(id) = self.schedule.poll_due(now) {
            self.start_probe(id);
        }
        for (_, service) in
            self.hooks_under_way.extract_if(.., |(ends, _)| *ends <= now).collect::<Vec<_>>()
        {
            let (took, result) = self.hook.clone();
            self.feed(Input::HookEnded(HookReport { service, result, took }));
        }
        let (ended, running) =
            std::mem::take(&mut self.probes).into_iter().partition(|p| p.ends <= now);
        self.probes = running;
        for Probe { id, generation, started, result, .. } in ended {
            self.schedule.handle_finished(&id, now);
            let outcome = Outcome { result, started, finished: now };
            self.feed(Input::Probed(Report { id, generation, outcome }));
        }
    }

    fn start_probe(&mut self, id: CheckId) {
        let Some((check, generation)) = self.checks.get(&id) else { return };
        let name = format!("{}/{}", id.service, id.check);
        let (took, result) = match self.health.get(&name).unwrap_or(&Health::Healthy) {
            Health::Healthy => (Duration::from_millis(1), Ok(())),
            Health::Broken => (Duration::from_millis(1), Err(Failure::new("HTTP status 503"))),
            Health::Silent => (check.timeout, Err(Failure::new("no answer in time"))),
            Health::Stuck => (Duration::from_secs(86_400), Ok(())),
        };
        let (started, ends) = (self.now, self.now + took);
        self.probes.push(Probe { id, generation: *generation, started, ends, result });
    }

    pub(crate) fn feed(&mut self, input: Input) {
        self.speaker.handle(input, self.now);
    }

    /// Carries out everything that is wished for, until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(output) = self.speaker.poll_output() {
                self.carry_out(output);
                moved = true;
            }
            while let Some((peer, serial, octets)) = self.speaker.poll_transmit(self.now) {
                self.deliver(&peer, serial, &octets);
                moved = true;
            }
            moved |= self.exchange_bfd();
            moved |= self.drain_routers();
            if !moved {
                return;
            }
        }
    }

    fn carry_out_check(&mut self, command: CheckCommand) {
        match command {
            CheckCommand::Start(id, check, generation) => {
                self.schedule.insert(id.clone(), check.pace, self.now);
                self.probes.retain(|probe| probe.id != id);
                self.checks.insert(id, (check, generation));
                while let Some(due) = self.schedule.poll_due(self.now) {
                    self.start_probe(due);
                }
            }
            CheckCommand::Stop(id) => {
                self.schedule.remove(&id);
                self.checks.remove(&id);
                self.probes.retain(|probe| probe.id != id);
            }
            CheckCommand::Pace(id, mode) => {
                self.schedule.set_mode(&id, mode, self.now);
            }
            CheckCommand::Hasten(id) => self.schedule.hasten(&id, self.now),
            CheckCommand::Tell(service, surroundings) => {
                self.told.insert(service, surroundings);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect(peer, serial, _, to, _) => self.connect(peer, serial, to),
            Output::Close(peer, serial, last_words) => {
                if self.dialing.get(&peer) == Some(&serial) {
                    self.dialing.remove(&peer);
                }
                if !last_words.is_empty() {
                    self.goodbyes.push("close");
                }
                let (now, Some(router)) = (self.now, self.routers.get_mut(&peer)) else { return };
                let link = router.link;
                let ours = router.connection.as_mut().filter(|(number, _)| *number == serial);
                if let Some((_, connection)) = ours.filter(|_| link) {
                    connection.handle_input(&last_words, now);
                    // Behind a NOTIFICATION the end of the stream is no news.
                    connection.close(DownReason::ClosedByPeer { before_open: false });
                    router.drain();
                    router.forget();
                    router.connection = None;
                }
            }
            Output::Bfd(command) => self.command_bfd(command),
            Output::Check(command) => self.carry_out_check(command),
            Output::Hook(run) => self.run_hook(*run),
            Output::Netlink(request) => self.ask_kernel(request),
            Output::FindRouterId(_) => self.feed(Input::RouterId(self.reachable.clone())),
            Output::Notice(notice) => self.log.push(notice),
            Output::WatchUnits(units) => self.units = units,
            Output::Stopped => self.stopped = true,
            Output::CountAcknowledged(peer, serial) => {
                let taken = self.routers.get(&peer).map_or(0, |router| router.taken);
                self.feed(Input::Tcp(peer, serial, Tcp::Acknowledged(taken)));
            }
            Output::CompareKeys(peer, _) => {
                let connection = self.routers.get(&peer).and_then(|r| r.connection.as_ref());
                let serial = connection.map(|(serial, _)| *serial);
                let news = self.password.news();
                if let (Some(serial), Some(news)) = (serial, news) {
                    self.feed(Input::Tcp(peer, serial, news));
                }
            }
            Output::Advertise(links) => self.advertised = links.into_keys().collect(),
            Output::SetUserTimeout(..) | Output::Listen(..) => {}
        }
    }

    fn run_hook(&mut self, run: Run) {
        let Environment { service, surroundings, reason, .. } = run.environment;
        assert!(!self.hooks_under_way.iter().any(|(_, other)| *other == service));
        let reason = reason.expect("a reason, or an empty one");
        let told = format!("{service} {} ({}) {reason}", run.hook, surroundings.state);
        self.hooks.push(told.trim_end().into());
        let (took, _) = self.hook;
        self.hooks_under_way.push((self.now + took, service));
    }

    fn connect(&mut self, peer: PeerName, serial: Serial, to: ScopedAddress) {
        let now = self.now;
        let Some(router) = self.routers.get_mut(&peer) else { return };
        router.attempts += 1;
        if !router.link || router.address != to {
            self.dialing.insert(peer, serial);
            return;
        }
        if router.mood == Mood::Refuses {
            let kind = std::io::ErrorKind::ConnectionRefused;
            let error = ConnectError { kind, text: "refused".into() };
            self.feed(Input::Tcp(peer, serial, Tcp::Failed(error)));
            return;
        }
        let config = SessionConfig {
            local_asn: router.asn,
            remote_asn: RemoteAsn::External,
            families: Family::ALL.to_vec(),
            hold_time: Duration::from_secs(90),
            keepalive_time: None,
            role: None,
            restart: router.restart,
            bfd_strict: router.bfd_strict,
        };
        let config = if router.asn == Asn(65100) {
            SessionConfig { remote_asn: RemoteAsn::Internal, ..config }
        } else {
            config
        };
        let router_id = match router.address.ip {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::new(10, 9, 9, 9),
        };
        let preserved = router.preserved.clone();
        let restarted = router.has_restarted;
        let opening = Opening { preserved, restarted, ..Opening::new(router_id) };
        let mut connection = Connection::new(config, opening, 3, now);
        connection.set_held(router.bfd_strict && !router.has_bfd_up(now), now);
        if router.mood == Mood::Rejects {
            connection.close(DownReason::Shutdown("not today".into()));
        }
        router.forget();
        router.connection = Some((serial, connection));
        router.taken = 0;
        let mood = router.mood;
        self.feed(Input::Tcp(peer.clone(), serial, Tcp::Connected(host(to))));
        if mood == Mood::Hangs {
            self.router(peer.as_ref()).connection = None;
            self.feed(Input::Tcp(peer, serial, Tcp::Closed(None)));
        }
    }

    /// Octets from the daemon reach the router, unless it is out of reach or stuck.
    fn deliver(&mut self, peer: &PeerName, serial: Serial, octets: &[u8]) {
        let now = self.now;
        let Some(router) = self.routers.get_mut(peer) else { return };
        if router.mood == Mood::Stuck && router.updates > 0 {
            router.unread = Some((serial, octets.to_vec()));
            return;
        }
        if router.link
            && let Some((number, connection)) = &mut router.connection
            && *number == serial
        {
            if router.mood == Mood::Deaf && router.updates > 0 {
                // Its hold timer must not end what ours is to end.
                connection.handle_input(&wire::keepalive(), now);
            } else {
                connection.handle_input(octets, now);
                router.taken += octets.len() as u64;
            }
        }
        // The kernel takes octets into its buffer whether the link works or not.
        self.feed(Input::Tcp(peer.clone(), serial, Tcp::Written));
    }

    fn drain_routers(&mut self) -> bool {
        let mut to_host = Vec::new();
        for (name, router) in &mut self.routers {
            router.drain();
            if router.mood == Mood::Waits {
                continue;
            }
            if let Some((serial, connection)) = &mut router.connection {
                let octets = [connection.poll_transmit(), std::mem::take(&mut router.unsent)];
                let mut octets = octets.concat();
                if !router.refreshable {
                    hide_route_refresh(&mut octets);
                }
                if !router.names_families {
                    hide_restart_families(&mut octets);
                }
                let closed = connection.state() == vipcast::bgp::connection::State::Closed;
                let serial = *serial;
                if router.link && !octets.is_empty() {
                    to_host.push((name.clone(), serial, Tcp::Received(octets)));
                }
                if closed {
                    router.connection = None;
                    router.forget();
                    if router.link {
                        to_host.push((name.clone(), serial, Tcp::Closed(None)));
                    }
                }
            }
        }
        let moved = !to_host.is_empty();
        for (name, serial, event) in to_host {
            self.feed(Input::Tcp(name, serial, event));
        }
        moved
    }

    fn command_bfd(&mut self, command: BfdCommand) {
        match command {
            BfdCommand::Set(peer, config) => self.bfd.set(&peer, config, self.now),
            BfdCommand::EchoPath(peer, path) => {
                self.bfd.set_echo_path(&peer, Some(path), self.now);
            }
            BfdCommand::Remove(peer) => self.bfd.remove(&peer, self.now),
            BfdCommand::AdminDown => {
                self.goodbyes.push("bfd admin down");
                self.bfd.admin_down(self.now);
            }
            BfdCommand::Look(peer) => {
                if let Some(evidence) = self.bfd.evidence(&peer, self.now) {
                    self.feed(Input::Bfd(BfdEvent::Look(peer, evidence)));
                }
            }
            BfdCommand::Key(..) | BfdCommand::Ping | BfdCommand::Report(_) => {}
        }
    }

    fn exchange_bfd(&mut self) -> bool {
        let now = self.now;
        let mut moved = false;
        while let Some(Transmit { session, echo, payload }) = self.bfd.poll_transmit(now) {
            moved = true;
            let Some((name, _)) = self.bfd.config(session) else { continue };
            let Some(router) = self.routers.get_mut(name).filter(|router| router.link) else {
                continue;
            };
            match (echo, &mut router.bfd, router.bfd_passes) {
                (Some(path), ..) if router.forwards => {
                    let frame = Frame {
                        interface: path.interface,
                        destination: path.local,
                        ttl: 254,
                        payload: payload.octets(),
                        at: now,
                    };
                    assert_eq!(self.bfd.handle_echo(frame), None, "it is ours");
                }
                (None, Some(bfd), [true, _]) => {
                    bfd.handle_datagram(datagram(host(router.address), payload.octets(), now));
                }
                _ => {}
            }
        }
        for router in self.routers.values_mut() {
            let Some(bfd) = &mut router.bfd else { continue };
            while let Some(packet) = bfd.poll_transmit(now) {
                moved = true;
                let mut packet = packet.payload.octets().to_vec();
                if let Some(flags) = packet.get_mut(1).filter(|_| router.bfd_is_independent) {
                    *flags |= 0x08;
                }
                if let (true, [_, true]) = (router.link, router.bfd_passes) {
                    let datagram = datagram(router.address, &packet, now);
                    self.bfd.handle_datagram(Datagram { ttl: Some(router.bfd_ttl), ..datagram });
                }
            }
            while let Some((_, _, event)) = bfd.poll_event() {
                if let (Some((_, connection)), true) = (&mut router.connection, router.bfd_strict) {
                    connection.set_held(event != BfdSessionEvent::Up, now);
                }
                // RFC 5882: the router drops the session too.
                if matches!(event, BfdSessionEvent::Down(..))
                    && let Some((_, connection)) = &mut router.connection
                {
                    connection.close(DownReason::BfdDown("router".into()));
                }
            }
        }
        while let Some((name, generation, event)) = self.bfd.poll_event() {
            moved = true;
            self.feed(Input::Bfd(BfdEvent::Session(name, generation, event)));
        }
        moved
    }

    fn ask_kernel(&mut self, request: Request) {
        let routes = self.routers.iter();
        let routes = routes.map(|(name, r)| (name.clone(), r.routes.keys().copied().collect()));
        self.requests.push((request.clone(), routes.collect()));
        let mut event = None;
        let result = match (&request, &self.refuse_addresses) {
            (Request::Route(request), _) => {
                self.route_requests.push(request.clone());
                return self.ask_for_route(request.clone());
            }
            (Request::WatchNeighbours(watch), _) => {
                self.watches_neighbours = *watch;
                let all = self.met.values().copied().collect();
                return self.feed(Input::Netlink(NetlinkEvent::Neighbours(all)));
            }
            (Request::Add(..) | Request::CreateDummy(_), Some(error)) => Err(error.clone()),
            (Request::Add(index, vip), None) => {
                let prefix = IpNet::from(*vip);
                let address = Address {
                    index: *index,
                    prefix,
                    ours: true,
                    usable: vip.is_ipv4(),
                    tentative: false,
                };
                self.addresses.insert((*index, *vip), address);
                event = Some(NetlinkEvent::Address(address));
                Ok(())
            }
            (Request::Remove(index, prefix), _) => {
                let gone = self.addresses.remove(&(*index, prefix.addr()));
                event = gone.map(NetlinkEvent::AddressGone);
                Ok(())
            }
            (Request::CreateDummy(name), None) => {
                let index = 100 + u32::try_from(self.links.len()).expect("few links");
                let link = link(index, name);
                self.links.insert(index, link.clone());
                event = Some(NetlinkEvent::Link(link));
                Ok(())
            }
        };
        if let Some(event) = event {
            self.feed(Input::Netlink(event));
        }
        self.feed(Input::Netlink(NetlinkEvent::Done(request, result)));
    }

    fn ask_for_route(&mut self, request: RouteRequest) {
        let event = match &request {
            RouteRequest::Read => return self.dump(),
            RouteRequest::Add(route) if self.kernel_routes.contains_key(&route.key) => {
                let there = RouteEvent::AlreadyThere(route.key);
                return self.feed(Input::Netlink(NetlinkEvent::Route(there)));
            }
            RouteRequest::Add(route) | RouteRequest::Replace(route) => {
                let before = self.kernel_routes.insert(route.key, (true, route.next_hops.clone()));
                assert!(before.is_none_or(|(ours, _)| ours), "{request:?} replaces another's");
                Some(RouteEvent::Changed(route.clone()))
            }
            RouteRequest::Remove(key) => {
                let is_ours = self.kernel_routes.get(key).is_some_and(|(ours, _)| *ours);
                let gone = is_ours.then(|| self.kernel_routes.remove(key)).flatten();
                gone.map(|(_, next_hops)| RouteEvent::Gone(Route { key: *key, next_hops }))
            }
        };
        for event in event.into_iter().chain([RouteEvent::Done(request, Ok(()))]) {
            self.feed(Input::Netlink(NetlinkEvent::Route(event)));
        }
    }

    /// The routes of ours in the kernel: "0.0.0.0/0 by 10.0.0.1, 10.0.0.2".
    pub(crate) fn learned(&self) -> Vec<String> {
        let ours = self.kernel_routes.iter().filter(|(_, (ours, _))| *ours);
        ours.map(|(key, (_, next_hops))| {
            let by: Vec<_> = next_hops.iter().map(|hop| hop.address.to_string()).collect();
            format!("{} by {}", key.prefix, by.join(", "))
        })
        .collect()
    }
}

impl Router {
    fn new(peer: &config::Peer, start: Instant) -> Self {
        let zone = if peer.bgp.transport.remote.interface().is_some() { ETH0 } else { 0 };
        let found = on_eth0("fe80::1").ip;
        let ip = peer.bgp.transport.remote.address().unwrap_or(found);
        let address = ScopedAddress { ip, zone };
        let bfd = peer.bfd.as_ref().map(|theirs| {
            let mut sessions = Sessions::new(77);
            let config::Bfd { hops, minimum_ttl, session, .. } = *theirs;
            let (generation, remote) = (BfdGeneration(1), host(address));
            let config = BfdConfig {
                generation,
                remote,
                source: None,
                hops,
                minimum_ttl,
                session,
                authentication: None,
            };
            sessions.set(&"host".into(), config, start);
            sessions
        });
        Self {
            address,
            asn: match peer.bgp.session.remote_asn {
                RemoteAsn::Number(asn) => asn,
                RemoteAsn::External => Asn(65000),
                RemoteAsn::Internal => peer.bgp.session.local_asn,
            },
            mood: Mood::Peers,
            link: true,
            bfd_passes: [true; 2],
            forwards: true,
            bfd_ttl: 255,
            bfd_is_independent: false,
            routes: BTreeMap::new(),
            end_of_rib: BTreeSet::new(),
            updates: 0,
            downs: Vec::new(),
            attempts: 0,
            connection: None,
            bfd,
            originates: BTreeMap::new(),
            behind: Vec::new(),
            refreshes: Vec::new(),
            refreshable: true,
            ends: true,
            restart: None,
            bfd_strict: false,
            preserved: Family::ALL.into(),
            names_families: true,
            has_restarted: false,
            unsent: Vec::new(),
            unread: None,
            taken: 0,
        }
    }

    /// The router has no BFD for this host.
    pub(crate) fn disable_bfd(&mut self) {
        self.bfd = None;
    }

    /// Announces this to the host, now and in sessions to come.
    pub(crate) fn announce(&mut self, prefix: &str, next_hop: &str) {
        let prefix: IpNet = prefix.parse().expect("a prefix");
        let next_hop: IpAddr = next_hop.parse().expect("an address");
        self.originates.insert(prefix, next_hop);
        if self.is_established() {
            let octets = self.announcement(prefix, next_hop);
            self.unsent.extend(octets);
        }
    }

    /// Takes that back.
    pub(crate) fn withdraw(&mut self, prefix: &str) {
        let prefix: IpNet = prefix.parse().expect("a prefix");
        self.originates.remove(&prefix);
        if self.is_established() {
            self.unsent
                .extend(wire::withdraw(Family::of(prefix), &[prefix], Encoding::default()).0);
        }
    }

    fn has_bfd_up(&self, now: Instant) -> bool {
        let mut looks = self.bfd.iter().flat_map(|bfd| bfd.looks(now));
        looks.any(|look| look.session.state == BfdState::Up)
    }

    fn is_established(&self) -> bool {
        let state = self.connection.as_ref().map(|(_, connection)| connection.state());
        state == Some(vipcast::bgp::connection::State::Established)
    }

    fn announcement(&self, prefix: IpNet, next_hop: IpAddr) -> Vec<u8> {
        let Some((_, connection)) = &self.connection else { return Vec::new() };
        let Some(session) = connection.session() else { return Vec::new() };
        let encoding = session.encoding;
        let own = (!encoding.internal).then_some(self.asn);
        let as_path: Vec<Asn> = own.into_iter().chain(self.behind.iter().copied()).collect();
        let (family, attributes) = (Family::of(prefix), Attributes::default());
        let announcement = Announcement {
            family,
            next_hop: next_hop.into(),
            as_path: &as_path,
            extended_communities: &[],
            attributes: &attributes,
        };
        wire::announce(announcement, &[prefix], encoding).0
    }

    /// Announces everything of these families.
    fn announce_all(&mut self, families: &[Family], ends: bool) {
        for (prefix, next_hop) in self.originates.clone() {
            if families.contains(&Family::of(prefix)) {
                let octets = self.announcement(prefix, next_hop);
                self.unsent.extend(octets);
            }
        }
        for family in families.iter().filter(|_| ends) {
            self.unsent.extend(wire::end_of_rib(*family));
        }
    }

    fn forget(&mut self) {
        self.unsent.clear();
        self.routes.clear();
        self.end_of_rib.clear();
        self.updates = 0;
    }

    /// Takes in what the connection has to say.
    fn drain(&mut self) {
        while let Some(event) =
            self.connection.as_mut().and_then(|(_, connection)| connection.poll_event())
        {
            match event {
                Event::Received(update) => {
                    self.updates += 1;
                    for prefix in update.withdrawn {
                        self.routes.remove(&prefix);
                    }
                    for prefix in update.announced {
                        self.routes.insert(prefix, update.attributes.clone());
                    }
                    self.end_of_rib.extend(update.end_of_rib);
                    assert_eq!(update.defects, [], "the daemon sends flawless UPDATEs");
                }
                Event::Down(reason) => self.downs.push(reason),
                Event::Established => {
                    self.has_restarted = false;
                    let ends = self.ends;
                    self.announce_all(&Family::ALL, ends);
                }
                Event::Refresh(family) => {
                    self.refreshes.push(family);
                    self.announce_all(&[family], false);
                }
                Event::Opened | Event::AwaitsBfd => {}
            }
        }
    }
}

/// Makes of the capability in an OPEN one that nobody knows.
fn hide_route_refresh(octets: &mut [u8]) {
    let before_next_hops = [2, 0, 5, 6];
    let found = octets.windows(4).position(|window| window == before_next_hops);
    if let Some(code) = found.and_then(|at| octets.get_mut(at)) {
        *code = 99;
    }
}

/// Makes of both families of the capability in an OPEN (RFC 4724 §3) one that the daemon does not have.
fn hide_restart_families(octets: &mut [u8]) {
    let code_and_length = [64, 10];
    let Some(at) = octets.windows(2).position(|window| window == code_and_length) else { return };
    let families = octets.get_mut(at + 4..at + 12).unwrap_or_default();
    for [afi_high, ..] in families.as_chunks_mut::<4>().0 {
        *afi_high = 0x40; // BGP-LS and its neighbours
    }
}

fn datagram(source: ScopedAddress, payload: &[u8], at: Instant) -> Datagram<'_> {
    Datagram { hops: Hops::Single, source, ttl: Some(255), payload, at }
}

/// The host's end of a connection to a router.
fn host(router: ScopedAddress) -> ScopedAddress {
    match router.zone {
        0 => IpAddr::V4(HOST).into(),
        zone => ScopedAddress { ip: LINK_LOCAL.into(), zone },
    }
}

/// One that is up.
fn link(index: u32, name: &str) -> Link {
    let forwards = Forwards::default();
    Link { index, name: name.into(), up: true, carrier: true, forwards }
}

/// A link-local address on eth0.
pub(crate) fn on_eth0(address: &str) -> ScopedAddress {
    ScopedAddress { ip: address.parse().expect("an address"), zone: ETH0 }
}

/// A configuration that must be valid.
pub(crate) fn parse(text: &str) -> Config {
    let source = Source { path: "vipcast.toml".into(), text: text.into() };
    config::parse(vec![source]).expect("a valid configuration")
}
