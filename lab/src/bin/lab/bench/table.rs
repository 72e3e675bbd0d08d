//! Ten thousand routes, half of them IPv6, to eight BIRD routers: how long it takes until all have
//! them, what they cost in memory and on the wire, and how long the daemon is busy with a reload or
//! a question of that size.
//!
//! The routers keep the routes to themselves: their kernels would take longer than BGP. What counts
//! is when a router says how many it has, which it is asked every few milliseconds.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vipcast_lab::announcer::BirdAnnouncer;
use vipcast_lab::configuration::{Table, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, FabricConfig, TorConfig};
use vipcast_lab::process::Process;
use vipcast_lab::resources::{Usage, acknowledged};
use vipcast_lab::responder::Responder;
use vipcast_lab::router::{BirdControl, Kind};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;
use vipcast_lab::tap::Tap;

use super::Order;
use super::report::{Report, Row};
use super::stage::{BOUND, PAUSE, PORT, since_execution};

const ROUTES: u32 = 10_000;
const ROUTERS: u32 = 8;
/// Between two questions to the routers, which answering costs time, too.
const QUESTIONS: Duration = Duration::from_millis(5);
/// After sessions have come up or ended, until everybody is at rest.
const REST: Duration = Duration::from_secs(3);

pub(super) fn measure(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    let tor = TorConfig { kernel: false, ..TorConfig::new(Kind::Bird) };
    let mut tors = vec![tor; ROUTERS as usize];
    // Nine daemons on a few cores: BFD would tell how many those are.
    tors.iter_mut().for_each(|tor| tor.neighbour.bfd = None);
    let fabric = Fabric::start_on(site, &FabricConfig { hosts: 1, tors })?;
    let mut routers = Routers::of(&fabric)?;
    let responder = Responder::start(&fabric.host(1).namespace, PORT)?;
    vipcast(order, &mut routers, &responder, report)?;
    bird(order, &mut routers, report)
}

fn vipcast(
    order: &Order,
    routers: &mut Routers<'_>,
    responder: &Responder,
    report: &mut Report,
) -> Result<()> {
    let fabric = routers.fabric;
    let text = |interface| peers(fabric, 1) + &table(interface).text();
    let mut daemon = Daemon::prepare(fabric.host(1), &order.binaries, &text("none"))?;
    responder.set_healthy(false);
    daemon.run()?;
    let announcer = Announcer::Vipcast(&daemon, responder);
    changes(order, routers, &announcer)?.report(report, false)?;

    // All of them are announced now.
    let commands: [(&str, &[&str]); 3] = [
        ("vipcast status", &["status"]),
        ("vipcast routes", &["routes"]),
        ("vipcast routes of one peer", &["routes", "--peer", "tor1"]),
    ];
    for (what, arguments) in commands {
        let taken = timed(order, |_| daemon.vipcast(arguments.iter().copied()).map(drop))?;
        report.add(Row::of(format!("{ROUTES} routes: {what}"), taken));
    }
    let taken = timed(order, |_| daemon.reload())?;
    report.add(Row::of(format!("{ROUTES} routes: reload, nothing changed"), taken));
    let taken = timed(order, |run| {
        let community = format!("\n[advertisement.all]\ncommunities = [\"65000:{run}\"]\n");
        daemon.write_configuration(&(text("none") + &community))?;
        daemon.reload()
    })?;
    report.add(Row::of(format!("{ROUTES} routes: reload, a community changed"), taken));

    for (interface, how) in [("none", ""), ("lo", "(VIPs on lo)")] {
        let mut starts = Starts::default();
        for _ in 0..order.runs {
            daemon.stop()?;
            routers.rest()?;
            daemon.write_configuration(&text(interface))?;
            daemon.run()?;
            starts.take(routers, daemon.process()?)?;
        }
        starts.report(report, how);
    }
    daemon.stop()?;
    routers.rest()
}

fn bird(order: &Order, routers: &mut Routers<'_>, report: &mut Report) -> Result<()> {
    let bird = routers.fabric.announce_table_with_bird(1, &table("none").vips())?;
    changes(order, routers, &Announcer::Bird(&bird))?.report(report, true)?;
    let taken = timed(order, |_| bird.router().command("show route export tor1").map(drop))?;
    report.add(Row::of(format!("{ROUTES} routes: vipcast routes of one peer"), taken).bird());
    let taken = timed(order, |_| bird.router().command("configure").map(drop))?;
    report.add(Row::of(format!("{ROUTES} routes: reload, nothing changed"), taken).bird());
    Ok(())
}

fn table(interface: &'static str) -> Table {
    Table { vips: ROUTES, interface, port: PORT }
}

/// How long it takes each time.
fn timed(order: &Order, mut work: impl FnMut(u32) -> Result<()>) -> Result<Samples> {
    let mut samples = Samples::default();
    for run in 0..order.runs {
        thread::sleep(PAUSE);
        let start = Instant::now();
        work(run)?;
        samples.push_time(start.elapsed());
    }
    Ok(samples)
}

/// The routers, and their answers to how many routes they have.
struct Routers<'a> {
    fabric: &'a Fabric,
    controls: Vec<BirdControl>,
    taps: Vec<Tap>,
}

impl<'a> Routers<'a> {
    fn of(fabric: &'a Fabric) -> Result<Self> {
        let tors = fabric.tors.iter();
        let controls = tors.clone().map(|tor| tor.router.control()).collect::<Result<_>>()?;
        let taps = tors.map(|tor| Tap::start(&tor.namespace)).collect::<Result<_>>()?;
        Ok(Self { fabric, controls, taps })
    }

    /// Since when each of them says that it has so many routes of the host.
    fn wait(&mut self, routes: u32) -> Result<Vec<Instant>> {
        let end = Instant::now() + BOUND;
        let mut times = vec![None; self.controls.len()];
        while times.contains(&None) {
            ensure!(Instant::now() < end, "waited in vain for {routes} routes: {times:?}");
            thread::sleep(QUESTIONS);
            for (control, time) in self.controls.iter_mut().zip(&mut times) {
                if time.is_none() && control.received("host1")? == routes as usize {
                    *time = Some(Instant::now());
                }
            }
        }
        Ok(times.into_iter().flatten().collect())
    }

    /// Since when the last of them has so many.
    fn wait_all(&mut self, routes: u32) -> Result<Instant> {
        self.wait(routes)?.into_iter().max().context("a fabric has routers")
    }

    fn wait_established(&self) -> Result<()> {
        for tor in &self.fabric.tors {
            tor.router.wait_established("host1", BOUND)?;
        }
        Ok(())
    }

    /// Waits until the host is gone and forgotten.
    fn rest(&mut self) -> Result<()> {
        self.wait_all(0)?;
        thread::sleep(REST);
        Ok(())
    }
}

/// Who announces all or nothing.
enum Announcer<'a> {
    Vipcast(&'a Daemon, &'a Responder),
    Bird(&'a BirdAnnouncer),
}

impl Announcer<'_> {
    fn usage(&self) -> Result<Usage> {
        let pid = match self {
            Self::Vipcast(daemon, _) => daemon.process()?.pid(),
            Self::Bird(bird) => {
                bird.router().processes().first().context("BIRD has a process")?.pid()
            }
        };
        Usage::of(pid)
    }

    /// Announces all or nothing: when that was decided, and since when all routers know.
    fn announce(&self, announced: bool, routers: &mut Routers<'_>) -> Result<(Instant, Instant)> {
        let wanted = if announced { ROUTES } else { 0 };
        match self {
            Self::Vipcast(_, responder) => {
                let since = responder.set_healthy(announced);
                let all = routers.wait_all(wanted)?;
                let verdicts = responder.verdicts(since, announced, 1, 1, BOUND)?;
                Ok((*verdicts.get(&0).context("check 0 was not answered")?, all))
            }
            Self::Bird(bird) => Ok((bird.announce_all(announced)?, routers.wait_all(wanted)?)),
        }
    }
}

/// What it takes until all routers have everything, or nothing any more, in sessions that are up.
#[derive(Default)]
struct Changes {
    times: [Samples; 2],
    /// Octets of BGP for each route to each router
    octets: [Samples; 2],
    idle: Option<Usage>,
    full: Option<Usage>,
    last: Option<Usage>,
}

fn changes(order: &Order, routers: &mut Routers<'_>, announcer: &Announcer<'_>) -> Result<Changes> {
    let namespace = &routers.fabric.host(1).namespace;
    let mut changes = Changes::default();
    routers.wait_established()?;
    thread::sleep(REST);
    changes.idle = Some(announcer.usage()?);
    // Once more than the runs, since it ends with everything announced.
    for run in 0..=order.runs {
        for (kind, announced) in [(0, true), (1, false)] {
            thread::sleep(PAUSE);
            let before = acknowledged(namespace)?;
            let (decided, all) = announcer.announce(announced, routers)?;
            thread::sleep(PAUSE); // for the last acknowledgement
            if run == order.runs {
                break;
            }
            let octets = u32::try_from(acknowledged(namespace)? - before)?;
            changes.times[kind].push_time(all.saturating_duration_since(decided));
            changes.octets[kind].push(f64::from(octets) / f64::from(ROUTERS * ROUTES));
            if announced && changes.full.is_none() {
                changes.full = Some(announcer.usage()?);
            }
        }
    }
    changes.last = Some(announcer.usage()?);
    Ok(changes)
}

impl Changes {
    fn report(self, report: &mut Report, is_bird: bool) -> Result<()> {
        let mut add = |what: String, samples: Samples, unit: &'static str| {
            let row = Row::of(format!("{ROUTES} routes, {ROUTERS} routers: {what}"), samples);
            let row = row.unit(unit);
            report.add(if is_bird { row.bird() } else { row });
        };
        for (samples, change) in self.times.into_iter().zip(["there", "gone"]) {
            add(format!("one verdict → all {change}"), samples, "ms");
        }
        for (samples, change) in self.octets.into_iter().zip(["there", "gone"]) {
            add(format!("sent for each to be {change}"), samples, "octets");
        }
        let [idle, full, last] =
            [self.idle, self.full, self.last].map(|usage| usage.context("nothing was measured"));
        let (idle, full, last) = (idle?, full?, last?);
        let growth = (full.pss - idle.pss) * 1024.0 * 1024.0 / f64::from(ROUTERS * ROUTES);
        for (what, value, unit) in [
            ("PSS before", idle.pss, "MiB"),
            ("PSS with all", full.pss, "MiB"),
            ("PSS with all, in the end", last.pss, "MiB"),
            ("most that was resident", last.peak, "MiB"),
            ("PSS for each at each router", growth, "octets"),
        ] {
            let mut samples = Samples::default();
            samples.push(value);
            add(what.to_owned(), samples, unit);
        }
        Ok(())
    }
}

/// What a start takes until all routers have everything. BIRD's would be about its timers, by which
/// it waits for a second and more before it connects.
#[derive(Default)]
struct Starts {
    executed: Samples,
    accepted: Samples,
}

impl Starts {
    /// Waits for the end of a start that has begun.
    fn take(&mut self, routers: &mut Routers<'_>, process: &Process) -> Result<()> {
        let fabric = routers.fabric;
        let times = routers.wait(ROUTES)?;
        let last = times.iter().max().copied().context("a fabric has routers")?;
        self.executed.push_time(since_execution(process, last));
        let mut slowest = Duration::ZERO;
        for ((tor, tap), at) in fabric.tors.iter().zip(&routers.taps).zip(times) {
            let host = fabric.host(1).end(tor.number).ipv4.into();
            let accepted = tap.last_before(at, host).context("nobody accepted a connection")?;
            slowest = slowest.max(at - accepted.at);
        }
        self.accepted.push_time(slowest);
        Ok(())
    }

    fn report(self, report: &mut Report, how: &'static str) {
        let what = |what| format!("{ROUTES} routes, {ROUTERS} routers: {what}");
        report.add(Row::of(what("exec → all there"), self.executed).how(how));
        let slowest = "TCP accepted → all there, the slowest router";
        report.add(Row::of(what(slowest), self.accepted).how(how));
    }
}
