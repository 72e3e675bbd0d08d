//! Control packets put together without the encoder under test, and what every packet of ours must be.
use std::num::NonZeroU32;
use std::time::Duration;

use vipcast::bfd::packet::{LEN, Packet, State};

use super::super::input::{Input, bits, pick};
use super::SLOW;

/// The states by their numbers.
pub(super) const STATES: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

/// Intervals in microseconds that peers have, and those that none should have.
const INTERVALS: [u32; 8] = [10_000, 300_000, 1_000_000, 0, 1, 3_600_000_000, u32::MAX, 50_000];

/// What a peer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) state: u8,
    /// P, F, C, A, D and M, as they are in the packet
    pub(super) flags: u8,
    pub(super) detect_mult: u8,
    pub(super) mine: u32,
    pub(super) yours: u32,
    pub(super) desired_min_tx: u32,
    pub(super) required_min_rx: u32,
}

impl Said {
    /// Three octets: the state, P, F, C and D; the intervals; Detect Mult and some diagnostic.
    pub(super) fn read(input: &mut Input<'_>, mine: u32, yours: u32) -> Self {
        let [first, intervals, mult] = [input.u8(), input.u8(), input.u8()];
        let [.., poll, is_final, plane, demand] = bits(first << 2);
        let flags = [(poll, 0x20), (is_final, 0x10), (plane, 8), (demand, 2)];
        Self {
            state: first & 3,
            flags: flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag),
            detect_mult: pick(mult, &[3, 1, 255, 0, 2]),
            mine,
            yours,
            desired_min_tx: pick(intervals, &INTERVALS),
            required_min_rx: pick(intervals >> 3, &INTERVALS),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let first = [1 << 5, self.state << 6 | self.flags, self.detect_mult, 24];
        let words = [self.mine, self.yours, self.desired_min_tx, self.required_min_rx, 0];
        let words = words.iter().flat_map(|word| word.to_be_bytes());
        first.into_iter().chain(words).collect()
    }
}

/// What was read means the same when it is written and read again.
pub(super) fn check_read(payload: &[u8]) -> Option<Packet> {
    let packet = Packet::decode(payload).ok()?;
    // The signature is none of the encoder's business.
    let unsigned = Packet { authentication_present: false, ..packet };
    assert_eq!(Packet::decode(&unsigned.encode()), Ok(unsigned));
    Some(packet)
}

/// What every packet of ours must be, whatever happened.
pub(super) fn check_sent(payload: &[u8], ours: NonZeroU32, is_signed: bool) -> Packet {
    let packet = check_read(payload).expect("we say what can be read");
    assert_eq!(payload.get(3).copied().map(usize::from), Some(payload.len()), "Length");
    assert_eq!(payload.len() > LEN, is_signed);
    assert_eq!(packet.authentication_present, is_signed);
    assert_eq!(packet.my_discriminator, ours);
    assert!(!(packet.poll && packet.is_final), "P and F at once (RFC 5880 §6.5)");
    assert!(!packet.control_plane_independent);
    assert_eq!(packet.required_min_echo_rx, Duration::ZERO);
    assert!(packet.state == State::Up || packet.desired_min_tx >= SLOW, "RFC 5880 §6.8.3");
    packet
}
