//! BGP that waits for BFD, and BFD that does not come up, with BIRD and FRR.
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{Fabric, TorConfig, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::{BfdTimers, Kind, SessionState};

use super::{
    BOUND, WITH_BFD, down_reasons, is_established, pair_with, start, wait_status, with_each,
};

/// A router with BFD for the host, whose BGP gives up a silent host after this time.
fn fabric(kind: Kind, hold_time: Duration) -> Result<Fabric> {
    let mut tor = TorConfig::new(kind);
    tor.neighbour.bfd = Some(BfdTimers::DEFAULT);
    tor.neighbour.hold_time = hold_time;
    pair_with(tor)
}

fn configuration(fabric: &Fabric, strict: bool) -> String {
    let bfd = format!("[bfd.tor1]\nstrict = {strict}");
    peers(fabric, 1).replace("[bfd.tor1]", &bfd) + POOLS + WEB
}

/// Whether BFD is said not to be up because of something with these words in it.
fn says(status: &Value, words: &str) -> bool {
    let text = status["peers"][0]["bfd"]["diagnosis"].as_str();
    text.is_some_and(|text| text.contains(words))
}

fn router_has_session(fabric: &Fabric) -> Result<bool> {
    Ok(fabric.tor(1).router.session("host1")?.state == SessionState::Established)
}

const UNHEARD: &str = "does not hear this host: UDP port 3784 is dropped on the way to it";
const SILENT: &str = "nothing comes from the router";

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn no_session_comes_up_over_a_path_that_drops_bfd_until_it_does_not() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = fabric(kind, BOUND * 10)?;
        let ends = [fabric.host(1).end(1), fabric.host(1).far_end(1)];
        let fault = Fault::inject(ends, &Loss::Bfd)?;
        let daemon = start(&fabric, 1, &configuration(&fabric, true))?;
        let status = wait_status(&daemon, "it waits, and says why", |status| {
            let waiting = status["peers"][0]["waiting"].as_str();
            waiting.is_some_and(|text| {
                text.starts_with("waiting for BFD (strict): ") && text.contains(SILENT)
            })
        })?;
        ensure!(status["peers"][0]["state"] == "OpenSent", "{status:#}");
        ensure!(!router_has_session(&fabric)?, "the router has a session");
        ensure!(fabric.tor(1).routes.next_hops(vip(5)[0]).is_empty(), "the router has a route");
        fault.heal()?;
        wait_status(&daemon, "BFD and BGP are up", |status| {
            is_established(status) && status["peers"][0]["bfd"]["up"] == true
        })?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        let status = daemon.status()?;
        ensure!(status["peers"][0]["waiting"].is_null(), "{status:#}");
        // The router takes the capability without a word (OPEN Message Error would be one).
        ensure!(!down_reasons(&status).contains("OPEN"), "{status:#}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_wait_in_vain_ends_before_the_routers_patience_and_is_repeated() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = fabric(kind, Duration::from_secs(9))?;
        let ends = [fabric.host(1).end(1), fabric.host(1).far_end(1)];
        let fault = Fault::inject(ends, &Loss::Bfd)?;
        let daemon = start(&fabric, 1, &configuration(&fabric, true))?;
        let reason = "BFD has not come up within 6s";
        let status =
            wait_status(&daemon, "it gives up", |status| down_reasons(status).contains(reason))?;
        let peer = &status["peers"][0];
        ensure!(peer["last-failure"]["kind"] == "bfd-not-up", "{status:#}");
        std::thread::sleep(Duration::from_secs(20));
        ensure!(!router_has_session(&fabric)?, "the router has a session");
        let status = daemon.status()?;
        ensure!(status["peers"][0]["sessions"] == 0, "{status:#}");
        fault.heal()?;
        wait_status(&daemon, "BGP is up", is_established).map(drop)
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn without_strict_bgp_is_up_and_it_is_said_which_way_bfd_is_lost() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        for (hears, words) in [(true, UNHEARD), (false, SILENT)] {
            let fabric = fabric(kind, BOUND * 10)?;
            let host = fabric.host(1);
            let end = if hears { host.far_end(1) } else { host.end(1) };
            let _fault = Fault::inject([end], &Loss::Bfd)?;
            let daemon = start(&fabric, 1, &configuration(&fabric, false))?;
            wait_status(&daemon, "BGP is up", is_established)?;
            wait_status(&daemon, words, |status| says(status, words))?;
            fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
            ensure!(router_has_session(&fabric)?, "the router has none");
        }
        Ok(())
    })
}
