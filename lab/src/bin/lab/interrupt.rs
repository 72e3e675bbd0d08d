//! Ctrl-C: whatever lab is being made or used is removed before the process ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use vipcast_lab::site::Site;

/// Takes the signals that end a process, from its creation on.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<Mutex<Option<Arc<Site>>>>);

impl Interrupt {
    /// To be called before any thread is started: none but its own takes these signals any more.
    pub(crate) fn arm() -> Result<Self> {
        let signals: SigSet =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        let interrupt = Self(Arc::default());
        let ours = interrupt.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || ours.wait(signals))?;
        Ok(interrupt)
    }

    /// Makes a lab and works in it; it is removed if that fails or is interrupted.
    pub(crate) fn on_site<T>(
        &self,
        make: impl FnOnce() -> Result<Arc<Site>>,
        work: impl FnOnce(&Arc<Site>) -> Result<T>,
    ) -> Result<T> {
        let site = make()?;
        *self.current() = Some(site.clone());
        let outcome = work(&site);
        if outcome.is_err() {
            // If an interrupt was the cause, this waits until the other thread exits. What was
            // abandoned must not be dropped.
            site.abandon();
            std::mem::forget(site);
        }
        *self.current() = None;
        outcome
    }

    fn wait(&self, signals: SigSet) {
        let signal = signals.wait();
        let site = self.current().clone();
        if let Some(site) = site {
            if !site.is_ours() {
                return; // finished, and to be left standing
            }
            eprintln!("\nlab: interrupted, removing everything");
            site.abandon();
        }
        std::process::exit(signal.map_or(1, |signal| 128 + signal as i32));
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Site>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
