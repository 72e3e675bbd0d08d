//! What `vipcast bfd` prints.
use vipcast::control::render::{self, Style};
use vipcast::speaker::bfd::{PeerBfd, describe};

use crate::world::World;
use crate::{BASE, secs};

fn peers(world: &World) -> Vec<PeerBfd> {
    let peers = describe(&world.status(), &world.bfd_report().sessions);
    let json = serde_json::to_string(&peers).expect("JSON");
    serde_json::from_str(&json).expect("what was written can be read")
}

fn text(world: &World) -> String {
    let mut peers = peers(world);
    peers.truncate(1);
    for session in peers.iter_mut().filter_map(|peer| peer.session.as_mut()) {
        let ends = std::iter::once(&mut session.local).chain(&mut session.remote);
        ends.zip([1111, 2_222_222_222]).for_each(|(end, number)| end.discriminator = number);
    }
    render::bfd(&peers, Style { colour: false })
}

#[test]
fn a_session_that_is_up() {
    let mut world = World::new(BASE).boot();
    world.run(secs(3600));
    let expected = "\
● tor1  10.0.0.1  up for 1h 0m
                         this host                 router
    state                Up                        Up
    diagnostic           no diagnostic             no diagnostic
    discriminator        1111                      2222222222
    detect multiplier    3                         3
    wants to send every  300ms                     300ms
    accepts one every    300ms                     300ms
    sends every          300ms                     300ms
      measured           262.6ms (225ms to 300ms)  262.5ms (225ms to 300ms)
    gives up after       900ms                     900ms
    packets: 13713 sent, 13713 received
    came up: 1, went down: 0
    single hop, UDP port 3784, TTL 255
";
    assert_eq!(text(&world), expected);
}

#[test]
fn a_session_that_is_missed() {
    let mut world = World::new(&BASE.replace("[bfd.tor]", "[bfd.tor]\nstrict = true")).boot();
    world.run(secs(60));
    world.router("tor1").bfd_ttl = 1;
    world.run(secs(60));
    let expected = "\
× tor1  10.0.0.1  down for 59s: control detection time expired; packets come from the router and \
are dropped: their TTL is not 255, so they are not from this link (RFC 5881 §5; `multihop`)
    BGP waits for it (strict)
                         this host                       router
    state                Down                            -
    diagnostic           control detection time expired  -
    discriminator        1111                            -
    detect multiplier    3                               -
    wants to send every  1s                              -
    accepts one every    300ms                           -
    sends every          1s                              -
      measured           892.6ms (759.8ms to 999.9ms)    -
    gives up after       -                               -
    packets: 298 sent, 230 received; dropped: 70 ttl
    came up: 1, went down: 1
    single hop, UDP port 3784, TTL 255
";
    assert_eq!(text(&world), expected);
}

#[test]
fn only_peers_with_bfd_are_listed_whether_there_is_a_session_or_not() {
    let mut world = World::new(&BASE.replacen("bfd = \"tor\"\n", "", 1)).boot();
    world.run(secs(10));
    let names: Vec<_> =
        peers(&world).into_iter().map(|peer| (peer.name, peer.session.is_some())).collect();
    assert_eq!(names, [("tor2".into(), true)]);
}

/// The routers are next to the host, and known by their hardware addresses.
fn on_the_wire(config: &str) -> World {
    let mut world = World::new(config);
    for router in ["10.0.0.1", "10.0.0.2"] {
        world.meet(router, false, true);
    }
    world.boot()
}

#[test]
fn a_router_without_bfd_that_no_longer_forwards_is_left() {
    let unaffiliated = "[bfd.tor]\necho = \"unaffiliated\"\n";
    let mut world = on_the_wire(&BASE.replace("[bfd.tor]\n", unaffiliated));
    let announced = |world: &mut World| world.routes("tor1") == ["203.0.113.5/32"];
    world.run(secs(20));
    assert!(announced(&mut world));
    let expected = "\
● tor1  10.0.0.1  up for 20s
    state Up (no diagnostic), discriminator 1111
    echo: every 50ms, 454 sent, 454 came back; round trip 0ns (at most 0ns)
    the router is gone when 3 in a row are missing
    came up: 1, went down: 0
    without BFD of the router (RFC 9747), UDP port 3785
";
    assert_eq!(text(&world), expected);

    world.router("tor1").forwards = false;
    world.run(secs(1));
    assert!(!announced(&mut world));
    world.run(secs(60));
    let text = text(&world);
    let why = "down for 1m 0s: echo function failed; no Echo packet comes back: the router drops";
    assert!(text.contains(why), "{text}");
    // It is not strict: without BFD there is BGP all the same.
    assert!(announced(&mut world));
    world.router("tor1").forwards = true;
    world.run(secs(2));
    assert!(announced(&mut world) && world.status().peers[0].bfd.as_ref().is_some_and(|it| it.up));
}

#[test]
fn a_reload_changes_how_a_router_is_watched_without_harm() {
    let plain = BASE;
    let echo = &BASE.replace("[bfd.tor]\n", "[bfd.tor]\necho = true\n");
    let unaffiliated = &BASE.replace("[bfd.tor]\n", "[bfd.tor]\necho = \"unaffiliated\"\n");
    let mut world = on_the_wire(plain);
    world.run(secs(20));
    for config in [echo, unaffiliated, plain, unaffiliated, echo, plain] {
        world.reload(config);
        world.run(secs(30));
        let status = world.status();
        let look = &status.peers[0];
        let log = world.log_text();
        assert_eq!((look.sessions, look.bfd.as_ref().map(|bfd| bfd.up)), (1, Some(true)), "{log}");
        assert_eq!(world.routes("tor1"), ["203.0.113.5/32"]);
        let echo = world.bfd_report().sessions[0].session.echo;
        assert_eq!(echo.is_some_and(|echo| echo.returned > 100), config == unaffiliated);
    }
}
