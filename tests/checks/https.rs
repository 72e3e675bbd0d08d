//! The `http` probe over TLS, against nginx with certificates made for the test.
use vipcast::check::Check;

use super::nginx::{Nginx, openssl};
use super::server::{Behaviour, start};
use super::{PATIENCE, check, failed, outcomes_of, probe};

#[test]
fn a_certificate_is_judged_by_name_authority_and_date() {
    let nginx = Nginx::start("good", 5);
    let authority = nginx.authority();
    let named = "host = \"www.example.com\"\nbody = \"www.example.com www.example.com\"";
    assert_eq!(probe(&nginx.keys(&format!("{authority}\n{named}"))), Ok(()));
    let for_it = "set host to a name that it is for: www.example.com";
    let wrong_name = probe(&nginx.keys(&format!("{authority}\nhost = \"other.example.com\"")));
    let text = format!("is not for other.example.com: {for_it}");
    assert_eq!(wrong_name, refused(&text));
    let no_name = probe(&nginx.keys(&authority));
    assert_eq!(no_name, refused(&format!("is not for 127.0.0.1: {for_it}")));
    assert_eq!(probe(&nginx.keys("tls-verify = false")), Ok(()));

    let expired = Nginx::start("expired", -1);
    let keys = format!("{}\nhost = \"www.example.com\"", expired.authority());
    assert_eq!(probe(&expired.keys(&keys)), refused("has expired: renew it"));
}

#[test]
fn a_certificate_of_another_authority_says_what_to_set() {
    let nginx = Nginx::start("mine", 5);
    let named = |authority: &str| format!("{authority}\nhost = \"www.example.com\"");
    let same_name = Nginx::start("stranger", 5);
    let result = probe(&same_name.keys(&named(&nginx.authority())));
    let text = "is not signed by the CA that it names (another one of that name?): set ca-file to \
                its CA";
    assert_eq!(result, refused(text));

    openssl(
        &nginx.folder,
        "req -x509 -newkey rsa:2048 -nodes -keyout x.key -out other.pem -subj /CN=other",
    );
    let other = nginx.authority().replace("ca.pem", "other.pem");
    let text = "is of no CA that is trusted here: set ca-file to its CA, or tls-verify = false";
    assert_eq!(probe(&nginx.keys(&named(&other))), refused(text));
}

#[test]
fn a_server_that_shows_the_certificate_of_an_authority_is_told_so() {
    let nginx = Nginx::serve("authority", 5, "ca.pem", "ca.key");
    let text = "is that of a CA: give it one of its own (CA:FALSE); ca-file is for CAs";
    assert_eq!(probe(&nginx.keys(&nginx.authority())), refused(text));
}

/// A failure because of the certificate.
fn refused(text: &str) -> Result<(), String> {
    failed(&format!("cannot connect: the server's certificate {text}"))
}

#[test]
fn the_authorities_of_the_host_are_used_when_none_are_named() {
    let nginx = Nginx::start("system", 5);
    let text = probe(&nginx.keys("host = \"www.example.com\"")).expect_err("must fail");
    // Which words it is depends on whether this host has any authorities at all.
    let words = ["certificate", "no CA"];
    assert!(words.iter().any(|word| text.contains(word)), "{text}");
}

#[test]
fn a_server_that_does_not_speak_tls_or_stalls_is_a_failure() {
    let plain = start(Behaviour::Answer("HTTP/1.1 400 Bad Request\r\n\r\n"));
    let keys = format!("http = \"https://{plain}/\"\ntls-verify = false");
    let text = "the server does not speak TLS: should the URL begin with http://?";
    assert_eq!(probe(&keys), failed(&format!("cannot connect: {text}")));
    let silent = start(Behaviour::Silent);
    let keys = format!(
        "http = \"https://{silent}/\"\ntls-verify = false\ninterval = \"1s\"\ntimeout = \"100ms\""
    );
    assert_eq!(probe(&keys), failed("no answer within 100ms"));
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let nginx = Nginx::start("client", 5);
    let named = format!("{}\nhost = \"www.example.com\"", nginx.authority());
    let file = |name: &str| nginx.folder.join(name).display().to_string();
    let shown =
        format!("certificate-file = {:?}\nkey-file = {:?}", file("cert.pem"), file("key.pem"));
    let success = "body = \"client SUCCESS\"";
    assert_eq!(probe(&nginx.keys(&format!("{named}\n{shown}\n{success}"))), Ok(()));
    let none = probe(&nginx.keys(&format!("{named}\n{success}")));
    assert_eq!(none, failed("\"client SUCCESS\" is not in the response body"));
}

#[test]
fn http_2_is_spoken_where_it_is_asked_for() {
    let nginx = Nginx::start("version", 5);
    let named = format!("{}\nhost = \"www.example.com\"", nginx.authority());
    let version = |version: &str| format!("{named}\nversion = \"{version}\"\n");
    let two = version("2") + "body = \"www.example.com www.example.com, HTTP/2.0\"";
    assert_eq!(probe(&nginx.keys(&two)), Ok(()));
    // Each probe has a connection of its own here, too.
    let first = check(&nginx.keys(&(version("2") + "body = \"request 1,\"\ninterval = \"20ms\"")));
    for outcome in outcomes_of(Check { timeout: PATIENCE, ..first }, 3) {
        assert_eq!(outcome.result, Ok(()));
    }
    let one = version("1.1") + "body = \"HTTP/1.1\"";
    assert_eq!(probe(&nginx.keys(&one)), Ok(()));
    let plain = format!(
        "http = \"http://127.0.0.1:{}/\"\nversion = \"2\"\nhost = \"www.example.com\"\n\
         body = \" www.example.com, HTTP/2.0\"",
        nginx.plain_http2
    );
    assert_eq!(probe(&plain), Ok(()));
}

#[test]
fn a_server_without_http_2_is_told_so() {
    let old = start(Behaviour::Answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    let keys = format!("http = \"http://{old}/\"\nversion = \"2\"");
    let text = probe(&keys).expect_err("must fail");
    // It may have closed before all is sent.
    let expected = ["the server does not speak HTTP/2", "stream closed because of a broken pipe"];
    assert!(expected.contains(&&*text) || text.ends_with("reset by peer"), "{text}");
}
