//! Everything the daemon can ask a driver to do. Octets for peers are not among it: they are pulled
//! when there is room, see [`Speaker::poll_transmit`](super::Speaker::poll_transmit).
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::notice::Notice;
use crate::bgp::Serial;
use crate::bgp::authentication::Authentication;
use crate::bgp::transport::Transport;
use crate::route::{PeerName, ScopedAddress};
use crate::service::hooks::Run;
use crate::units::UnitName;
use crate::{bfd, check, netlink};

/// A wish.
#[derive(Debug)]
pub enum Output {
    /// Connect to a peer, which is at this address; TCP gives up when data has not been acknowledged
    /// for this long
    Connect(PeerName, Serial, Transport, ScopedAddress, Option<Duration>),
    /// Stop connecting, or send these last octets and close
    Close(PeerName, Serial, Vec<u8>),
    /// TCP gives up when data has not been acknowledged for this long
    SetUserTimeout(PeerName, Serial, Duration),
    /// Report how many octets the peer has acknowledged
    CountAcknowledged(PeerName, Serial),
    /// Report whether this is not what signs the connections of the peer, having changed what can be
    /// changed
    CompareKeys(PeerName, Authentication),
    /// Listen on this port for these peers, and no others
    Listen(u16, Vec<Transport>),
    /// Find out which address of ours reaches these peers
    FindRouterId(Vec<Transport>),
    /// For the BFD thread
    Bfd(bfd::driver::Command),
    /// For the checks
    Check(check::driver::Command),
    /// Run this, which is about a service that has no other one under way
    Hook(Box<Run>),
    /// For the host's addresses
    Netlink(netlink::Request),
    /// Send router advertisements on the interfaces with these numbers and names, and on no others
    Advertise(BTreeMap<u32, String>),
    /// Tell what becomes of these units of systemd, and of no others
    WatchUnits(BTreeSet<UnitName>),
    /// For the log
    Notice(Notice),
    /// All is withdrawn and closed: the process may end
    Stopped,
}
