//! The packet and its octets.
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::bfd::discard::Discard;
use crate::bfd::packet::LEN;

/// Down, Detect Mult 3, discriminators 1 and 0, a second both ways.
const DOWN: [u8; LEN] = [
    0x20, 0x40, 3, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0,
];

/// `DOWN` with some octets replaced.
fn but(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut octets = DOWN.to_vec();
    for (place, octet) in changes {
        octets[*place] = *octet;
    }
    octets
}

/// `octets` with more behind them.
fn longer(mut octets: Vec<u8>, by: usize) -> Vec<u8> {
    octets.resize(octets.len() + by, 0xff);
    octets
}

fn down() -> Packet {
    Packet {
        my_discriminator: discriminator(1),
        your_discriminator: None,
        required_min_rx: secs(1),
        ..said(State::Down)
    }
}

#[test]
fn every_discard_that_needs_no_session_is_made_in_the_order_of_the_rfc() {
    let authenticated = Packet { authentication_present: true, ..down() };
    let table: &[(&str, Vec<u8>, Result<Packet, Discard>)] = &[
        ("a good one", DOWN.to_vec(), Ok(down())),
        ("more than its Length", longer(DOWN.to_vec(), 40), Ok(down())),
        ("a Length that includes more", longer(but(&[(3, 30)]), 6), Ok(down())),
        ("nothing", vec![], Err(Discard::Length)),
        ("an octet too few", DOWN[..LEN - 1].to_vec(), Err(Discard::Length)),
        ("version 0", but(&[(0, 0x00)]), Err(Discard::Version)),
        ("version 2", but(&[(0, 0x40)]), Err(Discard::Version)),
        ("version 7", but(&[(0, 0xe0)]), Err(Discard::Version)),
        ("Length 0", but(&[(3, 0)]), Err(Discard::Length)),
        ("Length 23", but(&[(3, 23)]), Err(Discard::Length)),
        ("Length 25 of 24", but(&[(3, 25)]), Err(Discard::Length)),
        ("Length 255 of 254", longer(but(&[(3, 255)]), 230), Err(Discard::Length)),
        ("Length 24 with authentication", but(&[(1, 0x44)]), Err(Discard::Length)),
        ("Length 25 with it", longer(but(&[(1, 0x44), (3, 25)]), 2), Err(Discard::Length)),
        ("Length 26 with it", longer(but(&[(1, 0x44), (3, 26)]), 2), Ok(authenticated)),
        ("Detect Mult 0", but(&[(2, 0)]), Err(Discard::DetectMult)),
        ("Multipoint", but(&[(1, 0x41)]), Err(Discard::Multipoint)),
        ("My Discriminator 0", but(&[(7, 0)]), Err(Discard::MyDiscriminator)),
        ("Init to nobody", but(&[(1, 0x80)]), Err(Discard::YourDiscriminator)),
        ("Up to nobody", but(&[(1, 0xc0)]), Err(Discard::YourDiscriminator)),
        (
            "AdminDown to nobody",
            but(&[(1, 0x00)]),
            Ok(Packet { state: State::AdminDown, ..down() }),
        ),
        ("version before Length", but(&[(0, 0x40), (3, 0)]), Err(Discard::Version)),
        ("Length before Detect Mult", but(&[(3, 0), (2, 0)]), Err(Discard::Length)),
        ("Detect Mult before Multipoint", but(&[(2, 0), (1, 0x41)]), Err(Discard::DetectMult)),
        ("Multipoint before My", but(&[(1, 0x41), (7, 0)]), Err(Discard::Multipoint)),
        ("My before Your", but(&[(7, 0), (1, 0xc0)]), Err(Discard::MyDiscriminator)),
    ];
    for (name, octets, expected) in table {
        assert_eq!(Packet::decode(octets), *expected, "{name}");
    }
}

#[test]
fn each_field_has_its_place() {
    let to_us = Some(discriminator(0x0506_0708));
    let table: &[(&[(usize, u8)], Packet)] = &[
        (&[(0, 0x27)], Packet { diag: Diag::ADMINISTRATIVELY_DOWN, ..down() }),
        (&[(0, 0x3f)], Packet { diag: Diag(31), ..down() }),
        (&[(1, 0x60)], Packet { poll: true, ..down() }),
        (&[(1, 0x50)], Packet { is_final: true, ..down() }),
        (&[(1, 0x48)], Packet { control_plane_independent: true, ..down() }),
        (&[(1, 0x42)], Packet { demand: true, ..down() }),
        (&[(2, 255)], Packet { detect_mult: mult(255), ..down() }),
        (&[(4, 1), (5, 2), (6, 3), (7, 4)], {
            Packet { my_discriminator: discriminator(0x0102_0304), ..down() }
        }),
        (&[(1, 0x80), (8, 5), (9, 6), (10, 7), (11, 8)], {
            Packet { state: State::Init, your_discriminator: to_us, ..down() }
        }),
        (&[(1, 0xc0), (8, 5), (9, 6), (10, 7), (11, 8)], {
            Packet { state: State::Up, your_discriminator: to_us, ..down() }
        }),
        (&[(13, 0), (14, 0), (15, 1)], {
            Packet { desired_min_tx: Duration::from_micros(1), ..down() }
        }),
        (&[(17, 0), (18, 0), (19, 0)], Packet { required_min_rx: Duration::ZERO, ..down() }),
        (&[(20, 0xff), (21, 0xff), (22, 0xff), (23, 0xff)], {
            let longest = Duration::from_micros(u32::MAX.into());
            Packet { required_min_echo_rx: longest, ..down() }
        }),
    ];
    for (changes, packet) in table {
        assert_eq!(Packet::decode(&but(changes)), Ok(*packet), "{changes:?}");
        assert_eq!(packet.encode().to_vec(), but(changes), "{packet:?}");
    }
}

#[test]
fn an_interval_that_does_not_fit_is_sent_as_the_longest_that_does() {
    let packet = Packet { desired_min_tx: secs(5000), ..down() };
    let longest = Duration::from_micros(u32::MAX.into());
    assert_eq!(Packet::decode(&packet.encode()), Ok(Packet { desired_min_tx: longest, ..down() }));
}

/// The columns behind a packet in the golden files.
fn columns(packet: &Packet) -> String {
    let flags = [
        (packet.poll, 'P'),
        (packet.is_final, 'F'),
        (packet.control_plane_independent, 'C'),
        (packet.authentication_present, 'A'),
        (packet.demand, 'D'),
        (false, 'M'),
    ];
    let flags: String = flags.map(|(set, letter)| if set { letter } else { '-' }).iter().collect();
    let your = packet.your_discriminator.map_or(0, NonZeroU32::get);
    format!(
        "{} {} {flags} {} {:08x} {your:08x} {} {} {}",
        packet.state,
        packet.diag.0,
        packet.detect_mult,
        packet.my_discriminator,
        packet.desired_min_tx.as_micros(),
        packet.required_min_rx.as_micros(),
        packet.required_min_echo_rx.as_micros(),
    )
}

#[test]
fn packets_of_other_daemons_are_read_as_they_were_meant_and_written_as_they_came() {
    let files = [include_str!("golden/bird.hex"), include_str!("golden/frr.hex")];
    let lines = files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#'));
    for line in lines {
        let (hex, meaning) = line.split_once("  ").expect("two columns");
        let octets: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).expect("hex"))
            .collect();
        let packet = Packet::decode(&octets).expect(line);
        assert_eq!(columns(&packet), meaning);
        assert_eq!(packet.encode().to_vec(), octets, "{line}");
    }
}

#[test]
fn the_golden_packets_cover_every_state_both_ways_of_asking_and_three_diagnostics() {
    let files = [include_str!("golden/bird.hex"), include_str!("golden/frr.hex")];
    let lines = files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#'));
    let column = |number: usize| -> BTreeSet<&str> {
        lines.clone().filter_map(|line| line.split_whitespace().nth(number)).collect()
    };
    assert_eq!(column(1), BTreeSet::from(["AdminDown", "Down", "Init", "Up"]));
    assert_eq!(column(2), BTreeSet::from(["0", "1", "3"]));
    assert_eq!(column(3), BTreeSet::from(["------", "P-----", "-F----"]));
}

#[test]
fn every_discard_has_a_label_of_its_own() {
    let labels: BTreeSet<&str> = Discard::ALL.iter().map(|discard| discard.label()).collect();
    assert_eq!(labels.len(), Discard::ALL.len());
}

#[test]
fn diagnostics_are_shown_in_the_words_of_the_rfc() {
    let shown: Vec<String> = (0..=9).map(|number| Diag(number).to_string()).collect();
    let expected = [
        "no diagnostic",
        "control detection time expired",
        "echo function failed",
        "neighbor signaled session down",
        "forwarding plane reset",
        "path down",
        "concatenated path down",
        "administratively down",
        "reverse concatenated path down",
        "diagnostic 9",
    ];
    assert_eq!(shown, expected);
}

prop_compose! {
    fn any_packet()(
        diag in 0u8..32,
        state in prop::sample::select(STATES.to_vec()),
        [poll, is_final, control_plane_independent, demand] in any::<[bool; 4]>(),
        detect_mult in any::<NonZeroU8>(),
        my_discriminator in any::<NonZeroU32>(),
        your_discriminator in any::<u32>(),
        intervals in any::<[u32; 3]>(),
    ) -> Packet {
        let [tx, rx, echo_rx] = intervals.map(|number| Duration::from_micros(number.into()));
        let your_discriminator = match state {
            State::AdminDown | State::Down => NonZeroU32::new(your_discriminator),
            State::Init | State::Up => NonZeroU32::new(your_discriminator.max(1)),
        };
        Packet {
            diag: Diag(diag),
            state,
            poll,
            is_final,
            control_plane_independent,
            authentication_present: false,
            demand,
            detect_mult,
            my_discriminator,
            your_discriminator,
            desired_min_tx: tx,
            required_min_rx: rx,
            required_min_echo_rx: echo_rx,
        }
    }
}

proptest! {
    #[test]
    fn decoding_what_was_encoded_gives_the_same_packet(packet in any_packet()) {
        prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }

    #[test]
    fn random_octets_never_panic_and_what_is_read_from_them_is_written_back(
        mut octets in vec(any::<u8>(), 0..300),
        good_version in any::<bool>(),
        good_length in any::<bool>(),
    ) {
        // Without help hardly any would get past the version.
        if let [first, _, _, length, ..] = &mut octets[..] {
            if good_version { *first = *first & 0x1f | 0x20 }
            if good_length { *length = 30 }
        }
        if let Ok(packet) = Packet::decode(&octets) {
            let mut expected: [u8; LEN] = octets[..LEN].try_into().expect("it was long enough");
            expected[1] &= !0x04; // we send no authentication
            expected[3] = 24;
            prop_assert_eq!(packet.encode(), expected);
        }
    }
}
