//! What is a good answer over DNS, message by message.
use domain::base::MessageBuilder;
use domain::base::iana::Rcode;
use domain::rdata::{A, Cname};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::check::dns::question::Heard;
use crate::check::dns::{Expected, Flag, Question};

const ID: u16 = 0x1234;

fn question(text: &str) -> Question {
    text.parse().expect("a question")
}

/// NOERROR and any record.
fn anything() -> Expected {
    Expected { rcode: Rcode::NOERROR, flags: Vec::new(), answers: None }
}

/// An answer to the question about the addresses of example.com, with these.
fn answer(rcode: Rcode, addresses: &[[u8; 4]]) -> Vec<u8> {
    let asked = question("example.com. A").message(ID, &anything());
    let asked = domain::base::Message::from_octets(asked).expect("a message");
    let name = || "example.com".parse::<domain::base::Name<Vec<u8>>>().expect("a name");
    let mut answer = MessageBuilder::new_vec().start_answer(&asked, rcode).expect("room");
    let alias: domain::base::Name<Vec<u8>> = "a.example".parse().expect("a name");
    answer.push((name(), 60, Cname::new(alias.clone()))).expect("room");
    for [a, b, c, d] in addresses {
        answer.push((alias.clone(), 60, A::from_octets(*a, *b, *c, *d))).expect("room");
    }
    answer.finish()
}

fn judge(octets: &[u8], expected: &Expected) -> Result<(), String> {
    match question("Example.COM A").judge(ID, octets, expected) {
        Heard::Answer(result) => result,
        heard @ (Heard::Other | Heard::Truncated) => panic!("{heard:?}"),
    }
}

fn failed(text: &str) -> Result<(), String> {
    Err(text.into())
}

#[test]
fn a_question_is_written_as_it_is_asked() {
    for (text, shown) in [
        ("example.com. A", "example.com. A"),
        ("example.com aaaa", "example.com. AAAA"),
        ("  .   SOA ", ". SOA"),
        ("a\\046b.example. TYPE65280", "a\\.b.example. TYPE65280"),
    ] {
        assert_eq!(question(text).to_string(), shown);
    }
    for text in ["", "example.com.", "example.com. A A", "a..b A", "x AXFR", "x IXFR", "x NOSUCH"] {
        assert!(text.parse::<Question>().is_err(), "{text}");
    }
}

#[test]
fn what_is_asked_has_our_number_and_wants_recursion() {
    let octets = question("example.com. A").message(ID, &anything());
    assert_eq!(octets[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&octets[12..], b"\x07example\x03com\0\0\x01\0\x01");
    let authentic = Expected { flags: vec![Flag::Ad], ..anything() };
    assert_eq!(question("example.com. A").message(ID, &authentic)[3], 0x20);
}

#[test]
fn an_answer_has_records_of_the_type_whatever_their_names() {
    let one = answer(Rcode::NOERROR, &[[192, 0, 2, 1]]);
    assert_eq!(judge(&one, &anything()), Ok(()));
    let none = answer(Rcode::NOERROR, &[]);
    let text = "there is no record of type A in the answer";
    assert_eq!(judge(&none, &anything()), failed(text));
    let needs_none = Expected { answers: Some(Vec::new()), ..anything() };
    assert_eq!(judge(&none, &needs_none), Ok(()));
    let needs = |text| Expected {
        answers: question("example.com. A").data(text).map(|data| vec![data]),
        ..anything()
    };
    let many =
        answer(Rcode::NOERROR, &[[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3], [192, 0, 2, 4]]);
    assert_eq!(judge(&many, &needs("192.0.2.4")), Ok(()));
    let text = "192.0.2.5 is not in the answer: 192.0.2.1, 192.0.2.2, 192.0.2.3, …";
    assert_eq!(judge(&many, &needs("192.0.2.5")), failed(text));
}

#[test]
fn codes_come_before_flags_and_flags_before_records() {
    let picky = Expected { flags: vec![Flag::Aa], ..anything() };
    let wrong = answer(Rcode::SERVFAIL, &[]);
    assert_eq!(judge(&wrong, &picky), failed("SERVFAIL, expected NOERROR"));
    let mut plain = answer(Rcode::NOERROR, &[]);
    assert_eq!(judge(&plain, &picky), failed("the answer does not have the flag aa"));
    plain[2] |= 4;
    assert_eq!(judge(&plain, &picky), failed("there is no record of type A in the answer"));
    let refused = Expected { rcode: Rcode::REFUSED, ..anything() };
    assert_eq!(judge(&answer(Rcode::REFUSED, &[]), &refused), Ok(()));
}

#[test]
fn what_is_truncated_is_not_judged() {
    let mut octets = answer(Rcode::NOERROR, &[]);
    octets[2] |= 2;
    assert_eq!(question("example.com. A").judge(ID, &octets, &anything()), Heard::Truncated);
}

#[test]
fn what_answers_another_question_is_none_of_ours() {
    let octets = answer(Rcode::NOERROR, &[[192, 0, 2, 1]]);
    let judge = |text: &str, id| question(text).judge(id, &octets, &anything());
    assert_eq!(judge("example.com. A", ID), Heard::Answer(Ok(())));
    assert_eq!(judge("example.com. A", ID + 1), Heard::Other);
    assert_eq!(judge("example.com. AAAA", ID), Heard::Other);
    assert_eq!(judge("example.net. A", ID), Heard::Other);
    let echo = question("example.com. A").message(ID, &anything());
    assert_eq!(question("example.com. A").judge(ID, &echo, &anything()), Heard::Other);
}

#[test]
fn data_is_written_as_in_zone_files() {
    for (query, text, shown) in [
        ("x. MX", "10  Mail.example", "10 Mail.example."),
        ("x. TXT", "\"a  b\" c", "\"a  b\" \"c\""),
        ("x. AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("x. TYPE65280", "\\# 4 c0 000201", "\\# 4 c0 00 02 01"),
    ] {
        let data = question(query).data(text).expect(text);
        assert_eq!(data.to_string(), shown);
    }
    for (query, text) in [
        ("x. A", "192.0.2.256"),
        ("x. A", "192.0.2.1 192.0.2.2"),
        ("x. A", ""),
        ("x. MX", "mail.example."),
        ("x. TYPE65280", "\\# 5 c0000201"),
    ] {
        assert_eq!(question(query).data(text), None, "{query} {text}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_judged(start in vec(any::<u8>(), 0..64), flips in vec((0usize..64, any::<u8>()), 0..8)) {
        let asked = question("example.com. A");
        asked.judge(ID, &start, &anything());
        let mut octets = answer(Rcode::NOERROR, &[[192, 0, 2, 1]]);
        for (index, octet) in flips {
            let index = index % octets.len();
            octets[index] ^= octet;
        }
        asked.judge(ID, &octets, &anything());
        octets.truncate(start.len());
        asked.judge(ID, &octets, &anything());
    }
}
