//! A row of a table of wrong messages.

use anyhow::{Context, Result, ensure};

use super::connection::State;
use super::message::KEEPALIVE;
use super::stage::Stage;

/// What the hostile router sends, and what the RFC has the daemon do.
pub(crate) struct Case {
    name: &'static str,
    /// Where the answer is written down
    rfc: &'static str,
    octets: Vec<u8>,
    answer: Answer,
    /// What log and status call it
    words: &'static str,
}

enum Answer {
    /// A NOTIFICATION: code, subcode, data
    Reset(u8, u8, Vec<u8>),
    /// Nothing is said, the connection is closed
    Closed,
    /// The session goes on
    Stays,
}

impl Case {
    /// This NOTIFICATION, without data.
    pub(crate) fn reset(
        name: &'static str,
        rfc: &'static str,
        octets: Vec<u8>,
        (code, subcode): (u8, u8),
        words: &'static str,
    ) -> Self {
        Self { name, rfc, octets, answer: Answer::Reset(code, subcode, Vec::new()), words }
    }

    /// With this data in the NOTIFICATION.
    pub(crate) fn data(mut self, octets: &[u8]) -> Self {
        if let Answer::Reset(.., data) = &mut self.answer {
            *data = octets.to_vec();
        }
        self
    }

    /// Nothing is said.
    pub(crate) fn closed(
        name: &'static str,
        rfc: &'static str,
        octets: Vec<u8>,
        words: &'static str,
    ) -> Self {
        Self { name, rfc, octets, answer: Answer::Closed, words }
    }

    /// The session goes on; the log has a line if there are words for it.
    pub(crate) fn stays(
        name: &'static str,
        rfc: &'static str,
        octets: Vec<u8>,
        words: &'static str,
    ) -> Self {
        Self { name, rfc, octets, answer: Answer::Stays, words }
    }

    /// What the hostile router sends.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn run(&self, stage: &Stage, state: State) -> Result<()> {
        let mark = stage.mark()?;
        let mut connection = stage.connect_to(state)?;
        connection.send(&self.octets)?;
        match &self.answer {
            Answer::Reset(code, subcode, data) => {
                let expected = [&[*code, *subcode], data.as_slice()].concat();
                let last = connection.wait_for_end()?;
                ensure!(last.as_ref() == Some(&expected), "{last:?} in place of {expected:?}");
                stage.wait_named(mark, &[self.words, &format!("({code}/{subcode})")])?;
            }
            Answer::Closed => {
                let last = connection.wait_for_end()?;
                ensure!(last.is_none(), "{last:?} in place of silence");
                stage.wait_named(mark, &[self.words])?;
            }
            Answer::Stays => {
                if state != State::Established {
                    connection.wait_for(KEEPALIVE)?;
                    connection.establish()?;
                }
                connection.prove_established()?;
                if !self.words.is_empty() {
                    stage.wait_logged(mark, &[self.words])?;
                }
                connection.finish()?;
            }
        }
        stage.check()
    }
}

/// Runs a table in this state of the daemon, and says which rows failed.
pub(crate) fn run(stage: &Stage, state: State, cases: &[Case]) -> Result<()> {
    let mut failures = Vec::new();
    for case in cases {
        let what = || format!("{:?}: {} ({})", state, case.name, case.rfc);
        if let Err(error) = case.run(stage, state).with_context(what) {
            failures.push(format!("{error:#}"));
        }
    }
    ensure!(
        failures.is_empty(),
        "{} of {} failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    Ok(())
}
