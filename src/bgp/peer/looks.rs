//! What a peer is like now.
use std::time::Instant;

use super::Peer;
use crate::bgp::adj_rib_out::AdjRibOut;
use crate::bgp::connection::{self, Session};
use crate::bgp::history::History;
use crate::bgp::transport::NoPath;
use crate::route::{Ends, ScopedAddress};

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum State {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

impl Peer {
    /// Where the better of its connections stands.
    #[must_use]
    pub fn state(&self) -> State {
        match self.connections.iter().map(|slot| slot.connection.state()).max() {
            Some(connection::State::Established) => State::Established,
            Some(connection::State::OpenConfirm) => State::OpenConfirm,
            Some(connection::State::OpenSent) => State::OpenSent,
            Some(connection::State::Closed) | None if self.dialing.is_some() => State::Connect,
            Some(connection::State::Closed) | None => {
                let waits = self.config.passive || self.path.is_ok();
                if self.running && waits && !self.retry.is_holding() {
                    State::Active
                } else {
                    State::Idle
                }
            }
        }
    }

    /// Whether a session would be up, were it not for BFD.
    #[must_use]
    pub fn awaits_bfd(&self) -> bool {
        self.connections.iter().any(|slot| slot.connection.awaits_bfd())
    }

    /// The agreed session and its two ends, while Established.
    #[must_use]
    pub fn session(&self) -> Option<(&Session, Ends)> {
        self.connections
            .established()
            .and_then(|slot| Some((slot.connection.session()?, slot.ends)))
    }

    /// The peer's address: that of a connection, else the one that would be connected to.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub fn address(&self) -> Result<ScopedAddress, &NoPath> {
        let mut connected =
            self.connections.established().into_iter().chain(self.connections.iter());
        match connected.next() {
            Some(slot) => Ok(slot.ends.remote),
            None => self.path(),
        }
    }

    /// Where it would be connected to.
    ///
    /// # Errors
    ///
    /// Why that is not known.
    pub fn path(&self) -> Result<ScopedAddress, &NoPath> {
        self.path.as_ref().copied()
    }

    /// What became of its sessions and attempts.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// When the next attempt to connect comes, if one is planned.
    #[must_use]
    pub fn next_attempt(&self) -> Option<Instant> {
        self.retry.next_attempt()
    }

    /// What it should have and has been sent.
    #[must_use]
    pub fn rib(&self) -> &AdjRibOut {
        &self.rib
    }

    /// To set what it should have.
    pub fn rib_mut(&mut self) -> &mut AdjRibOut {
        &mut self.rib
    }

    /// Whether nothing is waiting to be sent, nor on its way into the socket.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.connections
            .established()
            .is_none_or(|slot| slot.in_flight.is_none() && !self.rib.has_update())
    }
}
