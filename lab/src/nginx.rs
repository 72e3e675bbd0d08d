//! The service on a host: nginx, whose health can be switched at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::netns::Namespace;
use crate::process::Process;
use crate::site::make_directory;

const READY: Duration = Duration::from_secs(30);

/// A web server on port 80 of all addresses. `/` answers with the host's name; `/healthz`, and any
/// path that begins so, answers 200 or 503.
#[derive(Debug)]
pub struct Nginx {
    namespace: Namespace,
    directory: PathBuf,
    process: Process,
}

/// One answered health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for, like `/healthz`.
    pub path: String,
    /// When nginx logged it, which is right after the answer; nginx's clock has milliseconds.
    pub at: Instant,
    /// 200 or 503.
    pub status: u16,
}

impl Nginx {
    /// Starts nginx, healthy, and waits until it listens.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let directory = namespace.directory().join("nginx");
        make_directory(&directory)?;
        make_directory(&directory.join("health"))?;
        fs::write(directory.join("health/healthz"), "")?;
        let process = run(namespace, &directory)?;
        Ok(Self { namespace: namespace.clone(), directory, process })
    }

    /// Starts it again after its process was stopped or killed.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_running() {
            self.process.kill()?;
        }
        self.process = run(&self.namespace, &self.directory)?;
        Ok(())
    }

    /// Lets this path, which begins with `/healthz`, answer 200 or 503 from the next request on.
    pub fn set_health(&self, path: &str, healthy: bool) -> Result<()> {
        let file = self.directory.join("health").join(path.trim_start_matches('/'));
        if healthy {
            fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))
        } else if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
        } else {
            Ok(())
        }
    }

    /// The health checks answered so far, of all `/healthz` paths.
    pub fn answers(&self) -> Result<Vec<Answer>> {
        let log = fs::read_to_string(self.directory.join("health.log"))?;
        let (now, wall) = (Instant::now(), SystemTime::now());
        log.lines()
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                let mut word = || words.next().context("odd line in health.log");
                let (time, status, path) = (word()?, word()?.parse()?, word()?.to_owned());
                let since_epoch = Duration::from_secs_f64(time.parse()?);
                let age = wall.duration_since(UNIX_EPOCH + since_epoch).unwrap_or_default();
                Ok(Answer { path, at: now.checked_sub(age).unwrap_or(now), status })
            })
            .collect()
    }

    /// The process, to be frozen, stopped or killed.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// As [`process`](Self::process).
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn run(namespace: &Namespace, directory: &Path) -> Result<Process> {
    fs::write(directory.join("nginx.conf"), configuration(namespace, directory))?;
    let mut command = namespace.command("nginx");
    command.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "stderr"]);
    let process = Process::start(namespace, "nginx", &command)?;
    // The master writes its pid once it listens.
    let pid = directory.join("nginx.pid");
    process.wait_until("nginx listens", READY, || {
        let written = fs::read_to_string(&pid).unwrap_or_default();
        Ok((written.trim() == process.pid().to_string()).then_some(()))
    })?;
    Ok(process)
}

fn configuration(namespace: &Namespace, directory: &Path) -> String {
    let name = namespace.short_name();
    let directory = directory.display();
    format!(
        r#"daemon off;
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    log_format health "$msec $status $uri";
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path temp-body;
    proxy_temp_path temp-proxy;
    fastcgi_temp_path temp-fastcgi;
    uwsgi_temp_path temp-uwsgi;
    scgi_temp_path temp-scgi;
    server {{
        listen 0.0.0.0:80 backlog=1024;
        listen [::]:80 backlog=1024 ipv6only=on;
        default_type text/plain;
        location / {{ return 200 "{name}\n"; }}
        location /healthz {{
            access_log health.log health;
            root {directory}/health;
            if (!-f $request_filename) {{ return 503 "unhealthy\n"; }}
            return 200 "healthy\n";
        }}
    }}
}}
"#
    )
}
