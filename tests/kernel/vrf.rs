//! A peer in a VRF, and VIPs there: the host's cable to the first router belongs to the VRF `red`.
use std::fs;

use anyhow::{Context, Result, ensure};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, Transport, vip};
use vipcast_lab::wait;

use super::{BOUND, bird, fabric, in_guest, start, wait_status};

/// Puts the host's cable into the VRF, and with it the way to the client.
fn enslave(fabric: &Fabric) -> Result<()> {
    let (near, far) = (fabric.host(1).end(1), fabric.host(1).far_end(1));
    let (cable, link_local) = (&near.interface, near.link_local());
    // What arrives in a VRF is for sockets that are in none, too.
    fabric.host(1).namespace.set_sysctl("net/ipv4/tcp_l3mdev_accept", "1")?;
    // IPv6 addresses and all routes are lost when an interface changes sides.
    fabric.host(1).namespace.ip(&format!(
        "link add red type vrf table 10\n\
         link set red up\n\
         link set {cable} master red\n\
         address replace {link_local}/64 dev {cable} nodad\n\
         address replace {}/127 dev {cable} nodad\n\
         route add 0.0.0.0/0 vrf red via {}\n\
         route add ::/0 vrf red via {}\n",
        near.ipv6, far.ipv4, far.ipv6
    ))
}

/// The first peer in the VRF, and the web service on its VIPs there.
fn configuration(fabric: &Fabric, keys: &str) -> String {
    let peers = peers(fabric, 1).replace("[peer.tor1]", &format!("[peer.tor1]\n{keys}"));
    // Checks are not in the VRF.
    let web = WEB
        .replace("[service.web]\n", "[service.web]\ninterface = \"red\"\n")
        .replace("http://203.0.113.5/", "http://127.0.0.1/");
    peers + POOLS + &web
}

/// The first router has both routes, in its table and its kernel, and the client comes to the host.
fn wait_reached(fabric: &Fabric, daemon: &Daemon) -> Result<()> {
    let (tor, near) = (fabric.tor(1), fabric.host(1).end(1));
    let status = || format!("{:#}", daemon.status().unwrap_or_default());
    tor.router.wait_established("host1", BOUND).with_context(status)?;
    for (vip, next_hop) in vip(5).into_iter().zip([near.ipv4.into(), near.ipv6.into()]) {
        tor.routes.wait_for_count(vip, BOUND, 1).with_context(status)?;
        let routes = tor.router.routes(vip)?;
        ensure!(routes.len() == 1 && routes[0].next_hops.first() == Some(&next_hop), "{routes:?}");
        let ask = || fabric.client.ask(vip.addr());
        wait::until_true(&format!("{vip} is reached"), BOUND, || {
            Ok(ask().is_ok_and(|answer| answer == "host1"))
        })
        .with_context(|| format!("{:?}", ask()))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_peer_in_a_vrf_gets_routes_by_which_the_vips_there_are_reached() -> Result<()> {
    in_guest(|| {
        for transport in [Transport::Ipv4, Transport::Ipv6] {
            for is_passive in [false, true] {
                let mut tor = bird(transport, is_passive);
                tor.neighbour.password = Some("sesame".into());
                let fabric = fabric(&[tor])?;
                enslave(&fabric)?;
                let password = fabric.host(1).namespace.directory().join("password");
                fs::write(&password, "sesame\n")?;
                let keys =
                    format!("vrf = \"red\"\npassive = {is_passive}\npassword-file = {password:?}");
                let daemon = start(&fabric, &configuration(&fabric, &keys))?;
                wait_reached(&fabric, &daemon).with_context(|| format!("{transport:?}, {keys}"))?;
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_vrf_that_is_not_there_is_named_until_it_comes_and_when_it_is_gone_again() -> Result<()> {
    in_guest(|| {
        for is_passive in [false, true] {
            let fabric = fabric(&[bird(Transport::Ipv4, is_passive)])?;
            let keys =
                format!("vrf = \"red\"\nconnect-retry-time = \"1s\"\npassive = {is_passive}");
            let daemon = start(&fabric, &configuration(&fabric, &keys))?;
            for _ in 0..2 {
                wait_status(&daemon, "the lack of the VRF is named", |status| {
                    status.to_string().contains("vrf red does not exist on this host")
                })
                .context(keys.clone())?;
                enslave(&fabric)?;
                wait_reached(&fabric, &daemon).context(keys.clone())?;
                fabric.host(1).namespace.ip("link delete red")?;
            }
        }
        Ok(())
    })
}

/// Each has a listener of its own, although both are on the same port of all addresses.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn passive_peers_in_a_vrf_and_outside_are_let_in_side_by_side() -> Result<()> {
    in_guest(|| {
        for transport in [Transport::Ipv4, Transport::Ipv6] {
            let fabric = fabric(&[bird(transport, true), bird(transport, true)])?;
            enslave(&fabric)?;
            let text = configuration(&fabric, "vrf = \"red\"\npassive = true")
                .replace("[peer.tor2]", "[peer.tor2]\npassive = true");
            let daemon = start(&fabric, &text)?;
            wait_reached(&fabric, &daemon)?;
            wait_status(&daemon, "both are up, and nothing is wrong", |status| {
                let mut peers = status["peers"].as_array().into_iter().flatten();
                status["listen-error"].is_null() && peers.all(|peer| peer["established"] == true)
            })?;
        }
        Ok(())
    })
}
