//! Where a peer is and how TCP gets there, as data; and what its errors mean in words.
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::authentication::Authentication;
use super::down::ConnectError;
use crate::route::ScopedAddress;
use crate::sys;

/// Where a peer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remote {
    /// At this address
    Address(IpAddr),
    /// At this link-local address on this interface
    LinkLocal(Ipv6Addr, String),
    /// Whoever is the router on this interface, by its link-local address ("unnumbered")
    Router(String),
}

impl Remote {
    /// Its address, where that was configured.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::LinkLocal(address, _) => Some(IpAddr::V6(*address)),
            Self::Router(_) => None,
        }
    }

    /// The interface on which alone it is reached.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::LinkLocal(_, interface) | Self::Router(interface) => Some(interface),
        }
    }

    /// Whether it may speak from this address.
    #[must_use]
    pub fn is_at(&self, address: IpAddr) -> bool {
        match self {
            Self::Router(_) => {
                matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local())
            }
            Self::Address(_) | Self::LinkLocal(..) => self.address() == Some(address),
        }
    }

    /// Whether IPv4 leads to it.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        matches!(self, Self::Address(IpAddr::V4(_)))
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::LinkLocal(address, interface) => write!(f, "{address} on {interface}"),
            Self::Router(interface) => write!(f, "the router on {interface}"),
        }
    }
}

/// Why it is not known where a peer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoPath {
    /// The kernel has not been asked yet
    Unread,
    /// For this reason, in words
    Because(String),
}

/// How to reach a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transport {
    /// Where it is
    pub remote: Remote,
    /// The port it listens on
    pub port: u16,
    /// Our end; the kernel's choice when `None`
    pub source_address: Option<IpAddr>,
    /// The VRF, or any other interface, through which alone it is reached
    pub vrf: Option<String>,
    /// TTL of what we send: 1 to an external peer, unless it is further away
    pub ttl: u8,
    /// What comes with a lower TTL is not the peer's (GTSM, RFC 5082)
    pub minimum_ttl: Option<u8>,
    /// Signs every segment
    pub authentication: Option<Authentication>,
}

/// Where peers are listened for, at any address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Listening {
    /// The unspecified address of a family
    pub any: IpAddr,
    /// Through this VRF or interface alone
    pub device: Option<String>,
}

impl Listening {
    /// Whom to listen for, and where.
    #[must_use]
    pub fn places(peers: &[Transport]) -> BTreeMap<Self, Vec<Transport>> {
        let mut places: BTreeMap<Self, Vec<Transport>> = BTreeMap::new();
        for peer in peers {
            places.entry(Self::to(peer)).or_default().push(peer.clone());
        }
        // Who comes by an interface that is listened on by itself comes to no other listener.
        let anywhere = |peer: &&Transport| {
            peer.vrf.is_none() && matches!(peer.remote, Remote::Address(IpAddr::V6(_)))
        };
        let anywhere: Vec<_> = peers.iter().filter(anywhere).cloned().collect();
        for guests in places.values_mut() {
            if guests.iter().any(|peer| peer.remote.interface().is_some()) {
                guests.extend(anywhere.iter().cloned());
            }
        }
        places
    }

    /// Whether there is another one among these whose addresses and port are the same.
    #[must_use]
    pub fn shares_port<'a>(&self, mut places: impl Iterator<Item = &'a Self>) -> bool {
        places.any(|other| other.any == self.any && other.device != self.device)
    }

    /// Where this peer must be listened for.
    fn to(peer: &Transport) -> Self {
        let any: IpAddr = if peer.remote.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let device = peer.remote.interface().or(peer.vrf.as_deref());
        Self { any, device: device.map(str::to_owned) }
    }
}

impl Transport {
    /// Whether a connection that was made by this can go on under the other, once its keys are
    /// compared.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let unsigned = |of: &Self| Self { authentication: None, ..of.clone() };
        let signed_alike = match (&self.authentication, &other.authentication) {
            (Some(ours), Some(others)) => ours.is_like(others),
            (ours, others) => ours.is_none() && others.is_none(),
        };
        signed_alike && unsigned(self) == unsigned(other)
    }

    /// A failed attempt in words, with what to look at. `to`: the peer's address.
    #[must_use]
    pub fn explain(&self, to: IpAddr, error: &io::Error) -> ConnectError {
        let at = self.place(to);
        let kind = error.kind();
        let text = if kind == io::ErrorKind::ConnectionRefused {
            format!(
                "{at} refused the connection: no BGP speaker listens there, or it has no \
                 neighbor for our address"
            )
        } else if matches!(kind, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
        {
            format!("no way to {at}: {}", sys::describe(error))
        } else if kind == io::ErrorKind::AddrNotAvailable {
            match self.source_address {
                Some(source) => format!("source-address {source} is not on this host"),
                None => format!("no source address for {at}: {}", sys::describe(error)),
            }
        } else if kind == io::ErrorKind::TimedOut {
            self.no_answer_text(to)
        } else {
            format!("cannot connect to {at}: {}", sys::describe(error))
        };
        ConnectError { kind, text }
    }

    /// An attempt that nobody answered in time.
    #[must_use]
    pub fn no_answer(&self, to: IpAddr, within: Duration) -> ConnectError {
        let text = format!("{} (waited {within:?})", self.no_answer_text(to));
        ConnectError { kind: io::ErrorKind::TimedOut, text }
    }

    fn place(&self, to: IpAddr) -> String {
        match self.remote.interface() {
            None => format!("{to} port {}", self.port),
            Some(interface) => format!("{to} on {interface} port {}", self.port),
        }
    }

    fn no_answer_text(&self, to: IpAddr) -> String {
        let signature = match self.authentication {
            Some(Authentication::Md5(_)) => "the TCP MD5 password differs from the router's",
            Some(Authentication::Ao(_)) => "the TCP-AO keys differ from the router's",
            None => "the router demands a TCP MD5 password or a TCP-AO key",
        };
        let ttl = match self.minimum_ttl {
            Some(_) => " its packets do not come with TTL 255 as ttl-security demands,",
            None => "",
        };
        format!(
            "no answer from {}: the router is down, TCP is filtered on the way,{ttl} or {signature}",
            self.place(to)
        )
    }
}

/// What happened to a TCP connection.
#[derive(Debug)]
pub enum Tcp {
    /// It came about; our end has this address
    Connected(ScopedAddress),
    /// It did not
    Failed(ConnectError),
    /// Octets from the peer
    Received(Vec<u8>),
    /// What was given to write has been taken by the kernel
    Written,
    /// So many octets has the peer's TCP taken since the connection began
    Acknowledged(u64),
    /// What signs it is not what the files or credentials say now, and cannot become that
    KeysChanged,
    /// What signs it is what they say now; the peer is asked to use the key of this number
    KeysReplaced(u8),
    /// What they say now cannot be read, for this reason
    KeysUnreadable(String),
    /// It is gone: closed by the peer, or broken for this reason
    Closed(Option<String>),
}
