//! Where a peer is: `address`, `interface` and `source-address` of `[peer.*]`.
use std::net::{IpAddr, Ipv6Addr};

use super::peer::Peers;
use super::problem::Problem;
use super::table::{Located, Table, untext};
use super::value::Text;
use super::{address, name};
use crate::bgp::transport::Remote;
use crate::route::PeerName;

/// What is of no use for a peer that is reached by the link-local addresses of one link.
const FOR_ROUTED_PEERS: [&str; 3] = ["source-address", "multihop", "vrf"];

/// Where it is, and our end.
pub(super) fn remote(
    table: &mut Table<'_>,
    name: &PeerName,
    others: &mut Peers,
) -> Option<(Remote, Option<IpAddr>)> {
    match table.has("interface") {
        None => {
            table
                .needs("address", "\"10.0.0.1\", or interface = \"eth0\" for the router on a link");
        }
        Some(interface) => {
            for (key, place) in
                FOR_ROUTED_PEERS.iter().filter_map(|key| Some((key, table.has(key)?)))
            {
                let message = format!("`{key}` has no use with `interface`");
                let help =
                    "leave it out: the session is between the link-local addresses of a link";
                let problem = Problem::new(&place, message).also(&interface, "the interface");
                table.problem(problem.help(help));
            }
        }
    }
    let interface = table.optional::<String>("interface");
    let address = table.optional::<Text<IpAddr>>("address").map(untext);
    let source = table.optional::<Text<IpAddr>>("source-address").map(untext);
    let remote = match interface {
        Some(interface) => on_link(table, name, &interface, address, others),
        None => routed(table, name, &address?, source.as_ref(), others),
    };
    if let Some(source) = &source {
        let what = "our address for a session";
        let problem = address::problem(source.value.into(), &source.place, what);
        problem.into_iter().for_each(|problem| table.problem(problem));
        let located = Located { value: name.clone(), place: source.place.clone() };
        others.sources.entry(source.value).or_insert(located);
    }
    Some((remote?, source.map(|source| source.value)))
}

/// A peer that is found by routing.
fn routed(
    table: &Table<'_>,
    name: &PeerName,
    address: &Located<IpAddr>,
    source: Option<&Located<IpAddr>>,
    others: &mut Peers,
) -> Option<Remote> {
    if let Some(first) = others.addresses.get(&address.value) {
        let message = format!("two peers have the address {}", address.value);
        table.problem(Problem::new(&address.place, message).also(&first.place, "the other one"));
    }
    let located = Located { value: name.clone(), place: address.place.clone() };
    others.addresses.entry(address.value).or_insert(located);
    if link_local(address.value).is_some() {
        let message = "a link-local address means nothing without its interface";
        let help = "write interface = \"eth0\" beside it, with the interface that the peer is on";
        table.problem(Problem::new(&address.place, message).help(help));
        return None;
    }
    if let Some(problem) = address::problem(address.value.into(), &address.place, "a peer") {
        table.problem(problem);
        return None;
    }
    if let Some(source) = source {
        let message = "`source-address` and `address` must be";
        let problem = |what| Problem::new(&source.place, format!("{message} {what}"));
        if source.value == address.value {
            table.problem(problem("different"));
        } else if source.value.is_ipv4() != address.value.is_ipv4() {
            table.problem(problem("of one family"));
        }
    }
    Some(Remote::Address(address.value))
}

/// A peer on a link, by link-local addresses.
fn on_link(
    table: &Table<'_>,
    name: &PeerName,
    interface: &Located<String>,
    address: Option<Located<IpAddr>>,
    others: &mut Peers,
) -> Option<Remote> {
    name::interface_problem(interface).into_iter().for_each(|problem| table.problem(problem));
    let remote = match address {
        None => Remote::Router(interface.value.clone()),
        Some(Located { value, place }) => {
            let Some(address) = link_local(value) else {
                let message = format!("{value} is not a link-local address");
                let help = "with `interface`, `address` is the peer's link-local address there, or \
                            is left out, and then the router on that link is found; a peer at any \
                            other address needs no interface";
                let problem = Problem::new(&place, message).also(&interface.place, "the interface");
                table.problem(problem.help(help));
                return None;
            };
            Remote::LinkLocal(address, interface.value.clone())
        }
    };
    let there = others.links.entry(interface.value.clone()).or_default();
    let same = |other: &Remote| {
        let (ours, theirs) = (remote.address(), other.address());
        ours.is_none() || theirs.is_none() || ours == theirs
    };
    if let Some((_, first)) = there.iter().find(|(other, _)| same(other)) {
        let message = format!("two peers on interface {} cannot be told apart", interface.value);
        let help = "write the link-local address of each: address = \"fe80::1\"";
        let problem = Problem::new(&interface.place, message).also(&first.place, "the other one");
        table.problem(problem.help(help));
    }
    let located = Located { value: name.clone(), place: interface.place.clone() };
    there.push((remote.clone(), located));
    Some(remote)
}

fn link_local(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(ip) => ip.is_unicast_link_local().then_some(ip),
        IpAddr::V4(_) => None,
    }
}
