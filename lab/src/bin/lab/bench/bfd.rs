//! BFD at its shortest intervals: how often sessions fail that should not, what they cost, and how
//! late a silent router is noticed.
//!
//! The routers run at real-time priority, as a router's own BFD does in hardware: a router that is
//! late itself would tell nothing about vipcastd.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use vipcast_lab::configuration::Many;
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::Fabric;
use vipcast_lab::link::{End, Link};
use vipcast_lab::netns::Namespace;
use vipcast_lab::process::Process;
use vipcast_lab::resources::Usage;
use vipcast_lab::responder::Responder;
use vipcast_lab::router::{BfdState, BfdTimers, Kind, Neighbour, Router, RouterConfig};
use vipcast_lab::samples::Samples;
use vipcast_lab::site::Site;
use vipcast_lab::tap::{Control, Tap};
use vipcast_lab::wait;

use super::Order;
use super::report::{Report, Row};
use super::stage::{BOUND, PORT, await_bfd, daemon, fabric, last};

const CHECKS: u32 = 1000;
const SESSIONS: u32 = 256;
const MULTIPLIER: u8 = 3;
/// Loops without end, for each core.
const LOOPS: usize = 2;
/// After something has changed, until nothing follows from it any more.
const REST: Duration = Duration::from_secs(3);
/// Between two looks at whether the machine goes on.
const LOOK: Duration = Duration::from_millis(1);
/// Of the states of RFC 5880 §4.1.
const DOWN: u8 = 1;

/// Flaps at 10 ms with 1000 checks and all cores busy, with real-time priority and without.
pub(super) fn under_load(
    site: &Arc<Site>,
    order: &Order,
    kind: Kind,
    report: &mut Report,
) -> Result<()> {
    let interval = Duration::from_millis(10);
    let many =
        Many { services: CHECKS, vips_each: 1, interval: Duration::from_secs(1), port: PORT };
    for (realtime, how) in [(true, ""), (false, "(normal priority)")] {
        let fabric = fabric(site, kind, 1, BfdTimers { interval, multiplier: MULTIPLIER })?;
        let _responder = Responder::start(&fabric.host(1).namespace, PORT)?;
        let mut daemon = daemon(order, &fabric, 1, &many.text())?;
        daemon.run()?;
        last(&fabric, &many.vips(), "host1", true)?;
        for tor in &fabric.tors {
            hasten(&tor.router)?;
        }
        let pid = daemon.process()?.pid().to_string();
        if !realtime {
            fabric.host(1).namespace.run("chrt", ["-a", "-o", "-p", "0", &pid])?;
        }
        await_bfd(&fabric, 1)?;
        let _load = load(&fabric.host(1).namespace)?;
        let flaps = Flaps::during(order, &daemon)?;
        let what = format!("BFD 10 ms x 3, {CHECKS} checks, busy cores, {} routers", kind.name());
        flaps.report(report, &what, how, realtime.then_some(0.0));
    }
    Ok(())
}

/// Flaps between two vipcastd at 3.3 ms.
pub(super) fn between_two(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    let (one, other) = cable(site, "one", "other")?;
    let text = |number: u32, peer: &End, passive: bool| {
        format!(
            "[bgp]\nlocal-asn = 6510{number}\nrouter-id = \"10.255.0.{number}\"\n\
             [peer.other]\naddress = \"{}\"\nremote-asn = 6510{}\npassive = {passive}\n\
             bfd = \"fast\"\n{}",
            peer.ipv4,
            3 - number,
            profile("3300us")
        )
    };
    let prepare = |end: &End, text: &str| {
        let mut daemon = Daemon::prepare_on(&end.namespace, &order.binaries, text)?;
        daemon.run().map(|()| daemon)
    };
    let daemons = [prepare(&one, &text(1, &other, true))?, prepare(&other, &text(2, &one, false))?];
    for daemon in &daemons {
        wait::until_true("BFD and BGP are up", BOUND, || {
            let peer = &daemon.status().unwrap_or_default()["peers"][0];
            Ok(peer["established"] == true && peer["bfd"]["up"] == true)
        })?;
    }
    thread::sleep(REST);
    let before = Flaps::until_now(&daemons[1])?;
    let flaps = Flaps::during(order, &daemons[0])?;
    let others = Flaps::until_now(&daemons[1])?.since(&before);
    let what = "BFD 3.3 ms x 3, two vipcastd";
    flaps.plus(&others).report(report, what, "", Some(0.0));
    Ok(())
}

/// Flaps and CPU time of 256 sessions at 50 ms, with a BIRD that has as many addresses.
pub(super) fn many_sessions(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    let (host, router) = cable(site, "host", "router")?;
    // BIRD has one session with each address of a neighbour.
    let ends: Vec<[Ipv4Addr; 2]> = (1..=SESSIONS)
        .map(|number| [0x0a4d_8000, 0x0a4d_0000].map(|net: u32| Ipv4Addr::from(net + number)))
        .collect();
    for (side, end) in [&host, &router].into_iter().enumerate() {
        let line =
            |pair: &[Ipv4Addr; 2]| format!("address add {}/16 dev {}\n", pair[side], end.interface);
        end.namespace.ip(&ends.iter().map(line).collect::<String>())?;
    }

    let mut config = RouterConfig::new(65000, router.ipv4);
    let neighbour = |(number, [ours, theirs]): (usize, &[Ipv4Addr; 2])| Neighbour {
        local_address: Some((*theirs).into()),
        bfd: Some(BfdTimers { interval: Duration::from_millis(50), multiplier: MULTIPLIER }),
        hold_time: Duration::from_secs(90),
        ..Neighbour::new(format!("n{number}"), (*ours).into(), 65100)
    };
    config.neighbours = ends.iter().enumerate().map(neighbour).collect();
    config.kernel = false;
    let bird = Router::start(&router.namespace, Kind::Bird, config)?;
    hasten(&bird)?;

    let mut text = "[bgp]\nlocal-asn = 65100\nrouter-id = \"10.255.0.1\"\n".to_owned();
    for (number, [ours, theirs]) in ends.iter().enumerate() {
        text += &format!(
            "[peer.p{number}]\naddress = \"{theirs}\"\nsource-address = \"{ours}\"\n\
             remote-asn = 65000\npassive = true\nbfd = \"fast\"\n"
        );
    }
    text += &profile("50ms");
    let mut daemon = Daemon::prepare_on(&host.namespace, &order.binaries, &text)?;
    daemon.run()?;
    wait::until_true("all sessions are up", BOUND, || {
        let up = bird.bfd_sessions()?.iter().filter(|one| one.state == BfdState::Up).count();
        Ok(up == SESSIONS as usize)
    })
    .with_context(|| daemon.process().map(Process::log_tail).unwrap_or_default())?;
    thread::sleep(REST);
    let pid = daemon.process()?.pid();
    let (start, before) = (Instant::now(), Usage::of(pid)?);
    let flaps = Flaps::during(order, &daemon)?;
    let (elapsed, after) = (start.elapsed(), Usage::of(pid)?);

    let what = format!("BFD 50 ms x 3, {SESSIONS} sessions");
    flaps.report(report, &what, "", Some(0.0));
    let cpu = (after.cpu() - before.cpu()).as_secs_f64() * 60.0 / elapsed.as_secs_f64();
    let each = cpu * 1e3 / f64::from(SESSIONS);
    for (of, unit, value) in [
        ("CPU time in a minute", "s", cpu),
        ("CPU time of a session in a minute", "ms", each),
        ("PSS", "MiB", after.pss),
    ] {
        report.add(Row::of(format!("{what}: {of}"), single(value)).unit(unit));
    }
    Ok(())
}

/// How much later than its detection time a silent router is noticed: from its last packet to ours
/// that says so.
pub(super) fn detection(site: &Arc<Site>, order: &Order, report: &mut Report) -> Result<()> {
    for interval in [10, 50, 100, 300].map(Duration::from_millis) {
        let fabric = fabric(site, Kind::Bird, 1, BfdTimers { interval, multiplier: MULTIPLIER })?;
        let tor = fabric.tor(1);
        hasten(&tor.router)?;
        let many = Many { services: 1, vips_each: 1, interval: Duration::from_secs(1), port: PORT };
        let mut daemon = daemon(order, &fabric, 1, &many.text())?;
        daemon.run()?;
        let mut late = Samples::default();
        for run in 0..order.runs {
            await_bfd(&fabric, 1)?;
            // At any point of its interval.
            thread::sleep(interval * run / order.runs);
            let silence = silence(&fabric)?;
            let theory = interval * u32::from(MULTIPLIER);
            late.push((silence.as_secs_f64() - theory.as_secs_f64()) * 1e3);
        }
        let what =
            format!("BFD {} ms x 3: silent router noticed too late by", interval.as_millis());
        report.add(Row::of(what, late).aim(interval.as_secs_f64() * 1e3));
    }
    Ok(())
}

/// Freezes the first router: from its last packet to the first in which the host says Down.
fn silence(fabric: &Fabric) -> Result<Duration> {
    let tor = fabric.tor(1);
    let (host, router) = (fabric.host(1).end(1).ipv4, fabric.host(1).far_end(1).ipv4);
    let tap = Tap::start_bfd(&tor.namespace)?;
    // Some packets of the router must be seen.
    thread::sleep(Duration::from_secs(1));
    let process = tor.router.processes().first().context("BIRD has a process")?;
    process.freeze()?;
    let seen = wait::until("the host says Down", BOUND, || {
        let seen = tap.seen();
        let has_noticed = |one: &Control| one.from == host && one.state == DOWN;
        Ok(seen.iter().position(has_noticed).map(|at| seen[..=at].to_vec()))
    });
    process.thaw()?;
    let seen = seen?;
    let noticed = seen.last().context("the host said Down")?.at;
    let silent = seen.iter().rev().find(|one| one.from == router);
    Ok(noticed - silent.context("the router said something before")?.at)
}

/// How often sessions failed, and what the machine did meanwhile.
#[derive(Clone, Copy, Debug, Default)]
struct Flaps {
    /// We had not heard the peer for a detection time.
    ours: u32,
    /// The peer said that it had not heard us, or it had restarted.
    theirs: u32,
    /// The longest time for which the machine did not run what comes before everything else.
    held_up: Duration,
}

impl Flaps {
    /// By the daemon's log.
    fn until_now(daemon: &Daemon) -> Result<Self> {
        let mut flaps = Self::default();
        for line in fs::read_to_string(daemon.process()?.log())?.lines() {
            let message = line.split_once("peer ").and_then(|(_, rest)| rest.split_once(": "));
            let Some(reason) = message.and_then(|(_, text)| text.strip_prefix("BFD session down"))
            else {
                continue;
            };
            match reason.contains("detection time expired") {
                true => flaps.ours += 1,
                false => flaps.theirs += 1,
            }
        }
        Ok(flaps)
    }

    /// For as long as was ordered.
    fn during(order: &Order, daemon: &Daemon) -> Result<Self> {
        let before = Self::until_now(daemon)?;
        let held_up = held_up(Duration::from_secs(order.seconds.into()))?;
        ensure!(daemon.process()?.is_running(), "vipcastd ended{}", daemon.process()?.log_tail());
        Ok(Self { held_up, ..Self::until_now(daemon)?.since(&before) })
    }

    fn since(&self, before: &Self) -> Self {
        Self { ours: self.ours - before.ours, theirs: self.theirs - before.theirs, ..*self }
    }

    fn plus(&self, other: &Self) -> Self {
        Self { ours: self.ours + other.ours, theirs: self.theirs + other.theirs, ..*self }
    }

    fn report(&self, report: &mut Report, what: &str, how: &'static str, aim: Option<f64>) {
        for (count, of) in [(self.ours, "flaps seen here"), (self.theirs, "flaps seen there")] {
            let row = Row::of(format!("{what}: {of}"), single(f64::from(count)));
            report.add(row.unit("flaps").how(how).aim(aim));
        }
        let row = Row::of(
            format!("{what}: the machine stood still for"),
            single(self.held_up.as_secs_f64() * 1e3),
        );
        report.add(row.how(how));
    }
}

/// Waits, and tells for how long at most one of the cores did not run a thread of a higher priority
/// than all that is measured: nobody keeps deadlines while the machine itself stands still, as one
/// does that shares its cores with others.
fn held_up(time: Duration) -> Result<Duration> {
    let watch = move |core: usize| -> Result<Duration> {
        let mut set = CpuSet::new();
        set.set(core)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
        let link = fs::read_link("/proc/thread-self")?;
        let thread_id = link.file_name().context("no thread")?.to_owned();
        let done = Command::new("chrt").args(["-f", "-p", "50"]).arg(thread_id).status()?;
        ensure!(done.success(), "chrt failed");
        let (start, mut worst) = (Instant::now(), Duration::ZERO);
        while start.elapsed() < time {
            let before = Instant::now();
            thread::sleep(LOOK);
            worst = worst.max(before.elapsed().saturating_sub(LOOK));
        }
        Ok(worst)
    };
    let cores = 0..thread::available_parallelism()?.get();
    let watches: Vec<_> = cores.map(|core| thread::spawn(move || watch(core))).collect();
    let join = |watch: thread::JoinHandle<Result<Duration>>| {
        watch.join().map_err(|_| anyhow!("it panicked"))?
    };
    let times = watches.into_iter().map(join).collect::<Result<Vec<_>>>()?;
    times.into_iter().max().context("a machine has cores")
}

/// Two machines and a cable.
fn cable(site: &Arc<Site>, one: &str, other: &str) -> Result<(End, End)> {
    let end = |name: &str, far: &str, side: u8| -> Result<End> {
        Ok(End {
            namespace: Namespace::create(site, name)?,
            interface: far.to_owned(),
            ipv4: Ipv4Addr::new(10, 1, 1, side),
            ipv6: format!("2001:db8:1:1::{side}").parse()?,
        })
    };
    let [one, other] = Link::plug([end(one, other, 0)?, end(other, one, 1)?])?.ends;
    Ok((one, other))
}

fn profile(interval: &str) -> String {
    format!(
        "[bfd.fast]\nreceive-interval = \"{interval}\"\ntransmit-interval = \"{interval}\"\n\
         detect-multiplier = {MULTIPLIER}\n"
    )
}

/// Lets what speaks BFD in a router run before everything of normal priority. FRR's other daemons
/// would leave nothing for anybody else.
fn hasten(router: &Router) -> Result<()> {
    let daemons = router.processes().iter();
    for process in daemons.filter(|one| matches!(one.name(), "bird" | "bfdd")) {
        let pid = process.pid().to_string();
        router.namespace().run("chrt", ["-a", "-f", "-p", "10", &pid])?;
    }
    Ok(())
}

/// Keeps all cores busy.
fn load(namespace: &Namespace) -> Result<Vec<Process>> {
    let loops = LOOPS * thread::available_parallelism()?.get();
    let start = |number| {
        let mut command = namespace.command("sh");
        command.args(["-c", "while :; do :; done"]);
        Process::start(namespace, &format!("load{number}"), &command)
    };
    (0..loops).map(start).collect()
}

fn single(value: f64) -> Samples {
    let mut samples = Samples::default();
    samples.push(value);
    samples
}
