//! The socket of a connection, which notices when the client of a stream has gone.
//!
//! hyper does not read while it responds, because a client that has finished sending still gets
//! its response. A stream has no end to wait for: there the end of the input means that the client
//! has closed it, and without a look at it a stream would live until something is next sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Socket {
    stream: TcpStream,
    /// Whether the current response is a stream.
    streams: Arc<AtomicBool>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, streams: Arc<AtomicBool>) -> Self {
        Self { stream, streams }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// hyper flushes whenever it is polled. Looking at the input here also has the connection
    /// polled again when the input ends.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.streams.load(Relaxed) {
            let mut next = [0];
            match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut next)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // A next request may be waiting already.
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
