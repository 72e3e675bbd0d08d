//! A child process in a namespace, which never outlives its [`Process`] and whose log is part of
//! every error about it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{self, SigSet, SigmaskHow, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::netns::Namespace;
use crate::wait;

/// How long a process may take to end by SIGTERM when its [`Process`] is dropped.
const GRACE: Duration = Duration::from_secs(2);
const TAIL_LINES: usize = 20;
/// How many arguments of a [`Namespace::command`] come before the program.
const IP_NETNS_EXEC_NAMESPACE: usize = 4;
/// So much of its name the kernel knows.
const NAME: usize = 15;
/// How long to wait for it.
const LEAD: Duration = Duration::from_secs(5);

/// A running child: leader of its own session and process group, killed by number.
#[derive(Debug)]
pub struct Process {
    namespace: Namespace,
    name: String,
    log: PathBuf,
    child: Child,
    executed: Instant,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts a command made by [`Namespace::command`], or another one that begins with `setsid` and
    /// finds its own way into the namespace. What it prints is appended to `<name>.log` in the
    /// namespace's directory.
    pub fn start(namespace: &Namespace, name: &str, command: &Command) -> Result<Self> {
        let log = namespace.directory().join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let label = format!("{}/{name}", namespace.short_name());
        let mut recorded = namespace.site().recorded("process", &label);
        recorded.args(command.get_args()).stdout(file.try_clone()?).stderr(file);
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => recorded.env(variable, value),
                None => recorded.env_remove(variable),
            };
        }
        let spawned = spawn_unmasked(&mut recorded);
        let child =
            spawned.with_context(|| format!("cannot start {name} in {}", namespace.name()))?;
        let (namespace, name) = (namespace.clone(), name.to_owned());
        let mut process =
            Self { namespace, name, log, child, executed: Instant::now(), exit: None };
        process.await_execution(program(command));
        Ok(process)
    }

    /// When the program itself began, after the errands that lead to it; to a fraction of a
    /// millisecond.
    pub fn executed(&self) -> Instant {
        self.executed
    }

    /// Its process number, and that of its group and session.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it runs (or is frozen); it may have ended by itself.
    pub fn is_running(&self) -> bool {
        self.exit.is_none() && matches!(self.peek(), Ok(WaitStatus::StillAlive))
    }

    /// Sends a signal to it, not to its children.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.exit.is_some() {
            bail!("{} has ended", self.name);
        }
        signal::kill(self.raw_pid(), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Stops it and its children in their tracks (SIGSTOP).
    pub fn freeze(&self) -> Result<()> {
        self.signal_group(Signal::SIGSTOP)
    }

    /// Lets them go on (SIGCONT).
    pub fn thaw(&self) -> Result<()> {
        self.signal_group(Signal::SIGCONT)
    }

    /// Kills it and its children at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.finish(None).map(drop)
    }

    /// Asks it to end (SIGTERM) and waits; after `bound` it is killed, which is an error.
    pub fn stop(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_for_exit(bound)
    }

    /// Waits until it ends by itself; after `bound` it is killed, which is an error.
    pub fn wait_for_exit(&mut self, bound: Duration) -> Result<ExitStatus> {
        let status = self.finish(Some(bound))?;
        if status.signal() == Some(Signal::SIGKILL as i32) {
            bail!("{} did not end within {bound:?}{}", self.name, self.log_tail());
        }
        Ok(status)
    }

    /// Waits as [`wait::until`], and fails at once when the process ends; errors end with the tail
    /// of its log.
    pub fn wait_until<T>(
        &self,
        what: &str,
        bound: Duration,
        mut probe: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let checked = || match self.peek() {
            Ok(WaitStatus::StillAlive) => probe(),
            ended => bail!("it ended: {ended:?}"),
        };
        wait::until(what, bound, checked).map_err(|error| {
            let (name, namespace) = (&self.name, self.namespace.name());
            anyhow!("{name} in {namespace}: {error:#}{}", self.log_tail())
        })
    }

    /// The end of its log, for error messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("\n--- the end of {}:\n{}\n---", self.log.display(), tail.join("\n"))
    }

    /// Waits up to `patience` for the process to end, then kills what is left of its group, and
    /// only then reaps it: until then its number cannot belong to anybody else.
    fn finish(&mut self, patience: Option<Duration>) -> Result<ExitStatus> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let start = Instant::now();
        while patience.is_some_and(|patience| start.elapsed() < patience) && self.is_running() {
            thread::sleep(Duration::from_millis(2));
        }
        self.signal_group(Signal::SIGKILL)?;
        let exit = self.child.wait()?;
        self.exit = Some(exit);
        Ok(exit)
    }

    /// Waits until the process is the program, whose path is given, and no longer what leads to it.
    fn await_execution(&mut self, program: Option<&str>) {
        let base = program.and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let name = base.get(..NAME).unwrap_or(base);
        let path = format!("/proc/{}/comm", self.pid());
        let bound = self.executed + LEAD;
        while self.executed < bound && self.is_running() {
            let now = fs::read_to_string(&path);
            self.executed = Instant::now();
            if now.is_ok_and(|now| now.trim_end() == name) {
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    fn signal_group(&self, signal: Signal) -> Result<()> {
        if self.exit.is_some() {
            bail!("{} has ended", self.name);
        }
        let pid = self.raw_pid();
        // In its first instant the child has no group of its own yet.
        let sent = signal::killpg(pid, signal).or_else(|_| signal::kill(pid, signal));
        sent.with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Its state without reaping it.
    fn peek(&self) -> nix::Result<WaitStatus> {
        waitid(
            Id::Pid(self.raw_pid()),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT,
        )
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid()).expect("process numbers are positive i32"))
    }
}

/// What a command runs in the end.
fn program(command: &Command) -> Option<&str> {
    let mut arguments = command.get_args();
    match arguments.next()?.to_str() {
        Some("ip") => arguments.nth(IP_NETNS_EXEC_NAMESPACE - 1).and_then(OsStr::to_str),
        program => program,
    }
}

/// Starts a command with no signal blocked, whatever this thread blocks: a child inherits that, and
/// would not hear SIGTERM. A signal that comes just now ends us, and the lab's guard does the rest.
fn spawn_unmasked(command: &mut Command) -> io::Result<Child> {
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = command.spawn();
    blocked.thread_set_mask()?;
    spawned
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_some() || !self.namespace.site().is_ours() {
            return;
        }
        let ended = self
            .thaw()
            .and_then(|()| self.signal(Signal::SIGTERM))
            .and_then(|()| self.finish(Some(GRACE)));
        if let Err(error) = ended {
            eprintln!("lab: {error:#}");
        }
    }
}
