//! The steps of a script: one octet says what happens, those behind it how.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipcast::bgp::down::{ConnectError, DownReason};
use vipcast::bgp::peer::BfdVerdict;
use vipcast::bgp::transport::NoPath;
use vipcast::route::{
    Asn, Attributes, Community, Ends, ExtendedCommunity, Family, LargeCommunity, NextHops, Weight,
};

use super::super::input::{Input, bits};
use super::super::octets::{self, KEEPALIVE, Offer, UPDATE};
use super::{LOCAL, Line, REMOTE, RETRY, Stage, seconds};

impl Stage {
    /// The next one.
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 24 {
            what @ 0..14 => self.network(what, input),
            what => self.host(what, input),
        }
        self.drain();
    }

    /// Time passes, TCP and the router do something, the writer works.
    fn network(&mut self, what: u8, input: &mut Input<'_>) {
        let now = self.now;
        match what {
            0 => self.pass(Duration::from_millis(100) * input.u8().into()),
            1 => self.pass(seconds(input.u8().into())),
            2 => self.connect(),
            3 => {
                if let Some(serial) = self.dialing.pop_first() {
                    let kind = std::io::ErrorKind::ConnectionRefused;
                    let error = ConnectError { kind, text: "refused".into() };
                    self.peer.handle_connect_failed(serial, error, now);
                }
            }
            4 => {
                let ends = Ends { local: LOCAL, remote: REMOTE };
                let serial = self.peer.handle_accepted(ends, next_hops(0), now);
                assert!(self.lines.insert(serial, Line::default()).is_none(), "{serial:?} is new");
            }
            5 => {
                let (line, length) = (input.u8(), input.u16());
                self.hear(line, input.take(length.into()));
            }
            6 => {
                let (line, kind, length) = (input.u8(), input.u8(), input.u16());
                self.hear(line, &octets::message(kind, input.take(length.into())));
            }
            7 => {
                let (line, flags, hold_time) = (input.u8(), input.u8(), input.u8());
                self.hear(line, &offer(self.router_asn, flags, hold_time));
            }
            8 => self.hear(input.u8(), &octets::message(KEEPALIVE, &[])),
            9 => {
                let (line, attributes, prefix) = (input.u8(), input.u8(), input.u8());
                let length = input.u8();
                self.hear(line, &announcement(attributes, prefix, input.take(length.into())));
            }
            10 => self.lose(input.u8()),
            11 => self.written(),
            12 => drop(self.transmit()),
            _ => self.say(),
        }
    }

    /// BFD, and what the daemon or its operator does.
    fn host(&mut self, what: u8, input: &mut Input<'_>) {
        let now = self.now;
        match what {
            14 => {
                let down = BfdVerdict::Down("Control Detection Time Expired".into());
                let verdict = match input.u8() & 3 {
                    0 => down,
                    1 => BfdVerdict::Up,
                    2 => BfdVerdict::AdminDown,
                    _ => BfdVerdict::Awaited,
                };
                self.peer.handle_bfd(&verdict, now);
            }
            15 => self.want(input.u8(), input.u8(), input.u8()),
            16 => {
                let hops = next_hops(input.u8());
                self.peer.update_next_hops(|_| hops, now);
            }
            17 => {
                self.is_passive = input.u8() & 1 == 1;
                self.peer.set_pace(RETRY, self.is_passive, now);
            }
            18 => self.our_own(input.u8()),
            19 => self.start(input.u8()),
            20 => self.stop(input.u8()),
            21 => self.find(input.u8() & 1 == 1),
            22 => {
                let gone = (input.u8() & 1 == 1).then(|| "the link is down".to_owned());
                self.peer.update_cut_off(|_| gone.clone(), now);
            }
            _ => self.late(input.u8()),
        }
    }

    /// What we want the router to have of some prefixes: nothing, or these attributes.
    fn want(&mut self, first: u8, count: u8, kind: u8) {
        let [is_ipv6, .., many, large] = bits(kind);
        let size = if large { 20 } else { u32::from(kind >> 1 & 3) };
        // Each is encoded to see whether it fits, so there are seldom many; 256 need two messages.
        let count = if many || large {
            count % 4
        } else if count < 0xf8 {
            count % 16
        } else {
            count
        };
        let attributes = Arc::new(Attributes {
            communities: (0..size).map(Community).collect(),
            extended_communities: (0..size.into()).map(ExtendedCommunity).collect(),
            // More than 4096 octets hold, and fewer than 65535
            large_communities: (0..if many { 400 } else { size })
                .map(|global| LargeCommunity { global, local1: 1, local2: 2 })
                .collect(),
            local_pref: (kind & 8 != 0).then_some(kind.into()),
            med: (kind & 16 != 0).then_some(kind.into()),
            prepend: kind >> 3 & 3,
            weight: (kind & 32 != 0).then_some(Weight(1 + u16::from(kind))),
        });
        for number in 0..=count {
            let [high, low] = [first % 4, number];
            let prefix = if is_ipv6 {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, high.into(), low.into());
                IpNet::from(IpAddr::V6(address))
            } else {
                IpNet::from(IpAddr::V4(Ipv4Addr::new(203, 0, high, low)))
            };
            let wanted = (first < 128).then(|| attributes.clone());
            self.peer.rib_mut().set(prefix, wanted.clone(), self.now);
            match wanted {
                Some(attributes) => self.wanted.insert(prefix, attributes),
                None => self.wanted.remove(&prefix),
            };
        }
    }

    /// What the daemon does by itself.
    fn our_own(&mut self, which: u8) {
        match which % 7 {
            0 => self.peer.rib_mut().release_end_of_rib(),
            1 => {
                self.requests += 2;
                self.peer.request_refresh(&Family::ALL);
            }
            2 => {
                if let Some(serial) = self.line(which >> 4) {
                    self.peer.handle_keys_changed(serial, self.now);
                }
            }
            3 => self.reads = !self.reads,
            4 => self.peer.reset("new filters", self.now),
            5 => self.peer.hurry(self.now),
            _ => self.peer.handle_timeout(self.now),
        }
    }

    pub(super) fn stop(&mut self, how: u8) {
        self.is_started = false;
        match how % 4 {
            0 => self.peer.stop(&DownReason::Shutdown("maintenance".into()), self.now),
            1 => self.peer.stop(&DownReason::Deconfigured, self.now),
            2 => self.peer.stop(&DownReason::ConfigurationChanged, self.now),
            _ => self.peer.stop(&DownReason::Restarting, self.now),
        }
    }

    pub(super) fn find(&mut self, is_found: bool) {
        self.is_found = is_found;
        let path =
            if is_found { Ok(REMOTE) } else { Err(NoPath::Because("no router is known".into())) };
        self.peer.set_path(path, self.now);
    }

    /// News of a connection that the peer has done with, which cross its last word on their way.
    fn late(&mut self, what: u8) {
        let Some(serial) = self.closed else { return };
        let now = self.now;
        match what % 6 {
            0 => self.peer.handle_input(serial, &octets::message(KEEPALIVE, &[]), now),
            1 => self.peer.handle_closed(serial, None, now),
            2 => self.peer.handle_written(serial, now),
            3 => self.peer.handle_acknowledged(serial, 1000, now),
            4 => self.peer.handle_keys_changed(serial, now),
            _ => {
                // TCP came about after all: it is closed again.
                self.lines.insert(serial, Line::default());
                self.peer.handle_connected(serial, LOCAL, next_hops(0), now);
                self.drain();
                assert!(!self.lines.contains_key(&serial));
            }
        }
    }
}

/// Our addresses on the way to the router, or none of a family.
pub(super) fn next_hops(which: u8) -> NextHops {
    let [no_ipv4, no_ipv6, link_local, .., other] = bits(which);
    let last = if other { 2 } else { 1 };
    NextHops {
        ipv4: (!no_ipv4).then_some(Ipv4Addr::new(192, 0, 2, last)),
        ipv6: (!no_ipv6).then_some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())),
        link_local: link_local.then_some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into())),
    }
}

/// An OPEN of the right router.
pub(super) fn offer(asn: Asn, flags: u8, hold_time: u8) -> Vec<u8> {
    let [ipv4, ipv6, refresh, enhanced_refresh, extended, four_octet_asn, restart, higher] =
        bits(flags);
    Offer {
        hold_time: hold_time.into(),
        router_id: [if higher { 11 } else { 9 }, 0, 0, 2],
        families: [ipv4, ipv6],
        refresh,
        enhanced_refresh,
        extended_message: extended,
        extended_next_hop: extended,
        four_octet_asn,
        restart: restart.then_some([0x40, 120]),
        ..Offer::of_everything(asn.0)
    }
    .encode()
}

/// An UPDATE with a prefix, and attributes that are right before others.
fn announcement(kind: u8, prefix: u8, more: &[u8]) -> Vec<u8> {
    let path: &[u8] = if kind & 1 == 0 { &[2, 1, 0, 0, 0xfb, 0xf4] } else { &[2, 1, 0xfb, 0xf4] };
    let length = u8::try_from(path.len()).expect("it is short");
    let mut attributes =
        [&[0x40, 1, 1, 0, 0x40, 3, 4, 192, 0, 2, 9, 0x40, 2, length], path].concat();
    if kind & 2 != 0 {
        attributes.extend([0x80, 14, 38, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8]);
        attributes.extend([0; 13]);
        attributes.extend([128, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, prefix]);
    }
    attributes.extend(more);
    let length = u16::try_from(attributes.len()).expect("an octet's worth").to_be_bytes();
    octets::message(
        UPDATE,
        &[&[0, 0], &length[..], &attributes, &[32, 198, 51, 100, prefix]].concat(),
    )
}
