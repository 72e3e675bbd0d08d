//! The connections of one peer: at most one that we opened and one that the peer opened, and which
//! of them survives when both come up (RFC 4271 §6.8).
use std::net::Ipv4Addr;
use std::time::Instant;

use super::connection::Connection;
use super::cut_off::CutOff;
use super::send_hold::SendHold;
use crate::route::{Asn, Ends, NextHops};

/// Numbers the TCP connections of one peer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(pub u32);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// We
    Active,
    /// The peer
    Passive,
}

impl Role {
    pub(super) const BOTH: [Self; 2] = [Self::Active, Self::Passive];

    pub(super) fn other(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
        }
    }
}

/// A connection and what goes with it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) serial: Serial,
    pub(super) connection: Connection,
    pub(super) ends: Ends,
    pub(super) cut_off: CutOff,
    pub(super) next_hops: NextHops,
    /// It came as far as Established
    pub(super) established: bool,
    /// What the writer has, until it says that it is done
    pub(super) in_flight: Option<Vec<Instant>>,
    /// Whether the peer takes what the writer had
    pub(super) send_hold: SendHold,
}

/// Up to two connections.
#[derive(Debug, Default)]
pub(super) struct Pair {
    active: Option<Slot>,
    passive: Option<Slot>,
}

impl Pair {
    /// Puts a connection in its place; the one that was there comes out.
    pub(super) fn insert(&mut self, role: Role, slot: Slot) -> Option<Slot> {
        self.place(role).replace(slot)
    }

    /// Takes a connection out.
    pub(super) fn take(&mut self, role: Role) -> Option<Slot> {
        self.place(role).take()
    }

    pub(super) fn get_mut(&mut self, role: Role) -> Option<&mut Slot> {
        self.place(role).as_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.active.iter().chain(&self.passive)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.active.iter_mut().chain(&mut self.passive)
    }

    /// The one that is, or was until just now, Established.
    pub(super) fn established(&self) -> Option<&Slot> {
        self.iter().find(|slot| slot.established)
    }

    pub(super) fn role_of(&self, serial: Serial) -> Option<Role> {
        let is = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.serial == serial);
        match (is(&self.active), is(&self.passive)) {
            (true, _) => Some(Role::Active),
            (_, true) => Some(Role::Passive),
            (false, false) => None,
        }
    }

    /// Which connection must go, now that an OPEN came on one of them. The one that the speaker
    /// with the higher BGP Identifier opened stays; equal ones leave it to the AS number
    /// (RFC 6286 §2.3). `None` while only one of them has had its OPEN: the other may still turn
    /// out to be nothing.
    pub(super) fn collision_loser(&self, router_id: Ipv4Addr, asn: Asn) -> Option<Role> {
        let session = self.active.as_ref()?.connection.session()?;
        self.passive.as_ref()?.connection.session()?;
        let we_win = (router_id, asn) > (session.remote_router_id, session.remote_asn);
        Some(if we_win { Role::Passive } else { Role::Active })
    }

    fn place(&mut self, role: Role) -> &mut Option<Slot> {
        match role {
            Role::Active => &mut self.active,
            Role::Passive => &mut self.passive,
        }
    }
}
