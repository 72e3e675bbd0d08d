//! Demand mode (RFC 5880 §6.6), as the packets of both ends show it: who may be silent, and until when that
//! is noticed if he is dead.
use std::time::{Duration, Instant};

use vipcast::bfd::packet::{Packet, State};
use vipcast::bfd::session::Look;

/// What has been said in a session, as far as silence goes by it.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// The peer is to be polled so often
    interval: Option<Duration>,
    /// Since then our own wishes are the same, and everything was done in time
    since: Option<Instant>,
    /// What the peer said last
    said: Option<Packet>,
    /// The peer was asked to be silent, and not yet asked for anything else
    is_asked: bool,
    /// As that; or it should have been asked
    may_be_asked: bool,
    /// When the first packet of a Poll Sequence went out that has not been answered
    polled_at: Option<Instant>,
}

impl Demand {
    /// Our own wishes may have changed.
    pub(super) fn configure(&mut self, interval: Option<Duration>, now: Instant) {
        self.interval = interval;
        self.since = Some(now);
    }

    /// Until now nothing was done that was due.
    pub(super) fn attend(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Whether an answer is waited for.
    pub(super) fn is_polling(&self) -> bool {
        self.polled_at.is_some()
    }

    /// Whether silence may be no failure.
    pub(super) fn is_patient(&self) -> bool {
        self.may_be_asked
    }

    /// The session took in a packet, and looks like this now.
    pub(super) fn hear(&mut self, packet: &Packet, after: &Look) {
        self.said = Some(*packet);
        self.polled_at = self.polled_at.filter(|_| !packet.is_final);
        let is_agreed = packet.is_final && !self.asks(after.state);
        if is_agreed || packet.required_min_rx.is_zero() {
            self.is_asked = false;
        }
        self.see(after);
    }

    /// A packet of ours.
    pub(super) fn send(&mut self, packet: &Packet, now: Instant) {
        let said = self.said.filter(|said| said.state == State::Up);
        let is_silenced = packet.state == State::Up && said.is_some_and(|said| said.demand);
        let may_go = packet.poll || packet.is_final;
        assert!(may_go || !is_silenced, "the peer asked for silence (RFC 5880 §6.8.7): {self:?}");
        assert_eq!(packet.demand, self.asks(packet.state), "the D bit (RFC 5880 §6.8.7): {self:?}");
        if packet.poll {
            self.polled_at.get_or_insert(now);
        }
        let is_plain = !packet.poll && !packet.is_final;
        self.is_asked = packet.demand || self.is_asked && !is_plain;
        self.may_be_asked = packet.demand || self.may_be_asked && !is_plain;
    }

    /// A peer that was forgotten had its time: in demand mode from a Poll on, else since it was heard.
    pub(super) fn check_forgotten(&self, before: &Look, after: &Look, now: Instant) {
        let Some(remote) = before.remote.filter(|_| after.remote.is_none()) else { return };
        let own = u32::from(before.detect_mult.get());
        let by_poll = self.polled_at.map(|at| at + before.transmit_interval * own);
        let interval = before.announced.required_min_rx.max(remote.desired_min_tx);
        let silent = before.heard_at + interval * u32::from(remote.detect_mult.get());
        let due = match by_poll.filter(|_| self.may_be_asked) {
            Some(by_poll) if self.is_asked => Some(by_poll),
            Some(by_poll) => Some(by_poll.min(silent)),
            None => (!self.is_asked).then_some(silent),
        };
        assert!(
            due.is_some_and(|due| due <= now),
            "it was forgotten too soon: {self:?} {before:?}"
        );
    }

    /// A peer that is silent is forgotten in time: when polls come as often as they should, and go with the
    /// next packet, each.
    pub(super) fn check(&mut self, look: &Look, now: Instant) {
        self.see(look);
        let Some(detection_time) = look.detection_time.filter(|_| look.remote.is_some()) else {
            assert!(look.remote.is_none(), "how long it may be silent is not known");
            return;
        };
        let mut due = look.heard_at + detection_time;
        if self.may_be_asked {
            let packets = 1 + u32::from(look.detect_mult.get());
            let poll = self.interval.unwrap_or_default() + look.transmit_interval * packets;
            due = look.heard_at.max(self.since.unwrap_or(now)) + poll.max(detection_time);
        }
        assert!(now < due, "silence was not noticed: {self:?} {look:?}");
    }

    /// Takes in what the session is like.
    fn see(&mut self, look: &Look) {
        if look.remote.is_none() {
            (self.said, self.polled_at) = (None, None);
        }
        if look.state != State::Up {
            (self.is_asked, self.may_be_asked) = (false, false);
        }
        self.may_be_asked |= self.asks(look.state);
    }

    /// RFC 5880 §6.8.7 on the D bit; and one that wants no packets cannot be polled.
    fn asks(&self, state: State) -> bool {
        let both_up = |said: Packet| state == State::Up && said.state == State::Up;
        let can_be_polled = |said: Packet| both_up(said) && !said.required_min_rx.is_zero();
        self.interval.is_some() && self.said.is_some_and(can_be_polled)
    }
}
