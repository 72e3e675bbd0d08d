//! What `gobgp -j` prints, as the words of [`super::state`].

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use serde_json::Value;

use super::{Neighbour, Origin, Route, Session, SessionState};

/// From `gobgp -j neighbor`: an array.
pub(super) fn sessions(answer: &Value, neighbours: &[Neighbour]) -> Result<Vec<Session>> {
    let shown = answer.as_array().context("GoBGP shows no list of neighbours")?;
    neighbours
        .iter()
        .map(|neighbour| {
            let mine = |shown: &&Value| shown["conf"]["description"] == neighbour.name.as_str();
            let found = shown.iter().find(mine).context("GoBGP does not show a neighbour")?;
            session(found, &neighbour.name)
        })
        .collect()
}

fn session(shown: &Value, name: &str) -> Result<Session> {
    let mut session = Session::idle(name);
    session.state = match shown["state"]["session_state"].as_u64().unwrap_or(0) {
        0 | 1 => SessionState::Idle,
        2 => SessionState::Connect,
        3 => SessionState::Active,
        4 => SessionState::OpenSent,
        5 => SessionState::OpenConfirm,
        6 => SessionState::Established,
        other => bail!("unknown BGP state {other} of GoBGP"),
    };
    session.last_error = shown["state"]["disconnect_message"].as_str().map(str::to_owned);
    let mut ended = true;
    for family in shown["afi_safis"].as_array().into_iter().flatten() {
        let received = usize::try_from(family["state"]["received"].as_u64().unwrap_or(0))?;
        match family["state"]["family"]["afi"].as_u64() {
            Some(1) => session.ipv4_received = received,
            Some(2) => session.ipv6_received = received,
            _ => {}
        }
        let restart = &family["mp_graceful_restart"]["state"];
        ended &= restart["end_of_rib_received"].as_bool().unwrap_or(false);
    }
    session.end_of_rib = Some(ended && session.state == SessionState::Established);
    Ok(session)
}

/// From `gobgp -j global rib PREFIX`: an object with a list of routes a prefix.
pub(super) fn routes(
    answer: &Value,
    prefix: IpNet,
    neighbours: &[Neighbour],
) -> Result<Vec<Route>> {
    let shown = answer[prefix.to_string()].as_array();
    shown.into_iter().flatten().map(|path| route(path, prefix, neighbours)).collect()
}

fn route(path: &Value, prefix: IpNet, neighbours: &[Neighbour]) -> Result<Route> {
    let mut route = Route::bare(prefix);
    let source = path["neighbor-ip"].as_str();
    let known = neighbours.iter().find(|known| source.is_some_and(|at| known.peering.is_at(at)));
    route.neighbour = known.map(|known| known.name.clone());
    route.best = path["best"].as_bool().unwrap_or(false);
    route.stale = path["stale"].as_bool();
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        read_attribute(&mut route, attribute)
            .with_context(|| format!("odd attribute of GoBGP: {attribute}"))?;
    }
    Ok(route)
}

/// One path attribute, by its type code.
fn read_attribute(route: &mut Route, attribute: &Value) -> Result<()> {
    match attribute["type"].as_u64().context("no type")? {
        1 => {
            route.origin = match attribute["value"].as_u64() {
                Some(0) => Origin::Igp,
                Some(1) => Origin::Egp,
                _ => Origin::Incomplete,
            }
        }
        2 => {
            for segment in elements(&attribute["as_paths"]) {
                for asn in elements(&segment["asns"]) {
                    route.as_path.push(number(asn)?);
                }
            }
        }
        3 | 14 => route.add_next_hop(attribute["nexthop"].as_str().context("no address")?)?,
        4 => route.med = Some(number(&attribute["metric"])?),
        5 => route.local_pref = Some(number(&attribute["value"])?),
        8 => {
            for community in elements(&attribute["communities"]) {
                let community = number(community)?;
                route.communities.push(format!("{}:{}", community >> 16, community & 0xffff));
            }
        }
        16 => {
            route.extended_communities =
                elements(&attribute["value"]).map(Value::to_string).collect()
        }
        32 => {
            for community in elements(&attribute["value"]) {
                let part = |key: &str| number(&community[key]);
                let text =
                    format!("{}:{}:{}", part("ASN")?, part("LocalData1")?, part("LocalData2")?);
                route.large_communities.push(text);
            }
        }
        _ => {}
    }
    Ok(())
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> Result<u32> {
    Ok(u32::try_from(value.as_u64().context("not a number")?)?)
}
