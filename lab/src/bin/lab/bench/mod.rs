//! `lab bench`: how fast and how frugal vipcastd is, with BIRD in its place for comparison, seen in
//! the routers' kernels.

mod bfd;
mod death;
mod decision;
mod report;
mod resources;
mod scale;
mod stage;
mod start;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use vipcast_lab::router::Kind;
use vipcast_lab::site::Site;

use crate::interrupt::Interrupt;
use crate::{directory, kind, print, value};
use report::Report;

/// What the command line asks for.
pub(crate) struct Order {
    binaries: PathBuf,
    runs: u32,
    seconds: u32,
    parts: Vec<Part>,
    tors: Vec<Kind>,
    json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Decision,
    Start,
    Death,
    Scale,
    Table,
    Resources,
    Bfd,
}

impl Order {
    pub(crate) fn parse(words: Vec<String>) -> Result<Self> {
        let mut order = Self {
            binaries: PathBuf::new(),
            runs: 10,
            seconds: 60,
            parts: Part::ALL.to_vec(),
            tors: vec![Kind::Bird, Kind::Frr],
            json: None,
        };
        let mut words = words.into_iter();
        while let Some(option) = words.next() {
            let value = value(&option, &mut words)?;
            match option.as_str() {
                "--binaries" => order.binaries = directory(&value)?,
                "--runs" => order.runs = value.parse().context("--runs needs a number")?,
                "--seconds" => order.seconds = value.parse().context("--seconds needs a number")?,
                "--only" => {
                    order.parts = value.split(',').map(Part::parse).collect::<Result<_>>()?;
                }
                "--tors" => order.tors = value.split(',').map(kind).collect::<Result<_>>()?,
                "--json" => order.json = Some(value.into()),
                _ => bail!("I know no {option}"),
            }
        }
        ensure!(order.binaries.is_absolute(), "--binaries is missing");
        ensure!(order.runs > 0 && order.seconds > 0, "nothing is measured in no time");
        ensure!(!order.tors.contains(&Kind::Gobgp), "gobgp puts no routes into the kernel");
        Ok(order)
    }
}

impl Part {
    const ALL: [Self; 7] = [
        Self::Decision,
        Self::Start,
        Self::Death,
        Self::Scale,
        Self::Table,
        Self::Resources,
        Self::Bfd,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Start => "start",
            Self::Death => "death",
            Self::Scale => "scale",
            Self::Table => "table",
            Self::Resources => "resources",
            Self::Bfd => "bfd",
        }
    }

    fn parse(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|part| part.name() == name);
        known.with_context(|| format!("I know no part {name:?}"))
    }

    /// In which fabrics it is measured.
    fn measurements(self, order: &Order) -> Vec<(String, Measurement)> {
        let each = |work: fn(&Arc<Site>, &Order, Kind, &mut Report) -> Result<()>| {
            let named = |kind: &Kind| {
                let (kind, name) = (*kind, format!("{}, {} routers", self.name(), kind.name()));
                let work: Measurement =
                    Box::new(move |site, order, report| work(site, order, kind, report));
                (name, work)
            };
            order.tors.iter().map(named).collect()
        };
        let once = |name: &str, work: Measurement| (format!("{}, {name}", self.name()), work);
        match self {
            Self::Decision => each(decision::measure),
            Self::Start => each(start::measure),
            Self::Death => each(death::measure),
            Self::Scale => vec![
                once("1000 services", Box::new(scale::services)),
                once("1 service", Box::new(scale::one_service)),
                once("BIRD", Box::new(scale::bird)),
            ],
            Self::Table => vec![once("8 BIRD routers", Box::new(table::measure))],
            Self::Resources => [1, 100, 1000]
                .map(|checks: u32| {
                    let work: Measurement = Box::new(move |site, order, rep| {
                        resources::measure(site, order, checks, rep)
                    });
                    once(&format!("{checks} checks"), work)
                })
                .into(),
            Self::Bfd => {
                let mut all = each(bfd::under_load);
                all.push(once("two vipcastd", Box::new(bfd::between_two)));
                all.push(once("256 sessions", Box::new(bfd::many_sessions)));
                all.push(once("detection", Box::new(bfd::detection)));
                all
            }
        }
    }
}

/// Makes a fabric on the site, measures in it, and puts the values into the report.
type Measurement = Box<dyn FnOnce(&Arc<Site>, &Order, &mut Report) -> Result<()>>;

/// A measurement that fails is reported in the end; the others are made nevertheless.
pub(crate) fn run(order: &Order) -> Result<()> {
    let interrupt = Interrupt::arm()?;
    let mut report = Report::begin(&order.binaries)?;
    let mut failures = Vec::new();
    for (name, measure) in order.parts.iter().flat_map(|part| part.measurements(order)) {
        eprintln!("lab: {name}");
        let work = |site: &Arc<Site>| measure(site, order, &mut report);
        if let Err(error) = interrupt.on_site(Site::temporary, work) {
            eprintln!("lab: {name}: {error:#}");
            failures.push(name);
        }
    }
    report.end()?;
    let json = format!("{:#}\n", report.json());
    match order.json.as_deref() {
        Some(path) if path.as_os_str() == "-" => print(&json)?,
        Some(path) => {
            std::fs::write(path, json)
                .with_context(|| format!("cannot write {}", path.display()))?;
            print(&report.table())?;
        }
        None => print(&report.table())?,
    }
    ensure!(failures.is_empty(), "could not be measured: {}", failures.join("; "));
    Ok(())
}
