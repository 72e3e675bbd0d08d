//! One peer: when to connect to it, which of two connections survives (RFC 4271 §6.8), what BFD
//! says about it (RFC 5882), and what it is sent.
//!
//! A [`Peer`] outlives its connections. It owns at most one that we opened and one that the peer
//! opened, and the [`AdjRibOut`] that whichever is Established feeds from.
mod looks;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::adj_rib_out::{AdjRibOut, Target};
use super::connection::{self, Connection, Opening, Session};
use super::cut_off::CutOff;
use super::down::{ConnectError, DownReason};
pub use super::event::{Action, BfdVerdict, Event};
use super::history::History;
use super::pair::{Pair, Role, Serial, Slot};
use super::retry::Retry;
use super::send_hold::{Expired, SendHold};
use super::transport::{NoPath, Transport};
use super::wire::{Notification, Update};
use crate::route::{Ends, Family, NextHops, ScopedAddress};
pub use looks::State;

/// Octets to hand to the writer at a time.
const CHUNK: usize = 32 * 1024;

/// What was configured for a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where it is
    pub transport: Transport,
    /// What its sessions are made of
    pub session: connection::Config,
    /// Between attempts to connect
    pub connect_retry_time: Duration,
    /// Never connect, wait to be connected to
    pub passive: bool,
}

impl Config {
    /// For how long TCP may wait for an acknowledgement before there is a session: what the hold
    /// time would allow.
    #[must_use]
    pub fn user_timeout(&self) -> Option<Duration> {
        let hold_time = self.session.hold_time;
        (!hold_time.is_zero()).then_some(hold_time)
    }
}

/// A configured remote speaker.
#[derive(Debug)]
pub struct Peer {
    config: Config,
    opening: Opening,
    random: fastrand::Rng,
    running: bool,
    next_serial: u32,
    /// Where to connect to, or why that is not known
    path: Result<ScopedAddress, NoPath>,
    dialing: Option<(Serial, ScopedAddress)>,
    connections: Pair,
    retry: Retry,
    rib: AdjRibOut,
    receiving: bool,
    /// As far as BFD is concerned a session may come up
    bfd_agrees: bool,
    history: History,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Peer {
    /// A peer that is not started. `path`: see [`Self::set_path`].
    #[must_use]
    pub fn new(
        config: Config,
        path: Result<ScopedAddress, NoPath>,
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let retry = Retry::new(config.connect_retry_time, random.u64(..));
        // Late news of a connection of the peer that this one replaces must not be taken for news
        // of one of ours.
        let next_serial = random.u32(..);
        Self {
            config,
            opening: Opening::new(Ipv4Addr::UNSPECIFIED),
            random,
            running: false,
            next_serial,
            path,
            dialing: None,
            connections: Pair::default(),
            retry,
            rib: AdjRibOut::default(),
            receiving: false,
            bfd_agrees: false,
            history: History::new(now),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins to connect, or to wait for the peer if it is passive.
    pub fn start(&mut self, opening: Opening, now: Instant) {
        self.running = true;
        self.opening = opening;
        self.dial(now);
    }

    /// Where to connect to from now on, or why that is not known: nothing is tried then. Connections
    /// that there are go on.
    pub fn set_path(&mut self, path: Result<ScopedAddress, NoPath>, now: Instant) {
        if self.path == path {
            return;
        }
        let before = std::mem::replace(&mut self.path, path);
        if before.is_ok() && self.path.is_ok() {
            self.retry.stop(); // whoever refused us, it was another one
        }
        self.hurry(now);
    }

    /// TCP is there. `next_hops` are our addresses on the interface of `local`.
    pub fn handle_connected(
        &mut self,
        serial: Serial,
        local: ScopedAddress,
        next_hops: NextHops,
        now: Instant,
    ) {
        let Some((_, remote)) = self.dialing.filter(|(dialing, _)| *dialing == serial) else {
            self.actions.push_back(Action::Close(serial, Vec::new()));
            return;
        };
        self.dialing = None;
        self.retry.stop();
        let slot = self.new_slot(serial, Ends { local, remote }, next_hops, now);
        self.connections.insert(Role::Active, slot);
    }

    /// TCP did not come about; the next attempt comes with the ConnectRetryTimer.
    pub fn handle_connect_failed(&mut self, serial: Serial, error: ConnectError, now: Instant) {
        if self.dialing.is_some_and(|(dialing, _)| dialing == serial) {
            self.dialing = None;
            self.note_failure(DownReason::ConnectFailed(error), now);
        }
    }

    /// The peer opened a connection to us. Returns the number it is known by from now on; an
    /// [`Action::Close`] follows if it is not wanted.
    pub fn handle_accepted(&mut self, ends: Ends, hops: NextHops, now: Instant) -> Serial {
        let serial = self.new_serial();
        let established = self.connections.established();
        let tells = |slot: &Slot| slot.connection.session().is_some_and(Session::tells_of_restarts);
        // RFC 4724 §4.2: from a peer that tells of its restarts this is one, and TCP has not told us.
        let restarts =
            established.is_some_and(|slot| slot.ends.remote == ends.remote && tells(slot));
        let is_wanted = established.is_none() || restarts;
        if !self.running || !is_wanted || !self.retry.admit(now) {
            let rejected = Notification::cease(5); // Connection Rejected (RFC 4486 §4)
            self.actions.push_back(Action::Close(serial, rejected.encode()));
            return serial;
        }
        if restarts {
            let text = "the peer has opened another one, as after a restart";
            self.close_all(&DownReason::ConnectionLost(text.into()), now);
        }
        // A peer that opens a second one has given up the first, which had not come up.
        let slot = self.new_slot(serial, ends, hops, now);
        if let Some(old) = self.connections.insert(Role::Passive, slot) {
            self.actions.push_back(Action::Close(old.serial, Vec::new()));
        }
        serial
    }

    /// The peer sent these octets.
    pub fn handle_input(&mut self, serial: Serial, octets: &[u8], now: Instant) {
        let Some(role) = self.connections.role_of(serial) else { return };
        if let Some(slot) = self.connections.get_mut(role) {
            slot.connection.handle_input(octets, now);
        }
        self.drain(role, now);
    }

    /// The connection is gone: closed by the peer, or broken for a reason.
    pub fn handle_closed(&mut self, serial: Serial, error: Option<String>, now: Instant) {
        let Some(role) = self.connections.role_of(serial) else { return };
        let Some(slot) = self.connections.get_mut(role) else { return };
        let before_open = slot.connection.session().is_none();
        let reason = match error {
            Some(text) => DownReason::ConnectionLost(text),
            None => DownReason::ClosedByPeer { before_open },
        };
        self.end(role, reason, now);
    }

    /// What [`Self::poll_transmit`] gave is in the socket's hands.
    pub fn handle_written(&mut self, serial: Serial, now: Instant) {
        let Some(role) = self.connections.role_of(serial) else { return };
        let Some(slot) = self.connections.get_mut(role) else { return };
        let decided = slot.in_flight.take();
        if slot.established {
            self.rib.handle_written(now);
        }
        if let Some(decided) = decided.filter(|decided| !decided.is_empty()) {
            let times = decided.iter().map(|at| now.saturating_duration_since(*at)).collect();
            self.events.push_back(Event::Sent(times));
        }
    }

    /// The peer's TCP has taken so many octets of this connection.
    pub fn handle_acknowledged(&mut self, serial: Serial, total: u64, now: Instant) {
        let Some(role) = self.connections.role_of(serial) else { return };
        let Some(slot) = self.connections.get_mut(role) else { return };
        if let Some(Expired { limit, waiting }) = slot.send_hold.handle_acknowledged(total, now) {
            self.end(role, DownReason::SendHoldTimerExpired { limit, waiting }, now);
        }
    }

    /// What signs this connection is not what is configured any more.
    pub fn handle_keys_changed(&mut self, serial: Serial, now: Instant) {
        if let Some(role) = self.connections.role_of(serial) {
            self.end(role, DownReason::KeysChanged, now);
        }
    }

    /// BFD changed its mind about the path. Only a BFD session that had been up can fail, so a
    /// peer without BFD is not harmed, unless it is to wait for BFD. AdminDown ends no session
    /// (RFC 5882 §4.2), and keeps none from coming up (§4.1: MUST be allowed).
    pub fn handle_bfd(&mut self, verdict: &BfdVerdict, now: Instant) {
        self.bfd_agrees = matches!(verdict, BfdVerdict::Up | BfdVerdict::AdminDown);
        match verdict {
            BfdVerdict::Down(text) => self.close_all(&DownReason::BfdDown(text.clone()), now),
            BfdVerdict::Up => self.hurry(now),
            BfdVerdict::AdminDown | BfdVerdict::Awaited => {}
        }
        self.hold_back(now);
    }

    /// Whether sessions are to wait for BFD from now on. One that is up is past that
    /// (draft-ietf-idr-bgp-bfd-strict-mode-19 §8.7.3), one that is not begins anew (§8.5.4), since
    /// its OPEN says otherwise.
    pub fn set_bfd_strict(&mut self, strict: bool, now: Instant) {
        if std::mem::replace(&mut self.config.session.bfd_strict, strict) == strict {
            return;
        }
        if self.connections.established().is_none() && !self.connections.is_empty() {
            self.close_all(&DownReason::ConfigurationChanged, now);
            if self.running && !self.config.passive {
                self.retry.begin_anew(true, now);
            }
        }
    }

    /// Tells every connection whether its session may come up.
    fn hold_back(&mut self, now: Instant) {
        for role in Role::BOTH {
            let held = self.holds_back();
            if let Some(slot) = self.connections.get_mut(role) {
                slot.connection.set_held(held, now);
            }
            self.drain(role, now);
        }
    }

    fn holds_back(&self) -> bool {
        self.config.session.bfd_strict && !self.bfd_agrees
    }

    /// What kept us from reaching the peer may be over: do not wait for a timer, nor for a SYN that
    /// was sent into the void. A peer that refuses us is still given its time.
    pub fn hurry(&mut self, now: Instant) {
        if self.connections.is_empty() && !self.retry.is_holding() {
            self.dial(now);
        }
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.retry.handle_timeout(now) {
            if let Some((_, to)) = self.dialing {
                let waited = self.config.connect_retry_time;
                let error = self.config.transport.no_answer(to.ip, waited);
                self.note_failure(DownReason::ConnectFailed(error), now);
            }
            self.dial(now);
        }
        for role in Role::BOTH {
            let slot = self.connections.get_mut(role);
            if let Some(why) = slot.and_then(|slot| slot.cut_off.handle_timeout(now)) {
                self.end(role, DownReason::CutOff(why), now);
            }
            if let Some(slot) = self.connections.get_mut(role) {
                slot.connection.handle_timeout(now);
                if slot.send_hold.handle_timeout(now) {
                    self.actions.push_back(Action::CountAcknowledged(slot.serial));
                }
            }
            self.drain(role, now);
        }
    }

    /// Our addresses on the host changed; `of` knows those on the interface that has an address.
    pub fn update_next_hops(&mut self, of: impl Fn(ScopedAddress) -> NextHops, now: Instant) {
        for slot in self.connections.iter_mut() {
            // Also of a connection on which there is no session yet: it starts with them.
            slot.next_hops = of(slot.ends.local);
            if slot.established {
                self.rib.set_next_hops(slot.next_hops, now);
            }
        }
    }

    /// The host's addresses or links changed; `why` knows why nothing reaches our end from the other, if
    /// that is so. If it stays so, the connection is given up.
    pub fn update_cut_off(&mut self, why: impl Fn(Ends) -> Option<String>, now: Instant) {
        for slot in self.connections.iter_mut() {
            slot.cut_off.update(why(slot.ends), now);
        }
    }

    /// Takes over what needs no new session.
    pub fn set_pace(&mut self, connect_retry_time: Duration, passive: bool, now: Instant) {
        self.config.connect_retry_time = connect_retry_time;
        self.retry.set_interval(connect_retry_time);
        let was_passive = std::mem::replace(&mut self.config.passive, passive);
        if passive {
            self.stop_dialing();
        } else if was_passive && self.connections.is_empty() {
            self.dial(now);
        }
    }

    /// An operator wants a new session, whatever became of those before. The peer is told why.
    pub fn reset(&mut self, text: &str, now: Instant) {
        let was_connected = !self.connections.is_empty();
        self.close_all(&DownReason::AdministrativeReset(text.into()), now);
        if self.running && !self.config.passive {
            self.retry.begin_anew(was_connected, now);
            if !was_connected {
                self.dial(now);
            }
        }
    }

    /// Whether somebody wants the UPDATEs of this peer.
    pub fn set_receiving(&mut self, receiving: bool) {
        self.receiving = receiving;
    }

    /// Asks the peer to announce these families again; whether it can be asked (RFC 2918).
    pub fn request_refresh(&mut self, families: &[Family]) -> bool {
        let mut established = self.connections.iter_mut().filter(|slot| slot.established);
        let Some(Slot { connection, .. }) = established.next() else { return true };
        let can = connection.session().is_some_and(|session| session.route_refresh);
        families.iter().filter(|_| can).for_each(|family| connection.request_refresh(*family));
        can
    }

    /// Ends all sessions and attempts for good. [`DownReason::Restarting`] does so without a word, as a
    /// crash would: a peer that keeps our routes while we restart (RFC 4724 §4.2) keeps them.
    pub fn stop(&mut self, reason: &DownReason, now: Instant) {
        self.running = false;
        self.stop_dialing();
        self.close_all(reason, now);
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing for the owner to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Octets for a connection whose writer is idle; [`Self::handle_written`] must follow.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(Serial, Vec<u8>)> {
        let rib = &mut self.rib;
        for slot in self.connections.iter_mut() {
            if slot.in_flight.is_some() {
                continue;
            }
            let mut octets = slot.connection.poll_transmit();
            let mut decided = Vec::new();
            while slot.established && octets.len() < CHUNK {
                let Some(update) = rib.poll_update() else { break };
                octets.extend(update.message);
                decided.extend(update.decided);
                slot.connection.handle_update_sent(now);
            }
            if !octets.is_empty() {
                slot.in_flight = Some(decided);
                slot.send_hold.handle_transmit(octets.len(), now);
                return Some((slot.serial, octets));
            }
        }
        None
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let slots = self.connections.iter();
        let timeouts = slots.flat_map(|slot| {
            let others = [slot.send_hold.poll_timeout(), slot.cut_off.poll_timeout()];
            others.into_iter().chain([slot.connection.poll_timeout()])
        });
        timeouts.flatten().chain(self.retry.poll_timeout()).min()
    }

    /// Takes in what a connection has to say.
    fn drain(&mut self, role: Role, now: Instant) {
        while let Some(event) =
            self.connections.get_mut(role).and_then(|slot| slot.connection.poll_event())
        {
            match event {
                connection::Event::Opened => self.resolve_collision(now),
                connection::Event::AwaitsBfd => self.events.push_back(Event::AwaitsBfd),
                connection::Event::Established => self.handle_established(role, now),
                connection::Event::Received(update) => self.handle_update(update),
                connection::Event::Refresh(family) => self.rib.refresh(family, now),
                connection::Event::Down(reason) => self.handle_down(role, reason, now),
            }
        }
    }

    fn handle_update(&mut self, update: Update) {
        let new = self.history.received(&update);
        if !new.is_empty() {
            self.events.push_back(Event::Defects(new));
        }
        if self.receiving {
            self.events.push_back(Event::Received(update));
        }
    }

    fn handle_established(&mut self, role: Role, now: Instant) {
        self.end(role.other(), DownReason::CollisionLost, now);
        self.stop_dialing();
        self.retry.established(now);
        // From now on an end of the session is no restart of ours.
        self.opening.restarted = false;
        self.opening.preserved = Family::ALL.into();
        let local_asn = self.config.session.local_asn;
        let Some(slot) = self.connections.get_mut(role) else { return };
        let Some(session) = slot.connection.session().cloned() else { return };
        slot.established = true;
        let target = Target {
            encoding: session.encoding,
            families: session.families.clone(),
            enhanced_route_refresh: session.enhanced_route_refresh,
            local_asn,
            next_hops: slot.next_hops,
        };
        slot.send_hold.start(session.hold_time, now);
        if !session.hold_time.is_zero() {
            // For what is left of the connection when it is closed, and for a daemon that stands
            // still: before that, the send hold timer knows better what is wrong.
            let action = Action::SetUserTimeout(slot.serial, session.hold_time * 2);
            self.actions.push_back(action);
        }
        self.rib.start(target, now);
        self.history.established(now);
        self.events.push_back(Event::Established(session));
    }

    fn resolve_collision(&mut self, now: Instant) {
        let local_asn = self.config.session.local_asn;
        if let Some(loser) = self.connections.collision_loser(self.opening.router_id, local_asn) {
            self.end(loser, DownReason::CollisionLost, now);
        }
    }

    /// Ends the session; another attempt follows in its time.
    pub fn close_all(&mut self, reason: &DownReason, now: Instant) {
        for role in Role::BOTH {
            self.end(role, reason.clone(), now);
        }
    }

    /// Ends a connection from our side, if there is one.
    fn end(&mut self, role: Role, reason: DownReason, now: Instant) {
        if let Some(slot) = self.connections.get_mut(role) {
            slot.connection.close(reason);
        }
        self.drain(role, now);
    }

    fn handle_down(&mut self, role: Role, reason: DownReason, now: Instant) {
        let Some(mut slot) = self.connections.take(role) else { return };
        let last_words = slot.connection.poll_transmit();
        self.actions.push_back(Action::Close(slot.serial, last_words));
        if slot.established {
            self.rib.stop();
            self.history.down(&reason, now);
            self.events.push_back(Event::Down(reason.clone()));
        } else if !self.connections.is_empty() {
            return; // one of two, and the other goes on
        } else {
            // RFC 5492 §3; should an OPEN without them fail too, the next one has them again.
            let refuses = reason.refuses_capabilities();
            self.opening.capabilities = !(refuses && self.opening.capabilities);
            self.note_failure(reason.clone(), now);
        }
        if self.running && !self.config.passive {
            self.retry.ended(&reason, slot.established, now);
        } else {
            self.retry.rest();
        }
    }

    fn note_failure(&mut self, reason: DownReason, now: Instant) {
        if self.history.failed(&reason, now) {
            self.events.push_back(Event::Failed(reason));
        }
    }

    /// Starts an attempt to connect in place of any that is under way.
    fn dial(&mut self, now: Instant) {
        self.stop_dialing();
        if !self.running || self.config.passive || !self.connections.is_empty() {
            return;
        }
        match self.path.clone() {
            Ok(to) => {
                let serial = self.new_serial();
                self.dialing = Some((serial, to));
                self.actions.push_back(Action::Connect(serial, to));
                self.retry.attempt(now);
            }
            // The next attempt comes when it is known.
            Err(NoPath::Unread) => {}
            Err(NoPath::Because(text)) => self.note_failure(DownReason::NoPath(text), now),
        }
    }

    fn stop_dialing(&mut self) {
        self.retry.stop();
        if let Some((serial, _)) = self.dialing.take() {
            self.actions.push_back(Action::Close(serial, Vec::new()));
        }
    }

    fn new_serial(&mut self) -> Serial {
        self.next_serial = self.next_serial.wrapping_add(1);
        Serial(self.next_serial)
    }

    fn new_slot(&mut self, serial: Serial, ends: Ends, hops: NextHops, now: Instant) -> Slot {
        let seed = self.random.u64(..);
        let mut connection =
            Connection::new(self.config.session.clone(), self.opening.clone(), seed, now);
        connection.set_held(self.holds_back(), now);
        Slot {
            serial,
            connection,
            ends,
            cut_off: CutOff::default(),
            next_hops: hops,
            established: false,
            in_flight: None,
            send_hold: SendHold::default(),
        }
    }
}
