//! What `birdc` of BIRD 2 and 3 prints, as the words of [`super::state`].

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
    // BIRD 3 calls them what they are called in its filters.
    let name = key.strip_prefix("BGP.").or_else(|| key.strip_prefix("bgp_"));
    match name.unwrap_or_default() {
        "origin" => route.origin = Origin::parse(value)?,
        "as_path" | "path" => {
            let numbers =
                value.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
            route.as_path = numbers.map(str::parse).collect::<Result<_, _>>()?
        }
        "next_hop" => {
            for word in value.split_whitespace() {
                route.add_next_hop(word)?;
            }
        }
        "med" => route.med = Some(value.parse()?),
        "local_pref" => route.local_pref = Some(value.parse()?),
        "community" => route.communities = tuples(value),
        "large_community" => route.large_communities = tuples(value),
        "ext_community" => {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BIRD_2: &str = "BIRD 2.0.12 ready.
Table master6:
2001:db8:5::5/128    unicast [host1 20:08:42.234] * (100) [AS65100i]
\tvia 2001:db8:1:1::1 on host1
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 65100 65100
\tBGP.next_hop: 2001:db8:1:1::1 fe80::1:1:1
\tBGP.med: 20
\tBGP.local_pref: 100
\tBGP.community: (65000,7) (65000,100)
\tBGP.large_community: (65000, 1, 100)
";
    const BIRD_3: &str = "BIRD 3.3.2 ready.
Table master6:
2001:db8:5::5/128    unicast [host1 20:08:42.234] * (100) [AS65100i]
\tvia 2001:db8:1:1::1 on host1
\tpreference: 100
\tfrom: 10.1.1.1
\tsource: BGP
\tbgp_origin: IGP
\tbgp_path: 65100 65100
\tbgp_next_hop: 2001:db8:1:1::1 fe80::1:1:1
\tbgp_med: 20
\tbgp_local_pref: 100
\tbgp_community: (65000,7) (65000,100)
\tbgp_large_community: (65000, 1, 100)
\tInternal route handling values: 0L 5G 0S id 1
";

    #[test]
    fn routes_are_read_in_the_words_of_either_bird() -> Result<()> {
        let prefix: IpNet = "2001:db8:5::5/128".parse()?;
        let expected = Route {
            neighbour: Some("host1".into()),
            best: true,
            next_hops: vec!["2001:db8:1:1::1".parse()?, "fe80::1:1:1".parse()?],
            origin: Origin::Igp,
            as_path: vec![65100, 65100],
            med: Some(20),
            local_pref: Some(100),
            communities: vec!["65000:7".into(), "65000:100".into()],
            large_communities: vec!["65000:1:100".into()],
            ..Route::bare(prefix)
        };
        for text in [BIRD_2, BIRD_3] {
            assert_eq!(routes(text, prefix)?, std::slice::from_ref(&expected), "{text}");
        }
        Ok(())
    }
}
