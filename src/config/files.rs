//! Reads the configuration's files: the main one, then `conf.d/*.toml` beside it in name order.
#![expect(clippy::disallowed_methods, reason = "driver: reads files")]

use std::io;
use std::path::{Path, PathBuf};

use super::problem::{Error, Source};

/// Reads all files that make up the configuration.
///
/// # Errors
///
/// When a file cannot be read; a missing `conf.d` is no error.
pub(super) fn read(main: &Path) -> Result<Vec<Source>, Error> {
    let mut sources = vec![read_one(main)?];
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    for path in list(&folder).map_err(|error| unreadable(&folder, error))? {
        sources.push(read_one(&path)?);
    }
    Ok(sources)
}

/// Reads a file that a key names.
pub(super) fn read_referenced(path: &Path) -> io::Result<Vec<u8>> {
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

fn read_one(path: &Path) -> Result<Source, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    Ok(Source { path: path.display().to_string(), text })
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::Unreadable { path: path.display().to_string(), error }
}
