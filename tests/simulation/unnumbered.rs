//! Peers that are known by their interface, and what becomes of sessions when links, addresses and
//! routers come and go.
use vipcast::route::{Ends, ScopedAddress};
use vipcast::speaker::Input;
use vipcast::speaker::notice::Level;
use vipcast::speaker::status::PeerStatus;

use crate::world::{ETH0, Mood, World, on_eth0};
use crate::{BASE, NOTHING, WEB, millis, secs};

/// One router, found on eth0.
fn base() -> String {
    BASE.replace("address = \"10.0.0.1\"", "interface = \"eth0\"")
        .replace("remote-asn = 65000", "remote-asn = \"external\"")
}

fn tor1(world: &World) -> PeerStatus {
    world.status().peers.into_iter().next().expect("a peer")
}

/// Why there is no session.
fn reason(world: &World) -> String {
    let failure = tor1(world).last_failure.expect("an attempt failed");
    assert!(!tor1(world).established);
    failure.reason
}

#[test]
fn a_router_gets_everything_as_soon_as_it_is_seen_on_its_link() {
    let mut world = World::new(&base()).boot();
    world.run(secs(60));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert_eq!(world.routes("tor2"), WEB, "the other one is not touched");
    let text = "no router has been seen on eth0 yet: it must send router advertisements there, or \
                be named by `address`";
    assert_eq!((reason(&world).as_str(), world.router("tor1").attempts), (text, 0));
    let status = tor1(&world);
    assert_eq!((status.state.as_str(), status.address), ("Idle", None));
    assert_eq!(status.interface.as_deref(), Some("eth0"));
    let bfd = status.bfd.expect("BFD");
    assert_eq!(bfd.error.as_deref(), Some("it begins when it is known where the router is"));
    // It is said once.
    let lines = world.log_text().matches("no router has been seen").count();
    assert_eq!(lines, 1, "{}", world.log_text());

    world.meet("fe80::1", true, true);
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(tor1(&world).address, Some(on_eth0("fe80::1").ip));
    world.run(secs(5));
    assert!(tor1(&world).bfd.is_some_and(|bfd| bfd.up));
}

#[test]
fn a_router_that_was_seen_before_the_daemon_came_is_known_at_once() {
    let mut world = World::new(&base());
    world.meet("fe80::1", true, true);
    let mut world = world.boot();
    world.run(secs(3));
    assert_eq!(world.routes("tor1"), WEB);
    let warnings = world.log.iter().filter(|notice| notice.level == Level::Warn);
    assert_eq!(warnings.count(), 0, "{}", world.log_text());
}

#[test]
fn one_that_is_no_router_will_do_only_while_it_is_alone() {
    let mut world = World::new(&base()).boot();
    world.meet("fe80::9", false, true);
    world.run(secs(60));
    assert_eq!(tor1(&world).address, Some(on_eth0("fe80::9").ip));
    assert!(world.router("tor1").attempts > 0);
    world.meet("fe80::1", true, true);
    assert_eq!(world.routes("tor1"), WEB, "the router is asked at once");
}

#[test]
fn of_several_routers_none_is_picked_until_one_is_left_and_that_one_stays() {
    let mut world = World::new(&base());
    world.meet("fe80::1", true, true);
    world.meet("fe80::2", true, true);
    let mut world = world.boot();
    world.run(secs(10));
    let text = "several routers are on eth0: fe80::1 and fe80::2 (hosts with vipcast or FRR count as \
                such); `address` says which is meant";
    assert_eq!((reason(&world).as_str(), world.router("tor1").attempts), (text, 0));
    world.meet("fe80::2", true, false);
    assert_eq!(world.routes("tor1"), WEB);
    // Who comes later is not asked.
    world.meet("fe80::2", true, true);
    world.run(secs(600));
    assert_eq!(tor1(&world).sessions, 1);
    assert_eq!(tor1(&world).address, Some(on_eth0("fe80::1").ip));
}

#[test]
fn one_of_several_is_picked_by_its_address() {
    let text = base().replace("interface", "address = \"fe80::2\"\ninterface");
    let mut world = World::new(&text);
    world.meet("fe80::1", true, true);
    world.meet("fe80::2", true, true);
    let mut world = world.boot();
    world.run(secs(3));
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(tor1(&world).address, Some(on_eth0("fe80::2").ip));
}

#[test]
fn another_router_in_the_place_of_one_that_died_is_found_with_its_bfd() {
    let mut world = World::new(&base()).boot();
    world.meet("fe80::1", true, true);
    world.run(secs(60));
    world.set_link("tor1", false);
    world.run(millis(500));
    world.router("tor1").address = on_eth0("fe80::2");
    world.meet("fe80::2", true, true);
    world.meet("fe80::1", true, false);
    assert!(tor1(&world).established, "only BFD says that it is dead");
    world.set_link("tor1", true);
    let took = world.run_until_true(secs(5), |w| w.routes("tor1") == WEB && tor1(w).sessions == 2);
    assert!(took <= millis(1500), "took {took:?}");
    world.run(secs(5));
    assert!(tor1(&world).bfd.is_some_and(|bfd| bfd.up));
    assert_eq!(tor1(&world).address, Some(on_eth0("fe80::2").ip));
}

#[test]
fn a_router_that_only_falls_silent_in_the_neighbour_table_keeps_its_session() {
    let mut world = World::new(&base()).boot();
    world.meet("fe80::1", true, true);
    world.run(secs(60));
    world.meet("fe80::1", true, false);
    world.run(secs(600));
    assert_eq!((tor1(&world).sessions, tor1(&world).established), (1, true));
    // And when it is gone, that is still where it is looked for.
    world.reset("tor1");
    world.run(secs(6));
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn a_session_outlives_a_link_that_is_back_in_a_moment_and_no_longer() {
    for text in [base(), BASE.to_owned()] {
        let text = text.replace("bfd = \"tor\"\n", "");
        let mut world = World::new(&text).boot();
        world.meet("fe80::1", true, true);
        world.run(secs(60));
        world.set_carrier(ETH0, false);
        world.run(millis(1900));
        world.set_carrier(ETH0, true);
        world.run(secs(60));
        assert_eq!((tor1(&world).sessions, tor1(&world).established), (1, true));

        world.set_carrier(ETH0, false);
        world.set_link("tor1", false);
        let took = world.run_until_true(secs(5), |w| !tor1(w).established);
        assert_eq!(took, secs(2));
        let down = tor1(&world).last_down.expect("it ended");
        assert_eq!(
            (down.kind.as_str(), down.reason.as_str()),
            ("cut-off", "interface eth0 has no carrier")
        );
        world.run(secs(300));
        world.set_link("tor1", true);
        world.set_carrier(ETH0, true);
        let took = world.run_until_true(secs(6), |w| w.routes("tor1") == WEB);
        assert!(took <= secs(6), "took {took:?}");
    }
}

#[test]
fn a_link_that_comes_up_is_used_at_once() {
    let mut world = World::new(&base()).boot();
    world.meet("fe80::1", true, true);
    world.run(secs(60));
    world.set_interface(ETH0, false);
    world.run(secs(60));
    assert_eq!(reason(&world), "interface eth0 is down");
    world.set_interface(ETH0, true);
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn a_source_address_is_used_as_soon_as_it_can_be_and_its_loss_is_noticed() {
    let text = BASE.replace(
        "address = \"10.0.0.1\"",
        "address = \"10.0.0.1\"\nsource-address = \"10.0.0.99\"",
    );
    let mut world = World::new(&text);
    world.router("tor1").mood = Mood::Refuses; // as the kernel does without it
    let mut world = world.boot();
    world.run(secs(60));
    world.router("tor1").mood = Mood::Peers;
    let before = world.router("tor1").attempts;
    world.add_address("10.0.0.99/24", true);
    assert_eq!(world.router("tor1").attempts, before, "others may have it too");
    world.add_address("10.0.0.99/24", false);
    assert_eq!(world.router("tor1").attempts, before + 1);
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn a_session_whose_address_is_taken_off_the_host_ends_unless_it_is_back_in_a_moment() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.delete_address(ETH0, "10.0.0.21");
    world.run(secs(1));
    world.add_address("10.0.0.21/24", false);
    world.run(secs(60));
    assert_eq!(tor1(&world).sessions, 1);
    world.delete_address(ETH0, "10.0.0.21");
    let took = world.run_until_true(secs(5), |w| !tor1(w).established);
    assert_eq!(took, secs(2));
    let down = tor1(&world).last_down.expect("it ended");
    assert_eq!(down.reason, "our address 10.0.0.21 is gone from this host");
}

#[test]
fn a_reload_keeps_what_was_found() {
    let mut world = World::new(&base()).boot();
    world.meet("fe80::1", true, true);
    world.run(secs(60));
    world.reload(&base().replace("fall = 3", "fall = 4"));
    world.run(secs(60));
    assert_eq!(tor1(&world).sessions, 1);
    // A peer that is found by its interface only now is found among those who were there before.
    let numbered = base().replace("interface = \"eth0\"", "address = \"10.0.0.1\"");
    world.reload(&numbered);
    world.run(secs(10));
    world.reload(&base());
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), WEB);
}

/// FRR finds the other end of a link by that alone.
#[test]
fn the_daemon_says_that_it_is_there_on_links_where_that_is_of_use() {
    let mut world = World::new(BASE).boot();
    assert_eq!(world.advertised, [].into());
    world.reload(&base());
    assert_eq!(world.advertised, [].into(), "there is no link-local address to say it from");
    world.add_address("fe80::21/64", true);
    assert_eq!(world.advertised, [].into(), "nor is it certain that nobody else has it");
    world.add_address("fe80::21/64", false);
    assert_eq!(world.advertised, [ETH0].into());
    world.set_carrier(ETH0, false);
    assert_eq!(world.advertised, [].into());
    world.set_carrier(ETH0, true);
    assert_eq!(world.advertised, [ETH0].into());

    world.feed(Input::CannotAdvertise(Some("not permitted".into())));
    assert_eq!(world.status().advertise_error.as_deref(), Some("not permitted"));
    world.feed(Input::CannotAdvertise(None));
    assert_eq!(world.status().advertise_error, None);
    world.reload(BASE);
    assert_eq!(world.advertised, [].into());
}

/// Anybody can connect from a link-local address of his own.
#[test]
fn whoever_else_is_on_the_link_is_not_answered() {
    let text = base().replace("remote-asn", "passive = true\nremote-asn");
    let mut world = World::new(&text).boot();
    let local = on_eth0("fe80::21");
    let from = |address: &str| Ends { local, remote: on_eth0(address) };
    assert_eq!(world.speaker.handle_accepted(from("fe80::1"), world.now), None, "nobody is known");
    world.meet("fe80::1", true, true);
    assert_eq!(world.speaker.handle_accepted(from("fe80::9"), world.now), None);
    let elsewhere = Ends { local, remote: ScopedAddress { zone: 9, ..on_eth0("fe80::1") } };
    assert_eq!(world.speaker.handle_accepted(elsewhere, world.now), None);
    assert!(world.speaker.handle_accepted(from("fe80::1"), world.now).is_some());
}

#[test]
fn bfd_timers_that_change_while_the_link_is_down_hold_when_it_is_up() {
    let mut world = World::new(&base()).boot();
    world.meet("fe80::1", true, true);
    world.run(secs(10));
    world.set_interface(ETH0, false);
    world.set_link("tor1", false);
    world.run(secs(10));
    world.reload(&base().replace("[bfd.tor]", "[bfd.tor]\ntransmit-interval = \"100ms\""));
    world.set_link("tor1", true);
    world.set_interface(ETH0, true);
    world.run(secs(10));
    assert!(tor1(&world).bfd.is_some_and(|bfd| bfd.up));
    assert_eq!(world.bfd_transmit_interval("tor1"), millis(100));
}
