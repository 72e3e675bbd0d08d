//! The packages: what is in them, and what they do on Debian with systemd, in a container on a
//! machine of the lab whose router is BIRD.
//!
//! | file | what |
//! |---|---|
//! | `contents` | files, scripts, lintian and rpmlint, both formats the same |
//! | `service` | the README's first announcement, reload, stop, crash, watchdog; the unit's sandbox |
//! | `administration` | drain and admin, over restarts, and where they cannot be kept |
//! | `upkeep` | installation, upgrade, removal of both formats |
//! | `machine` | the container with its router |
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests run package tools and read files"
)]

mod administration;
mod contents;
mod machine;
mod service;
mod upkeep;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Generous: no test is about speed.
const BOUND: Duration = Duration::from_secs(60);
/// The time that the packages are told they are made at.
const EPOCH: &str = "1700000000";

/// What packaging/deb/build and packaging/rpm/build made.
#[derive(Clone)]
struct Packages {
    deb: PathBuf,
    rpm: PathBuf,
}

/// The packages of this checkout, built once.
fn packages() -> Result<Packages> {
    static BUILT: Mutex<Option<Packages>> = Mutex::new(None);
    let mut built = BUILT.lock().map_err(|_| anyhow::anyhow!("a build panicked"))?;
    if built.is_none() {
        *built = Some(Packages { deb: build("deb")?, rpm: build("rpm")? });
    }
    built.clone().context("just built")
}

/// Builds one as a user would, and gives the file that the last line names.
fn build(kind: &str) -> Result<PathBuf> {
    let script = format!("packaging/{kind}/build");
    let said = run(as_user(&script).env("SOURCE_DATE_EPOCH", EPOCH))?;
    let file = said.lines().last().context("the build says where the package is")?;
    std::fs::canonicalize(file).with_context(|| format!("{script} made {file}"))
}

/// A script run by whoever called sudo, if anybody did, so that no file of theirs comes to belong
/// to root; a user who lets nobody else read what they make.
fn as_user(script: &str) -> Command {
    let user = std::env::var("SUDO_USER").unwrap_or_else(|_| "root".to_owned());
    let line = "umask 077; HOME=$(getent passwd \"$0\" | cut -d: -f6) exec \"$1\"";
    let mut command = Command::new("runuser");
    command.args(["-u", &user, "--", "sh", "-c", line, &user, script]);
    command
}

/// Runs a command to its end: its standard output, or an error with all that it wrote.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {text}{complaint}", output.status);
    }
    Ok(text)
}

/// Where tests may keep what is expensive to make.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian")
}
