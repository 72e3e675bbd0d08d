//! The keys of a check with `http`.
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use reqwest::{Method, Url};

use super::NO_PORT;
use super::endpoint::{To, origin};
use super::trust::{identity, trust};
use crate::check::Probe;
use crate::check::http::{self, Http, Version};
use crate::config::problem::Problem;
use crate::config::table::{Located, Table};
use crate::config::value::{Statuses, Text};

/// What this daemon's HTTP client says by itself.
const RESERVED: &[HeaderName] = &[CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// What to request.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let target = table.optional::<String>("http").and_then(|written| target(table, &written));
    let method = table.or("method", Text(Method::GET)).0;
    let host = table.optional::<String>("host");
    if let Some(host) = &host {
        check_host(table, host);
    }
    let headers = headers(table, host.as_ref());
    let status = table.elements::<Statuses>("status", "leave the line out for 200-299");
    let status = match status {
        None => vec![http::SUCCESS],
        Some(ranges) => ranges.into_iter().map(|range| range.value.0).collect(),
    };
    let body = table.optional::<String>("body");
    if let Some(body) = body.as_ref().filter(|_| method == Method::HEAD) {
        let message = "`body` has no use with method = \"HEAD\": the answer has none";
        table.problem(Problem::new(&body.place, message).help("write method = \"GET\""));
    }
    let redirects = table.number("redirects", 0..=20).map_or(0, |most| most.value);
    let to = target.as_ref().and_then(|(url, unix_socket)| match unix_socket {
        Some(_) => Some(To::UnixSocket),
        None => http::address(url).map(To::Address),
    });
    let origin = origin(table, to);
    let Text(version) = table.or("version", Text(Version::Http1));
    let (trust, identity) = (trust(table), identity(table));
    let (host, body) = (host.map(|host| host.value), body.map(|body| body.value));
    let (url, unix_socket) = target?;
    let http = Http {
        url,
        method,
        host,
        headers,
        status,
        body,
        redirects,
        unix_socket,
        origin,
        version,
        trust,
        identity,
    };
    Some(http.into())
}

/// A URL, and the Unix socket that may take the place of its host, as nginx writes it:
/// "http://unix:/run/app.sock:/healthz".
fn target(table: &Table<'_>, written: &Located<String>) -> Option<(Url, Option<PathBuf>)> {
    let text = &written.value;
    let Some((scheme, (path, rest))) = text
        .split_once("://unix:")
        .map(|(scheme, path)| (scheme, path.split_once(':').unwrap_or((path, "/"))))
    else {
        return Some((url(table, written)?, None));
    };
    if !path.starts_with('/') || !rest.starts_with('/') {
        let message = "a Unix socket is written with its path, and that of the URL after a colon";
        let help = "write http = \"http://unix:/run/app.sock:/healthz\"";
        table.problem(Problem::new(&written.place, message).help(help));
        return None;
    }
    let value = format!("{scheme}://localhost{rest}");
    let url = url(table, &Located { value, place: written.place.clone() })?;
    Some((url, Some(path.into())))
}

fn url(table: &Table<'_>, written: &Located<String>) -> Option<Url> {
    let problem = |message: String| Problem::new(&written.place, message);
    let text = &written.value;
    let example = "write a URL such as \"http://203.0.113.5/healthz\"";
    if !text.contains("://") {
        let help = format!("did you mean \"http://{text}\"?");
        let message = "`http` is no URL: it does not begin with http:// or https://";
        table.problem(problem(message.into()).help(help));
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(url) => {
            let message = format!("`http` does not speak {:?}", url.scheme());
            table.problem(problem(message).help(example));
            return None;
        }
        Err(error) => {
            table.problem(problem(format!("`http` is no URL: {error}")).help(example));
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        let message = "a URL is shown in the status, and must not have a user or password in it";
        let help = "write headers = { Authorization = \"Basic …\" }";
        table.problem(problem(message.into()).help(help));
        return None;
    }
    if url.port() == Some(0) {
        table.problem(problem(NO_PORT.into()));
    }
    let host = url.host_str().unwrap_or_default();
    match http::address(&url) {
        None => {
            let help = format!(
                "a check must not depend on DNS: put the address into the URL and write host = {host:?}"
            );
            table.problem(problem(format!("{host:?} is not an address")).help(help));
        }
        // URLs know other forms of addresses: 1.2.3 is 1.2.0.3.
        Some(IpAddr::V4(_)) if !is_literal(text, host) => {
            let help = format!("write the four numbers of the address: {}", url.as_str());
            table.problem(problem(format!("{text:?} is a URL with the address {host}")).help(help));
        }
        Some(_) => {}
    }
    Some(url)
}

/// Whether this is how the URL spells its host.
fn is_literal(url: &str, host: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let written = authority.and_then(|authority| authority.split(':').next());
    written.is_some_and(|written| written.eq_ignore_ascii_case(host))
}

fn check_host(table: &Table<'_>, host: &Located<String>) {
    let text = &host.value;
    let problem = |message: String| Problem::new(&host.place, message);
    if let Some((name, port)) = text.split_once(':')
        && !name.is_empty()
        && port.bytes().all(|octet| octet.is_ascii_digit())
    {
        let help = format!(
            "the port is that of the URL: write host = {name:?}; \
             to send another one without TLS, headers = {{ Host = {text:?} }}"
        );
        table.problem(problem("`host` is a name without a port".into()).help(help));
        return;
    }
    let is_name = Url::parse("http://x/").is_ok_and(|mut url| url.set_host(Some(text)).is_ok());
    if !is_name || text.contains(':') || HeaderValue::from_str(text).is_err() {
        table.problem(problem(format!("{text:?} is no name of a host")));
    }
}

fn headers(table: &mut Table<'_>, host: Option<&Located<String>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(inner) = table.subtable("headers", "service.NAME.check.NAME.headers") else {
        return headers;
    };
    for (name, value) in inner.all::<String>() {
        let problem = |message: String| Problem::new(&name.place, message);
        let Ok(key) = HeaderName::from_bytes(name.value.as_bytes()) else {
            table.problem(problem(format!("{:?} is no name of a header", name.value)));
            continue;
        };
        if RESERVED.contains(&key) {
            let message = format!("`{}` cannot be chosen: the check sets it itself", name.value);
            table.problem(problem(message).help("leave the line out"));
        }
        if let Some(host) = host.filter(|_| key == HOST) {
            let problem = problem("`host` and this header are the same".into());
            table.problem(problem.also(&host.place, "the other one").help("leave one of them out"));
        }
        let Some(value) = value else { continue };
        match HeaderValue::from_str(&value.value) {
            Ok(text) => {
                headers.insert(key, text);
            }
            Err(_) => {
                let message = "a header cannot have control characters in it";
                table.problem(Problem::new(&value.place, message));
            }
        }
    }
    headers
}
