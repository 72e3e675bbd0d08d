//! A container with systemd on a machine of the lab: systemd-nspawn in the machine's network
//! namespace.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::{Namespace, complete};
use crate::process::Process;
use crate::wait;

const SCRIPT: &str = include_str!("container.sh");
/// How long booting may take, on a very busy machine.
const BOOT: Duration = Duration::from_secs(120);
/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(30);
/// What a login shell of root has, and nothing of our own environment.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("DEBIAN_FRONTEND", "noninteractive"),
];

/// A running container; switched off when dropped.
#[derive(Debug)]
pub struct Container {
    process: Process,
    /// Its systemd, as a process of this machine.
    init: u32,
    namespace: Namespace,
    cgroup: String,
}

impl Container {
    /// Boots the system in the directory `root`, which is not written to: changes are in memory. It
    /// sees each directory of `binds` under the second name, to read.
    pub fn boot(namespace: &Namespace, root: &Path, binds: &[(&Path, &str)]) -> Result<Self> {
        let cgroup = namespace.name().to_owned();
        namespace.site().record(format_args!("cgroup {cgroup}"))?;
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", SCRIPT, "container", &cgroup]);
        command.args(["--boot", "--register=no", "--keep-unit", "--console=pipe"]);
        command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
        // Read only and volatile: several containers may have the same root.
        command.args(["--read-only", "--volatile=overlay", "--capability=CAP_NET_ADMIN"]);
        command.arg(format!("--network-namespace-path=/run/netns/{}", namespace.name()));
        command.arg(format!("--machine={}", namespace.name()));
        command.arg(format!("--directory={}", root.display()));
        for (from, to) in binds {
            command.arg(format!("--bind-ro={}:{to}", from.display()));
        }
        let process = Process::start(namespace, "container", &command)?;
        let mut container = Self { process, init: 0, namespace: namespace.clone(), cgroup };
        container.init = container
            .process
            .wait_until("systemd is started", BOOT, || Ok(find_init(container.process.pid())))?;
        container.process.wait_until("the container has booted", BOOT, || {
            let said = container.command("systemctl").arg("is-system-running").output()?.stdout;
            let state = String::from_utf8_lossy(&said).into_owned();
            Ok(["running", "degraded"].contains(&state.trim()).then_some(()))
        })?;
        Ok(container)
    }

    /// A command that will run in it, as root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setsid");
        command.args(["nsenter", "--all", "--target", &self.init.to_string(), "--"]);
        // Where the test is there need not be anything in the container.
        command
            .args(["env", "--chdir=/"])
            .arg(program)
            .env_clear()
            .envs(ENVIRONMENT)
            .stdin(Stdio::null());
        command
    }

    /// Runs a line of shell in it to its end and gives its standard output; an error if it fails.
    pub fn run(&self, line: &str) -> Result<String> {
        complete(self.command("sh").args(["-c", line]))
    }

    /// Where a file of it, with an absolute path, can be read and written from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.namespace.site().is_ours() {
            return;
        }
        let gone = self.process.kill().and_then(|()| {
            wait::until_true("the container is gone", GONE, || Ok(remove_cgroup(&self.cgroup)))
        });
        if let Err(error) = gone {
            eprintln!("lab: {error:#}");
        }
    }
}

/// The systemd that a container's process leads to: the child of systemd-nspawn, its child.
fn find_init(process: u32) -> Option<u32> {
    let nspawn = children(process).into_iter().next()?;
    let is_systemd = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim_end() == "systemd")
    };
    children(nspawn).into_iter().find(is_systemd)
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Removes the container's control groups; not as long as there is a process in one.
fn remove_cgroup(name: &str) -> bool {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let places = places.map(|place| Path::new(place).join(name));
    places.iter().all(|place| !place.exists() || remove_tree(place).is_ok())
}

fn remove_tree(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory).with_context(|| format!("cannot remove {}", directory.display()))
}
