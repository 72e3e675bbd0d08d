//! What each peer has been sent, for `vipcast routes`: the Adj-RIB-Out as it is, and what is missing
//! from it and why. Fields may be added; none changes its meaning.
//!
//! The owner only takes a [`Snapshot`] of one peer, which shares its attributes with the routes; to
//! put it into words is left to whoever asked.
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Speaker;
use super::status::Clock;
use crate::bgp::adj_rib_out::{Pending, Sent, Target};
use crate::bgp::peer::State;
use crate::route::{Asn, Attributes, PeerName};

/// A peer and its routes. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerRoutes {
    /// As configured
    pub name: PeerName,
    /// As configured, or as found on its interface; `None` while it is not known
    pub address: Option<IpAddr>,
    /// The interface on which alone it is reached, as configured
    #[serde(default)]
    pub interface: Option<String>,
    /// Idle, Connect, Active, OpenSent, OpenConfirm or Established (RFC 4271 §8.2.2)
    pub state: String,
    /// Whether the session is up
    pub established: bool,
    /// When this was true
    pub time: String,
    /// What the peer has, by prefix
    pub sent: Vec<SentRoute>,
    /// What it should have and has not, by prefix
    pub not_sent: Vec<NotSent>,
}

/// A route as the peer has been sent it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SentRoute {
    /// The destination
    pub prefix: IpNet,
    /// NEXT_HOP, or that of MP_REACH_NLRI
    pub next_hop: IpAddr,
    /// The link-local one behind that, on an IPv6 link
    #[serde(default)]
    pub link_local_next_hop: Option<Ipv6Addr>,
    /// The nearest first; empty to an internal peer
    pub as_path: Vec<Asn>,
    /// ORIGIN; always IGP
    pub origin: String,
    /// MULTI_EXIT_DISC, if it is sent
    pub med: Option<u32>,
    /// LOCAL_PREF, to an internal peer
    pub local_pref: Option<u32>,
    /// COMMUNITIES, as the configuration writes them
    pub communities: Vec<String>,
    /// EXTENDED_COMMUNITIES, as the configuration writes them, else in hexadecimal
    pub extended_communities: Vec<String>,
    /// LARGE_COMMUNITY, as the configuration writes them
    pub large_communities: Vec<String>,
    /// Since when the peer has it so
    pub since: String,
    /// What is about to become of it, if it is not as it should be
    pub pending: Option<String>,
}

/// A route that the peer should have and has not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotSent {
    /// The destination
    pub prefix: IpNet,
    /// Why not
    pub reason: String,
}

/// A peer's routes at a moment.
#[derive(Debug)]
pub struct Snapshot {
    clock: Clock,
    name: PeerName,
    address: Option<IpAddr>,
    interface: Option<String>,
    state: State,
    /// How the session writes routes; `None` without one, when nothing is sent
    target: Option<Target>,
    sent: Vec<(IpNet, Sent, Option<Pending>)>,
    not_sent: Vec<(IpNet, String)>,
}

impl Speaker {
    /// The names of all peers.
    #[must_use]
    pub fn peer_names(&self) -> Vec<PeerName> {
        self.peers.keys().cloned().collect()
    }

    /// What a peer has been sent; `None` if there is no such peer.
    #[must_use]
    pub fn routes(&self, name: &PeerName, clock: Clock) -> Option<Snapshot> {
        let entry = self.peers.get(name)?;
        let address = entry.peer.address().ok().map(|address| address.ip);
        let remote = &self.config.peers.get(name)?.bgp.transport.remote;
        let interface = remote.interface().map(str::to_owned);
        let rib = entry.peer.rib();
        let state = entry.peer.state();
        let (mut sent, mut not_sent) = (Vec::new(), Vec::new());
        for prefix in rib.prefixes() {
            let pending = rib.pending(prefix);
            match (rib.sent(prefix), pending) {
                (Some(route), _) => sent.push((prefix, route.clone(), pending)),
                (None, Some(pending)) => not_sent.push((prefix, entry.describe(pending))),
                (None, None) => {}
            }
        }
        let (name, target) = (name.clone(), rib.target().cloned());
        Some(Snapshot { clock, name, address, interface, state, target, sent, not_sent })
    }
}

impl Snapshot {
    /// Puts it into words.
    #[must_use]
    pub fn describe(self) -> PeerRoutes {
        let Self { clock, name, address, interface, state, target, sent, not_sent } = self;
        let sent = sent.into_iter().filter_map(|(prefix, sent, pending)| {
            Some(describe(prefix, sent, pending, target.as_ref()?, clock))
        });
        let not_sent = not_sent.into_iter().map(|(prefix, reason)| NotSent { prefix, reason });
        PeerRoutes {
            name,
            address,
            interface,
            state: format!("{state:?}"),
            established: state == State::Established,
            time: clock.date(clock.now),
            sent: sent.collect(),
            not_sent: not_sent.collect(),
        }
    }
}

fn describe(
    prefix: IpNet,
    sent: Sent,
    pending: Option<Pending>,
    target: &Target,
    clock: Clock,
) -> SentRoute {
    let Sent { attributes, next_hop, since } = sent;
    let Attributes { communities, large_communities, med, .. } = &*attributes;
    let extended = target.extended_communities(&attributes);
    SentRoute {
        prefix,
        next_hop: next_hop.address,
        link_local_next_hop: next_hop.link_local,
        as_path: target.as_path(&attributes),
        origin: "IGP".into(),
        med: *med,
        local_pref: target.encoding.local_pref(&attributes),
        communities: communities.iter().map(ToString::to_string).collect(),
        extended_communities: extended.iter().map(ToString::to_string).collect(),
        large_communities: large_communities.iter().map(ToString::to_string).collect(),
        since: clock.date(since),
        pending: pending.map(|pending| pending.to_string()),
    }
}
