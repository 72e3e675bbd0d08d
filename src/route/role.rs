//! BGP roles (RFC 9234): what two neighbouring ASes are to each other.
use std::fmt;

/// What our AS is to the peer's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// It gives the peer transit
    Provider,
    /// It is a route server
    RouteServer,
    /// It is a client of a route server
    RouteServerClient,
    /// It gets transit from the peer
    Customer,
    /// Each gives the other its own routes and those of its customers
    Peer,
}

impl Role {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer];

    /// The role that the other side must have (RFC 9234 §4.2).
    #[must_use]
    pub fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::Customer => Self::Provider,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Peer => Self::Peer,
        }
    }

    /// Whether what we send carries Only to Customer with our number (RFC 9234 §5): the peer must
    /// not pass it on to its own providers and peers.
    #[must_use]
    pub fn marks_routes(self) -> bool {
        matches!(self, Self::Provider | Self::RouteServer | Self::Peer)
    }

    /// As it is configured.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::RouteServer => "rs",
            Self::RouteServerClient => "rs-client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        }
    }

    /// Its number in the capability (RFC 9234 §4.1).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::RouteServer => 1,
            Self::RouteServerClient => 2,
            Self::Customer => 3,
            Self::Peer => 4,
        }
    }

    /// The role of a number; `None` for those that are not assigned.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
