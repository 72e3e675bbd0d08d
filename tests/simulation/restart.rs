//! Routers that restart gracefully (RFC 4724 §4.2): what is learned from them stays meanwhile.
use std::time::Duration;

use vipcast::bgp::connection::Restart;

use crate::learned::{self, BOTH, SECOND};
use crate::world::{Mood, World};
use crate::{millis, secs};

/// The first router asks for its routes to be kept for a minute, and has a second one.
fn world() -> World {
    let mut world = learned::world(&learned::with("accept = [\"0.0.0.0/0\", \"10.7.0.0/16\"]"));
    let restart = Restart { time: secs(60), long_lived: Duration::ZERO };
    world.router("tor1").restart = Some(restart);
    world.router("tor1").announce("10.7.0.0/16", "10.0.0.1");
    let mut world = world.boot();
    world.run(secs(10));
    assert_eq!(world.learned(), ALL, "{}", world.log_text());
    world
}

const ALL: [&str; 2] = [BOTH[0], "10.7.0.0/16 by 10.0.0.1"];

#[test]
fn a_router_that_restarts_keeps_its_routes_until_it_has_said_everything() {
    let mut world = world();
    world.router("tor1").mood = Mood::Refuses;
    world.reset("tor1");
    world.run(secs(30));
    assert_eq!(world.learned(), ALL, "{}", world.log_text());
    // What it does not announce again goes with End-of-RIB.
    world.router("tor1").withdraw("10.7.0.0/16");
    world.router("tor1").mood = Mood::Peers;
    world.run(secs(20));
    assert_eq!(world.learned(), BOTH, "{}", world.log_text());
    assert_eq!(world.status().peers[0].sessions, 2);
}

#[test]
fn a_router_that_stays_away_keeps_them_for_its_restart_time() {
    let mut world = world();
    world.router("tor1").mood = Mood::Refuses;
    world.reset("tor1");
    world.run(secs(59));
    assert_eq!(world.learned(), ALL, "{}", world.log_text());
    world.run(secs(2));
    assert_eq!(world.learned(), SECOND, "{}", world.log_text());
}

#[test]
fn a_router_that_forgot_how_to_forward_has_its_routes_only_when_it_announces_them() {
    let mut world = world();
    world.router("tor1").preserved.clear();
    world.router("tor1").ends = false;
    world.router("tor1").withdraw("10.7.0.0/16");
    world.run(secs(1));
    world.router("tor1").announce("10.7.0.0/16", "10.0.0.1");
    world.run(secs(1));
    world.router("tor1").originates.clear();
    world.reset("tor1");
    world.run_until_true(secs(20), |w| w.status().peers[0].sessions == 2);
    world.run(millis(10));
    assert_eq!(world.learned(), SECOND, "{}", world.log_text());
}

#[test]
fn a_path_that_bfd_finds_dead_is_no_restart() {
    let mut world = world();
    world.set_link("tor1", false);
    world.run(secs(3));
    assert_eq!(world.learned(), SECOND, "{}", world.log_text());
}

/// RFC 5882 §4.3.2
#[test]
fn bfd_that_goes_with_the_restart_takes_no_route_along() {
    for away in [Duration::ZERO, millis(500), secs(30)] {
        let mut world = world();
        world.router("tor1").bfd_passes = [false; 2];
        world.router("tor1").mood = Mood::Refuses;
        world.restart_router("tor1");
        let before = world.route_requests.len();
        world.run(away);
        world.router("tor1").bfd_passes = [true; 2];
        world.router("tor1").mood = Mood::Peers;
        world.run(secs(20));
        let status = world.status().peers[0].clone();
        assert!(status.established && status.bfd.is_some_and(|bfd| bfd.up));
        assert_eq!((status.sessions, world.learned()), (2, ALL.map(Into::into).to_vec()));
        let asked = world.route_requests.get(before..).expect("more, if anything");
        assert_eq!(asked, [], "away for {away:?}: {}", world.log_text());
    }
}

#[test]
fn bfd_that_does_not_share_its_fate_is_believed_all_the_same() {
    let mut world = world();
    world.router("tor1").bfd_is_independent = true;
    world.run(secs(1));
    world.router("tor1").mood = Mood::Refuses;
    world.reset("tor1");
    world.run(secs(5));
    assert_eq!(world.learned(), ALL, "{}", world.log_text());
    world.router("tor1").bfd_passes = [false; 2];
    world.run(secs(1));
    assert_eq!(world.learned(), SECOND, "{}", world.log_text());
}

#[test]
fn bfd_that_came_up_again_and_fails_is_no_longer_part_of_the_restart() {
    let mut world = world();
    world.router("tor1").mood = Mood::Refuses;
    world.restart_router("tor1");
    world.run(secs(10));
    assert_eq!(world.learned(), ALL, "{}", world.log_text());
    world.router("tor1").bfd_passes = [false; 2];
    world.run(secs(1));
    assert_eq!(world.learned(), SECOND, "{}", world.log_text());
}

#[test]
fn a_path_that_dies_after_the_restart_is_dead_at_once() {
    let mut world = world();
    world.reset("tor1");
    world.run(secs(10));
    assert_eq!(
        (world.status().peers[0].sessions, world.learned()),
        (2, ALL.map(Into::into).to_vec())
    );
    world.set_link("tor1", false);
    let took = world.run_until_true(secs(2), |w| w.learned() == SECOND);
    assert!(took <= millis(900), "took {took:?}");
}

/// RFC 4724 §4.1: one that has would say so.
#[test]
fn a_session_that_broke_while_the_router_did_not_restart_is_no_excuse_for_bfd() {
    let mut world = world();
    world.run(secs(60));
    world.reset("tor1");
    world.run_until_true(secs(2), |w| w.status().peers[0].sessions == 2);
    assert_eq!(world.learned(), ALL, "{}", world.log_text());
    world.set_link("tor1", false);
    let took = world.run_until_true(secs(2), |w| w.learned() == SECOND);
    assert!(took <= millis(900), "took {took:?}");
}

#[test]
fn a_router_that_says_goodbye_for_good_is_believed() {
    let mut world = world();
    world.router("tor1").mood = Mood::Rejects;
    world.close("tor1", "night");
    world.run(secs(1));
    assert_eq!(world.learned(), SECOND, "{}", world.log_text());
}
