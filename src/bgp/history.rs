//! What became of a peer's sessions and attempts: why there is none, since when, how often, and
//! what of it has been told, so that repetitions are not.
use std::collections::BTreeSet;
use std::time::Instant;

use super::down::DownReason;
use super::wire::{Defect, Update};

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Sessions that came up
    pub established: u64,
    /// Prefixes announced to us, which are not kept unless they are accepted
    pub received_prefixes: u64,
    /// UPDATEs with a defect that RFC 7606 lets pass
    pub defective_updates: u64,
}

/// The past of one peer.
#[derive(Debug)]
pub struct History {
    since: Instant,
    last_down: Option<(DownReason, Instant)>,
    last_failure: Option<(DownReason, Instant)>,
    /// A router that has sent one may hang up on the next attempts without a word
    last_notification: Option<(DownReason, Instant)>,
    told: Option<DownReason>,
    /// Of this session: there can be a thousand in one message, and a million messages
    told_defects: BTreeSet<Defect>,
    counters: Counters,
}

impl History {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            last_down: None,
            last_failure: None,
            last_notification: None,
            told: None,
            told_defects: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    /// A session is up.
    pub(super) fn established(&mut self, now: Instant) {
        self.since = now;
        self.told = None;
        self.last_failure = None;
        self.last_notification = None;
        self.told_defects.clear();
        self.counters.established += 1;
    }

    /// It is over.
    pub(super) fn down(&mut self, reason: &DownReason, now: Instant) {
        self.since = now;
        self.last_down = Some((reason.clone(), now));
        self.told = Some(reason.clone());
    }

    /// An attempt failed; whether that is news.
    pub(super) fn failed(&mut self, reason: &DownReason, now: Instant) -> bool {
        let is_news = self.told.as_ref() != Some(reason);
        self.told = Some(reason.clone());
        self.last_failure = Some((reason.clone(), now));
        if reason.has_notification() {
            self.last_notification.clone_from(&self.last_failure);
        }
        is_news
    }

    /// An UPDATE came; which of its defects are new in this session.
    pub(super) fn received(&mut self, update: &Update) -> Vec<Defect> {
        self.counters.received_prefixes += update.announcements() as u64;
        self.counters.defective_updates += u64::from(!update.defects.is_empty());
        let told = &mut self.told_defects;
        update.defects.iter().filter(|defect| told.insert((*defect).clone())).cloned().collect()
    }

    /// Since when the peer is Established, or since when it is not.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why the last session ended, and when.
    #[must_use]
    pub fn last_down(&self) -> Option<&(DownReason, Instant)> {
        self.last_down.as_ref()
    }

    /// Why the last attempt since then failed, and when.
    #[must_use]
    pub fn last_failure(&self) -> Option<&(DownReason, Instant)> {
        self.last_failure.as_ref()
    }

    /// The last such failure in which either end said why by NOTIFICATION, and when.
    #[must_use]
    pub fn last_notification(&self) -> Option<&(DownReason, Instant)> {
        self.last_notification.as_ref()
    }

    /// How often what happened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
