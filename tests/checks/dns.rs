//! The `dns` probe, against unbound and against servers that do wrong.
#![expect(clippy::indexing_slicing, reason = "a probe asks in a form that is known")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

use super::unbound::Unbound;
use super::{failed, probe};

const SHORT: &str = "interval = \"1s\"\ntimeout = \"200ms\"";

fn ask(server: SocketAddr, query: &str, more: &str) -> Result<(), String> {
    probe(&format!("dns = \"{server}\"\nquery = \"{query}\"\n{more}"))
}

#[test]
fn an_answer_of_the_type_asked_for_is_healthy() {
    let unbound = Unbound::start("types");
    let server = unbound.address;
    for transport in ["udp", "tcp"] {
        let transport = format!("transport = \"{transport}\"");
        for query in ["example.com. A", "EXAMPLE.com MX", "example.com. TXT", "example.com. soa"] {
            assert_eq!(ask(server, query, &transport), Ok(()), "{query} {transport}");
        }
        let none = "there is no record of type AAAA in the answer";
        assert_eq!(ask(server, "example.com. AAAA", &transport), failed(none));
        let answers = format!("{transport}\nanswers = []");
        assert_eq!(ask(server, "example.com. AAAA", &answers), Ok(()));
    }
}

#[test]
fn answers_are_compared_as_records_and_not_as_texts() {
    let unbound = Unbound::start("answers");
    let server = unbound.address;
    for (query, answers) in [
        ("example.com. A", "[\"192.0.2.2\"]"),
        ("example.com. A", "[\"192.0.2.2\", \"192.0.2.1\"]"),
        ("example.com. MX", "[\"10  MAIL.example.com\"]"),
        ("example.com. TXT", "['\"v=spf1 -all\"']"),
    ] {
        assert_eq!(ask(server, query, &format!("answers = {answers}")), Ok(()), "{query}");
    }
    let text = "192.0.2.3 is not in the answer: ";
    let result = ask(server, "example.com. A", "answers = [\"192.0.2.1\", \"192.0.2.3\"]");
    assert!(result.as_ref().is_err_and(|error| error.starts_with(text)), "{result:?}");
    let text = "20 mail.example.com. is not in the answer: 10 mail.example.com.";
    assert_eq!(ask(server, "example.com. MX", "answers = [\"20 mail.example.com\"]"), failed(text));
}

#[test]
fn codes_and_flags_can_be_expected() {
    let unbound = Unbound::start("codes");
    let server = unbound.address;
    let nothing = "nothing.example.com. A";
    assert_eq!(ask(server, nothing, ""), failed("NXDOMAIN, expected NOERROR"));
    assert_eq!(ask(server, nothing, "rcode = \"NXDOMAIN\""), Ok(()));
    assert_eq!(ask(server, "refused.example. A", ""), failed("REFUSED, expected NOERROR"));
    assert_eq!(ask(server, "refused.example. A", "rcode = \"REFUSED\""), Ok(()));
    assert_eq!(ask(server, "example.com. A", "flags = [\"aa\", \"ra\"]"), Ok(()));
    let text = "the answer does not have the flag ad";
    assert_eq!(ask(server, "example.com. A", "flags = [\"ra\", \"ad\"]"), failed(text));
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp() {
    let unbound = Unbound::start("truncated");
    let server = unbound.address;
    let more = "answers = [\"192.0.2.60\"]";
    assert_eq!(ask(server, "many.example.com. A", more), Ok(()));
}

#[test]
fn a_server_that_is_not_there_fails_at_once_and_a_silent_one_at_the_timeout() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    assert_eq!(ask(address, "example.com. A", SHORT), failed("no answer within 200ms"));
    drop(socket);
    let patient = "interval = \"1h\"\ntimeout = \"1h\"";
    let result = ask(address, "example.com. A", patient);
    assert_eq!(result, failed("cannot receive: connection refused"));
    let result = ask(address, "example.com. A", &format!("{patient}\ntransport = \"tcp\""));
    assert_eq!(result, failed("cannot connect: connection refused"));
}

/// Starts a server that makes its datagrams of each question; its address.
fn start(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut octets = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut octets) {
            for answer in answers(octets.get(..length).unwrap_or_default()) {
                let _ = socket.send_to(&answer, client);
            }
        }
    });
    address
}

/// The answer to a question: one record of type A, 192.0.2.1.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[7] = 1;
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    answer
}

/// The same with one octet changed.
fn with(question: &[u8], index: usize, octet: u8) -> Vec<u8> {
    let mut answer = answer(question);
    answer[index] ^= octet;
    answer
}

/// ID, QR, opcode, a letter of the name, the type, the class.
const OTHER: [(usize, u8); 6] = [(0, 1), (2, 0x80), (2, 0x10), (14, 2), (26, 1), (28, 2)];

#[test]
fn what_answers_something_else_is_ignored() {
    // Good ones come last.
    let server = start(|question| {
        let garbage = [Vec::new(), vec![0; 11], vec![0xff; 400]].into_iter();
        let others = OTHER.iter().map(|(index, octet)| with(question, *index, *octet));
        garbage.chain(others).chain([answer(question)]).collect()
    });
    assert_eq!(ask(server, "example.com. A", "answers = [\"192.0.2.1\"]"), Ok(()));
    for (index, octet) in OTHER {
        let server = start(move |question| vec![with(question, index, octet)]);
        let text = "only answers to other questions within 200ms";
        assert_eq!(ask(server, "example.com. A", SHORT), failed(text), "{index}");
    }
}

#[test]
fn a_broken_answer_is_a_failure_at_once() {
    for cut in [1, 4, 8, 15] {
        let server = start(move |question| {
            let mut answer = answer(question);
            answer.truncate(answer.len() - cut);
            vec![answer]
        });
        let text = ask(server, "example.com. A", "").expect_err("it is cut off");
        assert!(text.starts_with("the answer is broken: "), "{text}");
    }
    // A name that points at itself, an error without its question.
    let server = start(|question| vec![with(question, question.len() + 1, 12 ^ 29)]);
    ask(server, "example.com. A", "").expect_err("the name has no end");
    let server = start(|question| {
        let header = question.get(..12).unwrap_or_default();
        let mut answer = [header, &[]].concat();
        (answer[2], answer[3], answer[5]) = (0x80, 1, 0);
        vec![answer]
    });
    assert_eq!(ask(server, "example.com. A", ""), failed("FORMERR, expected NOERROR"));
}

#[test]
fn a_server_that_has_tcp_for_nobody_fails_what_is_truncated() {
    let server = start(|question| vec![with(question, 2, 2)]);
    let result = ask(server, "example.com. A", "");
    assert_eq!(result, failed("truncated, and over TCP: cannot connect: connection refused"));
}

/// Starts a server over TCP that says this to the first question; its address.
fn start_tcp(says: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut question = [0; 512];
            let length = client.read(&mut question).unwrap_or_default();
            let question = question.get(2..length).unwrap_or_default();
            for octet in says(question) {
                // In as many pieces as can be.
                let _ = client.write_all(&[octet]);
                let _ = client.flush();
            }
        }
    });
    address
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short");
    [&length.to_be_bytes()[..], message].concat()
}

#[test]
fn over_tcp_answers_come_in_pieces_and_not_always() {
    const TCP: &str = "transport = \"tcp\"";
    let server = start_tcp(|question| {
        [framed(&with(question, 0, 1)), framed(&[]), framed(&answer(question))].concat()
    });
    assert_eq!(ask(server, "example.com. A", TCP), Ok(()));
    for says in [Vec::new(), vec![0], vec![0, 200, 1, 2, 3]] {
        let server = start_tcp(move |_| says.clone());
        let result = ask(server, "example.com. A", TCP);
        assert_eq!(result, failed("closed without an answer"));
    }
    let server = start_tcp(|question| framed(&with(question, 2, 2)));
    assert_eq!(ask(server, "example.com. A", TCP), failed("truncated, even over TCP"));
}

#[test]
fn a_server_that_never_stops_fails_at_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            while client.write_all(&framed(&[0; 600])).is_ok() {}
        }
    });
    let result = ask(address, "example.com. A", &format!("transport = \"tcp\"\n{SHORT}"));
    assert_eq!(result, failed("only answers to other questions within 200ms"));
}
