//! What changed since a number of a mailbox: exact, however long ago it was, however large a page.

use std::collections::BTreeMap;

use domain::changes::{self, ChangeKind, Changes};
use domain::messages::{self, Marks};
use domain::{Error, MessageId, Result, Time, UserId, purge, unread};

use crate::support::World;

/// What a mailbox holds: of each message the number at which it last changed.
type Seen = BTreeMap<i64, i64>;

/// A mailbox in which much has happened, and what it held at each of its numbers.
struct Past {
    world: World,
    ann: UserId,
    bob: UserId,
    seen: BTreeMap<i64, Seen>,
}

impl Past {
    fn new() -> Self {
        let world = World::new();
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let mut past = Self { world, ann, bob, seen: BTreeMap::new() };
        past.look();
        past
    }

    /// Bob sends so many messages; some are read, put away, thrown away or destroyed later, one is
    /// answered.
    fn fill(&mut self, messages: usize) {
        let ids: Vec<_> = (0..messages).map(|_| self.send()).collect();
        for (at, id) in ids.into_iter().enumerate() {
            let (ann, yes) = (self.ann, Some(true));
            let marks = match at % 7 {
                0 => Marks { read: yes, ..Marks::default() },
                1 => Marks { archived: yes, ..Marks::default() },
                2 => Marks { trashed: yes, ..Marks::default() },
                3 => {
                    self.world
                        .write(move |tx, cx| messages::delete(tx, cx, ann, id))
                        .expect("it is there");
                    self.look();
                    continue;
                }
                4 => {
                    self.world.reply(self.ann, id, "an answer");
                    self.look();
                    continue;
                }
                _ => continue,
            };
            self.world.mark(ann, id, marks);
            self.look();
        }
    }

    fn send(&mut self) -> MessageId {
        let id = self.world.send(self.bob, self.ann, "hello");
        self.look();
        id
    }

    fn look(&mut self) {
        let ann = self.ann;
        let state = self.world.read(move |tx, _cx| Ok(unread::counts(tx, ann)?.modseq));
        let now = "SELECT message_id, coalesce(changed_modseq, created_modseq) FROM entries
             WHERE owner_id = 1";
        let now = self.world.rows(now, |row| Ok((row.int(0)?, row.int(1)?)));
        self.seen.insert(state, now.into_iter().collect());
    }

    fn since(&self, since: i64, limit: usize) -> Result<Changes> {
        let ann = self.ann;
        self.world.read(move |tx, _cx| Ok(changes::since(tx, ann, since, limit)))
    }

    /// Goes on from a number, a page at a time, to the present.
    fn walk(&self, since: i64, limit: usize) -> Seen {
        let (mut copy, mut state) = (self.seen[&since].clone(), since);
        let now = self.seen.last_key_value().expect("it was looked at").1;
        loop {
            let page = self.since(state, limit).expect("it is known");
            assert!(page.changes.len() <= limit);
            for change in &page.changes {
                let id = change.message.get();
                if change.kind() == ChangeKind::Destroyed {
                    copy.remove(&id);
                } else {
                    let entry = change.entry.expect("it is there");
                    assert_eq!(Some(&entry.changed_modseq), now.get(&id));
                    copy.insert(id, entry.changed_modseq);
                }
            }
            if !page.has_more() {
                return copy;
            }
            assert!(page.until > state, "it goes on");
            state = page.until;
        }
    }

    fn statements(&self, since: i64) -> u64 {
        let ann = self.ann;
        self.world.read(move |tx, _cx| {
            changes::since(tx, ann, since, 50)?;
            Ok(tx.statements())
        })
    }
}

#[test]
fn from_every_state_and_with_every_page_the_present_is_reached() {
    let mut past = Past::new();
    past.fill(90);
    let (now, holds) = past.seen.last_key_value().expect("it was looked at");
    assert!(*now > 130, "far more than are looked at at once: {now}");
    for since in past.seen.keys().copied() {
        for limit in [1, 2, 7, 100].into_iter().filter(|limit| since % 13 == 0 || *limit > 9) {
            assert_eq!(past.walk(since, limit), *holds, "from {since} by {limit}");
        }
    }
}

#[test]
fn a_number_at_which_nothing_happened_is_no_reason_to_stop() {
    let mut past = Past::new();
    let id = past.send();
    let since = *past.seen.last_key_value().unwrap().0;
    past.world.mark_read(past.ann, id);
    for _ in 0..1200 {
        // Reading it again advances the modseq, and that is all.
        past.world.mark_read(past.ann, id);
    }
    past.send();
    let found = past.since(since, 50).unwrap();
    let kinds: Vec<_> = found.changes.iter().map(changes::Change::kind).collect();
    let first: Vec<_> = kinds.iter().copied().take(1).collect();
    assert_eq!(first, [ChangeKind::Updated]);
    assert_eq!(past.walk(since, 1), *past.seen.last_key_value().unwrap().1);
}

#[test]
fn what_came_and_went_in_between_is_not_told() {
    let mut past = Past::new();
    let since = *past.seen.last_key_value().unwrap().0;
    let (ann, id) = (past.ann, past.send());
    past.world.write(move |tx, cx| messages::delete(tx, cx, ann, id)).unwrap();
    let found = past.since(since, 50).unwrap();
    assert_eq!((found.changes.len(), found.has_more()), (0, false));
    assert_eq!(found.until, since + 2);
}

#[test]
fn the_common_case_needs_few_statements_and_the_worst_a_bounded_number() {
    let mut past = Past::new();
    past.fill(600);
    let now = *past.seen.last_key_value().unwrap().0;
    assert_eq!(past.statements(now), 1, "nothing is new");
    past.send();
    assert_eq!(past.statements(now), 2, "a message came");
    let id = past.send();
    past.world.mark(past.ann, id, Marks { read: Some(true), ..Marks::default() });
    assert_eq!(past.statements(now), 3, "two came, and one of them was read");
    for since in [0, 1, now / 3, now / 2, now - 100] {
        let statements = past.statements(since);
        assert!(statements <= 20, "{statements} since {since}");
    }
}

#[test]
fn a_state_that_never_was_and_one_that_is_forgotten_are_refused() {
    let mut past = Past::new();
    let (ann, id) = (past.ann, past.send());
    past.world.write(move |tx, cx| messages::delete(tx, cx, ann, id)).unwrap();
    past.world.wait(30 * Time::DAY - Time::SECOND);
    let forget = |past: &Past| past.world.write(|tx, cx| purge::tombstones(tx, cx, 10)).unwrap();
    assert_eq!(forget(&past), 0, "it is kept for 30 days");
    past.world.wait(2 * Time::SECOND);
    assert_eq!(forget(&past), 1);
    assert_eq!(forget(&past), 0);
    assert_eq!(past.since(1, 50), Err(Error::ChangesForgotten));
    assert_eq!(past.since(3, 50), Err(Error::ChangesForgotten), "nobody was ever there");
    assert!(past.since(2, 50).unwrap().changes.is_empty());
}

#[test]
fn what_is_forgotten_in_one_mailbox_is_not_forgotten_in_another() {
    let past = Past::new();
    let (ann, bob) = (past.ann, past.bob);
    for (owner, days) in [(ann, 31), (bob, 0)] {
        for _ in 0..3 {
            let id = past.world.send(owner, owner, "hello");
            past.world.delete(owner, id).unwrap();
        }
        past.world.wait(days * Time::DAY);
    }
    let forgotten = "SELECT purged_modseq FROM mailboxes ORDER BY owner_id";
    let forgotten = || past.world.rows(forgotten, |row| row.int(0));
    let forget = || past.world.write(|tx, cx| purge::tombstones(tx, cx, 2)).unwrap();
    // A few at a time, so that nobody waits long.
    assert_eq!((forget(), forgotten()), (2, vec![4, 0]));
    assert_eq!((forget(), forgotten()), (1, vec![6, 0]));
    assert_eq!(forget(), 0);
    assert_eq!(past.world.number("SELECT count(*) FROM tombstones"), 3);
}
