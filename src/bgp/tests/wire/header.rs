//! The message header (RFC 4271 §4.1, §6.1) and ROUTE-REFRESH (RFC 2918).
use crate::bgp::tests::octets::{
    KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, header, keepalive, message,
};
use crate::bgp::wire::{
    self, Agreed, Frame, HEADER_LEN, HeaderError, MAX_EXTENDED_LEN, MAX_LEN, MessageType,
    Notification, Refresh, split,
};
use crate::route::Family;

const EXTENDED_MESSAGES: Agreed = Agreed { extended_message: true, enhanced_route_refresh: false };

/// The answer to a header that is wrong, given nothing but the header.
fn answer(octets: &[u8]) -> Option<Notification> {
    split(octets, Agreed::default()).expect_err("a wrong header").notification()
}

#[test]
fn a_marker_that_is_not_all_ones_is_not_synchronized_wherever_it_is_wrong() {
    for position in 0..16 {
        let mut octets = keepalive();
        octets[position] = 0xfe;
        assert_eq!(
            split(&octets, Agreed::default()),
            Err(HeaderError::NotSynchronized),
            "octet {position}"
        );
        assert_eq!(answer(&octets), Some(Notification::new(1, 1, vec![])));
    }
}

#[test]
fn a_length_that_the_type_cannot_have_is_answered_with_that_length() {
    for (kind, lengths) in [
        (OPEN, &[0, 18, 19, 28, 4097, 65535][..]),
        (UPDATE, &[0, 18, 19, 22, 4097, 65535]),
        (KEEPALIVE, &[0, 18, 20, 4096, 4097, 65535]),
        (ROUTE_REFRESH, &[0, 18, 22, 24, 4097]),
        // No type has these, so it does not matter that there is no such type.
        (0, &[0, 18, 4097]),
        (255, &[0, 18, 4097]),
    ] {
        for length in lengths {
            let octets = header(*length, kind);
            let error = HeaderError::BadLength { length: *length, kind };
            assert_eq!(split(&octets, Agreed::default()), Err(error), "type {kind}");
            let data = length.to_be_bytes().to_vec();
            assert_eq!(answer(&octets), Some(Notification::new(1, 2, data)), "type {kind}");
        }
    }
}

#[test]
fn nothing_answers_a_notification_of_a_wrong_length() {
    for length in [0, 18, 19, 20, 4097, 65535] {
        assert_eq!(answer(&header(length, NOTIFICATION)), None, "{length}");
    }
}

#[test]
fn a_type_that_does_not_exist_is_answered_with_that_type() {
    for kind in (0..=255).filter(|kind| !(1..=5).contains(kind)) {
        let octets = header(19, kind);
        assert_eq!(split(&octets, Agreed::default()), Err(HeaderError::BadType(kind)));
        assert_eq!(answer(&octets), Some(Notification::new(1, 3, vec![kind])));
    }
}

#[test]
fn each_type_has_its_shortest_and_longest_message() {
    for (kind, parsed, shortest, longest) in [
        (OPEN, MessageType::Open, 29, MAX_LEN),
        (UPDATE, MessageType::Update, 23, MAX_LEN),
        (NOTIFICATION, MessageType::Notification, 21, MAX_LEN),
        (KEEPALIVE, MessageType::Keepalive, 19, 19),
        (ROUTE_REFRESH, MessageType::RouteRefresh, 23, 23),
    ] {
        for length in [shortest, longest] {
            let body = vec![7; length - HEADER_LEN];
            let octets = message(kind, &body);
            let frame = Frame { kind: parsed, body: &body };
            assert_eq!(split(&octets, Agreed::default()), Ok(Some((frame, length))));
        }
    }
}

#[test]
fn extended_messages_are_taken_where_they_were_offered_to_be() {
    // RFC 8654 §4: all but OPEN and KEEPALIVE
    for (kind, is_taken) in [
        (OPEN, false),
        (UPDATE, true),
        (NOTIFICATION, true),
        (KEEPALIVE, false),
        (ROUTE_REFRESH, false),
    ] {
        for length in [4097, 65535] {
            let octets = header(length, kind);
            let expected = match is_taken {
                true => Ok(None),
                false => Err(HeaderError::BadLength { length, kind }),
            };
            assert_eq!(split(&octets, EXTENDED_MESSAGES), expected, "type {kind}");
        }
    }
    let octets = message(UPDATE, &[7; MAX_EXTENDED_LEN - HEADER_LEN]);
    let frame = Frame { kind: MessageType::Update, body: &octets[HEADER_LEN..] };
    assert_eq!(split(&octets, EXTENDED_MESSAGES), Ok(Some((frame, MAX_EXTENDED_LEN))));
}

#[test]
fn a_refresh_of_any_length_is_read_whole_where_its_errors_have_an_answer_of_their_own() {
    let agreed = Agreed { enhanced_route_refresh: true, ..Agreed::default() };
    for length in 0..10 {
        let body = vec![0; length];
        let octets = message(ROUTE_REFRESH, &body);
        let frame = Frame { kind: MessageType::RouteRefresh, body: &body };
        assert_eq!(split(&octets, agreed), Ok(Some((frame, octets.len()))));
    }
}

#[test]
fn a_message_that_has_not_come_whole_is_waited_for() {
    let octets = message(UPDATE, &[0; 4]);
    for length in 0..octets.len() {
        assert_eq!(split(&octets[..length], Agreed::default()), Ok(None), "{length} octets");
    }
}

#[test]
fn a_header_is_judged_before_its_body_has_come() {
    assert_eq!(
        split(&header(4097, UPDATE), Agreed::default()).map(|_| ()),
        Err(HeaderError::BadLength { length: 4097, kind: UPDATE })
    );
    assert_eq!(split(&header(200, 6), Agreed::default()).map(|_| ()), Err(HeaderError::BadType(6)));
    assert_eq!(split(&header(200, UPDATE), Agreed::default()), Ok(None));
}

#[test]
fn what_follows_a_message_is_left_for_the_next() {
    let octets = [keepalive(), message(UPDATE, &[0; 4])].concat();
    let frame = Frame { kind: MessageType::Keepalive, body: &[] };
    assert_eq!(split(&octets, Agreed::default()), Ok(Some((frame, 19))));
    let frame = Frame { kind: MessageType::Update, body: &[0; 4] };
    assert_eq!(split(&octets[19..], Agreed::default()), Ok(Some((frame, 23))));
}

#[test]
fn our_keepalive_is_a_header_alone() {
    assert_eq!(wire::keepalive(), header(19, KEEPALIVE));
}

#[test]
fn a_refresh_names_a_family_and_means_what_was_agreed() {
    use Refresh::{Beginning, End, Request, Unknown};
    for (body, plain, enhanced) in [
        ([0, 1, 0, 1], Request(Family::Ipv4Unicast), Request(Family::Ipv4Unicast)),
        ([0, 2, 0, 1], Request(Family::Ipv6Unicast), Request(Family::Ipv6Unicast)),
        // RFC 2918 §3: reserved, ignored; RFC 7313 §5: unknown subtypes are ignored
        ([0, 1, 1, 1], Request(Family::Ipv4Unicast), Beginning(Family::Ipv4Unicast)),
        ([0, 2, 2, 1], Request(Family::Ipv6Unicast), End(Family::Ipv6Unicast)),
        ([0, 1, 3, 1], Request(Family::Ipv4Unicast), Unknown),
        ([0, 1, 0xff, 1], Request(Family::Ipv4Unicast), Unknown),
        ([0, 1, 0, 2], Unknown, Unknown),
        ([0, 25, 0, 70], Unknown, Unknown),
        ([0, 0, 0, 0], Unknown, Unknown),
    ] {
        assert_eq!(Refresh::decode(&body, false), Ok(plain), "{body:?}");
        assert_eq!(Refresh::decode(&body, true), Ok(enhanced), "{body:?}");
    }
}

#[test]
fn a_refresh_of_a_wrong_length_is_answered() {
    let bad_length = |length: u8| Notification::new(1, 2, vec![0, length]);
    for (body, plain, enhanced) in [
        (&[][..], bad_length(19), bad_length(19)),
        (&[0, 1, 0], bad_length(22), bad_length(22)),
        (&[0, 1, 0, 1, 0], bad_length(24), bad_length(24)),
        // RFC 7313 §5: with the whole message
        (&[0, 1, 1], bad_length(22), Notification::new(7, 1, message(5, &[0, 1, 1]))),
        (&[0, 1, 2, 1, 9], bad_length(24), Notification::new(7, 1, message(5, &[0, 1, 2, 1, 9]))),
    ] {
        assert_eq!(Refresh::decode(body, false), Err(plain), "{body:?}");
        assert_eq!(Refresh::decode(body, true), Err(enhanced), "{body:?}");
    }
}

#[test]
fn our_demarcations_are_refreshes_of_their_own_subtype() {
    for (family, afi) in [(Family::Ipv4Unicast, 1), (Family::Ipv6Unicast, 2)] {
        assert_eq!(wire::demarcation(family, false), message(5, &[0, afi, 1, 1]));
        assert_eq!(wire::demarcation(family, true), message(5, &[0, afi, 2, 1]));
    }
}
