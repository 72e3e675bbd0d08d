//! What we want the network to know: Loc-RIB (RFC 4271 §3.2) and the policy that exports it.
//!
//! A VIP that is announced contributes to one prefix for each advertisement that selects its pool:
//! its host route, or the aggregate it lies in. A prefix is there as long as one VIP contributes
//! to it, and is what the greatest [`Merit`] among these makes of it: the sum of weights would change
//! with every VIP that comes or goes, and let routers move flows of those that stay. Policy is a pure function from a prefix and a peer to attributes, so reload, reconnect
//! and route refresh are one code path.
pub mod policy;

#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::route::{AdvertisementName, Attributes, Merit, PeerName};
use policy::Policy;

/// The VIPs that contribute to a prefix, in order, the greatest merit last. Not a set, since a node of
/// one has room for eleven and most prefixes have one.
type Contributors = Vec<(Merit, IpAddr)>;

/// Loc-RIB and export policy.
#[derive(Debug, Default)]
pub struct Rib {
    policy: Policy,
    announced: BTreeMap<IpAddr, Merit>,
    /// For each advertisement, the prefixes that it makes and the VIPs that contribute
    entries: BTreeMap<AdvertisementName, BTreeMap<IpNet, Contributors>>,
    /// One copy of each set of attributes, for all prefixes and peers
    interned: BTreeSet<Arc<Attributes>>,
}

impl Rib {
    /// Goes by another policy. Returns the prefixes that may have changed.
    pub fn set_policy(&mut self, policy: Policy) -> BTreeSet<IpNet> {
        let mut changed = self.prefixes();
        self.policy = policy;
        self.entries.clear();
        self.interned.clear();
        for (vip, merit) in std::mem::take(&mut self.announced) {
            changed.extend(self.announce(vip, merit));
        }
        changed
    }

    /// Wants a VIP announced, with this merit. Returns the prefixes that may have changed.
    pub fn announce(&mut self, vip: IpAddr, merit: Merit) -> BTreeSet<IpNet> {
        if self.announced.get(&vip) == Some(&merit) {
            return BTreeSet::new();
        }
        self.withdraw(vip);
        let mut changed = BTreeSet::new();
        for (name, prefix) in self.policy.prefixes(vip) {
            let prefixes = self.entries.entry(name).or_default();
            let vips = prefixes.entry(prefix).or_insert_with(|| Vec::with_capacity(1));
            let one = (merit.clone(), vip);
            vips.insert(vips.partition_point(|other| *other < one), one);
            changed.insert(prefix);
        }
        self.announced.insert(vip, merit);
        changed
    }

    /// Wants a VIP announced no longer. Returns the prefixes that may have changed.
    pub fn withdraw(&mut self, vip: IpAddr) -> BTreeSet<IpNet> {
        let Some(merit) = self.announced.remove(&vip) else { return BTreeSet::new() };
        let one = (merit, vip);
        let mut changed = BTreeSet::new();
        for (name, prefix) in self.policy.prefixes(vip) {
            let prefixes = self.entries.entry(name).or_default();
            if let Entry::Occupied(mut entry) = prefixes.entry(prefix) {
                let vips = entry.get_mut();
                if let Ok(at) = vips.binary_search(&one) {
                    vips.remove(at);
                }
                if vips.is_empty() {
                    entry.remove();
                }
            }
            changed.insert(prefix);
        }
        changed
    }

    /// What a peer is to be told about a prefix; `None`: nothing.
    pub fn export(&mut self, prefix: IpNet, peer: &PeerName) -> Option<Arc<Attributes>> {
        let entries = self.entries.iter();
        let advertisements = entries.filter_map(|(name, all)| {
            let (merit, _) = all.get(&prefix)?.last()?;
            Some((name, merit))
        });
        let attributes = self.policy.attributes(advertisements, peer)?;
        if let Some(interned) = self.interned.get(&attributes) {
            return Some(interned.clone());
        }
        let interned = Arc::new(attributes);
        self.interned.insert(interned.clone());
        Some(interned)
    }

    /// Every prefix there is.
    #[must_use]
    pub fn prefixes(&self) -> BTreeSet<IpNet> {
        self.entries.values().flat_map(BTreeMap::keys).copied().collect()
    }

    /// The prefixes that a VIP contributes to, or would, for a peer.
    pub fn prefixes_for(&self, vip: IpAddr, peer: &PeerName) -> BTreeSet<IpNet> {
        let all = self.policy.prefixes(vip).into_iter();
        all.filter(|(name, _)| self.policy.selects_peer(name, peer)).map(|(_, p)| p).collect()
    }
}
