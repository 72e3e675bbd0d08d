//! `[bgp]`
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Bgp;
use super::peer::Peers;
use super::problem::{Place, Problem};
use super::table::{Located, Reading, Table, untext};
use super::value::Text;
use crate::bgp::connection::Restart;
use crate::route::Asn;

pub(super) const BGP_PORT: u16 = 179;
pub(super) const PORTS: RangeInclusive<i64> = 1..=65535;
pub(super) const ASNS: RangeInclusive<i64> = 1..=4_294_967_295;
/// Long enough for systemd to start the daemon again and for a router that was refused once; no
/// longer, since a host that dies without BFD is missed for this much longer (RFC 8538 §4).
const RESTART_TIME: Duration = Duration::from_secs(20);

/// `[bgp]`
pub(super) fn bgp(mut table: Table<'_>) -> Option<Bgp> {
    table.needs("local-asn", "65100");
    let local_asn = table.number::<u32>("local-asn", ASNS);
    let router_id = table.optional::<Text<Ipv4Addr>>("router-id").map(untext);
    let port = table.number("port", PORTS).map_or(BGP_PORT, |port| port.value);
    let graceful_restart = table.or("graceful-restart", true);
    let restart = restart(&mut table);
    if let Some(id) = &router_id
        && (id.value.is_unspecified() || id.value.is_multicast() || id.value.is_broadcast())
    {
        let message = format!("`router-id` {} is not an address of a host", id.value);
        table.problem(Problem::new(&id.place, message));
    }
    let asn = local_asn.and_then(|asn| usable(&table, &asn, "local-asn"));
    table.finish();
    let router_id = router_id.map(|id| id.value);
    Some(Bgp { local_asn: asn?, router_id, port, restart, graceful_restart })
}

/// RFC 4724 §3 and RFC 9494 §3 have twelve and 24 bits for them.
fn restart(table: &mut Table<'_>) -> Restart {
    let mut seconds = |key, range: RangeInclusive<u64>, default| {
        let Some(written) = table.optional::<Text<Duration>>(key) else { return default };
        let (Text(time), place) = (written.value, written.place);
        if time.subsec_nanos() != 0 || !range.contains(&time.as_secs()) {
            let (first, last) = (range.start(), range.end());
            let message = format!("`{key}` must be from {first} to {last} whole seconds");
            table.problem(Problem::new(&place, message));
        }
        time
    };
    Restart {
        time: seconds("restart-time", 1..=4095, RESTART_TIME),
        long_lived: seconds("long-lived-stale-time", 0..=0x00ff_ffff, Duration::ZERO),
    }
}

/// A router ID can only be chosen among IPv4 addresses.
pub(super) fn check_router_id(reading: &Reading, bgp: &Bgp, place: &Place, peers: &Peers) {
    let known = !reading.incomplete.get() && peers.all.values().all(Option::is_some);
    let mut remotes = peers.all.values().flatten().map(|peer| &peer.bgp.transport.remote);
    let has_peers = !peers.all.is_empty();
    if known && has_peers && bgp.router_id.is_none() && remotes.all(|remote| !remote.is_ipv4()) {
        let message = "[bgp] needs `router-id`, since no peer has an IPv4 address";
        let help = "write router-id = \"10.0.0.21\", with a number that no other router has";
        reading.problems.push(Problem::new(place, message).help(help));
    }
}

/// An AS number that is not reserved.
pub(super) fn usable(table: &Table<'_>, asn: &Located<u32>, key: &str) -> Option<Asn> {
    let number = Asn(asn.value);
    let Some(rule) = number.reserved() else { return Some(number) };
    let message = format!("`{key}` {number} is reserved ({rule})");
    let help = "private AS numbers: 64512 to 65534 and 4200000000 to 4294967294 (RFC 6996)";
    table.problem(Problem::new(&asn.place, message).help(help));
    None
}
