//! What `vipcast routes` prints, to the letter, and that it is what the routers have; and which
//! attributes those routes have while VIPs come and go.
use vipcast::bgp::wire::{AsPath, Origin, Segment};
use vipcast::control::render::{self, Style};

use crate::world::{Health, Mood, World};
use crate::{BASE, secs};

const POLICY: &str = r#"
[peer.inside]
address = "10.0.0.3"
remote-asn = "internal"

[advertisement.all]
communities = ["65000:7", "no-export", "large:65000:1:100", "rt:65000:1"]
med = 50
prepend = 1
local-pref = 200

[service.dns]
vips = ["203.0.113.53", "2001:db8:5::53"]

[service.dns.check.alive]
tcp = "203.0.113.53:53"
"#;

fn text(world: &World) -> String {
    render::routes(&world.sent_routes(), Style { colour: false })
}

/// What the daemon says it has sent is what the router has, attribute by attribute.
fn assert_true(world: &World) {
    for peer in world.sent_routes() {
        let has = &world.routers.get(&peer.name).expect("a router").routes;
        assert!(has.keys().eq(peer.sent.iter().map(|route| &route.prefix)), "{}", peer.name);
        for (route, attributes) in peer.sent.iter().zip(has.values()) {
            let written = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>();
            let extended = &mut attributes.extended_communities.iter().map(ToString::to_string);
            assert_eq!(route.extended_communities, written(extended));
            let communities = &mut attributes.communities.iter().map(ToString::to_string);
            let large = &mut attributes.large_communities.iter().map(ToString::to_string);
            assert_eq!(route.communities, written(communities));
            assert_eq!(route.large_communities, written(large));
            assert_eq!(Some(route.next_hop), attributes.next_hop);
            assert_eq!((route.med, route.local_pref), (attributes.med, attributes.local_pref));
            let path = route.as_path.clone();
            let path = if path.is_empty() { vec![] } else { vec![Segment::Sequence(path)] };
            assert_eq!(attributes.as_path, Some(AsPath(path)));
            assert_eq!(attributes.origin, Some(Origin::Igp));
            assert_eq!(route.origin, "IGP");
        }
    }
}

#[test]
fn every_peer_has_its_own_view_of_a_route() {
    let mut world = World::new(&(BASE.to_owned() + POLICY)).boot();
    world.run(secs(3600));
    assert_true(&world);
    let expected = "\
○ inside  10.0.0.3  Established, 2 routes sent, 1 not sent
    prefix           next hop   AS_PATH  origin  MED  LOCAL_PREF  sent
    203.0.113.5/32   10.0.0.21  -        IGP     50   200         59m 59s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
    203.0.113.53/32  10.0.0.21  -        IGP     50   200         59m 59s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
    × 2001:db8:5::53/128  not sent: no IPv6 unicast address on the interface to the peer to use as next hop (next-hop-v6 sets one)

○ tor1  10.0.0.1  Established, 2 routes sent, 1 not sent
    prefix           next hop   AS_PATH      origin  MED  LOCAL_PREF  sent
    203.0.113.5/32   10.0.0.21  65100 65100  IGP     50   -           59m 59s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
    203.0.113.53/32  10.0.0.21  65100 65100  IGP     50   -           59m 59s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
    × 2001:db8:5::53/128  not sent: no IPv6 unicast address on the interface to the peer to use as next hop (next-hop-v6 sets one)

○ tor2  10.0.0.2  Established, 2 routes sent, 1 not sent
    prefix           next hop   AS_PATH      origin  MED  LOCAL_PREF  sent
    203.0.113.5/32   10.0.0.21  65100 65100  IGP     50   -           59m 59s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
    203.0.113.53/32  10.0.0.21  65100 65100  IGP     50   -           59m 59s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
    × 2001:db8:5::53/128  not sent: no IPv6 unicast address on the interface to the peer to use as next hop (next-hop-v6 sets one)
";
    assert_eq!(text(&world), expected);
}

#[test]
fn what_is_on_its_way_or_cannot_be_sent_says_so() {
    let mut world = World::new(&(BASE.to_owned() + POLICY)).boot();
    world.run(secs(60));
    world.router("inside").mood = Mood::Stuck;
    world.router("tor1").mood = Mood::Stuck;
    world.router("tor2").mood = Mood::Refuses;
    world.reset("tor2");
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    world.reload(&(BASE.to_owned() + &POLICY.replace("med = 50", "med = 60")));
    let expected = "\
○ inside  10.0.0.3  Established, 2 routes sent, 1 not sent
    prefix           next hop   AS_PATH  origin  MED  LOCAL_PREF  sent
    203.0.113.5/32   10.0.0.21  -        IGP     50   200         1m 9s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
      its withdrawal is being sent
    203.0.113.53/32  10.0.0.21  -        IGP     50   200         1m 9s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
      a change of it is being sent
    × 2001:db8:5::53/128  not sent: no IPv6 unicast address on the interface to the peer to use as next hop (next-hop-v6 sets one)

○ tor1  10.0.0.1  Established, 2 routes sent, 1 not sent
    prefix           next hop   AS_PATH      origin  MED  LOCAL_PREF  sent
    203.0.113.5/32   10.0.0.21  65100 65100  IGP     50   -           1m 9s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
      its withdrawal is being sent
    203.0.113.53/32  10.0.0.21  65100 65100  IGP     50   -           1m 9s ago
      65000:7 no-export rt:65000:1 large:65000:1:100
      a change of it is being sent
    × 2001:db8:5::53/128  not sent: no IPv6 unicast address on the interface to the peer to use as next hop (next-hop-v6 sets one)

× tor2  10.0.0.2  Active, 0 routes sent, 2 not sent
    × 203.0.113.53/32     not sent: no session (Active)
    × 2001:db8:5::53/128  not sent: no session (Active)
";
    assert_eq!(text(&world), expected);
}

#[test]
fn a_route_that_is_told_again_has_been_sent_since_the_first_time() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    let updates = world.router("tor1").updates;
    world.refresh("tor1");
    world.run(secs(60));
    assert!(world.router("tor1").updates > updates);
    assert_true(&world);
    assert_eq!(text(&world).matches("1m 59s ago").count(), 2, "{}", text(&world));
    world.reload(&(BASE.to_owned() + "[advertisement.all]\nmed = 1\n"));
    world.run(secs(1));
    assert_true(&world);
    assert_eq!(text(&world).matches("1.0s ago").count(), 2, "{}", text(&world));
}

/// Two services of different weight in one aggregate.
const AGGREGATE: &str = r#"
[advertisement.all]
aggregation-length = 24
communities = ["65000:7", "rt:65000:1"]

[service.mail]
vips = ["203.0.113.25"]
weight = 50

[service.mail.check.alive]
tcp = "203.0.113.25:25"
"#;

fn weighted(weight: u16) -> String {
    let web = BASE.replace("[service.web]", &format!("[service.web]\nweight = {weight}"));
    web + AGGREGATE
}

/// The extended communities of the aggregate, and how many UPDATEs it took so far.
fn aggregate(world: &mut World) -> (Vec<String>, usize) {
    assert_true(world);
    let router = world.router("tor1");
    let attributes = router.routes.values();
    let all = attributes.flat_map(|route| &route.extended_communities).map(ToString::to_string);
    (all.collect(), router.updates)
}

#[test]
fn an_aggregate_changes_only_with_the_heaviest_of_its_services() {
    let mut world = World::new(&weighted(100)).boot();
    world.run(secs(60));
    assert_eq!(world.routes("tor1"), ["203.0.113.0/24"]);
    let (heavy, updates) = aggregate(&mut world);
    assert_eq!(heavy, ["rt:65000:1", "link-bandwidth:65100:12500000"]);

    for health in [Health::Broken, Health::Healthy] {
        world.set_health("mail/alive", health);
        world.run(secs(10));
        assert_eq!(aggregate(&mut world), (heavy.clone(), updates), "mail {health:?}");
    }
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    let light = ["rt:65000:1", "link-bandwidth:65100:6250000"].map(str::to_owned).to_vec();
    assert_eq!(aggregate(&mut world), (light, updates + 1));
    world.set_health("web/alive", Health::Healthy);
    world.run(secs(10));
    assert_eq!(aggregate(&mut world), (heavy, updates + 2));

    world.set_health("web/alive", Health::Broken);
    world.set_health("mail/alive", Health::Broken);
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), [""; 0]);
    assert_eq!(world.router("tor1").downs, []);
}

#[test]
fn a_weight_that_is_reloaded_is_told_in_one_update_and_nothing_is_withdrawn() {
    let mut world = World::new(&weighted(100)).boot();
    world.run(secs(60));
    let (_, updates) = aggregate(&mut world);
    world.reload(&weighted(200));
    let expected = ["rt:65000:1", "link-bandwidth:65100:25000000"].map(str::to_owned).to_vec();
    assert_eq!(aggregate(&mut world), (expected, updates + 1));
    assert!(!world.log_text().contains("withdrawing"), "{}", world.log_text());
    world.reload(&weighted(200));
    assert_eq!(aggregate(&mut world).1, updates + 1);
}

#[test]
fn next_hops_that_are_configured_take_the_place_of_ours_and_change_without_a_new_session() {
    let six = "[service.dns]\nvips = [\"2001:db8:5::53\"]\n\
               [service.dns.check.alive]\ntcp = \"127.0.0.1:53\"\n";
    let with =
        |lines: &str| BASE.replace("[peer.tor1]\n", &format!("[peer.tor1]\n{lines}\n")) + six;
    let hops = |world: &World, name: &str| -> Vec<String> {
        assert_true(world);
        let routes = &world.routers.get(&name.into()).expect("a router").routes;
        routes.values().filter_map(|route| Some(route.next_hop?.to_string())).collect()
    };
    let mut world = World::new(&with("next-hop = \"10.0.0.99\"")).boot();
    world.run(secs(60));
    assert_eq!(hops(&world, "tor1"), ["10.0.0.99"], "and nothing for IPv6");
    assert_eq!(hops(&world, "tor2"), ["10.0.0.21"]);

    // A change on the host's interface is none to what is fixed.
    let updates = world.router("tor1").updates;
    world.set_interface(2, true);
    assert_eq!(world.router("tor1").updates, updates);

    world.reload(&with("next-hop = \"10.0.0.98\"\nnext-hop-v6 = \"2001:db8::98\""));
    assert_eq!(hops(&world, "tor1"), ["10.0.0.98", "2001:db8::98"]);
    world.reload(&with(""));
    assert_eq!(hops(&world, "tor1"), ["10.0.0.21"]);
    assert_eq!(world.router("tor1").downs, []);
    assert_eq!(world.status().peers[0].sessions, 1);
}

#[test]
fn a_thousand_prefixes_that_flap_while_a_router_does_not_read_cost_it_nothing() {
    let vips: Vec<String> = (0..1000)
        .map(|number| format!("\"198.18.{}.{}\"", number / 250, number % 250 + 1))
        .collect();
    let many = format!(
        "[pool.many]\naddresses = [\"198.18.0.0/16\"]\n\
         [service.many]\nvips = [{}]\ninterface = \"none\"\n\
         [service.many.check.alive]\ntcp = \"127.0.0.1:80\"\ninterval = \"1s\"\n",
        vips.join(", ")
    );
    let mut world = World::new(&(BASE.to_owned() + &many)).boot();
    world.run(secs(60));
    let flap = |world: &mut World| {
        for health in [Health::Broken, Health::Healthy] {
            world.set_health("many/alive", health);
            world.run(secs(5));
        }
    };
    let updates = |world: &mut World| ["tor1", "tor2"].map(|name| world.router(name).updates);
    assert_eq!(world.routes("tor1").len(), 1001);
    let before = updates(&mut world);

    // What is on its way fills the socket; three flaps wait behind it.
    world.router("tor1").mood = Mood::Stuck;
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    for _ in 0..3 {
        flap(&mut world);
    }
    world.read_on("tor1");
    assert_true(&world);
    assert_eq!(world.routes("tor1").len(), 1000);
    let [slow, fast] = updates(&mut world);
    assert_eq!(slow, before[0] + 1, "the withdrawal of the web service");
    assert!(fast >= before[1] + 1 + 3 * 2, "the other router was told each time");
}
