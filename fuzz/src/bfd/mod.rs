//! A script of everything that can happen to BFD sessions, on a virtual clock: datagrams of any octets from
//! anywhere, the passing of time, peers that keep to the RFC for a while, and our own changes. After each
//! step the sessions are held to what they have told us and to what RFC 5880 lets them say.
mod alone;
mod demand;
mod octets;
mod script;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use vipcast::bfd::authentication::{Authentication, Method};
use vipcast::bfd::packet::State;
use vipcast::bfd::session::{self, Look};
use vipcast::bfd::sessions::{Config, Datagram, Generation, Hops, Sessions, Transmit};
use vipcast::route::{PeerName, ScopedAddress};
use vipcast::secret::{Key, Secret};

use super::input::{Input, bits, pick};
use super::start;
use alone::Alone;
use demand::Demand;
use octets::{check_read, check_sent};

/// Below this rate a session may not send until it is Up (RFC 5880 §6.8.3).
const SLOW: Duration = Duration::from_secs(1);
/// The packets of one second at the shortest interval that can be configured, each at 75 % of it
/// (RFC 5880 §6.8.7), and the first of the next.
const MOST: u32 = 135;
/// What comes then is more of the same.
const STEPS: usize = 400;
/// How many peers there are, see [`Stage::config`].
const PEERS: u8 = 6;
/// The one whose packets are signed.
const SIGNED: u8 = 3;
/// Us, as that one sees it.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

/// Two octets of configuration, then the steps.
pub fn bfd(data: &[u8]) {
    let mut input = Input::new(data);
    let mut stage = Stage::new(input.u8(), input.u8());
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        stage.step(&mut input);
        stage.drain();
    }
    // Whatever happened, everything goes to rest.
    stage.pass(Duration::from_secs(5));
}

/// What was told of a session.
#[derive(Debug, Default)]
struct Heard {
    is_up: bool,
    is_peer_down: bool,
    /// We have told its peer AdminDown
    is_over: bool,
    demand: Demand,
}

impl Heard {
    /// The session is what it said it is, and is Up only while its peer is heard.
    fn check(&mut self, look: &Look, now: Instant) {
        assert_eq!(look.state == State::Up, self.is_up && !self.is_over, "{self:?} {look:?}");
        assert_eq!(look.state == State::AdminDown, self.is_over);
        let is_peer_down = look.remote.is_some_and(|remote| remote.state == State::AdminDown);
        assert!(self.is_over || is_peer_down == self.is_peer_down, "{self:?} {look:?}");
        let is_heard = look.remote.is_some();
        assert!(is_heard || !matches!(look.state, State::Init | State::Up), "{look:?}");
        self.demand.check(look, now);
    }
}

/// The packets of a session in the present second.
#[derive(Debug, Default)]
struct Second {
    number: u64,
    sent: u32,
    /// What happened that may be a reason to send
    causes: u32,
    was_up: bool,
}

impl Second {
    fn count(&mut self, passed: Duration, is_up: bool) {
        if passed.as_secs() != self.number {
            *self = Self { number: passed.as_secs(), causes: 1, ..Self::default() };
        }
        self.sent += 1;
        self.was_up |= is_up;
        let most = 4 + 2 * self.causes + if self.was_up { MOST } else { 0 };
        assert!(self.sent <= most, "{self:?}");
    }
}

/// All sessions, and what surrounds them.
struct Stage {
    sessions: Sessions,
    alone: Alone,
    /// The other end of the session that is signed
    far_end: Sessions,
    key: Key,
    begin: Instant,
    now: Instant,
    generation: u64,
    heard: BTreeMap<NonZeroU32, Heard>,
    seconds: BTreeMap<NonZeroU32, Second>,
}

fn name(peer: u8) -> PeerName {
    format!("peer{peer}").into()
}

/// How often, whether the peer is asked to be silent, and whether it is waited for.
fn timers(flags: u8) -> session::Config {
    let [.., demands, passive] = bits(flags);
    let millis = |which| Duration::from_millis(pick(which, &[300, 10, 1000, 3_600_000]));
    session::Config {
        detect_mult: NonZeroU8::new(pick(flags >> 4 & 3, &[3, 1, 255])).expect("not zero"),
        desired_min_tx: millis(flags & 3),
        required_min_rx: millis(flags >> 2 & 3),
        passive,
        demand: demands.then(|| Duration::from_millis(pick(flags, &[3000, 100, 1000, 3_600_000]))),
        echo: None,
    }
}

/// A key that every host has: what kind of system it is.
fn authentication(method: u8) -> Authentication {
    let (method, _) = pick(method, &Method::ALL);
    let secret = Secret::File("/proc/sys/kernel/ostype".into());
    Authentication { method, key_id: 5, secret }
}

/// Where a peer is. Two share an address, and two more everything but the port.
fn address(peer: u8) -> ScopedAddress {
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)).into();
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into();
    match peer % PEERS {
        0 | 4 | 5 => v4(1),
        1 => ScopedAddress { ip: link_local, zone: 3 },
        other => v4(other),
    }
}

impl Stage {
    fn new(which: u8, flags: u8) -> Self {
        let begin = start();
        let key = authentication(0).secret.read(16).expect("it is there");
        let mut stage = Self {
            sessions: Sessions::new(7),
            alone: Alone::new(timers(flags), begin),
            far_end: Sessions::new(8),
            key,
            begin,
            now: begin,
            generation: 0,
            heard: BTreeMap::new(),
            seconds: BTreeMap::new(),
        };
        let wanted = bits(which).into_iter().zip(0..PEERS).filter(|(wanted, _)| *wanted);
        wanted.for_each(|(_, peer)| stage.set(peer, flags, 0));
        stage.drain();
        stage
    }

    /// The session that is wanted with a peer.
    fn config(&self, peer: u8, flags: u8, others: u8) -> Config {
        let hops = if matches!(peer, 2 | 4) { Hops::Multi } else { Hops::Single };
        let signed = peer == SIGNED && others & 2 == 0;
        Config {
            generation: Generation(self.generation),
            remote: address(peer),
            source: (others & 4 != 0).then_some(LOCAL),
            hops,
            minimum_ttl: if hops == Hops::Single { 255 } else { 250 },
            session: session::Config { passive: peer == 1 || flags & 0x80 != 0, ..timers(flags) },
            authentication: signed.then(|| authentication(others >> 3)),
        }
    }

    /// The lowest bit of `others`: another session than before.
    fn set(&mut self, peer: u8, flags: u8, others: u8) {
        self.generation += u64::from(others & 1);
        let config = self.config(peer % PEERS, flags, others);
        let wanted = config.authentication.clone();
        self.sessions.set(&name(peer % PEERS), config.clone(), self.now);
        let discriminator = self.sessions.session_with(&name(peer % PEERS)).expect("it was set");
        let heard = self.heard.entry(discriminator).or_default();
        heard.demand.configure(config.session.demand, self.now);
        if let Some(authentication) = wanted {
            self.sessions.set_key(&name(SIGNED), &authentication, self.key.clone(), self.now);
            let far = Config { remote: LOCAL.into(), source: None, ..config };
            self.far_end.set(&name(SIGNED), far, self.now);
            self.far_end.set_key(&name(SIGNED), &authentication, self.key.clone(), self.now);
        }
    }

    /// What every session is like.
    fn looks(&self) -> BTreeMap<NonZeroU32, Look> {
        let looks = self.sessions.looks(self.now).map(|look| look.session);
        looks.map(|look| (look.discriminator, look)).collect()
    }

    /// A datagram comes; only one that its peer may have sent is accepted, and by no other session.
    fn hear(&mut self, datagram: Datagram<'_>) {
        self.seconds.values_mut().for_each(|second| second.causes += 1);
        let packet = check_read(datagram.payload);
        let before = self.looks();
        self.sessions.handle_datagram(datagram);
        for (discriminator, look) in self.looks() {
            let received = before.get(&discriminator).map(|look| look.counters.received);
            if received == Some(look.counters.received) {
                continue;
            }
            let packet = packet.expect("what cannot be read is not accepted");
            let (_, config) = self.sessions.config(discriminator).expect("a session");
            assert_eq!((config.remote, config.hops), (datagram.source, datagram.hops));
            assert!(datagram.ttl.is_some_and(|ttl| ttl >= config.minimum_ttl));
            assert_eq!(packet.authentication_present, config.authentication.is_some());
            assert!(packet.your_discriminator.is_none_or(|yours| yours == discriminator));
            self.heard.entry(discriminator).or_default().demand.hear(&packet, &look);
        }
    }

    /// As the driver does, until there is nothing to do at present.
    fn drain(&mut self) {
        let now = self.now;
        let before = self.looks();
        self.sessions.handle_timeout(now);
        for (discriminator, after) in self.looks() {
            let (before, heard) = (&before[&discriminator], self.heard.entry(discriminator));
            heard.or_default().demand.check_forgotten(before, &after, now);
        }
        self.transmit();
        self.note();
        self.alone.drain(self.begin, now);
        let timeout = self.sessions.poll_timeout();
        assert!(timeout.is_none_or(|timeout| timeout > now), "there is more to do at once");
    }

    fn transmit(&mut self) {
        let now = self.now;
        while let Some(Transmit { session: discriminator, payload, .. }) =
            self.sessions.poll_transmit(now)
        {
            let (peer, config) = self.sessions.config(discriminator).expect("a session");
            let is_signed = config.authentication.is_some();
            let packet = check_sent(payload.octets(), discriminator, is_signed);
            let second = self.seconds.entry(discriminator).or_default();
            second.count(now - self.begin, packet.state == State::Up);
            if self.sessions.owner(discriminator).is_none() {
                assert_eq!(packet.state, State::AdminDown, "it is on its way out");
                assert!(!packet.demand, "what it asks for is over");
            } else {
                self.heard.entry(discriminator).or_default().demand.send(&packet, now);
            }
            if *peer == name(SIGNED) {
                self.far_end.handle_datagram(Datagram {
                    hops: Hops::Single,
                    source: LOCAL.into(),
                    ttl: Some(255),
                    payload: payload.octets(),
                    at: now,
                });
            }
        }
    }

    /// Takes in events; what was told of a session that is no longer there counts for nothing.
    fn note(&mut self) {
        while let Some((peer, generation, event)) = self.sessions.poll_event() {
            let discriminator = self.sessions.session_with(&peer).expect("events of sessions");
            let owner = self.sessions.owner(discriminator);
            assert_eq!(owner, Some((&peer, generation)), "whose events they are");
            self.heard.entry(discriminator).or_default().note(event);
        }
        let looks = self.looks();
        self.heard.retain(|discriminator, _| looks.contains_key(discriminator));
        for (discriminator, look) in &looks {
            self.heard.entry(*discriminator).or_default().check(look, self.now);
        }
        assert_eq!(self.sessions.configs().count(), self.sessions.count());
        self.seconds.retain(|discriminator, _| self.sessions.config(*discriminator).is_some());
    }

    /// Nothing is done for so long.
    fn freeze(&mut self, time: Duration) {
        self.now += time;
        self.heard.values_mut().for_each(|heard| heard.demand.attend(self.now));
        self.alone.attend(self.now);
    }

    /// From timeout to timeout; none may be there again at once.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(timeout) = self.timeout().filter(|timeout| *timeout <= end) {
            assert!(timeout > self.now, "a timeout is there again");
            self.now = timeout;
            self.drain();
        }
        self.now = end;
        self.drain();
    }

    fn timeout(&self) -> Option<Instant> {
        let next = [self.sessions.poll_timeout(), self.alone.session.poll_timeout()];
        next.into_iter().flatten().min()
    }
}
