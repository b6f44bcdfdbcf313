//! The socket of a connection: what hyper does not do at the end of a stream and of a connection.
//!
//! hyper does not read while it responds, because a client that has finished sending still gets
//! its response. A stream has no end to wait for: there the end of the input means that the client
//! has closed it, and without a look at it a stream would live until something is next sent.
//!
//! hyper closes a connection with whatever was not read of it. The system then sends a reset, which
//! can reach a client that still sends before it has read its response; proxies make a 502 of that
//! (RFC 9112, section 9.6). So the end is said first, and what still comes is read and thrown away.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// How long a connection that ends is read on.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// How much of what comes during a stream is kept for after it.
const AHEAD_BYTES: usize = 16 * 1024;
/// How much is read at once.
const PIECE_BYTES: usize = 8 * 1024;

/// What the input is, which the socket cannot see.
#[derive(Default)]
pub(super) struct Input(AtomicU8);

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
        self.0.store(now, Relaxed);
    }

    fn was_read(&self) {
        if self.0.load(Relaxed) == ANSWERED {
            self.0.store(UNANSWERED, Relaxed);
        }
    }

    fn is_stream(&self) -> bool {
        self.0.load(Relaxed) == STREAM
    }

    /// Whether the client may be sending still, when the connection ends.
    fn may_go_on(&self) -> bool {
        matches!(self.0.load(Relaxed), UNANSWERED | UNASKED)
    }
}

pub(super) struct Socket<'a> {
    stream: TcpStream,
    input: Arc<Input>,
    /// Whether the client has said that it sends no more.
    has_ended: bool,
    /// What came during a stream.
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

    /// Looks whether the client of a stream has closed it. The connection is polled again when
    /// there is more.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            // A next request may come already; who sends on and on does not wait for events.
            if piece.filled().is_empty() || self.ahead.len() + piece.filled().len() > AHEAD_BYTES {
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
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
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
        if self.input.is_stream() {
            self.poll_closed(cx)?;
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
