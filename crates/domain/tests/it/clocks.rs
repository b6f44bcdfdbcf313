//! Wrong clocks: what one that was ahead has written is recognised, and nothing is destroyed while
//! one is far from what the database knows.

use std::num::NonZeroI64;
use std::sync::Arc;

use db::{Tx, params};
use domain::audit::{self, Call};
use domain::browser_tokens::{self, AppSession, Grant, Issued, Standing};
use domain::credential::Credential;
use domain::digests::NextDigest;
use domain::idempotency::{Holder, KeyedRequest};
use domain::lists::{Filter, FolderFilter};
use domain::messages::Marks;
use domain::server_keys::{self, KeyScopes, ServerKey};
use domain::sessions::ABSOLUTE;
use domain::text::{DisplayName, TokenName};
use domain::tokens::{NewToken, Scopes};
use domain::users::ProfileChange;
use domain::webhooks::{self, DeliveryAttempt, EventKind, Outcome};
use domain::{
    Cx, NameReservation, Result, ServerKeyId, Time, UserId, Wanted, digests, idempotency,
    known_time, leases, purge, sessions, throttle, tokens, users, wrong_dates,
};

use crate::support::World;

/// How far the wrong clock is ahead.
const AHEAD: i64 = 400 * Time::DAY;
const TRASHED: Marks = Marks { trashed: Some(true), read: None, starred: None, archived: None };

impl World {
    /// What the job does; what failed to be near was so for `lasted` microseconds.
    fn follow(&self, lasted: i64) -> Option<i64> {
        self.write(move |tx, cx| known_time::follow(tx, cx, lasted)).expect("it can be noted")
    }

    /// Says that the clock is right.
    pub(crate) fn believe(&self) {
        self.write(known_time::believe).expect("it can be noted");
    }

    fn is_near(&self) -> bool {
        self.read(known_time::is_near)
    }

    /// Does something while the clock is ahead.
    fn ahead<R>(&self, operation: impl FnOnce() -> R) -> R {
        let now = self.now();
        self.set_clock(now.plus(AHEAD));
        let result = operation();
        self.set_clock(now.plus(Time::MINUTE));
        result
    }

    fn correct(&self) -> u64 {
        let correct = |tx: &mut Tx<'_>, cx: &Cx| wrong_dates::correct(tx, cx, 50);
        let mut all = 0;
        loop {
            match self.write(correct).expect("they can be set") {
                0 => return all,
                some => all += some,
            }
        }
    }
}

#[test]
fn a_clock_is_believed_near_the_known_time_or_after_a_day_or_when_the_operator_says_so() {
    let world = World::new();
    assert!(world.is_near(), "nothing is known");
    world.user("ann");
    world.wait(4 * Time::DAY);
    assert!(!world.is_near(), "the newest account is known");
    world.believe();
    world.wait(3 * Time::DAY);
    assert_eq!(world.follow(0), None, "a server may be stopped for some days");
    for (distance, way) in [(4 * Time::DAY, "ahead"), (-4 * Time::DAY, "behind")] {
        let before = world.now();
        world.wait(distance);
        assert_eq!(world.follow(Time::DAY - 1), Some(distance), "{way}");
        assert!(!world.is_near(), "{way}");
        world.set_clock(before);
        assert!(world.is_near(), "{way}: the wrong time was not noted");
        world.wait(distance);
        assert_eq!(world.follow(Time::DAY), None, "{way}, and goes on for a day");
        assert!(world.is_near(), "{way}");
    }
}

#[test]
fn a_lease_that_a_wrong_clock_took_is_ended_and_a_true_one_is_not() {
    let world = World::new();
    let (mine, length) = (&[1; 16], 3 * Time::MINUTE);
    let take = |holder: &'static [u8; 16]| {
        world.write(move |tx, cx| leases::take(tx, cx, "jobs", holder, length)).unwrap()
    };
    let end = || world.write(move |tx, cx| leases::end_impossible(tx, cx, "jobs", length)).unwrap();
    assert!(take(&[2; 16]));
    assert!(!end() && !take(mine), "it is another node's");
    world.ahead(|| assert!(take(&[3; 16])));
    assert!(!take(mine));
    assert!(end() && take(mine));
}

#[test]
fn sessions_and_tokens_survive_a_clock_that_is_ahead() {
    let world = World::new();
    let ann = world.user("ann");
    let old = world.log_in("ann");
    let make = |name: &'static str, expires_at| {
        let name = TokenName::parse(name).unwrap();
        let new = NewToken { name, scopes: Scopes::all(), expires_at };
        world.write(move |tx, cx| tokens::create(tx, cx, ann, &cx.random(), &new)).unwrap();
    };
    make("a year", Some(world.now().plus(365 * Time::DAY)));
    world.follow(0);
    let late = world.ahead(|| {
        make("later", None);
        world.log_in("ann")
    });
    assert!(world.holds(old), "it was not removed as one that has ended");
    assert_eq!(world.number("SELECT count(*) FROM tokens"), 2);
    assert!(!world.holds(late), "nobody knows when it should end");
    // A clock that is behind does not end what was started before.
    world.wait(-AHEAD);
    assert!(world.holds(old));
    world.wait(AHEAD + 15 * Time::DAY);
    world.believe();
    world.log_in("ann");
    assert_eq!(world.number("SELECT count(*) FROM sessions"), 1, "and both are removed later");
}

#[test]
fn a_use_that_a_clock_ahead_has_noted_is_no_presence_and_keeps_no_session_for_good() {
    let world = World::new();
    world.want(Wanted { reminders: true, ..Wanted::default() });
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let session = world.log_in("ann");
    let now = world.now();
    world.set_clock(now.plus(10 * Time::DAY));
    world.write(move |tx, cx| Ok(sessions::seen(tx, cx, &session)?)).unwrap();
    world.set_clock(now);
    world.send(bob, ann, "hello");
    world.wait(2 * Time::HOUR);
    let after = NonZeroI64::new(Time::HOUR).unwrap();
    let next = world.write(move |tx, cx| digests::next(tx, cx, after)).unwrap();
    assert!(matches!(next, NextDigest::Send(_)), "ann is not there: {next:?}");
    world.wait(ABSOLUTE - 2 * Time::HOUR);
    assert!(!world.holds(session));
}

#[test]
fn a_message_that_is_dated_in_the_future_is_reminded_of() {
    let world = World::new();
    world.want(Wanted { reminders: true, ..Wanted::default() });
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.ahead(|| world.send(bob, ann, "hello"));
    world.believe();
    assert_eq!(world.correct(), 1);
    world.wait(Time::HOUR);
    let after = NonZeroI64::new(Time::HOUR).unwrap();
    let next = world.write(move |tx, cx| digests::next(tx, cx, after)).unwrap();
    assert!(matches!(next, NextDigest::Send(_)), "{next:?}");
}

#[test]
fn messages_of_a_clock_ahead_hide_no_later_ones_from_a_search_by_time() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.send(bob, ann, "before");
    let wrong: Vec<_> = world.ahead(|| (0..5).map(|_| world.send(bob, ann, "ahead")).collect());
    world.wait(3 * Time::DAY);
    let later = world.send(bob, ann, "later");
    world.wait(10 * Time::DAY);
    let last = world.send(bob, ann, "last");
    let until = |time: Time| {
        let filter = Filter { folder: FolderFilter::All, until: Some(time), ..Filter::default() };
        world.list(ann, &filter)
    };
    let now = world.now();
    assert_eq!(until(now.plus(Time::DAY)), [last, later, first]);
    assert_eq!(until(now.plus(-5 * Time::DAY)), [later, first]);
    assert_eq!(until(now.plus(-12 * Time::DAY + -4 * Time::DAY)), []);
    assert_eq!(until(now.plus(2 * AHEAD)).len(), 3 + wrong.len());
}

#[test]
fn tokens_of_pages_that_a_clock_ahead_has_made_or_revoked_last_no_longer() {
    let world = World::new();
    let ann = world.user("ann");
    let standing =
        |grant: Grant| world.read(move |tx, cx| browser_tokens::standing(tx, cx, &grant));
    let grant = |issued, expires_at| Grant {
        credential: Credential::of_browser(ann, [7; 32]),
        scopes: Scopes::of_messages(),
        issued,
        session: None,
        expires_at,
    };
    let made = world.ahead(|| {
        let generation = world.read(move |tx, _cx| browser_tokens::generation(tx, ann));
        grant(Issued::In(generation), world.now().plus(Time::HOUR))
    });
    assert_eq!(standing(made), Standing::Expired);

    let jwt = || grant(Issued::At(world.now()), world.now().plus(Time::HOUR));
    world.follow(0);
    world.ahead(|| world.write(move |tx, cx| browser_tokens::revoke(tx, cx, ann, None))).unwrap();
    let old = jwt();
    assert_eq!(standing(old), Standing::RevokedAhead);
    let correct =
        || world.write(move |tx, cx| browser_tokens::correct_revocation(tx, cx, ann)).unwrap();
    world.ahead(|| assert!(!correct(), "such a clock decides nothing"));
    assert!(correct() && !correct());
    world.wait(1);
    assert_eq!((standing(old), standing(jwt())), (Standing::Revoked, Standing::Valid));
}

#[test]
fn a_rotation_by_a_clock_ahead_has_no_overlap() {
    let world = World::new();
    let kinds = [EventKind::MessageCreated].into_iter().collect();
    let add = move |tx: &mut Tx<'_>, cx: &Cx| webhooks::add(tx, cx, "https://a.example/", kinds);
    let id = world.write(add).unwrap().id;
    let rotate = || world.write(move |tx, cx| webhooks::rotate(tx, cx, id)).unwrap().unwrap();
    let signing = |endpoint: &webhooks::Endpoint| -> Vec<_> {
        endpoint.signing(world.now(), Time::DAY).collect()
    };
    assert_eq!(signing(&rotate()), [2, 1]);
    let rotated = world.ahead(rotate);
    assert_eq!(signing(&rotated), [3]);
}

/// Every date that decides how long something stays or waits.
const DATES: [(&str, &str); 12] = [
    ("trash", "SELECT count(*) FROM trash WHERE trashed_at > ?1"),
    ("tombstones", "SELECT count(*) FROM tombstones WHERE destroyed_at > ?1"),
    ("stored responses", "SELECT count(*) FROM stored_responses WHERE expires_at > ?1"),
    ("throttles", "SELECT count(*) FROM throttles WHERE expires_at > ?1"),
    ("addresses", "SELECT count(*) FROM familiar_addresses WHERE signed_in_at > ?1"),
    ("reserved names", "SELECT count(*) FROM reserved_names WHERE erased_at > ?1"),
    ("sessions of apps", "SELECT count(*) FROM revoked_sessions WHERE revoked_at > ?1"),
    ("unread counts", "SELECT count(*) FROM unread_changes WHERE next_at > ?1"),
    ("reminders", "SELECT count(*) FROM reminders WHERE waiting_since > ?1"),
    ("deliveries", "SELECT count(*) FROM webhook_deliveries WHERE due_at > ?1"),
    ("events", "SELECT count(*) FROM webhook_events WHERE happened_at > ?1"),
    ("audit", "SELECT count(*) FROM audit WHERE happened_at > ?1"),
];

/// Writes each of them, and changes a user who is active and deactivates another.
fn write_all(world: &World, [ann, bob, eve, cid]: [UserId; 4]) -> Result<()> {
    let (trashed, gone) = (world.send(ann, bob, "trashed"), world.send(ann, bob, "gone"));
    world.send(bob, ann, "unread");
    world.mark(bob, trashed, TRASHED);
    world.delete(bob, gone)?;
    world.write(move |tx, cx| {
        let request = KeyedRequest::new(Holder::User(ann), "POST /v1/messages", "key", b"body");
        idempotency::store(tx, cx, &request, &[7; 16], b"response")?;
        throttle::count(tx, cx, "nobody", "192.0.2.1".parse().ok())?;
        let counted = throttle::count(tx, cx, "ann", "192.0.2.2".parse().ok())?;
        throttle::let_in(tx, cx, ann, &counted)?;
        browser_tokens::revoke(tx, cx, ann, Some(&AppSession::named("a session")))?;
        let call = Call {
            key: Arc::new(ServerKey {
                id: ServerKeyId::CONFIGURED,
                name: server_keys::CONFIGURED_NAME.to_owned(),
                scopes: KeyScopes::of_an_app(),
                expires_at: None,
            }),
            method: "GET".into(),
            route: "/v1/messages",
            request_id: *b"0000000000000001",
        };
        audit::record(tx, cx, &call, Some(ann))?;
        let display_name = Some(Some(DisplayName::parse("Ann")?));
        users::update(tx, cx, ann, &ProfileChange { display_name, ..ProfileChange::default() })?;
        users::disable(tx, cx, cid)?;
        users::erase(tx, cx, eve)?;
        webhooks::distribute(tx, cx, 100)?;
        let endpoint = webhooks::list(tx)?[0].id;
        let failed = webhooks::due(tx, cx, endpoint, 100)?.into_iter().map(|due| DeliveryAttempt {
            webhook: endpoint,
            event: due.event.id,
            attempts: due.attempts,
            outcome: Outcome::Failed(None),
            words: "no answer".to_owned(),
        });
        webhooks::record(tx, cx, &failed.collect::<Vec<_>>())
    })
}

#[test]
fn every_date_that_a_clock_ahead_has_written_is_set_to_now() {
    let world = World::new();
    world.reserve_names(NameReservation::new([1; 32], 180 * Time::DAY));
    let kinds = [EventKind::MessageCreated, EventKind::UnreadChanged].into_iter().collect();
    world.write(move |tx, cx| webhooks::add(tx, cx, "https://a.example/", kinds)).unwrap();
    world.want(Wanted { webhooks: kinds, reminders: true });
    let all = ["ann", "bob", "eve", "cid"].map(|name| world.user(name));
    world.follow(0);
    let before = world.send(all[0], all[1], "trashed at the right time");
    world.mark(all[1], before, TRASHED);
    world.ahead(|| write_all(&world, all)).unwrap();

    let later = || -> Vec<_> {
        let has = |(_, sql): &(&str, &'static str)| {
            let sql = *sql;
            world.read(move |tx, cx| {
                Ok(tx.query_one(sql, &params![cx.now.plus(2 * Time::DAY)], |row| row.int(0))?)
            }) > 0
        };
        DATES.into_iter().filter(has).map(|(name, _)| name).collect()
    };
    assert_eq!(later(), DATES.map(|(name, _)| name), "the clock was ahead everywhere");
    assert!(world.correct() > 10);
    assert_eq!(later(), [""; 0]);
    let changed =
        world.rows("SELECT max(updated_at) FROM users WHERE erased_at IS NULL", |row| row.int(0));
    assert_eq!(changed, [world.now().0]);
    assert_eq!(world.correct(), 0);
    assert_eq!(world.problems(), []);

    // What was put into the trash goes after its 30 days, each at its own time.
    let empty = || world.write(|tx, cx| purge::trash(tx, cx, 100)).unwrap();
    world.wait(30 * Time::DAY - Time::SECOND);
    assert_eq!(empty(), 1);
    world.wait(2 * Time::SECOND);
    assert_eq!(empty(), 1);
}

#[test]
fn dates_of_a_clock_that_is_a_little_ahead_stay() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let id = world.send(ann, bob, "hello");
    world.wait(2 * Time::DAY);
    world.mark(bob, id, TRASHED);
    world.wait(-2 * Time::DAY);
    assert_eq!(world.correct(), 0, "this clock may be the one that is wrong");
}
