//! Where keys are kept: `…-file` and `…-credential`.
use std::path::PathBuf;

use super::problem::Problem;
use super::table::{Located, Table};
use crate::secret::Secret;

/// The two keys that say where something secret is kept.
pub(super) struct SecretKeys {
    pub(super) file: &'static str,
    pub(super) credential: &'static str,
}

/// How they are called where nothing more is to be said.
pub(super) const KEY: SecretKeys = SecretKeys { file: "key-file", credential: "key-credential" };

/// Exactly one of the two.
pub(super) fn required_secret(table: &mut Table<'_>, keys: &SecretKeys) -> Option<Located<Secret>> {
    let SecretKeys { file, credential } = keys;
    if table.has(file).or(table.has(credential)).is_none() {
        let message = format!("[{}] needs `{file}` or `{credential}`", table.path());
        let help = "a file or a systemd credential with the key; it is never written here";
        table.problem(Problem::new(table.place(), message).help(help));
    }
    secret(table, keys)
}

/// At most one of the two.
pub(super) fn secret(table: &mut Table<'_>, keys: &SecretKeys) -> Option<Located<Secret>> {
    let SecretKeys { file: file_key, credential: credential_key } = keys;
    let file = table.optional::<PathBuf>(file_key);
    let credential = table.optional::<String>(credential_key);
    if let (Some(file), Some(credential)) = (&file, &credential) {
        let message = format!("`{credential_key}` and `{file_key}` exclude each other");
        let problem = Problem::new(&credential.place, message);
        table.problem(problem.also(&file.place, "the other one"));
    }
    if let Some(Located { value, place }) = &credential
        && (value.is_empty() || value.contains(['/', '\0']) || value.contains(".."))
    {
        let message = format!("{value:?} cannot be the name of a credential");
        let help = format!("the name in LoadCredential=, without a slash; for a path: {file_key}");
        table.problem(Problem::new(place, message).help(help));
    }
    let file = file.map(|Located { value, place }| (Secret::File(value), place));
    let credential = credential.map(|Located { value, place }| (Secret::Credential(value), place));
    file.or(credential).map(|(value, place)| Located { value, place })
}
