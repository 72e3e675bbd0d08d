//! Messages put together without the encoder under test, and what every message of ours must be.
use vipcast::bgp::wire::{self, Agreed, HEADER_LEN, MAX_LEN, MessageType, Notification};

pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;

/// What the newest speakers may send to each other.
pub(crate) const EVERYTHING: Agreed =
    Agreed { extended_message: true, enhanced_route_refresh: true };

/// A message of this type; what does not fit into one is left out.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let body = body.get(..wire::MAX_EXTENDED_LEN - HEADER_LEN).unwrap_or(body);
    let length = u16::try_from(HEADER_LEN + body.len()).expect("it was cut");
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// What a router says of itself.
pub(crate) struct Offer {
    pub(crate) asn: u32,
    pub(crate) hold_time: u16,
    pub(crate) router_id: [u8; 4],
    pub(crate) families: [bool; 2],
    pub(crate) refresh: bool,
    pub(crate) enhanced_refresh: bool,
    pub(crate) extended_message: bool,
    pub(crate) extended_next_hop: bool,
    pub(crate) four_octet_asn: bool,
    pub(crate) restart: Option<[u8; 2]>,
}

impl Offer {
    /// All there is.
    pub(crate) fn of_everything(asn: u32) -> Self {
        Self {
            asn,
            hold_time: 90,
            router_id: [10, 0, 0, 2],
            families: [true; 2],
            refresh: true,
            enhanced_refresh: true,
            extended_message: true,
            extended_next_hop: true,
            four_octet_asn: true,
            restart: Some([0x40, 120]),
        }
    }

    /// The OPEN.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let [a, b, c, d] = self.asn.to_be_bytes();
        let families = [[0, 1, 0, 1], [0, 2, 0, 1]].into_iter().zip(self.families);
        let families = families.filter(|(_, offered)| *offered);
        let mut all: Vec<u8> = families.flat_map(|(f, _)| [&[1, 4][..], &f].concat()).collect();
        let flags = [(2, self.refresh), (70, self.enhanced_refresh), (6, self.extended_message)];
        all.extend(flags.iter().filter(|flag| flag.1).flat_map(|(code, _)| [*code, 0]));
        if self.extended_next_hop {
            all.extend([5, 6, 0, 1, 0, 1, 0, 2]);
        }
        if self.four_octet_asn {
            all.extend([65, 4, a, b, c, d]);
        }
        if let Some([flags, time]) = self.restart {
            all.extend([64, 10, flags, time, 0, 1, 1, 0x80, 0, 2, 1, 0]);
        }
        let asn = u16::try_from(self.asn).unwrap_or(23456);
        let mut body = vec![4];
        body.extend(asn.to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.router_id);
        match u8::try_from(all.len()).expect("they are few") {
            0 => body.push(0),
            length => body.extend([length + 2, 2, length]),
        }
        body.extend(all);
        message(OPEN, &body)
    }
}

/// What answers a fault is itself without one: no longer than any peer takes, which may cost it some of
/// its data, and fit for a terminal.
pub(crate) fn check_notification(notification: &Notification) {
    let octets = notification.encode();
    assert!(octets.len() <= MAX_LEN, "a NOTIFICATION of {} octets", octets.len());
    let (frame, length) = wire::split(&octets, Agreed::default()).expect("valid").expect("whole");
    assert_eq!((frame.kind, length), (MessageType::Notification, octets.len()));
    let read = Notification::decode(frame.body).expect("both codes");
    assert_eq!((read.code, read.subcode), (notification.code, notification.subcode));
    let room = MAX_LEN - HEADER_LEN - 2;
    assert_eq!(read.data, notification.data[..notification.data.len().min(room)]);
    check_text(&notification.to_string());
}

/// One line, and not a long one.
pub(crate) fn check_text(text: &str) {
    assert!(!text.is_empty() && text.len() < 1000, "{} octets of text", text.len());
    let moves = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(|c: char| c.is_control() || moves(c)), "{text:?}");
}
