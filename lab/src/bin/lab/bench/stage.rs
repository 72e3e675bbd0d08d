//! What all measurements share: a fabric of two routers of one kind, in which host1 is measured.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use vipcast_lab::configuration::{Many, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig};
use vipcast_lab::process::Process;
use vipcast_lab::router::{BfdState, BfdTimers, Kind};
use vipcast_lab::site::Site;
use vipcast_lab::wait;

use super::Order;

/// Longer than anything takes that works at all.
pub(super) const BOUND: Duration = Duration::from_secs(60);
/// Of the responder.
pub(super) const PORT: u16 = 8080;
/// Between two changes, so that each begins in peace.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// A fabric of two routers of one kind.
pub(super) fn fabric(site: &Arc<Site>, kind: Kind, hosts: usize, bfd: BfdTimers) -> Result<Fabric> {
    let mut tor = TorConfig::new(kind);
    tor.neighbour.bfd = Some(bfd);
    Fabric::start_on(site, &FabricConfig { hosts, tors: vec![tor.clone(), tor] })
}

/// vipcastd on a host (from 1), not started yet.
pub(super) fn daemon(
    order: &Order,
    fabric: &Fabric,
    host: usize,
    services: &str,
) -> Result<Daemon> {
    let text = peers(fabric, host) + services;
    Daemon::prepare(fabric.host(host), &order.binaries, &text)
}

/// One service with one VIP, checked ten times a second.
pub(super) fn one() -> Many {
    let interval = Duration::from_millis(100);
    Many { services: 1, vips_each: 1, interval, port: PORT }
}

/// When the last of the routers had (or had no longer) sent a VIP to a host.
pub(super) fn last(fabric: &Fabric, vips: &[IpNet], host: &str, present: bool) -> Result<Instant> {
    let times = fabric.wait_for_host(vips, host, present, BOUND)?;
    times.into_iter().max().context("a fabric has routers")
}

/// Waits until BFD with a host (from 1) is up at all routers, and some more, for its timers to
/// become those that were agreed on.
pub(super) fn await_bfd(fabric: &Fabric, host: usize) -> Result<()> {
    for tor in &fabric.tors {
        let peer = fabric.host(host).end(tor.number).ipv4;
        wait::until_true("BFD is up", BOUND, || {
            let sessions = tor.router.bfd_sessions()?;
            let ours = sessions.iter().find(|session| session.peer == peer);
            Ok(ours.is_some_and(|session| session.state == BfdState::Up))
        })?;
    }
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// The time that a program needed since it was executed.
pub(super) fn since_execution(process: &Process, moment: Instant) -> Duration {
    moment.saturating_duration_since(process.executed())
}
