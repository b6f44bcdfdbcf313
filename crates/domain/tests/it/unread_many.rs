//! The unread counts of many users: asked for, listed, and told of as they change.

use domain::messages::Marks;
use domain::unread::many::{self, Unread, UnreadFilter};
use domain::unread::{self, UnreadCounts};
use domain::webhooks::{EventKind, EventKinds};
use domain::{MessageId, Time, UserId, Wanted, conversations, users};

use crate::support::{World, nobody};

const ALL: UnreadFilter = UnreadFilter { least: 1, oldest_before: None };

impl World {
    fn unread_of(&self, users: &[UserId]) -> Vec<Unread> {
        let users = users.to_vec();
        self.read(move |tx, _cx| many::counts_of(tx, &users))
    }

    fn unread_page(
        &self,
        filter: UnreadFilter,
        after: Option<UserId>,
        limit: i64,
    ) -> (Vec<UserId>, Option<UserId>) {
        let (page, next) = self.read(move |tx, _cx| many::page(tx, filter, after, limit));
        (page.into_iter().map(|unread| unread.user.id).collect(), next)
    }

    /// What is told of now, and whether there was something to tell.
    fn told(&self) -> Vec<(UserId, UnreadCounts)> {
        let is_due = self.read(many::has_changes);
        let told = self.write(|tx, cx| many::tell_changes(tx, cx, 100)).expect("it can be told");
        let events = self.rows(
            "SELECT user_id, unread, unread_conversations, modseq FROM webhook_events
             WHERE kind = 5 ORDER BY user_id",
            |row| {
                let (messages, conversations) = (row.int(1)?, row.int(2)?);
                let counts = UnreadCounts { messages, conversations, modseq: row.int(3)? };
                Ok((UserId::new(row.int(0)?).expect("it is an id"), counts))
            },
        );
        assert_eq!((is_due, told), (!events.is_empty(), events.len()));
        self.sql("DELETE FROM webhook_events");
        events
    }

    fn marks(&self, user: UserId, id: MessageId, read: bool) {
        self.mark(user, id, Marks { read: Some(read), ..Marks::default() });
    }
}

fn trio(world: &World) -> [UserId; 3] {
    ["ann", "bob", "cid"].map(|name| world.user(name))
}

#[test]
fn the_counts_are_those_of_each_user_and_the_oldest_is_in_the_inbox() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    let first_at = world.now();
    let first = world.send(ann, bob, "first");
    world.wait(Time::HOUR);
    let second_at = world.now();
    let second = world.send(ann, bob, "second");
    world.wait(Time::HOUR);
    world.reply(ann, second, "third");
    world.send_to(ann, &[bob, cid], "fourth");
    let last_at = world.now();

    let of = |user: UserId, messages, conversations, oldest_at| {
        let user = world.read(move |tx, _cx| users::person(tx, user)).expect("there is one");
        Unread { user, messages, conversations, oldest_at }
    };
    let all = [cid, ann, nobody(), bob];
    let expected =
        [of(ann, 0, 0, None), of(bob, 4, 3, Some(first_at)), of(cid, 1, 1, Some(last_at))];
    assert_eq!(world.unread_of(&all), expected);
    world.marks(bob, first, true);
    assert_eq!(world.unread_of(&[bob]), [of(bob, 3, 2, Some(second_at))]);
    world.mark(bob, second, Marks { archived: Some(true), ..Marks::default() });
    assert_eq!(world.unread_of(&[bob, bob]), [of(bob, 2, 2, Some(last_at))], "each once");
    world.marks(bob, first, false);
    assert_eq!(world.unread_of(&[bob])[0].oldest_at, Some(first_at));
    for user in [ann, bob, cid] {
        let counts = world.read(move |tx, _cx| unread::counts(tx, user));
        let of = &world.unread_of(&[user])[0];
        assert_eq!((of.messages, of.conversations), (counts.messages, counts.conversations));
    }
}

#[test]
fn the_counts_of_two_hundred_need_as_many_statements_as_those_of_two() {
    let world = World::new();
    let ann = world.user("ann");
    let people: Vec<_> = (0..200).map(|number| world.user(&format!("user{number}"))).collect();
    for to in &people {
        world.send(ann, *to, "hello");
    }
    for length in [2, 200] {
        let asked = people[..length].to_vec();
        let (found, statements) = world.read(move |tx, _cx| {
            let found = many::counts_of(tx, &asked)?.len();
            Ok((found, tx.statements()))
        });
        assert_eq!((found, statements), (length, 1));
        let limit = i64::try_from(length).expect("it is small");
        let (found, statements) = world.read(move |tx, _cx| {
            let found = many::page(tx, ALL, None, limit)?.0.len();
            Ok((found, tx.statements()))
        });
        assert_eq!((found, statements), (length, 2));
    }
}

#[test]
fn where_something_was_read_two_more_statements_find_the_oldest() {
    let world = World::new();
    let ann = world.user("ann");
    let people: Vec<_> = (0..200).map(|number| world.user(&format!("user{number}"))).collect();
    let second_at = world.now().plus(Time::HOUR);
    for to in &people {
        world.send(ann, *to, "first");
    }
    world.wait(Time::HOUR);
    for to in &people {
        world.send(ann, *to, "second");
        let first = world.received(*to)[0];
        world.mark_read(*to, first);
    }
    for length in [2, 200] {
        let asked = people[..length].to_vec();
        let (found, statements) = world.read(move |tx, _cx| {
            let found = many::counts_of(tx, &asked)?;
            Ok((found, tx.statements()))
        });
        assert_eq!((found.len(), statements), (length, 3));
        assert!(found.iter().all(|unread| unread.oldest_at == Some(second_at)));
    }
}

#[test]
fn a_page_looks_at_ten_thousand_mailboxes_at_most() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    world.send(bob, ann, "to the first");
    world.send(bob, cid, "to the last");
    // Between them are as many as one page looks at, with nothing unread.
    assert_eq!((cid.get(), many::LOOKED_AT), (3, 10_000));
    world.sql("UPDATE users SET id = 10003 WHERE id = 3");
    world.sql("UPDATE mailboxes SET owner_id = 10003 WHERE owner_id = 3");
    world.sql("UPDATE entries SET owner_id = 10003 WHERE owner_id = 3");
    world.sql(
        "INSERT INTO mailboxes (owner_id, modseq)
         WITH RECURSIVE ids (id) AS
             (SELECT 3 UNION ALL SELECT id + 1 FROM ids WHERE id < 10002)
         SELECT id, 0 FROM ids",
    );
    let far = UserId::new(10_003).expect("it is an id");
    let last = UserId::new(many::LOOKED_AT).expect("it is an id");
    assert_eq!(world.unread_page(ALL, None, 10), (vec![ann], Some(last)));
    assert_eq!(world.unread_page(ALL, Some(last), 10), (vec![far], None));
}

#[test]
fn everybody_with_something_unread_is_on_one_page() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    let [dot, eve] = ["dot", "eve"].map(|name| world.user(name));
    assert_eq!(world.unread_page(ALL, None, 10), (vec![], None));
    for to in [bob, cid, cid, dot, eve] {
        world.wait(Time::HOUR);
        world.send(ann, to, "hello");
    }
    assert_eq!(world.unread_page(ALL, None, 10), (vec![bob, cid, dot, eve], None));
    assert_eq!(world.unread_page(ALL, None, 3), (vec![bob, cid, dot], Some(dot)));
    assert_eq!(world.unread_page(ALL, Some(dot), 3), (vec![eve], None));
    // A page that ends with the last one is followed by an empty one.
    assert_eq!(world.unread_page(ALL, None, 4).1, Some(eve));
    assert_eq!(world.unread_page(ALL, Some(eve), 4), (vec![], None));

    let two = UnreadFilter { least: 2, ..ALL };
    assert_eq!(world.unread_page(two, None, 10), (vec![cid], None));
    assert_eq!(world.unread_page(two, None, 1), (vec![cid], Some(cid)));
    let before = |hours: i64| {
        let moment = world.now().plus(-hours * Time::HOUR);
        UnreadFilter { oldest_before: Some(moment), ..ALL }
    };
    assert_eq!(world.unread_page(before(0), None, 10).0, [bob, cid, dot]);
    assert_eq!(world.unread_page(before(1), None, 10).0, [bob, cid]);
    assert_eq!(world.unread_page(before(3), None, 10).0, [bob]);
    assert_eq!(world.unread_page(before(4), None, 10).0, []);

    let read = world.received(bob)[0];
    world.mark_read(bob, read);
    world.disable(cid);
    world.write(move |tx, cx| users::erase(tx, cx, dot)).unwrap();
    assert_eq!(world.unread_page(ALL, None, 10), (vec![eve], None));
    world.enable(cid);
    world.marks(bob, read, false);
    assert_eq!(world.unread_page(ALL, None, 10), (vec![bob, cid, eve], None));
}

#[test]
fn a_change_is_told_at_once_and_the_last_state_five_seconds_later() {
    let world = World::new();
    let [ann, bob, cid] = trio(&world);
    world.want(Wanted { webhooks: EventKinds::all(), ..Wanted::default() });
    assert_eq!(world.told(), []);
    let counts = |user| world.read(move |tx, _cx| unread::counts(tx, user));
    let first = world.send(ann, bob, "one");
    assert_eq!(world.told(), [(bob, UnreadCounts { messages: 1, conversations: 1, modseq: 1 })]);
    assert_eq!(world.told(), []);

    for body in ["two", "three"] {
        world.send(ann, bob, body);
    }
    world.marks(bob, first, true);
    world.send(ann, cid, "to another");
    assert_eq!(world.told(), [(cid, counts(cid))], "bob was told of a moment ago");
    world.wait(5 * Time::SECOND - 1);
    assert_eq!(world.told(), []);
    world.wait(1);
    assert_eq!(world.told(), [(bob, counts(bob))]);
    assert_eq!((counts(bob).messages, counts(bob).conversations), (2, 2));

    let purge = || world.write(|tx, cx| many::purge_changes(tx, cx, 1)).expect("it can be purged");
    assert_eq!((purge(), purge()), (1, 0), "cid's five seconds are over");
    world.send(ann, bob, "four");
    world.wait(5 * Time::SECOND);
    assert_eq!(purge(), 0, "what is to be told is not purged");
    assert_eq!(world.told(), [(bob, counts(bob))]);
    world.wait(5 * Time::SECOND);
    assert_eq!(purge(), 1);
    assert_eq!(world.number("SELECT count(*) FROM unread_changes"), 0);
}

#[test]
fn only_what_changes_the_counts_is_told() {
    let world = World::new();
    let [ann, bob, _] = trio(&world);
    let before = world.send(ann, bob, "before");
    assert_eq!(world.number("SELECT count(*) FROM unread_changes"), 0, "nobody wanted to know");
    world.want(Wanted {
        webhooks: [EventKind::UnreadChanged].into_iter().collect(),
        ..Wanted::default()
    });
    let told = |what: &str, users: &[UserId]| {
        let told: Vec<_> = world.told().into_iter().map(|(user, _)| user).collect();
        assert_eq!(told, users, "{what}");
        world.wait(5 * Time::SECOND);
    };
    world.mark(bob, before, Marks { starred: Some(true), ..Marks::default() });
    told("a star", &[]);
    world.mark(bob, before, Marks { archived: Some(true), ..Marks::default() });
    told("out of the inbox", &[bob]);
    world.mark(bob, before, Marks { archived: Some(false), ..Marks::default() });
    told("back into it", &[bob]);
    let reply = world.reply(bob, before, "an answer");
    told("a reply", &[ann]);
    world.write(move |tx, cx| domain::messages::unsend(tx, cx, bob, reply)).unwrap();
    told("taken back", &[ann]);
    world.send(ann, ann, "to herself");
    told("to herself", &[ann]);
    world.send_to(bob, &[ann, bob], "to both");
    told("to both", &[ann, bob]);
    let id = before.begins();
    world.write(move |tx, cx| conversations::mute(tx, cx, bob, id, true)).unwrap();
    told("a mute", &[]);
    world.delete(bob, before).unwrap();
    told("deleted", &[bob]);
    world.send(ann, bob, "the last");
    world.write(move |tx, cx| users::erase(tx, cx, bob)).unwrap();
    while world.write(|tx, cx| domain::purge::erased_mailboxes(tx, cx, 100)).unwrap() > 0 {}
    told("erased", &[]);
    assert_eq!(world.number("SELECT count(*) FROM unread_changes WHERE owner_id = 2"), 0);
}
