//! Whether the peer takes what it is sent (the SendHoldTimer of RFC 9687).
//!
//! A message disappears into the send buffer of our socket even when the peer has long stopped to
//! read: its TCP goes on acknowledging the probes of its closed window, its KEEPALIVEs go on coming,
//! and a withdrawal waits behind that window for as long as it likes. Only what has been
//! acknowledged shows it. So while octets are on their way, [`SendHold`] asks for that number a few
//! times per hold time, and its verdict comes when nothing was acknowledged for a hold time.
//!
//! Deviation: RFC 9687 waits for a message to go into our socket, and for eight minutes or more.
//! Here the peer's TCP must take an octet, which no router leaves undone for a hold time while it
//! works.
use std::time::{Duration, Instant};

use super::timer::{Timer, Timers};

/// So many looks per hold time.
const LOOKS: u32 = 8;

/// Watches over what one connection sends.
#[derive(Debug, Default)]
pub(super) struct SendHold {
    /// How long nothing may be taken; `None` until the session is up, and without a hold time
    limit: Option<Duration>,
    timers: Timers,
    /// While octets wait: when the peer was last known to take one, or when none had waited yet
    since: Option<Instant>,
    /// The look before
    looked: Option<Instant>,
    /// Octets for the peer since the connection began
    sent: u64,
    /// Those of them that it has taken, by the last look
    acknowledged: u64,
}

/// The peer does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Expired {
    /// It has taken nothing for this long
    pub(super) limit: Duration,
    /// So many octets wait for it
    pub(super) waiting: u64,
}

impl SendHold {
    /// The session is up. No hold time (zero) means no send hold timer either (RFC 9687 §4.3).
    pub(super) fn start(&mut self, hold_time: Duration, now: Instant) {
        self.limit = (!hold_time.is_zero()).then_some(hold_time);
        self.watch(now);
    }

    /// So many octets go to the writer.
    pub(super) fn handle_transmit(&mut self, octets: usize, now: Instant) {
        self.sent += octets as u64;
        self.watch(now);
    }

    /// Takes in the passing of time: whether to look at what was acknowledged.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.timers.expired(Timer::SendHold, now)
    }

    /// So many octets have been acknowledged since the connection began.
    pub(super) fn handle_acknowledged(&mut self, total: u64, now: Instant) -> Option<Expired> {
        let (limit, since) = (self.limit?, self.since?);
        let looked = self.looked.replace(now).unwrap_or(since);
        let before = std::mem::replace(&mut self.acknowledged, total);
        // An octet was taken between the two looks. It may have been right after the first: nothing
        // is to wait longer than the limit.
        let since = if total > before { looked } else { since };
        let waiting = self.sent.saturating_sub(total);
        self.since = (waiting != 0).then_some(since);
        if waiting != 0 && now.saturating_duration_since(since) >= limit {
            return Some(Expired { limit, waiting });
        }
        self.look_again(now);
        None
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Begins to look, unless it has begun.
    fn watch(&mut self, now: Instant) {
        if self.since.is_none() && self.limit.is_some() {
            (self.since, self.looked) = (Some(now), Some(now));
            self.look_again(now);
        }
    }

    fn look_again(&mut self, now: Instant) {
        if let (Some(limit), Some(since)) = (self.limit, self.since) {
            let next = (now + limit / LOOKS).min(since + limit);
            self.timers.set(Timer::SendHold, next);
        }
    }
}
