//! Drives the address core through its public methods, on a virtual clock.
#![expect(clippy::disallowed_methods, reason = "a test picks where its clock starts")]
mod addresses;
mod kernel;
mod neighbours;
mod routes;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{Address, Addresses, Event, Forwards, Link, Presence, Request};

/// Between attempts, and between the end of an announcement and that of its address.
const SECOND: Duration = Duration::from_secs(1);
/// The shortest time there is: just before a moment, nothing of that moment has happened.
const TICK: Duration = Duration::from_nanos(1);

fn start() -> Instant {
    Instant::now()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.into(), up: true, carrier: true, forwards: Forwards::default() }
}

/// An address that somebody else put there.
fn foreign(index: u32, prefix: &str) -> Address {
    Address { index, prefix: net(prefix), ours: false, usable: true, tentative: false }
}

/// A VIP as we put it there.
fn ours(index: u32, vip: &str) -> Address {
    Address { index, prefix: ip(vip).into(), ours: true, usable: false, tentative: false }
}

fn add(index: u32, vip: &str) -> Request {
    Request::Add(index, ip(vip))
}

fn remove(index: u32, vip: &str) -> Request {
    Request::Remove(index, ip(vip).into())
}

fn create(name: &str) -> Request {
    Request::CreateDummy(name.into())
}

fn missing(reason: &str) -> Presence {
    Presence::Missing(reason.into())
}
