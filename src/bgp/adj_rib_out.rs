//! Adj-RIB-Out (RFC 4271 §3.2): what one peer should have, what it has been told, and the UPDATEs
//! that lead from one to the other.
//!
//! UPDATEs are built when there is room to send them. A change that is taken back before then is
//! never sent, and whatever is pending goes out with as many prefixes in a message as fit,
//! withdrawals first. What is wanted outlives the session; what was told does not.
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::wire::{self, Announcement, Encoding};
use crate::route::{Asn, Attributes, ExtendedCommunity, Family, NextHop, NextHops};

/// How this session writes routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// As negotiated
    pub encoding: Encoding,
    /// As negotiated
    pub families: Vec<Family>,
    /// As negotiated
    pub enhanced_route_refresh: bool,
    /// Our AS number, for an external peer's `AS_PATH`
    pub local_asn: Asn,
    /// Our address for each family; a family without one is not announced
    pub next_hops: NextHops,
}

/// Why a wanted route cannot be sent on this session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSendable {
    /// The peer did not offer it
    #[error("the peer did not negotiate {0}")]
    FamilyNotNegotiated(Family),
    /// We have no address of this family on the way to the peer
    #[error("no {0} address on the interface to the peer to use as next hop ({key} sets one)", key = next_hop_key(.0))]
    NoNextHop(Family),
    /// RFC 8950 §4: between link-local addresses there is no other next hop
    #[error("the peer does not take an IPv6 next hop for {0} ({key} sets one)", key = next_hop_key(.0))]
    NoExtendedNextHop(Family),
    /// RFC 4271 §9.2
    #[error("its communities do not fit into an UPDATE")]
    TooLong,
}

/// What the configuration calls a next hop of this family.
fn next_hop_key(family: &Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "next-hop",
        Family::Ipv6Unicast => "next-hop-v6",
    }
}

impl Target {
    /// The next hop with which this session announces a family.
    ///
    /// # Errors
    ///
    /// When it cannot announce it.
    pub fn next_hop(&self, family: Family) -> Result<NextHop, NotSendable> {
        if !self.families.contains(&family) {
            return Err(NotSendable::FamilyNotNegotiated(family));
        }
        if let Some(own) = self.next_hops.get(family) {
            return Ok(own);
        }
        match (family, self.next_hops.get(Family::Ipv6Unicast)) {
            (Family::Ipv4Unicast, Some(other)) if self.encoding.extended_next_hop => Ok(other),
            (Family::Ipv4Unicast, Some(NextHop { link_local: Some(_), .. })) => {
                Err(NotSendable::NoExtendedNextHop(family))
            }
            (Family::Ipv4Unicast | Family::Ipv6Unicast, _) => Err(NotSendable::NoNextHop(family)),
        }
    }
}

/// A route as a peer has been sent it; what follows from the session is known to its [`Target`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Shared with all routes that have the same
    pub attributes: Arc<Attributes>,
    /// NEXT_HOP, or that of MP_REACH_NLRI
    pub next_hop: NextHop,
    /// Since when the peer has it so; to tell it the same again changes nothing
    pub since: Instant,
}

impl Sent {
    fn is_same(&self, other: &Self) -> bool {
        self.attributes == other.attributes && self.next_hop == other.next_hop
    }
}

/// What a peer should have of a prefix, and what it has. Kept small, since there is one for each
/// prefix and peer.
#[derive(Debug, Default)]
struct Route {
    wanted: Option<Arc<Attributes>>,
    /// What the UPDATEs built so far come to; shared by what one of them announced
    told: Option<Arc<Sent>>,
    /// What the peer has from before, while the route is unwritten
    before: Option<Arc<Sent>>,
    /// The kernel has not taken all of these UPDATEs yet
    unwritten: bool,
    /// The peer must be told again, whatever it has
    again: bool,
}

impl Route {
    fn is_nothing(&self) -> bool {
        self.wanted.is_none() && self.told.is_none() && !self.unwritten
    }

    fn sent(&self) -> Option<&Arc<Sent>> {
        if self.unwritten { self.before.as_ref() } else { self.told.as_ref() }
    }

    /// An UPDATE with this is built; whether the route was written until now.
    fn tell(&mut self, told: Option<Arc<Sent>>) -> bool {
        self.again = false;
        let before = std::mem::replace(&mut self.told, told);
        let was_written = !std::mem::replace(&mut self.unwritten, true);
        if was_written {
            self.before = before;
        }
        was_written
    }
}

/// What is to be announced of a prefix, and since when that has been decided.
#[derive(Debug)]
struct Due {
    attributes: Arc<Attributes>,
    since: Instant,
}

/// The difference between what a peer should have and what it was told.
#[derive(Debug, Default)]
struct Difference {
    announce: BTreeMap<IpNet, Due>,
    /// Since when that has been decided
    withdraw: BTreeMap<IpNet, Instant>,
}

/// What is still to happen to a prefix that a peer does not have as it is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Pending {
    /// It is wanted, and there is nobody to tell
    #[error("no session")]
    NoSession,
    /// It is wanted, and cannot be sent on this session
    #[error("{0}")]
    NotSendable(NotSendable),
    /// An UPDATE is built that will wait until the writer has room
    #[error("about to be sent")]
    Due,
    /// The kernel has not taken all of an UPDATE
    #[error("being sent")]
    Unwritten,
    /// The peer has it with other attributes
    #[error("a change of it is being sent")]
    Changing,
    /// The peer has it, and should not
    #[error("its withdrawal is being sent")]
    Leaving,
}

/// The routes for one peer.
#[derive(Debug, Default)]
pub struct AdjRibOut {
    /// What is wanted, and what the peer may have
    routes: BTreeMap<IpNet, Route>,
    /// The unwritten ones, in the order of their UPDATEs
    unwritten: Vec<IpNet>,
    difference: Difference,
    /// `None` while there is no session
    target: Option<Target>,
    /// Families that the peer wants to hear again, and since when
    refresh_due: BTreeMap<Family, Instant>,
    /// Families of which the peer is to be told when it has heard everything again
    refreshing: BTreeSet<Family>,
    end_of_rib_due: BTreeSet<Family>,
    end_of_rib_released: bool,
}

/// One UPDATE, or a demarcation of a refresh, and when each of its changes was decided.
#[derive(Debug)]
pub struct Built {
    /// The whole message
    pub message: Vec<u8>,
    /// One instant per prefix
    pub decided: Vec<Instant>,
}

impl Built {
    fn without_changes(message: Vec<u8>) -> Self {
        Self { message, decided: Vec::new() }
    }
}

impl AdjRibOut {
    /// Wants `prefix` announced with these attributes, or not at all.
    pub fn set(&mut self, prefix: IpNet, attributes: Option<Arc<Attributes>>, now: Instant) {
        let route = match self.routes.entry(prefix) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if attributes.is_none() => return,
            Entry::Vacant(entry) => entry.insert(Route::default()),
        };
        route.wanted = attributes;
        if let Some(target) = &self.target {
            self.difference.compare(target, prefix, route, now);
        }
        if route.is_nothing() {
            self.routes.remove(&prefix);
        }
    }

    /// What the peer has been sent of this prefix and not been sent the withdrawal of, as far as
    /// the kernel has taken either.
    #[must_use]
    pub fn sent(&self, prefix: IpNet) -> Option<&Sent> {
        self.routes.get(&prefix)?.sent().map(Arc::as_ref)
    }

    /// For how many prefixes the peer has been [sent](Self::sent) something.
    #[must_use]
    pub fn sent_count(&self) -> usize {
        self.routes.values().filter(|route| route.sent().is_some()).count()
    }

    /// Whether the peer has been [sent](Self::sent) this prefix.
    #[must_use]
    pub fn is_sent(&self, prefix: IpNet) -> bool {
        self.sent(prefix).is_some()
    }

    /// What is still to happen to a prefix; `None` where the peer has what it should.
    #[must_use]
    pub fn pending(&self, prefix: IpNet) -> Option<Pending> {
        let route = self.routes.get(&prefix)?;
        let sent = route.sent();
        let Some(wanted) = &route.wanted else {
            return sent.map(|_| Pending::Leaving);
        };
        let Some(target) = &self.target else { return Some(Pending::NoSession) };
        let next_hop = target.next_hop(Family::of(prefix));
        let is_so = |sent: &Arc<Sent>| sent.attributes == *wanted && next_hop == Ok(sent.next_hop);
        if sent.is_some_and(is_so) {
            return None;
        }
        Some(match (sent, self.not_sendable(prefix)) {
            (Some(_), None) => Pending::Changing,
            (Some(_), Some(_)) => Pending::Leaving,
            (None, Some(why)) => Pending::NotSendable(why),
            (None, None) if route.unwritten => Pending::Unwritten,
            (None, None) => Pending::Due,
        })
    }

    /// The prefixes that are wanted.
    pub fn wanted(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.routes.iter().filter(|(_, route)| route.wanted.is_some()).map(|(prefix, _)| *prefix)
    }

    /// Every prefix that is wanted or has been sent.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> + '_ {
        let is_either = |route: &Route| route.wanted.is_some() || route.sent().is_some();
        self.routes.iter().filter(move |(_, route)| is_either(route)).map(|(prefix, _)| *prefix)
    }

    /// How this session writes routes; `None` while there is none.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// A session begins: everything wanted is due, then End-of-RIB (RFC 4724 §2).
    pub fn start(&mut self, target: Target, now: Instant) {
        self.stop();
        self.end_of_rib_due = target.families.iter().copied().collect();
        self.target = Some(target);
        self.compare_all(now);
    }

    /// The session is over: the peer has nothing of ours.
    pub fn stop(&mut self) {
        self.routes.retain(|_, route| {
            *route = Route { wanted: route.wanted.take(), ..Route::default() };
            route.wanted.is_some()
        });
        self.unwritten.clear();
        self.difference = Difference::default();
        self.refresh_due.clear();
        self.refreshing.clear();
        self.end_of_rib_due.clear();
        self.target = None;
    }

    /// Our addresses changed: families whose next hop did are announced anew.
    pub fn set_next_hops(&mut self, next_hops: NextHops, now: Instant) {
        let Some(target) = &mut self.target else { return };
        let named = |target: &Target| Family::ALL.map(|family| target.next_hop(family).ok());
        let before = named(target);
        target.next_hops = next_hops;
        let changed = before.into_iter().zip(named(target)).zip(Family::ALL);
        for (_, family) in changed.filter(|((before, after), _)| before != after) {
            self.resend(family, now);
        }
    }

    /// The peer wants to hear a family again (RFC 2918 §4). However often it says so, it hears it
    /// once for each time that there is room.
    pub fn refresh(&mut self, family: Family, now: Instant) {
        if self.marks_refresh(family)
            || self.routes.iter().any(|(p, route)| Family::of(*p) == family && route.told.is_some())
        {
            self.refresh_due.entry(family).or_insert(now);
        }
    }

    fn resend(&mut self, family: Family, now: Instant) {
        for (_, route) in self.routes.iter_mut().filter(|(p, _)| Family::of(**p) == family) {
            route.again = route.told.is_some();
        }
        self.compare_all(now);
    }

    /// From now on End-of-RIB may be sent: what is wanted is all there is.
    pub fn release_end_of_rib(&mut self) {
        self.end_of_rib_released = true;
    }

    /// Why a wanted prefix cannot be sent, if there is a session and it cannot.
    #[must_use]
    pub fn not_sendable(&self, prefix: IpNet) -> Option<NotSendable> {
        let target = self.target.as_ref()?;
        target.check(prefix, self.routes.get(&prefix)?.wanted.as_ref()?).err()
    }

    /// Whether [`Self::poll_update`] has something.
    #[must_use]
    pub fn has_update(&self) -> bool {
        !self.difference.withdraw.is_empty()
            || !self.difference.announce.is_empty()
            || !self.refresh_due.is_empty()
            || !self.refreshing.is_empty()
            || self.end_of_rib_released && !self.end_of_rib_due.is_empty()
    }

    /// The next UPDATE to send.
    pub fn poll_update(&mut self) -> Option<Built> {
        while let Some((family, since)) = self.refresh_due.pop_first() {
            self.resend(family, since);
            if self.marks_refresh(family) {
                self.refreshing.insert(family);
                return Some(Built::without_changes(wire::demarcation(family, false)));
            }
        }
        if let Some(built) = self.poll_withdrawal().or_else(|| self.poll_announcement()) {
            return Some(built);
        }
        if let Some(family) = self.refreshing.pop_first() {
            return Some(Built::without_changes(wire::demarcation(family, true)));
        }
        if !self.end_of_rib_released {
            return None;
        }
        let family = self.end_of_rib_due.pop_first()?;
        Some(Built::without_changes(wire::end_of_rib(family)))
    }

    fn poll_withdrawal(&mut self) -> Option<Built> {
        let target = self.target.as_ref()?;
        let withdraw = &mut self.difference.withdraw;
        let family = Family::of(*withdraw.keys().next()?);
        let of_family = withdraw.keys().filter(|prefix| Family::of(**prefix) == family);
        let prefixes = batch(of_family, target.encoding);
        let (message, count) = wire::withdraw(family, &prefixes, target.encoding);
        let mut decided = Vec::with_capacity(count);
        for prefix in prefixes.iter().take(count) {
            decided.extend(withdraw.remove(prefix));
            if self.routes.get_mut(prefix).is_some_and(|route| route.tell(None)) {
                self.unwritten.push(*prefix);
            }
        }
        Some(Built { message, decided })
    }

    fn poll_announcement(&mut self) -> Option<Built> {
        let target = self.target.as_ref()?;
        let announce = &mut self.difference.announce;
        let (first, Due { attributes, since }) = announce.first_key_value()?;
        let (family, attributes, since) = (Family::of(*first), attributes.clone(), *since);
        let next_hop = target.next_hop(family).expect("pending prefixes are sendable");
        let same = |(prefix, due): &(&IpNet, &Due)| {
            Family::of(**prefix) == family && due.attributes == attributes
        };
        let same = announce.iter().filter(same).map(|(prefix, _)| prefix);
        let prefixes = batch(same, target.encoding);
        let announcement = Announcement {
            family,
            next_hop,
            as_path: &target.as_path(&attributes),
            extended_communities: &target.extended_communities(&attributes),
            attributes: &attributes,
        };
        let (message, count) = wire::announce(announcement, &prefixes, target.encoding);
        let mut decided = Vec::with_capacity(count);
        let told = Arc::new(Sent { attributes, next_hop, since });
        for prefix in prefixes.iter().take(count) {
            decided.extend(announce.remove(prefix).map(|due| due.since));
            let told = Some(told.clone());
            if self.routes.get_mut(prefix).is_some_and(|route| route.tell(told)) {
                self.unwritten.push(*prefix);
            }
        }
        Some(Built { message, decided })
    }

    /// Whether a refresh has a beginning and an end (RFC 7313 §4.1: not before End-of-RIB).
    fn marks_refresh(&self, family: Family) -> bool {
        let agreed = self.target.as_ref().is_some_and(|target| {
            target.enhanced_route_refresh && target.families.contains(&family)
        });
        agreed && !self.end_of_rib_due.contains(&family)
    }

    /// The kernel has taken all UPDATEs built so far.
    pub fn handle_written(&mut self, now: Instant) {
        // As it was built and as it is kept: what an UPDATE announced goes on being shared.
        let mut last: Option<(Arc<Sent>, Arc<Sent>)> = None;
        for prefix in std::mem::take(&mut self.unwritten) {
            let Entry::Occupied(mut entry) = self.routes.entry(prefix) else { continue };
            let route = entry.get_mut();
            route.unwritten = false;
            let before = route.before.take();
            if let Some(built) = route.told.take() {
                let same = before.filter(|before| before.is_same(&built));
                let known = last.as_ref().filter(|(known, _)| Arc::ptr_eq(known, &built));
                let kept = same.or_else(|| known.map(|(_, kept)| kept.clone()));
                let kept = kept.unwrap_or_else(|| {
                    let kept = Arc::new(Sent { since: now, ..(*built).clone() });
                    last = Some((built, kept.clone()));
                    kept
                });
                route.told = Some(kept);
            } else if route.is_nothing() {
                entry.remove();
            }
        }
    }

    fn compare_all(&mut self, now: Instant) {
        let Some(target) = &self.target else { return };
        for (prefix, route) in &self.routes {
            self.difference.compare(target, *prefix, route, now);
        }
    }
}

impl Difference {
    /// Works out what is pending for one prefix.
    fn compare(&mut self, target: &Target, prefix: IpNet, route: &Route, now: Instant) {
        let wanted = route.wanted.as_ref();
        let has = route.told.as_ref().filter(|_| !route.again).map(|told| &told.attributes);
        // What this session was told before it can be told.
        let wanted = wanted.filter(|wanted| {
            has.is_some_and(|has| has == *wanted) || target.check(prefix, wanted).is_ok()
        });
        match (wanted.filter(|_| wanted != has).cloned(), self.announce.entry(prefix)) {
            (Some(attributes), Entry::Occupied(mut due)) => due.get_mut().attributes = attributes,
            (Some(attributes), Entry::Vacant(place)) => {
                place.insert(Due { attributes, since: now });
            }
            (None, Entry::Occupied(due)) => drop(due.remove()),
            (None, Entry::Vacant(_)) => {}
        }
        if wanted.is_none() && route.told.is_some() {
            self.withdraw.entry(prefix).or_insert(now);
        } else {
            self.withdraw.remove(&prefix);
        }
    }
}

impl Target {
    /// Whether this session can announce a route.
    fn check(&self, prefix: IpNet, attributes: &Attributes) -> Result<(), NotSendable> {
        let family = Family::of(prefix);
        let next_hop = self.next_hop(family)?;
        let as_path = self.as_path(attributes);
        let announcement = Announcement {
            family,
            next_hop,
            as_path: &as_path,
            extended_communities: &self.extended_communities(attributes),
            attributes,
        };
        let fits = wire::fits(announcement, prefix, self.encoding);
        fits.then_some(()).ok_or(NotSendable::TooLong)
    }

    /// EXTENDED_COMMUNITIES, in ascending order.
    #[must_use]
    pub fn extended_communities(&self, attributes: &Attributes) -> Vec<ExtendedCommunity> {
        let transitive = !self.encoding.internal;
        let bandwidth = attributes
            .weight
            .map(|weight| ExtendedCommunity::link_bandwidth(self.local_asn, weight, transitive));
        let written = attributes.extended_communities.iter().copied();
        let mut all: Vec<_> = written.chain(bandwidth).collect();
        all.sort();
        all
    }

    /// RFC 4271 §5.1.2: our number to an external peer, as often as policy says; nothing to an
    /// internal one.
    #[must_use]
    pub fn as_path(&self, attributes: &Attributes) -> Vec<Asn> {
        if self.encoding.internal {
            return Vec::new();
        }
        vec![self.local_asn; 1 + usize::from(attributes.prepend)]
    }
}

/// As many prefixes as would fit if a message had nothing else in it.
fn batch<'a>(prefixes: impl Iterator<Item = &'a IpNet>, encoding: Encoding) -> Vec<IpNet> {
    let mut room = encoding.max_len();
    let fits = |prefix: &IpNet| {
        let rest = room.checked_sub(wire::prefix_size(*prefix));
        room = rest.unwrap_or_default();
        rest.is_some()
    };
    prefixes.copied().take_while(fits).collect()
}
