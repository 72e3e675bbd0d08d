//! The five steps, one function each.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vipcast_lab::client::Requests;
use vipcast_lab::outage::Outage;

use super::page::{Page, list, time};
use super::scene::{Change, RATE, Scene, ipv4, ipv6};

/// Runs them all; an error if one does not do what it should.
pub(super) fn all(page: &mut Page, scene: &mut Scene) -> Result<Vec<Change>> {
    spread(page, scene)?;
    let failed = service_fails(page, scene)?;
    let recovered = service_recovers(page, scene)?;
    let (died, returned) = host_dies(page, scene)?;
    let stopped = daemon_stops(page, scene)?;
    Ok(vec![failed, recovered, died, returned, stopped])
}

fn spread(page: &mut Page, scene: &Scene) -> Result<()> {
    page.step("Every host announces the VIPs; the routers spread over all of them (ECMP)")?;
    page.say("These are the routes in the routers' kernels, learned from the hosts by BGP:")?;
    for tor in &scene.fabric.tors {
        let (ipv4, ipv6) = (ipv4().addr().to_string(), ipv6().addr().to_string());
        for words in [vec!["route", "show", &ipv4], vec!["-6", "route", "show", &ipv6]] {
            let answer = tor.namespace.run("ip", &words)?;
            let typed = format!("ip {}", words.join(" "));
            page.dialogue(tor.namespace.short_name(), &typed, &answer)?;
        }
    }
    let start = Instant::now();
    thread::sleep(Duration::from_millis(1500));
    let requests = scene.traffic.between(start, Instant::now())?;
    page.space()?;
    page.say(&format!("Meanwhile the client asks, {RATE} times a second:"))?;
    report_requests(page, &requests)?;
    page.good(&format!("These answer: {}.", answers(&requests)))?;
    ensure!(requests.by_host().len() == scene.fabric.hosts.len(), "not all hosts answer");
    Ok(())
}

fn service_fails(page: &mut Page, scene: &Scene) -> Result<Change> {
    page.step("The service on host2 fails its check")?;
    page.say(
        "From now on /healthz answers 503 on host2. Nothing else happens to it: what the routers \
         still send there is answered.",
    )?;
    let since = Instant::now();
    scene.fabric.host(2).nginx.set_health("/healthz", false)?;
    let change = scene.follow("host2 answers 503: next hop gone", (2, false), since, || {
        Ok(scene.everywhere(scene.decision(2, since, 503)?))
    })?;
    let noticed = scene.decision(2, since, 503)?.saturating_duration_since(since);
    page.good(&format!(
        "The second 503 in a row, {} later, is the verdict. From that answer until the next hop has \
         left the router's kernel: {}.",
        time(noticed),
        scene.times(&change)
    ))?;
    report_requests(page, &change.requests)?;
    report_hosts(page, &change, &[1, 3])?;
    Ok(change)
}

fn service_recovers(page: &mut Page, scene: &mut Scene) -> Result<Change> {
    page.step("vipcast says why, and what came back is announced again")?;
    page.say("On host2 an operator looks why its VIPs are not announced:")?;
    let status = scene.daemon(2).vipcast(["status"])?;
    page.dialogue("host2", "vipcast status", &status)?;
    ensure!(status.contains("503"), "the status of host2 does not name the error");
    page.space()?;
    page.say("Now /healthz answers 200 again. The second such answer in a row decides.")?;
    let since = Instant::now();
    scene.fabric.host(2).nginx.set_health("/healthz", true)?;
    let change = scene.follow("host2 answers 200: next hop back", (2, true), since, || {
        Ok(scene.everywhere(scene.decision(2, since, 200)?))
    })?;
    page.good(&format!("From the second until the next hop is back: {}.", scene.times(&change)))?;
    report_requests(page, &change.requests)?;
    report_hosts(page, &change, &[1, 2, 3])?;
    Ok(change)
}

fn host_dies(page: &mut Page, scene: &Scene) -> Result<(Change, Change)> {
    page.step("host3 dies without a word")?;
    page.say(
        "Its cables carry nothing any more, in either direction, while the carrier stays up: nobody \
         is told. BFD (300 ms x 3) notices the silence, BGP alone would need its hold time (9 s).",
    )?;
    let outage = Outage::begin(scene.fabric.host(3))?;
    let since = *outage.began().first().context("a host has cables")?;
    let died = scene.follow("host3 is dead: next hop gone", (3, false), since, || {
        Ok(outage.began().to_vec())
    })?;
    page.good(&format!(
        "From the cut until the next hop has left the router's kernel: {}.",
        scene.times(&died)
    ))?;
    report_requests(page, &died.requests)?;
    report_hosts(page, &died, &[1, 2])?;

    page.space()?;
    page.say("The cables work again. vipcastd, which never stopped, and the routers reconnect:")?;
    let revived = outage.revive()?;
    let since = *revived.first().context("a host has cables")?;
    let returned =
        scene.follow("host3 is back: next hop back", (3, true), since, || Ok(revived))?;
    page.good(&format!("Until the next hop is back: {}.", scene.times(&returned)))?;
    let served = |name: &str| {
        let mut requests = returned.requests.0.iter();
        let answer = requests.find(|request| request.answer.as_deref() == Ok(name));
        answer.map(|request| request.at.saturating_duration_since(since))
    };
    let first = served("host3").context("host3 did not serve again")?;
    page.good(&format!("The first request that it answers comes {} after.", time(first)))?;
    report_requests(page, &returned.requests)?;
    report_hosts(page, &returned, &[1, 2, 3])?;
    Ok((died, returned))
}

fn daemon_stops(page: &mut Page, scene: &mut Scene) -> Result<Change> {
    page.step("vipcastd on host1 is stopped, as by systemctl stop")?;
    page.say(
        "On SIGTERM it withdraws its VIPs, then ends its sessions, and takes the addresses off the \
         host only after that.",
    )?;
    let since = Instant::now();
    let exit = scene.daemon(1).stop()?;
    let stopping = since.elapsed();
    ensure!(exit.success(), "vipcastd ended with {exit}");
    let change =
        scene.follow("host1: vipcastd stopped: next hop gone", (1, false), since, || {
            Ok(scene.everywhere(since))
        })?;
    page.good(&format!(
        "From the signal until the next hop has left the router's kernel: {}. The process ended \
         after {}.",
        scene.times(&change),
        time(stopping)
    ))?;
    report_requests(page, &change.requests)?;
    report_hosts(page, &change, &[2, 3])?;
    page.space()?;
    page.say("The other hosts have nothing to do with that. On host2:")?;
    let status = scene.daemon(2).vipcast(["status"])?;
    page.dialogue("host2", "vipcast status", &status)?;
    Ok(change)
}

/// How many requests were lost, and for how long.
fn report_requests(page: &Page, requests: &Requests) -> Result<()> {
    let (all, lost) = (requests.0.len(), requests.lost());
    let (Some(first), Some(last)) = (lost.first(), lost.last()) else {
        return page.good(&format!("{all} requests, none lost."));
    };
    page.price(&format!(
        "{all} requests, {} lost, sent within {}; the longest time without any answer was {}. \
         The first error: {}.",
        lost.len(),
        time(last.at.saturating_duration_since(first.at)),
        time(requests.longest_gap()),
        first.answer.as_ref().err().map_or("none", String::as_str)
    ))
}

/// Who answers now; an error if those are others than these (from 1).
fn report_hosts(page: &Page, change: &Change, expected: &[usize]) -> Result<()> {
    page.good(&format!("Since then, these answer: {}.", answers(&change.settled)))?;
    change.expect_hosts(expected)
}

/// Like `host1 (129) and host3 (131)`.
fn answers(requests: &Requests) -> String {
    let counts = requests.by_host().into_iter();
    list(&counts.map(|(host, count)| format!("{host} ({count})")).collect::<Vec<_>>())
}
