//! Messages that do not belong into a state (RFC 4271 §6.6, RFC 6608), octets in any number of
//! pieces, and connections that end or are one too many.

use std::io::Write;
use std::net::Shutdown;

use anyhow::{Context, Result, ensure};
use vipcast_lab::netns::Namespace;

use super::case::{self, Case};
use super::connection::{Connection, State};
use super::message::{
    KEEPALIVE, OPEN, Open, PREFIX, REFRESH, UPDATE, header, keepalive, mandatory, refresh, update,
};
use super::stage::{Dialer, Stage};

/// A message that is right, at the wrong time.
pub(crate) fn unexpected(state: State) -> Vec<Case> {
    let rfc = "RFC 6608 §4: the subcode is the state, the data the type";
    let messages = [
        ("OPEN", OPEN, Open::clean().encode()),
        ("UPDATE", UPDATE, update(&[], &mandatory(), PREFIX)),
        ("KEEPALIVE", KEEPALIVE, keepalive()),
        ("ROUTE-REFRESH", REFRESH, refresh()),
    ];
    let (subcode, expected): (u8, &[u8]) = match state {
        State::OpenSent => (1, &[OPEN]),
        State::OpenConfirm => (2, &[KEEPALIVE]),
        State::Established => (3, &[UPDATE, KEEPALIVE, REFRESH]),
    };
    let wrong = messages.into_iter().filter(|(_, kind, _)| !expected.contains(kind));
    wrong
        .map(|(name, kind, octets)| {
            Case::reset(name, rfc, octets, (5, subcode), "unexpected").data(&[kind])
        })
        .collect()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn messages_in_the_wrong_state_are_answered() -> Result<()> {
    let stage = Stage::start()?;
    for state in State::ALL {
        case::run(&stage, state, &unexpected(state))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn messages_may_come_in_any_pieces() -> Result<()> {
    let stage = Stage::start()?;
    let open = Open::clean().encode();
    let all =
        [open, keepalive(), update(&[], &mandatory(), PREFIX), refresh(), keepalive()].concat();
    // RFC 4271 §4.1 knows messages, not segments. A size of 19 splits headers from bodies.
    for size in [1, 2, 18, 19, 20, all.len()] {
        let mut connection = stage.connect_to(State::OpenSent)?;
        for piece in all.chunks(size) {
            connection.stream.write_all(piece)?;
        }
        let proven = connection.wait_for_route().and_then(|()| connection.prove_established());
        proven.with_context(|| format!("in pieces of {size}"))?;
        connection.finish()?;
        stage.check()?;
    }
    // What is wrong is found behind what is right, too.
    let mark = stage.mark()?;
    let mut connection = stage.connect_to(State::OpenSent)?;
    connection.send(&[all, header(0, KEEPALIVE)].concat())?;
    ensure!(connection.wait_for_end()? == Some(vec![1, 2, 0, 0]));
    stage.wait_named(mark, &["a message of 0 octets", "(1/2)"])?;
    stage.check()
}

/// A way in which a peer can leave without a word.
type End = (&'static str, fn(Connection) -> Result<()>);

fn fin_after(mut connection: Connection, octets: &[u8]) -> Result<()> {
    connection.send(octets)?;
    connection.stream.shutdown(Shutdown::Write)?;
    let last = connection.wait_for_end()?;
    ensure!(last.is_none(), "{last:?} to a peer that has left");
    Ok(())
}

const ENDS: [End; 4] = [
    ("a FIN", |connection| fin_after(connection, &[])),
    ("half a header and a FIN", |connection| fin_after(connection, &[0xff; 9])),
    ("half a message and a FIN", |connection| fin_after(connection, &header(100, UPDATE))),
    ("a reset", Connection::reset),
];

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn connections_may_end_in_every_state() -> Result<()> {
    let stage = Stage::start()?;
    for state in State::ALL {
        for (name, end) in ENDS {
            let run = || -> Result<()> {
                let mark = stage.mark()?;
                end(stage.connect_to(state)?)?;
                stage.wait_named(
                    mark,
                    &[match (name, state) {
                        ("a reset", _) => "connection lost: connection reset by peer",
                        (_, State::OpenSent) => "closed by the peer before its OPEN",
                        _ => "closed by the peer without a NOTIFICATION",
                    }],
                )?;
                stage.check()
            };
            run().with_context(|| format!("{state:?}: {name}"))?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn silence_in_every_state_ends_with_the_hold_timer() -> Result<()> {
    let stage = Stage::start_with(Dialer::Hostile, |_, text| {
        Ok(text.replace("hold-time = \"300s\"", "hold-time = \"3s\""))
    })?;
    for state in State::ALL {
        let run = || -> Result<()> {
            let mark = stage.mark()?;
            let last = stage.connect_to(state)?.wait_for_end()?;
            // RFC 4271 §6.5, and §8.2.2 for the states before Established.
            ensure!(last == Some(vec![4, 0]), "{last:?}");
            stage.wait_named(mark, &["hold timer expired: nothing heard for 3s"])?;
            stage.check()
        };
        run().with_context(|| format!("{state:?}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_second_connection_does_not_disturb_a_session() -> Result<()> {
    let stage = Stage::start()?;
    let mut session = stage.connect_to(State::Established)?;
    for _ in 0..100 {
        // RFC 4486 §4: Connection Rejected
        let last = stage.connect()?.wait_for_end()?;
        ensure!(last == Some(vec![6, 5]), "{last:?}");
    }
    session.prove_established()?;
    session.finish()?;
    stage.check()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn who_is_not_configured_is_not_spoken_with() -> Result<()> {
    let stage = Stage::start()?;
    let mut session = stage.connect_to(State::Established)?;
    let strangers: [&Namespace; 2] =
        [stage.fabric.client.namespace(), &stage.fabric.host(1).namespace];
    for stranger in strangers {
        let mut connection = stage.connect_from(stranger)?;
        // It may be closed before, or while, this comes.
        let _ = connection.send(&Open::clean().encode());
        let said = connection.receive();
        ensure!(!matches!(said, Ok(Some(_))), "{said:?} to a stranger");
    }
    session.prove_established()?;
    session.finish()?;
    stage.check()
}

/// RFC 4271 §6.8: of two connections the one is kept that was opened by the higher router ID; ours
/// is 10.255.1.1.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn parallel_opens_leave_the_right_connection() -> Result<()> {
    let stage = Stage::start_with(Dialer::Daemon, |_, text| {
        // A passive peer, so that the daemon listens at all.
        let far = "\n[peer.far]\naddress = \"198.18.0.1\"\nremote-asn = 65000\npassive = true\n";
        Ok(text + far)
    })?;
    let listener = stage.listen()?;
    for (router_id, kept_is_ours) in [([10, 255, 0, 1], true), ([10, 255, 9, 9], false)] {
        let open = Open { router_id, ..Open::clean() }.encode();
        let (mut ours, mut theirs) = (Stage::accept(&listener)?, stage.connect()?);
        ours.send(&open)?;
        theirs.send(&open)?;
        let (mut kept, mut lost) = if kept_is_ours { (ours, theirs) } else { (theirs, ours) };
        let last = lost.wait_for_end()?;
        ensure!(last == Some(vec![6, 7]), "{router_id:?}: {last:?}");
        kept.wait_for(KEEPALIVE)?;
        kept.establish()?;
        kept.finish()?;
        stage.check_unharmed()?;
    }
    Stage::check_clean(Stage::accept(&listener)?)
}
