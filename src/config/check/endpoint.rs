//! Where probes lead and where they come from: the keys that several kinds of checks share.
use std::net::{IpAddr, SocketAddr};

use super::NO_PORT;
use crate::check::socket::{Endpoint, Origin, Target};
use crate::config::name;
use crate::config::problem::Problem;
use crate::config::table::{Located, Table, untext};
use crate::config::value::Text;

/// What a stream is opened to, and how.
pub(super) fn endpoint(table: &mut Table<'_>, key: &'static str) -> Option<Endpoint> {
    let target = table.optional::<Text<Target>>(key).map(untext);
    let to = target.as_ref().map(|Located { value, .. }| match value {
        Target::Address(address) => To::Address(address.ip()),
        Target::Unix(_) => To::UnixSocket,
    });
    let origin = origin(table, to);
    let proxy_protocol = table.or("proxy-protocol", false);
    let Located { value: target, place } = target?;
    if let Target::Address(address) = target
        && address.port() == 0
    {
        table.problem(Problem::new(&place, NO_PORT));
    }
    Some(Endpoint { target, origin, proxy_protocol })
}

/// What datagrams are sent to, and where they come from.
pub(super) fn address(table: &mut Table<'_>, key: &'static str) -> Option<(SocketAddr, Origin)> {
    let target = table.optional::<Text<SocketAddr>>(key).map(untext);
    let origin = origin(table, target.as_ref().map(|target| To::Address(target.value.ip())));
    let Located { value: target, place } = target?;
    if target.port() == 0 {
        table.problem(Problem::new(&place, NO_PORT));
    }
    Some((target, origin))
}

/// What a probe is sent to, as far as its origin must go with it.
#[derive(Clone, Copy)]
pub(super) enum To {
    Address(IpAddr),
    UnixSocket,
}

/// Where a probe comes from; `to` is `None` where that is not known.
pub(super) fn origin(table: &mut Table<'_>, to: Option<To>) -> Origin {
    let source = table.optional::<Text<IpAddr>>("source-address").map(untext);
    let interface = table.optional::<String>("interface");
    for (key, place) in [
        ("source-address", source.as_ref().map(|source| &source.place)),
        ("interface", interface.as_ref().map(|interface| &interface.place)),
    ] {
        if let (Some(To::UnixSocket), Some(place)) = (to, place) {
            let message = format!("`{key}` has no use with a Unix socket");
            table.problem(Problem::new(place, message));
        }
    }
    if let Some(Located { value, place }) = &source {
        if let Some(To::Address(target)) = to
            && target.is_ipv4() != value.is_ipv4()
        {
            let message = "`source-address` and what is probed must be of one family";
            table.problem(Problem::new(place, message));
        }
        if value.is_unspecified() || value.is_multicast() {
            let message = format!("{value} cannot be where a probe comes from");
            table.problem(Problem::new(place, message));
        }
    }
    if let Some(interface) = &interface {
        name::interface_problem(interface).into_iter().for_each(|p| table.problem(p));
    }
    let address = source.map(|source| source.value);
    Origin { address, interface: interface.map(|interface| interface.value) }
}
