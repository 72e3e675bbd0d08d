//! What the unit that a service follows means to it.
use crate::units::{Activity, State, UnitName};

/// A unit that is followed.
#[derive(Clone, Debug)]
pub struct Following {
    unit: UnitName,
    /// `None`: nobody has said yet what it is like, or that this is not known
    state: Option<State>,
    /// Since it last ran, somebody has asked it to stop
    asked: bool,
    /// It has not run all the time
    paused: bool,
    /// The run that was seen last
    activation: Option<u64>,
}

/// What follows from what became of a unit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct News {
    /// What is known of the service's health is about what was there before
    pub is_other: bool,
    /// It runs again
    pub is_back: bool,
    /// It ended, and nobody had asked it to
    pub has_crashed: bool,
}

impl Following {
    /// Of which this is known; without, the service waits for the first word.
    #[must_use]
    pub fn new(unit: UnitName, state: Option<State>) -> Self {
        let mut following =
            Self { unit, state: None, asked: false, paused: false, activation: None };
        if let Some(state) = state {
            following.handle(state);
        }
        following
    }

    /// Which unit.
    #[must_use]
    pub fn unit(&self) -> &UnitName {
        &self.unit
    }

    /// What is known of it, if anybody has said.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Whether it keeps the service from being announced. What is not known does not.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.state
            .as_ref()
            .is_some_and(|state| state.is_known() && (!state.runs() || state.stopping))
    }

    /// Whether nobody has said yet what it is like.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.state.is_none()
    }

    /// Takes in what it is like now.
    pub fn handle(&mut self, state: State) -> News {
        let held = self.holds();
        let is_unknown = !state.is_known();
        let runs = state.runs();
        let is_other_run =
            runs && self.activation.is_some_and(|activation| activation != state.activation);
        let has_ended = !runs && !is_unknown && state.activity != Activity::Deactivating;
        // It may have ended and be back before anybody looked.
        let has_crashed =
            !self.asked && self.activation.is_some() && (has_ended || is_other_run && !self.paused);
        let is_back = runs && !state.stopping && (self.paused || is_other_run);
        let is_other = is_back || is_unknown && held && self.paused;
        if runs {
            self.activation = Some(state.activation);
        } else if has_ended {
            self.activation = None;
        }
        if runs && !state.stopping {
            (self.paused, self.asked) = (false, false);
        }
        self.paused |= !runs && !is_unknown;
        self.asked |= state.stopping;
        self.state = Some(state);
        News { is_other, is_back, has_crashed }
    }
}
