//! Where a peer is and how TCP gets there, as data; and what its errors mean in words.
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::down::ConnectError;
use crate::sys;

/// How to reach a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transport {
    /// The peer's address
    pub address: IpAddr,
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
    /// Signs every segment (TCP MD5, RFC 2385)
    pub password: Option<Password>,
}

/// Where peers are listened for, at any address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Listening {
    /// The unspecified address of a family
    pub any: IpAddr,
    /// Through this VRF alone
    pub vrf: Option<String>,
}

impl Listening {
    /// Where this peer must be listened for.
    #[must_use]
    pub fn to(peer: &Transport) -> Self {
        let any: IpAddr = match peer.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { any, vrf: peer.vrf.clone() }
    }
}

/// Where a password is kept; the configuration never holds one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Password {
    /// A file; a newline at its end does not count
    File(PathBuf),
    /// A credential that systemd passes to the service
    Credential(String),
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "password-file {}", path.display()),
            Self::Credential(name) => write!(f, "password-credential {name}"),
        }
    }
}

impl Transport {
    /// A failed attempt in words, with what to look at.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> ConnectError {
        let at = format!("{} port {}", self.address, self.port);
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
            self.no_answer_text()
        } else {
            format!("cannot connect to {at}: {}", sys::describe(error))
        };
        ConnectError { kind, text }
    }

    /// An attempt that nobody answered in time.
    #[must_use]
    pub fn no_answer(&self, within: Duration) -> ConnectError {
        let text = format!("{} (waited {within:?})", self.no_answer_text());
        ConnectError { kind: io::ErrorKind::TimedOut, text }
    }

    fn no_answer_text(&self) -> String {
        let md5 = match self.password {
            Some(_) => "the TCP MD5 password differs from the router's",
            None => "the router demands a TCP MD5 password",
        };
        let ttl = match self.minimum_ttl {
            Some(_) => " its packets do not come with TTL 255 as ttl-security demands,",
            None => "",
        };
        format!(
            "no answer from {} port {}: the router is down, TCP is filtered on the way,{ttl} or \
             {md5}",
            self.address, self.port
        )
    }
}

/// What happened to a TCP connection.
#[derive(Debug)]
pub enum Tcp {
    /// It came about; our end has this address
    Connected(IpAddr),
    /// It did not
    Failed(ConnectError),
    /// Octets from the peer
    Received(Vec<u8>),
    /// What was given to write has been taken by the kernel
    Written,
    /// So many octets has the peer's TCP taken since the connection began
    Acknowledged(u64),
    /// What signs it is not what its password's file or credential says now
    PasswordChanged,
    /// What it says now cannot be read, for this reason
    PasswordUnreadable(String),
    /// It is gone: closed by the peer, or broken for this reason
    Closed(Option<String>),
}
