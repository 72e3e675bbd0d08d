//! The keys of a check with `http`.
use std::path::PathBuf;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, Url};

use super::files;
use super::problem::Problem;
use super::table::{Located, Table};
use super::value::Statuses;
use crate::check::http::{self, Http, Tls};
use crate::sys;

/// What to request.
pub(super) fn http(table: &mut Table<'_>) -> Option<Http> {
    let written = table.optional::<String>("http");
    let url = written.as_ref().and_then(|written| url(table, written));
    let method = method(table);
    let host = table.optional::<String>("host");
    let headers = headers(table);
    let status = table.list::<Statuses>("status");
    let status = match status {
        None => vec![200..=299],
        Some(ranges) => ranges.into_iter().map(|range| range.value.0).collect(),
    };
    let body = table.optional("body").map(|text| text.value);
    let redirects = table.number("redirects", 0..=20).map_or(0, |most| most.value);
    let tls = tls(table);
    let host = host.and_then(|host| {
        let mut probe = Url::parse("http://x/").ok()?;
        let valid =
            HeaderValue::from_str(&host.value).is_ok() && probe.set_host(Some(&host.value)).is_ok();
        if !valid {
            let message = format!("{:?} is no name of a host", host.value);
            table.problem(Problem::new(&host.place, message));
        }
        valid.then_some(host.value)
    });
    Some(Http { url: url?, method: method?, host, headers, status, body, redirects, tls })
}

fn url(table: &Table<'_>, written: &Located<String>) -> Option<Url> {
    let problem = |message: String| Problem::new(&written.place, message);
    let example = "such as \"http://203.0.113.5/healthz\"";
    let url = match Url::parse(&written.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(url) => {
            let message = format!("`http` does not speak {:?}", url.scheme());
            table.problem(problem(message).help(format!("write a URL {example}")));
            return None;
        }
        Err(error) => {
            let message = format!("{:?} is no URL: {error}", written.value);
            table.problem(problem(message).help(format!("write a URL {example}")));
            return None;
        }
    };
    if http::address(&url).is_none() {
        let host = url.host_str().unwrap_or_default();
        let help = format!(
            "a check must not depend on DNS: put the address into the URL and write host = {host:?}"
        );
        table.problem(problem(format!("{host:?} is not an address")).help(help));
    }
    Some(url)
}

fn method(table: &mut Table<'_>) -> Option<Method> {
    let Some(written) = table.optional::<String>("method") else { return Some(Method::GET) };
    match written.value.as_str() {
        "GET" => Some(Method::GET),
        "HEAD" => Some(Method::HEAD),
        other => {
            let message = format!("method {other:?} is not for health checks");
            table.problem(Problem::new(&written.place, message).help("write \"GET\" or \"HEAD\""));
            None
        }
    }
}

fn headers(table: &mut Table<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(inner) = table.table("headers") else { return headers };
    for (name, value) in inner.all::<String>() {
        let key = HeaderName::from_bytes(name.value.as_bytes());
        match (key, HeaderValue::from_str(&value.value)) {
            (Ok(key), Ok(text)) => {
                headers.insert(key, text);
            }
            (Err(_), _) => {
                let message = format!("{:?} is no name of a header", name.value);
                table.problem(Problem::new(&name.place, message));
            }
            (_, Err(_)) => {
                let message = "a header cannot have control characters in it";
                table.problem(Problem::new(&value.place, message));
            }
        }
    }
    headers
}

fn tls(table: &mut Table<'_>) -> Tls {
    let verify = table.or("tls-verify", true);
    let file = table.optional::<PathBuf>("ca-file");
    let Some(file) = file else {
        return if verify { Tls::System } else { Tls::Unverified };
    };
    if !verify {
        let message = "`ca-file` has no use with tls-verify = false";
        table.problem(Problem::new(&file.place, message));
    }
    let path = file.value.display();
    let problem = |message| table.problem(Problem::new(&file.place, message));
    match files::read_referenced(&file.value) {
        Err(error) => problem(format!("cannot read {path}: {}", sys::describe(&error))),
        Ok(pem) => match Certificate::from_pem_bundle(&pem) {
            Ok(certificates) if !certificates.is_empty() => return Tls::Authorities(pem),
            _ => problem(format!("{path} holds no certificate in PEM form")),
        },
    }
    Tls::Unverified
}
