//! One TCP connection's part of the BGP state machine (RFC 4271 §8), without sockets or clocks.
//!
//! A [`Connection`] lives from the moment TCP is there until it is to be closed: OpenSent,
//! OpenConfirm, Established. Connecting, retrying and collision (§6.8) belong to
//! [`Peer`](super::peer::Peer). It is fed the octets of the stream in whatever pieces they come.
//!
//! Deviations: DelayOpen is not implemented. The hold timer of OpenSent is the configured hold
//! time, not the 4 minutes that §8.2.2 suggests: a silent peer is not worth waiting for longer. It
//! runs on in OpenConfirm where the OPENs came to no hold time, for the same reason.
//!
//! A connection that is [held back](Connection::set_held) waits for BFD between OPEN and KEEPALIVE,
//! as draft-ietf-idr-bgp-bfd-strict-mode-19 §8.5 has it: in OpenSent, where a KEEPALIVE of the peer
//! is remembered. Here that does not depend on the peer doing so too, and the wait ends before the
//! peer's hold timer does, which has nothing of ours to restart it: so it is told BFD Down (§9).
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::down::DownReason;
use super::negotiation;
pub use super::negotiation::{Config, Opening, RemoteAsn, Restart, Session};
use super::timer::{Timer, Timers, jittered};
use super::wire::{self, Agreed, Frame, MessageType, Notification, Open, Refresh, Update};
use crate::route::Family;

/// The states of RFC 4271 §8.2.2 that a connection can have.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum State {
    OpenSent,
    OpenConfirm,
    Established,
    Closed,
}

/// What a connection tells its peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The peer's OPEN was accepted: time to resolve collisions (RFC 4271 §6.8)
    Opened,
    /// It was, and the session waits for BFD
    AwaitsBfd,
    /// UPDATEs may flow
    Established,
    /// The peer sent an UPDATE
    Received(Update),
    /// The peer wants to hear all of this family again (RFC 2918)
    Refresh(Family),
    /// The connection is over. What [`Connection::poll_transmit`] still holds goes out first.
    Down(DownReason),
}

/// One TCP connection with its state machine.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    opening: Opening,
    state: State,
    timers: Timers,
    random: fastrand::Rng,
    /// The beginning of a message whose end has not come
    partial: Vec<u8>,
    output: Vec<u8>,
    events: VecDeque<Event>,
    session: Option<Session>,
    /// Not to come up yet
    held: bool,
    /// OpenSentBfdUpPending, or with a KEEPALIVE of the peer OpenSentConfirmedBfdUpPending
    /// (draft-ietf-idr-bgp-bfd-strict-mode-19 §8.1)
    pending: Option<Pending>,
}

/// What has come while a connection is held back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pending {
    Open,
    Keepalive,
}

impl Connection {
    /// Starts in OpenSent: our OPEN is the first thing to transmit.
    #[must_use]
    pub fn new(config: Config, opening: Opening, seed: u64, now: Instant) -> Self {
        let output = negotiation::offer(&config, &opening).encode();
        let mut connection = Self {
            config,
            opening,
            state: State::OpenSent,
            timers: Timers::default(),
            random: fastrand::Rng::with_seed(seed),
            partial: Vec::new(),
            output,
            events: VecDeque::new(),
            session: None,
            held: false,
            pending: None,
        };
        connection.restart_hold(now);
        connection
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What was agreed, once the peer's OPEN was accepted.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether its session is held back.
    #[must_use]
    pub fn awaits_bfd(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether its session must not come up yet. A session that is up stays so.
    pub fn set_held(&mut self, held: bool, now: Instant) {
        self.held = held;
        if let Some(pending) = self.pending.take_if(|_| !held) {
            self.timers.stop(Timer::BfdHold);
            self.confirm(now);
            if pending == Pending::Keepalive {
                self.establish(now);
            }
        }
    }

    /// Takes in the next octets of the stream.
    pub fn handle_input(&mut self, octets: &[u8], now: Instant) {
        let mut input = std::mem::take(&mut self.partial);
        input.extend(octets);
        let mut consumed = 0;
        while self.state != State::Closed {
            let rest = input.get(consumed..).unwrap_or_default();
            match wire::split(rest, self.agreed()) {
                Ok(Some((frame, length))) => {
                    self.handle_message(frame, now);
                    consumed += length;
                }
                Ok(None) => break,
                Err(error) => match error.notification() {
                    Some(notification) => self.fault(&error, notification),
                    None => self.down(DownReason::MalformedNotification),
                },
            }
        }
        if self.state != State::Closed {
            input.drain(..consumed);
            self.partial = input;
        }
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        if self.timers.expired(Timer::Hold, now) {
            let patience = self.patience().expect("the timer runs only where there is one");
            self.down(DownReason::HoldTimerExpired(patience));
        } else if self.timers.expired(Timer::BfdHold, now) {
            self.down(DownReason::BfdNotUp(self.bfd_patience()));
        } else if self.timers.expired(Timer::Keepalive, now) {
            self.output.extend(wire::keepalive());
            self.restart_keepalive(now);
        }
    }

    /// Ends the connection from our side. What came of messages that were read before and has
    /// not been asked for is no longer of interest: an Established would outlive its end.
    pub fn close(&mut self, reason: DownReason) {
        if self.state != State::Closed {
            self.events.clear();
            self.down(reason);
        }
    }

    /// An UPDATE goes out, which restarts the KeepaliveTimer as a KEEPALIVE does (RFC 4271 §8.2.2,
    /// at the end of Established).
    pub fn handle_update_sent(&mut self, now: Instant) {
        if self.timers.get(Timer::Keepalive).is_some() {
            self.restart_keepalive(now);
        }
    }

    /// Asks the peer to announce all of a family again; to be used where the session has
    /// [`Session::route_refresh`].
    pub fn request_refresh(&mut self, family: Family) {
        if self.state == State::Established {
            self.output.extend(wire::route_refresh(family));
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Octets to send: OPEN, KEEPALIVE, NOTIFICATION. Empty when there are none.
    pub fn poll_transmit(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether there is anything to send.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn handle_message(&mut self, frame: Frame<'_>, now: Instant) {
        if frame.kind == MessageType::Notification {
            let reason = match Notification::decode(frame.body) {
                Some(notification) => DownReason::NotificationReceived(notification),
                None => DownReason::MalformedNotification,
            };
            self.finish(reason);
            return;
        }
        match (self.state, frame.kind) {
            (State::OpenSent, MessageType::Open) if self.pending.is_none() => {
                self.handle_open(frame.body, now);
            }
            (State::OpenSent, MessageType::Keepalive) if self.pending.is_some() => {
                self.pending = Some(Pending::Keepalive);
            }
            (State::OpenConfirm, MessageType::Keepalive) => self.establish(now),
            (State::Established, MessageType::Keepalive) => self.restart_hold(now),
            (State::Established, MessageType::Update) => self.handle_update(frame.body, now),
            (State::Established, MessageType::RouteRefresh) => self.handle_refresh(frame.body),
            (state, kind) => {
                // RFC 6608 §3: the subcode says the state, the data the type.
                let subcode = match state {
                    State::OpenSent => 1,
                    State::OpenConfirm => 2,
                    State::Established | State::Closed => 3,
                };
                let data = vec![kind as u8];
                let notification = Notification::new(Notification::FSM_ERROR, subcode, data);
                self.fault(&format_args!("unexpected {kind:?} message in {state:?}"), notification);
            }
        }
    }

    fn handle_open(&mut self, body: &[u8], now: Instant) {
        let session = Open::decode(body)
            .and_then(|open| negotiation::negotiate(&self.config, &self.opening, &open));
        match session {
            Err(error) => self.fault(&error, error.notification()),
            Ok(session) => {
                self.session = Some(session);
                self.events.push_back(Event::Opened);
                if self.held {
                    self.pending = Some(Pending::Open);
                    self.timers.stop(Timer::Hold);
                    self.timers.set(Timer::BfdHold, now + self.bfd_patience());
                    self.events.push_back(Event::AwaitsBfd);
                } else {
                    self.confirm(now);
                }
            }
        }
    }

    fn confirm(&mut self, now: Instant) {
        self.state = State::OpenConfirm;
        self.output.extend(wire::keepalive());
        self.restart_hold(now);
        self.restart_keepalive(now);
    }

    fn establish(&mut self, now: Instant) {
        self.state = State::Established;
        self.restart_hold(now);
        self.events.push_back(Event::Established);
    }

    fn handle_update(&mut self, body: &[u8], now: Instant) {
        let Some(session) = &self.session else { return };
        match Update::decode(body, session.encoding) {
            Ok(update) => {
                self.restart_hold(now);
                self.events.push_back(Event::Received(update));
            }
            Err(error) => self.fault(&error, error.notification()),
        }
    }

    /// What the peer may send by now.
    fn agreed(&self) -> Agreed {
        let is_up = self.state == State::Established;
        let session = self.session.as_ref().filter(|_| is_up);
        Agreed {
            // RFC 8654 §4: whoever offers to take them must, also of a peer that does not.
            extended_message: is_up && self.opening.capabilities,
            enhanced_route_refresh: session.is_some_and(|s| s.enhanced_route_refresh),
        }
    }

    fn handle_refresh(&mut self, body: &[u8]) {
        match Refresh::decode(body, self.agreed().enhanced_route_refresh) {
            Ok(Refresh::Request(family)) => self.events.push_back(Event::Refresh(family)),
            // What a peer withdraws it says by itself; no route becomes stale by a refresh.
            Ok(Refresh::Beginning(_) | Refresh::End(_) | Refresh::Unknown) => {}
            Err(notification) => {
                let length = wire::HEADER_LEN + body.len();
                self.fault(&format_args!("a ROUTE-REFRESH of {length} octets"), notification);
            }
        }
    }

    fn fault(&mut self, detail: &dyn std::fmt::Display, notification: Notification) {
        self.down(DownReason::ProtocolError { detail: detail.to_string(), notification });
    }

    /// Ends the connection with the NOTIFICATION that the reason asks for.
    fn down(&mut self, reason: DownReason) {
        if let Some(notification) = reason.notification() {
            let keeps = self.session.as_ref().is_some_and(Session::keeps_routes_over_notifications);
            let hard = keeps && reason.is_final();
            let notification = if hard { notification.hard_reset() } else { notification };
            self.output.extend(notification.encode());
        }
        self.finish(reason);
    }

    fn finish(&mut self, reason: DownReason) {
        self.state = State::Closed;
        self.timers = Timers::default();
        self.pending = None;
        self.events.push_back(Event::Down(reason));
    }

    /// How long the peer may be silent: the hold time that was agreed; until it is Established,
    /// never for ever.
    fn patience(&self) -> Option<Duration> {
        let agreed = self.session.as_ref().map(|session| session.hold_time);
        match agreed {
            Some(hold_time) if !hold_time.is_zero() => Some(hold_time),
            Some(_) if self.state == State::Established => None,
            _ if self.config.hold_time.is_zero() => Some(LONG_HOLD_TIME),
            _ => Some(self.config.hold_time),
        }
    }

    /// How long a session may wait for BFD: not as long as the peer waits for our KEEPALIVE.
    fn bfd_patience(&self) -> Duration {
        let agreed = self.session.as_ref().map_or(Duration::ZERO, |session| session.hold_time);
        if agreed.is_zero() { BFD_HOLD_TIME } else { agreed - agreed / 3 }
    }

    fn restart_hold(&mut self, now: Instant) {
        match self.patience() {
            Some(patience) => self.timers.set(Timer::Hold, now + patience),
            None => self.timers.stop(Timer::Hold),
        }
    }

    fn restart_keepalive(&mut self, now: Instant) {
        match &self.session {
            Some(session) if !session.keepalive_time.is_zero() => {
                let interval = jittered(session.keepalive_time, &mut self.random);
                self.timers.set(Timer::Keepalive, now + interval.max(SHORTEST_KEEPALIVE_TIME));
            }
            _ => self.timers.stop(Timer::Keepalive),
        }
    }
}

/// Until the session is up, when no hold time is configured (RFC 4271 §8.2.2).
const LONG_HOLD_TIME: Duration = Duration::from_secs(240);
/// For BFD to come up, where no hold time was agreed (draft-ietf-idr-bgp-bfd-strict-mode-19 §3)
const BFD_HOLD_TIME: Duration = Duration::from_secs(30);
/// KEEPALIVEs come no more often than this (RFC 4271 §4.4), jitter or not.
const SHORTEST_KEEPALIVE_TIME: Duration = Duration::from_secs(1);
