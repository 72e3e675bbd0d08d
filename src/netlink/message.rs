//! What the mirror and the driver of the kernel's side say to each other.
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// A network interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number
    pub index: u32,
    /// Its name
    pub name: String,
    /// It is administratively up
    pub up: bool,
    /// Something is at the other end
    pub carrier: bool,
    /// The families in which packets that come in there are forwarded
    pub forwards: Forwards,
}

/// In which families something is forwarded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the meaning")]
pub struct Forwards {
    pub ipv4: bool,
    pub ipv6: bool,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address {
    /// The interface's number
    pub index: u32,
    /// The address and its length
    pub prefix: IpNet,
    /// It carries our protocol number
    pub ours: bool,
    /// Others may use it to reach us: global scope, neither tentative nor deprecated
    pub usable: bool,
    /// It cannot be used yet, or never: others may have it too (RFC 4862 §5.4)
    pub tentative: bool,
}

/// Somebody on a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Neighbour {
    /// The interface's number
    pub index: u32,
    /// Its address
    pub address: IpAddr,
    /// Its hardware address, where that is one of Ethernet
    pub hardware: Option<[u8; 6]>,
    /// It says that it is a router (RFC 4861 §7.3.3: IsRouter)
    pub router: bool,
    /// The kernel does not know better than that it is there
    pub there: bool,
}

/// What the driver reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// All there is; replaces what was known
    Dump(Vec<Link>, Vec<Address>),
    /// A new or changed link
    Link(Link),
    /// A link is gone
    LinkGone(u32),
    /// A new or changed address
    Address(Address),
    /// An address is gone
    AddressGone(Address),
    /// A request was carried out, or refused for this reason; what that changed has been reported
    Done(Request, Result<(), String>),
    /// An address that was to be added is there already: a report or a dump says whose it is
    AlreadyThere(u32, IpAddr),
    /// About routes
    Route(RouteEvent),
    /// All neighbours; replaces what was known
    Neighbours(Vec<Neighbour>),
    /// A new or changed one
    Neighbour(Neighbour),
    /// One is gone
    NeighbourGone(Neighbour),
    /// The kernel cannot be talked to, for this reason
    Broken(String),
}

/// What the driver is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Put the VIP on the interface
    Add(u32, IpAddr),
    /// Take it off
    Remove(u32, IpNet),
    /// Make a dummy device, and set it up
    CreateDummy(String),
    /// About routes
    Route(RouteRequest),
    /// Report neighbours, or no longer
    WatchNeighbours(bool),
}

/// What tells a route from all others in the kernel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RouteKey {
    /// The number of its table
    pub table: u32,
    /// Where it leads
    pub prefix: IpNet,
    /// Of several routes to one prefix the least is used
    pub metric: u32,
}

/// The next router on the way.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NextHop {
    /// Its address
    pub address: IpAddr,
    /// The number of the interface to it
    pub index: u32,
}

/// A route with our protocol number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Which one
    pub key: RouteKey,
    /// The traffic is spread over all of them
    pub next_hops: BTreeSet<NextHop>,
}

/// What the driver reports about routes; those of others are not among them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteEvent {
    /// All there are; replaces what was known
    Dump(Vec<Route>),
    /// A new or changed route
    Changed(Route),
    /// A route is gone, or these next hops of it
    Gone(Route),
    /// A request was carried out, or refused for this reason; what that changed has been reported
    Done(RouteRequest, Result<(), String>),
    /// A route that was to be added is there already: a dump says whether it is ours
    AlreadyThere(RouteKey),
}

/// What the driver is to do about routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteRequest {
    /// Add a route that is not there
    Add(Route),
    /// Put a route in place of ours, at one go
    Replace(Route),
    /// Remove ours; that it is not there is no error
    Remove(RouteKey),
    /// Report all routes again
    Read,
}
