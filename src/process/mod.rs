//! Programs of the operator: what is run, what it is told, and how it ended. [`driver`] runs them.
//!
//! They check a service (`check/exec.rs`), or are told what became of it (`service/hooks.rs`).
pub mod driver;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::route::{CheckName, ServiceName};
use crate::sys;

/// A program and what it is called with. No shell takes it apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// From the root
    pub path: PathBuf,
    /// Without its own name
    pub arguments: Vec<String>,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.arguments.iter().try_for_each(|argument| {
            let is_odd = |c: char| c.is_whitespace() || c.is_control() || "\"'\\".contains(c);
            match argument.is_empty() || argument.contains(is_odd) {
                true => write!(f, " {argument:?}"),
                false => write!(f, " {argument}"),
            }
        })
    }
}

/// A service, as far as programs are told of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    /// All of its VIPs
    pub vips: Vec<IpAddr>,
    /// "up", "down" or "unknown"
    pub state: &'static str,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { vips: Vec::new(), state: "unknown" }
    }
}

/// What a program finds in its environment, beside what it needs to run at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Environment {
    /// Which service it is about
    pub service: ServiceName,
    /// Which of its checks, if it is one
    pub check: Option<CheckName>,
    /// What is known of the service
    pub surroundings: Surroundings,
    /// Why it is run, if there is something to be said
    pub reason: Option<String>,
}

impl Environment {
    /// The variables.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Surroundings { vips, state } = &self.surroundings;
        let vips: Vec<String> = vips.iter().map(IpAddr::to_string).collect();
        let mut variables = vec![
            ("VIPCAST_SERVICE", self.service.to_string()),
            ("VIPCAST_VIPS", vips.join(" ")),
            ("VIPCAST_STATE", (*state).into()),
        ];
        variables.extend(self.check.as_ref().map(|check| ("VIPCAST_CHECK", check.to_string())));
        // It is a line, and nothing in it ends the variable.
        let line = |reason: &String| {
            reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
        };
        variables.extend(self.reason.as_ref().map(|reason| ("VIPCAST_REASON", line(reason))));
        variables
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// By itself, with this status
    Exited(i32),
    /// By this signal
    Killed(i32),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Killed(signal) => write!(f, "killed by {}", sys::process::signal_name(*signal)),
        }
    }
}

/// The end of a program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// How it ended
    pub status: Status,
    /// The first line that it wrote
    pub line: Option<String>,
}

impl Ended {
    /// What it wrote to stdout counts, and what it wrote to stderr where that is nothing.
    #[must_use]
    pub fn new(status: Status, stdout: &[u8], stderr: &[u8]) -> Self {
        Self { status, line: first_line(stdout).or_else(|| first_line(stderr)) }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The status goes first: a line may be too long to be shown as a whole.
        self.status.fmt(f)?;
        self.line.iter().try_for_each(|line| write!(f, ": {line}"))
    }
}

/// The first line with something on it.
fn first_line(octets: &[u8]) -> Option<String> {
    let lines = octets.split(|octet| *octet == b'\n');
    let mut lines = lines.map(|line| String::from_utf8_lossy(line).trim().to_owned());
    lines.find(|line| !line.is_empty())
}
