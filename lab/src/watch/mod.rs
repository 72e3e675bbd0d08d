//! Watches the kernel's routes in a namespace: which next hops each prefix has, and when that
//! changed.
//!
//! A thread reads rtnetlink notifications (`netlink`), keeps the kernel's table (`table`), and
//! publishes for each prefix the next hops that packets use, with the time at which the
//! notification was received. It asks for the whole table again when notifications were lost
//! (ENOBUFS) and when a link changes, because the kernel drops routes of a dead link in silence.

mod netlink;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{PipeWriter, pipe};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;

use crate::netns::Namespace;
use netlink::Monitor;

/// One way to a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// Out of which interface.
    pub interface: String,
    /// To which router; `None` for what is connected.
    pub via: Option<IpAddr>,
}

/// All ways to a prefix that the kernel uses; none if it has no route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHops(BTreeSet<NextHop>);

/// From this moment on, a prefix had these next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the notification was received.
    pub at: Instant,
    /// Which prefix.
    pub prefix: IpNet,
    /// Its next hops since then.
    pub next_hops: NextHops,
}

/// The kernel's main routing table in one namespace, and its history since the start.
#[derive(Debug)]
pub struct Watch {
    name: String,
    log: Arc<Log>,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has seen so far.
#[derive(Debug)]
struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    start: Instant,
    history: HashMap<IpNet, Vec<Change>>,
    failure: Option<String>,
}

impl Watch {
    /// Starts watching; the table as it is now is the first state.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let (reader, writer) = pipe()?;
        let mut monitor = namespace.enter(|| Monitor::open(reader))??;
        let state = State { start: Instant::now(), history: HashMap::new(), failure: None };
        let log = Arc::new(Log { state: Mutex::new(state), changed: Condvar::new() });
        log.publish(monitor.begin()?);
        let publisher = log.clone();
        let run = move || {
            while let Some(changes) = monitor.next().transpose() {
                match changes {
                    Ok(changes) => publisher.publish(changes),
                    Err(error) => return publisher.fail(&error),
                }
            }
        };
        let thread = thread::Builder::new().name("route watch".to_owned()).spawn(run)?;
        let name = namespace.name().to_owned();
        Ok(Self { name, log, stop: Some(writer), thread: Some(thread) })
    }

    /// When the watch began.
    pub fn started(&self) -> Instant {
        self.log.lock().start
    }

    /// The next hops of exactly this prefix now.
    pub fn next_hops(&self, prefix: IpNet) -> NextHops {
        self.log.lock().now(prefix)
    }

    /// The whole table now.
    pub fn snapshot(&self) -> BTreeMap<IpNet, NextHops> {
        let state = self.log.lock();
        let now = state.history.keys().map(|prefix| (*prefix, state.now(*prefix)));
        now.filter(|(_, hops)| !hops.is_empty()).collect()
    }

    /// The changes of a prefix since a moment, oldest first.
    pub fn changes(&self, prefix: IpNet, since: Instant) -> Vec<Change> {
        let state = self.log.lock();
        let history = state.history.get(&prefix).into_iter().flatten();
        history.filter(|change| change.at >= since).cloned().collect()
    }

    /// Waits until the next hops of a prefix are as wanted, and gives the change since which they
    /// are so without interruption; that may be before the call.
    pub fn wait_for(
        &self,
        prefix: IpNet,
        bound: Duration,
        wanted: impl Fn(&NextHops) -> bool,
    ) -> Result<Change> {
        let deadline = Instant::now() + bound;
        let mut state = self.log.lock();
        loop {
            if let Some(failure) = &state.failure {
                bail!("the route watch in {} failed: {failure}", self.name);
            }
            if let Some(change) = state.since(prefix, &wanted) {
                return Ok(change);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let now = state.now(prefix);
                bail!(
                    "waited {bound:?} in vain for a change of {prefix} in {}; it is {now:?}",
                    self.name
                );
            }
            let waited = self.log.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a prefix has exactly so many next hops.
    pub fn wait_for_count(&self, prefix: IpNet, bound: Duration, count: usize) -> Result<Change> {
        let wanted = |hops: &NextHops| hops.len() == count;
        self.wait_for(prefix, bound, wanted)
            .with_context(|| format!("{count} next hops were wanted"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("lab: the route watch in {} panicked", self.name);
        }
    }
}

impl NextHops {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no way.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their interfaces.
    pub fn iter(&self) -> impl Iterator<Item = &NextHop> {
        self.0.iter()
    }

    /// Whether one of them goes out of this interface.
    pub fn through(&self, interface: &str) -> bool {
        self.iter().any(|hop| hop.interface == interface)
    }

    /// The interfaces they go out of, in order.
    pub fn interfaces(&self) -> Vec<&str> {
        self.iter().map(|hop| hop.interface.as_str()).collect()
    }
}

impl FromIterator<NextHop> for NextHops {
    fn from_iter<I: IntoIterator<Item = NextHop>>(hops: I) -> Self {
        Self(hops.into_iter().collect())
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, changes: Vec<Change>) {
        let mut state = self.lock();
        for change in changes {
            if state.now(change.prefix) != change.next_hops {
                state.history.entry(change.prefix).or_default().push(change);
            }
        }
        self.changed.notify_all();
    }

    fn fail(&self, error: &anyhow::Error) {
        self.lock().failure = Some(format!("{error:#}"));
        self.changed.notify_all();
    }
}

impl State {
    fn now(&self, prefix: IpNet) -> NextHops {
        let last = self.history.get(&prefix).and_then(|history| history.last());
        last.map_or_else(NextHops::default, |change| change.next_hops.clone())
    }

    /// The first change of the last run of changes that are all as wanted.
    fn since(&self, prefix: IpNet, wanted: impl Fn(&NextHops) -> bool) -> Option<Change> {
        let history = self.history.get(&prefix).map_or(&[][..], Vec::as_slice);
        let run = history.iter().rev().take_while(|change| wanted(&change.next_hops)).count();
        if run == history.len() && wanted(&NextHops::default()) {
            return Some(Change { at: self.start, prefix, next_hops: self.now(prefix) });
        }
        history.len().checked_sub(run).and_then(|first| history.get(first)).cloned()
    }
}
