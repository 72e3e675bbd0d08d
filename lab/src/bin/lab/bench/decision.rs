//! From a verdict to the routers' kernels: the last answer of a service that fails, or recovers,
//! until the next hop is gone, or back, at both routers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use vipcast_lab::configuration;
use vipcast_lab::fabric::{Fabric, vip};
use vipcast_lab::responder::Responder;
use vipcast_lab::router::{BfdTimers, Kind};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;

use super::Order;
use super::report::{Report, Row};
use super::stage::{BOUND, PAUSE, PORT, daemon, fabric, last, one};

/// Through the kernel of a BIRD router.
const AIM: f64 = 3.0;

pub(super) fn measure(
    site: &Arc<Site>,
    order: &Order,
    kind: Kind,
    report: &mut Report,
) -> Result<()> {
    let fabric = fabric(site, kind, 2, BfdTimers::DEFAULT)?;
    let vips = [vip(5)[0], vip(5)[1], one().vips()[0]];
    // The other next hop.
    let _other = fabric.announce_with_bird(2, &vips)?;
    let mut add = |how, changes: [Samples; 2], bird: bool| {
        for (samples, change) in changes.into_iter().zip(["gone", "back"]) {
            let what = format!("verdict → next hop {change}, {} routers", kind.name());
            let aim = (kind == Kind::Bird && change == "gone" && !bird).then_some(AIM);
            let row = Row::of(what, samples).how(how).aim(aim);
            report.add(if bird { row.bird() } else { row });
        }
    };
    add("(responder's clock)", by_responder(order, &fabric)?, false);
    add("(nginx's clock)", by_nginx(order, &fabric)?, false);
    add("(command)", by_command(order, &fabric)?, true);
    Ok(())
}

/// Lets the VIP go and come back again and again. `change` provokes it and gives the time of the
/// verdict, once the routers have heard of it.
fn toggle(
    order: &Order,
    fabric: &Fabric,
    vip: IpNet,
    mut change: impl FnMut(bool, &dyn Fn() -> Result<()>) -> Result<Instant>,
) -> Result<[Samples; 2]> {
    let mut samples = [Samples::default(), Samples::default()];
    last(fabric, &[vip], "host1", true)?;
    for _ in 0..order.runs {
        for (samples, present) in samples.iter_mut().zip([false, true]) {
            thread::sleep(PAUSE);
            let happened = || last(fabric, &[vip], "host1", present).map(drop);
            let verdict = change(present, &happened)?;
            let at = last(fabric, &[vip], "host1", present)?;
            samples.push_time(at.saturating_duration_since(verdict));
        }
    }
    Ok(samples)
}

fn by_responder(order: &Order, fabric: &Fabric) -> Result<[Samples; 2]> {
    let responder = Responder::start(&fabric.host(1).namespace, PORT)?;
    let mut daemon = daemon(order, fabric, 1, &one().text())?;
    daemon.run()?;
    toggle(order, fabric, one().vips()[0], |healthy, happened| {
        let since = responder.set_healthy(healthy);
        happened()?;
        let verdicts = responder.verdicts(since, healthy, 1, 1, BOUND)?;
        verdicts.get(&0).copied().context("check 0 was not answered")
    })
}

fn by_nginx(order: &Order, fabric: &Fabric) -> Result<[Samples; 2]> {
    let services = configuration::POOLS.to_owned() + configuration::WEB;
    let mut daemon = daemon(order, fabric, 1, &services)?;
    daemon.run()?;
    let nginx = &fabric.host(1).nginx;
    toggle(order, fabric, vip(5)[0], |healthy, happened| {
        let status = if healthy { 200 } else { 503 };
        // nginx cuts off what is less than a millisecond.
        let since = Instant::now() - Duration::from_millis(1);
        nginx.set_health("/healthz", healthy)?;
        happened()?;
        let answers = nginx.answers()?.into_iter().filter(|answer| answer.at >= since);
        let verdict = answers.filter(|answer| answer.status == status).nth(1);
        verdict.map(|answer| answer.at).context("nginx logged no answer that decides")
    })
}

fn by_command(order: &Order, fabric: &Fabric) -> Result<[Samples; 2]> {
    let vip = one().vips()[0];
    let bird = fabric.announce_with_bird(1, &[vip])?;
    toggle(
        order,
        fabric,
        vip,
        |present, _| {
            if present { bird.announce(vip) } else { bird.withdraw(vip) }
        },
    )
}
