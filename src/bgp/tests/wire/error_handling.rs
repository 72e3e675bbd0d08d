//! What is wrong with an UPDATE and what it costs: RFC 4271 §6.3 as RFC 7606 revises it. Each case is
//! compared with the whole of what was read.
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::bgp::tests::octets::{
    EXTENDED, EXTERNAL, INTERNAL, NON_TRANSITIVE, TRANSITIVE, TWO_OCTETS, WELL_KNOWN, attribute,
    mandatory, update,
};
use crate::bgp::wire::{
    Action, AsPath, Defect, Encoding, Notification, Origin, PathAttributes, Segment, Update,
    UpdateError,
};
use crate::route::{Asn, Community, ExtendedCommunity, LargeCommunity};

use Action::{Discard, Withdraw};

const NEXT_HOP_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

/// MP_REACH_NLRI for IPv6 with these octets of prefixes.
fn reach(prefixes: &[u8]) -> Vec<u8> {
    let value = [&[0, 2, 1, 16][..], &NEXT_HOP_6.octets(), &[0], prefixes].concat();
    attribute(NON_TRANSITIVE, 14, &value)
}

const TEN: &[u8] = &[8, 10];

fn ten() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap()]
}

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

/// An UPDATE for 10.0.0.0/8 that is taken as its withdrawal.
fn withdrawn(defects: Vec<Defect>) -> Result<Update, UpdateError> {
    Ok(Update { withdrawn: ten(), defects, ..Update::default() })
}

/// An UPDATE for 10.0.0.0/8 that announces it.
fn announced(attributes: PathAttributes, defects: Vec<Defect>) -> Result<Update, UpdateError> {
    Ok(Update { announced: ten(), attributes, defects, ..Update::default() })
}

/// Reads an UPDATE for 10.0.0.0/8.
fn read(attributes: &[u8], encoding: Encoding) -> Result<Update, UpdateError> {
    Update::decode(&update(&[], attributes, TEN), encoding)
}

/// The mandatory attributes in the encoding of a session, but for one.
fn mandatory_without(code: u8, encoding: Encoding) -> Vec<u8> {
    let path: &[u8] =
        if encoding.four_octet_asn { &[2, 1, 0, 0, 0xfb, 0xf4] } else { &[2, 1, 0xfb, 0xf4] };
    [(1, &[0][..]), (2, path), (3, &[192, 0, 2, 9])]
        .into_iter()
        .filter(|(present, _)| *present != code)
        .flat_map(|(code, value)| attribute(WELL_KNOWN, code, value))
        .collect()
}

/// Every attribute in the table, with a valid value for four-octet AS numbers.
const KNOWN: [(u8, &str, u8, &[u8]); 14] = [
    (1, "ORIGIN", WELL_KNOWN, &[0]),
    (2, "AS_PATH", WELL_KNOWN, &[2, 1, 0, 0, 0xfb, 0xf4]),
    (3, "NEXT_HOP", WELL_KNOWN, &[192, 0, 2, 9]),
    (4, "MULTI_EXIT_DISC", NON_TRANSITIVE, &[0, 0, 0, 7]),
    (5, "LOCAL_PREF", WELL_KNOWN, &[0, 0, 0, 150]),
    (6, "ATOMIC_AGGREGATE", WELL_KNOWN, &[]),
    (7, "AGGREGATOR", TRANSITIVE, &[0, 0, 0, 1, 192, 0, 2, 1]),
    (8, "COMMUNITIES", TRANSITIVE, &[0xfb, 0xf4, 0, 100]),
    (9, "ORIGINATOR_ID", NON_TRANSITIVE, &[192, 0, 2, 1]),
    (10, "CLUSTER_LIST", NON_TRANSITIVE, &[192, 0, 2, 1]),
    (16, "EXTENDED_COMMUNITIES", TRANSITIVE, &[0, 2, 0xfb, 0xf4, 0, 0, 0, 100]),
    (17, "AS4_PATH", TRANSITIVE, &[2, 1, 0, 0, 0xfb, 0xf4]),
    (18, "AS4_AGGREGATOR", TRANSITIVE, &[0, 0, 0, 1, 192, 0, 2, 1]),
    (32, "LARGE_COMMUNITY", TRANSITIVE, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]),
];

/// What is read when one of them stands beside the mandatory ones.
fn attributes_with(code: u8) -> PathAttributes {
    let attributes = mandatory_attributes();
    match code {
        4 => PathAttributes { med: Some(7), ..attributes },
        5 => PathAttributes { local_pref: Some(150), ..attributes },
        8 => PathAttributes { communities: [Community(0xfbf4_0064)].into(), ..attributes },
        16 => {
            let extended_communities = [ExtendedCommunity(0x0002_fbf4_0000_0064)].into();
            PathAttributes { extended_communities, ..attributes }
        }
        32 => {
            let large_communities = [LargeCommunity { global: 1, local1: 2, local2: 3 }].into();
            PathAttributes { large_communities, ..attributes }
        }
        _ => attributes,
    }
}

/// RFC 7606 §7.5, §7.9, §7.10: an external peer's mean nothing. RFC 6793 §4.1: nor do these, from a
/// peer whose AS numbers have four octets anyway.
fn means_nothing(code: u8, encoding: Encoding) -> bool {
    matches!(code, 5 | 9 | 10) && !encoding.internal
        || matches!(code, 17 | 18) && encoding.four_octet_asn
}

#[test]
fn each_attribute_is_taken_with_its_own_flags() {
    for (code, name, flags, value) in KNOWN {
        // Partial and the unused bits do not matter (RFC 7606 §3 c), nor which length form is used.
        for ignored in [0, 0x20, 0x0f, 0x2f] {
            let one = attribute(flags | ignored, code, value);
            let extended = attribute(flags | ignored | EXTENDED, code, value);
            for one in [one, extended] {
                let all = [one, mandatory_without(code, INTERNAL)].concat();
                let expected = announced(attributes_with(code), vec![]);
                assert_eq!(read(&all, INTERNAL), expected, "{name} {ignored:#x}");
            }
        }
    }
}

#[test]
fn wrong_flags_are_treated_as_withdraw() {
    // RFC 7606 §3 c
    for encoding in [INTERNAL, EXTERNAL, TWO_OCTETS] {
        for (code, name, right, value) in KNOWN {
            for wrong in [0x00, 0x40, 0x80, 0xc0].into_iter().filter(|flags| *flags != right) {
                let all =
                    [attribute(wrong, code, value), mandatory_without(code, encoding)].concat();
                let expected = if means_nothing(code, encoding) {
                    announced(mandatory_attributes(), vec![])
                } else {
                    withdrawn(vec![defect(name, "wrong flags", Withdraw)])
                };
                assert_eq!(read(&all, encoding), expected, "{name} {wrong:#x} {encoding:?}");
            }
        }
    }
}

#[test]
fn a_value_that_cannot_be_read_costs_what_the_attribute_says() {
    use Action::{Discard as D, Withdraw as W};
    let cases: &[(u8, &[&[u8]], Action)] = &[
        // §7.1: length 1, values 0 to 2
        (1, &[&[], &[0, 0], &[3], &[255]], W),
        // §7.2 and RFC 5065 §5: unknown and confederation segments, empty ones, overrun, underrun
        (
            2,
            &[
                &[0, 1, 0, 0, 0, 1],
                &[3, 1, 0, 0, 0, 1],
                &[4, 1, 0, 0, 0, 1],
                &[5, 1, 0, 0, 0, 1],
                &[2, 0],
                &[2, 1, 0, 0, 0, 1, 2, 0],
                &[2, 2, 0, 0, 0, 1],
                &[2, 1, 0, 0, 0, 1, 2],
                &[2, 1, 0, 0, 0],
                &[2],
                &[2, 1, 0, 0, 0, 0],             // RFC 7607 §2: AS 0
                &[2, 2, 0, 0, 0, 1, 0, 0, 0, 0], // also at the end
                &[1, 1, 0, 0, 0, 0],             // also in a set
            ],
            W,
        ),
        // §7.3: length 4; RFC 4271 §6.3: an address that a host can have
        (3, &[&[], &[192, 0, 2], &[192, 0, 2, 9, 0], &[0; 4], &[224, 0, 0, 1], &[255; 4]], W),
        (4, &[&[], &[0; 3], &[0; 5]], W), // §7.4
        (5, &[&[], &[0; 3], &[0; 5]], W), // §7.5
        (6, &[&[0]], D),                  // §7.6
        // §7.7, RFC 7607 §2: AS 0
        (7, &[&[], &[1; 6], &[1; 7], &[1; 9], &[0, 0, 0, 0, 192, 0, 2, 1]], D),
        (8, &[&[], &[0; 3], &[0; 5]], W),    // §7.8
        (9, &[&[], &[1; 3], &[1; 5]], W),    // §7.9
        (10, &[&[], &[1; 3], &[1; 5]], W),   // §7.10
        (16, &[&[], &[0; 7], &[0; 12]], W),  // §7.14
        (32, &[&[], &[0; 11], &[0; 16]], W), // RFC 8092 §6
    ];
    for (code, values, action) in cases {
        let (_, name, flags, _) = KNOWN.into_iter().find(|known| known.0 == *code).unwrap();
        for value in *values {
            let all = [attribute(flags, *code, value), mandatory_without(*code, INTERNAL)].concat();
            let defects = vec![defect(name, "malformed", *action)];
            let expected = match action {
                Withdraw => withdrawn(defects),
                Discard => announced(mandatory_attributes(), defects),
                Action::Reset => unreachable!(),
            };
            assert_eq!(read(&all, INTERNAL), expected, "{name} {value:?}");
        }
    }
}

#[test]
fn what_a_two_octet_peer_gets_wrong_in_the_four_octet_attributes_is_discarded() {
    // RFC 6793 §6, RFC 7607 §2
    let cases: &[(u8, &[&[u8]])] = &[
        (7, &[&[], &[1; 5], &[1; 8], &[0, 0, 192, 0, 2, 1]]),
        (
            17,
            &[
                &[],
                &[2],
                &[2, 0],
                &[2, 1, 0, 1],
                &[9, 1, 0, 0, 0, 1],
                &[2, 1, 0, 0, 0, 0],
                &[2, 1, 0, 0, 0, 1, 2],
            ],
        ),
        (18, &[&[], &[1; 6], &[1; 9], &[0, 0, 0, 0, 192, 0, 2, 1]]),
    ];
    for (code, values) in cases {
        let (_, name, flags, _) = KNOWN.into_iter().find(|known| known.0 == *code).unwrap();
        for value in *values {
            let one = attribute(flags, *code, value);
            let all = [one.clone(), mandatory_without(0, TWO_OCTETS)].concat();
            let expected =
                announced(mandatory_attributes(), vec![defect(name, "malformed", Discard)]);
            assert_eq!(read(&all, TWO_OCTETS), expected, "{name} {value:?}");
            if *code != 7 {
                // RFC 6793 §4.1: from a four-octet peer it means nothing, right or wrong.
                let all = [one, mandatory()].concat();
                assert_eq!(read(&all, EXTERNAL), announced(mandatory_attributes(), vec![]));
            }
        }
    }
}

#[test]
fn what_only_internal_peers_may_send_is_not_looked_at_from_external_ones() {
    for code in [5, 9, 10] {
        for value in [&[][..], &[0; 3], &[0, 0, 0, 150]] {
            let all = [attribute(0, code, value), mandatory()].concat();
            assert_eq!(read(&all, EXTERNAL), announced(mandatory_attributes(), vec![]));
        }
    }
}

#[test]
fn of_an_attribute_that_comes_twice_the_first_counts() {
    // RFC 7606 §3 g
    for (code, name, flags, value) in KNOWN {
        for second in [attribute(flags, code, value), attribute(0, code, &[9; 40])] {
            let first = attribute(flags, code, value);
            let all = [first, mandatory_without(code, INTERNAL), second].concat();
            let defects = vec![defect(name, "a second time", Discard)];
            assert_eq!(read(&all, INTERNAL), announced(attributes_with(code), defects), "{name}");
        }
    }
}

#[test]
fn a_missing_mandatory_attribute_is_treated_as_withdraw() {
    // RFC 7606 §3 d
    let missing = |name| defect(name, "missing", Withdraw);
    for (code, name) in [(1, "ORIGIN"), (2, "AS_PATH"), (3, "NEXT_HOP")] {
        let expected = withdrawn(vec![missing(name)]);
        assert_eq!(read(&mandatory_without(code, EXTERNAL), EXTERNAL), expected);
    }
    let all_three = vec![missing("ORIGIN"), missing("AS_PATH"), missing("NEXT_HOP")];
    assert_eq!(read(&[], EXTERNAL), withdrawn(all_three.clone()));
    // Nothing but what is unknown
    let unknown = attribute(TRANSITIVE, 200, &[1, 2, 3]);
    assert_eq!(read(&unknown, EXTERNAL), withdrawn(all_three));
}

#[test]
fn next_hop_is_not_mandatory_beside_mp_reach_nlri_alone() {
    let next_hop: Ipv6Addr = "2001:db8::9".parse().unwrap();
    let reach = [&[0, 2, 1, 16][..], &next_hop.octets(), &[0, 0]].concat();
    let reach = attribute(NON_TRANSITIVE, 14, &reach);
    let all = [reach.clone(), mandatory_without(3, EXTERNAL)].concat();
    let default: IpNet = "::/0".parse().unwrap();
    let expected = Update {
        announced: vec![default],
        attributes: PathAttributes {
            next_hop: Some(IpAddr::V6(next_hop)),
            ..mandatory_attributes()
        },
        ..Update::default()
    };
    assert_eq!(Update::decode(&update(&[], &all, &[]), EXTERNAL), Ok(expected));
    // The other two are.
    let expected = Update {
        withdrawn: vec![default],
        defects: vec![
            defect("ORIGIN", "missing", Withdraw),
            defect("AS_PATH", "missing", Withdraw),
        ],
        ..Update::default()
    };
    assert_eq!(Update::decode(&update(&[], &reach, &[]), EXTERNAL), Ok(expected));
}

#[test]
fn prefixes_of_both_families_are_withdrawn_together() {
    let reach = [&[0, 2, 1, 16][..], &[0x20; 16], &[0, 0]].concat();
    let bad_origin = attribute(WELL_KNOWN, 1, &[9]);
    let all = [
        bad_origin,
        mandatory_without(1, EXTERNAL),
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
fn the_strongest_of_several_actions_is_taken() {
    // RFC 7606 §3 h
    let discarded = attribute(WELL_KNOWN, 6, &[0]);
    let bad_med = attribute(NON_TRANSITIVE, 4, &[]);
    let all = [discarded, bad_med, mandatory()].concat();
    let defects = vec![
        defect("ATOMIC_AGGREGATE", "malformed", Discard),
        defect("MULTI_EXIT_DISC", "malformed", Withdraw),
    ];
    assert_eq!(read(&all, EXTERNAL), withdrawn(defects));
    let reset = [all, attribute(NON_TRANSITIVE, 15, &[0])].concat();
    let error = read(&reset, EXTERNAL).unwrap_err();
    assert_eq!(error.notification(), Notification::new(3, 9, vec![0x80, 15, 1, 0]));
}

#[test]
fn an_attribute_that_overruns_the_list_withdraws_what_the_message_announces() {
    // RFC 7606 §4
    let overrun = defect("attribute 0", "overruns the attribute list", Withdraw);
    for rest in [
        &[0x40][..],               // flags alone
        &[0x40, 1],                // no length
        &[0xd0, 8, 0],             // half a length
        &[0x40, 1, 2, 0],          // one octet too many
        &[0xc0, 8, 255, 0],        // many
        &[0xd0, 8, 0xff, 0xff, 0], // very many
        &[0xc0, 99, 1],            // also where it is unknown
        &[0x80, 14, 40, 0, 2, 1],  // also where there could have been prefixes
    ] {
        let all = [mandatory(), rest.to_vec()].concat();
        assert_eq!(read(&all, EXTERNAL), withdrawn(vec![overrun.clone()]), "{rest:?}");
    }
}

#[test]
fn unknown_attributes_are_read_past_unless_they_claim_to_be_well_known() {
    for (flags, code, value) in [
        (TRANSITIVE, 40, &[0; 64][..]), // BGP Prefix-SID, all zero
        (NON_TRANSITIVE, 26, &[1]),     // AIGP
        (TRANSITIVE, 128, &[0; 3]),     // ATTR_SET
        (TRANSITIVE, 255, &[7; 255]),
        (TRANSITIVE, 0, &[]),
    ] {
        let one = attribute(flags, code, value);
        let all = [mandatory(), one].concat();
        assert_eq!(read(&all, EXTERNAL), announced(mandatory_attributes(), vec![]), "{code}");
    }
    for (flags, code) in [(WELL_KNOWN, 19), (0x00, 255)] {
        let all = [mandatory(), attribute(flags, code, &[])].concat();
        let name = format!("attribute {code}");
        let expected = withdrawn(vec![defect(&name, "well-known but unknown", Withdraw)]);
        assert_eq!(read(&all, EXTERNAL), expected);
    }
}

#[test]
fn errors_without_reachable_prefixes_reset_the_session() {
    // RFC 7606 §5.2: there is nothing that could be treated as withdrawn.
    let reset = Err(UpdateError::NothingToWithdraw);
    let bad_origin = [attribute(WELL_KNOWN, 1, &[9]), mandatory_without(1, EXTERNAL)].concat();
    let unreach = attribute(NON_TRANSITIVE, 15, &[0, 2, 1, 0]);
    for body in [
        update(&[], &bad_origin, &[]),
        update(TEN, &bad_origin, &[]),
        update(&[], &[unreach.clone(), bad_origin.clone()].concat(), &[]),
        update(&[], &[0x80, 15, 20, 0, 2, 1, 0], &[]), // overruns: the prefixes are lost
        update(&[], &attribute(WELL_KNOWN, 99, &[]), &[]),
    ] {
        assert_eq!(Update::decode(&body, EXTERNAL), reset, "{body:?}");
    }
    // Not so for what is only discarded,
    let discarded = attribute(WELL_KNOWN, 6, &[0]);
    let expected = Update {
        defects: vec![defect("ATOMIC_AGGREGATE", "malformed", Discard)],
        ..Update::default()
    };
    assert_eq!(Update::decode(&update(&[], &discarded, &[]), EXTERNAL), Ok(expected));
    // and for prefixes of a family that we do not know.
    let evpn = attribute(NON_TRANSITIVE, 14, &[0, 25, 70, 4, 192, 0, 2, 1, 0, 1, 2, 3]);
    let body = update(&[], &[evpn, bad_origin].concat(), &[]);
    let expected =
        Update { defects: vec![defect("ORIGIN", "malformed", Withdraw)], ..Update::default() };
    assert_eq!(Update::decode(&body, EXTERNAL), Ok(expected));
}

#[test]
fn lengths_that_overrun_the_message_reset_the_session() {
    // RFC 4271 §6.3, RFC 7606 §3 b
    let withdrawn_routes = Err(UpdateError::Length("Withdrawn Routes Length"));
    let path_attributes = Err(UpdateError::Length("Total Path Attribute Length"));
    for (body, result) in [
        (&[0, 1, 0, 0][..], path_attributes.clone()), // takes the first octet of the next length
        (&[0, 3, 0, 0], withdrawn_routes.clone()),
        (&[0xff, 0xff, 0, 0], withdrawn_routes),
        (&[0, 2, 0, 0], path_attributes.clone()),
        (&[0, 0, 0, 1], path_attributes.clone()),
        (&[0, 0, 0xff, 0xff, 0], path_attributes),
    ] {
        assert_eq!(Update::decode(body, EXTERNAL), result, "{body:?}");
    }
    let longest = [&[0x0f, 0xe9][..], &[0; 0x0fe9], &[0, 0]].concat();
    let read = Update::decode(&longest, EXTERNAL).unwrap();
    assert_eq!(read.withdrawn.len(), 0x0fe9, "as many times 0.0.0.0/0");
}

#[test]
fn prefixes_that_cannot_be_read_reset_the_session() {
    // RFC 7606 §3 j, §5.3
    let invalid = |what| Err(UpdateError::InvalidNetworkField(what));
    for wrong in [&[33, 10, 0, 0, 0, 0][..], &[255], &[32, 10, 0, 0], &[8], &[8, 10, 1]] {
        let body = update(wrong, &[], &[]);
        assert_eq!(Update::decode(&body, EXTERNAL), invalid("Withdrawn Routes"), "{wrong:?}");
        let body = update(&[], &mandatory(), wrong);
        assert_eq!(Update::decode(&body, EXTERNAL), invalid("NLRI"), "{wrong:?}");
    }
}

#[test]
fn a_second_multiprotocol_attribute_resets_the_session() {
    // RFC 7606 §3 g, also when the families differ or are unknown
    let reach = attribute(NON_TRANSITIVE, 14, &[0, 25, 70, 4, 192, 0, 2, 1, 0]);
    let all = [reach.clone(), reach, mandatory()].concat();
    assert_eq!(read(&all, EXTERNAL), Err(UpdateError::Duplicate("MP_REACH_NLRI")));
    let six = attribute(NON_TRANSITIVE, 15, &[0, 2, 1]);
    let four = attribute(NON_TRANSITIVE, 15, &[0, 1, 1]);
    let all = [six, four, mandatory()].concat();
    assert_eq!(read(&all, EXTERNAL), Err(UpdateError::Duplicate("MP_UNREACH_NLRI")));
}

#[test]
fn families_that_were_never_offered_are_read_past_whatever_is_in_them() {
    let junk: &[&[u8]] = &[&[], &[0], &[255; 9], &[4, 192, 0, 2, 1, 0, 1, 2, 3], &[0, 0]];
    for (afi, safi) in [(1, 2), (1, 133), (2, 128), (25, 70), (16388, 71), (0, 0), (65535, 255)] {
        let [high, low] = u16::to_be_bytes(afi);
        for junk in junk {
            let value = [&[high, low, safi][..], junk].concat();
            for code in [14, 15] {
                let all = [attribute(NON_TRANSITIVE, code, &value), mandatory()].concat();
                let expected = announced(mandatory_attributes(), vec![]);
                assert_eq!(read(&all, EXTERNAL), expected, "{afi}/{safi} {junk:?}");
            }
        }
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
fn a_very_long_path_is_read_whole() {
    // 1000 AS numbers in segments of 250
    let segment = [&[2, 250][..], &[0, 0, 0xfb, 0xf4].repeat(250)].concat();
    let path = attribute(WELL_KNOWN | EXTENDED, 2, &segment.repeat(4));
    let all = [path, mandatory_without(2, EXTERNAL)].concat();
    let segments = vec![Segment::Sequence(vec![Asn(64500); 250]); 4];
    let attributes = PathAttributes { as_path: Some(AsPath(segments)), ..mandatory_attributes() };
    assert_eq!(read(&all, EXTERNAL), announced(attributes, vec![]));
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
        assert_eq!(read(&all, EXTERNAL), Ok(expected.clone()));
    }
    // Where it announces nothing, its next hop is nobody's.
    let ten = Update {
        announced: vec!["10.0.0.0/8".parse().unwrap()],
        attributes: mandatory_attributes(),
        ..Update::default()
    };
    assert_eq!(read(&[reach(&[]), mandatory()].concat(), EXTERNAL), Ok(ten));
}

#[test]
fn an_empty_mp_reach_nlri_announces_nothing_that_could_be_withdrawn() {
    // RFC 7606 §5.2
    let bad_origin = [attribute(WELL_KNOWN, 1, &[9]), mandatory_without(1, EXTERNAL)].concat();
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
    let read = read(&twice, EXTERNAL).unwrap();
    assert_eq!((read.attributes, read.defects), (mandatory_attributes(), defects));
}

#[test]
fn a_loopback_address_is_no_next_hop() {
    // RFC 4271 §6.3
    let loopback =
        [mandatory_without(3, EXTERNAL), attribute(WELL_KNOWN, 3, &[127, 0, 0, 1])].concat();
    assert_eq!(
        read(&loopback, EXTERNAL).unwrap().defects,
        [defect("NEXT_HOP", "malformed", Withdraw)]
    );
}
