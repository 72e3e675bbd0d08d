//! What signs a session: `password-file`, `password-credential`, `tcp-ao`.
use super::problem::Problem;
use super::secret::{KEY, SecretKeys, required_secret, secret};
use super::table::{Located, Table};
use super::value::{Text, Written};
use crate::bgp::authentication::{Algorithm, Authentication, MasterKey};

const PASSWORD: SecretKeys =
    SecretKeys { file: "password-file", credential: "password-credential" };

impl Written for Algorithm {
    const EXPECTED: &'static str = "\"hmac-sha1\", \"aes-128-cmac\" or \"hmac-sha256\"";
    const WORDS: &'static [&'static str] = &["hmac-sha1", "aes-128-cmac", "hmac-sha256"];

    fn understand(text: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(_, word)| *word == text);
        known.map(|(algorithm, _)| algorithm)
    }
}

/// One kind of signature, or none.
pub(super) fn authentication(table: &mut Table<'_>) -> Option<Authentication> {
    let written = table.has("tcp-ao");
    let password = secret(table, &PASSWORD);
    if let (Some(ao), Some(password)) = (&written, &password) {
        let message = "TCP-AO and a TCP MD5 password exclude each other";
        let problem = Problem::new(ao, message).also(&password.place, "the password");
        table.problem(problem.help("a session is signed by one of them (RFC 5925 §1.1)"));
    }
    let help = "leave the line out, or write { key-id, algorithm, key-file }";
    match table.tables("tcp-ao", "peer.NAME.tcp-ao", help) {
        Some(keys) => master_keys(keys).map(Authentication::Ao),
        None => password.map(|password| Authentication::Md5(password.value)),
    }
}

/// `None` when one of them cannot be used.
fn master_keys(written: Vec<Table<'_>>) -> Option<Vec<MasterKey>> {
    let mut keys: Vec<Located<MasterKey>> = Vec::new();
    let mut is_usable = !written.is_empty();
    for table in written {
        let place = table.place().clone();
        let Some(key) = master_key(table, &keys) else {
            is_usable = false;
            continue;
        };
        keys.push(Located { value: key, place });
    }
    is_usable.then(|| keys.into_iter().map(|key| key.value).collect())
}

fn master_key(mut table: Table<'_>, others: &[Located<MasterKey>]) -> Option<MasterKey> {
    table.needs("key-id", "1");
    let send_id = table.number::<u8>("key-id", 0..=255);
    let receive_id = table.number::<u8>("receive-id", 0..=255);
    let algorithm = table.required::<Text<Algorithm>>("algorithm", "\"hmac-sha1\"");
    let secret = required_secret(&mut table, &KEY);
    let receive_id = receive_id.or(send_id.clone());
    if let (Some(send), Some(receive)) = (&send_id, &receive_id) {
        for other in others {
            let taken = [
                (send, other.value.send_id, "key-id"),
                (receive, other.value.receive_id, "receive-id"),
            ];
            for (id, _, what) in taken.into_iter().filter(|(id, taken, _)| id.value == *taken) {
                let message = format!("two keys have the {what} {}", id.value);
                let problem = Problem::new(&id.place, message).also(&other.place, "the other one");
                table.problem(problem.help("each key needs its own (RFC 5925 §3.1)"));
            }
        }
    }
    table.finish();
    Some(MasterKey {
        send_id: send_id?.value,
        receive_id: receive_id?.value,
        algorithm: algorithm?.value.0,
        secret: secret?.value,
    })
}
