//! Memory, CPU time and punctuality with many HTTP checks at 1 s; BIRD on host2 has as many VIPs and
//! no checks.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vipcast_lab::configuration::Many;
use vipcast_lab::resources::Usage;
use vipcast_lab::responder::{Answer, Responder};
use vipcast_lab::router::{BfdTimers, Kind};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;

use super::Order;
use super::report::{Report, Row};
use super::stage::{PORT, daemon, fabric, last};

const INTERVAL: Duration = Duration::from_secs(1);
/// Until everything that happens only once has happened.
const WARM_UP: Duration = Duration::from_secs(5);

pub(super) fn measure(
    site: &Arc<Site>,
    order: &Order,
    checks: u32,
    report: &mut Report,
) -> Result<()> {
    let fabric = fabric(site, Kind::Bird, 2, BfdTimers::DEFAULT)?;
    let many = Many { services: checks, vips_each: 1, interval: INTERVAL, port: PORT };
    let responder = Responder::start(&fabric.host(1).namespace, PORT)?;
    let mut daemon = daemon(order, &fabric, 1, &many.text())?;
    daemon.run()?;
    let bird = fabric.announce_with_bird(2, &many.vips())?;
    for host in ["host1", "host2"] {
        last(&fabric, &many.vips(), host, true)?;
    }
    thread::sleep(WARM_UP);

    let pid = daemon.process()?.pid();
    let bird = bird.router().processes().first().context("BIRD has a process")?.pid();
    let (start, before) = (Instant::now(), [Usage::of(pid)?, Usage::of(bird)?]);
    thread::sleep(Duration::from_secs(order.seconds.into()));
    let (end, after) = (Instant::now(), [Usage::of(pid)?, Usage::of(bird)?]);

    for (is_bird, (before, after)) in [false, true].into_iter().zip(before.into_iter().zip(after)) {
        let cpu = (after.cpu() - before.cpu()).as_secs_f64() * 60.0 / (end - start).as_secs_f64();
        let rows = [
            ("PSS", "MiB", after.pss, most_memory(checks)),
            ("of that written to", "MiB", after.private_dirty, None),
            ("CPU time in a minute", "s", cpu, most_cpu(checks)),
        ];
        for (what, unit, value, aim) in rows {
            let row =
                Row::of(format!("{what}, {checks} checks a second"), single(value)).unit(unit);
            report.add(if is_bird { row.bird().how("(no checks)") } else { row.aim(aim) });
        }
    }
    let answers: Vec<Answer> =
        responder.answers_since(start).into_iter().filter(|answer| answer.at < end).collect();
    #[expect(clippy::cast_precision_loss, reason = "not that many")]
    let rate = answers.len() as f64 / (end - start).as_secs_f64();
    let name = |what: &str| format!("{what}, {checks} checks a second");
    report.add(Row::of(name("checks done"), single(rate)).unit("1/s"));
    let late = lateness(&answers);
    for (what, part) in [("p50", 0.5), ("p99", 0.99), ("most", 1.0)] {
        let late = late.quantile(part).context("there were checks")?;
        report.add(Row::of(name(&format!("later than their grid, {what}")), single(late)));
    }
    Ok(())
}

/// What the PSS shall not exceed.
fn most_memory(checks: u32) -> Option<f64> {
    match checks {
        1 => Some(8.0),
        1000 => Some(20.0),
        _ => None,
    }
}

/// What the CPU time shall not exceed.
fn most_cpu(checks: u32) -> Option<f64> {
    (checks == 100).then_some(2.0)
}

fn single(value: f64) -> Samples {
    let mut samples = Samples::default();
    samples.push(value);
    samples
}

/// How much later than its check's grid each connection came. The grid of a check is that of the
/// interval on which none came early.
fn lateness(answers: &[Answer]) -> Samples {
    let mut checks: HashMap<u32, Vec<Instant>> = HashMap::new();
    for answer in answers {
        checks.entry(answer.check).or_default().push(answer.accepted);
    }
    let mut late = Samples::default();
    for times in checks.values() {
        // The distance of each from the first, without the nearest number of whole intervals.
        let offsets: Vec<f64> = times
            .iter()
            .map(|at| {
                let distance = (*at - times[0]).as_secs_f64() / INTERVAL.as_secs_f64();
                (distance - distance.round()) * INTERVAL.as_secs_f64() * 1e3
            })
            .collect();
        let earliest = offsets.iter().copied().fold(0.0, f64::min);
        offsets.iter().for_each(|offset| late.push(offset - earliest));
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_counts_from_the_most_punctual() {
        let start = Instant::now();
        let answer = |milliseconds| {
            let accepted = start + Duration::from_millis(milliseconds);
            Answer { check: 0, accepted, at: accepted, healthy: true }
        };
        let late = lateness(&[3, 1000, 2007, 4001].map(answer));
        let shown: Vec<String> = late.values().iter().map(|late| format!("{late:.3}")).collect();
        assert_eq!(shown, ["3.000", "0.000", "7.000", "1.000"]);
    }
}
