//! The `tls` probe: a handshake, and a certificate that will do for a while yet.
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, InvalidMessage};
use tokio_rustls::TlsConnector;

use super::driver::Wake;
use super::socket::Endpoint;
use super::trust::{self, Identity, Trust, Unverified};
use super::{Failure, Kind, Probing, Progress, Run, Shared};

/// Where to connect, and which certificate is good enough.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Where
    pub endpoint: Endpoint,
    /// What the certificate must be for
    pub name: ServerName<'static>,
    /// How far to trust the server
    pub trust: Trust,
    /// What a server is shown that asks for a certificate
    pub identity: Option<Identity>,
    /// For how long the certificate must be valid yet
    pub minimum_lifetime: Duration,
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls {}", self.endpoint)?;
        match self.dns_name() {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl Tls {
    /// The name, unless it is an address.
    fn dns_name(&self) -> Option<&str> {
        if let ServerName::DnsName(name) = &self.name { Some(name.as_ref()) } else { None }
    }
}

impl Kind for Tls {
    fn addresses(&self) -> Vec<IpAddr> {
        self.endpoint.addresses()
    }

    fn prepare(&self, shared: &mut Shared, _: Wake) -> Result<Box<dyn Run>, Failure> {
        let verifier = shared.verifiers.of(&self.trust)?;
        let wrong = |error: Error| Failure::new(trust::describe(&error));
        let builder = ClientConfig::builder_with_provider(trust::provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_webpki_verifier(verifier.clone()),
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified)),
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.parts()?;
                builder.with_client_auth_cert(chain, key).map_err(wrong)?
            }
        };
        // A session that is taken up again says nothing about the certificate of today.
        config.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Box::new(Prepared { tls: self.clone(), verifier, connector }))
    }
}

/// A [`Tls`] with what it needs.
struct Prepared {
    tls: Tls,
    /// `None` where the server need not be trusted
    verifier: Option<Arc<WebPkiServerVerifier>>,
    connector: TlsConnector,
}

impl Run for Prepared {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Prepared {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let stream = self.tls.endpoint.open().await?;
        *progress = Progress::Mismatch("the TLS handshake did not end".into());
        let stream = self.connector.connect(self.tls.name.clone(), stream).await;
        let stream = stream.map_err(|error| refused(&error))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.check_lifetime(chain, UnixTime::now())
    }

    /// Whether the certificate is valid, and will be.
    fn check_lifetime(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Failure> {
        let Some((certificate, others)) = chain.split_first() else {
            return Err(Failure::new("the server has shown no certificate"));
        };
        let later = Duration::from_secs(now.as_secs()).saturating_add(self.tls.minimum_lifetime);
        let later = UnixTime::since_unix_epoch(later);
        let judged = match &self.verifier {
            // By now the handshake has judged it. One that signs it may end before it does.
            Some(verifier) => {
                let name = &self.tls.name;
                verifier.verify_server_cert(certificate, others, name, &[], later).map(drop)
            }
            None => trust::check_dates(certificate, now)
                .and_then(|()| trust::check_dates(certificate, later)),
        };
        match judged {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) if not_after >= now => Err(self.ends(certificate, not_after, now)),
            Err(error) => Err(Failure::new(trust::describe(&error))),
            Ok(()) => Ok(()),
        }
    }

    /// The certificate, or one that signs it, is valid now, but not for long.
    fn ends(
        &self,
        certificate: &CertificateDer<'_>,
        not_after: UnixTime,
        now: UnixTime,
    ) -> Failure {
        let names = match self.tls.dns_name() {
            Some(name) => name.to_owned(),
            None => trust::names_in(certificate),
        };
        let left = Duration::from_secs(not_after.as_secs().saturating_sub(now.as_secs()));
        let (date, left) = (trust::date(not_after), in_words(left));
        Failure::new(format!("the certificate for {names} expires at {date}, in {left}: renew it"))
    }
}

/// "3 days", "5 hours"
fn in_words(time: Duration) -> String {
    let hours = time.as_secs() / 3600;
    let (count, unit) = if hours < 48 { (hours, "hour") } else { (hours / 24, "day") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Why there is no session.
fn refused(error: &io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            Failure::new("the server does not speak TLS")
        }
        Some(error) => Failure::new(trust::describe(error)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Failure::new("closed in the TLS handshake")
        }
        None => Failure::io("no TLS handshake", error),
    }
}
