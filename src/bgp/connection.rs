//! One TCP connection's part of the BGP state machine (RFC 4271 §8), without sockets or clocks.
//!
//! A [`Connection`] lives from the moment TCP is there until it is to be closed: OpenSent,
//! OpenConfirm, Established. Connecting, retrying and collision (§6.8) belong to
//! [`Peer`](super::peer::Peer). It is fed the octets of the stream in whatever pieces they come.
//!
//! Deviations: DelayOpen is not implemented. The hold timer of OpenSent is the configured hold
//! time, not the 4 minutes that §8.2.2 suggests: a silent peer is not worth waiting for longer. It
//! runs on in OpenConfirm where the OPENs came to no hold time, for the same reason.
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::down::DownReason;
use super::timer::{Timer, Timers, jittered};
use super::wire::{
    self, Capabilities, Encoding, Frame, MessageType, Notification, Open, OpenError, Update,
};
use crate::route::{Asn, Family};

/// Who may be at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RemoteAsn {
    /// This one
    Number(Asn),
    /// Any but ours
    External,
    /// Ours
    Internal,
}

/// What both ends must agree on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Our AS number
    pub local_asn: Asn,
    /// The peer's
    pub remote_asn: RemoteAsn,
    /// What we offer; zero or at least 3 s
    pub hold_time: Duration,
    /// At most this long between two KEEPALIVEs; a third of the hold time when `None`
    pub keepalive_time: Option<Duration>,
}

/// The states of RFC 4271 §8.2.2 that a connection can have.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum State {
    OpenSent,
    OpenConfirm,
    Established,
    Closed,
}

/// What the two OPENs came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The smaller of both; zero for none (RFC 4271 §4.2)
    pub hold_time: Duration,
    /// Between our KEEPALIVEs, before jitter
    pub keepalive_time: Duration,
    /// What both offered
    pub families: Vec<Family>,
    /// How UPDATEs are written
    pub encoding: Encoding,
    /// The peer's AS number
    pub remote_asn: Asn,
    /// The peer's BGP Identifier
    pub remote_router_id: Ipv4Addr,
}

/// What a connection tells its peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The peer's OPEN was accepted: time to resolve collisions (RFC 4271 §6.8)
    Opened,
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
    router_id: Ipv4Addr,
    state: State,
    timers: Timers,
    random: fastrand::Rng,
    /// The beginning of a message whose end has not come
    partial: Vec<u8>,
    output: Vec<u8>,
    events: VecDeque<Event>,
    session: Option<Session>,
}

impl Connection {
    /// Starts in OpenSent: our OPEN is the first thing to transmit.
    #[must_use]
    pub fn new(config: Config, router_id: Ipv4Addr, seed: u64, now: Instant) -> Self {
        let open = Open {
            asn: config.local_asn,
            hold_time: u16::try_from(config.hold_time.as_secs()).unwrap_or(u16::MAX),
            router_id,
            capabilities: Capabilities {
                route_refresh: true,
                four_octet_asn: Some(config.local_asn),
                ..Capabilities::of_all_families()
            },
        };
        let mut connection = Self {
            config,
            router_id,
            state: State::OpenSent,
            timers: Timers::default(),
            random: fastrand::Rng::with_seed(seed),
            partial: Vec::new(),
            output: open.encode(),
            events: VecDeque::new(),
            session: None,
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

    /// Takes in the next octets of the stream.
    pub fn handle_input(&mut self, octets: &[u8], now: Instant) {
        let mut input = std::mem::take(&mut self.partial);
        input.extend(octets);
        let mut consumed = 0;
        while self.state != State::Closed {
            match wire::split(input.get(consumed..).unwrap_or_default()) {
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
            (State::OpenSent, MessageType::Open) => self.handle_open(frame.body, now),
            (State::OpenConfirm, MessageType::Keepalive) => {
                self.state = State::Established;
                self.restart_hold(now);
                self.events.push_back(Event::Established);
            }
            (State::Established, MessageType::Keepalive) => self.restart_hold(now),
            (State::Established, MessageType::Update) => self.handle_update(frame.body, now),
            (State::Established, MessageType::RouteRefresh) => {
                self.events.extend(wire::decode_route_refresh(frame.body).map(Event::Refresh));
            }
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
        let session = Open::decode(body).and_then(|open| self.negotiate(&open));
        match session {
            Err(error) => self.fault(&error, error.notification()),
            Ok(session) => {
                self.session = Some(session);
                self.state = State::OpenConfirm;
                self.output.extend(wire::keepalive());
                self.restart_hold(now);
                self.restart_keepalive(now);
                self.events.push_back(Event::Opened);
            }
        }
    }

    /// RFC 4271 §6.2: is this the peer that was configured, and what have we in common?
    fn negotiate(&self, open: &Open) -> Result<Session, OpenError> {
        let local_asn = self.config.local_asn;
        let expected = match self.config.remote_asn {
            RemoteAsn::Number(asn) if asn == open.asn => None,
            RemoteAsn::Number(asn) => Some(asn.to_string()),
            RemoteAsn::External if open.asn != local_asn => None,
            RemoteAsn::External => Some(format!("\"external\" (not {local_asn})")),
            RemoteAsn::Internal if open.asn == local_asn => None,
            RemoteAsn::Internal => Some(format!("\"internal\" ({local_asn})")),
        };
        if let Some(expected) = expected {
            return Err(OpenError::BadPeerAs { received: open.asn, expected });
        }
        if open.asn == Asn(0) {
            let expected = "an AS number (RFC 7607)".into();
            return Err(OpenError::BadPeerAs { received: open.asn, expected });
        }
        let internal = open.asn == local_asn;
        if internal && open.router_id == self.router_id {
            return Err(OpenError::BadBgpIdentifier(open.router_id, "also ours (RFC 6286 §2.2)"));
        }
        let families: Vec<Family> = open.capabilities.families().collect();
        if families.is_empty() {
            let offered = name_families(&open.capabilities.multiprotocol);
            let text = format!("the peer offers {offered}, we offer IPv4 unicast and IPv6 unicast");
            return Err(OpenError::UnsupportedCapability(text));
        }
        let hold_time = self.config.hold_time.min(Duration::from_secs(open.hold_time.into()));
        let third = hold_time / 3;
        Ok(Session {
            hold_time,
            keepalive_time: self.config.keepalive_time.map_or(third, |time| time.min(third)),
            families,
            encoding: Encoding {
                four_octet_asn: open.capabilities.four_octet_asn.is_some(),
                internal,
            },
            remote_asn: open.asn,
            remote_router_id: open.router_id,
        })
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

    fn fault(&mut self, detail: &dyn std::fmt::Display, notification: Notification) {
        self.down(DownReason::ProtocolError { detail: detail.to_string(), notification });
    }

    /// Ends the connection with the NOTIFICATION that the reason asks for.
    fn down(&mut self, reason: DownReason) {
        if let Some(notification) = reason.notification() {
            self.output.extend(notification.encode());
        }
        self.finish(reason);
    }

    fn finish(&mut self, reason: DownReason) {
        self.state = State::Closed;
        self.timers = Timers::default();
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

/// Families by their numbers; hundreds fit into an OPEN, and a few into a line of the log.
fn name_families(families: &[(u16, u8)]) -> String {
    const NAMED: usize = 8;
    let first = families.iter().take(NAMED);
    let mut names: Vec<_> = first.map(|(afi, safi)| format!("AFI {afi} SAFI {safi}")).collect();
    if let Some(more) = families.len().checked_sub(NAMED).filter(|more| *more != 0) {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// Until the session is up, when no hold time is configured (RFC 4271 §8.2.2).
const LONG_HOLD_TIME: Duration = Duration::from_secs(240);
/// KEEPALIVEs come no more often than this (RFC 4271 §4.4), jitter or not.
const SHORTEST_KEEPALIVE_TIME: Duration = Duration::from_secs(1);
