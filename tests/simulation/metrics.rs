//! What a scrape of the metrics has.
use vipcast::bfd::driver::Report;
use vipcast::metrics;
use vipcast::speaker::status::Status;

use crate::world::World;
use crate::{BASE, secs};

fn scrape(world: &World) -> String {
    metrics::render(Box::new(world.status()), world.bfd_report()).expect("text")
}

#[test]
fn bfd_sessions_are_counted_by_peer() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.set_link("tor1", false);
    world.run(secs(60));
    let text = scrape(&world);
    for line in [
        "vipcast_bfd_session_ups_total{peer=\"tor1\"} 1",
        "vipcast_bfd_session_downs_total{peer=\"tor1\"} 1",
        "vipcast_bfd_session_downs_total{peer=\"tor2\"} 0",
    ] {
        assert!(text.lines().any(|has| has == line), "{line}\n{text}");
    }
    let count = |name: &str| {
        let prefix = format!("vipcast_bfd_packets_{name}_total{{peer=\"tor2\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
        value.and_then(|value| value.parse::<u64>().ok()).expect("a number")
    };
    // 120 seconds of a packet each 225 to 300 ms
    assert!((400..=540).contains(&count("sent")) && (400..=540).contains(&count("received")));
}

#[test]
fn ends_of_sessions_are_counted_by_kind() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    assert!(!scrape(&world).contains("vipcast_bgp_session_downs_total{"));
    for _ in 0..2 {
        world.set_link("tor1", false);
        world.run(secs(5));
        world.set_link("tor1", true);
        world.run(secs(60));
    }
    world.reset("tor1");
    world.run(secs(60));
    let text = scrape(&world);
    let counts: Vec<&str> =
        text.lines().filter(|line| line.starts_with("vipcast_bgp_session_downs_total{")).collect();
    let kinds = [("bfd-down", 2), ("connection-lost", 1)];
    let expected = kinds.map(|(kind, count)| {
        format!("vipcast_bgp_session_downs_total{{peer=\"tor1\",reason=\"{kind}\"}} {count}")
    });
    assert_eq!(counts, expected);
    // The status calls them by the same names.
    let peer = &world.status().peers[0];
    assert_eq!(peer.last_down.as_ref().expect("one").kind, "connection-lost");
    assert_eq!(peer.session_downs["bfd-down"], 2);
}

#[test]
fn a_reload_that_failed_shows() {
    let world = World::new(BASE).boot();
    let mut status = world.status();
    let value = |status: &Status| {
        let text = metrics::render(Box::new(status.clone()), Report::default()).expect("text");
        let name = "vipcast_config_last_reload_successful ";
        text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    assert_eq!(value(&status).as_deref(), Some("1"));
    status.reload_error = Some("vipcast.toml:1: no such key".into());
    assert_eq!(value(&status).as_deref(), Some("0"));
}

#[test]
fn what_is_learned_is_counted_for_peers_that_it_is_learned_from() {
    let text = BASE.replacen("remote-asn", "accept = [\"0.0.0.0/0\", \"::/0\"]\nremote-asn", 1);
    let mut world = World::new(&text);
    world.router("tor1").announce("0.0.0.0/0", "10.0.0.1");
    world.router("tor1").announce("::/0", "2001:db8::1"); // which is on no link
    let mut world = world.boot();
    world.run(secs(10));
    let text = scrape(&world);
    let counts: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("_prefixes_accepted{") || line.contains("_installed{"))
        .collect();
    let expected = [
        "vipcast_bgp_prefixes_accepted{peer=\"tor1\"} 2",
        "vipcast_bgp_prefixes_installed{peer=\"tor1\"} 1",
    ];
    assert_eq!(counts, expected);
}

#[test]
fn the_man_page_names_every_metric() {
    let text = BASE.replace("remote-asn", "accept = [\"::/0\"]\nremote-asn");
    let mut world = World::new(&text).boot();
    world.run(secs(60));
    let page = include_str!("../../man/vipcastd.8");
    let text = scrape(&world);
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in described.filter_map(|line| line.split_once(' ')) {
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let item = format!(".It Li {name}{suffix}");
        assert!(page.lines().any(|line| line == item), "{item}");
    }
}
