//! The words all layers share: names, AS numbers, address families, communities, and the attributes
//! that export policy gives a prefix. A prefix is an [`ipnet::IpNet`] without host bits.
mod asn;
mod community;
mod extended;
mod family;
mod name;
mod role;
mod scoped;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub use asn::Asn;
pub use community::{AnyCommunity, Community, LargeCommunity, NotACommunity};
pub use extended::ExtendedCommunity;
pub use family::Family;
pub use name::{AdvertisementName, CheckName, GroupName, PeerName, PoolName, ServiceName};
pub use role::Role;
pub use scoped::{Ends, ScopedAddress};

/// What export policy says about a prefix. The path attributes that follow from the session (next
/// hop, `AS_PATH`) are added when the UPDATE is built.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Attributes {
    /// COMMUNITIES (RFC 1997)
    pub communities: BTreeSet<Community>,
    /// EXTENDED_COMMUNITIES (RFC 4360)
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// LARGE_COMMUNITY (RFC 8092)
    pub large_communities: BTreeSet<LargeCommunity>,
    /// LOCAL_PREF (RFC 4271 §5.1.5), sent to internal peers only; `None` stands for 100
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4); not sent when `None`
    pub med: Option<u32>,
    /// How many times our AS number is put in front once more, for external peers
    pub prepend: u8,
    /// The link bandwidth among the extended communities; none is sent when `None`
    pub weight: Option<Weight>,
}

/// What is different about the routes of a service that is announced although it is down, so that
/// the routers prefer any other host.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Degradation {
    /// Sent too
    pub communities: BTreeSet<Community>,
    /// Sent too
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Sent too
    pub large_communities: BTreeSet<LargeCommunity>,
    /// In place of what the advertisement says, as are the others
    pub local_pref: Option<u32>,
    /// `MULTI_EXIT_DISC`
    pub med: Option<u32>,
    /// How many times our AS number is put in front once more
    pub prepend: Option<u8>,
}

impl Degradation {
    /// Makes attributes worse.
    pub fn apply(&self, attributes: &mut Attributes) {
        attributes.communities.extend(&self.communities);
        attributes.extended_communities.extend(&self.extended_communities);
        attributes.large_communities.extend(&self.large_communities);
        attributes.local_pref = self.local_pref.or(attributes.local_pref);
        attributes.med = self.med.or(attributes.med);
        attributes.prepend = self.prepend.unwrap_or(attributes.prepend);
    }
}

/// What a VIP deserves that is announced. Of several that make one route, the greatest counts.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Merit {
    /// No more than to be the last resort, with its service's share of the traffic
    LastResort(Option<Weight>, Arc<Degradation>),
    /// Its service's share of the traffic
    Healthy(Option<Weight>),
}

impl Merit {
    /// The share of the traffic.
    #[must_use]
    pub fn weight(&self) -> Option<Weight> {
        match self {
            Self::LastResort(weight, _) | Self::Healthy(weight) => *weight,
        }
    }
}

/// A service's share of the traffic for its VIPs, in relation to that of the same service on other
/// hosts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Weight(pub u16);

/// What routes can name as their next hop: our addresses on the way to a peer, or what is configured
/// in their place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are families")]
pub struct NextHops {
    pub ipv4: Option<Ipv4Addr>,
    /// A global one
    pub ipv6: Option<Ipv6Addr>,
    /// Our end of a session between link-local addresses
    pub link_local: Option<Ipv6Addr>,
}

/// What a route names as its next hop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NextHop {
    /// A global address, if there is one
    pub address: IpAddr,
    /// Behind an IPv6 address, the link-local one that the peer sees us by (RFC 2545 §3)
    pub link_local: Option<Ipv6Addr>,
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        Self { address, link_local: None }
    }
}

impl NextHops {
    /// These, which are configured, and others where there are none.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            ipv4: self.ipv4.or(others.ipv4),
            ipv6: self.ipv6.or(others.ipv6),
            link_local: others.link_local.filter(|_| self.ipv6.is_none()),
        }
    }

    /// The one of a family.
    #[must_use]
    pub fn get(self, family: Family) -> Option<NextHop> {
        match family {
            Family::Ipv4Unicast => self.ipv4.map(|ip| IpAddr::V4(ip).into()),
            Family::Ipv6Unicast => {
                let address = IpAddr::V6(self.ipv6.or(self.link_local)?);
                Some(NextHop { address, link_local: self.link_local })
            }
        }
    }
}
