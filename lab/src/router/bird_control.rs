//! BIRD's control socket without `birdc`, for orders whose moment matters and for questions that are
//! asked often.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::bird_text::leading_number;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to a BIRD.
#[derive(Debug)]
pub struct BirdControl(BufReader<UnixStream>);

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
    pub fn order(&mut self, order: &str) -> Result<Instant> {
        self.ask(order).map(|(at, _)| at)
    }

    /// How many routes of both families it has from the neighbour of that name.
    pub fn received(&mut self, neighbour: &str) -> Result<usize> {
        let (_, lines) = self.ask(&format!("show protocols all {neighbour}"))?;
        let counts = lines.iter().filter_map(|line| line.trim().strip_prefix("Routes:"));
        counts.map(|count| leading_number(count.trim())).sum()
    }

    /// When an order was given, and what was answered.
    fn ask(&mut self, order: &str) -> Result<(Instant, Vec<String>)> {
        let line = format!("{order}\n");
        let at = Instant::now();
        self.0.get_mut().write_all(line.as_bytes())?;
        let lines = self.answer().with_context(|| order.to_owned())?;
        Ok((at, lines))
    }

    /// Reads up to the last line, which begins with a code and a space; the lines without codes.
    fn answer(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                bail!("BIRD hung up");
            }
            let Some((code, rest)) = line.split_at_checked(4) else { continue };
            if !code.bytes().all(|octet| octet.is_ascii_digit()) {
                lines.push(line);
                continue;
            }
            if code >= "8000" {
                bail!("BIRD: {}", line.trim());
            }
            if rest.starts_with(' ') {
                return Ok(lines);
            }
            lines.extend(rest.get(1..).map(str::to_owned));
        }
    }
}
