//! Addresses that mean something on one interface alone, and the two ends of a session.
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An address, and for a link-local one its zone (RFC 4007 §6).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ScopedAddress {
    /// The address
    pub ip: IpAddr,
    /// The number of the interface; 0 for an address that needs none
    pub zone: u32,
}

impl ScopedAddress {
    /// Together with a port.
    #[must_use]
    pub fn with_port(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.zone).into(),
        }
    }
}

impl From<IpAddr> for ScopedAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip, zone: 0 }
    }
}

impl From<SocketAddr> for ScopedAddress {
    fn from(address: SocketAddr) -> Self {
        let zone = match address {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
            SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
        };
        Self { ip: address.ip().to_canonical(), zone }
    }
}

impl fmt::Display for ScopedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { ip, zone: 0 } => write!(f, "{ip}"),
            Self { ip, zone } => write!(f, "{ip}%{zone}"),
        }
    }
}

/// The two ends of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// Ours
    pub local: ScopedAddress,
    /// The peer's
    pub remote: ScopedAddress,
}
