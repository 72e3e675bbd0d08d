//! `on-up`, `on-down` and `on-drain` of `[service.*]`
use std::time::Duration;

use super::gate::{TICK, duration};
use super::problem::Problem;
use super::program::program;
use super::table::Table;
use crate::service::hooks::Config;

const TIMEOUT: Duration = Duration::from_secs(30);
const KEYS: [&str; 3] = ["on-up", "on-down", "on-drain"];

/// Takes the keys that go with it.
pub(super) fn hooks(table: &mut Table<'_>) -> Option<Box<Config>> {
    let is_written = KEYS.iter().any(|key| table.has(key).is_some());
    let [up, down, drain] = KEYS.map(|key| program(table, key));
    if let Some(place) = table.has("hook-timeout").filter(|_| !is_written) {
        let message = "`hook-timeout` has no use without `on-up`, `on-down` or `on-drain`";
        table.problem(Problem::new(&place, message));
    }
    let timeout = duration(table, "hook-timeout", TIMEOUT, TICK);
    is_written.then(|| Box::new(Config { up, down, drain, timeout }))
}
