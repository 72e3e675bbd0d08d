//! The `file` probe: a file is there, or it is not.
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::driver::Wake;
use super::watch::Look;
use super::{Failure, Kind, Probing, Progress, Run, Shared};

/// Which file, and what it means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// A file of any kind; a symbolic link counts as what it leads to
    pub path: PathBuf,
    /// Whether it must be there, or must not
    pub present: bool,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let no = if self.present { "" } else { "no " };
        write!(f, "{no}file {}", self.path.display())
    }
}

impl Kind for File {
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn prepare(&self, shared: &mut Shared, wake: Wake) -> Result<Box<dyn Run>, Failure> {
        let watch = shared.watcher.watch(&self.path, wake);
        Ok(Box::new(Prepared { file: self.clone(), look: Look::new(), _watch: watch }))
    }
}

/// A file that is watched.
struct Prepared {
    file: File,
    look: Look,
    /// It is watched for as long as this is there
    _watch: Arc<Wake>,
}

impl Run for Prepared {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Prepared {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let File { path, present } = &self.file;
        let shown = path.display();
        let silence = format!("the file system of {shown} did not answer");
        *progress = Progress::Mismatch(silence);
        let is_there = self.look.look(path).await;
        let is_there =
            is_there.map_err(|error| Failure::io(&format!("cannot look at {shown}"), &error))?;
        match (is_there, present) {
            (true, false) => Err(Failure::new(format!("{shown} is there"))),
            (false, true) => Err(Failure::new(format!("{shown} is not there"))),
            (true, true) | (false, false) => Ok(()),
        }
    }
}
