//! OPENs (RFC 4271 §6.2, RFC 5492, RFC 6286, RFC 6793, RFC 7607, RFC 9072), wrong and odd.

use anyhow::{Result, ensure};

use super::case::{self, Case};
use super::connection::State;
use super::message::{Open, capabilities, clean_capabilities, four_octet_asn};
use super::stage::{Dialer, Stage};

/// A capability of this code and value.
fn capability(code: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("it is short");
    [&[code, length], value].concat()
}

/// An OPEN with these capabilities beside the usual ones.
fn beside(more: &[u8]) -> Vec<u8> {
    Open::with(&capabilities(&[clean_capabilities(), more.to_vec()].concat()))
}

/// An OPEN with optional parameters in the extended form (RFC 9072 §2).
fn extended(plain_length: u8, length: u16, parameters: &[u8]) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    Open::with(&[&[plain_length, 255, high, low], parameters].concat())
}

/// One parameter of the extended form: all clean capabilities.
fn extended_parameter() -> Vec<u8> {
    let all = clean_capabilities();
    let length = u8::try_from(all.len()).expect("they are short");
    [&[2, 0, length], all.as_slice()].concat()
}

fn wrong_fields() -> Vec<Case> {
    let clean = Open::clean;
    let (version, bad_as) = ("RFC 4271 §6.2: Unsupported Version Number", "RFC 4271 §6.2");
    let zero = "RFC 7607 §2: AS 0 is Bad Peer AS";
    let hold = "RFC 4271 §6.2: Unacceptable Hold Time";
    let case = |name, rfc, open: Open, subcode, words| {
        Case::reset(name, rfc, open.encode(), (2, subcode), words)
    };
    let other_as = "the peer says AS 65001, remote-asn says 65000";
    let four_octet = |asn| Open { parameters: capabilities(&four_octet_asn(asn)), ..clean() };
    let two_octet = Open { asn: 65001, parameters: vec![0], ..clean() };
    let no_id = Open { router_id: [0; 4], ..clean() };
    vec![
        // The data is the version that is spoken.
        case("version 3", version, Open { version: 3, ..clean() }, 1, "version 3").data(&[0, 4]),
        case("version 5", version, Open { version: 5, ..clean() }, 1, "version 5").data(&[0, 4]),
        case("another AS in two octets", bad_as, two_octet, 2, other_as),
        case("another AS in four octets", "RFC 6793 §4.1", four_octet(65001), 2, other_as),
        case("AS 0", zero, Open { asn: 0, ..clean() }, 2, "the peer says AS 0"),
        case("AS 0 in four octets", zero, four_octet(0), 2, "the peer says AS 0"),
        case("router ID 0.0.0.0", "RFC 6286 §2.2", no_id, 3, "router ID) 0.0.0.0"),
        case("hold time 1", hold, Open { hold_time: 1, ..clean() }, 6, "hold time 1 s"),
        case("hold time 2", hold, Open { hold_time: 2, ..clean() }, 6, "hold time 2 s"),
    ]
}

/// What both ends must share, and parameters that are not capabilities.
fn wrong_parameters() -> Vec<Case> {
    let offered = [&[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1][..]].concat();
    let none_in_common = [capability(1, &[0, 25, 0, 70]), four_octet_asn(65000)].concat();
    let none_of_ours: Vec<u8> = (0..600_u16)
        .map(u16::to_be_bytes)
        .flat_map(|[high, low]| [1, 4, 1, high, 0, low])
        .collect();
    vec![
        Case::reset(
            "EVPN alone",
            "RFC 5492 §5: Unsupported Capability, the data is what is missed",
            Open::with(&capabilities(&none_in_common)),
            (2, 7),
            "no address family in common: the peer offers AFI 25 SAFI 70",
        )
        .data(&offered),
        Case::reset(
            "600 families, none of them ours",
            "RFC 5492 §5, RFC 9072 §2",
            extended(255, 3603, &[&[2, 14, 16], none_of_ours.as_slice()].concat()),
            (2, 7),
            "AFI 256 SAFI 7, 592 more, we offer",
        )
        .data(&offered),
        Case::reset(
            "the authentication parameter of RFC 1771",
            "RFC 4271 §6.2: Unsupported Optional Parameter",
            Open::with(&[3, 1, 1, 0]),
            (2, 4),
            "unsupported optional parameter 1",
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let case = |name, octets| {
        let rfc = "RFC 4271 §6.2: recognized but malformed, subcode 0";
        Case::reset(name, rfc, octets, (2, 0), "malformed OPEN: the length of")
    };
    let clean = Open::clean().parameters;
    let with_length = |length: u8| {
        let mut parameters = clean.clone();
        parameters[0] = length;
        Open::with(&parameters)
    };
    let length = clean[0];
    vec![
        case("parameters longer than the message, by one", with_length(length + 1)),
        case("parameters longer than the message, by far", with_length(254)),
        case("a stray octet behind the parameters", with_length(length - 1)),
        case("parameters of 0 octets, and some", with_length(0)),
        case("parameters of 255 octets, and nothing", Open::with(&[255])),
        case("a parameter type and the end", Open::with(&[1, 2])),
        case("a parameter that overruns, by one", Open::with(&[4, 2, 3, 2, 0])),
        case("a capability that overruns, by one", Open::with(&[4, 2, 2, 2, 1])),
        case("a capability code and the end", Open::with(&[3, 2, 1, 2])),
        case("four-octet AS number of 0 octets", beside(&[65, 0])),
        case("four-octet AS number of 3 octets", beside(&[65, 3, 0, 0, 253])),
        case("four-octet AS number of 5 octets", beside(&[65, 5, 0, 0, 253, 232, 0])),
        case("multiprotocol of 3 octets", beside(&[1, 3, 0, 1, 0])),
        case("route refresh of 1 octet", beside(&[2, 1, 0])),
        case("enhanced route refresh of 1 octet", beside(&[70, 1, 0])),
        case("extended next hop of 5 octets", beside(&[5, 5, 0, 1, 0, 1, 0])),
        case("a role of 0 octets", beside(&[9, 0])),
        case("a role of 2 octets", beside(&[9, 2, 3, 3])),
        case("graceful restart of 1 octet", beside(&[64, 1, 0])),
        case("graceful restart with half a family", beside(&[64, 5, 0, 120, 0, 1, 1])),
        case("a long-lived one with half a time", beside(&[71, 6, 0, 1, 1, 0, 0, 0])),
        case("an FQDN that overruns its parameter", beside(&[73, 255, 3, b'b', b'a', b'd'])),
        case("a software version that does", beside(&[75, 255, 3, b'b', b'a', b'd'])),
        case("extended: longer than the message", extended(255, 4000, &extended_parameter())),
        case("extended: shorter than the message", extended(255, 1, &extended_parameter())),
        case("extended: length octets missing", Open::with(&[255, 255, 0])),
        case("extended: nothing behind 255", Open::with(&[255, 255])),
        case("extended: a parameter type and the end", extended(255, 1, &[2])),
        case("extended: half a length of a parameter", extended(255, 2, &[2, 0])),
        case("extended: a parameter that overruns", extended(255, 4, &[2, 0, 2, 2])),
    ]
}

/// Whose sender is right, or at least understood: the session comes up.
fn odd() -> Vec<Case> {
    let case = |name, rfc, octets| Case::stays(name, rfc, octets, "session established");
    let parameter = extended_parameter();
    let length = u16::try_from(parameter.len()).expect("it is short");
    // 100 capabilities do not fit behind a length of one octet: extended, 30 in each parameter.
    let many: Vec<u8> = (100..200).flat_map(|code| [code, 0]).collect();
    let many = [&[2, 0, 200], many.as_slice(), &parameter].concat();
    let orf_lies = capability(3, &[0, 1, 0, 1, 200, 64, 3]);
    let version_lies = capability(75, &[200, b'x']);
    let fqdn_lies = capability(73, &[200, b'x']);
    let odd_family = capability(1, &[0xff, 0xff, 0, 0xff]);
    let again = clean_capabilities();
    let (unknown, advertised) = ("RFC 5492 §3: what is not known is ignored", "RFC 5492 §4");
    vec![
        case("100 unknown capabilities", unknown, {
            extended(255, u16::try_from(many.len()).expect("under 400"), &many)
        }),
        case("all capabilities twice", advertised, beside(&again)),
        case("no parameters at all", "RFC 4271 §4.2", Open::with(&[0])),
        case("an unknown family beside ours", "RFC 4760 §8", beside(&odd_family)),
        case("ORF entries that lie about their number", unknown, beside(&orf_lies)),
        case("an FQDN that lies about its length", unknown, beside(&fqdn_lies)),
        case("a software version that lies about its length", unknown, beside(&version_lies)),
        case("ADD-PATH of 1 octet", unknown, beside(&capability(69, &[1]))),
        case("graceful restart with every bit, of families nobody has", "RFC 4724 §3", {
            beside(&capability(64, &[0xff, 0xff, 0, 25, 70, 0xff, 0xff, 0xff, 0xff, 0xff]))
        }),
        case("extended form", "RFC 9072 §2", extended(255, length, &parameter)),
        case("extended form, another plain length", "RFC 9072 §2", extended(1, length, &parameter)),
        case("our own router ID, from another AS", "RFC 6286 §2.1: unique within an AS", {
            Open { router_id: [10, 255, 1, 1], ..Open::clean() }.encode()
        }),
        case("hold time 0", "RFC 4271 §4.2", Open { hold_time: 0, ..Open::clean() }.encode()),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [wrong_fields(), wrong_parameters(), malformed(), odd()].into_iter().flatten().collect()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn wrong_opens_are_answered_and_odd_ones_accepted() -> Result<()> {
    let stage = Stage::start()?;
    case::run(&stage, State::OpenSent, &cases())
}

/// RFC 6286 §2.2: within an AS a router ID belongs to one speaker.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn our_own_router_id_from_our_own_as_is_refused() -> Result<()> {
    let mut external = String::new();
    let stage = Stage::start_with(Dialer::Hostile, |_, text| {
        external.clone_from(&text);
        Ok(text.replacen("remote-asn = 65000", "remote-asn = 65100", 1))
    })?;
    let twin = Open {
        asn: 65100,
        router_id: stage.fabric.host(1).router_id.octets(),
        parameters: capabilities(&four_octet_asn(65100)),
        ..Open::clean()
    };
    let mut connection = stage.connect_to(State::OpenSent)?;
    connection.send(&twin.encode())?;
    ensure!(connection.wait_for_end()? == Some(vec![2, 3]));
    stage.wait_named(0, &["10.255.1.1 is also ours", "(2/3)"])?;
    stage.daemon.write_configuration(&external)?;
    stage.daemon.reload()?;
    stage.check()
}
