//! Services that follow a unit of systemd: what it does is known before any check fails.
use std::net::IpAddr;

use vipcast::control::render::{self, Style};
use vipcast::service::admin::{Admin, Keep, Mode};
use vipcast::speaker::Input;
use vipcast::units::{Activity, State, UnitName};

use crate::world::{Health, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

const NGINX: &str = "nginx.service";

/// The service follows nginx.service, and its check is slow.
fn text() -> String {
    with("")
}

fn with(lines: &str) -> String {
    BASE.replace(
        "vips = [\"203.0.113.5\"]",
        &format!("vips = [\"203.0.113.5\"]\nunit = \"{NGINX}\"\n{lines}"),
    )
    .replace("interval = \"1s\"", "interval = \"1m\"")
}

fn name() -> UnitName {
    UnitName::new(NGINX).expect("the name of a unit")
}

/// What systemd would say next: what the unit does, whether it is asked to stop, which run that is.
fn tell(world: &mut World, activity: Activity, stopping: bool, activation: u64) {
    let result = (activity == Activity::Failed).then(|| "signal".into());
    world.feed(Input::Unit(name(), State { activity, stopping, result, activation }));
}

/// Announced, with a unit that runs.
fn announcing(text: &str) -> World {
    let mut world = World::new(text);
    tell(&mut world, Activity::Active, false, 1);
    let mut world = world.boot();
    world.run_until_true(secs(1), |w| w.routes("tor1") == WEB);
    world.run(secs(5));
    world
}

/// What stands in the way of the service, in which word, and the command that takes it away.
fn obstacle(world: &World) -> (String, String, Option<String>) {
    let web = world.status().services.into_iter().next().expect("there is one");
    let obstacle = web.obstacle.expect("something stands in its way");
    (obstacle.description, obstacle.kind, obstacle.undo)
}

fn is_served(world: &World) -> bool {
    let vip: IpAddr = "203.0.113.5".parse().expect("an address");
    world.addresses.contains_key(&(1, vip))
}

#[test]
fn a_unit_that_is_asked_to_stop_is_withdrawn_before_any_check_fails_and_served_for_the_drain_time()
{
    let text = with("drain-time = \"10s\"\nkeep-address = false");
    let mut world = announcing(&text.replace("http://203.0.113.5/", "http://127.0.0.1/"));
    assert!(world.units.contains(&name()));
    tell(&mut world, Activity::Active, true, 1);
    let took = world.run_until_true(secs(1), |w| w.routes("tor1") == NOTHING);
    assert!(took <= millis(5), "took {took:?}");
    let stopping = "nginx.service is asked to stop".to_owned();
    assert_eq!(obstacle(&world), (stopping.clone(), "unit".into(), None));
    let page = render::status(&world.status(), &[], Style { colour: false });
    assert!(page.contains("    ○ unit nginx.service  active, asked to stop\n"), "{page}");
    let vip = world.status().services[0].vips[0].clone();
    assert_eq!(vip.reason, Some(stopping));
    world.run(secs(8));
    assert!(is_served(&world), "packets may still come");
    tell(&mut world, Activity::Deactivating, true, 1);
    tell(&mut world, Activity::Inactive, false, 1);
    world.run(secs(5));
    assert!(!is_served(&world));
    let start = Some("systemctl start nginx.service".into());
    assert_eq!(obstacle(&world), ("nginx.service is inactive".into(), "unit".into(), start));
    assert!(!world.log_text().contains("check alive failed"), "{}", world.log_text());
}

#[test]
fn a_restart_brings_it_back_when_it_is_active_and_a_probe_has_found_it_healthy() {
    let mut world = announcing(&text());
    for activity in [Activity::Active, Activity::Deactivating, Activity::Activating] {
        tell(&mut world, activity, true, 1);
        world.run(secs(1));
        assert_eq!(world.routes("tor1"), NOTHING, "{activity:?}");
    }
    tell(&mut world, Activity::Active, false, 2);
    let took = world.run_until_true(secs(1), |w| w.routes("tor1") == WEB);
    assert!((millis(1)..=millis(50)).contains(&took), "took {took:?}");
}

#[test]
fn a_service_that_is_dead_after_a_restart_is_not_announced_for_what_was_before_it() {
    // Its check has seen nothing but success, and is not due for a minute.
    let mut world = announcing(&text());
    tell(&mut world, Activity::Active, true, 1);
    tell(&mut world, Activity::Activating, true, 1);
    world.run(secs(1));
    world.set_health("web/alive", Health::Broken);
    tell(&mut world, Activity::Active, false, 2);
    for _ in 0..300 {
        world.run(millis(100));
        assert_eq!(world.routes("tor1"), NOTHING);
    }
    let reason = world.status().services[0].reason.clone().expect("it is down");
    assert!(reason.contains("HTTP status 503"), "{reason}");
}

#[test]
fn a_restart_that_nobody_saw_has_the_checks_begin_anew_too() {
    let mut world = announcing(&text());
    world.set_health("web/alive", Health::Broken);
    tell(&mut world, Activity::Active, false, 2);
    world.run_until_true(secs(1), |w| w.routes("tor1") == NOTHING);
}

#[test]
fn a_stop_that_is_cancelled_puts_it_back_at_once() {
    let mut world = announcing(&text());
    tell(&mut world, Activity::Active, true, 1);
    world.run(millis(100));
    assert_eq!(world.routes("tor1"), NOTHING);
    tell(&mut world, Activity::Active, false, 1);
    let took = world.run_until_true(secs(1), |w| w.routes("tor1") == WEB);
    assert!(took < millis(1), "nothing has to be found out anew: {took:?}");
}

#[test]
fn a_unit_that_reloads_goes_on() {
    let mut world = announcing(&text());
    let updates = world.router("tor1").updates;
    tell(&mut world, Activity::Reloading, false, 1);
    world.run(secs(5));
    tell(&mut world, Activity::Active, false, 1);
    world.run(secs(5));
    assert_eq!(world.router("tor1").updates, updates, "nothing was sent at all");
}

#[test]
fn a_bus_that_is_lost_keeps_announcing_and_says_so() {
    let mut world = announcing(&text());
    let updates = world.router("tor1").updates;
    world.feed(Input::CannotWatchUnits(Some("cannot ask systemd about units: it is gone".into())));
    world.feed(Input::Unit(name(), State::UNKNOWN));
    world.run(secs(120));
    assert_eq!(world.router("tor1").updates, updates, "nothing was sent at all");
    let status = world.status();
    let unit = status.services[0].unit.clone().expect("it follows one");
    assert_eq!(unit.description, "it is not known whether nginx.service is active");
    let error = Some("cannot ask systemd about units: it is gone");
    assert_eq!(status.units_error.as_deref(), error);
    // It is back, and the unit is not.
    world.feed(Input::CannotWatchUnits(None));
    tell(&mut world, Activity::Inactive, false, 1);
    world.run_until_true(secs(1), |w| w.routes("tor1") == NOTHING);
    assert_eq!(world.status().units_error, None);
}

#[test]
fn a_bus_that_is_lost_during_a_restart_leaves_it_to_a_new_probe() {
    for (health, routes) in [(Health::Healthy, &WEB[..]), (Health::Broken, &NOTHING)] {
        let mut world = announcing(&text());
        tell(&mut world, Activity::Deactivating, true, 1);
        world.run(secs(1));
        world.set_health("web/alive", health);
        world.feed(Input::Unit(name(), State::UNKNOWN));
        assert_eq!(world.routes("tor1"), NOTHING, "not for what was before");
        world.run(secs(1));
        assert_eq!(world.routes("tor1"), routes, "{health:?}");
    }
}

#[test]
fn a_crash_withdraws_and_counts_as_a_flap_where_a_restart_does_not() {
    let damping = "\n[service.web.damping]\nflaps = 1\nhold = \"1m\"\n";
    let mut world = announcing(&format!("{}{damping}", text()));
    for run in 2..6 {
        tell(&mut world, Activity::Active, true, run - 1);
        tell(&mut world, Activity::Inactive, true, run - 1);
        world.run(secs(1));
        tell(&mut world, Activity::Active, false, run);
        world.run(secs(1));
        assert_eq!(world.routes("tor1"), WEB, "restart {run}");
    }
    tell(&mut world, Activity::Failed, false, 5);
    let took = world.run_until_true(secs(1), |w| w.routes("tor1") == NOTHING);
    assert!(took <= millis(5), "took {took:?}");
    assert_eq!(obstacle(&world).0, "nginx.service is failed (signal)");
    // systemd starts it again, and again.
    tell(&mut world, Activity::Activating, true, 5);
    tell(&mut world, Activity::Active, false, 6);
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), WEB);
    tell(&mut world, Activity::Activating, false, 6);
    tell(&mut world, Activity::Active, false, 7);
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert!(obstacle(&world).0.starts_with("went down 2 times"), "{:?}", obstacle(&world));
}

#[test]
fn checks_that_fail_while_the_unit_is_stopped_are_no_flaps() {
    let damping = "\n[service.web.damping]\nflaps = 1\nhold = \"1h\"\n";
    let text = text().replace("interval = \"1m\"", "interval = \"1s\"");
    let mut world = announcing(&format!("{text}{damping}"));
    for run in 2..6 {
        tell(&mut world, Activity::Active, true, run - 1);
        tell(&mut world, Activity::Inactive, false, run - 1);
        world.set_health("web/alive", Health::Broken);
        world.run(secs(10));
        world.set_health("web/alive", Health::Healthy);
        tell(&mut world, Activity::Active, false, run);
        world.run(secs(1));
        assert_eq!(world.routes("tor1"), WEB, "restart {run}");
    }
}

#[test]
fn a_service_whose_unit_does_not_run_is_never_announced_and_nobody_waits_for_it() {
    for activity in [Activity::Inactive, Activity::NotFound, Activity::Activating] {
        let mut world = World::new(&text()).boot();
        world.run(millis(500));
        assert_eq!(world.routes("tor1"), NOTHING, "systemd has not said anything yet");
        tell(&mut world, activity, false, 0);
        for _ in 0..100 {
            world.run(millis(100));
            assert_eq!(world.routes("tor1"), NOTHING, "{activity:?}");
        }
        assert!(!world.router("tor1").end_of_rib.is_empty(), "{activity:?}");
    }
}

#[test]
fn without_a_bus_health_alone_decides_from_the_start() {
    let mut world = World::new(&text()).boot();
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), NOTHING);
    world.feed(Input::Unit(name(), State::UNKNOWN));
    world.run_until_true(secs(1), |w| w.routes("tor1") == WEB);
}

#[test]
fn a_drain_for_the_time_of_a_restart_is_over_with_it_and_others_are_not() {
    let drain = |keep, mode| {
        Input::Wish("web".into(), keep, Some(Admin { mode, reason: None, since: String::new() }))
    };
    for (input, routes) in [
        (drain(Keep::Runtime, Mode::Drain), &WEB[..]),
        (drain(Keep::Persistent, Mode::Drain), &NOTHING),
        (drain(Keep::Runtime, Mode::Down), &NOTHING),
    ] {
        let what = format!("{input:?}");
        let mut world = announcing(&text());
        tell(&mut world, Activity::Active, true, 1);
        tell(&mut world, Activity::Deactivating, true, 1);
        world.feed(input);
        world.run(secs(6));
        tell(&mut world, Activity::Active, false, 2);
        world.run(secs(6));
        assert_eq!(world.routes("tor1"), routes, "{what}");
    }
}

#[test]
fn a_drain_while_the_unit_runs_on_is_not_undone_by_news_of_it() {
    let mut world = announcing(&text());
    let admin = Admin { mode: Mode::Drain, reason: None, since: String::new() };
    world.feed(Input::Wish("web".into(), Keep::Runtime, Some(admin)));
    tell(&mut world, Activity::Reloading, false, 1);
    world.feed(Input::Unit(name(), State::UNKNOWN));
    tell(&mut world, Activity::Active, false, 1);
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), NOTHING);
}

#[test]
fn a_reload_follows_another_unit_or_none() {
    let mut world = announcing(&text());
    let updates = world.router("tor1").updates;
    world.reload(&text().replace(NGINX, "haproxy.service"));
    world.run(secs(5));
    assert_eq!(world.router("tor1").updates, updates, "nobody has said that it does not run");
    assert_eq!(world.units, [UnitName::new("haproxy.service").expect("a unit")].into());
    tell(&mut world, Activity::Inactive, false, 1);
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), WEB, "that is not its unit any more");

    world.reload(&text());
    tell(&mut world, Activity::Inactive, false, 1);
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), NOTHING);
    let plain = text().replace(&format!("unit = \"{NGINX}\""), "");
    world.set_health("web/alive", Health::Broken);
    world.reload(&plain);
    assert!(world.units.is_empty());
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), NOTHING, "what was healthy before may not be there any more");
    world.set_health("web/alive", Health::Healthy);
    world.run(secs(130));
    assert_eq!(world.routes("tor1"), WEB);
}
