//! One session: its state machine, its timers, what it sends and when.
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::bfd::session::{Event, Plane, Session};

/// The peer asks for nothing slower and promises nothing faster than a tenth of a second.
fn said_fast(state: State) -> Packet {
    Packet { desired_min_tx: millis(100), required_min_rx: millis(100), ..said(state) }
}

/// What session 1 sends to peer 2 when it has `config(3, 300, 300)` and is Up.
fn sends(state: State, diag: Diag) -> Packet {
    Packet {
        diag,
        my_discriminator: discriminator(1),
        your_discriminator: Some(discriminator(2)),
        desired_min_tx: if state == State::Up { millis(300) } else { secs(1) },
        ..said(state)
    }
}

fn drain(session: &mut Session, now: Instant) -> Vec<Packet> {
    std::iter::from_fn(|| session.poll_transmit(now)).collect()
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// A session that has reached a state and has said so.
fn reached(state: State, config: Config, now: Instant) -> Session {
    let mut session = Session::new(config, discriminator(1), 7, now);
    drain(&mut session, now);
    let heard: &[Packet] = match state {
        State::AdminDown | State::Down => &[],
        State::Init => &[said(State::Down)],
        State::Up => &[said(State::Down), said(State::Up)],
    };
    if state == State::AdminDown {
        session.admin_down(now);
        drain(&mut session, now);
    }
    for packet in heard {
        session.handle_packet(packet, now);
        drain(&mut session, now);
    }
    if state == State::Up {
        session.handle_packet(&Packet { is_final: true, ..said(State::Up) }, now);
    }
    assert_eq!((session.state(), drain(&mut session, now)), (state, vec![]));
    events(&mut session);
    session
}

/// A session whose peer never stops talking.
struct Conversation {
    session: Session,
    peer: Packet,
    now: Instant,
}

impl Conversation {
    fn new(config: Config, peer: Packet) -> Self {
        let now = start();
        let mut session = reached(peer.state, config, now);
        session.handle_packet(&peer, now);
        Self { session, peer, now }
    }

    fn hear(&mut self, packet: Packet) {
        self.session.handle_packet(&packet, self.now);
    }

    /// Lets time pass until the next packet, and returns how much passed, and the packet.
    fn next(&mut self) -> (Duration, Packet) {
        let before = self.now;
        loop {
            if let Some(packet) = self.session.poll_transmit(self.now) {
                return (self.now - before, packet);
            }
            self.now = self.session.poll_timeout().expect("it always waits for something");
            self.hear(self.peer);
            self.session.handle_timeout(self.now);
            assert!(self.now - before < secs(100), "it sends nothing any more");
        }
    }

    /// The packets of some time.
    fn during(&mut self, time: Duration) -> Vec<Packet> {
        let end = self.now + time;
        let mut sent = Vec::new();
        loop {
            sent.extend(drain(&mut self.session, self.now));
            let next = self.session.poll_timeout().expect("it always waits for something");
            if next > end {
                self.now = end;
                return sent;
            }
            self.now = next;
            self.hear(self.peer);
            self.session.handle_timeout(self.now);
        }
    }
}

/// What a session has become, what it told its owner, and what it sends next: at once, or when
/// its interval is over.
#[derive(Debug, PartialEq)]
struct Observed {
    state: State,
    diag: Diag,
    events: Vec<Event>,
    at_once: bool,
    next: Packet,
}

fn observe(session: &mut Session, now: Instant) -> Observed {
    let (state, diag, events) = (session.state(), session.diag(), events(session));
    let at_once = session.poll_transmit(now);
    let next = at_once.unwrap_or_else(|| {
        let due = session.poll_timeout().expect("a packet is always due");
        session.poll_transmit(due).expect("the packet is due before silence means anything")
    });
    Observed { state, diag, events, at_once: at_once.is_some(), next }
}

#[test]
fn every_state_takes_every_received_state_as_the_rfc_says() {
    use State::{AdminDown, Down, Init, Up};
    const NONE: Diag = Diag::NONE;
    const SIGNALED: Diag = Diag::NEIGHBOR_SIGNALED_DOWN;
    const ADMIN: Diag = Diag::ADMINISTRATIVELY_DOWN;
    let quiet = |state, diag| Observed {
        state,
        diag,
        events: vec![],
        at_once: false,
        next: sends(state, diag),
    };
    let moves = |state, diag, events| Observed { events, at_once: true, ..quiet(state, diag) };
    let told = |observed| Observed { events: vec![Event::PeerAdminDown], ..observed };
    // The interval changes where Up begins or ends, and so a Poll Sequence begins.
    let polls = |state, diag, event| Observed {
        next: Packet { poll: true, ..sends(state, diag) },
        ..moves(state, diag, vec![event])
    };
    let table = [
        (AdminDown, AdminDown, quiet(AdminDown, ADMIN)),
        (AdminDown, Down, quiet(AdminDown, ADMIN)),
        (AdminDown, Init, quiet(AdminDown, ADMIN)),
        (AdminDown, Up, quiet(AdminDown, ADMIN)),
        (Down, AdminDown, told(quiet(Down, NONE))),
        (Down, Down, moves(Init, NONE, vec![])),
        (Down, Init, polls(Up, NONE, Event::Up)),
        (Down, Up, quiet(Down, NONE)),
        (Init, AdminDown, told(moves(Down, SIGNALED, vec![]))),
        (Init, Down, quiet(Init, NONE)),
        (Init, Init, polls(Up, NONE, Event::Up)),
        (Init, Up, polls(Up, NONE, Event::Up)),
        (Up, AdminDown, polls(Down, SIGNALED, Event::PeerAdminDown)),
        (Up, Down, polls(Down, SIGNALED, Event::Down(SIGNALED, Plane::Control))),
        (Up, Init, quiet(Up, NONE)),
        (Up, Up, quiet(Up, NONE)),
    ];
    for (local, received, expected) in table {
        let now = start();
        let mut session = reached(local, config(3, 300, 300), now);
        session.handle_packet(&said(received), now);
        assert_eq!(observe(&mut session, now), expected, "{local} receives {received}");
    }
}

#[test]
fn the_first_packet_is_due_at_once_and_knows_nobody() {
    let now = start();
    let mut session = Session::new(config(3, 300, 300), discriminator(1), 7, now);
    assert_eq!(session.poll_timeout(), Some(now));
    let first = Packet { your_discriminator: None, ..sends(State::Down, Diag::NONE) };
    assert_eq!(drain(&mut session, now), [first]);
}

#[test]
fn every_state_but_up_sends_at_the_slow_rate() {
    for state in [State::AdminDown, State::Down, State::Init] {
        let now = start();
        let session = reached(state, config(3, 50, 50), now);
        // A peer that is Down keeps each of these where it is, but for Down, which hears nobody.
        let peer = Packet { desired_min_tx: secs(5), ..said_fast(State::Down) };
        let mut talk = Conversation { session, peer, now };
        if state == State::Down {
            talk.peer.state = State::AdminDown;
        }
        talk.hear(talk.peer);
        for _ in 0..20 {
            let (gap, packet) = talk.next();
            assert_eq!((packet.state, packet.desired_min_tx), (state, secs(1)));
            assert!((millis(750)..=secs(1)).contains(&gap), "{state}: {gap:?}");
        }
    }
}

#[test]
fn up_sends_at_the_rate_that_both_ends_agree_on() {
    let table = [(50, 100, 100), (300, 100, 300), (300, 2000, 2000), (1500, 100, 1500)];
    for (ours, peers, interval) in table {
        let peer = Packet { required_min_rx: millis(peers), ..said(State::Up) };
        let mut talk = Conversation::new(config(3, ours, 300), peer);
        talk.next();
        for _ in 0..20 {
            let (gap, _) = talk.next();
            let expected = millis(interval * 3 / 4)..=millis(interval);
            assert!(expected.contains(&gap), "{ours} ms and {peers} ms: {gap:?}");
        }
    }
}

#[test]
fn each_packet_comes_a_random_part_of_a_quarter_early_and_with_one_packet_to_lose_a_tenth_at_least()
{
    for (detect_mult, latest) in [(1, 270), (2, 300), (3, 300), (255, 300)] {
        let mut talk = Conversation::new(config(detect_mult, 300, 300), said_fast(State::Up));
        talk.next();
        let gaps: Vec<Duration> = (0..5000).map(|_| talk.next().0).collect();
        let (least, most) = (gaps.iter().min().expect("gaps"), gaps.iter().max().expect("gaps"));
        assert!(*least >= millis(225) && *least < millis(226), "{detect_mult}: {least:?}");
        assert!(*most <= millis(latest) && *most > millis(latest - 1), "{detect_mult}: {most:?}");
    }
}

/// A change of timers while Up: what is gone by while the peer has not confirmed it, and after.
/// Each is the interval of transmission and the time of detection, in milliseconds.
#[test]
fn a_change_of_timers_is_polled_for_and_what_could_fail_the_session_waits_for_the_final() {
    let table = [
        ("sends faster", config(3, 150, 300), (150, 900), (150, 900)),
        ("sends slower", config(3, 600, 300), (300, 900), (600, 900)),
        ("expects slower", config(3, 300, 600), (300, 1800), (300, 1800)),
        ("expects faster", config(3, 300, 150), (300, 900), (300, 450)),
        ("sends and expects slower", config(3, 600, 600), (300, 1800), (600, 1800)),
        ("sends and expects faster", config(3, 150, 150), (150, 900), (150, 450)),
    ];
    for (name, changed, asking, confirmed) in table {
        let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
        talk.next();
        let timing = |(tx, detection)| (millis(tx), Some(millis(detection)));
        let announces = Packet {
            desired_min_tx: changed.desired_min_tx,
            required_min_rx: changed.required_min_rx,
            ..sends(State::Up, Diag::NONE)
        };

        talk.session.configure(changed, talk.now);
        assert_eq!(drain(&mut talk.session, talk.now), [], "{name}: additional packets");
        for _ in 0..5 {
            let (gap, packet) = talk.next();
            assert_eq!(packet, Packet { poll: true, ..announces }, "{name}");
            assert!(gap <= millis(asking.0), "{name}: {gap:?}");
            assert_eq!(talk.session.timing(), timing(asking), "{name}");
        }

        talk.hear(Packet { is_final: true, ..talk.peer });
        assert_eq!(talk.session.timing(), timing(confirmed), "{name}");
        for _ in 0..5 {
            assert_eq!(talk.next().1, announces, "{name}");
        }
        assert_eq!(events(&mut talk.session), [], "{name}");
    }
}

#[test]
fn a_final_that_nobody_asked_for_changes_nothing() {
    let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
    let before = talk.session.timing();
    talk.hear(Packet { is_final: true, ..talk.peer });
    assert_eq!(talk.session.timing(), before);
    assert_eq!(talk.next().1, sends(State::Up, Diag::NONE));
}

#[test]
fn timers_that_change_again_during_a_poll_sequence_get_one_of_their_own() {
    let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
    talk.session.configure(config(3, 300, 600), talk.now);
    assert!(talk.next().1.poll);
    // The Final that is on its way now cannot mean what changes meanwhile.
    talk.session.configure(config(3, 300, 150), talk.now);
    talk.hear(Packet { is_final: true, ..talk.peer });
    assert_eq!(talk.session.timing(), (millis(300), Some(millis(1800))));
    let (_, packet) = talk.next();
    assert_eq!((packet.poll, packet.required_min_rx), (true, millis(150)));
    talk.hear(Packet { is_final: true, ..talk.peer });
    assert_eq!(talk.session.timing(), (millis(300), Some(millis(450))));
    assert!(!talk.next().1.poll);
}

#[test]
fn timers_that_did_not_change_are_not_polled_for() {
    let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
    talk.session.configure(config(3, 300, 300), talk.now);
    assert_eq!(talk.next().1, sends(State::Up, Diag::NONE));
    talk.session.configure(config(5, 300, 300), talk.now);
    assert_eq!(talk.next().1, Packet { detect_mult: mult(5), ..sends(State::Up, Diag::NONE) });
}

#[test]
fn a_session_that_fails_while_it_polls_for_a_slower_rate_goes_by_that_rate_at_once() {
    let now = start();
    let mut session = reached(State::Up, config(3, 300, 300), now);
    session.configure(config(3, 2000, 300), now);
    session.handle_packet(&said(State::Down), now);
    assert_eq!(session.timing().0, secs(2));
}

#[test]
fn a_longer_detection_time_holds_at_once_although_nothing_was_heard_since() {
    let now = start();
    let mut session = reached(State::Up, config(3, 300, 300), now);
    session.handle_packet(&said_fast(State::Up), now);
    session.configure(config(3, 300, 1000), now);
    // The peer slows down as soon as it hears of this, and its Final may get lost.
    session.handle_timeout(now + secs(3) - TICK);
    assert_eq!((session.state(), events(&mut session)), (State::Up, vec![]));
    session.handle_timeout(now + secs(3));
    let failed = Event::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control);
    assert_eq!((session.state(), events(&mut session)), (State::Down, vec![failed]));
}

#[test]
fn a_poll_is_answered_once_and_at_once_in_every_state_but_admin_down() {
    for state in [State::Down, State::Init, State::Up] {
        let now = start();
        let mut session = reached(state, config(3, 300, 300), now);
        // What leaves each state as it is.
        let received = match state {
            State::Down => State::AdminDown,
            State::Init | State::AdminDown => State::Down,
            State::Up => State::Up,
        };
        session.handle_packet(&Packet { poll: true, ..said(received) }, now);
        let answer = Packet { is_final: true, ..sends(state, session.diag()) };
        assert_eq!(drain(&mut session, now), [answer], "{state}");
        let due = session.poll_timeout().expect("the next packet is due");
        assert_eq!(drain(&mut session, due), [Packet { is_final: false, ..answer }], "{state}");
    }
    let now = start();
    let mut session = reached(State::AdminDown, config(3, 300, 300), now);
    session.handle_packet(&Packet { poll: true, ..said(State::Up) }, now);
    assert_eq!(drain(&mut session, now), []);
}

#[test]
fn an_answer_is_never_a_question_and_does_not_stand_for_one() {
    let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
    talk.session.configure(config(3, 300, 600), talk.now);
    for _ in 0..10 {
        talk.hear(Packet { poll: true, ..talk.peer });
        let (gap, packet) = talk.next();
        assert_eq!((gap, packet.poll, packet.is_final), (Duration::ZERO, false, true));
        let (_, packet) = talk.next();
        assert_eq!((packet.poll, packet.is_final), (true, false));
    }
}

#[test]
fn a_peer_that_wants_no_packets_gets_answers_alone_until_it_wants_some() {
    let peer = Packet { required_min_rx: Duration::ZERO, ..said(State::Up) };
    let mut talk = Conversation::new(config(3, 300, 300), peer);
    assert_eq!(talk.during(secs(60)), []);
    talk.hear(Packet { poll: true, ..peer });
    let answer = Packet { is_final: true, ..sends(State::Up, Diag::NONE) };
    assert_eq!(talk.next(), (Duration::ZERO, answer));
    assert_eq!(talk.during(secs(60)), []);
    talk.peer = said(State::Up);
    talk.hear(talk.peer);
    assert_eq!(talk.next(), (Duration::ZERO, sends(State::Up, Diag::NONE)));
}

#[test]
fn a_peer_that_wants_packets_sooner_gets_them_counted_from_the_last_one() {
    let slow = Packet { required_min_rx: secs(2), ..said(State::Up) };
    let fast = Packet { required_min_rx: millis(400), ..slow };
    for (waited, least, most) in [(100, 200, 300), (350, 0, 50), (1400, 0, 0)] {
        let mut talk = Conversation::new(config(3, 300, 300), slow);
        talk.next(); // at the rate that held before
        talk.next();
        talk.now += millis(waited);
        talk.hear(fast);
        talk.peer = fast;
        let (gap, _) = talk.next();
        assert!((millis(least)..=millis(most)).contains(&gap), "{waited} ms: {gap:?}");
        let (gap, _) = talk.next();
        assert!((millis(300)..=millis(400)).contains(&gap), "{gap:?}");
    }
}

#[test]
fn a_peer_that_wants_packets_later_gets_the_one_that_is_due_and_then_goes_first() {
    let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
    talk.next();
    talk.peer.required_min_rx = secs(2);
    talk.hear(talk.peer);
    let (gap, _) = talk.next();
    assert!(gap <= millis(300), "{gap:?}");
    let (gap, _) = talk.next();
    assert!((millis(1500)..=secs(2)).contains(&gap), "{gap:?}");
}

#[test]
fn detection_goes_by_the_peers_multiplier_and_the_slower_of_its_rate_and_what_we_accept() {
    // The peer's multiplier and Desired Min TX, our Required Min RX, the detection time; our own
    // multiplier and Desired Min TX do not count.
    let table = [
        (3, 100, 300, 900),
        (3, 300, 100, 900),
        (1, 100, 300, 300),
        (5, 1000, 300, 5000),
        (255, 50, 50, 12750),
    ];
    for (peers_mult, peers_tx, our_rx, expected) in table {
        let now = start();
        let mut session = reached(State::Up, config(50, 10, our_rx), now);
        let detect_mult = mult(peers_mult);
        let heard = now + millis(7);
        let peer = Packet { detect_mult, desired_min_tx: millis(peers_tx), ..said(State::Up) };
        session.handle_packet(&peer, heard);
        assert_eq!(session.timing().1, Some(millis(expected)));
        session.handle_timeout(heard + millis(expected) - TICK);
        assert_eq!((session.state(), events(&mut session)), (State::Up, vec![]), "{expected} ms");
        session.handle_timeout(heard + millis(expected));
        let failed = Event::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control);
        assert_eq!((session.state(), events(&mut session)), (State::Down, vec![failed]));
        session.handle_timeout(heard + millis(expected));
        assert_eq!(events(&mut session), [], "once is enough");
    }
}

#[test]
fn detection_follows_what_the_peer_says_last() {
    let now = start();
    let mut session = reached(State::Up, config(3, 300, 300), now);
    for (detect_mult, desired_min_tx, expected) in
        [(3, 300, 900), (7, 300, 2100), (2, 300, 600), (2, 1000, 2000), (1, 50, 300)]
    {
        let (detect_mult, desired_min_tx) = (mult(detect_mult), millis(desired_min_tx));
        session.handle_packet(&Packet { detect_mult, desired_min_tx, ..said(State::Up) }, now);
        assert_eq!(session.timing().1, Some(millis(expected)));
    }
    session.handle_timeout(now + millis(300));
    assert_eq!(session.state(), State::Down);
}

#[test]
fn a_silent_peer_loses_its_discriminator_and_its_wishes_after_a_detection_time() {
    for state in [State::Down, State::Init, State::Up] {
        let now = start();
        let mut session = reached(state, config(3, 300, 300), now);
        let last = if state == State::Down { State::AdminDown } else { state };
        let wishes = Packet { required_min_rx: secs(5), demand: true, ..said(last) };
        session.handle_packet(&wishes, now);
        assert_eq!(session.remote_discriminator(), Some(discriminator(2)));
        session.handle_timeout(now + secs(3) - TICK);
        assert_eq!(session.remote_discriminator(), Some(discriminator(2)), "{state}");
        session.handle_timeout(now + secs(3));
        assert_eq!(session.remote_discriminator(), None, "{state}");
        assert_eq!(session.timing(), (secs(1), None), "{state}");
        let sent = drain(&mut session, now + secs(10));
        assert_eq!(sent.iter().map(|packet| packet.your_discriminator).collect::<Vec<_>>(), [None]);
    }
}

#[test]
fn a_failed_session_comes_up_again() {
    let now = start();
    let mut session = reached(State::Up, config(3, 300, 300), now);
    let later = now + secs(3);
    session.handle_timeout(later);
    let restarted = Packet { my_discriminator: discriminator(9), ..said(State::Down) };
    session.handle_packet(&restarted, later);
    session.handle_packet(&Packet { state: State::Init, ..restarted }, later);
    assert_eq!(
        events(&mut session),
        [Event::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control), Event::Up],
        "the peer came back by another discriminator"
    );
    assert_eq!(session.remote_discriminator(), Some(discriminator(9)));
    assert_eq!(session.diag(), Diag::NONE);
}

#[test]
fn a_peer_in_demand_mode_is_left_alone_while_both_ends_are_up() {
    let demanding = Packet { demand: true, ..said(State::Up) };
    let mut talk = Conversation::new(config(3, 300, 300), demanding);
    assert_eq!(talk.during(secs(60)), []);

    talk.hear(Packet { poll: true, ..demanding });
    let answer = Packet { is_final: true, ..sends(State::Up, Diag::NONE) };
    assert_eq!(talk.during(secs(60)), [answer]);

    // A Poll Sequence of ours goes on until it is answered.
    talk.session.configure(config(3, 300, 600), talk.now);
    let asked = Packet { poll: true, required_min_rx: millis(600), ..sends(State::Up, Diag::NONE) };
    assert_eq!(talk.next(), (Duration::ZERO, asked));
    assert_eq!(talk.next().1, asked);
    talk.hear(Packet { is_final: true, ..demanding });
    assert_eq!(talk.during(secs(60)), []);

    // Demand ends with Up, and by the peer's word.
    talk.peer.demand = false;
    talk.hear(talk.peer);
    assert_eq!(talk.next().0, Duration::ZERO);
    talk.peer = Packet { demand: true, ..said(State::Down) };
    talk.hear(talk.peer);
    assert_eq!(talk.next().1.state, State::Down);
    assert_eq!(talk.next().1.state, State::Init);
    talk.hear(Packet { is_final: true, ..talk.peer });
    assert!(talk.during(secs(60)).len() >= 59);
}

#[test]
fn a_peer_taken_down_by_its_operator_has_not_failed_and_may_then_be_silent() {
    let now = start();
    let mut session = reached(State::Up, config(3, 300, 300), now);
    let down = Packet { diag: Diag::ADMINISTRATIVELY_DOWN, ..said(State::AdminDown) };
    session.handle_packet(&down, now);
    session.handle_packet(&down, now + secs(1));
    assert_eq!((session.state(), events(&mut session)), (State::Down, vec![Event::PeerAdminDown]));
    session.handle_timeout(now + secs(60));
    // It is not known any more whether the operator still wants that.
    assert_eq!((session.state(), events(&mut session)), (State::Down, vec![Event::PeerAdminUp]));
}

#[test]
fn an_operators_wish_is_told_before_what_follows_from_its_end() {
    let now = start();
    let mut session = reached(State::Down, config(3, 300, 300), now);
    for state in [State::AdminDown, State::AdminDown, State::Init] {
        session.handle_packet(&said(state), now);
    }
    let told = [Event::PeerAdminDown, Event::PeerAdminUp, Event::Up];
    assert_eq!(events(&mut session), told);
}

#[test]
fn a_failure_says_what_the_peers_bfd_lives_and_dies_with() {
    for (independent, plane) in [(false, Plane::Control), (true, Plane::Forwarding)] {
        for signaled in [false, true] {
            let now = start();
            let mut session = reached(State::Up, config(3, 300, 300), now);
            let said = |state| Packet { control_plane_independent: independent, ..said(state) };
            session.handle_packet(&said(State::Up), now);
            let diag = if signaled {
                session.handle_packet(&said(State::Down), now);
                Diag::NEIGHBOR_SIGNALED_DOWN
            } else {
                session.handle_timeout(now + secs(60));
                Diag::DETECTION_TIME_EXPIRED
            };
            assert_eq!(events(&mut session), [Event::Down(diag, plane)]);
        }
    }
}

#[test]
fn a_session_taken_down_by_our_operator_says_so_and_stays_there() {
    let mut talk = Conversation::new(config(3, 300, 300), said_fast(State::Up));
    talk.session.admin_down(talk.now);
    let farewell = sends(State::AdminDown, Diag::ADMINISTRATIVELY_DOWN);
    let (gap, packet) = talk.next();
    assert_eq!((gap, packet), (Duration::ZERO, Packet { poll: true, ..farewell }));
    for state in STATES {
        talk.peer = Packet { is_final: true, ..said_fast(state) };
        let (gap, packet) = talk.next();
        assert_eq!(packet, farewell);
        assert!((millis(750)..=secs(1)).contains(&gap), "{gap:?}");
    }
    talk.session.handle_timeout(talk.now + secs(60));
    assert_eq!(
        (talk.session.state(), events(&mut talk.session)),
        (State::AdminDown, vec![]),
        "silence fails nothing any more"
    );
}

proptest! {
    /// A packet that comes in moves neither the time of the next one that goes out, unless it asks
    /// for another rate, nor is it answered, unless it polls.
    #[test]
    fn what_comes_in_never_moves_what_goes_out(
        // No two polls so close that the second answer would wait.
        polls in btree_map(0u64..75, any::<bool>(), 0..50),
        seed in any::<u64>(),
    ) {
        let now = start();
        let [mut disturbed, mut quiet] = [(), ()].map(|()| {
            let mut session = Session::new(config(3, 300, 300), discriminator(1), seed, now);
            drain(&mut session, now);
            for packet in [said(State::Down), said(State::Up)] {
                session.handle_packet(&packet, now);
                drain(&mut session, now);
            }
            session.handle_packet(&Packet { is_final: true, ..said(State::Up) }, now);
            session
        });
        for (number, poll) in polls {
            let at = now + millis(3 * number);
            disturbed.handle_packet(&Packet { poll, ..said(State::Up) }, at);
            let answer = Packet { is_final: true, ..sends(State::Up, Diag::NONE) };
            let expected = if poll { vec![answer] } else { vec![] };
            prop_assert_eq!(drain(&mut disturbed, at), expected);
        }
        let due = quiet.poll_timeout().expect("a packet is due");
        prop_assert_eq!(disturbed.poll_timeout(), Some(due));
        prop_assert_eq!(drain(&mut disturbed, due - TICK), []);
        prop_assert_eq!(drain(&mut disturbed, due), drain(&mut quiet, due));
        prop_assert_eq!(disturbed.poll_timeout(), quiet.poll_timeout());
    }

    /// Extra calls of the methods that take in the passing of time and ask what to do are harmless.
    #[test]
    fn asking_too_early_and_too_often_changes_nothing(times in vec(0u64..3_000, 0..100)) {
        let now = start();
        let [mut asked, mut left_alone] = [(), ()].map(|()| reached(State::Up, config(3, 300, 300), now));
        let mut times = times;
        times.sort_unstable();
        let mut sent = Vec::new();
        for time in times {
            let at = now + millis(time);
            while let Some(due) = left_alone.poll_timeout().filter(|due| *due <= at) {
                for at in [due - TICK, due] {
                    asked.handle_timeout(at);
                    sent.extend(drain(&mut asked, at));
                }
                left_alone.handle_timeout(due);
                prop_assert_eq!(std::mem::take(&mut sent), drain(&mut left_alone, due));
            }
            asked.handle_timeout(at);
            prop_assert_eq!(drain(&mut asked, at), []);
        }
        prop_assert_eq!(asked.poll_timeout(), left_alone.poll_timeout());
    }
}

#[test]
fn a_look_has_what_came_and_went_and_how_regularly() {
    let begin = start();
    let mut session = reached(State::Up, config(3, 300, 300), begin);
    let before = session.look(begin).counters;
    assert_eq!((before.ups, before.downs), (1, 0));
    for at in [0, 90, 200, 290] {
        session.handle_packet(&said_fast(State::Up), begin + millis(at));
    }
    let now = begin + millis(300);
    let sent = drain(&mut session, now).len() as u64;
    let look = session.look(now);
    assert_eq!((look.state, look.state_age), (State::Up, millis(300)));
    assert_eq!((look.transmit_interval, look.detection_time), (millis(300), Some(millis(900))));
    assert_eq!((look.remote.is_some(), look.heard_at), (true, begin + millis(290)));
    assert_eq!(look.counters.received, before.received + 4);
    assert_eq!(look.counters.sent, before.sent + sent);
    let pace = look.counters.receive_pace.intervals().expect("there are some");
    assert_eq!((pace.shortest, pace.longest), (Duration::ZERO, millis(110)));

    session.handle_timeout(now + secs(1));
    let look = session.look(now + secs(1));
    assert_eq!((look.state, look.remote, look.counters.downs), (State::Down, None, 1));
    assert_eq!(look.counters.receive_pace.intervals(), None);
}

#[test]
fn a_passive_session_speaks_when_it_is_spoken_to() {
    let begin = start();
    let passive = Config { passive: true, ..config(3, 300, 300) };
    let mut session = Session::new(passive, discriminator(1), 7, begin);
    assert_eq!((drain(&mut session, begin), session.poll_timeout()), (vec![], None));
    session.handle_packet(&Packet { your_discriminator: None, ..said(State::Down) }, begin);
    assert_eq!(drain(&mut session, begin), [sends(State::Init, Diag::NONE)]);
    session.handle_packet(&said(State::Up), begin);
    assert_eq!(drain(&mut session, begin).len(), 1);
    // Silence for a detection time: there is nobody to tell (RFC 5880 §6.8.7).
    let later = begin + secs(60);
    session.handle_timeout(later);
    assert_eq!((session.state(), drain(&mut session, later)), (State::Down, vec![]));
}

#[test]
fn a_flood_of_polls_is_answered_at_once_and_then_at_a_bounded_rate() {
    let begin = start();
    let mut session = reached(State::Up, config(3, 300, 300), begin);
    let poll = Packet { poll: true, ..said(State::Up) };
    let mut finals = Vec::new();
    for at in (0..1_000_000).step_by(100).map(Duration::from_micros) {
        let now = begin + at;
        session.handle_packet(&poll, now);
        finals.extend(drain(&mut session, now).iter().filter(|sent| sent.is_final).map(|_| at));
    }
    assert_eq!(finals.first(), Some(&Duration::ZERO));
    assert!((300..=334).contains(&finals.len()), "{}", finals.len());
    // The last one is answered, too, and that is all.
    let later = begin + secs(1) + millis(3);
    assert!(session.poll_timeout().is_some_and(|at| at <= later));
    let answers = drain(&mut session, later);
    assert_eq!(answers.iter().filter(|sent| sent.is_final).count(), 1);
}

/// Both ends are Up, and the peer is asked to be silent.
fn demanding(now: Instant) -> Session {
    let demand = Config { demand: Some(secs(10)), ..config(3, 300, 300) };
    let mut session = reached(State::Up, demand, now);
    session.handle_timeout(now);
    // RFC 5880 §6.5: by a packet that would have gone out anyway.
    assert_eq!(drain(&mut session, now), []);
    let due = session.poll_timeout().expect("a packet is due");
    let sent = drain(&mut session, due);
    assert!(sent.iter().all(|packet| packet.demand && packet.poll) && sent.len() == 1);
    session.handle_packet(&Packet { is_final: true, ..said(State::Up) }, due);
    session
}

#[test]
fn in_demand_mode_the_peer_may_be_silent_between_polls() {
    let begin = start();
    let mut session = demanding(begin);
    let mut polls = Vec::new();
    for at in (0..60_000).step_by(10).map(millis) {
        session.handle_timeout(begin + at);
        for packet in drain(&mut session, begin + at) {
            assert!(packet.demand);
            if packet.poll {
                polls.push(at.as_secs());
                let answer = Packet { is_final: true, ..said(State::Up) };
                session.handle_packet(&answer, begin + at);
            }
        }
    }
    assert_eq!(polls, [10, 20, 30, 40, 50]);
    assert_eq!((session.state(), events(&mut session)), (State::Up, vec![]));
}

#[test]
fn in_demand_mode_a_poll_that_is_not_answered_in_the_detection_time_is_a_failure() {
    let begin = start();
    let mut session = demanding(begin);
    let mut poll_at = begin + secs(10);
    session.handle_timeout(poll_at);
    while !drain(&mut session, poll_at).iter().any(|packet| packet.poll) {
        poll_at += millis(1);
    }
    // Our multiplier, and the interval at which we send (RFC 5880 §6.8.4).
    let down_at = poll_at + millis(900);
    session.handle_timeout(down_at - TICK);
    assert_eq!(session.state(), State::Up);
    session.handle_timeout(down_at);
    assert_eq!((session.state(), session.diag()), (State::Down, Diag::DETECTION_TIME_EXPIRED));
    assert!(drain(&mut session, down_at).iter().all(|packet| !packet.demand));
}

#[test]
fn demand_mode_ends_by_reload_and_silence_counts_from_there() {
    let begin = start();
    let mut session = demanding(begin);
    let now = begin + secs(9);
    drain(&mut session, now);
    session.configure(config(3, 300, 300), now);
    // Until the peer answers it may not know that it need not be silent any more.
    session.handle_timeout(now + secs(5));
    assert_eq!(session.state(), State::Up);
    let now = now + secs(5);
    let sent = drain(&mut session, now);
    assert!(sent.len() == 1 && sent[0].poll && !sent[0].demand, "{sent:?}");
    session.handle_packet(&Packet { is_final: true, ..said(State::Up) }, now);
    session.handle_timeout(now + secs(3) - TICK);
    assert_eq!(session.state(), State::Up);
    session.handle_timeout(now + secs(3));
    assert_eq!(session.state(), State::Down);
}

#[test]
fn a_session_in_demand_mode_that_is_taken_down_says_so_to_its_peer() {
    let begin = start();
    let mut session = demanding(begin);
    let now = begin + secs(9);
    session.admin_down(now);
    session.handle_timeout(now);
    let sent = drain(&mut session, now);
    assert_eq!((sent.len(), sent[0].state), (1, State::AdminDown));
    assert_eq!(sent[0].your_discriminator, Some(discriminator(2)));
    assert!(!sent[0].demand);
}

#[test]
fn a_peer_in_demand_mode_is_polled_sooner_after_a_reload() {
    let begin = start();
    let mut session = demanding(begin);
    let now = begin + secs(1);
    drain(&mut session, now);
    let often = Config { demand: Some(secs(1)), ..config(3, 300, 300) };
    session.configure(often, now);
    session.handle_timeout(now + secs(1));
    assert!(drain(&mut session, now + secs(1)).iter().all(|packet| packet.poll));
}

#[test]
fn an_answer_that_asks_for_silence_is_believed_too() {
    let begin = start();
    let demand = Config { demand: Some(secs(10)), ..config(3, 300, 10) };
    let mut session = reached(State::Init, demand, begin);
    session.handle_packet(&said(State::Init), begin);
    assert!(drain(&mut session, begin).iter().all(|packet| !packet.demand));
    let fast = Packet { desired_min_tx: millis(10), ..said(State::Up) };
    session.handle_packet(&Packet { poll: true, ..fast }, begin);
    let sent = drain(&mut session, begin);
    // RFC 5880 §6.6: from this on the peer may say nothing.
    assert!(sent.iter().any(|packet| packet.is_final && packet.demand), "{sent:?}");
    let mut polled_at = None;
    for at in (0..3000).map(millis).map(|at| begin + at) {
        session.handle_timeout(at);
        let is_polled = drain(&mut session, at).iter().any(|packet| packet.poll);
        polled_at = polled_at.or(is_polled.then_some(at));
        let down_at = polled_at.map(|polled_at| polled_at + millis(900));
        let is_down = down_at.is_some_and(|down_at| down_at <= at);
        assert_eq!(session.state() == State::Down, is_down, "{:?}", at - begin);
    }
    assert!(polled_at.is_some());
}

#[test]
fn a_silent_peer_that_need_not_be_any_more_by_what_it_says_is_polled() {
    let begin = start();
    let mut session = demanding(begin);
    let now = begin + secs(2);
    drain(&mut session, now);
    // RFC 5880 §6.8.7: Demand is for two that are Up, as it has it this one is not.
    session.handle_packet(&said(State::Init), now);
    let sent = drain(&mut session, now + millis(300));
    assert!(sent.len() == 1 && sent[0].poll && !sent[0].demand, "{sent:?}");
    session.handle_timeout(now + millis(1200));
    assert_eq!(session.state(), State::Down);
}
