//! A root file system of Debian for [`Container`](crate::container::Container)s, made once from
//! where this machine gets its packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::netns::complete;

/// Beside the essential ones and apt: a booting system, a web server to be checked, what vipcast
/// needs, and rpm, so that its other package can be tried too.
const PACKAGES: &str = "dbus,iproute2,libgcc-s1,nginx-light,procps,rpm,systemd,systemd-sysv";

/// Makes a root file system in the directory `cache`, unless it is there.
pub fn root(cache: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cache)?;
    let cache = cache.canonicalize()?;
    let (root, complete_mark) = (cache.join("root"), cache.join("packages"));
    // Until the end of the function, so that tests that want it at once make it once.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    let suite = suite()?;
    let wanted = format!("{suite} {PACKAGES}\n");
    if fs::read_to_string(&complete_mark).is_ok_and(|had| had == wanted) {
        return Ok(root);
    }
    if root.exists() {
        fs::remove_dir_all(&root).context("cannot remove the old root file system")?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=apt"]);
    mmdebstrap.arg(format!("--include={PACKAGES}"));
    mmdebstrap.args(options()?.lines().map(|option| format!("--aptopt={option}")));
    mmdebstrap.arg(&suite).arg(&root).args(sources(&suite)?);
    complete(&mut mmdebstrap)?;
    fs::write(complete_mark, wanted)?;
    Ok(root)
}

/// The release of Debian that runs here, like `bookworm`.
fn suite() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("no /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("no VERSION_CODENAME in /etc/os-release")?.trim_matches('"').to_owned())
}

/// How this machine gets packages, where that is special.
fn options() -> Result<String> {
    let names = ["http", "https", "Check-Valid-Until", "Check-Date"];
    let names = names.map(|name| format!("Acquire::{name}"));
    complete(Command::new("apt-config").arg("dump").args(names))
}

/// The distribution's own package sources of this machine, as lines of sources.list.
fn sources(suite: &str) -> Result<Vec<String>> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let targets = complete(&mut command)?;
    let suites = ["", "-updates", "-security"].map(|part| format!("{suite}{part}"));
    // What is in Debian's main may be in Ubuntu's universe.
    let own =
        suites.iter().flat_map(|suite| [format!(" {suite} main"), format!(" {suite} universe")]);
    let own: Vec<String> = own.collect();
    let is_own = |target: &&str| own.iter().any(|end| target.ends_with(end.as_str()));
    let lines: Vec<String> =
        targets.lines().filter(is_own).map(|target| format!("deb {target}")).collect();
    ensure!(!lines.is_empty(), "apt-get knows no source of {suite}");
    Ok(lines)
}
