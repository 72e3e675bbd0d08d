//! Any stream of octets: how it is cut into messages, and that TCP may cut it as it likes.
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use vipcast::bgp::connection::{Config, Connection, Event, Opening, RemoteAsn, Session, State};
use vipcast::bgp::wire::{
    self, Agreed, Frame, HEADER_LEN, HeaderError, MAX_EXTENDED_LEN, MAX_LEN, MessageType,
    Notification, Open, Refresh, demarcation, route_refresh,
};
use vipcast::route::{Asn, Family};

use super::input::{Input, bits};
use super::memory::bounded;
use super::octets::{self, KEEPALIVE, NOTIFICATION, Offer, check_notification, check_text};
use super::start;

/// An octet of what was agreed and how far the session is, one of how TCP cuts the stream, then the
/// stream.
pub fn message(data: &[u8]) {
    let mut input = Input::new(data);
    let (flags, size) = (input.u8(), usize::from(input.u8()));
    let [extended_message, enhanced_route_refresh, is_up, ..] = bits(flags);
    let agreed = Agreed { extended_message, enhanced_route_refresh };
    bounded(input.rest().len(), || check_framing(input.rest(), agreed));

    let greeting = if is_up { greeting(agreed) } else { Vec::new() };
    let stream = [&greeting, input.rest()].concat();
    let now = start();
    let whole = bounded(stream.len(), || outcome([&stream[..]], now));
    assert_eq!(outcome(stream.chunks(size.max(1)), now), whole);
    let (first, second) = stream.split_at(stream.len().min(greeting.len() + size));
    assert_eq!(outcome([first, second], now), whole);
    if stream.len() < MAX_LEN {
        assert_eq!(outcome(stream.chunks(1), now), whole);
    }
}

/// Cuts off one message after the other. A message is there once its last octet is, a fault once
/// the header is.
fn check_framing(mut rest: &[u8], agreed: Agreed) {
    let is_whole = |part: &[u8]| wire::split(part, agreed).map(|found| found.is_some());
    loop {
        let header = rest.get(..HEADER_LEN);
        let claimed = header.map(|header| u16::from_be_bytes([header[16], header[17]]));
        assert_eq!(is_whole(rest.get(..HEADER_LEN - 1).unwrap_or(rest)), Ok(false));
        match wire::split(rest, agreed) {
            Ok(None) => {
                assert!(claimed.is_none_or(|claimed| usize::from(claimed) > rest.len()));
                return;
            }
            Ok(Some((frame, length))) => {
                let (whole, after) = rest.split_at(length);
                assert_eq!(octets::message(frame.kind as u8, frame.body), whole);
                assert!(lengths(frame.kind, agreed).contains(&length), "{:?} {length}", frame.kind);
                assert_eq!(is_whole(&whole[..length - 1]), Ok(false));
                check_frame(frame, whole, agreed);
                rest = after;
            }
            Err(error) => {
                assert_eq!(header.map(is_whole), Some(Err(error)), "whatever follows");
                check_fault(error);
                return;
            }
        }
    }
}

/// RFC 4271 §4, RFC 2918 §3, RFC 8654 §4; the length of a refresh is judged later where its errors
/// have a code of their own (RFC 7313 §5).
fn lengths(kind: MessageType, agreed: Agreed) -> RangeInclusive<usize> {
    let longest = if agreed.extended_message { MAX_EXTENDED_LEN } else { MAX_LEN };
    match kind {
        MessageType::Open => 29..=MAX_LEN,
        MessageType::Update => 23..=longest,
        MessageType::Notification => 21..=longest,
        MessageType::Keepalive => 19..=19,
        MessageType::RouteRefresh if agreed.enhanced_route_refresh => 19..=longest,
        MessageType::RouteRefresh => 23..=23,
    }
}

/// RFC 4271 §6.1; §6.4: nothing answers a NOTIFICATION.
fn check_fault(error: HeaderError) {
    check_text(&error.to_string());
    let notification = error.notification();
    let to_notification =
        matches!(error, HeaderError::BadLength { kind, .. } if kind == NOTIFICATION);
    assert_eq!(notification.is_none(), to_notification);
    if let Some(notification) = notification {
        assert_eq!(notification.code, Notification::HEADER_ERROR);
        check_notification(&notification);
    }
}

/// What is understood of a message is written as it was.
fn check_frame(frame: Frame<'_>, whole: &[u8], agreed: Agreed) {
    match frame.kind {
        MessageType::Notification => {
            let notification = Notification::decode(frame.body).expect("two octets are there");
            let body = &frame.body[..frame.body.len().min(MAX_LEN - HEADER_LEN)];
            assert_eq!(notification.encode()[HEADER_LEN..], *body);
            check_text(&notification.to_string());
        }
        MessageType::RouteRefresh => {
            match Refresh::decode(frame.body, agreed.enhanced_route_refresh) {
                Ok(Refresh::Request(family)) => {
                    let mut plain = whole.to_vec();
                    if !agreed.enhanced_route_refresh {
                        plain[HEADER_LEN + 2] = 0; // reserved (RFC 2918 §3)
                    }
                    assert_eq!(route_refresh(family), plain);
                }
                Ok(Refresh::Beginning(family)) => assert_eq!(demarcation(family, false), whole),
                Ok(Refresh::End(family)) => assert_eq!(demarcation(family, true), whole),
                Ok(Refresh::Unknown) => assert_eq!(frame.body.len(), 4),
                Err(notification) => {
                    assert_ne!(frame.body.len(), 4);
                    check_notification(&notification);
                }
            }
        }
        MessageType::Open => {
            let _ = Open::decode(frame.body).map_err(|e| check_notification(&e.notification()));
        }
        MessageType::Update | MessageType::Keepalive => {}
    }
}

/// The router's part of coming up.
fn greeting(agreed: Agreed) -> Vec<u8> {
    let open = Offer {
        enhanced_refresh: agreed.enhanced_route_refresh,
        extended_message: agreed.extended_message,
        ..Offer::of_everything(64500)
    };
    [open.encode(), octets::message(KEEPALIVE, &[])].concat()
}

/// State, session, events, what is said, and when it goes on.
type Outcome = (State, Option<Session>, Vec<Event>, Vec<u8>, Option<Instant>);

/// Where a stream in these pieces leads.
fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, now: Instant) -> Outcome {
    let config = Config {
        local_asn: Asn(64501),
        remote_asn: RemoteAsn::External,
        families: Family::ALL.to_vec(),
        hold_time: Duration::from_secs(90),
        keepalive_time: None,
        role: None,
        restart: None,
        bfd_strict: false,
    };
    let mut connection = Connection::new(config, Opening::new([10, 0, 0, 1].into()), 7, now);
    let (mut events, mut output) = (Vec::new(), connection.poll_transmit());
    for piece in pieces {
        connection.handle_input(piece, now);
        events.extend(std::iter::from_fn(|| connection.poll_event()));
        output.extend(connection.poll_transmit());
    }
    (connection.state(), connection.session().cloned(), events, output, connection.poll_timeout())
}
