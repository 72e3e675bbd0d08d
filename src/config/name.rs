//! The names that operators give: they go into messages, metrics, commands and systemd's journal.
use super::problem::{Place, Problem};
use super::table::Located;

const LONGEST: usize = 64;

/// What is wrong with a name.
pub(super) fn problem(name: &str, place: &Place) -> Option<Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let message = if name.is_empty() {
        "a name must not be empty".to_owned()
    } else if !name.chars().all(allowed) {
        format!("{name:?} cannot be a name")
    } else if name.len() > LONGEST {
        format!("a name of {} characters is too long", name.len())
    } else {
        return None;
    };
    let help = format!("up to {LONGEST} of the characters A-Z a-z 0-9 . _ -");
    Some(Problem::new(place, message).help(help))
}

/// What the kernel would not take for the name of an interface.
pub(super) fn interface_problem(written: &Located<String>) -> Option<Problem> {
    let name = &written.value;
    let valid = (1..=15).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    let message = format!("{name:?} is no name for an interface");
    let help = "at most 15 characters, none of them a slash, a colon or a space";
    (!valid).then(|| Problem::new(&written.place, message).help(help))
}
