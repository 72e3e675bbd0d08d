//! Routers that reboot, refuse, hang, go silent or lack something.
use vipcast::bgp::down::DownReason;

use crate::world::{Health, Mood, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

#[test]
fn a_router_that_reboots_gets_everything_again() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.router("tor1").mood = Mood::Refuses;
    world.reset("tor1");
    world.run(secs(120));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert_eq!(world.routes("tor2"), WEB, "the other one is not touched");
    world.router("tor1").mood = Mood::Peers;
    let took = world.run_until_true(secs(6), |w| w.routes("tor1") == WEB);
    assert!(took <= secs(5), "took {took:?}");
    assert_eq!(world.router("tor1").end_of_rib.len(), 2);
}

#[test]
fn a_stable_session_that_breaks_is_tried_again_within_a_second() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.reset("tor1");
    let took = world.run_until_true(secs(2), |w| w.routes("tor1") == WEB);
    assert!(took <= secs(1), "took {took:?}");
}

#[test]
fn silence_is_noticed_by_bfd_and_the_path_is_used_again_as_soon_as_it_is_back() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.set_link("tor1", false);
    let down = |w: &World| !w.status().peers[0].established;
    let took = world.run_until_true(secs(2), down);
    assert!((millis(600)..=millis(900)).contains(&took), "noticed after {took:?}");
    let reason = world.status().peers[0].last_down.clone().expect("a reason");
    assert_eq!(reason.reason, "BFD session down: control detection time expired");
    assert_eq!(world.routes("tor2"), WEB);
    world.run(secs(300));
    world.set_link("tor1", true);
    let took = world.run_until_true(secs(5), |w| w.routes("tor1") == WEB);
    // BFD finds the path within its slow interval, and BGP does not wait for its own timer.
    assert!(took <= millis(1100), "took {took:?}");
}

#[test]
fn without_bfd_the_hold_timer_ends_a_silent_session() {
    let text = BASE.replace("bfd = \"tor\"\n", "hold-time = \"9s\"\n");
    let mut world = World::new(&text).boot();
    world.run(secs(60));
    world.set_link("tor1", false);
    let took = world.run_until_true(secs(20), |w| !w.status().peers[0].established);
    assert!((secs(6)..=secs(9)).contains(&took), "noticed after {took:?}");
    let reason = world.status().peers[0].last_down.clone().expect("a reason");
    assert_eq!(reason.kind, "hold-timer-expired");
}

#[test]
fn a_router_whose_bfd_never_comes_up_is_served_all_the_same() {
    let mut world = World::new(BASE);
    world.router("tor1").disable_bfd();
    let mut world = world.boot();
    world.run(secs(600));
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(world.router("tor1").downs, []);
}

#[test]
fn a_router_whose_operator_takes_bfd_down_keeps_its_routes() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.admin_down_bfd("tor1");
    world.run(secs(60));
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(world.router("tor1").downs, []);
    let bfd = world.status().peers[0].bfd.clone().expect("BFD");
    assert!(!bfd.up && bfd.reason.is_some_and(|reason| reason.contains("operator")));
}

#[test]
fn a_router_that_refuses_us_is_not_asked_in_a_tight_loop() {
    for mood in [Mood::Rejects, Mood::Hangs] {
        let text =
            BASE.replace("remote-asn = 65000", "remote-asn = 65000\nconnect-retry-time = \"1s\"");
        let mut world = World::new(&text);
        world.router("tor1").mood = mood;
        world.router("tor1").disable_bfd();
        let mut world = world.boot();
        world.run(secs(3600));
        let attempts = world.router("tor1").attempts;
        assert!((100..=170).contains(&attempts), "{mood:?}: {attempts} attempts in an hour");
        assert_eq!(world.routes("tor2"), WEB);
        // Repetitions are not logged.
        let lines = world.log.iter().filter(|n| n.peer == Some("tor1".into())).count();
        assert!(lines <= 3, "{mood:?}: {lines} lines\n{}", world.log_text());
    }
}

#[test]
fn a_router_that_does_not_read_delays_nobody_else() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.router("tor1").mood = Mood::Stuck;
    world.set_health("web/alive", Health::Broken);
    let down = world.run_until_true(secs(10), |w| w.routes("tor2") == NOTHING);
    assert!(down <= millis(3200), "withdrawn after {down:?}");
    assert_eq!(world.routes("tor1"), WEB, "it has not read the withdrawal");
}

#[test]
fn a_withdrawal_waits_no_longer_than_the_hold_time_for_a_router_that_does_not_read() {
    let mut world = World::new(BASE).boot();
    world.run(secs(600));
    assert_eq!(world.router("tor1").downs, [], "one that reads is left alone");
    world.router("tor1").mood = Mood::Deaf;
    world.set_health("web/alive", Health::Broken);
    world.run_until_true(secs(10), |w| w.routes("tor2") == NOTHING);
    assert_eq!(world.routes("tor1"), WEB, "it has not read the withdrawal");
    let took = world.run_until_true(secs(100), |w| w.routes("tor1") == NOTHING);
    assert!(took <= secs(90), "gone after {took:?}");
    let reason = world.status().peers[0].last_down.clone().expect("a reason");
    assert_eq!(reason.kind, "send-hold-timer-expired");
    assert!(reason.reason.contains("the router does not read"), "{}", reason.reason);
    assert_eq!(world.status().peers[1].sessions, 1, "the other one is not touched");
}

#[test]
fn the_wrong_as_number_is_named() {
    let mut world = World::new(BASE);
    world.router("tor1").asn = vipcast::route::Asn(65001);
    let mut world = world.boot();
    world.run(secs(2));
    let failure = world.status().peers[0].last_failure.clone().expect("a reason");
    assert_eq!(
        failure.reason,
        "the peer says AS 65001, remote-asn says 65000; sent OPEN Message Error/Bad Peer AS (2/2)"
    );
    let told = world.router("tor1").downs.first().cloned();
    assert!(
        matches!(told, Some(DownReason::NotificationReceived(n)) if (n.code, n.subcode) == (2, 2))
    );
}

#[test]
fn an_internal_peer_gets_local_pref_and_no_as_path() {
    let text = BASE.replacen("remote-asn = 65000", "remote-asn = \"internal\"", 1)
        + "\n[advertisement.all]\nlocal-pref = 300\nprepend = 2\nmed = 5\n";
    let mut world = World::new(&text).boot();
    world.run(secs(1));
    let route = |world: &mut World, name: &str| {
        world.router(name).routes.values().next().expect("a route").clone()
    };
    let internal = route(&mut world, "tor1");
    assert_eq!(internal.local_pref, Some(300));
    assert_eq!(internal.as_path.expect("a path").0, []);
    let external = route(&mut world, "tor2");
    assert_eq!((external.local_pref, external.med), (None, Some(5)));
    let asn = vipcast::route::Asn(65100);
    let path = vec![vipcast::bgp::wire::Segment::Sequence(vec![asn; 3])];
    assert_eq!(external.as_path.expect("a path").0, path);
}
