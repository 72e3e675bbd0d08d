//! What the demo prints: headings, sentences, what was typed and answered, and a table. Plain text,
//! with colours only on a terminal.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::Result;
use vipcast_lab::samples::short;

use crate::print;

/// The longest line of a sentence: that of the narrowest terminal.
const WIDTH: usize = 80;
const INDENT: &str = "   ";
/// Between what shall stay in one line; printed as a space.
const NO_BREAK: char = '\u{a0}';

/// Where the demo is shown.
pub(super) struct Page {
    colours: bool,
    pause: bool,
    steps: usize,
}

#[derive(Clone, Copy)]
enum Style {
    Heading,
    Typed,
    Good,
    Price,
}

impl Page {
    pub(super) fn new(pause: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours: wanted && io::stdout().is_terminal(), pause, steps: 0 }
    }

    /// Lines as they are.
    pub(super) fn lines(&self, text: &str) -> Result<()> {
        print(&format!("{}\n", text.replace(NO_BREAK, " ")))
    }

    /// Begins the next step, when the reader is ready.
    pub(super) fn step(&mut self, heading: &str) -> Result<()> {
        if self.pause && self.steps > 0 {
            print(&format!("\n{INDENT}[Enter]"))?;
            io::stdin().lock().read_line(&mut String::new())?;
        }
        self.steps += 1;
        let heading = self.styled(Style::Heading, &format!("{}  {heading}", self.steps));
        print(&format!("\n{heading}\n\n"))
    }

    /// The heading of what is not a step.
    pub(super) fn heading(&self, heading: &str) -> Result<()> {
        print(&format!("\n{}\n\n", self.styled(Style::Heading, heading)))
    }

    /// A sentence or more, broken into lines.
    pub(super) fn say(&self, text: &str) -> Result<()> {
        print(&wrapped(text, INDENT))
    }

    /// A fact that was hoped for.
    pub(super) fn good(&self, text: &str) -> Result<()> {
        self.marked(Style::Good, "✓", text)
    }

    /// A price that was paid.
    pub(super) fn price(&self, text: &str) -> Result<()> {
        self.marked(Style::Price, "!", text)
    }

    /// What somebody typed on a machine and what came back.
    pub(super) fn dialogue(&self, machine: &str, typed: &str, answer: &str) -> Result<()> {
        let typed = self.styled(Style::Typed, &format!("{machine}# {typed}"));
        let mut text = format!("\n{INDENT}{typed}\n");
        for line in answer.trim_end().lines() {
            let line = line.replace('\t', "    ");
            let _ = writeln!(text, "{}", format!("{INDENT}{line}").trim_end());
        }
        print(&text)
    }

    /// An empty line.
    pub(super) fn space(&self) -> Result<()> {
        print("\n")
    }

    fn marked(&self, style: Style, mark: &str, text: &str) -> Result<()> {
        let text = wrapped(text, "     ");
        let mark = self.styled(style, mark);
        print(&format!("{INDENT}{mark} {}", text.trim_start()))
    }

    fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Heading => "1",
            Style::Typed => "36",
            Style::Good => "32",
            Style::Price => "33",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Like `1.9 ms` or `1.24 s`, not to be broken.
pub(super) fn time(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    if milliseconds < 999.5 {
        format!("{}{NO_BREAK}ms", short(milliseconds))
    } else {
        format!("{}{NO_BREAK}s", short(milliseconds / 1e3))
    }
}

/// Like `a`, `a and b` or `a, b and c`.
pub(super) fn list<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => "nobody".to_owned(),
    }
}

fn wrapped(text: &str, indent: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    // Not at all white space: that includes what shall not be broken.
    for word in text.split(' ') {
        let length = indent.len() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            let _ = writeln!(lines, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    let _ = writeln!(lines, "{indent}{line}");
    lines.replace(NO_BREAK, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_at_the_width_and_numbers_stay_with_their_units() {
        let text = "a ".repeat(37) + "12\u{a0}ms";
        let lines = wrapped(&text, INDENT);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines, [format!("   {}", "a ".repeat(37).trim_end()), "   12 ms".to_owned()]);
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(list::<&str>(&[]), "nobody");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
