//! The `http` probe over TLS, against nginx with certificates made for the test.
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::server::{Behaviour, start};
use super::{failed, probe};

/// nginx with one certificate; it ends with the value.
struct Nginx {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl is installed (lab/install does that)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Nginx {
    /// Serves as `www.example.com` with a certificate of an authority of our own, in `ca.pem`.
    /// `days` may be negative: it expired.
    fn start(name: &str, days: i32) -> Self {
        Self::serve(name, days, "cert.pem", "key.pem")
    }

    /// The same with one of the certificates that are made: that of the authority, for one.
    fn serve(name: &str, days: i32, certificate: &str, key: &str) -> Self {
        let unique = format!("vipcast-tls-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        fs::create_dir_all(&folder).expect("a folder");
        openssl(
            &folder,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 10 \
                          -keyout ca.key -out ca.pem -subj /CN=lab-authority",
        );
        openssl(
            &folder,
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
                          -out request.pem -subj /CN=www.example.com",
        );
        let names = "subjectAltName=DNS:www.example.com\nbasicConstraints=CA:FALSE\n";
        fs::write(folder.join("names"), names).expect("a file");
        openssl(
            &folder,
            &format!(
                "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -days {days} \
                                   -out cert.pem -extfile names"
            ),
        );
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let text = format!(
            "worker_processes 1; daemon off; pid nginx.pid; error_log error.log;\n\
             events {{ }}\n\
             http {{ access_log off; client_body_temp_path tmp; proxy_temp_path tmp;\n\
             fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate};\n\
             ssl_certificate_key {key}; location / {{ return 200 \"$ssl_server_name $host\\n\"; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text).expect("a file");
        let child = Command::new("nginx")
            .args(["-p", folder.to_str().expect("UTF-8"), "-c", "nginx.conf", "-e", "error.log"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (lab/install does that)");
        let nginx = Self { child, folder, port };
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return nginx;
            }
            sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
        assert!(log.is_empty(), "nginx did not start: {log}");
        nginx
    }

    fn keys(&self, more: &str) -> String {
        format!("http = \"https://127.0.0.1:{}/\"\n{more}", self.port)
    }

    fn authority(&self) -> String {
        format!("ca-file = \"{}\"", self.folder.join("ca.pem").display())
    }
}

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
