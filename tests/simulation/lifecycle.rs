//! Start and stop.
use std::collections::BTreeSet;
use std::net::IpAddr;

use vipcast::bgp::down::DownReason;
use vipcast::speaker::notice::Level;

use crate::world::World;
use crate::{BASE, NOTHING, WEB, millis, secs};

#[test]
fn stopping_withdraws_says_goodbye_and_takes_the_vips_off_in_this_order() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.stop("vipcastd stopped on host1");
    assert_eq!(world.routes("tor1"), NOTHING, "withdrawn at once");
    let took = world.run_until_true(secs(2), |w| w.stopped);
    assert!(took <= millis(300), "took {took:?}");
    assert_eq!(world.goodbyes, ["close", "close", "bfd admin down"]);
    for name in ["tor1", "tor2"] {
        let Some(DownReason::NotificationReceived(cease)) =
            world.router(name).downs.last().cloned()
        else {
            panic!("{name} was not told");
        };
        assert_eq!((cease.code, cease.subcode), (6, 2));
        let text = cease.shutdown_communication();
        assert_eq!(text.as_deref(), Some("vipcastd stopped on host1"));
    }
    let left: BTreeSet<IpAddr> = world.addresses.keys().map(|(_, ip)| *ip).collect();
    assert_eq!(left, BTreeSet::from([IpAddr::from(crate::world::HOST)]));
}

#[test]
fn the_end_of_a_session_is_a_warning_only_if_nobody_here_meant_it() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.reset("tor2");
    world.run(secs(60));
    world.stop("vipcastd stopped on host1");
    world.run_until_true(secs(2), |w| w.stopped);
    let ends = world.log.iter().filter(|notice| notice.message.contains("session down"));
    let ends: Vec<_> = ends.map(|notice| (notice.level, notice.message.as_str())).collect();
    let stopped = "session down: shut down: vipcastd stopped on host1";
    let expected = [
        (Level::Warn, "peer tor2: session down: connection lost: connection reset by peer".into()),
        (Level::Info, format!("peer tor1: {stopped}")),
        (Level::Info, format!("peer tor2: {stopped}")),
    ];
    assert_eq!(ends, expected.each_ref().map(|(level, text)| (*level, text.as_str())));
}

#[test]
fn a_stop_for_a_restart_tells_nobody_anything_and_leaves_everything() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    let present = world.addresses.clone();
    world.restart();
    assert!(world.stopped);
    for name in ["tor1", "tor2"] {
        // What a crash amounts to (RFC 4724 §4.2), and BFD no reason to doubt it.
        let down = world.router(name).downs.last().cloned();
        assert_eq!(down, Some(DownReason::ClosedByPeer { before_open: false }));
    }
    assert_eq!(world.goodbyes, ["bfd admin down"], "no last words");
    assert_eq!(world.addresses, present);
    assert!(!world.log_text().contains("withdrawing"), "{}", world.log_text());
    assert!(world.log_text().contains("stopping for a restart"), "{}", world.log_text());
}

#[test]
fn stopping_does_not_wait_for_a_router_that_is_out_of_reach() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.router("tor1").mood = crate::world::Mood::Stuck;
    world.stop("bye");
    assert_eq!(world.routes("tor2"), NOTHING);
    let took = world.run_until_true(secs(5), |w| w.stopped);
    assert!(took <= secs(2), "took {took:?}");
}

#[test]
fn the_router_id_is_found_when_it_is_not_configured() {
    let mut world = World::new(&BASE.replace("router-id = \"10.0.0.21\"\n", "")).boot();
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(world.status().router_id, Some(crate::world::HOST));
}

#[test]
fn a_host_whose_links_come_up_late_has_its_router_id_as_soon_as_there_is_a_way_to_a_router() {
    let mut world = World::new(&BASE.replace("router-id = \"10.0.0.21\"\n", ""));
    world.reachable.clear();
    let mut world = world.boot();
    world.run(secs(30));
    assert_eq!((world.status().router_id, world.router("tor1").attempts), (None, 0));
    assert_eq!(world.log_text().matches("no router ID yet").count(), 1, "{}", world.log_text());
    world.reachable = vec![crate::world::HOST];
    world.run(secs(2));
    assert_eq!(world.routes("tor1"), WEB);
    assert!(world.log_text().contains("router ID 10.0.0.21"), "{}", world.log_text());
    // Nor is it looked for in vain where there is nobody to have it.
    let mut alone = World::new("[bgp]\nlocal-asn = 65100\n").boot();
    alone.run(secs(30));
    assert_eq!(alone.speaker.poll_timeout(), None);
}

#[test]
fn what_is_announced_after_a_day_is_what_was_announced_after_a_second() {
    let mut world = World::new(BASE).boot();
    world.run(secs(1));
    let (updates, log) = (world.router("tor1").updates, world.log.len());
    // BFD apart, which has its own tests, so that the day is short.
    let text = BASE.replace("bfd = \"tor\"\n", "");
    let mut quiet = World::new(&text).boot();
    quiet.run(secs(24 * 3600));
    assert_eq!(quiet.routes("tor1"), WEB);
    assert_eq!(quiet.router("tor1").updates, updates);
    assert!(quiet.log.len() <= log, "{}", quiet.log_text());
}
