//! The owner of all state: the whole daemon as one state machine.
//!
//! Facts come in as [`Input`], wishes go out as [`Output`]; between them is one chain of
//! desired states, each compared with the next:
//!
//! ```text
//! outcomes -> service (verdict) -> VIP on the host? -> Loc-RIB -> export -> Adj-RIB-Out -> UPDATE
//! ```
//!
//! A VIP is announced while its service is up and its address is on the host. It is withdrawn
//! first and taken off the host later. Routes that are learned go the other way, see [`received`].
//! Reload, reconnect and shutdown move the start of the chain
//! and let it run.
pub mod bfd;
pub mod histogram;
mod input;
mod missed;
pub mod notice;
mod output;
mod paths;
mod peers;
pub mod received;
mod reload;
mod restarts;
pub mod routes;
mod shutdown;
pub mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::bgp::transport::Listening;
use crate::check::driver::{Command as CheckCommand, Generation, Report};
use crate::check::{CheckId, Outcome};
use crate::config::Config;
use crate::netlink::{self, Addresses, Neighbours, Presence};
use crate::rib::Rib;
use crate::route::{CheckName, Family, PeerName, ServiceName};
use crate::service::Service;
use crate::service::health::Verdict;
use histogram::Histogram;
use notice::{Level, Notice};
use peers::PeerEntry;
use received::Received;
use shutdown::Phase;

pub use input::Input;
pub use output::Output;

/// End-of-RIB waits for the first verdict of every service, but no longer than this
/// (RFC 4724 §4.1 asks for such a bound on the other side).
pub const DEFERRAL_TIME: Duration = Duration::from_secs(60);

/// Between looks for outcomes that are too old.
const EXPIRE: Duration = Duration::from_secs(1);

/// The daemon.
#[derive(Debug)]
pub struct Speaker {
    config: Config,
    random: fastrand::Rng,
    /// This host's, for the people at the routers
    host_name: Option<String>,
    /// What peers are told of our start; `None` until the host has been looked at, and none is
    /// spoken with before
    start: Option<Start>,
    router_id: Option<Ipv4Addr>,
    /// When the search for a router ID is repeated
    find_router_id_at: Option<Instant>,
    /// A search found none, and the log says so
    told_no_router_id: bool,
    services: BTreeMap<ServiceName, ServiceEntry>,
    /// Which service a VIP belongs to
    owners: BTreeMap<IpAddr, ServiceName>,
    addresses: Addresses,
    neighbours: Neighbours,
    /// VIPs to take off the host once every peer has been told
    leaving: BTreeSet<IpAddr>,
    rib: Rib,
    peers: BTreeMap<PeerName, PeerEntry>,
    received: Received,
    /// Why passive peers of a family cannot connect
    cannot_listen: BTreeMap<Listening, String>,
    /// The interfaces on which we say that we are there
    advertised: BTreeMap<u32, String>,
    /// Why we do not
    cannot_advertise: Option<String>,
    /// When to look again for outcomes that are too old to go by
    expire_at: Instant,
    /// When End-of-RIB is sent at the latest; `None` once it may be
    deferral: Option<Instant>,
    phase: Phase,
    next_generation: u64,
    outputs: VecDeque<Output>,
}

/// What peers are told of our start (RFC 4724 §3).
#[derive(Clone, Debug)]
struct Start {
    /// It is new to them
    restarted: bool,
    /// Families whose VIPs have been on the host all the time
    preserved: BTreeSet<Family>,
}

/// A service and what goes with it.
#[derive(Debug)]
struct ServiceEntry {
    service: Service,
    /// Of the verdict
    since: Instant,
    /// Boxed, since a node of a map has room for eleven and most services have one
    checks: BTreeMap<CheckName, Box<CheckEntry>>,
    /// Checks that wait for the VIPs to be on the host: most probe one, and the first outcome
    /// decides
    waiting: BTreeSet<CheckName>,
    /// Which of its VIPs was not known to be on the host when that was last asked
    awaited: usize,
    /// VIPs that are announced, and since when
    announced: BTreeMap<IpAddr, Instant>,
}

impl ServiceEntry {
    /// Whether it is still to be known of a VIP whether it is on the host. They become known one by
    /// one, so the search goes on where it ended last: all of them together cost one pass.
    fn awaits_vip(&mut self, addresses: &Addresses) -> bool {
        let vips = &self.service.config().vips;
        let (before, after) = vips.split_at(self.awaited.min(vips.len()));
        let pending = |vip: &IpAddr| *addresses.presence(*vip) == Presence::Pending;
        let found = after.iter().chain(before).position(pending);
        if let Some(distance) = found {
            self.awaited = (before.len() + distance) % vips.len();
        }
        found.is_some()
    }
}

/// A check as it was started.
#[derive(Debug)]
struct CheckEntry {
    generation: Generation,
    durations: Histogram,
}

impl Speaker {
    /// Starts with a configuration, on the host of this name. `seed` makes everything random
    /// reproducible.
    #[must_use]
    pub fn new(config: Config, host_name: Option<String>, seed: u64, now: Instant) -> Self {
        let mut speaker = Self {
            config,
            random: fastrand::Rng::with_seed(seed),
            host_name,
            start: None,
            router_id: None,
            find_router_id_at: None,
            told_no_router_id: false,
            services: BTreeMap::new(),
            owners: BTreeMap::new(),
            addresses: Addresses::default(),
            neighbours: Neighbours::default(),
            leaving: BTreeSet::new(),
            rib: Rib::default(),
            peers: BTreeMap::new(),
            received: Received::new(now),
            cannot_listen: BTreeMap::new(),
            advertised: BTreeMap::new(),
            cannot_advertise: None,
            expire_at: now + EXPIRE,
            deferral: Some(now + DEFERRAL_TIME),
            phase: Phase::Running,
            next_generation: 0,
            outputs: VecDeque::new(),
        };
        speaker.rib.set_policy(speaker.config.policy.clone());
        for name in speaker.config.services.keys().cloned().collect::<Vec<_>>() {
            speaker.add_service(&name, now);
        }
        for name in speaker.config.peers.keys().cloned().collect::<Vec<_>>() {
            speaker.add_peer(&name, None, now);
        }
        speaker.listen();
        speaker.watch_neighbours(false);
        speaker.drain(now);
        speaker
    }

    /// Takes in a fact.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Tcp(peer, serial, event) => self.handle_tcp(&peer, serial, event, now),
            Input::CannotListen(place, Some(trouble)) => {
                self.notice(Notice::new(Level::Error, &trouble));
                self.cannot_listen.insert(place, trouble);
            }
            Input::CannotListen(place, None) => {
                self.cannot_listen.remove(&place);
            }
            Input::CannotAdvertise(trouble) => {
                self.notice(match &trouble {
                    Some(trouble) => Notice::new(Level::Error, trouble),
                    None => Notice::new(Level::Info, "router advertisements are sent now"),
                });
                self.cannot_advertise = trouble;
            }
            Input::Bfd(event) => self.handle_bfd(event, now),
            Input::Probed(report) => self.handle_probed(report, now),
            Input::Netlink(event) => {
                if let netlink::Event::Broken(error) = &event {
                    self.notice(Notice::new(Level::Error, error));
                }
                self.received.handle_netlink(&event, now);
                self.neighbours.handle_event(&event);
                let start = self.look_at_host(&event);
                self.addresses.handle_event(event, now);
                if let Some(start) = start {
                    self.start = Some(start);
                    self.settle_router_id(self.config.bgp.router_id, now);
                }
            }
            Input::RouterId(found) => self.handle_router_id(&found, now),
            Input::Reset(peer, text) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.peer.reset(&text, now);
                }
            }
            Input::Reload(config) => self.reload(*config, now),
            Input::Stop(text) => self.begin_stop(text, now),
            Input::Restart => self.begin_restart(now),
        }
        self.drain(now);
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.addresses.handle_timeout(now);
        if let Some(notice) = self.received.handle_timeout(now) {
            self.notice(notice);
        }
        for entry in self.peers.values_mut() {
            entry.peer.handle_timeout(now);
        }
        self.ask_about_bfd(now);
        if self.find_router_id_at.is_some_and(|at| at <= now) {
            self.find_router_id(now);
        }
        if self.expire_at <= now {
            self.expire_at = now + EXPIRE;
            self.expire_checks(now);
        }
        if self.deferral.is_some_and(|at| at <= now) {
            let text = "End-of-RIB goes out although not every service has a first result";
            self.notice(Notice::new(Level::Warn, text));
            self.release_end_of_rib();
        }
        self.drain(now);
    }

    /// The next thing for a driver to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|entry| entry.peer.poll_timeout());
        let others = [
            self.addresses.poll_timeout(),
            self.received.poll_timeout().filter(|_| self.phase.is_running()),
            self.find_router_id_at,
            self.next_question(),
            self.deferral,
            (!self.services.is_empty()).then_some(self.expire_at),
            self.phase.deadline(),
        ];
        peers.chain(others.into_iter().flatten()).min()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Lets what happened run through the chain until nothing moves any more.
    fn drain(&mut self, now: Instant) {
        while let Some(vip) = self.addresses.poll_lost() {
            let text = "disappeared from its interface; putting it back";
            self.notice(self.vip_notice(Level::Warn, vip, text));
        }
        while let Some(vip) = self.addresses.poll_changed() {
            let trouble = match self.addresses.presence(vip).clone() {
                Presence::Missing(reason) => Some((reason, "is not on this host")),
                Presence::Elsewhere(reason) => Some((reason, "stays where it was")),
                Presence::Pending | Presence::Present => None,
            };
            if let Some((reason, what)) = trouble {
                self.notice(self.vip_notice(Level::Error, vip, what).because(reason));
            }
            self.evaluate_vip(vip, now);
            if let Some(name) = self.owners.get(&vip).cloned() {
                self.start_waiting(&name);
            }
        }
        self.drain_peers(now);
        self.settle_received(now);
        while self.advance_stop(now) {}
        if !self.leaving.is_empty() && self.peers.values().all(|entry| entry.peer.is_settled()) {
            for vip in std::mem::take(&mut self.leaving) {
                self.addresses.unwant(vip, now);
            }
        }
        while let Some(request) = self.addresses.poll_request() {
            self.outputs.push_back(Output::Netlink(request));
        }
        if self.deferral.is_some() && self.is_known() {
            self.release_end_of_rib();
            self.drain_peers(now);
        }
    }

    fn handle_probed(&mut self, report: Report, now: Instant) {
        let CheckId { service: name, check } = report.id;
        let Some(entry) = self.services.get_mut(&name) else { return };
        let Some(started) = entry.checks.get_mut(&check) else { return };
        if started.generation != report.generation {
            return; // of the check that had this name before
        }
        let Outcome { started: began, finished, .. } = report.outcome;
        started.durations.observe(finished.saturating_duration_since(began));
        let failure = report.outcome.result.clone().err();
        let consequence = entry.service.handle_outcome(&check, report.outcome);
        let mut notices = Vec::new();
        if let Some(state) = entry.service.checks().get(&check) {
            let (against, needed) = state.health().against();
            let notice = match (consequence.check_changed, &failure) {
                (true, None) => Some((Level::Info, format!("check {check} is up"))),
                (true, Some(_)) => Some((Level::Warn, format!("check {check} is down"))),
                (false, Some(_)) if state.health().verdict() == Verdict::Up => {
                    Some((Level::Info, format!("check {check} failed, {against} of {needed}")))
                }
                (false, _) => None,
            };
            if let Some((level, text)) = notice {
                let notice = Notice::service(level, &name, text);
                let notice = Notice { check: Some(check.clone()), ..notice };
                notices.push(match failure {
                    Some(failure) => notice.because(failure),
                    None => notice,
                });
            }
        }
        if let Some(mode) = consequence.mode {
            let id = CheckId { service: name.clone(), check };
            self.outputs.push_back(Output::Check(CheckCommand::Pace(id, mode)));
        }
        for notice in notices {
            self.notice(notice);
        }
        if consequence.service_changed {
            self.handle_verdict(&name, now);
        }
    }

    /// Goes by no outcome that is too old. A daemon that was suspended must not announce what was
    /// healthy before, nor take what its probes missed meanwhile for a failure.
    fn expire_checks(&mut self, now: Instant) {
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            let Some(entry) = self.services.get_mut(&name) else { continue };
            let (expired, service_changed) = entry.service.expire(now);
            for check in expired {
                let text = format!("check {check} has had no result for too long, starting anew");
                let notice = Notice::service(Level::Warn, &name, text);
                self.notice(Notice { check: Some(check.clone()), ..notice });
                self.start_check(&name, check);
            }
            if service_changed {
                self.handle_verdict(&name, now);
            }
        }
    }

    /// The verdict on a service changed.
    fn handle_verdict(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get_mut(name) else { return };
        entry.since = now;
        let reason = entry.service.reason();
        let (level, text) = match entry.service.verdict() {
            Verdict::Up => (Level::Info, "up"),
            Verdict::Down => (Level::Warn, "down"),
            Verdict::Unknown => (Level::Info, "not known to be up or down"),
        };
        let notice = Notice::service(level, name, text);
        self.notice(match reason {
            Some(reason) => notice.because(reason),
            None => notice,
        });
        self.evaluate_service(name, now);
    }

    /// Works out what follows for all VIPs of a service.
    fn evaluate_service(&mut self, name: &ServiceName, now: Instant) {
        let Some(entry) = self.services.get(name) else { return };
        for vip in entry.service.config().vips.clone() {
            self.evaluate_vip(vip, now);
        }
        self.start_waiting(name);
    }

    /// Starts the checks of a service, once it is known where its VIPs are.
    fn start_waiting(&mut self, name: &ServiceName) {
        let Some(entry) = self.services.get_mut(name) else { return };
        let config = entry.service.config();
        let puts_vips = config.interface.is_some() && config.keep_address;
        if entry.waiting.is_empty() || puts_vips && entry.awaits_vip(&self.addresses) {
            return;
        }
        for check in std::mem::take(&mut entry.waiting) {
            self.start_check(name, check);
        }
    }

    /// Works out whether a VIP is wanted on the host, and whether it is announced.
    fn evaluate_vip(&mut self, vip: IpAddr, now: Instant) {
        let Some(entry) = self.owners.get(&vip).and_then(|name| self.services.get(name)) else {
            return;
        };
        let config = entry.service.config();
        let wanted = self.phase.is_running() && entry.service.verdict() == Verdict::Up;
        let present = match &config.interface {
            None => {
                self.leaving.remove(&vip);
                self.addresses.disown(vip);
                true
            }
            Some(interface) => {
                if wanted || config.keep_address && self.phase.is_running() {
                    self.leaving.remove(&vip);
                    self.addresses.want(vip, interface, now);
                } else if entry.service.verdict() == Verdict::Unknown && self.phase.is_running() {
                    self.addresses.leave_undecided(vip);
                } else {
                    self.leaving.insert(vip);
                }
                self.addresses.presence(vip).is_there()
            }
        };
        self.announce(vip, wanted && present, now);
    }

    /// Announces a VIP or withdraws it, to whom policy says.
    fn announce(&mut self, vip: IpAddr, announced: bool, now: Instant) {
        let name = self.owners.get(&vip).cloned();
        let service = name.as_ref().and_then(|name| self.config.services.get(name));
        let prefixes = match announced {
            true => self.rib.announce(vip, service.and_then(|service| service.weight)),
            false => self.rib.withdraw(vip),
        };
        self.export(&prefixes, now);
        let Some(name) = name else { return };
        let Some(entry) = self.services.get_mut(&name) else { return };
        let text = match (announced, entry.announced.contains_key(&vip)) {
            (true, false) => {
                entry.announced.insert(vip, now);
                format!("announcing {vip}")
            }
            (false, true) => {
                entry.announced.remove(&vip);
                format!("withdrawing {vip}")
            }
            (true, true) | (false, false) => return,
        };
        let reason = entry.service.reason().filter(|_| !announced);
        let notice = Notice::service(Level::Info, &name, text);
        let notice = Notice { prefix: Some(vip), ..notice };
        self.notice(match reason {
            Some(reason) => notice.because(reason),
            None => notice,
        });
    }

    fn add_service(&mut self, name: &ServiceName, now: Instant) {
        let Some(config) = self.config.services.get(name).cloned() else { return };
        self.owners.extend(config.vips.iter().map(|vip| (*vip, name.clone())));
        let entry = ServiceEntry {
            waiting: config.checks.keys().cloned().collect(),
            awaited: 0,
            service: Service::new(config),
            since: now,
            checks: BTreeMap::new(),
            announced: BTreeMap::new(),
        };
        self.services.insert(name.clone(), entry);
        self.evaluate_service(name, now);
    }

    /// Starts a check of a service, in place of what had its name before.
    fn start_check(&mut self, name: &ServiceName, check: CheckName) {
        self.next_generation += 1;
        let generation = Generation(self.next_generation);
        let Some(entry) = self.services.get_mut(name) else { return };
        let Some(config) = entry.service.config().checks.get(&check) else { return };
        let definition = config.check.clone();
        let durations = Histogram::default();
        entry.checks.insert(check.clone(), Box::new(CheckEntry { generation, durations }));
        let id = CheckId { service: name.clone(), check };
        let command = CheckCommand::Start(id, definition, generation);
        self.outputs.push_back(Output::Check(command));
    }

    /// Whether every service has a verdict, and every VIP that follows from one is on the host or
    /// known not to be.
    fn is_known(&mut self) -> bool {
        let addresses = &self.addresses;
        self.services.values_mut().all(|entry| match entry.service.verdict() {
            Verdict::Unknown => false,
            Verdict::Down => true,
            Verdict::Up => {
                entry.service.config().interface.is_none() || !entry.awaits_vip(addresses)
            }
        })
    }

    /// A line about a VIP on this host; its address goes in front.
    fn vip_notice(&self, level: Level, vip: IpAddr, text: &str) -> Notice {
        let service = self.owners.get(&vip).cloned();
        Notice { service, prefix: Some(vip), ..Notice::new(level, format!("VIP {vip} {text}")) }
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}
