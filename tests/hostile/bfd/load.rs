//! Too many packets, and too little of the processor.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use vipcast_lab::process::Process;
use vipcast_lab::wait;

use super::super::BOUND;
use super::super::stage::Stage;
use super::{
    DOWN, FINAL, MULTIHOP, POLL, Router, SINGLE_HOP, Says, Sender, Tap, UP, control, session_with,
};

/// What each of those who flood sends.
const EACH: u32 = 100_000;

/// Answers are this far apart, or further.
const ANSWERS_APART: Duration = Duration::from_millis(3);

/// RFC 5880 §6.5 has each Poll answered at once, and so would double a flood.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn polls_without_end_are_answered_at_a_bounded_rate() -> Result<()> {
    const LAST: u32 = 0x4444;
    let mut router = Router::start()?;
    let poll = Says { bits: POLL, ..Says::new(UP, router.session) };
    let (socket, is_over) = (router.socket.try_clone()?, AtomicBool::new(false));
    let begun = Instant::now();
    let answers = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..EACH {
                let _ = socket.send(&poll.encode());
            }
            // The last one is told from all before it by whom it is answered to.
            while !is_over.load(Ordering::Relaxed) {
                let _ = socket.send(&Says { mine: LAST, ..poll }.encode());
                thread::sleep(ANSWERS_APART);
            }
        });
        let answers = count_answers(&mut router.tap, LAST);
        is_over.store(true, Ordering::Relaxed);
        answers
    })?;
    let took = begun.elapsed();
    ensure!(ANSWERS_APART * (answers - 1) <= took, "{answers} answers in {took:?}");
    ensure!(answers < EACH / 2, "{answers} answers");
    router.check_never_down()?;
    router.stage.check()
}

/// How many answers come until one goes to `last`.
fn count_answers(tap: &mut Tap, last: u32) -> Result<u32> {
    let mut answers = 0;
    loop {
        let answer = tap.wait_for(|packet| packet.has(FINAL))?;
        ensure!(!answer.has(POLL), "Poll and Final at once");
        answers += 1;
        if answer.yours() == last {
            return Ok(answers);
        }
    }
}

/// The number of the daemon's thread for BFD, which has real-time priority.
fn bfd_thread(stage: &Stage) -> Result<String> {
    for thread in fs::read_dir(format!("/proc/{}/task", stage.pid()))? {
        let path = thread?.path();
        if fs::read_to_string(path.join("comm"))?.trim() != "bfd" {
            continue;
        }
        // proc(5): the third field is behind the name; the 40th and 41st are priority and policy.
        let text = fs::read_to_string(path.join("stat"))?;
        let (_, fields) = text.rsplit_once(") ").context("an odd stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        ensure!(fields[37..=38] == ["20", "1"], "not SCHED_FIFO at 20: {text}");
        return Ok(path.file_name().context("a number")?.to_string_lossy().into_owned());
    }
    bail!("there is no thread for BFD")
}

/// A core that this process may use.
fn some_core() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = list.and_then(|list| list.trim().split([',', '-']).next()).context("no cores")?;
    Ok(first.to_owned())
}

/// Somebody takes the core that BFD runs on for a tenth of a second at a time, before everything of
/// normal priority. How long that takes, or the test, does not matter: BFD must send far more often
/// than a thread of normal priority on that core has its turn, though both want it as often.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_busy_core_does_not_hold_bfd_up() -> Result<()> {
    let mut router = Router::start_with(|text| {
        text.replacen("transmit-interval = \"300ms\"", "transmit-interval = \"10ms\"", 1)
    })?;
    router.come_up()?;
    router.say(Says { min_rx: 1, ..Says::new(UP, router.session) })?;
    let (stage, core) = (&router.stage, some_core()?);
    let thread = bfd_thread(stage)?;
    let host = &stage.fabric.host(1).namespace;
    host.run("taskset", ["-p", "-c", &core, &thread])?;

    let loop_of = |name, words: &[&str], script| {
        let mut command = host.command(words[0]);
        command.args(&words[1..]).args(["taskset", "-c", &core, "sh", "-c", script]);
        Process::start(host, name, &command)
    };
    let witness = loop_of("witness", &["env"], "while :; do sleep 0.01; echo; done")?;
    let hog = "while :; do timeout --foreground 0.1 sh -c 'while :; do :; done'; sleep 0.02; done";
    let hog = loop_of("hog", &["chrt", "-r", "10"], hog)?;

    let sent = || router.look()?["sent"].as_u64().context("no count");
    let turns = || Ok::<_, anyhow::Error>(fs::metadata(witness.log())?.len());
    let (sent_before, turns_before) = (sent()?, turns()?);
    wait::until_true("BFD goes on where nothing else does", BOUND, || {
        ensure!(hog.is_running() && witness.is_running(), "nobody keeps the core busy");
        let (turns, sent) = (turns()? - turns_before, sent()? - sent_before);
        Ok(sent >= 3 * turns + 300)
    })
    .with_context(|| format!("{:?} turns, {:?} packets", turns().ok(), sent().ok()))?;
    router.check_never_down()?;
    drop((hog, witness));
    router.stage.check()
}

/// Puts together what comes from no address of the sender's.
fn spoofed(number: u32, to: SocketAddr, packet: &[u8]) -> Result<Vec<u8>> {
    let SocketAddr::V4(to) = to else { bail!("an IPv4 address") };
    let [_, a, b, c] = number.to_be_bytes();
    let length = u16::try_from(20 + 8 + packet.len())?;
    let [high, low] = length.to_be_bytes();
    // The kernel fills in the checksum; that of UDP may be missing.
    let ip = [0x45, 0xc0, high, low, 0, 0, 0, 0, 255, 17, 0, 0, 11, a, b, c];
    let source_port = 49152 + u16::try_from(number % 16384)?;
    let udp = [source_port, to.port(), length - 20, 0].map(u16::to_be_bytes);
    Ok([&ip, &to.ip().octets()[..], udp.as_flattened(), packet].concat())
}

/// From as many addresses as packets.
fn flood_from_everywhere(socket: &Socket, to: SocketAddr, packets: &[Vec<u8>]) -> Result<()> {
    let ways = u32::try_from(packets.len())?;
    for number in 0..EACH {
        let packet = &packets[usize::try_from(number % ways)?];
        // The kernel refuses some; that is as good as a loss.
        let _ = socket.send_to(&spoofed(number, to, packet)?, &to.into());
    }
    Ok(())
}

/// As fast as they can, all machines send what nobody wants, and one of them for everybody else.
#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_flood_takes_no_session_down() -> Result<()> {
    let router = Router::start()?;
    let (stage, own) = (&router.stage, router.session);
    let birds = session_with(stage, "tor2")?;
    let floods = [
        (Sender::Hostile.socket(stage, 255, SINGLE_HOP)?, control(DOWN, !own)),
        (Sender::Hostile.socket(stage, 254, SINGLE_HOP)?, control(DOWN, own)),
        (Sender::Client.socket(stage, 255, SINGLE_HOP)?, vec![0xff; 24]),
        (Sender::Bird.socket(stage, 64, MULTIHOP)?, control(DOWN, 0)),
    ];
    let raw = || {
        let any = Some(Protocol::from(255)); // with IP headers of our own (raw(7))
        let socket = stage.namespace().enter(|| Socket::new(Domain::IPV4, Type::RAW, any))?;
        socket.context("no raw socket")
    };
    let raw = [raw()?, raw()?];
    let to = Sender::Hostile.target(stage, SINGLE_HOP);
    let packets = [own, birds, 0, !own].map(|session| control(DOWN, session));
    let counter = "vipcast_bfd_discarded_packets_total{reason=\"wrong-source\"}";
    let before = stage.metric(counter)?;
    thread::scope(|scope| -> Result<()> {
        let pour = |socket: &UdpSocket, packet: &[u8]| {
            for _ in 0..EACH {
                let _ = socket.send(packet);
            }
        };
        for (socket, packet) in &floods {
            scope.spawn(move || pour(socket, packet));
        }
        let everywhere = raw
            .each_ref()
            .map(|socket| scope.spawn(|| flood_from_everywhere(socket, to, &packets)));
        everywhere.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    wait::until_true("it has arrived", BOUND, || Ok(stage.metric(counter)? >= before + 1000))?;
    router.check_never_down()?;
    router.stage.check()
}
