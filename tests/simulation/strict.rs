//! BFD that has to be up before BGP is (draft-ietf-idr-bgp-bfd-strict-mode-19).
use vipcast::bgp::down::DownReason;
use vipcast::speaker::notice::Level;
use vipcast::speaker::status::PeerStatus;

use crate::world::World;
use crate::{BASE, NOTHING, WEB, secs};

fn strict() -> String {
    BASE.replace("[bfd.tor]", "[bfd.tor]\nstrict = true")
}

/// With a first router that BFD does not find.
fn held_back(text: &str) -> World {
    let mut world = World::new(text);
    world.router("tor1").bfd_passes = [false; 2];
    let mut world = world.boot();
    world.run(secs(30));
    world
}

fn first(world: &World) -> PeerStatus {
    world.status().peers.into_iter().next().expect("a peer")
}

fn is_up(world: &World) -> bool {
    first(world).established
}

fn waiting(world: &World) -> Option<String> {
    first(world).waiting
}

/// The lines about the first router that are no mere information.
fn warnings(world: &World) -> Vec<String> {
    let lines = world.log.iter().filter(|line| line.level == Level::Warn);
    let about = lines.filter(|line| line.peer == Some("tor1".into()));
    about.map(|line| line.message.clone()).collect()
}

#[test]
fn bgp_comes_up_with_bfd_and_stays_up() {
    for router_waits_too in [false, true] {
        let mut world = World::new(&strict());
        world.router("tor1").bfd_strict = router_waits_too;
        let mut world = world.boot();
        world.run_until_true(secs(2), is_up);
        world.run(secs(600));
        let bfd = world.status().peers[0].bfd.clone().expect("BFD");
        assert!(is_up(&world) && bfd.up && bfd.strict);
        assert_eq!(world.routes("tor1"), WEB);
        assert_eq!(world.router("tor1").downs, []);
        assert_eq!(warnings(&world), NOTHING);
    }
}

#[test]
fn no_route_is_announced_over_a_path_that_bfd_has_not_seen() {
    for router_waits_too in [false, true] {
        let mut world = World::new(&strict());
        world.router("tor1").bfd_strict = router_waits_too;
        world.router("tor1").bfd_passes = [false; 2];
        let mut world = world.boot();
        for _ in 0..600 {
            world.run(secs(1));
            assert!(!is_up(&world) && world.routes("tor1") == NOTHING);
        }
        assert_eq!(world.routes("tor2"), WEB, "the other one is not touched");
        // What is seen, and what became of it, are told once.
        assert_eq!(warnings(&world).len(), 2, "{:?}", warnings(&world));
        world.router("tor1").bfd_passes = [true; 2];
        let took = world.run_until_true(secs(10), is_up);
        assert!(took <= secs(2), "took {took:?}");
        assert_eq!((waiting(&world), world.routes("tor1")), (None, WEB.map(Into::into).to_vec()));
    }
}

#[test]
fn the_router_is_told_that_it_was_bfd_and_the_operator_what_is_seen_of_it() {
    let mut world = held_back(&strict());
    let peer = world.status().peers[0].clone();
    assert_eq!((peer.state.as_str(), peer.established), ("OpenSent", false));
    let seen = "nothing comes from the router: it has no BFD for this host, or UDP port 3784 is \
                dropped between the two";
    assert_eq!(waiting(&world), Some(format!("waiting for BFD (strict): {seen}")));
    world.run(secs(60));
    let down = world.router("tor1").downs.first().cloned();
    let Some(DownReason::NotificationReceived(told)) = down else { panic!("{down:?}") };
    assert_eq!((told.code, told.subcode), (6, 10), "Cease, BFD Down (RFC 9384)");
    let failure = world.status().peers[0].last_failure.clone().expect("a reason");
    assert_eq!(failure.kind, "bfd-not-up");
    let expected = [
        format!("peer tor1: waiting for BFD (strict): {seen}"),
        "peer tor1: no session: BFD has not come up within 60s, and `strict` asks for it first"
            .into(),
    ];
    assert_eq!(warnings(&world), expected);
}

#[test]
fn a_path_that_dies_is_waited_for_before_the_next_session() {
    let mut world = World::new(&strict()).boot();
    world.run(secs(60));
    world.router("tor1").bfd_passes = [false; 2];
    world.run_until_true(secs(1), |w| !is_up(w));
    world.run(secs(300));
    assert!(!is_up(&world));
    assert_eq!(world.status().peers[0].sessions, 1);
    world.router("tor1").bfd_passes = [true; 2];
    world.run_until_true(secs(2), is_up);
}

#[test]
fn a_router_whose_operator_takes_bfd_down_is_not_waited_for() {
    let mut world = World::new(&strict()).boot();
    world.run(secs(60));
    world.admin_down_bfd("tor1");
    world.run(secs(60));
    // RFC 5882 §4.2, and for a session that is yet to come §4.1
    assert_eq!(world.router("tor1").downs, []);
    world.reset("tor1");
    world.run_until_true(secs(2), is_up);
    world.run(secs(60));
    assert_eq!(warnings(&world).len(), 1, "the reset alone: {:?}", warnings(&world));
    // Once nobody says so any more, the next session waits again.
    world.router("tor1").disable_bfd();
    world.run(secs(10));
    assert!(is_up(&world));
    world.reset("tor1");
    world.run(secs(60));
    assert!(!is_up(&world) && waiting(&world).is_some());
}

#[test]
fn a_reload_that_ends_the_wait_is_followed_at_once() {
    for text in [BASE.to_owned(), BASE.replace("bfd = \"tor\"\n", "")] {
        let mut world = held_back(&strict());
        assert!(waiting(&world).is_some());
        world.reload(&text);
        let took = world.run_until_true(secs(5), is_up);
        assert!(took <= secs(1), "took {took:?}");
        assert_eq!(world.routes("tor1"), WEB);
    }
}

#[test]
fn a_reload_with_strict_leaves_sessions_that_are_up_alone_and_holds_for_those_to_come() {
    let mut world = held_back(BASE);
    assert!(is_up(&world), "without strict nobody waits");
    world.reload(&strict());
    world.run(secs(600));
    assert!(is_up(&world));
    assert_eq!((world.router("tor1").downs.len(), world.routes("tor1").len()), (0, 1));
    assert_eq!(world.status().peers[1].sessions, 1);
    world.reset("tor1");
    world.run(secs(60));
    assert!(!is_up(&world) && waiting(&world).is_some());
}

#[test]
fn a_reload_that_needs_a_new_session_does_not_forget_that_bfd_is_up() {
    let mut world = World::new(&strict()).boot();
    world.run(secs(60));
    world.reload(&strict().replace("bfd = \"tor\"", "bfd = \"tor\"\nhold-time = \"30s\""));
    let took = world.run_until_true(secs(5), |w| is_up(w) && w.status().peers[0].sessions == 1);
    assert!(took <= secs(2), "took {took:?}");
}
