//! What TCP does beneath a session: which packets are let in, which way they go, what signs them.
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, Transport};
use vipcast_lab::router::Kind;
use vipcast_lab::wait;

use super::{
    BOUND, WITH_BFD, is_established, pair_with, start, wait_down_reason, wait_status, with_each,
};

/// More keys for a peer.
fn with_keys(text: &str, peer: &str, keys: &str) -> String {
    text.replace(&format!("[peer.{peer}]"), &format!("[peer.{peer}]\n{keys}"))
}

/// The web service, with more keys for the first peer.
fn configuration(fabric: &Fabric, keys: &str) -> String {
    with_keys(&peers(fabric, 1), "tor1", keys) + POOLS + WEB
}

/// Packets that the host's kernel dropped for their TTL.
fn dropped_for_ttl(fabric: &Fabric) -> Result<u64> {
    let text = fabric.host(1).namespace.run("nstat", ["-asz", "TcpExtTCPMinTTLDrop"])?;
    let count = text.lines().find_map(|line| line.strip_prefix("TcpExtTCPMinTTLDrop"));
    let count = count.and_then(|line| line.split_whitespace().next()).context(text.clone())?;
    count.parse().context(text)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn routers_with_ttl_security_are_spoken_with_whoever_connects() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let (dialed, passive) = ("ttl-security = true", "ttl-security = true\npassive = true");
        for (transport, keys) in [
            (Transport::Ipv4, dialed),
            (Transport::Ipv4, passive),
            (Transport::Ipv6, dialed),
            (Transport::Ipv6, passive),
        ] {
            let mut tor = TorConfig { transport, ..TorConfig::new(kind) };
            tor.neighbour.ttl_security = true;
            // Whoever is to connect is the only one that does.
            tor.neighbour.passive = !keys.contains("passive");
            let fabric = pair_with(tor)?;
            let _daemon = start(&fabric, 1, &configuration(&fabric, keys))?;
            fabric.tor(1).router.wait_established("host1", BOUND).context(keys)?;
            ensure!(dropped_for_ttl(&fabric)? == 0, "{keys}: packets were dropped");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_sends_with_a_lower_ttl_is_not_let_in() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        for transport in [Transport::Ipv4, Transport::Ipv6] {
            // Without it, TTL 1 is what a router on the link sends with.
            let fabric = pair_with(TorConfig { transport, ..TorConfig::new(kind) })?;
            let keys = "ttl-security = true\nconnect-retry-time = \"1s\"";
            let daemon = start(&fabric, 1, &configuration(&fabric, keys))?;
            // BIRD answers the SYN with 255 all the same, and only then falls silent.
            wait_status(&daemon, "the silence is noticed", |status| {
                let reasons = super::down_reasons(status);
                reasons.contains("TTL 255 as ttl-security demands")
                    || reasons.contains("nothing heard")
            })?;
            ensure!(dropped_for_ttl(&fabric)? > 0, "its packets were not dropped");
            ensure!(daemon.status()?["peers"][0]["sessions"] == 0, "there was a session");
        }
        Ok(())
    })
}

/// The listener takes the SYN, for the sake of the other peer. What follows is dropped.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn ttl_security_of_one_passive_peer_holds_beside_another_without() -> Result<()> {
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.bfd = None;
    let fabric = Fabric::start(&FabricConfig { hosts: 1, tors: vec![tor.clone(), tor] })?;
    let text = with_keys(&peers(&fabric, 1), "tor1", "passive = true\nttl-security = true");
    let text = with_keys(&text, "tor2", "passive = true") + POOLS + WEB;
    let daemon = start(&fabric, 1, &text)?;
    wait::until_true("packets are dropped", BOUND, || Ok(dropped_for_ttl(&fabric)? > 0))?;
    fabric.tor(2).router.wait_established("host1", BOUND)?;
    let status = daemon.status()?;
    ensure!(status["peers"][0]["sessions"] == 0, "{status:#}");
    // With it, the router comes in.
    let mut fabric = fabric;
    let router = &mut fabric.tor_mut(1).router;
    router.config_mut().neighbours[0].ttl_security = true;
    router.restart()?;
    wait_status(&daemon, "the other one is up", is_established)?;
    fabric.tor(1).router.wait_established("host1", BOUND).map(drop)
}

/// The name of the host's interface on the cable to the first router.
fn interface(fabric: &Fabric) -> Result<String> {
    let to = fabric.host(1).far_end(1).ipv4.to_string();
    let route = fabric.host(1).namespace.run("ip", ["route", "get", &to])?;
    let name = route.split_whitespace().skip_while(|word| *word != "dev").nth(1);
    Ok(name.context("no device")?.to_owned())
}

/// There is no VRF in every kernel; a session is bound to any other device in the same way.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_session_is_bound_to_its_vrf_whoever_connects() -> Result<()> {
    for keys in ["", "passive = true\n"] {
        let mut tor = TorConfig::new(Kind::Bird);
        tor.neighbour.bfd = None;
        tor.neighbour.passive = keys.is_empty();
        let fabric = pair_with(tor)?;
        let device = interface(&fabric)?;
        let keys = format!("{keys}vrf = \"{device}\"");
        let _daemon = start(&fabric, 1, &configuration(&fabric, &keys))?;
        fabric.tor(1).router.wait_established("host1", BOUND).context(keys)?;
        let to = format!("dst {}", fabric.host(1).far_end(1).ipv4);
        let sockets = fabric.host(1).namespace.run("ss", ["-Htn", &to])?;
        ensure!(sockets.contains(&format!("%{device}")), "not bound: {sockets}");
    }
    Ok(())
}

/// Whoever comes by the device is for the listener of that device, and nobody else is.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn passive_peers_on_a_device_and_anywhere_are_let_in_side_by_side() -> Result<()> {
    for transport in [Transport::Ipv4, Transport::Ipv6] {
        let mut tor = TorConfig { transport, ..TorConfig::new(Kind::Bird) };
        tor.neighbour.bfd = None;
        let fabric = Fabric::start(&FabricConfig { hosts: 1, tors: vec![tor.clone(), tor] })?;
        let device = format!("passive = true\nvrf = \"{}\"", interface(&fabric)?);
        let text = with_keys(&peers(&fabric, 1), "tor1", &device);
        let text = with_keys(&text, "tor2", "passive = true") + POOLS + WEB;
        let daemon = start(&fabric, 1, &text)?;
        wait_status(&daemon, "both are up, and nothing is wrong", |status| {
            let mut peers = status["peers"].as_array().into_iter().flatten();
            status["listen-error"].is_null() && peers.all(|peer| peer["established"] == true)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_vrf_that_is_not_there_is_named_and_used_when_it_comes() -> Result<()> {
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.bfd = None;
    let fabric = Fabric::start(&FabricConfig { hosts: 1, tors: vec![tor.clone(), tor] })?;
    let dialed = "vrf = \"blue\"\nconnect-retry-time = \"1s\"";
    let text = with_keys(&peers(&fabric, 1), "tor1", dialed);
    let text = with_keys(&text, "tor2", "passive = true\nvrf = \"red\"") + POOLS + WEB;
    let daemon = start(&fabric, 1, &text)?;
    wait_down_reason(&daemon, &["vrf blue does not exist on this host"])?;
    let host = &fabric.host(1).namespace;
    let red_is_missing = |status: &Value| {
        let error = status["listen-error"].as_str().unwrap_or_default();
        error.contains("vrf red does not exist on this host")
    };
    wait_status(&daemon, "the listener's is named too", red_is_missing)?;
    // It comes, goes, and comes again as another one.
    for _ in 0..2 {
        host.ip("link add red type veth peer name red1")?;
        wait_status(&daemon, "there is a listener", |status| !red_is_missing(status))?;
        let listening = host.run("ss", ["-Htln", "sport = :179"])?;
        ensure!(listening.contains("%red"), "{listening}");
        host.ip("link del red")?;
        wait_status(&daemon, "the listener has lost its device", red_is_missing)?;
    }
    // What comes in elsewhere does not get to that peer.
    ensure!(daemon.status()?["peers"][1]["sessions"] == 0);
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_source_address_that_comes_late_is_named_and_then_used() -> Result<()> {
    let late = "10.77.0.1";
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.bfd = None;
    let mut fabric = pair_with(tor)?;
    let ours = fabric.host(1).end(1).ipv4;
    fabric.tor(1).namespace.ip(&format!("route add {late} via {ours}"))?;
    let router = &mut fabric.tor_mut(1).router;
    let neighbour = &mut router.config_mut().neighbours[0];
    neighbour.peering = vipcast_lab::router::Peering::Address(late.parse()?);
    neighbour.multihop = Some(2);
    neighbour.passive = true;
    router.restart()?;
    let keys = format!("source-address = \"{late}\"\nmultihop = 2\nconnect-retry-time = \"1s\"");
    let daemon = start(&fabric, 1, &configuration(&fabric, &keys))?;
    wait_down_reason(&daemon, &[&format!("source-address {late} is not on this host")])?;
    fabric.host(1).namespace.ip(&format!("address add {late}/32 dev lo"))?;
    wait_status(&daemon, "the session is up", |status| {
        status["peers"][0]["established"] == true && status["peers"][0]["local-address"] == late
    })
    .map(drop)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_password_that_changed_is_taken_by_a_reload_and_a_missing_one_is_never_none() -> Result<()> {
    for keys in ["", "passive = true\n"] {
        let mut tor = TorConfig::new(Kind::Bird);
        tor.neighbour.bfd = None;
        tor.neighbour.password = Some("sesame".into());
        tor.neighbour.passive = keys.is_empty();
        let mut fabric = pair_with(tor)?;
        let file = fabric.host(1).namespace.directory().join("key");
        std::fs::write(&file, "sesame\n")?;
        let keys = format!("{keys}password-file = {file:?}\nconnect-retry-time = \"1s\"");
        let daemon = start(&fabric, 1, &configuration(&fabric, &keys))?;
        let sessions = |number: u64| {
            wait_status(&daemon, &format!("session {number} is up"), |status| {
                let peer = &status["peers"][0];
                peer["established"] == true && peer["sessions"] == number
            })
        };
        sessions(1)?;

        // Nothing changed, and then it is not there: neither ends the session.
        daemon.reload()?;
        std::fs::remove_file(&file)?;
        daemon.reload()?;
        let log = || std::fs::read_to_string(daemon.process()?.log()).context("no log");
        wait::until_true("the log says that it is not there", BOUND, || {
            Ok(log()?.contains("the session keeps the keys it has: cannot use password-file"))
        })?;
        sessions(1)?;

        std::fs::write(&file, "mellon\n")?;
        daemon.reload()?;
        wait_down_reason(&daemon, &["configuration changed: another TCP MD5 password"])?;
        let router = &mut fabric.tor_mut(1).router;
        router.config_mut().neighbours[0].password = Some("mellon".into());
        router.restart()?;
        sessions(2)?;

        // The next session does without the file as little as the first would have.
        std::fs::remove_file(&file)?;
        daemon.reload()?;
        fabric.tor_mut(1).router.restart()?;
        wait_status(&daemon, "no session without a password", |status| {
            let listen_error = status["listen-error"].as_str().unwrap_or_default();
            let reasons = super::down_reasons(status) + listen_error;
            status["peers"][0]["established"] == false
                && reasons.contains("cannot use password-file")
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn tcp_ao_is_never_left_out_and_a_kernel_without_it_is_named() -> Result<()> {
    for keys in ["", "passive = true\n"] {
        let mut tor = TorConfig::new(Kind::Bird);
        tor.neighbour.bfd = None;
        tor.neighbour.passive = keys.is_empty();
        let fabric = pair_with(tor)?;
        let file = fabric.host(1).namespace.directory().join("key");
        std::fs::write(&file, "sesame\n")?;
        let key = format!("{{ key-id = 1, algorithm = \"hmac-sha1\", key-file = {file:?} }}");
        let keys = format!("{keys}tcp-ao = {key}\nconnect-retry-time = \"1s\"");
        let daemon = start(&fabric, 1, &configuration(&fabric, &keys))?;
        let no_tcp_ao = format!(
            "cannot use tcp-ao key 1 (key-file {}): this kernel has no TCP-AO",
            file.display()
        );
        let told = |status: &Value| {
            super::down_reasons(status) + status["listen-error"].as_str().unwrap_or_default()
        };
        let status = wait_status(&daemon, "no session without TCP-AO", |status| {
            let told = told(status);
            // The router has no key: where the kernel has TCP-AO, that is what is wrong.
            status["peers"][0]["established"] == false
                && (told.contains(&no_tcp_ao) || told.contains("TCP-AO keys differ from"))
        })?;
        if !told(&status).contains(&no_tcp_ao) {
            break;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_session_goes_with_our_address_and_comes_back_with_it() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.bfd = None;
        tor.neighbour.hold_time = BOUND * 10;
        let fabric = pair_with(tor)?;
        let end = fabric.host(1).end(1);
        let source = format!("source-address = \"{}\"", end.ipv4);
        let daemon = start(&fabric, 1, &configuration(&fabric, &source))?;
        wait_status(&daemon, "a session", is_established)?;
        let address = format!("address {} {}/31 dev {}\n", "{}", end.ipv4, end.interface);
        fabric.host(1).namespace.ip(&address.replacen("{}", "del", 1))?;
        let gone = format!("our address {} is gone from this host", end.ipv4);
        wait_down_reason(&daemon, &[&gone])?;
        fabric.host(1).namespace.ip(&address.replacen("{}", "add", 1))?;
        wait_status(&daemon, "a session again", is_established)?;
        fabric.tor(1).router.wait_established("host1", BOUND)?;
        Ok(())
    })
}
