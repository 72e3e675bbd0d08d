//! UPDATEs: what RFC 7606 lets the session survive, and what it does not.

use anyhow::Result;

use super::case::{self, Case};
use super::connection::State;
use super::message::{
    EXTENDED, OPTIONAL, PREFIX, TRANSITIVE, WELL_KNOWN, as_path, attribute, mandatory, next_hop,
    origin, update, update_of_lengths,
};
use super::stage::Stage;

/// MP_REACH_NLRI of a family, with whatever is behind the SAFI.
fn mp_reach(afi: u16, safi: u8, rest: &[u8]) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    attribute(OPTIONAL, 14, &[&[high, low, safi], rest].concat())
}

/// Good attributes and these, with a prefix.
fn with(attributes: &[u8]) -> Vec<u8> {
    update(&[], &[&mandatory(), attributes].concat(), PREFIX)
}

/// These attributes alone, with a prefix.
fn of(attributes: &[Vec<u8>]) -> Vec<u8> {
    update(&[], &attributes.concat(), PREFIX)
}

fn lengths() -> Vec<Case> {
    let case = |name, octets, words| {
        let rfc = "RFC 4271 §6.3, RFC 7606 §3 b: Malformed Attribute List";
        Case::reset(name, rfc, octets, (3, 1), words)
    };
    let off = |excess| update_of_lengths(&[], &mandatory(), &[], excess);
    let (withdrawn, attributes) = ("Withdrawn Routes Length", "Total Path Attribute Length");
    vec![
        case("withdrawn routes overrun by thousands", off([60_000, 0]), withdrawn),
        case("withdrawn routes of 65535 octets", off([65_535, 0]), withdrawn),
        case(
            "withdrawn routes overrun by one",
            update_of_lengths(&[], &[], &[], [3, 0]),
            withdrawn,
        ),
        case(
            "withdrawn routes leave half a length",
            update_of_lengths(&[], &[], &[], [1, 0]),
            attributes,
        ),
        case("attributes overrun by one", off([0, 1]), attributes),
        case("attributes overrun by thousands", off([0, 60_000]), attributes),
    ]
}

fn prefixes() -> Vec<Case> {
    let case = |name, octets, words| {
        let rfc = "RFC 4271 §6.3, RFC 7606 §3 j, §5.3: Invalid Network Field";
        Case::reset(name, rfc, octets, (3, 10), words)
    };
    let nlri = |nlri| update(&[], &mandatory(), nlri);
    let ipv6 = |name, nlri: &[u8]| {
        let value = [&[16][..], &[0x20, 1, 0xd, 0xb8], &[0; 12], &[0], nlri].concat();
        let reach = mp_reach(2, 1, &value);
        let octets = update(&[], &[mandatory(), reach.clone()].concat(), &[]);
        let rfc = "RFC 4760 §7: Optional Attribute Error, the data is the attribute";
        Case::reset(name, rfc, octets, (3, 9), "MP_REACH_NLRI holds no valid").data(&reach)
    };
    vec![
        case("a prefix of 33 bits", nlri(&[33, 192, 0, 2, 0, 0]), "NLRI"),
        case("a prefix of 255 bits", nlri(&[255, 1]), "NLRI"),
        case("a prefix that is cut off", nlri(&[24, 192, 0]), "NLRI"),
        case("a withdrawn prefix of 33 bits", update(&[33, 0, 0, 0, 0, 0], &[], &[]), "Withdrawn"),
        ipv6("an IPv6 prefix of 129 bits", &[129]),
        ipv6("an IPv6 prefix that is cut off", &[64, 0x20, 1]),
    ]
}

fn multiprotocol() -> Vec<Case> {
    let rfc = "RFC 4760 §7, RFC 7606 §7.11: Optional Attribute Error";
    let words = "MP_REACH_NLRI has a wrong length or next hop";
    let case = |name, value: &[u8]| {
        let reach = attribute(OPTIONAL, 14, value);
        let octets = update(&[], &[mandatory(), reach.clone()].concat(), &[]);
        Case::reset(name, rfc, octets, (3, 9), words).data(&reach)
    };
    let good = attribute(OPTIONAL, 15, &[0, 2, 1]);
    let twice = [good.clone(), good].concat();
    let twice_rfc = "RFC 7606 §3 g: Malformed Attribute List";
    let wrong_alone = attribute(WELL_KNOWN, 1, &[9]);
    vec![
        case("MP_REACH_NLRI without octets", &[]),
        case("a next hop of 15 octets", &[&[0, 2, 1, 15][..], &[1; 15], &[0, 0]].concat()),
        case("a next hop that overruns", &[0, 2, 1, 200, 1, 2, 3]),
        Case::reset(
            "MP_UNREACH_NLRI twice",
            twice_rfc,
            update(&[], &twice, &[]),
            (3, 1),
            "MP_UNREACH_NLRI twice",
        ),
        Case::reset(
            "a wrong ORIGIN and no prefix that could be withdrawn",
            "RFC 7606 §5.2: session reset",
            update(&[], &wrong_alone, &[]),
            (3, 1),
            "no prefixes to withdraw",
        ),
    ]
}

/// One of ORIGIN (1), AS_PATH (2) and NEXT_HOP (3) with this value, the others as they should be.
fn mandatory_with(code: u8, value: &[u8]) -> Vec<u8> {
    let mut all = [origin(), as_path(), next_hop()];
    all[usize::from(code) - 1] = attribute(WELL_KNOWN, code, value);
    of(&all)
}

/// Treated as withdraw, or the attribute discarded: the session goes on, and the log says why.
fn mandatory_wrong() -> Vec<Case> {
    let extended = attribute(WELL_KNOWN | EXTENDED, 1, &[]);
    let optional = attribute(OPTIONAL, 1, &[0]);
    let (origin_bad, path_bad) = ("ORIGIN: malformed", "AS_PATH: malformed");
    let hop_bad = "NEXT_HOP: malformed";
    let confederation = mandatory_with(2, &[3, 1, 0, 0, 0, 1]);
    let unknown = of(&[attribute(TRANSITIVE, 99, &[1])]);
    let (value, missing) = ("RFC 7606 §7.2", "RFC 7606 §3 d");
    let case = Case::stays;
    vec![
        case("ORIGIN 3", "RFC 7606 §7.1", mandatory_with(1, &[3]), origin_bad),
        case(
            "ORIGIN of an extended length 0",
            "RFC 7606 §7.1",
            of(&[extended, as_path(), next_hop()]),
            origin_bad,
        ),
        case(
            "ORIGIN as optional",
            "RFC 7606 §3 c",
            of(&[optional, as_path(), next_hop()]),
            "ORIGIN: wrong flags",
        ),
        case("ORIGIN twice", "RFC 7606 §3 g", with(&origin()), "ORIGIN: a second time"),
        case("no ORIGIN", missing, of(&[as_path(), next_hop()]), "ORIGIN: missing"),
        case("no AS_PATH", missing, of(&[origin(), next_hop()]), "AS_PATH: missing"),
        case("no NEXT_HOP", missing, of(&[origin(), as_path()]), "NEXT_HOP: missing"),
        case("no attributes at all", missing, of(&[]), "ORIGIN: missing"),
        case("only an unknown attribute", missing, unknown, "ORIGIN: missing"),
        case("an AS_PATH segment of 0", value, mandatory_with(2, &[2, 0]), path_bad),
        case("an AS_PATH that overruns", value, mandatory_with(2, &[2, 255, 0, 0]), path_bad),
        case("AS 0", "RFC 7607 §2", mandatory_with(2, &[2, 1, 0, 0, 0, 0]), path_bad),
        case("a confederation", "RFC 5065 §5", confederation, path_bad),
        case("NEXT_HOP of 3 octets", "RFC 7606 §7.3", mandatory_with(3, &[10, 1, 1]), hop_bad),
    ]
}

/// As [`mandatory_wrong`], of attributes that need not be there.
fn others_wrong() -> Vec<Case> {
    let overruns = with(&[TRANSITIVE, 8, 200, 1, 2]);
    let well_known = "RFC 4271 §6.3, its cost that of RFC 7606 §2: treat-as-withdraw";
    let case = |name, rfc, flags, code, value: &[u8], words| {
        Case::stays(name, rfc, with(&attribute(flags, code, value)), words)
    };
    let (three, eleven) = ([1; 3], [1; 11]);
    vec![
        Case::stays("an attribute that overruns", "RFC 7606 §4", overruns, "overruns"),
        Case::stays("half an attribute", "RFC 7606 §4", with(&[TRANSITIVE]), "overruns"),
        case("a well-known one nobody knows", well_known, WELL_KNOWN, 200, &[], "but unknown"),
        case("MED", "RFC 7606 §7.4", OPTIONAL, 4, &three, "MULTI_EXIT_DISC: malformed"),
        case("AGGREGATOR", "RFC 7606 §7.7", TRANSITIVE, 7, &three, "AGGREGATOR: malformed"),
        case("communities", "RFC 7606 §7.8", TRANSITIVE, 8, &three, "COMMUNITIES: malformed"),
        case("large ones", "RFC 8092 §6", TRANSITIVE, 32, &eleven, "LARGE_COMMUNITY: malformed"),
    ]
}

/// Nothing is wrong as far as we can know, however odd it is.
fn ignored() -> Vec<Case> {
    let case = |name, rfc, octets| Case::stays(name, rfc, octets, "");
    let path = |count: usize| {
        let segment = [&[2, 255][..], &[0, 0, 253, 232].repeat(255)].concat();
        let path = attribute(WELL_KNOWN | EXTENDED, 2, &segment.repeat(count));
        of(&[origin(), path, next_hop()])
    };
    let full: Vec<u8> =
        (0..800).flat_map(|n: u16| [24, 10, n.to_be_bytes()[0], n.to_be_bytes()[1]]).collect();
    let unknown: Vec<u8> =
        (100..228).flat_map(|code| attribute(TRANSITIVE, code, &[0; 20])).collect();
    let unoffered = "RFC 4760 §5: a family that was not negotiated";
    let junk = [0xff; 200];
    let mp = |afi, safi, rest: &[u8]| {
        update(&[], &[mandatory(), mp_reach(afi, safi, rest)].concat(), &[])
    };
    let mp_with_prefix = |afi, safi, rest| with(&mp_reach(afi, safi, rest));
    vec![
        case("a path of 255 ASes", "RFC 4271 §4.3", path(1)),
        case("a path of 765 ASes", "RFC 4271 §4.3", path(3)),
        case("800 prefixes in one UPDATE", "RFC 4271 §4.3", update(&[], &mandatory(), &full)),
        case("a withdrawal of what was never announced", "RFC 4271 §4.3", update(&full, &[], &[])),
        case("128 unknown transitive attributes", "RFC 4271 §9", with(&unknown)),
        case("a Prefix-SID of zeros", "RFC 8669 §3", with(&attribute(TRANSITIVE, 40, &[0; 30]))),
        case(
            "an OTC of 1 octet",
            "RFC 9234 §5: nothing here looks at it",
            with(&attribute(TRANSITIVE, 35, &[1])),
        ),
        case("an ATTR_SET of junk", "RFC 6368 §5", with(&attribute(TRANSITIVE, 128, &junk))),
        case(
            "a tunnel encapsulation of junk",
            "RFC 9012 §13",
            with(&attribute(TRANSITIVE, 23, &junk)),
        ),
        case("a BGP-LS attribute of junk", "RFC 9552 §5.3", with(&attribute(OPTIONAL, 29, &junk))),
        case(
            "AS4_PATH of junk from a four-octet speaker",
            "RFC 6793 §4.1",
            with(&attribute(TRANSITIVE, 17, &junk)),
        ),
        case(
            "LOCAL_PREF of 1 octet from another AS",
            "RFC 7606 §7.5",
            with(&attribute(WELL_KNOWN, 5, &[1])),
        ),
        case(
            "ORIGINATOR_ID of 1 octet from another AS",
            "RFC 7606 §7.9",
            with(&attribute(OPTIONAL, 9, &[1])),
        ),
        case("flowspec of junk", unoffered, mp(1, 133, &junk)),
        case("EVPN of junk", unoffered, mp(25, 70, &junk)),
        case("BGP-LS of junk", unoffered, mp(16388, 71, &junk)),
        case("VPNv4 of nothing", unoffered, mp(1, 128, &[])),
        case(
            "a family that does not exist, beside IPv4",
            unoffered,
            mp_with_prefix(0xffff, 0xff, &junk),
        ),
    ]
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn wrong_updates_cost_what_rfc_7606_says() -> Result<()> {
    let stage = Stage::start()?;
    for cases in
        [lengths(), prefixes(), multiprotocol(), mandatory_wrong(), others_wrong(), ignored()]
    {
        case::run(&stage, State::Established, &cases)?;
    }
    Ok(())
}
