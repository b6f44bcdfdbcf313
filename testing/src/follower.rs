//! A client that keeps a copy of a mailbox by its stream of events, at any server that answers,
//! and resumes from the last id that it has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::events::{Event, EventStream};
use crate::response::{EVENT_STREAM, Failure};
use crate::user::User;

/// How long a read waits before the follower looks whether it is done, and how long it waits
/// before it reconnects.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than it may take to catch up.
const LONG: Duration = Duration::from_mins(1);

/// The states of the mailboxes when nothing more happens, by their owners. Until it is set,
/// followers go on.
pub type Goal = OnceLock<BTreeMap<i64, i64>>;

/// What it has read so far.
#[derive(Debug)]
pub struct Follower {
    pub user: i64,
    cookie: String,
    /// The messages as they are.
    pub copy: BTreeMap<i64, Value>,
    /// The ids of new messages, in the order of their events.
    pub created: Vec<i64>,
    /// The count of unread messages.
    pub unread: i64,
    /// Whether a message came, and the counts that follow it have not.
    counts_due: bool,
    /// The last id.
    pub last: Option<i64>,
    /// Events whose id came before; they are dropped.
    pub repeated: usize,
    /// How many events `reset` there were.
    pub resets: usize,
    /// How many streams it has opened.
    pub opened: usize,
}

impl Follower {
    /// With the session of a user.
    pub fn of(user: &User) -> Self {
        Self {
            user: user.id,
            cookie: format!("sessionid={}", user.session),
            copy: BTreeMap::new(),
            created: Vec::new(),
            unread: 0,
            counts_due: false,
            last: Some(0),
            repeated: 0,
            resets: 0,
            opened: 0,
        }
    }

    /// Follows the mailbox until it has the state of the goal. `address` names the server of each
    /// try, if one runs.
    pub fn follow(&mut self, goal: &Goal, address: impl Fn(usize) -> Option<SocketAddr>) {
        let (mut goal_since, mut tries) = (None, 0);
        loop {
            if let Some(address) = address(tries)
                && let Ok(mut stream) = self.open(address)
            {
                self.read_all(&mut stream, goal);
            }
            tries += 1;
            if self.is_done(goal) {
                return;
            }
            if goal.get().is_some() {
                let since: Instant = *goal_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < LONG, "it never gets to the goal: {self:?}");
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_done(&self, goal: &Goal) -> bool {
        let there = |goal: &BTreeMap<_, _>| self.last.is_some_and(|last| last >= goal[&self.user]);
        !self.counts_due && goal.get().is_some_and(there)
    }

    /// Opens a stream that resumes from the last id.
    pub fn open(&mut self, address: SocketAddr) -> Result<EventStream, Failure> {
        let client = Client::new(address);
        let mut request = client.request("GET", "/v1/events").cookies(&self.cookie);
        if let Some(last) = self.last {
            request = request.header("last-event-id", last.to_string());
        }
        let mut stream = request.wait_for_events()?;
        let response = &stream.response;
        if response.status != 200 {
            // It is stopping, or waits for its database.
            assert_eq!(response.status, 503, "{response:?}");
            return Err(Failure::Refused);
        }
        assert_eq!(response.header("content-type"), Some(EVENT_STREAM));
        self.opened += 1;
        stream.set_timeout(PAUSE);
        Ok(stream)
    }

    fn read_all(&mut self, stream: &mut EventStream, goal: &Goal) {
        let mut timeouts = 0;
        while !self.is_done(goal) {
            match self.read(stream) {
                Ok(_event) => timeouts = 0,
                // A state that advanced without an event shows after a reconnect.
                Err(Failure::TimedOut) if goal.get().is_some() && timeouts > 20 => return,
                Err(Failure::TimedOut) => timeouts += 1,
                Err(_end) => return,
            }
        }
    }

    /// Reads the next event, and returns its name.
    pub fn read(&mut self, stream: &mut EventStream) -> Result<String, Failure> {
        let event = stream.wait()?;
        self.apply(&event);
        Ok(event.name)
    }

    fn apply(&mut self, event: &Event) {
        let id = event.id.as_ref().map(|id| id.parse::<i64>().expect("an id is a number"));
        if event.name == "reset" {
            self.resets += 1;
        } else if id.is_some_and(|id| self.last.is_some_and(|last| id <= last)) {
            // A stream that is opened again begins with the counts, under an id that is known.
            if event.name != "unread" {
                self.repeated += 1;
                return;
            }
        }
        match event.name.as_str() {
            "message.created" => {
                let (_, message) = event.about();
                self.created.push(message);
                self.counts_due = true;
                self.copy.insert(message, event.json()["message"].take());
            }
            "message.updated" => {
                let before = self.copy.insert(event.about().1, event.json()["message"].take());
                assert!(before.is_some(), "it was never created: {event:?}");
            }
            "message.destroyed" => drop(self.copy.remove(&event.about().1)),
            "unread" => {
                self.unread = event.json()["messages"].as_i64().expect("a number");
                self.counts_due = false;
            }
            "ping" | "reset" => {}
            _ => panic!("unknown event: {event:?}"),
        }
        self.last = id.or(self.last);
    }
}
