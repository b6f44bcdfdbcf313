//! Holds what webhooks are told to what the step changed in the model.

use domain::webhooks::EventKind;
use domain::{ConversationId, MessageId, UserId};
use proptest::prop_assert_eq;

use super::state::Mailbox;
use super::{History, Holds};

/// What an event says, but for its number and its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct News {
    kind: &'static str,
    user: Option<i64>,
    message: Option<(i64, i64)>,
    from: Option<i64>,
    to: Option<String>,
}

impl News {
    fn of_user(kind: EventKind, user: UserId) -> Self {
        let user = Some(user.get());
        Self { kind: kind.name(), user, message: None, from: None, to: None }
    }

    fn of_message(
        kind: EventKind,
        id: MessageId,
        conversation: ConversationId,
        from: UserId,
    ) -> Self {
        let message = Some((id.get(), conversation.get()));
        Self { kind: kind.name(), user: None, message, from: Some(from.get()), to: None }
    }
}

impl History {
    /// Each thing that happened was told once, and nothing else was. What an erased user held goes
    /// without a word.
    pub(super) fn compare_news(&mut self, silent: bool) -> Holds {
        let mut told = self.told_now();
        let mut happened = if silent { Vec::new() } else { self.happened() };
        told.sort();
        happened.sort();
        prop_assert_eq!(told, happened);
        self.compare_counts(silent)
    }

    /// Whose unread counts may have changed is noted to be told, and nobody else.
    fn compare_counts(&mut self, silent: bool) -> Holds {
        let noted = "SELECT owner_id FROM unread_changes WHERE pending = 1 ORDER BY owner_id";
        let mut noted = self.world.rows(noted, |row| row.int(0));
        // What of an erased user's is withdrawn before it is purged.
        let erased = self.model.mailboxes.iter().filter(|(_, mailbox)| mailbox.erased);
        let erased: Vec<_> = erased.map(|(owner, _)| owner.get()).collect();
        noted.retain(|owner| !erased.contains(owner));
        self.world.sql("DELETE FROM unread_changes");
        let mut changed = Vec::new();
        for (owner, then) in &self.before.mailboxes {
            let now = &self.model.mailboxes[owner];
            let counted = |mailbox: &Mailbox| {
                let counted = mailbox.held.iter().filter(|(_, held)| held.counts());
                counted.map(|(id, _)| *id).collect::<Vec<_>>()
            };
            if !now.erased && !silent && counted(then) != counted(now) {
                changed.push(owner.get());
            }
        }
        prop_assert_eq!(noted, changed);
        Ok(())
    }

    fn told_now(&mut self) -> Vec<News> {
        let all = self.world.rows(
            "SELECT kind, user_id, message_id, conversation_id, sender_id, recipients, pending
             FROM webhook_events ORDER BY id",
            |row| {
                assert_eq!(row.int(6)?, 1, "nobody has looked at it yet");
                let kind = EventKind::ALL.into_iter().find(|kind| Ok(*kind as i64) == row.int(0));
                Ok(News {
                    kind: kind.expect("it is known").name(),
                    user: row.opt_int(1)?,
                    message: row.opt_int(2)?.zip(row.opt_int(3)?),
                    from: row.opt_int(4)?,
                    to: row.opt_text(5)?.map(str::to_owned),
                })
            },
        );
        let new = all[self.told..].to_vec();
        self.told = all.len();
        new
    }

    fn happened(&self) -> Vec<News> {
        let mut happened = Vec::new();
        for (id, sent) in &self.model.sent {
            if !self.before.sent.contains_key(id) {
                let to: Vec<_> = sent.to.iter().map(|to| to.get().to_string()).collect();
                let news =
                    News::of_message(EventKind::MessageCreated, *id, sent.conversation, sent.from);
                happened.push(News { to: Some(to.join(",")), ..news });
            }
        }
        for (owner, then) in &self.before.mailboxes {
            let now = &self.model.mailboxes[owner];
            if now.erased && !then.erased {
                happened.push(News::of_user(EventKind::UserErased, *owner));
            }
            for (id, held) in &then.held {
                let kind = match now.held.get(id) {
                    None => EventKind::MessageDestroyed,
                    Some(now) if now.was_read && !held.was_read => EventKind::MessageRead,
                    Some(_) => continue,
                };
                let sent = &self.before.sent[id];
                let news = News::of_message(kind, *id, sent.conversation, sent.from);
                happened.push(News { user: Some(owner.get()), ..news });
            }
        }
        happened
    }
}
