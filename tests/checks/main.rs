//! Probes against real servers on the loopback interface: good ones, broken ones, hostile ones.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests run servers and wait for probes"
)]

mod dns;
mod exec;
mod file;
mod http;
mod https;
mod nginx;
mod server;
mod tcp;
mod tls;
mod udp;
mod unbound;
mod unit;

use std::time::Duration;

use tokio::sync::mpsc;
use vipcast::check::driver::{self, Command, Generation};
use vipcast::check::schedule::Pace;
use vipcast::check::{Check, CheckId, Outcome, Probe};
use vipcast::config::{self, Source};

/// Long enough for any machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a check as the configuration has it.
fn check(keys: &str) -> Check {
    let text = format!(
        "[bgp]\nlocal-asn = 65100\n[pool.p]\naddresses = [\"203.0.113.0/24\"]\n\
         [service.s]\nvips = [\"203.0.113.5\"]\n[service.s.check.c]\n{keys}\n"
    );
    let source = Source { path: "vipcast.toml".into(), text };
    let config = config::parse(vec![source]).expect("a valid configuration");
    let service = config.services.values().next().expect("a service");
    Check::clone(&service.checks.values().next().expect("a check").check)
}

/// Runs checks until each has had an outcome; in the order in which they ended.
fn probe_all(definitions: Vec<Check>) -> Vec<(usize, Outcome)> {
    // Installed once for the process, whichever test comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let count = definitions.len();
    let (sender, mut reports) = mpsc::channel(16);
    let checks = driver::spawn(1, sender).expect("a thread");
    for (number, check) in definitions.into_iter().enumerate() {
        let id = CheckId { service: "s".into(), check: number.to_string().into() };
        let start = Command::Start(id, check.into(), Generation(1));
        checks.send(start);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let mut outcomes: Vec<(usize, Outcome)> = Vec::new();
        while outcomes.len() < count {
            let report = tokio::time::timeout(PATIENCE, reports.recv()).await;
            let report = report.expect("an outcome in time").expect("the driver runs");
            let number = report.id.check.as_ref().parse().expect("a number");
            if !outcomes.iter().any(|(known, _)| *known == number) {
                outcomes.push((number, report.outcome));
            }
        }
        outcomes
    })
}

/// Runs one probe of a check: its failure in words, if it failed.
fn probe(keys: &str) -> Result<(), String> {
    let outcomes = probe_all(vec![check(keys)]);
    let (_, outcome) = outcomes.into_iter().next().expect("an outcome");
    outcome.result.map_err(|failure| failure.to_string())
}

fn failed(text: &str) -> Result<(), String> {
    Err(text.into())
}

/// Waits until a check has had so many outcomes.
fn outcomes_of(check: Check, count: usize) -> Vec<Outcome> {
    let (sender, mut reports) = mpsc::channel(16);
    let checks = driver::spawn(1, sender).expect("a thread");
    let id = CheckId { service: "s".into(), check: "c".into() };
    checks.send(Command::Start(id, check.into(), Generation(1)));
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        outcomes.push(reports.blocking_recv().expect("the driver runs").outcome);
    }
    outcomes
}

#[test]
fn one_slow_check_never_delays_another() {
    let hung = server::start(server::Behaviour::Silent);
    let good =
        server::start(server::Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let slow = format!("http = \"http://{hung}/\"\ninterval = \"20s\"\ntimeout = \"20s\"");
    let fast = format!("http = \"http://{good}/\"\ninterval = \"10ms\"\ntimeout = \"10ms\"");
    let mut fast_check = check(&fast);
    fast_check.timeout = PATIENCE; // a busy machine is not the subject here
    let (sender, mut reports) = mpsc::channel(16);
    let checks = driver::spawn(1, sender).expect("a thread");
    for number in 0..50 {
        let id = CheckId { service: "slow".into(), check: number.to_string().into() };
        checks.send(Command::Start(id, check(&slow).into(), Generation(1)));
    }
    let id = CheckId { service: "fast".into(), check: "c".into() };
    checks.send(Command::Start(id, fast_check.into(), Generation(1)));
    // Twenty rounds of the fast one before the first of the slow ones has given up.
    for _ in 0..20 {
        let report = reports.blocking_recv().expect("the driver runs");
        assert_eq!(report.id.service, "fast".into());
        assert!(report.outcome.result.is_ok(), "{:?}", report.outcome);
    }
}

#[test]
fn probes_of_one_check_never_overlap_however_slow_they_are() {
    let address = server::start(server::Behaviour::Silent);
    let keys =
        format!("tcp = \"{address}\"\nexpect = \"x\"\ninterval = \"20ms\"\ntimeout = \"20ms\"");
    let mut slow = check(&keys);
    slow.timeout = Duration::from_millis(50);
    slow.pace = Pace { jitter_percent: 0, ..slow.pace };
    let outcomes = outcomes_of(slow, 5);
    for pair in outcomes.windows(2) {
        assert!(pair[1].started >= pair[0].finished, "{pair:?}");
    }
}

#[test]
fn what_a_probe_is_shows_in_the_status() {
    let http: Probe = check("http = \"https://203.0.113.5:8443/healthz?x=1\"").probe;
    assert_eq!(http.to_string(), "http GET https://203.0.113.5:8443/healthz?x=1");
    assert_eq!(check("tcp = \"[2001:db8::1]:25\"").probe.to_string(), "tcp [2001:db8::1]:25");
    assert_eq!(check("tcp = \"unix:/run/app\"").probe.to_string(), "tcp unix:/run/app");
    let http = check("http = \"http://unix:/run/app.sock:/healthz?x=1\"").probe;
    assert_eq!(http.to_string(), "http GET http://unix:/run/app.sock:/healthz?x=1");
    for (keys, shown) in [
        ("udp = \"[::1]:123\"\nsend = \"x\"", "udp [::1]:123"),
        ("tls = \"192.0.2.1:443\"", "tls 192.0.2.1:443"),
        ("tls = \"192.0.2.1:443\"\nhost = \"a.example\"", "tls 192.0.2.1:443 (a.example)"),
        ("dns = \"192.0.2.1:53\"\nquery = \"example.com a\"", "dns 192.0.2.1:53 example.com. A"),
        ("file = \"/run/up\"", "file /run/up"),
        ("exec = [\"/usr/lib/web/check\", \"-t\", \"5 s\"]", "exec /usr/lib/web/check -t \"5 s\""),
        ("file = \"/run/down\"\npresent = false", "no file /run/down"),
    ] {
        assert_eq!(check(keys).probe.to_string(), shown);
    }
    let http = check("http = \"http://unix:/run/app.sock\"").probe;
    assert_eq!(http.to_string(), "http GET http://unix:/run/app.sock:/");
}
