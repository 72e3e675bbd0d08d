//! Stopping: withdraw everything, end the sessions, take the addresses off the host, in this order
//! and each step bounded in time.
use std::time::{Duration, Instant};

use super::notice::{Level, Notice};
use super::{Output, Speaker};
use crate::bfd::driver::Command as BfdCommand;
use crate::bgp::down::DownReason;

/// For the withdrawals to reach every socket.
const WITHDRAW: Duration = Duration::from_millis(500);
/// For the routers to act on the end of the session, while packets still find the addresses.
const CLOSE: Duration = Duration::from_millis(200);
/// For the kernel to remove the addresses.
const REMOVE: Duration = Duration::from_millis(500);
/// For hooks to end; the unit kills the daemon after ten seconds.
const HOOKS: Duration = Duration::from_secs(5);

/// Where the daemon's life stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Running,
    /// The peers are told that nothing is here any more
    Withdrawing(String, Instant),
    /// They are told that we go
    Closing(Instant),
    /// The addresses go
    Removing(Instant),
    /// All is done, but for what hooks are told of it
    Telling(Instant),
    Stopped,
}

impl Phase {
    pub(super) fn is_running(&self) -> bool {
        *self == Self::Running
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Withdrawing(_, until)
            | Self::Closing(until)
            | Self::Removing(until)
            | Self::Telling(until) => Some(*until),
            Self::Running | Self::Stopped => None,
        }
    }
}

impl Speaker {
    pub(super) fn begin_stop(&mut self, text: String, now: Instant) {
        if !self.phase.is_running() {
            return;
        }
        self.notice(Notice::new(Level::Info, "stopping").because(&text));
        self.phase = Phase::Withdrawing(text, now + WITHDRAW);
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            self.evaluate_service(&name, now);
        }
    }

    /// Goes without a word, and leaves everything as it is: the peers keep our routes until the next
    /// process is there (RFC 4724 §4.2), and BFD is no reason not to (RFC 5882 §4.2).
    pub(super) fn begin_restart(&mut self, now: Instant) {
        if !self.phase.is_running() {
            return;
        }
        self.notice(Notice::new(Level::Info, "stopping for a restart"));
        for entry in self.peers.values_mut() {
            entry.peer.stop(&DownReason::Restarting, now);
        }
        self.phase = Phase::Removing(now);
        self.drain_peers(now);
        self.outputs.push_back(Output::Bfd(BfdCommand::AdminDown));
    }

    /// Takes the next step when the last one is done, or has had its time; whether it did.
    pub(super) fn advance_stop(&mut self, now: Instant) -> bool {
        let late = self.phase.deadline().is_some_and(|until| until <= now);
        match &self.phase {
            Phase::Withdrawing(text, _) => {
                let settled = self.peers.values().all(|entry| entry.peer.is_settled());
                if !settled && !late {
                    return false;
                }
                let reason = DownReason::Shutdown(text.clone());
                for entry in self.peers.values_mut() {
                    entry.peer.stop(&reason, now);
                }
                self.phase = Phase::Closing(now + CLOSE);
                self.drain_peers(now);
                self.outputs.push_back(Output::Bfd(BfdCommand::AdminDown));
            }
            Phase::Closing(_) if late => {
                self.addresses.unwant_all(now);
                self.phase = Phase::Removing(now + REMOVE);
            }
            Phase::Removing(_) if late || self.addresses.is_settled() => {
                self.phase = Phase::Telling(now + HOOKS);
            }
            Phase::Telling(_) if late || self.hooks.under_way().next().is_none() => {
                self.leave_hooks();
                self.phase = Phase::Stopped;
                self.outputs.push_back(Output::Stopped);
            }
            Phase::Running
            | Phase::Closing(_)
            | Phase::Removing(_)
            | Phase::Telling(_)
            | Phase::Stopped => return false,
        }
        true
    }
}
