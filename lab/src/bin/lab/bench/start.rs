//! Cold start: from nothing to the next hop in the routers' kernels.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vipcast_lab::fabric::Fabric;
use vipcast_lab::process::Process;
use vipcast_lab::responder::Responder;
use vipcast_lab::router::{BfdTimers, Kind};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;
use vipcast_lab::tap::Tap;

use super::Order;
use super::report::{Report, Row};
use super::stage::{BOUND, PORT, daemon, fabric, last, one, since_execution};

/// From the moment in which a router accepts the connection.
const AIM: f64 = 100.0;
/// After a session has ended, until the routers are ready for the next.
const REST: Duration = Duration::from_secs(3);

/// What a start took, and what the routers contributed.
#[derive(Default)]
struct Starts {
    first: Samples,
    both: Samples,
    accepted: Samples,
}

pub(super) fn measure(
    site: &Arc<Site>,
    order: &Order,
    kind: Kind,
    report: &mut Report,
) -> Result<()> {
    let fabric = fabric(site, kind, 2, BfdTimers::DEFAULT)?;
    let vips = one().vips();
    let _other = fabric.announce_with_bird(2, &vips)?;
    let taps: Vec<Tap> =
        fabric.tors.iter().map(|tor| Tap::start(&tor.namespace)).collect::<Result<_>>()?;
    let mut add = |starts: Starts, bird: bool| {
        let rows = [
            ("exec → next hop at the first router", starts.first, None),
            ("exec → next hop at both routers", starts.both, None),
            ("TCP accepted → next hop, the slower router", starts.accepted, Some(AIM)),
        ];
        for (what, samples, aim) in rows {
            let row = Row::of(format!("{what}, {} routers", kind.name()), samples);
            report.add(if bird { row.bird() } else { row.aim(aim) });
        }
    };

    let _responder = Responder::start(&fabric.host(1).namespace, PORT)?;
    let mut daemon = daemon(order, &fabric, 1, &one().text())?;
    let mut ours = Starts::default();
    for _ in 0..order.runs {
        daemon.run()?;
        ours.take(&fabric, &taps, daemon.process()?)?;
        daemon.stop()?;
        rest(&fabric)?;
    }
    add(ours, false);

    let mut bird = fabric.announce_with_bird(1, &vips)?;
    let mut theirs = Starts::default();
    for _ in 0..order.runs {
        last(&fabric, &vips, "host1", true)?;
        bird.router_mut().stop()?;
        rest(&fabric)?;
        bird.router_mut().run()?;
        let process = bird.router().processes().first().context("BIRD has a process")?;
        theirs.take(&fabric, &taps, process)?;
    }
    add(theirs, true);
    Ok(())
}

impl Starts {
    /// Waits until host1 has arrived and takes the times.
    fn take(&mut self, fabric: &Fabric, taps: &[Tap], process: &Process) -> Result<()> {
        let times = fabric.wait_for_host(&one().vips(), "host1", true, BOUND)?;
        let (first, both) = (times.iter().min(), times.iter().max());
        let [first, both] = [first, both].map(|at| at.copied().unwrap_or_else(Instant::now));
        self.first.push_time(since_execution(process, first));
        self.both.push_time(since_execution(process, both));
        let mut slowest = Duration::ZERO;
        for ((tor, tap), at) in fabric.tors.iter().zip(taps).zip(times) {
            let host = fabric.host(1).end(tor.number).ipv4.into();
            let accepted = tap.last_before(at, host).context("nobody accepted a connection")?;
            slowest = slowest.max(at - accepted.at);
        }
        self.accepted.push_time(slowest);
        Ok(())
    }
}

/// Waits until host1 is gone and forgotten.
fn rest(fabric: &Fabric) -> Result<()> {
    last(fabric, &one().vips(), "host1", false)?;
    thread::sleep(REST);
    Ok(())
}
