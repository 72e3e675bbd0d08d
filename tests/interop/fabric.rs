//! The main job, end to end.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::{BfdState, Kind};
use vipcast_lab::wait;

use super::{BOUND, announce, start};

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

/// The next hops of a prefix in the first router's kernel, with their weights.
fn weights(fabric: &Fabric, prefix: IpNet) -> Result<BTreeMap<String, u64>> {
    let prefix = prefix.to_string();
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let shown = fabric.tor(1).namespace.run("ip", [family, "-j", "route", "show", &prefix])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let hops = shown[0]["nexthops"].as_array().into_iter().flatten();
    let weight = |hop: &Value| Some((hop["dev"].as_str()?.to_owned(), hop["weight"].as_u64()?));
    Ok(hops.filter_map(weight).collect())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_sends_each_host_its_share_by_weight() -> Result<()> {
    let tors = vec![TorConfig::new(Kind::Frr)];
    let fabric = Fabric::start(&FabricConfig { hosts: 3, tors })?;
    let with = |weight: u16| {
        WEB.replace("[service.web]\n", &format!("[service.web]\nweight = {weight}\n"))
    };
    let text = |host, weight| peers(&fabric, host) + POOLS + &with(weight);
    let mut daemons = Vec::new();
    for (host, weight) in [(1, 100), (2, 200), (3, 100)] {
        daemons.push(start(&fabric, host, &text(host, weight))?);
    }
    // FRR makes percentages of them.
    let expect = |shares: [(&str, u64); 3]| {
        let expected: BTreeMap<String, u64> =
            shares.map(|(host, share)| (host.to_owned(), share)).into();
        for vip in vip(5) {
            wait::until_true(&format!("{vip} is balanced as {expected:?}"), BOUND, || {
                Ok(weights(&fabric, vip)? == expected)
            })
            .with_context(|| format!("{:?}", weights(&fabric, vip)))?;
        }
        anyhow::Ok(())
    };
    expect([("host1", 25), ("host2", 50), ("host3", 25)])?;
    let route = fabric.tor(1).router.routes(vip(5)[0])?;
    let from = |name: &str| route.iter().find(|route| route.neighbour.as_deref() == Some(name));
    let shown = from("host2").context("no route from host2")?.extended_communities.join(" ");
    ensure!(shown == "LB:65100:25000000 (200.000 Mbps)", "{shown}");

    daemons[1].write_configuration(&text(2, 50))?;
    daemons[1].reload()?;
    expect([("host1", 40), ("host2", 20), ("host3", 40)])
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
