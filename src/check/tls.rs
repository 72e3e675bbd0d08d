//! What rustls has to say about a server, in words and with the way out.
use std::fmt::Debug;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error, InvalidMessage};

/// Names of a certificate that are shown.
const NAMES: usize = 2;

/// An error of TLS, for the operator of the service that is checked.
#[expect(clippy::wildcard_enum_match_arm, reason = "most errors say nothing but their name")]
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS: should the URL begin with http://?".into()
        }
        Error::InvalidMessage(error) => format!("the server speaks broken TLS: {}", words(error)),
        Error::PeerIncompatible(error) => {
            format!("no version or algorithm of TLS in common with the server: {}", words(error))
        }
        Error::PeerMisbehaved(error) => format!("the server breaks TLS: {}", words(error)),
        Error::AlertReceived(alert) => {
            format!("the server refused the TLS handshake: {}", words(alert))
        }
        Error::General(text) if text.starts_with("No CA certificates") => {
            "this host has no CA certificates: install ca-certificates, or set ca-file".into()
        }
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most errors say nothing but their name")]
fn certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    let text = match error {
        E::UnknownIssuer => {
            "is of no CA that is trusted here: set ca-file to its CA, or tls-verify = false".into()
        }
        E::BadSignature => "is not signed by the CA that it names (another one of that name?): \
                            set ca-file to its CA"
            .into(),
        E::NotValidForName => "is for another name: set host to a name that it is for".into(),
        E::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let hint = match presented.len() {
                0 => "it names none (subjectAltName)".into(),
                count => {
                    let shown: Vec<&str> = presented.iter().take(NAMES).map(|n| bare(n)).collect();
                    let more = if count > NAMES { ", …" } else { "" };
                    format!("set host to a name that it is for: {}{more}", shown.join(", "))
                }
            };
            format!("is not for {expected}: {hint}")
        }
        E::Expired => "has expired: renew it".into(),
        E::ExpiredContext { not_after, .. } => {
            format!("expired at {}: renew it", date(*not_after))
        }
        E::NotValidYet => "is not valid yet: is the clock of this host right?".into(),
        E::NotValidYetContext { not_before, .. } => {
            let since = date(*not_before);
            format!("is not valid before {since}: is the clock of this host right?")
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "is not one for servers (extendedKeyUsage)".into()
        }
        E::Other(error) => return other(&error.to_string()),
        other => format!("is not valid: {}", words(other)),
    };
    format!("the server's certificate {text}")
}

/// An error of the verifier that rustls passes on; most are known by their name alone.
fn other(name: &str) -> String {
    match name {
        "CaUsedAsEndEntity" => "the server's certificate is that of a CA: give it one of its own \
                                (CA:FALSE); ca-file is for CAs"
            .into(),
        "certificate had invalid extensions" => certificate(&CertificateError::InvalidPurpose),
        _ => format!("the server's certificate is not valid: {}", spaced(name)),
    }
}

/// The name of an error as words: "unknown ca" for `UnknownCA`.
fn words(error: &impl Debug) -> String {
    spaced(&format!("{error:?}"))
}

fn spaced(name: &str) -> String {
    let name = name.split(['(', '{']).next().unwrap_or_default().trim();
    let mut words = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    words
}

/// A name of a certificate without what webpki puts around it: `DnsName("…")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"')
}

fn date(time: UnixTime) -> String {
    let at = i64::try_from(time.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.map_or_else(|| "a date far away".into(), |at| at.to_string())
}
