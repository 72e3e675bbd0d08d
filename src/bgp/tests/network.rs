//! Two peers and the TCP connections between them, on a virtual clock: whoever dials first, however
//! long the way is and whatever breaks, one session comes up, and both ends mean the same one.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::select;
use proptest::{prop_oneof, proptest};

use super::clock::{secs, start};
use super::octets::{hosts, keepalive, open, router_id};
use super::scene::{self, LOCAL, REMOTE, RETRY, ends, local, next_hops, refused, remote};
use super::strategies::cases;
use crate::bgp::Serial;
use crate::bgp::connection::{self, Opening, RemoteAsn};
use crate::bgp::down::DownReason;
use crate::bgp::peer::{Action, BfdVerdict, Config, Event, Peer, State};
use crate::bgp::wire::Notification;
use crate::route::{Asn, Attributes, Family};

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One TCP connection. Both ends are counted by who they are, not by who dialed.
struct Tcp {
    serials: [Option<Serial>; 2],
    /// Whether an end still wants it
    open: [bool; 2],
    /// One way
    latency: Duration,
}

/// What is on its way.
enum Delivery {
    Connected { tcp: usize, to: usize },
    Accepted { tcp: usize, to: usize },
    Octets { tcp: usize, to: usize, octets: Vec<u8> },
    Closed { tcp: usize, to: usize },
    Written { at: usize, serial: Serial },
}

struct Network {
    now: Instant,
    peers: [Peer; 2],
    tcp: Vec<Tcp>,
    /// By time, and in order where that is the same
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    latencies: Vec<u64>,
    /// How long a writer is busy
    writing: Duration,
    /// Nothing arrives
    is_cut: bool,
    events: [Vec<(Duration, Event)>; 2],
    begin: Instant,
}

fn config(local_asn: Asn, hold_time: u64) -> Config {
    let session = connection::Config {
        local_asn,
        remote_asn: RemoteAsn::External,
        families: Family::ALL.to_vec(),
        hold_time: secs(hold_time),
        keepalive_time: None,
        role: None,
        restart: None,
        bfd_strict: false,
    };
    Config { session, ..scene::config() }
}

impl Network {
    fn new(latencies: Vec<u64>, seeds: [u64; 2]) -> Self {
        let begin = start();
        let [left, right] = [(LOCAL, seeds[0]), (REMOTE, seeds[1])]
            .map(|(asn, seed)| Peer::new(config(asn, 9), Ok(remote()), seed, begin));
        Self {
            now: begin,
            peers: [left, right],
            tcp: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            latencies,
            writing: millis(1),
            is_cut: false,
            events: [Vec::new(), Vec::new()],
            begin,
        }
    }

    fn send(&mut self, after: Duration, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), delivery);
    }

    /// Does what an end asks for.
    fn serve(&mut self, side: usize) {
        while let Some(action) = self.peers[side].poll_action() {
            match action {
                Action::Connect(serial, _) => self.dial(side, serial),
                Action::Close(serial, last_words) => self.close(side, serial, last_words),
                Action::SetUserTimeout(..) | Action::CountAcknowledged(_) => {}
            }
        }
        while let Some((serial, octets)) = self.peers[side].poll_transmit(self.now) {
            let tcp = self.find(side, serial).expect("a connection to write to");
            self.send(self.tcp[tcp].latency, Delivery::Octets { tcp, to: 1 - side, octets });
            self.send(self.writing, Delivery::Written { at: side, serial });
        }
        while let Some(event) = self.peers[side].poll_event() {
            self.events[side].push((self.now - self.begin, event));
        }
    }

    fn find(&self, side: usize, serial: Serial) -> Option<usize> {
        self.tcp.iter().position(|tcp| tcp.open[side] && tcp.serials[side] == Some(serial))
    }

    fn dial(&mut self, side: usize, serial: Serial) {
        let latency = millis(self.latencies[self.tcp.len() % self.latencies.len()]);
        let mut tcp = Tcp { serials: [None; 2], open: [false; 2], latency };
        tcp.serials[side] = Some(serial);
        tcp.open[side] = true;
        let number = self.tcp.len();
        self.tcp.push(tcp);
        self.send(latency * 2, Delivery::Connected { tcp: number, to: side });
        self.send(latency * 3, Delivery::Accepted { tcp: number, to: 1 - side });
    }

    fn close(&mut self, side: usize, serial: Serial, last_words: Vec<u8>) {
        let Some(tcp) = self.find(side, serial) else { return };
        self.tcp[tcp].open[side] = false;
        let latency = self.tcp[tcp].latency;
        self.send(latency, Delivery::Octets { tcp, to: 1 - side, octets: last_words });
        self.send(latency, Delivery::Closed { tcp, to: 1 - side });
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Written { at, serial } => self.peers[at].handle_written(serial, now),
            _ if self.is_cut => {}
            Delivery::Connected { tcp, to } if self.tcp[tcp].open[to] => {
                let serial = self.tcp[tcp].serials[to].unwrap();
                self.peers[to].handle_connected(serial, local(), next_hops(1), now);
            }
            Delivery::Accepted { tcp, to } if self.tcp[tcp].open[1 - to] => {
                let serial = self.peers[to].handle_accepted(ends(), next_hops(1), now);
                self.tcp[tcp].serials[to] = Some(serial);
                self.tcp[tcp].open[to] = true;
            }
            Delivery::Octets { tcp, to, octets } if self.tcp[tcp].open[to] => {
                let serial = self.tcp[tcp].serials[to].unwrap();
                self.peers[to].handle_input(serial, &octets, now);
            }
            Delivery::Closed { tcp, to } if self.tcp[tcp].open[to] => {
                let serial = self.tcp[tcp].serials[to].unwrap();
                self.peers[to].handle_closed(serial, None, now);
            }
            Delivery::Connected { .. }
            | Delivery::Accepted { .. }
            | Delivery::Octets { .. }
            | Delivery::Closed { .. } => {}
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for side in [0, 1] {
                self.serve(side);
            }
            let timeouts = self.peers.iter().filter_map(Peer::poll_timeout);
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let Some(next) = timeouts.chain(arrival).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = next;
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= next) {
                let delivery = entry.remove();
                self.deliver(delivery);
                for side in [0, 1] {
                    self.serve(side);
                }
            }
            for peer in &mut self.peers {
                peer.handle_timeout(next);
            }
        }
    }

    /// Both ends are Established, on the same connection, and there is no other.
    fn assert_one_session(&self) {
        let states = [0, 1].map(|side| self.peers[side].state());
        assert_eq!(states, [State::Established; 2], "{:#?}", self.events);
        let open: Vec<[bool; 2]> =
            self.tcp.iter().map(|tcp| tcp.open).filter(|open| *open != [false; 2]).collect();
        assert_eq!(open, [[true; 2]], "{:#?}", self.events);
    }

    fn start(&mut self, router_ids: [u8; 2], offset: Duration) {
        self.peers[0].start(Opening::new(router_id(router_ids[0])), self.now);
        self.run(offset);
        self.peers[1].start(Opening::new(router_id(router_ids[1])), self.now);
    }
}

/// Two peers with a session, started at once over a way of 5 ms.
fn connected() -> Network {
    let mut network = Network::new(vec![5], [1, 2]);
    network.start([1, 2], secs(0));
    network.run(secs(60));
    network.assert_one_session();
    network
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn one_session_comes_up_whoever_dials_first_and_however_long_the_way_is(
        latencies in vec(1..100_u64, 1..8),
        router_ids in select(vec![[1, 2], [2, 1], [1, 1]]),
        offset in 0..300_u64,
        seeds in any::<[u64; 2]>(),
    ) {
        let mut network = Network::new(latencies, seeds);
        network.start(router_ids, millis(offset));
        network.run(secs(120));
        network.assert_one_session();
    }

    #[test]
    fn on_an_even_way_the_collision_costs_nothing(
        latency in 1..100_u64,
        router_ids in select(vec![[1, 2], [2, 1], [1, 1]]),
        offset in 0..300_u64,
        seeds in any::<[u64; 2]>(),
    ) {
        let mut network = Network::new(vec![latency], seeds);
        network.writing = secs(0);
        // The second dials before the first gets through to it.
        network.start(router_ids, millis(offset % (3 * latency)));
        network.run(millis(10 * latency));
        network.assert_one_session();
        assert!(network.events.iter().all(|events| events.len() == 1), "{:#?}", network.events);
    }
}

#[test]
fn routes_arrive_and_a_day_passes_without_another_word_about_it() {
    let mut network = connected();
    for prefix in hosts(Family::Ipv6Unicast, 1000) {
        let attributes = Attributes::default().into();
        network.peers[0].rib_mut().set(prefix, Some(attributes), network.now);
    }
    network.run(secs(24 * 3600));
    network.assert_one_session();
    assert_eq!(network.peers[1].history().counters().received_prefixes, 1000);
    let told = network.events[1].len();
    assert_eq!(told, 1, "{:#?}", network.events[1]);
}

#[test]
fn a_way_that_breaks_for_a_while_is_noticed_by_the_hold_timer_and_used_again() {
    let mut network = connected();
    network.is_cut = true;
    network.run(secs(10));
    for side in [0, 1] {
        let down = Event::Down(DownReason::HoldTimerExpired(secs(9)));
        let (at, last) = network.events[side].iter().find(|(_, event)| *event == down).unwrap();
        assert!((secs(60 + 6)..=secs(60 + 9)).contains(at), "{last:?} at {at:?}");
    }
    network.run(secs(600));
    network.is_cut = false;
    network.run(RETRY + secs(1));
    network.assert_one_session();
}

#[test]
fn bfd_notices_sooner_and_both_ends_are_back_as_soon_as_it_is() {
    let mut network = connected();
    network.is_cut = true;
    for peer in &mut network.peers {
        peer.handle_bfd(&BfdVerdict::Down("gone".into()), network.now);
    }
    network.run(secs(300));
    network.is_cut = false;
    for peer in &mut network.peers {
        peer.handle_bfd(&BfdVerdict::Up, network.now);
    }
    network.run(millis(100));
    network.assert_one_session();
}

#[test]
fn a_peer_that_is_stopped_and_started_again_is_back_in_a_moment() {
    let mut network = connected();
    network.peers[1].stop(&DownReason::Shutdown("new kernel".into()), network.now);
    network.run(secs(2));
    assert_eq!(network.peers[1].state(), State::Idle);
    let told = Notification::administrative_shutdown("new kernel");
    let (_, event) = &network.events[0][1];
    assert_eq!(*event, Event::Down(DownReason::NotificationReceived(told)));
    network.peers[1].start(Opening::new(router_id(2)), network.now);
    network.run(secs(1));
    network.assert_one_session();
}

/// What a driver and a router can do to a peer, in any order. Numbers pick one of the connections.
#[derive(Clone, Debug)]
enum Step {
    Start,
    Stop,
    Pass(u64),
    Connected(usize),
    ConnectFailed(usize),
    Accepted,
    Open(usize, u8),
    Keepalive(usize),
    Notification(usize),
    Garbage(usize),
    Closed(usize, bool),
    Written(usize),
    Transmit,
    Bfd(bool),
    Pace(bool),
    NextHops(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || 0..4_usize;
    let step = prop_oneof![
        1 => Just(Step::Start),
        1 => Just(Step::Stop),
        8 => (0..100_u64).prop_map(Step::Pass),
        8 => which().prop_map(Step::Connected),
        2 => which().prop_map(Step::ConnectFailed),
        3 => Just(Step::Accepted),
        10 => (which(), 0..3_u8).prop_map(|(which, last)| Step::Open(which, last)),
        10 => which().prop_map(Step::Keepalive),
        2 => which().prop_map(Step::Notification),
        1 => which().prop_map(Step::Garbage),
        2 => (which(), any::<bool>()).prop_map(|(which, broken)| Step::Closed(which, broken)),
        3 => which().prop_map(Step::Written),
        8 => Just(Step::Transmit),
        2 => any::<bool>().prop_map(Step::Bfd),
        1 => any::<bool>().prop_map(Step::Pace),
        1 => any::<u8>().prop_map(Step::NextHops),
    ];
    vec(step, 0..100)
}

/// A driver that holds a peer to its contract.
struct Driver {
    peer: Peer,
    now: Instant,
    started: bool,
    passive: bool,
    dialing: BTreeSet<Serial>,
    open: BTreeSet<Serial>,
    writing: BTreeSet<Serial>,
    sessions: i32,
}

impl Driver {
    fn new() -> Self {
        let now = start();
        Self {
            peer: Peer::new(scene::config(), Ok(remote()), 7, now),
            now,
            started: false,
            passive: false,
            dialing: BTreeSet::new(),
            open: BTreeSet::new(),
            writing: BTreeSet::new(),
            sessions: 0,
        }
    }

    fn one_of(serials: &BTreeSet<Serial>, which: usize) -> Option<Serial> {
        serials.iter().nth(which % serials.len().max(1)).copied()
    }

    fn hear(&mut self, which: usize, octets: &[u8]) {
        if let Some(serial) = Self::one_of(&self.open, which) {
            self.peer.handle_input(serial, octets, self.now);
        }
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Start => {
                if !self.started {
                    self.peer.start(Opening::new(router_id(1)), now);
                }
                self.started = true;
            }
            Step::Stop => {
                self.peer.stop(&DownReason::Deconfigured, now);
                self.started = false;
            }
            Step::Pass(seconds) => self.pass(secs(seconds)),
            Step::Connected(which) => {
                if let Some(serial) = Self::one_of(&self.dialing, which) {
                    self.dialing.remove(&serial);
                    self.open.insert(serial);
                    self.peer.handle_connected(serial, local(), next_hops(1), now);
                }
            }
            Step::ConnectFailed(which) => {
                if let Some(serial) = Self::one_of(&self.dialing, which) {
                    self.dialing.remove(&serial);
                    self.peer.handle_connect_failed(serial, refused(), now);
                }
            }
            Step::Accepted => {
                let serial = self.peer.handle_accepted(ends(), next_hops(1), now);
                assert!(self.open.insert(serial), "{serial:?} is new");
            }
            Step::Open(which, last) => self.hear(which, &open(REMOTE.0, 90, [10, 0, 0, last])),
            Step::Keepalive(which) => self.hear(which, &keepalive()),
            Step::Notification(which) => self.hear(which, &Notification::cease(2).encode()),
            Step::Garbage(which) => self.hear(which, &[0; 30]),
            Step::Closed(which, broken) => {
                if let Some(serial) = Self::one_of(&self.open, which) {
                    let error = broken.then(|| "reset".into());
                    self.peer.handle_closed(serial, error, now);
                }
            }
            Step::Written(which) => {
                if let Some(serial) = Self::one_of(&self.writing, which) {
                    self.writing.remove(&serial);
                    self.peer.handle_written(serial, now);
                }
            }
            Step::Transmit => self.transmit(),
            Step::Bfd(true) => self.peer.handle_bfd(&BfdVerdict::Up, now),
            Step::Bfd(false) => self.peer.handle_bfd(&BfdVerdict::Down("gone".into()), now),
            Step::Pace(passive) => {
                self.peer.set_pace(RETRY, passive, now);
                self.passive = passive;
            }
            Step::NextHops(last) => self.peer.update_next_hops(|_| next_hops(last), now),
        }
        self.drain();
        self.check();
    }

    fn transmit(&mut self) {
        while let Some((serial, octets)) = self.peer.poll_transmit(self.now) {
            assert!(self.open.contains(&serial) && !octets.is_empty());
            assert!(self.writing.insert(serial), "{serial:?} is being written to");
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(timeout) = self.peer.poll_timeout().filter(|timeout| *timeout <= end) {
            self.now = timeout;
            self.peer.handle_timeout(timeout);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            match action {
                Action::Connect(serial, _) => {
                    assert!(self.started && !self.passive);
                    assert!(self.dialing.is_empty(), "one attempt at a time");
                    self.dialing.insert(serial);
                }
                Action::Close(serial, _) => {
                    let was_open = self.open.remove(&serial);
                    let was_dialing = self.dialing.remove(&serial);
                    assert!(was_open || was_dialing, "{serial:?} is closed twice");
                    self.writing.remove(&serial);
                }
                Action::SetUserTimeout(serial, _) | Action::CountAcknowledged(serial) => {
                    assert!(self.open.contains(&serial));
                }
            }
        }
        while let Some(event) = self.peer.poll_event() {
            match event {
                Event::Established(_) => self.sessions += 1,
                Event::Down(_) => self.sessions -= 1,
                Event::AwaitsBfd
                | Event::Failed(_)
                | Event::Defects(_)
                | Event::Received(_)
                | Event::Sent(_) => {}
            }
        }
    }

    /// What holds at all times.
    fn check(&self) {
        let is_up = self.peer.state() == State::Established;
        assert_eq!(self.sessions, i32::from(is_up), "sessions come and go in turn");
        assert_eq!(self.peer.session().is_some(), is_up);
        assert!(self.open.len() <= 2, "at most one of each side: {:?}", self.open);
        if !self.started {
            assert!(self.open.is_empty() && self.dialing.is_empty());
            assert_eq!(self.peer.poll_timeout(), None);
        } else if !self.passive && self.open.is_empty() {
            let is_planned = self.peer.next_attempt().is_some();
            assert!(is_planned, "nothing would ever happen again");
        }
        if let Some(timeout) = self.peer.poll_timeout() {
            assert!(timeout >= self.now && timeout <= self.now + secs(90));
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_order_of_events_leaves_a_connection_forgotten_or_a_peer_without_a_plan(steps in steps()) {
        let mut driver = Driver::new();
        driver.take(&Step::Start);
        for step in &steps {
            driver.take(step);
        }
        driver.take(&Step::Stop);
    }
}
