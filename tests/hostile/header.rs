//! Headers (RFC 4271 §6.1): each is answered as soon as its 19 octets are there.

use anyhow::{Result, ensure};

use super::case::{self, Case};
use super::connection::State;
use super::message::{
    KEEPALIVE, NOTIFICATION, OPEN, Open, REFRESH, UPDATE, capabilities, clean_capabilities, header,
    keepalive, message,
};
use super::stage::Stage;

/// A header alone, of a body that never comes.
fn length(name: &'static str, length: u16, kind: u8) -> Case {
    let rfc = "RFC 4271 §6.1: Bad Message Length, the data is the length";
    let words = "which its type";
    Case::reset(name, rfc, header(length, kind), (1, 2), words).data(&length.to_be_bytes())
}

fn kind(name: &'static str, kind: u8) -> Case {
    let rfc = "RFC 4271 §6.1: Bad Message Type, the data is the type";
    Case::reset(name, rfc, header(19, kind), (1, 3), "does not exist").data(&[kind])
}

fn marker(name: &'static str, at: usize, octet: u8) -> Case {
    let mut octets = keepalive();
    octets[at] = octet;
    let rfc = "RFC 4271 §6.1: Connection Not Synchronized";
    Case::reset(name, rfc, octets, (1, 1), "the marker")
}

fn broken_notification(name: &'static str, octets: Vec<u8>) -> Case {
    let rfc = "RFC 4271 §6.4: nothing answers a broken NOTIFICATION";
    Case::closed(name, rfc, octets, "received a malformed NOTIFICATION")
}

/// RFC 8654 §4: a longer message may come when the OPENs have said so, and not before.
pub(crate) fn too_early(state: State) -> Option<Case> {
    let is_early = state != State::Established;
    is_early.then(|| length("an UPDATE of 4097 before there is a session", 4097, UPDATE))
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        marker("a marker that begins with 0", 0, 0),
        marker("a marker with one bit missing at its end", 15, 0xfe),
        length("length 0", 0, KEEPALIVE),
        length("length 18", 18, KEEPALIVE),
        length("an OPEN of 4097, which RFC 8654 does not allow", 4097, OPEN),
        length("a KEEPALIVE of 65535", 65535, KEEPALIVE),
        length("an OPEN of 28", 28, OPEN),
        length("an UPDATE of 22", 22, UPDATE),
        length("a KEEPALIVE of 20", 20, KEEPALIVE),
        length("a ROUTE-REFRESH of 22", 22, REFRESH),
        length("a ROUTE-REFRESH of 24", 24, REFRESH),
        kind("type 0", 0),
        kind("type 6", 6),
        kind("type 255", 255),
        broken_notification("a NOTIFICATION of 20", message(NOTIFICATION, &[6])),
        broken_notification("a NOTIFICATION of 0", header(0, NOTIFICATION)),
    ]
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn wrong_headers_are_answered_in_every_state() -> Result<()> {
    let stage = Stage::start()?;
    for state in State::ALL {
        let cases: Vec<Case> = cases().into_iter().chain(too_early(state)).collect();
        case::run(&stage, state, &cases)?;
    }
    Ok(())
}

/// RFC 7313 §5 has the whole message in the answer, which has no room for it (RFC 8654 §4: it could
/// only be longer if the peer had offered to take that).
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_refresh_as_long_as_any_message_is_answered_with_its_beginning() -> Result<()> {
    let stage = Stage::start()?;
    let enhanced = Open::with(&capabilities(&[clean_capabilities(), vec![70, 0]].concat()));
    for length in [24, 4096, 65535] {
        let mark = stage.mark()?;
        let mut connection = stage.connect_to(State::OpenSent)?;
        connection.open(&enhanced)?;
        connection.establish()?;
        // The beginning of a refresh, which has four octets.
        let refresh = message(REFRESH, &[&[0, 1, 1, 1][..], &vec![0; length - 23]].concat());
        connection.send(&refresh)?;
        let expected = [&[7, 1], &refresh[..length.min(4096 - 21)]].concat();
        ensure!(connection.wait_for_end()?.as_ref() == Some(&expected), "{length}");
        stage.wait_named(mark, &["a ROUTE-REFRESH of ", "(7/1)"])?;
        stage.check()?;
    }
    Ok(())
}
