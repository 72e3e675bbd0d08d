//! Routers that restart gracefully (RFC 4724), and BFD that goes with them or does not (RFC 5882 §4.3).
use std::time::Duration;

use vipcast::bgp::connection::Restart;
use vipcast::speaker::notice::Level;
use vipcast::speaker::status::PeerStatus;

use crate::world::{Mood, World};
use crate::{BASE, WEB, millis, secs};

/// A first router that goes on forwarding for a minute without its BGP, and has been up for one.
fn world() -> World {
    let mut world = World::new(BASE);
    world.router("tor1").restart = Some(Restart { time: secs(60), long_lived: Duration::ZERO });
    booted(world)
}

/// As that, but it does not forward while it restarts, and names no family.
fn helper() -> World {
    let mut world = World::new(BASE);
    world.router("tor1").restart = Some(Restart { time: secs(60), long_lived: Duration::ZERO });
    world.router("tor1").names_families = false;
    booted(world)
}

fn booted(world: World) -> World {
    let mut world = world.boot();
    world.run(secs(60));
    assert!(is_back(&world, 1) && bfd_is_up(&world), "{}", world.log_text());
    world
}

fn first(world: &World) -> PeerStatus {
    world.status().peers.into_iter().next().expect("a peer")
}

fn bfd_is_up(world: &World) -> bool {
    first(world).bfd.is_some_and(|bfd| bfd.up)
}

/// It has the VIP, in so many sessions.
fn is_back(world: &World, sessions: u64) -> bool {
    first(world).sessions == sessions && world.routes("tor1") == WEB
}

fn come_back(world: &mut World) {
    world.run_until_true(secs(2), |w| is_back(w, 2));
    assert!(bfd_is_up(world), "nothing has been missed yet");
}

/// The VIP is not taken from it for a moment.
fn stay(world: &mut World, length: Duration) {
    let end = world.now + length;
    while world.now < end {
        world.run(millis(10));
        assert!(is_back(world, 2), "{}", world.log_text());
    }
}

/// The path to it is cut; how long it takes until the session is over.
fn cut(world: &mut World) -> Duration {
    world.set_link("tor1", false);
    world.run_until_true(secs(2), |w| !first(w).established)
}

/// What was last logged of the end of its BFD session.
fn bfd_end(world: &World) -> Option<(Level, &str)> {
    let lines = world.log.iter().map(|line| (line.level, line.message.as_str()));
    lines.rev().find(|(_, text)| text.starts_with("peer tor1: BFD session down"))
}

fn bfd_ends(world: &mut World) -> (Level, String) {
    world.run_until_true(secs(2), |w| bfd_end(w).is_some());
    bfd_end(world).map(|(level, text)| (level, text.to_owned())).expect("a line")
}

const OF_THE_RESTART: &str = "peer tor1: BFD session down with the restart of the peer: ";

#[test]
fn bfd_that_is_missed_after_the_restart_takes_no_vip_along() {
    for mut world in [world(), helper()] {
        world.restart_bgp("tor1");
        come_back(&mut world);
        // Its new BFD says Down before the old one was missed.
        world.restart_bfd("tor1");
        let text = format!("{OF_THE_RESTART}neighbor signaled session down");
        assert_eq!(bfd_ends(&mut world), (Level::Info, text));
        stay(&mut world, secs(10));
        assert!(bfd_is_up(&world));
    }
}

#[test]
fn bfd_that_is_missed_for_its_silence_after_the_restart_takes_no_vip_along() {
    for mut world in [world(), helper()] {
        world.restart_bgp("tor1");
        come_back(&mut world);
        world.restart_bfd("tor1");
        world.router("tor1").bfd_passes = [false; 2];
        let text = format!("{OF_THE_RESTART}control detection time expired");
        assert_eq!(bfd_ends(&mut world), (Level::Info, text));
        stay(&mut world, secs(5));
        world.router("tor1").bfd_passes = [true; 2];
        stay(&mut world, secs(10));
        assert!(bfd_is_up(&world));
        // From then on it is the BFD of the router as it is now.
        let took = cut(&mut world);
        assert!(took <= millis(900), "took {took:?}");
    }
}

#[test]
fn the_session_that_ends_the_restart_is_not_broken_off_for_bfd() {
    let mut world = world();
    world.router("tor1").mood = Mood::Waits;
    world.restart_router("tor1");
    world.router("tor1").bfd_passes = [false; 2];
    world.run(secs(5));
    let attempts = world.router("tor1").attempts;
    assert_eq!((attempts, bfd_ends(&mut world).0), (2, Level::Info), "{}", world.log_text());
    world.router("tor1").mood = Mood::Peers;
    world.run(millis(10));
    assert!(is_back(&world, 2), "{}", world.log_text());
    assert_eq!(world.router("tor1").attempts, attempts, "it was the connection that there was");
}

#[test]
fn a_reload_does_not_forget_that_a_router_restarts() {
    let mut world = world();
    world.router("tor1").mood = Mood::Waits;
    world.restart_bgp("tor1");
    world.run(millis(100));
    world.reload(&BASE.replace("bfd = \"tor\"\n", "bfd = \"tor\"\nhold-time = \"30s\"\n"));
    world.run(millis(100));
    world.restart_bfd("tor1");
    assert_eq!(bfd_ends(&mut world).0, Level::Info, "{}", world.log_text());
}

#[test]
fn a_router_that_dies_is_found_dead_at_once() {
    let mut world = world();
    world.set_link("tor1", false);
    let took = world.run_until_true(secs(2), |w| !w.status().peers[0].established);
    assert!(took <= millis(900), "took {took:?}");
    assert_eq!(bfd_end(&world).map(|(level, _)| level), Some(Level::Warn));
}

#[test]
fn a_router_that_dies_some_time_after_its_restart_is_found_dead_at_once() {
    for mut world in [world(), helper()] {
        // Its BFD knew nothing of that.
        world.restart_bgp("tor1");
        come_back(&mut world);
        world.run(secs(10));
        let took = cut(&mut world);
        assert!(took <= millis(900), "took {took:?}");
    }
}

/// RFC 4724 §4.1: one that has would say so.
#[test]
fn a_session_that_broke_while_the_router_did_not_restart_is_no_excuse_for_bfd() {
    for mut world in [world(), helper()] {
        world.reset("tor1");
        come_back(&mut world);
        let took = cut(&mut world);
        assert!(took <= millis(900), "took {took:?}");
        assert_eq!(bfd_end(&world).map(|(level, _)| level), Some(Level::Warn));
    }
}

#[test]
fn bfd_that_does_not_share_the_fate_of_bgp_is_believed_all_the_same() {
    let mut world = world();
    world.router("tor1").bfd_is_independent = true;
    world.run(secs(1));
    world.restart_bgp("tor1");
    come_back(&mut world);
    let took = cut(&mut world);
    assert!(took <= millis(900), "took {took:?}");
}

#[test]
fn bfd_that_came_up_with_the_restarted_router_is_its_own() {
    let mut world = world();
    world.router("tor1").mood = Mood::Refuses;
    world.restart_router("tor1");
    bfd_ends(&mut world);
    world.run_until_true(secs(5), bfd_is_up);
    world.router("tor1").mood = Mood::Peers;
    world.run_until_true(secs(10), |w| is_back(w, 2));
    let took = cut(&mut world);
    assert!(took <= millis(900), "took {took:?}");
}

#[test]
fn a_router_without_graceful_restart_has_none_to_go_on_with() {
    let mut world = booted(World::new(BASE));
    world.restart_bgp("tor1");
    come_back(&mut world);
    let took = cut(&mut world);
    assert!(took <= millis(900), "took {took:?}");
}

/// RFC 4724 §3: without families the restart time means nothing, so that while it is away nothing is kept.
#[test]
fn a_router_that_is_away_has_its_restart_time_and_no_longer() {
    for (mut world, away, expected) in [
        (world(), secs(50), Level::Info),
        (world(), secs(70), Level::Warn),
        (helper(), millis(100), Level::Warn),
    ] {
        world.router("tor1").mood = Mood::Refuses;
        world.restart_bgp("tor1");
        world.run(away);
        world.router("tor1").bfd_passes = [false; 2];
        assert_eq!(bfd_ends(&mut world).0, expected, "away for {away:?}");
    }
}

/// What is learned from them.
mod routes {
    use super::*;
    use crate::learned::{self, BOTH, SECOND};

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
    fn a_restart_lasts_until_the_router_has_said_everything() {
        let mut world = world();
        world.router("tor1").ends = false;
        world.router("tor1").originates.clear();
        world.restart_bgp("tor1");
        world.run(secs(30));
        assert_eq!((first(&world).sessions, world.learned()), (2, ALL.map(Into::into).to_vec()));
        world.restart_bfd("tor1");
        assert_eq!(bfd_ends(&mut world).0, Level::Info);
        assert_eq!((first(&world).sessions, world.learned()), (2, ALL.map(Into::into).to_vec()));
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
}
