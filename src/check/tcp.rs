//! The `tcp` probe: a connection is accepted and, if asked for, answers with what is expected.
#![expect(clippy::disallowed_types, reason = "driver: a probe is I/O")]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, Kind, Probing, Progress, Run, Shared, quoted};

/// No answer needs to be longer to show that a service lives.
const MAX_ANSWER: usize = 64 * 1024;

/// Where to connect, what to say and to hear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tcp {
    /// Where
    pub target: SocketAddr,
    /// Sent once connected
    pub send: Option<String>,
    /// To be found in what comes back
    pub expect: Option<String>,
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp {}", self.target)
    }
}

impl Kind for Tcp {
    fn address(&self) -> Option<IpAddr> {
        Some(self.target.ip())
    }

    fn prepare(&self, _: &mut Shared) -> Result<Box<dyn Run>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Run for Tcp {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Tcp {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let mut stream = TcpStream::connect(self.target)
            .await
            .map_err(|error| Failure::io("cannot connect", &error))?;
        if let Some(text) = &self.send {
            stream
                .write_all(text.as_bytes())
                .await
                .map_err(|error| Failure::io("cannot send", &error))?;
        }
        match &self.expect {
            Some(expected) => receive(&mut stream, expected.as_bytes(), progress).await,
            None => Ok(()),
        }
    }
}

async fn receive(
    stream: &mut TcpStream,
    expected: &[u8],
    progress: &mut Progress,
) -> Result<(), Failure> {
    let mut answer = Vec::new();
    loop {
        let length = stream
            .read_buf(&mut answer)
            .await
            .map_err(|error| Failure::io("cannot receive", &error))?;
        if contains(&answer, expected) {
            return Ok(());
        }
        let mismatch = format!("expected {}, got {}", quoted(expected), quoted(&answer));
        if length == 0 || answer.len() > MAX_ANSWER {
            let what = if length == 0 { "closed" } else { "too long an answer" };
            return Err(Failure::new(format!("{what}, {mismatch}")));
        }
        *progress = Progress::Mismatch(mismatch);
    }
}

/// Whether `needle` occurs in `haystack`; an empty one does.
pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}
