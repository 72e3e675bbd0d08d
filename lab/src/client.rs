//! The client: keeps asking a VIP over HTTP and keeps account of who answered.
//!
//! Every request is a TCP connection of its own, so ECMP may send each to another host.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::netns::Namespace;
use crate::wait;

/// How long connecting may take: less than TCP takes to repeat a lost SYN.
const CONNECT: Duration = Duration::from_millis(900);
/// How long the answer may take, on a busy machine.
const ANSWER: Duration = Duration::from_secs(3);
/// How long all may take that are under way, on a very busy machine.
const SETTLED: Duration = Duration::from_secs(30);
/// Enough threads so that requests that hang do not delay the others, up to this.
const MOST_THREADS: u32 = 128;

/// A machine beyond the routers.
#[derive(Debug)]
pub struct Client {
    namespace: Namespace,
}

/// Requests being sent.
#[derive(Debug)]
pub struct Traffic {
    course: Arc<Course>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Course {
    vip: IpAddr,
    start: Instant,
    interval: Duration,
    stopped: AtomicBool,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// The number of the next request that no thread has taken yet.
    next: u32,
    /// Those that were taken and have not ended.
    under_way: BTreeSet<u32>,
    ended: Vec<Request>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was sent.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Which host answered, or why none did.
    pub answer: Result<String, String>,
}

/// All requests of some time, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests(pub Vec<Request>);

impl Client {
    /// Makes this machine a client.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace }
    }

    /// Its machine.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Sends one request and tells which host answered.
    pub fn ask(&self, vip: IpAddr) -> Result<String> {
        self.namespace.enter(|| ask(vip))?.with_context(|| format!("no answer from {vip}"))
    }

    /// Sends so many requests a second, evenly, until stopped.
    pub fn keep_asking(&self, vip: IpAddr, per_second: u32) -> Result<Traffic> {
        ensure!(per_second > 0, "at least one request a second");
        let course = Arc::new(Course {
            vip,
            start: Instant::now(),
            interval: Duration::from_secs(1) / per_second,
            stopped: AtomicBool::new(false),
            account: Mutex::default(),
        });
        let mut traffic = Traffic { course, threads: Vec::new() };
        for _ in 0..per_second.clamp(2, MOST_THREADS) {
            let course = traffic.course.clone();
            traffic.threads.push(self.namespace.thread(move || course.run())?);
        }
        Ok(traffic)
    }
}

impl Traffic {
    /// What was sent and came back, or did not, until now.
    pub fn so_far(&self) -> Requests {
        let mut requests = self.course.account().ended.clone();
        requests.sort_by_key(|request| request.at);
        Requests(requests)
    }

    /// All requests that were due from one moment until before another, once each of them has been
    /// answered or lost.
    pub fn between(&self, from: Instant, to: Instant) -> Result<Requests> {
        wait::until_true("all requests have ended", SETTLED, || Ok(self.course.is_over(to)))?;
        Ok(self.so_far().between(from, to))
    }

    /// Ends it, once the requests under way have ended.
    pub fn stop(mut self) -> Result<Requests> {
        self.course.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a client thread panicked"))??;
        }
        Ok(self.so_far())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.course.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // An error of a client that nobody asks about any more.
            let _ = thread.join();
        }
    }
}

impl Course {
    /// One thread's part: takes the next request that is due, waits for its time and sends it.
    fn run(&self) {
        loop {
            let number = self.account().take();
            let due = self.start + self.interval * number;
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(left.min(Duration::from_millis(50)));
            }
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let at = Instant::now();
            let answer = ask(self.vip).map_err(|error| error.to_string());
            let request = Request { at, took: at.elapsed(), answer };
            let mut account = self.account();
            account.under_way.remove(&number);
            account.ended.push(request);
        }
    }

    /// Whether every request that was due before this moment has ended.
    fn is_over(&self, moment: Instant) -> bool {
        let account = self.account();
        let first = account.under_way.first().copied().unwrap_or(account.next);
        self.start + self.interval * first >= moment
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn take(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number);
        number
    }
}

impl Requests {
    /// Those sent from one moment until before another.
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        Self(self.0.iter().filter(|request| (from..to).contains(&request.at)).cloned().collect())
    }

    /// How many each host answered.
    pub fn by_host(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for host in self.0.iter().filter_map(|request| request.answer.as_ref().ok()) {
            *counts.entry(host.as_str()).or_default() += 1;
        }
        counts
    }

    /// Those that nobody answered.
    pub fn lost(&self) -> Vec<&Request> {
        self.0.iter().filter(|request| request.answer.is_err()).collect()
    }

    /// The longest time, between two answered requests, in which every request was lost; zero if
    /// none was.
    pub fn longest_gap(&self) -> Duration {
        let (mut longest, mut last, mut losing) = (Duration::ZERO, None, false);
        for request in &self.0 {
            if request.answer.is_err() {
                losing = true;
                last = last.or(Some(request.at));
                continue;
            }
            if let Some(last) = last.filter(|_| losing) {
                longest = longest.max(request.at.duration_since(last));
            }
            (last, losing) = (Some(request.at), false);
        }
        match (self.0.last(), last) {
            (Some(end), Some(last)) if losing => longest.max(end.at.duration_since(last)),
            _ => longest,
        }
    }
}

fn ask(vip: IpAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(vip, 80), CONNECT)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim());
    match body {
        Some(name) if answer.starts_with("HTTP/1.1 200 ") => Ok(name.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("odd answer: {answer:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests a second apart; a space is a lost one.
    fn requests(answers: &str) -> Requests {
        let start = Instant::now();
        let request = |(second, answer): (u32, char)| Request {
            at: start + Duration::from_secs(1) * second,
            took: Duration::ZERO,
            answer: if answer == ' ' { Err("lost".to_owned()) } else { Ok(answer.to_string()) },
        };
        Requests((0..).zip(answers.chars()).map(request).collect())
    }

    #[test]
    fn a_gap_lasts_from_the_last_answer_to_the_next() {
        for (answers, seconds) in
            [("", 0), ("aaa", 0), ("a a", 2), ("a  a aa", 3), ("  a", 2), ("a  ", 2)]
        {
            assert_eq!(requests(answers).longest_gap().as_secs(), seconds, "{answers:?}");
        }
    }

    #[test]
    fn answers_are_counted_by_host_and_time() {
        let all = requests("ab aa");
        assert_eq!(all.by_host(), BTreeMap::from([("a", 3), ("b", 1)]));
        assert_eq!(all.lost().len(), 1);
        let some = all.between(all.0[1].at, all.0[3].at);
        assert_eq!((some.by_host(), some.lost().len()), (BTreeMap::from([("b", 1)]), 1));
    }
}
