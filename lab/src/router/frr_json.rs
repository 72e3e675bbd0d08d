//! What `vtysh` prints as JSON, as the words of [`super::state`].

use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::Value;

use super::{BfdSession, BfdState, Neighbour, Origin, Route, Session, SessionState};

/// The communities that FRR prints by name.
const WELL_KNOWN: [(&str, &str); 8] = [
    ("gracefulShutdown", "65535:0"),
    ("acceptOwn", "65535:1"),
    ("llgrStale", "65535:6"),
    ("noLlgr", "65535:7"),
    ("blackhole", "65535:666"),
    ("noExport", "65535:65281"),
    ("noAdvertise", "65535:65282"),
    ("noPeer", "65535:65284"),
];

/// From `show bgp neighbors json`: an object with a member a neighbour.
pub(super) fn sessions(answer: &Value, neighbours: &[Neighbour]) -> Result<Vec<Session>> {
    neighbours
        .iter()
        .map(|neighbour| {
            let shown = &answer[neighbour.peering.to_string()];
            let state = shown["bgpState"].as_str().context("FRR shows no state of a neighbour")?;
            let received = |family: &str| {
                let count = shown["addressFamilyInfo"][family]["acceptedPrefixCounter"].as_u64();
                usize::try_from(count.unwrap_or(0))
            };
            let ended = |family: &str| {
                shown["gracefulRestartInfo"]["endOfRibRecv"][family].as_bool().unwrap_or(false)
            };
            let text = |key: &str| shown[key].as_str().map(str::to_owned);
            Ok(Session {
                neighbour: neighbour.name.clone(),
                state: SessionState::parse(state)?,
                ipv4_received: received("ipv4Unicast")?,
                ipv6_received: received("ipv6Unicast")?,
                last_error: text("lastNotificationReason").or_else(|| text("lastResetDueTo")),
                end_of_rib: Some(ended("ipv4Unicast") && ended("ipv6Unicast")),
            })
        })
        .collect()
}

/// From `show bfd peers json`: an array. The intervals in use follow from those of both ends (RFC
/// 5880 §6.8.2, §6.8.4).
pub(super) fn bfd_sessions(answer: &Value) -> Result<Vec<BfdSession>> {
    let peers = answer.as_array().context("FRR shows no list of BFD peers")?;
    peers
        .iter()
        .map(|shown| {
            let text =
                |key: &str| shown[key].as_str().with_context(|| format!("no {key} of a BFD peer"));
            let milliseconds = |key: &str| Duration::from_millis(shown[key].as_u64().unwrap_or(0));
            let remote_multiplier = shown["remote-detect-multiplier"].as_u64().unwrap_or(0);
            let slowest =
                milliseconds("receive-interval").max(milliseconds("remote-transmit-interval"));
            Ok(BfdSession {
                peer: text("peer")?.parse()?,
                state: BfdState::parse(text("status")?)?,
                transmit_interval: milliseconds("transmit-interval")
                    .max(milliseconds("remote-receive-interval")),
                detection_time: slowest * u32::try_from(remote_multiplier)?,
            })
        })
        .collect()
}

/// From `show bgp FAMILY unicast PREFIX json`: an object with the prefix's paths, or nothing in it.
pub(super) fn routes(
    answer: &Value,
    prefix: IpNet,
    neighbours: &[Neighbour],
) -> Result<Vec<Route>> {
    if answer["prefix"].as_str().is_none_or(|shown| shown.parse() != Ok(prefix)) {
        return Ok(Vec::new());
    }
    let paths = answer["paths"].as_array().context("FRR shows no paths of a prefix")?;
    paths.iter().map(|path| route(path, prefix, neighbours)).collect()
}

fn route(path: &Value, prefix: IpNet, neighbours: &[Neighbour]) -> Result<Route> {
    let mut route = Route::bare(prefix);
    let source = path["peer"]["peerId"].as_str();
    let known = neighbours.iter().find(|known| source.is_some_and(|at| known.peering.is_at(at)));
    route.neighbour = known.map(|known| known.name.clone());
    route.best = path["bestpath"]["overall"].as_bool().unwrap_or(false);
    route.stale = Some(path["stale"].as_bool().unwrap_or(false));
    for hop in path["nexthops"].as_array().into_iter().flatten() {
        route.add_next_hop(hop["ip"].as_str().context("a next hop without address")?)?;
    }
    route.origin = Origin::parse(path["origin"].as_str().context("a path without ORIGIN")?)?;
    for segment in path["aspath"]["segments"].as_array().into_iter().flatten() {
        for asn in segment["list"].as_array().into_iter().flatten() {
            route.as_path.push(u32::try_from(asn.as_u64().context("odd AS_PATH")?)?);
        }
    }
    route.med = number(&path["metric"])?;
    route.local_pref = number(&path["locPrf"])?;
    route.communities = list(&path["community"]).map(numeric).collect();
    route.large_communities = list(&path["largeCommunity"]).map(str::to_owned).collect();
    let extended = path["extendedCommunity"]["string"].as_str().unwrap_or_default();
    route.extended_communities = extended.split_whitespace().map(str::to_owned).collect();
    Ok(route)
}

fn list(attribute: &Value) -> impl Iterator<Item = &str> {
    attribute["list"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn numeric(community: &str) -> String {
    let known = WELL_KNOWN.iter().find(|(name, _)| *name == community);
    known.map_or(community, |(_, number)| number).to_owned()
}

fn number(value: &Value) -> Result<Option<u32>> {
    Ok(value.as_u64().map(u32::try_from).transpose()?)
}
