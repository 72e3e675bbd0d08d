//! vipcastd on a host of the fabric.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::Host;
use crate::netns::{Namespace, complete};
use crate::process::Process;
use crate::site::make_directory;

/// How long it may take to end by SIGTERM, with all its goodbyes.
const GRACE: Duration = Duration::from_secs(30);

/// What a service manager would tell its services, which must not reach a daemon of the lab.
const FOREIGN_ENVIRONMENT: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "CREDENTIALS_DIRECTORY",
];

/// A running or stopped vipcastd, with its configuration and state in the host's directory.
#[derive(Debug)]
pub struct Daemon {
    namespace: Namespace,
    binaries: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Daemon {
    /// Starts `vipcastd`, found in the directory `binaries`, with this configuration. It may not be
    /// ready yet.
    pub fn start(host: &Host, binaries: &Path, configuration: &str) -> Result<Self> {
        let mut daemon = Self::prepare(host, binaries, configuration)?;
        daemon.run()?;
        Ok(daemon)
    }

    /// Makes everything ready for [`run`](Self::run).
    pub fn prepare(host: &Host, binaries: &Path, configuration: &str) -> Result<Self> {
        Self::prepare_on(&host.namespace, binaries, configuration)
    }

    /// As [`prepare`](Self::prepare), on any machine.
    pub fn prepare_on(namespace: &Namespace, binaries: &Path, configuration: &str) -> Result<Self> {
        let directory = namespace.directory().join("vipcast");
        make_directory(&directory)?;
        for part in ["run", "state"] {
            make_directory(&directory.join(part))?;
        }
        let daemon = Self {
            namespace: namespace.clone(),
            binaries: binaries.to_owned(),
            directory,
            environment: Vec::new(),
            process: None,
        };
        daemon.write_configuration(configuration)?;
        Ok(daemon)
    }

    /// Sets a variable in the daemon's environment from its next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it, again if it ran before.
    pub fn run(&mut self) -> Result<()> {
        let mut command = self.program("vipcastd");
        command.arg("--config").arg(self.configuration_file());
        self.process = Some(Process::start(&self.namespace, "vipcastd", &command)?);
        Ok(())
    }

    /// Its process.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("vipcastd is not running")
    }

    /// Waits until it answers `vipcast status`.
    pub fn wait_ready(&self, bound: Duration) -> Result<Value> {
        self.process()?.wait_until("vipcast status is answered", bound, || Ok(self.status().ok()))
    }

    /// The answer to `vipcast status --json`.
    pub fn status(&self) -> Result<Value> {
        let text = self.vipcast(["status", "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("vipcast status --json: {text}"))
    }

    /// Runs `vipcast` with these arguments; an error if it fails.
    pub fn vipcast<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        complete(self.program("vipcast").args(arguments))
    }

    /// Where its configuration is.
    pub fn configuration_file(&self) -> PathBuf {
        self.directory.join("vipcast.toml")
    }

    /// Replaces the configuration file; the daemon looks at it when it is reloaded or started.
    pub fn write_configuration(&self, text: &str) -> Result<()> {
        fs::write(self.configuration_file(), text).context("cannot write vipcast.toml")
    }

    /// Runs `vipcast reload`.
    pub fn reload(&self) -> Result<()> {
        self.vipcast(["reload"]).map(drop)
    }

    /// Ends it in good order (SIGTERM).
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.take().context("vipcastd is not running")?.stop(GRACE)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("vipcastd is not running")?.kill()
    }

    /// A command in the host's namespace with the environment of the daemon.
    fn program(&self, name: &str) -> Command {
        let mut command = self.namespace.command(self.binaries.join(name));
        for variable in FOREIGN_ENVIRONMENT {
            command.env_remove(variable);
        }
        command.env("RUNTIME_DIRECTORY", self.directory.join("run"));
        command.env("STATE_DIRECTORY", self.directory.join("state"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
