//! What a session does with the Echo function (RFC 5880 §6.8.8, §6.8.9), and one that is nothing else
//! (RFC 9747).
use std::time::{Duration, Instant};

use super::{Event, Plane, SLOW, Session};
use crate::bfd::authentication::Payload;
use crate::bfd::echo::Mark;
use crate::bfd::packet::{Diag, Packet, State};

impl Session {
    /// Whether it is known how to send Echo packets, and whether we send back those of the peer.
    pub fn set_echo_possible(&mut self, is_possible: bool, is_answered: bool, now: Instant) {
        let before = self.required_min_echo_rx();
        (self.echo_possible, self.echo_answered) = (is_possible, is_answered);
        self.update_echo(now);
        // What the peer sends although nobody sends it back is a failure to it.
        self.hurry |= self.required_min_echo_rx() != before;
    }

    /// The content of the next Echo packet, if one is due.
    pub fn poll_echo(&mut self, now: Instant) -> Option<Payload> {
        self.echo.transmit_at().filter(|at| *at <= now)?;
        let jitter = self.jitter();
        let number = self.echo.poll_transmit(now, jitter)?;
        let interval = self.echo_interval().unwrap_or_default();
        let packet = Packet {
            diag: self.diag,
            state: self.state,
            poll: false,
            is_final: false,
            control_plane_independent: false,
            authentication_present: false,
            demand: false,
            detect_mult: self.config.detect_mult,
            my_discriminator: self.discriminator,
            your_discriminator: Some(self.discriminator),
            desired_min_tx: interval,
            required_min_rx: interval,
            required_min_echo_rx: Duration::ZERO,
        };
        let sent = now.saturating_duration_since(self.began);
        Some(Mark { token: self.token, number, sent }.encode(&packet))
    }

    /// Takes in an Echo packet of ours that has come back; `false` if it is not, or not worth anything
    /// any more.
    pub fn handle_echo(&mut self, packet: &Packet, mark: &Mark, at: Instant) -> bool {
        let took = at.saturating_duration_since(self.began).saturating_sub(mark.sent);
        let relied = self.relies_on_echo();
        let is_ours = mark.token == self.token && packet.my_discriminator == self.discriminator;
        if !is_ours || !self.echo.handle_return(mark.number, took, at) {
            return false;
        }
        if self.config.is_unaffiliated() {
            // RFC 9747 §2: the state machine of RFC 5880, with ourselves as the peer.
            self.step(packet.state, at);
        }
        if self.relies_on_echo() != relied {
            self.announce_timing(at);
        }
        true
    }

    /// What the peer may send us to be sent back, at most often.
    pub(super) fn required_min_echo_rx(&self) -> Duration {
        // Nobody does during what is planned to take a while.
        let is_answered = self.echo_answered && self.slowest.is_zero();
        let wanted = self.config.echo.filter(|_| is_answered);
        wanted.map_or(Duration::ZERO, |echo| echo.interval)
    }

    /// Begins or ends sending, or changes the interval, as the states and wishes of both ends are now.
    pub(super) fn update_echo(&mut self, now: Instant) {
        let relied = self.relies_on_echo();
        self.echo.set(self.echo_interval(), self.config.detect_mult.get(), now);
        if self.relies_on_echo() != relied {
            self.announce_timing(now);
        }
        if self.config.is_unaffiliated() {
            if self.state == State::Up {
                self.echo.expect(now);
            }
            if std::mem::take(&mut self.hurry) {
                self.echo.hurry(now);
            }
        }
    }

    /// RFC 5880 §6.8.5: too many in a row have not come back.
    pub(super) fn judge_echo(&mut self, now: Instant) {
        if self.echo.fails_at().is_some_and(|at| at <= now) {
            self.echo.fail();
            if self.state == State::Up {
                // Our packets need nothing of the peer but its forwarding.
                self.events.push_back(Event::Down(Diag::ECHO_FAILED, Plane::Forwarding));
            }
            self.enter(State::Down, Diag::ECHO_FAILED, now);
        }
    }

    /// Whether Echo packets come back that are no less frequent than Control packets would be, so that
    /// those need not be.
    pub(super) fn relies_on_echo(&self) -> bool {
        let interval = self.echo.interval().filter(|_| self.echo.is_active());
        let is_frequent = interval.is_some_and(|interval| interval <= self.config.required_min_rx);
        is_frequent && !self.config.is_unaffiliated()
    }

    fn echo_interval(&self) -> Option<Duration> {
        let config = self.config.echo.filter(|_| self.echo_possible)?;
        match self.state {
            State::AdminDown => None,
            State::Up if config.unaffiliated => Some(config.interval),
            State::Down | State::Init if config.unaffiliated => Some(config.interval.max(SLOW)),
            State::Down | State::Init => None,
            // RFC 5880 §6.8.9: not while the peer wants none, and not more often than it wants.
            State::Up => {
                let required = self.remote?.required_min_echo_rx;
                (!required.is_zero()).then(|| config.interval.max(required))
            }
        }
    }
}
