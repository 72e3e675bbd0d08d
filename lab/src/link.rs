//! A cable between two machines of the lab: a veth pair with IPv4 and IPv6 addresses on both ends.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// One end of a [`Link`].
#[derive(Clone, Debug)]
pub struct End {
    /// The machine it is plugged into.
    pub namespace: Namespace,
    /// The interface's name there, after what is at the other end.
    pub interface: String,
    /// Its address, of a /31.
    pub ipv4: Ipv4Addr,
    /// Its address, of a /127.
    pub ipv6: Ipv6Addr,
}

/// A cable; it goes away with the namespaces of its ends.
#[derive(Clone, Debug)]
pub struct Link {
    /// Both ends; in the fabric the router's first.
    pub ends: [End; 2],
}

impl Link {
    /// Plugs the cable in and sets both ends up, with all their addresses ready for use.
    pub fn plug(ends: [End; 2]) -> Result<Self> {
        let [near, far] = &ends;
        let add = format!(
            "link add {} type veth peer name {} netns {}",
            near.interface,
            far.interface,
            far.namespace.name()
        );
        near.namespace.ip(&add).context("cannot make a veth pair")?;
        for end in &ends {
            let End { interface, ipv4, ipv6, .. } = end;
            end.namespace.ip(&format!(
                "link set {interface} addrgenmode none\n\
                 link set {interface} up\n\
                 address add {ipv4}/31 dev {interface}\n\
                 address add {ipv6}/127 dev {interface} nodad\n\
                 address add {}/64 dev {interface} nodad\n",
                end.link_local(),
            ))?;
        }
        Ok(Self { ends })
    }
}

impl End {
    /// Its link-local address: `fe80::1:3:0` beside `2001:db8:1:3::`.
    pub fn link_local(&self) -> Ipv6Addr {
        let [_, _, router, machine, .., side] = self.ipv6.segments();
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, router, machine, side)
    }

    /// Takes the interface down (the other end loses its carrier) or up again.
    pub fn set_up(&self, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.namespace.ip(&format!("link set {} {state}", self.interface))
    }
}
