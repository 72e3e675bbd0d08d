//! Which router is on a link.
use std::net::{IpAddr, Ipv6Addr};

use crate::netlink::{Event, Neighbour, Neighbours, NoRouter};

const ETH0: u32 = 2;

fn ip(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

fn router(last: u16) -> Neighbour {
    Neighbour {
        index: ETH0,
        address: ip(last).into(),
        hardware: Some([2, 0, 0, 0, 0, u8::try_from(last).expect("a small number")]),
        router: true,
        there: true,
    }
}

fn host(last: u16) -> Neighbour {
    Neighbour { router: false, ..router(last) }
}

fn silent(neighbour: Neighbour) -> Neighbour {
    Neighbour { there: false, ..neighbour }
}

fn know(all: &[Neighbour]) -> Neighbours {
    let mut neighbours = Neighbours::default();
    assert!(!neighbours.is_known());
    neighbours.handle_event(&Event::Neighbours(all.to_vec()));
    assert!(neighbours.poll_changed() && neighbours.is_known());
    neighbours
}

fn found(neighbours: &mut Neighbours) -> Result<Ipv6Addr, NoRouter> {
    neighbours.router(ETH0, "eth0")
}

#[test]
fn it_is_who_says_so_else_who_is_alone() {
    let elsewhere = Neighbour { index: 3, ..router(9) };
    let several = |one, other| Err(NoRouter::Several("eth0".into(), [ip(one), ip(other)]));
    let none = Err(NoRouter::NoneSeen("eth0".into()));
    let table: [(&[Neighbour], _); 8] = [
        (&[], none.clone()),
        (&[elsewhere], none.clone()),
        (&[router(1), elsewhere], Ok(ip(1))),
        (&[router(1), host(2), host(3)], Ok(ip(1))),
        (&[host(2)], Ok(ip(2))),
        (&[host(2), host(3)], several(2, 3)),
        (&[router(1), router(2), router(3)], several(1, 2)),
        (&[silent(router(1)), silent(host(2))], none),
    ];
    for (known, expected) in table {
        assert_eq!(found(&mut know(known)), expected, "{known:?}");
    }
}

#[test]
fn a_router_that_was_found_stays_until_another_one_is_all_there_is() {
    let mut neighbours = know(&[router(1)]);
    assert_eq!(found(&mut neighbours), Ok(ip(1)));
    for (event, expected) in [
        (Event::Neighbour(router(2)), ip(1)),
        (Event::Neighbour(host(3)), ip(1)),
        (Event::NeighbourGone(router(2)), ip(1)),
        // Who does not say to be a router is none because the router is away for a moment.
        (Event::Neighbour(silent(router(1))), ip(1)),
        (Event::Neighbour(host(1)), ip(1)),
        (Event::Neighbour(silent(router(1))), ip(1)),
        (Event::Neighbour(router(4)), ip(4)),
    ] {
        neighbours.handle_event(&event);
        assert_eq!(found(&mut neighbours), Ok(expected), "{event:?}");
    }
    neighbours.handle_event(&Event::Neighbours(Vec::new()));
    assert_eq!(found(&mut neighbours), Ok(ip(4)), "it may only have been silent for too long");
    neighbours.handle_event(&Event::LinkGone(ETH0));
    assert_eq!(found(&mut neighbours), Err(NoRouter::NoneSeen("eth0".into())));
}

#[test]
fn one_that_was_alone_stays_until_another_one_is() {
    let mut neighbours = know(&[host(1)]);
    assert_eq!(found(&mut neighbours), Ok(ip(1)));
    neighbours.handle_event(&Event::Neighbour(host(2)));
    assert_eq!(found(&mut neighbours), Ok(ip(1)));
    neighbours.handle_event(&Event::Neighbour(silent(host(1))));
    assert_eq!(found(&mut neighbours), Ok(ip(2)));
}

#[test]
fn what_is_about_something_else_changes_nothing() {
    let mut neighbours = know(&[router(1)]);
    assert!(!neighbours.poll_changed());
    neighbours.handle_event(&Event::Broken("for a moment".into()));
    assert!(!neighbours.poll_changed());
    neighbours.handle_event(&Event::Neighbour(host(2)));
    assert!(neighbours.poll_changed());
}

#[test]
fn hardware_addresses_are_known_of_whoever_is_there() {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let v4 = Neighbour { address: address("10.0.0.1"), ..router(7) };
    let mut neighbours = know(&[v4, silent(router(2))]);
    assert_eq!(neighbours.hardware(ETH0, v4.address), v4.hardware);
    assert_eq!(neighbours.hardware(ETH0 + 1, v4.address), None);
    assert_eq!(neighbours.hardware(ETH0, ip(2).into()), None, "it does not answer");
    // The router on a link is one that is known by a link-local address.
    assert_eq!(found(&mut neighbours), Err(NoRouter::NoneSeen("eth0".into())));

    neighbours.handle_event(&Event::Neighbour(v4));
    assert!(!neighbours.poll_changed(), "the kernel says the same again");
    let moved = Neighbour { hardware: Some([6; 6]), ..v4 };
    neighbours.handle_event(&Event::Neighbour(moved));
    assert!(neighbours.poll_changed());
    assert_eq!(neighbours.hardware(ETH0, v4.address), Some([6; 6]));
}
