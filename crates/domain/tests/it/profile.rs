//! Who a user is to others, and what the owner sees and changes of the account.

use domain::credential::Credential;
use domain::text::{DisplayName, Email, Username};
use domain::users::{self, AcceptFrom, ERASED, Kind, Person, Profile, ProfileChange};
use domain::{Error, Result, Time, UserId};

use crate::support::{World, nobody, refused};

fn display(text: &str) -> DisplayName {
    DisplayName::parse(text).expect("the name is valid")
}

fn seen_as(id: UserId, username: &str, display_name: &str) -> Person {
    Person {
        id,
        username: username.to_owned(),
        display_name: display_name.to_owned(),
        external_id: None,
        kind: Kind::Person,
    }
}

impl World {
    /// Makes a user with a display name.
    fn shown_user(&self, name: &str, shown: &str) -> UserId {
        let name = Username::parse(name).expect("the name is valid");
        let email = Email::parse("secret@example.org").expect("the address is valid");
        let shown = display(shown);
        self.write(move |tx, cx| users::create(tx, cx, &name, Some(&shown), &email, "a hash"))
            .expect("the name is free")
    }

    pub(crate) fn person(&self, id: UserId) -> Option<Person> {
        self.read(move |tx, _cx| users::person(tx, id))
    }

    fn people(&self, ids: &[UserId]) -> Vec<Person> {
        let ids = ids.to_vec();
        self.read(move |tx, _cx| users::people(tx, &ids))
    }

    /// The names of those who are found by the beginning of a name.
    pub(crate) fn look_up(&self, prefix: &str, limit: i64) -> Vec<String> {
        let prefix = prefix.to_owned();
        let found = self.read(move |tx, _cx| users::lookup(tx, &prefix, limit, None));
        found.into_iter().map(|person| person.username).collect()
    }

    pub(crate) fn profile(&self, owner: UserId) -> Option<Profile> {
        self.read(move |tx, _cx| users::profile(tx, owner))
    }

    pub(crate) fn update(&self, owner: UserId, change: ProfileChange) -> Result<()> {
        self.write(move |tx, cx| users::update(tx, cx, owner, &change))
    }

    /// Sets another password where `old` is the hash of the present one.
    fn change_password(&self, user: UserId, old: &str, keep: Option<Credential>) -> Result<()> {
        let old = users::StoredPassword { user, hash: old.to_owned() };
        self.write(move |tx, _cx| users::change_password(tx, &old, "new hash", keep.as_ref()))
    }
}

#[test]
fn a_display_name_is_kept_to_the_letter_and_searched_in_any_case() {
    for text in [
        "A",
        "Ann Smith",
        "Ánn  d'Arc",
        "李 雷",
        "🎉",
        "👩\u{200d}🚀",
        "<b>",
        "ﬁ",
        &"é".repeat(100),
    ] {
        assert_eq!(display(text).shown(), text);
    }
    assert_eq!(display("ＡＮＮ Straße").folded(), "annstrasse");
    let refused = [
        ("", "display_name: it must have 1 to 100 characters"),
        (&"é".repeat(101), "display_name: it must have 1 to 100 characters"),
        ("a\0b", "display_name: it must not hold control characters"),
        ("a\nb", "display_name: it must not hold control characters"),
        ("a\u{85}", "display_name: it must not hold control characters"),
        ("a\u{2028}b", "display_name: it must not hold control characters"),
        ("\u{202e}nna", "display_name: it must not hold control characters"),
        ("ann\u{2066}", "display_name: it must not hold control characters"),
        (" ann", "display_name: it must not begin or end with a space"),
        ("an\u{200b}n", "display_name: it must not hold characters that show nothing"),
        ("\u{200f}ann", "display_name: it must not hold characters that show nothing"),
        ("ann\u{200d}", "display_name: it must not hold characters that show nothing"),
        ("\u{3164}", "display_name: it must not hold characters that show nothing"),
        ("ann\u{2800}", "display_name: it must not hold characters that show nothing"),
        ("ann\u{e0061}", "display_name: it must not hold characters that show nothing"),
        ("ann\u{a0}", "display_name: it must not begin or end with a space"),
        (" ", "display_name: it must not begin or end with a space"),
    ];
    for (text, problem) in refused {
        assert_eq!(DisplayName::parse(text).unwrap_err().to_string(), problem, "{text:?}");
    }
}

#[test]
fn everybody_sees_the_display_name_or_else_the_name() {
    let world = World::new();
    let (ann, bob) = (world.shown_user("Ann", "Ann Smith"), world.user("Bob"));
    assert_eq!(world.person(ann), Some(seen_as(ann, "Ann", "Ann Smith")));
    assert_eq!(world.person(bob), Some(seen_as(bob, "Bob", "Bob")));
    assert_eq!(world.person(nobody()), None);
    world.disable(bob);
    assert_eq!(world.person(bob), Some(seen_as(bob, "Bob", "Bob")), "it shows nothing of that");
}

#[test]
fn many_people_are_found_at_once_each_once_in_the_order_of_their_ids() {
    let world = World::new();
    let ids: Vec<_> = (0..300).map(|number| world.user(&format!("user{number}"))).collect();
    let names = |ids: &[UserId]| {
        let people = world.people(ids);
        people.into_iter().map(|person| (person.id, person.username)).collect::<Vec<_>>()
    };
    let backwards: Vec<_> = ids.iter().rev().chain(&ids).copied().collect();
    let all = names(&backwards);
    let expected = ids.iter().enumerate().map(|(number, id)| (*id, format!("user{number}")));
    assert_eq!(all, expected.collect::<Vec<_>>());
    let two = [ids[7], nobody(), ids[3], ids[7]];
    assert_eq!(names(&two), [(ids[3], "user3".to_owned()), (ids[7], "user7".to_owned())]);
    assert_eq!(names(&[]), []);
    let highest = UserId::new((1 << 53) - 1).unwrap();
    assert_eq!(names(&[highest]), []);
}

#[test]
fn people_are_looked_up_by_the_beginning_of_a_name_or_of_any_word_of_it() {
    let world = World::new();
    world.shown_user("zed", "Dana Scully");
    world.shown_user("dan", "Mulder");
    world.shown_user("Dave", "Danger Dave");
    world.shown_user("ÅSA", "Ａｓａ");
    world.shown_user("lodz.jozef", "Józef Łukasz-Wiśniewski");
    world.shown_user("tanaka", "田中 太郎");
    world.shown_user("min", "김민준");
    world.shown_user("haha", "はは");
    world.user("bob");
    world.user("@+-_");
    for (prefix, names) in [
        ("da", &["dan", "Dave", "zed"][..]),
        ("DAN", &["dan", "zed", "Dave"]),
        ("dave", &["Dave"]),
        ("dana s", &["zed"]),
        ("Scully", &["zed"]),
        ("scúll", &["zed"]),
        ("a\u{30a}", &["ÅSA"]),
        ("asa", &["ÅSA"]),
        ("jozef", &["lodz.jozef"]),
        ("LUKASZ", &["lodz.jozef"]),
        ("łukasz wis", &["lodz.jozef"]),
        ("wiśn", &["lodz.jozef"]),
        ("lodz.", &["lodz.jozef"]),
        ("田中", &["tanaka"]),
        ("田中太", &["tanaka"]),
        ("太郎", &["tanaka"]),
        ("김", &["min"]),
        ("は", &["haha"]),
        ("@+", &["@+-_"]),
    ] {
        assert_eq!(world.look_up(prefix, 20), names, "{prefix}");
    }
    for nothing in ["", "anna", "cully", "%", "_ob", "*", "#", "\0", "\u{10ffff}", "ば", "기"] {
        assert_eq!(world.look_up(nothing, 20), [""; 0], "{nothing:?}");
    }
}

#[test]
fn words_follow_a_display_name_and_go_with_it() {
    let world = World::new();
    let ann = world.shown_user("ann", "Dana Deer");
    let rename = |name: Option<&str>| {
        let display_name = Some(name.map(display));
        world.update(ann, ProfileChange { display_name, ..ProfileChange::default() }).unwrap();
    };
    rename(Some("Élan Vital"));
    assert_eq!(world.look_up("deer", 20), [""; 0]);
    assert_eq!(world.look_up("vital", 20), ["ann"]);
    rename(None);
    assert_eq!(world.look_up("elan", 20), [""; 0]);
    assert_eq!(world.look_up("ann", 20), ["ann"]);
    // Each of these is four words when it is folded, and the last is one with the next first.
    rename(Some(&"\u{fdfa}".repeat(90)));
    assert_eq!(world.look_up("صلى الله عليه وسلمصلى", 20), ["ann"]);
    assert!(world.number("SELECT count(*) FROM name_words") <= 33);
    assert_eq!(world.number("SELECT max(length(word)) FROM name_words"), 64);
    rename(Some("Dana Deer"));
    assert_eq!(world.problems(), []);
    world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM name_words"), 0);
    assert_eq!(world.number("SELECT count(*) FROM users WHERE words_of <> ' '"), 0);
}

#[test]
fn somebody_with_many_words_that_begin_alike_hides_nobody() {
    let world = World::new();
    let many: Vec<_> = (10..34).map(|number| format!("ab{number}")).collect();
    world.shown_user("zed", &many.join(" ")[..94]);
    world.shown_user("zoe", "ab99");
    world.shown_user("zac", &"\u{fdfa}".repeat(100));
    assert_eq!(world.look_up("ab", 20), ["zed", "zoe"]);
    assert_eq!(world.look_up(&"\u{fdfa}".repeat(100), 20), ["zac"]);
}

#[test]
fn names_from_before_there_were_words_get_them_and_so_do_those_changed_by_older_nodes() {
    let world = World::new();
    let users = [("ann", "Dana Deer"), ("bob", "Dana Doe"), ("cid", "Dana Dee"), ("dot", "")];
    for (name, shown) in users {
        if shown.is_empty() {
            world.user(name)
        } else {
            world.shown_user(name, shown)
        };
    }
    // As a migration leaves the accounts that there are, and as an older node changes a name.
    world.sql("DELETE FROM name_words");
    world.sql("UPDATE users SET words_of = NULL");
    let step = || world.write(|tx, _cx| users::index_names(tx, 3)).unwrap();
    assert_eq!(world.look_up("dana", 20), [""; 0]);
    assert_eq!([step(), step(), step()], [3, 1, 0]);
    assert_eq!(world.look_up("dana", 20), ["cid", "ann", "bob"]);
    assert_eq!(world.number("SELECT count(*) FROM name_words"), 10);

    world.sql("UPDATE users SET display_name = 'Élan', display_folded = 'élan' WHERE id = 1");
    world.sql("UPDATE users SET name = '', display_name = '', erased_at = 1 WHERE id = 2");
    world.sql("UPDATE users SET name = '', erased_at = 1 WHERE id = 4");
    assert_eq!([step(), step()], [3, 0]);
    assert_eq!(world.look_up("elan", 20), ["ann"]);
    assert_eq!(world.look_up("dana", 20), ["cid"]);
    assert_eq!(world.number("SELECT count(*) FROM name_words WHERE user_id IN (2, 4)"), 0);
}

#[test]
fn who_has_the_whole_name_comes_first() {
    let world = World::new();
    world.shown_user("zed", "Ann");
    world.shown_user("ann2", "Ann");
    world.user("ann");
    world.user("anna");
    assert_eq!(world.look_up("ann", 20), ["ann", "zed", "ann2", "anna"]);
    assert_eq!(world.look_up("ann", 1), ["ann"]);
    assert_eq!(world.look_up("ann", 3), ["ann", "zed", "ann2"]);
}

#[test]
fn a_look_up_finds_at_most_twenty_the_first_of_both_names() {
    let world = World::new();
    for number in (10..40).rev() {
        world.shown_user(&format!("a{number}"), &format!("a{}", 100 - number));
    }
    let both = |number: i32| [format!("a{number}"), format!("a{}", 100 - number)];
    let found = world.look_up("a", 1000);
    let names: Vec<_> = (10..30).map(|number| both(number)[0].clone()).collect();
    assert_eq!(found, names);
    assert_eq!(world.look_up("a", 20).len(), 20);
    assert_eq!(world.look_up("a6", 20)[..2], ["a39", "a38"]);
    assert_eq!(world.look_up("a", 0), [""; 0]);
    assert_eq!(world.look_up("a", -1), [""; 0]);
}

#[test]
fn the_end_of_a_range_is_right_for_every_character() {
    let world = World::new();
    for name in ["a\u{d7fb}", "a\u{fa0e}", "a\u{10330}", "az", "b"] {
        world.user(name);
    }
    for name in ["a\u{d7fb}", "a\u{fa0e}", "a\u{10330}", "az", "b"] {
        assert_eq!(world.look_up(name, 20), [name]);
    }
    assert_eq!(world.look_up("a", 20).len(), 4);
}

#[test]
fn who_is_disabled_is_not_looked_up() {
    let world = World::new();
    let ann = world.shown_user("ann", "Dana");
    world.shown_user("anna", "Dan");
    world.disable(ann);
    assert_eq!(world.look_up("an", 20), ["anna"]);
    assert_eq!(world.look_up("da", 20), ["anna"]);
    world.enable(ann);
    assert_eq!(world.look_up("da", 20), ["anna", "ann"]);
}

#[test]
fn the_owner_sees_the_whole_account() {
    let world = World::new();
    let created_at = world.now();
    let (ann, bob) = (world.shown_user("Ann", "Ann Smith"), world.user("bob"));
    world.wait(Time::DAY);
    let profile = Profile {
        person: seen_as(ann, "Ann", "Ann Smith"),
        email: Some("secret@example.org".to_owned()),
        accept_from: AcceptFrom::Everyone,
        reminders: true,
        created_at,
    };
    assert_eq!(world.profile(ann), Some(profile));
    assert_eq!(world.profile(bob).unwrap().email.as_deref(), Some("somebody@example.org"));
    assert_eq!(world.profile(nobody()), None);
}

#[test]
fn what_is_not_named_in_a_change_stays() {
    let world = World::new();
    let (ann, bob) = (world.shown_user("ann", "Ann Smith"), world.user("bob"));
    let (mut before, bobs) = (world.profile(ann).unwrap(), world.profile(bob));
    world.update(ann, ProfileChange::default()).unwrap();
    assert_eq!(world.profile(ann), Some(before.clone()));

    let email = Email::parse("new@example.org").ok();
    world.update(ann, ProfileChange { email, ..ProfileChange::default() }).unwrap();
    before.email = Some("new@example.org".to_owned());
    assert_eq!(world.profile(ann), Some(before.clone()));

    let accept_from = Some(AcceptFrom::Known);
    world.update(ann, ProfileChange { accept_from, ..ProfileChange::default() }).unwrap();
    before.accept_from = AcceptFrom::Known;
    assert_eq!(world.profile(ann), Some(before.clone()));

    let display_name = Some(Some(display("Zoe")));
    world.update(ann, ProfileChange { display_name, ..ProfileChange::default() }).unwrap();
    before.person.display_name = "Zoe".to_owned();
    assert_eq!(world.profile(ann), Some(before.clone()));
    assert_eq!(world.look_up("zo", 20), ["ann"]);
    assert_eq!(world.look_up("ann s", 20), [""; 0]);

    let display_name = Some(None);
    world.update(ann, ProfileChange { display_name, ..ProfileChange::default() }).unwrap();
    before.person.display_name = "ann".to_owned();
    assert_eq!(world.profile(ann), Some(before));
    assert_eq!(world.look_up("zo", 20), [""; 0]);
    assert_eq!(world.profile(bob), bobs);
}

#[test]
fn whom_messages_are_taken_from_has_three_names() {
    let world = World::new();
    let ann = world.user("ann");
    for (accept_from, name, number) in [
        (AcceptFrom::Nobody, "nobody", 2),
        (AcceptFrom::Known, "known", 1),
        (AcceptFrom::Everyone, "everyone", 0),
    ] {
        assert_eq!((accept_from.name(), AcceptFrom::parse(name)), (name, Some(accept_from)));
        let change = ProfileChange { accept_from: Some(accept_from), ..ProfileChange::default() };
        world.update(ann, change).unwrap();
        assert_eq!(world.profile(ann).unwrap().accept_from, accept_from);
        assert_eq!(world.number("SELECT accept_from FROM mailboxes"), number);
    }
    for other in ["", "Everyone", "contacts", "0"] {
        assert_eq!(AcceptFrom::parse(other), None, "{other}");
    }
}

#[test]
fn who_was_disabled_in_the_meantime_changes_nothing() {
    let world = World::new();
    let ann = world.user("ann");
    let before = world.profile(ann);
    world.disable(ann);
    let change = || ProfileChange {
        display_name: Some(Some(display("Zoe"))),
        email: Email::parse("new@example.org").ok(),
        accept_from: Some(AcceptFrom::Nobody),
        reminders: Some(false),
    };
    assert_eq!(refused(world.update(ann, change())), Error::NotLoggedIn);
    assert_eq!(refused(world.update(nobody(), change())), Error::NotLoggedIn);
    assert_eq!(world.profile(ann), before);
}

#[test]
fn another_password_ends_all_but_the_session_or_token_that_it_was_set_with() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let sessions = [world.log_in("ann"), world.log_in("ann"), world.log_in("bob")];
    let tokens = [world.token(ann), world.token(ann), world.token(bob)];
    let state = || (sessions.map(|key| world.holds(key)), tokens.map(|key| world.is_good(key)));

    world.change_password(ann, "hash of ann", Some(sessions[1])).unwrap();
    assert_eq!(state(), ([false, true, true], [false, false, true]));
    assert_eq!(world.credentials("ann").unwrap().hash, "new hash");
    assert_eq!(world.credentials("bob").unwrap().hash, "hash of bob");

    world.change_password(bob, "hash of bob", Some(tokens[2])).unwrap();
    assert_eq!(state(), ([false, true, false], [false, false, true]));
    world.change_password(ann, "new hash", None).unwrap();
    assert_eq!(state(), ([false; 3], [false, false, true]));
}

#[test]
fn another_password_is_not_set_where_the_old_one_was_changed_in_the_meantime() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (session, token) = (world.log_in("ann"), world.token(ann));
    for wrong in ["hash of bob", "", "hash of ann "] {
        let error = refused(world.change_password(ann, wrong, None));
        assert_eq!(error, Error::AuthenticationFailed);
    }
    let error = refused(world.change_password(nobody(), "hash of ann", None));
    assert_eq!(error, Error::AuthenticationFailed);
    assert!(world.holds(session) && world.is_good(token));
    assert_eq!(world.credentials("ann").unwrap().hash, "hash of ann");
    world.disable(bob);
    let error = refused(world.change_password(bob, "hash of bob", None));
    assert_eq!(error, Error::AuthenticationFailed);
}

#[test]
fn the_credentials_of_a_user_are_found_by_id_too() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let of = |user| world.read(move |tx, _cx| users::password_of(tx, user));
    let found = of(ann).unwrap();
    assert_eq!((found.user, found.hash.as_str()), (ann, "hash of ann"));
    world.disable(bob);
    assert!(of(bob).is_none() && of(nobody()).is_none());
}

#[test]
fn credentials_are_confirmed_as_long_as_they_hold() {
    let world = World::new();
    let ann = world.user("ann");
    let checked = world.credentials("ann").unwrap();
    let confirm = || {
        let checked = checked.clone();
        world.write(move |tx, _cx| users::confirm(tx, &checked))
    };
    assert_eq!(confirm(), Ok(()));
    world.disable(ann);
    assert_eq!(confirm(), Err(Error::AuthenticationFailed));
    world.enable(ann);
    assert_eq!(confirm(), Ok(()));
    world.write(move |tx, _cx| users::set_password(tx, ann, "another hash")).unwrap();
    assert_eq!(confirm(), Err(Error::AuthenticationFailed));
}

#[test]
fn no_name_can_be_that_of_an_erased_user() {
    assert!(Username::parse(ERASED).is_err() && Username::parse("#1").is_err());
    let world = World::new();
    let ann = world.shown_user("ann", "Ann");
    for name in [
        "deleted user",
        "Deleted  User",
        "ｄeleted\u{2003}user",
        "deleted\u{2010}user",
        "(Deleted user.)",
    ] {
        let named = Some(Some(display(name)));
        let renamed =
            world.update(ann, ProfileChange { display_name: named, ..Default::default() });
        assert_eq!(refused(renamed), Error::NameReserved("display_name"), "{name}");
    }
    assert_eq!(world.person(ann), Some(seen_as(ann, "ann", "Ann")));
}
