//! BFD with BIRD and FRR.
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::configuration::{POOLS, WEB, peers};
use vipcast_lab::daemon::Daemon;
use vipcast_lab::fabric::{Fabric, TorConfig, Transport, vip};
use vipcast_lab::fault::{Fault, Loss};
use vipcast_lab::router::{BfdState, BfdTimers, Kind};
use vipcast_lab::wait;

use super::{
    BOUND, WITH_BFD, announce, is_established, pair, pair_with, start, wait_down_reason,
    wait_status, with_each,
};

fn timers(interval: u64, multiplier: u8) -> BfdTimers {
    BfdTimers { interval: Duration::from_millis(interval), multiplier }
}

/// A router with these timers and a hold time that cannot be what notices anything.
fn router(kind: Kind, bfd: BfdTimers) -> TorConfig {
    let mut tor = TorConfig::new(kind);
    tor.neighbour.bfd = Some(bfd);
    tor.neighbour.hold_time = BOUND * 10;
    tor
}

fn is_up(status: &Value) -> bool {
    status["peers"][0]["bfd"]["up"] == true && is_established(status)
}

/// Waits until both ends hold the session for up with these timers.
fn wait_up(fabric: &Fabric, bfd: BfdTimers) -> Result<()> {
    let router = &fabric.tor(1).router;
    wait::until_true("BFD is up with its timers", BOUND, || {
        let sessions = router.bfd_sessions()?;
        Ok(sessions.iter().any(|session| {
            session.state == BfdState::Up
                && session.transmit_interval == bfd.interval
                && session.detection_time == bfd.interval * u32::from(bfd.multiplier)
        }))
    })
    .with_context(|| format!("{:?}", router.bfd_sessions()))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn sessions_come_up_with_the_timers_of_both_ends_and_stay_up() -> Result<()> {
    for bfd in [timers(300, 3), timers(50, 3)] {
        for transport in [Transport::Ipv4, Transport::Ipv6] {
            with_each(&WITH_BFD, |kind| {
                let fabric = pair_with(TorConfig { transport, ..router(kind, bfd) })?;
                let daemon = announce(&fabric, 1)?;
                wait_up(&fabric, bfd)?;
                wait_status(&daemon, "BFD and BGP are up", is_up)?;
                // Long enough for a mistake in the detection time to show.
                std::thread::sleep(bfd.interval * 20);
                let status = daemon.status()?;
                ensure!(is_up(&status) && status["peers"][0]["sessions"] == 1, "{status:#}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn timers_that_a_reload_changes_are_the_routers_too_and_the_session_stays_up() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair_with(router(kind, timers(300, 3)))?;
        let text = peers(&fabric, 1) + POOLS + WEB;
        let daemon = start(&fabric, 1, &text)?;
        wait_up(&fabric, timers(300, 3))?;
        wait_status(&daemon, "BFD and BGP are up", is_up)?;
        // Slower than the router would like to be, and back: either way by a Poll Sequence.
        for interval in [700, 300] {
            daemon.write_configuration(&text.replace("300ms", &format!("{interval}ms")))?;
            daemon.reload()?;
            wait_up(&fabric, timers(interval, 3))?;
            std::thread::sleep(Duration::from_secs(3));
        }
        let shown: Value = serde_json::from_str(&daemon.vipcast(["bfd", "tor1", "--json"])?)?;
        let session = &shown[0]["session"];
        ensure!(session["ups"] == 1 && session["downs"] == 0, "{shown:#}");
        let status = daemon.status()?;
        ensure!(is_up(&status) && status["peers"][0]["sessions"] == 1, "{status:#}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn bfd_down_takes_bgp_down_at_once_and_both_come_back() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair_with(router(kind, timers(300, 3)))?;
        let daemon = announce(&fabric, 1)?;
        wait_status(&daemon, "BFD and BGP are up", is_up)?;
        // Only what the host receives is lost: it must notice by itself, and tell the router.
        let fault = Fault::inject([fabric.host(1).end(1)], &Loss::Bfd)?;
        wait_down_reason(&daemon, &["BFD session down: control detection time expired"])?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 0)?;
        fault.heal()?;
        wait_status(&daemon, "BFD and BGP are up again", is_up)?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1).map(drop)
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_router_is_told_cease_bfd_down() -> Result<()> {
    // A router whose BGP does not follow its BFD: what ends the session is our NOTIFICATION.
    let mut tor = TorConfig::new(Kind::Frr);
    tor.neighbour.bfd = None;
    tor.neighbour.hold_time = BOUND * 10;
    tor.extra = "bfd\npeer 10.1.1.1 interface host1\nexit\nexit\n".into();
    let fabric = pair_with(tor)?;
    let text = peers(&fabric, 1).replace("remote-asn = 65000", "remote-asn = 65000\nbfd = \"b\"");
    let daemon = start(&fabric, 1, &(text + "\n[bfd.b]\n" + POOLS + WEB))?;
    wait_status(&daemon, "BFD and BGP are up", is_up)?;
    let rule = "udp dport 3784 drop".to_owned();
    let _fault = Fault::inject([fabric.host(1).end(1)], &Loss::Rule(rule))?;
    let received = || {
        let answer = fabric.tor(1).router.command("show bgp neighbors 10.1.1.1 json")?;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["10.1.1.1"]["lastErrorCodeSubcode"].as_str().map(str::to_owned))
    };
    let told = wait::until("the router received a NOTIFICATION", BOUND, received)?;
    ensure!(told == "060A", "Cease (6), BFD Down (10): {told}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_vipcast_bfd_shows_is_what_the_router_says() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair_with(router(kind, timers(100, 4)))?;
        let text = peers(&fabric, 1).replace("detect-multiplier = 4", "detect-multiplier = 5");
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        wait_status(&daemon, "BFD and BGP are up", is_up)?;
        std::thread::sleep(Duration::from_secs(3)); // for the timers of Up, and something to count
        let shown: Value = serde_json::from_str(&daemon.vipcast(["bfd", "tor1", "--json"])?)?;
        let (peer, session) = (&shown[0], &shown[0]["session"]);
        let [here, there] = [&session["local"], &session["remote"]];
        ensure!(peer["up"] == true && here["state"] == "Up" && there["state"] == "Up", "{shown:#}");
        ensure!(here["detection-time"] == 0.4 && there["detection-time"] == 0.5, "{shown:#}");
        ensure!(there["transmit-interval"] == 0.1, "{shown:#}");
        let mean = there["measured"]["mean"].as_f64().context("a measurement")?;
        ensure!((0.07..=0.11).contains(&mean), "{shown:#}");
        ensure!(session["ups"] == 1 && session["dropped"] == serde_json::json!({}), "{shown:#}");
        let text = daemon.vipcast(["bfd"])?;
        ensure!(text.starts_with("● tor1  10.1.1.0  up for "), "{text}");
        let error = daemon.vipcast(["bfd", "tor9"]).expect_err("no such peer");
        ensure!(format!("{error:#}").contains("no peer tor9; there are: tor1"), "{error:#}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_without_bfd_for_this_host_is_served_all_the_same() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = TorConfig::new(kind);
        tor.neighbour.bfd = None;
        let fabric = pair_with(tor)?;
        let text = peers(&fabric, 1)
            .replace("remote-asn = 65000", "remote-asn = 65000\nbfd = \"b\"")
            + "\n[bfd.b]\nreceive-interval = \"50ms\"\ntransmit-interval = \"50ms\"\n";
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        std::thread::sleep(Duration::from_secs(5));
        let status = daemon.status()?;
        ensure!(status["peers"][0]["sessions"] == 1, "{status:#}");
        ensure!(status["peers"][0]["bfd"]["up"] == false, "{status:#}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_routers_operator_can_take_bfd_down_without_harm() -> Result<()> {
    let fabric = pair_with(router(Kind::Frr, timers(300, 3)))?;
    let daemon = announce(&fabric, 1)?;
    wait_status(&daemon, "BFD and BGP are up", is_up)?;
    let router = &fabric.tor(1).router;
    router.command("configure terminal\nbfd\npeer 10.1.1.1 interface host1\nshutdown")?;
    let is_down = |status: &Value| status["peers"][0]["bfd"]["up"] == false;
    let status = wait_status(&daemon, "BFD is down", is_down)?;
    let reason = status["peers"][0]["bfd"]["reason"].as_str();
    ensure!(reason == Some("taken down by the peer's operator"), "{status:#}");
    ensure!(status["peers"][0]["sessions"] == 1, "{status:#}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_multihop_peer_has_multihop_bfd() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let mut tor = router(kind, timers(300, 3));
        tor.neighbour.multihop = Some(5);
        tor.neighbour.local_address = Some("10.1.1.0".parse()?);
        let fabric = pair_with(tor)?;
        // Routers do not send multihop BFD with a TTL of 255 as RFC 5883 would have it.
        let text = peers(&fabric, 1)
            .replace("remote-asn = 65000", "remote-asn = 65000\nmultihop = 5")
            .replace("[bfd.tor1]", "[bfd.tor1]\nminimum-ttl = 1");
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        wait_status(&daemon, "BFD and BGP are up", is_up)?;
        wait_up(&fabric, timers(300, 3))
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_is_silent_on_demand_and_its_death_is_noticed() -> Result<()> {
    let fabric = pair_with(router(Kind::Bird, timers(50, 3)))?;
    let daemon = start(&fabric, 1, &with_keys(&fabric, "demand-interval = \"1s\""))?;
    wait_status(&daemon, "BFD and BGP are up", is_up)?;
    let received = || -> Result<u64> {
        let looks: Value = serde_json::from_str(&daemon.vipcast(["bfd", "--json"])?)?;
        looks[0]["session"]["received"].as_u64().with_context(|| format!("{looks:#}"))
    };
    let before = received()?;
    std::thread::sleep(Duration::from_secs(5));
    let heard = received()? - before;
    ensure!((1..40).contains(&heard), "{heard} packets in five seconds, not a hundred");
    ensure!(is_up(&daemon.status()?));
    let _fault = Fault::inject(fabric.host(1).ends(), &Loss::Everything)?;
    wait_down_reason(&daemon, &["BFD session down", "control detection time expired"])
}

/// One host, and a BIRD that signs its BFD packets by key 7.
fn signed(method: &str, key: &str) -> Result<Fabric> {
    let mut fabric = pair_with(router(Kind::Bird, timers(300, 3)))?;
    sign(&mut fabric, method, key)?;
    Ok(fabric)
}

fn sign(fabric: &mut Fabric, method: &str, key: &str) -> Result<()> {
    let router = &mut fabric.tor_mut(1).router;
    router.config_mut().bfd_extra =
        format!("interface \"*\" {{ authentication {method}; password \"{key}\" {{ id 7; }}; }};");
    router.restart()
}

fn with_keys(fabric: &Fabric, keys: &str) -> String {
    let text = peers(fabric, 1).replace("[bfd.tor1]", &format!("[bfd.tor1]\n{keys}"));
    format!("{text}\n{POOLS}{WEB}\n[metrics]\nlisten = \"127.0.0.1:9179\"\n")
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn every_authentication_is_birds_too() -> Result<()> {
    for (bird, ours) in [
        ("simple", "simple-password"),
        ("keyed md5", "keyed-md5"),
        ("meticulous keyed md5", "meticulous-keyed-md5"),
        ("keyed sha1", "keyed-sha1"),
        ("meticulous keyed sha1", "meticulous-keyed-sha1"),
    ] {
        let fabric = signed(bird, "sesame")?;
        let file = fabric.host(1).namespace.directory().join("key");
        std::fs::write(&file, "sesame\n")?;
        let auth = format!(
            "passive = true\nauth = {{ type = \"{ours}\", key-id = 7, key-file = {file:?} }}"
        );
        let daemon = start(&fabric, 1, &with_keys(&fabric, &auth))?;
        wait_status(&daemon, &format!("{ours} comes up"), is_up)?;
        wait_up(&fabric, timers(300, 3))?;
        std::thread::sleep(Duration::from_secs(3));
        let status = daemon.status()?;
        ensure!(is_up(&status) && status["peers"][0]["sessions"] == 1, "{ours}: {status:#}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_wrong_or_missing_bfd_key_is_no_bfd_and_a_reload_brings_the_right_one() -> Result<()> {
    let mut fabric = signed("meticulous keyed sha1", "sesame")?;
    let file = fabric.host(1).namespace.directory().join("key");
    let auth =
        format!("auth = {{ type = \"meticulous-keyed-sha1\", key-id = 7, key-file = {file:?} }}");
    let daemon = start(&fabric, 1, &with_keys(&fabric, &auth))?;
    let error = |status: &Value| status["peers"][0]["bfd"]["error"].clone();
    wait_status(&daemon, "the key is missing", |status| {
        let error = error(status).as_str().unwrap_or_default().to_owned();
        is_established(status) && error.contains("cannot use key-file") && !is_up(status)
    })?;
    std::fs::write(&file, "mellon\n")?;
    daemon.reload()?;
    wait_status(&daemon, "the key is there", |status| error(status).is_null())?;
    wait::until_true("packets are dropped for their authentication", BOUND, || {
        let metrics = fabric.host(1).namespace.run("curl", ["-s", "127.0.0.1:9179/metrics"])?;
        let count = metrics.lines().find(|line| line.contains("reason=\"authentication\""));
        let is_counted = count.is_some_and(|line| !line.ends_with(" 0"));
        Ok(is_counted && !is_up(&daemon.status()?))
    })?;
    std::fs::write(&file, "sesame\n")?;
    daemon.reload()?;
    wait_status(&daemon, "BFD is up", is_up)?;
    // The key is changed here, and then at the router, which starts anew for it.
    std::fs::write(&file, "speakfriend\n")?;
    daemon.reload()?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(is_up(&daemon.status()?), "the former key is used until the router has the new one");
    sign(&mut fabric, "meticulous keyed sha1", "speakfriend")?;
    wait_status(&daemon, "BFD is up with the new key", |status| {
        is_up(status) && status["peers"][0]["sessions"] == 2
    })
    .map(drop)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn packets_that_are_not_the_routers_are_counted_and_dropped() -> Result<()> {
    let fabric = pair_with(router(Kind::Bird, timers(300, 3)))?;
    let text = peers(&fabric, 1) + POOLS + WEB + "\n[metrics]\nlisten = \"127.0.0.1:9179\"\n";
    let daemon = start(&fabric, 1, &text)?;
    wait_status(&daemon, "BFD and BGP are up", is_up)?;
    // Up, asking for nothing, with discriminators nobody has.
    let good =
        [0x20, 0xc0, 3, 24, 0, 0, 0, 1, 0, 0, 0, 2, 0, 4, 147, 224, 0, 4, 147, 224, 0, 0, 0, 0];
    let with = |change: &dyn Fn(&mut [u8; 24])| {
        let mut packet = good;
        change(&mut packet);
        packet.to_vec()
    };
    let forget_your = |packet: &mut [u8; 24]| packet[8..12].fill(0);
    let down = |packet: &mut [u8; 24]| packet[1] = 0x40;
    let packets = [
        ("unknown-session", 255, good.to_vec()),
        ("length", 255, good[..23].to_vec()),
        ("length", 255, with(&|packet| packet[3] = 25)),
        ("version", 255, with(&|packet| packet[0] = 0x40)),
        ("detect-mult-zero", 255, with(&|packet| packet[2] = 0)),
        ("multipoint", 255, with(&|packet| packet[1] |= 1)),
        ("my-discriminator-zero", 255, with(&|packet| packet[4..8].fill(0))),
        ("your-discriminator-zero", 255, with(&|packet| forget_your(packet))),
        (
            "ttl",
            64,
            with(&|packet| {
                forget_your(packet);
                down(packet)
            }),
        ),
    ];
    let (from, to) = (fabric.tor(1).namespace.clone(), fabric.host(1).end(1).ipv4);
    let sent = packets.clone();
    from.enter(move || -> Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for (_, ttl, packet) in &sent {
            socket.set_ttl(*ttl)?;
            socket.send_to(packet, SocketAddr::new(to.into(), 3784))?;
        }
        Ok(())
    })??;
    // From an address that is nobody's: the host's own.
    let host = fabric.host(1).namespace.clone();
    host.enter(move || -> Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_ttl(255)?;
        socket.send_to(&[0; 24], "127.0.0.1:3784")?;
        Ok(())
    })??;
    wait::until_true("all of them are counted", BOUND, || {
        let metrics = fabric.host(1).namespace.run("curl", ["-s", "127.0.0.1:9179/metrics"])?;
        Ok(packets.iter().all(|(reason, ..)| {
            let line = format!("vipcast_bfd_discarded_packets_total{{reason=\"{reason}\"}} ");
            let count = metrics.lines().find_map(|text| text.strip_prefix(line.as_str()));
            count.is_some_and(|count| count != "0")
        }))
    })?;
    let status = daemon.status()?;
    ensure!(is_up(&status) && status["peers"][0]["sessions"] == 1, "{status:#}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_packet_that_cannot_be_sent_changes_no_source_port() -> Result<()> {
    let fabric = pair_with(router(Kind::Bird, timers(300, 3)))?;
    let daemon = announce(&fabric, 1)?;
    wait_status(&daemon, "BFD and BGP are up", is_up)?;
    let host = &fabric.host(1).namespace;
    let ports = || host.run("ss", ["-Huan", "sport >= 49152"]);
    let before = ports()?;
    ensure!(before.contains("10.1.1.1:"), "from our address: {before}");
    // The kernel says EPERM to whoever sends.
    let table = "add table inet cut\nadd chain inet cut out { type filter hook output priority 0; }\n\
                 add rule inet cut out udp dport 3784 drop\n";
    host.feed("nft", &["-f", "-"], table)?;
    let error = |status: &Value| {
        let error = status["peers"][0]["bfd"]["error"].as_str();
        error.is_some_and(|text| text.contains("cannot send"))
    };
    wait_status(&daemon, "the trouble is named", error)?;
    host.feed("nft", &["-f", "-"], "delete table inet cut\n")?;
    wait_status(&daemon, "BFD is up again", is_up)?;
    ensure!(ports()? == before, "RFC 5881 section 4: one port for a session's whole life");
    Ok(())
}

/// Stops a daemon for a while that has BFD of 300 ms x 3 from the router, and lets it go on.
fn stall(daemon: &Daemon, length: Duration) -> Result<()> {
    let process = daemon.process()?;
    process.freeze()?;
    std::thread::sleep(length);
    process.thaw()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_daemon_that_was_stopped_does_not_take_its_own_delay_for_the_routers() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair_with(router(kind, timers(300, 3)))?;
        // The router has more patience with us than we are ever stopped for.
        let text = peers(&fabric, 1).replace("detect-multiplier = 3", "detect-multiplier = 100");
        let daemon = start(&fabric, 1, &(text + POOLS + WEB))?;
        wait_status(&daemon, "BFD and BGP are up", is_up)?;
        for length in [300, 1500, 4000] {
            stall(&daemon, Duration::from_millis(length))?;
            // As long as a mistake needs to show, and the router to fall silent after all.
            std::thread::sleep(Duration::from_secs(2));
            let status = daemon.status()?;
            ensure!(is_up(&status) && status["peers"][0]["sessions"] == 1, "{length}: {status:#}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_daemon_that_the_router_gave_up_meanwhile_hears_that_and_comes_back() -> Result<()> {
    with_each(&WITH_BFD, |kind| {
        let fabric = pair_with(router(kind, timers(300, 3)))?;
        let daemon = announce(&fabric, 1)?;
        wait_status(&daemon, "BFD and BGP are up", is_up)?;
        stall(&daemon, Duration::from_secs(4))?;
        wait_status(&daemon, "BFD and BGP are up again", |status| {
            is_up(status) && status["peers"][0]["sessions"] == 2
        })?;
        fabric.tor(1).routes.wait_for_count(vip(5)[0], BOUND, 1)?;
        let log = std::fs::read_to_string(daemon.process()?.log())?;
        ensure!(log.contains("neighbor signaled session down"), "what the router said: {log}");
        ensure!(!log.contains("control detection time expired"), "our own delay: {log}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn another_bfd_daemon_on_the_host_is_named() -> Result<()> {
    let fabric = pair(Kind::Bird)?;
    let socket = fabric.host(1).namespace.enter(|| UdpSocket::bind("0.0.0.0:3784"))??;
    let daemon = announce(&fabric, 1)?;
    let says = |status: &Value| {
        let error = status["peers"][0]["bfd"]["error"].as_str();
        error.is_some_and(|text| text.contains("another BFD daemon runs on this host"))
    };
    wait_status(&daemon, "the trouble is named", says)?;
    drop(socket);
    wait_status(&daemon, "BFD comes up once the port is free", is_up).map(drop)
}
