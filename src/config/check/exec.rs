//! The keys of a check with `exec`.
use crate::check::Probe;
use crate::check::exec::Exec;
use crate::config::program::program;
use crate::config::table::Table;

/// What to run, and what its exit status means.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let program = program(table, "exec");
    let nagios = table.or("nagios", false);
    Some(Exec { program: program?, nagios }.into())
}
