//! The `tcp` probe.
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;

use super::nginx::Nginx;
use super::server::{Behaviour, start, start_hearing};
use super::{failed, probe};

#[test]
fn an_accepted_connection_is_healthy() {
    for behaviour in [Behaviour::Silent, Behaviour::Close, Behaviour::Echo] {
        let address = start(behaviour);
        assert_eq!(probe(&format!("tcp = \"{address}\"")), Ok(()), "{behaviour:?}");
    }
}

#[test]
fn a_port_nobody_listens_on_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let result = probe(&format!("tcp = \"{address}\""));
    assert_eq!(result, failed("cannot connect: connection refused"));
}

#[test]
fn a_listener_that_never_accepts_beyond_its_backlog_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // The backlog of std is 128 or more; the kernel's limit may be larger. Fill it.
    let mut waiting = Vec::new();
    for _ in 0..8192 {
        let limit = std::time::Duration::from_millis(200);
        match std::net::TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => waiting.push(stream),
            Err(_) => break,
        }
    }
    let result = probe(&format!("tcp = \"{address}\"\ninterval = \"1s\"\ntimeout = \"300ms\""));
    assert_eq!(result, failed("no answer within 300ms"));
}

#[test]
fn what_is_expected_must_come() {
    let address = start(Behaviour::Greet("220 mail.example.com ESMTP\r\n"));
    assert_eq!(probe(&format!("tcp = \"{address}\"\nexpect = \"220 \"")), Ok(()));
    let result = probe(&format!(
        "tcp = \"{address}\"\nexpect = \"250 \"\ninterval = \"1s\"\ntimeout = \"100ms\""
    ));
    assert_eq!(
        result,
        failed("expected \"250 \", got \"220 mail.example.com ESMTP\\r\\n\" within 100ms")
    );
    let address = start(Behaviour::Silent);
    let result = probe(&format!(
        "tcp = \"{address}\"\nexpect = \"250 \"\ninterval = \"1s\"\ntimeout = \"100ms\""
    ));
    assert_eq!(result, failed("no answer within 100ms"));
}

#[test]
fn what_is_sent_is_heard_and_its_answer_judged() {
    let (address, hears) = start_hearing(Behaviour::Answer("+PONG\r\n"));
    let keys = format!("tcp = \"{address}\"\nsend = \"PING\\r\\n\"\nexpect = \"+PONG\"");
    assert_eq!(probe(&keys), Ok(()));
    assert_eq!(hears.recv().expect("a client"), "PING\r\n");
    let keys = format!("tcp = \"{address}\"\nsend = \"PING\\r\\n\"\nexpect = \"+OK\"");
    assert_eq!(probe(&keys), failed("closed, expected \"+OK\", got \"+PONG\\r\\n\""));
}

#[test]
fn a_server_that_closes_resets_or_babbles_fails_what_is_expected() {
    let expect = |behaviour| probe(&format!("tcp = \"{}\"\nexpect = \"ok\"", start(behaviour)));
    assert_eq!(expect(Behaviour::Close), failed("closed, expected \"ok\", got \"\""));
    // It may come as early as while connecting.
    let text = expect(Behaviour::Reset).expect_err("must fail");
    assert!(text.ends_with(": connection reset by peer"), "{text}");
    let babbling = Behaviour::Endless("", "blah ");
    let address = start(babbling);
    let result = probe(&format!("tcp = \"{address}\"\nsend = \"x\"\nexpect = \"ok\""));
    let text = result.expect_err("must fail");
    assert!(text.starts_with("too long an answer, expected \"ok\", got \"blah blah"), "{text}");
}

#[test]
fn control_characters_of_a_server_do_not_reach_the_log() {
    let address = start(Behaviour::Answer("\u{1b}[31mred\u{1b}[0m\nREADY=1\n"));
    let text =
        probe(&format!("tcp = \"{address}\"\nsend = \"x\"\nexpect = \"ok\"")).expect_err("fails");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn a_probe_comes_from_where_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let keys =
        |more: &str| format!("tcp = \"{}\"\n{more}", listener.local_addr().expect("an address"));
    let both = "source-address = \"127.0.0.9\"\ninterface = \"lo\"";
    assert_eq!(probe(&keys(both)), Ok(()));
    let (_, client) = listener.accept().expect("a client");
    assert_eq!(client.ip().to_string(), "127.0.0.9");
    let result = probe(&keys("source-address = \"192.0.2.77\""));
    let text = "cannot probe from 192.0.2.77: cannot assign requested address";
    assert_eq!(result, failed(text));
    let result = probe(&keys("interface = \"nosuch0\""));
    assert_eq!(result, failed("cannot use interface nosuch0: no such device"));
}

#[test]
fn a_unix_socket_can_be_probed() {
    let folder = std::env::temp_dir().join(format!("vipcast-unix-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("socket");
    let keys = format!("tcp = \"unix:{}\"\nexpect = \"+OK\"", path.display());
    assert_eq!(probe(&keys), failed("cannot connect: no such file or directory"));
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(b"+OK\n").expect("it listens");
    });
    assert_eq!(probe(&keys), Ok(()));
    server.join().expect("no panic");
    assert_eq!(probe(&keys), failed("cannot connect: connection refused"));
    std::fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn a_server_that_waits_for_the_proxy_protocol_gets_it() {
    let nginx = Nginx::start("proxy", 5);
    let keys = format!(
        "tcp = \"127.0.0.1:{}\"\nsend = \"GET / HTTP/1.0\\r\\n\\r\\n\"\nexpect = \"from 127.0.0.1\"",
        nginx.behind_proxy
    );
    assert_eq!(probe(&format!("{keys}\nproxy-protocol = true")), Ok(()));
    let text = probe(&keys).expect_err("nginx waits for another header");
    assert!(text.starts_with("closed, expected") || text.ends_with("reset by peer"), "{text}");
}
