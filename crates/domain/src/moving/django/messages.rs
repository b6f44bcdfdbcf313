//! Messages of a Django app that keeps them in one table, each to one recipient.

use std::collections::HashMap;

use db::Foreign;
use serde_json::{Map, Value, json};

use super::tables::Source;
use super::{Key, Out, People, flag, shown, time, without_nul};
use crate::base::Time;

/// After so long the trash is emptied.
const TRASH: i64 = 30 * 86_400 * 1_000_000;

pub(super) fn read<E: From<db::Error>>(
    foreign: &mut Foreign,
    source: &Source,
    people: &People,
    now: Time,
    out: &mut Out<'_, E>,
) -> Result<(), E> {
    let mut messages = Messages { source, people, now, come: Come::default() };
    let mut place = 0;
    foreign.read(&source.table, &source.columns(), |row| {
        place += 1;
        messages.take((row, place), out)
    })?;
    out.counts.messages = place;
    Ok(())
}

/// The messages that come, with when they were sent.
#[derive(Default)]
pub(super) struct Come(HashMap<Key, Time>);

impl Come {
    /// Why a message that was sent then cannot be said to answer another one.
    fn problem(&self, parent: &Key, sent_at: Time) -> Option<&'static str> {
        match self.0.get(parent) {
            None => Some("it answers a message that does not come, and comes as one of its own"),
            Some(at) if *at > sent_at.plus(Time::SLACK) => {
                Some("it was sent before what it answers, and comes as a message of its own")
            }
            Some(_) => None,
        }
    }
}

struct Messages<'s> {
    source: &'s Source,
    people: &'s People,
    now: Time,
    come: Come,
}

impl Messages<'_> {
    fn take<E>(
        &mut self,
        (row, place): (&[Option<&str>], u64),
        out: &mut Out<'_, E>,
    ) -> Result<(), E> {
        let get = |meaning| self.source.get(row, meaning);
        let id = row[0].unwrap_or("");
        let (Some(from), Some(to)) = (self.people.get(get("from")), self.people.get(get("to")))
        else {
            let detail = "its sender or its recipient has no account that comes";
            return out.note((false, id), "message_left_out", detail);
        };
        let Some(sent_at) = time(get("sent_at")) else {
            let detail = "it has no time after 1970 at which it was sent";
            return out.note((false, id), "message_left_out", detail);
        };
        let mut message = Map::new();
        message.insert("external_id".into(), id.into());
        message.insert("from".into(), from.into());
        message.insert("to".into(), json!([to]));
        for meaning in ["subject", "body"] {
            let text = without_nul(get(meaning).unwrap_or(""), id, out)?;
            message.insert(meaning.into(), text.into());
        }
        message.insert("sent_at".into(), shown(sent_at).into());
        if let Some(parent) = get("in_reply_to") {
            let problem = self.come.problem(&Key::of(parent), sent_at);
            if let Some(problem) = problem {
                out.note((false, id), "not_a_reply", problem)?;
            } else {
                message.insert("in_reply_to".into(), parent.into());
                out.counts.replies += 1;
            }
        }
        if self.source.has("in_reply_to") {
            self.come.0.insert(Key::of(id), sent_at);
        }
        let mut state = State::default();
        state.say(from, "archived_at", flag(get("from_archived")).then_some(sent_at));
        state.say(to, "archived_at", flag(get("to_archived")).then_some(sent_at));
        state.say(from, "trashed_at", self.trash(get("from_trashed_at")));
        state.say(to, "trashed_at", self.trash(get("to_trashed_at")));
        state.delete(from, flag(get("from_deleted")));
        state.delete(to, flag(get("to_deleted")));
        if get("moderation").is_some_and(|status| status != "a") {
            let detail = "no moderator has let it through: it comes for its sender only";
            out.note((false, id), "for_sender_only", detail)?;
            state.delete(to, from != to);
        }
        match (time(get("read_at")), flag(get("read"))) {
            (Some(at), _) => state.say(to, "read_at", Some(at)),
            (None, true) => state.set(to, "read_at", true.into()),
            (None, false) => {}
        }
        state.add_to(&mut message, out);
        out.counts.messages_come += 1;
        out.line(Key::of(id).number(place), "message", &Value::Object(message))
    }

    /// Since when something is in the trash. What has been there for longer than it would be here
    /// stays for as long again: nobody was told that it would go.
    fn trash(&self, at: Option<&str>) -> Option<Time> {
        let at = time(at)?;
        Some(if at.plus(TRASH) < self.now { self.now } else { at })
    }
}

/// What mailboxes say of a message, by the user.
#[derive(Default)]
pub(super) struct State(Vec<(String, Map<String, Value>)>);

impl State {
    pub(super) fn set(&mut self, user: &str, mark: &str, value: Value) {
        let found = self.0.iter().position(|(of, _)| of == user);
        let at = found.unwrap_or_else(|| {
            self.0.push((user.to_owned(), Map::new()));
            self.0.len() - 1
        });
        self.0[at].1.insert(mark.to_owned(), value);
    }

    pub(super) fn say(&mut self, user: &str, mark: &str, at: Option<Time>) {
        if let Some(at) = at {
            self.set(user, mark, shown(at).into());
        }
    }

    fn delete(&mut self, user: &str, is_deleted: bool) {
        if is_deleted {
            self.set(user, "deleted", true.into());
        }
    }

    /// Makes it the state of a message, and counts the marks.
    pub(super) fn add_to<E>(self, message: &mut Map<String, Value>, out: &mut Out<'_, E>) {
        let all = [
            ("read_at", "read"),
            ("archived_at", "archived"),
            ("trashed_at", "in the trash"),
            ("deleted", "deleted"),
        ];
        let states = self.0.into_iter().map(|(user, mut marks)| {
            for (mark, what) in all {
                if marks.contains_key(mark) {
                    out.mark(what);
                }
            }
            marks.insert("user".into(), user.into());
            Value::Object(marks)
        });
        let states: Vec<_> = states.collect();
        if !states.is_empty() {
            message.insert("state".into(), states.into());
        }
    }
}
