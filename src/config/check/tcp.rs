//! The keys of a check with `tcp`.
use super::endpoint::endpoint;
use crate::check::Probe;
use crate::check::tcp::Tcp;
use crate::config::table::Table;
use crate::config::value::Octets;

/// Where to connect, what to say and to hear.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let endpoint = endpoint(table, "tcp");
    let send = table.optional::<Octets>("send").map(|send| send.value.0);
    let expect = table.optional::<Octets>("expect").map(|expect| expect.value.0);
    Some(Tcp { endpoint: endpoint?, send, expect }.into())
}
