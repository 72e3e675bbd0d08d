//! The `udp` probe: a datagram is answered.
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::driver::Wake;
use super::socket::Origin;
use super::tcp::contains;
use super::{Failure, Kind, Probing, Progress, Run, Shared, quoted};

/// What to send, and what to hear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Udp {
    /// Where
    pub target: SocketAddr,
    /// Our end
    pub origin: Origin,
    /// In one datagram
    pub send: Vec<u8>,
    /// To be found in what comes back; any answer will do when `None`
    pub expect: Option<Vec<u8>>,
}

impl fmt::Display for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp {}", self.target)
    }
}

impl Kind for Udp {
    fn addresses(&self) -> Vec<IpAddr> {
        self.origin.and(self.target.ip())
    }

    fn prepare(&self, _: &mut Shared, _: Wake) -> Result<Box<dyn Run>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Run for Udp {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Udp {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let socket = self.origin.datagrams(self.target).await?;
        socket.send(&self.send).await?;
        loop {
            let answer = socket.receive().await?;
            match &self.expect {
                Some(expected) if !contains(&answer, expected) => {
                    let text = format!("expected {}, got {}", quoted(expected), quoted(&answer));
                    *progress = Progress::Mismatch(text);
                }
                _ => return Ok(()),
            }
        }
    }
}
