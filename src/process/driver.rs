//! Runs programs, each in a process group of its own, of which nothing is left when it has ended,
//! when nobody waits for it any more, or when the daemon stops. What leaves the group, by setsid(2)
//! or setpgid(2), is out of reach; of a daemon that is killed itself, systemd ends the programs.
//!
//! They are killed without a word before. Whoever takes too long has failed already, its end must not
//! take a time that nobody has set, and what cleans up after itself must be fit for a SIGKILL anyway.
//!
//! A program that is killed may not die, when it waits for a disk or a network file system, and one
//! on such a file system may not even begin. So a task of its own is with each to its end, and
//! begins it away from the runtime.
#![expect(clippy::disallowed_methods, reason = "driver: processes, tasks, the environment")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::{Ended, Environment, Program, Status};
use crate::sys;

/// So much of what a program writes is kept; the rest is read and forgotten.
const KEPT: usize = 4096;
/// What is read at a time.
const PIECE: usize = 16 << 10;
/// For programs, where the daemon itself has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program again and again, once at a time.
#[derive(Clone, Debug)]
pub struct Runner {
    program: Arc<Program>,
    turns: Arc<Semaphore>,
}

/// The right to run it.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Runner {
    /// It has not been run yet.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self { program: Arc::new(program), turns: Arc::new(Semaphore::new(1)) }
    }

    /// Waits until what was run before is gone: what was killed may take its time.
    pub async fn turn(&self) -> Turn {
        let permit = self.turns.clone().acquire_owned().await;
        Turn { _permit: permit.expect("nobody closes it") }
    }

    /// Runs the program to its end. All of it is killed when this is dropped before.
    ///
    /// # Errors
    ///
    /// Why it could not be run, in words.
    pub async fn run(&self, turn: Turn, environment: Environment) -> Result<Ended, String> {
        let (report, reported) = oneshot::channel();
        tokio::spawn(attend(self.program.clone(), environment, turn, report));
        reported.await.unwrap_or_else(|_| Err("the daemon stops".into()))
    }
}

/// Is with a program from its beginning to its end.
async fn attend(
    program: Arc<Program>,
    environment: Environment,
    turn: Turn,
    mut report: oneshot::Sender<Result<Ended, String>>,
) {
    let begin = spawn_blocking(move || Process::begin(&program, &environment));
    let ended = match begin.await {
        Ok(Ok(mut process)) => {
            tokio::select! {
                () = process.wait() => {}
                () = report.closed() => {}
            }
            process.end().await
        }
        Ok(Err(text)) => Err(text),
        Err(_) => return, // the runtime ends
    };
    drop(turn);
    // Whoever wanted to know may have gone.
    let _ = report.send(ended);
}

/// A program under way, in a group that has its number.
struct Process {
    child: Child,
    /// Can be read when it has ended
    exit: AsyncFd<OwnedFd>,
    stdout: Output,
    stderr: Output,
    is_reaped: bool,
}

impl Process {
    /// Begins it. May take long, where its file system does.
    fn begin(program: &Program, environment: &Environment) -> Result<Self, String> {
        // Of this thread, which hands them on; those of the daemon are for the daemon alone.
        sys::process::drop_ambient_capabilities()
            .map_err(|error| failed("cannot drop capabilities to run", program, &error))?;
        let mut child = Command::new(&program.path)
            .args(&program.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from(PATH)))
            .env("LANG", "C")
            .envs(environment.variables())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| refused(program, &error))?;
        match watch(&mut child) {
            Ok((exit, stdout, stderr)) => {
                Ok(Self { child, exit, stdout, stderr, is_reaped: false })
            }
            Err(error) => {
                kill(&child);
                let _ = child.wait();
                Err(match error.raw_os_error() {
                    Some(libc::ENOSYS) => {
                        let need = "this kernel has no pidfd_open (Linux 5.3 or newer)";
                        format!("cannot run {}: {need}", program.path.display())
                    }
                    _ => failed("cannot watch", program, &error),
                })
            }
        }
    }

    /// Waits until it ends by itself. What it has started may still run, and hold its output open.
    async fn wait(&mut self) {
        let Self { exit, stdout, stderr, .. } = self;
        let read = async {
            tokio::join!(stdout.read(), stderr.read());
            // It may close them and go on.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            // It fails only when the runtime ends.
            _ = exit.readable() => {}
            () = read => {}
        }
    }

    /// Ends what is left of it, and waits until it is gone.
    async fn end(mut self) -> Result<Ended, String> {
        // As long as it is not reaped, no other process can have its number.
        kill(&self.child);
        let _ = self.exit.readable().await;
        let status = self.child.wait().map_err(|error| sys::describe(&error))?;
        self.is_reaped = true;
        let status = match status.signal() {
            Some(signal) => Status::Killed(signal),
            None => Status::Exited(status.code().unwrap_or_default()),
        };
        self.stdout.read_rest();
        self.stderr.read_rest();
        Ok(Ended::new(status, &self.stdout.kept, &self.stderr.kept))
    }
}

impl Drop for Process {
    /// Whatever happens, it does not outlive this.
    fn drop(&mut self) {
        if !self.is_reaped {
            kill(&self.child);
            // The process ends, so that somebody else does it if it takes longer.
            let _ = self.child.try_wait();
        }
    }
}

fn kill(child: &Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // There may be nobody left in it.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

type Watched = (AsyncFd<OwnedFd>, Output, Output);

/// Takes hold of what a process says, and of its end.
fn watch(child: &mut Child) -> io::Result<Watched> {
    let exit = sys::process::watch(child.id())?;
    // Ours are for BFD. It fails where it is gone already.
    let _ = sys::process::lower_limits(child.id());
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let stdout = OwnedFd::from(child.stdout.take().ok_or_else(gone)?);
    let stderr = OwnedFd::from(child.stderr.take().ok_or_else(gone)?);
    Ok((exit, Output::new(stdout)?, Output::new(stderr)?))
}

/// What a program writes, to stdout or stderr.
struct Output {
    pipe: pipe::Receiver,
    /// The beginning of it
    kept: Vec<u8>,
}

impl Output {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(pipe)?, kept: Vec::new() })
    }

    /// Reads to the end: who writes to a full pipe would wait for ever.
    async fn read(&mut self) {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = self.pipe.read(&mut piece).await {
            self.keep(piece.get(..count).unwrap_or_default());
        }
    }

    /// Takes what is there, and waits for nothing: somebody else may have the other end.
    fn read_rest(&mut self) {
        let mut piece = [0; KEPT];
        // The runtime may not know yet that there is something, so it is not asked.
        while self.kept.len() < KEPT
            && let Ok(count @ 1..) = nix::unistd::read(self.pipe.as_fd(), &mut piece)
        {
            self.keep(piece.get(..count).unwrap_or_default());
        }
    }

    fn keep(&mut self, octets: &[u8]) {
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(octets.get(..room).unwrap_or(octets));
    }
}

fn failed(what: &str, program: &Program, error: &io::Error) -> String {
    format!("{what} {}: {}", program.path.display(), sys::describe(error))
}

/// Why the kernel does not run it.
fn refused(program: &Program, error: &io::Error) -> String {
    let text = failed("cannot run", program, error);
    match error.raw_os_error() {
        // It is what runs it that is not there.
        Some(libc::ENOENT) if program.path.exists() => {
            let path = program.path.display();
            format!("cannot run {path}: the interpreter that its first line names is not there")
        }
        Some(libc::EACCES) => {
            format!("{text} (it must be executable for the user that vipcastd runs as)")
        }
        Some(libc::ENOEXEC) => {
            format!("{text} (the first line of a script is #! and its interpreter)")
        }
        _ => text,
    }
}
