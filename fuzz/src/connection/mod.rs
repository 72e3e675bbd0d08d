//! A script of everything that can happen to a peer, on a virtual clock: octets in any pieces, timeouts,
//! ends of connections, BFD, and our own changes. The driver holds the peer to its contract after each
//! step, the router to what it may be told; and whatever happened, a router that then does what is right
//! gets its session and all routes.
mod router;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vipcast::bgp::Serial;
use vipcast::bgp::accept::{Accept, PrefixMatch};
use vipcast::bgp::adj_rib_in::{AdjRibIn, Source, TooMany};
use vipcast::bgp::connection::{self, Opening, RemoteAsn, Restart, Session};
use vipcast::bgp::down::DownReason;
use vipcast::bgp::peer::{Action, BfdVerdict, Config, Event, Peer, State};
use vipcast::bgp::transport::{Remote, Transport};
use vipcast::bgp::wire::{self, Update};
use vipcast::route::{Asn, Attributes, Family, Role, ScopedAddress};

use super::input::{Input, bits, pick};
use super::octets::{self, KEEPALIVE, check_text};
use super::open::families_of;
use super::start;
use router::Router;
use script::{next_hops, offer};

/// `connect-retry-time`.
const RETRY: Duration = Duration::from_secs(5);
/// The longest time after which we connect again (DampPeerOscillations).
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// What the peer may teach us.
const MAX_PREFIXES: usize = 50;
/// The chunk that a writer is given, and the message that it ends with.
const CHUNK: u64 = 32 * 1024 + wire::MAX_EXTENDED_LEN as u64;
/// What comes then is more of the same.
const STEPS: usize = 1000;

const LOCAL: ScopedAddress = ScopedAddress { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), zone: 0 };
const REMOTE: ScopedAddress =
    ScopedAddress { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)), zone: 0 };

/// Two octets of configuration, then the steps.
pub fn connection(data: &[u8]) {
    let mut input = Input::new(data);
    let mut stage = Stage::new(input.u8(), input.u8());
    stage.start(0);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        stage.step(&mut input);
        stage.check();
    }
    stage.recover();
    stage.end();
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One TCP connection, as the driver sees it.
#[derive(Debug, Default)]
struct Line {
    router: Router,
    /// The writer has something
    is_writing: bool,
    /// How many octets the router's TCP has taken
    taken: u64,
}

/// The peer, and all that it deals with.
struct Stage {
    peer: Peer,
    /// The AS number of a router that is the right one
    router_asn: Asn,
    begin: Instant,
    now: Instant,
    is_started: bool,
    is_passive: bool,
    /// Whether it is known where the router is
    is_found: bool,
    dialing: BTreeSet<Serial>,
    lines: BTreeMap<Serial, Line>,
    closed: Option<Serial>,
    /// While the router reads what it is sent
    reads: bool,
    wanted: BTreeMap<IpNet, Arc<Attributes>>,
    session: Option<Session>,
    learned: AdjRibIn,
    local_asn: Asn,
    /// Refreshes that we have asked for
    requests: u64,
}

fn configuration(first: u8, second: u8) -> (Config, Asn) {
    let local_asn = pick(first, &[Asn(64501), Asn(4_200_000_001)]);
    let (remote_asn, router_asn) = pick(
        first >> 1,
        &[
            (RemoteAsn::External, Asn(64500)),
            (RemoteAsn::Internal, local_asn),
            (RemoteAsn::Number(Asn(4_200_000_000)), Asn(4_200_000_000)),
        ],
    );
    let [.., strict, restarts, passive, short] = bits(first);
    let session = connection::Config {
        local_asn,
        remote_asn,
        families: families_of(second >> 5),
        hold_time: seconds(pick(second, &[90, 3, 0, 9])),
        keepalive_time: short.then_some(seconds(1)),
        role: Role::ALL.get(usize::from(second >> 2 & 7)).copied(),
        restart: restarts.then_some(Restart { time: seconds(120), long_lived: seconds(60) }),
        bfd_strict: strict,
    };
    let transport = Transport {
        remote: Remote::Address(REMOTE.ip),
        port: 179,
        source_address: None,
        vrf: None,
        ttl: 1,
        minimum_ttl: None,
        authentication: None,
    };
    (Config { transport, session, connect_retry_time: RETRY, passive }, router_asn)
}

impl Stage {
    fn new(first: u8, second: u8) -> Self {
        let (config, router_asn) = configuration(first, second);
        let begin = start();
        let any = |prefix: &str, longest| {
            let prefix = prefix.parse().expect("a prefix");
            PrefixMatch { prefix, lengths: 0..=longest }
        };
        let prefixes = vec![any("0.0.0.0/0", 32), any("::/0", 128)];
        let mut stage = Self {
            router_asn,
            local_asn: config.session.local_asn,
            is_passive: config.passive,
            peer: Peer::new(config, Ok(REMOTE), 7, begin),
            begin,
            now: begin,
            is_started: false,
            is_found: true,
            dialing: BTreeSet::new(),
            lines: BTreeMap::new(),
            closed: None,
            reads: true,
            wanted: BTreeMap::new(),
            session: None,
            learned: AdjRibIn::new(Accept { prefixes, max_prefixes: MAX_PREFIXES, table: 254 }),
            requests: 0,
        };
        stage.peer.set_receiving(true);
        stage
    }

    fn start(&mut self, flags: u8) {
        let [restarted, named, ..] = bits(flags);
        let opening = Opening {
            restarted,
            host_name: named.then(|| "host1".into()),
            ..Opening::new([10, 0, 0, 1].into())
        };
        if !self.is_started {
            self.is_started = true;
            self.peer.start(opening, self.now);
        }
        self.drain();
    }

    fn connect(&mut self) {
        if let Some(serial) = self.dialing.pop_first() {
            self.lines.insert(serial, Line::default());
            self.peer.handle_connected(serial, LOCAL, next_hops(0), self.now);
        }
    }

    /// The lowest bit says which connection, the others the size of the pieces.
    fn hear(&mut self, line: u8, octets: &[u8]) {
        let size = if line < 2 { octets.len() } else { usize::from(line >> 1) };
        for piece in octets.chunks(size.max(1)) {
            let Some(serial) = self.line(line) else { return };
            self.peer.handle_input(serial, piece, self.now);
            self.drain();
        }
    }

    fn line(&self, line: u8) -> Option<Serial> {
        self.lines.keys().nth(usize::from(line & 1)).copied()
    }

    /// A FIN, or a reset.
    fn lose(&mut self, line: u8) {
        if let Some(serial) = self.line(line) {
            let error = (line & 2 != 0).then(|| "Connection reset by peer".into());
            self.peer.handle_closed(serial, error, self.now);
        }
    }

    fn written(&mut self) {
        for (serial, line) in self.lines.iter_mut().filter(|(_, line)| line.is_writing) {
            line.is_writing = false;
            self.peer.handle_written(*serial, self.now);
        }
    }

    /// The writer of each connection takes what there is, once.
    fn transmit(&mut self) -> bool {
        let passed = (self.now - self.begin).as_secs();
        let mut any = false;
        while let Some((serial, octets)) = self.peer.poll_transmit(self.now) {
            // Messages of our own wait too while the writer is busy, and a KEEPALIVE each second.
            let longest = CHUNK + 23 * self.requests + 19 * passed;
            assert!(!octets.is_empty() && octets.len() as u64 <= longest, "{}", octets.len());
            let line = self.lines.get_mut(&serial).expect("a connection to write to");
            assert!(!line.is_writing, "{serial:?} is being written to");
            line.is_writing = true;
            line.router.hear(&octets, self.peer.rib());
            if self.reads {
                line.taken = line.router.octets;
            }
            any = true;
        }
        any
    }

    fn say(&mut self) {
        self.written();
        let mut turns = 0;
        while self.transmit() {
            self.written();
            turns += 1;
            assert!(turns < 10_000, "there is no end to it");
        }
    }

    /// From timeout to timeout; none may be there again at once.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(timeout) = self.peer.poll_timeout().filter(|timeout| *timeout <= end) {
            assert!(timeout > self.now, "a timeout is there again");
            self.now = timeout;
            self.peer.handle_timeout(timeout);
            self.drain();
            turns += 1;
        }
        assert!(turns <= 16 + 16 * time.as_secs(), "{turns} timeouts in {time:?}");
        self.now = end;
        self.learned.handle_timeout(end);
    }

    /// Does what the peer asks for, and takes in what it says, until that is all.
    fn drain(&mut self) {
        loop {
            while let Some(action) = self.peer.poll_action() {
                self.act(action);
            }
            let Some(event) = self.peer.poll_event() else { return };
            self.note(event);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(serial, to) => {
                assert!(self.is_started && !self.is_passive && self.dialing.is_empty());
                assert!(to == REMOTE && self.is_found);
                self.dialing.insert(serial);
            }
            Action::Close(serial, last_words) => {
                let encoding = self.session.as_ref().map(|session| session.encoding);
                match self.lines.remove(&serial) {
                    Some(mut line) => line.router.hear_last(&last_words, encoding),
                    None => assert!(self.dialing.remove(&serial) && last_words.is_empty()),
                }
                self.closed = Some(serial);
            }
            Action::SetUserTimeout(serial, time) => {
                assert!(self.lines.contains_key(&serial) && !time.is_zero());
            }
            Action::CountAcknowledged(serial) => {
                if let Some(Line { taken, .. }) = self.lines.get(&serial) {
                    self.peer.handle_acknowledged(serial, *taken, self.now);
                }
            }
        }
    }

    /// As the owner does.
    fn note(&mut self, event: Event) {
        match event {
            Event::Established(session) => {
                assert!(self.session.is_none(), "sessions come and go in turn");
                self.learned.start(Source {
                    local_asn: self.local_asn,
                    internal: session.encoding.internal,
                    link_local: false,
                    families: session.families.clone(),
                });
                self.session = Some(session);
            }
            Event::Down(reason) => {
                check_text(&reason.to_string());
                let session = self.session.take().expect("sessions come and go in turn");
                match session.keeps_routes(&reason) {
                    Some((families, time)) => self.learned.mark_stale(&families, self.now + time),
                    None => self.learned.stop(),
                }
            }
            Event::AwaitsBfd => {}
            Event::Received(update) => self.learn(&update),
            Event::Failed(reason) => check_text(&reason.to_string()),
            Event::Defects(defects) => defects.iter().for_each(|d| check_text(&d.to_string())),
            Event::Sent(times) => {
                assert!(times.iter().all(|time| *time <= self.now - self.begin));
            }
        }
    }

    fn learn(&mut self, update: &Update) {
        match self.learned.handle_update(update) {
            Ok(()) => {
                let Some(session) = &self.session else { return };
                let gone = |prefix: &IpNet| self.learned.route(*prefix).is_none();
                let announced: BTreeSet<_> = update.reachable().flat_map(|(_, all)| all).collect();
                // RFC 4760 §8: of a family that was not agreed, nothing
                let is_agreed = |prefix: &IpNet| session.families.contains(&Family::of(*prefix));
                assert!(announced.iter().all(|prefix| gone(prefix) != is_agreed(prefix)));
                let withdrawn = |prefix: &&IpNet| !announced.contains(prefix);
                assert!(update.withdrawn.iter().filter(withdrawn).all(gone));
            }
            Err(TooMany(limit)) => {
                self.peer.close_all(&DownReason::TooManyPrefixes(limit), self.now)
            }
        }
        assert!(self.learned.routes().len() <= MAX_PREFIXES + 1);
        while self.learned.poll_changed().is_some() {}
    }

    /// What holds after each step.
    fn check(&mut self) {
        let is_up = self.session.is_some();
        assert_eq!(self.peer.state() == State::Established, is_up);
        assert_eq!(self.peer.session().map(|(session, _)| session), self.session.as_ref());
        assert!(self.lines.len() <= if is_up { 1 } else { 2 }, "{:?}", self.lines);
        if !self.is_started {
            assert!(self.lines.is_empty() && self.dialing.is_empty());
            assert_eq!(self.peer.poll_timeout(), None);
        } else if !self.is_passive && self.is_found && self.lines.is_empty() {
            assert!(self.peer.next_attempt().is_some(), "nothing would ever happen again");
        }
        assert!(self.peer.poll_timeout().is_none_or(|timeout| timeout > self.now));
        let wanted = self.peer.rib().wanted();
        assert!(wanted.eq(self.wanted.keys().copied()));
        if let (true, Some(line)) = (is_up && self.peer.is_settled(), self.lines.values().next()) {
            line.router.check_routes(&self.wanted, self.peer.rib());
        }
        if !is_up {
            assert_eq!(self.peer.rib().sent_count(), 0);
            let mut learned = self.learned.routes();
            assert!(learned.all(|(prefix, _)| self.learned.is_stale(prefix)));
        }
    }

    /// A router that does what is right has its session soon, and all routes.
    fn recover(&mut self) {
        self.reads = true;
        self.is_passive = false;
        self.start(0);
        self.peer.set_pace(RETRY, false, self.now);
        self.peer.handle_bfd(&BfdVerdict::Up, self.now);
        while let Some(serial) = self.line(0) {
            self.peer.handle_closed(serial, Some("reset".into()), self.now);
            self.drain();
        }
        self.find(true);
        self.drain();
        self.come_up();
        if self.session.is_none() {
            // It had asked for an OPEN without capabilities, with which there is no IPv6.
            self.come_up();
        }
        assert!(self.session.is_some(), "{:?}", self.peer.history());
        self.peer.rib_mut().release_end_of_rib();
        self.say();
        assert!(self.peer.is_settled());
        self.check();
    }

    /// Waits to be connected to, and says what is right.
    fn come_up(&mut self) {
        let begin = self.now;
        while self.dialing.is_empty() {
            let timeout = self.peer.poll_timeout().expect("there is a plan");
            self.pass(timeout - self.now);
            assert!(self.now <= begin + LONGEST_IDLE, "it takes for ever");
        }
        self.connect();
        self.hear(0, &offer(self.router_asn, 0xff, 90));
        self.hear(0, &octets::message(KEEPALIVE, &[]));
    }

    /// Nothing is left.
    fn end(&mut self) {
        self.stop(0);
        self.drain();
        self.check();
        assert_eq!((self.peer.state(), self.peer.poll_transmit(self.now)), (State::Idle, None));
    }
}
