//! A client that keeps a copy of a mailbox by the stream of its events, wherever there is a server
//! that answers, and goes on from the last id that it has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{End, User, Wire, request};

/// How long it listens before it looks whether it is to end, and waits before it tries again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than it may take to hear of everything.
const LONG: Duration = Duration::from_mins(1);

/// Where the mailboxes stand when nothing more happens, by their owners. Until that is told, it
/// goes on.
pub(crate) type Goal = OnceLock<BTreeMap<i64, i64>>;

/// What it has heard.
#[derive(Debug)]
pub(crate) struct Follower {
    pub user: i64,
    cookie: String,
    /// The messages as they are.
    pub copy: BTreeMap<i64, Value>,
    /// The ids of messages that came, in the order in which they did.
    pub came: Vec<i64>,
    /// What is unread.
    pub unread: i64,
    /// The last id.
    pub last: Option<i64>,
    /// Events whose id was there before; they are dropped.
    pub repeated: usize,
    /// How often it was told to begin anew.
    pub resets: usize,
    /// How many streams it has opened.
    pub opened: usize,
}

impl Follower {
    /// With the session of a user.
    pub(crate) fn of(user: &User) -> Self {
        Self {
            user: user.id,
            cookie: format!("sessionid={}", user.session),
            copy: BTreeMap::new(),
            came: Vec::new(),
            unread: 0,
            last: Some(0),
            repeated: 0,
            resets: 0,
            opened: 0,
        }
    }

    /// Follows the mailbox until it is where the goal says.
    pub(crate) fn follow(&mut self, goal: &Goal, address: impl Fn(usize) -> Option<SocketAddr>) {
        let (mut told, mut tries) = (None, 0);
        loop {
            if let Some(address) = address(tries)
                && let Ok(mut wire) = self.open(address)
            {
                self.listen(&mut wire, goal);
            }
            tries += 1;
            if self.is_there(goal) {
                return;
            }
            if goal.get().is_some() {
                let since: Instant = *told.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < LONG, "it never gets to the goal: {self:?}");
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_there(&self, goal: &Goal) -> bool {
        goal.get().is_some_and(|goal| self.last.is_some_and(|last| last >= goal[&self.user]))
    }

    /// Opens a stream that goes on from the last id.
    pub(crate) fn open(&mut self, address: SocketAddr) -> Result<Wire, End> {
        let mut wire = Wire::try_open(address)?;
        let last = self.last.map(|last| last.to_string());
        let mut headers = vec![("Cookie", self.cookie.as_str())];
        headers.extend(last.as_deref().map(|last| ("Last-Event-ID", last)));
        let answer = wire.ask(request("GET", "/v1/events", &headers, ""))?;
        if answer.status != 200 {
            // It is stopping, or waits for its database.
            assert_eq!(answer.status, 503, "{}", answer.text());
            return Err(End::Refused);
        }
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        self.opened += 1;
        wire.wait_up_to(PAUSE);
        Ok(wire)
    }

    fn listen(&mut self, wire: &mut Wire, goal: &Goal) {
        let mut text = String::new();
        let mut silent = 0;
        while !self.is_there(goal) {
            match self.hear(wire, &mut text) {
                Ok(_events) => silent = 0,
                // What advanced without an event is told to whoever comes back.
                Err(End::Silent) if goal.get().is_some() && silent > 20 => return,
                Err(End::Silent) => silent += 1,
                Err(_end) => return,
            }
        }
    }

    /// Hears the next piece: the names of its events.
    pub(crate) fn hear(&mut self, wire: &mut Wire, text: &mut String) -> Result<Vec<String>, End> {
        let piece = wire.piece()?;
        if piece.is_empty() {
            return Err(End::Closed);
        }
        text.push_str(std::str::from_utf8(&piece).expect("events are text"));
        let mut names = Vec::new();
        while let Some((event, rest)) = text.split_once("\n\n") {
            names.extend(self.take(event));
            *text = rest.to_owned();
        }
        Ok(names)
    }

    fn take(&mut self, event: &str) -> Option<String> {
        let fields: BTreeMap<_, _> =
            event.lines().filter_map(|line| line.split_once(": ")).collect();
        let name = fields.get("event").copied()?;
        let id = fields.get("id").map(|id| id.parse::<i64>().expect("an id is a number"));
        if name == "reset" {
            self.resets += 1;
        } else if id.is_some_and(|id| self.last.is_some_and(|last| id <= last)) {
            // The counts of a stream that was opened again are no repetition of anything.
            self.repeated += usize::from(name != "unread");
            if name != "unread" {
                return None;
            }
        }
        let data = || -> Value { serde_json::from_str(fields["data"]).expect("data is JSON") };
        let about = || data()["id"].as_i64().expect("an id");
        match name {
            "message.created" => {
                self.came.push(about());
                self.copy.insert(about(), data()["message"].take());
            }
            "message.updated" => {
                let before = self.copy.insert(about(), data()["message"].take());
                assert!(before.is_some(), "it never came: {event}");
            }
            "message.destroyed" => {
                self.copy.remove(&about());
            }
            "unread" => self.unread = data()["messages"].as_i64().expect("a number"),
            "ping" | "reset" => {}
            _ => panic!("what is {event}?"),
        }
        self.last = id.or(self.last);
        Some(name.to_owned())
    }
}
