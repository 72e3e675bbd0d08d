//! The `tls` probe, against nginx with certificates made for the test.
use super::nginx::{Nginx, openssl};
use super::server::{Behaviour, start};
use super::{failed, probe};

/// The keys of a probe of this server, by its authority and name.
fn keys(nginx: &Nginx, more: &str) -> String {
    let port = nginx.port;
    let authority = nginx.authority();
    format!("tls = \"127.0.0.1:{port}\"\n{authority}\nhost = \"www.example.com\"\n{more}")
}

fn refused(text: &str) -> Result<(), String> {
    failed(&format!("the server's certificate {text}"))
}

#[test]
fn a_certificate_must_be_good_and_stay_so() {
    let nginx = Nginx::start("life", 5);
    assert_eq!(probe(&keys(&nginx, "")), Ok(()));
    assert_eq!(probe(&keys(&nginx, "minimum-lifetime = \"4d\"")), Ok(()));
    let text = probe(&keys(&nginx, "minimum-lifetime = \"6d\"")).expect_err("it ends in 5 days");
    assert!(text.starts_with("the certificate for www.example.com expires at 2"), "{text}");
    assert!(text.ends_with(" days: renew it"), "{text}");
    // Its authority ends in ten days, and has no dates that matter.
    let text = probe(&keys(&nginx, "minimum-lifetime = \"90d\"")).expect_err("it ends in 5 days");
    assert!(text.ends_with(" days: renew it"), "{text}");
}

#[test]
fn a_certificate_is_judged_by_name_authority_and_date() {
    let nginx = Nginx::start("judged", 5);
    let with = |from: &str, to: &str| keys(&nginx, "").replace(from, to);
    let other = with("www.example.com", "other.example.com");
    let for_it = "set host to a name that it is for: www.example.com";
    assert_eq!(probe(&other), refused(&format!("is not for other.example.com: {for_it}")));
    let none = with("host = \"www.example.com\"", "");
    assert_eq!(probe(&none), refused(&format!("is not for 127.0.0.1: {for_it}")));
    openssl(
        &nginx.folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout x.key \
         -out other.pem -subj /CN=other",
    );
    let text = "is of no CA that is trusted here: set ca-file to its CA, or tls-verify = false";
    assert_eq!(probe(&with("ca.pem", "other.pem")), refused(text));

    let expired = Nginx::start("past", -1);
    assert_eq!(probe(&keys(&expired, "")), refused("has expired: renew it"));
}

#[test]
fn without_verification_the_dates_count_alone() {
    let unverified = |nginx: &Nginx, more: &str| {
        probe(&format!("tls = \"127.0.0.1:{}\"\ntls-verify = false\n{more}", nginx.port))
    };
    let nginx = Nginx::start("unverified", 5);
    assert_eq!(unverified(&nginx, ""), Ok(()));
    assert_eq!(unverified(&nginx, "minimum-lifetime = \"4d\""), Ok(()));
    let text = unverified(&nginx, "minimum-lifetime = \"6d\"").expect_err("it ends in 5 days");
    assert!(text.starts_with("the certificate for www.example.com expires at 2"), "{text}");
    let expired = Nginx::start("unverified-past", -1);
    assert_eq!(unverified(&expired, ""), refused("has expired: renew it"));
    // That of a CA is none for servers, but it has dates.
    let authority = Nginx::serve("unverified-ca", 5, "ca.pem", "ca.key");
    assert_eq!(unverified(&authority, "minimum-lifetime = \"9d\""), Ok(()));
    let text = unverified(&authority, "minimum-lifetime = \"11d\"").expect_err("ten days");
    assert!(text.ends_with(" days: renew it"), "{text}");
}

#[test]
fn a_server_behind_a_unix_socket_or_one_that_wants_a_certificate_can_be_probed() {
    let nginx = Nginx::start("variants", 5);
    let file = |name: &str| nginx.folder.join(name).display().to_string();
    let shown =
        format!("certificate-file = {:?}\nkey-file = {:?}", file("cert.pem"), file("key.pem"));
    assert_eq!(probe(&keys(&nginx, &shown)), Ok(()));
    let target = format!("unix:{}", file("tls-socket"));
    let unix = keys(&nginx, "").replace(&format!("127.0.0.1:{}", nginx.port), &target);
    assert_eq!(probe(&unix), Ok(()));
    let proxied = nginx.tls_behind_proxy.to_string();
    let proxied = keys(&nginx, "proxy-protocol = true").replace(&nginx.port.to_string(), &proxied);
    assert_eq!(probe(&proxied), Ok(()));
}

#[test]
fn what_is_no_tls_or_no_end_of_a_handshake_is_a_failure() {
    let at = |behaviour| {
        let keys = "tls-verify = false\ninterval = \"1s\"\ntimeout = \"200ms\"";
        probe(&format!("tls = \"{}\"\n{keys}", start(behaviour)))
    };
    let plain = Behaviour::Answer("HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(at(plain), failed("the server does not speak TLS"));
    let stalled = failed("the TLS handshake did not end within 200ms");
    assert_eq!(at(Behaviour::Silent), stalled);
    assert_eq!(at(Behaviour::Drip("\u{16}\u{3}\u{3}\u{f}\u{f}", "\u{0}")), stalled);
    let closed = at(Behaviour::Answer("")).expect_err("must fail");
    assert!(
        closed == "closed in the TLS handshake" || closed.ends_with("reset by peer"),
        "{closed}"
    );
    let reset = at(Behaviour::Reset).expect_err("must fail");
    assert!(reset.ends_with("connection reset by peer"), "{reset}");
    let endless = at(Behaviour::Endless("\u{16}\u{3}\u{3}\u{1}\u{0}", "\u{0}")).expect_err("fails");
    assert!(endless.starts_with("received unexpected handshake message"), "{endless}");
}
