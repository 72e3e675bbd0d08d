//! How far to trust a server with TLS, and what it is shown of us: the keys that several kinds of
//! checks share.
use std::path::PathBuf;

use reqwest::Certificate;

use crate::check::trust::{Identity, IdentityError, Trust};
use crate::config::files;
use crate::config::problem::Problem;
use crate::config::table::{Located, Table};
use crate::sys;

/// `tls-verify` and `ca-file`.
pub(super) fn trust(table: &mut Table<'_>) -> Trust {
    let verify = table.or("tls-verify", true);
    let Some(file) = table.optional::<PathBuf>("ca-file") else {
        return if verify { Trust::System } else { Trust::Unverified };
    };
    if !verify {
        let message = "`ca-file` has no use with tls-verify = false";
        table.problem(Problem::new(&file.place, message));
    }
    let Some(pem) = contents(table, &file) else { return Trust::Unverified };
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => return Trust::Authorities(pem),
        _ => wrong(table, &file, "holds no certificate in PEM form"),
    }
    Trust::Unverified
}

/// `certificate-file` and `key-file`.
pub(super) fn identity(table: &mut Table<'_>) -> Option<Identity> {
    let certificate = table.optional::<PathBuf>("certificate-file");
    let key = table.optional::<PathBuf>("key-file");
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        (Some(one), None) => return alone(table, &one, "certificate-file", "key-file"),
        (None, Some(one)) => return alone(table, &one, "key-file", "certificate-file"),
    };
    let (pem, private) = (contents(table, &certificate), contents(table, &key));
    match Identity::new(&pem?, &private?) {
        Ok(identity) => return Some(identity),
        Err(IdentityError::Certificate(what)) => wrong(table, &certificate, what),
        Err(IdentityError::Key(what)) => wrong(table, &key, what),
    }
    None
}

fn alone(
    table: &Table<'_>,
    written: &Located<PathBuf>,
    key: &str,
    other: &str,
) -> Option<Identity> {
    let problem = Problem::new(&written.place, format!("`{key}` has no use without `{other}`"));
    table.problem(problem.help("they can name the same file"));
    None
}

fn contents(table: &Table<'_>, file: &Located<PathBuf>) -> Option<Vec<u8>> {
    let read = files::read_referenced(&file.value);
    read.map_err(|error| {
        let reason = sys::describe(&error);
        let message = format!("cannot read {}: {reason}", file.value.display());
        table.problem(Problem::new(&file.place, message));
    })
    .ok()
}

fn wrong(table: &Table<'_>, file: &Located<PathBuf>, what: &str) {
    table.problem(Problem::new(&file.place, format!("{} {what}", file.value.display())));
}
