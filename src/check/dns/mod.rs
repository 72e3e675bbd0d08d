//! The `dns` probe: a question, and an answer to be judged.
pub(super) mod question;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use question::{Data, Expected, Flag, Question};

use super::driver::Wake;
use super::socket::{Origin, Stream};
use super::{Failure, Kind, Probing, Progress, Run, Shared};
use question::Heard;

/// What to ask whom, and which answers are healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dns {
    /// The server
    pub target: SocketAddr,
    /// Our end
    pub origin: Origin,
    /// How to ask first
    pub transport: Transport,
    /// What
    pub question: Question,
    /// The answer
    pub expected: Expected,
}

/// What carries messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transport {
    /// And TCP when the answer is truncated
    #[default]
    Udp,
    /// Alone
    Tcp,
}

impl fmt::Display for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dns {} {}", self.target, self.question)
    }
}

impl Kind for Dns {
    fn addresses(&self) -> Vec<IpAddr> {
        self.origin.and(self.target.ip())
    }

    fn prepare(&self, _: &mut Shared, _: Wake) -> Result<Box<dyn Run>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Run for Dns {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Dns {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        if self.transport == Transport::Tcp {
            return self.ask_over_tcp(progress).await;
        }
        if let Some(result) = self.ask_over_udp(progress).await? {
            return result.map_err(Failure::new);
        }
        *progress = Progress::Mismatch("truncated, and no answer over TCP".into());
        let result = self.ask_over_tcp(progress).await;
        result.map_err(|failure| Failure::new(format!("truncated, and over TCP: {failure}")))
    }

    /// What is wrong with the answer, if anything is; `None` when it is truncated.
    async fn ask_over_udp(
        &self,
        progress: &mut Progress,
    ) -> Result<Option<Result<(), String>>, Failure> {
        let socket = self.origin.datagrams(self.target).await?;
        let id = fastrand::u16(..);
        socket.send(&self.question.message(id, &self.expected)).await?;
        loop {
            match self.question.judge(id, &socket.receive().await?, &self.expected) {
                Heard::Answer(result) => return Ok(Some(result)),
                Heard::Truncated => return Ok(None),
                Heard::Other => *progress = only_others(),
            }
        }
    }

    async fn ask_over_tcp(&self, progress: &mut Progress) -> Result<(), Failure> {
        let mut stream = self.origin.connect(self.target).await?;
        let stream: &mut dyn Stream = &mut stream;
        let id = fastrand::u16(..);
        let message = self.question.message(id, &self.expected);
        let length = u16::try_from(message.len()).unwrap_or_default();
        stream.send(&[&length.to_be_bytes()[..], &message].concat()).await?;
        let mut came = Vec::new();
        loop {
            if stream.receive(&mut came).await? == 0 {
                return Err(Failure::new("closed without an answer"));
            }
            // Each message has its length before it (RFC 1035 §4.2.2).
            while let Some((length, rest)) = came.split_first_chunk()
                && let Some(message) = rest.get(..u16::from_be_bytes(*length).into())
            {
                match self.question.judge(id, message, &self.expected) {
                    Heard::Answer(result) => return result.map_err(Failure::new),
                    Heard::Truncated => return Err(Failure::new("truncated, even over TCP")),
                    Heard::Other => *progress = only_others(),
                }
                came.drain(..2 + message.len());
            }
        }
    }
}

fn only_others() -> Progress {
    Progress::Mismatch("only answers to other questions".into())
}
