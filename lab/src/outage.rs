//! The silent death of a host: its cables carry nothing any more, and nobody is told.

use std::time::Instant;

use anyhow::Result;

use crate::fault::{Fault, Loss};
use crate::host::Host;

/// A dead host, until it is [revived](Self::revive) or this is dropped.
#[derive(Debug)]
#[must_use = "the host comes back when this is dropped"]
pub struct Outage {
    /// What the host does not hear.
    deaf: Fault,
    /// What each router does not hear, in order.
    mute: Vec<Fault>,
    began: Vec<Instant>,
}

impl Outage {
    /// Cuts all cables of a host in both directions, with the carrier up.
    pub fn begin(host: &Host) -> Result<Self> {
        // What a router hears last is what counts, so its end comes last.
        let deaf = Fault::inject(host.links.iter().map(|link| &link.ends[1]), &Loss::Everything)?;
        let (mut mute, mut began) = (Vec::new(), Vec::new());
        for link in &host.links {
            began.push(Instant::now());
            mute.push(Fault::inject([&link.ends[0]], &Loss::Everything)?);
        }
        Ok(Self { deaf, mute, began })
    }

    /// Since when each router, in order, hears nothing. It takes some milliseconds to set a rule;
    /// these moments are the earliest possible ones.
    pub fn began(&self) -> &[Instant] {
        &self.began
    }

    /// Lets the host live again, and tells for each router, in order, the earliest moment at which
    /// it may have heard from it.
    pub fn revive(self) -> Result<Vec<Instant>> {
        self.deaf.heal()?;
        let revive = |fault: Fault| {
            let at = Instant::now();
            fault.heal()?;
            Ok(at)
        };
        self.mute.into_iter().map(revive).collect()
    }
}
