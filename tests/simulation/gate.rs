//! What stands between a healthy service and the routers: the operator's wishes, flapping, delays.
use std::net::IpAddr;
use std::time::Duration;

use vipcast::bgp::wire::Segment;
use vipcast::service::admin::{Admin, Keep, Mode};
use vipcast::speaker::Input;

use crate::world::{Health, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

fn wish(world: &mut World, keep: Keep, mode: Option<Mode>) {
    let since = world.status().time;
    let admin = mode.map(|mode| Admin { mode, reason: Some("new kernel".into()), since });
    world.feed(Input::Wish("web".into(), keep, admin));
}

/// What stands in the way of the service, and the command that takes it away.
fn obstacle(world: &World) -> (String, String) {
    let web = world.status().services.into_iter().next().expect("there is one");
    let obstacle = web.obstacle.expect("something stands in its way");
    (obstacle.description, obstacle.undo.unwrap_or_default())
}

fn vip() -> (u32, IpAddr) {
    (1, "203.0.113.5".parse().expect("an address"))
}

/// The service's own configuration with these lines in it.
fn with(lines: &str) -> String {
    BASE.replace("vips = [\"203.0.113.5\"]", &format!("vips = [\"203.0.113.5\"]\n{lines}"))
}

/// With checks that do not probe the VIP, so that it need not stay.
fn without_address(lines: &str) -> String {
    with(&format!("keep-address = false\n{lines}"))
        .replace("http://203.0.113.5/", "http://127.0.0.1/")
}

#[test]
fn a_drained_service_is_withdrawn_at_once_and_its_vip_stays_for_the_drain_time() {
    let mut world = World::new(&without_address("drain-time = \"10s\"")).boot();
    world.run(secs(5));
    wish(&mut world, Keep::Persistent, Some(Mode::Drain));
    let took = world.run_until_true(secs(1), |w| w.routes("tor1") == NOTHING);
    assert!(took <= millis(5), "took {took:?}");
    world.run(secs(9));
    assert!(world.addresses.contains_key(&vip()), "packets may still come");
    world.run(secs(3));
    assert!(!world.addresses.contains_key(&vip()));
    let web = world.status().services[0].clone();
    assert_eq!(obstacle(&world), ("drained: new kernel".into(), "vipcast undrain web".into()));
    assert_eq!(web.vips[0].reason.as_deref(), Some("drained: new kernel"));
    // Healthy or not, it stays out until that is undone.
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    world.set_health("web/alive", Health::Healthy);
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), NOTHING);
    wish(&mut world, Keep::Persistent, None);
    let took = world.run_until_true(secs(1), |w| w.routes("tor1") == WEB);
    assert!(took <= millis(50), "took {took:?}");
    let log = world.log_text();
    for line in [
        "service web: draining for 10s: new kernel",
        "service web: drained: new kernel",
        "service web: drained no longer",
    ] {
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn a_service_that_was_taken_out_before_the_start_is_never_announced() {
    for mode in [Mode::Drain, Mode::Down] {
        let mut world = World::new(BASE);
        wish(&mut world, Keep::Persistent, Some(mode));
        let mut world = world.boot();
        for _ in 0..300 {
            world.run(millis(100));
            assert_eq!(world.routes("tor1"), NOTHING, "{mode:?}");
        }
        // The routers need not wait for it.
        assert!(!world.router("tor1").end_of_rib.is_empty());
        wish(&mut world, Keep::Persistent, None);
        world.run(secs(1));
        assert_eq!(world.routes("tor1"), WEB);
    }
}

#[test]
fn end_of_rib_does_not_wait_for_a_service_that_is_out_and_hangs() {
    let mut world = World::new(BASE);
    world.set_health("web/alive", Health::Stuck);
    wish(&mut world, Keep::Persistent, Some(Mode::Down));
    let mut world = world.boot();
    world.run(secs(1));
    assert!(!world.router("tor1").end_of_rib.is_empty());
}

#[test]
fn a_service_that_a_reload_brings_back_is_still_drained() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    wish(&mut world, Keep::Persistent, Some(Mode::Drain));
    world.run(secs(10));
    let (without, _) = BASE.split_once("[service.web]").expect("it is there");
    world.reload(without);
    world.run(secs(5));
    world.reload(BASE);
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert_eq!(obstacle(&world).0, "drained: new kernel");
}

#[test]
fn admin_down_withdraws_at_once_and_comes_before_a_drain() {
    let mut world = World::new(&without_address("drain-time = \"10s\"")).boot();
    world.run(secs(5));
    wish(&mut world, Keep::Runtime, Some(Mode::Drain));
    wish(&mut world, Keep::Persistent, Some(Mode::Down));
    world.run(secs(2));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert!(!world.addresses.contains_key(&vip()), "nothing is waited for");
    assert_eq!(obstacle(&world), ("admin down: new kernel".into(), "vipcast admin web up".into()));
    wish(&mut world, Keep::Persistent, None);
    world.run(secs(2));
    assert_eq!(world.routes("tor1"), NOTHING, "the drain is still wanted");
    assert_eq!(obstacle(&world).1, "vipcast undrain --runtime web");
}

#[test]
fn a_service_that_comes_up_is_announced_after_the_delay() {
    let mut world = World::new(&with("announce-delay = \"30s\"")).boot();
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), NOTHING);
    let (text, _) = obstacle(&world);
    assert!(text.starts_with("came up just now, announced in 20"), "{text}");
    world.run(secs(21));
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn after_a_crash_a_service_is_announced_without_the_delay() {
    // The routers have kept its routes, and its VIP is on the host.
    let text = with("announce-delay = \"30s\"");
    let mut before = World::new(BASE).boot();
    before.run(secs(1));
    let kept = before.addresses[&vip()];
    let mut world = World::new(&text);
    world.addresses.insert(vip(), kept);
    let mut world = world.boot();
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn a_service_that_flaps_is_held_down_until_it_is_released() {
    let damping = "\n[service.web.damping]\nflaps = 2\nhold = \"1m\"\n";
    let mut world = World::new(&format!("{BASE}{damping}")).boot();
    world.run(secs(5));
    let flap = |world: &mut World| {
        world.set_health("web/alive", Health::Broken);
        world.run(secs(5));
        world.set_health("web/alive", Health::Healthy);
        world.run(secs(5));
    };
    flap(&mut world);
    flap(&mut world);
    assert_eq!(world.routes("tor1"), WEB, "twice is not too often");
    flap(&mut world);
    assert_eq!(world.routes("tor1"), NOTHING);
    let (text, undo) = obstacle(&world);
    assert!(text.starts_with("went down 3 times within 600s, held down for "), "{text}");
    assert_eq!(undo, "vipcast release web");
    world.run(Duration::from_secs(60));
    assert_eq!(world.routes("tor1"), WEB, "it ends");
    flap(&mut world);
    assert_eq!(world.routes("tor1"), NOTHING);
    world.feed(Input::Release("web".into()));
    world.run(millis(10));
    assert_eq!(world.routes("tor1"), WEB);
    assert!(world.log_text().contains("service web: released by the operator"));
}

#[test]
fn a_service_that_degrades_is_announced_as_the_last_resort_while_it_is_down() {
    let degraded = "\n[service.web.degraded]\nprepend = 3\ncommunities = [\"65000:666\"]\n";
    let mut world = World::new(&format!("{}{degraded}", with("when-down = \"degrade\""))).boot();
    world.run(secs(5));
    let heard = |world: &mut World| -> (usize, usize) {
        let routes = &world.router("tor1").routes;
        let attributes = routes.values().next().expect("a route");
        let path = attributes.as_path.iter().flat_map(|path| &path.0);
        let length = path.map(|(Segment::Set(all) | Segment::Sequence(all))| all.len()).sum();
        (length, attributes.communities.len())
    };
    assert_eq!((world.routes("tor1"), heard(&mut world)), (WEB.map(String::from).into(), (1, 0)));
    world.set_health("web/alive", Health::Broken);
    world.run(secs(5));
    assert_eq!((world.routes("tor1"), heard(&mut world)), (WEB.map(String::from).into(), (4, 1)));
    let web = world.status().services.into_iter().next().expect("there is one");
    assert!(web.vips.iter().all(|vip| vip.degraded && vip.announcing_since.is_some()));
    wish(&mut world, Keep::Persistent, Some(Mode::Drain));
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), NOTHING, "the operator is stronger");
    wish(&mut world, Keep::Persistent, None);
    world.set_health("web/alive", Health::Healthy);
    world.run(secs(5));
    assert_eq!((world.routes("tor1"), heard(&mut world)), (WEB.map(String::from).into(), (1, 0)));
    let log = world.log_text();
    let line = "announcing 203.0.113.5 as the last resort: check alive: HTTP status 503";
    assert!(log.contains(line), "{log}");
}
