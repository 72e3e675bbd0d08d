//! What a router shall be, in words that fit all implementations.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

/// One router: IPv4 and IPv6 unicast with every neighbour, equal routes of several neighbours used
/// together (ECMP).
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Its autonomous system.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// With whom it speaks.
    pub neighbours: Vec<Neighbour>,
    /// Prefixes it originates and announces to all neighbours; it announces nothing else.
    pub announce: Vec<IpNet>,
    /// Whether what it learns goes into the kernel's table.
    pub kernel: bool,
    /// More configuration in the router's own language, at the top level.
    pub extra: String,
    /// More configuration of BFD, which BIRD has inside a protocol of its own.
    pub bfd_extra: String,
}

/// One neighbour of a router.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// By which it is called in [`Session`](super::Session) and in the router's configuration; one
    /// word.
    pub name: String,
    /// Where it is.
    pub peering: Peering,
    /// Its autonomous system.
    pub remote_asn: u32,
    /// The address to speak from; otherwise the router chooses.
    pub local_address: Option<IpAddr>,
    /// BFD with it, if any.
    pub bfd: Option<BfdTimers>,
    /// BGP's hold time; keepalives come at a third of it.
    pub hold_time: Duration,
    /// How long to wait between two attempts to connect.
    pub connect_retry: Duration,
    /// Whether to wait for it instead of connecting to it.
    pub passive: bool,
    /// The TCP MD5 password (RFC 2385).
    pub password: Option<String>,
    /// For a neighbour that is so many hops away at most; otherwise it must be on a connected
    /// network.
    pub multihop: Option<u8>,
    /// Whether to accept only packets that no router forwarded (RFC 5082).
    pub ttl_security: bool,
    /// More configuration in the router's own language, inside the neighbour's block (FRR:
    /// `neighbor X …` lines in `router bgp`; GoBGP: tables under `[[neighbors]]`).
    pub extra: String,
}

/// Where a neighbour is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peering {
    /// At this address.
    Address(IpAddr),
    /// At the other end of this interface ("unnumbered", RFC 8950).
    Interface {
        /// The interface.
        name: String,
        /// The link-local address there. BIRD is told it; FRR and GoBGP find it themselves, FRR by
        /// the router advertisements that it must get.
        link_local: Ipv6Addr,
    },
}

/// How fast BFD (RFC 5880) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdTimers {
    /// Between two packets, in both directions.
    pub interval: Duration,
    /// How many packets may be lost.
    pub multiplier: u8,
}

impl RouterConfig {
    /// A router without neighbours that fills the kernel's table.
    pub fn new(asn: u32, router_id: Ipv4Addr) -> Self {
        Self {
            asn,
            router_id,
            neighbours: Vec::new(),
            announce: Vec::new(),
            kernel: true,
            extra: String::new(),
            bfd_extra: String::new(),
        }
    }
}

impl Neighbour {
    /// A plain neighbour: no BFD, 9 s hold time, 1 s between attempts to connect.
    pub fn new(name: impl Into<String>, address: IpAddr, remote_asn: u32) -> Self {
        Self {
            name: name.into(),
            peering: Peering::Address(address),
            remote_asn,
            local_address: None,
            bfd: None,
            hold_time: Duration::from_secs(9),
            connect_retry: Duration::from_secs(1),
            passive: false,
            password: None,
            multihop: None,
            ttl_security: false,
            extra: String::new(),
        }
    }
}

impl BfdTimers {
    /// What the fabric uses: 300 ms × 3.
    pub const DEFAULT: Self = Self { interval: Duration::from_millis(300), multiplier: 3 };
}

impl Peering {
    /// Whether a router that shows a neighbour at this address means this one.
    pub(super) fn is_at(&self, shown: &str) -> bool {
        match self {
            Self::Address(address) => shown.parse() == Ok(*address),
            Self::Interface { name, link_local } => {
                shown == name || shown.parse() == Ok(*link_local)
            }
        }
    }

    /// Whether the session runs over IPv4.
    pub(super) fn is_ipv4(&self) -> bool {
        matches!(self, Self::Address(IpAddr::V4(_)))
    }
}

impl fmt::Display for Peering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface { name, .. } => name.fmt(f),
        }
    }
}

/// The family of a prefix as all three routers write it.
pub(crate) fn family(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}
