//! How servers with TLS are judged, what they are shown of us, and what rustls has to say about
//! them, in words and with the way out.
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, InconsistentKeys, InvalidMessage,
    RootCertStore, SignatureScheme,
};

use super::Failure;

const NO_AUTHORITIES: &str =
    "this host has no CA certificates: install ca-certificates, or set ca-file";
/// TLS of the process uses the provider that is installed first.
pub fn install_provider() {
    // It fails only if there is one already, which serves as well.
    let _ = ring::default_provider().install_default();
}

/// Names of a certificate that are shown.
const NAMES: usize = 2;

/// How a server's certificate is judged.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Trust {
    /// By the certificate authorities of the host
    System,
    /// By these, in PEM form
    Authorities(Vec<u8>),
    /// Not at all
    Unverified,
}

/// A certificate of our own, with its key.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Identity {
    /// Both, one after the other
    pem: Vec<u8>,
}

impl Identity {
    /// Of what two files hold.
    ///
    /// # Errors
    ///
    /// Which of them cannot be used, and why.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.unwrap_or_default();
        if chain.is_empty() {
            return Err(IdentityError::Certificate("holds no certificate in PEM form"));
        }
        let private = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| IdentityError::Key("holds no unencrypted key in PEM form"))?;
        match CertifiedKey::from_der(chain, private, &ring::default_provider()) {
            Ok(_) => Ok(Self { pem: [certificate, b"\n", key].concat() }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(IdentityError::Key("is not the key of the certificate"))
            }
            Err(Error::InvalidCertificate(_)) => {
                Err(IdentityError::Certificate("holds a certificate that cannot be read"))
            }
            Err(_) => Err(IdentityError::Key("holds a key of a kind that is not known")),
        }
    }

    /// The certificate with those that sign it, and the key.
    pub(super) fn parts(&self) -> Result<(Chain, PrivateKeyDer<'static>), Failure> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.pem).collect();
        let key = PrivateKeyDer::from_pem_slice(&self.pem);
        let wrong = |_| Failure::new("the certificate and its key cannot be read");
        Ok((chain.map_err(wrong)?, key.map_err(wrong)?))
    }

    /// Both in one text.
    pub(super) fn pem(&self) -> &[u8] {
        &self.pem
    }
}

impl Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity") // and not what it is
    }
}

/// Why two files are no [`Identity`]: what is wrong with one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityError {
    /// With that of the certificate
    Certificate(&'static str),
    /// With that of the key
    Key(&'static str),
}

type Chain = Vec<CertificateDer<'static>>;

/// What judges servers, one for all checks with the same trust.
#[derive(Debug, Default)]
pub(super) struct Verifiers(HashMap<Trust, Arc<WebPkiServerVerifier>>);

impl Verifiers {
    /// `None` where a server need not be trusted.
    ///
    /// # Errors
    ///
    /// When there are no certificate authorities.
    pub(super) fn of(
        &mut self,
        trust: &Trust,
    ) -> Result<Option<Arc<WebPkiServerVerifier>>, Failure> {
        if let Some(verifier) = self.0.get(trust) {
            return Ok(Some(verifier.clone()));
        }
        let authorities = match trust {
            Trust::System => rustls_native_certs::load_native_certs().certs,
            // Whoever wrote the configuration has been told what cannot be read.
            Trust::Authorities(pem) => CertificateDer::pem_slice_iter(pem).flatten().collect(),
            Trust::Unverified => return Ok(None),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
        let verifier = verifier.build().map_err(|_| Failure::new(NO_AUTHORITIES))?;
        self.0.insert(trust.clone(), verifier.clone());
        Ok(Some(verifier))
    }
}

/// The one implementation of cryptography that we have.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Trusts every server; that it has the key of its certificate is still to be shown.
#[derive(Debug)]
pub(super) struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate is valid at some time, going by its dates alone.
pub(super) fn check_dates(certificate: &CertificateDer<'_>, at: UnixTime) -> Result<(), Error> {
    let certificate = ParsedCertificate::try_from(certificate)?;
    let nobody = RootCertStore::empty();
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // The dates are judged first; that nobody is trusted comes after that.
    match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], at, algorithms) {
        Err(
            error @ Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ),
        ) => Err(error),
        _ => Ok(()),
    }
}

/// The first names that a certificate is for.
pub(super) fn names_in(certificate: &CertificateDer<'_>) -> String {
    let nobody = ServerName::try_from("nobody.invalid").ok();
    let parsed = ParsedCertificate::try_from(certificate).ok();
    let judged = parsed.zip(nobody).map(|(parsed, name)| verify_server_name(&parsed, &name));
    // What is said of a name that it is not for.
    match judged {
        Some(Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        }))) if !presented.is_empty() => listed(&presented),
        _ => "no name".into(),
    }
}

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
        Error::General(text) if text.starts_with("No CA certificates") => NO_AUTHORITIES.into(),
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
                _ => format!("set host to a name that it is for: {}", listed(presented)),
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

fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(|name| bare(name)).collect();
    let more = if names.len() > NAMES { ", …" } else { "" };
    shown.join(", ") + more
}

/// A name of a certificate without what webpki puts around it: `DnsName("…")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"')
}

pub(super) fn date(time: UnixTime) -> String {
    let at = i64::try_from(time.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.map_or_else(|| "a date far away".into(), |at| at.to_string())
}
