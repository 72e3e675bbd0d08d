//! What a router says about itself, in words that fit all implementations.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use ipnet::IpNet;

/// A BGP session as one router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The neighbour's name in the router's configuration.
    pub neighbour: String,
    /// The state of RFC 4271 §8.2.2.
    pub state: SessionState,
    /// IPv4 prefixes it has from the neighbour.
    pub ipv4_received: usize,
    /// IPv6 prefixes it has from the neighbour.
    pub ipv6_received: usize,
    /// Why the last session ended or the last attempt failed, in the router's own words.
    pub last_error: Option<String>,
    /// Whether End-of-RIB came for both families; `None` if the router does not tell (BIRD).
    pub end_of_rib: Option<bool>,
}

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC says what they mean")]
pub enum SessionState {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// A BFD session as one router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdSession {
    /// Where the other end is.
    pub peer: IpAddr,
    /// The state of RFC 5880 §6.8.1.
    pub state: BfdState,
    /// Between two packets it sends, without jitter.
    pub transmit_interval: Duration,
    /// After how long a silence it declares the session down.
    pub detection_time: Duration,
}

/// The states of RFC 5880 §6.8.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC says what they mean")]
pub enum BfdState {
    AdminDown,
    Down,
    Init,
    Up,
}

/// A route in a router's BGP table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its destination.
    pub prefix: IpNet,
    /// The name of the neighbour it came from; `None` for the router's own.
    pub neighbour: Option<String>,
    /// Whether the router holds it to be the best (one only, also with ECMP).
    pub best: bool,
    /// Whether it is kept only because the neighbour is restarting (RFC 4724); `None` if the router
    /// does not tell.
    pub stale: Option<bool>,
    /// One, or for IPv6 a global and a link-local one (which GoBGP does not show).
    pub next_hops: Vec<IpAddr>,
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH.
    pub as_path: Vec<u32>,
    /// MULTI_EXIT_DISC, if there is one.
    pub med: Option<u32>,
    /// LOCAL_PREF, as received or given by the router.
    pub local_pref: Option<u32>,
    /// Communities as `65000:100`.
    pub communities: Vec<String>,
    /// Large communities as `65000:1:100`.
    pub large_communities: Vec<String>,
    /// Extended communities in the router's own words.
    pub extended_communities: Vec<String>,
}

/// The values of ORIGIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 4271 §4.3 says what they mean")]
pub enum Origin {
    Igp,
    Egp,
    Incomplete,
}

impl Session {
    /// A session of which nothing is known yet.
    pub(super) fn idle(neighbour: &str) -> Self {
        Self {
            neighbour: neighbour.to_owned(),
            state: SessionState::Idle,
            ipv4_received: 0,
            ipv6_received: 0,
            last_error: None,
            end_of_rib: None,
        }
    }
}

impl Route {
    /// A route without attributes.
    pub(super) fn bare(prefix: IpNet) -> Self {
        Self {
            prefix,
            neighbour: None,
            best: false,
            stale: None,
            next_hops: Vec::new(),
            origin: Origin::Incomplete,
            as_path: Vec::new(),
            med: None,
            local_pref: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            extended_communities: Vec::new(),
        }
    }

    /// Adds a next hop; the unspecified address stands for none.
    pub(super) fn add_next_hop(&mut self, text: &str) -> Result<()> {
        let address: IpAddr = text.parse()?;
        self.next_hops.extend((!address.is_unspecified()).then_some(address));
        Ok(())
    }
}

impl SessionState {
    /// From its name, however it is written.
    pub(super) fn parse(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            // BIRD says Close while it waits for the other end to close, FRR Clearing or Deleted
            // while it tidies up.
            "idle" | "down" | "passive" | "close" | "clearing" | "deleted" => Self::Idle,
            "connect" => Self::Connect,
            "active" => Self::Active,
            "opensent" => Self::OpenSent,
            "openconfirm" => Self::OpenConfirm,
            "established" => Self::Established,
            _ => bail!("unknown BGP state {name:?}"),
        })
    }
}

impl BfdState {
    /// From its name, however it is written.
    pub(super) fn parse(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "admindown" | "shutdown" => Self::AdminDown,
            "down" => Self::Down,
            "init" => Self::Init,
            "up" => Self::Up,
            _ => bail!("unknown BFD state {name:?}"),
        })
    }
}

impl Origin {
    /// From its name, however it is written.
    pub(super) fn parse(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "igp" => Self::Igp,
            "egp" => Self::Egp,
            "incomplete" => Self::Incomplete,
            _ => bail!("unknown ORIGIN {name:?}"),
        })
    }
}
