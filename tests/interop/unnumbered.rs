//! Sessions between link-local addresses: the router is known by the interface that it is on.
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, Transport, vip};
use vipcast_lab::router::{BfdState, Kind};
use vipcast_lab::wait;

use super::{
    BOUND, WITH_BFD, announce, is_established, pair_with, start, wait_down_reason, wait_status,
    with_each,
};

fn unnumbered(kind: Kind) -> TorConfig {
    TorConfig { transport: Transport::LinkLocal, ..TorConfig::new(kind) }
}

/// The web service, with more keys for the first peer.
fn with_keys(fabric: &Fabric, keys: &str) -> String {
    let text = peers(fabric, 1).replace("[peer.tor1]", &format!("[peer.tor1]\n{keys}"));
    text + POOLS + WEB
}

/// The router has both VIPs from the host, by way of its link-local address, and BFD is up.
fn wait_announced(fabric: &Fabric) -> Result<()> {
    let (host, tor) = (fabric.host(1), fabric.tor(1));
    let link_local = IpAddr::from(host.end(1).link_local());
    for vip in vip(5) {
        tor.routes.wait_for_count(vip, BOUND, 1)?;
        let routes = tor.router.routes(vip)?;
        let [route] = &routes[..] else { anyhow::bail!("{vip}: {routes:?}") };
        ensure!(route.next_hops.contains(&link_local), "{route:?}");
        let family = if vip.addr().is_ipv4() { "-4" } else { "-6" };
        let shown = tor.namespace.run("ip", [family, "route", "show", &vip.to_string()])?;
        ensure!(shown.contains(&link_local.to_string()), "{shown}");
    }
    wait::until_true("BFD is up", BOUND, || {
        Ok(tor.router.bfd_sessions()?.iter().any(|session| session.state == BfdState::Up))
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_on_a_link_is_found_and_both_families_ride_one_session() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair_with(unnumbered(kind))?;
        let daemon = announce(&fabric, 1)?;
        wait_announced(&fabric)?;
        let status = wait_status(&daemon, "BFD is up here", |status| {
            status["peers"][0]["bfd"]["up"] == true
        })?;
        let peer = &status["peers"][0];
        let far = fabric.host(1).far_end(1).link_local().to_string();
        ensure!(peer["address"] == far && peer["interface"] == "tor1", "{peer:#}");
        ensure!(peer["prefixes-announced"] == 2, "{peer:#}");
        ensure!(daemon.vipcast(["status"])?.contains(&format!("{far} on tor1")));
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_client_reaches_the_service_through_ecmp_of_unnumbered_routers() -> Result<()> {
    let tors = WITH_BFD.map(unnumbered).to_vec();
    let fabric = Fabric::start(&FabricConfig { hosts: 2, tors })?;
    let _daemons = [announce(&fabric, 1)?, announce(&fabric, 2)?];
    for tor in &fabric.tors {
        for vip in vip(5) {
            tor.routes.wait_for_count(vip, BOUND, 2)?;
        }
    }
    for vip in vip(5) {
        let answers: Vec<String> =
            (0..60).map(|_| fabric.client.ask(vip.addr())).collect::<Result<_>>()?;
        for host in ["host1", "host2"] {
            ensure!(answers.iter().any(|answer| answer == host), "{host} was never asked");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_may_connect_and_may_be_named_and_a_password_signs_either() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = unnumbered(kind);
        tor.neighbour.password = Some("mellon".into());
        let fabric = pair_with(tor)?;
        let far = fabric.host(1).far_end(1).link_local();
        let password = password(&fabric, "mellon\n")?;
        for keys in [
            password.clone(),
            format!("{password}\npassive = true"),
            format!("{password}\naddress = \"{far}\""),
            format!("{password}\naddress = \"{far}\"\npassive = true"),
        ] {
            let daemon = start(&fabric, 1, &with_keys(&fabric, &keys))?;
            wait_status(&daemon, &keys, is_established)?;
            wait_announced(&fabric).context(keys)?;
        }
        Ok(())
    })
}

/// `password-file` with this password in it.
fn password(fabric: &Fabric, password: &str) -> Result<String> {
    let file = fabric.site().directory().join("password");
    std::fs::write(&file, password)?;
    Ok(format!("password-file = {:?}", file.display().to_string()))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_with_another_password_is_not_let_in() -> Result<()> {
    let mut tor = unnumbered(Kind::Bird);
    tor.neighbour.password = Some("mellon".into());
    let fabric = pair_with(tor)?;
    let keys = password(&fabric, "friend\n")? + "\nconnect-retry-time = \"1s\"";
    let daemon = start(&fabric, 1, &with_keys(&fabric, &keys))?;
    wait_down_reason(
        &daemon,
        &["no answer from fe80::", "on tor1 port 179", "MD5 password differs"],
    )
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_default_route_by_two_unnumbered_routers_is_one_route_of_each_family() -> Result<()> {
    let tors = WITH_BFD.map(unnumbered).to_vec();
    let mut fabric = Fabric::start(&FabricConfig { hosts: 1, tors })?;
    for tor in 1..=2 {
        let router = &mut fabric.tor_mut(tor).router;
        router.config_mut().announce = vec!["0.0.0.0/0".parse()?, "::/0".parse()?];
        router.restart()?;
    }
    let host = fabric.host(1);
    host.namespace.ip("route del default\nroute del ::/0\n")?;
    let accept = "accept = [\"0.0.0.0/0\", \"::/0\"]\nremote-asn";
    let text = peers(&fabric, 1).replace("remote-asn", accept) + POOLS + WEB;
    let daemon = start(&fabric, 1, &text)?;
    let routers = [1, 2].map(|tor| host.far_end(tor).link_local().to_string());
    for family in ["-4", "-6"] {
        let show =
            || host.namespace.run("ip", [family, "route", "show", "default", "proto", "118"]);
        wait::until_true("both routers are next hops", BOUND, || {
            let shown = show()?;
            Ok(routers.iter().all(|router| shown.contains(router)))
        })
        .with_context(|| format!("{:?}\n{:#}", show(), daemon.status().unwrap_or_default()))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_link_that_goes_takes_the_session_along_and_the_router_is_found_again_behind_it() -> Result<()>
{
    with_each(&WITH_BFD, |kind| {
        let mut tor = unnumbered(kind);
        tor.neighbour.bfd = None;
        tor.neighbour.hold_time = BOUND * 10;
        let fabric = pair_with(tor)?;
        let daemon = announce(&fabric, 1)?;
        wait_status(&daemon, "a session", is_established)?;
        let far = fabric.host(1).far_end(1);
        far.set_up(false)?;
        wait_down_reason(&daemon, &["interface tor1 has no carrier"])?;
        // Its addresses went with the interface, and another router has another one.
        let other = "fe80::77";
        far.set_up(true)?;
        let interface = &far.interface;
        far.namespace.ip(&format!("address add {other}/64 dev {interface} nodad\n"))?;
        // FRR refuses until it has found us; then both ends wait longer each time, out of step.
        let again = || wait_status(&daemon, "a session again", is_established);
        let status = again().or_else(|_| again()).or_else(|_| again())?;
        ensure!(status["peers"][0]["address"] == other, "{status:#}");
        Ok(())
    })
}
