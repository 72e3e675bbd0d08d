//! Programs that are run: a list of the program and its arguments.
use toml::de::DeValue;

use super::problem::Problem;
use super::table::{Located, Table};
use super::value::Value;
use crate::process::Program;

/// What only a shell understands.
const OF_SHELLS: &[char] =
    &['|', '&', ';', '<', '>', '(', ')', '$', '`', '"', '\'', '*', '?', '\\', '~'];

/// Takes a program; `None` where there is none that could be used, which is reported.
pub(super) fn program(table: &mut Table<'_>, key: &'static str) -> Option<Program> {
    let Located { value, place } = table.optional::<Written>(key)?;
    let problem = |message: String| Problem::new(&place, message);
    let words = match value {
        Written::List(words) => words,
        Written::Line(line) => {
            let message = format!("`{key}` must be a list, not {line:?}");
            let help = format!("no shell takes it apart: write {key} = {}", list_form(&line));
            table.problem(problem(message).help(help));
            return None;
        }
    };
    let Some(words) = words.into_iter().collect::<Option<Vec<String>>>() else {
        table.problem(problem(format!("all that is in `{key}` must be strings")));
        return None;
    };
    let Some((path, arguments)) = words.split_first() else {
        let help = format!("write {key} = [\"/usr/lib/web/program\", \"--option\"]");
        table.problem(problem(format!("`{key}` is empty")).help(help));
        return None;
    };
    if !path.starts_with('/') || path.ends_with('/') {
        let message = format!("`{key}` must begin with the path of a program from the root");
        let help = format!("{path:?} is not searched for; `command -v {path}` says where it is");
        table.problem(problem(message).help(help));
        return None;
    }
    if words.iter().any(|word| word.contains('\0')) {
        table.problem(problem(format!("`{key}` must not have the character \\u0000 in it")));
        return None;
    }
    Some(Program { path: path.into(), arguments: arguments.to_vec() })
}

/// How a line for a shell is written as a list.
fn list_form(line: &str) -> String {
    if line.contains(OF_SHELLS) {
        return format!("[\"/bin/sh\", \"-c\", {line:?}]");
    }
    let words: Vec<String> = line.split_whitespace().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(", "))
}

/// As it is written.
#[derive(Clone, Debug)]
enum Written {
    /// `None` for what is no string
    List(Vec<Option<String>>),
    /// As for a shell
    Line(String),
}

impl Value for Written {
    const EXPECTED: &'static str =
        "a list of the program and its arguments, such as [\"/usr/lib/web/program\", \"--option\"]";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        if let Some(line) = written.as_str() {
            return Some(Self::Line(line.into()));
        }
        let words = written.as_array()?.iter();
        Some(Self::List(words.map(|word| word.get_ref().as_str().map(str::to_owned)).collect()))
    }
}
