//! UPDATEs with one defect each, out of the table of attributes, and those about the rest of the
//! message. Beside the defect each has good attributes and an IPv4 prefix.

use super::Outcome::{self, Accepted, Discarded, Ignored, Reset, Untouched, Withdrawn};
use super::attributes::{self, Attribute, REACH, UNREACH};
use super::{Effect, PREFIX, PREFIX_6, Row, Sender, nothing};
use crate::message::{
    EXTENDED, OPTIONAL, TRANSITIVE, WELL_KNOWN, attribute, next_hop, origin, update,
    update_of_lengths,
};

const PARTIAL: u8 = 0x20;
const UNUSED: u8 = 0x0f;

/// All of them.
pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for sender in Sender::ALL {
        for attribute in attributes::all().filter(|one| !one.not_for.contains(&sender)) {
            rows.extend(Cases { sender, attribute }.all());
        }
        rows.extend(order(sender));
        rows.extend(missing(sender));
        rows.extend(cut_off(sender));
        rows.extend(several(sender));
        rows.extend(nothing_reachable(sender));
        rows.extend(lengths(sender));
        rows.extend(prefixes(sender));
    }
    rows
}

/// ORIGIN, AS_PATH and NEXT_HOP as this sender writes them.
fn mandatory(sender: Sender) -> [Vec<u8>; 3] {
    let path: &[u8] = match sender {
        Sender::External | Sender::Internal => &[2, 1, 0, 0, 0xfd, 0xe8],
        Sender::TwoOctets => &[2, 1, 0xfd, 0xe8],
    };
    [origin(), attribute(WELL_KNOWN, 2, path), next_hop()]
}

/// These attributes with the prefix of the row.
fn row(
    what: &str,
    rfc: &'static str,
    sender: Sender,
    attributes: &[Vec<u8>],
    outcome: Outcome,
) -> Row {
    of_message(what, rfc, sender, update(&[], &attributes.concat(), PREFIX), outcome)
}

fn of_message(
    what: &str,
    rfc: &'static str,
    sender: Sender,
    message: Vec<u8>,
    outcome: Outcome,
) -> Row {
    let (effect, what): (Effect, _) = (nothing, what.to_owned());
    Row { what, rfc, sender, message, outcome, six: Untouched, effect, data: Vec::new() }
}

/// The rows of one attribute from one sender.
struct Cases {
    sender: Sender,
    attribute: &'static Attribute,
}

impl Cases {
    fn all(&self) -> Vec<Row> {
        let mut rows = vec![self.good("as it can be", 0)];
        rows.extend(self.of_flags());
        rows.extend(self.of_lengths());
        rows.extend(
            self.attribute
                .values
                .iter()
                .map(|value| self.with(value.what, 0, value.octets, value.outcome, value.effect)),
        );
        rows.extend(self.overrunning());
        rows.extend(self.twice());
        rows
    }

    /// RFC 7606 §3 c is about two of the flags; the others do not matter.
    fn of_flags(&self) -> Vec<Row> {
        let Attribute { kind, good, flags, .. } = *self.attribute;
        let wrong = |what, bits, outcome| self.with(what, bits, good, outcome, nothing);
        assert!(kind & !TRANSITIVE == 0, "no other bits");
        vec![
            wrong("a wrong Optional bit", OPTIONAL, flags[0]),
            wrong("a wrong Transitive bit", WELL_KNOWN, flags[1]),
            wrong("both bits wrong", TRANSITIVE, flags[2]),
            self.good("the Partial bit", PARTIAL),
            self.good("all unused bits", UNUSED),
            self.good("a length of two octets", EXTENDED),
        ]
    }

    fn of_lengths(&self) -> Vec<Row> {
        let Attribute { good, lengths: [none, short, long], .. } = *self.attribute;
        let more = [good, &[0xff]].concat();
        let fewer = good.get(..good.len().saturating_sub(1)).unwrap_or_default();
        let cases = [
            ("no octets", 0, &[][..], none),
            ("no octets, by a length of two", EXTENDED, &[], none),
            ("an octet too few", 0, fewer, short),
            ("an octet too many", 0, &more, long),
        ];
        let rows = cases.into_iter().filter_map(|(what, flags, octets, outcome)| {
            Some(self.with(what, flags, octets, outcome?, nothing))
        });
        rows.collect()
    }

    /// RFC 7606 §4: whatever it is, and whoever sends it. It stands last, where it overruns.
    fn overrunning(&self) -> Vec<Row> {
        let Attribute { code, kind, good, .. } = *self.attribute;
        let length = u8::try_from(good.len()).expect("they are short");
        let by_one = [&[kind, code, length + 1], good].concat();
        let by_far = [&[kind | EXTENDED, code, 0xff, 0xff], good].concat();
        let cases = [("an overrun by one", by_one), ("an overrun by thousands", by_far)];
        let rows = cases.map(|(what, octets)| {
            let all = [self.others(), octets].concat();
            row(&self.name(what), "RFC 7606 §4", self.sender, &[all], Withdrawn)
        });
        rows.to_vec()
    }

    /// RFC 7606 §3 g: the first one counts, and no matter what is wrong with the second.
    fn twice(&self) -> Vec<Row> {
        let Attribute { code, kind, good, other, second, .. } = *self.attribute;
        let junk = [other, &[0xff; 3]].concat();
        let cases = [
            ("a second time", attribute(kind, code, good)),
            ("another one a second time", attribute(kind, code, other)),
            ("junk a second time", attribute(kind, code, &junk)),
            ("other flags a second time", attribute(kind ^ TRANSITIVE, code, other)),
        ];
        let rows = cases.map(|(what, again)| {
            let all = [attribute(kind, code, good), self.others(), again].concat();
            let mut row = row(&self.name(what), "RFC 7606 §3 g", self.sender, &[all], second);
            row.effect = self.effect();
            row
        });
        rows.to_vec()
    }

    /// The attribute as it can be, with these flags beside its own.
    fn good(&self, what: &str, flags: u8) -> Row {
        let Attribute { good, outcome, .. } = *self.attribute;
        self.with(what, flags, good, outcome, self.effect())
    }

    /// The attribute with these flags turned over, and this value.
    fn with(&self, what: &str, flags: u8, value: &[u8], outcome: Outcome, effect: Effect) -> Row {
        let Attribute { code, kind, rfc, .. } = *self.attribute;
        let octets = attribute(kind ^ flags, code, value);
        let all = [self.others(), octets.clone()].concat();
        let (outcome, effect) =
            if self.is_for_us() { (outcome, effect) } else { (Ignored, nothing as Effect) };
        let mut row = row(&self.name(what), rfc, self.sender, &[all], outcome);
        row.effect = effect;
        row.six = match (code, outcome) {
            (14, Accepted) => Accepted,
            (15, Accepted) => Withdrawn,
            _ => Untouched,
        };
        if outcome == Reset(9) {
            row.data = octets; // RFC 4271 §6.3: the attribute
        }
        row
    }

    fn effect(&self) -> Effect {
        if self.is_for_us() { self.attribute.effect } else { nothing }
    }

    fn is_for_us(&self) -> bool {
        self.attribute.senders.contains(&self.sender)
    }

    /// The mandatory ones but for this one.
    fn others(&self) -> Vec<u8> {
        let others = (1..).zip(mandatory(self.sender));
        others.filter(|(code, _)| *code != self.attribute.code).flat_map(|(_, all)| all).collect()
    }

    fn name(&self, what: &str) -> String {
        format!("{}: {what}", self.attribute.name)
    }
}

fn reach() -> Vec<u8> {
    attribute(OPTIONAL, 14, REACH)
}

fn as4_path() -> Vec<u8> {
    attribute(TRANSITIVE, 17, &[2, 1, 0, 0, 0xfd, 0xe8])
}

fn unreach() -> Vec<u8> {
    attribute(OPTIONAL, 15, UNREACH)
}

/// RFC 4271 §5 asks receivers to take any order, RFC 7606 §5.1 any place for what has prefixes, and
/// any of them together.
fn order(sender: Sender) -> Vec<Row> {
    let [origin, path, hop] = mandatory(sender);
    let med = attribute(OPTIONAL, 4, &[0, 0, 0, 7]);
    let rfc = "RFC 4271 §5, RFC 7606 §5.1";
    let case = |what, attributes: &[&Vec<u8>], six| {
        let attributes: Vec<_> = attributes.iter().map(|one| (*one).clone()).collect();
        let mut row = row(what, rfc, sender, &attributes, Accepted);
        row.effect = |all| all.med = Some(7);
        row.six = six;
        row
    };
    let (reach, unreach) = (reach(), unreach());
    let other = attribute(OPTIONAL, 15, &[0, 2, 1, 16, 0x20, 2]);
    let all = [origin.clone(), path.clone(), reach.clone()].concat();
    let six = |what, rfc, attributes: &[u8]| {
        let mut row = of_message(what, rfc, sender, update(&[], attributes, &[]), Untouched);
        row.six = Accepted;
        row
    };
    let left_out = "NEXT_HOP left out beside MP_REACH_NLRI alone";
    let superfluous = "NEXT_HOP beside MP_REACH_NLRI alone";
    let old = [as4_path(), origin.clone(), path.clone(), hop.clone()];
    let at_once = update(PREFIX, &mandatory(sender).concat(), PREFIX);
    vec![
        case("descending", &[&med, &hop, &path, &origin], Untouched),
        case("MP_REACH_NLRI first", &[&reach, &origin, &path, &hop, &med], Accepted),
        case("MP_REACH_NLRI in the middle", &[&origin, &path, &reach, &hop, &med], Accepted),
        case("MP_REACH_NLRI last", &[&origin, &path, &hop, &med, &reach], Accepted),
        case("MP_UNREACH_NLRI first", &[&unreach, &origin, &path, &hop, &med], Withdrawn),
        case("MP_UNREACH_NLRI last", &[&origin, &path, &hop, &med, &unreach], Withdrawn),
        case("both", &[&other, &origin, &path, &hop, &med, &reach], Accepted),
        six(left_out, "RFC 4760 §3, RFC 7606 §3 d", &all),
        six(superfluous, "RFC 4760 §3: it is ignored", &[all.clone(), hop.clone()].concat()),
        row("AS4_PATH before AS_PATH", "RFC 6793 §4.2.3", sender, &old, Accepted),
        of_message("withdrawn and announced", "RFC 4271 §4.3", sender, at_once, Accepted),
    ]
}

/// RFC 7606 §3 d, of what is announced in either place.
fn missing(sender: Sender) -> Vec<Row> {
    let rfc = "RFC 7606 §3 d";
    let [origin, path, hop] = mandatory(sender);
    let unknown = attribute(TRANSITIVE, 200, &[1]);
    let case = |what, attributes: &[Vec<u8>]| row(what, rfc, sender, attributes, Withdrawn);
    let six = |what, attributes: &[Vec<u8>]| {
        let message = update(&[], &attributes.concat(), &[]);
        let mut row = of_message(what, rfc, sender, message, Untouched);
        row.six = Withdrawn;
        row
    };
    let withdrawal = update(PREFIX, &[], &[]);
    // The NLRI has none, and its UPDATE is withdrawn as a whole.
    let mut beside =
        case("no NEXT_HOP beside MP_REACH_NLRI", &[reach(), origin.clone(), path.clone()]);
    beside.six = Withdrawn;
    vec![
        case("no ORIGIN", &[path.clone(), hop.clone()]),
        case("no AS_PATH", &[origin.clone(), hop.clone()]),
        case("no NEXT_HOP", &[origin.clone(), path.clone()]),
        beside,
        case("AS4_PATH in place of AS_PATH", &[as4_path(), origin.clone(), hop.clone()]),
        case("no attributes", &[]),
        case("nothing but an unknown attribute", &[unknown]),
        six("no ORIGIN for IPv6", &[reach(), path]),
        six("no AS_PATH for IPv6", &[reach(), origin]),
        six("nothing else for IPv6", &[reach()]),
        of_message("no attributes for a withdrawal", rfc, sender, withdrawal, Withdrawn),
    ]
}

/// RFC 7606 §4: too few octets for another attribute.
fn cut_off(sender: Sender) -> Vec<Row> {
    let ends: [(&str, &[u8]); 4] = [
        ("flags and no more", &[0x40]),
        ("flags and type and no more", &[0x40, 1]),
        ("half a length of two octets", &[0xd0, 8, 0]),
        ("0 and no more", &[0]),
    ];
    let rows = ends.map(|(what, end)| {
        let all = [mandatory(sender).concat(), end.to_vec()];
        row(what, "RFC 7606 §4", sender, &all, Withdrawn)
    });
    rows.to_vec()
}

/// RFC 7606 §3 h: the strongest approach.
fn several(sender: Sender) -> Vec<Row> {
    let discarded = attribute(WELL_KNOWN, 6, &[0]);
    let bad_med = attribute(OPTIONAL, 4, &[]);
    let bad_unreach = attribute(OPTIONAL, 15, &[0]);
    let overrun = vec![TRANSITIVE, 8, 200];
    let case = |what, wrong: &[&Vec<u8>], outcome| {
        let wrong = wrong.iter().map(|one| (*one).clone());
        let all: Vec<_> = mandatory(sender).into_iter().chain(wrong).collect();
        let mut row = row(what, "RFC 7606 §3 h", sender, &all, outcome);
        if outcome == Reset(9) {
            row.data.clone_from(&bad_unreach);
        }
        row
    };
    vec![
        case("two that are discarded", &[&discarded, &discarded], Discarded),
        case("discard and treat-as-withdraw", &[&discarded, &bad_med], Withdrawn),
        case("treat-as-withdraw and discard", &[&bad_med, &discarded], Withdrawn),
        case("discard and overrun", &[&discarded, &overrun], Withdrawn),
        case("treat-as-withdraw and reset", &[&bad_med, &bad_unreach], Reset(9)),
        case("reset and treat-as-withdraw", &[&bad_unreach, &bad_med], Reset(9)),
        case("reset and overrun", &[&bad_unreach, &overrun], Reset(9)),
    ]
}

/// RFC 7606 §5.2: there is nothing that could be treated as withdrawn. What is only discarded does
/// not matter.
fn nothing_reachable(sender: Sender) -> Vec<Row> {
    let [_, path, hop] = mandatory(sender);
    let bad_origin = [attribute(WELL_KNOWN, 1, &[9]), path, hop].concat();
    let empty_reach = attribute(OPTIONAL, 14, &REACH[..REACH.len() - PREFIX_6.len()]);
    let evpn = attribute(OPTIONAL, 14, &[0, 25, 70, 4, 192, 0, 2, 1, 0, 1, 2, 3]);
    let overrun = [&[OPTIONAL, 15, 200][..], UNREACH].concat();
    let rfc = "RFC 7606 §5.2";
    let case = |what, withdrawn: &[u8], attributes: &[&[u8]], outcome| {
        of_message(what, rfc, sender, update(withdrawn, &attributes.concat(), &[]), outcome)
    };
    let reset = Reset(1);
    vec![
        case("a bad ORIGIN and no prefixes", &[], &[&bad_origin], reset),
        case("a bad ORIGIN and a withdrawal", PREFIX, &[&bad_origin], reset),
        case("a bad ORIGIN and MP_UNREACH_NLRI", &[], &[&unreach(), &bad_origin], reset),
        case("a bad ORIGIN and an empty MP_REACH_NLRI", &[], &[&empty_reach, &bad_origin], reset),
        case("an overrun where the prefixes are", &[], &[&overrun], reset),
        case("an unknown well-known attribute alone", &[], &[&[WELL_KNOWN, 99, 0]], reset),
        // A family that was not offered has prefixes, which are nobody's here.
        case("a bad ORIGIN and EVPN", &[], &[&evpn, &bad_origin], Untouched),
        case("a discarded attribute and no prefixes", &[], &[&[WELL_KNOWN, 6, 1, 0]], Untouched),
        case("no prefixes at all", &[], &[&mandatory(sender).concat()], Untouched),
    ]
}

/// RFC 7606 §3 b: the parts of the message cannot be told apart.
fn lengths(sender: Sender) -> Vec<Row> {
    let all = mandatory(sender).concat();
    let off = |excess| update_of_lengths(&[], &all, &[], excess);
    let empty = |excess| update_of_lengths(&[], &[], &[], excess);
    let rows = [
        ("withdrawn routes that overrun by thousands", off([60_000, 0])),
        ("withdrawn routes of 65535 octets", off([65_535, 0])),
        ("withdrawn routes that overrun by one", empty([3, 0])),
        ("withdrawn routes that take half of the next length", empty([1, 0])),
        ("attributes that overrun by one", off([0, 1])),
        ("attributes that overrun by thousands", off([0, 60_000])),
    ];
    let rfc = "RFC 7606 §3 b";
    rows.map(|(what, message)| of_message(what, rfc, sender, message, Reset(1))).to_vec()
}

/// RFC 7606 §3 i and j, §5.3: what cannot be read cannot be withdrawn.
fn prefixes(sender: Sender) -> Vec<Row> {
    let wrong: [(&str, &[u8]); 5] = [
        ("a prefix of 33 bits", &[33, 100, 100, 0, 0, 0]),
        ("a prefix of 255 bits", &[255, 1]),
        ("a prefix of which an octet is missing", &[24, 100, 100]),
        ("a length and no prefix", &[8]),
        ("a good prefix and half a one", &[8, 100, 16, 100]),
    ];
    let rfc = "RFC 7606 §3 i, j, §5.3";
    let all = mandatory(sender).concat();
    let rows = wrong.into_iter().flat_map(|(what, octets)| {
        let announced = update(&[], &all, octets);
        let withdrawn = update(octets, &[], &[]);
        [
            of_message(what, rfc, sender, announced, Reset(10)),
            of_message(&format!("withdrawn: {what}"), rfc, sender, withdrawn, Reset(10)),
        ]
    });
    rows.collect()
}
