//! What `birdc` prints, as the words of [`super::state`].

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;

use super::{BfdSession, BfdState, Neighbour, Origin, Route, Session, SessionState};

/// From `show protocols all`: an unindented line a protocol, indented details below it.
pub(super) fn sessions(text: &str, neighbours: &[Neighbour]) -> Result<Vec<Session>> {
    let mut sessions: Vec<Session> = neighbours.iter().map(|n| Session::idle(&n.name)).collect();
    let mut current = None;
    let mut channel = "";
    for line in text.lines() {
        if !line.starts_with(' ') {
            let protocol = line.split_whitespace().next();
            current =
                sessions.iter().position(|session| Some(session.neighbour.as_str()) == protocol);
            continue;
        }
        let Some(session) = current.map(|index| &mut sessions[index]) else { continue };
        let line = line.trim();
        if let Some(name) = line.strip_prefix("Channel ") {
            channel = name;
        } else if let Some((key, value)) = line.split_once(':') {
            let value = value.trim();
            match key {
                "BGP state" => session.state = SessionState::parse(value)?,
                "Last error" => session.last_error = Some(value.to_owned()),
                "Routes" if channel == "ipv4" => session.ipv4_received = leading_number(value)?,
                "Routes" if channel == "ipv6" => session.ipv6_received = leading_number(value)?,
                _ => {}
            }
        }
    }
    Ok(sessions)
}

/// From `show bfd sessions`: a table of address, interface, state, since, interval and timeout.
pub(super) fn bfd_sessions(text: &str) -> Result<Vec<BfdSession>> {
    let mut sessions = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(Ok(peer)) = words.first().map(|word| word.parse::<IpAddr>()) else { continue };
        let [_, _, state, .., interval, timeout] = words[..] else {
            anyhow::bail!("odd BFD session of BIRD: {line}");
        };
        sessions.push(BfdSession {
            peer,
            state: BfdState::parse(state)?,
            transmit_interval: seconds(interval)?,
            detection_time: seconds(timeout)?,
        });
    }
    Ok(sessions)
}

/// From `show route PREFIX all`: for each route a line with its protocol in brackets, then indented
/// attributes.
pub(super) fn routes(text: &str, prefix: IpNet) -> Result<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::new();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once('[')
            && !line.starts_with('\t')
        {
            let protocol = rest.split_whitespace().next().unwrap_or_default();
            let mut route = Route::bare(prefix);
            route.best = line.contains("] * (");
            route.neighbour = Some(protocol.trim_end_matches(']').to_owned());
            routes.push(route);
        } else if let Some(route) = routes.last_mut()
            && let Some((key, value)) = line.trim().split_once(": ")
        {
            attribute(route, key, value)
                .with_context(|| format!("odd attribute of BIRD: {line}"))?;
        }
    }
    for route in &mut routes {
        let own = route.neighbour.as_deref().is_some_and(|name| name.starts_with("announce_"));
        if own {
            route.neighbour = None;
        }
    }
    Ok(routes)
}

fn attribute(route: &mut Route, key: &str, value: &str) -> Result<()> {
    match key {
        "BGP.origin" => route.origin = Origin::parse(value)?,
        "BGP.as_path" => {
            let numbers =
                value.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
            route.as_path = numbers.map(str::parse).collect::<Result<_, _>>()?
        }
        "BGP.next_hop" => {
            for word in value.split_whitespace() {
                route.add_next_hop(word)?;
            }
        }
        "BGP.med" => route.med = Some(value.parse()?),
        "BGP.local_pref" => route.local_pref = Some(value.parse()?),
        "BGP.community" => route.communities = tuples(value),
        "BGP.large_community" => route.large_communities = tuples(value),
        "BGP.ext_community" => {
            route.extended_communities = value.split(") (").map(unbracketed).collect()
        }
        _ => {}
    }
    Ok(())
}

/// `(65000,7) (65000,100)` as `65000:7` and `65000:100`; large communities have spaces after their
/// commas.
fn tuples(value: &str) -> Vec<String> {
    value
        .split(") (")
        .map(|tuple| unbracketed(tuple).replace(", ", ":").replace(',', ":"))
        .collect()
}

fn unbracketed(tuple: &str) -> String {
    tuple.trim_matches(['(', ')', ' ']).to_owned()
}

/// The number that begins this.
pub(super) fn leading_number(value: &str) -> Result<usize> {
    value.split(' ').next().unwrap_or_default().parse().context("BIRD shows no number of routes")
}

fn seconds(word: &str) -> Result<Duration> {
    Ok(Duration::from_secs_f64(word.parse()?))
}
