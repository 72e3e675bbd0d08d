//! An address that is taken at first.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this test is a client of a server"
)]

use std::net::TcpListener;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::bfd;
use crate::metrics::server;

/// Long enough for any machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_address_that_is_taken_is_told_once_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let (wanted, addresses) = mpsc::unbounded_channel();
    let (sender, mut troubles) = mpsc::unbounded_channel();
    let (requests, mut asked) = mpsc::channel(1);
    let (events, _from_bfd) = mpsc::channel(16);
    let bfd = bfd::driver::spawn(1, events).expect("a thread");
    tokio::spawn(server::run(addresses, sender, requests, bfd));
    let mut told = async || timeout(PATIENCE, troubles.recv()).await.expect("in time");
    let trouble = format!("cannot serve metrics on {address}: address already in use");

    wanted.send(Some(address)).expect("the server runs");
    assert_eq!(told().await, Some(Some(trouble.clone())));
    wanted.send(None).expect("the server runs");
    assert_eq!(told().await, Some(None), "nothing is wanted, so nothing is wrong");
    wanted.send(Some(address)).expect("the server runs");
    wanted.send(Some(address)).expect("the server runs");
    assert_eq!(told().await, Some(Some(trouble)), "told once");
    drop(taken);
    assert_eq!(told().await, Some(None));

    let client = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut client = std::net::TcpStream::connect(address)?;
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")?;
        std::io::Result::Ok(client)
    });
    client.await.expect("no panic").expect("it listens");
    timeout(PATIENCE, asked.recv()).await.expect("in time").expect("a request for the status");
}
