//! What each defect of each attribute costs: discard, treat-as-withdraw or reset (RFC 7606).
//!
//! `attributes` is the table: what the RFCs say of each attribute, one entry for each. `rows` makes
//! UPDATEs of it, each with one defect, and adds those that are not about one attribute: order,
//! what is missing, what overruns, several at once. Two readers go through the same rows: `decoder`
//! gives them to the decoder and compares what was read, `daemon` sends them to a running daemon and
//! looks at its kernel's routes and at what it answers.
//!
//! The expectations are the RFCs', not the daemon's. What an RFC leaves open, or where the daemon
//! deviates, says so in its row.

mod attributes;
mod daemon;
mod decoder;
mod rows;

use vipcast::bgp::wire::PathAttributes;

/// Who sends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sender {
    /// In another AS, with AS numbers of four octets
    External,
    /// In our AS
    Internal,
    /// In another AS, with AS numbers of two octets (RFC 6793 calls it OLD)
    TwoOctets,
}

impl Sender {
    const ALL: [Self; 3] = [Self::External, Self::Internal, Self::TwoOctets];
}

/// What becomes of an attribute, and of the prefix beside it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Nothing is wrong, and the attribute counts
    Accepted,
    /// Nothing is wrong, and the attribute means nothing
    Ignored,
    /// "Attribute discard": as if the attribute were not there
    Discarded,
    /// "Treat-as-withdraw"
    Withdrawn,
    /// The prefix is not in the message, or not announced by it
    Untouched,
    /// "Session reset": UPDATE Message Error with this subcode
    Reset(u8),
}

/// What an attribute that counts adds to the others.
type Effect = fn(&mut PathAttributes);

fn nothing(_: &mut PathAttributes) {}

/// One UPDATE and what is to come of it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    what: String,
    /// Where the outcome is written down
    rfc: &'static str,
    sender: Sender,
    message: Vec<u8>,
    /// Of its IPv4 prefix
    outcome: Outcome,
    /// Of its IPv6 prefix
    six: Outcome,
    effect: Effect,
    /// In the NOTIFICATION
    data: Vec<u8>,
}

/// What all of them send, and from whom.
pub(super) fn messages() -> impl Iterator<Item = (Sender, Vec<u8>)> {
    rows::all().into_iter().map(|row| (row.sender, row.numbered(7)))
}

/// Stands for the number of the row in its prefixes.
const NUMBER: [u8; 2] = [0x76, 0x06];
/// 100.100.0.0/16 with the number behind it
const PREFIX: &[u8] = &[32, 100, 100, 0x76, 0x06];
/// 2001:db8:76::/48 with the number behind it
const PREFIX_6: &[u8] = &[64, 0x20, 1, 0x0d, 0xb8, 0, 0x76, 0x76, 0x06];

impl Row {
    /// The message for the prefixes of this number.
    fn numbered(&self, number: u16) -> Vec<u8> {
        let mut octets = self.message.clone();
        let places = octets.windows(2).enumerate().filter(|(_, pair)| *pair == NUMBER);
        for place in places.map(|(place, _)| place).collect::<Vec<_>>() {
            octets[place..place + 2].copy_from_slice(&number.to_be_bytes());
        }
        octets
    }
}
