//! `unit`: the name of a unit of systemd.
use super::problem::Problem;
use super::table::Table;
use crate::units::{UnitName, WrongName};

/// Takes the key, if it is there and can be used.
pub(super) fn name(table: &mut Table<'_>) -> Option<UnitName> {
    let written = table.optional::<String>("unit")?;
    let text = &written.value;
    let problem = match UnitName::new(text) {
        Ok(name) => return Some(name),
        Err(WrongName::NoType) => {
            let help = format!("write its whole name, such as \"{text}.service\"");
            Problem::new(&written.place, format!("{text:?} does not say of which type it is"))
                .help(help)
        }
        Err(WrongName::Template) => {
            let message = format!("{text:?} is a template, which is never active itself");
            let help =
                format!("name one of its instances, such as {:?}", text.replacen('@', "@1", 1));
            Problem::new(&written.place, message).help(help)
        }
        Err(WrongName::Characters) => {
            let message = format!("{text:?} is no name of a unit");
            let help = "write it as systemctl list-units shows it, such as \"nginx.service\"";
            Problem::new(&written.place, message).help(help)
        }
    };
    table.problem(problem);
    None
}
