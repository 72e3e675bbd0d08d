//! Sessions as they are at a moment, to go on with elsewhere: in the process that takes over.
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Config, Sessions};
use crate::bfd::session::{self, Session};
use crate::route::PeerName;

/// All of a session that the peer would notice the loss of; its key is to be read again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    session: session::Snapshot,
    /// The number of the next packet that is signed: the peer takes a smaller one for a replay
    sequence: Option<u32>,
}

impl Sessions {
    /// What the session with a peer is like. What has happened is to be polled before.
    #[must_use]
    pub fn snapshot(&self, peer: &PeerName, now: Instant) -> Option<Snapshot> {
        let (_, entry) = self.wanted(peer)?;
        let sequence = entry.keyring.as_ref().map(|keyring| keyring.transmit_sequence());
        let sequence = sequence.or(entry.sequence);
        Some(Snapshot { session: entry.session.snapshot(now), sequence })
    }

    /// Goes on with a session where a snapshot that was taken at `taken` left it.
    pub fn resume(&mut self, peer: &PeerName, config: Config, from: &Snapshot, taken: Instant) {
        let session = Session::restore(config.session, &from.session, taken);
        if self.entries.contains_key(&session.discriminator()) || self.wanted(peer).is_some() {
            return self.set(peer, config, taken); // it cannot be the same one
        }
        self.insert(peer, config, session, taken);
        if let Some((_, entry)) = self.wanted_mut(peer) {
            entry.sequence = from.sequence;
        }
    }
}
