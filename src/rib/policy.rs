//! Export policy: pools, and the advertisements that say which peers hear of them and how.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::route::{AdvertisementName, Attributes, Family, Merit, PeerName, PoolName};

/// A pool: addresses that may be VIPs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// As written, a range cut into prefixes
    pub prefixes: Vec<IpNet>,
}

impl Pool {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// An advertisement, after MetalLB's BGPAdvertisement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advertisement {
    /// Of which pools
    pub pools: BTreeSet<PoolName>,
    /// To which peers
    pub peers: BTreeSet<PeerName>,
    /// The length of the IPv4 prefix that is announced
    pub aggregation_length_v4: u8,
    /// The length of the IPv6 prefix that is announced
    pub aggregation_length_v6: u8,
    /// With what
    pub attributes: Attributes,
}

impl Advertisement {
    /// The length of the prefix that is announced for an address of this family.
    #[must_use]
    pub fn aggregation_length(&self, family: Family) -> u8 {
        match family {
            Family::Ipv4Unicast => self.aggregation_length_v4,
            Family::Ipv6Unicast => self.aggregation_length_v6,
        }
    }
}

/// All pools and advertisements.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// By name
    pub pools: BTreeMap<PoolName, Pool>,
    /// By name
    pub advertisements: BTreeMap<AdvertisementName, Advertisement>,
}

impl Policy {
    /// The pool an address lies in.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&PoolName> {
        self.pools.iter().find(|(_, pool)| pool.contains(address)).map(|(name, _)| name)
    }

    /// The prefixes that announce a VIP, and by which advertisement.
    #[must_use]
    pub fn prefixes(&self, vip: IpAddr) -> Vec<(AdvertisementName, IpNet)> {
        let Some(pool) = self.pool_of(vip) else { return Vec::new() };
        let selected = self.advertisements.iter().filter(|(_, adv)| adv.pools.contains(pool));
        selected
            .filter_map(|(name, adv)| {
                let length = adv.aggregation_length(Family::of_address(vip));
                Some((name.clone(), IpNet::new(vip, length).ok()?.trunc()))
            })
            .collect()
    }

    /// Whether an advertisement is for a peer.
    #[must_use]
    pub fn selects_peer(&self, name: &AdvertisementName, peer: &PeerName) -> bool {
        self.advertisements.get(name).is_some_and(|adv| adv.peers.contains(peer))
    }

    /// What several advertisements of one prefix, each with the greatest merit of its VIPs, say
    /// together to a peer: their communities add up and the greatest merit counts; in all else the
    /// configuration was checked to agree. `None`: none of them is for this peer.
    pub(super) fn attributes<'a>(
        &self,
        merits: impl Iterator<Item = (&'a AdvertisementName, &'a Merit)>,
        peer: &PeerName,
    ) -> Option<Attributes> {
        let for_peer = merits.filter_map(|(name, merit)| {
            let advertisement = self.advertisements.get(name)?;
            let is_selected = advertisement.peers.contains(peer);
            is_selected.then(|| (advertisement.attributes.clone(), merit))
        });
        let (mut attributes, merit) = for_peer.reduce(|(mut all, greatest), (one, merit)| {
            all.communities.extend(one.communities);
            all.extended_communities.extend(one.extended_communities);
            all.large_communities.extend(one.large_communities);
            (all, greatest.max(merit))
        })?;
        attributes.weight = merit.weight();
        if let Merit::LastResort(_, degradation) = merit {
            degradation.apply(&mut attributes);
        }
        Some(attributes)
    }
}
