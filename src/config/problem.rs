//! What is wrong with a configuration: every problem with its place, what is allowed, and a way out.
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::sys;

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// For messages
    pub path: String,
    /// What it holds
    pub text: String,
}

/// Where something is written: which [`Source`], and the octets in it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Place {
    pub(super) fn new(source: usize, span: Range<usize>) -> Self {
        Self { source, start: span.start, end: span.end }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    place: Place,
    message: String,
    help: Vec<String>,
    also: Option<(Place, &'static str)>,
}

impl Problem {
    /// What is wrong, and where.
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into(), help: Vec::new(), also: None }
    }

    /// What is allowed, why, or what to write instead.
    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// The other place that it has to do with.
    pub(super) fn also(mut self, place: &Place, what: &'static str) -> Self {
        self.also = Some((place.clone(), what));
        self
    }
}

/// Collects problems; shared by everything that reads.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// All of them, in the order of the text.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems
    }
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub enum Error {
    /// A file or directory cannot be read
    Unreadable {
        /// Which
        path: String,
        /// Why
        error: std::io::Error,
    },
    /// What was read is wrong
    Invalid {
        /// The files that were read
        sources: Vec<Source>,
        /// At least one
        problems: Vec<Problem>,
    },
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    /// Every problem with its `file:line:column` and the text there, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sources, problems) = match self {
            Self::Unreadable { path, error } => {
                return write!(f, "error: cannot read {path}: {}", sys::describe(error));
            }
            Self::Invalid { sources, problems } => (sources, problems),
        };
        for problem in problems {
            writeln!(f, "{}\n", problem.render(sources))?;
        }
        match problems.len() {
            1 => f.write_str("1 error; configuration not loaded"),
            count => write!(f, "{count} errors; configuration not loaded"),
        }
    }
}

impl Error {
    /// The first problem in one line: "vipcast.toml:3:1: unknown key `foo` (and 2 more)".
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Unreadable { .. } => self.to_string(),
            Self::Invalid { sources, problems } => {
                let Some(first) = problems.first() else { return String::new() };
                let more = match problems.len() {
                    1 => String::new(),
                    count => format!(" (and {} more)", count - 1),
                };
                format!("{}: {}{more}", first.place.position(sources), first.message)
            }
        }
    }
}

impl Place {
    /// "file:line:column", the latter two counted from 1.
    fn position(&self, sources: &[Source]) -> String {
        let Some(source) = sources.get(self.source) else { return String::new() };
        let before = source.text.get(..self.start).unwrap_or(&source.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}:{line}:{column}", source.path)
    }
}

impl Problem {
    fn render(&self, sources: &[Source]) -> String {
        let Some(source) = sources.get(self.place.source) else { return self.message.clone() };
        let span = self.place.start..self.place.end;
        let mut snippet = Snippet::source(&source.text)
            .path(&source.path)
            .annotation(AnnotationKind::Primary.span(span));
        let mut elsewhere = None;
        match &self.also {
            Some((place, what)) if place.source == self.place.source => {
                let span = place.start..place.end;
                snippet = snippet.annotation(AnnotationKind::Context.span(span).label(*what));
            }
            Some((place, what)) => elsewhere = Some((place, *what)),
            None => {}
        }
        let mut report = Level::ERROR.primary_title(&self.message).element(snippet);
        for text in &self.help {
            report = report.element(Level::HELP.message(text));
        }
        let mut groups = vec![report];
        if let Some((place, what)) = elsewhere
            && let Some(source) = sources.get(place.source)
        {
            let span = place.start..place.end;
            let snippet = Snippet::source(&source.text)
                .path(&source.path)
                .annotation(AnnotationKind::Primary.span(span));
            groups.push(Group::with_title(Level::NOTE.secondary_title(what)).element(snippet));
        }
        Renderer::plain().render(&groups)
    }
}

/// "did you mean `x`?", if one of the candidates is near.
pub(super) fn suggest<'a>(
    written: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let near = candidates.map(|c| (strsim::damerau_levenshtein(written, c), c)).min()?;
    let (distance, candidate) = near;
    (distance <= 1 + candidate.len() / 4).then(|| format!("did you mean `{candidate}`?"))
}
