//! What is wrong with a configuration: every problem with its place, what is allowed, and a way out.
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Whoever made more mistakes than this made one of them many times.
const MOST_SHOWN: usize = 100;
/// With how many names a misspelt one is compared, so that many of both do not take minutes.
const MOST_COMPARED: usize = 256;
/// How many names a message lists.
const MOST_LISTED: usize = 10;

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
pub(super) struct Problem {
    /// `None` where a file could not be read
    place: Option<Place>,
    message: String,
    help: Vec<String>,
    also: Option<(Place, &'static str)>,
}

impl Problem {
    /// What is wrong, and where.
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), ..Self::without_place(message) }
    }

    /// What is wrong with what could not be read.
    pub(super) fn without_place(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), help: Vec::new(), also: None }
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

    /// Whether there is one in this file.
    pub(super) fn concern(&self, source: usize) -> bool {
        let is_there =
            |problem: &Problem| problem.place.as_ref().is_some_and(|p| p.source == source);
        self.0.borrow().iter().any(is_there)
    }

    /// All of them, in the order of the text.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems
    }
}

/// Why a configuration cannot be used: everything that is wrong.
#[derive(Debug)]
pub struct Error {
    pub(super) sources: Vec<Source>,
    pub(super) problems: Vec<Problem>,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    /// Every problem with its `file:line:column` and the text there, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(MOST_SHOWN) {
            writeln!(f, "{}\n", problem.render(&self.sources))?;
        }
        if let more @ 1.. = self.problems.len().saturating_sub(MOST_SHOWN) {
            writeln!(f, "and {more} more\n")?;
        }
        match self.problems.len() {
            1 => f.write_str("1 error; configuration not loaded"),
            count => write!(f, "{count} errors; configuration not loaded"),
        }
    }
}

impl Error {
    /// The first problem in one line: "vipcast.toml:3:1: unknown key `foo` (and 2 more)".
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(first) = self.problems.first() else { return String::new() };
        let place = first.place.as_ref().map(|place| place.position(&self.sources) + ": ");
        let more = match self.problems.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        // A key in quotes can have anything in it.
        let message = first.message.replace(char::is_control, "\u{fffd}");
        format!("{}{message}{more}", place.unwrap_or_default())
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
        let located = self.place.as_ref().and_then(|p| Some((p, sources.get(p.source)?)));
        let Some((place, source)) = located else { return format!("error: {}", self.message) };
        let span = place.start..place.end;
        let mut snippet = Snippet::source(&source.text)
            .path(&source.path)
            .annotation(AnnotationKind::Primary.span(span));
        let mut elsewhere = None;
        match &self.also {
            Some((other, what)) if other.source == place.source => {
                let span = other.start..other.end;
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

/// "did you mean `x`?", if one of the candidates is near, or the beginning of the other.
pub(super) fn suggest<'a>(
    written: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let written = written.to_lowercase();
    let candidates = candidates.take(MOST_COMPARED);
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&written, &candidate.to_lowercase());
    let (distance, nearest) = candidates.clone().map(|c| (distance(c), c)).min()?;
    if distance <= 1 + nearest.len() / 4 {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let is_longer = |a: &str, b: &str| b.len() >= 3 && a.starts_with(b);
    let related = candidates.filter(|c| is_longer(c, &written) || is_longer(&written, c));
    let related: Vec<String> = related.map(|candidate| format!("`{candidate}`")).collect();
    (!related.is_empty()).then(|| format!("did you mean {}?", related.join(" or ")))
}

/// "a, b, c", and how many more there are where they are many.
pub(super) fn listed<T: fmt::Display>(all: impl Iterator<Item = T> + Clone) -> String {
    let shown: Vec<String> = all.clone().take(MOST_LISTED).map(|one| one.to_string()).collect();
    match all.skip(MOST_LISTED).count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
