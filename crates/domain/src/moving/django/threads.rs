//! The threads of pinax-messages, whose messages go to everybody in the thread, and whose marks are
//! of whole threads.

use std::collections::HashMap;

use db::Foreign;
use serde_json::{Map, Value};

use super::messages::State;
use super::tables::Threads;
use super::{Key, Out, People, flag, shown, time, without_nul};
use crate::base::Time;

/// A thread.
#[derive(Default)]
struct Thread {
    subject: String,
    members: Vec<Member>,
    /// Who has written in it; none where several have.
    only: Option<Key>,
    /// The message before.
    last: Option<(String, Time)>,
}

struct Member {
    user: Key,
    is_unread: bool,
    is_deleted: bool,
    /// When they wrote in it last.
    wrote_at: Option<Time>,
}

pub(super) fn read<E: From<db::Error>>(
    foreign: &mut Foreign,
    tables: &Threads,
    people: &People,
    now: Time,
    out: &mut Out<'_, E>,
) -> Result<(), E> {
    let mut threads = load(foreign, tables)?;
    let (source, mut place) = (&tables.messages, 0);
    foreign.read(&source.table, &source.columns(), |row| {
        place += 1;
        let (id, get) = (row[0].unwrap_or(""), |meaning| source.get(row, meaning));
        let thread = threads.get_mut(&Key::of(get("thread").unwrap_or("")));
        let (Some(from), Some(thread)) = (people.get(get("from")), thread) else {
            let detail = "its sender has no account that comes, or it is in no thread";
            return out.note((false, id), "message_left_out", detail);
        };
        let Some(sent_at) = time(get("sent_at")) else {
            let detail = "it has no time after 1970 at which it was sent";
            return out.note((false, id), "message_left_out", detail);
        };
        let sender = Key::of(get("from").unwrap_or(""));
        let mut to: Vec<&str> = Vec::new();
        let mut state = State::default();
        for member in thread.members.iter().filter(|member| member.user != sender) {
            let Some(user) = people.0.get(&member.user).filter(|user| !to.contains(&&***user))
            else {
                continue;
            };
            to.push(user);
            // A thread says only that something in it is unread: not what its reader has answered.
            let is_before = member.wrote_at.is_some_and(|at| sent_at <= at);
            if !member.is_unread || is_before {
                state.set(user, "read_at", true.into());
            }
            state.say(user, "trashed_at", member.is_deleted.then_some(now));
        }
        if to.is_empty() {
            let detail = "nobody else in its thread has an account that comes";
            return out.note((false, id), "message_left_out", detail);
        }
        // Who begins a thread has it marked as deleted until somebody answers: it is in no inbox.
        let has_answer = thread.only.as_ref() != Some(&sender);
        let own = thread.members.iter().find(|member| member.user == sender);
        let is_deleted = has_answer && own.is_some_and(|own| own.is_deleted);
        state.say(from, "trashed_at", is_deleted.then_some(now));
        let mut message = Map::new();
        message.insert("external_id".into(), id.into());
        message.insert("from".into(), from.into());
        message.insert("to".into(), to.into());
        message.insert("subject".into(), without_nul(&thread.subject, id, out)?.into());
        message.insert("body".into(), without_nul(get("body").unwrap_or(""), id, out)?.into());
        message.insert("sent_at".into(), shown(sent_at).into());
        match &thread.last {
            None => {}
            Some((_, at)) if *at > sent_at.plus(Time::SLACK) => {
                let detail = "it was sent before the one before it in its thread, and comes as a \
                              message of its own";
                out.note((false, id), "not_a_reply", detail)?;
            }
            Some((last, _)) => {
                message.insert("in_reply_to".into(), last.as_str().into());
                out.counts.replies += 1;
            }
        }
        thread.last = Some((id.to_owned(), sent_at));
        state.add_to(&mut message, out);
        out.counts.messages_come += 1;
        out.line(Key::of(id).number(place), "message", &Value::Object(message))
    })?;
    out.counts.messages = place;
    Ok(())
}

/// All threads with who is in them.
fn load<E: From<db::Error>>(
    foreign: &mut Foreign,
    tables: &Threads,
) -> Result<HashMap<Key, Thread>, E> {
    let mut threads = HashMap::<Key, Thread>::new();
    let source = &tables.subjects;
    foreign.read(&source.table, &source.columns(), |row| {
        let subject = source.get(row, "subject").unwrap_or("").to_owned();
        let thread = Thread { subject, ..Thread::default() };
        threads.insert(Key::of(row[0].unwrap_or("")), thread);
        Ok::<_, E>(())
    })?;
    let source = &tables.members;
    foreign.read(&source.table, &source.columns(), |row| {
        let get = |meaning| source.get(row, meaning);
        let of = |meaning| Key::of(get(meaning).unwrap_or(""));
        if let Some(thread) = threads.get_mut(&of("thread")) {
            let (is_unread, is_deleted) = (flag(get("unread")), flag(get("deleted")));
            thread.members.push(Member { user: of("user"), is_unread, is_deleted, wrote_at: None });
        }
        Ok::<_, E>(())
    })?;
    let source = &tables.messages;
    let columns = source.columns();
    let mut senders = HashMap::<Key, (Key, bool)>::new();
    foreign.read(&source.table, &columns, |row| {
        let get = |meaning| source.get(row, meaning);
        let (thread, sender) =
            (Key::of(get("thread").unwrap_or("")), Key::of(get("from").unwrap_or("")));
        if let Some(thread) = threads.get_mut(&thread) {
            let own = thread.members.iter_mut().filter(|member| member.user == sender);
            own.for_each(|own| own.wrote_at = own.wrote_at.max(time(get("sent_at"))));
        }
        let (first, is_only) = senders.entry(thread).or_insert_with(|| (sender.clone(), true));
        *is_only &= *first == sender;
        Ok::<_, E>(())
    })?;
    for (key, (sender, is_only)) in senders {
        if let (true, Some(thread)) = (is_only, threads.get_mut(&key)) {
            thread.only = Some(sender);
        }
    }
    Ok(threads)
}
