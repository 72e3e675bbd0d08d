//! Too much of everything: messages, routes, defects, connections. Neither memory nor log grow
//! with it.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use socket2::Socket;
use vipcast_lab::wait;

use super::BOUND;

use super::connection::{Connection, State};
use super::message::{
    PREFIX, WELL_KNOWN, as_path, attribute, keepalive, mandatory, message, next_hop, refresh,
    update,
};
use super::stage::{Dialer, Stage};

/// In KiB. Less than what any of the floods would take if it were kept.
const FLAT: u64 = 4096;

/// The daemon's heap and stacks in KiB. Pages of its program do not count: they are dirty, too,
/// for a while after it was built, and private or shared as daemons come and go.
fn anonymous_memory(stage: &Stage) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", stage.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.context("no RssAnon")?.parse().context("an odd RssAnon")
}

fn ensure_flat(stage: &Stage, before: u64) -> Result<()> {
    let after = anonymous_memory(stage)?;
    ensure!(after < before + FLAT, "{before} KiB grew to {after} KiB");
    Ok(())
}

/// Sends octets without reading what comes back, which another thread throws away meanwhile.
fn pour(connection: &mut Connection, octets: &[u8]) -> Result<()> {
    let mut reader = connection.stream.try_clone()?;
    let _ = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    connection.stream.write_all(octets).context("the daemon does not read")
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn bursts_of_messages_are_taken() -> Result<()> {
    let stage = Stage::start()?;
    let empty = update(&[], &[], &[]);
    let unknown_family = message(super::message::REFRESH, &[0, 25, 0, 70]);
    for (name, burst) in [
        ("2000 KEEPALIVEs", keepalive().repeat(2000)),
        ("200 empty UPDATEs", empty.repeat(200)),
        ("100 ROUTE-REFRESHs", refresh().repeat(100)),
        ("100 ROUTE-REFRESHs of a family nobody has", unknown_family.repeat(100)),
    ] {
        let run = || -> Result<()> {
            let mut connection = stage.connect_to(State::Established)?;
            connection.send(&burst)?;
            connection.prove_established()?;
            connection.finish()?;
            stage.check()
        };
        run().context(name)?;
    }
    Ok(())
}

/// UPDATEs with 500 prefixes each, all different.
fn prefixes(updates: std::ops::Range<u32>) -> Vec<u8> {
    let nlri = |number: u32| -> Vec<u8> {
        let [_, a, b, c] = number.to_be_bytes();
        vec![32, 20 + a, b, c, 1]
    };
    updates
        .flat_map(|update_number| {
            let first = update_number * 500;
            let all: Vec<u8> = (first..first + 500).flat_map(nlri).collect();
            update(&[], &mandatory(), &all)
        })
        .collect()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn half_a_million_prefixes_are_counted_and_not_kept() -> Result<()> {
    let stage = Stage::start()?;
    let mut connection = stage.connect_to(State::Established)?;
    let counted = |all: u64| {
        stage.wait_status(&format!("{all} prefixes are counted"), |status| {
            super::stage::peer(status, super::stage::HOSTILE)["prefixes-received"] == all
        })
    };
    // The first tenth brings all buffers to their size.
    connection.send(&prefixes(0..100))?;
    counted(50_000)?;
    let before = anonymous_memory(&stage)?;
    connection.send(&prefixes(100..1000))?;
    counted(500_000)?;
    ensure_flat(&stage, before)?;
    connection.prove_established()?;
    connection.finish()?;
    stage.check()
}

/// A daemon that learns these from the hostile router.
fn start_accepting(accept: &str) -> Result<Stage> {
    Stage::start_with(Dialer::Hostile, |_, text| {
        Ok(text.replacen(
            "remote-asn = 65000",
            &format!("remote-asn = 65000\naccept = {accept}"),
            1,
        ))
    })
}

/// What the filter leaves out is not even stored.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn half_a_million_prefixes_that_are_not_let_in_take_no_memory() -> Result<()> {
    let stage = start_accepting(r#"["0.0.0.0/0"]"#)?;
    let mut connection = stage.connect_to(State::Established)?;
    connection.send(&prefixes(0..100))?;
    connection.prove_established()?;
    let before = anonymous_memory(&stage)?;
    connection.send(&prefixes(100..1000))?;
    connection.prove_established()?;
    ensure_flat(&stage, before)?;
    let accepted = &stage.status()?["accepted"];
    ensure!(accepted["announcements"] == 500_000 && accepted["prefixes"] == 0, "{accepted:#}");
    connection.finish()?;
    stage.check()
}

/// RFC 4271 §6.7: more than `accept-max-prefixes`, again and again. Nothing of it stays.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn half_a_million_prefixes_where_a_thousand_may_come_end_the_session_each_time() -> Result<()> {
    let stage = start_accepting(r#"[{ prefix = "0.0.0.0/0", le = 32 }]"#)?;
    let all = prefixes(0..1000);
    let mut before = None;
    for _ in 0..10 {
        let mark = stage.mark()?;
        let mut connection = stage.connect_to(State::Established)?;
        // The daemon closes while this is on its way, and what it says may be lost with that.
        let _ = pour(&mut connection, &all);
        stage.wait_logged(mark, &["more than 1000 of the prefixes"])?;
        drop(connection);
        stage.check()?;
        wait::until_true("its routes are gone", BOUND, || {
            let show = ["route", "show", "proto", "118"];
            Ok(stage.fabric.host(1).namespace.run("ip", show)?.is_empty())
        })?;
        match before {
            None => before = Some(anonymous_memory(&stage)?),
            Some(before) => ensure_flat(&stage, before)?,
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn refreshes_that_nobody_reads_the_answers_to_are_coalesced() -> Result<()> {
    let stage = Stage::start()?;
    let mut connection = stage.connect_to(State::Established)?;
    let before = anonymous_memory(&stage)?;
    let requests = refresh().repeat(1000);
    for _ in 0..100 {
        connection.send(&requests)?;
    }
    connection.prove_established()?;
    ensure_flat(&stage, before)?;
    connection.finish()?;
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn defects_that_repeat_do_not_fill_the_log() -> Result<()> {
    let stage = Stage::start()?;
    let mut connection = stage.connect_to(State::Established)?;
    let mark = stage.mark()?;
    let bad = [attribute(WELL_KNOWN, 1, &[3]), as_path(), next_hop()].concat();
    let unknown: Vec<u8> = attribute(WELL_KNOWN, 200, &[]).repeat(1000);
    let burst = [update(&[], &bad, PREFIX), update(&[], &unknown, PREFIX)].concat().repeat(500);
    connection.send(&burst)?;
    connection.prove_established()?;
    connection.finish()?;
    stage.wait_logged(mark, &["ORIGIN: malformed"])?;
    stage.wait_logged(mark, &["attribute 200: well-known but unknown"])?;
    let log = stage.log_since(mark)?;
    ensure!(log.len() < 10_000, "{} octets of log for two defects", log.len());
    ensure!(stage.status()?["defective-updates"] == 1000, "each of them is counted");
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn junk_without_end_is_answered_once() -> Result<()> {
    let stage = Stage::start()?;
    for state in State::ALL {
        let mark = stage.mark()?;
        let mut connection = stage.connect_to(state)?;
        // The daemon closes while this is on its way.
        let _ = pour(&mut connection, &[0x5a; 4 << 20]);
        stage.wait_named(mark, &["the marker", "(1/1)"])?;
        drop(connection);
        stage.check().with_context(|| format!("{state:?}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn silent_connections_take_nothing_from_anybody() -> Result<()> {
    let stage = Stage::start()?;
    let open: Vec<Socket> = (0..500).map(|_| stage.dial()).collect::<Result<_>>()?;
    stage.check_unharmed()?;
    drop(open);
    stage.check()?;
    let log = stage.log_since(0)?;
    ensure!(!log.contains("check healthz is down"), "{log}");
    Ok(())
}

/// The daemon's open files.
fn descriptors(stage: &Stage) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", stage.pid()))?.count())
}

/// The router has its session, opens one connection after the other, and closes none.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn connections_that_nobody_wants_take_few_descriptors() -> Result<()> {
    let stage = Stage::start()?;
    let mut connection = stage.connect_to(State::Established)?;
    let before = descriptors(&stage)?;
    let (mut most, mut rejected) = (0, Vec::new());
    for _ in 0..200 {
        let mut another = stage.connect()?;
        let last = another.wait_for_end()?;
        // The first of those that wait for the router to close is given up for the next one.
        ensure!(last == Some(vec![6, 5]), "{last:?}");
        rejected.push(another);
        most = most.max(descriptors(&stage)?);
    }
    ensure!(most <= before + 10, "{before} descriptors grew to {most}");
    connection.prove_established()?;
    connection.finish()?;
    drop(rejected);
    stage.check()
}
