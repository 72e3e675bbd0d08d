//! Graceful restart (RFC 4724): what routers do with the routes of a host whose daemon is away.
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, TorConfig, vip};
use vipcast_lab::router::{Kind, SessionState};
use vipcast_lab::wait;

use super::{BOUND, WITH_BFD, pair_with, start, wait_status, with_each};

/// BFD notices that its other end is gone, whatever BGP keeps: without it here.
fn without_bfd(kind: Kind) -> Result<Fabric> {
    let mut tor = TorConfig::new(kind);
    tor.neighbour.bfd = None;
    tor.neighbour.hold_time = Duration::from_secs(90);
    pair_with(tor)
}

/// Longer than any test takes: what goes does not go because this is over.
fn configuration(fabric: &Fabric) -> String {
    let text = peers(fabric, 1).replace("[bgp]\n", "[bgp]\nrestart-time = \"1h\"\n");
    text + POOLS + WEB
}

/// The router has been told everything. BIRD does not tell whether End-of-RIB came.
fn wait_all_told(fabric: &Fabric, daemon: &Daemon) -> Result<()> {
    wait_status(daemon, "both VIPs are announced", |status| {
        status["peers"][0]["prefixes-announced"] == 2
    })?;
    wait::until_true("End-of-RIB of both families", BOUND, || {
        let session = fabric.tor(1).router.session("host1")?;
        Ok(router_is_established(fabric)? && session.end_of_rib != Some(false))
    })
}

fn router_is_established(fabric: &Fabric) -> Result<bool> {
    Ok(fabric.tor(1).router.session("host1")?.state == SessionState::Established)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn crashes_one_after_the_other_lose_no_route() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = without_bfd(kind)?;
        let mut daemon = start(&fabric, 1, &configuration(&fabric))?;
        let vips = vip(5);
        for vip in vips {
            fabric.tor(1).routes.wait_for_count(vip, BOUND, 1)?;
        }
        wait_all_told(&fabric, &daemon)?;
        let before = Instant::now();
        for crash in 1..=3 {
            daemon.kill()?;
            wait::until_true("the router notices", BOUND, || Ok(!router_is_established(&fabric)?))?;
            daemon.run()?;
            wait_all_told(&fabric, &daemon)?;
            for vip in vips {
                let routes = &fabric.tor(1).routes;
                let changes = routes.changes(vip, before);
                ensure!(changes.is_empty(), "crash {crash}: {changes:?}");
                ensure!(routes.next_hops(vip).len() == 1, "crash {crash}");
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_is_unhealthy_after_a_crash_goes_with_the_first_verdict() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = without_bfd(kind)?;
        let mut daemon = start(&fabric, 1, &configuration(&fabric))?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        wait_all_told(&fabric, &daemon)?;
        daemon.kill()?;
        fabric.host(1).nginx.set_health("/healthz", false)?;
        ensure!(fabric.tor(1).routes.next_hops(vip(5)[0]).len() == 1, "it is kept meanwhile");
        daemon.run()?;
        for vip in vip(5) {
            fabric.tor(1).routes.wait_for_count(vip, BOUND, 0)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn after_a_reboot_nothing_is_kept_that_is_not_announced_again() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = without_bfd(kind)?;
        let text = configuration(&fabric);
        let mut daemon = start(&fabric, 1, &text)?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        wait_all_told(&fabric, &daemon)?;
        daemon.kill()?;
        // A reboot takes the VIPs along, and then the service hangs for a while.
        for vip in vip(5) {
            fabric.host(1).set_address(vip, false)?;
        }
        fabric.host(1).nginx.process().freeze()?;
        daemon.write_configuration(&text.replace("200ms", "30s"))?;
        daemon.run()?;
        wait::until_true("the session is back", BOUND, || router_is_established(&fabric))?;
        for vip in vip(5) {
            fabric.tor(1).routes.wait_for_count(vip, Duration::from_secs(15), 0)?;
        }
        let status = daemon.status()?;
        ensure!(status["services"][0]["state"] == "unknown", "{status}");
        Ok(())
    })
}
