//! One peer on a virtual clock: tests play the router and the driver, and see what comes of it.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::clock::{secs, start};
use super::octets::{EXTERNAL, Message, keepalive, open, read, router_id};
use crate::bgp::Serial;
use crate::bgp::connection::{self, Opening, RemoteAsn, Session};
use crate::bgp::down::{ConnectError, DownReason};
use crate::bgp::peer::{Action, Config, Event, Peer};
use crate::bgp::transport::{Remote, Transport};
use crate::bgp::wire::Notification;
use crate::route::{Asn, Ends, Family, NextHops, ScopedAddress};

pub(super) const LOCAL: Asn = Asn(64501);
pub(super) const REMOTE: Asn = Asn(64500);

/// `connect-retry-time` in these tests.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// A router at 192.0.2.254 in another AS, hold time 90 s.
pub(super) fn config() -> Config {
    Config {
        transport: Transport {
            remote: Remote::Address(remote().ip),
            port: 179,
            source_address: None,
            vrf: None,
            ttl: 1,
            minimum_ttl: None,
            authentication: None,
        },
        session: connection::Config {
            local_asn: LOCAL,
            remote_asn: RemoteAsn::External,
            families: Family::ALL.to_vec(),
            hold_time: secs(90),
            keepalive_time: None,
            role: None,
            restart: None,
            bfd_strict: false,
        },
        connect_retry_time: RETRY,
        passive: false,
    }
}

/// The router's end of the connections in these tests.
pub(super) fn remote() -> ScopedAddress {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)).into()
}

/// Our end of the connections in these tests.
pub(super) fn local() -> ScopedAddress {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)).into()
}

pub(super) fn ends() -> Ends {
    Ends { local: local(), remote: remote() }
}

pub(super) fn next_hops(last: u8) -> NextHops {
    NextHops {
        ipv4: Some(Ipv4Addr::new(192, 0, 2, last)),
        ipv6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())),
        link_local: None,
    }
}

/// The one of these that a route of a family names.
pub(super) fn next_hop(last: u8, family: Family) -> IpAddr {
    next_hops(last).get(family).expect("there is one of each").address
}

pub(super) fn refused() -> ConnectError {
    ConnectError { kind: std::io::ErrorKind::ConnectionRefused, text: "refused".into() }
}

/// What the session with the router of these tests looks like.
pub(super) fn session() -> Session {
    Session {
        hold_time: secs(90),
        keepalive_time: secs(30),
        families: Family::ALL.to_vec(),
        encoding: EXTERNAL,
        enhanced_route_refresh: false,
        graceful_restart: None,
        route_refresh: true,
        remote_asn: REMOTE,
        remote_router_id: router_id(2),
        remote_host_name: None,
        bfd_strict: false,
    }
}

/// A peer, its clock, and what it has wanted and told so far.
pub(super) struct Scene {
    pub(super) peer: Peer,
    pub(super) begin: Instant,
    pub(super) now: Instant,
    /// Whether the router's TCP takes what it is sent
    pub(super) reads: bool,
    /// Octets written on each connection, and how many of them were taken
    pub(super) written: BTreeMap<Serial, (u64, u64)>,
    wanted: Vec<Action>,
}

impl Scene {
    /// Not started.
    pub(super) fn new(config: Config) -> Self {
        let begin = start();
        let peer = Peer::new(config, Ok(remote()), 7, begin);
        let (written, wanted) = (BTreeMap::new(), Vec::new());
        Self { peer, begin, now: begin, reads: true, written, wanted }
    }

    /// Started as 10.0.0.1.
    pub(super) fn started(config: Config) -> Self {
        let mut scene = Self::new(config);
        scene.peer.start(Opening::new(router_id(1)), scene.now);
        scene
    }

    /// Started, and connected to the router by the returned number.
    pub(super) fn connected(config: Config) -> (Self, Serial) {
        let mut scene = Self::started(config);
        let serial = scene.attempt();
        scene.connect(serial);
        (scene, serial)
    }

    /// With a session on a connection that we opened, and nothing left to tell.
    pub(super) fn established() -> (Self, Serial) {
        let (mut scene, serial) = Self::connected(config());
        scene.come_up(serial);
        (scene, serial)
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        self.answer();
        std::mem::take(&mut self.wanted)
    }

    /// Says how much the router's TCP has taken, where that is asked; the rest is left to be seen.
    fn answer(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            if let Action::CountAcknowledged(serial) = action {
                let (_, taken) = *self.written.entry(serial).or_default();
                self.peer.handle_acknowledged(serial, taken, self.now);
            } else {
                self.wanted.push(action);
            }
        }
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.peer.poll_event()).collect()
    }

    /// The one attempt to connect that must be all that is wanted now.
    pub(super) fn attempt(&mut self) -> Serial {
        let actions = self.actions();
        let [Action::Connect(serial, _)] = actions[..] else { panic!("{actions:?}") };
        serial
    }

    pub(super) fn connect(&mut self, serial: Serial) {
        self.peer.handle_connected(serial, local(), next_hops(1), self.now);
    }

    pub(super) fn accept(&mut self) -> Serial {
        self.peer.handle_accepted(ends(), next_hops(1), self.now)
    }

    pub(super) fn hear(&mut self, serial: Serial, octets: &[u8]) {
        self.peer.handle_input(serial, octets, self.now);
    }

    pub(super) fn hear_open(&mut self, serial: Serial) {
        self.hear(serial, &open(REMOTE.0, 90, [10, 0, 0, 2]));
    }

    /// The router's side of coming up; what that leads to is looked at and done.
    pub(super) fn come_up(&mut self, serial: Serial) {
        self.say();
        self.hear_open(serial);
        self.hear(serial, &keepalive());
        self.say();
        assert_eq!(self.actions(), [Action::SetUserTimeout(serial, secs(180))]);
        assert_eq!(self.events(), [Event::Established(session())]);
    }

    /// Everything that wants to go out, written at once.
    pub(super) fn say(&mut self) -> Vec<(Serial, Message)> {
        let mut said = Vec::new();
        while let Some((serial, octets)) = self.peer.poll_transmit(self.now) {
            said.extend(read(&octets, EXTERNAL).into_iter().map(|message| (serial, message)));
            let (written, taken) = self.written.entry(serial).or_default();
            *written += octets.len() as u64;
            if self.reads {
                *taken = *written;
            }
            self.peer.handle_written(serial, self.now);
        }
        said
    }

    /// Lets time pass, from timeout to timeout. Whatever happens on the way is left to be seen.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(timeout) = self.peer.poll_timeout().filter(|timeout| *timeout <= end) {
            assert!(timeout >= self.now, "a timeout that has passed is not seen to");
            self.now = timeout;
            self.peer.handle_timeout(self.now);
            self.answer();
        }
        self.now = end;
        self.peer.handle_timeout(self.now);
        self.answer();
    }

    /// Lets time pass up to the next attempt to connect: how long it took, and its number. What
    /// became of the attempt before is not looked at.
    pub(super) fn next_attempt(&mut self) -> (Duration, Serial) {
        let before = self.now;
        loop {
            for action in self.actions() {
                if let Action::Connect(serial, _) = action {
                    return (self.now - before, serial);
                }
            }
            self.now = self.peer.poll_timeout().expect("an attempt is planned");
            assert!(self.now < before + secs(7200), "for ever");
            self.peer.handle_timeout(self.now);
        }
    }

    /// A session that keeps on for this long.
    pub(super) fn keep_up(&mut self, serial: Serial, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass(secs(1).min(end - self.now));
            self.hear(serial, &keepalive());
            self.say();
        }
        assert_eq!(self.actions(), []);
    }
}

/// How a connection ends when the peer is told this.
pub(super) fn closed(serial: Serial, last_words: Notification) -> Action {
    Action::Close(serial, last_words.encode())
}

/// How a connection ends without a word.
pub(super) fn dropped(serial: Serial) -> Action {
    Action::Close(serial, vec![])
}

pub(super) fn failed(reason: DownReason) -> Event {
    Event::Failed(reason)
}
