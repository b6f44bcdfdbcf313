//! The accept loop: axum's own has no timeouts, so a client could hold a connection for ever.
//!
//! One thread accepts connections and gives each to the worker that has the fewest. A worker is a
//! thread with its own runtime, so that a request never moves between processors.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, yield_now};
use tokio_io_timeout::TimeoutWriter;

use super::addresses::{Addresses, Counted};
use super::socket::{self, Input};
use crate::http::waits::watched;
use crate::http::{self, App, Peer};
use crate::node::or_processors;

/// Connections that the kernel queues until they are accepted.
const BACKLOG: u32 = 4096;
/// How much of a response the kernel takes for a client that does not read, which would else be up
/// to 4 MB. Linux doubles it for its own use; a client 100 ms away still gets over 1 MB a second.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Headers of a request, in number and in bytes; a request with more gets 431.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// What a connection gets whose address has its share already; nothing was read, so the shape of
/// the API is not known.
const CROWDED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Type: application/json\r\nContent-Length: 69\r\n\r\n\
    {\"error\":\"your address has too many connections, close some of them\"}";

/// Takes an address, without listening on it yet.
///
/// # Errors
/// Where it is in use, or not an address of this machine.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listens on an address that was taken.
///
/// # Errors
/// Where another process has begun to listen on it since.
pub(crate) fn listen(socket: TcpSocket) -> std::io::Result<TcpListener> {
    socket.listen(BACKLOG)
}

/// The listening socket that a connection came from.
#[derive(Clone, Copy)]
pub(crate) enum Socket {
    Main,
    /// The one of `metrics_listen`.
    Metrics,
}

pub(crate) struct Workers {
    app: App,
    all: Vec<Worker>,
    addresses: Arc<Addresses>,
    /// Notified of each connection that ends, because that makes room for another.
    closed: Arc<Notify>,
}

/// A connection on its way to a worker.
struct Accepted {
    stream: TcpStream,
    socket: Socket,
    /// Held until it is closed.
    counted: Option<Counted>,
}

struct Worker {
    sender: mpsc::UnboundedSender<Accepted>,
    /// Connections of this worker: the accept loops count up, the worker down.
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts the workers, which run until the server stops and their connections have ended.
    ///
    /// # Errors
    /// Where the system cannot start a thread.
    pub(crate) fn start(app: App) -> std::io::Result<Self> {
        let closed = Arc::new(Notify::new());
        let workers = (0..or_processors(app.settings.workers)).map(|number| {
            let (sender, connections) = mpsc::unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let closed = Arc::clone(&closed);
            let work = work(app.for_worker(), connections, Arc::clone(&open), closed);
            let builder = std::thread::Builder::new().name(format!("worker-{number}"));
            let thread = builder.spawn(move || runtime.block_on(work))?;
            Ok(Worker { sender, open, thread })
        });
        let all = workers.collect::<std::io::Result<_>>()?;
        Ok(Self { all, addresses: Arc::new(Addresses::new(&app.settings)), app, closed })
    }

    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, socket: Socket) {
        let accept = async {
            loop {
                // The client is gone already, or the open file limit is reached.
                if let Err(error) = self.next(&listener, socket).await {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        self.app.stopping.run_until_cancelled(accept).await;
        // What the kernel has queued already gets one response each, and is closed then.
        let queued = || poll_fn(|cx| Poll::Ready(listener.poll_accept(cx)));
        while let Poll::Ready(Ok((stream, address))) = queued().await {
            drop(self.hand_over(stream, Peer(address.ip()), socket));
        }
    }

    /// Accepts the next connection once there are fewer than `max_connections`.
    async fn next(&self, listener: &TcpListener, socket: Socket) -> std::io::Result<()> {
        let open = || self.all.iter().map(|worker| worker.open.load(Relaxed)).sum::<usize>();
        while open() >= self.app.settings.max_connections {
            self.closed.notified().await;
        }
        let (stream, address) = listener.accept().await?;
        self.hand_over(stream, Peer(address.ip()), socket)
    }

    /// Gives a connection to the worker with the fewest, unless its address has its share.
    fn hand_over(
        &self,
        stream: tokio::net::TcpStream,
        peer: Peer,
        socket: Socket,
    ) -> std::io::Result<()> {
        let is_counted =
            matches!(socket, Socket::Main) && !peer.stands_for_many(&self.app.settings);
        let counted = is_counted.then(|| self.addresses.count(peer));
        if let Some(None) = counted {
            self.app.metrics.connections_refused.inc();
            // Its send buffer is empty. What it has sent is not waited for.
            return stream.try_write(CROWDED).map(|_written| ());
        }
        stream.set_nodelay(true)?;
        let (stream, counted) = (stream.into_std()?, counted.flatten());
        if let Some(worker) = self.all.iter().min_by_key(|worker| worker.open.load(Relaxed)) {
            worker.open.fetch_add(1, Relaxed);
            self.app.metrics.connections.inc();
            // A worker that has ended drops the connection; the server is stopping.
            drop(worker.sender.send(Accepted { stream, socket, counted }));
        }
        Ok(())
    }

    pub(crate) fn join(self) {
        // Without senders, all workers end at the same time.
        let (senders, threads): (Vec<_>, Vec<_>) =
            self.all.into_iter().map(|worker| (worker.sender, worker.thread)).unzip();
        drop(senders);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

async fn work(
    app: App,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    open: Arc<AtomicUsize>,
    closed: Arc<Notify>,
) {
    let (main, metrics) = (http::router(&app), http::metrics_router(&app));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            connection = connections.recv() => match connection {
                Some(Accepted { stream, socket, counted }) => {
                    let router = match socket {
                        Socket::Main => main.clone(),
                        Socket::Metrics => metrics.clone(),
                    };
                    let app = App::clone(&app);
                    tasks.spawn(async move {
                        serve(app, stream, router).await;
                        drop(counted);
                    });
                }
                // The server stops.
                None => break,
            },
            Some(_ended) = tasks.join_next() => {
                open.fetch_sub(1, Relaxed);
                app.metrics.connections.dec();
                closed.notify_one();
            }
        }
    }
    // Each connection ends after its current request.
    while tasks.join_next().await.is_some() {}
}

async fn serve(app: App, stream: TcpStream, router: Router) {
    let (peer, stream) = match (stream.peer_addr(), tokio::net::TcpStream::from_std(stream)) {
        (Ok(address), Ok(stream)) => (Peer(address.ip()), stream),
        // The client is gone already.
        _ => return,
    };
    let input = Arc::new(Input::default());
    let service = service_fn(|request| {
        let (app, router, input) = (App::clone(&app), router.clone(), Arc::clone(&input));
        async move {
            // Who sends many at once has one served, and then others have their turn.
            if input.is_ahead() {
                yield_now().await;
            }
            let answered = http::handle(app, router, peer, request);
            let (response, is_unasked) = watched(Arc::clone(&input.waits), answered).await;
            let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            let is_stream = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
            input.is_answered(is_stream, is_unasked);
            Ok::<_, Infallible>(response)
        }
    });
    // Nothing else would ever close the connection of a client that does not read.
    let write_timeout = Duration::from_secs(app.settings.body_timeout_seconds);
    let most = app.limits.read_on_bytes();
    let socket = socket::Socket::new(stream, Arc::clone(&input), most, &app.stopping);
    let mut stream = TimeoutWriter::new(socket);
    stream.set_timeout(Some(write_timeout));
    tokio::pin!(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(app.settings.header_timeout_seconds))
        .max_headers(MAX_HEADERS)
        // A client that has closed its side still waits for its response.
        .half_close(true)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_HEADER_BYTES)
        // One buffer, one write. So does `pipeline_flush`, but it holds a response back while any
        // byte of a next request is there, even an empty line.
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let stopping = app.stopping.cancelled();
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
