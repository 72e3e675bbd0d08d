//! What the fuzzer runs (`fuzz/`), with its corpus and with every message of these tests: neither a
//! nightly toolchain nor a daemon is needed to see whether any of it breaks what the targets assert.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::connection::State;
use super::message::{
    OPTIONAL, Open, PREFIX, attribute, capabilities, keepalive, mandatory, message, update,
};
use super::rfc7606::{self, Sender};
use super::{fsm, header, notification, open};

#[path = "../../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "in fuzz/ it is a library, which says so what does not hold"
)]
mod targets;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 5] = [
    ("message", targets::message),
    ("open", targets::open),
    ("update", targets::update),
    ("connection", targets::connection),
    ("bfd", targets::bfd),
];

/// What routers say to each other, see `golden/capture.py` there; whether AS numbers have four octets,
/// and whether both are in one AS.
const GOLDEN: [(&str, bool, bool); 6] = [
    (include_str!("../../src/bgp/tests/golden/bird-external.txt"), true, false),
    (include_str!("../../src/bgp/tests/golden/bird-internal.txt"), true, true),
    (include_str!("../../src/bgp/tests/golden/bird-two-octets.txt"), false, false),
    (include_str!("../../src/bgp/tests/golden/frr-external.txt"), true, false),
    (include_str!("../../src/bgp/tests/golden/frr-two-octets.txt"), false, false),
    (include_str!("../../src/bgp/tests/golden/gobgp-internal.txt"), true, true),
];

/// Inputs by the names of their targets.
type Inputs = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn add(inputs: &mut Inputs, target: &'static str, parts: &[&[u8]]) {
    inputs.entry(target).or_default().push(parts.concat());
}

/// One message in a state, as input of every target that it is one for.
fn add_message(inputs: &mut Inputs, state: State, octets: &[u8]) {
    let is_up = u8::from(state == State::Established) << 2;
    for agreed in [0, 3] {
        add(inputs, "message", &[&[is_up | agreed, 7], octets]);
    }
    if let Some((header, body)) = octets.split_first_chunk::<19>() {
        match header {
            [.., 1] => {
                add(inputs, "open", &[&EXTERNAL, body]);
                add(inputs, "open", &[&CUSTOMER, body]);
            }
            [.., 2] => {
                [1, 0, 7].iter().for_each(|agreed| add(inputs, "update", &[&[*agreed], body]))
            }
            _ => {}
        }
    }
    let before: &[u8] = match state {
        State::OpenSent => &[],
        State::OpenConfirm => &COMES_UP[..4],
        State::Established => &COMES_UP,
    };
    for piece in [0, 14] {
        let script = [&BEGIN, before, &said(piece, octets), &SAYS_AND_WAITS];
        add(inputs, "connection", &script);
    }
}

/// A router in another AS, a hold time of 90 s, no role.
const EXTERNAL: [u8; 2] = [8, 5];
/// The same, with a role.
const CUSTOMER: [u8; 2] = [8, 3];

// Steps of a script, see `Stage::step` in fuzz/src/connection.rs.
/// The same; three routes are wanted, all of them are there, and TCP comes about.
const BEGIN: [u8; 9] = [0, 28, 15, 0, 2, 0, 18, 0, 2];
/// The right OPEN, a KEEPALIVE, and our routes go out.
const COMES_UP: [u8; 7] = [7, 0, 0xff, 90, 8, 0, 13];
/// Our answer goes out, and half a minute passes.
const SAYS_AND_WAITS: [u8; 3] = [13, 1, 30];

/// The router says this, in pieces of half that size.
fn said(piece: u8, octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).expect("it fits into one step").to_be_bytes();
    [&[5, piece][..], &length, octets].concat()
}

/// A message of each type and of each length with which something begins or ends, full of ones.
fn extremes() -> Vec<Vec<u8>> {
    let lengths = [19, 20, 21, 22, 23, 24, 28, 29, 4077, 4096, 4097, 65_535];
    let of_kind = |kind| lengths.iter().map(move |length| message(kind, &vec![1; length - 19]));
    (1..=5).flat_map(of_kind).collect()
}

/// A prefix in MP_REACH_NLRI of either family, with next hops of all lengths, right and odd, alone and
/// beside one in NLRI (RFC 4760 §3, RFC 2545 §3, RFC 8950 §4).
fn reachable() -> Vec<Vec<u8>> {
    let [global, local, none] = [[0x20, 1, 0xd, 0xb8], [0xfe, 0x80, 0, 0], [0; 4]]
        .map(|first| [&first[..], &[0; 11], &[u8::from(first != [0; 4])]].concat());
    let mut next_hops = vec![vec![10, 0, 0, 1], vec![0; 4], vec![127, 0, 0, 1], vec![224, 0, 0, 5]];
    next_hops.extend([&global, &local, &none].map(Clone::clone));
    next_hops.extend([&global, &local, &none].map(|first| [&first[..], &local].concat()));
    let of = |afi, next_hop: &[u8], nlri| {
        let length = u8::try_from(next_hop.len()).expect("it is short");
        let value = [&[0, afi, 1, length], next_hop, &[0, 8, 10]].concat();
        update(&[], &[mandatory(), attribute(OPTIONAL, 14, &value)].concat(), nlri)
    };
    let each = next_hops.iter().flat_map(|next_hop| {
        [1, 2].into_iter().flat_map(move |afi| [of(afi, next_hop, &[]), of(afi, next_hop, PREFIX)])
    });
    each.collect()
}

/// BFD sessions with one peer each, at all rates, with demand mode and without: they come up, and each of our
/// own steps follows, see `Stage::step` in fuzz/src/bfd/script.rs.
fn bfd_scripts() -> Vec<Vec<u8>> {
    let steps: [&[u8]; 9] = [
        &[1, 9],
        &[2, 1],
        &[3, 15, 6, 0, 0, 11, 0, 0],
        &[10, 0, 2, 0, 7, 0, 9, 0],
        &[10, 0, 5, 1, 0, 100],
        &[11, 0, 1, 50],
        &[12, 1, 1, 20],
        &[9, 6, 9, 0x87, 9, 14],
        &[8, 0, 20, 0, 8, 1, 20, 0, 7, 1, 38, 0, 2, 0],
    ];
    let alone = [15, 4, 5, 15, 1, 40, 15, 2, 0, 14, 7, 8, 0, 15, 1, 0, 1, 3];
    // It is asked to be silent, and is, but for answers; then that is taken back, and it is dead.
    let demanding = [15, 3, 0x40, 15, 4, 5, 15, 5, 30, 15, 6, 0, 1, 20];
    let timers = (0..8).flat_map(|rates| [rates << 1, rates << 1 | 0x40]);
    let each = timers.flat_map(|rates| (0..6).map(move |peer| (peer, rates)));
    let scripts = each.flat_map(|(peer, rates)| {
        let comes_up = [1 << peer, rates, 7, peer, 6, rates << 2, 9, 6];
        steps.iter().map(move |step| [&comes_up[..], step, &alone, &demanding].concat())
    });
    scripts.collect()
}

/// The messages of a file: a name, then lines of octets that are indented.
fn messages(file: &str) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        let Some(digits) = line.strip_prefix("  ") else {
            if !line.is_empty() {
                messages.push(Vec::new());
            }
            continue;
        };
        let pairs = digits.as_bytes().chunks(2);
        let octets = pairs.map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("digits")
        });
        messages.last_mut().expect("a name comes first").extend(octets);
    }
    messages
}

/// Everything these tests and the golden vectors have to say.
fn inputs() -> Inputs {
    let mut inputs = Inputs::new();
    for state in State::ALL {
        let early = header::too_early(state);
        let cases = header::cases().into_iter().chain(early).chain(fsm::unexpected(state));
        let octets: Vec<Vec<u8>> = cases.map(|case| case.octets().to_vec()).collect();
        for octets in octets.iter().chain(&notification::messages()).chain(&extremes()) {
            add_message(&mut inputs, state, octets);
        }
    }
    for case in open::cases() {
        add_message(&mut inputs, State::OpenSent, case.octets());
    }
    for octets in reachable() {
        add_message(&mut inputs, State::Established, &octets);
    }
    // More than one of which is a contradiction (RFC 9234 §4.2)
    let roles: Vec<u8> = (0..80).flat_map(|number| [9, 1, number]).collect();
    add_message(&mut inputs, State::OpenSent, &Open::with(&capabilities(&roles)));
    for case in super::update::cases() {
        add_message(&mut inputs, State::Established, case.octets());
    }
    for (sender, message) in rfc7606::messages() {
        add(&mut inputs, "message", &[&[7, 7], &message]);
        let agreed = match sender {
            Sender::External => 1,
            Sender::Internal => 3,
            Sender::TwoOctets => 0,
        };
        add(&mut inputs, "update", &[&[agreed], &message[19..]]);
    }
    for (file, four_octets, internal) in GOLDEN {
        let messages = messages(file);
        add(&mut inputs, "message", &[&[3, 7], &messages.concat()]);
        let spoken: Vec<u8> = messages.iter().flat_map(|message| said(0, message)).collect();
        add(&mut inputs, "connection", &[&BEGIN, &spoken, &SAYS_AND_WAITS]);
        for message in messages {
            let (header, body) = message.split_first_chunk::<19>().expect("a header");
            match header {
                [.., 1] => add(&mut inputs, "open", &[&EXTERNAL, body]),
                [.., 2] => {
                    let agreed = u8::from(four_octets) | u8::from(internal) << 1;
                    add(&mut inputs, "update", &[&[agreed], body]);
                }
                _ => {}
            }
        }
    }
    let [open, keepalive] = [Open::clean().encode(), keepalive()];
    let whole = [&said(0, &open)[..], &said(0, &keepalive), &SAYS_AND_WAITS].concat();
    add(&mut inputs, "connection", &[&BEGIN, &whole]);
    bfd_scripts().iter().for_each(|script| add(&mut inputs, "bfd", &[script]));
    inputs
}

/// Runs a target; what it has to say about an input with this name, if it does not hold.
fn failure(target: Target, name: &str, input: &[u8]) -> Option<String> {
    let result = std::panic::catch_unwind(|| target(input));
    let said = result.err()?;
    let text = said.downcast_ref::<String>().cloned();
    let text = text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(format!("{name}: {}", text.unwrap_or_default()))
}

/// With UPDATE_CORPUS=1 they are written into the corpus, to be minimized there (CONTRIBUTING.md).
#[test]
fn what_is_sent_here_and_what_routers_say_breaks_nothing_that_the_fuzzer_looks_for() {
    let updates = std::env::var("UPDATE_CORPUS").is_ok();
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        let inputs = inputs().remove(name).expect("inputs for each target");
        assert!(inputs.len() > 50, "{name}: {} inputs", inputs.len());
        for (number, input) in inputs.iter().enumerate() {
            failures.extend(failure(target, &format!("{name} {number}"), input));
            if updates {
                let file = format!("fuzz/corpus/{name}/seed-{number:04}");
                fs::write(file, input).expect("a file of the corpus");
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn the_corpus_of_the_fuzzer_breaks_nothing_that_it_looks_for() {
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(name);
        let files = fs::read_dir(&folder).expect("a corpus for each target");
        let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        assert!(files.len() > 10, "{}: {} files", folder.display(), files.len());
        for file in files {
            let input = fs::read(&file).expect("a file of the corpus");
            failures.extend(failure(target, &file.display().to_string(), &input));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
