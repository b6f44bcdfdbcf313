//! Open streams of events, and when the event of each message came over them.
//!
//! The reader of the tests would cost too much here, for thousands of streams share the processors
//! with the server: all are read on one thread into one buffer, and of an event only its name and
//! the id of its message are parsed.

use std::io::ErrorKind::WouldBlock;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::requests::Request;

/// Streams that are opened at the same time.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER: usize = 256 << 10;

/// One event `message.created`.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    /// The stream over which it came, by its place among all.
    pub(crate) stream: usize,
    pub(crate) message: u64,
    pub(crate) at: Instant,
}

/// Streams that are read until this is dropped.
pub(crate) struct Streams {
    _readers: JoinSet<()>,
    received: Arc<Mutex<Received>>,
}

struct Received {
    events: Vec<Event>,
    /// Streams that the server ended.
    ended: usize,
    buffer: Box<[u8]>,
}

impl Streams {
    /// Opens one for each of the requests, and waits until all are known to the server.
    pub(crate) async fn open(port: u16, requests: &[Request]) -> Result<Self> {
        let buffer = vec![0; BUFFER].into();
        let received = Arc::new(Mutex::new(Received { events: Vec::new(), ended: 0, buffer }));
        let mut readers = JoinSet::new();
        for (chunk, requests) in requests.chunks(AT_ONCE).enumerate() {
            let mut opening = JoinSet::new();
            for (place, request) in requests.iter().enumerate() {
                let (request, number) = (request.clone(), chunk * AT_ONCE + place);
                opening.spawn(async move { open(port, &request).await.map(|it| (number, it)) });
            }
            while let Some(opened) = opening.join_next().await {
                let (number, stream) = opened??;
                readers.spawn(follow(stream, number, Arc::clone(&received)));
            }
        }
        Ok(Self { _readers: readers, received })
    }

    /// The events since the last time, as soon as there are so many events; what there is
    /// when nothing more comes.
    pub(crate) async fn take(&self, wanted: usize) -> Vec<Event> {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let now = lock(&self.received).events.len();
            if now >= wanted || since.elapsed() > PATIENCE {
                return std::mem::take(&mut lock(&self.received).events);
            }
            if now > before {
                (before, since) = (now, Instant::now());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// An error where the server has ended one.
    pub(crate) fn check(&self) -> Result<()> {
        let ended = lock(&self.received).ended;
        ensure!(ended == 0, "the server ended {ended} streams");
        Ok(())
    }
}

/// A panic with the lock held ends the benchmark anyway.
fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a stream and reads its first event, which says that it is open.
async fn open(port: u16, request: &Request) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(request).await?;
    let (mut start, mut filled) = ([0; 4096], 0);
    loop {
        let read = timeout(PATIENCE, stream.read(&mut start[filled..])).await??;
        filled += read;
        let text = String::from_utf8_lossy(&start[..filled]);
        if read == 0 || filled == start.len() || !text.starts_with("HTTP/1.1 200") {
            bail!("no stream, but {text}");
        }
        // Behind the head and its empty line, an event and its own.
        if text.contains("event: unread\n") && text.ends_with("\n\n\r\n") {
            return Ok(stream);
        }
    }
}

async fn follow(stream: TcpStream, number: usize, received: Arc<Mutex<Received>>) {
    let mut lines = Lines::default();
    while stream.readable().await.is_ok() {
        let mut received = lock(&received);
        let Received { events, ended, buffer } = &mut *received;
        match stream.try_read(buffer) {
            Ok(0) => {
                *ended += 1;
                return;
            }
            Ok(read) => {
                let at = Instant::now();
                lines.take(&buffer[..read], |message| {
                    events.push(Event { stream: number, message, at });
                });
            }
            Err(error) if error.kind() == WouldBlock => {}
            Err(_broken) => {
                *ended += 1;
                return;
            }
        }
    }
}

/// A stream by its lines. The server makes each chunk of whole events, so the heads of chunks are
/// lines like others, and mean nothing here.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    created: bool,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8], mut received: impl FnMut(u64)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let message = if self.begun.is_empty() {
                line_of(line, &mut self.created)
            } else {
                self.begun.extend_from_slice(line);
                let message = line_of(&self.begun, &mut self.created);
                self.begun.clear();
                message
            };
            if let Some(message) = message {
                received(message);
            }
        }
        self.begun.extend_from_slice(bytes);
    }
}

/// The id of a message that came, in the line that says so.
fn line_of(line: &[u8], created: &mut bool) -> Option<u64> {
    if let Some(name) = line.strip_prefix(b"event: ") {
        *created = name == b"message.created";
        return None;
    }
    let digits = line.strip_prefix(b"data: {\"id\":").filter(|_| *created)?;
    let digits = digits.iter().take_while(|digit| digit.is_ascii_digit());
    Some(digits.fold(0, |id, digit| id * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_however_its_event_is_cut() {
        let text = b"1f\r\nevent: message.created\nid: 9\ndata: {\"id\":907,\"m\":1}\n\n\r\n\
            20\r\nevent: message.updated\nid: 10\ndata: {\"id\":4}\n\n\
            event: unread\ndata: {\"id\":5}\n\n\r\n\
            1\r\nevent: message.created\nid: 11\ndata: {\"id\":12,\"m\":2}\n\n\r\n";
        for cut in 0..text.len() {
            let (mut lines, mut received) = (Lines::default(), Vec::new());
            lines.take(&text[..cut], |message| received.push(message));
            lines.take(&text[cut..], |message| received.push(message));
            assert_eq!(received, [907, 12], "{cut}");
        }
    }
}
