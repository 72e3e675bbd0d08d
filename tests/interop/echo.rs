//! BFD's Echo function: packets that a real router forwards back to us, and those of FRR.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, TorConfig, Transport, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::{BfdTimers, Kind};
use vipcast_lab::wait;

use super::{
    BOUND, WITH_BFD, is_established, pair_with, start, wait_down_reason, wait_status, with_each,
};

/// Slow, so that it is Echo packets that notice.
const SLOW: BfdTimers = BfdTimers { interval: Duration::from_secs(2), multiplier: 3 };

/// A host next to a router: the configuration has these keys of `[bfd.tor1]`.
fn with_echo(tor: TorConfig, keys: &str) -> Result<(Fabric, Daemon)> {
    let has_bfd = tor.neighbour.bfd.is_some();
    let fabric = pair_with(tor)?;
    let mut text = peers(&fabric, 1);
    if has_bfd {
        text = text.replacen("detect-multiplier = ", &format!("{keys}\ndetect-multiplier = "), 1);
    } else {
        text = text.replacen("remote-asn = ", "bfd = \"alone\"\nremote-asn = ", 1);
        text += &format!("\n[bfd.alone]\n{keys}\n");
    }
    // One that forwards offers its router nothing.
    for family in ["ipv4", "ipv6"] {
        let key = format!("net/{family}/conf/all/forwarding");
        fabric.host(1).namespace.set_sysctl(&key, "0")?;
    }
    let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
    Ok((fabric, daemon))
}

fn router(kind: Kind, transport: Transport, bfd: Option<BfdTimers>) -> TorConfig {
    let mut tor = TorConfig { transport, ..TorConfig::new(kind) };
    tor.neighbour.bfd = bfd;
    tor.neighbour.hold_time = BOUND * 10;
    tor
}

fn session(daemon: &Daemon) -> Result<Value> {
    let shown: Value = serde_json::from_str(&daemon.vipcast(["bfd", "tor1", "--json"])?)?;
    Ok(shown[0]["session"].clone())
}

/// Waits until Echo packets come back, many of them.
fn wait_active(daemon: &Daemon) -> Result<Value> {
    let last = std::cell::RefCell::new(Value::Null);
    let session = wait::until("Echo packets come back", BOUND, || {
        let session = session(daemon)?;
        *last.borrow_mut() = session.clone();
        let echo = &session["echo"];
        let many = echo["returned"].as_u64().is_some_and(|count| count > 20);
        Ok((many && echo["state"] == "active").then_some(session))
    });
    session.with_context(|| format!("{:#}", last.borrow()))
}

/// A router that no longer sends back what it gets.
fn swallow(fabric: &Fabric) -> Result<Fault> {
    Fault::inject([fabric.host(1).far_end(1)], &Loss::Rule("udp dport 3785 drop".into()))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn echoes_notice_what_control_packets_would_later() -> Result<()> {
    for transport in [Transport::Ipv4, Transport::Ipv6] {
        let (fabric, daemon) = with_echo(router(Kind::Frr, transport, Some(SLOW)), "echo = true")?;
        wait_status(&daemon, "BGP is up", is_established)?;
        let session = wait_active(&daemon)?;
        ensure!(session["echo"]["interval"] == 0.05, "{session:#}");
        let lost =
            session["echo"]["sent"].as_u64() > session["echo"]["returned"].as_u64().map(|n| n + 2);
        ensure!(!lost && session["dropped"] == serde_json::json!({}), "{session:#}");
        let text = daemon.vipcast(["bfd"])?;
        ensure!(text.contains("echo: every 50ms, ") && text.contains("round trip "), "{text}");

        let fault = swallow(&fabric)?;
        wait_down_reason(&daemon, &["BFD session down: echo function failed"])?;
        // What is left are Control packets, and that is said.
        wait_status(&daemon, "BFD and BGP are up again", |status| {
            status["peers"][0]["bfd"]["up"] == true && is_established(status)
        })?;
        wait::until_true("it is said that they are nothing to go by", BOUND, || {
            Ok(daemon.vipcast(["bfd"])?.contains("not enough to go by"))
        })?;
        fault.heal()?;
        let session = wait_active(&daemon)?;
        ensure!(session["downs"] == 1, "{session:#}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_without_bfd_is_watched_all_the_same() -> Result<()> {
    // RFC 9747
    for transport in [Transport::Ipv4, Transport::Ipv6] {
        with_each(&WITH_BFD, |kind| {
            let keys = "echo = \"unaffiliated\"";
            let (fabric, daemon) = with_echo(router(kind, transport, None), keys)?;
            let is_up =
                |status: &Value| status["peers"][0]["bfd"]["up"] == true && is_established(status);
            wait_status(&daemon, "BFD and BGP are up", is_up)?;
            wait_active(&daemon)?;
            fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
            let fault = swallow(&fabric)?;
            wait_down_reason(&daemon, &["BFD session down: echo function failed"])?;
            fault.heal()?;
            wait_status(&daemon, "BFD and BGP are up again", is_up)?;
            fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1).map(drop)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_gets_its_own_echoes_back() -> Result<()> {
    for (transport, address) in [(Transport::Ipv4, "10.1.1.1"), (Transport::Ipv6, "fd00:1:1::1")] {
        let mut tor = router(Kind::Frr, transport, Some(SLOW));
        tor.extra = "bfd\nprofile host1\necho-mode\necho transmit-interval 50\nexit\nexit\n".into();
        let (fabric, daemon) = with_echo(tor, "echo = true")?;
        wait_status(&daemon, "BGP is up", is_established)?;
        let frr = &fabric.tor(1).router;
        let counted = || -> Result<(u64, u64)> {
            let answer = frr.command("show bfd peers counters json")?;
            let answer: Value = serde_json::from_str(&answer)?;
            let peer = answer.as_array().and_then(|all| all.first()).cloned().unwrap_or_default();
            let count = |key: &str| peer[key].as_u64().unwrap_or(0);
            Ok((count("echo-packet-output"), count("echo-packet-input")))
        };
        wait::until_true("FRR's echoes come back to it", BOUND, || Ok(counted()?.1 > 50))
            .with_context(|| format!("{address}: {:?}", counted()))?;
        let (sent, returned) = counted()?;
        ensure!(returned + 10 > sent, "{address}: {sent} sent, {returned} came back");
        let status = daemon.status()?;
        ensure!(status["peers"][0]["bfd"]["up"] == true, "{status:#}");
        ensure!(session(&daemon)?["downs"] == 0, "{status:#}");
    }
    Ok(())
}
