//! When a connection is given up because nothing reaches our end of it: its address is gone from this
//! host, or the link is.
use std::time::{Duration, Instant};

/// For how long a session outlives that: it may be over in a moment, and TCP would not have noticed.
pub(super) const CUT_OFF_TIME: Duration = Duration::from_secs(2);

/// What is known of our end of one connection.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    /// It was seen on this host: there are ways to have an address that nobody reports
    seen: bool,
    /// Why nothing reaches it, and until when that may last
    lasting: Option<(String, Instant)>,
}

impl CutOff {
    /// The host's links and addresses are known; `why` nothing reaches our end, if that is so.
    pub(super) fn update(&mut self, why: Option<String>, now: Instant) {
        self.seen |= why.is_none();
        let until = self.poll_timeout().unwrap_or(now + CUT_OFF_TIME);
        self.lasting = why.filter(|_| self.seen).map(|why| (why, until));
    }

    /// Takes in the passing of time: why the connection is to be given up, if it is.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<String> {
        self.lasting.take_if(|(_, until)| *until <= now).map(|(why, _)| why)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.lasting.as_ref().map(|(_, until)| *until)
    }
}
