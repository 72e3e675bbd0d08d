//! One TCP connection between the hostile router and the daemon.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

use super::BOUND;
use super::message::{
    KEEPALIVE, NOTIFICATION, OPEN, Open, UPDATE, keepalive, notification, refresh,
};

/// How a prefix of the web service, `vip(5)`, looks in an UPDATE.
const VIP: [u8; 5] = [32, 203, 0, 113, 5];

/// The state the daemon is in (RFC 4271 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    OpenSent,
    OpenConfirm,
    Established,
}

impl State {
    pub(crate) const ALL: [Self; 3] = [Self::OpenSent, Self::OpenConfirm, Self::Established];
}

/// A connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
}

/// What the daemon said: a type and what is behind the header.
pub(crate) type Message = (u8, Vec<u8>);

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(BOUND))?;
        stream.set_write_timeout(Some(BOUND))?;
        Ok(Self { stream })
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).context("cannot send")
    }

    /// The next message; `None` when the daemon has closed the connection.
    pub(crate) fn receive(&mut self) -> Result<Option<Message>> {
        let mut header = [0; 19];
        match self.stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error).context("no message came"),
        }
        ensure!(header[..16] == [0xff; 16], "the daemon sends a marker that is none");
        let length = u16::from_be_bytes([header[16], header[17]]);
        let rest = usize::from(length).checked_sub(19).context("the daemon sends a bad length")?;
        let mut body = vec![0; rest];
        self.stream.read_exact(&mut body).context("half a message came")?;
        Ok(Some((header[18], body)))
    }

    /// Reads up to a message of this type. A NOTIFICATION or the end in its place is an error.
    pub(crate) fn wait_for(&mut self, kind: u8) -> Result<Vec<u8>> {
        loop {
            match self.receive()? {
                Some((found, body)) if found == kind => return Ok(body),
                Some((NOTIFICATION, body)) => bail!("NOTIFICATION {body:?} in place of {kind}"),
                Some(_) => {}
                None => bail!("closed in place of message {kind}"),
            }
        }
    }

    /// Reads up to the UPDATE that announces the web service.
    pub(crate) fn wait_for_route(&mut self) -> Result<()> {
        loop {
            let body = self.wait_for(UPDATE).context("no route came")?;
            if body.windows(VIP.len()).any(|octets| octets == VIP) {
                return Ok(());
            }
        }
    }

    /// Does what is right until the daemon is in a state.
    pub(crate) fn proceed_to(&mut self, state: State) -> Result<()> {
        self.wait_for(OPEN)?;
        if state != State::OpenSent {
            self.open(&Open::clean().encode())?;
        }
        if state == State::Established {
            self.establish()?;
        }
        Ok(())
    }

    /// Sends this OPEN in OpenSent, which the daemon must accept.
    pub(crate) fn open(&mut self, open: &[u8]) -> Result<()> {
        self.send(open)?;
        self.wait_for(KEEPALIVE).map(drop)
    }

    /// From OpenConfirm to Established, and until the route is there.
    pub(crate) fn establish(&mut self) -> Result<()> {
        self.send(&keepalive())?;
        self.wait_for_route()
    }

    /// Proves that the daemon has read everything so far and goes on: it answers a refresh.
    pub(crate) fn prove_established(&mut self) -> Result<()> {
        self.send(&refresh())?;
        self.wait_for_route().context("the session does not go on")
    }

    /// What the daemon says last before it closes: a NOTIFICATION, or nothing.
    pub(crate) fn wait_for_end(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.receive()? {
                Some((NOTIFICATION, body)) => {
                    let after = self.receive()?;
                    ensure!(after.is_none(), "{after:?} after a NOTIFICATION");
                    return Ok(Some(body));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Ends a session that is up as a router does that is shut down, and waits until the daemon
    /// knows.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.send(&notification(6, 2, &[]))?;
        let last = self.wait_for_end()?;
        ensure!(last.is_none(), "{last:?} answers a NOTIFICATION");
        Ok(())
    }

    /// Closes with a reset in place of a FIN.
    pub(crate) fn reset(self) -> Result<()> {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).context("cannot reset")
    }
}
