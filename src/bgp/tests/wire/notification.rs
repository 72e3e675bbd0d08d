//! NOTIFICATION (RFC 4271 §4.5, RFC 4486, RFC 9003): octets, and words for the operator.
use crate::bgp::tests::octets::{NOTIFICATION, message};
use crate::bgp::wire::Notification;

#[test]
fn codes_and_data_go_out_and_come_in_as_they_are() {
    for (notification, body) in [
        (Notification::new(4, 0, vec![]), &[4, 0][..]),
        (Notification::new(1, 2, vec![0x10, 0x01]), &[1, 2, 0x10, 0x01]),
        (Notification::new(255, 254, vec![0; 4075]), &[&[255, 254][..], &[0; 4075]].concat()),
        (Notification::cease(7), &[6, 7]),
        (Notification::administrative_shutdown("bye"), &[6, 2, 3, b'b', b'y', b'e']),
    ] {
        assert_eq!(notification.encode(), message(NOTIFICATION, body));
        assert_eq!(Notification::decode(body), Some(notification));
    }
}

#[test]
fn data_beyond_what_every_peer_takes_is_cut() {
    // The whole of a wrong ROUTE-REFRESH (RFC 7313 §5) can be as long as any message.
    let whole = Notification::new(7, 1, vec![9; 65535]);
    assert_eq!(whole.encode(), Notification::new(7, 1, vec![9; 4096 - 21]).encode());
    let encoded = whole.hard_reset().encode();
    assert_eq!(encoded.len(), 4096);
    assert_eq!(encoded[19..24], [6, 9, 7, 1, 9]);
}

#[test]
fn a_notification_without_both_codes_is_none() {
    assert_eq!(Notification::decode(&[]), None);
    assert_eq!(Notification::decode(&[6]), None);
}

#[test]
fn a_long_shutdown_communication_is_cut_between_characters() {
    // 254 octets, then a character of two: the 255th octet would be half of it.
    let text = "x".repeat(254) + "é…";
    let data = Notification::administrative_shutdown(&text).data;
    assert_eq!(data, [&[254][..], &[b'x'; 254]].concat());
    let longest = "x".repeat(255);
    let notification = Notification::administrative_shutdown(&(longest.clone() + "y"));
    assert_eq!(notification.shutdown_communication(), Some(longest));
}

#[test]
fn a_shutdown_communication_is_shown_without_what_could_harm_a_terminal() {
    for (code, subcode, data, shown) in [
        (6, 2, b"\x05hello".to_vec(), Some("hello")),
        (6, 4, b"\x05hello".to_vec(), Some("hello")),
        // ESC, a newline, C1, DEL
        (6, 2, "\x07a\x1b\nb\u{9b}\x7f".into(), Some("a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}")),
        // A line separator, right-to-left override, an isolate
        (6, 2, "\x0aa\u{2028}\u{202e}\u{2066}".into(), Some("a\u{fffd}\u{fffd}\u{fffd}")),
        (6, 2, b"\x03a\xffb".to_vec(), Some("a\u{fffd}b")), // no UTF-8
        (6, 2, b"\x02hello".to_vec(), Some("he")), // what is behind its length does not count
        (6, 2, b"\x06hello".to_vec(), None),       // longer than the message
        (6, 2, b"\x00".to_vec(), None),
        (6, 2, vec![], None),
        (6, 3, b"\x05hello".to_vec(), None), // another subcode
        (4, 2, b"\x05hello".to_vec(), None), // another code
    ] {
        let notification = Notification::new(code, subcode, data);
        assert_eq!(notification.shutdown_communication().as_deref(), shown, "{notification:?}");
    }
}

#[test]
fn a_notification_reads_as_words_with_its_numbers() {
    for (notification, shown) in [
        (Notification::new(1, 1, vec![]), "Message Header Error/Connection Not Synchronized (1/1)"),
        (Notification::new(2, 7, vec![]), "OPEN Message Error/Unsupported Capability (2/7)"),
        (Notification::new(2, 0, vec![]), "OPEN Message Error (2/0)"),
        (Notification::new(3, 11, vec![]), "UPDATE Message Error/Malformed AS_PATH (3/11)"),
        (Notification::new(4, 0, vec![]), "Hold Timer Expired (4/0)"),
        (
            Notification::new(5, 2, vec![]),
            "Finite State Machine Error/Unexpected Message in OpenConfirm (5/2)",
        ),
        (Notification::new(6, 10, vec![]), "Cease/BFD Down (6/10)"),
        (Notification::new(6, 99, vec![]), "Cease/unknown subcode (6/99)"),
        (Notification::new(99, 0, vec![]), "unknown error (99/0)"),
        (Notification::new(99, 1, vec![]), "unknown error/unknown subcode (99/1)"),
        (
            Notification::administrative_shutdown("new cables"),
            "Cease/Administrative Shutdown (6/2): new cables",
        ),
        (
            Notification::administrative_shutdown("new cables").hard_reset(),
            "Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2): new cables",
        ),
        (Notification::cease(10).hard_reset(), "Cease/Hard Reset (6/9): Cease/BFD Down (6/10)"),
        // Whatever a peer puts into one
        (Notification::new(6, 9, vec![]), "Cease/Hard Reset (6/9)"),
        (Notification::new(6, 9, vec![6]), "Cease/Hard Reset (6/9)"),
        (
            Notification::new(6, 9, vec![6, 2, 255, 1, 2]),
            "Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2)",
        ),
        (Notification::cease(2).hard_reset().hard_reset(), "Cease/Hard Reset (6/9)"),
    ] {
        assert_eq!(notification.to_string(), shown);
    }
}
