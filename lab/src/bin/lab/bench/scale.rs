//! A thousand VIPs that go and come at once, at BIRD routers.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use vipcast_lab::configuration::Many;
use vipcast_lab::fabric::Fabric;
use vipcast_lab::responder::Responder;
use vipcast_lab::router::{BfdTimers, Kind};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;

use super::Order;
use super::report::{Report, Row};
use super::stage::{BOUND, PORT, daemon, fabric, last};

const VIPS: u32 = 1000;
/// From the last verdict until all are gone.
const AIM: f64 = 50.0;
/// A round of all checks, and some more.
const ROUND: Duration = Duration::from_millis(1500);

/// Each VIP has a service and a check of its own.
pub(super) fn services(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    let interval = Duration::from_secs(1);
    let many = Many { services: VIPS, vips_each: 1, interval, port: PORT };
    toggle(site, order, many, "1000 services", report)
}

/// All VIPs hang on one check.
pub(super) fn one_service(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    let interval = Duration::from_millis(100);
    let many = Many { services: 1, vips_each: VIPS, interval, port: PORT };
    toggle(site, order, many, "1000 VIPs of one verdict", report)
}

/// As [`one_service`], by one command.
pub(super) fn bird(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    let fabric = fabric(site, Kind::Bird, 1, BfdTimers::DEFAULT)?;
    let interval = Duration::from_secs(1);
    let vips = Many { services: 1, vips_each: VIPS, interval, port: PORT }.vips();
    let bird = fabric.announce_with_bird(1, &vips)?;
    last(&fabric, &vips, "host1", true)?;
    for (present, change) in [(false, "gone"), (true, "back")] {
        let mut samples = Samples::default();
        for _ in 0..order.runs {
            bird.announce_all(!present)?;
            last(&fabric, &vips, "host1", !present)?;
            thread::sleep(ROUND);
            let at = bird.announce_all(present)?;
            samples.push_time(last(&fabric, &vips, "host1", present)? - at);
        }
        let what = format!("1000 VIPs of one verdict → all {change}");
        report.add(Row::of(what, samples).bird().how("(command)"));
    }
    Ok(())
}

/// What is of interest in one change of all.
#[derive(Default)]
struct Changes {
    /// From the last verdict until all routers have changed all.
    all: Samples,
    /// From the first change at the first router to the last at the last.
    spread: Samples,
    /// From each verdict to its own change, 99 of 100.
    each: Samples,
}

fn toggle(
    site: &Arc<Site>,
    order: &Order,
    many: Many,
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let fabric = fabric(site, Kind::Bird, 1, BfdTimers::DEFAULT)?;
    let responder = Responder::start(&fabric.host(1).namespace, PORT)?;
    let mut daemon = daemon(order, &fabric, 1, &many.text())?;
    daemon.run()?;
    last(&fabric, &many.vips(), "host1", true)?;
    let mut changes: [Changes; 2] = Default::default();
    for _ in 0..order.runs {
        for (changes, healthy) in changes.iter_mut().zip([false, true]) {
            thread::sleep(ROUND);
            let since = responder.set_healthy(healthy);
            let checks = many.services as usize;
            let verdicts = responder.verdicts(since, healthy, 1, checks, BOUND)?;
            last(&fabric, &many.vips(), "host1", healthy)?;
            changes.take(&fabric, &many, &verdicts, healthy)?;
        }
    }
    for (changes, change) in changes.into_iter().zip(["gone", "back"]) {
        let aim = (change == "gone").then_some(AIM);
        report.add(Row::of(format!("{name} → all {change}"), changes.all).aim(aim));
        if many.services > 1 {
            let what = format!("{name}, from the first {change} to the last");
            report.add(Row::of(what, changes.spread));
            let what = format!("{name}, each verdict → its VIP {change}, p99");
            report.add(Row::of(what, changes.each));
        }
    }
    Ok(())
}

impl Changes {
    fn take(
        &mut self,
        fabric: &Fabric,
        many: &Many,
        verdicts: &HashMap<u32, Instant>,
        healthy: bool,
    ) -> Result<()> {
        let decided = verdicts.values().max().context("there are verdicts")?;
        let (mut first, mut last, mut each) = (None::<Instant>, *decided, Samples::default());
        for (number, vip) in (0..).zip(many.vips()) {
            let verdict = verdicts.get(&(number / many.vips_each)).context("no verdict")?;
            for at in at_routers(fabric, vip, healthy)? {
                first = Some(first.map_or(at, |first| first.min(at)));
                last = last.max(at);
                each.push_time(at.saturating_duration_since(*verdict));
            }
        }
        self.all.push_time(last - *decided);
        self.spread.push_time(first.map(|first| last - first).unwrap_or_default());
        self.each.push(each.quantile(0.99).context("there are VIPs")?);
        Ok(())
    }
}

fn at_routers(fabric: &Fabric, vip: IpNet, present: bool) -> Result<Vec<Instant>> {
    fabric.wait_for_host(&[vip], "host1", present, BOUND)
}
