//! Which router is on a link.
use std::net::Ipv6Addr;

use crate::netlink::{Event, Neighbour, Neighbours, NoRouter};

const ETH0: u32 = 2;

fn ip(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

fn router(last: u16) -> Neighbour {
    Neighbour { index: ETH0, address: ip(last), router: true, there: true }
}

fn host(last: u16) -> Neighbour {
    Neighbour { router: false, ..router(last) }
}

fn silent(neighbour: Neighbour) -> Neighbour {
    Neighbour { there: false, ..neighbour }
}

fn know(all: &[Neighbour]) -> Neighbours {
    let mut neighbours = Neighbours::default();
    neighbours.handle_event(&Event::Neighbours(all.to_vec()));
    assert!(neighbours.poll_changed());
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
fn one_that_was_found_stays_until_another_one_is_all_there_is() {
    let mut neighbours = know(&[router(1)]);
    assert_eq!(found(&mut neighbours), Ok(ip(1)));
    for event in [
        Event::Neighbour(router(2)),
        Event::Neighbour(host(3)),
        Event::NeighbourGone(router(2)),
        Event::Neighbour(silent(router(1))),
    ] {
        neighbours.handle_event(&event);
        let alone = matches!(event, Event::Neighbour(Neighbour { there: false, .. }));
        let expected = if alone { ip(3) } else { ip(1) };
        assert_eq!(found(&mut neighbours), Ok(expected), "{event:?}");
    }
    neighbours.handle_event(&Event::Neighbours(Vec::new()));
    assert_eq!(found(&mut neighbours), Ok(ip(3)), "it may only have been silent for too long");
    neighbours.handle_event(&Event::LinkGone(ETH0));
    assert_eq!(found(&mut neighbours), Err(NoRouter::NoneSeen("eth0".into())));
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
