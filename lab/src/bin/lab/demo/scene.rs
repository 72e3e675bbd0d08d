//! The fabric of the demo, its daemons and its client, and what can be measured in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use vipcast_lab::client::{Requests, Traffic};
use vipcast_lab::configuration;
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, vip};
use vipcast_lab::router::BfdState;
use vipcast_lab::site::Site;
use vipcast_lab::wait;

use super::page::time;

/// Longer than anything takes that works at all.
pub(super) const BOUND: Duration = Duration::from_secs(60);
/// Requests a second.
pub(super) const RATE: u32 = 200;
/// How long the client is watched after each change.
const WATCHED: Duration = Duration::from_millis(1500);
/// After the last next hop changed, for what was under way already.
const SETTLED: Duration = Duration::from_millis(200);

/// Everything that takes part.
pub(super) struct Scene {
    pub(super) traffic: Traffic,
    pub(super) daemons: Vec<Daemon>,
    pub(super) fabric: Fabric,
}

/// A change that was provoked, and what came of it.
pub(super) struct Change {
    /// In a few words, for the table.
    pub(super) what: String,
    /// How long each router's kernel took, in order; the slower family counts.
    pub(super) took: Vec<Duration>,
    /// All requests from then on, until some time after the last router had changed.
    pub(super) requests: Requests,
    /// Those after that moment.
    pub(super) settled: Requests,
}

impl Scene {
    /// Sets everything up and waits until every router has every host.
    pub(super) fn set(site: &Arc<Site>, binaries: &Path) -> Result<Self> {
        let fabric = Fabric::start_on(site, &FabricConfig::default())?;
        let start = |host: usize| {
            let text = configuration::complete(&fabric, host);
            Daemon::start(fabric.host(host), binaries, &text)
        };
        let daemons: Vec<Daemon> = (1..=fabric.hosts.len()).map(start).collect::<Result<_>>()?;
        for (daemon, host) in daemons.iter().zip(&fabric.hosts) {
            daemon.wait_ready(BOUND)?;
            let arrived = fabric.wait_for_host(&vip(5), host.name(), true, BOUND);
            arrived.with_context(|| explanation(daemon))?;
        }
        for tor in &fabric.tors {
            wait::until_true("all BFD sessions are up", BOUND, || {
                let sessions = tor.router.bfd_sessions()?;
                let up = sessions.iter().filter(|session| session.state == BfdState::Up);
                Ok(up.count() == fabric.hosts.len())
            })?;
        }
        let traffic = fabric.client.keep_asking(ipv4().addr(), RATE)?;
        Ok(Self { traffic, daemons, fabric })
    }

    /// The daemon of a host (from 1).
    pub(super) fn daemon(&mut self, host: usize) -> &mut Daemon {
        &mut self.daemons[host - 1]
    }

    /// Waits until all routers send both VIPs to a host (from 1), or none does, and then some more;
    /// times count from `decisions`, one for each router, requests from `since`.
    pub(super) fn follow(
        &self,
        what: &str,
        (host, present): (usize, bool),
        since: Instant,
        decisions: impl FnOnce() -> Result<Vec<Instant>>,
    ) -> Result<Change> {
        let name = self.fabric.host(host).name();
        let changed = self.fabric.wait_for_host(&vip(5), name, present, BOUND);
        let changed = changed.with_context(|| explanation(&self.daemons[host - 1]))?;
        let last = changed.iter().max().context("a fabric has routers")?;
        thread::sleep((*last + WATCHED).saturating_duration_since(Instant::now()));
        let now = Instant::now();
        let requests = self.traffic.between(since, now)?;
        let settled = requests.between(*last + SETTLED, now);
        let pairs = changed.iter().zip(decisions()?);
        let took = pairs.map(|(at, decision)| at.saturating_duration_since(decision)).collect();
        Ok(Change { what: what.to_owned(), took, requests, settled })
    }

    /// When a host's (from 1) health check got the answer that decided: the second in a row.
    pub(super) fn decision(&self, host: usize, since: Instant, status: u16) -> Result<Instant> {
        let answers = self.fabric.host(host).nginx.answers()?;
        // nginx cuts off what is less than a millisecond.
        let since = since.checked_sub(Duration::from_millis(1)).unwrap_or(since);
        let mut deciding = answers.iter().filter(|answer| answer.at >= since);
        let deciding = deciding.by_ref().filter(|answer| answer.status == status).nth(1);
        deciding.map(|answer| answer.at).context("nginx logged no answer that decides")
    }

    /// One moment for every router.
    pub(super) fn everywhere(&self, moment: Instant) -> Vec<Instant> {
        vec![moment; self.fabric.tors.len()]
    }

    /// Like `1.9 ms at tor1 and 62 ms at tor2`.
    pub(super) fn times(&self, change: &Change) -> String {
        let named = self
            .fabric
            .tors
            .iter()
            .zip(&change.took)
            .map(|(tor, took)| format!("{} at {}", time(*took), tor.namespace.short_name()));
        super::page::list(&named.collect::<Vec<_>>())
    }
}

impl Change {
    /// An error unless exactly these hosts (from 1) answer in the end.
    pub(super) fn expect_hosts(&self, hosts: &[usize]) -> Result<()> {
        let expected: BTreeSet<String> = hosts.iter().map(|host| format!("host{host}")).collect();
        let found: BTreeSet<String> =
            self.settled.by_host().into_keys().map(str::to_owned).collect();
        ensure!(found == expected, "{}: {found:?} answer, not {expected:?}", self.what);
        Ok(())
    }
}

/// The IPv4 VIP.
pub(super) fn ipv4() -> IpNet {
    vip(5)[0]
}

/// The IPv6 VIP.
pub(super) fn ipv6() -> IpNet {
    vip(5)[1]
}

/// What the daemon itself says, for an error.
fn explanation(daemon: &Daemon) -> String {
    let status = daemon.vipcast(["status"]).unwrap_or_else(|error| format!("{error:#}"));
    format!("vipcast status says:\n{status}\n")
}
