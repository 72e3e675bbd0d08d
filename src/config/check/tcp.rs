//! The keys of a check with `tcp`.
use super::endpoint::endpoint;
use crate::check::Probe;
use crate::check::tcp::Tcp;
use crate::config::table::Table;

/// Where to connect, what to say and to hear.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let endpoint = endpoint(table, "tcp");
    let send = table.optional::<String>("send").map(|text| text.value);
    let expect = table.optional::<String>("expect").map(|text| text.value);
    Some(Tcp { endpoint: endpoint?, send, expect }.into())
}
