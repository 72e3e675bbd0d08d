//! The fabric does what a fabric does, with BIRD on the hosts in the place of vipcastd.
//!
//! Nothing here depends on how fast the machine is: bounds are generous, and what must happen by
//! one mechanism (BFD) is given a bound that another (the hold time) cannot meet.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vipcast_lab::announcer::BirdAnnouncer;
use vipcast_lab::fabric::{Fabric, FabricConfig, Transport, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::{BfdState, BfdTimers};
use vipcast_lab::wait;
use vipcast_lab::watch::NextHops;

const BOUND: Duration = Duration::from_secs(60);
/// Longer than [`BOUND`], so that within it only BFD can notice a silence.
const LONG_HOLD: Duration = Duration::from_secs(240);

/// BFD that does not mind a busy machine.
const PATIENT_BFD: BfdTimers = BfdTimers { interval: Duration::from_secs(1), multiplier: 10 };

/// A fabric with BIRD announcing `vip(5)` from every host and BFD up everywhere.
fn announced_fabric(bfd: BfdTimers, transport: Transport) -> Result<(Fabric, Vec<BirdAnnouncer>)> {
    let mut config = FabricConfig::default();
    for tor in &mut config.tors {
        tor.transport = transport;
        tor.neighbour.hold_time = LONG_HOLD;
        tor.neighbour.bfd = Some(bfd);
    }
    let fabric = Fabric::start(&config)?;
    let hosts = 1..=fabric.hosts.len();
    let announcers: Vec<_> =
        hosts.map(|host| fabric.announce_with_bird(host, &vip(5))).collect::<Result<_>>()?;
    for tor in &fabric.tors {
        wait::until_true("BFD is up with all hosts", BOUND, || {
            let sessions = tor.router.bfd_sessions()?;
            Ok(sessions.len() == 3 && sessions.iter().all(|session| session.state == BfdState::Up))
        })?;
        for prefix in vip(5) {
            tor.routes.wait_for_count(prefix, BOUND, 3)?;
        }
    }
    Ok((fabric, announcers))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn both_routers_spread_a_vip_over_all_hosts_and_nothing_is_lost() -> Result<()> {
    for transport in [Transport::Ipv4, Transport::Ipv6, Transport::LinkLocal] {
        spread_over_all_hosts(transport).with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

fn spread_over_all_hosts(transport: Transport) -> Result<()> {
    let (fabric, _announcers) = announced_fabric(PATIENT_BFD, transport)?;
    for tor in &fabric.tors {
        for prefix in vip(5) {
            assert_eq!(tor.routes.next_hops(prefix).interfaces(), ["host1", "host2", "host3"]);
        }
    }
    for prefix in vip(5) {
        let traffic = fabric.client.keep_asking(prefix.addr(), 100)?;
        wait::until_true("300 requests were sent", BOUND, || Ok(traffic.so_far().0.len() >= 300))?;
        let requests = traffic.stop()?;
        assert!(requests.lost().is_empty(), "{:?}", requests.lost());
        assert_eq!(requests.longest_gap(), Duration::ZERO);
        assert_eq!(requests.by_host().into_keys().collect::<Vec<_>>(), ["host1", "host2", "host3"]);
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_withdrawn_vip_leaves_both_routers_and_comes_back() -> Result<()> {
    let (fabric, announcers) = announced_fabric(BfdTimers::DEFAULT, Transport::Ipv4)?;
    for _ in 0..3 {
        for (announced, count) in [(false, 2), (true, 3)] {
            let start = Instant::now();
            announcers[0].announce_all(announced)?;
            for tor in &fabric.tors {
                for prefix in vip(5) {
                    let change = tor.routes.wait_for_count(prefix, BOUND, count)?;
                    assert_eq!(change.next_hops.through("host1"), announced);
                    let took = change.at.duration_since(start);
                    println!("tor{} {prefix} announced: {announced}, after {took:?}", tor.number);
                }
            }
        }
    }
    let [ipv4, ipv6] = vip(5);
    announcers[1].withdraw(ipv6)?;
    fabric.tor(1).routes.wait_for(ipv6, BOUND, |hops| hops.interfaces() == ["host1", "host3"])?;
    assert_eq!(fabric.tor(1).routes.next_hops(ipv4).len(), 3);
    announcers[1].announce(ipv6)?;
    fabric.tor(1).routes.wait_for_count(ipv6, BOUND, 3)?;
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn bfd_removes_a_silent_host_long_before_the_hold_time() -> Result<()> {
    let (fabric, _announcers) = announced_fabric(BfdTimers::DEFAULT, Transport::Ipv4)?;
    let without_host2 = |hops: &NextHops| hops.interfaces() == ["host1", "host3"];
    for loss in [Loss::Everything, Loss::Bfd] {
        let start = Instant::now();
        let fault = Fault::inject(fabric.host(2).ends(), &loss)?;
        for tor in &fabric.tors {
            for prefix in vip(5) {
                let change = tor.routes.wait_for(prefix, BOUND, without_host2)?;
                let took = change.at.duration_since(start);
                println!("tor{} {prefix} {loss:?}: gone after {took:?}", tor.number);
            }
        }
        fault.heal()?;
        let healed = Instant::now();
        for tor in &fabric.tors {
            for prefix in vip(5) {
                let took = tor.routes.wait_for_count(prefix, BOUND, 3)?.at.duration_since(healed);
                println!("tor{} {prefix} {loss:?}: back after {took:?}", tor.number);
            }
        }
        wait::until_true("BFD is up again", BOUND, || {
            let mut up = true;
            for tor in &fabric.tors {
                up &=
                    tor.router.bfd_sessions()?.iter().all(|session| session.state == BfdState::Up);
            }
            Ok(up)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn bgp_that_is_refused_or_hangs_is_noticed_without_bfd() -> Result<()> {
    let mut config = FabricConfig { hosts: 1, ..FabricConfig::default() };
    for tor in &mut config.tors {
        tor.neighbour.bfd = None;
    }
    let fabric = Fabric::start(&config)?;
    let _announcer = fabric.announce_with_bird(1, &vip(5))?;
    let prefix = vip(5)[0];
    for loss in [Loss::BgpRefused, Loss::Bgp] {
        for tor in &fabric.tors {
            tor.routes.wait_for_count(prefix, BOUND, 1)?;
        }
        // Towards the first router only.
        let link = &fabric.host(1).links[0];
        let fault = Fault::inject(&link.ends, &loss)?;
        fabric.tor(1).routes.wait_for_count(prefix, BOUND, 0)?;
        assert_eq!(fabric.tor(2).routes.next_hops(prefix).len(), 1);
        fault.heal()?;
    }
    fabric.tor(1).routes.wait_for_count(prefix, BOUND, 1)?;
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_frozen_or_unhealthy_service_shows() -> Result<()> {
    let mut fabric = Fabric::start(&FabricConfig { hosts: 1, ..FabricConfig::default() })?;
    let _announcer = fabric.announce_with_bird(1, &vip(5))?;
    let address = vip(5)[0].addr();
    for tor in &fabric.tors {
        tor.routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    }
    assert_eq!(fabric.client.ask(address)?, "host1");

    fabric.host(1).nginx.process().freeze()?;
    assert!(fabric.client.ask(address).is_err());
    fabric.host(1).nginx.process().thaw()?;
    assert_eq!(fabric.client.ask(address)?, "host1");

    let start = Instant::now();
    let host = fabric.host(1);
    let check = || host.namespace.run("curl", ["-s", "http://203.0.113.5/healthz"]);
    assert_eq!(check()?, "healthy\n");
    host.nginx.set_health("/healthz", false)?;
    assert_eq!(check()?, "unhealthy\n");
    host.nginx.set_health("/healthz", true)?;
    assert_eq!(check()?, "healthy\n");
    let answers = host.nginx.answers()?;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 503, 200]);
    // nginx's clock has milliseconds and is not monotonic.
    let early = Duration::from_millis(100);
    assert!(answers.iter().all(|answer| answer.at + early >= start));

    fabric.host_mut(1).nginx.process_mut().kill()?;
    assert!(fabric.client.ask(address).is_err());
    fabric.host_mut(1).nginx.restart()?;
    assert_eq!(fabric.client.ask(address)?, "host1");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_is_killed_and_started_again_learns_everything_again() -> Result<()> {
    let (mut fabric, _announcers) = announced_fabric(PATIENT_BFD, Transport::Ipv4)?;
    for number in [1, 2] {
        fabric.tor_mut(number).router.kill()?;
        fabric.tor_mut(number).router.run()?;
        fabric.tor_mut(number).router.restart()?;
        for host in ["host1", "host2", "host3"] {
            let tor = fabric.tor(number);
            let session = tor.router.wait_established(host, BOUND)?;
            wait::until_true("both prefixes are there", BOUND, || {
                let session = tor.router.session(host)?;
                Ok((session.ipv4_received, session.ipv6_received) == (1, 1))
            })?;
            println!("{session:?}");
        }
        for prefix in vip(5) {
            fabric.tor(number).routes.wait_for_count(prefix, BOUND, 3)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn two_fabrics_side_by_side_do_not_disturb_each_other() -> Result<()> {
    let (quiet, _announcers) = announced_fabric(PATIENT_BFD, Transport::Ipv4)?;
    let start = Instant::now();
    let traffic = quiet.client.keep_asking(vip(5)[0].addr(), 50)?;
    {
        let (noisy, announcers) = announced_fabric(BfdTimers::DEFAULT, Transport::Ipv4)?;
        announcers[0].announce_all(false)?;
        noisy.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 2)?;
        let _fault = Fault::inject(noisy.host(2).ends(), &Loss::Everything)?;
        noisy.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    }
    thread::sleep(Duration::from_secs(1));
    for tor in &quiet.tors {
        for prefix in vip(5) {
            let changes = tor.routes.changes(prefix, start);
            ensure!(changes.is_empty(), "the quiet fabric changed: {changes:?}");
        }
    }
    let requests = traffic.stop()?;
    ensure!(requests.lost().is_empty(), "the quiet fabric lost {:?}", requests.lost());
    Ok(())
}
