//! The keys of a check with `tcp`.
use std::net::SocketAddr;

use super::NO_PORT;
use crate::check::Probe;
use crate::check::tcp::Tcp;
use crate::config::problem::Problem;
use crate::config::table::{Table, untext};
use crate::config::value::Text;

/// Where to connect, what to say and to hear.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let target = table.optional::<Text<SocketAddr>>("tcp").map(untext);
    if let Some(target) = target.as_ref().filter(|target| target.value.port() == 0) {
        table.problem(Problem::new(&target.place, NO_PORT));
    }
    let send = table.optional::<String>("send").map(|text| text.value);
    let expect = table.optional::<String>("expect").map(|text| text.value);
    Some(Tcp { target: target?.value, send, expect }.into())
}
