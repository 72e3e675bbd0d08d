//! BFD that is not up while BGP is, or would be: what to say about that, and when.
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::notice::{Level, Notice};
use super::{Output, Speaker};
use crate::bfd::diagnosis::{Diagnosis, Evidence};
use crate::bfd::driver::Command as BfdCommand;
use crate::bgp::peer::State;
use crate::route::PeerName;

/// Within this time BFD comes up if nothing is wrong; and between looks at it if something is.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a BFD session that is missed.
#[derive(Debug)]
pub(super) struct Missed {
    ask_at: Instant,
    evidence: Option<Evidence>,
    pub(super) diagnosis: Option<Diagnosis>,
    /// What the log has of this
    told: BTreeSet<Diagnosis>,
}

impl Missed {
    fn new(now: Instant) -> Self {
        let told = BTreeSet::new();
        Self { ask_at: now + PATIENCE, evidence: None, diagnosis: None, told }
    }
}

impl Speaker {
    /// Begins to miss BFD where it is not up and something depends on it.
    pub(super) fn miss_bfd(&mut self, now: Instant) {
        for (name, entry) in &mut self.peers {
            let has_bfd = self.config.peers.get(name).is_some_and(|peer| peer.bfd.is_some());
            let is_wanted = entry.peer.state() == State::Established || entry.peer.awaits_bfd();
            let is_off = entry.bfd.up || entry.bfd.admin_down || !has_bfd;
            if is_off {
                entry.bfd.missed = None;
            } else if is_wanted && entry.bfd.missed.is_none() {
                entry.bfd.missed = Some(Missed::new(now));
            }
        }
    }

    /// Asks the BFD thread about the sessions that have been missed for long enough.
    pub(super) fn ask_about_bfd(&mut self, now: Instant) {
        for (name, entry) in &mut self.peers {
            if let Some(missed) = entry.bfd.missed.as_mut().filter(|missed| missed.ask_at <= now) {
                missed.ask_at = now + PATIENCE;
                self.outputs.push_back(Output::Bfd(BfdCommand::Look(name.clone())));
            }
        }
    }

    /// When that is due.
    pub(super) fn next_question(&self) -> Option<Instant> {
        self.peers.values().filter_map(|entry| Some(entry.bfd.missed.as_ref()?.ask_at)).min()
    }

    /// What the BFD thread has seen of a session.
    pub(super) fn handle_evidence(&mut self, name: &PeerName, evidence: Evidence) {
        let Some(entry) = self.peers.get_mut(name) else { return };
        let Some(missed) = &mut entry.bfd.missed else { return };
        let diagnosis = Diagnosis::of(&evidence, missed.evidence.as_ref());
        missed.evidence = Some(evidence);
        missed.diagnosis = Some(diagnosis);
        let strict = self.config.peers.get(name).is_some_and(|peer| peer.bgp.session.bfd_strict);
        // Without a session that is not news; and what is wrong on this host has been told.
        let matters = strict || entry.peer.state() == State::Established;
        if matters && entry.bfd.trouble.is_none() && missed.told.insert(diagnosis) {
            let waits = strict && entry.peer.state() != State::Established;
            let text = if waits { WAITING } else { "BFD is not up" };
            self.notice(Notice::peer(Level::Warn, name, text).because(diagnosis));
        }
    }
}

/// How it is called that there is no session for want of BFD.
pub(super) const WAITING: &str = "waiting for BFD (strict)";
