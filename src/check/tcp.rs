//! The `tcp` probe: a connection is accepted and, if asked for, answers with what is expected.
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::driver::Wake;
use super::socket::{Endpoint, Stream};
use super::{Failure, Kind, Probing, Progress, Run, Shared, quoted};

/// No answer needs to be longer to show that a service lives.
const MAX_ANSWER: usize = 64 * 1024;

/// Where to connect, what to say and to hear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tcp {
    /// Where
    pub endpoint: Endpoint,
    /// Sent once connected
    pub send: Option<Vec<u8>>,
    /// To be found in what comes back
    pub expect: Option<Vec<u8>>,
}

impl Tcp {
    /// A connection, and nothing said over it.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        Self { endpoint: target.into(), send: None, expect: None }
    }
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp {}", self.endpoint)
    }
}

impl Kind for Tcp {
    fn addresses(&self) -> Vec<IpAddr> {
        self.endpoint.addresses()
    }

    fn prepare(&self, _: &mut Shared, _: Wake) -> Result<Box<dyn Run>, Failure> {
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
        let mut stream = self.endpoint.open().await?;
        if let Some(octets) = &self.send {
            stream.send(octets).await?;
        }
        match &self.expect {
            Some(expected) => receive(&mut *stream, expected, progress).await,
            None => Ok(()),
        }
    }
}

async fn receive(
    stream: &mut dyn Stream,
    expected: &[u8],
    progress: &mut Progress,
) -> Result<(), Failure> {
    let mut answer = Vec::new();
    loop {
        let length = stream.receive(&mut answer).await?;
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
