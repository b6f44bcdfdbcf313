//! Who is reminded of what, when, and how often.

use std::num::NonZeroI64;

use domain::digests::{Digest, DigestLine, NextDigest};
use domain::entries::Folder;
use domain::messages::Marks;
use domain::reminders::{self, Claim, SendFailure};
use domain::users;
use domain::users::ProfileChange;
use domain::{MessageId, Time, UserId, Wanted, digests, sessions};

use crate::support::{World, draft};

/// After how long somebody is reminded.
const AFTER: NonZeroI64 = NonZeroI64::new(Time::HOUR).unwrap();

impl World {
    /// A server that reminds.
    fn reminding() -> Self {
        let world = Self::new();
        world.want(Wanted { reminders: true, ..Wanted::default() });
        world
    }

    /// All mails that are due now.
    fn reminders(&self) -> Vec<Digest> {
        let mut due = Vec::new();
        loop {
            match self.write(|tx, cx| digests::next(tx, cx, AFTER)).expect("it can be asked") {
                NextDigest::NoneDue => break,
                NextDigest::Skipped => {}
                NextDigest::Send(reminder) => due.push(*reminder),
            }
        }
        let waits = self.read(|tx, cx| reminders::is_due(tx, cx.now, AFTER.get()));
        assert!(!waits, "all who are due were looked at");
        due
    }

    /// Who is reminded now.
    fn reminded(&self) -> Vec<UserId> {
        self.reminders().into_iter().map(|reminder| reminder.claim.owner).collect()
    }

    /// The one mail that is due.
    fn reminder(&self) -> Digest {
        let mut due = self.reminders();
        assert_eq!(due.len(), 1, "{due:?}");
        due.remove(0)
    }

    fn fail(&self, reminder: &Digest, failure: SendFailure) -> bool {
        let reminder = reminder.clone();
        let failed = self
            .write(move |tx, cx| reminders::failed(tx, cx, &reminder.claim, failure, AFTER.get()));
        failed.expect("it can be noted")
    }

    fn switch(&self, user: UserId, on: bool) {
        self.write(move |tx, cx| users::set_reminders(tx, cx, user, on)).expect("it never fails");
    }

    /// As an open stream does it.
    fn stream_is_open(&self, user: UserId) {
        let (now, user) = (self.now(), user);
        self.write(move |tx, _cx| {
            let sql = "UPDATE sessions SET last_seen_at = ?2 WHERE user_id = ?1";
            Ok(tx.execute(sql, &db::params![user, now])?)
        })
        .expect("it can be noted");
    }

    /// Who is waited for, or was reminded.
    fn waited_for(&self) -> Vec<i64> {
        self.rows("SELECT owner_id FROM reminders ORDER BY owner_id", |row| row.int(0))
    }
}

fn trio(world: &World) -> (UserId, UserId, UserId) {
    (world.user("ann"), world.user("bob"), world.user("cid"))
}

#[test]
fn what_stays_unread_for_the_time_is_reminded_of_once() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    let sent_at = world.now();
    let first = world.try_send(ann, draft(bob, "the first", "secret")).unwrap();
    world.wait(Time::MINUTE);
    world.try_send(cid, draft(bob, "the second", "secret")).unwrap();
    world.wait(Time::HOUR - Time::MINUTE - 1);
    assert_eq!(world.reminders(), []);
    world.wait(1);
    let waiting = |sender: &str, subject: &str| DigestLine {
        sender: sender.to_owned(),
        subject: subject.to_owned(),
    };
    let expected = Digest {
        claim: Claim { owner: bob, message: first, since: sent_at, attempt: 1 },
        email: "somebody@example.org".to_owned(),
        name: "bob".to_owned(),
        unread: 2,
        messages: vec![waiting("ann", "the first"), waiting("cid", "the second")],
    };
    assert_eq!(world.reminders(), [expected]);
    for _ in 0..3 {
        world.wait(Time::DAY);
        world.send(ann, bob, "another");
        assert_eq!(world.reminders(), [], "none again until the user has been back");
    }
}

#[test]
fn a_reminder_names_the_oldest_and_counts_all() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    for number in 0..8 {
        world.try_send(ann, draft(bob, &number.to_string(), "")).unwrap();
    }
    world.wait(Time::HOUR);
    let reminder = world.reminder();
    let named: Vec<_> = reminder.messages.into_iter().map(|waiting| waiting.subject).collect();
    assert_eq!((reminder.unread, named.join("")), (8, "01234".to_owned()));
}

#[test]
fn where_nobody_wants_reminders_nothing_is_written() {
    let world = World::new();
    let (ann, bob, _) = trio(&world);
    world.send(ann, bob, "hello");
    world.log_in("bob");
    assert_eq!(world.waited_for(), [0; 0]);
}

#[test]
fn a_sender_gets_no_reminder_of_a_message_to_oneself() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    world.send(ann, ann, "a note");
    assert_eq!(world.waited_for(), [0; 0]);
    world.send_to(ann, &[cid, ann, bob], "to all");
    assert_eq!(world.waited_for(), [bob.get(), cid.get()]);
    world.wait(Time::HOUR);
    assert_eq!(world.reminded(), [bob, cid]);
}

/// What somebody does about a message from ann to bob.
type Way = fn(&World, UserId, UserId, MessageId);

#[test]
fn reading_it_cancels_and_so_does_every_way_out_of_the_inbox() {
    let mark = |marks: fn(&mut Marks)| {
        let mut all = Marks::default();
        marks(&mut all);
        all
    };
    let ways: [Way; 4] = [
        |world, _ann, bob, id| world.mark_read(bob, id),
        |world, _ann, bob, id| world.delete(bob, id).unwrap(),
        |world, ann, _bob, id| world.delete(ann, id).unwrap(),
        |world, _ann, bob, _id| world.disable(bob),
    ];
    for way in ways {
        let world = World::reminding();
        let (ann, bob, _) = trio(&world);
        let id = world.send(ann, bob, "hello");
        way(&world, ann, bob, id);
        world.wait(Time::HOUR);
        assert_eq!(world.reminders(), []);
        assert_eq!(world.waited_for(), [0; 0]);
    }
    for marks in [mark(|all| all.archived = Some(true)), mark(|all| all.trashed = Some(true))] {
        let world = World::reminding();
        let (ann, bob, _) = trio(&world);
        let id = world.send(ann, bob, "hello");
        assert_ne!(world.mark(bob, id, marks).entry.folder(), Folder::Inbox);
        world.wait(Time::HOUR);
        assert_eq!(world.reminders(), []);
    }
}

#[test]
fn the_time_of_a_later_message_is_its_own() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    let first = world.send(ann, bob, "soon read");
    world.wait(50 * Time::MINUTE);
    let second = world.send(ann, bob, "not read");
    world.mark_read(bob, first);
    world.wait(10 * Time::MINUTE);
    assert_eq!(world.reminders(), []);
    world.wait(50 * Time::MINUTE - 1);
    assert_eq!(world.reminders(), []);
    world.wait(1);
    assert_eq!(world.reminder().claim.message, second);
}

#[test]
fn who_is_seen_is_waited_for_no_more() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    let key = world.log_in("bob");
    let token = world.token(bob);
    let ways: [&dyn Fn(&World); 3] =
        [&|world| world.seen(key), &|world| world.used(token), &|world| {
            world.log_in("bob");
        }];
    for way in ways {
        world.wait(Time::HOUR);
        world.send(ann, bob, "hello");
        world.wait(Time::MINUTE);
        assert_eq!(world.waited_for(), [bob.get()]);
        way(&world);
        assert_eq!(world.waited_for(), [0; 0]);
        world.wait(2 * Time::HOUR);
        assert_eq!(world.reminders(), [], "bob has seen it");
        world.send(ann, bob, "since bob was there");
        world.wait(Time::HOUR);
        assert_eq!(world.reminded(), [bob]);
        world.send(ann, bob, "more");
        world.wait(Time::HOUR);
        assert_eq!(world.reminders(), []);
        world.wait(Time::MINUTE);
        way(&world);
    }
}

#[test]
fn a_user_with_an_open_stream_is_not_away() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    world.log_in("bob");
    world.wait(Time::HOUR);
    world.send(ann, bob, "seen in the stream");
    world.wait(Time::HOUR);
    world.stream_is_open(bob);
    world.wait(Time::MINUTE);
    assert_eq!(world.reminders(), []);
    assert_eq!(world.waited_for(), [0; 0]);

    let one = world.send(ann, bob, "seen in the stream");
    world.wait(30 * Time::MINUTE);
    world.stream_is_open(bob);
    world.wait(10 * Time::MINUTE);
    let other = world.send(ann, bob, "after its end");
    world.wait(20 * Time::MINUTE);
    assert_eq!(world.reminders(), []);
    world.wait(40 * Time::MINUTE);
    let reminder = world.reminder();
    assert_eq!((reminder.claim.message, reminder.messages.len()), (other, 1));
    assert!(one < other);
}

#[test]
fn a_session_that_was_last_used_before_is_no_sign_of_presence() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    let key = world.log_in("bob");
    world.seen(key);
    world.wait(1);
    world.send(ann, bob, "just after bob left");
    world.wait(Time::HOUR);
    assert_eq!(world.reminded(), [bob]);
}

#[test]
fn a_muted_conversation_and_a_blocked_sender_remind_nobody() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    let muted = world.send(ann, bob, "a long story");
    world.mute(bob, muted.begins(), true).unwrap();
    world.reply(ann, muted, "and more of it");
    world.send(cid, bob, "a nuisance");
    world.block(bob, cid);
    world.wait(30 * Time::MINUTE);
    let other = world.send(ann, bob, "something else");
    world.wait(30 * Time::MINUTE);
    assert_eq!(world.reminders(), []);
    world.wait(30 * Time::MINUTE);
    let reminder = world.reminder();
    assert_eq!((reminder.claim.message, reminder.messages.len()), (other, 1));
    assert_eq!(reminder.unread, 4, "the count is that of the inbox");
}

#[test]
fn who_switched_them_off_gets_none_and_the_profile_says_so() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    assert!(world.profile(bob).unwrap().reminders);
    world.send_to(ann, &[bob, cid], "hello");
    let off = ProfileChange { reminders: Some(false), ..ProfileChange::default() };
    world.update(bob, off.clone()).unwrap();
    world.switch(cid, false);
    assert_eq!(world.waited_for(), [0; 0]);
    for user in [bob, cid] {
        assert!(!world.profile(user).unwrap().reminders);
    }
    world.update(bob, off).unwrap();
    world.switch(cid, false);
    world.send_to(ann, &[bob, cid], "hello again");
    world.wait(Time::HOUR);
    assert_eq!(world.reminders(), []);
    let on = ProfileChange { reminders: Some(true), ..ProfileChange::default() };
    world.update(bob, on).unwrap();
    world.switch(cid, true);
    world.send_to(ann, &[bob, cid], "and again");
    world.wait(Time::HOUR);
    assert_eq!(world.reminded(), [bob, cid]);
}

#[test]
fn what_was_not_taken_is_tried_six_times_within_about_a_day() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    let first = world.send(ann, bob, "hello");
    world.wait(Time::HOUR);
    let mut pauses = Vec::new();
    for attempt in 1..=6 {
        let reminder = world.reminder();
        assert_eq!((reminder.claim.message, reminder.claim.attempt), (first, attempt));
        assert_eq!(world.reminders(), [], "nobody else takes it meanwhile");
        if !world.fail(&reminder, SendFailure::Temporary) {
            break;
        }
        assert_eq!(world.reminders(), []);
        let mut minutes = 0;
        while !world.read(|tx, cx| reminders::is_due(tx, cx.now, AFTER.get())) {
            world.wait(Time::MINUTE);
            minutes += 1;
        }
        pauses.push(minutes);
    }
    assert_eq!(pauses, [5, 20, 80, 320, 1280]);
    world.wait(10 * Time::DAY);
    assert_eq!(world.reminders(), []);
}

#[test]
fn what_was_not_tried_is_as_it_was() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    world.send(ann, bob, "hello");
    world.wait(Time::HOUR);
    let reminder = world.reminder();
    for _ in 0..10 {
        assert!(world.fail(&reminder, SendFailure::NotAttempted));
        assert_eq!(world.reminder(), reminder);
    }
    assert!(world.fail(&reminder, SendFailure::NotAttempted));
    world.wait(3 * Time::DAY + 1);
    assert_eq!(world.reminders(), [], "it is too late in the end");
}

#[test]
fn what_may_have_been_taken_is_tried_once_more() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    let first = world.send(ann, bob, "hello");
    world.wait(Time::HOUR);
    assert!(world.fail(&world.reminder(), SendFailure::Unknown));
    world.wait(5 * Time::MINUTE);
    let again = world.reminder();
    assert_eq!(again.claim.message, first, "it is the same mail");
    for failure in [SendFailure::Unknown, SendFailure::Temporary] {
        assert!(!world.fail(&again, failure));
    }
    world.wait(10 * Time::DAY);
    assert_eq!(world.reminders(), []);
}

#[test]
fn a_failed_try_is_forgotten_if_the_user_was_back_meanwhile() {
    let world = World::reminding();
    let (ann, bob, _) = trio(&world);
    world.send(ann, bob, "hello");
    world.wait(Time::HOUR);
    let reminder = world.reminder();
    world.log_in("bob");
    assert!(!world.fail(&reminder, SendFailure::Temporary));
    world.wait(Time::MINUTE);
    let next = world.send(ann, bob, "since then");
    assert!(!world.fail(&reminder, SendFailure::Temporary));
    world.wait(Time::HOUR);
    let reminder = world.reminder();
    assert_eq!((reminder.claim.message, reminder.claim.attempt), (next, 1));
}

#[test]
fn what_is_days_late_reminds_of_nothing() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    world.send(ann, bob, "before a long standstill");
    world.wait(2 * Time::HOUR);
    world.send(ann, cid, "the same, but later");
    world.wait(3 * Time::DAY);
    assert_eq!(world.reminded(), [cid]);
    assert_eq!(world.waited_for(), [cid.get()]);
    world.send(ann, bob, "a new one");
    world.wait(Time::HOUR);
    assert_eq!(world.reminded(), [bob]);
}

#[test]
fn nothing_is_left_of_who_is_erased() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    world.send_to(ann, &[bob, cid], "hello");
    world.switch(bob, false);
    world.write(move |tx, cx| users::erase(tx, cx, bob)).unwrap();
    world.write(move |tx, cx| users::erase(tx, cx, cid)).unwrap();
    assert_eq!(world.waited_for(), [0; 0]);
    world.switch(bob, false);
    let off = "SELECT count(*) FROM users WHERE reminders_off_at IS NOT NULL";
    assert_eq!(world.number(off), 0);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_send_that_reminds_needs_one_statement_more() {
    let world = World::reminding();
    let (ann, bob, cid) = trio(&world);
    let count = |to: UserId| {
        let draft = draft(to, "", "");
        let counted = world.write(move |tx, cx| {
            domain::sending::send(tx, cx, ann, &draft, None)?;
            Ok(tx.statements())
        });
        counted.unwrap()
    };
    count(bob);
    count(cid);
    let reminding = count(bob);
    world.want(Wanted::default());
    assert_eq!(reminding, count(bob) + 1);
    let key = world.log_in("bob");
    world.wait(sessions::SEEN_EVERY);
    let seen = |world: &World| {
        let counted = world.write(move |tx, cx| {
            sessions::seen(tx, cx, &key)?;
            Ok(tx.statements())
        });
        counted.unwrap()
    };
    let alone = seen(&world);
    world.want(Wanted { reminders: true, ..Wanted::default() });
    assert_eq!(seen(&world), alone + 1);
}
