//! The accept loop: axum's own has no timers, so a client could hold a connection for ever.
//!
//! One thread accepts and hands each connection to the worker that has the fewest. A worker is a
//! thread with a runtime of its own, so that a request never moves between processors.

mod patience;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::http::{self, App, Peer};
use patience::Patient;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4096;
/// Headers of a request, in number and in bytes; beyond it is 431.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Listens on an address.
///
/// # Errors
/// Where it is taken, or not ours.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The address at which a connection came in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    /// That of everybody.
    Main,
    /// That of the metrics, where it is another one.
    Metrics,
}

/// A thread that serves connections.
pub(crate) struct Worker {
    sender: mpsc::UnboundedSender<(TcpStream, Door)>,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker. It ends when the app is stopping and its connections are done.
    ///
    /// # Errors
    /// Where the system gives no thread or no runtime.
    pub(crate) fn start(app: &App, number: usize, closed: Arc<Notify>) -> std::io::Result<Self> {
        let (sender, connections) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = work(app.for_worker(), connections, Arc::clone(&open), closed);
        let builder = std::thread::Builder::new().name(format!("worker-{number}"));
        let thread = builder.spawn(move || runtime.block_on(work))?;
        Ok(Self { sender, open, thread })
    }

    /// Waits for its end.
    pub(crate) fn join(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!("a worker had panicked");
        }
    }
}

/// Accepts connections at a door until the app is stopping.
pub(crate) async fn accept(
    app: App,
    listener: TcpListener,
    door: Door,
    workers: Arc<Vec<Worker>>,
    closed: Arc<Notify>,
) {
    let stopping = app.stopping.wait();
    tokio::pin!(stopping);
    loop {
        let stream = tokio::select! {
            () = &mut stopping => break,
            stream = next(&app, &listener, &workers, &closed) => stream,
        };
        if !hand_over(&app, &workers, door, stream) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // Whom the system has let in already gets one answer, and then has to go elsewhere.
    let waiting = || poll_fn(|cx| Poll::Ready(listener.poll_accept(cx)));
    while let Poll::Ready(Ok((stream, _address))) = waiting().await {
        hand_over(&app, &workers, door, Ok(stream));
    }
}

/// Gives a connection to the worker with the fewest; whether there was one to give.
fn hand_over(
    app: &App,
    workers: &[Worker],
    door: Door,
    stream: std::io::Result<tokio::net::TcpStream>,
) -> bool {
    let stream = stream.and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.into_std()
    });
    let stream = match stream {
        Ok(stream) => stream,
        // The client has gone already, or no descriptor is free: neither ends the loop.
        Err(error) => {
            tracing::debug!(%error, "a connection was not accepted");
            return false;
        }
    };
    let worker = workers.iter().min_by_key(|worker| worker.open.load(Relaxed));
    if let Some(worker) = worker {
        worker.open.fetch_add(1, Relaxed);
        app.metrics.connections.inc();
        // A worker that has ended drops the connection: the server is stopping.
        drop(worker.sender.send((stream, door)));
    }
    true
}

/// The next connection, as soon as there is room for it.
async fn next(
    app: &App,
    listener: &TcpListener,
    workers: &[Worker],
    closed: &Notify,
) -> std::io::Result<tokio::net::TcpStream> {
    let open = || workers.iter().map(|worker| worker.open.load(Relaxed)).sum::<usize>();
    while open() >= app.settings.max_connections {
        closed.notified().await;
    }
    listener.accept().await.map(|(stream, _address)| stream)
}

async fn work(
    app: App,
    mut connections: mpsc::UnboundedReceiver<(TcpStream, Door)>,
    open: Arc<AtomicUsize>,
    closed: Arc<Notify>,
) {
    let (main, metrics) = (http::router(&app), http::metrics_router(&app));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            connection = connections.recv() => match connection {
                Some((stream, door)) => {
                    let router = match door {
                        Door::Main => main.clone(),
                        Door::Metrics => metrics.clone(),
                    };
                    tasks.spawn(serve(App::clone(&app), stream, router));
                }
                // The server stops, and nobody will come any more.
                None => break,
            },
            Some(_ended) = tasks.join_next() => {
                open.fetch_sub(1, Relaxed);
                app.metrics.connections.dec();
                closed.notify_one();
            }
        }
    }
    // Told to stop, each connection ends after the request that it is in.
    while tasks.join_next().await.is_some() {}
}

async fn serve(app: App, stream: TcpStream, router: Router) {
    let (peer, stream) = match (stream.peer_addr(), tokio::net::TcpStream::from_std(stream)) {
        (Ok(address), Ok(stream)) => (Peer(address.ip()), stream),
        // It has gone already.
        _ => return,
    };
    let service = service_fn(|request| {
        let (app, router) = (App::clone(&app), router.clone());
        async move { Ok::<_, Infallible>(http::handle(app, router, peer, request).await) }
    });
    let patience = Duration::from_secs(app.settings.body_timeout_seconds);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(app.settings.header_timeout_seconds))
        .max_headers(MAX_HEADERS)
        // Whoever has no more to ask still wants the answer.
        .half_close(true)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_HEADER_BYTES)
        // One buffer, one write. `pipeline_flush` would make one of them as well, but keeps an
        // answer back while anything of a next request is there, be it an empty line.
        .writev(false)
        .serve_connection(Patient::new(TokioIo::new(stream), patience), service);
    tokio::pin!(connection);
    let stopping = app.stopping.wait();
    tokio::pin!(stopping);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = &mut stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended early");
    }
}
