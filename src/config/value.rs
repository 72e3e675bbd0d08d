//! How values are written: durations with units, ranges of addresses, AS numbers, percentages.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use reqwest::Method;
use toml::de::{DeInteger, DeValue};

use super::LogLevel;
use crate::bgp::connection::RemoteAsn;
use crate::check::http::Version;
use crate::check::socket::Target;
use crate::route::{Asn, Role};
use crate::service::Require;

/// What a key can be set to.
pub(super) trait Value: Sized {
    /// For messages: "must be …"
    const EXPECTED: &'static str;
    /// Words that are understood, to be suggested
    const WORDS: &'static [&'static str] = &[];
    /// Understands what is written; `None` when it is something else.
    fn read(written: &DeValue<'_>) -> Option<Self>;
}

/// A value that is written as a string.
pub(super) trait Written: Sized {
    /// For messages: "must be …"
    const EXPECTED: &'static str;
    /// Words that are understood, to be suggested
    const WORDS: &'static [&'static str] = &[];
    /// Understands the text; `None` when it is something else.
    fn understand(text: &str) -> Option<Self>;
}

/// Reads a [`Written`] value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<T: Written> Value for Text<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const WORDS: &'static [&'static str] = T::WORDS;

    fn read(written: &DeValue<'_>) -> Option<Self> {
        T::understand(written.as_str()?).map(Self)
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a string";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        written.as_str().map(str::to_owned)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "the path of a file, as a string";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        written.as_str().filter(|text| !text.is_empty()).map(Self::from)
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        written.as_bool()
    }
}

/// A whole number, before it is known what it must lie between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) i64);

impl Value for Number {
    const EXPECTED: &'static str = "a whole number";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        written.as_integer().map(number).map(Self)
    }
}

/// What `i64` cannot hold is outside every range, as its ends are.
fn number(written: &DeInteger<'_>) -> i64 {
    let end = if written.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
    i64::from_str_radix(written.as_str(), written.radix()).unwrap_or(end)
}

impl Written for Duration {
    const EXPECTED: &'static str = "a duration with its unit, such as \"300ms\" or \"90s\"";

    fn understand(text: &str) -> Option<Self> {
        let duration: jiff::SignedDuration = text.parse().ok()?;
        Self::try_from(duration).ok()
    }
}

impl Written for IpAddr {
    const EXPECTED: &'static str = "an address, such as \"10.0.0.1\" or \"2001:db8::1\"";

    fn understand(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Written for Ipv4Addr {
    const EXPECTED: &'static str = "an IPv4 address, such as \"10.0.0.21\"";

    fn understand(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Written for Role {
    const EXPECTED: &'static str =
        "what we are to the peer: \"customer\", \"provider\", \"peer\", \"rs-client\" or \"rs\"";
    const WORDS: &'static [&'static str] = &["customer", "provider", "peer", "rs-client", "rs"];

    fn understand(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == text)
    }
}

impl Written for Ipv6Addr {
    const EXPECTED: &'static str = "an IPv6 address, such as \"2001:db8::1\"";

    fn understand(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Written for SocketAddr {
    const EXPECTED: &'static str =
        "an address and a port, such as \"203.0.113.5:80\" or \"[2001:db8::1]:80\"";

    fn understand(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Written for Target {
    const EXPECTED: &'static str = "an address and a port, such as \"203.0.113.5:80\" or \
        \"[2001:db8::1]:80\", or a Unix socket, such as \"unix:/run/app.sock\"";

    fn understand(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Self::Unix(path.into())),
            None => text.parse().ok().map(Self::Address),
        }
    }
}

impl Written for LogLevel {
    const EXPECTED: &'static str = "\"trace\", \"debug\", \"info\", \"warn\" or \"error\"";
    const WORDS: &'static [&'static str] = &["trace", "debug", "info", "warn", "error"];

    fn understand(text: &str) -> Option<Self> {
        let level = match text {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        };
        Some(level)
    }
}

/// The methods that do nothing but ask.
impl Written for Method {
    const EXPECTED: &'static str = "\"GET\" or \"HEAD\"";
    const WORDS: &'static [&'static str] = &["GET", "HEAD"];

    fn understand(text: &str) -> Option<Self> {
        match text {
            "GET" => Some(Self::GET),
            "HEAD" => Some(Self::HEAD),
            _ => None,
        }
    }
}

impl Written for Version {
    const EXPECTED: &'static str = "\"1.1\" or \"2\"";
    const WORDS: &'static [&'static str] = &["1.1", "2"];

    fn understand(text: &str) -> Option<Self> {
        match text {
            "1.1" => Some(Self::Http1),
            "2" => Some(Self::Http2),
            _ => None,
        }
    }
}

/// Addresses that may be VIPs: a prefix, a range or a single address, as prefixes.
#[derive(Clone, Debug)]
pub(super) struct Addresses(pub(super) Vec<IpNet>);

impl Written for Addresses {
    const EXPECTED: &'static str = "addresses, such as \"203.0.113.0/24\", \"2001:db8::/64\", \
        \"198.51.100.10-198.51.100.20\" or \"203.0.113.5\"";

    fn understand(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            let prefixes = match (first.trim().parse().ok()?, last.trim().parse().ok()?) {
                (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                    Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
                }
                (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                    Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
                }
                _ => return None,
            };
            return Some(Self(prefixes));
        }
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let prefix: IpNet = text.parse().ok().or_else(single)?;
        Some(Self(vec![prefix]))
    }
}

/// A share of a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) u8);

impl Written for Percent {
    const EXPECTED: &'static str = "a percentage from \"0%\" to \"100%\"";

    fn understand(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?.trim().parse().ok()?;
        (number <= 100).then_some(Self(number))
    }
}

/// A time that may be given in days, which have 24 hours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Days(pub(super) Duration);

impl Written for Days {
    const EXPECTED: &'static str = "a duration with its unit, such as \"7d\" or \"36h\"";

    fn understand(text: &str) -> Option<Self> {
        let span: jiff::Span = text.parse().ok()?;
        let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(duration).ok().map(Self)
    }
}

/// What goes over a wire: a text, or { hex = "16 03 01" }.
#[derive(Clone, Debug)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl Value for Octets {
    const EXPECTED: &'static str =
        "a string, or octets as pairs of hexadecimal digits: { hex = \"16 03 01\" }";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        if let Some(text) = written.as_str() {
            return Some(Self(text.into()));
        }
        let table = written.as_table().filter(|table| table.len() == 1)?;
        let digits: Vec<u8> =
            table.get("hex")?.get_ref().as_str()?.bytes().filter(|o| *o != b' ').collect();
        let pairs = digits.chunks(2).map(|pair| {
            let pair =
                str::from_utf8(pair).ok().filter(|p| p.bytes().all(|o| o.is_ascii_hexdigit()));
            u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()
        });
        pairs.collect::<Option<_>>().map(Self)
    }
}

/// HTTP status codes: 204, "200" or "200-299".
#[derive(Clone, Debug)]
pub(super) struct Statuses(pub(super) RangeInclusive<u16>);

impl Value for Statuses {
    const EXPECTED: &'static str =
        "an HTTP status from 100 to 599 or a range of them, such as 200 or \"200-299\"";

    fn read(written: &DeValue<'_>) -> Option<Self> {
        let (first, last) = match (written.as_integer().map(number), written.as_str()) {
            (Some(number), _) => (u16::try_from(number).ok()?, u16::try_from(number).ok()?),
            (None, text) => {
                let text = text?;
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                (first.trim().parse().ok()?, last.trim().parse().ok()?)
            }
        };
        (100 <= first && first <= last && last <= 599).then_some(Self(first..=last))
    }
}

/// `remote-asn`: a number, "external" or "internal".
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenRemoteAsn(pub(super) RemoteAsn);

impl Value for WrittenRemoteAsn {
    const EXPECTED: &'static str =
        "an AS number from 1 to 4294967295, \"external\" or \"internal\"";
    const WORDS: &'static [&'static str] = &["external", "internal"];

    fn read(written: &DeValue<'_>) -> Option<Self> {
        let asn = match (written.as_integer().map(number), written.as_str()) {
            (Some(number), _) => RemoteAsn::Number(Asn(u32::try_from(number).ok()?)),
            (None, Some("external")) => RemoteAsn::External,
            (None, Some("internal")) => RemoteAsn::Internal,
            (None, _) => return None,
        };
        Some(Self(asn))
    }
}

/// `require`: "all", "any" or a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenRequire(pub(super) Require);

impl Value for WrittenRequire {
    const EXPECTED: &'static str = "\"all\", \"any\" or how many of the checks must be up";
    const WORDS: &'static [&'static str] = &["all", "any"];

    fn read(written: &DeValue<'_>) -> Option<Self> {
        let require = match (written.as_integer().map(number), written.as_str()) {
            (Some(number), _) => {
                Require::AtLeast(usize::try_from(number).ok().filter(|number| *number > 0)?)
            }
            (None, Some("all")) => Require::All,
            (None, Some("any")) => Require::AtLeast(1),
            (None, _) => return None,
        };
        Some(Self(require))
    }
}
