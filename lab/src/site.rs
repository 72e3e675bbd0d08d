//! One lab on this machine: its name, its directory, and the ledger of everything it owns.
//!
//! Whatever a lab makes is written to the ledger before it is made (`record.sh`), and a guard
//! process removes what is in the ledger when the lab's process ends, however it ends (`reap.sh`).
//! So nothing outlives a panic, a Ctrl-C or a `kill -9`, and `lab down` is the same code.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};

/// The name of the lab that `lab up` leaves standing.
pub const STANDING: &str = "vipcast";

const RECORD: &str = include_str!("record.sh");
const REAP: &str = include_str!("reap.sh");

/// One lab instance; it is removed when the last thing in it is dropped, unless it was
/// [kept](Self::keep).
#[derive(Debug)]
pub struct Site {
    name: String,
    directory: PathBuf,
    /// None when the lab is no longer ours.
    guard: Mutex<Option<Child>>,
}

/// A process that a ledger lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number.
    pub pid: u32,
    /// Machine and name, like `host1/nginx`.
    pub label: String,
    /// Whether it still runs.
    pub running: bool,
}

impl Site {
    /// A lab of its own beside any others, named after this process.
    pub fn temporary() -> Result<Arc<Self>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::create(&format!("vc{}-{count}", std::process::id()))
    }

    /// The lab of that name; an error if there is one already.
    pub fn create(name: &str) -> Result<Arc<Self>> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "the lab needs root (it makes network namespaces)"
        );
        let directory = directory_of(name)?;
        if directory.exists() || directory.with_extension("gone").exists() {
            bail!("there is a lab already in {}; `lab down` removes it", directory.display());
        }
        // First the guard, then what it guards.
        let guard = reaper(&directory)
            .arg("guard")
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the lab's guard")?;
        let site = Self { name: name.to_owned(), directory, guard: Mutex::new(Some(guard)) };
        if let Err(error) = fs::create_dir(&site.directory) {
            // Somebody else made it just now, and it is theirs.
            site.keep()?;
            bail!("cannot make the directory {}: {error}", site.directory.display());
        }
        make_directory(&site.directory)?;
        fs::write(site.directory.join("record.sh"), RECORD)?;
        File::create_new(site.directory.join("ledger"))?;
        Ok(Arc::new(site))
    }

    /// Removes the lab of that name; an error if there is none.
    pub fn remove(name: &str) -> Result<()> {
        let directory = directory_of(name)?;
        match reaper(&directory).status().context("cannot run sh")?.code() {
            Some(0) => Ok(()),
            Some(3) => bail!("there is no lab in {}", directory.display()),
            _ => bail!("the lab in {} could not be removed completely", directory.display()),
        }
    }

    /// The processes in the ledger of the lab of that name, in the order in which they were
    /// started.
    pub fn processes(name: &str) -> Result<Vec<Recorded>> {
        let path = directory_of(name)?.join("ledger");
        let ledger = fs::read_to_string(&path)
            .with_context(|| format!("there is no lab: no {}", path.display()))?;
        let words = |line: &str| -> Option<Recorded> {
            let mut words = line.strip_prefix("process ")?.splitn(3, ' ');
            let pid = words.next()?.parse().ok()?;
            let started: u64 = words.next()?.parse().ok()?;
            let running = start_time(pid).is_ok_and(|time| time == started);
            Some(Recorded { pid, label: words.next()?.to_owned(), running })
        };
        Ok(ledger.lines().filter_map(words).collect())
    }

    /// The name, with which those of all its namespaces begin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its configurations, sockets and logs are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves everything running after this process ends; [`Site::remove`] removes it.
    pub fn keep(&self) -> Result<()> {
        let Some(mut guard) = self.guard().take() else { bail!("this lab is no longer ours") };
        guard.stdin.take().context("the guard has no input")?.write_all(b"keep\n")?;
        guard.wait()?;
        Ok(())
    }

    /// Removes everything now, before an exit. Whoever else makes, drops or abandons something of
    /// the lab gets an error or waits for the exit.
    pub fn abandon(&self) {
        let mut guard = self.guard();
        reap(&mut guard);
        std::mem::forget(guard);
    }

    /// Whether the lab is to go away with this process.
    pub fn is_ours(&self) -> bool {
        self.guard().is_some()
    }

    /// Writes one thing into the ledger.
    pub(crate) fn record(&self, thing: impl fmt::Display) -> Result<()> {
        OpenOptions::new()
            .append(true)
            .open(self.directory.join("ledger"))
            .and_then(|mut ledger| writeln!(ledger, "{thing}"))
            .context("cannot write the lab's ledger")
    }

    /// The beginning of a command line that writes itself into the ledger, as `process`, or as
    /// `errand` if it is short; the program and its arguments are to be added.
    pub(crate) fn recorded(&self, kind: &str, label: &str) -> Command {
        let mut command = Command::new("setsid");
        command.arg("sh").arg(self.directory.join("record.sh")).args([kind, label]);
        command.stdin(Stdio::null());
        command
    }

    fn guard(&self) -> MutexGuard<'_, Option<Child>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        reap(&mut self.guard());
    }
}

/// Tells the guard, by the end of its input, to remove everything, and waits until it has.
fn reap(guard: &mut Option<Child>) {
    let Some(mut guard) = guard.take() else { return };
    drop(guard.stdin.take());
    match guard.wait() {
        Ok(status) if status.success() => {}
        outcome => eprintln!("lab: the guard did not remove everything: {outcome:?}"),
    }
}

/// Where the lab of that name lives; a name has letters and digits, and dashes between them.
pub fn directory_of(name: &str) -> Result<PathBuf> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ensure!(name.bytes().all(fits) && !name.is_empty(), "{name:?} cannot be the name of a lab");
    let suffix = if name == STANDING { String::new() } else { format!("-{name}") };
    Ok(Path::new("/run").join(format!("vipcast-lab{suffix}")))
}

/// Makes a directory in a lab, if it is not there yet, that everybody may look into (routers run as
/// users of their own). Never its parents: when the lab is gone, it shall not come back.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    let made = match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

/// `reap.sh` for a lab, out of reach of the terminal's Ctrl-C.
fn reaper(directory: &Path) -> Command {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", REAP, "reap"]).arg(directory.join("ledger"));
    command
}

/// When a process started, in the kernel's units; with its number this names a process for ever.
fn start_time(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("unreadable /proc/PID/stat")?;
    fields.split(' ').nth(19).context("short /proc/PID/stat")?.parse().context("odd start time")
}
