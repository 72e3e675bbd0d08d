//! From outcomes to a verdict: rise and fall.
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// How many outcomes in a row change a verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Thresholds {
    /// Successes to come up
    pub rise: NonZeroU32,
    /// Failures to go down
    pub fall: NonZeroU32,
}

/// What is held to be true.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is known yet
    #[default]
    Unknown,
    /// Healthy
    Up,
    /// Not healthy
    Down,
}

impl Verdict {
    /// In a word, as the status has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The health of one check.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    thresholds: Thresholds,
    verdict: Verdict,
    /// Outcomes in a row that speak against the verdict
    against: u32,
}

impl Health {
    /// Nothing is known yet: the first outcome decides.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, verdict: Verdict::Unknown, against: 0 }
    }

    /// Takes in an outcome; whether the verdict changed.
    pub fn handle_outcome(&mut self, success: bool) -> bool {
        let (spoken, needed) = match (success, self.verdict) {
            (true, Verdict::Unknown) => (Verdict::Up, 1),
            (false, Verdict::Unknown) => (Verdict::Down, 1),
            (true, _) => (Verdict::Up, self.thresholds.rise.get()),
            (false, _) => (Verdict::Down, self.thresholds.fall.get()),
        };
        if spoken == self.verdict {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < needed {
            return false;
        }
        self.verdict = spoken;
        self.against = 0;
        true
    }

    /// Goes by other thresholds from now on; what is known stays known.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// What is held to be true.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How many outcomes in a row speak against the verdict, and how many change it.
    #[must_use]
    pub fn against(&self) -> (u32, u32) {
        let needed = match self.verdict {
            Verdict::Unknown => 1,
            Verdict::Up => self.thresholds.fall.get(),
            Verdict::Down => self.thresholds.rise.get(),
        };
        (self.against, needed)
    }
}
