//! A peer's restarts (RFC 4724), as its sessions show them: what it is granted meanwhile, and which
//! failure of BFD is no more than that (RFC 5882 §4.3).
use std::time::{Duration, Instant};

use crate::bgp::connection::Session;
use crate::bgp::down::DownReason;
use crate::bgp::peer::Event;
use crate::route::Family;

/// BGP may be back, and have said everything, before BFD has noticed that it was away: that takes a
/// detection time, or the first packet of the new session.
const LATE_BFD: Duration = Duration::from_secs(3);

/// What is known of a peer's restarts.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    session: Option<Session>,
    /// The end of the last session, if it may have been a restart
    lost: Option<Lost>,
}

/// A session that ended as it does when the peer restarts.
#[derive(Debug)]
struct Lost {
    at: Instant,
    /// Families for which the peer may go on forwarding, and until when it is to be back; `None` if
    /// it has named none
    kept: Option<(Vec<Family>, Instant)>,
    next: Next,
}

/// The session after that.
#[derive(Clone, Copy, Debug)]
enum Next {
    Awaited,
    /// Since then; the peer says that it has restarted
    AfterRestart(Instant),
    /// The peer says no such thing
    AfterLoss,
}

impl Restarts {
    /// Takes in what the peer has to say.
    pub(super) fn handle_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Established(session) => {
                if let Some(lost) = &mut self.lost {
                    let restarted = session.follows_restart();
                    lost.next = if restarted { Next::AfterRestart(now) } else { Next::AfterLoss };
                }
                self.session = Some(session.clone());
            }
            Event::Down(reason) => {
                self.lost = self.session.take().and_then(|before| Lost::new(&before, reason, now));
            }
            Event::AwaitsBfd
            | Event::Failed(_)
            | Event::Defects(_)
            | Event::Received(_)
            | Event::Sent(_) => {}
        }
    }

    /// For which families, and until when, the routes of the session that was lost last are kept
    /// (RFC 4724 §4.2).
    pub(super) fn kept(&self) -> Option<(&[Family], Instant)> {
        let (families, until) = self.lost.as_ref()?.kept.as_ref()?;
        Some((families, *until))
    }

    /// Whether the peer has restarted after `up` and is still at it, so that a BFD session that was up
    /// since then, and shares fate with its control plane, fails for that reason. `has_stale`: it has
    /// yet to announce again what it had announced.
    ///
    /// RFC 5882 §4.3.2: such a failure is none of the path, and aborts no graceful restart. One that
    /// came up again since is with the new control plane, and its failure is one of its own.
    pub(super) fn explain_bfd(&self, up: Instant, has_stale: bool, now: Instant) -> bool {
        let Some(lost) = self.lost.as_ref().filter(|lost| up < lost.at) else { return false };
        match lost.next {
            // RFC 4724 §3: without families the restart time means nothing.
            Next::Awaited => lost.kept.as_ref().is_some_and(|(_, until)| now < *until),
            Next::AfterRestart(returned) => has_stale || now < returned + LATE_BFD,
            // RFC 4724 §4.1: it would have said so.
            Next::AfterLoss => false,
        }
    }
}

impl Lost {
    fn new(session: &Session, reason: &DownReason, now: Instant) -> Option<Self> {
        let restart = session.graceful_restart.as_ref()?;
        let kept = session.keeps_routes(reason).map(|(families, time)| (families, now + time));
        let may_be = reason.may_be_restart(restart.notification);
        may_be.then_some(Self { at: now, kept, next: Next::Awaited })
    }
}
