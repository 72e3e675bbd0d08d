//! `lab demo`: what the routers' kernels and a client see when a service fails, a host dies, and a
//! daemon is stopped.

mod page;
mod scene;
mod steps;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use vipcast_lab::site::Site;

use crate::interrupt::Interrupt;
use crate::{directory, value};
use page::{Page, time};
use scene::{Change, Scene};

const OVERTURE: &str = "\
vipcast, shown in network namespaces of this machine; nothing else is touched.

             client           asks http://203.0.113.5/ 200 times a second
            /      \\
        tor1        tor2      routers: BIRD and FRR, AS 65000; BGP with ECMP,
         | \\        / |       BFD 300 ms x 3
       host1  host2  host3    vipcastd and nginx, AS 65100; announce 203.0.113.5
                              and 2001:db8:5::5 while /healthz is well: asked
                              every 200 ms, rise = 2, fall = 2";

/// What the command line asks for.
pub(crate) struct Order {
    binaries: PathBuf,
    pause: bool,
}

impl Order {
    pub(crate) fn parse(words: Vec<String>) -> Result<Self> {
        let (mut binaries, mut pause) = (None, false);
        let mut words = words.into_iter();
        while let Some(option) = words.next() {
            match option.as_str() {
                "--binaries" => binaries = Some(directory(&value(&option, &mut words)?)?),
                "--pause" => pause = true,
                _ => bail!("I know no {option}"),
            }
        }
        Ok(Self { binaries: binaries.context("--binaries is missing")?, pause })
    }
}

pub(crate) fn run(order: &Order) -> Result<()> {
    let interrupt = Interrupt::arm()?;
    let mut page = Page::new(order.pause);
    page.lines(OVERTURE)?;
    let changes = interrupt.on_site(Site::temporary, |site| {
        let mut scene = Scene::set(site, &order.binaries)?;
        let changes = steps::all(&mut page, &mut scene)?;
        page.heading("All times, from kernel to kernel")?;
        page.lines(&table(&scene, &changes))?;
        Ok(changes)
    })?;
    page.space()?;
    page.lines(&format!(
        "Every step did what it should; {} changes. All of it has been removed again.",
        changes.len()
    ))
}

/// Every change with its times and losses.
fn table(scene: &Scene, changes: &[Change]) -> String {
    let routers: String = scene
        .fabric
        .tors
        .iter()
        .map(|tor| {
            format!(
                "{:>12}",
                format!("{} ({})", tor.namespace.short_name(), tor.router.kind().name())
            )
        })
        .collect();
    let mut lines = vec![format!("   {:38}{routers}{:>15}", "", "requests lost")];
    for change in changes {
        let times: String = change.took.iter().map(|took| format!("{:>12}", time(*took))).collect();
        let lost = format!("{} of {}", change.requests.lost().len(), change.requests.0.len());
        lines.push(format!("   {:38}{times}{lost:>15}", change.what));
    }
    lines.join("\n")
}
