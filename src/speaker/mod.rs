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
mod admin;
pub mod bfd;
pub mod histogram;
mod hooks;
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
mod services;
mod shutdown;
pub mod status;
mod units;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::bgp::transport::Listening;
use crate::config::Config;
use crate::netlink::{self, Addresses, Neighbours, Presence};
use crate::rib::Rib;
use crate::route::{Family, PeerName, ServiceName};
use crate::service::admin::Wishes;
use crate::service::hooks::Queue;
use crate::units::{State as UnitState, UnitName};
use notice::{Level, Notice};
use peers::PeerEntry;
use received::Received;
use services::ServiceEntry;
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
    /// When the gates of services are to be looked at again
    gates: BTreeSet<(Instant, ServiceName)>,
    /// What the operator wants, also with services that there are not at present
    wishes: BTreeMap<ServiceName, Wishes>,
    /// What is known of the units that services follow
    units: BTreeMap<UnitName, UnitState>,
    /// Why nothing is, if systemd cannot be asked
    cannot_watch_units: Option<String>,
    hooks: Queue,
    /// Services of which VIPs are announced, or not any more, since their hooks were told
    hooks_due: BTreeSet<ServiceName>,
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
    /// Families whose VIPs were on the host when we started: the routers may have kept their routes
    kept: BTreeSet<Family>,
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
            gates: BTreeSet::new(),
            wishes: BTreeMap::new(),
            units: BTreeMap::new(),
            cannot_watch_units: None,
            hooks: Queue::default(),
            hooks_due: BTreeSet::new(),
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
            kept: BTreeSet::new(),
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
        speaker.watch_units(&BTreeSet::new());
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
                    self.kept.clone_from(&start.preserved);
                    self.start = Some(start);
                    for name in self.services.keys().cloned().collect::<Vec<_>>() {
                        self.skip_delay(&name, now);
                    }
                    self.settle_router_id(self.config.bgp.router_id, now);
                }
            }
            Input::RouterId(found) => self.handle_router_id(&found, now),
            Input::Reset(peer, text) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.peer.reset(&text, now);
                }
            }
            Input::Wish(service, keep, admin) => self.handle_wish(&service, keep, admin, now),
            Input::Unit(unit, state) => self.handle_unit(&unit, &state, now),
            Input::CannotWatchUnits(trouble) => self.handle_unit_trouble(trouble),
            Input::Probe(service) => self.probe_now(service.as_ref()),
            Input::Release(service) => self.release(&service, now),
            Input::HookEnded(report) => self.handle_hook_ended(report),
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
        self.handle_gate_timeouts(now);
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
            self.next_gate(),
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
                self.start_waiting(&name, now);
            }
        }
        self.drain_peers(now);
        self.settle_received(now);
        self.settle_hooks(now);
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

    /// A line about a VIP on this host; its address goes in front.
    fn vip_notice(&self, level: Level, vip: IpAddr, text: &str) -> Notice {
        let service = self.owners.get(&vip).cloned();
        Notice { service, prefix: Some(vip), ..Notice::new(level, format!("VIP {vip} {text}")) }
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}
