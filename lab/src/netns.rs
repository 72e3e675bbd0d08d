//! A network namespace: one machine of the lab.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::panic;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

use crate::site::{Site, make_directory};

/// What every machine of the lab is set to: it forwards, spreads flows over equal paths by their
/// ports as the routers of a fabric do, accepts asymmetric paths, and uses IPv6 addresses at once.
const SYSCTLS: [(&str, &str); 9] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/fib_multipath_hash_policy", "1"),
    ("net/ipv6/fib_multipath_hash_policy", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
];

/// A network namespace of one lab. Clones are the same namespace; it is deleted when the last one
/// is dropped.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    site: Arc<Site>,
    short_name: String,
    name: String,
    file: File,
}

impl Namespace {
    /// Makes the namespace `<lab>-<name>` and its directory.
    pub fn create(site: &Arc<Site>, short_name: &str) -> Result<Self> {
        let name = format!("{}-{short_name}", site.name());
        ensure!(
            !path_of(&name).exists(),
            "there is a network namespace {name} already, and it is not ours"
        );
        site.record(format_args!("namespace {name}"))?;
        complete(site.recorded("errand", short_name).args(["ip", "netns", "add", &name]))?;
        let file = File::open(path_of(&name))?;
        let inner = Inner { site: site.clone(), short_name: short_name.to_owned(), name, file };
        let namespace = Self(Arc::new(inner));
        make_directory(&namespace.directory())?;
        for (key, value) in SYSCTLS {
            namespace.set_sysctl(key, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name that `ip netns` shows, like `vipcast-host1`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name within the lab, like `host1`.
    pub fn short_name(&self) -> &str {
        &self.0.short_name
    }

    /// The lab it belongs to.
    pub fn site(&self) -> &Arc<Site> {
        &self.0.site
    }

    /// Where what runs in it has its configurations, sockets and logs.
    pub fn directory(&self) -> PathBuf {
        self.0.site.directory().join(&self.0.short_name)
    }

    /// A command that will run in this namespace, in a session of its own (so that Ctrl-C does not
    /// reach it and all its descendants can be found). Start it with `output` or, for what stays,
    /// as a [`Process`](crate::process::Process).
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setsid");
        command.args(["ip", "netns", "exec", &self.0.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end and gives its standard output; an error if it fails.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        complete(self.command(program).args(arguments))
    }

    /// Runs lines of `ip` commands, like `link set lo up`, and stops at the first that fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.feed("ip", &["-batch", "-"], lines)
    }

    /// Runs a command with this standard input; an error if it fails.
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) -> Result<()> {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let written = child.stdin.take().context("no standard input")?.write_all(input.as_bytes());
        let output = child.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{program} in {}: {}\n{input}",
            self.name(),
            complaint.trim()
        );
        written.with_context(|| format!("cannot write to {program}"))
    }

    /// Sets a sysctl under `/proc/sys/net`, like `net/ipv4/ip_forward`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.enter(|| fs::write(format!("/proc/sys/{key}"), value))?
            .with_context(|| format!("cannot set {key} to {value} in {}", self.name()))
    }

    /// Runs a closure on a thread inside the namespace; sockets opened there stay in it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside =
                scope.spawn(|| setns(&self.0.file, CloneFlags::CLONE_NEWNET).map(|()| work()));
            inside.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        })
        .with_context(|| format!("cannot enter {}", self.name()))
    }

    /// Starts a thread that lives inside the namespace.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let namespace = self.clone();
        let inside = move || {
            setns(&namespace.0.file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter {}", namespace.name()))?;
            drop(namespace);
            Ok(work())
        };
        let name = format!("in {}", self.short_name());
        thread::Builder::new().name(name).spawn(inside).context("cannot start a thread")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.site.is_ours() {
            return;
        }
        if let Err(error) = complete(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("lab: {error:#}");
        }
    }
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Runs a command to its end: its standard output, or an error with all that it wrote.
pub(crate) fn complete(command: &mut Command) -> Result<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let line = line.join(" ");
    let output = command.output().with_context(|| format!("cannot run {line}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{line}: {}: {}{}", output.status, text.trim(), complaint.trim());
    }
    Ok(text)
}
