//! What `vipcast status` prints, to the letter.
use vipcast::control::render::{self, Style};
use vipcast::netlink::{NextHop, RouteKey};

use crate::world::{Health, Mood, World};
use crate::{BASE, secs};

fn text(world: &World) -> String {
    let text = render::status(&world.status(), &[], Style { colour: false });
    text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn all_is_well() {
    let mut world = World::new(BASE).boot();
    world.run(secs(3600));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 1h 0m, 1 prefix announced
        BFD up for 1h 0m
● tor2  10.0.0.2  Established for 1h 0m, 1 prefix announced
        BFD up for 1h 0m

● web  up for 59m 59s
    ● check alive  up, http GET http://203.0.113.5/healthz
      ok 0.6s ago, took 1.0ms
    ● 203.0.113.5  on lo, announced to 2 of 2 peers for 59m 59s
      to tor1  as 203.0.113.5/32
      to tor2  as 203.0.113.5/32
";
    assert_eq!(text(&world), expected);
}

#[test]
fn a_service_fails() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 1m 10s, 0 prefixes announced
        BFD up for 1m 10s
● tor2  10.0.0.2  Established for 1m 10s, 0 prefixes announced
        BFD up for 1m 10s

× web  down for 7.6s: check alive: HTTP status 503
    × check alive  down, http GET http://203.0.113.5/healthz
      failed 0.6s ago after 1.0ms: HTTP status 503
    × 203.0.113.5  on lo, not announced: the service is down
";
    assert_eq!(text(&world), expected);
    world.set_health("web/alive", Health::Healthy);
    world.run_until_true(secs(2), |w| w.status().services[0].checks[0].against == 1);
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 1m 10s, 0 prefixes announced
        BFD up for 1m 10s
● tor2  10.0.0.2  Established for 1m 10s, 0 prefixes announced
        BFD up for 1m 10s

× web  down for 8.0s: check alive: HTTP status 503
    × check alive  down, http GET http://203.0.113.5/healthz
      ok 0.0s ago, took 1.0ms (1 of 2 to be up)
    × 203.0.113.5  on lo, not announced: the service is down
";
    assert_eq!(text(&world), expected);
}

#[test]
fn a_router_that_does_not_read_still_has_what_it_was_sent_last() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.router("tor1").mood = Mood::Stuck;
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 1m 10s, 1 prefix announced
        BFD up for 1m 10s
● tor2  10.0.0.2  Established for 1m 10s, 0 prefixes announced
        BFD up for 1m 10s

× web  down for 7.6s: check alive: HTTP status 503
    × check alive  down, http GET http://203.0.113.5/healthz
      failed 0.6s ago after 1.0ms: HTTP status 503
    × 203.0.113.5  on lo, not announced: the service is down
      tor1 still has 203.0.113.5/32: its withdrawal is being sent
";
    assert_eq!(text(&world), expected);
}

#[test]
fn what_is_learned_is_shown_with_what_is_not_used_and_why() {
    let accept = "accept = [{ prefix = \"0.0.0.0/0\", le = 32 }]\nremote-asn";
    let mut world = World::new(&BASE.replace("remote-asn", accept));
    for name in ["tor1", "tor2"] {
        world.router(name).announce("0.0.0.0/0", "10.0.0.1");
    }
    world.router("tor2").announce("203.0.113.5/32", "10.0.0.2");
    world.router("tor2").announce("::/0", "fe80::1");
    let mut world = world.boot();
    world.run(secs(70));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 1m 10s, 1 prefix announced
        1 prefix accepted of 1 announced, 1 installed
        BFD up for 1m 10s
● tor2  10.0.0.2  Established for 1m 10s, 1 prefix announced
        2 prefixes accepted of 3 announced, 1 installed
          203.0.113.5/32 by 10.0.0.2 not installed: it is a VIP of this host
        BFD up for 1m 10s

";
    let shown = text(&world);
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn a_peer_without_a_session_has_taught_nothing_but_what_is_kept_for_the_next_one() {
    let text_with = |hold: &str| {
        let accept = format!("accept = [\"0.0.0.0/0\"]\nhold-time = \"{hold}\"\nremote-asn");
        BASE.replace("remote-asn", &accept)
    };
    let mut world = World::new(&text_with("90s"));
    world.router("tor1").announce("0.0.0.0/0", "10.0.0.1");
    let mut world = world.boot();
    world.run(secs(60));
    for name in ["tor1", "tor2"] {
        world.router(name).mood = Mood::Refuses;
    }
    world.reload(&text_with("30s"));
    world.run(secs(30));
    let shown = text(&world);
    assert_eq!(shown.matches("1 prefix kept from the last session, 1 installed\n").count(), 1);
    assert!(!shown.contains("accepted"), "{shown}");
    world.run(secs(100));
    assert!(!text(&world).contains("kept"), "{}", text(&world));
}

#[test]
fn routes_from_before_the_start_are_shown_until_the_routers_are_back() {
    let accept = "accept = [\"0.0.0.0/0\"]\nremote-asn";
    let mut world = World::new(&BASE.replace("remote-asn", accept));
    let key = RouteKey { table: 254, prefix: "0.0.0.0/0".parse().expect("a prefix"), metric: 118 };
    let next_hop = NextHop { address: "10.0.0.1".parse().expect("an address"), index: 2 };
    world.kernel_routes.insert(key, (true, [next_hop].into()));
    world.router("tor1").mood = Mood::Refuses;
    let mut world = world.boot();
    world.run(secs(30));
    let line = "○ 1 route from before the start, until the routers announce theirs\n";
    assert!(text(&world).contains(line), "{}", text(&world));
    world.run(secs(100));
    assert!(!text(&world).contains("from before the start"), "{}", text(&world));
}

#[test]
fn one_router_dies_and_another_refuses_us() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.set_link("tor1", false);
    world.router("tor2").mood = Mood::Refuses;
    world.reset("tor2");
    world.run(secs(20));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

× tor1  10.0.0.1  Connect, no session for 19s
        last session ended 19s ago: BFD session down: control detection time expired
        last attempt failed 1.0s ago: no answer from 10.0.0.1 port 179: the router is down, TCP is filtered on the way, or the router demands a TCP MD5 password or a TCP-AO key (waited 5s)
        next attempt in 2.9s
        BFD down for 19s: control detection time expired
× tor2  10.0.0.2  Active, no session for 20s
        last session ended 20s ago: connection lost: connection reset by peer
        last attempt failed 1.8s ago: refused
        next attempt in 2.0s
        BFD up for 1m 20s

● web  up for 1m 19s
    ● check alive  up, http GET http://203.0.113.5/healthz
      ok 0.6s ago, took 1.0ms
    × 203.0.113.5  on lo, announced to 0 of 2 peers
      to tor1  not announced: no session (Connect)
      to tor2  not announced: no session (Active)
";
    assert_eq!(text(&world), expected);
    world.set_link("tor1", true);
    world.router("tor2").mood = Mood::Peers;
    world.run(secs(60));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 59s, 1 prefix announced
        last session ended 1m 19s ago: BFD session down: control detection time expired
        BFD up for 59s
● tor2  10.0.0.2  Established for 57s, 1 prefix announced
        last session ended 1m 20s ago: connection lost: connection reset by peer
        BFD up for 2m 20s

● web  up for 2m 19s
    ● check alive  up, http GET http://203.0.113.5/healthz
      ok 0.6s ago, took 1.0ms
    ● 203.0.113.5  on lo, announced to 2 of 2 peers for 2m 19s
      to tor1  as 203.0.113.5/32
      to tor2  as 203.0.113.5/32
";
    assert_eq!(text(&world), expected);
}

#[test]
fn an_address_cannot_be_added() {
    let mut world = World::new(BASE);
    world.refuse_addresses = Some("not permitted (CAP_NET_ADMIN is needed)".into());
    let mut world = world.boot();
    world.run(secs(10));
    let expected = "\
vipcastd VERSION, AS 65100, router ID 10.0.0.21

● tor1  10.0.0.1  Established for 10s, 0 prefixes announced
        BFD up for 10s
● tor2  10.0.0.2  Established for 10s, 0 prefixes announced
        BFD up for 10s

● web  up for 10.0s
    ● check alive  up, http GET http://203.0.113.5/healthz
      ok 0.6s ago, took 1.0ms
    × 203.0.113.5  not on lo, not announced: cannot add it to lo: not permitted (CAP_NET_ADMIN is needed)
";
    assert_eq!(text(&world), expected);
}

#[test]
fn what_keeps_the_daemon_from_its_work_comes_first() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    let mut status = world.status();
    status.listen_error = Some("cannot listen on [::]:179: address already in use".into());
    status.metrics_error = Some("cannot serve metrics on [::]:9179: permission denied".into());
    let text = render::status(&status, &[], Style { colour: false });
    let head = "
× cannot listen on [::]:179: address already in use
× cannot serve metrics on [::]:9179: permission denied

";
    assert!(text.contains(head), "{text}");
}

#[test]
fn the_page_of_one_service_begins_with_it() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    let text = render::status(&world.status(), &["web".into()], Style { colour: false });
    assert!(text.starts_with("● web  up for "), "{text}");
}
