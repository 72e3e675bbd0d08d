//! BIRD's control socket without `birdc`, for orders whose moment matters.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to a BIRD.
#[derive(Debug)]
pub(super) struct BirdControl(BufReader<UnixStream>);

impl BirdControl {
    /// Connects to a control socket.
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut control = Self(BufReader::new(stream));
        control.answer()?;
        Ok(control)
    }

    /// Has an order carried out, and tells when it was given.
    pub(super) fn order(&mut self, order: &str) -> Result<Instant> {
        let line = format!("{order}\n");
        let at = Instant::now();
        self.0.get_mut().write_all(line.as_bytes())?;
        self.answer().with_context(|| order.to_owned())?;
        Ok(at)
    }

    /// Reads up to the last line, which begins with a code and a space.
    fn answer(&mut self) -> Result<()> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                bail!("BIRD hung up");
            }
            let Some((code, rest)) = line.split_at_checked(4) else { continue };
            if !code.bytes().all(|octet| octet.is_ascii_digit()) {
                continue;
            }
            if code >= "8000" {
                bail!("BIRD: {}", line.trim());
            }
            if rest.starts_with(' ') {
                return Ok(());
            }
        }
    }
}
