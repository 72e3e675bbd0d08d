//! What a lab has on this machine while it runs, and shall not have left when it is gone.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use vipcast_lab::site::{Site, directory_of};

/// What a lab has on this machine.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Traces {
    directory: Option<PathBuf>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) processes: Vec<String>,
}

/// Looks for traces of a lab; `sessions` are those that its processes were started in.
pub(crate) fn traces(name: &str, sessions: &[u32]) -> Result<Traces> {
    let directory = directory_of(name)?;
    let mut traces = Traces::default();
    for entry in fs::read_dir("/run/netns").into_iter().flatten() {
        let namespace = entry?.file_name().to_string_lossy().into_owned();
        traces.namespaces.extend(namespace.starts_with(&format!("{name}-")).then_some(namespace));
    }
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // It may end while it is looked at.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let mentioned = String::from_utf8_lossy(&command).contains(&*directory.to_string_lossy());
        let (_, fields) = stat.rsplit_once(") ").context("odd stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // The session of one that is just ending is -1.
        let session = fields.get(3).context("short stat")?.parse();
        let ours = mentioned || session.is_ok_and(|session| sessions.contains(&session));
        if ours && !matches!(fields[0], "Z" | "X") {
            traces.processes.push(stat);
        }
    }
    let being_removed = directory.with_extension("gone");
    traces.directory = [directory, being_removed].into_iter().find(|path| path.exists());
    Ok(traces)
}

/// The sessions of a lab that runs.
pub(crate) fn sessions(name: &str) -> Vec<u32> {
    let recorded = Site::processes(name).unwrap_or_default();
    recorded.iter().map(|process| process.pid).collect()
}
