//! Services that come, fail, flap and hang.
use std::fmt::Write;

use vipcast::process::Surroundings;
use vipcast::route::Family;
use vipcast::speaker::Input;

use crate::world::{Health, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

#[test]
fn a_healthy_service_is_announced_to_every_router_within_milliseconds() {
    let mut world = World::new(BASE).boot();
    let took =
        world.run_until_true(secs(1), |w| w.routes("tor1") == WEB && w.routes("tor2") == WEB);
    assert!(took <= millis(5), "took {took:?}");
}

#[test]
fn a_broken_service_is_never_announced() {
    let mut world = World::new(BASE);
    world.set_health("web/alive", Health::Broken);
    let mut world = world.boot();
    for _ in 0..600 {
        world.run(millis(100));
        assert_eq!(world.routes("tor1"), NOTHING);
    }
    assert!(
        world.status().services[0].reason.as_ref().is_some_and(|r| r.contains("HTTP status 503"))
    );
}

#[test]
fn the_first_outcome_decides_and_later_ones_need_rise_and_fall() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.set_health("web/alive", Health::Broken);
    let down = world.run_until_true(secs(10), |w| w.routes("tor1") == NOTHING);
    // Three failures in a row: the first within an interval, the others an interval apart.
    assert!((secs(2)..=millis(3200)).contains(&down), "withdrawn after {down:?}");
    world.set_health("web/alive", Health::Healthy);
    let up = world.run_until_true(secs(10), |w| w.routes("tor1") == WEB);
    assert!((secs(1)..=millis(2200)).contains(&up), "announced after {up:?}");
}

#[test]
fn a_service_that_hangs_is_withdrawn_like_one_that_fails() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.set_health("web/alive", Health::Silent);
    let down = world.run_until_true(secs(10), |w| w.routes("tor1") == NOTHING);
    assert!((millis(2500)..=millis(3700)).contains(&down), "withdrawn after {down:?}");
}

#[test]
fn a_service_that_fails_less_than_fall_times_in_a_row_stays_announced() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    let updates = world.router("tor1").updates;
    for _ in 0..100 {
        world.set_health("web/alive", Health::Broken);
        world.run(millis(1900));
        world.set_health("web/alive", Health::Healthy);
        world.run(millis(1200));
        assert_eq!(world.routes("tor1"), WEB);
    }
    assert_eq!(world.router("tor1").updates, updates, "nothing was sent at all");
}

#[test]
fn fast_interval_is_used_while_the_verdict_is_changing() {
    let text = BASE.replace("interval = \"1s\"", "interval = \"10s\"\nfast-interval = \"600ms\"");
    let mut world = World::new(&text).boot();
    world.run(secs(30));
    world.set_health("web/alive", Health::Broken);
    let down = world.run_until_true(secs(15), |w| w.routes("tor1") == NOTHING);
    assert!(down <= secs(12) + millis(100), "withdrawn after {down:?}");
}

#[test]
fn end_of_rib_waits_for_the_first_verdict_of_every_service() {
    let slow = "\n[service.slow]\nvips = [\"203.0.113.6\"]\n\n[service.slow.check.alive]\n\
                tcp = \"127.0.0.1:1\"\ninterval = \"10s\"\ntimeout = \"8s\"\n";
    let mut world = World::new(&format!("{BASE}{slow}"));
    world.set_health("slow/alive", Health::Silent);
    let mut world = world.boot();
    world.run(secs(7));
    assert_eq!(world.routes("tor1"), WEB, "what is known is announced meanwhile");
    assert!(world.router("tor1").end_of_rib.is_empty());
    world.run(secs(2));
    let both = [Family::Ipv4Unicast, Family::Ipv6Unicast];
    assert!(world.router("tor1").end_of_rib.iter().eq(&both));
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn end_of_rib_does_not_wait_for_ever() {
    let hung = "\n[service.hung]\nvips = [\"203.0.113.6\"]\n\n[service.hung.check.alive]\n\
                tcp = \"127.0.0.1:1\"\ninterval = \"1h\"\ntimeout = \"1h\"\n";
    let mut world = World::new(&format!("{BASE}{hung}"));
    world.set_health("hung/alive", Health::Silent);
    let mut world = world.boot();
    world.run(secs(59));
    assert!(world.router("tor1").end_of_rib.is_empty());
    world.run(secs(2));
    assert_eq!(world.router("tor1").end_of_rib.len(), 2);
    assert!(world.log_text().contains("not every service has a first result"));
}

#[test]
fn any_of_several_checks_can_be_enough() {
    let second = "\n[service.web.check.other]\ntcp = \"127.0.0.1:1\"\ninterval = \"1s\"\n";
    let text = format!("{BASE}{second}")
        .replace("vips = [\"203.0.113.5\"]\n", "vips = [\"203.0.113.5\"]\nrequire = \"any\"\n");
    let mut world = World::new(&text);
    world.set_health("web/other", Health::Broken);
    let mut world = world.boot();
    world.run(secs(5));
    assert_eq!(world.routes("tor1"), WEB);
    world.set_health("web/alive", Health::Broken);
    world.run(secs(5));
    assert_eq!(world.routes("tor1"), NOTHING);
}

#[test]
fn a_thousand_services_that_fail_at_once_are_withdrawn_in_a_few_messages() {
    let mut text =
        BASE.replace("203.0.113.0/24", "198.18.0.0/16").replace("203.0.113.5", "198.18.255.5");
    for number in 0..1000u32 {
        let vip = format!("198.18.{}.{}", number / 250, number % 250);
        let _ = write!(
            text,
            "\n[service.s{number}]\nvips = [\"{vip}\"]\n[service.s{number}.check.c]\n\
             tcp = \"{vip}:80\"\ninterval = \"1s\"\nfall = 1\nrise = 1\n"
        );
    }
    let mut world = World::new(&text).boot();
    world.run_until_true(secs(2), |w| w.routes("tor1").len() == 1001);
    world.run(secs(5));
    for number in 0..1000 {
        world.set_health(&format!("s{number}/c"), Health::Broken);
    }
    world.run_until_true(secs(3), |w| w.routes("tor1").len() == 1 && w.routes("tor2").len() == 1);
    world.run(secs(1));
    for number in 0..1000 {
        world.set_health(&format!("s{number}/c"), Health::Healthy);
    }
    world.run_until_true(secs(3), |w| w.routes("tor1").len() == 1001);
}

#[test]
fn a_service_that_failed_while_the_daemon_stood_still_is_not_announced_again() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.set_health("web/alive", Health::Broken);
    world.freeze(secs(60));
    for _ in 0..600 {
        world.run(millis(100));
        assert_eq!(world.routes("tor1"), NOTHING);
    }
}

#[test]
fn what_was_missed_while_the_daemon_stood_still_is_no_failure() {
    let mut world = World::new(&BASE.replace("fall = 3", "fall = 1")).boot();
    world.run(millis(60_000));
    world.freeze(secs(60));
    world.run_until_true(secs(3), |w| w.routes("tor1") == WEB);
    assert_eq!(
        world.status().services[0].checks[0].last.as_ref().and_then(|p| p.error.clone()),
        None
    );
    assert!(!world.log_text().contains("check alive is down"), "{}", world.log_text());
}

#[test]
fn a_service_that_nothing_probes_any_more_is_withdrawn() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.set_health("web/alive", Health::Stuck);
    let took = world.run_until_true(secs(30), |w| w.routes("tor1") == NOTHING);
    assert!(took >= secs(10), "a busy host has its time: {took:?}");
    let reason = world.status().services[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("no result yet of check alive"));
}

#[test]
fn an_operator_need_not_wait_for_the_next_probe() {
    let slow = BASE.replace("interval = \"1s\"", "interval = \"1h\"");
    let mut world = World::new(&slow).boot();
    world.run(secs(5));
    world.set_health("web/alive", Health::Broken);
    for (number, routes) in [(1, &WEB[..]), (2, &WEB[..]), (3, &NOTHING[..])] {
        world.feed(Input::Probe(None));
        world.run(secs(1));
        assert_eq!(world.routes("tor1"), routes, "probe {number}");
    }
    world.set_health("web/alive", Health::Healthy);
    for _ in 0..2 {
        world.feed(Input::Probe(Some("web".into())));
        world.feed(Input::Probe(Some("other".into())));
        world.run(secs(1));
    }
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn a_check_that_is_never_heard_of_is_started_anew_and_counted() {
    let mut world = World::new(BASE);
    world.set_health("web/alive", Health::Stuck);
    let mut world = world.boot();
    // Three intervals, the timeout, and ten seconds for a busy host.
    world.run(secs(13));
    assert!(!world.log_text().contains("starting anew"));
    world.run(secs(2));
    assert!(world.log_text().contains("check alive has had no result for too long"));
    world.run(secs(28));
    let restarts = |world: &World| {
        let checks = world.status().services.into_iter().flat_map(|service| service.checks);
        checks.map(|check| check.restarts).collect::<Vec<_>>()
    };
    assert_eq!(restarts(&world), [3], "each has its time");
    world.set_health("web/alive", Health::Healthy);
    world.run(secs(20));
    assert_eq!((world.routes("tor1"), restarts(&world)), (WEB.map(String::from).into(), vec![4]));
}

#[test]
fn checks_that_run_programs_know_the_vips_and_the_state_of_their_service() {
    let exec = BASE.replace("http = \"http://203.0.113.5/healthz\"", "exec = [\"/bin/true\"]");
    let mut world = World::new(&exec);
    world.set_health("web/alive", Health::Silent);
    let mut world = world.boot();
    let told = |world: &World| {
        let Surroundings { vips, state } = &world.told[&"web".into()];
        (vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), *state)
    };
    assert_eq!(told(&world), ("203.0.113.5".into(), "unknown"));
    world.set_health("web/alive", Health::Healthy);
    world.run(secs(5));
    assert_eq!(told(&world), ("203.0.113.5".into(), "up"));
    world.set_health("web/alive", Health::Broken);
    world.run(secs(5));
    assert_eq!(told(&world), ("203.0.113.5".into(), "down"));
    let more = exec.replace("[\"203.0.113.5\"]", "[\"203.0.113.5\", \"203.0.113.6\"]");
    world.reload(&more);
    assert_eq!(told(&world), ("203.0.113.5 203.0.113.6".into(), "down"));
    // Nobody else wants to know.
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    assert!(world.told.is_empty());
}
