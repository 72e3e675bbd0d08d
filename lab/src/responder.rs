//! A service of our own, whose answers to health checks are known to the microsecond.
//!
//! It is a thread of this process inside a host's namespace. The path of a request is the number of
//! a check, like `/17`; the answer is 200 or 503, as [set](Responder::set_healthy) for all of them.

use std::collections::HashMap;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::Namespace;
use crate::wait;

/// A longer request is no health check.
const MOST: usize = 4096;

/// A running responder, on one port of all IPv4 addresses.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Shared>,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// One answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the check.
    pub check: u32,
    /// When the connection was accepted.
    pub accepted: Instant,
    /// Right before the answer was written.
    pub at: Instant,
    /// Whether it was 200, not 503.
    pub healthy: bool,
}

#[derive(Debug)]
struct Shared {
    healthy: AtomicBool,
    answers: Mutex<Vec<Answer>>,
}

/// The thread's own.
struct Loop {
    listener: TcpListener,
    stop: PipeReader,
    open: HashMap<RawFd, Connection>,
    shared: Arc<Shared>,
}

struct Connection {
    stream: TcpStream,
    accepted: Instant,
    request: Vec<u8>,
}

impl Responder {
    /// Starts it, healthy.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let (reader, writer) = pipe()?;
        let listener = namespace
            .enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?
            .with_context(|| format!("cannot listen on port {port}"))?;
        listener.set_nonblocking(true)?;
        let shared =
            Arc::new(Shared { healthy: AtomicBool::new(true), answers: Mutex::new(Vec::new()) });
        let (open, ours) = (HashMap::new(), shared.clone());
        let mut run = Loop { listener, stop: reader, open, shared: ours };
        let thread =
            thread::Builder::new().name("responder".to_owned()).spawn(move || run.run())?;
        Ok(Self { shared, stop: Some(writer), thread: Some(thread) })
    }

    /// Lets all checks be answered 200 or 503 from now on, and tells since when.
    pub fn set_healthy(&self, healthy: bool) -> Instant {
        let at = Instant::now();
        self.shared.healthy.store(healthy, Ordering::SeqCst);
        at
    }

    /// All answers since a moment, in the order in which they were given.
    pub fn answers_since(&self, since: Instant) -> Vec<Answer> {
        self.shared.answers().iter().filter(|answer| answer.at >= since).copied().collect()
    }

    /// For each check the `count`th answer of this health since a moment: with `fall = 2`, the
    /// second 503 is the verdict. Waits until so many checks have one.
    pub fn verdicts(
        &self,
        since: Instant,
        healthy: bool,
        count: usize,
        checks: usize,
        bound: Duration,
    ) -> Result<HashMap<u32, Instant>> {
        let what = format!("{checks} checks are answered {count} times");
        wait::until(&what, bound, || {
            let (mut seen, mut verdicts) = (HashMap::<u32, usize>::new(), HashMap::new());
            for answer in self.answers_since(since) {
                let before = seen.entry(answer.check).or_default();
                *before += usize::from(answer.healthy == healthy);
                if *before == count {
                    verdicts.entry(answer.check).or_insert(answer.at);
                }
            }
            Ok((verdicts.len() >= checks).then_some(verdicts))
        })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("lab: the responder failed: {error:#}"),
            Some(Err(_)) => eprintln!("lab: the responder panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loop {
    fn run(&mut self) -> Result<()> {
        loop {
            let mut fds = vec![
                PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            ];
            let streams = self.open.values().map(|connection| connection.stream.as_fd());
            fds.extend(streams.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            poll(&mut fds, PollTimeout::NONE)?;
            let ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
            let (stopped, incoming) = (ready(&fds[0]), ready(&fds[1]));
            let readable: Vec<RawFd> =
                fds[2..].iter().filter(|fd| ready(fd)).map(|fd| fd.as_fd().as_raw_fd()).collect();
            if stopped {
                return Ok(());
            }
            for fd in readable {
                self.serve(fd);
            }
            if incoming {
                self.accept()?;
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    let fd = stream.as_raw_fd();
                    let accepted = Instant::now();
                    self.open.insert(fd, Connection { stream, accepted, request: Vec::new() });
                    self.serve(fd);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error).context("cannot accept"),
            }
        }
    }

    /// Reads what is there and answers if that is all; then, as after an error, it closes.
    fn serve(&mut self, fd: RawFd) {
        let Some(connection) = self.open.get_mut(&fd) else { return };
        if !matches!(connection.serve(&self.shared), Ok(false)) {
            self.open.remove(&fd);
        }
    }
}

impl Connection {
    /// Whether it is done.
    fn serve(&mut self, shared: &Shared) -> io::Result<bool> {
        let mut octets = [0; 1024];
        while !self.request.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut octets) {
                Ok(0) => return Ok(true),
                Ok(length) => self.request.extend_from_slice(&octets[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.request.len() > MOST {
                return Ok(true);
            }
        }
        let check = number(&self.request).ok_or(ErrorKind::InvalidData)?;
        let healthy = shared.healthy.load(Ordering::SeqCst);
        let status = if healthy { "200 OK" } else { "503 Service Unavailable" };
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let at = Instant::now();
        self.stream.write_all(text.as_bytes())?;
        shared.answers().push(Answer { check, accepted: self.accepted, at, healthy });
        Ok(true)
    }
}

/// The check that a request is for.
fn number(request: &[u8]) -> Option<u32> {
    let line = request.split(|octet| *octet == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    words.nth(1)?.strip_prefix('/')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_number_of_the_check() {
        assert_eq!(number(b"GET /17 HTTP/1.1\r\nhost: x\r\n\r\n"), Some(17));
        assert_eq!(number(b"GET / HTTP/1.1\r\n\r\n"), None);
        assert_eq!(number(b"\xff"), None);
    }
}
