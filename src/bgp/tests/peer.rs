//! One peer: collisions, attempts and how they thin out, what BFD's verdicts do, and what the driver
//! and the owner are told.
use std::time::{Duration, Instant};

use super::clock::secs;
use super::octets::{
    EXTERNAL, Message, OPEN, UPDATE, attribute, capabilities, hosts, keepalive, mandatory, message,
    open, open_fields, parameters, read, route_refresh, router_id, update,
};
use super::scene::{
    LOCAL, REMOTE, RETRY, Scene, closed, config, dropped, ends, failed, next_hop, next_hops,
    refused, remote, session,
};
use crate::bgp::Serial;
use crate::bgp::connection::{self, Opening, RemoteAsn, Restart};
use crate::bgp::cut_off::CUT_OFF_TIME;
use crate::bgp::down::DownReason;
use crate::bgp::history::Counters;
use crate::bgp::peer::{Action, BfdVerdict, Config, Event, State};
use crate::bgp::transport::NoPath;
use crate::bgp::wire::{Capabilities, Notification, Refresh, Update};
use crate::route::{Attributes, Ends, Family, NextHops, ScopedAddress};

const COLLISION: u8 = 7;
const REJECTED: u8 = 5;

/// An OPEN of this router.
fn open_of(last: u8) -> Vec<u8> {
    open(REMOTE.0, 90, [10, 0, 0, last])
}

fn notified(subcode: u8) -> DownReason {
    DownReason::NotificationReceived(Notification::cease(subcode))
}

mod collision {
    use super::*;

    /// A connection of each side, on neither of which an OPEN has come.
    fn both(config: Config) -> (Scene, Serial, Serial) {
        let (mut scene, ours) = Scene::connected(config);
        let theirs = scene.accept();
        scene.say();
        assert_eq!(scene.actions(), []);
        (scene, ours, theirs)
    }

    /// Which of the two is closed, in both orders of the OPENs.
    fn loser(config: &Config, open: &[u8], expected: impl Fn(Serial, Serial) -> Serial) {
        for ours_first in [true, false] {
            let (mut scene, ours, theirs) = both(config.clone());
            let (first, second) = if ours_first { (ours, theirs) } else { (theirs, ours) };
            scene.hear(first, open);
            assert_eq!(scene.actions(), [], "the other may still turn out to be nothing");
            assert_eq!(scene.say(), [(first, Message::Keepalive)]);
            scene.hear(second, open);
            let loser = expected(ours, theirs);
            let winner = if loser == ours { theirs } else { ours };
            // What it had to say goes out before.
            let keepalive = if loser == second { keepalive() } else { vec![] };
            let last_words = [keepalive, Notification::cease(COLLISION).encode()].concat();
            assert_eq!(scene.actions(), [Action::Close(loser, last_words)], "{ours_first}");
            scene.hear(winner, &super::keepalive());
            assert_eq!(scene.peer.state(), State::Established);
            assert!(matches!(scene.events()[..], [Event::Established(_)]));
            // What still comes on the other is of no interest.
            scene.hear(loser, &super::keepalive());
            scene.peer.handle_closed(loser, None, scene.now);
            assert_eq!(scene.peer.state(), State::Established);
            assert_eq!(scene.events(), []);
        }
    }

    #[test]
    fn the_connection_of_the_higher_router_id_stays() {
        loser(&config(), &open_of(2), |ours, _| ours);
        loser(&config(), &open_of(0), |_, theirs| theirs);
        // As numbers, not as text
        loser(&config(), &open(REMOTE.0, 90, [9, 255, 255, 255]), |_, theirs| theirs);
        loser(&config(), &open(REMOTE.0, 90, [200, 0, 0, 0]), |ours, _| ours);
    }

    #[test]
    fn equal_router_ids_leave_it_to_the_higher_as_number() {
        // RFC 6286 §2.3
        loser(&config(), &open(LOCAL.0 + 1, 90, [10, 0, 0, 1]), |ours, _| ours);
        loser(&config(), &open(LOCAL.0 - 1, 90, [10, 0, 0, 1]), |_, theirs| theirs);
        loser(&config(), &open(4_200_000_000, 90, [10, 0, 0, 1]), |ours, _| ours);
    }

    #[test]
    fn equal_router_ids_inside_an_as_never_get_that_far() {
        let session = connection::Config { remote_asn: RemoteAsn::Internal, ..config().session };
        let (mut scene, ours, theirs) = both(Config { session, ..config() });
        scene.hear(theirs, &open(LOCAL.0, 90, [10, 0, 0, 1]));
        assert_eq!(scene.actions(), [closed(theirs, Notification::new(2, 3, vec![]))]);
        assert_eq!(scene.events(), [], "the other goes on");
        scene.hear(ours, &open(LOCAL.0, 90, [10, 0, 0, 1]));
        assert_eq!(scene.actions(), [closed(ours, Notification::new(2, 3, vec![]))]);
        let detail = "the peer's BGP identifier (router ID) 10.0.0.1 is also ours (RFC 6286 §2.2)";
        let notification = Notification::new(2, 3, vec![]);
        let reason = DownReason::ProtocolError { detail: detail.into(), notification };
        assert_eq!(scene.events(), [failed(reason)]);
    }

    #[test]
    fn the_one_that_is_established_stays_whoever_opened_it() {
        for (ours_up, open) in [(true, open_of(2)), (false, open_of(0))] {
            let (mut scene, ours, theirs) = both(config());
            let (up, other) = if ours_up { (ours, theirs) } else { (theirs, ours) };
            // By its router ID the other would have won, but it never had its OPEN.
            scene.hear(up, &[open, keepalive()].concat());
            let expected = [
                closed(other, Notification::cease(COLLISION)),
                Action::SetUserTimeout(up, secs(180)),
            ];
            assert_eq!(scene.actions(), expected);
            assert_eq!(scene.peer.state(), State::Established);
        }
    }

    #[test]
    fn a_loser_whose_open_and_keepalive_come_at_once_does_not_take_the_winner_with_it() {
        // The router has the higher router ID: its connection is the one that stays.
        let (mut scene, ours, theirs) = both(config());
        scene.hear(theirs, &open_of(2));
        scene.hear(ours, &[open_of(2), keepalive()].concat());
        let last_words = [keepalive(), Notification::cease(COLLISION).encode()].concat();
        assert_eq!(scene.actions(), [Action::Close(ours, last_words)]);
        assert_eq!(scene.events(), []);
        scene.hear(theirs, &keepalive());
        assert_eq!(scene.peer.state(), State::Established);
    }

    #[test]
    fn a_connection_to_an_established_peer_is_rejected() {
        let (mut scene, serial) = Scene::established();
        for _ in 0..3 {
            let rejected = scene.accept();
            assert_ne!(rejected, serial);
            assert_eq!(scene.actions(), [closed(rejected, Notification::cease(REJECTED))]);
            scene.hear(rejected, &[open_of(2), keepalive()].concat());
            scene.peer.handle_closed(rejected, None, scene.now);
        }
        assert_eq!((scene.actions(), scene.events(), scene.say()), (vec![], vec![], vec![]));
        scene.keep_up(serial, secs(600));
    }

    /// The OPEN of a router that tells of its restarts, for these families (RFC 4724 §3).
    fn open_of_restarting(families: &[u8]) -> Vec<u8> {
        let length = u8::try_from(families.len()).unwrap();
        let restart = [&[64, 2 + length, 0, 120], families].concat();
        let all = parameters(&[capabilities(REMOTE.0), restart].concat());
        message(OPEN, &[open_fields(4, 64500, 90, [10, 0, 0, 2]), all].concat())
    }

    /// RFC 4724 §4.2: TCP has not told us of the end of the first session.
    #[test]
    fn a_peer_that_tells_of_its_restarts_is_let_in_at_once_after_one() {
        let mut config = config();
        config.session.restart = Some(Restart { time: secs(120), long_lived: secs(0) });
        let both_families = open_of_restarting(&[0, 1, 1, 0, 0, 2, 1, 0]);
        for (open, is_let_in) in [(both_families, true), (open_of_restarting(&[]), false)] {
            let (mut scene, ours) = Scene::connected(config.clone());
            let up = [open, keepalive()].concat();
            scene.hear(ours, &up);
            // Also from one that was let in itself.
            let mut before = ours;
            for _ in 0..2 {
                assert_eq!(scene.peer.state(), State::Established);
                scene.actions();
                scene.events();
                scene.say();
                let another = scene.accept();
                if !is_let_in {
                    assert_eq!(scene.actions(), [closed(another, Notification::cease(REJECTED))]);
                    continue;
                }
                assert_eq!(scene.actions(), [dropped(before)]);
                let text = "the peer has opened another one, as after a restart";
                let reason = DownReason::ConnectionLost(text.into());
                assert_eq!(scene.events(), [Event::Down(reason)]);
                scene.hear(another, &up);
                before = another;
            }
            scene.actions();
            scene.keep_up(before, secs(600));
        }
    }

    #[test]
    fn a_peer_that_opens_connections_for_nothing_is_let_in_once_a_second_in_the_end() {
        let mut scene = Scene::started(Config { passive: true, ..config() });
        let hang_up = |scene: &mut Scene| {
            let serial = scene.accept();
            scene.peer.handle_closed(serial, None, scene.now);
            !scene.actions().contains(&closed(serial, Notification::cease(REJECTED)))
        };
        // Far more than a router that is set up and tried out would need.
        let let_in = (0..3000).filter(|_| hang_up(&mut scene)).count();
        assert_eq!(let_in, 1000);
        let mut let_in = 0;
        for _ in 0..600 {
            scene.pass(secs(1) / 10);
            let_in += usize::from(hang_up(&mut scene));
        }
        assert_eq!(let_in, 60);
        assert_eq!(scene.events().len(), 1, "repetitions are not told");
        // A second later it is let in again, and gets its session.
        scene.pass(secs(1));
        let serial = scene.accept();
        scene.come_up(serial);
        assert_eq!(scene.peer.state(), State::Established);
    }

    #[test]
    fn an_attempt_is_given_up_when_the_peers_connection_comes_up() {
        let mut scene = Scene::started(config());
        let dialing = scene.attempt();
        let theirs = scene.accept();
        scene.hear(theirs, &[open_of(2), keepalive()].concat());
        let expected = [dropped(dialing), Action::SetUserTimeout(theirs, secs(180))];
        assert_eq!(scene.actions(), expected);
        // It had come about all the same: nobody wants it any more.
        scene.connect(dialing);
        assert_eq!(scene.actions(), [dropped(dialing)]);
        assert_eq!(scene.peer.state(), State::Established);
    }

    #[test]
    fn a_second_connection_of_the_peer_takes_the_place_of_its_first() {
        let mut scene = Scene::started(Config { passive: true, ..config() });
        let first = scene.accept();
        scene.hear_open(first);
        let second = scene.accept();
        assert_eq!(scene.actions(), [dropped(first)]);
        scene.come_up(second);
        assert_eq!(scene.peer.state(), State::Established);
    }

    #[test]
    fn a_loser_is_no_failure() {
        let (mut scene, ours, theirs) = both(config());
        scene.hear(ours, &open_of(2));
        scene.hear(theirs, &open_of(2));
        assert_eq!((scene.events(), scene.peer.history().last_failure()), (vec![], None));
        // When the winner fails too, that is one, and the first of its kind.
        scene.actions();
        scene.hear(theirs, &Notification::cease(2).encode());
        assert_eq!(scene.events(), [failed(notified(2))]);
        let (wait, _) = scene.next_attempt();
        assert!(wait <= RETRY);
    }
}

mod attempts {
    use super::*;

    /// How a connection comes to its end.
    type Ending<'a> = &'a dyn Fn(&mut Scene, Serial);

    /// Whether a jittered timer of this length may have taken this long.
    fn is_jittered(time: Duration, interval: Duration) -> bool {
        (interval.mul_f64(0.75)..=interval).contains(&time)
    }

    #[test]
    fn the_first_comes_at_once_and_the_next_with_the_connect_retry_timer() {
        let mut scene = Scene::started(config());
        let mut serial = scene.attempt();
        assert_eq!(scene.peer.state(), State::Connect);
        for _ in 0..100 {
            scene.pass(secs(1));
            scene.peer.handle_connect_failed(serial, refused(), scene.now);
            assert_eq!(scene.peer.state(), State::Active);
            let (wait, next) = scene.next_attempt();
            assert!(is_jittered(wait + secs(1), RETRY), "{wait:?}");
            assert_ne!(next, serial);
            serial = next;
        }
    }

    #[test]
    fn one_that_nobody_answers_ends_when_the_next_begins() {
        let mut scene = Scene::started(config());
        let first = scene.attempt();
        scene.pass(RETRY);
        let actions = scene.actions();
        let [Action::Close(given_up, ref last_words), Action::Connect(second, _)] = actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((given_up, last_words.len()), (first, 0));
        let reason = DownReason::ConnectFailed(config().transport.no_answer(remote().ip, RETRY));
        assert_eq!(scene.events(), [failed(reason)]);
        // The old one is of no interest any more.
        scene.peer.handle_connect_failed(first, refused(), scene.now);
        assert_eq!(scene.events(), []);
        scene.connect(first);
        assert_eq!(scene.actions(), [dropped(first)]);
        scene.connect(second);
        scene.come_up(second);
    }

    #[test]
    fn a_failure_is_told_once_until_there_is_another() {
        let mut scene = Scene::started(config());
        let mut told = Vec::new();
        for failure in ["refused", "refused", "no route", "no route", "no route", "refused"] {
            let (_, serial) = scene.next_attempt();
            let error = crate::bgp::down::ConnectError { text: failure.into(), ..refused() };
            scene.peer.handle_connect_failed(serial, error, scene.now);
            let at = scene.now;
            told.extend(scene.events());
            let (reason, when) = scene.peer.history().last_failure().unwrap();
            assert_eq!((reason.to_string(), *when), (failure.to_string(), at));
        }
        let texts = told.iter().map(|event| {
            let Event::Failed(reason) = event else { panic!("{event:?}") };
            reason.to_string()
        });
        let texts: Vec<String> = texts.collect();
        assert_eq!(texts, ["refused", "no route", "refused"]);
    }

    /// How long the peer is left alone after each of so many refusals.
    fn waits(scene: &mut Scene, count: usize, refuse: Ending<'_>) -> Vec<Duration> {
        (0..count)
            .map(|_| {
                let (_, serial) = scene.next_attempt();
                scene.connect(serial);
                scene.say();
                refuse(scene, serial);
                assert_eq!(scene.peer.state(), State::Idle);
                assert!(scene.peer.next_attempt().is_some());
                scene.peer.next_attempt().unwrap() - scene.now
            })
            .collect()
    }

    #[test]
    fn a_peer_that_refuses_is_asked_less_and_less_often_up_to_a_bound() {
        let refusals: [(&str, Ending<'_>); 6] = [
            ("at once", &|scene, serial| {
                scene.hear(serial, &Notification::cease(REJECTED).encode());
            }),
            ("after its OPEN", &|scene, serial| {
                scene.hear_open(serial);
                scene.hear(serial, &Notification::cease(2).encode());
            }),
            ("by closing", &|scene, serial| {
                scene.peer.handle_closed(serial, None, scene.now);
            }),
            ("by nonsense", &|scene, serial| scene.hear(serial, &[0; 19])),
            ("by an OPEN that we refuse", &|scene, serial| {
                scene.hear(serial, &open(LOCAL.0, 90, [10, 0, 0, 2]));
            }),
            ("once it is up", &|scene, serial| {
                scene.hear(serial, &[open_of(2), keepalive()].concat());
                assert_eq!(scene.peer.state(), State::Established);
                scene.hear(serial, &Notification::cease(1).encode());
            }),
        ];
        for (what, refuse) in refusals {
            let mut scene = Scene::started(config());
            let intervals = [5, 10, 20, 30, 30, 30, 30, 30].map(secs);
            let waits = waits(&mut scene, intervals.len(), refuse);
            for (wait, interval) in waits.iter().zip(intervals) {
                assert!(is_jittered(*wait, interval), "{what}: {waits:?}");
            }
        }
    }

    /// RFC 5492 §3
    #[test]
    fn a_peer_that_knows_no_capabilities_gets_an_open_without_them() {
        let mut scene = Scene::started(config());
        let offers = |scene: &mut Scene| {
            let (_, serial) = scene.next_attempt();
            scene.connect(serial);
            let said = scene.say();
            let [(_, Message::Open(open))] = &said[..] else { panic!("{said:?}") };
            (serial, open.capabilities != Capabilities::default())
        };
        let refuses = Notification::new(2, 4, vec![]).encode();
        // As long as it refuses either it is tried with and without.
        for expected in [true, false, true, false] {
            let (serial, offered) = offers(&mut scene);
            assert_eq!(offered, expected);
            scene.hear(serial, &refuses);
        }
        // Any other refusal is not about them.
        for _ in 0..2 {
            let (serial, offered) = offers(&mut scene);
            assert!(offered);
            scene.hear(serial, &Notification::new(2, 2, vec![]).encode());
        }
        // A session without is one, and after it the next is the same.
        let (serial, _) = offers(&mut scene);
        scene.hear(serial, &refuses);
        for _ in 0..2 {
            let (serial, offered) = offers(&mut scene);
            assert!(!offered);
            scene.hear(serial, &[open_of(2), keepalive()].concat());
            assert_eq!(scene.peer.session().unwrap().0.families, [Family::Ipv4Unicast]);
            scene.hear(serial, &Notification::cease(4).encode());
        }
    }

    /// RFC 4724 §4.1: the R bit is for the first session after a restart.
    #[test]
    fn only_the_first_session_follows_a_restart() {
        let restart = Restart { time: secs(20), long_lived: secs(0) };
        let session = connection::Config { restart: Some(restart), ..config().session };
        let mut scene = Scene::new(Config { session, ..config() });
        let opening = Opening::new(router_id(1));
        let preserved = [Family::Ipv4Unicast].into();
        scene.peer.start(Opening { restarted: true, preserved, ..opening }, scene.now);
        let bits = |scene: &mut Scene| {
            let (_, serial) = scene.next_attempt();
            scene.connect(serial);
            let said = scene.say();
            let [(_, Message::Open(open))] = &said[..] else { panic!("{said:?}") };
            let restart = open.capabilities.graceful_restart.clone().unwrap();
            (serial, (restart.restarted, restart.families.into_values().collect::<Vec<_>>()))
        };
        for _ in 0..2 {
            let (serial, bits) = bits(&mut scene);
            assert_eq!(bits, (true, vec![true, false]));
            scene.hear(serial, &Notification::cease(5).encode());
        }
        let (serial, _) = bits(&mut scene);
        scene.hear(serial, &[open_of(2), keepalive()].concat());
        assert_eq!(scene.peer.state(), State::Established);
        scene.peer.handle_closed(serial, None, scene.now);
        let (_, bits) = bits(&mut scene);
        assert_eq!(bits, (false, vec![true, true]));
    }

    #[test]
    fn a_longer_connect_retry_time_is_the_bound_itself() {
        let minute = secs(60);
        let mut scene = Scene::started(Config { connect_retry_time: minute, ..config() });
        let waits = waits(&mut scene, 20, &|scene, serial| {
            scene.peer.handle_closed(serial, None, scene.now);
        });
        assert!(waits.iter().all(|wait| is_jittered(*wait, minute)), "{waits:?}");
    }

    #[test]
    fn a_peer_that_refuses_for_an_hour_is_asked_some_hundred_times() {
        for connect_retry_time in [secs(1), RETRY, secs(30)] {
            let mut scene = Scene::started(Config { connect_retry_time, ..config() });
            let end = scene.begin + secs(3600);
            let mut attempts = 0;
            loop {
                let (_, serial) = scene.next_attempt();
                if scene.now > end {
                    break;
                }
                attempts += 1;
                scene.connect(serial);
                scene.hear(serial, &Notification::cease(2).encode());
            }
            // Every 30 s, a quarter less at most, and a few more in the beginning
            assert!((120..=160 + 6).contains(&attempts), "{attempts}");
            let texts = scene.events().len();
            assert_eq!(texts, 1, "and it is told once");
        }
    }

    #[test]
    fn a_session_that_lasts_makes_good_for_all_refusals_before_it() {
        let mut scene = Scene::started(config());
        let refuse: Ending<'_> =
            &|scene, serial| scene.hear(serial, &Notification::cease(2).encode());
        waits(&mut scene, 10, refuse);
        for (lasts, first) in [(secs(29), secs(30)), (secs(30), secs(1))] {
            scene.events();
            let (_, serial) = scene.next_attempt();
            scene.connect(serial);
            scene.come_up(serial);
            scene.keep_up(serial, lasts);
            scene.hear(serial, &Notification::cease(4).encode());
            assert_eq!(scene.events(), [Event::Down(notified(4))]);
            let wait = scene.peer.next_attempt().unwrap() - scene.now;
            assert!(is_jittered(wait, first), "after {lasts:?}: {wait:?}");
        }
        // The refusals start over.
        let waits = waits(&mut scene, 3, refuse);
        for (wait, interval) in waits.iter().zip([5, 10, 20].map(secs)) {
            assert!(is_jittered(*wait, interval), "{waits:?}");
        }
    }

    #[test]
    fn after_a_session_that_lasted_the_first_attempt_comes_within_a_second() {
        let ends: [(&str, Ending<'_>); 5] = [
            ("lost", &|scene, serial| {
                scene.peer.handle_closed(serial, Some("reset".into()), scene.now);
            }),
            ("closed", &|scene, serial| scene.peer.handle_closed(serial, None, scene.now)),
            ("hold timer", &|scene, _| scene.pass(secs(90))),
            ("BFD", &|scene, _| {
                scene.peer.handle_bfd(&BfdVerdict::Down("gone".into()), scene.now);
            }),
            ("notified", &|scene, serial| scene.hear(serial, &Notification::cease(4).encode())),
        ];
        for (what, end) in ends {
            let (mut scene, serial) = Scene::established();
            scene.keep_up(serial, secs(31));
            end(&mut scene, serial);
            let (_, when) = *scene.peer.history().last_down().unwrap();
            let (_, next) = scene.next_attempt();
            assert!(is_jittered(scene.now - when, secs(1)), "{what}");
            // A second failure in a row has to wait.
            scene.peer.handle_connect_failed(next, refused(), scene.now);
            assert!(is_jittered(scene.next_attempt().0, RETRY), "{what}");
        }
    }

    #[test]
    fn a_session_that_breaks_early_without_a_word_is_tried_again_at_the_usual_pace() {
        let (mut scene, serial) = Scene::established();
        scene.keep_up(serial, secs(10));
        scene.peer.handle_closed(serial, Some("reset".into()), scene.now);
        assert_eq!(scene.peer.state(), State::Active);
        assert!(is_jittered(scene.next_attempt().0, RETRY));
    }

    #[test]
    fn a_peer_that_never_sends_its_open_is_given_up_and_asked_again() {
        let (mut scene, serial) = Scene::connected(config());
        scene.pass(secs(90) - Duration::from_nanos(1));
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        scene.pass(Duration::from_nanos(1));
        let open = scene.peer.poll_transmit(scene.now);
        assert_eq!(open, None, "our OPEN goes with the last words");
        let actions = scene.actions();
        let [Action::Close(closed, ref last_words)] = actions[..] else { panic!("{actions:?}") };
        let said = read(last_words, EXTERNAL);
        assert!(matches!(said[..], [Message::Open(_), Message::Notification(_)]));
        assert_eq!(closed, serial);
        assert_eq!(scene.events(), [failed(DownReason::HoldTimerExpired(secs(90)))]);
        assert!(is_jittered(scene.next_attempt().0, RETRY));
    }

    #[test]
    fn a_connection_of_the_peer_puts_attempts_off_until_it_ends() {
        let mut scene = Scene::started(config());
        let serial = scene.attempt();
        scene.peer.handle_connect_failed(serial, refused(), scene.now);
        let theirs = scene.accept();
        scene.pass(secs(60));
        assert_eq!(scene.actions(), []);
        scene.peer.handle_closed(theirs, Some("reset".into()), scene.now);
        assert_eq!(scene.actions(), [dropped_with_open(&mut scene, theirs)]);
        assert!(is_jittered(scene.next_attempt().0, RETRY));
    }

    /// The end of a connection whose OPEN nobody has fetched.
    fn dropped_with_open(_: &mut Scene, serial: Serial) -> Action {
        let mut connection = connection::Connection::new(
            config().session,
            Opening::new(router_id(1)),
            0,
            super::super::clock::start(),
        );
        Action::Close(serial, connection.poll_transmit())
    }
}

mod passive {
    use super::*;

    fn passive() -> Config {
        Config { passive: true, ..config() }
    }

    #[test]
    fn a_passive_peer_is_never_connected_to() {
        let mut scene = Scene::started(passive());
        assert_eq!((scene.actions(), scene.peer.state()), (vec![], State::Active));
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        scene.pass(secs(3600));
        for _ in 0..3 {
            let serial = scene.accept();
            scene.come_up(serial);
            scene.keep_up(serial, secs(40));
            scene.peer.handle_bfd(&BfdVerdict::Down("gone".into()), scene.now);
            assert_eq!(scene.actions(), [closed(serial, Notification::cease(10))]);
            let reason = DownReason::BfdDown("gone".into());
            assert_eq!(scene.events(), [Event::Down(reason)]);
            scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
            scene.pass(secs(3600));
            assert_eq!(scene.actions(), []);
            assert_eq!((scene.peer.state(), scene.peer.next_attempt()), (State::Active, None));
        }
        // A refusal changes nothing about that.
        let serial = scene.accept();
        scene.hear(serial, &Notification::cease(2).encode());
        scene.actions();
        scene.pass(secs(3600));
        assert_eq!((scene.actions(), scene.peer.state()), (vec![], State::Active));
    }

    #[test]
    fn a_peer_that_turns_passive_is_no_longer_dialed_but_keeps_its_session() {
        let mut scene = Scene::started(config());
        let serial = scene.attempt();
        scene.peer.set_pace(RETRY, true, scene.now);
        assert_eq!(scene.actions(), [dropped(serial)]);
        scene.pass(secs(3600));
        assert_eq!(scene.actions(), []);
        let (mut scene, serial) = Scene::established();
        scene.peer.set_pace(RETRY, true, scene.now);
        scene.keep_up(serial, secs(60));
        scene.peer.handle_closed(serial, None, scene.now);
        assert_eq!(scene.actions(), [dropped(serial)]);
        scene.pass(secs(3600));
        assert_eq!(scene.actions(), []);
    }

    #[test]
    fn a_peer_that_is_no_longer_passive_is_dialed_at_once() {
        let mut scene = Scene::started(passive());
        scene.peer.set_pace(RETRY, false, scene.now);
        let serial = scene.attempt();
        // Once is enough.
        scene.peer.set_pace(RETRY, false, scene.now);
        assert_eq!(scene.actions(), []);
        scene.connect(serial);
        scene.come_up(serial);
        // Not where there is a connection, but after it
        let mut scene = Scene::started(passive());
        let serial = scene.accept();
        scene.peer.set_pace(RETRY, false, scene.now);
        assert_eq!(scene.actions(), []);
        scene.come_up(serial);
        scene.peer.handle_closed(serial, None, scene.now);
        scene.next_attempt();
    }

    #[test]
    fn a_new_pace_counts_from_the_next_attempt_on() {
        let mut scene = Scene::started(config());
        let serial = scene.attempt();
        scene.peer.handle_connect_failed(serial, refused(), scene.now);
        scene.peer.set_pace(secs(100), false, scene.now);
        let (wait, serial) = scene.next_attempt();
        assert!(wait <= RETRY);
        scene.peer.handle_connect_failed(serial, refused(), scene.now);
        let (wait, _) = scene.next_attempt();
        assert!((secs(75)..=secs(100)).contains(&wait));
    }
}

mod bfd {
    use super::*;

    fn down() -> BfdVerdict {
        BfdVerdict::Down("Control Detection Time Expired".into())
    }

    #[test]
    fn down_ends_the_session_with_bfd_down() {
        let (mut scene, serial) = Scene::established();
        scene.peer.handle_bfd(&down(), scene.now);
        assert_eq!(scene.actions(), [closed(serial, Notification::cease(10))]);
        let reason = DownReason::BfdDown("Control Detection Time Expired".into());
        assert_eq!(scene.events(), [Event::Down(reason)]);
        assert_eq!(scene.peer.rib().sent_count(), 0);
    }

    #[test]
    fn down_ends_connections_that_have_not_come_up_too() {
        let (mut scene, ours) = Scene::connected(config());
        let theirs = scene.accept();
        scene.say();
        scene.peer.handle_bfd(&down(), scene.now);
        let cease = Notification::cease(10);
        assert_eq!(scene.actions(), [closed(ours, cease.clone()), closed(theirs, cease)]);
        assert_eq!(scene.events().len(), 1);
    }

    #[test]
    fn down_without_a_connection_changes_nothing() {
        let mut scene = Scene::started(config());
        let serial = scene.attempt();
        scene.peer.handle_bfd(&down(), scene.now);
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        scene.connect(serial);
        scene.come_up(serial);
    }

    #[test]
    fn nothing_but_down_ends_a_session() {
        let (mut scene, serial) = Scene::established();
        for _ in 0..10 {
            scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        }
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        scene.keep_up(serial, secs(600));
    }

    #[test]
    fn up_dials_at_once_in_place_of_any_timer_or_attempt() {
        let mut scene = Scene::started(config());
        let first = scene.attempt();
        scene.pass(secs(1));
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        // The first SYN may have gone into the void.
        let actions = scene.actions();
        let [Action::Close(given_up, ref last_words), Action::Connect(second, _)] = actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((given_up, last_words.len()), (first, 0));
        scene.peer.handle_connect_failed(second, refused(), scene.now);
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        let third = scene.attempt();
        scene.connect(third);
        scene.events();
        scene.come_up(third);
    }

    #[test]
    fn up_after_a_failure_of_the_path_redials_without_waiting() {
        let (mut scene, _) = Scene::established();
        scene.peer.handle_bfd(&down(), scene.now);
        scene.actions();
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        let serial = scene.attempt();
        scene.connect(serial);
        scene.events();
        scene.come_up(serial);
    }

    #[test]
    fn up_does_not_hurry_a_peer_that_refuses() {
        let (mut scene, serial) = Scene::connected(config());
        scene.hear(serial, &Notification::cease(2).encode());
        scene.actions();
        assert_eq!(scene.peer.state(), State::Idle);
        let planned = scene.peer.next_attempt();
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        assert_eq!((scene.actions(), scene.peer.next_attempt()), (vec![], planned));
    }

    #[test]
    fn up_leaves_a_connection_that_is_coming_up_alone() {
        let (mut scene, serial) = Scene::connected(config());
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        assert_eq!(scene.actions(), []);
        scene.come_up(serial);
    }

    #[test]
    fn a_peer_that_is_stopped_hears_nothing_of_bfd() {
        let mut scene = Scene::new(config());
        for verdict in [BfdVerdict::Up, down()] {
            scene.peer.handle_bfd(&verdict, scene.now);
        }
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        assert_eq!(scene.peer.poll_timeout(), None);
    }
}

mod stopping {
    use super::*;

    fn reason() -> DownReason {
        DownReason::Shutdown("maintenance".into())
    }

    fn last_words() -> Notification {
        Notification::administrative_shutdown("maintenance")
    }

    fn stop(scene: &mut Scene) {
        scene.peer.stop(&reason(), scene.now);
    }

    /// Nothing is wanted of anybody any more, whatever comes.
    fn rests(scene: &mut Scene) {
        assert_eq!(scene.peer.state(), State::Idle);
        assert_eq!((scene.peer.poll_timeout(), scene.peer.next_attempt()), (None, None));
        scene.peer.handle_bfd(&BfdVerdict::Up, scene.now);
        scene.peer.set_pace(secs(1), true, scene.now);
        scene.peer.set_pace(secs(1), false, scene.now);
        scene.peer.handle_timeout(scene.now + secs(3600));
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        let serial = scene.accept();
        assert_eq!(scene.actions(), [closed(serial, Notification::cease(REJECTED))]);
        assert_eq!(scene.say(), []);
    }

    #[test]
    fn a_session_ends_with_the_reason() {
        let (mut scene, serial) = Scene::established();
        stop(&mut scene);
        assert_eq!(scene.actions(), [closed(serial, last_words())]);
        assert_eq!(scene.events(), [Event::Down(reason())]);
        rests(&mut scene);
    }

    #[test]
    fn a_session_that_lasted_leaves_no_timer_behind() {
        let (mut scene, serial) = Scene::established();
        scene.keep_up(serial, secs(20));
        stop(&mut scene);
        scene.actions();
        scene.events();
        rests(&mut scene);
    }

    #[test]
    fn connections_that_have_not_come_up_end_too() {
        let (mut scene, ours) = Scene::connected(config());
        let theirs = scene.accept();
        scene.say();
        stop(&mut scene);
        assert_eq!(scene.actions(), [closed(ours, last_words()), closed(theirs, last_words())]);
        assert_eq!(scene.events(), [failed(reason())]);
        rests(&mut scene);
    }

    #[test]
    fn attempts_and_plans_for_them_end() {
        let mut scene = Scene::started(config());
        let serial = scene.attempt();
        stop(&mut scene);
        assert_eq!(scene.actions(), [dropped(serial)]);
        rests(&mut scene);
        let (mut scene, serial) = Scene::connected(config());
        scene.hear(serial, &Notification::cease(2).encode());
        scene.actions();
        scene.events();
        stop(&mut scene);
        rests(&mut scene);
    }

    #[test]
    fn a_peer_that_was_stopped_can_be_started_again() {
        let (mut scene, old) = Scene::established();
        stop(&mut scene);
        scene.actions();
        scene.events();
        scene.peer.start(Opening::new(router_id(3)), scene.now);
        let serial = scene.attempt();
        assert_ne!(serial, old);
        scene.connect(serial);
        let said = scene.say();
        let [(_, Message::Open(open))] = &said[..] else { panic!("{said:?}") };
        assert_eq!(open.router_id, router_id(3));
        scene.come_up(serial);
    }

    #[test]
    fn a_peer_that_was_never_started_takes_no_connections() {
        rests(&mut Scene::new(config()));
    }
}

mod serials {
    use super::*;

    #[test]
    fn every_connection_has_a_number_of_its_own() {
        let mut scene = Scene::started(config());
        let mut seen = Vec::new();
        for _ in 0..20 {
            let (_, serial) = scene.next_attempt();
            seen.extend([serial, scene.accept()]);
            scene.connect(serial);
            scene.peer.handle_bfd(&BfdVerdict::Down("x".into()), scene.now);
        }
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), seen.len());
    }

    #[test]
    fn news_of_connections_that_are_gone_are_ignored() {
        let (mut scene, serial) = Scene::established();
        let gone = [Serial(0), Serial(99), scene.accept()];
        scene.actions();
        for gone in gone {
            scene.hear(gone, &[open_of(2), keepalive()].concat());
            scene.hear(gone, &Notification::cease(2).encode());
            scene.peer.handle_written(gone, scene.now);
            scene.peer.handle_closed(gone, Some("reset".into()), scene.now);
            scene.peer.handle_connect_failed(gone, refused(), scene.now);
        }
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        assert_eq!(scene.peer.state(), State::Established);
        // A connection that nobody waits for is closed.
        scene.connect(Serial(99));
        assert_eq!(scene.actions(), [dropped(Serial(99))]);
        scene.keep_up(serial, secs(60));
    }

    #[test]
    fn what_the_last_session_was_still_writing_does_not_count_for_the_next() {
        let (mut scene, old) = Scene::established();
        let vip = hosts(Family::Ipv4Unicast, 1)[0];
        scene.peer.rib_mut().set(vip, Some(Attributes::default().into()), scene.now);
        let (_, octets) = scene.peer.poll_transmit(scene.now).unwrap();
        assert!(!octets.is_empty());
        scene.peer.handle_closed(old, None, scene.now);
        scene.peer.handle_written(old, scene.now);
        let events = scene.events();
        assert!(matches!(events[..], [Event::Down(_)]), "{events:?}");
        scene.actions();
        let (_, new) = scene.next_attempt();
        scene.connect(new);
        scene.hear(new, &[open_of(2), keepalive()].concat());
        let said = scene.say();
        let updates = said.iter().filter(|(_, message)| matches!(message, Message::Update(_)));
        assert_eq!(updates.count(), 1, "it is told again");
    }
}

mod sending {
    use super::*;

    /// Wants these prefixes announced.
    fn announce(scene: &mut Scene, family: Family, count: u32) {
        for prefix in hosts(family, count) {
            scene.peer.rib_mut().set(prefix, Some(Attributes::default().into()), scene.now);
        }
    }

    #[test]
    fn nothing_more_is_given_to_a_writer_that_is_busy() {
        let (mut scene, serial) = Scene::established();
        announce(&mut scene, Family::Ipv4Unicast, 1);
        assert!(!scene.peer.is_settled());
        let (to, octets) = scene.peer.poll_transmit(scene.now).unwrap();
        assert_eq!((to, read(&octets, EXTERNAL).len()), (serial, 1));
        announce(&mut scene, Family::Ipv4Unicast, 2);
        scene.pass(secs(40)); // KEEPALIVEs are due meanwhile
        assert_eq!(scene.peer.poll_transmit(scene.now), None);
        assert!(!scene.peer.is_settled());
        assert_eq!(scene.peer.rib().sent_count(), 0, "the kernel has taken nothing");
        scene.peer.handle_written(serial, scene.now);
        assert_eq!(scene.peer.rib().sent_count(), 1);
        assert_eq!(scene.events(), [Event::Sent(vec![secs(40)])]);
        let said = scene.say();
        assert!(matches!(said[..], [(_, Message::Keepalive), (_, Message::Update(_))]), "{said:?}");
        assert!(scene.peer.is_settled());
    }

    #[test]
    fn what_cancels_out_while_the_writer_is_busy_is_never_sent() {
        let (mut scene, serial) = Scene::established();
        announce(&mut scene, Family::Ipv4Unicast, 1);
        scene.peer.poll_transmit(scene.now).unwrap();
        let vip = hosts(Family::Ipv6Unicast, 1)[0];
        for _ in 0..100 {
            scene.peer.rib_mut().set(vip, Some(Attributes::default().into()), scene.now);
            scene.peer.rib_mut().set(vip, None, scene.now);
        }
        scene.peer.handle_written(serial, scene.now);
        assert_eq!(scene.say(), []);
    }

    #[test]
    fn chunks_are_of_a_size_that_a_writer_can_take() {
        let (mut scene, serial) = Scene::established();
        announce(&mut scene, Family::Ipv6Unicast, 5000);
        let (mut prefixes, mut chunks) = (0, 0);
        while let Some((_, octets)) = scene.peer.poll_transmit(scene.now) {
            assert!(octets.len() < 32 * 1024 + 4096);
            for message in read(&octets, EXTERNAL) {
                let Message::Update(update) = message else { panic!("{message:?}") };
                prefixes += update.announced.len();
            }
            scene.peer.handle_written(serial, scene.now);
            chunks += 1;
        }
        assert_eq!((prefixes, chunks), (5000, 3));
    }

    #[test]
    fn each_change_is_reported_with_the_time_since_it_was_decided() {
        let (mut scene, serial) = Scene::established();
        announce(&mut scene, Family::Ipv4Unicast, 1);
        scene.pass(secs(1));
        announce(&mut scene, Family::Ipv4Unicast, 2);
        scene.pass(secs(2));
        scene.peer.poll_transmit(scene.now).unwrap();
        scene.pass(secs(4));
        scene.peer.handle_written(serial, scene.now);
        assert_eq!(scene.events(), [Event::Sent(vec![secs(7), secs(6)])]);
        // KEEPALIVEs and End-of-RIB are no changes.
        scene.peer.rib_mut().release_end_of_rib();
        scene.pass(secs(30));
        assert_eq!(scene.say().len(), 3);
        assert_eq!(scene.events(), []);
    }

    #[test]
    fn an_update_is_sent_only_where_the_session_is_up() {
        let (mut scene, serial) = Scene::connected(config());
        announce(&mut scene, Family::Ipv4Unicast, 1);
        scene.peer.rib_mut().release_end_of_rib();
        assert!(scene.peer.is_settled());
        assert!(matches!(scene.say()[..], [(_, Message::Open(_))]));
        scene.hear_open(serial);
        assert_eq!(scene.say(), [(serial, Message::Keepalive)]);
        scene.hear(serial, &keepalive());
        let said: Vec<Message> = scene.say().into_iter().map(|(_, message)| message).collect();
        let [Message::Update(first), rest @ ..] = &said[..] else { panic!("{said:?}") };
        assert_eq!(first.announced, hosts(Family::Ipv4Unicast, 1));
        assert_eq!(first.attributes.next_hop, Some(next_hop(1, Family::Ipv4Unicast)));
        let end =
            |family| Message::Update(Update { end_of_rib: Some(family), ..Update::default() });
        assert_eq!(rest, [end(Family::Ipv4Unicast), end(Family::Ipv6Unicast)]);
    }

    #[test]
    fn next_hops_that_change_before_the_session_is_up_are_those_it_uses() {
        let (mut scene, serial) = Scene::connected(config());
        announce(&mut scene, Family::Ipv4Unicast, 1);
        announce(&mut scene, Family::Ipv6Unicast, 1);
        let changed = NextHops { ipv6: None, ..next_hops(77) };
        scene.peer.update_next_hops(|_| changed, scene.now);
        scene.come_up_with_updates(serial, &[Some(next_hop(77, Family::Ipv4Unicast))]);
        // And those of a session that is up are told anew.
        scene.peer.update_next_hops(|_| next_hops(78), scene.now);
        let next_hops = Family::ALL.map(|family| Some(next_hop(78, family)));
        assert_eq!(scene.next_hops_said(), next_hops);
    }

    impl Scene {
        fn next_hops_said(&mut self) -> Vec<Option<std::net::IpAddr>> {
            let next_hop = |(_, message)| match message {
                Message::Update(update) => Some(update.attributes.next_hop),
                Message::Open(_)
                | Message::Notification(_)
                | Message::Keepalive
                | Message::RouteRefresh(_) => None,
            };
            self.say().into_iter().filter_map(next_hop).collect()
        }

        fn come_up_with_updates(&mut self, serial: Serial, expected: &[Option<std::net::IpAddr>]) {
            self.hear(serial, &[open_of(2), keepalive()].concat());
            assert_eq!(self.next_hops_said(), expected);
        }
    }

    #[test]
    fn a_refresh_is_answered_with_everything_of_that_family() {
        let (mut scene, serial) = Scene::established();
        announce(&mut scene, Family::Ipv4Unicast, 3);
        announce(&mut scene, Family::Ipv6Unicast, 3);
        assert_eq!(scene.say().len(), 2);
        // A hundred at once are one.
        scene.hear(serial, &route_refresh(2).repeat(100));
        let said = scene.say();
        let [(_, Message::Update(update))] = &said[..] else { panic!("{said:?}") };
        assert_eq!(update.announced, hosts(Family::Ipv6Unicast, 3));
    }

    #[test]
    fn tcp_gives_up_later_than_the_send_hold_timer() {
        for (ours, theirs, limit) in [(90, 30, Some(60)), (9, 90, Some(18)), (90, 0, None)] {
            let session = connection::Config { hold_time: secs(ours), ..config().session };
            let (mut scene, serial) = Scene::connected(Config { session, ..config() });
            scene.hear(serial, &[open(REMOTE.0, theirs, [10, 0, 0, 2]), keepalive()].concat());
            let limit = limit.map(|limit| Action::SetUserTimeout(serial, secs(limit)));
            assert_eq!(scene.actions(), limit.into_iter().collect::<Vec<_>>());
        }
    }
}

mod looks {
    use super::*;

    #[test]
    fn the_state_is_that_of_the_better_connection() {
        let mut scene = Scene::new(config());
        assert_eq!(scene.peer.state(), State::Idle);
        scene.peer.start(Opening::new(router_id(1)), scene.now);
        assert_eq!(scene.peer.state(), State::Connect);
        let serial = scene.attempt();
        scene.peer.handle_connect_failed(serial, refused(), scene.now);
        assert_eq!(scene.peer.state(), State::Active);
        let (_, serial) = scene.next_attempt();
        let theirs = scene.accept();
        assert_eq!(scene.peer.state(), State::OpenSent, "though another is being opened");
        scene.connect(serial);
        scene.hear_open(serial);
        assert_eq!(scene.peer.state(), State::OpenConfirm);
        scene.hear(serial, &keepalive());
        assert_eq!(scene.peer.state(), State::Established);
        assert_ne!(theirs, serial);
        scene.hear(serial, &Notification::cease(2).encode());
        assert_eq!(scene.peer.state(), State::Idle);
    }

    #[test]
    fn the_session_and_since_when_can_be_seen() {
        let (mut scene, serial) = Scene::connected(config());
        assert_eq!((scene.peer.session(), scene.peer.history().since()), (None, scene.begin));
        scene.pass(secs(3));
        scene.come_up(serial);
        let up = scene.now;
        assert_eq!(scene.peer.session(), Some((&session(), ends())));
        scene.keep_up(serial, secs(60));
        assert_eq!(scene.peer.history().since(), up);
        scene.hear(serial, &Notification::cease(2).encode());
        assert_eq!((scene.peer.session(), scene.peer.history().since()), (None, scene.now));
        assert_eq!(scene.peer.history().last_down(), Some(&(notified(2), scene.now)));
        // Later failures do not change since when it is down, nor why.
        let down: Instant = scene.now;
        scene.actions();
        let (_, next) = scene.next_attempt();
        scene.peer.handle_connect_failed(next, refused(), scene.now);
        assert_eq!(scene.peer.history().since(), down);
        assert_eq!(scene.peer.history().last_failure().unwrap().1, scene.now);
        assert_eq!(scene.peer.history().last_down(), Some(&(notified(2), down)));
    }

    #[test]
    fn what_a_router_said_is_still_known_when_it_hangs_up_on_later_attempts() {
        let (mut scene, serial) = Scene::connected(config());
        scene.hear(serial, &Notification::new(2, 2, vec![]).encode());
        let said_at = scene.now;
        let reason = DownReason::NotificationReceived(Notification::new(2, 2, vec![]));
        scene.actions();
        let (_, next) = scene.next_attempt();
        scene.connect(next);
        scene.peer.handle_closed(next, None, scene.now);
        let (vague, at) = scene.peer.history().last_failure().cloned().unwrap();
        assert_eq!((vague.label(), at), ("closed-by-peer", scene.now));
        assert_eq!(scene.peer.history().last_notification(), Some(&(reason, said_at)));
        let (_, next) = scene.next_attempt();
        scene.connect(next);
        scene.events();
        scene.come_up(next);
        assert_eq!(
            (scene.peer.history().last_notification(), scene.peer.history().last_failure()),
            (None, None)
        );
    }

    #[test]
    fn what_the_peer_announces_is_counted_and_what_is_wrong_is_told() {
        let (mut scene, serial) = Scene::established();
        let good = message(UPDATE, &update(&[], &mandatory(), &[8, 10, 16, 172, 16]));
        let discarded = [mandatory(), attribute(0x40, 6, &[1])].concat();
        let discarded = message(UPDATE, &update(&[], &discarded, &[8, 11]));
        let withdrawn = message(UPDATE, &update(&[], &[], &[8, 12]));
        scene.hear(serial, &[good.clone(), discarded, withdrawn, good].concat());
        let told = scene.events().into_iter().map(|event| {
            let Event::Defects(defects) = event else { panic!("{event:?}") };
            defects.iter().map(ToString::to_string).collect()
        });
        let told: Vec<Vec<String>> = told.collect();
        let expected = [
            vec!["ATOMIC_AGGREGATE: malformed"],
            vec!["ORIGIN: missing", "AS_PATH: missing", "NEXT_HOP: missing"],
        ];
        assert_eq!(told, expected);
        let counters = Counters { established: 1, received_prefixes: 5, defective_updates: 2 };
        assert_eq!(scene.peer.history().counters(), counters);
    }
    #[test]
    fn a_defect_that_repeats_is_counted_each_time_and_told_once_a_session() {
        let (mut scene, serial) = Scene::established();
        let unknown = attribute(0x40, 200, &[]).repeat(1000);
        let wrong = message(UPDATE, &update(&[], &[mandatory(), unknown].concat(), &[8, 11]));
        let told = |scene: &mut Scene| -> Vec<Vec<String>> {
            let told = scene.events().into_iter().map(|event| {
                let Event::Defects(defects) = event else { panic!("{event:?}") };
                defects.iter().map(ToString::to_string).collect()
            });
            told.collect()
        };
        let once = [["attribute 200: well-known but unknown", "attribute 200: a second time"]];
        scene.hear(serial, &[wrong.clone(), wrong.clone()].concat());
        assert_eq!(told(&mut scene), once);
        scene.hear(serial, &wrong);
        assert_eq!(told(&mut scene), [[""; 0]; 0]);
        assert_eq!(scene.peer.history().counters().defective_updates, 3);

        scene.hear(serial, &Notification::cease(2).encode());
        scene.actions();
        scene.events();
        let (_, next) = scene.next_attempt();
        scene.connect(next);
        scene.come_up(next);
        scene.hear(next, &wrong);
        assert_eq!(told(&mut scene), once);
    }
}

/// What somebody else is to know of what the peer announces.
mod receiving {
    use super::*;

    fn end_of_rib() -> Vec<u8> {
        message(UPDATE, &[0; 4])
    }

    #[test]
    fn updates_are_told_only_while_somebody_wants_them() {
        let (mut scene, serial) = Scene::established();
        scene.hear(serial, &end_of_rib());
        assert_eq!(scene.events(), []);
        scene.peer.set_receiving(true);
        scene.hear(serial, &end_of_rib());
        let end = Update { end_of_rib: Some(Family::Ipv4Unicast), ..Update::default() };
        assert_eq!(scene.events(), [Event::Received(end)]);
        scene.peer.set_receiving(false);
        scene.hear(serial, &end_of_rib());
        assert_eq!(scene.events(), []);
    }

    #[test]
    fn a_peer_that_offered_it_can_be_asked_to_announce_everything_again() {
        let (mut scene, serial) = Scene::established();
        assert!(scene.peer.request_refresh(&Family::ALL));
        let asked =
            Family::ALL.map(|family| (serial, Message::RouteRefresh(Refresh::Request(family))));
        assert_eq!(scene.say(), asked);
    }

    #[test]
    fn a_peer_that_did_not_offer_it_is_not_asked() {
        let (mut scene, serial) = Scene::connected(config());
        let asn = u16::try_from(REMOTE.0).unwrap();
        let bare = [open_fields(4, asn, 90, [10, 0, 0, 2]), vec![0]].concat();
        scene.hear(serial, &[message(OPEN, &bare), keepalive()].concat());
        scene.say();
        assert_eq!(scene.peer.state(), State::Established);
        assert!(!scene.peer.request_refresh(&Family::ALL));
        assert_eq!(scene.say(), []);
    }

    /// The next session begins with everything anyhow.
    #[test]
    fn without_a_session_there_is_nothing_to_ask() {
        let mut scene = Scene::started(config());
        assert!(scene.peer.request_refresh(&Family::ALL));
        assert_eq!(scene.say(), []);
    }

    /// RFC 4271 §6.7, RFC 4486 §4.
    #[test]
    fn too_many_prefixes_are_told_by_cease_and_asked_for_ever_less_often() {
        let (mut scene, serial) = Scene::established();
        let reason = DownReason::TooManyPrefixes(1000);
        scene.peer.close_all(&reason, scene.now);
        assert_eq!(scene.actions(), [closed(serial, Notification::cease(1))]);
        assert_eq!(scene.events(), [Event::Down(reason.clone())]);
        assert!(reason.is_refusal() && !reason.is_planned());
        assert_eq!(scene.peer.state(), State::Idle, "it is held down");
        let (waited, again) = scene.next_attempt();
        assert!(waited > Duration::ZERO);
        scene.connect(again);
        scene.come_up(again);
        scene.peer.close_all(&reason, scene.now);
        let (longer, _) = scene.next_attempt();
        assert!(longer > waited, "{longer:?} after {waited:?}");
    }
}

/// What an operator of ours asks for.
mod reset {
    use super::*;

    #[test]
    fn the_peer_is_told_why_and_connected_to_again_in_a_moment() {
        let (mut scene, serial) = Scene::established();
        scene.peer.reset("new cable", scene.now);
        let told = Notification::administrative_reset("new cable");
        assert_eq!(told.to_string(), "Cease/Administrative Reset (6/4): new cable");
        assert_eq!(scene.actions(), [closed(serial, told)]);
        let reason = DownReason::AdministrativeReset("new cable".into());
        assert_eq!(reason.to_string(), "reset by an operator: new cable");
        assert_eq!(scene.events(), [Event::Down(reason)]);
        let (waited, _) = scene.next_attempt();
        assert!(waited <= secs(1), "{waited:?}");
    }

    #[test]
    fn without_a_session_the_next_attempt_begins_at_once_whatever_was_refused() {
        let (mut scene, serial) = Scene::connected(config());
        scene.hear(serial, &Notification::cease(5).encode());
        scene.actions();
        assert_eq!(scene.peer.state(), State::Idle);
        scene.peer.reset("", scene.now);
        let second = scene.attempt();
        scene.connect(second);
        scene.hear(second, &Notification::cease(5).encode());
        scene.actions();
        let (waited, _) = scene.next_attempt();
        assert!(waited <= RETRY, "the doubling begins anew: {waited:?}");
    }

    #[test]
    fn a_passive_peer_and_one_that_is_stopped_are_only_told() {
        let mut scene = Scene::started(Config { passive: true, ..config() });
        let serial = scene.accept();
        scene.come_up(serial);
        scene.peer.reset("", scene.now);
        assert_eq!(scene.actions(), [closed(serial, Notification::administrative_reset(""))]);
        assert_eq!((scene.peer.next_attempt(), scene.peer.state()), (None, State::Active));
        let mut scene = Scene::new(config());
        scene.peer.reset("", scene.now);
        assert_eq!(scene.actions(), []);
    }
}

/// Where the peer is, and whether anything reaches us.
mod path {
    use super::*;

    fn elsewhere() -> ScopedAddress {
        ScopedAddress { ip: "fe80::1".parse().unwrap(), zone: 2 }
    }

    fn unknown() -> Result<ScopedAddress, NoPath> {
        Err(NoPath::Because("no router has been seen".into()))
    }

    fn no_path() -> Event {
        failed(DownReason::NoPath("no router has been seen".into()))
    }

    #[test]
    fn nothing_is_tried_until_it_is_known_and_then_at_once() {
        let mut scene = Scene::new(config());
        scene.peer.set_path(unknown(), scene.now);
        scene.peer.start(Opening::new(router_id(1)), scene.now);
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![no_path()]));
        assert_eq!((scene.peer.state(), scene.peer.poll_timeout()), (State::Idle, None));
        scene.pass(secs(3600));
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        scene.peer.set_path(Ok(elsewhere()), scene.now);
        let actions = scene.actions();
        assert!(
            matches!(actions[..], [Action::Connect(_, to)] if to == elsewhere()),
            "{actions:?}"
        );
    }

    #[test]
    fn before_anything_is_known_there_is_nothing_to_complain_about() {
        let mut scene = Scene::new(config());
        scene.peer.set_path(Err(NoPath::Unread), scene.now);
        scene.peer.start(Opening::new(router_id(1)), scene.now);
        scene.pass(secs(60));
        assert_eq!((scene.actions(), scene.events()), (vec![], vec![]));
        scene.peer.set_path(Ok(remote()), scene.now);
        scene.attempt();
    }

    /// RFC 4724 §4.2 is about the peer, not about whoever else is on its link.
    #[test]
    fn a_session_with_a_peer_that_tells_of_restarts_is_not_ended_by_somebody_else() {
        let mut config = config();
        config.session.restart = Some(Restart { time: secs(120), long_lived: secs(0) });
        let (mut scene, serial) = Scene::connected(config);
        let all = [&capabilities(REMOTE.0)[..], &[64, 6, 0, 120, 0, 1, 1, 0x80]].concat();
        let asn = u16::try_from(REMOTE.0).unwrap();
        let told = [open_fields(4, asn, 90, [10, 0, 0, 2]), parameters(&all)].concat();
        scene.hear(serial, &[message(OPEN, &told), keepalive()].concat());
        scene.say();
        assert_eq!(scene.peer.state(), State::Established);
        scene.actions();
        let stranger = Ends { remote: elsewhere(), ..ends() };
        let other = scene.peer.handle_accepted(stranger, next_hops(1), scene.now);
        assert_eq!(scene.actions(), [closed(other, Notification::cease(5))]);
        let again = scene.accept();
        assert_eq!(scene.actions(), [dropped(serial)], "{again:?} is the peer's own");
    }

    #[test]
    fn an_attempt_to_where_the_peer_is_no_longer_is_given_up() {
        let mut scene = Scene::started(config());
        let first = scene.attempt();
        scene.peer.set_path(unknown(), scene.now);
        assert_eq!((scene.actions(), scene.events()), (vec![dropped(first)], vec![no_path()]));
        scene.peer.set_path(Ok(remote()), scene.now);
        let second = scene.attempt();
        scene.peer.set_path(Ok(remote()), scene.now);
        assert_eq!(scene.actions(), [], "it is where it was");
        scene.peer.set_path(Ok(elsewhere()), scene.now);
        assert!(
            matches!(scene.actions()[..], [Action::Close(given_up, _), Action::Connect(..)] if given_up == second)
        );
    }

    #[test]
    fn another_router_is_not_to_blame_for_what_the_one_before_refused() {
        let (mut scene, serial) = Scene::connected(config());
        scene.hear(serial, &Notification::cease(5).encode());
        scene.actions();
        scene.peer.set_path(unknown(), scene.now);
        scene.peer.set_path(Ok(remote()), scene.now);
        assert_eq!(scene.actions(), [], "the same one is given its time");
        scene.peer.set_path(Ok(elsewhere()), scene.now);
        scene.attempt();
    }

    #[test]
    fn a_session_goes_on_whatever_is_known_and_ends_where_it_is() {
        let (mut scene, serial) = Scene::established();
        scene.peer.set_path(Ok(elsewhere()), scene.now);
        scene.peer.set_path(unknown(), scene.now);
        assert_eq!((scene.actions(), scene.peer.address()), (vec![], Ok(remote())));
        scene.peer.handle_closed(serial, None, scene.now);
        assert_eq!(scene.peer.address().err().cloned(), unknown().err());
    }

    #[test]
    fn a_peer_may_still_come_to_us_when_we_do_not_know_where_it_is() {
        let mut scene = Scene::new(config());
        scene.peer.set_path(unknown(), scene.now);
        scene.peer.start(Opening::new(router_id(1)), scene.now);
        let serial = scene.accept();
        scene.events();
        scene.come_up(serial);
        assert_eq!(scene.peer.address(), Ok(remote()));
    }

    #[test]
    fn a_connection_that_nothing_reaches_is_given_up_unless_that_is_over_soon() {
        let (mut scene, serial) = Scene::established();
        let gone = |_| Some("gone".to_owned());
        // It was never seen: there are ways to have an address that nobody reports.
        scene.peer.update_cut_off(gone, scene.now);
        scene.keep_up(serial, secs(10));
        scene.peer.update_cut_off(|_| None, scene.now);
        scene.peer.update_cut_off(gone, scene.now);
        scene.keep_up(serial, CUT_OFF_TIME - secs(1));
        scene.peer.update_cut_off(|_| None, scene.now);
        scene.keep_up(serial, secs(10));

        scene.peer.update_cut_off(gone, scene.now);
        scene.pass(CUT_OFF_TIME / 2);
        scene.peer.update_cut_off(gone, scene.now);
        scene.pass(CUT_OFF_TIME / 2);
        assert_eq!(scene.events(), [Event::Down(DownReason::CutOff("gone".into()))]);
        assert_eq!(scene.actions(), [dropped(serial)], "nothing would arrive");
    }
}
