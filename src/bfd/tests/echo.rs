//! The Echo function: when packets are sent, when it is failure that they do not come back, and whose
//! they are.
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bfd::discard::Discard;
use crate::bfd::echo::{self, Frame, Mark};
use crate::bfd::session::{Event, Plane, Session};
use crate::bfd::sessions::{self, Datagram, Generation, Hops, Sessions};

const INTERVAL: u64 = 50;
const INTERFACE: u32 = 3;
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const FAILED: Event = Event::Down(Diag::ECHO_FAILED, Plane::Forwarding);

fn with_echo(unaffiliated: bool) -> Config {
    let echo = echo::Config { interval: millis(INTERVAL), unaffiliated };
    Config { echo: Some(echo), ..config(3, 300, 300) }
}

/// A peer that sends back packets of ours that are so far apart.
fn said_echo(state: State, required_min_echo_rx: u64) -> Packet {
    Packet { required_min_echo_rx: millis(required_min_echo_rx), ..said(state) }
}

/// A session with Echo packets, and what is on the other end.
struct Story {
    session: Session,
    now: Instant,
    /// What the router says every 100 ms, if it has BFD
    said: Option<Packet>,
    said_at: Instant,
    /// It forwards
    forwards: bool,
    sent: Vec<Instant>,
    controls: Vec<Packet>,
    events: Vec<(Duration, Event)>,
    began: Instant,
}

impl Story {
    fn new(config: Config, said: Option<Packet>) -> Self {
        let now = start();
        let mut session = Session::new(config, discriminator(1), 7, now);
        session.set_echo_possible(true, true, now);
        Self {
            session,
            now,
            said,
            said_at: now,
            forwards: true,
            sent: vec![],
            controls: vec![],
            events: vec![],
            began: now,
        }
    }

    /// One that is Up and whose packets come back.
    fn up() -> Self {
        let mut story = Self::new(with_echo(false), Some(said_echo(State::Down, 20)));
        story.run(500);
        story.said = Some(said_echo(State::Up, 20));
        story.run(1500);
        assert_eq!(story.session.state(), State::Up);
        assert!(story.echo().active);
        story.events.clear();
        story
    }

    fn echo(&self) -> echo::Look {
        self.session.look(self.now).echo.expect("it is wanted")
    }

    /// In steps of a millisecond, with what is due.
    fn run(&mut self, time: u64) {
        for _ in 0..time {
            self.now += millis(1);
            self.session.handle_timeout(self.now);
            if let Some(said) = self.said.filter(|_| self.said_at <= self.now) {
                self.said_at = self.now + millis(100);
                let is_final = self.controls.last().is_some_and(|packet| packet.poll);
                self.session.handle_packet(&Packet { is_final, ..said }, self.now);
            }
            self.transmit();
            let age = self.now - self.began;
            let events = std::iter::from_fn(|| self.session.poll_event());
            self.events.extend(events.map(|event| (age, event)));
        }
    }

    fn transmit(&mut self) {
        while let Some(payload) = self.session.poll_echo(self.now) {
            self.sent.push(self.now);
            let (packet, mark) = Mark::decode(payload.octets()).expect("it is one of ours");
            if self.forwards {
                assert!(self.session.handle_echo(&packet, &mark, self.now), "it was missing");
                assert!(!self.session.handle_echo(&packet, &mark, self.now), "it came already");
            }
        }
        self.controls.extend(std::iter::from_fn(|| self.session.poll_transmit(self.now)));
    }

    fn events(&self) -> Vec<Event> {
        self.events.iter().map(|(_, event)| *event).collect()
    }
}

#[test]
fn a_mark_is_read_as_it_was_written() {
    let mark = Mark { token: u64::MAX - 1, number: 7, sent: secs(3) };
    let payload = mark.encode(&said(State::Up));
    assert_eq!(Mark::decode(payload.octets()), Some((said(State::Up), mark)));
    let octets = payload.octets();
    assert_eq!(Mark::decode(&octets[1..]), None);
    assert_eq!(Mark::decode(&[octets, &[0]].concat()), None);
    assert_eq!(Mark::decode(&[0; 48]), None, "no Control packet");
}

#[test]
fn packets_are_sent_only_while_both_ends_want_them_and_the_session_is_up() {
    // RFC 5880 §6.8.9
    for (what, ours, state, theirs, expected) in [
        ("nothing is wanted", config(3, 300, 300), State::Up, 20, None),
        ("the session is not up", with_echo(false), State::Down, 20, None),
        ("the peer wants none", with_echo(false), State::Up, 0, None),
        ("ours is the longer interval", with_echo(false), State::Up, 20, Some(INTERVAL)),
        ("theirs is the longer interval", with_echo(false), State::Up, 80, Some(80)),
    ] {
        let mut session = Session::new(ours, discriminator(1), 7, start());
        session.set_echo_possible(true, true, start());
        session.handle_packet(&said_echo(State::Down, theirs), start());
        session.handle_packet(&said_echo(state, theirs), start());
        let echo = session.look(start()).echo;
        assert_eq!(echo.and_then(|echo| echo.interval), expected.map(millis), "{what}");
        session.set_echo_possible(false, false, start());
        assert!(session.poll_echo(start()).is_none(), "{what}: it is not possible");
    }
}

#[test]
fn the_peer_is_told_what_it_may_send_while_it_can_be_sent_back() {
    let mut session = Session::new(with_echo(false), discriminator(1), 7, start());
    let told = |session: &mut Session, at| {
        session.poll_transmit(start() + secs(at)).expect("one a second").required_min_echo_rx
    };
    assert_eq!(told(&mut session, 1), Duration::ZERO);
    session.set_echo_possible(true, true, start());
    assert_eq!(told(&mut session, 3), millis(INTERVAL));
}

#[test]
fn intervals_have_jitter() {
    let mut story = Story::up();
    story.sent.clear();
    story.run(10_000);
    let apart: Vec<Duration> = story.sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.len() > 200);
    assert!(apart.iter().all(|apart| (millis(37)..=millis(51)).contains(apart)), "{apart:?}");
    let [least, most] = [apart.iter().min(), apart.iter().max()].map(|it| *it.expect("many"));
    assert!(most - least > millis(8), "{least:?} {most:?}");
    assert_eq!(story.events(), []);
}

#[test]
fn control_packets_are_slow_while_echo_packets_come_back() {
    // RFC 5880 §6.8.3
    let mut story = Story::up();
    let asked = |story: &Story| story.controls.last().expect("many").required_min_rx;
    assert_eq!(asked(&story), secs(1));
    // The peer wants no more of them: Control packets are what is left.
    story.said = Some(said_echo(State::Up, 0));
    story.run(2000);
    assert_eq!((asked(&story), story.echo().interval), (millis(300), None));
    assert_eq!(story.events(), []);
}

#[test]
fn the_session_fails_when_they_no_longer_come_back() {
    let mut story = Story::up();
    let last = *story.sent.last().expect("many");
    story.forwards = false;
    story.run(400);
    let [(age, event)] = story.events[..] else { panic!("{:?}", story.events) };
    assert_eq!(event, FAILED);
    // RFC 5880 §6.8.5, as soon as with Control packets at that interval.
    let silent = story.began + age - last;
    assert!((millis(150)..=millis(151)).contains(&silent), "{silent:?}");
    let down = story.controls.iter().rev().find(|packet| packet.state == State::Down);
    assert_eq!(down.map(|packet| packet.diag), Some(Diag::ECHO_FAILED));
    // What is heard of the router brings it up again, and its silence about echoes is not failure
    // until one has come back.
    story.events.clear();
    story.said = Some(said_echo(State::Down, 20));
    story.run(500);
    story.said = Some(said_echo(State::Up, 20));
    story.run(60_000);
    assert_eq!(story.events(), [Event::Up]);
    assert!(!story.echo().active);
    // Once bitten: one that comes back, or some of them, are no proof any more.
    for _ in 0..100 {
        story.forwards = !story.forwards;
        story.run(500);
    }
    assert_eq!((story.events(), story.echo().active), (vec![Event::Up], false));
    story.forwards = true;
    story.run(20_000);
    assert!(story.echo().active);
    story.forwards = false;
    story.run(400);
    assert_eq!(story.events(), [Event::Up, FAILED]);
}

#[test]
fn who_did_not_send_has_nothing_to_miss() {
    for held_up in [10, 200, 5000] {
        let mut story = Story::up();
        story.said = None;
        // The thread stands still; what the router said meanwhile is read first.
        story.now += millis(held_up);
        story.session.handle_packet(&said_echo(State::Up, 20), story.now);
        story.run(500);
        assert_eq!(story.events(), [], "{held_up} ms");
        assert!(story.echo().active);
        // It is the router now.
        story.forwards = false;
        story.run(200);
        assert_eq!(story.events(), [FAILED], "{held_up} ms");
    }
}

#[test]
fn a_router_without_bfd_is_watched_by_echo_packets_alone() {
    // RFC 9747
    let mut story = Story::new(with_echo(true), None);
    story.forwards = false;
    story.run(5000);
    assert_eq!((story.session.state(), story.events()), (State::Down, vec![]));
    let slow = story.sent.windows(2).all(|pair| pair[1] - pair[0] >= millis(750));
    assert!(slow && story.sent.len() > 4, "{}", story.sent.len());
    story.forwards = true;
    story.run(1001);
    assert_eq!((story.session.state(), story.events()), (State::Up, vec![Event::Up]));
    story.sent.clear();
    story.run(10_000);
    assert!(story.sent.len() > 200, "{}", story.sent.len());
    let last = *story.sent.last().expect("many");
    story.forwards = false;
    story.run(400);
    assert_eq!(story.events(), [Event::Up, FAILED]);
    let (age, _) = story.events[1];
    assert!((millis(150)..=millis(151)).contains(&(story.began + age - last)));
    story.forwards = true;
    story.run(1001);
    assert_eq!(story.events(), [Event::Up, FAILED, Event::Up]);
    assert_eq!(story.controls, [], "nobody is there to hear any");
}

#[test]
fn one_that_goes_on_after_a_restart_misses_what_does_not_come_back() {
    for (unaffiliated, expected) in [(true, vec![FAILED]), (false, vec![])] {
        let mut story = if unaffiliated {
            let mut story = Story::new(with_echo(true), None);
            story.run(1500);
            story
        } else {
            Story::up()
        };
        let snapshot = story.session.snapshot(story.now);
        story.session = Session::restore(with_echo(unaffiliated), &snapshot, story.now);
        story.session.set_echo_possible(true, true, story.now);
        story.events.clear();
        story.forwards = false;
        story.run(1000);
        assert_eq!(story.events(), expected, "unaffiliated: {unaffiliated}");
    }
}

proptest! {
    /// Whatever is lost, doubled, late or in disorder: it is failure only when the last so many that
    /// went out were lost, and always when all of the last were.
    #[test]
    fn it_is_failure_when_so_many_in_a_row_are_missing(
        losses in vec(any::<bool>(), 20..200),
        late in 0..20_u64,
    ) {
        let mut session = Session::new(with_echo(true), discriminator(1), 7, start());
        session.set_echo_possible(true, true, start());
        let mut now = start();
        let mut on_their_way: Vec<(Instant, Packet, Mark)> = vec![];
        let mut sent: Vec<(Instant, bool)> = vec![];
        let end = start() + secs(60);
        while now < end && sent.len() < losses.len() {
            now += millis(1);
            let due = on_their_way.iter().filter(|(at, ..)| *at <= now).copied().collect::<Vec<_>>();
            on_their_way.retain(|(at, ..)| *at > now);
            for (_, packet, mark) in due {
                session.handle_echo(&packet, &mark, now);
            }
            let before = session.state();
            session.handle_timeout(now);
            if before == State::Up && session.state() == State::Down {
                let due = sent.iter().rev().skip_while(|(at, _)| *at + millis(INTERVAL) > now);
                let lost = due.take_while(|(_, is_lost)| *is_lost).count();
                prop_assert!(lost >= 2, "{lost} of 3, and a whole interval");
            }
            let run = sent.iter().rev().take_while(|(_, is_lost)| *is_lost).count();
            prop_assert!(run < 6 || session.state() != State::Up, "{run} in a row");
            while let Some(payload) = session.poll_echo(now) {
                let is_lost = losses[sent.len() % losses.len()];
                sent.push((now, is_lost));
                let (packet, mark) = Mark::decode(payload.octets()).expect("ours");
                if !is_lost {
                    on_their_way.push((now + millis(late), packet, mark));
                    on_their_way.push((now + millis(late * 2), packet, mark));
                }
            }
            while session.poll_event().is_some() {}
        }
    }
}

const SINGLE: &str = "192.0.2.1";
const HOST: &str = "192.0.2.8";

fn path(forwards: bool) -> echo::Path {
    let local = HOST.parse().expect("an address");
    echo::Path { interface: INTERFACE, router: ROUTER, local, forwards }
}

/// A session with a router, in which Echo packets are possible.
fn sessions(unaffiliated: bool, forwards: bool) -> Sessions {
    let mut sessions = Sessions::new(7);
    let wanted = sessions::Config {
        generation: Generation(1),
        remote: SINGLE.parse::<std::net::IpAddr>().expect("an address").into(),
        source: None,
        hops: Hops::Single,
        minimum_ttl: 255,
        session: with_echo(unaffiliated),
        authentication: None,
    };
    sessions.set(&"tor".into(), wanted, start());
    sessions.set_echo_path(&"tor".into(), Some(path(forwards)), start());
    sessions
}

fn dropped(sessions: &Sessions) -> u64 {
    sessions.discards().get(Discard::Echo)
}

#[test]
fn only_what_is_ours_and_was_missing_counts() {
    let mut all = sessions(true, false);
    let sent = all.poll_transmit(start()).expect("the first is due");
    assert_eq!(sent.echo, Some(path(false)));
    let octets = sent.payload.octets().to_vec();
    let good = Frame {
        interface: INTERFACE,
        destination: HOST.parse().expect("an address"),
        ttl: 254,
        payload: &octets,
        at: start(),
    };
    let state = |all: &Sessions| all.looks(start()).next().expect("one").session.state;
    let spoilt = |at: usize| {
        let mut spoilt = octets.clone();
        spoilt[at] ^= 1;
        spoilt
    };
    let (other_token, other_number) = (spoilt(24), spoilt(39));
    let (other_session, short) = (spoilt(7), octets[..47].to_vec());
    for (what, frame) in [
        ("further away", Frame { ttl: 253, ..good }),
        ("another interface", Frame { interface: 4, ..good }),
        ("a guess", Frame { payload: &other_token, ..good }),
        ("one that was not sent", Frame { payload: &other_number, ..good }),
        ("another session", Frame { payload: &other_session, ..good }),
        ("too short", Frame { payload: &short, ..good }),
        ("nothing", Frame { payload: &[], ..good }),
    ] {
        assert_eq!(all.handle_echo(frame), None, "{what} is sent back");
        assert_eq!(state(&all), State::Down, "{what}");
    }
    assert_eq!(dropped(&all), 3, "those that name this session, and come from where it is");
    assert_eq!(all.handle_echo(good), None);
    assert_eq!(state(&all), State::Init);
}

#[test]
fn what_the_router_sends_is_sent_back_to_it() {
    let theirs = Frame {
        interface: INTERFACE,
        destination: SINGLE.parse().expect("an address"),
        ttl: 255,
        payload: b"whatever it has to say to itself",
        at: start(),
    };
    for (what, frame, expected) in [
        ("its own", theirs, true),
        ("not from the link", Frame { ttl: 254, ..theirs }, false),
        ("elsewhere", Frame { interface: 4, ..theirs }, false),
        (
            "for somebody else",
            Frame { destination: "192.0.2.2".parse().expect("one"), ..theirs },
            false,
        ),
    ] {
        let mut all = sessions(false, false);
        assert_eq!(all.handle_echo(frame), expected.then_some(ROUTER), "{what}");
    }
    let mut all = sessions(false, true);
    assert_eq!(all.handle_echo(theirs), None, "the kernel does it");
    let said = Packet::decode(all.poll_transmit(start()).expect("one is due").payload.octets());
    let said = said.expect("a good packet");
    assert_eq!(
        said.required_min_echo_rx,
        Duration::ZERO,
        "or does not, so that it is not promised"
    );

    // FRR sends them to us over IPv6.
    let router = theirs.destination.into();
    let mut all = sessions(false, false);
    assert!(all.handle_echo_to_us(router, Some(255), start()));
    assert!(!all.handle_echo_to_us(router, Some(254), start()), "that has been sent back");
    assert!(!all.handle_echo_to_us(router, None, start()));
    assert!(!all.handle_echo_to_us(
        "192.0.2.2".parse::<std::net::IpAddr>().expect("one").into(),
        Some(255),
        start()
    ));
}

#[test]
fn a_flood_is_not_sent_back() {
    let mut all = sessions(false, false);
    let router = SINGLE.parse::<std::net::IpAddr>().expect("an address").into();
    let mut answered = 0_u32;
    for number in 0..100_000_u64 {
        let at = start() + Duration::from_micros(10 * number);
        answered += u32::from(all.handle_echo_to_us(router, Some(255), at));
    }
    // A second: twice the twenty that it may send, and some at once.
    assert!((40..=64).contains(&answered), "{answered}");
    // One that keeps to the interval, with jitter and a hiccup, is always answered.
    let mut at = start() + secs(10);
    for number in 0..1000 {
        at += millis(if number % 10 == 0 { 0 } else { 38 });
        assert!(all.handle_echo_to_us(router, Some(255), at), "{number}");
    }
}

#[test]
fn control_packets_mean_nothing_where_the_router_has_no_bfd() {
    let mut all = sessions(true, false);
    let number = all.looks(start()).next().expect("one").session.discriminator;
    for to in [None, Some(number)] {
        let packet = Packet { your_discriminator: to, ..said(State::Down) };
        let datagram = Datagram {
            hops: Hops::Single,
            source: SINGLE.parse::<std::net::IpAddr>().expect("an address").into(),
            ttl: Some(255),
            payload: &packet.encode(),
            at: start(),
        };
        all.handle_datagram(datagram);
    }
    assert_eq!(all.discards().get(Discard::UnknownSession), 2);
    assert_eq!(all.poll_event(), None);
}

#[test]
fn a_peer_that_has_not_heard_of_a_change_yet_gets_its_packets_back() {
    let router = SINGLE.parse::<std::net::IpAddr>().expect("an address").into();
    let wanted = |echo| sessions::Config {
        generation: Generation(1),
        remote: router,
        source: None,
        hops: Hops::Single,
        minimum_ttl: 255,
        session: Config { echo, ..with_echo(false) },
        authentication: None,
    };
    let slow = echo::Config { interval: secs(1), unaffiliated: false };
    for echo in [None, Some(slow)] {
        let mut all = sessions(false, false);
        all.poll_transmit(start()).expect("the first is due");
        all.set(&"tor".into(), wanted(echo), start());
        assert!(all.poll_transmit(start()).is_some(), "it is told at once");
        let answered = (1..200_u64)
            .filter(|number| {
                let at = start() + millis(INTERVAL * number);
                all.handle_echo_to_us(router, Some(255), at)
            })
            .count();
        // For five seconds; after that as the new interval has it.
        let after = if echo.is_some() { 10..30 } else { 0..1 };
        assert!(after.contains(&(answered - 99)), "{echo:?}: {answered}");
    }
}
