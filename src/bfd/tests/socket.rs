//! The sockets, on the loopback interface.
#![expect(clippy::disallowed_types, reason = "driver: its sockets are tested on loopback")]
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use super::*;
use crate::bfd::sessions::{self, Generation, Hops};
use crate::bfd::socket::Sender;

/// An address of this host's at which nobody listens for BFD.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 37, 84, 1));

#[test]
fn the_answer_that_nobody_listens_costs_no_packet_and_the_source_port_stays() {
    let session = config(3, 300, 300);
    let config = sessions::Config {
        generation: Generation(1),
        remote: NOBODY.into(),
        source: None,
        hops: Hops::Single,
        minimum_ttl: 255,
        session,
        authentication: None,
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut sender = Sender::open(&config, &mut random).expect("a port is free");
    for _ in 0..10 {
        sender.send(&[1]).expect("it goes out");
    }
    let receiver = UdpSocket::bind((NOBODY, Hops::Single.port())).expect("the port is free");
    receiver.set_read_timeout(Some(secs(10))).expect("a time");
    let ports = [1, 2].map(|number| {
        sender.send(&[number]).expect("it goes out");
        let mut octets = [0; 4];
        let (length, from) = receiver.recv_from(&mut octets).expect("it came");
        assert_eq!(octets[..length], [number]);
        from.port()
    });
    assert!(ports[0] >= 49152 && ports[0] == ports[1], "{ports:?}");
}
