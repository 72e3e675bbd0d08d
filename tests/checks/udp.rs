//! The `udp` probe.
use std::net::{SocketAddr, UdpSocket};
use std::thread;

use super::{failed, probe};

/// Starts a server that answers each datagram with these; its address.
fn start(answers: &'static [&'static [u8]]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut octets = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut octets) {
            // A server of which only that is expected repeats what it heard.
            let echo = [octets.get(..length).unwrap_or_default()];
            for answer in if answers.is_empty() { &echo[..] } else { answers } {
                let _ = socket.send_to(answer, client);
            }
        }
    });
    address
}

#[test]
fn an_answer_is_healthy_and_its_octets_can_be_chosen() {
    let echo = start(&[]);
    assert_eq!(probe(&format!("udp = \"{echo}\"\nsend = \"ping\"")), Ok(()));
    let keys = format!("udp = \"{echo}\"\nsend = {{ hex = \"00 ff 7f80\" }}");
    assert_eq!(probe(&format!("{keys}\nexpect = {{ hex = \"ff7F\" }}")), Ok(()));
    assert_eq!(probe(&format!("udp = \"{echo}\"\nsend = \"\"")), Ok(()));
}

#[test]
fn a_port_nobody_listens_on_fails_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    drop(socket);
    let keys = format!("udp = \"{address}\"\nsend = \"x\"\ninterval = \"1h\"\ntimeout = \"1h\"");
    assert_eq!(probe(&keys), failed("cannot receive: connection refused"));
}

const SHORT: &str = "interval = \"1s\"\ntimeout = \"100ms\"";

#[test]
fn silence_is_a_failure() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let result = probe(&format!("udp = \"{address}\"\nsend = \"x\"\n{SHORT}"));
    assert_eq!(result, failed("no answer within 100ms"));
}

#[test]
fn what_is_expected_may_come_after_something_else_or_not_at_all() {
    let late = start(&[b"something", b"+OK"]);
    assert_eq!(probe(&format!("udp = \"{late}\"\nsend = \"x\"\nexpect = \"+OK\"")), Ok(()));
    let wrong = start(&[b"\xff\x00\x1b[31m"]);
    let result = probe(&format!("udp = \"{wrong}\"\nsend = \"x\"\nexpect = \"+OK\"\n{SHORT}"));
    let text = "expected \"+OK\", got \"\\xff\\x00\\x1b[31m\" within 100ms";
    assert_eq!(result, failed(text));
}

#[test]
fn an_answer_of_somebody_else_is_none() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
    thread::spawn(move || {
        let (_, client) = socket.recv_from(&mut [0; 16]).expect("a datagram");
        other.send_to(b"+OK", client).expect("it goes out");
    });
    let result = probe(&format!("udp = \"{address}\"\nsend = \"x\"\n{SHORT}"));
    // The other one's answer is thrown away, and nobody answers any more.
    let text = result.expect_err("must fail");
    assert!(["no answer within 100ms", "cannot receive: connection refused"].contains(&&*text));
}

#[test]
fn datagrams_come_from_where_they_are_told() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let origin = "source-address = \"127.0.0.9\"\ninterface = \"lo\"";
    let client = thread::spawn(move || {
        let (_, client) = server.recv_from(&mut [0; 16]).expect("a datagram");
        server.send_to(b"y", client).expect("it goes out");
        client.ip().to_string()
    });
    assert_eq!(probe(&format!("udp = \"{address}\"\nsend = \"x\"\n{origin}")), Ok(()));
    assert_eq!(client.join().expect("no panic"), "127.0.0.9");
    let result = probe(&format!("udp = \"{address}\"\nsend = \"x\"\ninterface = \"nosuch0\""));
    assert_eq!(result, failed("cannot use interface nosuch0: no such device"));
}
