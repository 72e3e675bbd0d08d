//! A host of the fabric: a machine with a cable to every router and a web server.

use std::net::Ipv4Addr;

use anyhow::Result;
use ipnet::IpNet;

use crate::link::{End, Link};
use crate::netns::Namespace;
use crate::nginx::Nginx;

/// A host; what announces its VIPs is started by the test.
#[derive(Debug)]
pub struct Host {
    /// From 1.
    pub number: usize,
    /// Its machine.
    pub namespace: Namespace,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Its cables, one to each router in order; the router's end is the first.
    pub links: Vec<Link>,
    /// Its service.
    pub nginx: Nginx,
}

impl Host {
    /// Its name, like `host1`.
    pub fn name(&self) -> &str {
        self.namespace.short_name()
    }

    /// Its end of the cable to a router (from 1).
    pub fn end(&self, tor: usize) -> &End {
        &self.links[tor - 1].ends[1]
    }

    /// The router's (from 1) end of the cable to it.
    pub fn far_end(&self, tor: usize) -> &End {
        &self.links[tor - 1].ends[0]
    }

    /// Both ends of all its cables, to be cut off with a [`Fault`](crate::fault::Fault).
    pub fn ends(&self) -> impl Iterator<Item = &End> {
        self.links.iter().flat_map(|link| &link.ends)
    }

    /// Puts a VIP on its loopback interface, or takes it away.
    pub fn set_address(&self, vip: IpNet, present: bool) -> Result<()> {
        self.set_addresses(&[vip], present)
    }

    /// Puts VIPs on its loopback interface, or takes them away.
    pub fn set_addresses(&self, vips: &[IpNet], present: bool) -> Result<()> {
        let verb = if present { "replace" } else { "del" };
        let line = |vip: &IpNet| format!("address {verb} {vip} dev lo\n");
        self.namespace.ip(&vips.iter().map(line).collect::<String>())
    }
}
