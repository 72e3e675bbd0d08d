//! OPEN (RFC 4271 §4.2, §6.2), capabilities (RFC 5492), the extended form (RFC 9072).
use std::net::Ipv4Addr;

use crate::bgp::tests::octets::{OPEN, capabilities, message, open_fields, parameters};
use crate::bgp::wire::{Capabilities, GracefulRestart, Notification, Open, OpenError};
use crate::route::{Asn, Family};

const ROUTER_ID: [u8; 4] = [192, 0, 2, 1];

/// An OPEN of AS 64500 with a hold time of 90 s and what follows the fixed fields.
fn open(optional: &[u8]) -> Vec<u8> {
    [open_fields(4, 64500, 90, ROUTER_ID), optional.to_vec()].concat()
}

/// What that OPEN says.
fn opened(capabilities: Capabilities) -> Open {
    let asn = capabilities.four_octet_asn.unwrap_or(Asn(64500));
    Open { asn, hold_time: 90, router_id: Ipv4Addr::from(ROUTER_ID), capabilities }
}

fn malformed(what: &'static str) -> Result<Open, OpenError> {
    Err(OpenError::Malformed(what))
}

const PARAMETERS: &str = "the length of the optional parameters";
const PARAMETER: &str = "the length of an optional parameter";
const CAPABILITY: &str = "the length of a capability";

#[test]
fn each_wrong_field_is_an_error_of_its_own() {
    let with_fields = |fields: Vec<u8>| [fields, vec![0]].concat();
    for (body, error) in [
        (with_fields(open_fields(3, 64500, 90, ROUTER_ID)), OpenError::UnsupportedVersion(3)),
        (with_fields(open_fields(5, 64500, 90, ROUTER_ID)), OpenError::UnsupportedVersion(5)),
        // Another version has another format: nothing else in it is looked at.
        ([open_fields(0, 0, 1, [0; 4]), vec![200]].concat(), OpenError::UnsupportedVersion(0)),
        (with_fields(open_fields(4, 64500, 1, ROUTER_ID)), OpenError::UnacceptableHoldTime(1)),
        (with_fields(open_fields(4, 64500, 2, ROUTER_ID)), OpenError::UnacceptableHoldTime(2)),
        (
            with_fields(open_fields(4, 64500, 90, [0; 4])),
            OpenError::BadBgpIdentifier(Ipv4Addr::UNSPECIFIED, "not a valid one"),
        ),
        (open(&[2, 1, 0]), OpenError::UnsupportedOptionalParameter(1)), // Authentication, RFC 4271 retired it
        (open(&[2, 254, 0]), OpenError::UnsupportedOptionalParameter(254)),
    ] {
        assert_eq!(Open::decode(&body), Err(error), "{body:?}");
    }
}

#[test]
fn each_error_has_its_notification() {
    let both_families = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1];
    for (error, subcode, data) in [
        (OpenError::Malformed(PARAMETERS), 0, vec![]),
        (OpenError::UnsupportedVersion(3), 1, vec![0, 4]),
        (OpenError::BadPeerAs { received: Asn(1), expected: "2".into() }, 2, vec![]),
        (OpenError::BadBgpIdentifier(Ipv4Addr::UNSPECIFIED, ""), 3, vec![]),
        (OpenError::UnsupportedOptionalParameter(1), 4, vec![]),
        (OpenError::UnacceptableHoldTime(1), 6, vec![]),
        // RFC 5492 §5: the capabilities that are missing, as an OPEN has them
        (OpenError::UnsupportedCapability("none".into(), Family::ALL.to_vec()), 7, both_families),
    ] {
        assert_eq!(error.notification(), Notification::new(2, subcode, data), "{error}");
    }
}

#[test]
fn hold_times_that_are_no_error_are_taken() {
    for hold_time in [0, 3, 90, 65535] {
        let body = [open_fields(4, 64500, hold_time, ROUTER_ID), vec![0]].concat();
        let expected = Open { hold_time, ..opened(Capabilities::default()) };
        assert_eq!(Open::decode(&body), Ok(expected));
    }
}

#[test]
fn lengths_that_do_not_fit_are_malformed() {
    for (optional, result) in [
        (&[][..], malformed(PARAMETERS)),
        (&[1], malformed(PARAMETERS)),
        (&[0, 0], malformed(PARAMETERS)), // more than it says
        (&[3, 2, 2, 2, 0], malformed(PARAMETERS)),
        (&[5, 2, 2, 2, 0], malformed(PARAMETERS)), // less than it says
        (&[1, 2], malformed(PARAMETER)),
        (&[3, 2, 2, 2], malformed(PARAMETER)),
        (&[5, 2, 2, 2, 0, 9], malformed(PARAMETER)), // one stray octet
        (&[3, 2, 1, 2], malformed(CAPABILITY)),
        (&[4, 2, 2, 2, 1], malformed(CAPABILITY)),
        (&[4, 2, 2, 77, 200], malformed(CAPABILITY)), // also of one we do not know
    ] {
        assert_eq!(Open::decode(&open(optional)), result, "{optional:?}");
    }
    for length in 0..9 {
        let result = Open::decode(&open(&[])[..length]);
        assert_eq!(result, malformed("shorter than its fixed fields"), "{length} octets");
    }
}

#[test]
fn capabilities_of_a_wrong_length_are_malformed() {
    for capability in [
        &[1, 3, 0, 1, 0][..],
        &[1, 5, 0, 1, 0, 1, 0],
        &[1, 0],
        &[2, 1, 0],
        &[65, 0],
        &[65, 3, 0, 0, 1],
        // The length lies; what follows must not be taken for the rest of the number.
        &[65, 2, 0, 1, 2, 0],
        &[65, 5, 0, 0, 0, 1, 0],
        &[5, 5, 0, 1, 0, 1, 0],
        &[6, 1, 0],
        &[9, 0],
        &[9, 2, 0, 0],
        &[64, 0],
        &[64, 1, 0],
        &[64, 5, 0, 120, 0, 1, 1],
        &[70, 1, 0],
        &[71, 6, 0, 1, 1, 0x80, 0, 0],
    ] {
        let body = open(&parameters(capability));
        assert_eq!(Open::decode(&body), malformed(CAPABILITY), "{capability:?}");
    }
}

#[test]
fn capabilities_that_are_not_ours_are_read_past() {
    // 246 octets that mean nothing; ADD-PATH; a software version
    let unknown = [&[200, 244][..], &[9; 244]].concat();
    for capability in [&unknown[..], &[69, 4, 0, 1, 1, 3], &[75, 4, 3, b'9', b'.', b'1'], &[]] {
        let body = open(&parameters(capability));
        assert_eq!(Open::decode(&body), Ok(opened(Capabilities::default())), "{capability:?}");
    }
}

#[test]
fn each_capability_is_read_for_what_it_offers() {
    let nothing = Capabilities::default;
    let restart = |restarted, notification, time, families: &[(Family, bool)]| Capabilities {
        graceful_restart: Some(GracefulRestart {
            restarted,
            notification,
            time,
            families: families.iter().copied().collect(),
        }),
        ..nothing()
    };
    let (four, six) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
    for (capability, expected) in [
        // IPv4 unicast over IPv6 counts; VPN routes and IPv6 over IPv4 do not
        (&[5, 6, 0, 1, 0, 1, 0, 2][..], Capabilities { extended_next_hop: true, ..nothing() }),
        (&[5, 12, 0, 1, 0, 128, 0, 2, 0, 2, 0, 1, 0, 1], nothing()),
        (&[5, 0], nothing()),
        (&[6, 0], Capabilities { extended_message: true, ..nothing() }),
        (&[9, 1, 3], Capabilities { roles: [3].into(), ..nothing() }),
        (&[9, 1, 3, 9, 1, 3, 9, 1, 7], Capabilities { roles: [3, 7].into(), ..nothing() }),
        (&[64, 2, 0, 120], restart(false, false, 120, &[])),
        (&[64, 2, 0x8f, 0xff], restart(true, false, 4095, &[])),
        (&[64, 6, 0x40, 0, 0, 1, 1, 0x80], restart(false, true, 0, &[(four, true)])),
        (
            &[64, 14, 0xc1, 0x2c, 0, 2, 1, 0, 0, 25, 70, 0x80, 0, 1, 1, 0x7f],
            restart(true, true, 300, &[(four, false), (six, false)]),
        ),
        (&[70, 0], Capabilities { enhanced_route_refresh: true, ..nothing() }),
        (
            &[71, 14, 0, 1, 1, 0x80, 1, 0, 2, 0, 25, 70, 0, 0, 0, 9],
            Capabilities { long_lived: [(four, (true, 65538))].into(), ..nothing() },
        ),
        (&[71, 0], nothing()),
        (
            &[73, 5, 3, b't', b'o', b'r', 0],
            Capabilities { host_name: Some("tor".into()), ..nothing() },
        ),
    ] {
        let body = open(&parameters(capability));
        assert_eq!(Open::decode(&body), Ok(opened(expected)), "{capability:?}");
    }
}

#[test]
fn a_host_name_that_would_not_just_print_is_left_out() {
    for value in [
        &[][..],
        &[0, 0],
        &[4, b't', b'o', b'r'],
        &[255, b't'],
        &[3, b't', 0x1b, b'r', 0],
        &[2, 0xc3, 0x28, 0],
        &[2, b'a', b' ', 0],
    ] {
        let capability = [&[73, u8::try_from(value.len()).unwrap()], value].concat();
        let body = open(&parameters(&capability));
        assert_eq!(Open::decode(&body), Ok(opened(Capabilities::default())), "{capability:?}");
    }
}

#[test]
fn an_open_without_capabilities_has_no_parameters_at_all() {
    let plain = Open { asn: Asn(64500), ..opened(Capabilities::default()) };
    let fields = open_fields(4, 64500, plain.hold_time, plain.router_id.octets());
    assert_eq!(plain.encode(), message(OPEN, &[fields, vec![0]].concat()));
}

#[test]
fn capabilities_that_are_too_many_for_one_octet_take_the_extended_form() {
    // RFC 9072 §2; a family has six octets in the OPEN.
    let offered = |count: u16| {
        let multiprotocol = (0..count).map(|afi| (afi, 1)).collect();
        opened(Capabilities { multiprotocol, ..Capabilities::default() })
    };
    let lengths = |open: &Open| open.encode()[28..36].to_vec();
    assert_eq!(lengths(&offered(42))[..3], [254, 2, 252]);
    assert_eq!(lengths(&offered(43)), [255, 255, 1, 5, 2, 1, 2, 1]);
    for count in [0, 42, 43, 600] {
        assert_eq!(Open::decode(&offered(count).encode()[19..]), Ok(offered(count)));
    }
}

#[test]
fn capabilities_add_up_over_parameters_and_the_last_of_two_counts() {
    let everything = Capabilities {
        multiprotocol: vec![(1, 1), (2, 1)],
        route_refresh: true,
        four_octet_asn: Some(Asn(4_200_000_000)),
        ..Capabilities::default()
    };
    let in_one = capabilities(4_200_000_000);
    let each_alone: Vec<u8> = [&in_one[..6], &in_one[6..12], &in_one[12..14], &in_one[14..]]
        .into_iter()
        .flat_map(|capability| parameters(capability)[1..].to_vec())
        .collect();
    let each_alone = [vec![u8::try_from(each_alone.len()).unwrap()], each_alone].concat();
    let twice = parameters(&[capabilities(1), in_one.clone()].concat());
    for optional in [parameters(&in_one), each_alone, twice] {
        assert_eq!(Open::decode(&open(&optional)), Ok(opened(everything.clone())), "{optional:?}");
    }
}

#[test]
fn a_hundred_empty_capabilities_say_nothing() {
    let body = open(&parameters(&[99, 0].repeat(100)));
    assert_eq!(Open::decode(&body), Ok(opened(Capabilities::default())));
}

#[test]
fn families_are_those_we_announce_and_ipv4_where_none_are_named() {
    use Family::{Ipv4Unicast, Ipv6Unicast};
    for (multiprotocol, families) in [
        (vec![], vec![Ipv4Unicast]),
        (vec![(1, 1)], vec![Ipv4Unicast]),
        (vec![(2, 1)], vec![Ipv6Unicast]),
        (vec![(2, 1), (25, 70), (1, 1)], vec![Ipv4Unicast, Ipv6Unicast]),
        (vec![(25, 70), (1, 128), (16388, 71)], vec![]),
    ] {
        let capabilities = Capabilities { multiprotocol, ..Capabilities::default() };
        assert_eq!(capabilities.families().collect::<Vec<_>>(), families, "{capabilities:?}");
    }
}

#[test]
fn an_as_number_of_zero_in_either_place_is_zero() {
    let four_octets = |asn: u16, capability: u32| {
        let fields = open_fields(4, asn, 90, ROUTER_ID);
        Open::decode(&[fields, parameters(&capabilities(capability))].concat()).unwrap().asn
    };
    assert_eq!(four_octets(23456, 4_200_000_000), Asn(4_200_000_000));
    assert_eq!(four_octets(64500, 64500), Asn(64500));
    assert_eq!(four_octets(64500, 0), Asn(0));
    assert_eq!(four_octets(0, 64500), Asn(0)); // RFC 7607 §2
    let two_octets = [open_fields(4, 0, 90, ROUTER_ID), vec![0]].concat();
    assert_eq!(Open::decode(&two_octets).unwrap().asn, Asn(0));
}

/// Optional parameters in the form of RFC 9072 §2.
fn extended(non_extended_length: u8, length: u16, parameters: &[u8]) -> Vec<u8> {
    [&[non_extended_length, 255][..], &length.to_be_bytes(), parameters].concat()
}

#[test]
fn the_extended_form_is_told_by_its_type_alone() {
    let refresh = Capabilities { route_refresh: true, ..Capabilities::default() };
    let unknown = [&[200, 149][..], &[0; 149]].concat();
    for (optional, result) in [
        (extended(255, 5, &[2, 0, 2, 2, 0]), Ok(opened(refresh.clone()))),
        (extended(1, 5, &[2, 0, 2, 2, 0]), Ok(opened(refresh.clone()))),
        (extended(255, 0, &[]), Ok(opened(Capabilities::default()))),
        // Two parameters, the first longer than one octet could say
        (
            extended(255, 310, &[&[2, 1, 46][..], &unknown, &unknown, &[2, 0, 2, 2, 0]].concat()),
            Ok(opened(refresh.clone())),
        ),
        // 255 is no parameter anywhere else
        (
            extended(255, 8, &[2, 0, 2, 2, 0, 255, 0, 0]),
            Err(OpenError::UnsupportedOptionalParameter(255)),
        ),
        (vec![6, 2, 2, 2, 0, 255, 0], Err(OpenError::UnsupportedOptionalParameter(255))),
        (extended(255, 2, &[7, 0]), malformed(PARAMETER)),
        (extended(255, 3, &[7, 0, 0]), Err(OpenError::UnsupportedOptionalParameter(7))),
        // Lengths that do not fit
        (vec![255], malformed(PARAMETERS)),
        (vec![255, 255], malformed(PARAMETERS)),
        (vec![255, 255, 0], malformed(PARAMETERS)),
        (extended(255, 6, &[2, 0, 2, 2, 0]), malformed(PARAMETERS)),
        (extended(255, 4, &[2, 0, 2, 2, 0]), malformed(PARAMETERS)),
        (extended(255, 65535, &[2, 0, 2, 2, 0]), malformed(PARAMETERS)),
        (extended(255, 5, &[2, 0, 3, 2, 0]), malformed(PARAMETER)),
        (extended(255, 4, &[2, 2, 2, 0]), malformed(PARAMETER)), // one-octet length inside
    ] {
        assert_eq!(Open::decode(&open(&optional)), result, "{optional:?}");
    }
}

#[test]
fn a_length_of_zero_is_the_plain_form_without_parameters() {
    assert_eq!(Open::decode(&open(&extended(0, 0, &[]))), malformed(PARAMETERS));
    assert_eq!(Open::decode(&open(&[0])), Ok(opened(Capabilities::default())));
}

#[test]
fn our_open_has_one_parameter_with_all_capabilities() {
    let offered = |asn| Open {
        asn,
        hold_time: 90,
        router_id: Ipv4Addr::from(ROUTER_ID),
        capabilities: Capabilities {
            multiprotocol: vec![(1, 1), (2, 1)],
            route_refresh: true,
            four_octet_asn: Some(asn),
            ..Capabilities::default()
        },
    };
    for (asn, two_octets) in [(64500, 64500), (65535, 65535), (65536, 23456), (u32::MAX, 23456)] {
        let fields = open_fields(4, two_octets, 90, ROUTER_ID);
        let body = [fields, parameters(&capabilities(asn))].concat();
        assert_eq!(offered(Asn(asn)).encode(), message(OPEN, &body));
    }
}
