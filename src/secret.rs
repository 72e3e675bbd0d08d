//! Keys that sign what goes to peers. The configuration says where each is kept, and never what it
//! is.
#![expect(clippy::disallowed_methods, reason = "driver: reads files")]

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where a key is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Secret {
    /// A file; a newline at its end does not count
    File(PathBuf),
    /// A credential that systemd passes to the service
    Credential(String),
}

/// What a key is.
#[derive(Clone, Eq, PartialEq)]
pub struct Key(Vec<u8>);

impl Key {
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// Its octets, at least one.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key") // and not what it is
    }
}

impl Secret {
    /// As the configuration has it, in keys that begin with `what`: "password-file /etc/key".
    #[must_use]
    pub fn written(&self, what: &str) -> String {
        match self {
            Self::File(path) => format!("{what}-file {}", path.display()),
            Self::Credential(name) => format!("{what}-credential {name}"),
        }
    }

    /// Reads a key of at most `longest` octets. A file may be where nobody answers: not for a
    /// thread that must go on.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is empty, or longer than that.
    pub fn read(&self, longest: usize) -> io::Result<Key> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => {
                let folder = std::env::var("CREDENTIALS_DIRECTORY").map_err(|_| {
                    io::Error::other("systemd passed no credentials (LoadCredential= in the unit)")
                })?;
                Path::new(&folder).join(name)
            }
        };
        // More than any key is enough to say that it is too long.
        let mut octets = Vec::new();
        File::open(path)?.take(4096).read_to_end(&mut octets)?;
        if octets.last() == Some(&b'\n') {
            octets.pop();
            octets.pop_if(|octet| *octet == b'\r');
        }
        match octets.len() {
            0 => Err(io::Error::other("it is empty")),
            length if length > longest => {
                Err(io::Error::other(format!("longer than {longest} octets")))
            }
            _ => Ok(Key(octets)),
        }
    }
}
