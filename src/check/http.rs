//! The `http` probe: a request over a connection of its own, its status and body judged.
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::header::{CONNECTION, HOST, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, Response, Url, redirect, retry};

use super::driver::Wake;
use super::socket::Origin;
use super::tcp::contains;
use super::trust::{self, Identity, Trust};
use super::{Failure, Kind, Probing, Progress, Run, Shared, quoted};
use crate::sys;

/// A body longer than this is a failure: whatever it is, it is not the answer to a health check.
const MAX_BODY: usize = 1 << 20;

/// What to ask, and which answers are healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Http {
    /// With an address, or "localhost", for a host
    pub url: Url,
    /// GET or HEAD
    pub method: Method,
    /// The name in the Host header and, with TLS, in SNI and the certificate
    pub host: Option<String>,
    /// Sent along
    pub headers: HeaderMap,
    /// Healthy status codes
    pub status: Vec<RangeInclusive<u16>>,
    /// To be found in the body
    pub body: Option<String>,
    /// How many redirects to follow
    pub redirects: u8,
    /// In place of the URL's address and port
    pub unix_socket: Option<PathBuf>,
    /// Our end, without a Unix socket
    pub origin: Origin,
    /// What is spoken
    pub version: Version,
    /// How far to trust the server
    pub trust: Trust,
    /// What a server is shown that asks for a certificate
    pub identity: Option<Identity>,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Version {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2 alone
    Http2,
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http {} ", self.method)?;
        match &self.unix_socket {
            None => self.url.fmt(f),
            Some(path) => {
                let from = self.url.as_str().find("://").map_or(0, |at| at + 3);
                let (scheme, rest) = self.url.as_str().split_at(from);
                let rest = rest.find('/').map_or("/", |at| rest.split_at(at).1);
                write!(f, "{scheme}unix:{}:{rest}", path.display())
            }
        }
    }
}

/// The statuses that are expected if nothing else is said.
pub const SUCCESS: RangeInclusive<u16> = 200..=299;

impl Http {
    /// Whether the server goes by the host of the URL, and not by the Host header.
    fn is_named_by_url(&self) -> bool {
        self.url.scheme() == "https" || self.version == Version::Http2
    }

    fn wrong_status(&self, response: &Response) -> Failure {
        let ranges = self.status.iter().map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
        let mut text = format!("HTTP status {}", response.status());
        // That a success is expected goes without saying.
        if self.status != [SUCCESS] {
            let expected: Vec<String> = ranges.collect();
            text += &format!(", expected {}", expected.join(", "));
        }
        if response.status().is_redirection()
            && let Some(location) = response.headers().get(LOCATION)
        {
            text += &format!("; Location: {}", quoted(location.as_bytes()));
            if self.redirects == 0 {
                text += ", not followed (redirects = 0)";
            }
        }
        Failure::new(text)
    }
}

/// An [`Http`] with its client, ready to run.
#[derive(Debug)]
struct Prepared {
    http: Http,
    client: Client,
}

/// Clients, one for all checks that can share it.
#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<Key, Client>);

/// What a client is made for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    /// `None` without TLS
    tls: Option<(Trust, Option<Identity>)>,
    redirects: u8,
    unix_socket: Option<PathBuf>,
    origin: Origin,
    version: Version,
    /// A name that stands for an address
    pin: Option<(String, IpAddr)>,
}

impl Clients {
    /// Finds or makes the client for a check.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, for want of certificate authorities for one.
    fn prepare(&mut self, http: &Http) -> Result<Prepared, Failure> {
        let mut http = http.clone();
        let mut pin = None;
        if let Some(address) = address(&http.url) {
            if let Some(name) = http.host.as_ref().filter(|_| http.is_named_by_url()) {
                // The URL's host is what TLS and HTTP/2 go by, so the name takes the address's
                // place and stands for it.
                http.url.set_host(Some(name)).map_err(|error| Failure::new(error.to_string()))?;
            }
            let host = http.url.host_str().unwrap_or_default();
            let is_name = host.parse::<IpAddr>().is_err() && !host.starts_with('[');
            pin = is_name.then(|| (host.to_owned(), address));
        }
        let tls = http.url.scheme() == "https" || http.redirects > 0;
        let key = Key {
            tls: tls.then(|| (http.trust.clone(), http.identity.clone())),
            redirects: http.redirects,
            unix_socket: http.unix_socket.clone(),
            origin: http.origin.clone(),
            version: http.version,
            pin,
        };
        let client = match self.0.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = key.build().map_err(|error| Failure::of(&error))?;
                self.0.insert(key, client.clone());
                client
            }
        };
        Ok(Prepared { http, client })
    }
}

impl Key {
    fn build(&self) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(match self.redirects {
                0 => redirect::Policy::none(),
                most => redirect::Policy::limited(most.into()),
            })
            .retry(retry::never())
            .referer(false)
            .user_agent(concat!("vipcast/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(NoNames))
            .local_address(self.origin.address);
        builder = match self.version {
            Version::Http1 => builder.http1_only(),
            Version::Http2 => builder.http2_prior_knowledge(),
        };
        if let Some(path) = &self.unix_socket {
            builder = builder.unix_socket(path.as_path());
        }
        if let Some(interface) = &self.origin.interface {
            builder = builder.interface(interface);
        }
        // Loading the host's authorities costs time and memory, and fails where there are none.
        builder = match self.tls.as_ref().map(|(trust, _)| trust) {
            None => builder.tls_certs_only([]),
            Some(Trust::System) => builder,
            Some(Trust::Authorities(pem)) => {
                builder.tls_certs_only(Certificate::from_pem_bundle(pem)?)
            }
            Some(Trust::Unverified) => builder.tls_danger_accept_invalid_certs(true),
        };
        if let Some((_, Some(identity))) = &self.tls {
            builder = builder.identity(reqwest::Identity::from_pem(identity.pem())?);
        }
        if let Some((name, address)) = &self.pin {
            builder = builder.resolve(name, SocketAddr::new(*address, 0)); // 0: the URL's port
        }
        builder.build()
    }
}

/// The address a URL points to; `None` for a name other than "localhost".
#[must_use]
pub fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    if host == "localhost" {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Resolves nothing: a redirect to a name that is not pinned fails.
#[derive(Debug)]
struct NoNames;

impl reqwest::dns::Resolve for NoNames {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let text = format!("will not resolve {}: checks do not depend on DNS", name.as_str());
        Box::pin(async move { Err(text.into()) })
    }
}

impl Kind for Http {
    fn addresses(&self) -> Vec<IpAddr> {
        match address(&self.url) {
            Some(target) if self.unix_socket.is_none() => self.origin.and(target),
            _ => Vec::new(),
        }
    }

    fn prepare(&self, shared: &mut Shared, _: Wake) -> Result<Box<dyn Run>, Failure> {
        Ok(Box::new(shared.clients.prepare(self)?))
    }
}

impl Run for Prepared {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Prepared {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let http = &self.http;
        let mut request = self
            .client
            .request(http.method.clone(), http.url.clone())
            .headers(http.headers.clone());
        if http.version == Version::Http1 {
            request = request.header(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(name) = http.host.as_ref().filter(|_| !http.is_named_by_url()) {
            request = request.header(HOST, name);
        }
        let mut response = request.send().await.map_err(|error| self.refused(&error))?;
        let status = response.status();
        if !http.status.iter().any(|range| range.contains(&status.as_u16())) {
            return Err(http.wrong_status(&response));
        }
        let mut body = Vec::new();
        let mut length = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(&error))? {
            length += chunk.len();
            *progress = Progress::Octets(length);
            if length > MAX_BODY {
                return Err(Failure::new("the response body is longer than 1 MiB"));
            }
            if http.body.is_some() {
                body.extend(chunk);
            }
        }
        match &http.body {
            Some(expected) if !contains(&body, expected.as_bytes()) => {
                Err(Failure::new(format!("{expected:?} is not in the response body")))
            }
            _ => Ok(()),
        }
    }
}

impl Prepared {
    fn refused(&self, error: &reqwest::Error) -> Failure {
        let failure = Failure::of(error);
        // What HTTP/1.1 answers, taken for the head of a frame.
        let is_older = failure.0.ends_with("frame with invalid size");
        if self.http.version == Version::Http2 && is_older {
            return Failure::new("the server does not speak HTTP/2");
        }
        failure
    }
}

impl Failure {
    /// An error by its cause, without the URL that the operator knows.
    fn of(error: &reqwest::Error) -> Self {
        let mut cause: &(dyn Error + 'static) = error;
        // What an I/O error wraps is not its source, but the source of that is.
        while let Some(deeper) = match cause.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => cause.source(),
        } {
            cause = deeper;
        }
        let text = if let Some(error) = cause.downcast_ref() {
            trust::describe(error)
        } else if let Some(error) = cause.downcast_ref() {
            sys::describe(error)
        } else {
            cause.to_string()
        };
        let what = if error.is_connect() { "cannot connect: " } else { "" };
        Self::new(format!("{what}{text}"))
    }
}
