//! Adj-RIB-Out (RFC 4271 §3.2): what one peer should have, what it has been told, and the UPDATEs
//! that lead from one to the other.
//!
//! UPDATEs are built when there is room to send them. A change that is taken back before then is
//! never sent, and whatever is pending goes out with as many prefixes in a message as fit,
//! withdrawals first. What is wanted outlives the session; what was told does not.
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

/// What the UPDATEs built so far come to for a prefix.
#[derive(Debug)]
struct Told {
    route: Sent,
    /// The peer must be told again, whatever it has
    again: bool,
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
    wanted: BTreeMap<IpNet, Arc<Attributes>>,
    told: BTreeMap<IpNet, Told>,
    /// Prefixes in UPDATEs that the kernel has not taken yet, and what the peer has of them from
    /// before
    unwritten: BTreeMap<IpNet, Option<Sent>>,
    /// Prefixes to announce, and since when that has been decided
    announce: BTreeMap<IpNet, Instant>,
    /// Prefixes to withdraw, and since when that has been decided
    withdraw: BTreeMap<IpNet, Instant>,
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
        match attributes {
            Some(attributes) => self.wanted.insert(prefix, attributes),
            None => self.wanted.remove(&prefix),
        };
        self.compare(prefix, now);
    }

    /// What the peer has been sent of this prefix and not been sent the withdrawal of, as far as
    /// the kernel has taken either.
    #[must_use]
    pub fn sent(&self, prefix: IpNet) -> Option<&Sent> {
        match self.unwritten.get(&prefix) {
            Some(before) => before.as_ref(),
            None => self.told.get(&prefix).map(|told| &told.route),
        }
    }

    /// For how many prefixes the peer has been [sent](Self::sent) something.
    #[must_use]
    pub fn sent_count(&self) -> usize {
        let had = self.unwritten.values().flatten().count();
        let told = self.unwritten.keys().filter(|prefix| self.told.contains_key(*prefix)).count();
        self.told.len() + had - told
    }

    /// Whether the peer has been [sent](Self::sent) this prefix.
    #[must_use]
    pub fn is_sent(&self, prefix: IpNet) -> bool {
        self.sent(prefix).is_some()
    }

    /// What is still to happen to a prefix; `None` where the peer has what it should.
    #[must_use]
    pub fn pending(&self, prefix: IpNet) -> Option<Pending> {
        let sent = self.sent(prefix);
        let Some(wanted) = self.wanted.get(&prefix) else {
            return sent.map(|_| Pending::Leaving);
        };
        let Some(target) = &self.target else { return Some(Pending::NoSession) };
        let next_hop = target.next_hop(Family::of(prefix));
        let is_so = |sent: &Sent| sent.attributes == *wanted && next_hop == Ok(sent.next_hop);
        if sent.is_some_and(is_so) {
            return None;
        }
        Some(match (sent, self.not_sendable(prefix)) {
            (Some(_), None) => Pending::Changing,
            (Some(_), Some(_)) => Pending::Leaving,
            (None, Some(why)) => Pending::NotSendable(why),
            (None, None) if self.unwritten.contains_key(&prefix) => Pending::Unwritten,
            (None, None) => Pending::Due,
        })
    }

    /// The prefixes that are wanted.
    pub fn wanted(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.wanted.keys().copied()
    }

    /// Every prefix that is wanted or has been sent.
    #[must_use]
    pub fn prefixes(&self) -> BTreeSet<IpNet> {
        let told = self.told.keys().chain(self.unwritten.keys());
        let told = told.filter(|prefix| self.is_sent(**prefix));
        self.wanted().chain(told.copied()).collect()
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
        self.told.clear();
        self.unwritten.clear();
        self.announce.clear();
        self.withdraw.clear();
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
            || self.told.keys().any(|prefix| Family::of(*prefix) == family)
        {
            self.refresh_due.entry(family).or_insert(now);
        }
    }

    fn resend(&mut self, family: Family, now: Instant) {
        for (_, told) in self.told.iter_mut().filter(|(prefix, _)| Family::of(**prefix) == family) {
            told.again = true;
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
        target.check(prefix, self.wanted.get(&prefix)?).err()
    }

    /// Whether [`Self::poll_update`] has something.
    #[must_use]
    pub fn has_update(&self) -> bool {
        !self.withdraw.is_empty()
            || !self.announce.is_empty()
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
        let target = self.target.as_ref()?;
        if let Some(first) = self.withdraw.keys().next().copied() {
            let family = Family::of(first);
            let of_family = self.withdraw.keys().filter(|p| Family::of(**p) == family);
            let prefixes = batch(of_family, target.encoding);
            let (message, count) = wire::withdraw(family, &prefixes, target.encoding);
            let mut decided = Vec::with_capacity(count);
            for prefix in prefixes.iter().take(count) {
                decided.extend(self.withdraw.remove(prefix));
                let before = self.told.remove(prefix).map(|told| told.route);
                self.unwritten.entry(*prefix).or_insert(before);
            }
            return Some(Built { message, decided });
        }
        if let Some(first) = self.announce.keys().next() {
            let family = Family::of(*first);
            let attributes = self.wanted.get(first).expect("announced prefixes are wanted").clone();
            let next_hop = target.next_hop(family).expect("pending prefixes are sendable");
            let same =
                |p: &&IpNet| Family::of(**p) == family && self.wanted.get(*p) == Some(&attributes);
            let prefixes = batch(self.announce.keys().filter(same), target.encoding);
            let as_path = target.as_path(&attributes);
            let announcement = Announcement {
                family,
                next_hop,
                as_path: &as_path,
                extended_communities: &target.extended_communities(&attributes),
                attributes: &attributes,
            };
            let (message, count) = wire::announce(announcement, &prefixes, target.encoding);
            let mut decided = Vec::with_capacity(count);
            for prefix in prefixes.iter().take(count) {
                let Some(since) = self.announce.remove(prefix) else { continue };
                decided.push(since);
                let route = Sent { attributes: attributes.clone(), next_hop, since };
                let before = self.told.insert(*prefix, Told { route, again: false });
                self.unwritten.entry(*prefix).or_insert(before.map(|told| told.route));
            }
            return Some(Built { message, decided });
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

    /// Whether a refresh has a beginning and an end (RFC 7313 §4.1: not before End-of-RIB).
    fn marks_refresh(&self, family: Family) -> bool {
        let agreed = self.target.as_ref().is_some_and(|target| {
            target.enhanced_route_refresh && target.families.contains(&family)
        });
        agreed && !self.end_of_rib_due.contains(&family)
    }

    /// The kernel has taken all UPDATEs built so far.
    pub fn handle_written(&mut self, now: Instant) {
        for (prefix, before) in std::mem::take(&mut self.unwritten) {
            let Some(Told { route, .. }) = self.told.get_mut(&prefix) else { continue };
            let same = before.filter(|before| before.is_same(route));
            route.since = same.map_or(now, |before| before.since);
        }
    }

    fn compare_all(&mut self, now: Instant) {
        let all: BTreeSet<IpNet> = self.wanted.keys().chain(self.told.keys()).copied().collect();
        for prefix in all {
            self.compare(prefix, now);
        }
    }

    /// Works out what is pending for one prefix.
    fn compare(&mut self, prefix: IpNet, now: Instant) {
        let Some(target) = &self.target else { return };
        let wanted = self.wanted.get(&prefix);
        let wanted = wanted.filter(|attributes| target.check(prefix, attributes).is_ok());
        let told = self.told.get(&prefix);
        let has = told.filter(|told| !told.again).map(|told| &told.route.attributes);
        if wanted.is_some() && wanted != has {
            self.announce.entry(prefix).or_insert(now);
        } else {
            self.announce.remove(&prefix);
        }
        if wanted.is_none() && told.is_some() {
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
