//! vipcastd against real routers: BIRD, FRR and GoBGP, with real kernel routes, in network
//! namespaces. What is asserted is read from the other side.
//!
//! | file | what |
//! |---|---|
//! | `fabric` | the main job: three hosts, two routers, ECMP, failures |
//! | `routes` | what routers receive: families, attributes, aggregates, policy |
//! | `bfd` | RFC 5880, 5881, 5882, 5883, 9384 with BIRD and FRR |
//! | `strict` | BGP that waits for BFD: draft-ietf-idr-bgp-bfd-strict-mode |
//! | `sessions` | RFC 4271 sessions: passive, collisions, passwords, refusals, and what they are called |
//! | `capabilities` | what both ends can do: RFC 5492, 7313, 8950, 9234 |
//! | `learned` | routes that the host learns: ECMP, BFD, crash, others' routes |
//! | `transport` | TTL security, devices, passwords that change, addresses that come late |
//! | `units` | services that follow a unit of systemd: stop, restart under load, a bus that goes |
//! | `unnumbered` | peers that are known by their interface: RFC 4861, 8950 |
//! | `lifecycle` | start, reload, stop, crash, permissions |
//! | `restart` | graceful restart: RFC 4724, RFC 8538 |
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    reason = "these tests wait for daemons and look into JSON"
)]

mod bfd;
mod capabilities;
mod echo;
mod fabric;
mod learned;
mod lifecycle;
mod restart;
mod routes;
mod sessions;
mod strict;
mod transport;
mod units;
mod unnumbered;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig};
use vipcast_lab::router::Kind;
use vipcast_lab::wait;

/// Generous: no test is about speed.
const BOUND: Duration = Duration::from_secs(60);

/// Where the programs under test are.
fn binaries() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_vipcastd"));
    program.parent().expect("a folder").to_owned()
}

/// One host and one router of this kind.
fn pair(kind: Kind) -> Result<Fabric> {
    pair_with(TorConfig::new(kind))
}

/// One host and this router.
fn pair_with(tor: TorConfig) -> Result<Fabric> {
    Fabric::start(&FabricConfig { hosts: 1, tors: vec![tor] })
}

/// One host and one router that takes the host for one of this AS.
fn pair_expecting(kind: Kind, asn: u32) -> Result<Fabric> {
    let mut fabric = pair(kind)?;
    let router = &mut fabric.tor_mut(1).router;
    router.config_mut().neighbours[0].remote_asn = asn;
    router.restart()?;
    Ok(fabric)
}

/// Runs a scenario against each of these kinds of router, and says with which it failed.
fn with_each(kinds: &[Kind], scenario: impl Fn(Kind) -> Result<()>) -> Result<()> {
    for kind in kinds {
        scenario(*kind).with_context(|| format!("with {}", kind.name()))?;
    }
    Ok(())
}

const ALL: [Kind; 3] = [Kind::Bird, Kind::Frr, Kind::Gobgp];
const WITH_BFD: [Kind; 2] = [Kind::Bird, Kind::Frr];

/// The web service, announced to every router.
fn announce(fabric: &Fabric, host: usize) -> Result<Daemon> {
    start(fabric, host, &(peers(fabric, host) + POOLS + WEB))
}

fn start(fabric: &Fabric, host: usize, configuration: &str) -> Result<Daemon> {
    Daemon::start(fabric.host(host), &binaries(), configuration)
}

/// Waits until the status has this, and says what it had instead if it never does.
fn wait_status(daemon: &Daemon, what: &str, truth: impl Fn(&Value) -> bool) -> Result<Value> {
    let status = || daemon.status();
    wait::until(what, BOUND, || Ok(status().ok().filter(&truth)))
        .with_context(|| format!("{what}: {:#}", status().unwrap_or_default()))
}

/// Whether the session with the first router is up.
fn is_established(status: &Value) -> bool {
    status["peers"][0]["established"] == true
}

/// Why the last session with the first peer ended, why the last attempt failed, and what was said.
fn down_reasons(status: &Value) -> String {
    let reason = |key: &str| status["peers"][0][key]["reason"].as_str().unwrap_or_default();
    ["last-down", "last-failure", "last-notification"].map(reason).join("\n")
}

fn wait_down_reason(daemon: &Daemon, words: &[&str]) -> Result<()> {
    let says = |status: &Value| {
        down_reasons(status).lines().any(|reason| words.iter().all(|word| reason.contains(word)))
    };
    wait_status(daemon, &format!("the reason says {words:?}"), says).map(drop)
}
