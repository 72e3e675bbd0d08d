//! The keys of a check with `tls`.
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::endpoint::endpoint;
use super::trust::{identity, trust};
use crate::check::Probe;
use crate::check::socket::Target;
use crate::check::tls::Tls;
use crate::config::problem::Problem;
use crate::config::table::Table;
use crate::config::value::{Days, Text};

/// Where to connect, and which certificate is good enough.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let endpoint = endpoint(table, "tls");
    let host = table.optional::<String>("host");
    let (trust, identity) = (trust(table), identity(table));
    let Text(Days(minimum_lifetime)) = table.or("minimum-lifetime", Text(Days(Duration::ZERO)));
    let endpoint = endpoint?;
    let written = host.map(|host| match ServerName::try_from(host.value.clone()) {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("{:?} is no name of a host", host.value);
            table.problem(Problem::new(&host.place, message));
            None
        }
    });
    let name = match (written, &endpoint.target) {
        (Some(name), _) => name?,
        (None, Target::Address(address)) => address.ip().into(),
        (None, Target::Unix(_)) => ServerName::try_from("localhost").ok()?,
    };
    Some(Tls { endpoint, name, trust, identity, minimum_lifetime }.into())
}
