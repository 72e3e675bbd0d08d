//! Routes that were learned from routers: which are wanted, which are in the kernel, and the
//! changes between.
//!
//! Each is one route with all its next hops, carries our protocol number ([`PROTOCOL`]) and our
//! metric ([`METRIC`]). A route of somebody else is never touched: ours is added beside it, and
//! where it has the same metric, ours is not installed.
//!
//! # What was there before
//!
//! Routes of ours that are found at the start are those of a daemon that crashed or was stopped;
//! both leave them, since they may be the only way to this host. Each stays until it is wanted
//! (and then is replaced at one go), or until [`Routes::release_leftovers`], which comes when
//! every router has said all it has to say, or after [`DEFERRAL_TIME`] at the latest.
//!
//! # What the kernel does not say
//!
//! With an interface that goes down, IPv4 routes vanish without a report. Whenever that may have
//! happened, everything is read again.
//!
//! [`PROTOCOL`]: super::PROTOCOL
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{Event, NextHop, RETRY, Route, RouteEvent, RouteKey, RouteRequest, WORD};

/// Better than what DHCP and router advertisements usually bring (1024), worse than what somebody
/// adds by hand (0 for IPv4); that of our protocol, so that nobody else has it.
pub const METRIC: u32 = super::PROTOCOL as u32;

/// For how long routes that were there at the start are kept without being wanted: what routers
/// commonly take for a restart (RFC 4724 §4.1 asks for such a bound).
pub const DEFERRAL_TIME: Duration = Duration::from_secs(120);

/// Whether a wanted route is in the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Installation {
    /// Not yet known
    Pending,
    /// It is, with the next hops that are wanted
    Installed,
    /// It is not, for this reason
    Refused(String),
}

#[derive(Debug)]
struct Wanted {
    next_hops: BTreeSet<NextHop>,
    installation: Installation,
    /// It was refused, and is not asked for again before then
    not_before: Option<Instant>,
    /// It disappeared, and when that was last reported
    told_lost: Option<Instant>,
}

/// The mirror, and what is wanted of it.
#[derive(Debug)]
pub struct Routes {
    /// The first dump has come
    known: bool,
    /// Why it does not come
    broken: Option<String>,
    wanted: BTreeMap<RouteKey, Wanted>,
    /// Ours, as the kernel reports them
    present: BTreeMap<RouteKey, BTreeSet<NextHop>>,
    /// Until when what is found is kept; `None` once it need not be
    deferral: Option<Instant>,
    /// Wanted at some time since the start, and not gone since then: no leftovers
    seen: BTreeSet<RouteKey>,
    /// Requests under way
    under_way: BTreeSet<RouteKey>,
    /// Somebody has a route in our place; the next dump says who
    contested: BTreeSet<RouteKey>,
    /// A dump was asked for
    reading: bool,
    requests: VecDeque<RouteRequest>,
    /// Routes whose installation changed
    changed: VecDeque<RouteKey>,
    /// Routes that disappeared and are being put back
    lost: VecDeque<RouteKey>,
}

impl Routes {
    /// Nothing is wanted, and what is found stays for the time being.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            known: false,
            broken: None,
            wanted: BTreeMap::new(),
            present: BTreeMap::new(),
            deferral: Some(now + DEFERRAL_TIME),
            seen: BTreeSet::new(),
            under_way: BTreeSet::new(),
            contested: BTreeSet::new(),
            reading: false,
            requests: VecDeque::new(),
            changed: VecDeque::new(),
            lost: VecDeque::new(),
        }
    }

    /// Wants a route with these next hops; with none, not at all.
    pub fn want(&mut self, table: u32, prefix: IpNet, next_hops: BTreeSet<NextHop>, now: Instant) {
        let key = RouteKey { table, prefix, metric: METRIC };
        if next_hops.is_empty() {
            self.wanted.remove(&key);
        } else if let Some(wanted) = self.wanted.get_mut(&key) {
            if wanted.next_hops == next_hops {
                return;
            }
            wanted.next_hops = next_hops;
            wanted.not_before = None;
            wanted.installation = Installation::Pending;
        } else {
            let installation = match &self.broken {
                Some(error) => Installation::Refused(error.clone()),
                None => Installation::Pending,
            };
            let wanted = Wanted { next_hops, installation, not_before: None, told_lost: None };
            self.wanted.insert(key, wanted);
            self.seen.insert(key);
        }
        self.reconcile(key, now);
    }

    /// From now on what nobody wants goes, whoever put it there before us.
    pub fn release_leftovers(&mut self, now: Instant) {
        if self.deferral.take().is_some() {
            self.seen.clear();
            self.reconcile_all(now);
        }
    }

    /// Whether [`Self::release_leftovers`] is still to come.
    #[must_use]
    pub fn keeps_leftovers(&self) -> bool {
        self.deferral.is_some()
    }

    /// Whether the kernel has said what is there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// What was in the kernel at the start and nobody wants, or not yet. What we put there since
    /// then and is about to go is none of it.
    pub fn leftovers(&self) -> impl Iterator<Item = &RouteKey> {
        let is_ours = |key: &&RouteKey| self.wanted.contains_key(key) || self.seen.contains(key);
        self.present.keys().filter(move |key| !is_ours(key))
    }

    /// Whether a wanted route is in the kernel.
    #[must_use]
    pub fn installation(&self, table: u32, prefix: IpNet) -> &Installation {
        let wanted = self.wanted.get(&RouteKey { table, prefix, metric: METRIC });
        wanted.map_or(&Installation::Pending, |wanted| &wanted.installation)
    }

    /// The next hops that a route is wanted with.
    #[must_use]
    pub fn next_hops(&self, key: RouteKey) -> Option<&BTreeSet<NextHop>> {
        self.wanted.get(&key).map(|wanted| &wanted.next_hops)
    }

    /// Takes in what the driver reports.
    pub fn handle_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Route(event) => self.handle_route(event, now),
            Event::Link(link) => self.doubt(link.index),
            Event::LinkGone(index) => self.doubt(*index),
            Event::AddressGone(address) => self.doubt(address.index),
            Event::Broken(error) => {
                if !self.known {
                    for key in self.wanted.keys().copied().collect::<Vec<_>>() {
                        self.set_installation(key, Installation::Refused(error.clone()));
                    }
                    self.broken = Some(error.clone());
                }
            }
            Event::Dump(..)
            | Event::Address(_)
            | Event::Done(..)
            | Event::AlreadyThere(..)
            | Event::Neighbours(_)
            | Event::Neighbour(_)
            | Event::NeighbourGone(_) => {}
        }
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deferral.is_some_and(|at| at <= now) {
            self.release_leftovers(now);
        }
        let due = |wanted: &Wanted| wanted.not_before.is_some_and(|at| at <= now);
        let keys = self.wanted.iter().filter(|(_, wanted)| due(wanted)).map(|(key, _)| *key);
        for key in keys.collect::<Vec<_>>() {
            if let Some(wanted) = self.wanted.get_mut(&key) {
                wanted.not_before = None;
            }
            self.reconcile(key, now);
        }
    }

    /// The next request for the driver.
    pub fn poll_request(&mut self) -> Option<RouteRequest> {
        self.requests.pop_front()
    }

    /// The next route whose [`Installation`] changed.
    pub fn poll_changed(&mut self) -> Option<RouteKey> {
        self.changed.pop_front()
    }

    /// The next route that disappeared and is being put back.
    pub fn poll_lost(&mut self) -> Option<RouteKey> {
        self.lost.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retries = self.wanted.values().filter_map(|wanted| wanted.not_before);
        retries.chain(self.deferral).min()
    }

    fn handle_route(&mut self, event: &RouteEvent, now: Instant) {
        match event {
            RouteEvent::Dump(routes) => {
                (self.known, self.reading, self.broken) = (true, false, None);
                let all = routes.iter().map(|route| (route.key, route.next_hops.clone()));
                self.present = all.collect();
                for key in std::mem::take(&mut self.contested) {
                    if !self.present.contains_key(&key) {
                        let text = format!("metric {METRIC} is taken by a route of somebody else");
                        self.set_installation(key, Installation::Refused(text));
                    }
                }
                self.reconcile_all(now);
            }
            RouteEvent::Changed(Route { key, next_hops }) => {
                self.present.insert(*key, next_hops.clone());
                self.reconcile(*key, now);
            }
            RouteEvent::Gone(Route { key, next_hops }) => {
                // IPv6 may report next hops of a route one by one.
                if let Some(present) = self.present.get_mut(key) {
                    present.retain(|next_hop| !next_hops.contains(next_hop));
                    if present.is_empty() || next_hops.is_empty() {
                        self.present.remove(key);
                    }
                }
                self.reconcile(*key, now);
            }
            RouteEvent::Done(request, result) => self.handle_done(request, result, now),
            RouteEvent::AlreadyThere(key) => {
                self.under_way.remove(key);
                self.put_off(*key, now);
                self.contested.insert(*key);
                self.read_again();
            }
        }
    }

    fn handle_done(&mut self, request: &RouteRequest, result: &Result<(), String>, now: Instant) {
        let key = match request {
            RouteRequest::Add(route) | RouteRequest::Replace(route) => route.key,
            RouteRequest::Remove(key) => *key,
            RouteRequest::Read => return,
        };
        self.under_way.remove(&key);
        match (request, result) {
            // It may have vanished before without a report.
            (RouteRequest::Remove(_), Ok(())) => drop(self.present.remove(&key)),
            // Asked for again when everything is next compared.
            (RouteRequest::Remove(_), Err(_)) => return,
            // What was done has been reported. If that is not what was asked for, we do not insist.
            (RouteRequest::Add(asked) | RouteRequest::Replace(asked), Ok(())) => {
                if self.next_hops(key) == Some(&asked.next_hops)
                    && self.present.get(&key) != Some(&asked.next_hops)
                {
                    self.put_off(key, now);
                    self.read_again();
                }
            }
            (RouteRequest::Read, Ok(())) => {}
            (_, Err(error)) => {
                self.put_off(key, now);
                let text = format!("cannot install it: {error}");
                self.set_installation(key, Installation::Refused(text));
            }
        }
        self.reconcile(key, now);
    }

    fn put_off(&mut self, key: RouteKey, now: Instant) {
        if let Some(wanted) = self.wanted.get_mut(&key) {
            wanted.not_before = Some(now + RETRY);
        }
    }

    /// Something happened to an interface: its routes may be gone.
    fn doubt(&mut self, index: u32) {
        let uses = |all: &BTreeSet<NextHop>| all.iter().any(|next_hop| next_hop.index == index);
        let wanted = self.wanted.values().map(|wanted| &wanted.next_hops);
        if wanted.chain(self.present.values()).any(uses) {
            self.read_again();
        }
    }

    fn read_again(&mut self) {
        if !std::mem::replace(&mut self.reading, true) {
            self.requests.push_back(RouteRequest::Read);
        }
    }

    fn reconcile_all(&mut self, now: Instant) {
        let all: BTreeSet<RouteKey> =
            self.wanted.keys().chain(self.present.keys()).copied().collect();
        all.into_iter().for_each(|key| self.reconcile(key, now));
    }

    /// Compares what is wanted with what is there.
    fn reconcile(&mut self, key: RouteKey, now: Instant) {
        if !self.known || self.under_way.contains(&key) {
            return;
        }
        let present = self.present.get(&key);
        let Some(wanted) = self.wanted.get(&key) else {
            let is_leftover = self.deferral.is_some() && !self.seen.contains(&key);
            if present.is_none() {
                self.seen.remove(&key);
            } else if !is_leftover {
                self.request(key, RouteRequest::Remove(key));
            }
            return;
        };
        if present == Some(&wanted.next_hops) {
            self.set_installation(key, Installation::Installed);
        } else if wanted.not_before.is_none_or(|at| at <= now) {
            let route = Route { key, next_hops: wanted.next_hops.clone() };
            let is_there = present.is_some();
            self.note_lost(key, is_there, now);
            self.request(
                key,
                match is_there {
                    true => RouteRequest::Replace(route),
                    false => RouteRequest::Add(route),
                },
            );
        }
    }

    fn request(&mut self, key: RouteKey, request: RouteRequest) {
        self.under_way.insert(key);
        self.requests.push_back(request);
    }

    /// A route is to be installed. If it had been there as it is wanted, somebody has meddled.
    fn note_lost(&mut self, key: RouteKey, is_there: bool, now: Instant) {
        let was_installed = |wanted: &&mut Wanted| wanted.installation == Installation::Installed;
        let Some(wanted) = self.wanted.get_mut(&key).filter(was_installed) else { return };
        if !is_there && wanted.told_lost.is_none_or(|at| now >= at + WORD) {
            wanted.told_lost = Some(now);
            self.lost.push_back(key);
        }
    }

    fn set_installation(&mut self, key: RouteKey, installation: Installation) {
        if let Some(wanted) = self.wanted.get_mut(&key).filter(|w| w.installation != installation) {
            wanted.installation = installation;
            self.changed.push_back(key);
        }
    }
}
