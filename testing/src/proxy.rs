//! A connection that breaks when a test says so.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread::{self, JoinHandle};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// A TCP proxy on loopback. It and its connections end with the value.
pub struct Proxy {
    port: u16,
    black_hole: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy to a port of loopback.
    pub fn start(target_port: u16) -> Self {
        let listener = StdListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        listener.set_nonblocking(true).expect("a listener need not block");
        let (black_hole, hole) = watch::channel(false);
        let (cuts, cut) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = TcpListener::from_std(listener).expect("it is a listener");
                tokio::select! {
                    () = accept(listener, target_port, hole, cut) => {}
                    _gone = stopped => {}
                }
            });
        });
        Self { port, black_hole, cuts, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it keeps what it gets: connections are accepted and stay open, bytes are taken,
    /// and nothing goes on in either direction until this is false again.
    pub fn black_hole(&self, keeps: bool) {
        self.black_hole.send_replace(keeps);
    }

    /// Resets all present connections, on both sides.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(
    listener: TcpListener,
    target: u16,
    hole: watch::Receiver<bool>,
    cut: watch::Receiver<u64>,
) {
    loop {
        let (client, _address) = listener.accept().await.expect("connections can be accepted");
        let (hole, mut cut) = (hole.clone(), cut.clone());
        cut.mark_unchanged();
        tokio::spawn(async move {
            // Whatever ends it, both sides are closed here.
            drop(connection(client, target, hole, cut).await);
        });
    }
}

async fn connection(
    mut client: TcpStream,
    target: u16,
    mut hole: watch::Receiver<bool>,
    mut cut: watch::Receiver<u64>,
) -> io::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], target));
    let server = async {
        open(&mut hole).await;
        TcpStream::connect(address).await
    };
    let mut server = tokio::select! {
        server = server => server?,
        _cut = cut.changed() => return client.set_zero_linger(),
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        both = async { tokio::try_join!(
            pump(from_client, to_server, hole.clone()),
            pump(from_server, to_client, hole.clone()),
        ) } => both.map(drop),
        _cut = cut.changed() => {
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
    }
}

/// Passes on what comes, and its end, whenever the way is open.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut hole: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut bytes).await?;
        open(&mut hole).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..length]).await?;
    }
}

/// Waits until nothing is kept back. A sender that is gone ends the whole runtime.
async fn open(hole: &mut watch::Receiver<bool>) {
    drop(hole.wait_for(|keeps| !keeps).await);
}
