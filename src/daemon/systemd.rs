//! What systemd is told (sd_notify(3)). A thread of its own does the sending, which blocks while the
//! manager does not read.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// States that may wait for the manager.
const QUEUE: usize = 64;

/// What there is to tell.
#[derive(Debug)]
pub(super) enum State {
    /// The configuration is in force
    Ready,
    /// A reload begins; [`State::Ready`] ends it
    Reloading,
    /// One line for `systemctl status`
    Status(String),
    /// The owner and BFD are alive
    Watchdog,
    /// We are on our way out
    Stopping,
}

/// Reaches the manager.
#[derive(Clone, Debug)]
pub(super) struct Manager(SyncSender<State>);

impl Manager {
    /// Starts the sender. Without a manager everything is told to nobody.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, states) = sync_channel(QUEUE);
        thread::Builder::new().name("notify".into()).spawn(move || {
            while let Ok(state) = states.recv() {
                // A manager that cannot be told is no reason to stop.
                let _ = send(&state);
            }
        })?;
        Ok(Self(sender))
    }

    /// Tells the manager; never waits. What does not fit is lost, and told again in time or of no
    /// matter by then.
    pub(super) fn tell(&self, state: State) {
        let _ = self.0.try_send(state);
    }
}

fn send(state: &State) -> io::Result<()> {
    match state {
        State::Ready => sd_notify::notify(&[NotifyState::Ready]),
        State::Reloading => {
            sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
        }
        // A newline would begin another assignment.
        State::Status(text) => {
            let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            sd_notify::notify(&[NotifyState::Status(&line)])
        }
        State::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    }
}

/// How often the watchdog wants to hear from us, with room to spare; `None` when it does not.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}
