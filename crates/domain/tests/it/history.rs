//! A restored database begins a history of its own: nothing that another one gave out is given
//! again, and nothing of it is taken for valid.

use std::collections::BTreeSet;

use domain::text::{Email, Username};
use domain::webhooks::EventKinds;
use domain::{
    Cx, Error, LARGEST_ID, MessageId, Time, UserId, Wanted, changes, history, messages, unread,
    users, webhooks,
};

use crate::support::World;

/// The time of the restores, unless a test says otherwise.
const RESTORED: Time = Time(1_790_000_000_000_000);
/// The states, tags and ids that one history gave out.
type GivenOut = BTreeSet<i64>;

/// A database as its backup holds it: the same each time that it is made.
struct Restored {
    world: World,
    ann: UserId,
    bob: UserId,
    old: MessageId,
    given_out: GivenOut,
}

impl Restored {
    /// Before the restore.
    fn backup() -> Self {
        let world = World::new();
        world.want(Wanted { webhooks: EventKinds::all(), reminders: false });
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let old = world.send(bob, ann, "before the backup");
        Self { world, ann, bob, old, given_out: GivenOut::new() }
    }

    /// Restored at a time; the database that it replaces showed so much.
    fn at(now: Time, seen: i64) -> Self {
        let restored = Self::backup();
        restored.world.set_clock(now);
        restored.begin(seen);
        restored
    }

    fn begin(&self, seen: i64) -> i64 {
        self.world.write(move |tx, cx| Ok(history::begin(tx, cx, seen)?)).expect("it can begin")
    }

    /// Goes on for a while: of each kind of id some are given out, and states and tags with them.
    fn go_on(&mut self) {
        let (ann, bob, old) = (self.ann, self.bob, self.old);
        for round in 0..5 {
            let id = self.world.send(bob, ann, "after it");
            let name = format!("somebody-{round}");
            let given = self.world.write(move |tx, cx| {
                messages::delete(tx, cx, ann, id)?;
                let marks = messages::Marks { starred: Some(round % 2 == 0), ..Default::default() };
                messages::mark(tx, cx, ann, old, marks, &|_tag| true)?;
                let (name, email) = (Username::parse(&name)?, Email::parse("a@example.org")?);
                let user = users::create(tx, cx, &name, None, &email, "")?;
                let hook = webhooks::add(tx, cx, "https://app.example.org/", EventKinds::all())?;
                Ok([id.get(), user.get(), hook.id.get()])
            });
            self.given_out.extend(given.expect("it goes on"));
            self.look();
        }
        let events = "SELECT id FROM webhook_events";
        let events: GivenOut = self.world.rows(events, |row| row.int(0)).into_iter().collect();
        let origin = self.world.number("SELECT origin FROM history");
        self.given_out.extend(events.range(origin..));
    }

    /// Gives out the state of the mailbox, and the tag of the old message.
    fn look(&mut self) -> i64 {
        let (ann, old) = (self.ann, self.old);
        let seen = self.world.read(move |tx, _cx| {
            let entry = messages::read(tx, ann, old)?.expect("it is there").entry;
            Ok([unread::counts(tx, ann)?.modseq, entry.changed_modseq])
        });
        self.given_out.extend(seen);
        seen[0]
    }

    fn knows(&self, state: i64) -> bool {
        let ann = self.ann;
        match self.world.read(move |tx, _cx| Ok(changes::since(tx, ann, state, 50))) {
            Ok(_changes) => true,
            Err(Error::ChangesForgotten) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Asserts that nothing of one history passes for something of the other.
#[track_caller]
fn share_nothing(one: &Restored, other: &Restored) {
    assert!(one.given_out.len() > 10, "{:?}", one.given_out);
    assert!(one.given_out.is_disjoint(&other.given_out), "{:?}", one.given_out);
    for (ours, theirs) in [(one, other), (other, one)] {
        for state in &theirs.given_out {
            assert!(!ours.knows(*state), "{state} passes");
        }
    }
}

#[test]
fn after_a_restore_no_state_from_before_it_is_known() {
    let mut restored = Restored::backup();
    for _ in 0..3 {
        restored.look();
        let before = restored.look();
        restored.world.set_clock(RESTORED.plus(before));
        let origin = restored.begin(0);
        assert!(
            !(0..1000).chain(restored.given_out.iter().copied()).any(|old| restored.knows(old))
        );
        let state = restored.look();
        assert_eq!(state, origin);
        assert!(restored.knows(state));
        let id = restored.world.send(restored.bob, restored.ann, "after it").get();
        assert!(id > origin && restored.knows(state) && restored.knows(state + 1));
        assert_eq!(restored.world.problems(), vec![]);
    }
}

#[test]
fn two_restores_of_one_backup_have_nothing_in_common() {
    // A millisecond is time for a thousand of everything.
    for apart in [1000, Time::SECOND, Time::DAY, 400 * Time::DAY] {
        let mut one = Restored::at(RESTORED, 0);
        one.go_on();
        let mut other = Restored::at(RESTORED.plus(apart), 0);
        other.go_on();
        share_nothing(&one, &other);
    }
}

#[test]
fn a_backup_of_a_restored_database_is_restored_like_any_other() {
    let mut one = Restored::at(RESTORED, 0);
    one.go_on();
    // Restored from a copy of the first, and from the same backup once more.
    let mut other = Restored::at(RESTORED, 0);
    other.world.set_clock(RESTORED.plus(Time::SECOND));
    other.begin(0);
    other.go_on();
    let mut third = Restored::at(RESTORED.plus(2 * Time::SECOND), 0);
    third.go_on();
    share_nothing(&one, &other);
    share_nothing(&other, &third);
    share_nothing(&one, &third);
}

#[test]
fn with_a_wrong_clock_a_history_begins_above_all_that_is_seen() {
    // Before the epoch of the ids, in 1970, and in the year 2400.
    for wrong in [Time(1_600_000_000_000_000), Time(0), Time(13_600_000_000_000_000)] {
        let mut one = Restored::at(wrong, 0);
        one.go_on();
        let mut other = Restored::backup();
        other.world.set_clock(wrong);
        let seen = *one.given_out.last().expect("there is one");
        let origin = other.begin(seen);
        assert!(origin > seen + Time::SECOND && origin < LARGEST_ID, "{origin}");
        other.go_on();
        share_nothing(&one, &other);
        // Where nothing of the first can be seen, chance keeps them apart.
        let mut third = Restored::backup();
        let chance = |bytes: &mut [u8]| bytes.fill(0x5a);
        let begun = third.world.write(move |tx, cx| {
            let cx = Cx { now: wrong, random: chance, wanted: cx.wanted, names: cx.names };
            Ok(history::begin(tx, &cx, 0)?)
        });
        assert!((1 << 38..1 << 41).contains(&begun.expect("it can begin")));
        third.go_on();
        share_nothing(&one, &third);
    }
    // A clock that is behind an earlier restore.
    let mut one = Restored::at(RESTORED, 0);
    one.go_on();
    let seen = *one.given_out.last().expect("there is one");
    let mut other = Restored::at(RESTORED.plus(-Time::DAY), seen);
    other.go_on();
    share_nothing(&one, &other);
}

#[test]
fn a_restore_ends_what_was_given_to_anybody_and_keeps_what_they_have() {
    let restored = Restored::backup();
    let session = restored.world.log_in("ann");
    let fingerprint = [7; 16];
    let set = restored.world.write(move |tx, _cx| {
        assert_eq!(history::key_fingerprint(tx), Ok(None));
        Ok(history::set_key_fingerprint(tx, &fingerprint)?)
    });
    assert_eq!(set, Ok(()));
    restored.world.set_clock(RESTORED);
    restored.begin(0);
    assert!(!restored.world.holds(session));
    assert_eq!(restored.world.received(restored.ann), [restored.old]);
    let kept = restored.world.read(|tx, _cx| Ok(history::key_fingerprint(tx)?));
    assert_eq!(kept, Some(fingerprint.to_vec()), "it is used with the same key");
    let other = restored.world.write(|tx, _cx| {
        history::set_key_fingerprint(tx, &[8; 16])?;
        Ok(history::key_fingerprint(tx)?)
    });
    assert_eq!(other, Ok(Some(vec![8; 16])));
}

#[test]
fn a_long_absence_after_a_restore_costs_no_more_than_before_it() {
    let mut restored = Restored::at(RESTORED, 0);
    let (ann, bob, state) = (restored.ann, restored.bob, restored.look());
    for _ in 0..200 {
        restored.world.send(bob, ann, "after it");
    }
    let statements = restored.world.read(move |tx, _cx| {
        assert_eq!(changes::since(tx, ann, state, 50)?.changes.len(), 50);
        Ok(tx.statements())
    });
    assert!(statements <= 20, "{statements}");
}
