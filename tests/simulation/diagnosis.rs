//! BFD that does not come up, and what the daemon says is wrong with it.
use vipcast::speaker::notice::Level;

use crate::world::World;
use crate::{BASE, NOTHING, WEB, millis, secs};

/// Whether packets to the first router pass, whether those from it do, and their TTL.
fn world(to: bool, from: bool, ttl: u8) -> World {
    let mut world = World::new(BASE);
    world.router("tor1").bfd_passes = [to, from];
    world.router("tor1").bfd_ttl = ttl;
    world.boot()
}

/// Lines of the log that say what is wrong.
fn told(world: &World) -> Vec<String> {
    let prefix = "peer tor1: BFD is not up: ";
    let lines = world.log.iter().filter(|line| line.level == Level::Warn);
    lines.filter_map(|line| Some(line.message.strip_prefix(prefix)?.to_owned())).collect()
}

fn diagnosis(world: &World) -> Option<String> {
    let peer = world.status().peers.into_iter().next().expect("a peer");
    peer.bfd.expect("BFD").diagnosis
}

const SILENT: &str = "nothing comes from the router: it has no BFD for this host, or UDP port 3784 \
                      is dropped between the two";
const UNHEARD: &str = "the router is heard but does not hear this host: UDP port 3784 is dropped on \
                       the way to it";
const FAR: &str = "packets come from the router and are dropped: their TTL is not 255, so they are \
                   not from this link (RFC 5881 §5; `multihop`)";
const CEASED: &str = "nothing comes from the router any more: it has no BFD for this host now, or \
                      UDP port 3784 is dropped between the two";

#[test]
fn after_ten_seconds_what_is_wrong_is_told_once_and_shown() {
    let cases = [
        (world(false, false, 255), SILENT),
        (world(true, false, 255), SILENT),
        (world(false, true, 255), UNHEARD),
        (world(true, true, 64), FAR),
    ];
    for (mut world, expected) in cases {
        world.run(millis(9_999));
        assert_eq!((told(&world), diagnosis(&world)), (vec![], None));
        world.run(millis(2));
        assert_eq!(told(&world), [expected]);
        world.run(secs(3600));
        assert_eq!(
            (told(&world), diagnosis(&world)),
            (vec![expected.into()], Some(expected.into()))
        );
        assert_eq!(world.routes("tor1"), WEB, "it is served all the same");
    }
}

#[test]
fn what_is_wrong_now_is_told_and_not_what_was() {
    let mut world = world(true, true, 64);
    world.run(secs(60));
    world.router("tor1").bfd_passes = [false; 2];
    world.run(secs(60));
    assert_eq!(told(&world), [FAR, SILENT]);
    world.router("tor1").bfd_ttl = 255;
    world.router("tor1").bfd_passes = [false, true];
    world.run(secs(60));
    assert_eq!(diagnosis(&world).as_deref(), Some(UNHEARD));
    world.router("tor1").bfd_passes = [true; 2];
    world.run(secs(60));
    assert!(world.status().peers[0].bfd.as_ref().is_some_and(|bfd| bfd.up));
    assert_eq!(
        (told(&world), diagnosis(&world)),
        ([FAR, SILENT, UNHEARD].map(Into::into).to_vec(), None)
    );
}

#[test]
fn a_router_that_comes_and_goes_in_pieces_does_not_fill_the_log() {
    let mut world = world(false, false, 255);
    for round in 0..500 {
        world.router("tor1").bfd_passes = [false, round % 2 == 0];
        world.run(secs(15));
    }
    assert!(told(&world).len() <= 4, "{:#?}", told(&world));
}

#[test]
fn a_router_that_loses_its_bfd_is_noticed_though_bgp_is_back() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.router("tor1").disable_bfd();
    world.run(secs(30));
    let peer = world.status().peers[0].clone();
    assert!(peer.established && peer.sessions == 2);
    assert_eq!(told(&world), [CEASED]);
    let why = peer.bfd.and_then(|bfd| bfd.why());
    assert_eq!(why, Some(format!("control detection time expired; {CEASED}")));
}

#[test]
fn what_the_routers_operator_did_needs_no_diagnosis() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    world.admin_down_bfd("tor1");
    world.run(secs(600));
    assert_eq!((told(&world), diagnosis(&world)), (vec![], None));
}

#[test]
fn where_all_is_well_nobody_is_asked_and_nothing_told() {
    let mut world = World::new(BASE).boot();
    world.run(secs(600));
    assert_eq!(told(&world), NOTHING);
    // Without a session it is not news that there is no BFD.
    world.set_link("tor1", false);
    world.run(secs(600));
    assert_eq!(told(&world), NOTHING);
}
