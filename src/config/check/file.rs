//! The keys of a check with `file`.
use std::path::PathBuf;

use crate::check::Probe;
use crate::check::file::File;
use crate::config::problem::Problem;
use crate::config::table::Table;

/// Which file, and what it means.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let path = table.optional::<PathBuf>("file");
    let present = table.or("present", true);
    let path = path?;
    if !path.value.is_absolute() {
        let message = "`file` must be a path from the root: the daemon's own folder means nothing";
        table.problem(Problem::new(&path.place, message));
    }
    Some(File { path: path.value, present }.into())
}
