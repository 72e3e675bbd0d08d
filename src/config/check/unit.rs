//! The key of a check with `unit`.
use crate::check::Probe;
use crate::check::unit::Unit;
use crate::config::table::Table;
use crate::config::unit;

/// Which unit.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    Some(Unit { name: unit::name(table)? }.into())
}
