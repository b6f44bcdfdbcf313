//! A client of a stream of events, which reads it as a browser does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{Answer, connect};

/// How long something may take that comes at once.
const PATIENCE: Duration = Duration::from_mins(1);

/// An event, or a line that says when to come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
    pub retry: Option<u64>,
}

/// An open stream.
pub(crate) struct Feed {
    body: Incoming,
    _line: SendRequest<Full<Bytes>>,
    text: String,
    /// What a browser would send as `Last-Event-ID`.
    pub last_id: Option<String>,
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
                "retry" => event.retry = Some(value.parse().expect("it is a number")),
                _ => panic!("what is {line}?"),
            }
        }
        event
    }

    /// The data.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What it is and which message it is about.
    #[track_caller]
    pub(crate) fn about(&self) -> (&str, i64) {
        (&self.name, self.json()["id"].as_i64().unwrap_or_default())
    }
}

impl Feed {
    pub(crate) async fn open(
        address: SocketAddr,
        path: &str,
        request: Request<Full<Bytes>>,
    ) -> Self {
        let mut line = connect(address).await;
        let response = line.send_request(request).await.expect("the server answers");
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        let answer = Answer { status, headers, body: Bytes::new() };
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-accel-buffering"), Some("no"));
        answer.check(&Method::GET, path);
        Self { body, _line: line, text: String::new(), last_id: None }
    }

    /// The next event, pings included; nothing where the stream has ended.
    pub(crate) async fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (Event::parse(block), rest.to_owned());
                self.text = rest;
                self.last_id = event.id.clone().or(self.last_id.take());
                return Some(event);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("something is heard");
            let data = frame?.expect("the stream ends as it should").into_data();
            let data = data.expect("there are no trailers");
            self.text.push_str(std::str::from_utf8(&data).expect("it is text"));
        }
    }

    /// The next event that is no ping.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let event = self.try_next().await.expect("the stream goes on");
            if event.name != "ping" {
                return event;
            }
        }
    }

    /// The next event of these names.
    pub(crate) async fn next_of(&mut self, names: &[&str]) -> Event {
        loop {
            let event = self.next().await;
            if names.contains(&event.name.as_str()) {
                return event;
            }
        }
    }

    /// The next about a message.
    pub(crate) async fn next_message(&mut self) -> Event {
        self.next_of(&["message.created", "message.updated", "message.destroyed"]).await
    }

    /// Reads to the end, which must come; what was told last.
    pub(crate) async fn end(&mut self) -> Option<Event> {
        let mut last = None;
        while let Some(event) = self.try_next().await {
            last = Some(event);
        }
        last
    }
}
