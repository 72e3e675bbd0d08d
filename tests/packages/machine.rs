//! A machine with Debian and systemd, in the network that the README's example is about: its router
//! is 10.0.0.1, AS 65000.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use vipcast_lab::container::Container;
use vipcast_lab::debian::CONTAINER;
use vipcast_lab::fabric::{HOST_ASN, TOR_ASN, vip};
use vipcast_lab::link::{End, Link};
use vipcast_lab::netns::Namespace;
use vipcast_lab::router::{Kind, Neighbour, Router, RouterConfig};
use vipcast_lab::site::Site;
use vipcast_lab::wait;
use vipcast_lab::watch::Watch;

use super::{BOUND, cache, packages};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
/// Where the machine sees the packages.
pub(crate) const PACKAGES: &str = "/packages";

/// The machine and its router.
pub(crate) struct Machine {
    container: Container,
    /// The kernel's routes at the router.
    routes: Watch,
    _router: Router,
}

impl Machine {
    /// Boots it; vipcast is not installed.
    pub(crate) fn boot() -> Result<Self> {
        let packages = packages()?;
        let root = CONTAINER.root(&cache())?;
        let site = Site::temporary()?;
        let (tor, host) = (Namespace::create(&site, "tor1")?, Namespace::create(&site, "host1")?);
        let end = |namespace: &Namespace, peer: &Namespace, ipv4: Ipv4Addr| End {
            namespace: namespace.clone(),
            interface: peer.short_name().to_owned(),
            ipv4,
            ipv6: format!("2001:db8:1:1::{}", ipv4.octets()[3]).parse().expect("an address"),
        };
        Link::plug([end(&tor, &host, ROUTER), end(&host, &tor, HOST)])?;
        let mut config = RouterConfig::new(TOR_ASN, ROUTER);
        config.neighbours = vec![Neighbour::new("host1", HOST.into(), HOST_ASN)];
        let routes = Watch::start(&tor)?;
        let router = Router::start(&tor, Kind::Bird, config)?;
        let binds = [(packages.deb.parent().context("a folder")?, PACKAGES)];
        let container = Container::boot(&host, &root, &binds)?;
        Ok(Self { container, routes, _router: router })
    }

    /// Boots it and installs the Debian package.
    pub(crate) fn installed() -> Result<Self> {
        let machine = Self::boot()?;
        machine.install()?;
        Ok(machine)
    }

    /// As [`installed`](Self::installed), with the README's configuration; its service announced.
    pub(crate) fn announcing() -> Result<Self> {
        let machine = Self::installed()?;
        machine.configure(&readme_configuration()?)?;
        machine.type_line("systemctl enable --now vipcast")?;
        machine.wait_routes(5, 1)?;
        Ok(machine)
    }

    /// Installs the Debian package with apt, again if it is installed.
    pub(crate) fn install(&self) -> Result<()> {
        let deb = inside(&packages()?.deb)?;
        self.run(&format!("apt-get install --reinstall -y -q {deb}")).map(drop)
    }

    /// Writes /etc/vipcast/vipcast.toml.
    pub(crate) fn configure(&self, text: &str) -> Result<()> {
        self.write("/etc/vipcast/vipcast.toml", text)
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.container.path(path), text).with_context(|| format!("cannot write {path}"))
    }

    /// Runs a line of shell; an error if it fails.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        self.container.run(line)
    }

    /// Runs a line that must fail, and gives all that it said.
    pub(crate) fn run_failing(&self, line: &str) -> Result<String> {
        let output = self.container.command("sh").args(["-c", line]).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(!output.status.success(), "{line} must fail: {said}");
        Ok(said)
    }

    /// Runs a line that the README tells the reader to type.
    pub(crate) fn type_line(&self, line: &str) -> Result<String> {
        let readme = readme()?;
        ensure!(readme.contains(line), "the README no longer says: {line}");
        self.run(line)
    }

    /// Waits until the router has so many routes (0 or 1) to 203.0.113.`number`.
    pub(crate) fn wait_routes(&self, number: u8, count: usize) -> Result<()> {
        let waited = self.routes.wait_for_count(vip(number)[0], BOUND, count);
        let journal = || self.run("journalctl -u vipcast -n 30").unwrap_or_default();
        waited.map(drop).with_context(journal)
    }

    /// How many routes the router has to 203.0.113.`number` now.
    pub(crate) fn routes(&self, number: u8) -> usize {
        self.routes.next_hops(vip(number)[0]).len()
    }

    /// Whether the router was without a route to 203.0.113.`number` at some time since then.
    pub(crate) fn has_lost_route(&self, number: u8, since: Instant) -> bool {
        let changes = self.routes.changes(vip(number)[0], since);
        changes.iter().any(|change| change.next_hops.is_empty())
    }

    /// A property of the service, as systemd sees it.
    pub(crate) fn property(&self, name: &str) -> Result<String> {
        let text = self.run(&format!("systemctl show --value -p {name} vipcast"))?;
        Ok(text.trim().to_owned())
    }

    /// Waits until a property of the service is as wanted.
    pub(crate) fn wait_property(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let what = format!("{name} of the service is as wanted");
        wait::until_true(&what, BOUND, || Ok(wanted(&self.property(name)?)))
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.container.path(path).symlink_metadata().is_ok()
    }
}

/// Where the machine sees a package.
pub(crate) fn inside(package: &Path) -> Result<String> {
    let name = package.file_name().context("a file")?.to_string_lossy();
    Ok(format!("{PACKAGES}/{name}"))
}

fn readme() -> Result<String> {
    fs::read_to_string("README.md").context("README.md")
}

/// The configuration in the README, as it is there.
pub(crate) fn readme_configuration() -> Result<String> {
    let readme = readme()?;
    let (_, rest) = readme.split_once("```toml\n").context("a configuration in the README")?;
    let (text, _) = rest.split_once("```").context("its end")?;
    Ok(text.to_owned())
}
