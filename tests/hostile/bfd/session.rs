//! What a session does at the wish, or at the expense, of its router. Where time is measured it is the
//! least that must have passed: a busy machine makes that longer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::BOUND;
use super::super::connection::State;
use super::super::stage::{HOSTILE, peer};
use super::{
    ADMIN_DOWN, BY_OPERATOR, DOWN, EXPIRED, FINAL, INIT, POLL, Packet, Router, SIGNALED, Says, UP,
};

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// RFC 5880 §6.8.7: so much before its time a packet may come.
fn earliest(interval: Duration) -> Duration {
    interval * 3 / 4
}

impl Router {
    /// So many packets of this kind come, and take as long as they must at this interval, counted
    /// from `begun`, which was before the first of them.
    fn ensure_slow(
        &mut self,
        begun: Instant,
        count: u32,
        interval: Duration,
        truth: impl Fn(&Packet) -> bool,
    ) -> Result<()> {
        for _ in 0..count {
            self.tap.wait_for(&truth)?;
        }
        let (took, least) = (begun.elapsed(), earliest(interval) * (count - 1));
        ensure!(took >= least, "{count} packets in {took:?}, less than {least:?}");
        Ok(())
    }
}

/// RFC 5880 §6.8.6: Down takes the session down, whoever it is meant for.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_whose_bfd_begins_anew_is_down_and_up_again() -> Result<()> {
    const ANEW: u32 = 0x4343;
    let mut router = Router::start()?;
    router.say(Says { mine: ANEW, ..Says::new(DOWN, 0) })?;
    let down = router.tap.wait_for(|packet| packet.state() != UP)?;
    ensure!((down.state(), down.diag(), down.yours()) == (DOWN, SIGNALED, ANEW), "{:x?}", down.0);
    for (says, answer) in [(DOWN, INIT), (INIT, UP)] {
        router.say(Says { mine: ANEW, ..Says::new(says, router.session) })?;
        router.tap.wait_for(|packet| packet.state() == answer && packet.yours() == ANEW)?;
    }
    router.wait_look("it came up twice", |look| look["ups"] == 2 && look["downs"] == 1)?;
    router.stage.check()
}

/// RFC 5880 §6.8.3
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_is_not_up_says_so_once_a_second_at_most() -> Result<()> {
    let begun = Instant::now();
    let mut router = Router::start_with(|text| text)?;
    let slow = Duration::from_secs(1);
    let is_slow = |packet: &Packet, state| packet.state() == state && packet.min_tx() == slow;
    router.ensure_slow(begun, 3, slow, |packet| is_slow(packet, DOWN))?;
    let begun = Instant::now();
    router.say(Says { min_rx: 1, ..Says::new(DOWN, router.session) })?;
    router.ensure_slow(begun, 3, slow, |packet| is_slow(packet, INIT))?;
    router.come_up()?;
    router.tap.wait_for(|packet| packet.state() == UP && packet.min_tx() < slow)?;
    router.stage.check()
}

/// RFC 5880 §6.8.7
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_router_is_sent_what_it_wants() -> Result<()> {
    let mut router = Router::start()?;
    let wants = |min_rx| Says { min_rx, ..Says::new(UP, router.session) };
    let [slow, none, never, fast] = [1_600_000, 0, u32::MAX, 300_000].map(wants);
    let begun = Instant::now();
    router.make_known(slow)?;
    router.ensure_slow(begun, 3, millis(1600), |packet| !packet.has(FINAL))?;
    // Nothing at all, but for answers.
    router.make_known(none)?;
    let unwanted = router.tap.during(millis(1500))?;
    ensure!(unwanted.is_empty(), "{} packets that nobody wants", unwanted.len());
    router.make_known(none)?;
    // The next one in an hour; and then sooner, which is not waited for.
    router.make_known(never)?;
    router.say(fast)?;
    for _ in 0..5 {
        router.tap.wait_for(|packet| !packet.has(FINAL))?;
    }
    router.check_never_down()?;
    router.stage.check()
}

/// RFC 5880 §6.8.3: it would take us for dead.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_slower_rate_waits_for_the_routers_final() -> Result<()> {
    let mut router = Router::start()?;
    // What coming up is polled for.
    let before = Says { bits: FINAL, ..Says::new(UP, router.session) };
    router.say(before)?;
    router.tap.wait_for(|packet| !packet.has(POLL))?;
    let minute = Duration::from_secs(60);
    let text = router.configuration()?;
    let ours = "transmit-interval = \"300ms\"";
    router.reload(&text.replacen(ours, "transmit-interval = \"1m\"", 1))?;
    // At the rate of before: at the new one, this would take ten minutes.
    let begun = Instant::now();
    for _ in 0..10 {
        let poll = router.tap.wait_for(|packet| packet.min_tx() == minute)?;
        ensure!(poll.has(POLL), "it is not polled for");
        ensure!(begun.elapsed() < BOUND, "the new rate was not waited for");
    }
    let interval = |look: &Value| look["local"]["transmit-interval"].as_f64();
    router.wait_look("the old rate holds", |look| interval(look) == Some(0.3))?;
    router.say(before)?;
    router.wait_look("the new rate holds", |look| interval(look) == Some(60.0))?;
    // The other way round it is not waited for.
    router.reload(&text)?;
    let begun = Instant::now();
    for _ in 0..3 {
        router.tap.wait_for(|packet| packet.min_tx() == millis(300) && packet.has(POLL))?;
        ensure!(begun.elapsed() < BOUND, "the new rate was waited for");
    }
    router.check_never_down()?;
    router.stage.check()
}

/// RFC 5880 §6.8.4: with a Poll or without, and no sooner than we accept.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_detection_time_is_that_of_what_the_router_said_last() -> Result<()> {
    let mut router = Router::start()?;
    let up = Says::new(UP, router.session);
    for (detect_mult, min_tx, expected) in [
        (255, 60_000_000, 15_300.0),
        (255, 1_000_000, 255.0),
        (100, 1_000_000, 100.0),
        (200, 1, 60.0),
        (10, 40_000_000, 400.0),
    ] {
        router.say(Says { detect_mult, min_tx, ..up })?;
        router.wait_look(&format!("the detection time is {expected}"), |look| {
            look["local"]["detection-time"].as_f64() == Some(expected)
        })?;
    }
    router.check_never_down()?;
    router.say(Says { detect_mult: 1, min_tx: 1, ..up })?;
    let down = router.tap.wait_for(|packet| packet.state() != UP)?;
    ensure!((down.state(), down.diag()) == (DOWN, EXPIRED), "{:x?}", down.0);
    router.stage.check()
}

/// RFC 5880 §6.8.7
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_comes_in_does_not_put_off_what_goes_out() -> Result<()> {
    let mut router = Router::start()?;
    let (up, socket) = (Says::new(UP, router.session).encode(), router.socket.try_clone()?);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let often = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let _ = socket.send(&up);
                thread::sleep(millis(5));
            }
        });
        let begun = Instant::now();
        let result = router.ensure_slow(begun, 12, millis(300), |packet| packet.state() == UP);
        is_over.store(true, Ordering::Relaxed);
        let _ = often.join();
        result
    })?;
    router.check_never_down()?;
    router.stage.check()
}

/// RFC 5880 §6.8.1
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_silent_router_is_forgotten_and_one_that_says_down_is_not() -> Result<()> {
    let mut router = Router::start()?;
    router.say(Says::new(DOWN, router.session))?;
    for _ in 0..3 {
        let down = router.tap.wait_for(|packet| packet.state() != UP)?;
        ensure!((down.state(), down.diag()) == (DOWN, SIGNALED), "{:x?}", down.0);
        ensure!(down.yours() == super::OURS, "it is forgotten: {:x}", down.yours());
    }
    // The last that is heard of it; it changes nothing in Down.
    router.say(Says { detect_mult: 1, min_tx: 1, ..Says::new(UP, router.session) })?;
    let after = router.tap.wait_for(|packet| packet.yours() == 0)?;
    ensure!((after.state(), after.diag()) == (DOWN, SIGNALED), "{:x?}", after.0);
    router.come_up()?;
    router.say(Says { detect_mult: 1, min_tx: 1, ..Says::new(UP, router.session) })?;
    let expired =
        router.tap.wait_for(|packet| packet.state() == DOWN && packet.diag() == EXPIRED)?;
    ensure!(expired.yours() == 0, "it is not forgotten: {:x}", expired.yours());
    router.stage.check()
}

/// RFC 5882 §4.2
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn admin_down_of_either_end_leaves_bgp_alone() -> Result<()> {
    let mut router = Router::start()?;
    let mut connection = router.stage.connect_to(State::Established)?;
    router.say(Says::new(ADMIN_DOWN, router.session))?;
    let down = router.tap.wait_for(|packet| packet.state() != UP)?;
    ensure!((down.state(), down.diag()) == (DOWN, SIGNALED), "{:x?}", down.0);
    router.stage.wait_status("BFD is down by the operator's wish", |status| {
        let reason = peer(status, HOSTILE)["bfd"]["reason"].as_str().map(str::to_owned);
        reason.is_some_and(|reason| reason.contains("operator"))
    })?;
    connection.prove_established()?;
    router.say(Says::new(DOWN, router.session))?;
    router.come_up()?;
    // And ours: there is to be no BFD with this router any more.
    let text = router.configuration()?;
    router.reload(&text.replacen("bfd = \"tor1\"\n", "", 1))?;
    let down = router.tap.wait_for(|packet| packet.state() != UP)?;
    ensure!((down.state(), down.diag()) == (ADMIN_DOWN, BY_OPERATOR), "{:x?}", down.0);
    connection.prove_established()?;
    let sessions = router.stage.status()?["sessions"].clone();
    ensure!(sessions == 1, "{sessions} sessions of BGP");
    connection.finish()?;
    router.stage.check()
}

/// RFC 5880 §6.8.7
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn packets_come_a_random_part_of_a_quarter_early() -> Result<()> {
    for multiplier in [3, 1] {
        let mut router = Router::start_with(|text| {
            let line = |number| format!("detect-multiplier = {number}");
            let text = text.replacen(&line(3), &line(multiplier), 1);
            text.replacen("transmit-interval = \"300ms\"", "transmit-interval = \"100ms\"", 1)
        })?;
        router.come_up()?;
        router.say(Says { min_rx: 1, ..Says::new(UP, router.session) })?;
        let often = |look: &Value| look["sent"].as_u64().is_some_and(|sent| sent > 60);
        let look = router.wait_look("many packets were sent", often)?;
        let shortest = look["local"]["measured"]["shortest"].as_f64().context("a measurement")?;
        // Of fifty, one comes early.
        ensure!((0.075..0.09).contains(&shortest), "{look:#}");
        router.check_never_down()?;
        router.stage.check()?;
    }
    Ok(())
}

/// RFC 5882 §4.1, and a session that is Init for ever.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn bfd_that_never_comes_up_leaves_bgp_alone() -> Result<()> {
    let mut router = Router::start_with(|text| text)?;
    let mark = router.stage.mark()?;
    let mut connection = router.stage.connect_to(State::Established)?;
    router.stage.wait_logged(mark, &["BFD is not up", "nothing comes from the router"])?;
    connection.prove_established()?;
    router.say(Says { detect_mult: 3, min_tx: 1, ..Says::new(DOWN, 0) })?;
    router.tap.wait_for(|packet| packet.state() == INIT)?;
    let expired = router.tap.wait_for(|packet| packet.state() != INIT)?;
    ensure!((expired.state(), expired.diag()) == (DOWN, EXPIRED), "{:x?}", expired.0);
    connection.prove_established()?;
    let status = router.stage.status()?;
    ensure!(status["sessions"] == 1 && !router.bfd_is_up()?, "{status:#}");
    connection.finish()?;
    router.stage.check()
}
