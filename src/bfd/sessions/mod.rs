//! All BFD sessions: which one a datagram belongs to (RFC 5880 §6.3, §6.8.6), which one sends next.
//!
//! Single-hop (RFC 5881, port 3784) and multihop (RFC 5883, port 4784) sessions are kept apart by
//! the port a packet came to: a discriminator alone would let a packet from far away speak for a
//! session that demands a TTL of 255.
//! Beyond RFC 5880 §6.3, a packet must come from the address of its peer even where it names our
//! discriminator.
mod echo;
mod snapshot;

pub use snapshot::Snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::bfd::authentication::{Authentication, Keyring, Payload, Signed};
use crate::bfd::diagnosis::Evidence;
use crate::bfd::discard::{Discard, Discards};
use crate::bfd::echo as echo_function;
use crate::bfd::packet::Packet;
use crate::bfd::schedule::Schedule;
use crate::bfd::session::{self, Event, Session};
use crate::route::{PeerName, ScopedAddress};
use crate::secret::Key;

/// How long a peer is told that its session is no longer wanted: three packets at the slow rate.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long a peer may go on with Echo packets that it was allowed until a change: it hears of that
/// with the next packet, or the one after it.
const CHANGE: Duration = Duration::from_secs(5);

/// How far away a peer may be.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Hops {
    /// RFC 5881: on the same link; TTL 255 is sent and demanded (§5)
    Single,
    /// RFC 5883: behind routers
    Multi,
}

impl Hops {
    /// The UDP port packets are sent to (RFC 5881 §4, RFC 5883 §5).
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Single => 3784,
            Self::Multi => 4784,
        }
    }
}

/// Tells the sessions apart that a peer has one after another: what happened to an earlier one says
/// nothing about the one there is now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Generation(pub u64);

/// One session as the operator wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Which of its peer's sessions; goes with its events
    pub generation: Generation,
    /// Where the peer is
    pub remote: ScopedAddress,
    /// Our end; the kernel's choice when `None`
    pub source: Option<IpAddr>,
    /// How far away it may be
    pub hops: Hops,
    /// The smallest TTL accepted: 255 for [`Hops::Single`]
    pub minimum_ttl: u8,
    /// Its timers
    pub session: session::Config,
    /// What signs its packets
    pub authentication: Option<Authentication>,
}

impl Config {
    /// Who sends to it, and to which port.
    fn far_end(&self) -> (ScopedAddress, Hops) {
        (self.remote, self.hops)
    }

    /// Whether a session goes on when its configuration becomes `other`: its two ends stay, and
    /// nobody asked for another.
    #[must_use]
    pub fn is_same_session(&self, other: &Self) -> bool {
        let identity = |config: &Self| {
            let is_unaffiliated = config.session.is_unaffiliated();
            (config.generation, config.source, config.far_end(), is_unaffiliated)
        };
        identity(self) == identity(other)
    }

    /// Whether the peer cannot tell the two apart: the kernel may choose any source.
    fn may_share_ends(&self, other: &Self) -> bool {
        if self.session.is_unaffiliated() || other.session.is_unaffiliated() {
            return false; // the peer has no part in one of them
        }
        let sources = self.source.zip(other.source);
        self.far_end() == other.far_end() && sources.is_none_or(|(ours, theirs)| ours == theirs)
    }
}

/// A datagram that came to one of the two ports.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Which port
    pub hops: Hops,
    /// Who sent it
    pub source: ScopedAddress,
    /// TTL or Hop Limit as it arrived; `None` when the kernel did not say
    pub ttl: Option<u8>,
    /// What it holds
    pub payload: &'a [u8],
    /// When it came
    pub at: Instant,
}

/// What one session is like now.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whose it is
    pub peer: PeerName,
    /// Between which ends
    pub config: Config,
    /// Its protocol state
    pub session: session::Look,
    /// Datagrams from its peer that were dropped, by reason
    pub discards: Discards,
}

/// A packet to send.
#[derive(Clone, Copy, Debug)]
pub struct Transmit {
    /// Whose it is
    pub session: NonZeroU32,
    /// Where to, if it is an Echo packet
    pub echo: Option<echo_function::Path>,
    /// What it holds
    pub payload: Payload,
}

#[derive(Debug)]
struct Entry {
    peer: PeerName,
    config: Config,
    session: Session,
    /// Where Echo packets go, while that is known
    path: Option<echo_function::Path>,
    answers: echo_function::Allowance,
    /// What the peer was allowed before, and may go on with until it has heard of the change
    allowed: Option<(Duration, Instant)>,
    /// `None` also while the key of its authentication is not known
    keyring: Option<Keyring>,
    /// Where its packets go on from counting, with the first key, if that matters
    sequence: Option<u32>,
    discards: Discards,
    /// No longer wanted: until then the peer is told so
    leaving: Option<Instant>,
}

impl Entry {
    /// When the next packet is due; none is without the key that must sign it.
    fn transmit_at(&self, now: Instant) -> Option<Instant> {
        let is_mute = self.config.authentication.is_some() && self.keyring.is_none();
        self.session.transmit_at(now).filter(|_| !is_mute)
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(Option<echo_function::Path>, Payload)> {
        if let Some(path) = self.path
            && let Some(payload) = self.session.poll_echo(now)
        {
            return Some((Some(path), payload));
        }
        let mut payload = Payload::new(self.session.poll_transmit(now)?.encode());
        if let Some(keyring) = &mut self.keyring {
            keyring.sign(&mut payload);
        }
        Some((None, payload))
    }

    /// RFC 5880 §6.8.6: the A bit is set if and only if authentication is in use, and the packet
    /// passes §6.7.
    fn check(
        &self,
        packet: &Packet,
        payload: &[u8],
        at: Instant,
    ) -> Result<Option<Signed>, Discard> {
        match (&self.config.authentication, &self.keyring) {
            (None, _) if packet.authentication_present => Err(Discard::Authentication),
            (None, _) => Ok(None),
            (Some(_), Some(keyring)) if packet.authentication_present => {
                let length = payload.get(3).copied().map_or(0, usize::from);
                let signed = payload.get(..length).and_then(|packet_octets| {
                    keyring.check(packet_octets, packet.detect_mult.get(), at)
                });
                signed.map(Some).ok_or(Discard::Authentication)
            }
            (Some(_), _) => Err(Discard::Authentication),
        }
    }

    /// Whether it has a use for Echo packets.
    fn wants_echo(&self) -> bool {
        let is_wanted = self.config.session.echo.is_some() || self.allowed.is_some();
        self.leaving.is_none() && is_wanted
    }

    /// The least between two Echo packets of the peer that are sent back; `None`: none are.
    fn echo_interval(&self, at: Instant) -> Option<Duration> {
        let now = self.config.session.echo.map(|echo| echo.interval);
        let before = self.allowed.filter(|(_, until)| at < *until).map(|(interval, _)| interval);
        now.into_iter().chain(before).min()
    }

    /// Whether this is the session that a peer is to have.
    fn is_for(&self, peer: &PeerName) -> bool {
        self.leaving.is_none() && self.peer == *peer
    }

    fn look(&self, now: Instant) -> Look {
        Look {
            peer: self.peer.clone(),
            config: self.config.clone(),
            session: self.session.look(now),
            discards: self.discards,
        }
    }

    /// Tells the peer AdminDown for a while, so that it does not take the silence for a failure
    /// (RFC 5880 §6.8.16).
    fn leave(&mut self, now: Instant) {
        self.session.admin_down(now);
        self.leaving = Some(now + FAREWELL);
    }
}

/// Every session, by its own discriminator.
#[derive(Debug)]
pub struct Sessions {
    entries: BTreeMap<NonZeroU32, Entry>,
    /// Which of them a peer may mean that does not name one
    far_ends: BTreeMap<(ScopedAddress, Hops), NonZeroU32>,
    /// When each has a packet to send
    transmissions: Schedule,
    /// When each has been silent for too long, or is gone
    expiries: Schedule,
    events: VecDeque<(PeerName, Generation, Event)>,
    discards: Discards,
    random: fastrand::Rng,
}

impl Sessions {
    /// None yet; `seed` makes discriminators and jitter reproducible.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            far_ends: BTreeMap::new(),
            transmissions: Schedule::default(),
            expiries: Schedule::default(),
            events: VecDeque::new(),
            discards: Discards::default(),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Wants a session with `peer`. One between the same two ends stays as it is and changes its
    /// timers with a Poll Sequence; any other starts anew, and the old one says goodbye where it
    /// was.
    pub fn set(&mut self, peer: &PeerName, config: Config, now: Instant) {
        if let Some((discriminator, entry)) = self.wanted_mut(peer) {
            if entry.config.is_same_session(&config) {
                if entry.config.session.echo != config.session.echo {
                    let before = entry.config.session.echo;
                    entry.allowed = before.map(|echo| (echo.interval, now + CHANGE));
                }
                entry.session.configure(config.session, now);
                if config.authentication.is_none() || entry.config.authentication.is_none() {
                    entry.keyring = None;
                }
                entry.config = config;
                self.settle(discriminator, now);
                return;
            }
            entry.leave(now);
            self.settle(discriminator, now);
        }
        let discriminator = self.new_discriminator();
        let session = Session::new(config.session, discriminator, self.random.u64(..), now);
        self.insert(peer, config, session, now);
    }

    fn insert(&mut self, peer: &PeerName, config: Config, session: Session, now: Instant) {
        // Two sessions between the same two ends would contradict each other.
        let rivals = self.entries.iter().filter(|(_, entry)| entry.config.may_share_ends(&config));
        for rival in rivals.map(|(rival, _)| *rival).collect::<Vec<_>>() {
            self.forget(rival);
        }
        let discriminator = session.discriminator();
        self.far_ends.insert(config.far_end(), discriminator);
        let entry = Entry {
            peer: peer.clone(),
            config,
            session,
            path: None,
            answers: echo_function::Allowance::default(),
            allowed: None,
            keyring: None,
            sequence: None,
            discards: Discards::default(),
            leaving: None,
        };
        self.entries.insert(discriminator, entry);
        self.settle(discriminator, now);
    }

    /// The key of a peer's authentication, as it was found. Nothing is sent before.
    pub fn set_key(
        &mut self,
        peer: &PeerName,
        authentication: &Authentication,
        key: Key,
        now: Instant,
    ) {
        let random = self.random.u32(..);
        let Some((discriminator, entry)) = self.wanted_mut(peer) else { return };
        if entry.config.authentication.as_ref() != Some(authentication) {
            return; // it was changed once more meanwhile, and that key comes, too
        }
        let sequence = entry.sequence.take().unwrap_or(random);
        match &mut entry.keyring {
            Some(keyring) => keyring.change(authentication, key, sequence),
            None => entry.keyring = Some(Keyring::new(authentication, key, sequence)),
        }
        self.settle(discriminator, now);
    }

    /// Whether packets of the session with this peer are signed.
    #[must_use]
    pub fn has_key(&self, peer: &PeerName) -> bool {
        self.wanted(peer).is_some_and(|(_, entry)| entry.keyring.is_some())
    }

    /// The session with this peer, by its discriminator.
    #[must_use]
    pub fn session_with(&self, peer: &PeerName) -> Option<NonZeroU32> {
        self.wanted(peer).map(|(discriminator, _)| discriminator)
    }

    /// Wants no session with `peer`, which is told so.
    pub fn remove(&mut self, peer: &PeerName, now: Instant) {
        if let Some((discriminator, entry)) = self.wanted_mut(peer) {
            entry.leave(now);
            self.settle(discriminator, now);
        }
    }

    /// Tells every peer that we go by our operator's wish (RFC 5880 §6.8.16).
    pub fn admin_down(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.session.admin_down(now);
        }
        for discriminator in self.entries.keys().copied().collect::<Vec<_>>() {
            self.settle(discriminator, now);
        }
    }

    /// Takes in a datagram, or counts why not.
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>) {
        match self.accept(datagram) {
            Ok(discriminator) => self.settle(discriminator, datagram.at),
            Err(discard) => {
                self.discards.count(discard);
                let far_end = (datagram.source, datagram.hops);
                let session = self.far_ends.get(&far_end);
                if let Some(entry) = session.and_then(|session| self.entries.get_mut(session)) {
                    entry.discards.count(discard);
                }
            }
        }
    }

    /// Takes in the passing of time; extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(discriminator) = self.expiries.due(now) {
            match self.entries.get_mut(&discriminator) {
                Some(entry) if entry.leaving.is_none_or(|at| at > now) => {
                    entry.session.handle_timeout(now);
                    self.settle(discriminator, now);
                }
                _ => self.forget(discriminator),
            }
        }
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            let session = self.transmissions.due(now)?;
            let entry = self.entries.get_mut(&session);
            let packet = entry.and_then(|entry| entry.poll_transmit(now));
            self.settle(session, now);
            if let Some((echo, payload)) = packet {
                return Some(Transmit { session, echo, payload });
            }
        }
    }

    /// What happened to which peer's session.
    pub fn poll_event(&mut self) -> Option<(PeerName, Generation, Event)> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = [self.transmissions.next(), self.expiries.next()];
        next.into_iter().flatten().map(|(at, _)| at).min()
    }

    /// What a session's socket needs to know.
    #[must_use]
    pub fn config(&self, discriminator: NonZeroU32) -> Option<(&PeerName, &Config)> {
        self.entries.get(&discriminator).map(|entry| (&entry.peer, &entry.config))
    }

    /// Who wants to know about a session; nobody, once it is on its way out.
    #[must_use]
    pub fn owner(&self, discriminator: NonZeroU32) -> Option<(&PeerName, Generation)> {
        let entry = self.entries.get(&discriminator).filter(|entry| entry.leaving.is_none())?;
        Some((&entry.peer, entry.config.generation))
    }

    /// How many there are, those on their way out included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Every session's configuration.
    pub fn configs(&self) -> impl Iterator<Item = (NonZeroU32, &Config)> {
        self.entries.iter().map(|(discriminator, entry)| (*discriminator, &entry.config))
    }

    /// What every session is like now, but for those that are on their way out.
    pub fn looks(&self, now: Instant) -> impl Iterator<Item = Look> + '_ {
        let entries = self.entries.values().filter(|entry| entry.leaving.is_none());
        entries.map(move |entry| entry.look(now))
    }

    /// What has been seen of the session with a peer.
    #[must_use]
    pub fn evidence(&self, peer: &PeerName, now: Instant) -> Option<Evidence> {
        self.wanted(peer).map(|(_, entry)| Evidence::of(&entry.look(now)))
    }

    /// How many datagrams were dropped, by reason.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    /// The session that `peer` is to have.
    fn wanted(&self, peer: &PeerName) -> Option<(NonZeroU32, &Entry)> {
        let (discriminator, entry) = self.entries.iter().find(|(_, entry)| entry.is_for(peer))?;
        Some((*discriminator, entry))
    }

    fn wanted_mut(&mut self, peer: &PeerName) -> Option<(NonZeroU32, &mut Entry)> {
        let mut entries = self.entries.iter_mut();
        let (discriminator, entry) = entries.find(|(_, entry)| entry.is_for(peer))?;
        Some((*discriminator, entry))
    }

    /// Whose datagram it was.
    fn accept(&mut self, datagram: Datagram<'_>) -> Result<NonZeroU32, Discard> {
        let packet = Packet::decode(datagram.payload)?;
        let entry = match packet.your_discriminator {
            Some(discriminator) => {
                let entry = self.entries.get_mut(&discriminator).ok_or(Discard::UnknownSession)?;
                if entry.config.far_end() != (datagram.source, datagram.hops) {
                    entry.discards.count(Discard::WrongSource);
                    return Err(Discard::WrongSource);
                }
                entry
            }
            None => {
                let session = self.far_ends.get(&(datagram.source, datagram.hops));
                let entry = session.and_then(|session| self.entries.get_mut(session));
                let entry = entry.filter(|entry| entry.leaving.is_none());
                entry.ok_or(Discard::UnknownSession)?
            }
        };
        if entry.config.session.is_unaffiliated() {
            return Err(Discard::UnknownSession);
        }
        if datagram.ttl.is_none_or(|ttl| ttl < entry.config.minimum_ttl) {
            return Err(Discard::Ttl);
        }
        let signed = entry.check(&packet, datagram.payload, datagram.at)?;
        entry.session.handle_packet(&packet, datagram.at);
        if let (Some(keyring), Some(signed)) = (&mut entry.keyring, signed) {
            // RFC 5880 §6.8.1 on bfd.AuthSeqKnown.
            let forgotten = entry.session.timing().1.unwrap_or_default() * 2;
            keyring.accept(&signed, datagram.at + forgotten);
        }
        Ok(entry.session.discriminator())
    }

    /// After anything has happened to a session: takes its events, and looks when it is next.
    fn settle(&mut self, discriminator: NonZeroU32, now: Instant) {
        let Some(entry) = self.entries.get_mut(&discriminator) else {
            return self.forget(discriminator);
        };
        while let Some(event) = entry.session.poll_event() {
            self.events.push_back((entry.peer.clone(), entry.config.generation, event));
        }
        let expiry = entry.session.expires_at().into_iter().chain(entry.leaving).min();
        self.transmissions.set(discriminator, entry.transmit_at(now));
        self.expiries.set(discriminator, expiry);
    }

    fn forget(&mut self, discriminator: NonZeroU32) {
        self.transmissions.remove(discriminator);
        self.expiries.remove(discriminator);
        let Some(entry) = self.entries.remove(&discriminator) else { return };
        let far_end = entry.config.far_end();
        if self.far_ends.get(&far_end) == Some(&discriminator) {
            let mut others = self.entries.iter();
            match others.find(|(_, other)| other.config.far_end() == far_end) {
                Some((other, _)) => self.far_ends.insert(far_end, *other),
                None => self.far_ends.remove(&far_end),
            };
        }
    }

    fn new_discriminator(&mut self) -> NonZeroU32 {
        loop {
            let candidate = NonZeroU32::new(self.random.u32(..));
            if let Some(candidate) = candidate.filter(|c| !self.entries.contains_key(c)) {
                return candidate;
            }
        }
    }
}
