//! Keeps what the operator wants with services over restarts and reboots: a file for each in
//! `admin/` of the state directory. A file that cannot be read keeps its service down, since
//! somebody has taken it out.
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::route::ServiceName;
use crate::service::admin::{Admin, Mode};
use crate::sys;

/// Where it is, unless `STATE_DIRECTORY` says otherwise.
const STATE_DIRECTORY: &str = "/var/lib/vipcast";
const SUFFIX: &str = ".json";
/// A file that is being written, which counts for nothing.
const UNFINISHED: &str = ".new";

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) directory: PathBuf,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) wishes: Vec<(ServiceName, Admin)>,
    /// What could not be read
    pub(super) troubles: Vec<String>,
}

impl Store {
    /// In what systemd made for the service, or the default.
    pub(super) fn new() -> Self {
        let given = std::env::var("STATE_DIRECTORY").unwrap_or_default();
        // Several are separated by colons (systemd.exec(5)); the first is ours.
        let state = match given.split(':').next() {
            Some(first) if !first.is_empty() => first,
            _ => STATE_DIRECTORY,
        };
        Self { directory: Path::new(state).join("admin") }
    }

    /// Reads all that is there. `now` is the time for what does not say since when it is there.
    pub(super) fn load(&self, now: &str) -> Found {
        let mut found = Found::default();
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return found,
            Err(error) => {
                found.troubles.push(self.unreadable(&self.directory, &error));
                return found;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.load_file(&entry.path(), now, &mut found),
                Err(error) => found.troubles.push(self.unreadable(&self.directory, &error)),
            }
        }
        found.wishes.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    fn load_file(&self, path: &Path, now: &str, found: &mut Found) {
        let name = path.file_name().and_then(OsStr::to_str).and_then(|n| n.strip_suffix(SUFFIX));
        let Some(name) = name.filter(|name| !name.is_empty()) else { return };
        let text = fs::read_to_string(path);
        let read = text.and_then(|text| Ok(serde_json::from_str(&text)?));
        let admin = read.unwrap_or_else(|error| {
            let trouble = self.unreadable(path, &error);
            let text = format!("{trouble}; somebody took the service {name} out, it stays down");
            found.troubles.push(text);
            Admin { mode: Mode::Down, reason: Some(trouble), since: now.to_owned() }
        });
        found.wishes.push((name.into(), admin));
    }

    /// Writes what is wanted with a service, or that nothing is, so that it is there after a crash
    /// of the host, too: as a whole, or not at all.
    ///
    /// # Errors
    ///
    /// When that cannot be written; what was there before stays.
    pub(super) fn save(&self, service: &ServiceName, admin: Option<&Admin>) -> io::Result<()> {
        let path = self.directory.join(format!("{service}{SUFFIX}"));
        let Some(admin) = admin else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => self.sync(),
            };
        };
        fs::create_dir_all(&self.directory)?;
        let unfinished = self.directory.join(format!("{service}{SUFFIX}{UNFINISHED}"));
        let written = write(&unfinished, admin).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            // Of no use, and perhaps the reason why there is no room.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        self.sync()
    }

    /// Where it keeps things, for messages.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> String {
        format!("cannot read {}: {}", path.display(), sys::describe(error))
    }
}

fn write(path: &Path, admin: &Admin) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(serde_json::to_string_pretty(admin)?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
