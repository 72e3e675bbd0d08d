//! The keys of a check with `udp`.
use super::endpoint::address;
use crate::check::Probe;
use crate::check::udp::Udp;
use crate::config::table::Table;
use crate::config::value::Octets;

/// What to send, and what to hear.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let to = address(table, "udp");
    table.needs("send", "\"…\", or { hex = \"…\" }: a server is heard only when it is spoken to");
    let send = table.optional::<Octets>("send");
    let expect = table.optional::<Octets>("expect").map(|expect| expect.value.0);
    let (target, origin) = to?;
    Some(Udp { target, origin, send: send?.value.0, expect }.into())
}
