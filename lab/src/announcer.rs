//! BIRD as a host's announcer: no checks, VIPs announced and withdrawn by command.
//!
//! It stands in for vipcastd where only the fabric is of interest, and is what vipcastd is compared
//! with in benchmarks.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use ipnet::IpNet;

use crate::host::Host;
use crate::router::{Kind, Neighbour, Router, RouterConfig, bird_announcement, bird_family};

/// BIRD on a host, with a session to every router and the VIPs on `lo`.
#[derive(Debug)]
pub struct BirdAnnouncer {
    router: Router,
}

impl BirdAnnouncer {
    /// Puts the VIPs on the host's loopback interface and announces them.
    pub fn start(host: &Host, neighbours: Vec<Neighbour>, vips: &[IpNet]) -> Result<Self> {
        host.set_addresses(vips, true)?;
        let mut config = RouterConfig::new(crate::fabric::HOST_ASN, host.router_id);
        config.neighbours = neighbours;
        config.announce = vips.to_vec();
        config.kernel = false;
        Ok(Self { router: Router::start(&host.namespace, Kind::Bird, config)? })
    }

    /// Prepares to announce prefixes that are on no interface, thousands of them: only
    /// [`announce_all`](Self::announce_all) does. What BIRD makes a protocol for costs it far more
    /// than a route.
    pub fn start_with_table(
        host: &Host,
        neighbours: Vec<Neighbour>,
        prefixes: &[IpNet],
    ) -> Result<Self> {
        let mut config = RouterConfig::new(crate::fabric::HOST_ASN, host.router_id);
        config.neighbours = neighbours;
        config.kernel = false;
        for family in ["ipv4", "ipv6"] {
            let of_family = prefixes.iter().filter(|prefix| bird_family(**prefix) == family);
            let routes: String =
                of_family.map(|prefix| format!("    route {prefix} unreachable;\n")).collect();
            let name = format!("announce_{family}");
            let _ = writeln!(
                config.extra,
                "protocol static {name} {{\n    disabled; {family};\n{routes}}}"
            );
        }
        Ok(Self { router: Router::start(&host.namespace, Kind::Bird, config)? })
    }

    /// Announces a VIP again, and tells when BIRD was told to.
    pub fn announce(&self, vip: IpNet) -> Result<Instant> {
        self.toggle("enable", vip)
    }

    /// Withdraws a VIP, and tells when BIRD was told to.
    pub fn withdraw(&self, vip: IpNet) -> Result<Instant> {
        self.toggle("disable", vip)
    }

    /// Announces or withdraws all VIPs with one command, and tells when BIRD was told to.
    pub fn announce_all(&self, announced: bool) -> Result<Instant> {
        let verb = if announced { "enable" } else { "disable" };
        self.router.order(&format!("{verb} \"announce_*\""))
    }

    /// The BIRD itself.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// As [`router`](Self::router), to stop, kill and start it.
    pub fn router_mut(&mut self) -> &mut Router {
        &mut self.router
    }

    fn toggle(&self, verb: &str, vip: IpNet) -> Result<Instant> {
        let number = self.router.config().announce.iter().position(|known| *known == vip);
        let number = number.with_context(|| format!("{vip} is not one of the announcer's VIPs"))?;
        self.router.order(&format!("{verb} {}", bird_announcement(number)))
    }
}
