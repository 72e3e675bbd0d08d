//! A hundred thousand probes that fail leave nothing behind: no descriptor, no memory.
#![expect(
    clippy::disallowed_methods,
    reason = "this test plays the services and looks at the process"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;

use tokio::sync::mpsc;
use vipcast::check::driver::{Command, Generation, Report, spawn};
use vipcast::check::{CheckId, trust};
use vipcast::config::{self, Source};

const PROBES: usize = 100_000;
/// Until all that is kept for good is there.
const WARM_UP: usize = 5_000;
/// Of each kind.
const CHECKS: usize = 10;
/// What may be under way when it is looked: answers that are half read, reports that wait.
const UNDER_WAY: i64 = 512 * 1024;

/// Octets that the process has asked for and not given back.
static LIVE: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(octets: usize, sign: i64) {
    LIVE.fetch_add(sign * i64::try_from(octets).unwrap_or(i64::MAX), Relaxed);
}

#[expect(unsafe_code, reason = "every allocator is")]
// SAFETY: all is done by the system's allocator, and counting asks for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract of the same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Accepts connections, says this, and closes them.
fn serve(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(answer);
        }
    });
    address
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[test]
fn a_hundred_thousand_failing_probes_leave_nothing_behind() {
    trust::install_provider();
    let sick = serve(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let hangs = silent.local_addr().expect("its address");
    let kinds = [
        "tcp = \"127.0.0.1:1\"".to_owned(),
        format!("tcp = \"{sick}\"\nsend = \"?\"\nexpect = \"well\""),
        "http = \"http://127.0.0.1:1/\"".to_owned(),
        format!("http = \"http://{sick}/\""),
        format!("http = \"https://{sick}/\""),
        format!("http = \"http://{hangs}/\"\ntimeout = \"10ms\""),
        "udp = \"127.0.0.1:1\"\nsend = \"?\"".to_owned(),
        "dns = \"127.0.0.1:1\"\nquery = \"example.com. A\"".to_owned(),
        format!("tls = \"{sick}\""),
        "file = \"/nowhere/to/be/found\"".to_owned(),
    ];
    let (sender, mut reports) = mpsc::channel(1024);
    let driver = spawn(1, sender).expect("a thread");
    for (kind, keys) in kinds.iter().enumerate() {
        let definition = definition(keys);
        for number in 0..CHECKS {
            let check = format!("{kind}-{number}").as_str().into();
            let id = CheckId { service: "s".into(), check };
            driver.send(Command::Start(id, definition.clone(), Generation(1)));
        }
    }
    let mut run = |probes: usize| {
        let mut seen = [0_usize; 10];
        for _ in 0..probes {
            let Report { id, outcome, .. } = reports.blocking_recv().expect("the driver runs");
            assert!(outcome.result.is_err(), "{id:?}");
            let kind = id.check.as_ref().split('-').next().and_then(|kind| kind.parse().ok());
            let count = kind.and_then(|kind: usize| seen.get_mut(kind)).expect("a kind");
            *count += 1;
        }
        assert!(seen.iter().all(|count| *count >= probes / 40), "some are not probed: {seen:?}");
        (descriptors(), LIVE.load(Relaxed))
    };
    let before = run(WARM_UP);
    let after = run(PROBES);
    let most = before.0 + kinds.len() * CHECKS;
    assert!(after.0 <= most, "descriptors: {} and then {}", before.0, after.0);
    assert!(after.1 - before.1 <= UNDER_WAY, "octets: {} and then {}", before.1, after.1);
}

/// A check with these keys that runs as often as it may.
fn definition(keys: &str) -> std::sync::Arc<vipcast::check::Check> {
    let text = format!(
        "[bgp]\nlocal-asn = 65100\n[peer.tor1]\naddress = \"10.0.0.1\"\nremote-asn = 65000\n\
         [pool.vips]\naddresses = [\"203.0.113.0/24\"]\n[service.s]\nvips = [\"203.0.113.5\"]\n\
         [service.s.check.c]\ninterval = \"10ms\"\n{keys}\n"
    );
    let config = config::parse(vec![Source { path: "vipcast.toml".into(), text }]);
    let config = config.expect("a valid configuration");
    let mut checks = config.services.values().flat_map(|service| service.checks.values());
    checks.next().expect("a check").check.clone()
}
