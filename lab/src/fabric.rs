//! The topology: routers (ToRs) above, hosts below, a client beyond, every machine with a cable to
//! every router.
//!
//! ```text
//!                 client   198.18.0.1, 2001:db8:ffff::1
//!                /      \
//!    10.1.100.0/31      10.2.100.0/31          2001:db8:<ToR>:<machine>::/127 beside each IPv4 /31
//!            tor1        tor2                  AS 65000
//!             | \        / |
//!             |  \      /  |
//!    10.1.1.0/31  \    /  10.2.1.0/31 …        the router's address is even, the other end's odd
//!             |    \  /    |
//!           host1  host2  host3                AS 65100
//! ```
//!
//! VIPs are of 203.0.113.0/24 and 2001:db8:5::/120. Routers learn them by BGP and know the way to
//! the client; the client and the hosts send everything through all routers (ECMP).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use ipnet::IpNet;

use crate::announcer::BirdAnnouncer;
use crate::client::Client;
use crate::host::Host;
use crate::link::{End, Link};
use crate::netns::Namespace;
use crate::nginx::Nginx;
use crate::router::{BfdTimers, Kind, Neighbour, Peering, Router, RouterConfig};
use crate::site::Site;
use crate::watch::Watch;

/// The autonomous system of the routers.
pub const TOR_ASN: u32 = 65000;
/// The autonomous system of all hosts.
pub const HOST_ASN: u32 = 65100;
/// The client's own address.
pub const CLIENT_IPV4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The client's own address.
pub const CLIENT_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
/// The client's place among a router's machines.
const CLIENT_NUMBER: usize = 100;

/// What a fabric shall be.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// How many hosts, fewer than 100.
    pub hosts: usize,
    /// The routers, fewer than 9.
    pub tors: Vec<TorConfig>,
}

/// What a router of a fabric shall be.
#[derive(Clone, Debug)]
pub struct TorConfig {
    /// Which implementation.
    pub kind: Kind,
    /// At which address it speaks with each host.
    pub transport: Transport,
    /// How it speaks with each host; name, address and ASN are filled in.
    pub neighbour: Neighbour,
    /// Whether what it learns goes into the kernel's table.
    pub kernel: bool,
    /// More configuration in its own language.
    pub extra: String,
}

/// Between which addresses a session runs; it carries both families in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The IPv4 addresses of the cable.
    Ipv4,
    /// The IPv6 addresses of the cable.
    Ipv6,
    /// The link-local addresses, found by the interface ("unnumbered").
    LinkLocal,
}

/// A running fabric; it is gone when dropped.
#[derive(Debug)]
pub struct Fabric {
    /// The routers.
    pub tors: Vec<Tor>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The client.
    pub client: Client,
    site: Arc<Site>,
}

/// A router of a fabric.
#[derive(Debug)]
pub struct Tor {
    /// From 1.
    pub number: usize,
    /// At which address it speaks with each host.
    pub transport: Transport,
    /// Its machine.
    pub namespace: Namespace,
    /// The routing daemon on it.
    pub router: Router,
    /// The kernel's routes on it; the interface to a host has the host's name.
    pub routes: Watch,
}

impl Default for FabricConfig {
    /// Three hosts, BIRD as tor1 and FRR as tor2, both with BFD of 300 ms × 3.
    fn default() -> Self {
        Self { hosts: 3, tors: vec![TorConfig::new(Kind::Bird), TorConfig::new(Kind::Frr)] }
    }
}

impl TorConfig {
    /// A router with BFD of 300 ms × 3 (GoBGP: without) and a hold time of 9 s.
    pub fn new(kind: Kind) -> Self {
        let mut neighbour = Neighbour::new("", Ipv4Addr::UNSPECIFIED.into(), HOST_ASN);
        neighbour.bfd = (kind != Kind::Gobgp).then_some(BfdTimers::DEFAULT);
        let (transport, extra) = (Transport::Ipv4, String::new());
        Self { kind, transport, neighbour, kernel: true, extra }
    }
}

impl Fabric {
    /// Brings up a fabric beside any others.
    pub fn start(config: &FabricConfig) -> Result<Self> {
        Self::start_on(&Site::temporary()?, config)
    }

    /// Brings up a fabric on this site. Nothing announces a VIP yet.
    pub fn start_on(site: &Arc<Site>, config: &FabricConfig) -> Result<Self> {
        ensure!(config.hosts < CLIENT_NUMBER, "a fabric has fewer than 100 hosts");
        ensure!((1..9).contains(&config.tors.len()), "a fabric has 1 to 8 routers");
        let machines: Vec<Namespace> = (1..=config.tors.len())
            .map(|number| Namespace::create(site, &format!("tor{number}")))
            .collect::<Result<_>>()?;
        let client = start_client(site, &machines)?;
        let hosts: Vec<Host> = (1..=config.hosts)
            .map(|number| start_host(site, &machines, number))
            .collect::<Result<_>>()?;
        let mut tors = Vec::new();
        for ((namespace, tor), number) in machines.into_iter().zip(&config.tors).zip(1..) {
            tors.push(start_tor(namespace, tor, number, &hosts)?);
        }
        Ok(Self { tors, hosts, client, site: site.clone() })
    }

    /// The router of that number, from 1.
    pub fn tor(&self, number: usize) -> &Tor {
        &self.tors[number - 1]
    }

    /// As [`tor`](Self::tor), to stop, kill and start its router.
    pub fn tor_mut(&mut self, number: usize) -> &mut Tor {
        &mut self.tors[number - 1]
    }

    /// The host of that number, from 1.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number - 1]
    }

    /// As [`host`](Self::host), to stop, kill and start its service.
    pub fn host_mut(&mut self, number: usize) -> &mut Host {
        &mut self.hosts[number - 1]
    }

    /// The lab it belongs to.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// How a host (from 1) speaks with a router (from 1): as the router speaks with the host.
    pub fn neighbour_of_host(&self, host: usize, tor: usize) -> Neighbour {
        let (host, tor) = (self.host(host), self.tor(tor));
        let peering = tor.transport.peering(host.end(tor.number), host.far_end(tor.number));
        let theirs = &tor.router.config().neighbours[host.number - 1];
        Neighbour {
            peering,
            bfd: theirs.bfd,
            hold_time: theirs.hold_time,
            password: theirs.password.clone(),
            ttl_security: theirs.ttl_security,
            ..Neighbour::new(tor.namespace.short_name(), Ipv4Addr::UNSPECIFIED.into(), TOR_ASN)
        }
    }

    /// Announces VIPs from a host with BIRD.
    pub fn announce_with_bird(&self, host: usize, vips: &[IpNet]) -> Result<BirdAnnouncer> {
        BirdAnnouncer::start(self.host(host), self.neighbours_of_host(host), vips)
    }

    /// As [`announce_with_bird`](Self::announce_with_bird), all or none of them.
    pub fn announce_table_with_bird(&self, host: usize, vips: &[IpNet]) -> Result<BirdAnnouncer> {
        BirdAnnouncer::start_with_table(self.host(host), self.neighbours_of_host(host), vips)
    }

    /// How a host (from 1) speaks with all routers.
    fn neighbours_of_host(&self, host: usize) -> Vec<Neighbour> {
        (1..=self.tors.len()).map(|tor| self.neighbour_of_host(host, tor)).collect()
    }
}

impl Transport {
    /// Where the far end of a cable is for the near one.
    fn peering(self, near: &End, far: &End) -> Peering {
        match self {
            Self::Ipv4 => Peering::Address(far.ipv4.into()),
            Self::Ipv6 => Peering::Address(far.ipv6.into()),
            Self::LinkLocal => {
                Peering::Interface { name: near.interface.clone(), link_local: far.link_local() }
            }
        }
    }
}

/// The VIP with this last byte, of the IPv4 and of the IPv6 pool.
pub fn vip(number: u8) -> [IpNet; 2] {
    let ipv4 = Ipv4Addr::new(203, 0, 113, number);
    let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, number.into());
    [IpAddr::from(ipv4).into(), IpAddr::from(ipv6).into()]
}

/// The cable between a router and another machine; both are known by their numbers.
fn plug(tor: (usize, &Namespace), machine: (usize, &Namespace)) -> Result<Link> {
    let (tor_number, machine_number) = (tor.0, machine.0);
    let end = |here: &Namespace, there: &Namespace, side: u8| End {
        namespace: here.clone(),
        interface: there.short_name().to_owned(),
        ipv4: format!("10.{tor_number}.{machine_number}.{side}").parse().expect("all are bytes"),
        // The numbers look the same as in the IPv4 address, although these are hexadecimal.
        ipv6: format!("2001:db8:{tor_number}:{machine_number}::{side}")
            .parse()
            .expect("all are decimal and short"),
    };
    Link::plug([end(tor.1, machine.1, 0), end(machine.1, tor.1, 1)])
}

/// Plugs a machine into every router and sends all it sends through all of them, from `source` if
/// there is one.
fn connect(
    tors: &[Namespace],
    number: usize,
    machine: &Namespace,
    source: Option<(Ipv4Addr, Ipv6Addr)>,
) -> Result<Vec<Link>> {
    let links: Vec<Link> =
        (1..).zip(tors).map(|tor| plug(tor, (number, machine))).collect::<Result<_>>()?;
    let through = |address: fn(&End) -> IpAddr| -> String {
        links.iter().map(|link| format!(" nexthop via {}", address(&link.ends[0]))).collect()
    };
    let (ipv4, ipv6) = (through(|end| end.ipv4.into()), through(|end| end.ipv6.into()));
    let from4 = source.map(|(ipv4, _)| format!(" src {ipv4}")).unwrap_or_default();
    let from6 = source.map(|(_, ipv6)| format!(" src {ipv6}")).unwrap_or_default();
    machine.ip(&format!("route add 0.0.0.0/0{from4}{ipv4}\nroute add ::/0{from6}{ipv6}\n"))?;
    Ok(links)
}

fn start_client(site: &Arc<Site>, tors: &[Namespace]) -> Result<Client> {
    let namespace = Namespace::create(site, "client")?;
    namespace.ip(&format!(
        "address add {CLIENT_IPV4}/32 dev lo\naddress add {CLIENT_IPV6}/128 dev lo nodad\n"
    ))?;
    for link in connect(tors, CLIENT_NUMBER, &namespace, Some((CLIENT_IPV4, CLIENT_IPV6)))? {
        let [tor, client] = &link.ends;
        tor.namespace.ip(&format!(
            "route add {CLIENT_IPV4} via {}\nroute add {CLIENT_IPV6} via {}\n",
            client.ipv4, client.ipv6
        ))?;
    }
    Ok(Client::new(namespace))
}

fn start_host(site: &Arc<Site>, tors: &[Namespace], number: usize) -> Result<Host> {
    let namespace = Namespace::create(site, &format!("host{number}"))?;
    let links = connect(tors, number, &namespace, None)?;
    let router_id = router_id(1, number);
    let nginx = Nginx::start(&namespace)?;
    Ok(Host { number, namespace, router_id, links, nginx })
}

fn start_tor(
    namespace: Namespace,
    config: &TorConfig,
    number: usize,
    hosts: &[Host],
) -> Result<Tor> {
    let mut router = RouterConfig::new(TOR_ASN, router_id(0, number));
    router.extra.clone_from(&config.extra);
    router.kernel = config.kernel;
    let neighbour = |host: &Host| Neighbour {
        name: host.name().to_owned(),
        peering: config.transport.peering(host.far_end(number), host.end(number)),
        remote_asn: HOST_ASN,
        ..config.neighbour.clone()
    };
    router.neighbours = hosts.iter().map(neighbour).collect();
    let routes = Watch::start(&namespace)?;
    let router = Router::start(&namespace, config.kind, router)?;
    Ok(Tor { number, transport: config.transport, namespace, router, routes })
}

fn router_id(class: u8, number: usize) -> Ipv4Addr {
    Ipv4Addr::new(
        10,
        255,
        class,
        u8::try_from(number).expect("a fabric has fewer than 100 of them"),
    )
}
