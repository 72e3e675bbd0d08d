//! The attributes, as the RFCs define them and cost their defects.

use vipcast::bgp::wire::{AsPath, Origin, Segment};
use vipcast::route::{Asn, Community, ExtendedCommunity, LargeCommunity};

use super::Outcome::{self, Accepted, Discarded, Ignored, Reset, Withdrawn};
use super::Sender::{self, External, Internal, TwoOctets};
use super::{Effect, nothing};
use crate::message::{OPTIONAL, TRANSITIVE, WELL_KNOWN};

/// What the RFCs say of an attribute.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) code: u8,
    /// The Optional and Transitive bits it is to have
    pub(super) kind: u8,
    /// Where its errors are costed
    pub(super) rfc: &'static str,
    /// Whose it is; of all others it means nothing, whatever is in it
    pub(super) senders: &'static [Sender],
    /// Who does not use this entry, since there is another one for them
    pub(super) not_for: &'static [Sender],
    /// As it can be, and what comes of it
    pub(super) good: &'static [u8],
    pub(super) outcome: Outcome,
    pub(super) effect: Effect,
    /// As it can be, too: where it comes twice
    pub(super) other: &'static [u8],
    /// When it has no octets, one too few, and one too many; `None` where that is as good
    pub(super) lengths: [Option<Outcome>; 3],
    /// When its Optional bit is wrong, its Transitive bit, and both (RFC 7606 §3 c)
    pub(super) flags: [Outcome; 3],
    /// When there is another one before it (RFC 7606 §3 g)
    pub(super) second: Outcome,
    pub(super) values: &'static [Value],
}

/// A value that is wrong, or odd.
pub(super) struct Value {
    pub(super) what: &'static str,
    pub(super) octets: &'static [u8],
    pub(super) outcome: Outcome,
    pub(super) effect: Effect,
}

const W: Option<Outcome> = Some(Withdrawn);
const D: Option<Outcome> = Some(Discarded);
const R: Option<Outcome> = Some(Reset(9));
const I: Option<Outcome> = Some(Ignored);

const fn attribute(
    name: &'static str,
    code: u8,
    kind: u8,
    rfc: &'static str,
    lengths: [Option<Outcome>; 3],
    good: &'static [u8],
    effect: Effect,
) -> Attribute {
    Attribute {
        name,
        code,
        kind,
        rfc,
        senders: &Sender::ALL,
        not_for: &[],
        good,
        outcome: Accepted,
        effect,
        other: good,
        lengths,
        flags: [Withdrawn; 3],
        second: Discarded,
        values: &[],
    }
}

/// One that the daemon does not know: whatever is in it is not looked at (RFC 4271 §5).
const fn unknown(
    name: &'static str,
    code: u8,
    kind: u8,
    rfc: &'static str,
    good: &'static [u8],
) -> Attribute {
    let known = attribute(name, code, kind, rfc, [I, I, I], good, nothing);
    // Without the Optional bit it claims to be well-known. RFC 4271 §6.3 has that reset the session,
    // and RFC 7606 leaves it at that; here it is treat-as-withdraw, as with every other attribute
    // that is wrong: the next session would only bring the same route.
    Attribute { outcome: Ignored, flags: [Withdrawn, Ignored, Withdrawn], ..known }
}

const fn value(what: &'static str, octets: &'static [u8], outcome: Outcome) -> Value {
    Value { what, octets, outcome, effect: nothing }
}

const fn odd(what: &'static str, octets: &'static [u8], effect: Effect) -> Value {
    Value { what, octets, outcome: Accepted, effect }
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Attribute> {
    [MANDATORY, OPTIONAL_ONES, MULTIPROTOCOL, OF_OLD_SPEAKERS, UNKNOWN].into_iter().flatten()
}

const MANDATORY: &[Attribute] = &[
    Attribute {
        other: &[1],
        values: &[value("3", &[3], Withdrawn), value("255", &[255], Withdrawn)],
        ..attribute("ORIGIN", 1, WELL_KNOWN, "RFC 7606 §7.1", [W, W, W], &[2], |all| {
            all.origin = Some(Origin::Incomplete);
        })
    },
    Attribute {
        not_for: &[TwoOctets],
        other: &[2, 1, 0, 0, 0xfd, 0xe8],
        values: &[
            // RFC 7606 §4: it may have no octets.
            odd("of no AS", &[], |all| all.as_path = Some(AsPath(vec![]))),
            odd(
                "of a sequence and a set",
                &[2, 1, 0, 0, 0xfd, 0xe8, 1, 2, 0, 0, 0, 1, 0, 0, 0, 2],
                |all| {
                    let set = Segment::Set(vec![Asn(1), Asn(2)]);
                    all.as_path = Some(AsPath(vec![Segment::Sequence(vec![Asn(65000)]), set]));
                },
            ),
            value("a segment of type 0", &[0, 1, 0, 0, 0, 1], Withdrawn),
            value("a segment of type 5", &[5, 1, 0, 0, 0, 1], Withdrawn),
            value("AS_CONFED_SEQUENCE (RFC 5065 §5)", &[3, 1, 0, 0, 0, 1], Withdrawn),
            value("AS_CONFED_SET (RFC 5065 §5)", &[4, 1, 0, 0, 0, 1], Withdrawn),
            value("a segment of no AS", &[2, 0], Withdrawn),
            value("a good segment and one of no AS", &[2, 1, 0, 0, 0, 1, 2, 0], Withdrawn),
            value("a segment that overruns by one AS", &[2, 2, 0, 0, 0, 1], Withdrawn),
            value("a segment that claims 255 ASes", &[2, 255, 0, 0, 0, 1], Withdrawn),
            value("numbers of two octets", &[2, 1, 0xfd, 0xe8], Withdrawn),
            value("AS 0 (RFC 7607 §2)", &[2, 1, 0, 0, 0, 0], Withdrawn),
            value("AS 0 at its end", &[2, 2, 0, 0, 0, 1, 0, 0, 0, 0], Withdrawn),
            value("AS 0 in a set", &[1, 1, 0, 0, 0, 0], Withdrawn),
        ],
        // Of one octet more a segment cannot even have a header: "underrun".
        ..attribute(
            "AS_PATH",
            2,
            WELL_KNOWN,
            "RFC 7606 §7.2",
            [None, W, W],
            &[2, 2, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe7],
            |all| all.as_path = Some(sequence(&[65000, 64999])),
        )
    },
    Attribute {
        other: &[10, 77, 0, 2],
        values: &[
            // RFC 4271 §6.3: a valid address of a host
            value("0.0.0.0", &[0; 4], Withdrawn),
            value("a multicast address", &[224, 0, 0, 1], Withdrawn),
            value("a loopback address", &[127, 0, 0, 1], Withdrawn),
            value("255.255.255.255", &[255; 4], Withdrawn),
            value("of IPv6", &[0x20; 16], Withdrawn),
        ],
        ..attribute("NEXT_HOP", 3, WELL_KNOWN, "RFC 7606 §7.3", [W, W, W], &[10, 1, 1, 0], |all| {
            all.next_hop = Some([10, 1, 1, 0].into())
        })
    },
];

const OPTIONAL_ONES: &[Attribute] = &[
    Attribute {
        other: &[0, 0, 0, 8],
        values: &[value("of 8 octets", &[0; 8], Withdrawn)],
        ..attribute(
            "MULTI_EXIT_DISC",
            4,
            OPTIONAL,
            "RFC 7606 §7.4",
            [W, W, W],
            &[0, 0, 0, 7],
            |all| all.med = Some(7),
        )
    },
    Attribute {
        senders: &[Internal],
        other: &[0, 0, 0, 151],
        values: &[value("of 8 octets", &[0; 8], Withdrawn)],
        ..attribute(
            "LOCAL_PREF",
            5,
            WELL_KNOWN,
            "RFC 7606 §7.5",
            [W, W, W],
            &[0, 0, 0, 150],
            |all| all.local_pref = Some(150),
        )
    },
    attribute("ATOMIC_AGGREGATE", 6, WELL_KNOWN, "RFC 7606 §7.6", [None, None, D], &[], nothing),
    Attribute {
        not_for: &[TwoOctets],
        values: &[
            value("with a number of two octets", &[0xfd, 0xe8, 192, 0, 2, 1], Discarded),
            value("twice as long", &[1; 16], Discarded),
            value("AS 0 (RFC 7607 §2)", &[0, 0, 0, 0, 192, 0, 2, 1], Discarded),
        ],
        ..attribute(
            "AGGREGATOR",
            7,
            TRANSITIVE,
            "RFC 7606 §7.7",
            [D, D, D],
            &[0, 0, 0xfd, 0xe8, 192, 0, 2, 1],
            nothing,
        )
    },
    Attribute {
        other: &[0xfd, 0xe8, 0, 101],
        values: &[
            odd("two of them", &[0xff, 0xff, 0, 0, 0xfd, 0xe8, 0, 100], |all| {
                all.communities = [Community(0xfde8_0064), Community(0xffff_0000)].into();
            }),
            odd("the same twice", &[0, 0, 0, 1, 0, 0, 0, 1], |all| {
                all.communities = [Community(1)].into();
            }),
            value("of one and a half", &[1; 6], Withdrawn),
        ],
        ..attribute(
            "COMMUNITIES",
            8,
            TRANSITIVE,
            "RFC 7606 §7.8",
            [W, W, W],
            &[0xfd, 0xe8, 0, 100],
            |all| all.communities = [Community(0xfde8_0064)].into(),
        )
    },
    Attribute {
        senders: &[Internal],
        values: &[value("of 8 octets", &[1; 8], Withdrawn)],
        ..attribute(
            "ORIGINATOR_ID",
            9,
            OPTIONAL,
            "RFC 7606 §7.9",
            [W, W, W],
            &[192, 0, 2, 1],
            nothing,
        )
    },
    Attribute {
        senders: &[Internal],
        values: &[
            odd("of two clusters", &[192, 0, 2, 1, 192, 0, 2, 2], nothing),
            value("of one and a half", &[1; 6], Withdrawn),
        ],
        ..attribute(
            "CLUSTER_LIST",
            10,
            OPTIONAL,
            "RFC 7606 §7.10",
            [W, W, W],
            &[192, 0, 2, 1],
            nothing,
        )
    },
    Attribute {
        other: &[0, 2, 0xfd, 0xe8, 0, 0, 0, 101],
        values: &[
            // RFC 7606 §7.14: no error
            odd("of a type that nobody knows", &[0x99, 1, 2, 3, 4, 5, 6, 7], |all| {
                all.extended_communities = [ExtendedCommunity(0x9901_0203_0405_0607)].into();
            }),
            value("of one and a half", &[0; 12], Withdrawn),
        ],
        ..attribute(
            "EXTENDED_COMMUNITIES",
            16,
            TRANSITIVE,
            "RFC 7606 §7.14",
            [W, W, W],
            &[0, 2, 0xfd, 0xe8, 0, 0, 0, 100],
            |all| all.extended_communities = [ExtendedCommunity(0x0002_fde8_0000_0064)].into(),
        )
    },
    Attribute {
        other: &[0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9],
        values: &[
            // RFC 8092 §3: to be tolerated
            odd("the same twice", &[0; 24], |all| {
                let zero = LargeCommunity { global: 0, local1: 0, local2: 0 };
                all.large_communities = [zero].into();
            }),
            value("of one and a half", &[0; 18], Withdrawn),
        ],
        ..attribute(
            "LARGE_COMMUNITY",
            32,
            TRANSITIVE,
            "RFC 8092 §6",
            [W, W, W],
            &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
            |all| {
                let one = LargeCommunity { global: 1, local1: 2, local2: 3 };
                all.large_communities = [one].into();
            },
        )
    },
    Attribute {
        values: &[value("of 8 octets", &[0; 8], Withdrawn)],
        ..attribute(
            "ONLY_TO_CUSTOMER",
            35,
            TRANSITIVE,
            "RFC 9234 §5",
            [W, W, W],
            &[0, 0, 0xfd, 0xe8],
            nothing,
        )
    },
];

/// For IPv6, its next hop the address of the hostile router, and the prefix of the row.
pub(super) const REACH: &[u8] = &[
    0, 2, 1, 16, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, // reserved
    64, 0x20, 1, 0x0d, 0xb8, 0, 0x76, 0x76, 0x06,
];
pub(super) const UNREACH: &[u8] = &[0, 2, 1, 64, 0x20, 1, 0x0d, 0xb8, 0, 0x76, 0x76, 0x06];

/// The octet too many is the length of a prefix that is not there. RFC 4760 §7 has the subcode.
const MULTIPROTOCOL: &[Attribute] = &[
    Attribute {
        other: &[0, 25, 70, 4, 192, 0, 2, 1, 0],
        flags: [Reset(9); 3],
        second: Reset(1),
        values: &[
            value("no next hop", &[0, 2, 1, 0, 0, 0], Reset(9)),
            value("an IPv4 next hop", &[0, 2, 1, 4, 192, 0, 2, 9, 0, 0], Reset(9)),
            value("a next hop of 15 octets", &next_hop_of::<21>(15), Reset(9)),
            value("a next hop of 17 octets", &next_hop_of::<23>(17), Reset(9)),
            value("a next hop of 24 octets", &next_hop_of::<30>(24), Reset(9)),
            value("a next hop of 33 octets", &next_hop_of::<39>(33), Reset(9)),
            value("a next hop that overruns", &next_hop_of::<22>(200), Reset(9)),
            value("nothing behind the next hop", &next_hop_of::<20>(16), Reset(9)),
            value("an IPv6 next hop for IPv4 (RFC 8950)", &FOUR_BY_SIX, Reset(9)),
            value("a family and no more", &[0, 2, 1], Reset(9)),
            value("a prefix of 129 bits", &with_prefix::<22>(129), Reset(9)),
            value("a prefix of 255 bits", &with_prefix::<40>(255), Reset(9)),
            // RFC 4760 §5: families that were not offered are not looked into.
            value("flowspec of junk", &[0, 1, 133, 255, 255, 255], Ignored),
            value("EVPN of junk", &[0, 25, 70, 255, 0, 1, 2, 3], Ignored),
            value("BGP-LS of junk", &[0x40, 4, 71, 0, 0, 255], Ignored),
            value("VPNv4 of nothing", &[0, 1, 128], Ignored),
            value("a family that does not exist", &[255, 255, 255, 9, 9, 9, 9], Ignored),
        ],
        ..attribute(
            "MP_REACH_NLRI",
            14,
            OPTIONAL,
            "RFC 7606 §5.3, §7.11",
            [R, R, R],
            REACH,
            nothing,
        )
    },
    Attribute {
        other: &[0, 25, 70],
        flags: [Reset(9); 3],
        second: Reset(1),
        values: &[
            value("an AFI and no more", &[0, 2], Reset(9)),
            value("a prefix of 129 bits", &[0, 2, 1, 129], Reset(9)),
            value("flowspec of junk", &[0, 1, 133, 255, 255, 255], Ignored),
            value("EVPN of nothing", &[0, 25, 70], Ignored),
            value("a family that does not exist", &[255, 255, 255, 9, 9, 9, 9], Ignored),
        ],
        ..attribute(
            "MP_UNREACH_NLRI",
            15,
            OPTIONAL,
            "RFC 7606 §5.3, §7.12",
            [R, R, R],
            UNREACH,
            nothing,
        )
    },
];

/// Four and two octets of AS number beside each other (RFC 6793).
const OF_OLD_SPEAKERS: &[Attribute] = &[
    Attribute {
        not_for: &[External, Internal],
        values: &[
            odd("of no AS", &[], |all| all.as_path = Some(AsPath(vec![]))),
            value("numbers of four octets", &[2, 1, 0, 0, 0xfd, 0xe8], Withdrawn),
            value("AS 0 (RFC 7607 §2)", &[2, 1, 0, 0], Withdrawn),
            value("a segment of no AS", &[2, 0], Withdrawn),
            value("a segment of type 9", &[9, 1, 0, 1], Withdrawn),
        ],
        ..attribute(
            "AS_PATH of two octets",
            2,
            WELL_KNOWN,
            "RFC 7606 §7.2",
            [None, W, W],
            &[2, 2, 0xfd, 0xe8, 0xfd, 0xe7],
            |all| all.as_path = Some(sequence(&[65000, 64999])),
        )
    },
    Attribute {
        not_for: &[External, Internal],
        values: &[
            value("with a number of four octets", &[0, 0, 0xfd, 0xe8, 192, 0, 2, 1], Discarded),
            value("AS 0 (RFC 7607 §2)", &[0, 0, 192, 0, 2, 1], Discarded),
        ],
        ..attribute(
            "AGGREGATOR of two octets",
            7,
            TRANSITIVE,
            "RFC 7606 §7.7",
            [D, D, D],
            &[0xfd, 0xe8, 192, 0, 2, 1],
            nothing,
        )
    },
    Attribute {
        senders: &[TwoOctets],
        values: &[
            odd("of two segments", &[2, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1], nothing),
            value("a segment of no AS", &[2, 0], Discarded),
            value("a segment of type 9", &[9, 1, 0, 1, 0, 0], Discarded),
            value("a segment that overruns", &[2, 2, 0, 1, 0, 0], Discarded),
            // Of what is discarded this is but the segment; nothing here looks at the rest.
            value("AS_CONFED_SEQUENCE", &[3, 1, 0, 1, 0, 0], Discarded),
            value("AS 0 (RFC 7607 §2)", &[2, 1, 0, 0, 0, 0], Discarded),
        ],
        ..attribute(
            "AS4_PATH",
            17,
            TRANSITIVE,
            "RFC 6793 §6",
            [D, D, D],
            &[2, 1, 0, 1, 0, 0],
            nothing,
        )
    },
    Attribute {
        senders: &[TwoOctets],
        values: &[value("AS 0 (RFC 7607 §2)", &[0, 0, 0, 0, 192, 0, 2, 1], Discarded)],
        ..attribute(
            "AS4_AGGREGATOR",
            18,
            TRANSITIVE,
            "RFC 6793 §6",
            [D, D, D],
            &[0, 1, 0, 0, 192, 0, 2, 1],
            nothing,
        )
    },
];

const UNKNOWN: &[Attribute] = &[
    unknown("PMSI_TUNNEL", 22, TRANSITIVE, "RFC 4271 §5", &[0; 5]),
    unknown("Tunnel Encapsulation", 23, TRANSITIVE, "RFC 4271 §5, RFC 9012 §13", &[0xff; 40]),
    unknown("Traffic Engineering", 24, OPTIONAL, "RFC 4271 §5", &[0xff; 36]),
    unknown("IPv6 extended communities", 25, TRANSITIVE, "RFC 4271 §5", &[0; 20]),
    unknown("AIGP", 26, OPTIONAL, "RFC 7311 §3.3", &[1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1]),
    unknown("BGP-LS", 29, OPTIONAL, "RFC 4271 §5, RFC 9552 §5.3", &[0xff; 40]),
    unknown("BGPsec_Path", 33, OPTIONAL, "RFC 4271 §5", &[0xff; 40]),
    unknown("BGP Prefix-SID, all zero", 40, TRANSITIVE, "RFC 4271 §5, RFC 8669 §6", &[0; 30]),
    unknown("ATTR_SET", 128, TRANSITIVE, "RFC 4271 §5", &[0xff; 40]),
    unknown("an unknown transitive one", 200, TRANSITIVE, "RFC 4271 §5", &[1, 2, 3]),
    unknown("an unknown non-transitive one", 201, OPTIONAL, "RFC 4271 §5", &[1, 2, 3]),
    unknown("the reserved 0", 0, TRANSITIVE, "RFC 4271 §5", &[1]),
    unknown("the reserved 255", 255, OPTIONAL, "RFC 4271 §5", &[1]),
];

fn sequence(asns: &[u32]) -> AsPath {
    AsPath(vec![Segment::Sequence(asns.iter().copied().map(Asn).collect())])
}

/// An MP_REACH_NLRI of IPv6 with so many octets, whose next hop claims to have `length`.
const fn next_hop_of<const N: usize>(length: u8) -> [u8; N] {
    let mut octets = [0; N];
    [octets[1], octets[2], octets[3]] = [2, 1, length];
    octets
}

/// An MP_REACH_NLRI of IPv6 with so many octets, and a prefix of so many bits.
const fn with_prefix<const N: usize>(bits: u8) -> [u8; N] {
    let mut octets = next_hop_of::<N>(16);
    octets[21] = bits;
    octets
}

/// 0.0.0.0/0 by 2001:db8:1:1::
const FOUR_BY_SIX: [u8; 22] = {
    let mut octets = next_hop_of::<22>(16);
    [octets[1], octets[4], octets[5]] = [1, 0x20, 1];
    octets
};
