//! The host's addresses: where the VIPs are wanted, where they are, and the changes between.
//!
//! [`Addresses`] mirrors the kernel's links and addresses as the driver reports them. An address
//! that we add carries our protocol number ([`PROTOCOL`]), so that what a crash leaves behind is
//! known for ours: adopted where it is wanted, removed where it is not. An address without it
//! belongs to somebody else; it serves as a VIP, and is never touched.
//!
//! A VIP that disappears under a healthy service is put back before anything is withdrawn.
//!
//! [`Routes`] does the same for the routes that were learned from routers, and [`reach`] finds the
//! interface on which a router is.
pub mod driver;
mod kernel;
mod message;
mod neighbours;
pub mod reach;
pub mod routes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::route::{NextHops, ScopedAddress};
pub use message::{
    Address, Event, Forwards, Link, Neighbour, NextHop, Request, Route, RouteEvent, RouteKey,
    RouteRequest,
};
pub use neighbours::{Neighbours, NoRouter};
pub use routes::Routes;

/// Marks our addresses (`IFA_PROTO`, Linux 5.18) and routes (`rtm_protocol`); "v".
pub const PROTOCOL: u8 = 0x76;
/// Between attempts at what the kernel refused.
const RETRY: Duration = Duration::from_secs(1);
/// Between the end of an announcement and the removal of the address: what routers still send
/// is answered.
const LINGER: Duration = Duration::from_secs(1);

/// A VIP that disappears again and again is worth a word this often.
const WORD: Duration = Duration::from_secs(60);

/// Whether a VIP is on the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presence {
    /// Not yet known
    Pending,
    /// It is there
    Present,
    /// It is on another interface than it should be, and stays there until it can move; why it
    /// has not yet
    Elsewhere(String),
    /// It is not, for this reason
    Missing(String),
}

impl Presence {
    /// Whether packets for it are taken in.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Present | Self::Elsewhere(_))
    }
}

#[derive(Debug)]
struct Wanted {
    interface: String,
    presence: Presence,
    /// It was refused, and is not asked for again before then
    not_before: Option<Instant>,
    /// It disappeared, and when that was last reported
    told_lost: Option<Instant>,
}

/// An address on an interface. Somebody else may have the same one beside ours, with another length.
type Key = (u32, IpAddr, u8);

fn key(index: u32, prefix: IpNet) -> Key {
    (index, prefix.addr(), prefix.prefix_len())
}

/// An address on an interface, in every length that it has there.
fn on_interface(
    present: &BTreeMap<Key, Address>,
    index: u32,
    address: IpAddr,
) -> impl Iterator<Item = &Address> {
    present.range((index, address, 0)..=(index, address, u8::MAX)).map(|(_, address)| address)
}

/// The mirror, and what is wanted of it.
#[derive(Debug, Default)]
pub struct Addresses {
    /// The first dump has come
    known: bool,
    /// Why it does not come
    broken: Option<String>,
    links: BTreeMap<u32, Link>,
    present: BTreeMap<Key, Address>,
    wanted: BTreeMap<IpAddr, Wanted>,
    /// Before then nothing of `wanted` is asked for again
    retry_at: Option<Instant>,
    /// VIPs that are no longer wanted, and when they go
    leaving: BTreeMap<IpAddr, Instant>,
    /// VIPs of which it is not known whether they are wanted: what is there stays
    undecided: BTreeSet<IpAddr>,
    /// Devices that are being made, or could not be until then
    dummies: BTreeMap<String, Option<Instant>>,
    /// Requests under way
    adding: BTreeSet<Key>,
    removing: BTreeSet<Key>,
    /// What we added, for kernels that do not keep the protocol number
    added: BTreeSet<Key>,
    /// Addresses to compare with what is wanted
    dirty: BTreeSet<IpAddr>,
    requests: VecDeque<Request>,
    /// VIPs whose presence changed
    changed: VecDeque<IpAddr>,
    /// VIPs that disappeared and are being put back
    lost: VecDeque<IpAddr>,
    /// Addresses that are no VIPs changed
    host_changed: bool,
}

impl Addresses {
    /// Wants a VIP on an interface.
    pub fn want(&mut self, vip: IpAddr, interface: &str, now: Instant) {
        self.leaving.remove(&vip);
        self.undecided.remove(&vip);
        let same = self.wanted.get(&vip).is_some_and(|wanted| wanted.interface == interface);
        if !same {
            let interface = interface.to_owned();
            let presence = match (self.presence(vip).is_there(), &self.broken) {
                (true, _) => Presence::Elsewhere(format!("about to move to {interface}")),
                (false, Some(error)) => Presence::Missing(error.clone()),
                (false, None) => Presence::Pending,
            };
            let wanted = Wanted { interface, presence, not_before: None, told_lost: None };
            self.wanted.insert(vip, wanted);
            self.dirty.insert(vip);
            self.reconcile(now);
        }
    }

    /// Wants a VIP no longer. Its address goes after a while, if it is ours.
    pub fn unwant(&mut self, vip: IpAddr, now: Instant) {
        let was_undecided = self.undecided.remove(&vip);
        if self.wanted.remove(&vip).is_some() || was_undecided {
            self.leaving.insert(vip, now + LINGER);
        }
    }

    /// From now on somebody else sees to a VIP. Where it is it stays until we stop.
    pub fn disown(&mut self, vip: IpAddr) {
        if self.wanted.remove(&vip).is_some() {
            self.undecided.insert(vip);
        }
    }

    /// It is not known yet whether a VIP is wanted: what a crash left of it stays until it is.
    pub fn leave_undecided(&mut self, vip: IpAddr) {
        if !self.wanted.contains_key(&vip) {
            self.undecided.insert(vip);
        }
    }

    /// Wants nothing at all, at once: we stop.
    pub fn unwant_all(&mut self, now: Instant) {
        self.wanted.clear();
        self.leaving.clear();
        self.undecided.clear();
        self.touch_all();
        self.reconcile(now);
    }

    /// Whether a VIP is where it is wanted.
    #[must_use]
    pub fn presence(&self, vip: IpAddr) -> &Presence {
        self.wanted.get(&vip).map_or(&Presence::Pending, |wanted| &wanted.presence)
    }

    /// Whether every request has been answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.requests.is_empty() && self.adding.is_empty() && self.removing.is_empty()
    }

    /// Our addresses on the interface that has `local`: that one for its own family, the first
    /// usable one that is not a VIP for the other. Of a link-local one it is that alone.
    #[must_use]
    pub fn next_hops(&self, local: ScopedAddress, is_vip: impl Fn(&IpAddr) -> bool) -> NextHops {
        let index = self.holder(local).map(|address| address.index);
        let mut next_hops = NextHops::default();
        let others = self.present.values().filter(|address| Some(address.index) == index);
        for address in others.filter(|address| address.usable && !address.ours) {
            match address.prefix.addr() {
                ip if is_vip(&ip) => {}
                IpAddr::V4(ip) => next_hops.ipv4 = next_hops.ipv4.or(Some(ip)),
                IpAddr::V6(ip) => next_hops.ipv6 = next_hops.ipv6.or(Some(ip)),
            }
        }
        match local.ip {
            IpAddr::V4(ip) => next_hops.ipv4 = Some(ip),
            // The one by which the router surely reaches us: it may not know our other addresses.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                return NextHops { link_local: Some(ip), ..NextHops::default() };
            }
            IpAddr::V6(ip) => next_hops.ipv6 = Some(ip),
        }
        next_hops
    }

    /// Takes in what the driver reports.
    pub fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Route(_)
            | Event::Neighbours(_)
            | Event::Neighbour(_)
            | Event::NeighbourGone(_) => {}
            Event::Broken(error) => {
                if !self.known {
                    for vip in self.wanted.keys().copied().collect::<Vec<_>>() {
                        self.set_presence(vip, Presence::Missing(error.clone()));
                    }
                    self.broken = Some(error);
                }
            }
            Event::Dump(links, addresses) => {
                self.known = true;
                self.broken = None;
                self.links = links.into_iter().map(|link| (link.index, link)).collect();
                self.present.clear();
                for address in addresses {
                    self.insert(address);
                }
                self.added.retain(|key| self.present.contains_key(key));
                self.dummies.retain(|name, _| !self.links.values().any(|link| link.name == *name));
                self.touch_all();
            }
            Event::Link(link) => {
                self.dummies.remove(&link.name);
                self.links.insert(link.index, link);
                self.touch_all();
            }
            Event::LinkGone(index) => {
                self.links.remove(&index);
                self.present.retain(|(on, ..), _| *on != index);
                self.added.retain(|(on, ..)| *on != index);
                self.touch_all();
            }
            Event::Address(address) => self.insert(address),
            Event::AddressGone(address) => {
                self.remove(address.index, address.prefix);
            }
            Event::Done(request, result) => self.handle_done(request, result, now),
            Event::AlreadyThere(index, vip) => {
                self.adding.remove(&key(index, vip.into()));
                if let Some(wanted) = self.wanted.get_mut(&vip) {
                    wanted.not_before = Some(now + RETRY);
                    self.retry_at.get_or_insert(now + RETRY);
                }
            }
        }
        self.reconcile(now);
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.leaving.retain(|_, at| *at > now);
            self.retry_at = None;
            for wanted in self.wanted.values_mut() {
                wanted.not_before = wanted.not_before.filter(|at| *at > now);
                self.retry_at = self.retry_at.into_iter().chain(wanted.not_before).min();
            }
            self.dummies.retain(|_, retry| retry.is_none_or(|at| at > now));
            self.touch_all();
            self.reconcile(now);
        }
    }

    /// The next request for the driver.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The next VIP whose [`Presence`] changed.
    pub fn poll_changed(&mut self) -> Option<IpAddr> {
        self.changed.pop_front()
    }

    /// The next VIP that disappeared from its interface and is being put back.
    pub fn poll_lost(&mut self) -> Option<IpAddr> {
        self.lost.pop_front()
    }

    /// Whether the host's other addresses changed, and with them perhaps [`Self::next_hops`].
    pub fn poll_host_changed(&mut self) -> bool {
        std::mem::take(&mut self.host_changed)
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dummies = self.dummies.values().copied().flatten();
        self.leaving.values().copied().chain(self.retry_at).chain(dummies).min()
    }

    fn handle_done(&mut self, request: Request, result: Result<(), String>, now: Instant) {
        match request {
            Request::Add(index, vip) => {
                let prefix = IpNet::from(vip);
                self.adding.remove(&key(index, prefix));
                match result {
                    Ok(()) => self.handle_added(key(index, prefix)),
                    Err(error) => self.handle_refused(index, vip, &error, now),
                }
            }
            Request::Remove(index, prefix) => {
                self.removing.remove(&key(index, prefix));
                // What is reported is gone by now, or is somebody else's. Refused, it is asked for
                // again when everything is next compared.
                self.reconcile_vip(prefix.addr(), now);
            }
            Request::CreateDummy(name) => {
                let is_there = self.links.values().any(|link| link.name == name);
                if let Err(error) = result
                    && !is_there
                {
                    self.dummies.insert(name.clone(), Some(now + RETRY));
                    let text = format!("cannot make the dummy device {name}: {error}");
                    let on_it = self.wanted.iter().filter(|(_, w)| w.interface == name);
                    for vip in on_it.map(|(vip, _)| *vip).collect::<Vec<_>>() {
                        self.set_presence(vip, Presence::Missing(text.clone()));
                    }
                }
            }
            Request::Route(_) | Request::WatchNeighbours(_) => {}
        }
    }

    /// We added an address, and that was reported. Where it is not there, it is gone again.
    fn handle_added(&mut self, key: Key) {
        if let Some(address) = self.present.get_mut(&key) {
            address.ours = true;
            self.added.insert(key);
        }
        self.dirty.insert(key.1);
    }

    /// A VIP could not be added: says so, unless it is wanted elsewhere or there by now.
    fn handle_refused(&mut self, index: u32, vip: IpAddr, error: &str, now: Instant) {
        let Some(link) = self.links.get(&index) else { return };
        let Some(wanted) = self.wanted.get_mut(&vip).filter(|w| w.interface == link.name) else {
            return;
        };
        wanted.not_before = Some(now + RETRY);
        self.retry_at.get_or_insert(now + RETRY);
        if on_interface(&self.present, index, vip).next().is_none() {
            let text = format!("cannot add it to {}: {error}", link.name);
            self.set_presence(vip, Presence::Missing(text));
        }
    }

    fn insert(&mut self, mut address: Address) {
        let key = key(address.index, address.prefix);
        address.ours |= self.added.contains(&key);
        self.host_changed |= !address.ours;
        self.dirty.insert(address.prefix.addr());
        self.present.insert(key, address);
    }

    fn remove(&mut self, index: u32, prefix: IpNet) {
        self.added.remove(&key(index, prefix));
        let gone = self.present.remove(&key(index, prefix));
        self.host_changed |= gone.is_some_and(|address| !address.ours);
        self.dirty.insert(prefix.addr());
    }

    fn touch_all(&mut self) {
        self.host_changed = true;
        self.dirty.extend(self.wanted.keys());
        self.dirty.extend(self.present.keys().map(|(_, address, _)| address));
    }

    /// Compares what is wanted with what is there, as far as either changed.
    fn reconcile(&mut self, now: Instant) {
        if !self.known {
            return;
        }
        for address in std::mem::take(&mut self.dirty) {
            self.reconcile_vip(address, now);
            self.remove_leftovers(address);
        }
    }

    /// Takes our addresses off where nobody wants them. One that is to move stays until it is on
    /// its new interface.
    fn remove_leftovers(&mut self, address: IpAddr) {
        let moves = self.wanted.get(&address).is_some_and(|w| w.presence != Presence::Present);
        if moves || self.leaving.contains_key(&address) || self.undecided.contains(&address) {
            return;
        }
        let interface = self.wanted.get(&address).map(|wanted| &wanted.interface);
        for link in self.links.values().filter(|link| interface != Some(&link.name)) {
            let present = on_interface(&self.present, link.index, address);
            for leftover in present.filter(|address| address.ours) {
                if self.removing.insert(key(link.index, leftover.prefix)) {
                    self.requests.push_back(Request::Remove(link.index, leftover.prefix));
                }
            }
        }
    }

    /// Whether a VIP is on a working interface other than its own.
    fn is_elsewhere(&self, vip: IpAddr, own: &str) -> bool {
        let others = self.links.values().filter(|link| link.up && link.name != own);
        others
            .flat_map(|link| on_interface(&self.present, link.index, vip))
            .any(|address| !self.removing.contains(&key(address.index, address.prefix)))
    }

    fn reconcile_vip(&mut self, vip: IpAddr, now: Instant) {
        let Some(wanted) = self.wanted.get(&vip) else { return };
        let name = &wanted.interface;
        let Some(link) = self.links.values().find(|link| link.name == *name) else {
            if is_dummy_name(name) {
                if !self.dummies.contains_key(name) {
                    self.dummies.insert(name.clone(), None);
                    self.requests.push_back(Request::CreateDummy(name.clone()));
                }
            } else {
                let text = format!("interface {name} does not exist");
                self.set_presence(vip, Presence::Missing(text));
            }
            return;
        };
        let host = key(link.index, vip.into());
        let stays = |address: &Address| !self.removing.contains(&key(link.index, address.prefix));
        let under_way = self.adding.contains(&host) || self.removing.contains(&host);
        if !link.up {
            let text = format!("interface {name} is down");
            self.set_presence(vip, Presence::Missing(text));
        } else if on_interface(&self.present, link.index, vip).any(stays) {
            self.set_presence(vip, Presence::Present);
        } else if !under_way && wanted.not_before.is_none_or(|at| at <= now) {
            self.adding.insert(host);
            self.requests.push_back(Request::Add(link.index, vip));
            self.note_lost(vip, now);
        }
    }

    /// A VIP is to be added. If it had been there, it disappeared.
    fn note_lost(&mut self, vip: IpAddr, now: Instant) {
        let lost = |wanted: &&mut Wanted| wanted.presence == Presence::Present;
        let Some(wanted) = self.wanted.get_mut(&vip).filter(lost) else { return };
        if wanted.told_lost.is_none_or(|at| now >= at + WORD) {
            wanted.told_lost = Some(now);
            self.lost.push_back(vip);
        }
    }

    fn set_presence(&mut self, vip: IpAddr, presence: Presence) {
        let Some(wanted) = self.wanted.get(&vip) else { return };
        let presence = if let Presence::Missing(why) = &presence
            && self.is_elsewhere(vip, &wanted.interface)
        {
            Presence::Elsewhere(why.clone())
        } else {
            presence
        };
        if let Some(wanted) = self.wanted.get_mut(&vip).filter(|w| w.presence != presence) {
            wanted.presence = presence;
            self.changed.push_back(vip);
        }
    }
}

/// Which missing interfaces are made: only such as nobody else is about to bring.
#[must_use]
pub fn is_dummy_name(name: &str) -> bool {
    name.starts_with("dummy") || name.starts_with("vip")
}
