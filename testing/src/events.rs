//! A reader of server-sent events, as strict as the format of ours allows.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{Connection, runtime};
use crate::response::{Failure, Response};

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
}

impl Event {
    fn parse(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.lines() {
            let (name, value) = line.split_once(':').expect("a line has a name");
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match name {
                "event" => event.name = value,
                "id" => event.id = Some(value),
                "data" => {
                    assert!(event.data.is_empty(), "data is one line: {block}");
                    event.data = value;
                }
                _ => panic!("unknown field: {line}"),
            }
        }
        event
    }

    /// The data.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Its name and the id of the message that it is about.
    #[track_caller]
    pub fn about(&self) -> (&str, i64) {
        (&self.name, self.json()["id"].as_i64().unwrap_or_default())
    }
}

/// An open stream of events.
pub struct EventStream {
    /// The head of the response.
    pub response: Response,
    /// What a browser would send as `Last-Event-ID`.
    pub last_id: Option<String>,
    /// How long a browser would wait before it reconnects, in milliseconds; it is said once, before
    /// the first event.
    pub retry: Option<u64>,
    body: Incoming,
    /// Without it the connection would be closed.
    _connection: Connection,
    /// What has been read and is not a whole event yet.
    text: String,
    /// What has been read of a character.
    bytes: Vec<u8>,
    timeout: Duration,
}

impl EventStream {
    pub(crate) fn new(response: Response, body: Incoming, connection: Connection) -> Self {
        Self {
            response,
            last_id: None,
            retry: None,
            body,
            _connection: connection,
            text: String::new(),
            bytes: Vec::new(),
            timeout: Duration::from_mins(1),
        }
    }

    /// How long a read waits for something to come.
    pub fn set_timeout(&mut self, time: Duration) {
        self.timeout = time;
    }

    /// The next event, pings included; nothing at the end of the stream. After a timeout it may be
    /// called again.
    pub async fn try_next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if self.retry.is_none() {
                    let retry = block.strip_prefix("retry: ").expect("it comes first");
                    self.retry = Some(retry.parse().expect("it is a number"));
                    continue;
                }
                let event = Event::parse(&block);
                self.last_id = event.id.clone().or(self.last_id.take());
                return Ok(Some(event));
            }
            let frame = timeout(self.timeout, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_elapsed| Failure::TimedOut)? else {
                return Ok(None);
            };
            let data = frame.map_err(|_cause| Failure::Truncated)?.into_data();
            let data = data.expect("there are no trailers");
            self.bytes.extend_from_slice(&data);
            // A frame may end within a character.
            let (end, is_text) = match std::str::from_utf8(&self.bytes) {
                Ok(text) => (text.len(), true),
                Err(cut) => (cut.valid_up_to(), cut.error_len().is_none()),
            };
            assert!(is_text, "events are text");
            let whole = self.bytes.drain(..end).collect();
            self.text.push_str(&String::from_utf8(whole).expect("it is the valid part"));
        }
    }

    /// The same for tests that are not async. The end of the stream is a failure as well.
    pub fn wait(&mut self) -> Result<Event, Failure> {
        runtime().block_on(self.try_next())?.ok_or(Failure::Closed)
    }

    /// The next event that is not a ping.
    pub async fn next(&mut self) -> Event {
        loop {
            let event = self.try_next().await.expect("something comes");
            let event = event.expect("the stream goes on");
            if event.name != "ping" {
                return event;
            }
        }
    }

    /// The next event of these names.
    pub async fn next_of(&mut self, names: &[&str]) -> Event {
        loop {
            let event = self.next().await;
            if names.contains(&event.name.as_str()) {
                return event;
            }
        }
    }

    /// The next event about a message.
    pub async fn next_message(&mut self) -> Event {
        self.next_of(&["message.created", "message.updated", "message.destroyed"]).await
    }

    /// Reads to the end, which must come; the last event before it.
    pub async fn read_to_end(&mut self) -> Option<Event> {
        let mut last = None;
        while let Some(event) = self.try_next().await.expect("the stream ends as it should") {
            last = Some(event);
        }
        last
    }
}
