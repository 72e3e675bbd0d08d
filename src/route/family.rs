//! Address families: the (AFI, SAFI) pairs of RFC 4760 that this speaker announces.
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// An address family that is announced.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// AFI 1, SAFI 1
    Ipv4Unicast,
    /// AFI 2, SAFI 1
    Ipv6Unicast,
}

impl Family {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family of a prefix.
    #[must_use]
    pub fn of(prefix: IpNet) -> Self {
        Self::of_address(prefix.addr())
    }

    /// The family of an address.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4Unicast,
            IpAddr::V6(_) => Self::Ipv6Unicast,
        }
    }

    /// The family of an (AFI, SAFI) pair; `None` for those that are not announced.
    #[must_use]
    pub fn from_afi_safi(afi: u16, safi: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.afi() == afi && f.safi() == safi)
    }

    /// Address Family Identifier.
    #[must_use]
    pub fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// Subsequent Address Family Identifier.
    #[must_use]
    pub fn safi(self) -> u8 {
        1
    }

    /// The longest prefix length: 32 or 128.
    #[must_use]
    pub fn max_prefix_len(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 32,
            Self::Ipv6Unicast => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "IPv4 unicast",
            Self::Ipv6Unicast => "IPv6 unicast",
        })
    }
}
