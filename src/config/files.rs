//! Reads the configuration's files: the main one, then `conf.d/*.toml` beside it in name order.
#![expect(clippy::disallowed_methods, reason = "driver: reads files")]

use std::path::{Path, PathBuf};
use std::{io, iter};

use super::problem::{Place, Problem, Source};
use crate::sys;

/// Reads all files that make up the configuration, and says what is wrong with those that are no
/// text; a missing `conf.d` is no problem.
pub(super) fn read(main: &Path) -> (Vec<Source>, Vec<Problem>) {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let others = list(&folder).unwrap_or_else(|error| {
        problems.push(unreadable(&folder, &error));
        Vec::new()
    });
    for path in iter::once(main.to_owned()).chain(others) {
        match read_referenced(&path) {
            Err(error) => problems.push(unreadable(&path, &error)),
            Ok(octets) => {
                problems.extend(not_text(&octets, sources.len()));
                let text = String::from_utf8_lossy(&octets).into_owned();
                sources.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    (sources, problems)
}

/// Reads a file that a key names.
pub(super) fn read_referenced(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for somebody to write.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    std::fs::read(path)
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // Editors and package managers leave other files, and hidden ones, beside.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let reason = sys::describe(error);
    Problem::without_place(format!("cannot read {}: {reason}", path.display()))
}

/// The first octet that is not UTF-8. In the text, U+FFFD stands for it.
fn not_text(octets: &[u8], source: usize) -> Option<Problem> {
    let start = std::str::from_utf8(octets).err()?.valid_up_to();
    let octet = octets.get(start)?;
    let place = Place::new(source, start..start + char::REPLACEMENT_CHARACTER.len_utf8());
    let problem = Problem::new(&place, format!("not UTF-8: octet 0x{octet:02x}"));
    Some(problem.help("save the file as UTF-8"))
}
