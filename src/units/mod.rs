//! What systemd says of units: whether they run, and whether somebody has asked them to stop. It is
//! told by signals over D-Bus, nothing is polled.
//!
//! [`watch`] is what is known and what there is to ask, [`driver`] talks to the bus.
pub mod driver;
pub mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The types of units (systemd.unit(5)).
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
];

/// The name of a unit, with its type: "nginx.service".
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnitName(Arc<str>);

/// Why a text is no name of a unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WrongName {
    /// It does not end in a type
    #[error("it does not say of which type it is")]
    NoType,
    /// A template has no state, its instances have
    #[error("it is a template, of which there are only instances")]
    Template,
    /// What systemd would not take
    #[error("it is empty, too long, or has characters that no unit has")]
    Characters,
}

impl UnitName {
    /// systemd's UNIT_NAME_MAX, without the NUL
    const LONGEST: usize = 255;

    /// Understands a whole name, by the rules of systemd.unit(5).
    ///
    /// # Errors
    ///
    /// When systemd would know no unit by it.
    pub fn new(text: &str) -> Result<Self, WrongName> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if text.is_empty() || text.len() > Self::LONGEST || !text.chars().all(is_known) {
            return Err(WrongName::Characters);
        }
        let typed = text.rsplit_once('.').filter(|(_, kind)| TYPES.contains(kind));
        let (stem, _) = typed.ok_or(WrongName::NoType)?;
        match stem.split_once('@') {
            Some((_, "")) => Err(WrongName::Template),
            Some(("", _)) => Err(WrongName::Characters),
            None if stem.is_empty() => Err(WrongName::Characters),
            Some(_) | None => Ok(Self(text.into())),
        }
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The ActiveState of a unit (systemctl(1)), and what there may be in place of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// It runs
    Active,
    /// It runs, and reads its configuration again
    Reloading,
    /// It is being started, or will be again after a failure
    Activating,
    /// It is being stopped
    Deactivating,
    /// It does not run
    Inactive,
    /// It does not run, and that was no stop
    Failed,
    /// There is no such unit
    NotFound,
    /// systemd has not said, or cannot be asked
    Unknown,
}

/// What is known of a unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// What it does
    pub activity: Activity,
    /// Somebody has asked it to stop or to restart: the job waits or runs
    pub stopping: bool,
    /// How it failed, in systemd's word: "exit-code"
    pub result: Option<String>,
    /// When it was last started, by systemd's clock: tells one run of it from the next
    pub activation: u64,
}

impl State {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { activity: Activity::Unknown, stopping: false, result: None, activation: 0 };

    /// Whether it does its work, for however short a time yet.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.activity, Activity::Active | Activity::Reloading)
    }

    /// Whether anything is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.activity != Activity::Unknown
    }

    /// All of it in words.
    #[must_use]
    pub fn describe(&self, unit: &UnitName) -> String {
        match (self.activity, &self.result) {
            (Activity::Active | Activity::Reloading, _) if self.stopping => {
                format!("{unit} is asked to stop")
            }
            (Activity::Active, _) => format!("{unit} is active"),
            (Activity::Reloading, _) => format!("{unit} is reloading"),
            (Activity::Activating, _) => format!("{unit} is activating"),
            (Activity::Deactivating, _) => format!("{unit} is deactivating"),
            (Activity::Inactive, _) => format!("{unit} is inactive"),
            (Activity::Failed, Some(result)) => format!("{unit} is failed ({result})"),
            (Activity::Failed, None) => format!("{unit} is failed"),
            (Activity::NotFound, _) => format!("there is no unit {unit}"),
            (Activity::Unknown, _) => format!("it is not known whether {unit} is active"),
        }
    }
}

/// What is told of units.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// This is known of a unit now
    State(UnitName, State),
    /// Why systemd cannot be asked, or (`None`) it can
    Unreachable(Option<String>),
}
