//! UPDATEs: what the operator is told of those that are wrong, and those that are only odd. What each
//! defect costs is in `rfc7606`.

use anyhow::Result;

use super::case::{self, Case};
use super::connection::State;
use super::message::{
    EXTENDED, OPTIONAL, PREFIX, TRANSITIVE, WELL_KNOWN, as_path, attribute, mandatory, next_hop,
    origin, update, update_of_lengths,
};
use super::stage::Stage;

/// Good attributes and these, with a prefix.
fn with(attributes: &[u8]) -> Vec<u8> {
    update(&[], &[&mandatory(), attributes].concat(), PREFIX)
}

/// One for each kind of answer.
fn wrong() -> Vec<Case> {
    let reach = attribute(OPTIONAL, 14, &[0, 2, 1, 15, 1]);
    let unreach = attribute(OPTIONAL, 15, &[0, 2, 1]);
    let bad_origin = attribute(WELL_KNOWN, 1, &[9]);
    let reset = |name, rfc, octets, subcode, words| Case::reset(name, rfc, octets, subcode, words);
    vec![
        reset(
            "attributes overrun by one",
            "RFC 7606 §3 b: Malformed Attribute List",
            update_of_lengths(&[], &mandatory(), &[], [0, 1]),
            (3, 1),
            "Total Path Attribute Length",
        ),
        reset(
            "a prefix of 33 bits",
            "RFC 7606 §5.3: Invalid Network Field",
            update(&[], &mandatory(), &[33, 192, 0, 2, 0, 0]),
            (3, 10),
            "NLRI holds no valid prefixes",
        ),
        reset(
            "a next hop of 15 octets",
            "RFC 4760 §7: Optional Attribute Error, the data is the attribute",
            with(&reach),
            (3, 9),
            "MP_REACH_NLRI has a wrong length or next hop",
        )
        .data(&reach),
        reset(
            "MP_UNREACH_NLRI twice",
            "RFC 7606 §3 g: Malformed Attribute List",
            update(&[], &unreach.repeat(2), &[]),
            (3, 1),
            "MP_UNREACH_NLRI twice",
        ),
        reset(
            "a wrong ORIGIN and no prefix that could be withdrawn",
            "RFC 7606 §5.2: session reset",
            update(&[], &bad_origin, &[]),
            (3, 1),
            "no prefixes to withdraw",
        ),
        Case::stays("no attributes", "RFC 7606 §3 d", update(&[], &[], PREFIX), "ORIGIN: missing"),
        Case::stays(
            "an attribute that overruns",
            "RFC 7606 §4",
            with(&[TRANSITIVE, 8, 200, 1, 2]),
            "overruns the attribute list",
        ),
        Case::stays(
            "AGGREGATOR of 3 octets",
            "RFC 7606 §7.7",
            with(&attribute(TRANSITIVE, 7, &[1; 3])),
            "AGGREGATOR: malformed",
        ),
    ]
}

/// A path of so many ASes, in segments of 255.
fn path(count: usize) -> Vec<u8> {
    let asns = vec![[0, 0, 253, 232]; count];
    let segment = |asns: &[[u8; 4]]| {
        let length = u8::try_from(asns.len()).expect("at most 255");
        [&[2, length], asns.concat().as_slice()].concat()
    };
    let value: Vec<u8> = asns.chunks(255).flat_map(segment).collect();
    let path = attribute(WELL_KNOWN | EXTENDED, 2, &value);
    update(&[], &[origin(), path, next_hop()].concat(), PREFIX)
}

/// Nothing is wrong as far as we can know, however odd it is.
fn odd() -> Vec<Case> {
    let case = |name, rfc, octets| Case::stays(name, rfc, octets, "");
    let prefixes = |count: u16| -> Vec<u8> {
        let numbers = (0..count).map(u16::to_be_bytes);
        numbers.flat_map(|[high, low]| [24, 10, high, low]).collect()
    };
    let full = prefixes(800);
    let unknown: Vec<u8> =
        (100..228).flat_map(|code| attribute(TRANSITIVE, code, &[0; 20])).collect();
    let longest = attribute(TRANSITIVE | EXTENDED, 200, &[0; 65535 - 23 - 4 - 20 - 4]);
    let (long, longer) = ("RFC 4271 §4.3", "RFC 4271 §4.3, RFC 8654 §4: we offered to take it");
    vec![
        case("a path of 255 ASes", long, path(255)),
        case("a path of 765 ASes", long, path(765)),
        case("a path of 1000 ASes", long, path(1000)),
        case("a path of 2049 ASes", longer, path(2049)),
        case("a path of 16000 ASes", longer, path(16_000)),
        case("an UPDATE of 65535 octets", longer, with(&longest)),
        case("16000 prefixes in one UPDATE", longer, update(&[], &mandatory(), &prefixes(16_000))),
        case("800 prefixes in one UPDATE", long, update(&[], &mandatory(), &full)),
        case("a withdrawal of what was never announced", long, update(&full, &[], &[])),
        case("128 unknown transitive attributes", "RFC 4271 §9", with(&unknown)),
        case("all attributes twice", "RFC 7606 §3 g", with(&[as_path(), mandatory()].concat())),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    wrong().into_iter().chain(odd()).collect()
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn what_is_wrong_with_an_update_is_named() -> Result<()> {
    case::run(&Stage::start()?, State::Established, &wrong())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn odd_updates_do_no_harm() -> Result<()> {
    case::run(&Stage::start()?, State::Established, &odd())
}
