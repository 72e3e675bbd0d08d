//! `lab up`, `lab status`, `lab down`: the fabric that stays until it is taken down.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use vipcast_lab::configuration;
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig};
use vipcast_lab::site::{STANDING, Site, directory_of};

use crate::interrupt::Interrupt;
use crate::{directory, print, tor, value};

/// How long vipcastd may take until it answers, on a slow and busy machine.
const READY: Duration = Duration::from_secs(30);

/// What the command line asks for.
pub(crate) struct Order {
    fabric: FabricConfig,
    binaries: Option<PathBuf>,
    name: String,
}

impl Order {
    pub(crate) fn parse(words: Vec<String>) -> Result<Self> {
        let (fabric, name) = (FabricConfig::default(), STANDING.to_owned());
        let mut order = Self { fabric, binaries: None, name };
        let mut words = words.into_iter();
        while let Some(option) = words.next() {
            let value = value(&option, &mut words)?;
            match option.as_str() {
                "--hosts" => {
                    order.fabric.hosts = value.parse().context("--hosts needs a number")?
                }
                "--tors" => {
                    order.fabric.tors = value.split(',').map(tor).collect::<Result<_>>()?;
                }
                "--binaries" => order.binaries = Some(directory(&value)?),
                "--name" => order.name = value,
                _ => bail!("I know no {option}"),
            }
        }
        Ok(order)
    }
}

pub(crate) fn down(order: &Order) -> Result<()> {
    Site::remove(&order.name)
}

pub(crate) fn up(order: &Order) -> Result<()> {
    let about =
        Interrupt::arm()?.on_site(|| Site::create(&order.name), |site| make(order, site))?;
    print(&about)
}

fn make(order: &Order, site: &Arc<Site>) -> Result<String> {
    let fabric = Fabric::start_on(site, &order.fabric)?;
    let daemons = start_daemons(order, &fabric)?;
    let about = about(order, &fabric, !daemons.is_empty());
    fs::write(site.directory().join("about"), &about)?;
    site.keep()?;
    Ok(about)
}

fn start_daemons(order: &Order, fabric: &Fabric) -> Result<Vec<Daemon>> {
    let Some(binaries) = &order.binaries else { return Ok(Vec::new()) };
    if !binaries.join("vipcastd").exists() {
        eprintln!("lab: there is no vipcastd in {}; nothing announces a VIP", binaries.display());
        return Ok(Vec::new());
    }
    let start = |host: usize| {
        let text = configuration::complete(fabric, host);
        let daemon = Daemon::start(fabric.host(host), binaries, &text)?;
        daemon.wait_ready(READY)?;
        Ok(daemon)
    };
    (1..=fabric.hosts.len()).map(start).collect()
}

/// What is there and how to look around.
fn about(order: &Order, fabric: &Fabric, with_daemons: bool) -> String {
    let mut text = String::new();
    for tor in &fabric.tors {
        let (name, hint) = (tor.namespace.name(), tor.router.shell_hint());
        let _ = writeln!(text, "{name:16} a router: {hint}");
    }
    for host in &fabric.hosts {
        let (name, short) = (host.namespace.name(), host.name());
        let _ = writeln!(text, "{name:16} a host: ip netns exec {name} bash");
        let directory = host.namespace.directory();
        if let (true, Some(binaries)) = (with_daemons, &order.binaries) {
            let vipcast = binaries.join("vipcast");
            let run = directory.join("vipcast/run");
            let _ = writeln!(
                text,
                "{:16} RUNTIME_DIRECTORY={} {} status",
                "",
                run.display(),
                vipcast.display()
            );
        }
        let health = directory.join("nginx/health/healthz");
        let _ = writeln!(text, "{:16} make {short} unhealthy: rm {}", "", health.display());
    }
    let (client, tor) = (fabric.client.namespace().name(), fabric.tor(1).namespace.name());
    let _ =
        writeln!(text, "{client:16} the client: ip netns exec {client} curl http://203.0.113.5/");
    let _ = writeln!(text, "watch the routes: ip netns exec {tor} ip monitor route");
    let _ = writeln!(text, "all configurations and logs: {}", fabric.site().directory().display());
    text
}

pub(crate) fn status(order: &Order) -> Result<()> {
    let processes = Site::processes(&order.name)?;
    let mut text = fs::read_to_string(directory_of(&order.name)?.join("about"))
        .unwrap_or_else(|_| "The lab is being made, or was never finished.\n".to_owned());
    for process in processes {
        let state = if process.running { "runs" } else { "is gone" };
        let _ = writeln!(text, "{:16} {state}, process {}", process.label, process.pid);
    }
    print(&text)
}
