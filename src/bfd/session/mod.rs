//! One BFD session, without sockets or clocks.
//!
//! State machine of RFC 5880 §6.2 and §6.8.6, Poll Sequences and timer changes of §6.5 and §6.8.3,
//! detection of §6.8.4, transmission of §6.8.7. Asynchronous mode, and demand mode of
//! either end (§6.6); the Echo function (§6.8.8, §6.8.9) beside it, or (RFC 9747) in its place.
mod echo;
mod look;
mod snapshot;

pub use look::{Counters, Look};
pub use snapshot::Snapshot;

use std::collections::VecDeque;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bfd::echo as echo_function;
use crate::bfd::packet::{Diag, Packet, State};

/// Below this rate a session may not send until it is Up (RFC 5880 §6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// A peer that polls all the time is answered no more often than this; none that keeps to the RFC
/// polls faster than it sends.
const FINALS_APART: Duration = Duration::from_millis(3);

/// What was configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub struct Config {
    pub detect_mult: NonZeroU8,
    pub desired_min_tx: Duration,
    pub required_min_rx: Duration,
    /// Says nothing before the peer does (RFC 5880 §6.1)
    pub passive: bool,
    /// Demand mode (RFC 5880 §6.6): while both ends are Up the peer is asked to be silent, and
    /// polled so often
    pub demand: Option<Duration>,
    /// The Echo function (RFC 5880 §6.4), if it is to be used
    pub echo: Option<echo_function::Config>,
}

impl Config {
    /// Whether Control packets are neither sent nor expected (RFC 9747).
    #[must_use]
    pub fn is_unaffiliated(&self) -> bool {
        self.echo.is_some_and(|echo| echo.unaffiliated)
    }
}

/// What the session tells its owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// It entered Up
    Up,
    /// It left Up because the path or the peer failed
    Down(Diag, Plane),
    /// The peer's operator has taken it down, whether it was Up or not, which is no failure
    /// (RFC 5882 §4.2)
    PeerAdminDown,
    /// The peer says so no longer, or has fallen silent
    PeerAdminUp,
}

/// What the BFD of the peer lives and dies with, by its C bit (RFC 5882 §4.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plane {
    /// Its end may mean no more than a restart of BGP
    Control,
    /// Its end is the end of forwarding, too
    Forwarding,
}

/// What the peer last said (RFC 5880 §6.8.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub struct Remote {
    pub discriminator: NonZeroU32,
    pub state: State,
    pub control_plane_independent: bool,
    pub demand: bool,
    pub detect_mult: NonZeroU8,
    pub desired_min_tx: Duration,
    pub required_min_rx: Duration,
    pub required_min_echo_rx: Duration,
}

/// The protocol state of one session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    /// Intervals are no shorter than this, whatever is configured
    slowest: Duration,
    discriminator: NonZeroU32,
    state: State,
    diag: Diag,
    /// What the peer last gave as its reason
    remote_diag: Diag,
    /// `None` until the peer is heard, and again when it was silent for a detection time
    remote: Option<Remote>,
    /// From when its silence counts, while it is heard
    heard_at: Instant,
    /// What we send as Desired Min TX and Required Min RX
    announced: Timing,
    /// What we go by until the peer has confirmed `announced` (RFC 5880 §6.8.3)
    in_force: Timing,
    /// A Poll Sequence is under way
    polling: bool,
    /// Another has to follow it: `announced` changed after it had begun
    poll_again: bool,
    /// When the first packet of the Poll Sequence went out
    polling_since: Option<Instant>,
    /// When to poll a peer that is silent on demand
    next_poll: Instant,
    /// It was asked to be silent, and has not yet answered that it need not be any more
    may_be_silent: bool,
    /// The peer polls: an answer is due then
    final_at: Option<Instant>,
    last_final: Option<Instant>,
    /// The state changed: the next packet does not wait for its interval
    hurry: bool,
    last_tx: Option<Instant>,
    next_tx: Instant,
    echo: echo_function::Stream,
    /// It is known how to send Echo packets
    echo_possible: bool,
    /// Those of the peer are sent back
    echo_answered: bool,
    /// What only we know of our Echo packets
    token: u64,
    /// From when their times are counted
    began: Instant,
    /// Since when it is in its state
    since: Instant,
    counters: Counters,
    random: fastrand::Rng,
    events: VecDeque<Event>,
}

/// The intervals of one end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub struct Timing {
    pub desired_min_tx: Duration,
    pub required_min_rx: Duration,
}

impl Session {
    /// Starts in Down; the first packet is due at once.
    #[must_use]
    pub fn new(config: Config, discriminator: NonZeroU32, seed: u64, now: Instant) -> Self {
        let slow = Timing {
            desired_min_tx: config.desired_min_tx.max(SLOW),
            required_min_rx: config.required_min_rx,
        };
        Self {
            config,
            slowest: Duration::ZERO,
            discriminator,
            state: State::Down,
            diag: Diag::NONE,
            remote_diag: Diag::NONE,
            remote: None,
            heard_at: now,
            announced: slow,
            in_force: slow,
            polling: false,
            poll_again: false,
            polling_since: None,
            next_poll: now,
            may_be_silent: false,
            final_at: None,
            last_final: None,
            hurry: false,
            last_tx: None,
            next_tx: now,
            echo: echo_function::Stream::new(now),
            echo_possible: false,
            echo_answered: false,
            token: fastrand::Rng::with_seed(!seed).u64(..),
            began: now,
            since: now,
            counters: Counters::default(),
            random: fastrand::Rng::with_seed(seed),
            events: VecDeque::new(),
        }
    }

    /// The local session state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes in a packet that the discards of RFC 5880 §6.8.6 let through, received at `at`.
    pub fn handle_packet(&mut self, packet: &Packet, at: Instant) {
        self.counters.received += 1;
        self.counters.receive_pace.handle_packet(at);
        let was_admin_down = self.peer_is_admin_down();
        self.remote = Some(Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            control_plane_independent: packet.control_plane_independent,
            demand: packet.demand,
            detect_mult: packet.detect_mult,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            required_min_echo_rx: packet.required_min_echo_rx,
        });
        self.heard_at = at;
        self.remote_diag = packet.diag;
        if packet.required_min_rx.is_zero() {
            self.may_be_silent = false; // it could not be polled
        }
        if packet.is_final && self.polling {
            self.polling = std::mem::take(&mut self.poll_again);
            self.polling_since = None;
            if !self.polling {
                self.in_force = self.announced;
                self.may_be_silent = self.is_demanding();
            }
        }
        if self.state == State::AdminDown {
            return;
        }
        match (was_admin_down, packet.state == State::AdminDown) {
            (false, true) => self.events.push_back(Event::PeerAdminDown),
            (true, false) => self.events.push_back(Event::PeerAdminUp),
            (false, false) | (true, true) => {}
        }
        self.step(packet.state, at);
        if packet.poll {
            let earliest = self.last_final.map_or(at, |last| at.max(last + FINALS_APART));
            self.final_at.get_or_insert(earliest);
        }
        if self.may_be_silent && !self.is_demanding() {
            self.polling = true; // it need not be silent any more, as in ask_for_silence
        }
        self.update_echo(at);
        self.reschedule(at);
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.poll_on_demand(now);
        self.judge_echo(now);
        if self.detect_at().is_some_and(|at| at <= now) {
            // RFC 5880 §6.8.1: a peer that was silent for this long has no discriminator, its
            // wishes are forgotten with it, and nobody is left to answer a Poll.
            let plane = self.plane();
            if self.peer_is_admin_down() && self.state != State::AdminDown {
                self.events.push_back(Event::PeerAdminUp);
            }
            self.remote = None;
            self.polling = false;
            self.poll_again = false;
            self.polling_since = None;
            let expired = Diag::DETECTION_TIME_EXPIRED;
            if self.state == State::Up {
                self.events.push_back(Event::Down(expired, plane));
            }
            if matches!(self.state, State::Init | State::Up) {
                self.enter(State::Down, expired, now);
            }
        }
    }

    /// Takes over changed timers by a Poll Sequence (RFC 5880 §6.8.3), the session staying as it
    /// is.
    pub fn configure(&mut self, config: Config, now: Instant) {
        let before = self.required_min_echo_rx();
        self.config = config;
        self.ask_for_silence(now);
        self.update_echo(now);
        self.announce_timing(now);
        self.hurry |= self.required_min_echo_rx() != before;
    }

    /// Sends and expects packets at this interval at most often, until it is zero again: by a Poll
    /// Sequence (RFC 5880 §6.8.3), after which a silence of ours may last longer
    /// ([`Self::is_settled`]). For what is planned to take a while, such as a restart of the process.
    pub fn slow_down(&mut self, interval: Duration, now: Instant) {
        self.slowest = interval;
        self.announce_timing(now);
    }

    /// Whether the peer has taken note of our intervals.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.polling
    }

    /// Ends the session by the operator's wish (RFC 5880 §6.8.16). The driver goes on sending for
    /// as long as it likes.
    pub fn admin_down(&mut self, now: Instant) {
        self.enter(State::AdminDown, Diag::ADMINISTRATIVELY_DOWN, now);
    }

    /// The next packet to send, if one is due.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        let periodic = self.transmits() && (self.hurry || self.next_tx <= now);
        // RFC 5880 §6.5: never both, and an answer is not a question.
        let is_final = self.final_at.take_if(|at| *at <= now).is_some();
        if !periodic && !is_final {
            return None;
        }
        self.hurry = false;
        self.counters.sent += 1;
        // RFC 5880 §6.6: each packet that has the D bit asks for silence, an answer too. What was
        // polled for before that, and not answered, counts from here.
        if self.is_demanding() && !std::mem::replace(&mut self.may_be_silent, true) {
            self.polling_since = None;
        }
        if is_final {
            self.last_final = Some(now);
        } else {
            if self.polling {
                self.polling_since.get_or_insert(now);
            }
            // RFC 5880 §6.5: a Final is independent of periodic packets, it takes no one's place.
            self.last_tx = Some(now);
            self.counters.transmit_pace.handle_packet(now);
            self.next_tx = now + self.jittered_interval();
        }
        Some(Packet {
            diag: self.diag,
            state: self.state,
            poll: self.polling && !is_final,
            is_final,
            control_plane_independent: false,
            authentication_present: false,
            demand: self.is_demanding(),
            detect_mult: self.config.detect_mult,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote_discriminator(),
            desired_min_tx: self.announced.desired_min_tx,
            required_min_rx: self.announced.required_min_rx,
            required_min_echo_rx: self.required_min_echo_rx(),
        })
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transmit = self.transmits().then_some(self.next_tx);
        let expiry = self.expires_at();
        [transmit, self.final_at, self.echo.transmit_at(), expiry].into_iter().flatten().min()
    }

    /// When [`Self::poll_transmit`] has a packet, if nothing happens before; answers and changes of
    /// state do not wait.
    pub(super) fn transmit_at(&self, now: Instant) -> Option<Instant> {
        let periodic = self.transmits().then_some(if self.hurry { now } else { self.next_tx });
        [self.final_at, periodic, self.echo.transmit_at()].into_iter().flatten().min()
    }

    /// RFC 5880 §6.8.6, from "If received state is AdminDown".
    fn step(&mut self, received: State, now: Instant) {
        const SIGNALED: Diag = Diag::NEIGHBOR_SIGNALED_DOWN;
        match (self.state, received) {
            (State::Down, State::Down) => self.enter(State::Init, self.diag, now),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up, Diag::NONE, now);
                self.events.push_back(Event::Up);
            }
            (State::Init | State::Up, State::AdminDown) => self.enter(State::Down, SIGNALED, now),
            (State::Up, State::Down) => {
                self.enter(State::Down, SIGNALED, now);
                self.events.push_back(Event::Down(SIGNALED, self.plane()));
            }
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::AdminDown, _) => {}
        }
    }

    fn enter(&mut self, next: State, diag: Diag, now: Instant) {
        if self.state != next {
            self.counters.handle_change(self.state, next);
            self.since = now;
        }
        self.state = next;
        self.diag = diag;
        if std::mem::take(&mut self.may_be_silent) {
            self.heard_at = now;
        }
        // RFC 5880 §6.8.7: a change of state should be known sooner than the next interval.
        self.hurry = true;
        self.update_echo(now);
        self.announce_timing(now);
    }

    /// Says what timing we want in this state, and polls if that is news to the peer.
    fn announce_timing(&mut self, now: Instant) {
        let slow = if self.state == State::Up { Duration::ZERO } else { SLOW };
        // RFC 5880 §6.8.3: it is Echo packets that detect failure.
        let slow_rx = if self.relies_on_echo() { SLOW } else { Duration::ZERO };
        let wanted = Timing {
            desired_min_tx: self.config.desired_min_tx.max(slow).max(self.slowest),
            required_min_rx: self.config.required_min_rx.max(slow_rx).max(self.slowest),
        };
        let is_news = std::mem::replace(&mut self.announced, wanted) != wanted;
        // RFC 5880 §6.8.3: while Up, sending slower and expecting faster both wait for the peer's
        // Final; the other way round takes effect at once.
        self.in_force = match self.state {
            State::Up if is_news => Timing {
                desired_min_tx: self.in_force.desired_min_tx.min(wanted.desired_min_tx),
                required_min_rx: self.in_force.required_min_rx.max(wanted.required_min_rx),
            },
            State::Up => self.in_force,
            State::AdminDown | State::Down | State::Init => wanted,
        };
        if is_news && self.remote.is_some() {
            self.poll_again = self.polling;
            self.polling = true;
        }
        self.reschedule(now);
    }

    /// A shorter interval holds at once; a longer one from the next packet on. Packets that come
    /// in never move our own transmission otherwise.
    fn reschedule(&mut self, now: Instant) {
        if let Some(last) = self.last_tx {
            let latest = last + self.tx_interval();
            if self.next_tx > latest {
                self.next_tx = (last + self.jittered_interval()).max(now);
            }
        }
    }

    fn peer_is_admin_down(&self) -> bool {
        self.remote.is_some_and(|remote| remote.state == State::AdminDown)
    }

    /// As the peer last said.
    fn plane(&self) -> Plane {
        match self.remote {
            Some(remote) if remote.control_plane_independent => Plane::Forwarding,
            _ => Plane::Control,
        }
    }

    /// Whether periodic packets are sent (RFC 5880 §6.8.7).
    fn transmits(&self) -> bool {
        // RFC 5880 §6.8.7: who is passive has nothing to say to a peer that is not heard.
        let Some(remote) = &self.remote else {
            return !self.config.passive && !self.config.is_unaffiliated();
        };
        let both_up = self.state == State::Up && remote.state == State::Up;
        let demanded = remote.demand && both_up && !self.polling;
        !remote.required_min_rx.is_zero() && !demanded
    }

    /// RFC 5880 §6.8.2.
    fn tx_interval(&self) -> Duration {
        let required = self.remote.map_or(Duration::ZERO, |remote| remote.required_min_rx);
        self.in_force.desired_min_tx.max(required)
    }

    /// Whether the peer is asked to be silent (RFC 5880 §6.8.7 on the D bit). One that wants no
    /// packets cannot be polled.
    fn is_demanding(&self) -> bool {
        let both_up = |remote: Remote| {
            self.state == State::Up
                && remote.state == State::Up
                && !remote.required_min_rx.is_zero()
        };
        self.config.demand.is_some() && self.remote.is_some_and(both_up)
    }

    /// Polls a peer that was silent for as long as it was asked to be, with the next packet that is
    /// due (RFC 5880 §6.5).
    fn poll_on_demand(&mut self, now: Instant) {
        if let Some(interval) = self.config.demand
            && self.is_demanding()
            && self.next_poll <= now
        {
            self.next_poll = now + interval;
            self.polling = true;
        }
    }

    /// Takes over another wish for silence. A peer that need not be silent any more is polled, and
    /// may go on being silent until it answers.
    fn ask_for_silence(&mut self, now: Instant) {
        if let Some(interval) = self.config.demand {
            self.next_poll = self.next_poll.min(now + interval);
        }
        if self.may_be_silent && !self.is_demanding() {
            self.poll_again = self.polling;
            self.polling = true;
        }
    }

    /// RFC 5880 §6.8.4. Asynchronous mode: the peer's multiplier, and the larger of what we accept
    /// and what it offers. Demand mode: our multiplier, and the interval at which we poll.
    fn detection_time(&self) -> Option<Duration> {
        let remote = self.remote?;
        if self.may_be_silent {
            return Some(self.tx_interval() * u32::from(self.config.detect_mult.get()));
        }
        let interval = self.in_force.required_min_rx.max(remote.desired_min_tx);
        Some(interval * u32::from(remote.detect_mult.get()))
    }

    /// When the peer has been silent for too long: since it was last heard, or in demand mode, since
    /// we began to poll.
    fn detect_at(&self) -> Option<Instant> {
        let since = if self.may_be_silent { self.polling_since? } else { self.heard_at };
        Some(since + self.detection_time()?)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        let poll = self.is_demanding().then_some(self.next_poll);
        [poll, self.detect_at(), self.echo.fails_at()].into_iter().flatten().min()
    }

    fn jittered_interval(&mut self) -> Duration {
        self.tx_interval().mul_f64(self.jitter())
    }

    /// RFC 5880 §6.8.7: 75 to 100 % of the interval, to 90 % where Detect Mult is 1.
    fn jitter(&mut self) -> f64 {
        let spread = if self.config.detect_mult.get() == 1 { 0.15 } else { 0.25 };
        0.75 + self.random.f64() * spread
    }
}
