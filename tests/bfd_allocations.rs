//! The BFD thread asks for no memory once its sessions are there: an allocator may have to wait for
//! another thread, or for the kernel.
//!
//! The thread is the real one, with its sockets, on the loopback interface. Its peers are played by
//! the test.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this test plays the peers of a driver"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use tokio::sync::{mpsc, oneshot};
use vipcast::bfd::driver::{Command, Event, Handle, Report, spawn};
use vipcast::bfd::echo;
use vipcast::bfd::packet::{Diag, Packet, State};
use vipcast::bfd::session;
use vipcast::bfd::sessions::{Config, Generation, Hops};

const PEERS: u8 = 8;
/// Packets from each of them.
const ROUNDS: u32 = 2000;
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The thread that is watched, and what it asked for and gave back.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    let watched = WATCHED.load(Relaxed);
    if watched != 0 && gettid().as_raw() == watched {
        CALLS.fetch_add(1, Relaxed);
    }
}

#[expect(unsafe_code, reason = "every allocator is")]
// SAFETY: all is done by the system's allocator, and counting asks for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of the same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn peer(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 58, 80, number)
}

fn config(number: u8) -> Config {
    let interval = Duration::from_millis(3);
    Config {
        generation: Generation(1),
        remote: std::net::IpAddr::V4(peer(number)).into(),
        source: Some(HOST.into()),
        hops: Hops::Single,
        minimum_ttl: 255,
        session: session::Config {
            detect_mult: NonZeroU8::MAX,
            desired_min_tx: interval,
            required_min_rx: interval,
            passive: false,
            demand: None,
            echo: None,
        },
        authentication: None,
    }
}

fn said(number: u8, state: State, to: Option<NonZeroU32>) -> Packet {
    Packet {
        diag: Diag::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        authentication_present: false,
        demand: false,
        detect_mult: NonZeroU8::MAX,
        my_discriminator: NonZeroU32::from(NonZeroU8::new(number).expect("from 1")),
        your_discriminator: to,
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(3),
        required_min_echo_rx: Duration::ZERO,
    }
}

fn report(handle: &Handle) -> Report {
    let (reply, answer) = oneshot::channel();
    handle.send(Command::Report(reply));
    answer.blocking_recv().expect("the thread answers")
}

/// The number of the thread of that name, if it runs.
fn thread(name: &str) -> Option<i32> {
    let mut tasks = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
    let is_it = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.find(|task| is_it(&task.path()))?;
    Some(task.file_name().to_str().and_then(|name| name.parse().ok()).expect("a number"))
}

/// There is one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Ends the thread.
fn end(handle: Handle) {
    WATCHED.store(0, Relaxed);
    drop(handle);
    while thread("bfd").is_some() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Wants a session with each of them; what they send with.
fn peers(handle: &Handle) -> Vec<(u8, UdpSocket)> {
    let peers = (1..=PEERS).map(|number| {
        handle.send(Command::Set(format!("peer{number}").into(), config(number)));
        let socket = UdpSocket::bind((peer(number), 0)).expect("a port");
        socket.set_ttl(255).expect("a TTL");
        (number, socket)
    });
    peers.collect()
}

#[test]
fn the_bfd_thread_allocates_nothing_once_its_sessions_are_up() {
    let _one = ONE.lock();
    let (events, mut from_bfd) = mpsc::channel(1024);
    let handle = spawn(7, events).expect("a thread");
    let host = SocketAddr::new(HOST.into(), Hops::Single.port());
    let sockets = peers(&handle);
    let ours = |number: u8| {
        let sessions = report(&handle).sessions.into_iter();
        let mut of_peer = sessions.filter(|look| look.config.remote.ip == peer(number));
        of_peer.next().expect("a session").session.discriminator
    };
    let ours: Vec<NonZeroU32> = sockets.iter().map(|(number, _)| ours(*number)).collect();
    let tell = |packet: &dyn Fn(u8, NonZeroU32) -> Packet| {
        for ((number, socket), ours) in sockets.iter().zip(&ours) {
            socket.send_to(&packet(*number, *ours).encode(), host).expect("it goes out");
        }
    };
    tell(&|number, _| said(number, State::Down, None));
    tell(&|number, ours| said(number, State::Up, Some(ours)));
    tell(&|number, ours| Packet { is_final: true, ..said(number, State::Up, Some(ours)) });
    let ups = std::iter::from_fn(|| from_bfd.blocking_recv())
        .inspect(|event| assert!(!matches!(event, Event::Trouble(..)), "{event:?}"));
    let ups = ups.filter(|event| matches!(event, Event::Session(_, _, session::Event::Up)));
    assert_eq!(ups.take(PEERS.into()).count(), usize::from(PEERS));
    std::thread::sleep(Duration::from_millis(200));
    assert!(handle.ping(), "nothing was asked for before");
    let before = report(&handle);
    assert!(handle.ping(), "the watchdog hears of it when the thread hangs, and only then");

    WATCHED.store(thread("bfd").expect("it runs"), Relaxed);
    let calls_before = CALLS.load(Relaxed);
    let start = Instant::now();
    for round in 0..ROUNDS {
        // Now and then a question that must be answered, and what is dropped.
        tell(&|number, ours| Packet {
            poll: round % 10 == 0,
            ..said(number, State::Up, Some(ours))
        });
        if round % 10 == 5 {
            tell(&|number, _| said(number, State::Up, NonZeroU32::new(1)));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let calls = CALLS.load(Relaxed) - calls_before;

    let after = report(&handle);
    assert_ne!(
        CALLS.load(Relaxed) - calls_before,
        calls,
        "a report needs memory: the counting works"
    );
    let sum = |report: &Report, of: fn(&session::Counters) -> u64| {
        report.sessions.iter().map(|look| of(&look.session.counters)).sum::<u64>()
    };
    let received = sum(&after, |one| one.received) - sum(&before, |one| one.received);
    let sent = sum(&after, |one| one.sent) - sum(&before, |one| one.sent);
    let elapsed = start.elapsed();
    assert_eq!(received, u64::from(ROUNDS) * u64::from(PEERS), "none was lost");
    assert!(sent >= received / 10, "{sent} packets in {elapsed:?}: at least the answers");
    assert_eq!(calls, 0, "{received} packets in, {sent} out");
    end(handle);
}

#[test]
#[ignore = "needs root, for packet sockets: sudo lab/test"]
fn nor_does_it_for_echo_packets() {
    let _one = ONE.lock();
    let (events, mut from_bfd) = mpsc::channel(1024);
    let handle = spawn(7, events).expect("a thread");
    let session = session::Config {
        echo: Some(echo::Config { interval: Duration::from_millis(3), unaffiliated: true }),
        ..config(1).session
    };
    handle.send(Command::Set("peer".into(), Config { session, ..config(1) }));
    // What goes out on the loopback interface comes in there.
    let path = echo::Path { interface: 1, router: [0; 6], local: HOST.into(), forwards: false };
    handle.send(Command::EchoPath("peer".into(), path));
    let mut events = std::iter::from_fn(|| from_bfd.blocking_recv());
    events
        .find(|event| matches!(event, Event::Session(_, _, session::Event::Up)))
        .expect("they come back");
    let echo = |report: Report| report.sessions[0].session.echo.expect("it is wanted");
    let before = echo(report(&handle));
    WATCHED.store(thread("bfd").expect("it runs"), Relaxed);
    let calls = CALLS.load(Relaxed);
    std::thread::sleep(Duration::from_secs(2));
    let calls = CALLS.load(Relaxed) - calls;
    let after = echo(report(&handle));
    let returned = after.returned - before.returned;
    assert!(returned > 50, "{returned} of {}", after.sent - before.sent);
    assert_eq!(calls, 0, "{returned} came back");
    end(handle);
}
