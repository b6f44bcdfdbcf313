//! Moving in and out: what goes out comes in and goes out the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use db::{Db, Options, Tx, Url};
use domain::moving::spool::{self, SPOOL, Spooled};
use domain::moving::{self, Line, Message, Mode, Page, People, Personal, Reading, Rows};
use domain::{Cx, Result, Time, UserId, conversations, messages, purge, users};

use crate::support::{LENGTHS, World, wait_for};

/// More than any test has.
const ALL: i64 = 1_000_000;

/// All lines but the first.
pub(crate) fn export(world: &World) -> BTreeSet<String> {
    let (mut all, mut page) = (BTreeSet::new(), Some(Page::default()));
    while let Some(at) = page {
        let (lines, next) = world.read(move |tx, _cx| moving::export(tx, None, at));
        all.extend(lines);
        page = next;
    }
    all
}

/// The same of one person.
pub(crate) fn personal(world: &World, owner: UserId) -> BTreeSet<String> {
    let begun = world.read(move |tx, _cx| Personal::begin(tx, owner, None, false));
    let (mut all, mut personal) = (BTreeSet::new(), begun);
    loop {
        let at = personal.clone();
        let page = world.read(move |tx, cx| at.page(tx, cx));
        let Some(page) = page else { return all };
        let before = all.len();
        all.extend(page.text.lines().map(str::to_owned));
        assert_eq!(all.len() - before, page.text.lines().count(), "a line came twice");
        personal.pass(&page);
    }
}

/// Takes lines in, with which nothing is wrong.
#[track_caller]
pub(crate) fn import(world: &World, lines: &BTreeSet<String>) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = Url::with("sqlite:spool.db", folder.path(), Options::default()).expect("it is one");
    Db::migrate(&url, SPOOL, 0).expect("the schema can be made");
    let spool = Db::open(&url, SPOOL).expect("it can be opened");
    let reading = Reading { lengths: LENGTHS, cuts_bodies: false };
    let mut people = People::default();
    let read = lines.iter().zip(2..).map(|(text, line)| {
        let content = Line::parse(line, text, &reading);
        let content = content.unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        people.add(&content);
        Spooled { line, content, text: text.clone() }
    });
    let (read, people) = (read.collect::<Vec<_>>(), Arc::new(Mutex::new(people)));
    ask(&spool, move |tx| spool::add(tx, &read));
    assert_eq!(ask(&spool, spool::compare), []);
    assert_eq!(ask(&spool, spool::arrange), []);
    let again = |line: i64, text: &str| Line::parse(line, text, &reading).expect("as before");
    let accounts: Vec<_> = ask(&spool, |tx| spool::users(tx, 0, ALL))
        .into_iter()
        .map(|(line, text)| match again(line, &text) {
            Line::User(user) => (line, user),
            _ => panic!("{text} is no user"),
        })
        .collect();
    let letters: Vec<Message> = ask(&spool, |tx| spool::messages(tx, 0, ALL))
        .into_iter()
        .map(|turn| match again(turn.line, &turn.text) {
            Line::Message(message) => (turn, message),
            _ => panic!("{} is no message", turn.text),
        })
        .collect();
    let others = ask(&spool, |tx| spool::others(tx, 0, ALL)).into_iter();
    let others: Vec<_> = others.map(|(line, text)| (line, again(line, &text))).collect();
    let above = ask(&spool, spool::highest_id);
    let named = letters.iter().flat_map(|(_, message)| message.named());
    let named: Vec<String> = named.map(str::to_owned).collect();
    let parents = BTreeSet::from_iter(ask(&spool, move |tx| spool::known(tx, &named)));
    let muted = others.iter().filter_map(|(_, line)| line.conversation());
    let muted: Vec<String> = muted.map(str::to_owned).collect();
    let begun = BTreeSet::from_iter(ask(&spool, move |tx| spool::conversations(tx, &muted)));
    spool.close();

    let source = "elsewhere";
    let write = world.write(move |tx, cx| {
        let mut people = people.lock().expect("nobody has failed");
        let (problems, _new) = moving::check_users(tx, cx, Mode::Refuse, &accounts)?;
        assert_eq!(problems, []);
        let target = moving::target(tx, source)?;
        let checked = (&*letters, &parents);
        let how = (false, true);
        let (problems, _new) = moving::check_messages(tx, &target, &mut people, checked, how)?;
        assert_eq!(problems, []);
        let problems = moving::check_others(tx, source, &mut people, (&others, &begun))?;
        assert_eq!(problems, []);
        moving::write_users(tx, cx, Mode::Refuse, &mut people, (&accounts, above))?;
        let mut rows = Rows::default();
        // In several steps, as a long file is written.
        for some in letters.chunks(7) {
            moving::write_messages(tx, source, &mut people, (some, &mut rows))?;
        }
        moving::write_others(tx, cx, source, &mut people, &others)
    });
    write.expect("it can be written");
}

fn ask<T: Send + 'static>(
    spool: &Db,
    f: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
) -> T {
    wait_for(spool.write(f)).expect("it can be read and written")
}

/// Moves everything to another database, and from there what one of some people has to a third.
/// Returns what differs there.
pub(crate) fn differs(world: &World, owners: &[UserId], which: usize) -> Option<String> {
    // The passwords of these tests are no hashes.
    world.sql("UPDATE users SET password_hash = ''");
    let all = export(world);
    let other = World::new();
    import(&other, &all);
    let (problems, found) = (other.problems(), export(&other));
    if !problems.is_empty() || found != all {
        let differ: Vec<_> = all.symmetric_difference(&found).collect();
        return Some(format!("{problems:?}: {differ:#?}"));
    }
    let owner = owners[which % owners.len()];
    let begun = move |tx: &mut Tx<'_>, _: &Cx| Ok(Personal::begin(tx, owner, None, false).is_ok());
    if !world.read(begun) {
        return None;
    }
    let (own, third) = (personal(world, owner), World::new());
    import(&third, &own);
    let (problems, found) = (third.problems(), personal(&third, owner));
    // That something was withdrawn from others is not theirs to tell: there may be more contacts
    // therefore, and older ones.
    let is_contact = |line: &&String| line.starts_with("{\"contact\":");
    let undated = |line: &String| match line.split_once(",\"first_at\"") {
        Some((contact, _)) if is_contact(&line) => contact.to_owned(),
        _ => line.clone(),
    };
    let [own, found] = [own, found].map(|all| all.iter().map(undated).collect::<BTreeSet<_>>());
    let missing: Vec<_> = own.difference(&found).collect();
    let more: Vec<_> = found.difference(&own).filter(|line| !is_contact(line)).collect();
    let is_same = problems.is_empty() && missing.is_empty() && more.is_empty();
    (!is_same).then(|| format!("of {owner:?}, {problems:?}: {missing:#?} {more:#?}"))
}

#[test]
fn mutes_and_replies_whose_beginning_is_gone_and_erased_system_users_come_along() {
    let world = World::new();
    let (ann, bob, cat) = (world.user("ann"), world.user("bob"), world.user("cat"));
    let first = world.send_to(ann, &[bob, cat], "gone soon");
    let second = world.reply(bob, first, "of what is gone");
    world.reply(cat, second, "goes on");
    for user in [ann, bob, cat] {
        world.write(move |tx, cx| messages::delete(tx, cx, user, first)).expect("it is there");
    }
    world
        .write(move |tx, cx| conversations::mute(tx, cx, ann, first.begins(), true))
        .expect("it goes on");
    world.sql("UPDATE users SET kind = 1, external_id = 'sender' WHERE id = 3");
    world.write(move |tx, cx| users::erase(tx, cx, cat)).expect("it is there");
    while world.write(|tx, cx| purge::erased_mailboxes(tx, cx, 100)).expect("it can be emptied") > 0
    {
    }
    let all = export(&world);
    assert!(all.iter().any(|line| line.starts_with("{\"mute\":")), "{all:#?}");
    assert!(all.iter().any(|line| line.contains("\"kind\":\"system\"") && line.contains("erased")));
    assert_eq!(differs(&world, &[ann], 0), None);
}

#[test]
fn what_was_dated_by_a_clock_that_was_set_back_comes_along() {
    let world = World::new();
    let (ann, bob, now) = (world.user("ann"), world.user("bob"), world.now());
    world.set_clock(now.plus(2 * Time::DAY));
    let first = world.send(ann, bob, "ahead");
    world.set_clock(now);
    let second = world.reply(bob, first, "two days before it");
    world.reply(ann, second, "as well");
    world.send(ann, bob, "of its own");
    assert_eq!(world.problems(), []);
    assert_eq!(differs(&world, &[ann, bob], 0), None);
    assert_eq!(differs(&world, &[ann, bob], 1), None);
}

#[test]
fn what_is_answered_may_be_gone_while_the_beginning_is_there() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(ann, bob, "to bob alone");
    let second = world.reply(bob, first, "gone soon");
    world.reply(ann, second, "goes on");
    for user in [ann, bob] {
        world.write(move |tx, cx| messages::delete(tx, cx, user, second)).expect("it is there");
    }
    let all = export(&world);
    let begun = format!("\"conversation\":\"{}\"", first.get());
    assert!(all.iter().any(|line| line.contains(&begun)), "{all:#?}");
    assert_eq!(differs(&world, &[ann, bob], 0), None);
    assert_eq!(differs(&world, &[ann, bob], 1), None);
}

#[test]
fn nobody_else_is_in_the_export_of_a_person() {
    let world = World::new();
    let (ann, bob, cat) = (world.user("ann"), world.user("bob"), world.user("cat"));
    let first = world.send_to(ann, &[bob, cat], "to both");
    world.mark_read(bob, first);
    world.reply(bob, first, "to all");
    world.send(bob, cat, "not for ann");
    let own = personal(&world, ann);
    assert!(!own.iter().any(|line| line.contains("not for ann")), "{own:#?}");
    assert!(!own.iter().any(|line| line.contains("\"user\":\"bob\"")), "no marks: {own:#?}");
    assert!(own.contains("{\"user\":{\"id\":2,\"username\":\"bob\"}}"), "{own:#?}");
}

/// Makes users what lines say of them.
fn upsert(world: &World, lines: &[&str]) {
    let reading = Reading { lengths: LENGTHS, cuts_bodies: false };
    let users = lines.iter().zip(2..).map(|(text, line)| match Line::parse(line, text, &reading) {
        Ok(Line::User(user)) => (line, user),
        other => panic!("{text}: {other:?}"),
    });
    let users: Vec<_> = users.collect();
    let write = world.write(move |tx, cx| {
        assert_eq!(moving::check_users(tx, cx, Mode::Update, &users)?, (vec![], 0));
        moving::write_users(tx, cx, Mode::Update, &mut People::default(), (&users, 0))
    });
    write.expect("they can be changed");
}

#[test]
fn who_is_here_becomes_what_a_line_says_and_what_it_does_not_say_stays() {
    let world = World::new();
    let all = r#"{"user": {"external_id": "7", "username": "ann", "display_name": "Ann",
        "email": "ann@example.org", "active": false, "findable": false, "accept_from": "known",
        "reminders": false, "version": 5}}"#;
    import(&world, &BTreeSet::from([all.to_owned()]));
    let ann = UserId::new(1).expect("it is an id");
    let app = || world.read(move |tx, _cx| users::app_user(tx, ann)).expect("they are there");
    let before = app();
    world.wait(1_000_000);
    upsert(&world, &[r#"{"user": {"external_id": "7"}}"#, all]);
    assert_eq!(app(), before, "nothing is said, or nothing else");
    upsert(&world, &[r#"{"user": {"username": "ANN", "email": "new@example.org"}}"#]);
    let after = users::AppUser {
        email: Some("new@example.org".to_owned()),
        updated_at: world.now(),
        ..before
    };
    assert_eq!(app(), after, "and the name stays as it is written here");
    let hash = "$2b$10$1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi";
    let older = format!(
        r#"{{"user": {{"external_id": "7", "active": true, "version": 4,
        "password_hash": "{hash}"}}}}"#
    );
    upsert(&world, &[&older]);
    assert_eq!(app(), after, "an older version than the last changes nothing");
    let newer = older.replace("\"version\": 4", "\"version\": 6, \"findable\": true");
    let nobody = r#"{"user": {"username": "ann", "accept_from": "nobody", "reminders": true}}"#;
    upsert(&world, &[&newer, nobody]);
    let after = users::AppUser {
        disabled_at: None,
        has_password: true,
        findable: true,
        version: Some(6),
        accept_from: users::AcceptFrom::Nobody,
        reminders: true,
        ..after
    };
    assert_eq!(app(), after, "two lines of one user are taken one after the other");
    assert_eq!(world.credentials("ann").expect("they are there").hash, hash);
    upsert(&world, &[&newer.replace("1asLCT", "2asLCT")]);
    assert_eq!(world.credentials("ann").expect("they are there").hash, hash, "they have one");
    assert_eq!(world.problems(), []);
}

#[test]
fn nobody_who_is_here_gets_the_name_of_a_system_user() {
    let world = World::new();
    let (orders, _ann) = (world.user("orders"), world.user("ann"));
    world.write(move |tx, _cx| users::make_system(tx, orders, true)).expect("they are there");
    let line = r#"{"user": {"username": "ann", "display_name": "Orders"}}"#;
    let reading = Reading { lengths: LENGTHS, cuts_bodies: false };
    let Ok(Line::User(user)) = Line::parse(2, line, &reading) else { panic!("it is a user") };
    let users = [(2, user)];
    let mut found = Vec::new();
    for mode in [Mode::Keep, Mode::Update] {
        let users = users.clone();
        let (problems, _new) = world.read(move |tx, cx| moving::check_users(tx, cx, mode, &users));
        found.push(problems.into_iter().map(|problem| problem.code).collect::<Vec<_>>());
    }
    assert_eq!(found, [vec![], vec!["name_reserved"]], "only what is asked for can be wrong");
}
