//! Events as the wire has them (HTML Standard, section 9.2).

use std::fmt::Write as _;

use bytes::Bytes;
use mail::MessageId;
use mail::changes::{Kind, News};
use mail::mailbox;
use serde::Serialize;

use crate::http::v1::changes::Unread;
use crate::http::v1::view::{Item, People};

/// Says that the stream is alive.
pub(super) const PING: Bytes = Bytes::from_static(b"event: ping\ndata:\n\n");

/// After how many milliseconds a client that has lost the stream comes back.
pub(super) fn retry(milliseconds: u32) -> Bytes {
    format!("retry: {milliseconds}\n\n").into()
}

/// Events of one piece.
#[derive(Default)]
pub(super) struct Frames {
    text: String,
    count: u64,
}

/// A message that came or changed.
#[derive(Serialize)]
struct Shown<'a> {
    id: i64,
    message: Item<'a>,
}

/// A message that is gone.
#[derive(Serialize)]
struct Gone {
    id: i64,
}

/// The state from which to go on after everything was loaded anew.
#[derive(Serialize)]
struct State {
    state: String,
}

impl Frames {
    /// What changed, in the order in which it did. The last event of a number has it as its id, and
    /// the last of all the number up to which they are all.
    pub(super) fn news(&mut self, news: News) {
        let people = People::new(news.people);
        let changes = &news.changes.changes;
        let item = |id: MessageId| {
            let found = news.messages.iter().find(|message| message.entry.message == id)?;
            Some(Item::of(found, &people, vec![]))
        };
        for (at, change) in changes.iter().enumerate() {
            let id = match changes.get(at + 1) {
                Some(next) if next.seq == change.seq => None,
                Some(_later) => Some(change.seq),
                None => Some(news.changes.until),
            };
            let message = change.message.get();
            let name = match change.kind() {
                Kind::Created => "message.created",
                Kind::Updated => "message.updated",
                Kind::Destroyed => "message.destroyed",
            };
            match item(change.message) {
                Some(item) => self.event(name, id, &Shown { id: message, message: item }),
                None => self.event(name, id, &Gone { id: message }),
            }
        }
    }

    /// The counts of the unread, with their state as the id where no other event has it.
    pub(super) fn unread(&mut self, now: mailbox::Unread, with_id: bool) {
        let id = with_id.then_some(now.state);
        self.event("unread", id, &Unread::from(now));
    }

    /// What was missed cannot be told: everything has to be loaded anew.
    pub(super) fn reset(&mut self, state: i64) {
        self.event("reset", Some(state), &State { state: state.to_string() });
    }

    fn event(&mut self, name: &str, id: Option<i64>, data: &impl Serialize) {
        let data = serde_json::to_string(data).expect("a view is JSON");
        // What the app keeps with a message is passed on as it was written, line breaks included;
        // they stand between the parts of the JSON, never in a text.
        let data = if data.contains(['\n', '\r']) { data.replace(['\n', '\r'], " ") } else { data };
        writeln!(self.text, "event: {name}").expect("it is a string");
        if let Some(id) = id {
            writeln!(self.text, "id: {id}").expect("it is a string");
        }
        writeln!(self.text, "data: {data}\n").expect("it is a string");
        self.count += 1;
    }

    /// How many events there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// All of them.
    pub(super) fn finish(self) -> Bytes {
        self.text.into()
    }
}
