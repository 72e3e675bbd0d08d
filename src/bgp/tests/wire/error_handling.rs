//! What is wrong with an UPDATE, in words, and what is left of it. What each defect of each attribute
//! costs is a table in `tests/hostile/rfc7606`.
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::bgp::tests::octets::{
    EXTENDED, EXTERNAL, NON_TRANSITIVE, TWO_OCTETS, WELL_KNOWN, attribute, mandatory, update,
};
use crate::bgp::wire::{
    Action, AsPath, Defect, Notification, Origin, PathAttributes, Segment, Update, UpdateError,
};
use crate::route::Asn;

use Action::{Discard, Withdraw};

const TEN: &[u8] = &[8, 10];

/// What [`mandatory`] says.
fn mandatory_attributes() -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(AsPath(vec![Segment::Sequence(vec![Asn(64500)])])),
        next_hop: Some(IpAddr::from([192, 0, 2, 9])),
        ..PathAttributes::default()
    }
}

fn defect(attribute: &str, what: &'static str, action: Action) -> Defect {
    Defect { attribute: attribute.into(), what, action }
}

/// Reads an UPDATE for 10.0.0.0/8.
fn read(attributes: &[u8]) -> Result<Update, UpdateError> {
    Update::decode(&update(&[], attributes, TEN), EXTERNAL)
}

/// The mandatory attributes, but for one.
fn mandatory_without(code: u8) -> Vec<u8> {
    [(1, &[0][..]), (2, &[2, 1, 0, 0, 0xfb, 0xf4]), (3, &[192, 0, 2, 9])]
        .into_iter()
        .filter(|(present, _)| *present != code)
        .flat_map(|(code, value)| attribute(WELL_KNOWN, code, value))
        .collect()
}

/// MP_REACH_NLRI for IPv6 with these octets of prefixes.
fn reach(prefixes: &[u8]) -> Vec<u8> {
    let value = [&[0, 2, 1, 16][..], &NEXT_HOP_6.octets(), &[0], prefixes].concat();
    attribute(NON_TRANSITIVE, 14, &value)
}

const NEXT_HOP_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

#[test]
fn each_defect_has_words() {
    let community = attribute(WELL_KNOWN, 8, &[0, 0, 0, 1]);
    let discarded = attribute(WELL_KNOWN, 6, &[0]);
    let overrun = "overruns the attribute list";
    let cases: [(Vec<u8>, Vec<Defect>); 7] = [
        (mandatory_without(1), vec![defect("ORIGIN", "missing", Withdraw)]),
        ([mandatory(), community].concat(), vec![defect("COMMUNITIES", "wrong flags", Withdraw)]),
        (
            [mandatory(), discarded.clone()].concat(),
            vec![defect("ATOMIC_AGGREGATE", "malformed", Discard)],
        ),
        (
            [mandatory(), attribute(WELL_KNOWN, 99, &[])].concat(),
            vec![defect("attribute 99", "well-known but unknown", Withdraw)],
        ),
        (
            [mandatory(), attribute(WELL_KNOWN, 1, &[0])].concat(),
            vec![defect("ORIGIN", "a second time", Discard)],
        ),
        ([mandatory(), vec![0x40]].concat(), vec![defect("attribute 0", overrun, Withdraw)]),
        // All of them, whichever is taken (RFC 7606 §3 h)
        (
            [discarded, mandatory_without(2)].concat(),
            vec![
                defect("ATOMIC_AGGREGATE", "malformed", Discard),
                defect("AS_PATH", "missing", Withdraw),
            ],
        ),
    ];
    for (attributes, defects) in cases {
        assert_eq!(read(&attributes).unwrap().defects, defects);
    }
}

#[test]
fn what_ends_the_session_has_words_and_a_notification() {
    let bad_prefix = reach(&[129]);
    let bad_flags = attribute(WELL_KNOWN, 15, &[0, 2, 1]);
    let cases: [(Vec<u8>, &str, u8, &[u8]); 8] = [
        (vec![0, 3, 0, 0], "Withdrawn Routes Length overruns the message", 1, &[]),
        (vec![0, 0, 0, 1], "Total Path Attribute Length overruns the message", 1, &[]),
        (update(&[33], &[], &[]), "Withdrawn Routes holds no valid prefixes", 10, &[]),
        (update(&[], &mandatory(), &[33]), "NLRI holds no valid prefixes", 10, &[]),
        (update(&[], &bad_prefix, &[]), "MP_REACH_NLRI holds no valid prefixes", 9, &bad_prefix),
        (update(&[], &bad_flags, &[]), "MP_UNREACH_NLRI has wrong flags", 9, &bad_flags),
        (update(&[], &reach(&[]).repeat(2), &[]), "MP_REACH_NLRI twice", 1, &[]),
        (
            update(&[], &[0x40, 1, 1, 9], &[]),
            "wrong attributes, and no prefixes to withdraw for it",
            1,
            &[],
        ),
    ];
    for (body, words, subcode, data) in cases {
        let error = Update::decode(&body, EXTERNAL).unwrap_err();
        assert_eq!(error.to_string(), format!("malformed UPDATE: {words}"));
        assert_eq!(error.notification(), Notification::new(3, subcode, data.to_vec()));
    }
}

#[test]
fn prefixes_have_the_next_hop_of_where_they_stand() {
    // RFC 7606 §5.1: nobody is to send both, everybody is to take both.
    let default: IpNet = "::/0".parse().unwrap();
    let expected = Update {
        announced: vec![default],
        beside: Some(Box::new((IpAddr::from([192, 0, 2, 9]), vec!["10.0.0.0/8".parse().unwrap()]))),
        attributes: PathAttributes {
            next_hop: Some(IpAddr::V6(NEXT_HOP_6)),
            ..mandatory_attributes()
        },
        ..Update::default()
    };
    assert_eq!(expected.announcements(), 2);
    for all in [[reach(&[0]), mandatory()].concat(), [mandatory(), reach(&[0])].concat()] {
        assert_eq!(read(&all), Ok(expected.clone()));
    }
    // Where it announces nothing, its next hop is nobody's.
    let ten = Update {
        announced: vec!["10.0.0.0/8".parse().unwrap()],
        attributes: mandatory_attributes(),
        ..Update::default()
    };
    assert_eq!(read(&[reach(&[]), mandatory()].concat()), Ok(ten));
}

#[test]
fn an_empty_mp_reach_nlri_announces_nothing_that_could_be_withdrawn() {
    // RFC 7606 §5.2
    let bad_origin = [attribute(WELL_KNOWN, 1, &[9]), mandatory_without(1)].concat();
    let read = |reach: Vec<u8>| {
        Update::decode(&update(&[], &[reach, bad_origin.clone()].concat(), &[]), EXTERNAL)
    };
    assert_eq!(read(reach(&[])), Err(UpdateError::NothingToWithdraw));
    assert_eq!(read(reach(&[0])).unwrap().withdrawn, ["::/0".parse().unwrap()]);
}

#[test]
fn the_second_of_two_attributes_that_nobody_knows_is_not_looked_at() {
    // RFC 7606 §3 g, "whether recognized or unrecognized": also when it claims to be well-known.
    let twice = [attribute(0xc0, 99, &[1]), attribute(WELL_KNOWN, 99, &[1]), mandatory()].concat();
    let defects = vec![defect("attribute 99", "a second time", Discard)];
    let read = read(&twice).unwrap();
    assert_eq!((read.attributes, read.defects), (mandatory_attributes(), defects));
}

#[test]
fn a_loopback_address_is_no_next_hop() {
    // RFC 4271 §6.3
    let loopback = [mandatory_without(3), attribute(WELL_KNOWN, 3, &[127, 0, 0, 1])].concat();
    assert_eq!(read(&loopback).unwrap().defects, [defect("NEXT_HOP", "malformed", Withdraw)]);
}

#[test]
fn prefixes_of_both_families_are_withdrawn_together() {
    let reach = [&[0, 2, 1, 16][..], &[0x20; 16], &[0, 0]].concat();
    let bad_origin = attribute(WELL_KNOWN, 1, &[9]);
    let all = [
        bad_origin,
        mandatory_without(1),
        attribute(NON_TRANSITIVE, 14, &reach),
        attribute(NON_TRANSITIVE, 15, &[0, 2, 1, 16, 0x20, 1]),
    ]
    .concat();
    let prefixes = ["172.16.0.0/12", "2001::/16", "10.0.0.0/8", "::/0"];
    let expected = Update {
        withdrawn: prefixes.map(|prefix| prefix.parse().unwrap()).to_vec(),
        defects: vec![defect("ORIGIN", "malformed", Withdraw)],
        ..Update::default()
    };
    assert_eq!(Update::decode(&update(&[12, 172, 16], &all, TEN), EXTERNAL), Ok(expected));
}

#[test]
fn a_very_long_path_is_read_whole() {
    // 1000 AS numbers in segments of 250
    let segment = [&[2, 250][..], &[0, 0, 0xfb, 0xf4].repeat(250)].concat();
    let path = attribute(WELL_KNOWN | EXTENDED, 2, &segment.repeat(4));
    let all = [path, mandatory_without(2)].concat();
    let segments = vec![Segment::Sequence(vec![Asn(64500); 250]); 4];
    let attributes = PathAttributes { as_path: Some(AsPath(segments)), ..mandatory_attributes() };
    assert_eq!(read(&all).unwrap().attributes, attributes);
}

#[test]
fn what_two_octet_peers_say_in_four_octets_is_named_when_it_is_wrong() {
    // RFC 6793 §6
    let path = attribute(WELL_KNOWN, 2, &[2, 1, 0xfb, 0xf4]);
    let as4_path = attribute(0xc0, 17, &[2, 0]);
    let all = [path, mandatory_without(2), as4_path].concat();
    let read = Update::decode(&update(&[], &all, TEN), TWO_OCTETS).unwrap();
    assert_eq!(read.defects, [defect("AS4_PATH", "malformed", Discard)]);
}
