//! Why a session does not come up, as far as one end of it can tell.
use std::fmt;

use super::discard::{Discard, Discards};
use super::echo;
use super::packet::State;
use super::sessions::{Hops, Look};

/// What has been seen of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// To which port the packets of both ends go
    pub hops: Hops,
    /// What the peer says, if it is heard now
    pub remote: Option<State>,
    /// Packets of it that were taken in
    pub received: u64,
    /// Datagrams of it that were dropped
    pub discards: Discards,
    /// Where it is all there is (RFC 9747): whether Echo packets can be sent
    pub echo: Option<bool>,
}

impl Evidence {
    /// From all that can be seen.
    #[must_use]
    pub fn of(look: &Look) -> Self {
        Self {
            hops: look.config.hops,
            remote: look.session.remote.map(|remote| remote.state),
            received: look.session.counters.received,
            discards: look.discards,
            echo: look.session.echo.filter(|echo| echo.unaffiliated).map(|echo| echo.possible),
        }
    }
}

/// Why a session is not Up.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Diagnosis {
    /// Nothing has ever come from the peer
    Silent(Hops),
    /// Nothing comes from it any more
    Ceased(Hops),
    /// What comes from it is dropped
    Dropped(Discard, Hops),
    /// It is heard, and does not hear us: else it would not stay Down (RFC 5880 §6.2)
    Unheard(Hops),
    /// Its operator has taken it down
    AdminDown,
    /// Echo packets are sent, and none comes back
    NoEcho,
    /// Echo packets cannot be sent
    NoEchoPath,
}

impl Diagnosis {
    /// Of a session that is not Up. What had been seen some time before, if it had, tells what is
    /// dropped now from what was dropped then.
    #[must_use]
    pub fn of(evidence: &Evidence, before: Option<&Evidence>) -> Self {
        let hops = evidence.hops;
        let increase = |(reason, count): (Discard, u64)| {
            (count - before.map_or(0, |before| before.discards.get(reason).min(count)), reason)
        };
        let (dropped, reason) =
            evidence.discards.iter().map(increase).max().unwrap_or((0, Discard::Length));
        match evidence.echo {
            Some(true) => return Self::NoEcho,
            Some(false) => return Self::NoEchoPath,
            None => {}
        }
        match evidence.remote {
            Some(State::AdminDown) => Self::AdminDown,
            Some(State::Down | State::Init | State::Up) => Self::Unheard(hops),
            None if dropped > 0 => Self::Dropped(reason, hops),
            None if evidence.received > 0 => Self::Ceased(hops),
            None => Self::Silent(hops),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(hops) => write!(
                f,
                "nothing comes from the router: it has no BFD for this host, or UDP port {} is \
                 dropped between the two",
                hops.port()
            ),
            Self::Ceased(hops) => write!(
                f,
                "nothing comes from the router any more: it has no BFD for this host now, or UDP \
                 port {} is dropped between the two",
                hops.port()
            ),
            Self::Unheard(hops) => write!(
                f,
                "the router is heard but does not hear this host: UDP port {} is dropped on the \
                 way to it",
                hops.port()
            ),
            Self::AdminDown => f.write_str("taken down by the peer's operator"),
            Self::NoEcho => write!(
                f,
                "no Echo packet comes back: the router drops what goes to where it comes from (a \
                 reverse path check, or protection from \"LAND\" attacks), or UDP port {} is dropped",
                echo::PORT
            ),
            Self::NoEchoPath => f.write_str(
                "no Echo packets are sent: the router is not in the host's neighbour table (ip \
                 neighbour), or packet sockets are not permitted (then the log says so)",
            ),
            Self::Dropped(reason, hops) => {
                write!(f, "packets come from the router and are dropped: ")?;
                describe(*reason, *hops, f)
            }
        }
    }
}

fn describe(reason: Discard, hops: Hops, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (reason, hops) {
        (Discard::Ttl, Hops::Single) => f.write_str(
            "their TTL is not 255, so they are not from this link (RFC 5881 §5; `multihop`)",
        ),
        (Discard::Ttl, Hops::Multi) => {
            f.write_str("they come over more hops than `minimum-ttl` allows (RFC 5883 §5)")
        }
        (Discard::Authentication, _) => {
            f.write_str("they are not authenticated as it is configured here (RFC 5880 §6.7)")
        }
        (Discard::WrongSource, _) => {
            f.write_str("they come from another address than that of the peer")
        }
        (other, _) => write!(f, "{}", other.label()),
    }
}
