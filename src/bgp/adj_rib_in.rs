//! Adj-RIB-In (RFC 4271 §3.2): what one peer has announced, as far as [`Accept`] lets it in.
//!
//! Nothing else is stored. A filter that is widened later therefore needs a route refresh.
//!
//! The routes go when the session goes. Those of families that [`AdjRibIn::mark_stale`] names
//! stay in use for a bounded time (RFC 4724 §4.2): each until the peer announces it again, all
//! others until End-of-RIB or the end of that time.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::accept::Accept;
use super::wire::{AsPath, Origin, PathAttributes, Segment, Update};
use crate::route::{Asn, Family, NextHop};

/// Of a route whose peer says nothing (RFC 4271 §9.1.1 leaves it to us).
const LOCAL_PREF: u32 = 100;

/// With whom the routes are exchanged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Our AS number on this session
    pub local_asn: Asn,
    /// The peer is in our AS
    pub internal: bool,
    /// It is on our link, and the session between link-local addresses
    pub link_local: bool,
    /// As negotiated
    pub families: Vec<Family>,
}

/// A route to one prefix, reduced to what decides about it and how to follow it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where packets go
    pub next_hop: IpAddr,
    /// ORIGIN
    pub origin: Origin,
    /// LOCAL_PREF, or 100 (RFC 4271 §5.1.5: it means nothing from an external peer)
    pub local_pref: u32,
    /// MULTI_EXIT_DISC; without one 0, the best there is (RFC 4271 §9.1.2.2 c)
    pub med: u32,
    /// AS numbers in AS_PATH, a set for one (RFC 4271 §9.1.2.2 a)
    pub path_length: usize,
    /// The AS that routes must share for their MED to be compared (RFC 4271 §9.1.2.2 c)
    pub neighbour_asn: Asn,
    /// From a peer in our AS
    pub internal: bool,
    /// Our AS number is in AS_PATH: it has been here before (RFC 4271 §9.1.2)
    pub looped: bool,
}

/// The peer announces more than `accept-max-prefixes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany(pub usize);

/// The routes of one peer.
#[derive(Debug)]
pub struct AdjRibIn {
    accept: Accept,
    /// `None` while there is no session
    source: Option<Source>,
    routes: BTreeMap<IpNet, Route>,
    /// Those of a session that is over
    stale: BTreeSet<IpNet>,
    stale_until: Option<Instant>,
    /// Families that End-of-RIB has come for in this session
    complete: BTreeSet<Family>,
    /// Announcements in this session, whether let in or not
    announcements: u64,
    changed: BTreeSet<IpNet>,
}

impl AdjRibIn {
    /// Without a session.
    #[must_use]
    pub fn new(accept: Accept) -> Self {
        Self {
            accept,
            source: None,
            routes: BTreeMap::new(),
            stale: BTreeSet::new(),
            stale_until: None,
            complete: BTreeSet::new(),
            announcements: 0,
            changed: BTreeSet::new(),
        }
    }

    /// A session begins. What is stale stays until it is refreshed or swept.
    pub fn start(&mut self, source: Source) {
        // The families that the new session lacks cannot be refreshed (RFC 4724 §4.2).
        for family in Family::ALL.into_iter().filter(|family| !source.families.contains(family)) {
            self.sweep(family);
        }
        self.source = Some(source);
        self.complete.clear();
        self.announcements = 0;
    }

    /// The session is over, and its routes with it.
    pub fn stop(&mut self) {
        self.source = None;
        self.changed.extend(std::mem::take(&mut self.routes).into_keys());
        self.stale.clear();
        self.stale_until = None;
    }

    /// The session is over, but the peer goes on forwarding for these families: their routes stay
    /// until `until` at the latest. Whatever was stale already goes (RFC 4724 §4.2: consecutive
    /// restarts).
    pub fn mark_stale(&mut self, families: &[Family], until: Instant) {
        self.source = None;
        let was_stale = std::mem::take(&mut self.stale);
        self.remove(|prefix, _| {
            was_stale.contains(&prefix) || !families.contains(&Family::of(prefix))
        });
        self.stale = self.routes.keys().copied().collect();
        self.stale_until = (!self.stale.is_empty()).then_some(until);
    }

    /// Removes what is still stale of a family.
    pub fn sweep(&mut self, family: Family) {
        let (swept, stale) =
            std::mem::take(&mut self.stale).into_iter().partition(|p| Family::of(*p) == family);
        self.stale = stale;
        let swept: BTreeSet<IpNet> = swept;
        self.remove(|prefix, _| swept.contains(&prefix));
        if self.stale.is_empty() {
            self.stale_until = None;
        }
    }

    /// Removes what is still stale of all families.
    pub fn sweep_all(&mut self) {
        Family::ALL.into_iter().for_each(|family| self.sweep(family));
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stale_until.is_some_and(|until| until <= now) {
            self.sweep_all();
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.stale_until
    }

    /// Takes in an UPDATE.
    ///
    /// # Errors
    ///
    /// When that makes more routes than are wanted: the session is to end.
    pub fn handle_update(&mut self, update: &Update) -> Result<(), TooMany> {
        let Some(source) = &self.source else { return Ok(()) };
        self.announcements += update.announcements() as u64;
        // RFC 4271 §4.3: of a prefix that is in both, the withdrawal does not count.
        for prefix in &update.withdrawn {
            self.stale.remove(prefix);
            if self.routes.remove(prefix).is_some() {
                self.changed.insert(*prefix);
            }
        }
        for (next_hop, prefixes) in update.reachable() {
            let Some(route) = Route::of(&update.attributes, next_hop, source) else { continue };
            // RFC 4760 §8: of a family that was not agreed nothing was asked for.
            let agreed = |prefix: &&IpNet| source.families.contains(&Family::of(**prefix));
            let accepted = prefixes.iter().filter(|prefix| self.accept.matches(**prefix));
            for prefix in accepted.filter(agreed) {
                self.stale.remove(prefix);
                if self.routes.get(prefix) != Some(&route) {
                    self.routes.insert(*prefix, route.clone());
                    self.changed.insert(*prefix);
                }
                if self.routes.len() > self.accept.max_prefixes {
                    return Err(TooMany(self.accept.max_prefixes));
                }
            }
        }
        if let Some(family) = update.end_of_rib {
            self.complete.insert(family);
            self.sweep(family);
        }
        Ok(())
    }

    /// Takes over another filter. Returns whether it may let in what the old one did not, so that
    /// the peer must be asked to announce everything again (RFC 2918).
    ///
    /// # Errors
    ///
    /// When there are more routes than are wanted now.
    pub fn set_accept(&mut self, accept: Accept) -> Result<bool, TooMany> {
        let old = std::mem::replace(&mut self.accept, accept);
        let accept = self.accept.clone();
        self.remove(|prefix, _| !accept.matches(prefix));
        if old.table != accept.table {
            self.changed.extend(self.routes.keys());
        }
        if self.routes.len() > accept.max_prefixes {
            return Err(TooMany(accept.max_prefixes));
        }
        Ok(!old.covers(&accept))
    }

    /// The next prefix whose route changed.
    pub fn poll_changed(&mut self) -> Option<IpNet> {
        self.changed.pop_first()
    }

    fn remove(&mut self, doomed: impl Fn(IpNet, &Route) -> bool) {
        let Self { routes, changed, stale, .. } = self;
        routes.retain(|prefix, route| {
            let goes = doomed(*prefix, route);
            if goes {
                stale.remove(prefix);
                changed.insert(*prefix);
            }
            !goes
        });
    }
}

/// Looks.
impl AdjRibIn {
    /// What is let in.
    #[must_use]
    pub fn accept(&self) -> &Accept {
        &self.accept
    }

    /// The route to a prefix.
    #[must_use]
    pub fn route(&self, prefix: IpNet) -> Option<&Route> {
        self.routes.get(&prefix)
    }

    /// All routes.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = (IpNet, &Route)> {
        self.routes.iter().map(|(prefix, route)| (*prefix, route))
    }

    /// Whether a route is from a session that is over.
    #[must_use]
    pub fn is_stale(&self, prefix: IpNet) -> bool {
        self.stale.contains(&prefix)
    }

    /// Whether any route is.
    #[must_use]
    pub fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Whether the peer has said, by End-of-RIB for each family, that it has announced everything.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let families = self.source.as_ref().map(|source| &source.families);
        families.is_some_and(|all| all.iter().all(|family| self.complete.contains(family)))
    }

    /// Announcements in this session, whether let in or not, each time a prefix is announced.
    #[must_use]
    pub fn announcements(&self) -> u64 {
        self.announcements
    }
}

impl Route {
    /// `None` without the attributes that every route has; [`Update::decode`] sees to those.
    fn of(attributes: &PathAttributes, next_hop: NextHop, source: &Source) -> Option<Self> {
        let as_path = attributes.as_path.as_ref()?;
        let local_pref = attributes.local_pref.filter(|_| source.internal);
        let link_local = next_hop.link_local.filter(|_| source.link_local);
        Some(Self {
            next_hop: link_local.map_or(next_hop.address, IpAddr::V6),
            origin: attributes.origin?,
            local_pref: local_pref.unwrap_or(LOCAL_PREF),
            med: attributes.med.unwrap_or(0),
            path_length: length(as_path),
            neighbour_asn: neighbour(as_path).unwrap_or(source.local_asn),
            internal: source.internal,
            looped: has(as_path, source.local_asn),
        })
    }
}

/// RFC 4271 §9.1.2.2 a: a set counts as one, however many are in it.
fn length(path: &AsPath) -> usize {
    let segments = path.0.iter().map(|segment| match segment {
        Segment::Set(_) => 1,
        Segment::Sequence(asns) => asns.len(),
    });
    segments.sum()
}

/// RFC 4271 §9.1.2.2 c: `None`, for our own AS, where the path is empty or begins with a set.
fn neighbour(path: &AsPath) -> Option<Asn> {
    match path.0.first()? {
        Segment::Sequence(asns) => asns.first().copied(),
        Segment::Set(_) => None,
    }
}

fn has(path: &AsPath, asn: Asn) -> bool {
    path.0.iter().any(|segment| match segment {
        Segment::Set(asns) | Segment::Sequence(asns) => asns.contains(&asn),
    })
}
