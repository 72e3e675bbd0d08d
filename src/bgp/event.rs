//! What a [`Peer`](super::peer::Peer) asks of its driver and tells its owner, and what it is told by
//! BFD.
use std::time::Duration;

use super::connection::Session;
use super::down::DownReason;
use super::pair::Serial;
use super::wire::{Defect, Update};
use crate::route::ScopedAddress;

/// What the driver is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Open a TCP connection to this address and report how that went
    Connect(Serial, ScopedAddress),
    /// Stop connecting, or send these last octets and close
    Close(Serial, Vec<u8>),
    /// Let TCP give up when data has not been acknowledged for this long
    SetUserTimeout(Serial, Duration),
    /// Report how many octets have been acknowledged, to [`Peer::handle_acknowledged`](super::peer::Peer::handle_acknowledged): a
    /// withdrawal behind a closed window is one that BGP believes to be sent
    CountAcknowledged(Serial),
}

/// What the owner is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The session is up
    Established(Session),
    /// The session that was up is over
    Down(DownReason),
    /// An attempt came as far as it can before BFD is up
    AwaitsBfd,
    /// An attempt failed for another reason than the one before
    Failed(DownReason),
    /// The peer sent an UPDATE that was wrong in ways (RFC 7606) that are new in this session
    Defects(Vec<Defect>),
    /// The peer sent an UPDATE; told only if [`Peer::set_receiving`](super::peer::Peer::set_receiving) says so
    Received(Update),
    /// Changes reached the socket; for each, the time since it was decided
    Sent(Vec<Duration>),
}

/// BFD's word on the path to the peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BfdVerdict {
    /// The session came up
    Up,
    /// The session had been up and failed, for this reason
    Down(String),
    /// The router's operator has taken it down: nothing is known of the path, and nobody is to wait
    /// for that (RFC 5882 §4.1)
    AdminDown,
    /// It is not up, and that is no failure of the path
    Awaited,
}
