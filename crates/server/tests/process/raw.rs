//! A raw connection for tests of what HTTP libraries do not send: half requests, wrong framing,
//! bytes that are no request; and for those of what is on the wire between requests.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use testing::{Failure, Response, TIMEOUT, User};
use tokio::net::TcpSocket;
use tokio::runtime::Builder;

/// One connection.
pub(crate) struct RawConnection {
    stream: TcpStream,
    /// What was read and belongs to no response yet.
    ahead: Vec<u8>,
}

impl RawConnection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server listens")
    }

    pub(crate) fn try_open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(|_cause| Failure::Refused)?;
        Self::over(stream)
    }

    /// Opens one by a socket that is prepared first.
    pub(crate) fn open_by(
        address: SocketAddr,
        prepare: impl FnOnce(&TcpSocket) -> io::Result<()>,
    ) -> Self {
        let runtime = Builder::new_current_thread().enable_io().build();
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            prepare(&socket)?;
            socket.connect(address).await?.into_std()
        };
        let stream = runtime.expect("a runtime can be made").block_on(connect);
        let stream = stream.expect("the server listens");
        stream.set_nonblocking(false).expect("it can wait");
        Self::over(stream).expect("it is a socket")
    }

    fn over(stream: TcpStream) -> Result<Self, Failure> {
        stream.set_nodelay(true).map_err(|_cause| Failure::Refused)?;
        let mut connection = Self { stream, ahead: Vec::new() };
        connection.set_timeout(TIMEOUT);
        connection.stream.set_write_timeout(Some(TIMEOUT)).expect("a socket takes a timeout");
        Ok(connection)
    }

    /// How long a read waits.
    pub(crate) fn set_timeout(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a socket takes a timeout");
    }

    /// The port of this side.
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("it has an address").port()
    }

    /// Sends bytes; whether the other side still took them.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_down_write(&mut self) {
        // The other side may have closed it already.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Reads once; 0 is the end.
    fn fill(&mut self) -> Result<usize, Failure> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(length) => {
                    self.ahead.extend_from_slice(&piece[..length]);
                    return Ok(length);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Failure::TimedOut),
                    _ => return Ok(0),
                },
            }
        }
    }

    fn more(&mut self) -> Result<(), Failure> {
        match self.fill()? {
            0 if self.ahead.is_empty() => Err(Failure::Closed),
            0 => Err(Failure::Truncated),
            _ => Ok(()),
        }
    }

    /// The next answer, an interim one as well.
    pub(crate) fn response(&mut self) -> Result<Response, Failure> {
        let head = loop {
            match self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break self.ahead.drain(..end + 4).collect::<Vec<_>>(),
                None => self.more()?,
            }
        };
        let head = String::from_utf8(head).expect("the head of a response is text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("there is a status in {head:?}"));
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| {
            let name = name.parse::<HeaderName>().expect("it is the name of a header");
            (name, value.trim().parse::<HeaderValue>().expect("it is the value of a header"))
        });
        let mut response = Response::new(status, headers.collect::<HeaderMap>());
        let length = response
            .header("content-length")
            .map_or(0, |length| length.parse::<usize>().expect("the length of a body is a number"));
        while self.ahead.len() < length {
            if self.fill()? == 0 {
                return Err(Failure::Truncated);
            }
        }
        response.body = self.ahead.drain(..length).collect();
        Ok(response)
    }

    /// Everything until the server closes the connection.
    pub(crate) fn read_to_end(&mut self) -> Result<Vec<u8>, Failure> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Whether the server has closed the connection, without another byte, in the time of
    /// [`Wire::wait_up_to`].
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read_to_end().is_ok_and(|rest| rest.is_empty())
    }

    /// Sends one request and reads its answer.
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Result<Response, Failure> {
        // What could not be sent may have been answered all the same.
        self.send(request);
        self.response()
    }
}

/// The text of a request.
pub(crate) fn request_text(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: postroom\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() || method == "POST" {
        text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    text + "\r\n" + body
}

/// Requests of a user as text.
pub(crate) trait RequestText {
    fn request_text(&self, method: &str, path: &str, body: &str) -> String;
}

impl RequestText for User {
    fn request_text(&self, method: &str, path: &str, body: &str) -> String {
        let cookies = self.cookies();
        let headers = [("Cookie", cookies.as_str()), ("X-CSRFToken", self.token.as_str())];
        request_text(method, path, &headers, body)
    }
}
