//! Serves metrics over HTTP.
#![expect(clippy::disallowed_methods, reason = "driver: sockets, timers and tasks")]
#![expect(clippy::disallowed_types, reason = "driver: owns the listener")]

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::bfd;
use crate::control;
use crate::sys;

/// Between attempts to bind the address.
const RETRY: Duration = Duration::from_secs(2);
/// Clients at a time; a further one waits.
const CLIENTS: usize = 16;
/// A scrape that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(10);
/// A client has this long to say what it wants.
const HEADER: Duration = Duration::from_secs(5);

/// Serves on the address that was asked for last, and tries again while it cannot. What keeps it
/// from that is told when it changes, and `None` once there is nothing any more. Ends with `wanted`.
pub async fn run(
    mut wanted: mpsc::UnboundedReceiver<Option<SocketAddr>>,
    troubles: mpsc::UnboundedSender<Option<String>>,
    requests: mpsc::Sender<control::Request>,
    bfd: bfd::driver::Handle,
) {
    let mut address = None;
    let mut serving: Option<JoinHandle<()>> = None;
    let mut told = None;
    loop {
        tokio::select! {
            changed = wanted.recv() => {
                let Some(changed) = changed else { return };
                address = changed;
                if let Some(server) = serving.take() {
                    server.abort();
                    // It holds the port until it is gone.
                    let _ = server.await;
                }
            }
            () = sleep(RETRY), if address.is_some() && serving.is_none() => {}
        }
        let trouble = match address.map(|address| (address, bind(address))) {
            Some((_, Ok(listener))) => {
                serving = Some(tokio::spawn(accept(listener, requests.clone(), bfd.clone())));
                None
            }
            Some((address, Err(error))) => {
                Some(format!("cannot serve metrics on {address}: {}", sys::describe(&error)))
            }
            None => None,
        };
        if told != trouble {
            told.clone_from(&trouble);
            // The owner is gone only when the process ends.
            let _ = troubles.send(trouble);
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(
    listener: TcpListener,
    requests: mpsc::Sender<control::Request>,
    bfd: bfd::driver::Handle,
) {
    let slots = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("it is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await; // out of descriptors
            continue;
        };
        let (requests, bfd) = (requests.clone(), bfd.clone());
        tokio::spawn(async move {
            // A client that misbehaves has only itself to blame.
            let _ = timeout(LONGEST, serve(stream, requests, bfd)).await;
            drop(slot);
        });
    }
}

async fn serve(
    stream: TcpStream,
    requests: mpsc::Sender<control::Request>,
    bfd: bfd::driver::Handle,
) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let (requests, bfd) = (requests.clone(), bfd.clone());
        async move { Ok::<_, Infallible>(answer(&request, &requests, &bfd).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(16 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(
    request: &Request<Incoming>,
    requests: &mpsc::Sender<control::Request>,
    bfd: &bfd::driver::Handle,
) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match scrape(requests, bfd).await {
            Some(text) => {
                let mut response = Response::new(Full::new(Bytes::from(text)));
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let kind = hyper::header::HeaderValue::from_static(kind);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "vipcastd is stopping\n"),
        },
        (_, "/metrics") => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        _ => plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
    }
}

async fn scrape(
    requests: &mpsc::Sender<control::Request>,
    bfd: &bfd::driver::Handle,
) -> Option<String> {
    let (reply, status) = oneshot::channel();
    requests.send(control::Request::Describe(reply)).await.ok()?;
    super::render(status.await.ok()?, bfd.report().await).ok()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
