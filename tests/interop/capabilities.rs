//! What sessions can do when both ends can (RFC 5492), seen from the router.
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{TorConfig, Transport, vip};
use vipcast_lab::router::{Kind, SessionState};
use vipcast_lab::wait;

use super::{
    ALL, BOUND, WITH_BFD, announce, down_reasons, is_established, pair, pair_with, start,
    wait_status, with_each,
};

/// RFC 8950: no IPv4 address between the two.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn ipv4_vips_are_announced_where_there_is_ipv6_only() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair_with(TorConfig { transport: Transport::Ipv6, ..TorConfig::new(kind) })?;
        let host = fabric.host(1);
        let interface = &host.end(1).interface;
        host.namespace.run("ip", ["-4", "address", "flush", "dev", interface.as_str()])?;
        let _daemon = announce(&fabric, 1)?;
        let router = &fabric.tor(1).router;
        let route = wait::until("the route", BOUND, || Ok(router.routes(vip(5)[0])?.pop()))?;
        let ours = IpAddr::from(host.end(1).ipv6);
        ensure!(route.next_hops.contains(&ours), "{route:?}");
        if kind != Kind::Gobgp {
            fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_asks_for_everything_again_loses_nothing() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair(kind)?;
        let daemon = announce(&fabric, 1)?;
        let tor = fabric.tor(1);
        for vip in vip(5) {
            tor.routes.wait_for_count(vip, BOUND, 1)?;
        }
        let address = fabric.host(1).end(1).ipv4;
        let (show, capability, refresh) = match kind {
            Kind::Bird => {
                ("show protocols all host1".into(), "Enhanced refresh", "reload in host1".into())
            }
            Kind::Frr | Kind::Gobgp => (
                format!("show bgp neighbors {address}"),
                "Enhanced Route Refresh: advertised and received",
                format!("clear bgp {address} in"),
            ),
        };
        let shown = tor.router.command(&show)?;
        ensure!(shown.matches(capability).count() >= 1, "{shown}");
        let before = Instant::now();
        for _ in 0..20 {
            tor.router.command(&refresh)?;
        }
        // What is announced after a refresh shows that it is over.
        let more = "\n[service.other]\nvips = [\"203.0.113.6\"]\ncheck.c.tcp = \"127.0.0.1:80\"\n";
        daemon.write_configuration(&(peers(&fabric, 1) + POOLS + WEB + more))?;
        daemon.reload()?;
        tor.routes.wait_for_count(vip(6)[0], BOUND, 1)?;
        for vip in vip(5) {
            let changes = tor.routes.changes(vip, before);
            ensure!(changes.is_empty(), "{changes:?}");
        }
        ensure!(daemon.status()?["peers"][0]["sessions"] == 1);
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn roles_must_go_together() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.extra = match kind {
            Kind::Bird => "local role customer;".into(),
            Kind::Frr | Kind::Gobgp => "neighbor 10.1.1.1 local-role customer".into(),
        };
        let fabric = pair_with(tor)?;
        let with_role = |role: &str| {
            let role = format!("[peer.tor1]\nrole = \"{role}\"\nconnect-retry-time = \"1s\"");
            peers(&fabric, 1).replace("[peer.tor1]", &role) + POOLS + WEB
        };
        let daemon = start(&fabric, 1, &with_role("peer"))?;
        // Whoever of the two says it first
        wait_status(&daemon, "the mismatch is named", |status| {
            let reasons = down_reasons(status);
            reasons.contains("Role Mismatch (2/11)")
        })?;
        ensure!(fabric.tor(1).router.session("host1")?.state != SessionState::Established);
        daemon.write_configuration(&with_role("provider"))?;
        daemon.reload()?;
        wait_status(&daemon, "the session is up", is_established)?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        // RFC 9234 §5
        let show = match kind {
            Kind::Bird => "show route all 203.0.113.5/32",
            Kind::Frr | Kind::Gobgp => "show bgp ipv4 unicast 203.0.113.5/32 json",
        };
        let shown = fabric.tor(1).router.command(show)?;
        let mark = match kind {
            Kind::Bird => "BGP.otc: 65100",
            Kind::Frr | Kind::Gobgp => "\"otc\":65100",
        };
        ensure!(shown.contains(mark), "{shown}");
        Ok(())
    })
}
