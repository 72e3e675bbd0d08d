//! What routers receive.
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::Value;
use vipcast::route::{AnyCommunity, Community};
use vipcast::speaker::routes::{PeerRoutes, SentRoute};
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig, Transport, vip};
use vipcast_lab::router::{Kind, Origin, Route};
use vipcast_lab::wait;

use super::{ALL, BOUND, WITH_BFD, announce, pair, pair_expecting, pair_with, start, with_each};

/// The one route the first router has for a prefix.
fn route(fabric: &Fabric, prefix: IpNet) -> Result<Route> {
    let router = &fabric.tor(1).router;
    wait::until(&format!("a route for {prefix}"), BOUND, || Ok(router.routes(prefix)?.pop()))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<()> {
    ensure!(found == expected, "{what}: {found:?} in place of {expected:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn every_router_gets_both_families_over_an_ipv4_session() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair(kind)?;
        let _daemon = announce(&fabric, 1)?;
        let ipv4 = route(&fabric, vip(5)[0])?;
        let host = fabric.host(1).end(1);
        same("next hop", ipv4.next_hops, vec![IpAddr::V4(host.ipv4)])?;
        same("path", ipv4.as_path, vec![65100])?;
        same("origin", ipv4.origin, Origin::Igp)?;
        same("MED", ipv4.med.unwrap_or(0), 0)?;
        let ipv6 = route(&fabric, vip(5)[1])?;
        ensure!(ipv6.next_hops.contains(&host.ipv6.into()), "{ipv6:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn every_router_gets_both_families_over_an_ipv6_session() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair_with(TorConfig { transport: Transport::Ipv6, ..TorConfig::new(kind) })?;
        let _daemon = announce(&fabric, 1)?;
        let host = fabric.host(1).end(1);
        same("next hop", route(&fabric, vip(5)[0])?.next_hops, vec![IpAddr::V4(host.ipv4)])?;
        ensure!(route(&fabric, vip(5)[1])?.next_hops.contains(&host.ipv6.into()));
        Ok(())
    })
}

/// An extended community as vipcast writes it; each router has its own way.
fn own_words(theirs: &str) -> String {
    if let Ok(gobgp) = serde_json::from_str::<Value>(theirs) {
        if gobgp["subtype"] == 4 {
            return format!("link-bandwidth:{}:{}", gobgp["asn"], gobgp["bandwidth"]);
        }
        let name = if gobgp["subtype"] == 2 { "rt" } else { "ro" };
        let value = gobgp["value"].as_str().unwrap_or_default();
        // Four octets with a dot in the middle (RFC 5396); in BIRD's and FRR's words they are one
        // number.
        return match value.split_once('.').filter(|_| gobgp["type"] == 2) {
            Some((high, rest)) => {
                let (low, local) = rest.split_once(':').unwrap_or_default();
                let number = |text: &str| text.parse::<u32>().unwrap_or_default();
                format!("{name}:{}:{local}", number(high) << 16 | number(low))
            }
            None => format!("{name}:{value}"),
        };
    }
    let bird = theirs.strip_prefix("unknown 0x4, ").or(theirs.strip_prefix("unknown 0x4004, "));
    if let Some((asn, octets)) = bird.and_then(|bird| bird.split_once(", ")) {
        let bandwidth = f32::from_bits(octets.parse().unwrap_or_default());
        return format!("link-bandwidth:{asn}:{bandwidth}");
    }
    let frr = [("RT:", "rt:"), ("SoO:", "ro:"), ("LB:", "link-bandwidth:")];
    frr.iter().fold(theirs.replace(", ", ":"), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// Extended communities as vipcast writes them.
fn extended(theirs: &[String]) -> Vec<String> {
    let words = theirs.iter().map(String::as_str);
    // FRR says a bandwidth a second time: "LB:65100:12500000 (100.000 Mbps)".
    let said_twice = |word: &&str| word.starts_with('(') || word.ends_with(')');
    words.filter(|word| !said_twice(word)).map(own_words).collect()
}

const ATTRIBUTES: &str = r#"
[pool.anycast]
addresses = ["203.0.113.0/24", "2001:db8:5::/120"]

[community]
blue = "65000:7"

[advertisement.anycast]
communities = [
    "blue", "65000:100", "no-export", "large:4200000000:1:100",
    "rt:65000:70000", "ro:10.0.0.1:7", "rt:4200000000:8",
]
med = 50
prepend = 2
local-pref = 222
"#;

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn attributes_arrive_as_configured() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair(kind)?;
        let _daemon = start(&fabric, 1, &(peers(&fabric, 1) + ATTRIBUTES + WEB))?;
        for vip in vip(5) {
            let mut route = route(&fabric, vip)?;
            route.communities.sort();
            let expected = ["65000:100", "65000:7", "65535:65281"].map(str::to_owned);
            same("communities", route.communities, expected.to_vec())?;
            let large = vec!["4200000000:1:100".to_owned()];
            same("large communities", route.large_communities, large)?;
            let expected = ["rt:65000:70000", "ro:10.0.0.1:7", "rt:4200000000:8"];
            same(
                "extended communities",
                extended(&route.extended_communities),
                expected.map(str::to_owned).to_vec(),
            )?;
            same("MED", route.med, Some(50))?;
            same("path", route.as_path, vec![65100, 65100, 65100])?;
            ensure!(route.local_pref != Some(222), "LOCAL_PREF is for internal peers");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_internal_peer_gets_local_pref_and_an_empty_path() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair_expecting(kind, 65000)?;
        let text = peers(&fabric, 1).replace("local-asn = 65100", "local-asn = 65000");
        let _daemon = start(&fabric, 1, &(text + ATTRIBUTES + WEB))?;
        let route = route(&fabric, vip(5)[0])?;
        same("path", route.as_path, vec![])?;
        same("LOCAL_PREF", route.local_pref, Some(222))
    })
}

/// What `vipcast routes` says the first router was sent for a prefix, once it was.
fn sent(daemon: &Daemon, prefix: IpNet) -> Result<SentRoute> {
    wait::until(&format!("{prefix} is sent"), BOUND, || {
        let text = daemon.vipcast(["routes", "--peer", "tor1", "--json"])?;
        let peers: Vec<PeerRoutes> = serde_json::from_str(&text)?;
        let [peer] = &peers[..] else { anyhow::bail!("not one peer: {text}") };
        Ok(peer.sent.iter().find(|route| route.prefix == prefix).cloned())
    })
}

/// Attribute by attribute, as the router writes them.
fn same_route(sent: &SentRoute, mut route: Route, is_internal: bool) -> Result<()> {
    let numbers = sent.communities.iter().map(|text| match text.parse() {
        Ok(AnyCommunity::Standard(Community(c))) => Ok(format!("{}:{}", c >> 16, c & 0xffff)),
        other => anyhow::bail!("{text} is {other:?}"),
    });
    let mut communities = numbers.collect::<Result<Vec<String>>>()?;
    communities.sort();
    route.communities.sort();
    same("communities", route.communities, communities)?;
    let large = sent.large_communities.iter().map(|text| text.replace("large:", ""));
    same("large communities", route.large_communities, large.collect())?;
    same(
        "extended communities",
        extended(&route.extended_communities),
        sent.extended_communities.clone(),
    )?;
    ensure!(route.next_hops.contains(&sent.next_hop), "{sent:?}: {:?}", route.next_hops);
    same("path", route.as_path, sent.as_path.iter().map(|asn| asn.0).collect())?;
    same("MED", route.med, sent.med)?;
    same("origin", format!("{:?}", route.origin).to_uppercase(), sent.origin.clone())?;
    same("an external peer has a LOCAL_PREF", sent.local_pref.is_some(), is_internal)?;
    if is_internal {
        same("LOCAL_PREF", route.local_pref, sent.local_pref)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_vipcast_routes_shows_is_what_the_router_has() -> Result<()> {
    let weighted = WEB.replace("[service.web]\n", "[service.web]\nweight = 100\n");
    with_each(&ALL, |kind| {
        for local_asn in [65100, 65000] {
            let fabric = pair_expecting(kind, local_asn)?;
            let text =
                peers(&fabric, 1).replace("local-asn = 65100", &format!("local-asn = {local_asn}"));
            let daemon = start(&fabric, 1, &(text + ATTRIBUTES + &weighted))?;
            for vip in vip(5) {
                let route = route(&fabric, vip)?;
                same_route(&sent(&daemon, vip)?, route, local_asn == 65000)
                    .with_context(|| format!("{vip} from AS {local_asn}"))?;
            }
            let error = daemon.vipcast(["routes", "--peer", "tor9"]).expect_err("no such peer");
            ensure!(format!("{error:#}").contains("no peer tor9; there are: tor1"), "{error:#}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_third_party_on_the_shared_network_can_be_the_next_hop() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair(kind)?;
        let tor = fabric.tor(1);
        tor.namespace.ip("address add 10.77.0.1/24 dev host1\n\
                          address add 2001:db8:77::1/64 dev host1 nodad\n")?;
        let fixed = "\nnext-hop = \"10.77.0.9\"\nnext-hop-v6 = \"2001:db8:77::9\"\nhold-time";
        let text = peers(&fabric, 1).replacen("\nhold-time", fixed, 1) + POOLS + WEB;
        let _daemon = start(&fabric, 1, &text)?;
        for (vip, hop) in vip(5).into_iter().zip(["10.77.0.9", "2001:db8:77::9"]) {
            same("next hop", route(&fabric, vip)?.next_hops, vec![hop.parse::<IpAddr>()?])?;
            tor.routes.wait_for_count(vip, BOUND, 1)?;
            let vip = vip.addr().to_string();
            let way = tor.namespace.run("ip", ["route", "get", &vip])?;
            ensure!(way.contains(&format!("via {hop} dev host1")), "{way}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_four_octet_as_number_arrives_whole() -> Result<()> {
    with_each(&ALL, |kind| {
        let fabric = pair_expecting(kind, 4_200_000_001)?;
        let text = peers(&fabric, 1).replace("local-asn = 65100", "local-asn = 4200000001");
        let _daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        same("path", route(&fabric, vip(5)[0])?.as_path, vec![4_200_000_001])
    })
}

/// What others call "no-prepend replace-as": the AS number of `[bgp]` is not in the path, also where
/// it is prepended.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_path_has_only_the_as_number_that_we_have_for_this_peer() -> Result<()> {
    with_each(&ALL, |kind| {
        for (policy, path) in
            [(POOLS.to_owned(), vec![65123]), (format!("{POOLS}prepend = 1\n"), vec![65123; 2])]
        {
            let fabric = pair_expecting(kind, 65123)?;
            let text = peers(&fabric, 1)
                .replace("remote-asn = 65000", "remote-asn = 65000\nlocal-asn = 65123");
            let _daemon = start(&fabric, 1, &(text + &policy + WEB))?;
            for prefix in vip(5) {
                same("path", route(&fabric, prefix)?.as_path, path.clone())?;
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_aggregate_is_announced_in_place_of_its_vips() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair(kind)?;
        let aggregate = format!("{POOLS}aggregation-length = 24\naggregation-length-v6 = 120\n");
        let _daemon = start(&fabric, 1, &(peers(&fabric, 1) + &aggregate + WEB))?;
        let net: IpNet = "203.0.113.0/24".parse()?;
        fabric.tor(1).routes.wait_for_count(net, BOUND, 1)?;
        fabric.tor(1).routes.wait_for_count("2001:db8:5::/120".parse()?, BOUND, 1)?;
        ensure!(fabric.tor(1).routes.next_hops(vip(5)[0]).is_empty());
        fabric.host(1).nginx.set_health("/healthz", false)?;
        fabric.tor(1).routes.wait_for_count(net, BOUND, 0).map(drop)
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_advertisement_can_choose_its_peers() -> Result<()> {
    let fabric = Fabric::start(&FabricConfig { hosts: 1, ..FabricConfig::default() })?;
    let text = format!(
        "{}{POOLS}peers = [\"tor2\"]\n{WEB}\n[pool.other]\naddresses = [\"192.0.2.0/24\"]\n\
         [advertisement.other]\npools = [\"other\"]\npeers = [\"tor1\"]\n\
         [service.other]\nvips = [\"192.0.2.1\"]\ncheck.c.tcp = \"127.0.0.1:80\"\n",
        peers(&fabric, 1)
    );
    let daemon = start(&fabric, 1, &text)?;
    let other: IpNet = "192.0.2.1/32".parse()?;
    fabric.tor(2).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    fabric.tor(1).routes.wait_for_count(other, BOUND, 1)?;
    ensure!(fabric.tor(1).routes.next_hops(vip(5)[0]).is_empty());
    ensure!(fabric.tor(2).routes.next_hops(other).is_empty());
    let status = daemon.vipcast(["status", "web"])?;
    let why = "to tor1  not announced: no advertisement selects this pool and this peer";
    ensure!(status.contains(why), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_route_refresh_is_answered_with_everything() -> Result<()> {
    for (kind, command) in [
        (Kind::Bird, "reload in host1"),
        (Kind::Frr, "clear bgp ipv4 unicast 10.1.1.1 in"),
        (Kind::Gobgp, "neighbor 10.1.1.1 softresetin"),
    ] {
        let fabric = pair(kind)?;
        let _daemon = announce(&fabric, 1)?;
        route(&fabric, vip(5)[0])?;
        let router = &fabric.tor(1).router;
        router.command(command).with_context(|| kind.name())?;
        // The session that answered is the one that was there before, and nothing is missing.
        router.wait_established("host1", BOUND)?;
        route(&fabric, vip(5)[0])?;
        route(&fabric, vip(5)[1])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn end_of_rib_comes_after_the_first_verdicts() -> Result<()> {
    let mut tor = TorConfig::new(Kind::Bird);
    tor.neighbour.extra = "debug { packets };".into();
    let fabric = pair_with(tor)?;
    let (router, log) = (&fabric.tor(1).router, fabric.tor(1).router.processes()[0].log());
    let ends = || {
        let text = std::fs::read_to_string(log)?;
        anyhow::Ok(text.lines().filter(|line| line.contains("Got END-OF-RIB")).count())
    };
    // nginx says nothing by itself: the verdict on this one comes after most of a minute.
    let slow = "\n[service.slow]\nvips = [\"203.0.113.9\"]\ncheck.c = { tcp = \"127.0.0.1:80\", \
                expect = \"hello\", timeout = \"50s\", interval = \"60s\" }\n";
    let known = peers(&fabric, 1) + POOLS + WEB;
    let daemon = start(&fabric, 1, &format!("{known}{slow}"))?;
    route(&fabric, vip(5)[0])?;
    ensure!(ends()? == 0, "End-of-RIB came before the verdict on the slow service");
    daemon.write_configuration(&known)?;
    daemon.reload()?;
    wait::until_true("End-of-RIB of both families", BOUND, || Ok(ends()? == 2))?;
    ensure!(!router.routes(vip(5)[0])?.is_empty(), "it came without the routes");
    Ok(())
}
