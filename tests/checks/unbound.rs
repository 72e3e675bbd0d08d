//! unbound with a zone of its own.
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::nginx::free_ports;

/// It ends with the value.
pub(crate) struct Unbound {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Unbound {
    pub(crate) fn start(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("vipcast-dns-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let [port] = free_ports();
        let many: String = (1..=60)
            .map(|last| format!("    local-data: \"many.example.com. A 192.0.2.{last}\"\n"))
            .collect();
        let text = format!(
            "server:\n    interface: 127.0.0.1\n    port: {port}\n    username: \"\"\n    \
             chroot: \"\"\n    directory: \"{folder}\"\n    pidfile: \"\"\n    use-syslog: no\n    \
             logfile: \"log\"\n    do-ip6: no\n    num-threads: 1\n    \
             local-zone: \"example.com.\" static\n    \
             local-data: \"example.com. SOA ns.example.com. root.example.com. 7 1 1 1 1\"\n    \
             local-data: \"example.com. A 192.0.2.1\"\n    \
             local-data: \"example.com. A 192.0.2.2\"\n    \
             local-data: \"example.com. MX 10 mail.example.com.\"\n    \
             local-data: 'example.com. TXT \"v=spf1 -all\"'\n{many}    \
             local-zone: \"refused.example.\" refuse\n\
             remote-control:\n    control-enable: no\n",
            folder = folder.display(),
        );
        fs::write(folder.join("unbound.conf"), text).expect("a file");
        let child = Command::new("unbound")
            .args(["-d", "-c", "unbound.conf"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unbound is installed (lab/install does that)");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let unbound = Self { child, folder, address };
        for _ in 0..600 {
            if TcpStream::connect(address).is_ok() {
                return unbound;
            }
            sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(unbound.folder.join("log")).unwrap_or_default();
        assert!(log.is_empty(), "unbound did not start: {log}");
        unbound
    }
}
