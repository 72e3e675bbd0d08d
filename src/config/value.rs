//! How values are written: durations with units, ranges of addresses, AS numbers, percentages.
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use crate::bgp::connection::RemoteAsn;
use crate::route::Asn;
use crate::service::Require;

/// A value that is written as a string.
pub(super) trait Written: Sized {
    /// For messages: "expected …"
    const EXPECTED: &'static str;
    /// Understands the text, or says in a few words why not.
    fn understand(text: &str) -> Option<Self>;
}

/// Reads a [`Written`] value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: Written> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<T>(PhantomData<T>);
        impl<T: Written> Visitor<'_> for TextVisitor<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
                let value = T::understand(text);
                value.map(Text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
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

impl Written for SocketAddr {
    const EXPECTED: &'static str =
        "an address and a port, such as \"203.0.113.5:80\" or \"[2001:db8::1]:80\"";

    fn understand(text: &str) -> Option<Self> {
        text.parse().ok()
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

/// HTTP status codes: 204, "200" or "200-299".
#[derive(Clone, Debug)]
pub(super) struct Statuses(pub(super) RangeInclusive<u16>);

impl Statuses {
    fn new(first: u16, last: u16) -> Option<Self> {
        (100 <= first && first <= last && last <= 599).then_some(Self(first..=last))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusVisitor;
        impl Visitor<'_> for StatusVisitor {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an HTTP status or a range of them, such as 200 or \"200-299\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Statuses, E> {
                let status = u16::try_from(number).ok().and_then(|n| Statuses::new(n, n));
                status.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Statuses, E> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let range = (first.trim().parse().ok()).zip(last.trim().parse().ok());
                let status = range.and_then(|(first, last)| Statuses::new(first, last));
                status.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(StatusVisitor)
    }
}

/// A whole number, before it is known what it must lie between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }
        }
        deserializer.deserialize_i64(NumberVisitor)
    }
}

/// `remote-asn`: a number, "external" or "internal".
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenRemoteAsn(pub(super) RemoteAsn);

impl<'de> Deserialize<'de> for WrittenRemoteAsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsnVisitor;
        impl Visitor<'_> for AsnVisitor {
            type Value = RemoteAsn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an AS number, \"external\" or \"internal\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RemoteAsn, E> {
                let asn = u32::try_from(number).map(Asn);
                let out = || E::custom("an AS number is at most 4294967295");
                asn.map(RemoteAsn::Number).map_err(|_| out())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RemoteAsn, E> {
                match text {
                    "external" => Ok(RemoteAsn::External),
                    "internal" => Ok(RemoteAsn::Internal),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(AsnVisitor).map(Self)
    }
}

/// `require`: "all", "any" or a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenRequire(pub(super) Require);

impl<'de> Deserialize<'de> for WrittenRequire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RequireVisitor;
        impl Visitor<'_> for RequireVisitor {
            type Value = Require;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\", \"any\" or how many of the checks must be up")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Require, E> {
                match usize::try_from(number) {
                    Ok(number) if number > 0 => Ok(Require::AtLeast(number)),
                    _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Require, E> {
                match text {
                    "all" => Ok(Require::All),
                    "any" => Ok(Require::AtLeast(1)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(RequireVisitor).map(Self)
    }
}
