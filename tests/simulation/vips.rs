//! VIPs on the host: before the announcement, after the withdrawal, and when others meddle.
use std::net::IpAddr;

use vipcast::netlink::{Address, Request};

use crate::world::{HOST, Health, Mood, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

fn vip() -> IpAddr {
    "203.0.113.5".parse().expect("an address")
}

#[test]
fn a_vip_is_on_the_host_before_it_is_announced_and_before_it_is_probed() {
    let mut world = World::new(BASE);
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), NOTHING, "nothing is known of the host yet");
    assert!(world.status().services[0].checks[0].last.is_none());
    let mut world = world.boot();
    world.run_until_true(millis(10), |w| w.routes("tor1") == WEB);
    assert!(world.addresses.contains_key(&(1, vip())));
}

#[test]
fn next_hops_that_become_known_while_the_session_comes_up_are_used() {
    let both = "vips = [\"203.0.113.5\", \"2001:db8:5::5\"]";
    let mut world = World::new(&BASE.replace("vips = [\"203.0.113.5\"]", both));
    let uplink = world.addresses[&(2, HOST.into())];
    let address: IpAddr = "2001:db8::21".parse().expect("an address");
    world.addresses.insert((2, address), Address { prefix: address.into(), ..uplink });
    // The router takes its time, and the kernel's answer comes in between.
    world.router("tor1").mood = Mood::Waits;
    world.run(millis(1));
    let mut world = world.boot();
    world.router("tor1").mood = Mood::Peers;
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), ["203.0.113.5/32", "2001:db8:5::5/128"]);
}

#[test]
fn a_vip_that_cannot_be_added_is_not_announced_and_says_why() {
    let mut world = World::new(BASE);
    world.refuse_addresses = Some("not permitted (CAP_NET_ADMIN is needed)".into());
    let mut world = world.boot();
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), NOTHING);
    let reason = world.status().services[0].vips[0].reason.clone();
    let expected = "cannot add it to lo: not permitted (CAP_NET_ADMIN is needed)";
    assert_eq!(reason.as_deref(), Some(expected));
    world.refuse_addresses = None;
    world.run(secs(2));
    assert_eq!(world.routes("tor1"), WEB, "it is tried again");
}

#[test]
fn a_vip_that_somebody_deletes_is_put_back_without_a_withdrawal() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    let updates = world.router("tor1").updates;
    world.delete_address(1, "203.0.113.5");
    world.run(secs(5));
    assert!(world.addresses.contains_key(&(1, vip())));
    assert_eq!(world.router("tor1").updates, updates);
    let text = "VIP 203.0.113.5 disappeared from its interface; putting it back";
    assert_eq!(world.log_text().matches(text).count(), 1, "{}", world.log_text());
}

#[test]
fn a_vip_that_cannot_be_put_back_is_withdrawn() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.refuse_addresses = Some("no such device".into());
    world.delete_address(1, "203.0.113.5");
    assert_eq!(world.routes("tor1"), NOTHING);
}

#[test]
fn an_interface_that_goes_down_takes_its_vips_out_of_service() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.set_interface(1, false);
    assert_eq!(world.routes("tor1"), NOTHING);
    world.set_interface(1, true);
    assert_eq!(world.routes("tor1"), WEB);
}

#[test]
fn without_keep_address_the_vip_is_withdrawn_first_and_taken_off_later() {
    let text = BASE
        .replace("vips = [\"203.0.113.5\"]", "vips = [\"203.0.113.5\"]\nkeep-address = false")
        .replace("http://203.0.113.5/", "http://127.0.0.1/");
    let mut world = World::new(&text).boot();
    world.run(secs(5));
    assert!(world.addresses.contains_key(&(1, vip())));
    world.set_health("web/alive", Health::Broken);
    world.run_until_true(secs(5), |w| w.routes("tor1") == NOTHING);
    assert!(world.addresses.contains_key(&(1, vip())), "what is on its way is still answered");
    world.run(secs(2));
    assert!(!world.addresses.contains_key(&(1, vip())));
    let (request, routes) = world.requests.last().expect("a request").clone();
    assert!(matches!(request, Request::Remove(1, _)));
    assert!(routes.values().all(|routes| routes.is_empty()), "nobody had the route any more");
    world.set_health("web/alive", Health::Healthy);
    world.run_until_true(secs(5), |w| w.routes("tor1") == WEB);
    assert!(world.addresses.contains_key(&(1, vip())));
}

#[test]
fn with_keep_address_the_vip_stays_while_the_service_is_down() {
    let mut world = World::new(BASE).boot();
    world.run(secs(5));
    world.set_health("web/alive", Health::Broken);
    world.run(secs(60));
    assert_eq!(world.routes("tor1"), NOTHING);
    assert!(world.addresses.contains_key(&(1, vip())));
}

#[test]
fn leftovers_of_a_crash_are_adopted_where_wanted_and_removed_where_not() {
    let mut world = World::new(BASE);
    for (address, ours) in [("203.0.113.5", true), ("203.0.113.99", true), ("203.0.113.98", false)]
    {
        let ip: IpAddr = address.parse().expect("an address");
        let address = Address { index: 1, prefix: ip.into(), ours, usable: true, tentative: false };
        world.addresses.insert((1, ip), address);
    }
    let mut world = world.boot();
    world.run(secs(3));
    assert_eq!(world.routes("tor1"), WEB);
    let on_lo: Vec<String> = world
        .addresses
        .keys()
        .filter(|(index, _)| *index == 1)
        .map(|(_, ip)| ip.to_string())
        .collect();
    assert_eq!(on_lo, ["203.0.113.5", "203.0.113.98"]);
    let asked: Vec<_> = world.requests.iter().map(|(request, _)| request.clone()).collect();
    let leftover: IpAddr = "203.0.113.99".parse().expect("an address");
    assert_eq!(asked, [Request::Remove(1, leftover.into())]);
}

#[test]
fn an_ipv6_vip_goes_to_a_router_over_ipv4_once_there_is_an_ipv6_next_hop() {
    let text = BASE.replace("vips = [\"203.0.113.5\"]", "vips = [\"2001:db8:5::5\"]");
    let mut world = World::new(&text).boot();
    world.run(secs(3));
    assert_eq!(world.routes("tor1"), NOTHING);
    let why = world.status().services[0].vips[0].peers[0].reason.clone().expect("a reason");
    assert_eq!(
        why,
        "no IPv6 unicast address on the interface to the peer to use as next hop (next-hop-v6 sets one)"
    );
    let ip: IpAddr = "2001:db8:1::21".parse().expect("an address");
    let prefix = ipnet::IpNet::new(ip, 64).expect("a prefix");
    let address = Address { index: 2, prefix, ours: false, usable: true, tentative: false };
    world.addresses.insert((2, ip), address);
    world.dump();
    world.run(millis(1));
    assert_eq!(world.routes("tor1"), ["2001:db8:5::5/128"]);
    assert_eq!(world.router("tor1").routes.values().next().expect("a route").next_hop, Some(ip));
}

#[test]
fn an_aggregate_lives_as_long_as_one_of_its_vips() {
    let text = format!(
        "{BASE}\n[service.mail]\nvips = [\"203.0.113.6\"]\n[service.mail.check.alive]\n\
         tcp = \"127.0.0.1:25\"\ninterval = \"1s\"\n\n[advertisement.all]\naggregation-length = 24\n"
    );
    let mut world = World::new(&text).boot();
    world.run(secs(3));
    assert_eq!(world.routes("tor1"), ["203.0.113.0/24"]);
    world.set_health("web/alive", Health::Broken);
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), ["203.0.113.0/24"]);
    world.set_health("mail/alive", Health::Broken);
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), NOTHING);
}
