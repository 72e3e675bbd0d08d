//! Which hosts the routers spread a VIP over, seen in the kernels of all routers at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use ipnet::IpNet;

use crate::fabric::{Fabric, Tor};

impl Tor {
    /// Waits until this router sends a VIP to a host (or, if not `present`, until it does not), and
    /// tells since when.
    pub fn wait_for_host(
        &self,
        vip: IpNet,
        host: &str,
        present: bool,
        bound: Duration,
    ) -> Result<Instant> {
        let change = self.routes.wait_for(vip, bound, |hops| hops.through(host) == present)?;
        Ok(change.at)
    }
}

impl Fabric {
    /// Waits until every router sends the VIPs to a host (or, if not `present`, until none sends it
    /// any of them), and tells for each router since when.
    pub fn wait_for_host(
        &self,
        vips: &[IpNet],
        host: &str,
        present: bool,
        bound: Duration,
    ) -> Result<Vec<Instant>> {
        let deadline = Instant::now() + bound;
        let left = || deadline.saturating_duration_since(Instant::now());
        let at_router = |tor: &Tor| {
            let times = vips.iter().map(|vip| tor.wait_for_host(*vip, host, present, left()));
            let last = |before: Instant, time: Result<Instant>| Ok(before.max(time?));
            times.into_iter().try_fold(tor.routes.started(), last)
        };
        self.tors.iter().map(at_router).collect()
    }
}
