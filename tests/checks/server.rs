//! Servers that behave as a test wants. Each serves on a thread of its own until the process ends.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// What a server does with a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// Accepts and says nothing
    Silent,
    /// Reads a little, answers this and closes
    Answer(&'static str),
    /// Answers the first, then one octet of the second again and again, slowly
    Drip(&'static str, &'static str),
    /// Answers the first, then the second again and again, as fast as it can
    Endless(&'static str, &'static str),
    /// Closes at once
    Close,
    /// Resets at once
    Reset,
    /// Says this before it has heard anything, then says nothing more
    Greet(&'static str),
    /// Sends back what it gets
    Echo,
}

/// Starts a server; its address.
pub(crate) fn start(behaviour: Behaviour) -> SocketAddr {
    start_hearing(behaviour).0
}

/// Starts a server; its address, and what each client said first.
pub(crate) fn start_hearing(behaviour: Behaviour) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (said, hears) = channel();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let said = said.clone();
            thread::spawn(move || {
                // A client that has had enough ends the conversation.
                let _ = serve(client, behaviour, &|text| drop(said.send(text)));
            });
        }
    });
    (address, hears)
}

fn serve(
    mut client: TcpStream,
    behaviour: Behaviour,
    heard: &dyn Fn(String),
) -> std::io::Result<()> {
    let read = |client: &mut TcpStream| -> std::io::Result<()> {
        let mut request = [0; 4096];
        let length = client.read(&mut request)?;
        heard(String::from_utf8_lossy(request.get(..length).unwrap_or_default()).into_owned());
        Ok(())
    };
    match behaviour {
        Behaviour::Silent => {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest)?;
        }
        Behaviour::Answer(answer) => {
            read(&mut client)?;
            client.write_all(answer.as_bytes())?;
        }
        Behaviour::Drip(start, piece) => {
            read(&mut client)?;
            client.write_all(start.as_bytes())?;
            loop {
                client.write_all(piece.as_bytes())?;
                thread::sleep(Duration::from_millis(20));
            }
        }
        Behaviour::Endless(start, piece) => {
            read(&mut client)?;
            client.write_all(start.as_bytes())?;
            loop {
                client.write_all(piece.as_bytes())?;
            }
        }
        Behaviour::Close => {}
        Behaviour::Reset => {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        }
        Behaviour::Greet(greeting) => {
            client.write_all(greeting.as_bytes())?;
            let mut rest = Vec::new();
            client.read_to_end(&mut rest)?;
        }
        Behaviour::Echo => {
            let mut octets = [0; 4096];
            loop {
                let length = client.read(&mut octets)?;
                if length == 0 {
                    break;
                }
                client.write_all(octets.get(..length).unwrap_or_default())?;
            }
        }
    }
    Ok(())
}
