//! Talks rtnetlink: reports links, addresses and our routes, carries out requests.
#![expect(clippy::disallowed_methods, reason = "driver: sockets, timers and tasks")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel says far more than concerns us")]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::route::{RouteHeader, RouteProtocol, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::proto::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, LinkDummy, MulticastGroup, RouteMessageBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::kernel::{
    address_of, any_route_message, event, link_of, mark, neighbour_of, route_message, route_of,
};
use super::{Event, PROTOCOL, Request, RouteEvent, RouteRequest};
use crate::sys;

/// Room for the events of thousands of addresses that change together.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Everything is read again this often, whatever we may have missed.
const RESYNC: Duration = Duration::from_secs(60);
/// Things may change while they are read. What so many attempts in a row have found is good enough for a
/// while.
const ATTEMPTS: usize = 8;
/// Requests that are answered together.
const BATCH: usize = 64;
/// The kernel answers at once, unless its answer finds no room in our socket.
const PATIENCE: Duration = Duration::from_secs(1);
/// Before netlink is opened anew.
const RETRY: Duration = Duration::from_secs(1);

/// Serves until the owner is gone. What cannot be done is answered as refused.
pub async fn run(mut requests: mpsc::UnboundedReceiver<Request>, events: mpsc::Sender<Event>) {
    // The trouble that was told last, until it is over.
    let mut told = None;
    let mut neighbours = false;
    while !events.is_closed() {
        // Whatever ended it, all is read again from a new socket.
        match serve(&mut requests, &events, neighbours, &mut told).await {
            Ok(End::Watch(changed)) => neighbours = changed,
            Ok(End::OwnerGone) => return,
            Err(error) => {
                let text = format!("cannot talk to the kernel over netlink: {error}");
                if told.as_ref() != Some(&text) {
                    let _ = events.send(Event::Broken(text.clone())).await;
                    told = Some(text);
                }
                sleep_until(Instant::now() + RETRY).await;
            }
        }
    }
}

/// Why a socket is no longer of use.
enum End {
    OwnerGone,
    /// It is to report neighbours, or no longer
    Watch(bool),
}

async fn serve(
    requests: &mut mpsc::UnboundedReceiver<Request>,
    events: &mpsc::Sender<Event>,
    neighbours: bool,
    told: &mut Option<String>,
) -> Result<End, String> {
    let failed = |error: io::Error| sys::describe(&error);
    let mut groups = vec![
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    groups.extend(neighbours.then_some(MulticastGroup::Neigh));
    let (mut watching, watch, mut changes) =
        rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
    watching.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER).map_err(failed)?;
    // Dropped, it ends both.
    let mut connections = JoinSet::new();
    connections.spawn(watching);
    let (mut asking, handle, _) = rtnetlink::new_connection_with_strict_check().map_err(failed)?;
    asking.set_forward_done(true);
    connections.spawn(asking);

    let mut dump_at = Instant::now();
    loop {
        // Each of these can be dropped half-way without losing anything.
        tokio::select! {
            () = sleep_until(dump_at) => {
                let (all, certain) = read_everything(&handle, neighbours).await?;
                for event in all {
                    if events.send(event).await.is_err() { return Ok(End::OwnerGone) }
                }
                dump_at = Instant::now() + if certain { RESYNC } else { RETRY };
                *told = None;
            }
            change = changes.next() => {
                let change = change.ok_or("it closed the connection")?;
                if !report(change, events, &mut dump_at).await { break }
            }
            request = requests.recv() => {
                let Some(request) = request else { break };
                let batch = carry_out_all(&handle, request, requests).await;
                // The owner hears of changes before it hears that they were made.
                if timeout(PATIENCE, catch_up(&watch)).await.is_err() || batch.read {
                    dump_at = Instant::now();
                }
                while let Some(Some(change)) = changes.next().now_or_never() {
                    if !report(change, events, &mut dump_at).await { return Ok(End::OwnerGone) }
                }
                for answer in batch.answers {
                    if events.send(answer).await.is_err() { return Ok(End::OwnerGone) }
                }
                if let Some(watch) = batch.watch_neighbours.filter(|watch| *watch != neighbours) {
                    return Ok(End::Watch(watch));
                }
            }
        }
    }
    Ok(End::OwnerGone)
}

/// Waits until everything that happened so far has been read from the socket that is watched: an
/// answer on it comes behind all reports before.
async fn catch_up(watch: &Handle) {
    // Whatever the answer says about lo.
    let _ = watch.link().get().match_index(1).execute().try_next().await;
}

type Change = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);

/// Tells the owner of a change; whether there still is an owner.
async fn report(change: Change, events: &mpsc::Sender<Event>, dump_at: &mut Instant) -> bool {
    match change.0.payload {
        NetlinkPayload::InnerMessage(message) => match event(message) {
            Some(event) => events.send(event).await.is_ok(),
            None => true,
        },
        NetlinkPayload::Overrun(_) => {
            *dump_at = Instant::now();
            true
        }
        _ => true,
    }
}

/// Links, addresses, our routes, and the neighbours where they are wanted; and whether that is certain.
async fn read_everything(handle: &Handle, neighbours: bool) -> Result<(Vec<Event>, bool), String> {
    let mut all = Vec::new();
    let mut certain = true;
    if neighbours {
        let mut question = NeighbourMessage::default();
        question.header.family = AddressFamily::Unspec;
        let question = RouteNetlinkMessage::GetNeighbour(question);
        all.push(Event::Neighbours(read_all(handle, question, neighbour_of, &mut certain).await?));
    }
    let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let links = read_all(handle, links, link_of, &mut certain).await?;
    let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let addresses = read_all(handle, addresses, address_of, &mut certain).await?;
    all.push(Event::Dump(links, addresses));
    let mut routes = Vec::new();
    for mut ours in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        // The kernel leaves out what differs.
        ours.header.table = RouteHeader::RT_TABLE_UNSPEC;
        ours.header.kind = RouteType::Unspec;
        ours.header.protocol = RouteProtocol::Other(PROTOCOL);
        let question = RouteNetlinkMessage::GetRoute(ours);
        routes.extend(read_all(handle, question, route_of, &mut certain).await?);
    }
    all.push(Event::Route(RouteEvent::Dump(routes)));
    Ok((all, certain))
}

/// All answers to a question that are `of` interest. Where something changed meanwhile the kernel may
/// have left out things that did not, and says so: it is asked again. If that goes on, it is not
/// `certain`, and everything that any answer had: what has gone since is reported as a change.
async fn read_all<T>(
    handle: &Handle,
    question: RouteNetlinkMessage,
    of: impl Fn(&RouteNetlinkMessage) -> Option<T>,
    certain: &mut bool,
) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut message = NetlinkMessage::from(question.clone());
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut handle = handle.clone();
        let mut answers = handle.request(message).map_err(|error| error.to_string())?;
        let (mut all, mut whole) = (Vec::new(), true);
        while let Some(answer) = answers.next().await {
            whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => all.extend(of(&message)),
                NetlinkPayload::Error(error) => {
                    return Err(rtnetlink::Error::NetlinkError(error).to_string());
                }
                NetlinkPayload::Done(end) if end.code < 0 => {
                    return Err(Errno::from_raw(-end.code).desc().to_lowercase());
                }
                _ => {}
            }
        }
        if whole {
            return Ok(all);
        }
        found.extend(all);
    }
    *certain = false;
    Ok(found)
}

/// What came of some requests.
#[derive(Default)]
struct Batch {
    answers: Vec<Event>,
    /// Everything is to be read again
    read: bool,
    watch_neighbours: Option<bool>,
}

/// Carries out a request, and those that wait behind it.
async fn carry_out_all(
    handle: &Handle,
    first: Request,
    requests: &mut mpsc::UnboundedReceiver<Request>,
) -> Batch {
    let mut batch = Batch::default();
    let mut next = Some(first);
    while let Some(request) = next {
        match request {
            Request::Route(RouteRequest::Read) => batch.read = true,
            Request::WatchNeighbours(watch) => batch.watch_neighbours = Some(watch),
            request => batch.answers.push(carry_out(handle, request).await),
        }
        let more = batch.answers.len() < BATCH;
        next = if more { requests.try_recv().ok() } else { None };
    }
    batch
}

/// The answer to a request.
fn done(request: Request, result: Result<(), String>) -> Event {
    match request {
        Request::Route(request) => Event::Route(RouteEvent::Done(request, result)),
        request => Event::Done(request, result),
    }
}

async fn carry_out(handle: &Handle, request: Request) -> Event {
    let result = match &request {
        Request::Add(index, vip) => {
            let mut add = handle.address().add(*index, *vip, IpNet::from(*vip).prefix_len());
            mark(add.message_mut());
            add.execute().await
        }
        Request::Remove(index, prefix) => {
            let mut message = AddressMessage::default();
            message.header.index = *index;
            message.header.prefix_len = prefix.prefix_len();
            message.header.family = match prefix {
                IpNet::V4(_) => AddressFamily::Inet,
                IpNet::V6(_) => AddressFamily::Inet6,
            };
            message.attributes.push(AddressAttribute::Local(prefix.addr()));
            handle.address().del(message).execute().await
        }
        Request::CreateDummy(name) => {
            handle.link().add(LinkDummy::new(name).up().build()).execute().await
        }
        Request::Route(RouteRequest::Add(route)) => {
            handle.route().add(route_message(route)).execute().await
        }
        Request::Route(RouteRequest::Replace(route)) => {
            handle.route().add(route_message(route)).replace().execute().await
        }
        Request::Route(RouteRequest::Remove(key)) => {
            handle.route().del(any_route_message(*key)).execute().await
        }
        Request::Route(RouteRequest::Read) | Request::WatchNeighbours(_) => Ok(()),
    };
    let Err(rtnetlink::Error::NetlinkError(message)) = &result else {
        return done(request, result.map_err(|error| error.to_string()));
    };
    let text = match (Errno::from_raw(-message.raw_code()), &request) {
        (Errno::EEXIST, Request::Add(index, vip)) => return Event::AlreadyThere(*index, *vip),
        (Errno::EEXIST, Request::CreateDummy(_)) => return done(request, Ok(())),
        (Errno::EEXIST, Request::Route(RouteRequest::Add(route))) => {
            return Event::Route(RouteEvent::AlreadyThere(route.key));
        }
        (Errno::ESRCH, Request::Route(RouteRequest::Remove(_))) => return done(request, Ok(())),
        (Errno::EPERM, _) => "not permitted (CAP_NET_ADMIN is needed)".into(),
        (Errno::EOPNOTSUPP, Request::CreateDummy(_)) => "this kernel has no dummy driver".into(),
        (error, _) => error.desc().to_lowercase(),
    };
    done(request, Err(text))
}
