//! Server-sent events on the wire (HTML Standard, section 9.2).
//!
//! Not axum's `Sse`: it sends each event as a chunk of its own, from a buffer of its own, and its
//! `Event` cannot be written to anything else. Here a piece of 50 changes is one chunk.

use std::fmt::Write as _;

use bytes::Bytes;
use domain::MessageId;
use domain::changes::{ChangeKind, ChangesWithMessages};
use domain::envelopes::BodyPart;
use domain::unread;

use crate::http::json::{IfAny, WriteJson, by_serde, write_members};
use crate::http::v1::changes::Unread;
use crate::http::v1::view::{MessageItem, People};

pub(super) const PING: Bytes = Bytes::from_static(b"event: ping\ndata: {}\n\n");

/// A newer stream has taken the place of this one, which does not come back by itself.
pub(super) const DISPLACED: Bytes = Bytes::from_static(b"event: displaced\ndata: {}\n\n");

/// The first block of a stream: how long a client waits before it reconnects. Clients keep it for
/// good, so no other one follows.
pub(super) fn retry(milliseconds: u32) -> Bytes {
    format!("retry: {milliseconds}\n\n").into()
}

/// What ends a line for somebody, and how JSON says it within a line. Metadata is passed on as it
/// was written, with line breaks; the first two separate the tokens of its JSON and are never in a
/// text. The others are no line breaks in this format, but several clients take them for such.
const LINE_BREAKS: [(char, &str); 5] = [
    ('\n', " "),
    ('\r', " "),
    ('\u{85}', "\\u0085"),
    ('\u{2028}', "\\u2028"),
    ('\u{2029}', "\\u2029"),
];

/// What most events fit into.
const USUAL_EVENT: usize = 768;

/// A piece ends after so many bytes, at the next change that can be resumed from. It is what a
/// stream holds in memory for a client that does not read.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Frames {
    pub(super) text: String,
    pub(super) count: u64,
}

struct MessageEvent<'a> {
    id: i64,
    /// Unless it was destroyed.
    message: IfAny<MessageItem<'a>>,
}

write_members!(MessageEvent: id message);

impl Frames {
    /// The changes in their order, as many as fit into [`PIECE_BYTES`]; returns the modseq up to
    /// which they are complete. The last event of a modseq has it as its id, and the very last one
    /// that which is returned.
    pub(super) fn changes(&mut self, found: ChangesWithMessages, part: BodyPart) -> i64 {
        let people = People::new(found.people);
        let changes = &found.changes.changes;
        let item = |id: MessageId| {
            let message = found.messages.iter().find(|message| message.entry.message == id)?;
            Some(MessageItem::with(message, &people, part))
        };
        for (at, change) in changes.iter().enumerate() {
            let id = match changes.get(at + 1) {
                Some(next) if next.modseq == change.modseq => None,
                Some(_later) => Some(change.modseq),
                None => Some(found.changes.until),
            };
            let name = match change.kind() {
                ChangeKind::Created => "message.created",
                ChangeKind::Updated => "message.updated",
                ChangeKind::Destroyed => "message.destroyed",
            };
            let (message, item) = (change.message, item(change.message));
            let event = MessageEvent { id: message.get(), message: IfAny(item) };
            let mut json = Vec::with_capacity(USUAL_EVENT);
            event.write(&mut json);
            self.event(name, id, json);
            if let Some(until) = id.filter(|_| self.text.len() >= PIECE_BYTES) {
                return until;
            }
        }
        found.changes.until
    }

    /// The unread counts, with the state that they are of.
    pub(super) fn unread(&mut self, now: unread::UnreadCounts) {
        let mut json = Vec::new();
        by_serde(&Unread::from(now), &mut json);
        self.event("unread", Some(now.modseq), json);
    }

    /// The missed changes are no longer known: the client has to load everything again.
    pub(super) fn reset(&mut self, state: i64) {
        self.event("reset", Some(state), format!("{{\"state\":\"{state}\"}}").into());
    }

    fn event(&mut self, name: &str, id: Option<i64>, json: Vec<u8>) {
        let mut data = String::from_utf8(json).expect("JSON is UTF-8");
        for (character, written) in LINE_BREAKS {
            if data.contains(character) {
                data = data.replace(character, written);
            }
        }
        writeln!(self.text, "event: {name}").expect("it is a string");
        if let Some(id) = id {
            writeln!(self.text, "id: {id}").expect("it is a string");
        }
        writeln!(self.text, "data: {data}\n").expect("it is a string");
        self.count += 1;
    }
}
