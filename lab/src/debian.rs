//! Root file systems of Debian, for [`Container`](crate::container::Container)s and
//! [`Guest`](crate::guest::Guest)s, made once from where this machine gets its packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::made_once;
use crate::netns::complete;

/// What a root file system is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The release; otherwise the one that runs here.
    release: Option<&'static str>,
    /// Beside the essential packages and apt; `name/suite` is taken from that suite.
    packages: &'static str,
}

/// A booting system, a web server to be checked, what vipcast needs, and rpm, so that its other
/// package can be tried too.
pub const CONTAINER: Recipe = Recipe {
    release: None,
    packages: "dbus,iproute2,libgcc-s1,nginx-light,procps,rpm,systemd,systemd-sysv",
};

/// A kernel with what distributions do not have yet, and what the lab itself needs on it.
pub const GUEST: Recipe = Recipe {
    release: Some("trixie"),
    packages: "bird3/trixie-backports,curl,iproute2,kmod,libgcc-s1,\
               linux-image-cloud-amd64/trixie-backports,nginx-light",
};

impl Recipe {
    /// Makes such a root file system in the directory `cache`, unless it is there.
    pub fn root(&self, cache: &Path) -> Result<PathBuf> {
        made_once(cache, "root", &self.words()?, |root| self.make(root))
    }

    /// All of it in words: it has changed if they have.
    pub(crate) fn words(&self) -> Result<String> {
        Ok(format!("{} {}\n", self.suite()?, self.packages))
    }

    fn suite(&self) -> Result<String> {
        self.release.map_or_else(own_suite, |release| Ok(release.to_owned()))
    }

    fn make(&self, root: &Path) -> Result<()> {
        let suite = self.suite()?;
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=apt"]);
        mmdebstrap.arg(format!("--include={}", self.packages));
        mmdebstrap.args(options()?.lines().map(|option| format!("--aptopt={option}")));
        mmdebstrap.arg(&suite).arg(root);
        mmdebstrap.args(match self.release {
            None => own_sources(&suite)?,
            Some(release) => sources_with_backports(release)?,
        });
        complete(&mut mmdebstrap).map(drop).with_context(|| {
            format!(
                "cannot make a root file system of {suite}: is it where this machine gets its \
                 packages, and does debian-archive-keyring have its keys?"
            )
        })
    }
}

/// The release of Debian that runs here, like `bookworm`.
fn own_suite() -> Result<String> {
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
fn own_sources(suite: &str) -> Result<Vec<String>> {
    let suites = ["", "-updates", "-security"].map(|part| format!("{suite}{part}"));
    // What is in Debian's main may be in Ubuntu's universe.
    let own =
        suites.iter().flat_map(|suite| [format!(" {suite} main"), format!(" {suite} universe")]);
    let own: Vec<String> = own.collect();
    let is_own = |target: &&str| own.iter().any(|end| target.ends_with(end.as_str()));
    let lines: Vec<String> =
        targets()?.lines().filter(is_own).map(|target| format!("deb {target}")).collect();
    ensure!(!lines.is_empty(), "apt-get knows no source of {suite}");
    Ok(lines)
}

/// Another release and what was made for it later: they are where this machine's own release is.
fn sources_with_backports(release: &str) -> Result<Vec<String>> {
    let (own, targets) = (own_suite()?, targets()?);
    let place = targets.lines().find_map(|target| target.strip_suffix(&format!(" {own} main")));
    let place = place.with_context(|| format!("apt-get knows no source of {own}"))?;
    let suites = [release.to_owned(), format!("{release}-backports")];
    Ok(suites.map(|suite| format!("deb {place} {suite} main")).to_vec())
}

/// All that apt-get knows of, as `PLACE SUITE COMPONENT`.
fn targets() -> Result<String> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let mut command = Command::new("apt-get");
    complete(command.args(["indextargets", "--format", format, "Created-By: Packages"]))
}
