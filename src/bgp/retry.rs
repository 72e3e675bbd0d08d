//! When to connect to a peer: at once, again after a failure, and ever more slowly to one that
//! refuses us.
//!
//! A TCP connection that does not come about is tried again every `connect-retry-time`. A peer that
//! answers and then refuses (a NOTIFICATION either way, or a close) is asked after a time that
//! doubles up to [`LONGEST_IDLE`] (DampPeerOscillations, RFC 4271 §8.1.1), until a session has
//! lasted for [`STABLE`].
use std::time::{Duration, Instant};

use super::down::DownReason;
use super::timer::{Timer, Timers, jittered};

/// A session that lasts this long has proved itself.
pub(super) const STABLE: Duration = Duration::from_secs(30);
/// The longest time before a peer that refuses us is asked again, unless `connect-retry-time` is
/// longer.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// After a session that had proved itself, the first attempt comes this soon.
const QUICK: Duration = Duration::from_secs(1);

/// Connections of the peer that are let in as fast as they come, and how much later than the one
/// before each further one may come: none that it tells us of is lost, and the log stays readable.
const BURST: u32 = 1000;
const PACE: Duration = Duration::from_secs(1);

/// The times of one peer's attempts.
#[derive(Debug)]
pub(super) struct Retry {
    interval: Duration,
    timers: Timers,
    /// In a row, without a session that proved itself
    refusals: u32,
    /// Until when the peer's own attempts so far keep us busy, at one for each [`PACE`]
    admitted: Option<Instant>,
    random: fastrand::Rng,
}

impl Retry {
    /// `interval`: `connect-retry-time`.
    pub(super) fn new(interval: Duration, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { interval, timers: Timers::default(), refusals: 0, admitted: None, random }
    }

    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// An attempt begins; it may take as long as the ConnectRetryTimer runs.
    pub(super) fn attempt(&mut self, now: Instant) {
        self.timers.stop(Timer::IdleHold);
        self.wait(Timer::ConnectRetry, self.interval, now);
    }

    /// A session came up.
    pub(super) fn established(&mut self, now: Instant) {
        self.stop();
        self.timers.set(Timer::Stable, now + STABLE);
    }

    /// The only connection there was has ended.
    pub(super) fn ended(&mut self, reason: &DownReason, was_established: bool, now: Instant) {
        let stable = was_established && self.timers.get(Timer::Stable).is_none();
        self.timers = Timers::default();
        if stable {
            self.wait(Timer::ConnectRetry, self.interval.min(QUICK), now);
        } else if reason.is_refusal() {
            let doubled = self.interval.saturating_mul(1 << self.refusals.min(16));
            self.refusals += 1;
            self.wait(Timer::IdleHold, doubled.min(LONGEST_IDLE.max(self.interval)), now);
        } else {
            self.wait(Timer::ConnectRetry, self.interval, now);
        }
    }

    /// Whatever the peer has refused is forgotten: an operator has seen to it. `was_connected`: it
    /// has just been told to end a session, and needs a moment for that.
    pub(super) fn begin_anew(&mut self, was_connected: bool, now: Instant) {
        self.refusals = 0;
        self.timers = Timers::default();
        if was_connected {
            self.wait(Timer::ConnectRetry, self.interval.min(QUICK), now);
        }
    }

    /// The only connection there was has ended, and no attempt is to follow.
    pub(super) fn rest(&mut self) {
        self.timers = Timers::default();
    }

    /// Whether a connection that the peer opens is let in. One that goes on opening them for nothing
    /// is slowed down, as it is with ours (DampPeerOscillations, RFC 4271 §8.1.1).
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let busy = self.admitted.map_or(now, |until| until.max(now));
        let may_come = busy < now + PACE * BURST;
        if may_come {
            self.admitted = Some(busy + PACE);
        }
        may_come
    }

    /// Takes in the passing of time: whether an attempt is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.timers.expired(Timer::Stable, now) {
            self.refusals = 0;
        }
        self.timers.expired(Timer::ConnectRetry, now) | self.timers.expired(Timer::IdleHold, now)
    }

    /// Whether a peer that refused us is being given its time.
    pub(super) fn is_holding(&self) -> bool {
        self.timers.get(Timer::IdleHold).is_some()
    }

    /// No attempt is wanted.
    pub(super) fn stop(&mut self) {
        self.timers.stop(Timer::ConnectRetry);
        self.timers.stop(Timer::IdleHold);
    }

    /// When the next attempt begins.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let idle_hold = self.timers.get(Timer::IdleHold);
        idle_hold.or_else(|| self.timers.get(Timer::ConnectRetry))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn wait(&mut self, timer: Timer, interval: Duration, now: Instant) {
        self.timers.set(timer, now + jittered(interval, &mut self.random));
    }
}
