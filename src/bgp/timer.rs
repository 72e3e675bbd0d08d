//! Timers as data: which run, when the next one fires, and the jitter of RFC 4271 §10.
use std::time::{Duration, Instant};

/// The timers of RFC 4271 §8 and §10, and that of RFC 9687. DelayOpen is not implemented;
/// MinRouteAdvertisementInterval is left out because a withdrawal here is a health signal and an
/// announcement its all-clear.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timer {
    /// Ends an attempt to connect, and starts the next
    ConnectRetry,
    /// Keeps a peer that refuses us from being asked again at once (DampPeerOscillations, §8.1.1)
    IdleHold,
    /// The peer must be heard before it fires
    Hold,
    /// The peer must hear us before its own hold timer fires
    Keepalive,
    /// A session that lasts until this fires has proved itself
    Stable,
    /// The peer must take what it is sent before it has fired too often (RFC 9687)
    SendHold,
    /// BFD must be up before it fires (draft-ietf-idr-bgp-bfd-strict-mode-19 §3: BfdHoldTimer)
    BfdHold,
}

const COUNT: usize = 7;

/// When each timer fires, if it runs.
#[derive(Clone, Debug, Default)]
pub struct Timers([Option<Instant>; COUNT]);

impl Timers {
    /// Starts or restarts a timer.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        *self.slot(timer) = Some(at);
    }

    /// Stops a timer; stopping one that does not run is harmless.
    pub fn stop(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    /// Stops a timer that is due at `now`, and says whether it was.
    pub fn expired(&mut self, timer: Timer, now: Instant) -> bool {
        let slot = self.slot(timer);
        let due = slot.is_some_and(|at| at <= now);
        if due {
            *slot = None;
        }
        due
    }

    /// When a timer fires.
    #[must_use]
    pub fn get(&self, timer: Timer) -> Option<Instant> {
        self.0.get(timer as usize).copied().flatten()
    }

    /// When the first of all fires.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    fn slot(&mut self, timer: Timer) -> &mut Option<Instant> {
        self.0.get_mut(timer as usize).expect("the table has a place for each timer")
    }
}

/// 75 to 100 % of `interval` (RFC 4271 §10).
pub fn jittered(interval: Duration, random: &mut fastrand::Rng) -> Duration {
    interval.mul_f64(0.75 + random.f64() / 4.0)
}
