//! A session as it is at a moment, to go on with elsewhere: in the process that takes over.
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Config, Counters, Remote, Session, Timing};
use crate::bfd::packet::{Diag, State};

/// All of a session that the peer would notice the loss of, but for what signs its packets: its
/// discriminators, states, intervals and deadlines; Echo packets begin anew. Times are counted from the moment it was taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    discriminator: NonZeroU32,
    state: State,
    diag: Diag,
    remote_diag: Diag,
    remote: Option<Remote>,
    heard_age: Duration,
    announced: Timing,
    in_force: Timing,
    polling: bool,
    poll_again: bool,
    polling_age: Option<Duration>,
    poll_in: Duration,
    may_be_silent: bool,
    final_in: Option<Duration>,
    last_final: Option<Duration>,
    hurry: bool,
    last_tx: Option<Duration>,
    next_tx: Duration,
    state_age: Duration,
    seed: u64,
}

impl Session {
    /// What it is like now. What has happened is to be polled before.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let ago = |at: Instant| now.saturating_duration_since(at);
        Snapshot {
            discriminator: self.discriminator,
            state: self.state,
            diag: self.diag,
            remote_diag: self.remote_diag,
            remote: self.remote,
            heard_age: ago(self.heard_at),
            announced: self.announced,
            in_force: self.in_force,
            polling: self.polling,
            poll_again: self.poll_again,
            polling_age: self.polling_since.map(ago),
            poll_in: self.next_poll.saturating_duration_since(now),
            may_be_silent: self.may_be_silent,
            final_in: self.final_at.map(|at| at.saturating_duration_since(now)),
            last_final: self.last_final.map(ago),
            hurry: self.hurry,
            last_tx: self.last_tx.map(ago),
            next_tx: self.next_tx.saturating_duration_since(now),
            state_age: ago(self.since),
            seed: self.random.get_seed(),
        }
    }

    /// Goes on with what a snapshot holds that was taken at `taken`. Intervals that are configured
    /// otherwise now come into force by a Poll Sequence; counters begin anew.
    #[must_use]
    pub fn restore(config: Config, snapshot: &Snapshot, taken: Instant) -> Self {
        // A clock that has not run for so long is one that began to run since: count from there.
        let back = |age: Duration| taken.checked_sub(age).unwrap_or(taken);
        let mut session = Self {
            state: snapshot.state,
            diag: snapshot.diag,
            remote_diag: snapshot.remote_diag,
            remote: snapshot.remote,
            heard_at: back(snapshot.heard_age),
            announced: snapshot.announced,
            in_force: snapshot.in_force,
            polling: snapshot.polling,
            poll_again: snapshot.poll_again,
            polling_since: snapshot.polling_age.map(back),
            next_poll: taken + snapshot.poll_in,
            may_be_silent: snapshot.may_be_silent,
            final_at: snapshot.final_in.map(|time| taken + time),
            last_final: snapshot.last_final.map(back),
            hurry: snapshot.hurry,
            last_tx: snapshot.last_tx.map(back),
            next_tx: taken + snapshot.next_tx,
            since: back(snapshot.state_age),
            counters: Counters::default(),
            ..Self::new(config, snapshot.discriminator, snapshot.seed, taken)
        };
        session.ask_for_silence(taken);
        session.announce_timing(taken);
        session
    }
}
