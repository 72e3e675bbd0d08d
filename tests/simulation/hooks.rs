//! Programs that are told what becomes of a service: when they are run, and when not.

use vipcast::check::Failure;
use vipcast::service::admin::{Admin, Keep, Mode};
use vipcast::speaker::Input;
use vipcast::speaker::notice::Level;

use crate::world::{Health, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

const HOOKS: &str = "on-up = [\"/up\"]\non-down = [\"/down\"]\non-drain = [\"/drain\"]";

/// The service's own configuration with these lines in it.
fn with(lines: &str) -> String {
    BASE.replace("vips = [\"203.0.113.5\"]", &format!("vips = [\"203.0.113.5\"]\n{lines}"))
}

fn wish(world: &mut World, mode: Option<Mode>) {
    let since = world.status().time;
    let admin = mode.map(|mode| Admin { mode, reason: Some("new kernel".into()), since });
    world.feed(Input::Wish("web".into(), Keep::Persistent, admin));
    world.run(secs(1));
}

fn set_health(world: &mut World, health: Health) {
    world.set_health("web/alive", health);
    world.run(secs(5));
}

const BROKEN: &str = "web on-down (down) check alive: HTTP status 503";

#[test]
fn hooks_are_told_when_a_service_begins_to_be_announced_and_when_it_is_not_any_more() {
    let mut world = World::new(&with(HOOKS)).boot();
    world.run(secs(5));
    assert_eq!(world.hooks, ["web on-up (up)"]);
    set_health(&mut world, Health::Broken);
    assert_eq!(world.hooks[1..], [BROKEN]);
    // What changes nothing is not told again.
    set_health(&mut world, Health::Silent);
    wish(&mut world, Some(Mode::Drain));
    wish(&mut world, None);
    assert_eq!(world.hooks.len(), 2);
    set_health(&mut world, Health::Healthy);
    assert_eq!(world.hooks[2..], ["web on-up (up)"]);
}

#[test]
fn a_service_that_was_never_announced_has_nothing_to_tell() {
    let mut world = World::new(&with(HOOKS));
    world.set_health("web/alive", Health::Broken);
    let mut world = world.boot();
    world.run(secs(10));
    world.stop("vipcastd stopped");
    world.run(secs(1));
    assert!(world.stopped);
    assert_eq!(world.hooks, NOTHING);
}

#[test]
fn what_the_operator_takes_out_is_told_to_on_drain_and_not_to_on_down() {
    for (mode, text) in
        [(Mode::Drain, "draining: new kernel"), (Mode::Down, "admin down: new kernel")]
    {
        let mut world = World::new(&with(HOOKS)).boot();
        world.run(secs(5));
        wish(&mut world, Some(mode));
        assert_eq!(world.hooks[1..], [format!("web on-drain (up) {text}")]);
        set_health(&mut world, Health::Broken);
        world.run(secs(60));
        set_health(&mut world, Health::Healthy);
        assert_eq!(world.hooks.len(), 2, "it is out anyway");
        wish(&mut world, None);
        assert_eq!(world.hooks[2..], ["web on-up (up)"]);
    }
}

#[test]
fn of_several_vips_the_first_and_the_last_count() {
    let text = with(HOOKS).replace("[\"203.0.113.5\"]", "[\"203.0.113.5\", \"203.0.113.6\"]");
    let mut world = World::new(&text).boot();
    world.run(secs(5));
    assert_eq!(world.hooks, ["web on-up (up)"]);
    // One of them cannot be put back.
    world.refuse_addresses = Some("no room".into());
    world.delete_address(1, "203.0.113.5");
    world.run(secs(5));
    assert_eq!((world.routes("tor1").len(), world.hooks.len()), (1, 1));
    world.delete_address(1, "203.0.113.6");
    world.run(secs(5));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert_eq!(world.hooks.len(), 2);
    assert!(
        world.hooks[1].starts_with("web on-down (up) VIP 203.0.113.5 is not on this host"),
        "{:?}",
        world.hooks
    );
    world.refuse_addresses = None;
    world.run(secs(60));
    assert_eq!(world.hooks[2..], ["web on-up (up)"]);
}

#[test]
fn of_what_happens_while_a_hook_runs_only_the_last_is_told() {
    let mut world = World::new(&with(HOOKS));
    world.hook = (secs(60), Ok(()));
    let mut world = world.boot();
    world.run(secs(5));
    for _ in 0..3 {
        set_health(&mut world, Health::Broken);
        set_health(&mut world, Health::Healthy);
    }
    wish(&mut world, Some(Mode::Drain));
    assert_eq!(world.routes("tor1"), NOTHING, "nothing waits for hooks");
    assert_eq!(world.hooks, ["web on-up (up)"]);
    world.run(secs(60));
    assert_eq!(world.hooks[1..], ["web on-drain (up) draining: new kernel"]);
    world.run(secs(100));
    assert_eq!(world.hooks.len(), 2);
}

#[test]
fn what_is_not_so_any_more_is_not_told_although_nobody_is_told_otherwise() {
    let mut world = World::new(&with("on-down = [\"/down\"]"));
    world.hook = (secs(60), Ok(()));
    let mut world = world.boot();
    world.run(secs(5));
    assert_eq!(world.hooks, NOTHING);
    set_health(&mut world, Health::Broken);
    set_health(&mut world, Health::Healthy);
    set_health(&mut world, Health::Broken);
    set_health(&mut world, Health::Healthy);
    world.run(secs(200));
    assert_eq!(world.hooks, [BROKEN]);
}

#[test]
fn a_hook_that_fails_is_a_warning_and_one_that_does_not_is_for_those_who_search() {
    let mut world = World::new(&with(HOOKS));
    world.hook = (millis(20), Ok(()));
    let mut world = world.boot();
    world.run(secs(5));
    world.hook = (secs(2), Err(Failure::new("exit status 1: no")));
    set_health(&mut world, Health::Broken);
    let of_hooks = world.log.iter().filter(|notice| notice.message.contains(" on-"));
    let of_hooks: Vec<_> = of_hooks.map(|notice| (notice.level, notice.message.as_str())).collect();
    let expected = [
        (Level::Debug, "service web: on-up ran for 20ms"),
        (Level::Warn, "service web: on-down failed after 2s: exit status 1: no"),
    ];
    assert_eq!(of_hooks, expected);
}

#[test]
fn at_the_end_on_down_is_run_and_the_daemon_waits_for_it() {
    let mut world = World::new(&with(HOOKS)).boot();
    world.run(secs(5));
    world.hook = (secs(3), Ok(()));
    world.stop("vipcastd stopped");
    world.run(secs(2));
    assert_eq!(world.hooks[1..], ["web on-down (up) vipcastd stops"]);
    assert_eq!(world.routes("tor1"), NOTHING);
    assert!(!world.stopped);
    let took = world.run_until_true(secs(2), |world| world.stopped);
    assert!(took >= millis(900), "took {took:?}");
}

#[test]
fn at_the_end_a_hook_that_hangs_is_waited_for_no_longer_than_five_seconds() {
    let mut world = World::new(&with(HOOKS)).boot();
    world.run(secs(5));
    world.hook = (secs(30), Ok(()));
    world.stop("vipcastd stopped");
    world.run_until_true(secs(7), |world| world.stopped);
    let text = "service web: on-down has not ended, and is killed with vipcastd";
    assert!(world.log_text().contains(text), "{}", world.log_text());
}

#[test]
fn a_stop_without_hooks_waits_for_nothing() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.stop("vipcastd stopped");
    let took = world.run_until_true(secs(1), |world| world.stopped);
    assert!(took < millis(400), "took {took:?}");
}

#[test]
fn a_service_that_a_reload_removes_is_told_to_on_down() {
    let mut world = World::new(&with(HOOKS)).boot();
    world.run(secs(5));
    let (without, _) = BASE.split_once("[service.web]").expect("it is there");
    world.reload(without);
    world.run(secs(1));
    assert_eq!(world.hooks[1..], ["web on-down (up) removed from the configuration"]);
}

#[test]
fn a_reload_that_replaces_a_vip_or_brings_hooks_tells_nothing() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.reload(&with(HOOKS));
    world.run(secs(5));
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(world.hooks, NOTHING);
    // It is somebody else's to put it on the host, so that it is announced at once.
    let elsewhere = with(&format!("interface = \"none\"\n{HOOKS}"));
    world.reload(&elsewhere);
    world.reload(&elsewhere.replace("vips = [\"203.0.113.5\"]", "vips = [\"203.0.113.6\"]"));
    world.run(secs(5));
    assert_eq!(world.routes("tor1"), ["203.0.113.6/32"]);
    assert_eq!(world.hooks, NOTHING);
}
