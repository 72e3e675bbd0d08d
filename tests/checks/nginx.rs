//! nginx with certificates made for a test, and with all that probes may need of a server.
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// nginx with one certificate; it ends with the value.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) folder: PathBuf,
    /// Speaks TLS, HTTP/2 too
    pub(crate) port: u16,
    /// Waits for the PROXY protocol, then speaks HTTP/1.1 without TLS
    pub(crate) behind_proxy: u16,
    /// Waits for the PROXY protocol, then speaks TLS
    pub(crate) tls_behind_proxy: u16,
    /// Speaks HTTP/2 without TLS
    pub(crate) plain_http2: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl is installed (lab/install does that)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Nginx {
    /// Serves as `www.example.com` with a certificate of an authority of our own, in `ca.pem`.
    /// `days` may be negative: it expired.
    pub(crate) fn start(name: &str, days: i32) -> Self {
        Self::serve(name, days, "cert.pem", "key.pem")
    }

    /// The same with one of the certificates that are made: that of the authority, for one.
    pub(crate) fn serve(name: &str, days: i32, certificate: &str, key: &str) -> Self {
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
        let [port, behind_proxy, tls_behind_proxy, plain_http2] = free_ports();
        let text = format!(
            "worker_processes 1; daemon off; pid nginx.pid; error_log error.log;\n\
             events {{ }}\n\
             http {{ access_log off; client_body_temp_path tmp; proxy_temp_path tmp;\n\
             fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;\n\
             server {{ listen 127.0.0.1:{port} ssl http2; listen unix:{socket}; listen unix:{tls_socket} ssl;\n\
             listen 127.0.0.1:{behind_proxy} proxy_protocol;\n\
             listen 127.0.0.1:{tls_behind_proxy} ssl proxy_protocol; listen 127.0.0.1:{plain_http2} http2;\n\
             ssl_certificate {certificate}; ssl_certificate_key {key};\n\
             ssl_client_certificate ca.pem; ssl_verify_client optional;\n\
             location / {{ return 200 \"$ssl_server_name $host, $server_protocol, \
             request $connection_requests, client $ssl_client_verify, from $remote_addr\\n\"; }} }} }}\n",
            socket = folder.join("socket").display(),
            tls_socket = folder.join("tls-socket").display(),
        );
        fs::write(folder.join("nginx.conf"), text).expect("a file");
        let child = Command::new("nginx")
            .args(["-p", folder.to_str().expect("UTF-8"), "-c", "nginx.conf", "-e", "error.log"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (lab/install does that)");
        let nginx = Self { child, folder, port, behind_proxy, tls_behind_proxy, plain_http2 };
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

    pub(crate) fn keys(&self, more: &str) -> String {
        format!("http = \"https://127.0.0.1:{}/\"\n{more}", self.port)
    }

    pub(crate) fn authority(&self) -> String {
        format!("ca-file = \"{}\"", self.folder.join("ca.pem").display())
    }
}

/// Ports on which nobody listens just now.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
