//! What the mirror and the driver of the kernel's side say to each other.
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
}
