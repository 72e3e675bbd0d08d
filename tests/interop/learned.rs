//! Routes that the host learns from its routers, as its own kernel has them.
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, Transport, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::{BfdState, BfdTimers, Kind};
use vipcast_lab::wait;
use vipcast_lab::watch::Watch;

use super::{BOUND, WITH_BFD, pair_with, start, wait_down_reason, wait_status, with_each};

const ACCEPT: &str = r#"accept = ["0.0.0.0/0", "::/0"]"#;
const DEFAULTS: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// One host without any default route; BIRD and FRR announce one each, and a prefix more. Only BFD
/// notices when a path dies.
fn fabric() -> Result<Fabric> {
    let mut config = FabricConfig { hosts: 1, ..FabricConfig::default() };
    for tor in &mut config.tors {
        tor.neighbour.hold_time = BOUND * 10;
    }
    let mut fabric = Fabric::start(&config)?;
    announce(&mut fabric, &["0.0.0.0/0", "::/0", "172.20.0.0/16"])?;
    fabric.host(1).namespace.ip("route del default\nroute del ::/0\n")?;
    Ok(fabric)
}

fn announce(fabric: &mut Fabric, prefixes: &[&str]) -> Result<()> {
    for tor in 1..=fabric.tors.len() {
        let router = &mut fabric.tor_mut(tor).router;
        router.config_mut().announce =
            prefixes.iter().map(|prefix| prefix.parse()).collect::<Result<_, _>>()?;
        router.restart()?;
    }
    Ok(())
}

/// The configuration with this line for every peer.
fn with(fabric: &Fabric, line: &str) -> String {
    let remote = "remote-asn = 65000";
    let peers = peers(fabric, 1).replace(remote, &format!("{remote}\n{line}"));
    peers + POOLS + WEB
}

/// What the host's kernel has of ours in all tables: "default by 10.1.1.0 10.2.1.0".
fn routes(fabric: &Fabric) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let show = [family, "-j", "route", "show", "table", "all", "proto", "118"];
        let text = fabric.host(1).namespace.run("ip", show)?;
        let shown: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        for route in shown.as_array().context("routes")? {
            let several = route["nexthops"].as_array().cloned();
            let next_hops = several.unwrap_or_else(|| vec![route.clone()]);
            // For IPv4 by way of an IPv6 address (RFC 8950) it is called "via".
            let gateway = |hop: &Value| {
                let address = hop["gateway"].as_str().or(hop["via"]["host"].as_str());
                address.unwrap_or_default().to_owned()
            };
            let mut by: Vec<String> = next_hops.iter().map(gateway).collect();
            by.sort_unstable();
            let table = route["table"].as_str().map(|table| format!(" in {table}"));
            let destination = route["dst"].as_str().context("a destination")?;
            let metric = route["metric"].as_u64();
            ensure!(metric == Some(118), "{route:#}");
            found.push(format!("{destination} by {}{}", by.join(" "), table.unwrap_or_default()));
        }
    }
    Ok(found)
}

fn wait_routes(fabric: &Fabric, expected: &[&str]) -> Result<()> {
    let what = format!("the kernel has {expected:?}");
    wait::until_true(&what, BOUND, || Ok(routes(fabric)? == expected))
        .with_context(|| format!("{:?}", routes(fabric)))
}

const BOTH: [&str; 2] =
    ["default by 10.1.1.0 10.2.1.0", "default by 2001:db8:1:1:: 2001:db8:2:1::"];
const FIRST: [&str; 2] = ["default by 10.1.1.0", "default by 2001:db8:1:1::"];
const SECOND: [&str; 2] = ["default by 10.2.1.0", "default by 2001:db8:2:1::"];

/// Whether packets found a default route of each family all the time since then.
fn was_never_cut_off(watch: &Watch, since: Instant) -> Result<()> {
    for prefix in DEFAULTS {
        let changes = watch.changes(prefix.parse()?, since);
        ensure!(!changes.iter().any(|change| change.next_hops.is_empty()), "{changes:#?}");
        ensure!(!watch.next_hops(prefix.parse()?).is_empty(), "{prefix} is gone");
    }
    Ok(())
}

fn wait_bfd(fabric: &Fabric) -> Result<()> {
    for tor in &fabric.tors {
        wait::until_true("BFD is up", BOUND, || {
            Ok(tor.router.bfd_sessions()?.iter().any(|session| session.state == BfdState::Up))
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_default_of_both_routers_is_one_route_and_a_path_that_bfd_finds_dead_leaves_it() -> Result<()>
{
    let fabric = fabric()?;
    let daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
    wait_routes(&fabric, &BOTH)?;
    wait_bfd(&fabric)?;
    let watch = Watch::start(&fabric.host(1).namespace)?;
    let since = Instant::now();
    for (tor, rest) in [(1, SECOND), (2, FIRST)] {
        let (near, far) = (fabric.host(1).end(tor), fabric.host(1).far_end(tor));
        let fault = Fault::inject([near, far], &Loss::Everything)?;
        wait_routes(&fabric, &rest)?;
        fault.heal()?;
        wait_routes(&fabric, &BOTH)?;
        wait_bfd(&fabric)?;
    }
    was_never_cut_off(&watch, since)?;
    let status = daemon.vipcast(["status"])?;
    ensure!(
        status.matches("2 prefixes accepted of 3 announced, 2 installed").count() == 2,
        "{status}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn routers_teach_both_families_over_a_session_of_either() -> Result<()> {
    for transport in [Transport::Ipv4, Transport::Ipv6] {
        with_each(&WITH_BFD, |kind| {
            let mut fabric = pair_with(TorConfig { transport, ..TorConfig::new(kind) })?;
            announce(&mut fabric, &DEFAULTS)?;
            let _daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
            let [ipv4, ipv6] = FIRST;
            // RFC 8950: where the session is IPv6, the router has no other next hop to name.
            let ipv4 = if transport == Transport::Ipv6 { ipv6 } else { ipv4 };
            wait_routes(&fabric, &[ipv4, ipv6]).with_context(|| format!("{transport:?}"))
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_names_no_ipv6_next_hop_is_told_of() -> Result<()> {
    let mut fabric = pair_with(TorConfig::new(Kind::Gobgp))?;
    announce(&mut fabric, &DEFAULTS)?;
    let daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
    wait_routes(&fabric, &FIRST[..1])?;
    let why = "::/0 by ::ffff:10.1.1.0 not installed: next hop ::ffff:10.1.1.0 is an IPv4 address";
    wait::until_true("the reason is shown", BOUND, || Ok(daemon.vipcast(["status"])?.contains(why)))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_crash_and_a_stop_keep_the_default_and_the_next_start_removes_what_is_left_over() -> Result<()>
{
    let fabric = fabric()?;
    let wide = r#"accept = ["0.0.0.0/0", "::/0", "172.20.0.0/16"]"#;
    let mut daemon = start(&fabric, 1, &with(&fabric, wide))?;
    let [ipv4, ipv6] = BOTH;
    let more = "172.20.0.0/16 by 10.1.1.0 10.2.1.0";
    wait_routes(&fabric, &[ipv4, more, ipv6])?;
    let watch = Watch::start(&fabric.host(1).namespace)?;
    let since = Instant::now();
    daemon.kill()?;
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(5)[0], BOUND, 0)?; // the routers have noticed
    }
    wait_routes(&fabric, &[ipv4, more, ipv6])?;

    daemon.write_configuration(&with(&fabric, ACCEPT))?;
    daemon.run()?;
    // FRR ends its RIB only for peers with graceful restart: then it takes its two minutes.
    let bound = BOUND + Duration::from_secs(120);
    wait::until_true("the leftover is removed", bound, || Ok(routes(&fabric)? == BOTH))?;
    was_never_cut_off(&watch, since)?;

    let status = daemon.stop()?;
    ensure!(status.success(), "{status}");
    wait_routes(&fabric, &BOTH)?;
    daemon.run()?;
    wait_status(&daemon, "both sessions are up", |status| {
        (0..2).all(|peer| status["peers"][peer]["accepted"]["installed"] == 2)
    })?;
    wait_routes(&fabric, &BOTH)?;
    was_never_cut_off(&watch, since)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn routes_of_others_are_never_touched() -> Result<()> {
    let fabric = fabric()?;
    let namespace = &fabric.host(1).namespace;
    // One that is preferred to ours, and one in our very place.
    namespace.ip("route add default via 10.1.1.0 metric 5\n\
         route add ::/0 via 2001:db8:1:1:: metric 118\n")?;
    let foreign = || {
        let show = |family| namespace.run("ip", [family, "route", "show", "default"]);
        anyhow::Ok((show("-4")?, show("-6")?))
    };
    let (ipv4, ipv6) = foreign()?;
    let mut daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
    wait_routes(&fabric, &BOTH[..1])?;
    wait_status(&daemon, "the reason is named", |status| {
        let routes = status["peers"][0]["accepted"]["routes"].as_array();
        let reasons = routes.into_iter().flatten().filter_map(|route| route["reason"].as_str());
        reasons.into_iter().any(|reason| reason.contains("taken by a route of somebody else"))
    })?;
    let (now4, now6) = foreign()?;
    ensure!(now4.contains(ipv4.trim()) && now6.trim() == ipv6.trim(), "{now4}{now6}");
    daemon.stop()?;
    let (now4, now6) = foreign()?;
    ensure!(now4.contains(ipv4.trim()) && now6.trim() == ipv6.trim(), "{now4}{now6}");
    // Out of the way, it makes room.
    daemon.run()?;
    namespace.ip("route del ::/0 via 2001:db8:1:1:: metric 118\n")?;
    wait_routes(&fabric, &BOTH)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_somebody_deletes_and_what_an_interface_takes_with_it_is_put_back() -> Result<()> {
    let fabric = fabric()?;
    let namespace = &fabric.host(1).namespace;
    let _daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
    wait_routes(&fabric, &BOTH)?;
    for lines in [
        "route del default metric 118\nroute del ::/0 metric 118\n",
        "route del ::/0 via 2001:db8:1:1:: metric 118\n",
        "route replace default via 10.1.1.0 proto 118 metric 118\n",
    ] {
        namespace.ip(lines)?;
        wait_routes(&fabric, &BOTH)?;
    }
    // All routes are gone without a word of the kernel about the IPv4 ones.
    let ends = [fabric.host(1).end(1), fabric.host(1).end(2)];
    for end in ends {
        end.set_up(false)?;
    }
    for end in ends {
        end.set_up(true)?;
        namespace.ip(&format!(
            "address replace {}/127 dev {i} nodad\naddress replace {}/64 dev {i} nodad\n",
            end.ipv6,
            end.link_local(),
            i = end.interface
        ))?;
    }
    wait_routes(&fabric, &BOTH)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_reload_that_lets_in_more_asks_the_routers_and_another_table_moves_the_routes() -> Result<()> {
    let fabric = fabric()?;
    let daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
    wait_routes(&fabric, &BOTH)?;
    let reload = |line: &str| {
        daemon.write_configuration(&with(&fabric, line))?;
        daemon.reload()
    };
    reload(r#"accept = ["0.0.0.0/0", { prefix = "172.16.0.0/12", ge = 16, le = 24 }]"#)?;
    wait_routes(&fabric, &[BOTH[0], "172.20.0.0/16 by 10.1.1.0 10.2.1.0"])?;
    reload("accept = [\"0.0.0.0/0\"]\naccept-table = 1000")?;
    wait_routes(&fabric, &["default by 10.1.1.0 10.2.1.0 in 1000"])?;
    reload("description = \"teaches nothing\"")?;
    wait_routes(&fabric, &[])?;
    let status = daemon.status()?;
    let sessions = (0..2).map(|peer| &status["peers"][peer]["sessions"]);
    ensure!(sessions.into_iter().all(|count| *count == 1), "{status:#}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_announces_too_much_is_told_so_and_held_down() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut fabric = pair_with(TorConfig::new(kind))?;
        announce(&mut fabric, &["172.20.0.0/16", "172.21.0.0/16", "172.22.0.0/16"])?;
        let line = "accept = [{ prefix = \"172.16.0.0/12\", ge = 16 }]\naccept-max-prefixes = 2";
        let daemon = start(&fabric, 1, &with(&fabric, line))?;
        wait_down_reason(&daemon, &["announces more than 2", "accept-max-prefixes"])?;
        wait::until_true("the router was told", BOUND, || {
            let error = fabric.tor(1).router.session("host1")?.last_error.unwrap_or_default();
            let error = error.to_lowercase();
            Ok(error.contains("maximum number of prefixes") || error.contains("0601"))
        })
        .with_context(|| format!("{:?}", fabric.tor(1).router.session("host1")))?;
        // It may be between two sessions, with two routes that were let in.
        let more: IpNet = "172.22.0.0/16".parse()?;
        let all = routes(&fabric)?;
        ensure!(
            all.len() <= 2 && !all.iter().any(|route| route.contains(&more.to_string())),
            "{all:?}"
        );
        Ok(())
    })
}

/// RFC 5882 §4.3.2: the BFD of these routers dies with them, which says nothing of the path.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_restarts_with_its_bfd_keeps_its_routes_here() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.bfd = Some(BfdTimers::DEFAULT);
        tor.neighbour.hold_time = BOUND * 10;
        tor.neighbour.extra = match kind {
            Kind::Bird => "graceful restart on;".into(),
            Kind::Frr | Kind::Gobgp => {
                " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n".into()
            }
        };
        let mut fabric = pair_with(tor)?;
        announce(&mut fabric, &DEFAULTS)?;
        fabric.host(1).namespace.ip("route del default\nroute del ::/0\n")?;
        let daemon = start(&fabric, 1, &with(&fabric, ACCEPT))?;
        wait_routes(&fabric, &FIRST)?;
        wait_bfd(&fabric)?;
        wait_status(&daemon, "BFD is up", |status| status["peers"][0]["bfd"]["up"] == true)?;
        fabric.tor_mut(1).router.kill()?;
        wait_status(&daemon, "BFD is down", |status| status["peers"][0]["bfd"]["up"] == false)?;
        std::thread::sleep(Duration::from_secs(3));
        ensure!(routes(&fabric)? == FIRST, "they are kept: {:?}", routes(&fabric)?);
        fabric.tor_mut(1).router.run()?;
        wait_status(&daemon, "the session is back", |status| {
            status["peers"][0]["sessions"] != 1 && status["peers"][0]["bfd"]["up"] == true
        })?;
        wait_routes(&fabric, &FIRST)
    })
}
