//! Routes that are learned from the routers: one route by both, gone with the last of them, kept
//! across a restart, never in the way of anybody else.
use std::collections::BTreeSet;

use ipnet::IpNet;
use vipcast::netlink::routes::METRIC;
use vipcast::netlink::{Event as NetlinkEvent, Route};
use vipcast::netlink::{NextHop, RouteEvent, RouteKey, RouteRequest};
use vipcast::route::{Asn, Family};
use vipcast::speaker::Input;

use crate::world::{Mood, World};
use crate::{BASE, NOTHING, millis, secs};

pub(crate) const BOTH: [&str; 1] = ["0.0.0.0/0 by 10.0.0.1, 10.0.0.2"];
const FIRST: [&str; 1] = ["0.0.0.0/0 by 10.0.0.1"];
pub(crate) const SECOND: [&str; 1] = ["0.0.0.0/0 by 10.0.0.2"];

/// The base, with this line for every peer.
pub(crate) fn with(line: &str) -> String {
    BASE.replace("remote-asn = 65000", &format!("remote-asn = 65000\n{line}"))
}

fn accepting() -> String {
    with("accept = [\"0.0.0.0/0\"]")
}

/// Both routers announce the default, each by way of itself.
pub(crate) fn world(text: &str) -> World {
    let mut world = World::new(text);
    for (name, address) in [("tor1", "10.0.0.1"), ("tor2", "10.0.0.2")] {
        world.router(name).announce("0.0.0.0/0", address);
    }
    world
}

/// That, and the host has learned it.
fn learned() -> World {
    let mut world = world(&accepting()).boot();
    world.run(secs(10));
    assert_eq!(world.learned(), BOTH, "{}", world.log_text());
    world
}

fn key(prefix: &str) -> RouteKey {
    RouteKey { table: 254, prefix: prefix.parse().expect("a prefix"), metric: METRIC }
}

fn hops(addresses: &[&str]) -> BTreeSet<NextHop> {
    let hop = |text: &&str| NextHop { address: text.parse().expect("an address"), index: 2 };
    addresses.iter().map(hop).collect()
}

/// The kernel has this one from a daemon before.
fn leave(world: &mut World, prefix: &str, addresses: &[&str]) {
    world.kernel_routes.insert(key(prefix), (true, hops(addresses)));
}

/// The reason that the status gives for the first route of a peer.
fn reason(world: &World, peer: usize) -> Option<String> {
    let peer = world.status().peers.into_iter().nth(peer).expect("a peer");
    let accepted = peer.accepted.expect("routes are learned");
    accepted.routes.first().expect("a route").reason.clone()
}

#[test]
fn nothing_is_learned_unless_it_is_asked_for() {
    let mut world = world(BASE).boot();
    world.run(secs(200));
    assert_eq!((world.learned(), world.route_requests.len()), (vec![], 0));
    let peer = &world.status().peers[0];
    assert!(peer.accepted.is_none());
    assert_eq!(peer.prefixes_received, 1, "it is counted");
}

#[test]
fn the_default_of_both_routers_is_one_route_by_both() {
    let world = learned();
    let accepted = world.status().peers[1].accepted.clone().expect("routes are learned");
    assert_eq!((accepted.prefixes, accepted.announcements, accepted.installed), (1, 1, 1));
    assert!(accepted.routes[0].installed && accepted.routes[0].reason.is_none());
    assert!(world.log_text().contains("route 0.0.0.0/0 by 10.0.0.1 and 10.0.0.2 installed"));
}

#[test]
fn a_session_that_dies_takes_its_next_hop_with_it_and_the_last_one_the_route() {
    let mut world = learned();
    world.router("tor1").mood = Mood::Refuses;
    world.reset("tor1");
    world.run(millis(1));
    assert_eq!(world.learned(), SECOND);
    let replaced = world.route_requests.last().expect("a request");
    assert!(matches!(replaced, RouteRequest::Replace(_)), "at one go: {replaced:?}");
    world.router("tor2").mood = Mood::Refuses;
    world.reset("tor2");
    world.run(millis(1));
    assert_eq!(world.learned(), NOTHING);
    assert!(world.log_text().contains("route 0.0.0.0/0 removed"), "{}", world.log_text());
    world.router("tor1").mood = Mood::Peers;
    world.run(secs(10));
    assert_eq!(world.learned(), FIRST);
}

#[test]
fn a_path_that_bfd_finds_dead_is_not_used_a_moment_longer() {
    let mut world = learned();
    world.set_link("tor1", false);
    let took = world.run_until_true(secs(2), |w| w.learned() == SECOND);
    assert!(took <= millis(900), "took {took:?}");
}

#[test]
fn a_withdrawal_by_one_router_leaves_the_other() {
    let mut world = learned();
    world.router("tor2").withdraw("0.0.0.0/0");
    world.run(millis(1));
    assert_eq!(world.learned(), FIRST);
    assert!(world.status().peers[1].established);
}

#[test]
fn the_better_path_is_used_alone_and_the_other_one_says_why_not() {
    let mut world = world(&accepting());
    world.router("tor2").behind = vec![Asn(64999)];
    let mut world = world.boot();
    world.run(secs(10));
    assert_eq!(world.learned(), FIRST);
    assert_eq!(reason(&world, 1).as_deref(), Some("the route of another peer is better"));
}

mod refused {
    use super::*;

    fn check(prefix: &str, next_hop: &str, behind: &[u32], expected: &str) {
        let all = with("accept = [{ prefix = \"0.0.0.0/0\", le = 32 }]");
        let mut world = World::new(&all);
        world.router("tor1").behind = behind.iter().copied().map(Asn).collect();
        world.router("tor1").announce(prefix, next_hop);
        let mut world = world.boot();
        world.run(secs(10));
        assert_eq!(world.learned(), NOTHING, "{prefix} by {next_hop}");
        assert_eq!(reason(&world, 0).as_deref(), Some(expected));
        let line = format!("peer tor1: its route to {prefix} is not used: {expected}");
        assert_eq!(world.log_text().matches(line.as_str()).count(), 1, "{}", world.log_text());
    }

    #[test]
    fn what_has_been_here_before() {
        check("0.0.0.0/0", "10.0.0.1", &[65100], "our AS 65100 is in its AS_PATH");
    }

    /// Else a check of a dead service would find the living one of another host.
    #[test]
    fn our_own_vips() {
        check("203.0.113.5/32", "10.0.0.1", &[], "it is a VIP of this host");
    }

    #[test]
    fn what_is_connected() {
        check("10.0.0.0/25", "10.0.0.1", &[], "10.0.0.0/24 is connected to this host");
    }

    #[test]
    fn next_hops_that_are_on_no_link() {
        let expected = "next hop 192.0.2.1 is not on a link of this host";
        check("0.0.0.0/0", "192.0.2.1", &[], expected);
        check("0.0.0.0/0", "10.0.0.21", &[], "next hop 10.0.0.21 is this host's own address");
    }
}

#[test]
fn one_prefix_too_many_ends_the_session_and_holds_it_down() {
    let line = "accept = [{ prefix = \"10.0.0.0/8\", ge = 16, le = 16 }]\naccept-max-prefixes = 3";
    let mut world = World::new(&with(line));
    for number in 1..=3 {
        world.router("tor1").announce(&format!("10.{number}.0.0/16"), "10.0.0.1");
    }
    world.router("tor2").announce("10.9.0.0/16", "10.0.0.2");
    let mut world = world.boot();
    world.run(secs(60));
    assert_eq!(world.learned().len(), 4);
    world.router("tor1").announce("10.4.0.0/16", "10.0.0.1");
    world.run(millis(1));
    assert_eq!(world.learned(), ["10.9.0.0/16 by 10.0.0.2"]);
    let down = world.status().peers[0].last_down.clone().expect("a reason");
    assert_eq!(down.kind, "max-prefixes");
    assert_eq!(
        down.reason,
        "the peer announces more than 3 of the prefixes that `accept` lets in \
         (accept-max-prefixes)"
    );
    let told = format!("{:?}", world.router("tor1").downs);
    assert!(told.contains("code: 6, subcode: 1"), "{told}");
    // It is not let in and thrown out again in a tight loop.
    let before = world.router("tor1").attempts;
    world.run(secs(600));
    let attempts = world.router("tor1").attempts - before;
    assert!((15..=60).contains(&attempts), "{attempts} attempts in ten minutes");
    world.router("tor1").withdraw("10.4.0.0/16");
    world.run(secs(60));
    assert_eq!(world.learned().len(), 4);
}

mod restart {
    use super::*;

    #[test]
    fn what_was_learned_before_stays_until_the_routers_are_back_and_is_not_touched_then() {
        let mut world = world(&accepting());
        leave(&mut world, "0.0.0.0/0", &["10.0.0.1", "10.0.0.2"]);
        leave(&mut world, "10.7.0.0/16", &["10.0.0.1"]);
        for name in ["tor1", "tor2"] {
            world.router(name).mood = Mood::Refuses;
        }
        let mut world = world.boot();
        world.run(secs(60));
        assert_eq!(world.route_requests, [], "nobody has said anything yet");
        assert_eq!(world.status().kept_routes, 2);
        for name in ["tor1", "tor2"] {
            world.router(name).mood = Mood::Peers;
        }
        world.run(secs(30));
        assert_eq!(world.learned(), BOTH);
        assert_eq!(world.status().kept_routes, 0);
        let meddled = world.route_requests.iter().any(|request| match request {
            RouteRequest::Remove(removed) => *removed == key("0.0.0.0/0"),
            RouteRequest::Add(_) | RouteRequest::Read => true,
            RouteRequest::Replace(_) => false,
        });
        assert!(!meddled, "the host had a way all the time: {:?}", world.route_requests);
        assert!(world.log_text().contains("removing 1 route(s)"), "{}", world.log_text());
    }

    #[test]
    fn routers_that_never_come_back_are_waited_for_two_minutes() {
        let mut world = world(&accepting());
        leave(&mut world, "0.0.0.0/0", &["10.0.0.1"]);
        for name in ["tor1", "tor2"] {
            world.router(name).mood = Mood::Refuses;
        }
        let mut world = world.boot();
        world.run(secs(119));
        assert_eq!(world.learned(), FIRST);
        world.run(secs(2));
        assert_eq!(world.learned(), NOTHING);
    }

    #[test]
    fn a_router_that_sends_no_end_of_rib_delays_only_the_removal_of_what_is_left_over() {
        let mut world = world(&accepting());
        leave(&mut world, "10.7.0.0/16", &["10.0.0.1"]);
        world.router("tor1").ends = false;
        let mut world = world.boot();
        world.run(secs(10));
        assert_eq!(world.learned(), [BOTH[0], "10.7.0.0/16 by 10.0.0.1"]);
        world.run(secs(120));
        assert_eq!(world.learned(), BOTH);
    }

    #[test]
    fn without_accept_what_an_earlier_configuration_left_goes_at_once() {
        let mut world = World::new(BASE);
        leave(&mut world, "0.0.0.0/0", &["10.0.0.1"]);
        let mut world = world.boot();
        world.run(millis(1));
        assert_eq!(world.learned(), NOTHING);
    }

    /// The next daemon, of whatever version, takes them over. If there is none, the host can
    /// still be reached.
    #[test]
    fn a_stop_leaves_the_routes_where_they_are() {
        let mut world = learned();
        let before = world.route_requests.len();
        world.stop("bye");
        world.run(secs(5));
        assert!(world.stopped);
        assert_eq!(
            (world.learned(), world.route_requests.len()),
            (BOTH.map(Into::into).into(), before)
        );
    }
}

mod others {
    use super::*;

    #[test]
    fn a_route_of_somebody_else_is_never_touched() {
        let mut world = world(&accepting());
        let theirs = hops(&["10.0.0.254"]);
        world.kernel_routes.insert(key("0.0.0.0/0"), (false, theirs.clone()));
        let mut world = world.boot();
        world.run(secs(10));
        assert_eq!(world.kernel_routes[&key("0.0.0.0/0")], (false, theirs));
        let why = "metric 118 is taken by a route of somebody else";
        assert_eq!(reason(&world, 0).as_deref(), Some(why));
        world.kernel_routes.clear();
        world.run(secs(2));
        assert_eq!(world.learned(), BOTH);
    }

    #[test]
    fn a_route_that_somebody_deletes_is_put_back() {
        let mut world = learned();
        let (_, next_hops) = world.kernel_routes.remove(&key("0.0.0.0/0")).expect("a route");
        let gone = RouteEvent::Gone(Route { key: key("0.0.0.0/0"), next_hops });
        world.speaker.handle(Input::Netlink(NetlinkEvent::Route(gone)), world.now);
        world.run(millis(1));
        assert_eq!(world.learned(), BOTH);
        assert!(world.log_text().contains("disappeared from the kernel"), "{}", world.log_text());
    }

    #[test]
    fn an_interface_that_goes_down_and_up_has_its_routes_again() {
        let mut world = learned();
        world.kernel_routes.clear(); // without a word, as IPv4 does it
        world.set_interface(2, false);
        assert_eq!(world.learned(), NOTHING);
        let expected = "next hop 10.0.0.1 is on interface eth0, which is down";
        assert_eq!(reason(&world, 0).as_deref(), Some(expected));
        world.set_interface(2, true);
        assert_eq!(world.learned(), BOTH);
    }
}

mod reload {
    use super::*;

    #[test]
    fn a_wider_filter_asks_the_routers_again_and_a_narrower_one_does_not() {
        let mut world = learned();
        for name in ["tor1", "tor2"] {
            world.router(name).announce("10.7.0.0/16", "10.0.0.1");
        }
        world.run(secs(1));
        assert_eq!(world.learned(), BOTH);
        world.reload(&with("accept = [\"0.0.0.0/0\", \"10.7.0.0/16\"]"));
        world.run(millis(1));
        assert_eq!(world.learned(), [BOTH[0], "10.7.0.0/16 by 10.0.0.1"]);
        assert_eq!(world.router("tor1").refreshes, [Family::Ipv4Unicast]);
        world.reload(&with("accept = [\"10.7.0.0/16\"]"));
        world.run(millis(1));
        assert_eq!(world.learned(), ["10.7.0.0/16 by 10.0.0.1"]);
        assert_eq!(world.router("tor1").refreshes.len(), 1);
        assert_eq!(world.router("tor1").downs, [], "the session goes on");
    }

    #[test]
    fn a_router_that_cannot_announce_again_gets_a_new_session_for_a_wider_filter() {
        let mut world = world(&accepting());
        world.router("tor1").refreshable = false;
        world.router("tor1").announce("10.7.0.0/16", "10.0.0.1");
        let mut world = world.boot();
        world.run(secs(60));
        world.reload(&with("accept = [\"0.0.0.0/0\", \"10.7.0.0/16\"]"));
        world.run(secs(10));
        assert_eq!(world.learned(), [BOTH[0], "10.7.0.0/16 by 10.0.0.1"]);
        assert_eq!(world.status().peers[0].sessions, 2);
        assert_eq!(world.status().peers[1].sessions, 1, "the other one was asked");
        assert!(world.log_text().contains("no route refresh, RFC 2918"), "{}", world.log_text());
    }

    #[test]
    fn accept_comes_and_goes_without_a_new_session() {
        let mut world = world(BASE).boot();
        world.run(secs(10));
        world.reload(&accepting());
        world.run(millis(1));
        assert_eq!(world.learned(), BOTH);
        world.reload(BASE);
        world.run(millis(1));
        assert_eq!(world.learned(), NOTHING);
        assert_eq!(world.status().peers[0].sessions, 1);
    }

    #[test]
    fn another_table_moves_the_routes() {
        let mut world = learned();
        world.reload(&with("accept = [\"0.0.0.0/0\"]\naccept-table = 100"));
        world.run(millis(1));
        assert_eq!(world.learned(), BOTH);
        assert_eq!(world.kernel_routes.keys().map(|key| key.table).collect::<Vec<_>>(), [100]);
        assert_eq!(world.status().peers[0].sessions, 1);
    }

    #[test]
    fn a_session_that_a_reload_starts_anew_keeps_its_routes_meanwhile() {
        let mut world = learned();
        let before = world.route_requests.len();
        world.reload(
            &(accepting().replace("bfd = \"tor\"\n", "bfd = \"tor\"\nhold-time = \"30s\"\n")),
        );
        assert_eq!(world.learned(), BOTH);
        world.run(secs(30));
        assert_eq!(world.status().peers[0].sessions, 1, "of the new peer");
        assert_eq!(world.learned(), BOTH);
        assert_eq!(world.route_requests.len(), before, "{:?}", world.route_requests);
    }

    #[test]
    fn what_a_router_no_longer_announces_after_that_goes_with_its_end_of_rib() {
        let mut world = learned();
        world.router("tor1").originates.clear();
        world.reload(
            &(accepting().replace("bfd = \"tor\"\n", "bfd = \"tor\"\nhold-time = \"30s\"\n")),
        );
        world.run(secs(30));
        assert_eq!(world.learned(), SECOND);
    }

    #[test]
    fn and_the_routes_of_one_that_does_not_come_back_go_after_two_minutes() {
        let mut world = learned();
        world.router("tor1").mood = Mood::Refuses;
        world.reload(
            &(accepting().replace("bfd = \"tor\"\n", "bfd = \"tor\"\nhold-time = \"30s\"\n")),
        );
        world.run(secs(119));
        assert_eq!(world.learned(), BOTH);
        world.run(secs(2));
        assert_eq!(world.learned(), SECOND);
    }

    #[test]
    fn a_vip_that_comes_by_reload_is_not_followed_to_another_host_any_more() {
        let line = "accept = [{ prefix = \"203.0.113.0/24\", le = 32 }]";
        let mut world = World::new(&with(line));
        world.router("tor1").announce("203.0.113.6/32", "10.0.0.1");
        let mut world = world.boot();
        world.run(secs(10));
        assert_eq!(world.learned(), ["203.0.113.6/32 by 10.0.0.1"]);
        world
            .reload(&with(line).replace("[\"203.0.113.5\"]", "[\"203.0.113.5\", \"203.0.113.6\"]"));
        world.run(millis(1));
        assert_eq!(world.learned(), NOTHING);
    }
}

#[test]
fn both_families_are_learned_over_one_session() {
    let mut world = World::new(&with("accept = [\"0.0.0.0/0\", \"::/0\"]"));
    world.router("tor1").announce("0.0.0.0/0", "10.0.0.1");
    world.router("tor1").announce("::/0", "fe80::1");
    let mut world = world.boot();
    world.run(secs(10));
    let prefixes: Vec<IpNet> = world.kernel_routes.keys().map(|key| key.prefix).collect();
    assert_eq!(prefixes.len(), 2);
    assert_eq!(world.learned()[1], "::/0 by fe80::1", "on the interface of the session");
}
