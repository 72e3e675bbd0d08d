//! Runs the TCP connections of all peers: one task each, which connects, reads, writes and closes.
//! It knows nothing of BGP; octets in, octets out.
#![expect(clippy::disallowed_methods, reason = "driver: timers and tasks")]
#![expect(clippy::disallowed_types, reason = "driver: owns the sockets")]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Serial;
use super::authentication::Authentication;
use super::down::ConnectError;
use super::peer::Config;
use super::signature::{Keys, Replaced, Signature};
use super::socket::{self, Listener};
use super::transport::{Listening, Tcp, Transport};
use crate::route::{Ends, PeerName, ScopedAddress};
use crate::sys;

/// How long a last NOTIFICATION may take to leave, and the peer to close in turn. Closing at once
/// would reset the connection and could take the NOTIFICATION back.
const GOODBYE: Duration = Duration::from_secs(1);
/// A peer that keeps opening connections that are not wanted takes no more than so many of our
/// descriptors: for the next one, the first of them is not waited for any longer.
const GOODBYES: usize = 4;
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// Between looks whether the device of a listener is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the owner is told.
#[derive(Debug)]
pub enum Event {
    /// Something happened to the connection of a peer
    Tcp(PeerName, Serial, Tcp),
    /// A remote speaker opened a connection to us
    Accepted(Accepted),
    /// Listening there does not work, or (`None`) works for all peers
    CannotListen(Listening, Option<String>),
}

/// A connection that was opened to us.
#[derive(Debug)]
pub struct Accepted {
    remote: ScopedAddress,
    stream: TcpStream,
    signature: Option<Signature>,
}

impl Accepted {
    /// Its two ends, unless it is gone by now.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        Some(Ends { local: self.stream.local_addr().ok()?.into(), remote: self.remote })
    }
}

/// What a connection's task is to do.
enum Order {
    Write(Vec<u8>),
    SetUserTimeout(Duration),
    CountAcknowledged,
    CompareKeys(Result<Keys, ConnectError>),
    Close(Vec<u8>),
}

/// All connections.
#[derive(Debug)]
pub struct Connections {
    orders: HashMap<(PeerName, Serial), mpsc::Sender<Order>>,
    /// Those that say goodbye, the first one first; dropping one makes it short
    leaving: VecDeque<(PeerName, mpsc::Sender<Order>)>,
    tasks: JoinSet<()>,
    listeners: Vec<AbortHandle>,
    events: mpsc::Sender<Event>,
}

impl Connections {
    /// None yet; what happens is told to `events`.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        let (orders, leaving) = (HashMap::new(), VecDeque::new());
        Self { orders, leaving, tasks: JoinSet::new(), listeners: Vec::new(), events }
    }

    /// Connects to a peer, which is at this address.
    pub fn connect(
        &mut self,
        peer: PeerName,
        serial: Serial,
        transport: Transport,
        to: ScopedAddress,
        user_timeout: Option<Duration>,
    ) {
        let (task, mut orders) = self.task(&peer, serial);
        self.tasks.spawn(async move {
            let mut newer_keys = None;
            let given_up = async {
                // This attempt has its keys already; any other order is the one to give up.
                while let Some(Order::CompareKeys(keys)) = orders.recv().await {
                    newer_keys = Some(keys);
                }
            };
            let connected = tokio::select! {
                connected = socket::connect(&transport, to, user_timeout) => connected,
                () = given_up => return,
            };
            let connected = connected.and_then(|(stream, signature)| match stream.local_addr() {
                Ok(local) => Ok((stream, signature, local.into())),
                Err(error) => Err(transport.explain(to.ip, &error)),
            });
            match connected {
                Err(error) => task.tell(Tcp::Failed(error)).await,
                Ok((stream, signature, local)) => {
                    task.tell(Tcp::Connected(local)).await;
                    task.run(stream, signature, orders, newer_keys).await;
                }
            }
        });
    }

    /// Runs a connection that the peer opened.
    pub fn adopt(&mut self, peer: PeerName, serial: Serial, accepted: Accepted, config: &Config) {
        let Accepted { stream, signature, .. } = accepted;
        let limit = config.user_timeout();
        let adopted = socket::adopt(&stream, &config.transport, signature.as_ref(), limit);
        let (task, orders) = self.task(&peer, serial);
        if let Some(authentication) = &config.transport.authentication {
            // It may have come before a reload that has other keys.
            self.compare_keys(&peer, authentication.clone());
        }
        self.tasks.spawn(async move {
            match adopted {
                Ok(()) => task.run(stream, signature, orders, None).await,
                // One that would let in what it must not is none.
                Err(error) => task.tell(Tcp::Closed(Some(sys::describe(&error)))).await,
            }
        });
    }

    /// Writes octets; [`Tcp::Written`] follows, and must before the next are given.
    pub fn write(&self, peer: &PeerName, serial: Serial, octets: Vec<u8>) {
        self.order(peer, serial, Order::Write(octets));
    }

    /// Lets TCP give up when data has not been acknowledged for this long.
    pub fn set_user_timeout(&self, peer: &PeerName, serial: Serial, limit: Duration) {
        self.order(peer, serial, Order::SetUserTimeout(limit));
    }

    /// Finds out how many octets the peer's TCP has taken; [`Tcp::Acknowledged`] follows.
    pub fn count_acknowledged(&self, peer: &PeerName, serial: Serial) {
        self.order(peer, serial, Order::CountAcknowledged);
    }

    /// Compares what signs the connections of a peer with what its keys are now. What differs is
    /// told ([`Tcp::KeysReplaced`], [`Tcp::KeysChanged`]), and so is that they cannot be read.
    pub fn compare_keys(&self, peer: &PeerName, authentication: Authentication) {
        let theirs = self.orders.iter().filter(|((name, _), _)| name == peer);
        // What is closed meanwhile does not wait for a file system that does not answer.
        let connections: Vec<_> = theirs.map(|(_, orders)| orders.downgrade()).collect();
        tokio::spawn(async move {
            let keys = socket::read_keys(&authentication).await;
            for orders in connections.into_iter().filter_map(|weak| weak.upgrade()) {
                // A task that is gone has told why.
                let _ = orders.try_send(Order::CompareKeys(keys.clone()));
            }
        });
    }

    /// Stops connecting, or sends these last octets and closes.
    pub fn close(&mut self, peer: &PeerName, serial: Serial, last_words: Vec<u8>) {
        let Some(sender) = self.orders.remove(&(peer.clone(), serial)) else { return };
        if sender.try_send(Order::Close(last_words)).is_err() {
            return; // it is gone, or goes when the sender is dropped
        }
        self.leaving.retain(|(_, sender)| !sender.is_closed());
        self.leaving.push_back((peer.clone(), sender));
        let theirs = |(name, _): &(PeerName, _)| name == peer;
        if self.leaving.iter().filter(|entry| theirs(entry)).count() > GOODBYES
            && let Some(first) = self.leaving.iter().position(theirs)
        {
            self.leaving.remove(first);
        }
    }

    /// Listens on `port` for these peers, in place of whatever it listened for before. Nothing is
    /// bound for an empty list.
    pub fn listen(&mut self, port: u16, peers: &[Transport]) {
        for listener in self.listeners.drain(..) {
            listener.abort();
        }
        let places = Listening::places(peers);
        for (place, peers) in &places {
            let is_shared = place.shares_port(places.keys());
            let (place, peers, events) = (place.clone(), peers.clone(), self.events.clone());
            self.listeners.push(self.tasks.spawn(listen(port, is_shared, place, peers, events)));
        }
    }

    /// Waits until every connection that was closed has said its last words.
    pub async fn finish(mut self) {
        self.orders.clear();
        for listener in self.listeners.drain(..) {
            listener.abort();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn task(&mut self, peer: &PeerName, serial: Serial) -> (Task, mpsc::Receiver<Order>) {
        // What is left of connections that failed by themselves goes before the next one comes.
        while self.tasks.try_join_next().is_some() {}
        self.orders.retain(|_, orders| !orders.is_closed());
        // Room for one of each kind of order; more are never outstanding, except that there may be
        // many reloads.
        let (sender, orders) = mpsc::channel(16);
        self.orders.insert((peer.clone(), serial), sender);
        (Task { peer: peer.clone(), serial, events: self.events.clone() }, orders)
    }

    fn order(&self, peer: &PeerName, serial: Serial, order: Order) {
        if let Some(sender) = self.orders.get(&(peer.clone(), serial)) {
            // A task that is gone has told why.
            let _ = sender.try_send(order);
        }
    }
}

/// Listens for the peers of one place, and goes on trying where that does not work.
async fn listen(
    port: u16,
    is_shared: bool,
    place: Listening,
    peers: Vec<Transport>,
    events: mpsc::Sender<Event>,
) {
    let mut told = None;
    loop {
        let trouble = match socket::listen(port, is_shared, &place, &peers).await {
            Ok(listener) => {
                let troubles = &listener.troubles;
                let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
                if events.send(Event::CannotListen(place.clone(), trouble)).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = accept(&listener, &events) => return,
                    () = lost_device(&listener.listener, place.device.as_deref()) => {}
                }
                told = None;
                continue;
            }
            Err(error) => Some(error.text),
        };
        if told != trouble {
            told.clone_from(&trouble);
            if events.send(Event::CannotListen(place.clone(), trouble)).await.is_err() {
                return;
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// Lets in those who may come, while anybody cares.
async fn accept(listener: &Listener, events: &mpsc::Sender<Event>) {
    while !events.is_closed() {
        match listener.listener.accept().await {
            Ok((stream, remote)) => {
                let remote = ScopedAddress::from(remote);
                // A stranger is not answered.
                if let Some(signature) = listener.admit(remote.ip) {
                    let accepted = Accepted { remote, stream, signature };
                    let _ = events.send(Event::Accepted(accepted)).await;
                }
            }
            // Out of descriptors, for one: the next attempt may fare better.
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// Waits until the device is gone that a listener is bound to, if it is bound to one.
async fn lost_device(listener: &TcpListener, device: Option<&str>) {
    let Some(device) = device else { return std::future::pending().await };
    while !socket::has_lost_device(listener, device) {
        sleep(LOOK_AGAIN).await;
    }
}

/// One connection's side of the conversation with the owner.
#[derive(Clone)]
struct Task {
    peer: PeerName,
    serial: Serial,
    events: mpsc::Sender<Event>,
}

impl Task {
    /// The owner is gone only when the process ends.
    async fn tell(&self, event: Tcp) {
        let _ = self.events.send(Event::Tcp(self.peer.clone(), self.serial, event)).await;
    }

    /// Reads and writes until either side is done.
    async fn run(
        self,
        stream: TcpStream,
        signature: Option<Signature>,
        mut orders: mpsc::Receiver<Order>,
        newer_keys: Option<Result<Keys, ConnectError>>,
    ) {
        let (mut reader, half) = stream.into_split();
        // The kernel tells of a reset once, to whichever end asks first; to the other it is an end.
        let broken = OnceLock::new();
        let mut writer = Writer { task: &self, half, taken: 0, signature, broken: &broken };
        if let Some(keys) = newer_keys {
            writer.compare_keys(keys).await;
        }
        let read = async {
            loop {
                let mut octets = Vec::with_capacity(4096);
                match reader.read_buf(&mut octets).await {
                    Ok(0) => break broken.get().cloned(),
                    Ok(_) => {
                        self.tell(Tcp::Received(octets)).await;
                    }
                    Err(error) => break Some(sys::describe(&error)),
                }
            }
        };
        // Dropping the reader half-way loses octets nobody wants any more; dropping the writer
        // half-way happens only when the connection is gone.
        let closed = tokio::select! {
            last_words = writer.serve(&mut orders) => last_words,
            end = read => Err(end),
        };
        match closed {
            Err(end) => self.tell(Tcp::Closed(end)).await,
            Ok(last_words) => {
                let hurry = async { while orders.recv().await.is_some() {} };
                tokio::select! {
                    biased;
                    () = writer.say_goodbye(&mut reader, &last_words) => {}
                    () = hurry => {}
                }
                socket::reset_if_unsent(writer.half.as_ref());
            }
        }
    }
}

/// The writing end of a connection.
struct Writer<'a> {
    task: &'a Task,
    half: OwnedWriteHalf,
    /// Octets that the kernel has taken
    taken: u64,
    signature: Option<Signature>,
    /// Why writing failed, other than because the peer had closed
    broken: &'a OnceLock<String>,
}

impl Writer<'_> {
    /// Carries out orders up to the one to close, and gives the last words, or how the connection
    /// broke.
    async fn serve(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<Vec<u8>, Option<String>> {
        match self.carry_out(orders).await {
            Ok(last_words) => Ok(last_words),
            Err(error) => {
                let text = sys::describe(&error);
                if error.kind() != io::ErrorKind::BrokenPipe {
                    self.broken.get_or_init(|| text.clone());
                }
                // What the peer said before it closed is worth more than this error.
                sleep(GOODBYE).await;
                Err(Some(text))
            }
        }
    }

    async fn carry_out(&mut self, orders: &mut mpsc::Receiver<Order>) -> io::Result<Vec<u8>> {
        while let Some(order) = orders.recv().await {
            match order {
                Order::SetUserTimeout(limit) => self.set_user_timeout(limit),
                Order::CountAcknowledged => self.count_acknowledged().await,
                Order::CompareKeys(keys) => self.compare_keys(keys).await,
                Order::Close(last_words) => return Ok(last_words),
                Order::Write(octets) => {
                    if !self.write(&octets, orders).await? {
                        return Ok(Vec::new());
                    }
                    if let Some(signature) = &mut self.signature {
                        signature.handle_written(self.half.as_ref());
                    }
                    self.task.tell(Tcp::Written).await;
                }
            }
        }
        Ok(Vec::new())
    }

    /// Sends the last words and waits for the peer to close in turn. However that ends, the
    /// connection is closed then.
    async fn say_goodbye(&mut self, reader: &mut OwnedReadHalf, last_words: &[u8]) {
        let half = &mut self.half;
        let goodbye = async {
            half.write_all(last_words).await?;
            half.shutdown().await?;
            let mut rest = [0; 4096];
            while reader.read(&mut rest).await? != 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }

    /// Writes all octets; whether it could. A peer that does not read must not keep us from
    /// closing.
    async fn write(
        &mut self,
        mut octets: &[u8],
        orders: &mut mpsc::Receiver<Order>,
    ) -> io::Result<bool> {
        while !octets.is_empty() {
            tokio::select! {
                biased;
                ready = self.half.writable() => {
                    ready?;
                    match self.half.try_write(octets) {
                        Ok(length) => {
                            self.taken += length as u64;
                            octets = octets.get(length..).unwrap_or_default();
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::SetUserTimeout(limit)) => self.set_user_timeout(limit),
                    Some(Order::CountAcknowledged) => self.count_acknowledged().await,
                    Some(Order::CompareKeys(keys)) => self.compare_keys(keys).await,
                    Some(Order::Close(_) | Order::Write(_)) | None => return Ok(false),
                },
            }
        }
        Ok(true)
    }

    /// Without it the send hold timer alone ends a connection that is stuck.
    fn set_user_timeout(&self, limit: Duration) {
        let _ = socket::set_user_timeout(self.half.as_ref(), limit);
    }

    async fn compare_keys(&mut self, keys: Result<Keys, ConnectError>) {
        let news = match (keys, &mut self.signature) {
            (Err(error), _) => Tcp::KeysUnreadable(error.text),
            (Ok(_), None) => Tcp::KeysChanged,
            (Ok(keys), Some(signature)) => match signature.replace(self.half.as_ref(), keys) {
                Replaced::Same => return,
                Replaced::By(id) => Tcp::KeysReplaced(id),
                Replaced::Impossible => Tcp::KeysChanged,
            },
        };
        self.task.tell(news).await;
    }

    /// A socket that cannot say so is broken, and says that when it is read.
    async fn count_acknowledged(&self) {
        if let Ok(waiting) = sys::unacknowledged(self.half.as_ref()) {
            self.task.tell(Tcp::Acknowledged(self.taken.saturating_sub(waiting))).await;
        }
    }
}
