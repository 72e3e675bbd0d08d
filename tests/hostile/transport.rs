//! TCP that does not do what it should, while the daemon is the one that connects: silence, closed
//! windows, passwords, refusals; and a router that makes the same mistake again and again.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipcast_lab::fabric::{Fabric, vip};
use vipcast_lab::wait;

use super::BOUND;
use super::connection::{Connection, State};
use super::message::{KEEPALIVE, OPEN, Open, UPDATE, header, keepalive};
use super::stage::{Dialer, HOSTILE, Stage, peer};

/// More VIPs than fit through a small window when the session comes up.
fn with_many(text: &str, count: u16) -> String {
    let vip = |number: u16| {
        let [high, low] = number.to_be_bytes();
        format!("\"198.19.{high}.{low}\"")
    };
    let vips: Vec<String> = (0..count).map(vip).collect();
    let service = format!(
        "\n[pool.many]\naddresses = [\"198.19.0.0/16\"]\n\n[service.many]\n\
         interface = \"none\"\nvips = [{}]\ncheck.c.tcp = \"127.0.0.1:80\"\n",
        vips.join(", ")
    );
    text.replace("pools = [\"anycast\"]", "pools = [\"anycast\", \"many\"]") + &service
}

/// A router that says it is there, and reads nothing, once the session is up.
fn stop_reading(stage: &Stage) -> Result<Connection> {
    let mut connection = stage.connect_narrow()?;
    connection.wait_for(OPEN)?;
    connection.open(&Open::clean().encode())?;
    connection.send(&keepalive())?;
    Ok(connection)
}

fn is_established(status: &Value) -> bool {
    peer(status, HOSTILE)["established"] == true
}

/// The web service fails and comes back: how long BIRD's kernel has the route after it failed.
fn time_withdrawal(stage: &Stage) -> Result<Duration> {
    let (nginx, routes) = (&stage.fabric.host(1).nginx, &stage.fabric.tor(2).routes);
    let failed = Instant::now();
    nginx.set_health("/healthz", false)?;
    routes.wait_for_count(vip(5)[0], BOUND, 0)?;
    let took = failed.elapsed();
    nginx.set_health("/healthz", true)?;
    routes.wait_for_count(vip(5)[0], BOUND, 1)?;
    Ok(took)
}

/// The same with a router that reads nothing: its socket is full, and the writer waits for it.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_does_not_read_holds_up_no_withdrawal_to_another() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, |_, text| Ok(with_many(&text, 12_000)))?;
    let free = time_withdrawal(&stage)?;
    let stuck = stop_reading(&stage)?;
    stage.wait_status("the session is up", is_established)?;
    stage.wait_stuck()?;
    stage.wait_status("octets wait for the writer", |status| {
        let announced = &peer(status, HOSTILE)["prefixes-announced"];
        announced.as_u64().is_some_and(|count| count < 12_000)
    })?;
    let blocked = time_withdrawal(&stage)?;
    let times = format!("withdrawn in {free:?}, and in {blocked:?} with a router that is stuck\n");
    std::io::stderr().write_all(times.as_bytes())?;
    ensure!(is_established(&stage.daemon.status()?), "the other session ended first");
    stuck.reset()?;
    stage.wait_named(0, &["connection lost"])?;
    stage.check()
}

/// A thousand VIPs of a service that fails and recovers, of the lowest addresses: theirs are the first
/// UPDATEs.
fn with_flapping(text: &str) -> String {
    let vip = |number: u16| {
        let [high, low] = number.to_be_bytes();
        format!("\"198.18.{high}.{low}\"")
    };
    let vips: Vec<String> = (0..FLAPPING).map(vip).collect();
    let service = format!(
        "\n[pool.flapping]\naddresses = [\"198.18.0.0/16\"]\n\n[service.flapping]\n\
         interface = \"none\"\nvips = [{}]\n\n[service.flapping.check.c]\n\
         http = \"http://127.0.0.1:80/healthz-flapping\"\ninterval = \"100ms\"\n",
        vips.join(", ")
    );
    text.replace("pools = [\"anycast\", ", "pools = [\"anycast\", \"flapping\", ") + &service
}

/// The VIPs of the flapping service.
const FLAPPING: u16 = 1000;
/// The other ones, those of the web service among them.
const OTHERS: u16 = 12_001;

/// What an UPDATE withdraws, and the host routes that it announces (IPv4).
fn changes(body: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let counted = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let withdrawn = counted(0);
    let nlri = 4 + withdrawn + counted(2 + withdrawn);
    (&body[2..2 + withdrawn], body[nlri..].chunks(5))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_flap_that_is_over_before_a_full_socket_has_room_is_never_sent() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, |_, text| {
        Ok(with_flapping(&with_many(&text, OTHERS - 1)))
    })?;
    let flapping_is = |state: &str| {
        stage.wait_status(&format!("the flapping service is {state}"), |status| {
            let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
            services.iter().any(|one| one["name"] == "flapping" && one["state"] == state)
        })
    };
    let waits = |status: &Value| {
        let announced = peer(status, HOSTILE)["prefixes-announced"].as_u64();
        announced.is_some_and(|count| count < u64::from(OTHERS))
    };
    let nginx = &stage.fabric.host(1).nginx;
    nginx.set_health("/healthz-flapping", true)?;
    flapping_is("up")?;
    let mut stuck = stop_reading(&stage)?;
    stage.wait_status("the session is up", is_established)?;
    stage.wait_stuck()?;
    stage.wait_status("octets wait for the writer", waits)?;
    for _ in 0..3 {
        for (healthy, state) in [(false, "down"), (true, "up")] {
            nginx.set_health("/healthz-flapping", healthy)?;
            flapping_is(state)?;
        }
    }
    ensure!(waits(&stage.daemon.status()?), "the socket had room");

    let mut told = BTreeSet::new();
    while told.len() < usize::from(FLAPPING + OTHERS) {
        let body = stuck.wait_for(UPDATE)?;
        let (withdrawn, announced) = changes(&body);
        ensure!(withdrawn.is_empty(), "{withdrawn:?} is withdrawn");
        for prefix in announced {
            ensure!(told.insert(prefix.to_vec()), "{prefix:?} is announced twice");
        }
    }
    stuck.finish()?;
    stage.check()
}

/// All that is written fits into our send buffer, and what comes from the router every 100 ms keeps
/// TCP from ever probing the window, and so from giving up by itself.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_speaks_and_does_not_read_is_given_up() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, |_, text| {
        Ok(with_many(&text, 2000).replace("hold-time = \"300s\"", "hold-time = \"9s\""))
    })?;
    let mut stuck = stop_reading(&stage)?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let mut speaker = stuck.stream.try_clone()?;
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) && speaker.write_all(&keepalive()).is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
            drop(speaker);
        });
        let words = ["send hold timer expired: the router does not read", "octets wait for it"];
        let named = stage.wait_named(0, &words);
        ended.store(true, Ordering::Relaxed);
        named
    })?;
    // The rest of the routes does not lie in wait for it: it is told at once that we are gone.
    stage.wait_gone()?;
    let end = std::io::copy(&mut stuck.stream, &mut std::io::sink());
    let reset = end.err().map(|error| error.kind());
    ensure!(reset == Some(std::io::ErrorKind::ConnectionReset), "{reset:?}");
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_never_learns_is_asked_ever_more_rarely() -> Result<()> {
    let stage = Stage::start_dialing()?;
    let listener = stage.listen()?;
    let mut connection = Stage::accept(&listener)?;
    for round in 0..3 {
        let (mark, mistake) = (stage.mark()?, Instant::now());
        connection.proceed_to(State::Established)?;
        connection.send(&header(0, KEEPALIVE))?;
        ensure!(connection.wait_for_end()? == Some(vec![1, 2, 0, 0]));
        drop(connection);
        stage.wait_named(mark, &["a message of 0 octets", "(1/2)"])?;
        stage.check_unharmed()?;
        connection = Stage::accept(&listener)?;
        // RFC 4271 §8.1.1, DampPeerOscillations: doubled each time, less jitter of a quarter.
        let least = Duration::from_millis(750) * 2_u32.pow(round);
        let waited = mistake.elapsed();
        ensure!(waited >= least, "round {round}: asked again after {waited:?}");
    }
    Stage::check_clean(connection)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_port_that_refuses_is_named() -> Result<()> {
    let stage = Stage::start_dialing()?;
    stage.wait_named(0, &["10.1.1.0 port 179 refused the connection", "no BGP speaker"])?;
    stage.check_unharmed()?;
    Stage::check_clean(Stage::accept(&stage.listen()?)?)
}

/// The hostile router's segments must be signed.
fn with_password(fabric: &Fabric, text: String) -> Result<String> {
    let key = fabric.host(1).namespace.directory().join("key");
    std::fs::write(&key, "sesame\n")?;
    let hold_time = "hold-time = \"300s\"";
    Ok(text.replace(hold_time, &format!("{hold_time}\npassword-file = {key:?}")))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_without_our_password_is_named() -> Result<()> {
    let stage = Stage::start_with(Dialer::Daemon, with_password)?;
    let listener = stage.listen()?;
    stage.wait_named(0, &["no answer from 10.1.1.0", "the TCP MD5 password differs"])?;
    ensure!(Stage::try_accept(&listener)?.is_none(), "it was spoken with, without a password");
    stage.check_unharmed()?;
    // Without the password in the configuration, the same router is as good as any.
    let text = std::fs::read_to_string(stage.daemon.configuration_file())?;
    let without = text.lines().filter(|line| !line.starts_with("password-file"));
    stage.daemon.write_configuration(&without.collect::<Vec<_>>().join("\n"))?;
    stage.daemon.reload()?;
    Stage::check_clean(Stage::accept(&listener)?)
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_unsigned_connection_does_not_get_past_the_password() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, with_password)?;
    let dropped = || -> Result<u64> {
        let text = stage.fabric.host(1).namespace.run("nstat", ["-asz", "TcpExtTCPMD5NotFound"])?;
        let count = text.lines().find_map(|line| line.strip_prefix("TcpExtTCPMD5NotFound"));
        let count = count.and_then(|line| line.split_whitespace().next()).context(text.clone())?;
        count.parse().context(text.clone())
    };
    let socket = stage.dial()?;
    wait::until_true(
        "the kernel drops it for its missing signature",
        BOUND,
        || Ok(dropped()? > 0),
    )?;
    drop(socket);
    stage.check_unharmed()
}

/// Accepted, and then not a word: RFC 4271 §8.2.2, the hold timer of OpenSent.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_router_that_accepts_and_stays_silent_is_given_up() -> Result<()> {
    let stage = Stage::start_with(Dialer::Daemon, |_, text| {
        Ok(text.replace("hold-time = \"300s\"", "hold-time = \"3s\""))
    })?;
    let listener = stage.listen()?;
    let last = Stage::accept(&listener)?.wait_for_end()?;
    ensure!(last == Some(vec![4, 0]), "{last:?}");
    stage.wait_named(0, &["hold timer expired: nothing heard for 3s"])?;
    stage.check_unharmed()?;
    Stage::check_clean(Stage::accept(&listener)?)
}
