//! The main job, end to end.
use anyhow::{Result, ensure};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::BfdState;
use vipcast_lab::wait;

use super::{BOUND, announce};

fn start_all(fabric: &Fabric) -> Result<Vec<Daemon>> {
    (1..=fabric.hosts.len()).map(|host| announce(fabric, host)).collect()
}

/// Both VIPs have as many next hops at each router.
fn wait_for(fabric: &Fabric, count: usize) -> Result<()> {
    for tor in &fabric.tors {
        for vip in vip(5) {
            tor.routes.wait_for_count(vip, BOUND, count)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn three_hosts_share_a_vip_and_a_failed_service_leaves_and_comes_back() -> Result<()> {
    let fabric = Fabric::start(&FabricConfig::default())?;
    let _daemons = start_all(&fabric)?;
    wait_for(&fabric, 3)?;
    let answers: Vec<String> =
        (0..100).map(|_| fabric.client.ask(vip(5)[0].addr())).collect::<Result<_>>()?;
    for host in ["host1", "host2", "host3"] {
        ensure!(answers.iter().any(|answer| answer == host), "{host} was never asked");
    }

    fabric.host(2).nginx.set_health("/healthz", false)?;
    wait_for(&fabric, 2)?;
    for tor in &fabric.tors {
        ensure!(!tor.routes.next_hops(vip(5)[0]).through("host2"));
    }
    fabric.host(2).nginx.set_health("/healthz", true)?;
    wait_for(&fabric, 3)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_host_that_dies_silently_leaves_by_bfd_and_comes_back() -> Result<()> {
    let mut config = FabricConfig::default();
    for tor in &mut config.tors {
        tor.neighbour.hold_time = BOUND * 10; // it cannot have been that
    }
    let fabric = Fabric::start(&config)?;
    let _daemons = start_all(&fabric)?;
    wait_for(&fabric, 3)?;
    // BGP does not wait for BFD, which takes a few seconds; before that it notices nothing.
    for tor in &fabric.tors {
        wait::until_true("BFD is up with all hosts", BOUND, || {
            let sessions = tor.router.bfd_sessions()?;
            Ok(sessions.iter().filter(|session| session.state == BfdState::Up).count() == 3)
        })?;
    }
    let fault = Fault::inject(fabric.host(3).ends(), &Loss::Everything)?;
    wait_for(&fabric, 2)?;
    fault.heal()?;
    wait_for(&fabric, 3)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_restarts_gets_its_routes_again() -> Result<()> {
    let mut fabric = Fabric::start(&FabricConfig { hosts: 2, ..FabricConfig::default() })?;
    let _daemons = start_all(&fabric)?;
    wait_for(&fabric, 2)?;
    fabric.tor_mut(1).router.kill()?;
    fabric.tor_mut(1).router.run()?;
    fabric.tor_mut(2).router.restart()?;
    for name in ["host1", "host2"] {
        for tor in &fabric.tors {
            tor.router.wait_established(name, BOUND)?;
        }
    }
    wait_for(&fabric, 2)
}
