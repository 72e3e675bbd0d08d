//! The silent death of a host, and its return. host1 has vipcastd, host2 BIRD, and they die in
//! turns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use vipcast_lab::fabric::Fabric;
use vipcast_lab::outage::Outage;
use vipcast_lab::responder::Responder;
use vipcast_lab::router::{BfdTimers, Kind};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;

use super::Order;
use super::report::{Report, Row};
use super::stage::{BOUND, PORT, await_bfd, daemon, fabric, one};

const INTERVALS: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(50)];

pub(super) fn measure(
    site: &Arc<Site>,
    order: &Order,
    kind: Kind,
    report: &mut Report,
) -> Result<()> {
    // One after the other on the same site; the fabric of the first is gone by then.
    for interval in INTERVALS {
        let fabric = fabric(site, kind, 2, BfdTimers { interval, multiplier: 3 })?;
        let vips = one().vips();
        let _responder = Responder::start(&fabric.host(1).namespace, PORT)?;
        let mut daemon = daemon(order, &fabric, 1, &one().text())?;
        daemon.run()?;
        let _bird = fabric.announce_with_bird(2, &vips)?;
        let mut samples: [[Samples; 2]; 2] = Default::default();
        for _ in 0..order.runs {
            for (host, [gone, back]) in (1..).zip(&mut samples) {
                let (died, returned) = kill(&fabric, host)?;
                gone.push_time(died);
                back.push_time(returned);
            }
        }
        let [ours, theirs] = samples;
        for (samples, is_bird) in [(ours, false), (theirs, true)] {
            for (samples, change) in
                samples.into_iter().zip(["died → next hop gone", "back → next hop back"])
            {
                let what = format!(
                    "host {change}, BFD {} ms x 3, {} routers",
                    interval.as_millis(),
                    kind.name()
                );
                let row = Row::of(what, samples);
                report.add(if is_bird { row.bird() } else { row });
            }
        }
    }
    Ok(())
}

/// Kills a host (from 1) and revives it; the slower router counts.
fn kill(fabric: &Fabric, host: usize) -> Result<(Duration, Duration)> {
    let (vips, name) = (one().vips(), fabric.host(host).name());
    fabric.wait_for_host(&vips, name, true, BOUND)?;
    await_bfd(fabric, host)?;
    let outage = Outage::begin(fabric.host(host))?;
    let gone = fabric.wait_for_host(&vips, name, false, BOUND)?;
    let died = gone.iter().zip(outage.began()).map(|(at, cut)| at.saturating_duration_since(*cut));
    let died = died.max().context("a fabric has routers")?;
    std::thread::sleep(Duration::from_secs(1));
    let revived = outage.revive()?;
    let back = fabric.wait_for_host(&vips, name, true, BOUND)?;
    let returned = back.iter().zip(revived).map(|(at, since)| at.saturating_duration_since(since));
    Ok((died, returned.max().context("a fabric has routers")?))
}
