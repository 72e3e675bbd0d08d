//! Everything that can happen to the daemon.
use std::net::Ipv4Addr;

use crate::bgp::Serial;
use crate::bgp::transport::{Listening, Tcp};
use crate::config::Config;
use crate::route::{PeerName, ServiceName};
use crate::service::admin::{Admin, Keep};
use crate::service::hooks::Report;
use crate::units::{State as UnitState, UnitName};
use crate::{bfd, check, netlink};

/// A fact.
#[derive(Debug)]
pub enum Input {
    /// A TCP connection of a peer
    Tcp(PeerName, Serial, Tcp),
    /// Listening there for passive peers does not work, or (`None`) does
    CannotListen(Listening, Option<String>),
    /// Router advertisements cannot be sent, or (`None`) can
    CannotAdvertise(Option<String>),
    /// From the BFD thread
    Bfd(bfd::driver::Event),
    /// A probe ended
    Probed(check::driver::Report),
    /// The host's links or addresses changed, or a request was carried out
    Netlink(netlink::Event),
    /// Our IPv4 addresses towards the peers; none while the kernel knows no way to any of them
    RouterId(Vec<Ipv4Addr>),
    /// An operator wants a new session with this peer, for this reason or none
    Reset(PeerName, String),
    /// The operator wants that with a service, for so long, or nothing any more; it is kept already
    Wish(ServiceName, Keep, Option<Admin>),
    /// This is what a unit of systemd is like now
    Unit(UnitName, UnitState),
    /// Why systemd cannot be asked about units, or (`None`) it can
    CannotWatchUnits(Option<String>),
    /// All checks are to be probed now, or those of one service
    Probe(Option<ServiceName>),
    /// A service is not to be held down any more for having flapped
    Release(ServiceName),
    /// A hook of a service ended
    HookEnded(Report),
    /// A new configuration, which is valid
    Reload(Box<Config>),
    /// Stop; peers are told this text
    Stop(String),
    /// Stop for a moment: peers are told nothing, and all stays as it is
    Restart,
}
