//! What the operator wants with a service, whatever its checks say.
use serde::{Deserialize, Serialize};

/// How a service is taken out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Its VIPs are withdrawn, and served on this host for as long as packets may still come
    Drain,
    /// Its VIPs are withdrawn, and it is down to this host
    Down,
}

/// For how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// Until that is undone: over restarts and reboots
    Persistent,
    /// Until that is undone, or the daemon ends
    Runtime,
}

/// The operator's wish, as it is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Admin {
    /// What is wanted
    pub mode: Mode,
    /// Why
    pub reason: Option<String>,
    /// Since when, as RFC 3339 in UTC
    pub since: String,
}

/// All wishes that there are about one service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    persistent: Option<Admin>,
    runtime: Option<Admin>,
}

impl Wishes {
    /// Replaces the wish that is kept for so long, or undoes it.
    pub fn set(&mut self, keep: Keep, admin: Option<Admin>) {
        *self.slot(keep) = admin;
    }

    /// The wish that is kept for so long.
    #[must_use]
    pub fn get(&self, keep: Keep) -> Option<&Admin> {
        match keep {
            Keep::Persistent => self.persistent.as_ref(),
            Keep::Runtime => self.runtime.as_ref(),
        }
    }

    /// The one that counts; of two that want the same, the one that is kept longer.
    #[must_use]
    pub fn strongest(&self) -> Option<(Keep, &Admin)> {
        let of = |keep| self.get(keep).map(|admin| (keep, admin));
        let both = [of(Keep::Runtime), of(Keep::Persistent)].into_iter().flatten();
        both.max_by_key(|(_, admin)| admin.mode)
    }

    fn slot(&mut self, keep: Keep) -> &mut Option<Admin> {
        match keep {
            Keep::Persistent => &mut self.persistent,
            Keep::Runtime => &mut self.runtime,
        }
    }
}
