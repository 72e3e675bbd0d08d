//! `[peer.*]`
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::bgp::{ASNS, BGP_PORT, PORTS, Profile, usable};
use super::problem::{Place, Problem};
use super::table::{Located, Table, untext};
use super::value::{Text, WrittenRemoteAsn};
use super::{Bgp, Named, Peer, Peers, resolve};
use crate::bfd::sessions::{Config as BfdConfig, Hops};
use crate::bgp::connection::{self, RemoteAsn};
use crate::bgp::peer;
use crate::bgp::transport::{Password, Transport};
use crate::route::Asn;

const HOLD_TIME: Duration = Duration::from_secs(90);
const CONNECT_RETRY_TIME: Duration = Duration::from_secs(5);

/// `[peer.*]`
pub(super) fn peers(
    named: Named<'_>,
    bgp: Option<&Bgp>,
    profiles: &BTreeMap<String, Profile>,
) -> Peers {
    let mut peers = Peers::new();
    let mut addresses: BTreeMap<IpAddr, Place> = BTreeMap::new();
    for (name, (place, table)) in named {
        let (value, address) = peer(table, bgp, profiles, &addresses);
        if let Some(address) = address {
            addresses.entry(address.value).or_insert(address.place);
        }
        if let Some(value) = value {
            peers.insert(name.into(), Located { value, place });
        }
    }
    peers
}

/// One peer, and its address even where the rest cannot be used.
fn peer(
    mut table: Table<'_>,
    bgp: Option<&Bgp>,
    profiles: &BTreeMap<String, Profile>,
    taken: &BTreeMap<IpAddr, Place>,
) -> (Option<Peer>, Option<Located<IpAddr>>) {
    table.later(&["interface", "ttl-security", "vrf", "tcp-ao", "dual-stack", "graceful-restart"]);
    let address = table.required::<Text<IpAddr>>("address", "\"10.0.0.1\"").map(untext);
    let asns = asns(&mut table, bgp);
    let session = timers(&mut table);
    let connect_retry_time = connect_retry_time(&mut table);
    let port = table.number("port", PORTS).map_or(BGP_PORT, |port| port.value);
    let source_address = table.optional::<Text<IpAddr>>("source-address").map(untext);
    let multihop = table.number::<u8>("multihop", 1..=255).map(|ttl| ttl.value);
    let password = password(&mut table);
    let passive = table.or("passive", false);
    let description = table.optional("description").map(|text| text.value);
    let profile = table.optional::<String>("bfd").and_then(|name| {
        resolve(&table, "bfd", &name, profiles.iter().map(|(name, p)| (name.as_str(), *p)))
    });
    check_addresses(&table, address.as_ref(), source_address.as_ref(), taken);
    table.finish();

    let (Some(written), Some((local_asn, remote_asn))) = (&address, asns) else {
        return (None, address);
    };
    let external = match remote_asn {
        RemoteAsn::Number(asn) => asn != local_asn,
        RemoteAsn::External => true,
        RemoteAsn::Internal => false,
    };
    let source_address = source_address.map(|source| source.value);
    let (hold_time, keepalive_time) = session;
    let bfd = profile.map(|Profile { session, minimum_ttl }| {
        let (hops, minimum_ttl) = match multihop {
            None => (Hops::Single, 255), // RFC 5881 §5
            Some(_) => (Hops::Multi, minimum_ttl),
        };
        BfdConfig { remote: written.value, source: source_address, hops, minimum_ttl, session }
    });
    let ttl = multihop.unwrap_or(if external { 1 } else { 255 });
    let transport = Transport { address: written.value, port, source_address, ttl, password };
    let session = connection::Config { local_asn, remote_asn, hold_time, keepalive_time };
    let bgp = peer::Config { transport, session, connect_retry_time, passive };
    (Some(Peer { bgp, bfd, description }), address)
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

/// Hold time and keepalive time (RFC 4271 §4.2, §10).
fn timers(table: &mut Table<'_>) -> (Duration, Option<Duration>) {
    let hold_time = table.optional::<Text<Duration>>("hold-time");
    let keepalive_time = table.optional::<Text<Duration>>("keepalive-time");
    let hold = hold_time.as_ref().map_or(HOLD_TIME, |time| time.value.0);
    if let Some(written) = hold_time {
        let whole = hold.subsec_nanos() == 0;
        let in_range = hold.is_zero() || (3..=65535).contains(&hold.as_secs());
        if !whole || !in_range {
            let message = "`hold-time` must be \"0s\" or whole seconds from 3s to 65535s";
            table.problem(Problem::new(&written.place, message).help("RFC 4271 §4.2"));
        }
    }
    if let Some(written) = &keepalive_time {
        let keepalive = written.value.0;
        if keepalive.is_zero() || keepalive > hold / 3 {
            let message =
                format!("`keepalive-time` must be at most a third of `hold-time` ({hold:?})");
            table.problem(Problem::new(&written.place, message).help("RFC 4271 §4.4"));
        }
    }
    (hold, keepalive_time.map(|time| time.value.0))
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

fn password(table: &mut Table<'_>) -> Option<Password> {
    let file = table.optional::<PathBuf>("password-file");
    let credential = table.optional::<String>("password-credential");
    if let (Some(file), Some(credential)) = (&file, &credential) {
        let message = "`password-credential` and `password-file` exclude each other";
        let problem = Problem::new(&credential.place, message);
        table.problem(problem.also(&file.place, "the other one"));
    }
    let file = file.map(|path| Password::File(path.value));
    file.or(credential.map(|name| Password::Credential(name.value)))
}

fn check_addresses(
    table: &Table<'_>,
    address: Option<&Located<IpAddr>>,
    source: Option<&Located<IpAddr>>,
    taken: &BTreeMap<IpAddr, Place>,
) {
    let Some(address) = address else { return };
    if let Some(first) = taken.get(&address.value) {
        let message = format!("two peers have the address {}", address.value);
        let problem = Problem::new(&address.place, message);
        table.problem(problem.also(first, "the other one"));
    }
    if address.value.is_unspecified() || address.value.is_multicast() {
        let message = format!("{} is not an address of a host", address.value);
        table.problem(Problem::new(&address.place, message));
    }
    if let IpAddr::V6(ip) = address.value
        && ip.is_unicast_link_local()
    {
        let message = "a link-local peer needs its interface, which is not yet supported";
        table.problem(Problem::new(&address.place, message).help("use its global address"));
    }
    if let Some(source) = source
        && source.value.is_ipv4() != address.value.is_ipv4()
    {
        let message = "`source-address` and `address` must be of one family";
        table.problem(Problem::new(&source.place, message));
    }
}
