//! `[peer.*]`
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::accept::accept;
use super::authentication::authentication;
use super::bfd::Profile;
use super::bgp::{ASNS, BGP_PORT, PORTS, usable};
use super::problem::Problem;
use super::remote::remote;
use super::table::{Located, Table, untext};
use super::value::{Text, WrittenRemoteAsn};
use super::{Bfd, Bgp, Named, Peer, address, in_order, name, resolve};
use crate::bfd::sessions::Hops;
use crate::bgp::connection::{self, RemoteAsn};
use crate::bgp::peer;
use crate::bgp::transport::{Remote, Transport};
use crate::route::{Asn, Family, NextHops, PeerName, Role};

const HOLD_TIME: Duration = Duration::from_secs(90);
/// RFC 4271 §4.4
const SHORTEST_KEEPALIVE_TIME: Duration = Duration::from_secs(1);
const CONNECT_RETRY_TIME: Duration = Duration::from_secs(5);

/// What `[peer.*]` say.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// `None` for one that cannot be used, so that its name is defined all the same
    pub(super) all: BTreeMap<PeerName, Option<Peer>>,
    /// Whose address it is
    pub(super) addresses: BTreeMap<IpAddr, Located<PeerName>>,
    /// Who is on which interface
    pub(super) links: BTreeMap<String, Vec<(Remote, Located<PeerName>)>>,
    /// To whom it is our address
    pub(super) sources: BTreeMap<IpAddr, Located<PeerName>>,
    /// To whom it is the next hop of our routes
    pub(super) next_hops: BTreeMap<IpAddr, Located<PeerName>>,
}

/// `[peer.*]`
pub(super) fn peers(
    named: Named<'_>,
    bgp: Option<&Bgp>,
    profiles: &BTreeMap<String, Profile>,
) -> Peers {
    let mut peers = Peers::default();
    for (name, _, table) in in_order(named) {
        let name = PeerName::from(name);
        let peer = peer(table, &name, bgp, profiles, &mut peers);
        peers.all.insert(name, peer);
    }
    peers
}

fn peer(
    mut table: Table<'_>,
    name: &PeerName,
    bgp: Option<&Bgp>,
    profiles: &BTreeMap<String, Profile>,
    others: &mut Peers,
) -> Option<Peer> {
    let remote = remote(&mut table, name, others);
    let dual_stack = table.or("dual-stack", true);
    let asns = asns(&mut table, bgp);
    let (hold_time, keepalive_time) = timers(&mut table);
    let connect_retry_time = connect_retry_time(&mut table);
    let port = table.number("port", PORTS).map_or(BGP_PORT, |port| port.value);
    let multihop = table.number::<u8>("multihop", 1..=255);
    let minimum_ttl = minimum_ttl(&mut table, multihop.as_ref());
    let multihop = multihop.map(|ttl| ttl.value);
    let authentication = authentication(&mut table);
    let passive = table.or("passive", false);
    let next_hops = next_hops(&mut table, name, others);
    let description = description(&mut table);
    let role = role(&mut table, asns.as_ref());
    let graceful = table.or("graceful-restart", bgp.is_some_and(|bgp| bgp.graceful_restart));
    let restart = bgp.map(|bgp| bgp.restart).filter(|_| graceful);
    let accept = accept(&mut table);
    let vrf = vrf(&mut table);
    let no_echo = no_echo(multihop, remote.as_ref());
    let profile = profile(&mut table, profiles, no_echo);
    table.finish();

    let ((remote, source_address), (local_asn, remote_asn)) = (remote?, asns?);
    let external = match remote_asn {
        RemoteAsn::Number(asn) => asn != local_asn,
        RemoteAsn::External => true,
        RemoteAsn::Internal => false,
    };
    let bfd = profile.cloned().map(|profile| bfd(profile, multihop.is_some()));
    let ttl = match minimum_ttl {
        None => multihop.unwrap_or(if external { 1 } else { 255 }),
        Some(_) => 255, // RFC 5082 §3
    };
    let families = families(&remote, dual_stack);
    let transport =
        Transport { remote, port, source_address, vrf, ttl, minimum_ttl, authentication };
    let bfd_strict = profile.is_some_and(|profile| profile.strict);
    let session = connection::Config {
        local_asn,
        remote_asn,
        families,
        hold_time,
        keepalive_time,
        role,
        restart,
        bfd_strict,
    };
    let bgp = peer::Config { transport, session, connect_retry_time, passive };
    Some(Peer { bgp, bfd, next_hops, accept, description })
}

/// `bfd`, where Echo packets may not be possible for a reason.
fn profile<'a>(
    table: &mut Table<'_>,
    profiles: &'a BTreeMap<String, Profile>,
    no_echo: Option<&str>,
) -> Option<&'a Profile> {
    let name = table.optional::<String>("bfd")?;
    let known = profiles.iter().map(|(name, profile)| (name.as_str(), profile));
    let profile = resolve(table, "bfd", &name, known)?;
    if let Some(reason) = no_echo.filter(|_| profile.session.echo.is_some()) {
        let message = format!("`echo` of [bfd.{}] does not work here: {reason}", name.value);
        let problem = Problem::new(&name.place, message);
        table.problem(problem.help("leave it out, or use another [bfd.NAME]"));
    }
    Some(profile)
}

fn bfd(profile: Profile, multihop: bool) -> Bfd {
    let Profile { session, minimum_ttl, authentication, .. } = profile;
    let (hops, minimum_ttl) = match multihop {
        false => (Hops::Single, 255), // RFC 5881 §5
        true => (Hops::Multi, minimum_ttl),
    };
    Bfd { hops, minimum_ttl, session, authentication }
}

/// Why Echo packets cannot be used, if they cannot.
fn no_echo(
    multihop: Option<u8>,
    remote: Option<&(Remote, Option<IpAddr>)>,
) -> Option<&'static str> {
    let on_link = remote.is_some_and(|(remote, _)| remote.interface().is_some());
    match multihop {
        Some(_) => Some("packets come back only from a router that is one hop away (`multihop`)"),
        None if on_link => Some("routers do not forward link-local addresses"),
        None => None,
    }
}

/// `dual-stack`: both families, or that of the session's addresses alone.
fn families(remote: &Remote, dual_stack: bool) -> Vec<Family> {
    let own = if remote.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
    if dual_stack { Family::ALL.to_vec() } else { vec![own] }
}

/// RFC 9234 §4: roles are for what passes between two ASes.
fn role(table: &mut Table<'_>, asns: Option<&(Asn, RemoteAsn)>) -> Option<Role> {
    let Located { value: Text(role), place } = table.optional::<Text<Role>>("role")?;
    let internal = asns.is_some_and(|(local, remote)| match remote {
        RemoteAsn::Number(asn) => asn == local,
        RemoteAsn::Internal => true,
        RemoteAsn::External => false,
    });
    if internal {
        let message = "`role` has no use with a peer in our own AS";
        table.problem(Problem::new(&place, message).help("leave it out (RFC 9234 §4)"));
    }
    Some(role)
}

/// `ttl-security` (RFC 5082 §3): what is sent with 255 arrives with one less for every hop after
/// the first.
fn minimum_ttl(table: &mut Table<'_>, multihop: Option<&Located<u8>>) -> Option<u8> {
    let written = table.optional::<bool>("ttl-security").filter(|written| written.value)?;
    let hops = multihop.map_or(1, |hops| hops.value);
    if hops == u8::MAX {
        let message = "`ttl-security` has no use with multihop = 255";
        let help = "any TTL would do (RFC 5082 §3): write in multihop how many hops away it is";
        table.problem(Problem::new(&written.place, message).help(help));
    }
    Some(u8::MAX - (hops - 1))
}

fn asns(table: &mut Table<'_>, bgp: Option<&Bgp>) -> Option<(Asn, RemoteAsn)> {
    let own = table.number::<u32>("local-asn", ASNS);
    let remote = table.required::<WrittenRemoteAsn>("remote-asn", "65000");
    let local = match own {
        Some(asn) => usable(table, &asn, "local-asn"),
        None => bgp.map(|bgp| bgp.local_asn),
    };
    let Located { value: WrittenRemoteAsn(remote), place } = remote?;
    if let RemoteAsn::Number(Asn(number)) = remote {
        usable(table, &Located { value: number, place }, "remote-asn")?;
    }
    Some((local?, remote))
}

/// Hold time and keepalive time (RFC 4271 §4.2, §4.4, §10).
fn timers(table: &mut Table<'_>) -> (Duration, Option<Duration>) {
    let is_written = table.has("hold-time").is_some();
    let hold = table.optional::<Text<Duration>>("hold-time").map(untext);
    let is_valid = |hold: Duration| {
        hold.subsec_nanos() == 0 && (hold.is_zero() || (3..=65535).contains(&hold.as_secs()))
    };
    let valid = hold.as_ref().is_none_or(|hold| is_valid(hold.value));
    if let Some(hold) = hold.as_ref().filter(|_| !valid) {
        let message = "`hold-time` must be \"0s\" or whole seconds from 3s to 65535s";
        table.problem(Problem::new(&hold.place, message).help("RFC 4271 §4.2"));
    }
    // What cannot be used is nothing to compare with.
    let is_known = valid && hold.is_some() == is_written;
    let hold = hold.map_or(HOLD_TIME, |hold| hold.value);
    let keepalive = table.optional::<Text<Duration>>("keepalive-time").map(untext);
    if let Some(Located { value, place }) = &keepalive {
        let problem = |message: String| Problem::new(place, message);
        if is_known && hold.is_zero() {
            let message = "`keepalive-time` has no use with hold-time = \"0s\"";
            let help = "leave it out: no KEEPALIVEs are sent (RFC 4271 §4.4)";
            table.problem(problem(message.into()).help(help));
        } else if *value < SHORTEST_KEEPALIVE_TIME {
            let message = "`keepalive-time` must be at least 1s";
            table.problem(problem(message.into()).help("RFC 4271 §4.4"));
        } else if is_known && *value > hold / 3 {
            let message =
                format!("`keepalive-time` must be at most a third of `hold-time` ({hold:?})");
            table.problem(problem(message).help("RFC 4271 §4.4"));
        }
    }
    (hold, keepalive.map(|time| time.value))
}

fn connect_retry_time(table: &mut Table<'_>) -> Duration {
    let written = table.optional::<Text<Duration>>("connect-retry-time");
    let Some(Located { value: Text(time), place }) = written else { return CONNECT_RETRY_TIME };
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&time) {
        let message = "`connect-retry-time` must be from 1s to 1h";
        table.problem(Problem::new(&place, message));
    }
    time
}

/// `next-hop` and `next-hop-v6`.
fn next_hops(table: &mut Table<'_>, name: &PeerName, others: &mut Peers) -> NextHops {
    let ipv4 = table.optional::<Text<Ipv4Addr>>("next-hop").map(untext);
    let ipv6 = table.optional::<Text<Ipv6Addr>>("next-hop-v6").map(untext);
    let four = ipv4.as_ref().map(|hop| (IpAddr::V4(hop.value), &hop.place));
    let six = ipv6.as_ref().map(|hop| (IpAddr::V6(hop.value), &hop.place));
    for (hop, place) in four.into_iter().chain(six) {
        if let Some(problem) = address::problem(hop.into(), place, "a next hop") {
            table.problem(problem);
        } else if others.addresses.get(&hop).is_some_and(|owner| owner.value == *name) {
            let message = "the next hop of our routes cannot be the peer itself";
            let help = "leave the line out: then it is our address (RFC 4271 §5.1.3)";
            table.problem(Problem::new(place, message).help(help));
        }
        let located = Located { value: name.clone(), place: place.clone() };
        others.next_hops.entry(hop).or_insert(located);
    }
    let (ipv4, ipv6) = (ipv4.map(|hop| hop.value), ipv6.map(|hop| hop.value));
    NextHops { ipv4, ipv6, link_local: None }
}

fn vrf(table: &mut Table<'_>) -> Option<String> {
    let written = table.optional::<String>("vrf")?;
    name::interface_problem(&written).into_iter().for_each(|problem| table.problem(problem));
    if let Some(bfd) = table.has("bfd") {
        let message = "`bfd` is not yet supported together with `vrf`";
        let help = "this version cannot do it; leave one of them out";
        let problem = Problem::new(&bfd, message).also(&written.place, "the other one");
        table.problem(problem.help(help));
    }
    Some(written.value)
}

/// It is shown in the status, on one line.
fn description(table: &mut Table<'_>) -> Option<String> {
    let written = table.optional::<String>("description")?;
    if written.value.contains(char::is_control) {
        let message = "`description` must not have control characters in it";
        table.problem(Problem::new(&written.place, message));
    }
    Some(written.value)
}
