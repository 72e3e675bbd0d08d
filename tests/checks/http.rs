//! The `http` probe without TLS.
use std::net::TcpListener;

use super::nginx::Nginx;
use super::server::{Behaviour, start, start_hearing};
use super::{failed, probe};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

fn http(behaviour: Behaviour, more: &str) -> Result<(), String> {
    probe(&format!("http = \"http://{}/healthz\"\n{more}", start(behaviour)))
}

#[test]
fn a_status_of_the_2xx_range_is_healthy_and_others_are_not() {
    assert_eq!(http(Behaviour::Answer(OK), ""), Ok(()));
    let no_content = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(http(Behaviour::Answer(no_content), ""), Ok(()));
    for (answer, status) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "503 Service Unavailable",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 Not Found"),
        ("HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", "599 <unknown status code>"),
    ] {
        let expected = failed(&format!("HTTP status {status}"));
        assert_eq!(http(Behaviour::Answer(answer), ""), expected);
    }
}

#[test]
fn the_healthy_range_can_be_chosen() {
    let teapot = "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(http(Behaviour::Answer(teapot), "status = [\"200-204\", 418]"), Ok(()));
    let result = http(Behaviour::Answer(OK), "status = [418]");
    assert_eq!(result, failed("HTTP status 200 OK, expected 418"));
    let result = http(Behaviour::Answer(OK), "status = [\"201-204\", 418]");
    assert_eq!(result, failed("HTTP status 200 OK, expected 201-204, 418"));
}

#[test]
fn the_body_can_be_required_to_hold_a_text() {
    assert_eq!(http(Behaviour::Answer(OK), "body = \"ok\""), Ok(()));
    let result = http(Behaviour::Answer(OK), "body = \"ready\"");
    assert_eq!(result, failed("\"ready\" is not in the response body"));
}

#[test]
fn the_request_is_what_the_configuration_says() {
    let (address, hears) = start_hearing(Behaviour::Answer(OK));
    let keys = format!(
        "http = \"http://{address}/healthz?full=1\"\nmethod = \"HEAD\"\nhost = \"www.example.com\"\n\
         headers = {{ X-Probe = \"vipcast\" }}"
    );
    assert_eq!(probe(&keys), Ok(()));
    let request = hears.recv().expect("a request");
    let mut lines: Vec<&str> = request.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "HEAD /healthz?full=1 HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept: */*",
            "connection: close",
            "host: www.example.com",
            concat!("user-agent: vipcast/", env!("CARGO_PKG_VERSION")),
            "x-probe: vipcast",
        ]
    );
}

#[test]
fn localhost_needs_no_resolver() {
    let address = start(Behaviour::Answer(OK));
    assert_eq!(probe(&format!("http = \"http://localhost:{}/\"", address.port())), Ok(()));
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    // Other tests of this process run meanwhile, and must not mind either.
    // The variable is set for a child that runs the other tests of this file.
    let program = std::env::current_exe().expect("this program");
    let child = std::process::Command::new(program)
        .args(["--exact", "http::localhost_needs_no_resolver"])
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")))
        .output()
        .expect("runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
fn redirects_are_followed_only_when_asked_and_never_to_a_name() {
    let to_name =
        "HTTP/1.1 302 Found\r\nLocation: http://www.example.com/\r\nContent-Length: 0\r\n\r\n";
    let result = http(Behaviour::Answer(to_name), "redirects = 3");
    let expected = "cannot connect: will not resolve www.example.com: checks do not depend on DNS";
    assert_eq!(result, failed(expected));
    let circle = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(http(Behaviour::Answer(circle), "redirects = 3"), failed("too many redirects"));
    let text = "HTTP status 302 Found; Location: \"/again\", not followed \
                (redirects = 0)";
    assert_eq!(http(Behaviour::Answer(circle), ""), failed(text));
    let text = "HTTP status 304 Not Modified; Location: \"/x\\ty\"";
    let not_modified = "HTTP/1.1 304 Not Modified\r\nLocation: /x\ty\r\n\r\n";
    assert_eq!(http(Behaviour::Answer(not_modified), "redirects = 3"), failed(text));
    let long = format!("HTTP/1.1 301 Moved\r\nLocation: /{}\r\n\r\n", "x".repeat(9000));
    let text = http(Behaviour::Answer(long.leak()), "").expect_err("must fail");
    assert!(text.ends_with("xxx\", not followed (redirects = 0)"), "{text}");
}

#[test]
fn a_server_that_hangs_is_a_failure_at_the_timeout() {
    let result = http(Behaviour::Silent, "interval = \"1s\"\ntimeout = \"100ms\"");
    assert_eq!(result, failed("no answer within 100ms"));
}

#[test]
fn an_answer_that_drips_is_a_failure_at_the_timeout() {
    let pace = "interval = \"1s\"\ntimeout = \"200ms\"";
    let body = Behaviour::Drip("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", "x");
    let text = http(body, pace).expect_err("must fail");
    assert!(text.starts_with("the answer did not end within 200ms ("), "{text}");
    let head = Behaviour::Drip("HTTP/1.1 200 OK\r\nX: ", "x");
    assert_eq!(http(head, pace), failed("no answer within 200ms"));
}

#[test]
fn an_endless_answer_is_a_failure_and_bounded() {
    let pace = "interval = \"30s\"\ntimeout = \"30s\"";
    let body = Behaviour::Endless("HTTP/1.1 200 OK\r\n\r\n", "0123456789abcdef0123456789abcdef");
    assert_eq!(http(body, pace), failed("the response body is longer than 1 MiB"));
    let interim = Behaviour::Endless("", "HTTP/1.1 100 Continue\r\n\r\n");
    let text = http(interim, "interval = \"1s\"\ntimeout = \"300ms\"").expect_err("must fail");
    assert!(text.starts_with("no answer within 300ms"), "{text}");
    let head = Behaviour::Endless("HTTP/1.1 200 OK\r\n", "X-A: bbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    let text = http(head, pace).expect_err("must fail");
    assert!(text.contains("message head is too large"), "{text}");
}

#[test]
fn what_is_not_http_is_a_failure_with_its_reason() {
    for (answer, reason) in [
        ("220 smtp ready\r\n", "invalid HTTP version parsed"),
        ("HTTP/0.9 200 OK\r\n\r\n", "invalid HTTP version parsed"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "invalid content-length parsed",
        ),
        ("HTTP/1.1 200 OK\r\nA\0B: c\r\n\r\n", "invalid HTTP header parsed"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
            "invalid chunk size: overflow",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            "end of file before message length reached",
        ),
        ("", "connection closed before message completed"),
    ] {
        let result = http(Behaviour::Answer(answer), "");
        assert_eq!(result, failed(reason), "{answer:?}");
    }
    let text = http(Behaviour::Reset, "").expect_err("must fail");
    assert!(text.ends_with("connection reset by peer"), "{text}");
}

#[test]
fn a_unix_socket_can_take_the_place_of_an_address() {
    let nginx = Nginx::start("unix", 5);
    let socket = nginx.folder.join("socket");
    let keys = |body: &str| {
        let socket = socket.display();
        format!("http = \"http://unix:{socket}:/a?b\"\nhost = \"www.example.com\"\nbody = {body:?}")
    };
    assert_eq!(probe(&keys(" www.example.com, HTTP/1.1, request 1, client , from unix:")), Ok(()));
    drop(nginx);
    let text = probe(&keys("x")).expect_err("nobody is there");
    assert_eq!(text, "cannot connect: no such file or directory");
}

#[test]
fn a_request_comes_from_where_it_is_told() {
    let address = start(Behaviour::Answer(OK));
    let keys = |more: &str| format!("http = \"http://{address}/\"\n{more}");
    assert_eq!(probe(&keys("interface = \"lo\"")), Ok(()));
    let text = probe(&keys("interface = \"nosuch0\"")).expect_err("must fail");
    assert_eq!(text, "cannot connect: no such device");
    let text = probe(&keys("source-address = \"192.0.2.77\"")).expect_err("must fail");
    assert_eq!(text, "cannot connect: cannot assign requested address");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    let client = std::thread::spawn(move || {
        let (client, address) = listener.accept().expect("a client");
        drop(client);
        address.ip().to_string()
    });
    let keys = format!("http = \"http://{to}/\"\nsource-address = \"127.0.0.9\"");
    probe(&keys).expect_err("it was hung up on");
    assert_eq!(client.join().expect("no panic"), "127.0.0.9");
}
