//! One connection, one request at a time: HTTP/1.1 with as little as a load generator needs.
//!
//! What prepares a run uses the client of the tests. What is measured goes this way: the generator
//! shares the processors with the server, so requests are bytes that were made beforehand, and of a
//! response only the status and the length are parsed.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Headers of one response beyond which something is wrong.
const MOST_HEADERS: usize = 32;
/// Bytes of one response beyond which something is wrong.
const MOST_BYTES: usize = 16 << 20;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

struct Frame {
    status: u16,
    head: usize,
    body: usize,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096] })
    }

    /// Sends a request and waits for the whole response.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Response<'_>> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let frame = loop {
            if filled == self.buffer.len() {
                ensure!(filled < MOST_BYTES, "a response without end");
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed a connection in the middle of a response");
            filled += read;
            if let Some(frame) = frame(&self.buffer[..filled])? {
                break frame;
            }
        };
        let end = frame.head + frame.body;
        ensure!(filled == end, "{} bytes behind the response", filled - end);
        Ok(Response { status: frame.status, body: &self.buffer[frame.head..end] })
    }
}

impl Response<'_> {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, or an error that shows the response where it is no 2xx.
    pub(crate) fn success(&self) -> Result<&[u8]> {
        let body = self.body;
        ensure!(self.is_success(), "responseed {} {}", self.status, String::from_utf8_lossy(body));
        Ok(body)
    }
}

/// Measures a response; `None` where it is not all there yet.
fn frame(bytes: &[u8]) -> Result<Option<Frame>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes)? else {
        return Ok(None);
    };
    let mut body = None;
    for header in &*parsed.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            body = Some(str::from_utf8(header.value)?.parse()?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a response in chunks, which this load generator does not read");
        }
    }
    let body = body.context("a response without Content-Length")?;
    let status = parsed.code.context("a response without status")?;
    Ok((bytes.len() >= head + body).then_some(Frame { status, head, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_response_is_complete_with_its_last_byte() {
        let bytes = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..bytes.len() {
            assert!(frame(&bytes[..end]).unwrap().is_none(), "{end}");
        }
        let whole = frame(bytes).unwrap().unwrap();
        assert_eq!((whole.status, whole.body), (201, 3));
    }

    #[test]
    fn a_response_that_cannot_be_measured_is_an_error() {
        assert!(frame(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(frame(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").is_err());
    }
}
