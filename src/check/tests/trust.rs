//! Errors of TLS in words. Those of certificates are had from real servers in `tests/checks/tls.rs`.
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

use crate::check::trust::describe;

fn certificate(error: CertificateError) -> String {
    describe(&Error::InvalidCertificate(error))
}

#[test]
fn dates_are_those_of_a_calendar() {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));
    assert_eq!(
        certificate(CertificateError::ExpiredContext { time, not_after: time }),
        "the server's certificate expired at 2026-01-01T00:00:00Z: renew it"
    );
    assert_eq!(
        certificate(CertificateError::NotValidYetContext { time, not_before: time }),
        "the server's certificate is not valid before 2026-01-01T00:00:00Z: \
         is the clock of this host right?"
    );
}

#[test]
fn of_many_names_a_few_are_shown() {
    let presented = ["a", "b", "c"].map(|name| format!("DnsName(\"{name}.example.com\")")).into();
    let expected = "192.0.2.1".try_into().expect("an address");
    assert_eq!(
        certificate(CertificateError::NotValidForNameContext { expected, presented }),
        "the server's certificate is not for 192.0.2.1: \
         set host to a name that it is for: a.example.com, b.example.com, …"
    );
}

#[test]
fn what_is_known_by_its_name_alone_is_spelled_out() {
    for (error, text) in [
        (
            Error::AlertReceived(AlertDescription::CertificateRequired),
            "the server refused the TLS handshake: certificate required",
        ),
        (
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "no version or algorithm of TLS in common with the server: no cipher suites in common",
        ),
        (
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            "the server breaks TLS: too much early data received",
        ),
        (
            Error::InvalidMessage(InvalidMessage::MissingData("Random")),
            "the server speaks broken TLS: missing data",
        ),
        (
            Error::InvalidCertificate(CertificateError::Revoked),
            "the server's certificate is not valid: revoked",
        ),
    ] {
        assert_eq!(describe(&error), text);
    }
}
