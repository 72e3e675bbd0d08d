//! Sessions that come about in other ways than the usual, and such that do not: what is wrong is
//! named as such.
use anyhow::{Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::Kind;

use super::{
    ALL, BOUND, WITH_BFD, announce, is_established, pair, pair_expecting, pair_with, start,
    wait_down_reason, wait_status, with_each,
};

/// The web service, with more keys for the peer.
fn start_with(fabric: &Fabric, keys: &str) -> Result<Daemon> {
    let text =
        peers(fabric, 1).replace("remote-asn = 65000", &format!("remote-asn = 65000\n{keys}"));
    start(fabric, 1, &(text + POOLS + WEB))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_passive_peer_is_listened_for() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair(kind)?;
        let daemon = start_with(&fabric, "passive = true")?;
        wait_status(&daemon, "the router connects", is_established)?;
        fabric.tor(1).router.wait_established("host1", BOUND)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn nothing_listens_while_no_peer_is_passive() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let daemon = announce(&fabric, 1)?;
    wait_status(&daemon, "the session is up", is_established)?;
    let listening = fabric.host(1).namespace.run("ss", ["-Htln", "sport = :179"])?;
    ensure!(listening.is_empty(), "{listening}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_passive_router_is_connected_to() -> Result<()> {
    with_each(&ALL, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.passive = true;
        let fabric = pair_with(tor)?;
        let daemon = announce(&fabric, 1)?;
        wait_status(&daemon, "the session is up", is_established).map(drop)
    })
}

/// Both ends connect to each other at the same time, again and again; each time one connection is
/// left, and it is the same for both ends.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn collisions_leave_one_session() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let config =
            FabricConfig { hosts: 1, tors: vec![TorConfig::new(kind), TorConfig::new(Kind::Bird)] };
        let fabric = Fabric::start(&config)?;
        // The second peer is passive, so that there is a listener; the first is not.
        let text = peers(&fabric, 1)
            .replace("[peer.tor2]", "[peer.tor2]\npassive = true")
            .replace("[peer.tor1]", "[peer.tor1]\nconnect-retry-time = \"1s\"");
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        for round in 0..5 {
            for tor in &fabric.tors {
                tor.router.wait_established("host1", BOUND)?;
                tor.routes.wait_for_count(vip(5)[0], BOUND, 1)?;
            }
            wait_status(&daemon, "both sessions are up", |status| {
                (0..2).all(|peer| status["peers"][peer]["established"] == true)
            })?;
            let fault = Fault::inject(fabric.host(1).ends(), &Loss::BgpRefused)?;
            wait_status(&daemon, &format!("round {round}: the session is reset"), |status| {
                status["peers"][0]["established"] == false
            })?;
            fault.heal()?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_password_is_used_and_a_wrong_or_missing_one_is_named() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.password = Some("sesame".into());
        let fabric = pair_with(tor)?;
        let key = fabric.host(1).namespace.directory().join("key");
        std::fs::write(&key, "sesame\n")?;
        let keys = format!("password-file = {key:?}\nconnect-retry-time = \"1s\"");
        let mut daemon = start_with(&fabric, &keys)?;
        wait_status(&daemon, "the session is up", is_established)?;
        daemon.stop()?;

        std::fs::write(&key, "mellon\n")?;
        let mut daemon = start_with(&fabric, &keys)?;
        wait_down_reason(&daemon, &["no answer from", "the TCP MD5 password differs"])?;
        daemon.stop()?;

        let mut daemon = start_with(&fabric, "connect-retry-time = \"1s\"")?;
        wait_down_reason(&daemon, &["no answer from", "demands a TCP MD5 password"])?;
        daemon.stop()?;

        std::fs::remove_file(&key)?;
        let mut daemon = start_with(&fabric, &keys)?;
        wait_down_reason(&daemon, &["cannot use password-file", "no such file"])?;
        daemon.stop()?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_wrong_as_number_is_named_at_both_ends() -> Result<()> {
    with_each(&ALL, |kind| {
        // BFD that goes when the router refuses us would be the last reason.
        let mut tor = TorConfig::new(kind);
        tor.neighbour.bfd = None;
        let fabric = pair_with(tor)?;
        let text = peers(&fabric, 1).replace("remote-asn = 65000", "remote-asn = 65009");
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        let ours = ["the peer says AS 65000, remote-asn says 65009"];
        wait_down_reason(&daemon, &ours)?;
        let text = peers(&fabric, 1).replace("local-asn = 65100", "local-asn = 65109");
        daemon.write_configuration(&(text + POOLS + WEB))?;
        daemon.reload()?;
        wait_down_reason(&daemon, &["received OPEN Message Error/Bad Peer AS (2/2)"])
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn our_own_router_id_at_an_internal_peer_is_named() -> Result<()> {
    let fabric = pair_expecting(Kind::Gobgp, 65000)?;
    let router_id = fabric.tor(1).router.config().router_id;
    let ours = format!("router-id = \"{}\"", fabric.host(1).router_id);
    let text = peers(&fabric, 1)
        .replace("local-asn = 65100", "local-asn = 65000")
        .replace(&ours, &format!("router-id = \"{router_id}\""));
    let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
    // Whichever of the two is faster says so.
    let named = |status: &Value| {
        let reason = super::down_reasons(status);
        reason.contains("is also ours") || reason.contains("Bad BGP Identifier")
    };
    wait_status(&daemon, "the router ID is named", named).map(drop)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_peer_with_no_family_in_common_is_named() -> Result<()> {
    let mut tor = TorConfig::new(Kind::Frr);
    // Neither IPv4 nor IPv6 unicast.
    tor.extra = "router bgp 65000\naddress-family ipv4 unicast\nno neighbor 10.1.1.1 activate\n\
                 exit-address-family\naddress-family ipv6 unicast\n\
                 no neighbor 10.1.1.1 activate\nexit-address-family\n\
                 address-family ipv4 vpn\nneighbor 10.1.1.1 activate\nexit-address-family\nexit\n"
        .into();
    let fabric = pair_with(tor)?;
    let daemon = announce(&fabric, 1)?;
    wait_down_reason(&daemon, &["no address family in common", "AFI 1 SAFI 128"])
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_refused_and_a_filtered_port_are_named() -> Result<()> {
    let mut fabric = pair(Kind::Bird)?;
    fabric.tor_mut(1).router.stop()?;
    let daemon = start_with(&fabric, "connect-retry-time = \"1s\"")?;
    wait_down_reason(&daemon, &["10.1.1.0 port 179 refused the connection", "no BGP speaker"])?;
    let _fault = Fault::inject([fabric.host(1).far_end(1)], &Loss::Bgp)?;
    wait_down_reason(&daemon, &["no answer from 10.1.1.0 port 179", "filtered"])
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_does_not_know_this_host_is_named() -> Result<()> {
    with_each(&ALL, |kind| {
        let mut fabric = pair(kind)?;
        let text = peers(&fabric, 1)
            .replace("remote-asn = 65000", "remote-asn = 65000\nconnect-retry-time = \"1s\"");
        let router = &mut fabric.tor_mut(1).router;
        router.config_mut().neighbours.clear();
        router.restart()?;
        // Some close the connection, some refuse it, some say why: each of these points the way.
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        let named = |status: &Value| {
            let reason = super::down_reasons(status);
            [
                "no neighbor configured for our address",
                "no neighbor for our address",
                "Connection Rejected",
                "connection reset by peer",
            ]
            .iter()
            .any(|words| reason.contains(words))
        };
        wait_status(&daemon, "the router is said not to know us", named).map(drop)
    })
}

/// RFC 9003, RFC 4486 §4.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_reset_by_an_operator_is_told_and_followed_by_a_new_session() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.bfd = None;
        let mut fabric = pair_with(tor)?;
        let daemon = announce(&fabric, 1)?;
        wait_status(&daemon, "a session", is_established)?;
        daemon.vipcast(["reset", "tor1", "--reason", "a new cable"])?;
        wait_status(&daemon, "another session", |status| {
            is_established(status) && status["peers"][0]["sessions"] == 2
        })?;
        wait_down_reason(&daemon, &["reset by an operator: a new cable"])?;
        let logs = fabric.tor(1).router.processes().iter().map(|one| one.log());
        let said = logs.map(std::fs::read_to_string).collect::<Result<String, _>>()?;
        let reset = said.lines().find(|line| line.to_lowercase().contains("administrative reset"));
        ensure!(reset.is_some_and(|line| line.contains("a new cable")), "{reset:?}\n{said}");
        // Where it is gone, the next attempt does not wait for the one that failed before.
        fabric.tor_mut(1).router.kill()?;
        wait_down_reason(&daemon, &["refused the connection"])?;
        fabric.tor_mut(1).router.run()?;
        daemon.vipcast(["reset", "tor1"])?;
        wait_status(&daemon, "a third session", is_established)?;
        let refused = daemon.vipcast(["reset", "tor9"]).expect_err("there is no such peer");
        ensure!(format!("{refused:#}").contains("no peer tor9; there are: tor1"), "{refused:#}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_text_of_a_routers_shutdown_is_shown() -> Result<()> {
    for (kind, command) in [
        (Kind::Bird, "disable host1 \"maintenance until noon\""),
        (
            Kind::Frr,
            "configure terminal\nrouter bgp 65000\nneighbor 10.1.1.1 shutdown message maintenance until noon",
        ),
        (Kind::Gobgp, "neighbor 10.1.1.1 shutdown --reason maintenance_until_noon"),
    ] {
        let fabric = pair(kind)?;
        let daemon = announce(&fabric, 1)?;
        wait_status(&daemon, "the session is up", is_established)?;
        fabric.tor(1).router.command(command)?;
        // The last word may be that of a later attempt; the log keeps the first.
        wait_status(&daemon, "the session is down", |status| !is_established(status))?;
        let log = std::fs::read_to_string(daemon.process()?.log())?;
        let line = log.lines().find(|line| line.contains("session down")).unwrap_or_default();
        let text = line.replace('_', " ");
        ensure!(
            text.contains("Cease/Administrative Shutdown (6/2): maintenance until noon"),
            "{}: {log}",
            kind.name()
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn without_bfd_the_hold_timer_notices_silence() -> Result<()> {
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.bfd = None;
    tor.neighbour.hold_time = std::time::Duration::from_secs(3);
    let fabric = pair_with(tor)?;
    let daemon = announce(&fabric, 1)?;
    wait_status(&daemon, "the session is up", is_established)?;
    let _fault = Fault::inject(fabric.host(1).ends(), &Loss::Everything)?;
    // TCP gives up after the same time; whichever comes first is right.
    let named = |status: &Value| {
        let reason = super::down_reasons(status);
        reason.contains("hold timer expired") || reason.contains("connection lost")
    };
    wait_status(&daemon, "the silence is noticed", named).map(drop)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_password_that_cannot_be_read_keeps_that_peer_out_and_nobody_else() -> Result<()> {
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.bfd = None;
    let fabric = Fabric::start(&FabricConfig { hosts: 1, tors: vec![tor.clone(), tor] })?;
    let key = fabric.host(1).namespace.directory().join("key");
    let text = peers(&fabric, 1)
        .replace("[peer.tor1]", &format!("[peer.tor1]\npassive = true\npassword-file = {key:?}"))
        .replace("[peer.tor2]", "[peer.tor2]\npassive = true");
    let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
    wait_status(&daemon, "the other peer connects, and the trouble is named", |status| {
        let error = status["listen-error"].as_str().unwrap_or_default();
        status["peers"][1]["established"] == true
            && error.contains("10.1.1.0 cannot connect to us: cannot use password-file")
    })?;
    // The router has no password: it must not come in without one.
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!(!is_established(&daemon.status()?));
    std::fs::write(&key, "sesame\n")?;
    daemon.reload()?;
    let is_good = |status: &Value| status["listen-error"].is_null();
    wait_status(&daemon, "the key is there", is_good)?;
    ensure!(daemon.status()?["peers"][1]["sessions"] == 1, "the other session was not touched");
    Ok(())
}
