//! What is no TOML.
use super::problem::{Place, Problem};

/// What the parser has to say, in words for operators.
pub(super) fn problem(source: usize, text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let place = Place::new(source, span.clone());
    if error.message() != "duplicate key" {
        return Problem::new(&place, error.message());
    }
    let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |n| n + 1);
    let header = text.get(start..).and_then(header);
    let Some(header) = header else {
        let key = text.get(span).unwrap_or_default();
        return Problem::new(&place, format!("`{key}` is written twice"));
    };
    let problem = Problem::new(&place, format!("{header} is defined twice"));
    match first(text, header).filter(|first| *first < start) {
        None => problem,
        Some(first) => {
            let first = Place::new(source, first..first + header.len());
            problem.also(&first, "first defined here")
        }
    }
}

/// "[pool.a]", if the first line of the text is one that begins a table.
fn header(text: &str) -> Option<&str> {
    let line = text.lines().next()?.trim();
    let end = line.starts_with('[').then(|| line.find(']'))??;
    line.get(..=end)
}

/// Where a table begins.
fn first(text: &str, wanted: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if header(line) == Some(wanted) {
            return Some(at + line.find('[')?);
        }
        at += line.len();
    }
    None
}
