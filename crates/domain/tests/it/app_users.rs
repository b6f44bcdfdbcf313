//! Users whom the app's own server creates and changes: by external ids, in any order, at once.

use domain::credential::Credential;
use domain::text::{DisplayName, Email, ExternalId, Username};
use domain::users::{self, AcceptFrom, AppUser, Kind, Person, Put, PutStatus, UserChange};
use domain::webhooks::EventKind;
use domain::{
    Error, MessageId, NameReservation, Result, Time, UserId, UserRef, Wanted, passwords, sessions,
};

use crate::support::{World, draft, nobody, refusal, refused};

pub(crate) fn external(id: &str) -> UserRef {
    UserRef::External(ExternalId::parse(id).expect("it is an external id"))
}

fn named(name: &str) -> UserChange {
    UserChange { username: Some(Username::parse(name).ok()), ..UserChange::default() }
}

fn shown(name: &str) -> UserChange {
    UserChange { display_name: Some(DisplayName::parse(name).ok()), ..UserChange::default() }
}

fn version(version: i64, change: UserChange) -> UserChange {
    UserChange { version: Some(Some(version)), ..change }
}

fn active(active: bool) -> UserChange {
    UserChange { active: Some(active), ..UserChange::default() }
}

impl World {
    /// Creates or changes a user.
    pub(crate) fn put(&self, user: &UserRef, change: UserChange) -> Result<(AppUser, PutStatus)> {
        let put = Put { user: user.clone(), change };
        self.write(move |tx, cx| users::put(tx, cx, &put))
    }

    /// Creates a user of an external id.
    pub(crate) fn app_user(&self, id: &str) -> UserId {
        let (user, status) = self.put(&external(id), UserChange::default()).expect("it is free");
        assert_eq!(status, PutStatus::Created);
        user.person.id
    }

    fn put_all(&self, puts: Vec<(UserRef, UserChange)>) -> Vec<Result<(AppUser, PutStatus)>> {
        let puts: Vec<_> = puts.into_iter().map(|(user, change)| Put { user, change }).collect();
        self.write(move |tx, cx| users::put_all(tx, cx, &puts)).expect("nobody is in the way")
    }

    fn as_app(&self, id: UserId) -> Option<AppUser> {
        self.read(move |tx, _cx| users::app_user(tx, id))
    }

    fn link(&self, user: UserId, id: &str, end_logins: bool) -> Result<bool> {
        let id = ExternalId::parse(id)?;
        self.write(move |tx, cx| users::link(tx, cx, user, &id, end_logins))
    }

    /// The ids on all pages of a list, ascending by change.
    fn changed(&self, since: Time, active: Option<bool>, limit: i64) -> Vec<UserId> {
        let (mut all, mut after) = (Vec::new(), (since.plus(-1), i64::MAX));
        loop {
            let page = self.read(move |tx, _cx| users::changed_since(tx, after, active, limit));
            let Some(last) = page.last() else { return all };
            after = (last.updated_at, last.person.id.get());
            all.extend(page.iter().map(|user| user.person.id));
        }
    }
}

/// What was done to each.
fn statuses(done: &[Result<(AppUser, PutStatus)>]) -> Vec<Result<PutStatus>> {
    done.iter().map(|one| one.as_ref().map(|(_, status)| *status).map_err(Clone::clone)).collect()
}

#[test]
fn an_external_id_that_is_nobodys_creates_a_full_user_without_password_and_address() {
    let world = World::new();
    let (user, status) = world.put(&external("42"), UserChange::default()).unwrap();
    assert_eq!(status, PutStatus::Created);
    let id = user.person.id;
    let name = format!("user-{}", id.get());
    let expected = AppUser {
        person: Person {
            id,
            username: name.clone(),
            display_name: name.clone(),
            external_id: Some("42".to_owned()),
            kind: Kind::Person,
        },
        email: None,
        has_password: false,
        accept_from: AcceptFrom::Everyone,
        reminders: true,
        findable: true,
        version: None,
        created_at: world.now(),
        updated_at: world.now(),
        disabled_at: None,
        unread_messages: 0,
        unread_conversations: 0,
    };
    assert_eq!(user, expected);
    assert_eq!(world.as_app(id), Some(expected));
    assert_eq!(world.look_up("user-", 9), [name]);
    let bob = world.user("bob");
    world.send(bob, id, "welcome");
    world.send(id, bob, "thanks");
    assert_eq!(world.as_app(id).map(|user| user.unread_messages), Some(1));
    assert_eq!(world.profile(id).map(|profile| profile.email), Some(None));
    assert_eq!(world.problems(), []);
}

#[test]
fn everything_that_is_said_at_creation_is_kept() {
    let world = World::new();
    let change = UserChange {
        username: Some(Username::parse("Dana").ok()),
        display_name: Some(DisplayName::parse("Dana Deer").ok()),
        email: Some(Email::parse("dana@example.org").ok()),
        active: Some(false),
        accept_from: Some(Some(AcceptFrom::Known)),
        reminders: Some(Some(false)),
        findable: Some(Some(false)),
        version: Some(Some(7)),
        kind: None,
        replies: None,
        recreate: false,
    };
    let (user, _) = world.put(&external("a b/ü"), change.clone()).unwrap();
    assert_eq!(user.person.external_id.as_deref(), Some("a b/ü"));
    assert_eq!((&*user.person.username, &*user.person.display_name), ("Dana", "Dana Deer"));
    assert_eq!(user.email.as_deref(), Some("dana@example.org"));
    assert_eq!(user.disabled_at, Some(world.now()));
    assert_eq!(
        (user.accept_from, user.reminders, user.findable, user.version),
        (AcceptFrom::Known, false, false, Some(7))
    );
    assert_eq!(world.as_app(user.person.id), Some(user.clone()));
    world.wait(Time::SECOND);
    let (again, status) = world.put(&external("a b/ü"), change).unwrap();
    assert_eq!((status, again), (PutStatus::Unchanged, user));
    assert_eq!(world.problems(), []);
}

#[test]
fn what_is_left_out_stays_and_null_clears() {
    let world = World::new();
    let ann = world.app_user("1");
    let full = UserChange {
        username: Some(Username::parse("ann").ok()),
        display_name: Some(DisplayName::parse("Ann A.").ok()),
        email: Some(Email::parse("ann@example.org").ok()),
        accept_from: Some(Some(AcceptFrom::Nobody)),
        reminders: Some(Some(false)),
        findable: Some(Some(false)),
        version: Some(Some(1)),
        ..UserChange::default()
    };
    let (full, _) = world.put(&external("1"), full).unwrap();
    world.wait(Time::SECOND);
    let (renamed, status) = world.put(&UserRef::Id(ann), shown("Ann Again")).unwrap();
    assert_eq!(status, PutStatus::Updated);
    let mut expected = full;
    expected.person.display_name = "Ann Again".to_owned();
    expected.updated_at = world.now();
    assert_eq!(renamed, expected);
    assert_eq!(world.look_up("again", 9), [""; 0], "she is not findable");
    let cleared = UserChange {
        username: Some(None),
        display_name: Some(None),
        email: Some(None),
        accept_from: Some(None),
        reminders: Some(None),
        findable: Some(None),
        version: Some(None),
        ..UserChange::default()
    };
    let (cleared, _) = world.put(&UserRef::Name("ann".to_owned()), cleared).unwrap();
    assert_eq!(cleared.person.username, format!("user-{}", ann.get()));
    assert_eq!(cleared.person.display_name, cleared.person.username);
    assert_eq!((cleared.email.as_deref(), cleared.version), (None, None));
    assert_eq!((cleared.accept_from, cleared.reminders), (AcceptFrom::Everyone, true));
    assert_eq!(world.as_app(ann), Some(cleared));
    assert_eq!(world.look_up("user-", 9).len(), 1);
    assert_eq!(world.look_up("ann", 9), [""; 0], "the old words are gone");
    assert_eq!(world.problems(), []);
}

#[test]
fn an_older_version_than_before_changes_nothing() {
    let world = World::new();
    let put = |change| world.put(&external("1"), change).unwrap();
    put(version(5, shown("five")));
    let (stale, status) = put(version(4, shown("four")));
    assert_eq!((&*stale.person.display_name, status), ("five", PutStatus::Stale));
    let (same, status) = put(version(5, shown("five again")));
    assert_eq!((&*same.person.display_name, status), ("five again", PutStatus::Updated));
    let (_, status) = put(version(6, UserChange::default()));
    assert_eq!(status, PutStatus::Updated, "the version is part of it");
    let (without, status) = put(shown("without"));
    assert_eq!((without.version, status), (Some(6), PutStatus::Updated));
}

#[test]
fn only_an_external_id_creates_users_and_it_is_compared_byte_for_byte() {
    let world = World::new();
    for nobodys in [UserRef::Id(nobody()), UserRef::Name("ann".to_owned())] {
        assert_eq!(refused(world.put(&nobodys, active(true))), Error::UnknownUser);
    }
    let ids = ["ann", "Ann", "ａｎｎ", "a\u{308}", "ä", " ann", "1", "01"];
    let made: Vec<_> = ids.iter().map(|id| world.app_user(id)).collect();
    for (id, user) in ids.iter().zip(made) {
        assert_eq!(world.put(&external(id), active(true)).unwrap().0.person.id, user);
    }
    let email = UserChange { email: Some(Email::parse("x@a.example").ok()), ..active(true) };
    world.put(&external("x"), email.clone()).unwrap();
    let (other, status) = world.put(&external("y"), email).unwrap();
    assert_eq!(status, PutStatus::Created, "nobody is matched by an address: {other:?}");
}

#[test]
fn a_name_that_is_taken_or_reserved_is_refused_and_changes_nothing() {
    let world = World::new();
    world.reserve_names(NameReservation::new([7; 32], 180 * Time::DAY));
    let (bob, gone) = (world.user("Bob"), world.user("gone"));
    world.write(move |tx, cx| users::erase(tx, cx, gone)).unwrap();
    world.app_user("1");
    let before = world.number("SELECT count(*) FROM users");
    for name in ["bob", "ＢＯＢ", "gone"] {
        assert_eq!(refused(world.put(&external("1"), named(name))), Error::NameTaken, "{name}");
        assert_eq!(refused(world.put(&external("2"), named(name))), Error::NameTaken, "{name}");
    }
    for name in ["me", "ME", "user-1", "user-77", "USER-1-1"] {
        let put = [external("1"), external("2")].map(|user| world.put(&user, named(name)));
        for put in put {
            assert!(matches!(refused(put), Error::Invalid(at) if at.field == "username"), "{name}");
        }
        assert!(matches!(refused(world.try_user(name)), Error::Invalid(_)), "{name}");
    }
    for free in ["user-", "user-1a", "me2", "user", "user--1"] {
        world.user(free);
    }
    assert_eq!(world.number("SELECT count(*) FROM users"), before + 5);
    let (own, status) = world.put(&UserRef::Id(bob), named("BOB")).unwrap();
    assert_eq!((&*own.person.username, status), ("BOB", PutStatus::Updated));
    let (_, status) = world.put(&external("1"), named("user-3")).unwrap();
    assert_eq!(status, PutStatus::Unchanged, "it is the own generated name");
    assert_eq!(world.problems(), []);
}

#[test]
fn a_generated_name_that_somebody_has_from_before_is_made_another() {
    let world = World::new();
    world.user("bob");
    world.sql("UPDATE users SET name = 'User-2', name_folded = 'user-2' WHERE id = 1");
    let user = world.put(&external("1"), UserChange::default()).unwrap().0;
    assert_eq!((user.person.id.get(), &*user.person.username), (2, "user-2-2"));
}

#[test]
fn deactivating_ends_what_lets_in_closes_the_mailbox_and_keeps_the_texts() {
    let world = World::new();
    let (bob, ann) = (world.user("bob"), world.app_user("1"));
    let token: Credential = world.token(ann);
    let message: MessageId = world.send(bob, ann, "kept");
    let (off, status) = world.put(&external("1"), active(false)).unwrap();
    assert_eq!((off.disabled_at, status), (Some(world.now()), PutStatus::Updated));
    assert_eq!(world.number("SELECT count(*) FROM tokens"), 0, "{token:?}");
    refusal(world.try_send(bob, draft(ann, "", "")));
    let since = world.now();
    world.wait(Time::SECOND);
    let (still, _) = world.put(&external("1"), shown("Ann")).unwrap();
    assert_eq!(still.disabled_at, Some(since), "only `active` reactivates");
    assert_eq!(world.problems(), []);
    let (on, _) = world.put(&external("1"), active(true)).unwrap();
    assert_eq!(on.disabled_at, None);
    assert!(world.peek(ann, message).is_some());
    world.send(bob, ann, "again");
    assert_eq!(world.problems(), []);
}

#[test]
fn who_has_no_password_cannot_log_in_by_any_and_costs_the_same_work() {
    let world = World::new();
    let id = world.app_user("1");
    let name = world.person(id).unwrap().username;
    assert!(world.credentials(&name).is_none());
    assert!(world.read(move |tx, _cx| users::password_of(tx, id)).is_none());
    assert!(!passwords::verify(b"", Some("")));
    assert!(!passwords::verify(b"a password", Some("")));
    let checked = users::StoredPassword { user: id, hash: String::new() };
    let client = sessions::Client::default();
    let change = world.write(move |tx, _cx| users::set_password(tx, id, "a hash"));
    assert_eq!(change, Ok(()));
    let late =
        world.write(move |tx, cx| sessions::start(tx, cx, &checked, &[1; 32], &client, None));
    assert_eq!(refused(late), Error::AuthenticationFailed);
    assert!(world.credentials(&name).is_some());
    assert_eq!(world.as_app(id).map(|user| user.has_password), Some(true));
}

#[test]
fn an_erased_external_id_creates_nobody_until_that_is_asked_for() {
    let world = World::new();
    for names in [NameReservation::default(), NameReservation::new([7; 32], Time::DAY)] {
        world.reserve_names(names);
        let id = world.app_user("gone");
        world.write(move |tx, cx| users::erase(tx, cx, id)).unwrap();
        world.wait(400 * Time::DAY);
        for user in [external("gone"), UserRef::Id(id)] {
            assert_eq!(refused(world.put(&user, shown("back"))), Error::UserErased);
        }
        let erased = |of: UserRef| world.read(move |tx, cx| users::is_erased(tx, cx, &of));
        assert!(erased(external("gone")) && erased(UserRef::Id(id)) && !erased(external("1")));
        assert_eq!(world.as_app(id), None);
        let recreate = UserChange { recreate: true, ..shown("somebody new") };
        let (new, status) = world.put(&external("gone"), recreate.clone()).unwrap();
        assert_eq!(status, PutStatus::Created);
        assert_ne!(new.person.id, id);
        assert_eq!(world.put(&external("gone"), recreate).unwrap().1, PutStatus::Unchanged);
        assert_eq!(world.number("SELECT count(*) FROM erased_external_ids"), 0);
        let id = new.person.id;
        world.write(move |tx, cx| users::erase(tx, cx, id)).unwrap();
        let hash =
            world.rows("SELECT id_hash FROM erased_external_ids", |row| Ok(row.blob(0)?.to_vec()));
        assert_eq!(hash[0].len(), 32);
        assert!(!String::from_utf8_lossy(&hash[0]).contains("gone"));
        world.sql("DELETE FROM erased_external_ids");
    }
}

#[test]
fn who_is_put_while_they_are_erased_is_recreated_or_was_erased() {
    let world = World::new();
    for recreate in [true, false] {
        let old = world.put(&external("1"), UserChange::default()).unwrap().0.person.id;
        let change = UserChange { recreate, ..shown("Ann") };
        let put = world.meanwhile(
            move |tx, cx| users::erase(tx, cx, old),
            || world.put(&external("1"), change),
        );
        match put {
            Ok((user, status)) => {
                assert!(recreate && user.person.id != old);
                assert_eq!(status, PutStatus::Created);
            }
            Err(error) => assert_eq!((error, recreate), (Error::UserErased, false)),
        }
    }
}

#[test]
fn a_link_gives_an_account_to_the_app_and_ends_its_logins() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    world.log_in("ann");
    world.token(ann);
    assert_eq!(world.link(ann, "1", true), Ok(true));
    assert_eq!(world.person(ann).unwrap().external_id.as_deref(), Some("1"));
    assert!(world.credentials("ann").is_none());
    assert_eq!(world.number("SELECT count(*) FROM sessions"), 0);
    assert_eq!(world.number("SELECT count(*) FROM tokens"), 0);
    assert_eq!(world.link(ann, "1", true), Ok(false), "it has it already");
    assert_eq!(world.put(&external("1"), active(true)).unwrap().0.person.id, ann);

    world.log_in("bob");
    assert_eq!(world.link(bob, "2", false), Ok(true));
    assert!(world.credentials("bob").is_some());
    assert_eq!(world.number("SELECT count(*) FROM sessions"), 1);
    assert_eq!(refused(world.link(bob, "3", true)), Error::AlreadyLinked);
    assert_eq!(world.link(bob, "2", false), Ok(false), "it keeps its logins again");
    world.token(bob);
    assert_eq!(world.link(bob, "2", true), Ok(true), "it has the id, and logins to end");
    assert!(world.credentials("bob").is_none());
    assert_eq!(world.number("SELECT count(*) FROM sessions"), 0);
    assert_eq!(world.number("SELECT count(*) FROM tokens"), 0);
    assert_eq!(world.link(bob, "2", true), Ok(false));
    world.log_in("cid");
    assert_eq!(refused(world.link(cid, "1", true)), Error::ExternalIdTaken);
    assert_eq!(refused(world.link(nobody(), "4", true)), Error::UnknownUser);
    world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
    assert_eq!(refused(world.link(cid, "1", true)), Error::UserErased);
    assert_eq!(world.person(cid).unwrap().external_id, None);
    assert_eq!(world.number("SELECT count(*) FROM sessions"), 1, "a refusal ends nothing");
}

#[test]
fn of_many_users_each_gets_a_result_in_order_and_one_bad_one_fails_alone() {
    let world = World::new();
    let (bob, gone) = (world.user("bob"), world.app_user("gone"));
    world.write(move |tx, cx| users::erase(tx, cx, gone)).unwrap();
    world.put(&external("old"), version(5, shown("Old"))).unwrap();
    let done = world.put_all(vec![
        (external("1"), named("ann")),
        (external("2"), named("BOB")),
        (external("3"), UserChange::default()),
        (external("gone"), UserChange::default()),
        (external("old"), version(4, shown("Older"))),
        (external("4"), named("me")),
        (UserRef::Id(nobody()), active(true)),
        (UserRef::Id(bob), shown("Bob B.")),
        (UserRef::Name("bob".to_owned()), shown("Bob B.")),
        (external("old"), version(6, shown("New"))),
        (external("1"), named("ann2")),
        (external("5"), named("ann")),
        (external("6"), named("ann")),
    ]);
    let reserved = Error::Invalid(domain::Invalid::new(
        "username",
        "it is reserved: me, and user- with a number, cannot be chosen",
    ));
    assert_eq!(
        statuses(&done),
        [
            Ok(PutStatus::Created),
            Err(Error::NameTaken),
            Ok(PutStatus::Created),
            Err(Error::UserErased),
            Ok(PutStatus::Stale),
            Err(reserved),
            Err(Error::UnknownUser),
            Ok(PutStatus::Updated),
            Ok(PutStatus::Unchanged),
            Ok(PutStatus::Updated),
            Ok(PutStatus::Updated),
            Ok(PutStatus::Created),
            Err(Error::NameTaken),
        ]
    );
    let names = world.rows("SELECT name FROM users WHERE erased_at IS NULL ORDER BY id", |row| {
        Ok(row.text(0)?.to_owned())
    });
    assert!(names.contains(&"ann2".to_owned()) && names.contains(&"ann".to_owned()), "{names:?}");
    assert_eq!(names.len(), 5);
    assert_eq!(world.problems(), []);
}

#[test]
fn names_go_from_one_to_the_next_in_the_order_of_the_users() {
    let world = World::new();
    for (id, name) in [("1", "a"), ("2", "b"), ("3", "c")] {
        world.put(&external(id), named(name)).unwrap();
    }
    let done = world.put_all(vec![
        (external("1"), named("d")),
        (external("2"), named("a")),
        (external("3"), named("b")),
        (external("1"), named("c")),
    ]);
    assert_eq!(statuses(&done), vec![Ok(PutStatus::Updated); 4]);
    let names = world.rows("SELECT name FROM users ORDER BY id", |row| Ok(row.text(0)?.to_owned()));
    assert_eq!(names, ["c", "a", "b"]);
    let done = world.put_all(vec![(external("1"), named("a")), (external("2"), named("c"))]);
    assert_eq!(statuses(&done), vec![Err(Error::NameTaken); 2], "both are held by the other");
}

#[test]
fn the_list_is_ascending_by_change_and_no_page_misses_or_repeats_anybody() {
    let world = World::new();
    let start = world.now();
    let mut users: Vec<_> = ["a", "b", "c", "d", "e"].map(|id| world.app_user(id)).into();
    world.wait(Time::SECOND);
    let middle = world.now();
    let later = ["f", "g"].map(|id| world.app_user(id));
    users.extend(later);
    world.wait(Time::SECOND);
    for id in ["b", "f"] {
        world.put(&external(id), active(false)).unwrap();
    }
    let gone = users[0];
    world.write(move |tx, cx| users::erase(tx, cx, gone)).unwrap();
    let of = |names: &[usize]| names.iter().map(|at| users[*at]).collect::<Vec<_>>();
    for limit in [1, 2, 3, 100] {
        assert_eq!(world.changed(start, None, limit), of(&[2, 3, 4, 6, 1, 5]), "{limit}");
        assert_eq!(world.changed(middle, None, limit), of(&[6, 1, 5]), "{limit}");
        assert_eq!(world.changed(start, Some(true), limit), of(&[2, 3, 4, 6]), "{limit}");
        assert_eq!(world.changed(start, Some(false), limit), of(&[1, 5]), "{limit}");
    }
    // What a user, or the operator, changes counts as well.
    world.wait(Time::SECOND);
    let (own, other) = (users[2], users[3]);
    let name = Some(DisplayName::parse("C").ok());
    world.update(own, users::ProfileChange { display_name: name, ..Default::default() }).unwrap();
    world.disable(other);
    world.enable(users[1]);
    assert_eq!(world.changed(world.now(), None, 9), of(&[1, 2, 3]));
    world.wait(Time::SECOND);
    world.disable(other);
    world.enable(own);
    assert_eq!(world.changed(world.now(), None, 9), [], "nothing changed");
}

#[test]
fn an_event_names_the_external_ids_of_then() {
    let world = World::new();
    world.want(Wanted { webhooks: EventKind::ALL.into_iter().collect(), reminders: false });
    let (ann, bob) = (world.app_user("1 of ä"), world.user("bob"));
    let cid = world.app_user("3");
    let message = world.send_to(ann, &[bob, cid], "hello");
    world.mark_read(cid, message);
    world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
    let events = world.rows("SELECT kind, external_ids FROM webhook_events ORDER BY id", |row| {
        let mut ids: Vec<_> = row.opt_text(1)?.unwrap_or_default().lines().collect();
        ids.sort_unstable();
        Ok((row.int(0)?, ids.join(";")))
    });
    let (one, three) = (format!("{} 1 of ä", ann.get()), format!("{} 3", cid.get()));
    let both = format!("{one};{three}");
    let kind = |kind: EventKind| kind as i64;
    assert_eq!(
        events,
        [
            (kind(EventKind::UserCreated), one.clone()),
            (kind(EventKind::UserCreated), String::new()),
            (kind(EventKind::UserCreated), three),
            (kind(EventKind::MessageCreated), both.clone()),
            (kind(EventKind::MessageRead), both),
            (kind(EventKind::UserErased), one),
        ]
    );
}

#[test]
fn a_tag_covers_what_is_shown_of_people() {
    let tag = |people: &[Person]| users::names_tag(7, people);
    let id = |id| UserId::new(id).expect("it is an id");
    let person = |number, external_id: Option<&str>| Person {
        id: id(number),
        username: "ann".to_owned(),
        display_name: "Ann".to_owned(),
        external_id: external_id.map(str::to_owned),
        kind: Kind::Person,
    };
    let plain = tag(&[person(1, None), person(2, None)]);
    assert_eq!(plain, "7-090c1af7", "as in every version before");
    let system = Person { kind: Kind::System, ..person(1, None) };
    let others = [
        tag(&[person(1, Some("1")), person(2, None)]),
        tag(&[person(1, None), person(2, Some("1"))]),
        tag(&[person(1, Some("2")), person(2, None)]),
        tag(&[system, person(2, None)]),
    ];
    for (at, one) in others.iter().enumerate() {
        assert!(*one != plain && !others[at + 1..].contains(one), "{one}");
    }
}
