//! One session by itself, which is slowed down and goes on from a snapshot of itself, as at a restart of the
//! process. The peer must not notice.
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use vipcast::bfd::packet::{Packet, State};
use vipcast::bfd::session::{Config, Event, Session};

use super::octets::check_sent;
use super::{Heard, Second};

/// Its discriminator.
pub(super) const OURS: NonZeroU32 = NonZeroU32::new(7).expect("it is not zero");

/// The session, and what it has told.
pub(super) struct Alone {
    pub(super) session: Session,
    config: Config,
    heard: Heard,
    second: Second,
}

impl Alone {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        let session = Session::new(config, OURS, 7, now);
        let mut heard = Heard::default();
        heard.demand.configure(config.demand, now);
        Self { session, config, heard, second: Second::default() }
    }

    pub(super) fn hear(&mut self, packet: &Packet, now: Instant) {
        self.second.causes += 1;
        self.session.handle_packet(packet, now);
        self.heard.demand.hear(packet, &self.session.look(now));
    }

    /// Nothing was done until now.
    pub(super) fn attend(&mut self, now: Instant) {
        self.heard.demand.attend(now);
    }

    /// Whether the peer is polled.
    pub(super) fn is_polling(&self) -> bool {
        self.heard.demand.is_polling()
    }

    pub(super) fn configure(&mut self, config: Config, now: Instant) {
        self.second.causes += 1;
        self.config = config;
        self.heard.demand.configure(config.demand, now);
        self.session.configure(config, now);
    }

    /// Another wish for silence alone.
    pub(super) fn ask_for_silence(&mut self, demand: Option<Duration>, now: Instant) {
        self.configure(Config { demand, ..self.config }, now);
    }

    pub(super) fn slow_down(&mut self, interval: Duration, now: Instant) {
        self.second.causes += 1;
        self.heard.demand.attend(now);
        self.session.slow_down(interval, now);
    }

    pub(super) fn admin_down(&mut self, now: Instant) {
        self.second.causes += 1;
        self.session.admin_down(now);
        self.heard.is_over = true;
    }

    /// The process ends and another goes on at once.
    pub(super) fn restart(&mut self, now: Instant) {
        self.second.causes += 1;
        let before = self.session.look(now);
        let snapshot = self.session.snapshot(now);
        self.session = Session::restore(self.config, &snapshot, now);
        let after = self.session.look(now);
        assert_eq!((after.state, after.diag), (before.state, before.diag));
        assert_eq!(after.discriminator, before.discriminator);
        assert_eq!(after.remote, before.remote);
        // What it was slowed down to is at an end, for which an Up session needs the peer's consent.
        assert!(after.transmit_interval <= before.transmit_interval);
        if self.heard.demand.is_patient() {
            self.heard.demand.attend(now);
            assert!(after.detection_time <= before.detection_time);
        } else if before.state == State::Up {
            assert_eq!(after.detection_time, before.detection_time);
        }
    }

    /// As a driver does at any time: timeouts, then packets, then events.
    pub(super) fn drain(&mut self, begin: Instant, now: Instant) {
        let before = self.session.look(now);
        self.session.handle_timeout(now);
        self.heard.demand.check_forgotten(&before, &self.session.look(now), now);
        while let Some(packet) = self.session.poll_transmit(now) {
            let packet_read = check_sent(&packet.encode(), OURS, false);
            assert_eq!(packet_read, packet);
            assert_eq!(packet.state, self.session.state());
            self.second.count(now - begin, packet.state == State::Up);
            self.heard.demand.send(&packet, now);
        }
        while let Some(event) = self.session.poll_event() {
            self.heard.note(event);
        }
        self.check(now);
    }

    fn check(&mut self, now: Instant) {
        self.heard.check(&self.session.look(now), now);
        let timeout = self.session.poll_timeout();
        let is_done = timeout.is_none_or(|timeout| timeout > now);
        assert!(is_done, "there is more to do at once: {:?}", self.session);
    }
}

impl Heard {
    /// What may follow what.
    pub(super) fn note(&mut self, event: Event) {
        assert!(!self.is_over, "{event:?} of a session that we have ended");
        match event {
            Event::Up => {
                assert!(!self.is_up && !self.is_peer_down, "{event:?}: {self:?}");
                self.is_up = true;
            }
            Event::Down(..) => {
                assert!(self.is_up, "{event:?}: {self:?}");
                self.is_up = false;
            }
            Event::PeerAdminDown => {
                assert!(!self.is_peer_down, "{event:?}: {self:?}");
                (self.is_peer_down, self.is_up) = (true, false);
            }
            Event::PeerAdminUp => {
                assert!(self.is_peer_down && !self.is_up, "{event:?}: {self:?}");
                self.is_peer_down = false;
            }
        }
    }
}
