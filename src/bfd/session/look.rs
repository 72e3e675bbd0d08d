//! What can be seen of a session.
use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use super::{Remote, Session, Timing};
use crate::bfd::echo;
use crate::bfd::pace::Pace;
use crate::bfd::packet::{Diag, State};

/// What has come and gone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Packets that went out
    pub sent: u64,
    /// Packets that came and were not dropped
    pub received: u64,
    /// How often the session came up
    pub ups: u64,
    /// How often it was Up and no longer is, for whatever reason
    pub downs: u64,
    /// Packets that came, since the session last came up or ceased to be
    pub receive_pace: Pace,
    /// Periodic packets that went out, since then
    pub transmit_pace: Pace,
}

impl Counters {
    pub(super) fn handle_change(&mut self, from: State, to: State) {
        if from == State::Up {
            self.downs += 1;
        }
        if to == State::Up {
            self.ups += 1;
        }
        if from == State::Up || to == State::Up {
            (self.receive_pace, self.transmit_pace) = (Pace::default(), Pace::default());
        }
    }
}

/// What a session is like.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub struct Look {
    pub state: State,
    /// For how long
    pub state_age: Duration,
    pub diag: Diag,
    pub discriminator: NonZeroU32,
    pub detect_mult: NonZeroU8,
    /// The peer is asked to be silent (D)
    pub demand: bool,
    /// What we tell the peer
    pub announced: Timing,
    /// While it is heard
    pub remote: Option<Remote>,
    /// From when its silence counts
    pub heard_at: Instant,
    /// What the peer last gave as its reason, if it was ever heard
    pub remote_diag: Diag,
    /// At which we send, before jitter
    pub transmit_interval: Duration,
    /// Silence for so long is failure; `None` while the peer is not heard
    pub detection_time: Option<Duration>,
    /// The Echo function, if it is to be used
    pub echo: Option<echo::Look>,
    pub counters: Counters,
}

impl Session {
    /// All that can be seen.
    #[must_use]
    pub fn look(&self, now: Instant) -> Look {
        Look {
            state: self.state,
            state_age: now.saturating_duration_since(self.since),
            diag: self.diag,
            discriminator: self.discriminator,
            detect_mult: self.config.detect_mult,
            demand: self.is_demanding(),
            announced: self.announced,
            remote: self.remote,
            heard_at: self.heard_at,
            remote_diag: self.remote_diag,
            transmit_interval: self.tx_interval(),
            detection_time: self.detection_time(),
            echo: self.config.echo.map(|config| self.echo.look(config, self.echo_possible)),
            counters: self.counters,
        }
    }

    /// Why the state last changed for the worse.
    #[must_use]
    pub fn diag(&self) -> Diag {
        self.diag
    }

    /// Our discriminator.
    #[must_use]
    pub fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// Whether this peer, known by what it calls itself, has been heard within the detection time.
    #[must_use]
    pub fn remote_discriminator(&self) -> Option<NonZeroU32> {
        self.remote.map(|remote| remote.discriminator)
    }

    /// The interval at which we send, before jitter, and the time after which silence is failure.
    #[must_use]
    pub fn timing(&self) -> (Duration, Option<Duration>) {
        (self.tx_interval(), self.detection_time())
    }
}
