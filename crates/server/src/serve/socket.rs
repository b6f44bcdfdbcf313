//! The socket of a connection: what hyper does not do at the end of a stream and of a connection.
//!
//! hyper does not read while it responds, because a client that has finished sending still gets
//! its response. A stream has no end to wait for: there the end of the input means that the client
//! has closed it, and without a look at it a stream would live until something is next sent. So it
//! is with a request that waits for its turn.
//!
//! hyper closes a connection with whatever was not read of it. The system then sends a reset, which
//! can reach a client that still sends before it has read its response; proxies make a 502 of that
//! (RFC 9112, section 9.6). So the end is said first, and what still comes is read and thrown away.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// How long a connection that ends is read on.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// How much of what comes during a stream or a wait is kept for after it.
const AHEAD_BYTES: usize = 16 * 1024;
/// How much is read at once.
const PIECE_BYTES: usize = 8 * 1024;

/// What the input is, which the socket cannot see.
#[derive(Default)]
pub(super) struct Input {
    answered: AtomicU8,
    /// Whether its request waits for its turn.
    pub(super) waits: Arc<AtomicBool>,
    /// Whether a request was served since there was last nothing to read.
    is_ahead: AtomicBool,
}

/// Something was read to which there is no response yet.
const UNANSWERED: u8 = 0;
const ANSWERED: u8 = 1;
/// The response is a stream.
const STREAM: u8 = 2;
/// The response came before the body that the client had wanted to be asked for.
const UNASKED: u8 = 3;

impl Input {
    /// A response was made.
    pub(super) fn is_answered(&self, is_stream: bool, is_unasked: bool) {
        let now = match (is_stream, is_unasked) {
            (true, _) => STREAM,
            (false, true) => UNASKED,
            (false, false) => ANSWERED,
        };
        self.answered.store(now, Relaxed);
    }

    /// Notes that a request is served. Returns whether it was sent ahead, behind another one.
    pub(super) fn is_ahead(&self) -> bool {
        self.is_ahead.swap(true, Relaxed)
    }

    fn was_read(&self) {
        if self.answered.load(Relaxed) == ANSWERED {
            self.answered.store(UNANSWERED, Relaxed);
        }
    }

    fn is_stream(&self) -> bool {
        self.answered.load(Relaxed) == STREAM
    }

    /// Whether the client may be sending still, when the connection ends.
    fn may_go_on(&self) -> bool {
        matches!(self.answered.load(Relaxed), UNANSWERED | UNASKED)
    }
}

pub(super) struct Socket<'a> {
    stream: TcpStream,
    input: Arc<Input>,
    /// Whether the client has said that it sends no more.
    has_ended: bool,
    /// What came during a stream or a wait.
    ahead: Vec<u8>,
    linger: Linger,
    stopping: &'a CancellationToken,
}

/// The end of a connection.
struct Linger {
    is_shut_down: bool,
    may_go_on: bool,
    /// How many more bytes are read.
    left: usize,
    end: Option<Pin<Box<Sleep>>>,
}

impl<'a> Socket<'a> {
    /// When the connection ends, up to `linger` more bytes are read, until `stopping`.
    pub(super) fn new(
        stream: TcpStream,
        input: Arc<Input>,
        linger: usize,
        stopping: &'a CancellationToken,
    ) -> Self {
        let linger = Linger { is_shut_down: false, may_go_on: false, left: linger, end: None };
        Self { stream, input, has_ended: false, ahead: Vec::new(), linger, stopping }
    }

    /// Looks whether the client of a stream, or of a request that waits, has closed its side. The
    /// connection is polled again when there is more.
    fn poll_closed(&mut self, cx: &mut Context<'_>, is_stream: bool) -> io::Result<()> {
        loop {
            let room = AHEAD_BYTES - self.ahead.len();
            if room == 0 && !is_stream {
                return Ok(());
            }
            let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
            // Who sends on and on does not wait for events.
            let most = room.clamp(1, PIECE_BYTES);
            let mut piece = ReadBuf::uninit(&mut piece[..most]);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            // A next request may come already.
            if piece.filled().is_empty() || room == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.ahead.extend_from_slice(piece.filled());
        }
    }

    /// Reads what still comes, and throws it away.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_ended && self.linger.left > 0 {
            let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Ready(read) => {
                    read?;
                    self.has_ended = piece.filled().is_empty();
                    self.linger.left = self.linger.left.saturating_sub(piece.filled().len());
                    self.linger.may_go_on = true;
                }
                Poll::Pending if !self.linger.may_go_on || self.stopping.is_cancelled() => break,
                Poll::Pending => {
                    let end = self.linger.end.get_or_insert_with(|| Box::pin(sleep(LINGER_TIME)));
                    ready!(end.as_mut().poll(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.drain(..length);
            self.input.was_read();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) else {
            self.input.is_ahead.store(false, Relaxed);
            return Poll::Pending;
        };
        read?;
        if buffer.filled().len() > before {
            self.input.was_read();
        } else {
            self.has_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// hyper flushes whenever it is polled.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_stream = self.input.is_stream();
        if is_stream || self.input.waits.load(Relaxed) {
            self.poll_closed(cx, is_stream)?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.linger.is_shut_down {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.linger.is_shut_down = true;
            self.linger.may_go_on = self.input.may_go_on();
        }
        self.poll_linger(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_request_that_waits_ends_with_its_client_and_what_came_meanwhile_is_read_later() {
        let (mut client, stream) = pair().await;
        let (input, stopping) = (Arc::new(Input::default()), CancellationToken::new());
        let mut socket = Socket::new(stream, Arc::clone(&input), 0, &stopping);
        input.waits.store(true, Relaxed);
        let sent = vec![7; AHEAD_BYTES + 5];
        client.write_all(&sent).await.unwrap();
        while socket.ahead.len() < AHEAD_BYTES {
            socket.stream.readable().await.unwrap();
            poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx)).await.unwrap();
        }
        let mut read = vec![0; AHEAD_BYTES + 5];
        socket.read_exact(&mut read).await.unwrap();
        assert!(read == sent);

        drop(client);
        socket.stream.readable().await.unwrap();
        let ended = poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx)).await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        // One that is being answered gets its response all the same.
        input.waits.store(false, Relaxed);
        assert!(poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx)).await.is_ok());
    }
}
