//! Webhooks: events in the transactions that they tell of, and what becomes of them. That each
//! operation tells what it changed, and nothing else, the model holds.

use db::Tx;
use domain::sending::{self, ClientId, Refusal};
use domain::webhooks::{
    self, Delivery, DeliveryAttempt, DeliveryStatus, Due, Endpoint, Event, EventId, EventKind,
    EventKinds, Outcome, RETRIES, Replay,
};
use domain::{Cx, Error, Missing, Result, Time, UserId, Wanted, users};

use crate::support::{EVERYTHING, World, draft, nobody, refusal, refused};

impl World {
    fn endpoint(&self, kinds: &[EventKind]) -> Endpoint {
        let kinds = kinds.iter().copied().collect();
        let add =
            move |tx: &mut Tx<'_>, cx: &Cx| webhooks::add(tx, cx, "https://a.example/", kinds);
        let added = self.write(add).expect("it can be added");
        self.learn();
        added
    }

    /// As the server does.
    fn learn(&self) {
        let endpoints = self.read(|tx, _cx| webhooks::list(tx));
        self.want(Wanted { webhooks: webhooks::all_wanted(&endpoints), reminders: false });
    }

    fn change<R: Send + 'static>(
        &self,
        change: impl Fn(&mut Tx<'_>, &Cx) -> Result<R> + Send + 'static,
    ) -> R {
        let changed = self.write(change).expect("it can be changed");
        self.learn();
        changed
    }

    fn distribute(&self) -> usize {
        self.change(|tx, cx| webhooks::distribute(tx, cx, 3))
    }

    fn due(&self, endpoint: &Endpoint) -> Vec<Due> {
        let id = endpoint.id;
        self.read(move |tx, cx| webhooks::due(tx, cx, id, EVERYTHING))
    }

    fn records(&self, endpoint: &Endpoint, due: &Due, outcome: Outcome) {
        let attempt = DeliveryAttempt {
            webhook: endpoint.id,
            event: due.event.id,
            attempts: due.attempts,
            outcome,
            words: format!("{outcome:?}"),
        };
        self.change(move |tx, cx| webhooks::record(tx, cx, std::slice::from_ref(&attempt)));
    }

    fn log(&self) -> Vec<Delivery> {
        self.read(|tx, _cx| webhooks::log(tx, None, false, EVERYTHING))
    }

    fn replays(&self, endpoint: &Endpoint, which: Replay) -> u64 {
        let (id, mut all, mut after) = (endpoint.id, 0, None);
        loop {
            let (again, next) =
                self.change(move |tx, cx| webhooks::replay(tx, cx, id, which, (after, 2)));
            all += again;
            after = next;
            if next.is_none() {
                return all;
            }
        }
    }
}

fn events(due: &[Due]) -> Vec<EventId> {
    due.iter().map(|due| due.event.id).collect()
}

#[test]
fn what_nobody_wants_is_not_written_and_costs_no_statement() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    // A first message notes a contact.
    world.send(ann, bob, "hello");
    let statements = |world: &World| {
        let send = move |tx: &mut Tx<'_>, cx: &Cx| {
            sending::send(tx, cx, ann, &draft(bob, "a", "b"), None)?;
            Ok(tx.statements())
        };
        world.write(send).expect("it can be sent")
    };
    let before = statements(&world);
    world.endpoint(&[EventKind::UserErased]);
    assert_eq!(statements(&world), before);
    assert_eq!(world.number("SELECT count(*) FROM webhook_events"), 0);
    world.endpoint(&[EventKind::MessageCreated]);
    assert_eq!(statements(&world), before + 1);
    assert_eq!(world.number("SELECT count(*) FROM webhook_events"), 1);
}

#[test]
fn an_event_is_there_exactly_if_what_it_tells_of_is() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.endpoint(&EventKind::ALL);
    let undone = world.write(move |tx, cx| {
        sending::send(tx, cx, ann, &draft(bob, "a", "b"), None)?;
        users::erase(tx, cx, bob)?;
        Err::<(), _>(Error::NotFound(Missing::Message))
    });
    assert_eq!(refused(undone), Error::NotFound(Missing::Message));
    assert_eq!(refusal(world.try_send(ann, draft(nobody(), "a", "b"))), Refusal::Unknown);
    assert_eq!(world.number("SELECT count(*) FROM webhook_events"), 0);
}

#[test]
fn an_event_says_who_what_and_when() {
    let world = World::new();
    let endpoint = world.endpoint(&EventKind::ALL);
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    world.wait(Time::SECOND);
    let mut letter = draft(bob, "a", "b");
    letter.to.push(domain::UserRef::Id(cid));
    letter.client_id = Some(ClientId::parse("mine").expect("it is a name"));
    let id = world.try_send(ann, letter).expect("it can be sent");
    let sent_at = world.now();
    world.wait(Time::SECOND);
    world.open(cid, id).expect("it is there");
    world.delete(bob, id).expect("it is there");
    world.write(move |tx, cx| users::erase(tx, cx, bob)).expect("bob exists");
    while world.distribute() > 0 {}

    let told: Vec<_> = world.due(&endpoint).into_iter().map(|due| due.event).collect();
    let ids: Vec<_> = told.iter().map(|event| event.id).collect();
    let event = |at: usize, kind, user: Option<UserId>| Event {
        id: ids[at],
        kind,
        happened_at: world.now(),
        user,
        message: None,
        from: None,
        to: vec![],
        client_id: None,
        unread: None,
        external_ids: vec![],
    };
    let message = Some((id, id.begins()));
    let created = Event {
        happened_at: sent_at,
        message,
        from: Some(ann),
        to: vec![bob, cid],
        client_id: Some("mine".to_owned()),
        ..event(3, EventKind::MessageCreated, None)
    };
    let of_it = |event| Event { message, from: Some(ann), ..event };
    assert_eq!(told[0].user, Some(ann));
    assert_eq!(told[0].kind, EventKind::UserCreated);
    assert_eq!(told[3], created);
    assert_eq!(told[4], of_it(event(4, EventKind::MessageRead, Some(cid))));
    assert_eq!(told[5], of_it(event(5, EventKind::MessageDestroyed, Some(bob))));
    assert_eq!(told[6], event(6, EventKind::UserErased, Some(bob)));
    assert_eq!(told.len(), 7);
    for event in told {
        assert_eq!(Event::parse_name(&event.name()), Some(event.id));
    }
}

#[test]
fn a_message_is_read_once_and_not_again_after_it_was_marked_as_unread() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let endpoint = world.endpoint(&[EventKind::MessageRead]);
    let id = world.send(ann, bob, "to be read");
    let read = |read| domain::messages::Marks { read: Some(read), ..Default::default() };
    for mark in [read(true), read(true), read(false)] {
        world.mark(bob, id, mark);
    }
    world.mark_read(ann, id);
    world.distribute();
    assert_eq!(world.due(&endpoint).len(), 1);
    world.mark_read(bob, id);
    world.mark(bob, id, read(false));
    let batch = domain::messages::Action::Mark(read(true));
    world.write(move |tx, cx| domain::messages::batch(tx, cx, bob, &[id], batch)).unwrap();
    world.distribute();
    assert_eq!(world.due(&endpoint).len(), 1);
}

#[test]
fn each_endpoint_is_told_of_its_kinds_while_it_is_enabled() {
    let world = World::new();
    let all = world.endpoint(&EventKind::ALL);
    let users = world.endpoint(&[EventKind::UserCreated]);
    let off = world.endpoint(&EventKind::ALL);
    let id = off.id;
    assert!(world.change(move |tx, cx| webhooks::disable(tx, cx, id, "a reason")));
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.send(ann, bob, "one");
    world.send(ann, bob, "two");
    assert_eq!((world.distribute(), world.distribute(), world.distribute()), (3, 1, 0));
    assert_eq!([&all, &users, &off].map(|to| world.due(to).len()), [4, 2, 0]);

    let listed = world.read(|tx, _cx| webhooks::list(tx));
    assert_eq!(listed[2].disabled, Some((world.now(), "a reason".to_owned())));
    // What happened meanwhile is not made up for by enabling, but by a replay.
    assert!(world.change(move |tx, _cx| webhooks::enable(tx, id)));
    assert_eq!(world.due(&off).len(), 0);
    assert_eq!(world.replays(&off, Replay::Since(Time(0))), 4);
    assert_eq!(world.replays(&users, Replay::Since(world.now())), 2);
    assert_eq!(world.replays(&users, Replay::Since(world.now().plus(1))), 0);
    assert_eq!(world.due(&off).len(), 4);

    let id = all.id;
    assert!(world.change(move |tx, _cx| webhooks::remove(tx, id)));
    assert!(!world.change(move |tx, _cx| webhooks::remove(tx, id)));
    assert!(!world.change(move |tx, cx| webhooks::disable(tx, cx, id, "")));
    assert!(!world.change(move |tx, _cx| webhooks::enable(tx, id)));
    assert_eq!(world.change(move |tx, cx| webhooks::rotate(tx, cx, id)), None);
    assert_eq!(world.problems(), []);
}

#[test]
fn what_is_wanted_is_what_the_enabled_are_told_of() {
    let world = World::new();
    let messages = world.endpoint(&[EventKind::MessageCreated, EventKind::MessageRead]);
    world.endpoint(&[EventKind::UserErased]);
    let wanted = || webhooks::all_wanted(&world.read(|tx, _cx| webhooks::list(tx)));
    let kinds = [EventKind::MessageCreated, EventKind::MessageRead, EventKind::UserErased];
    assert_eq!(wanted(), kinds.into_iter().collect::<EventKinds>());
    assert_eq!(EventKinds::from_bits(wanted().bits()), wanted());
    world.change(move |tx, cx| webhooks::disable(tx, cx, messages.id, "why"));
    assert_eq!(wanted().iter().collect::<Vec<_>>(), [EventKind::UserErased]);
}

#[test]
fn what_fails_is_tried_again_for_days_and_then_given_up() {
    let world = World::new();
    let endpoint = world.endpoint(&[EventKind::UserCreated]);
    world.user("ann");
    world.distribute();
    let name = world.due(&endpoint)[0].event.name();
    for (number, wait) in RETRIES.into_iter().enumerate() {
        let due = world.due(&endpoint);
        assert_eq!((due.len(), due[0].event.name()), (1, name.clone()));
        assert_eq!(due[0].attempts, i64::try_from(number).expect("a small number"));
        world.records(&endpoint, &due[0], Outcome::Failed(None));
        assert_eq!(world.due(&endpoint), []);
        let DeliveryStatus::Due(next) = world.log()[0].status else { panic!("it is tried again") };
        let waits = next.0 - world.now().0;
        assert!((wait..=wait + wait / 10).contains(&waits), "{waits} instead of {wait}");
        world.set_clock(next.plus(-1));
        assert_eq!(world.due(&endpoint), []);
        world.wait(1);
    }
    let due = world.due(&endpoint);
    world.records(&endpoint, &due[0], Outcome::Failed(None));
    world.wait(365 * Time::DAY);
    assert_eq!(world.due(&endpoint), []);
    let log = world.log();
    assert_eq!((log[0].status, log[0].attempts), (DeliveryStatus::GivenUp, 10));
    assert_eq!(log[0].outcome.as_deref(), Some("Failed(None)"));

    assert_eq!(world.replays(&endpoint, Replay::GivenUp(world.now())), 0);
    assert_eq!(world.replays(&endpoint, Replay::GivenUp(Time(0))), 1);
    let due = world.due(&endpoint);
    assert_eq!((due[0].attempts, due[0].event.name()), (0, name));
    world.records(&endpoint, &due[0], Outcome::Delivered);
    assert_eq!(world.log()[0].status, DeliveryStatus::Delivered(world.now()));
    assert_eq!(world.replays(&endpoint, Replay::GivenUp(Time(0))), 0);
    assert_eq!(world.due(&endpoint), []);
    assert_eq!(world.replays(&endpoint, Replay::Event(due[0].event.id)), 1);
    assert_eq!(events(&world.due(&endpoint)), [due[0].event.id]);
    let lost = Event::parse_name("evt_999_1").expect("it is a name");
    assert_eq!(world.replays(&endpoint, Replay::Event(lost)), 0);
}

#[test]
fn an_endpoint_that_asks_for_patience_gets_a_day_at_most() {
    let world = World::new();
    let endpoint = world.endpoint(&[EventKind::UserCreated]);
    let hour = Time::HOUR;
    for (name, asked, least) in [
        ("ann", hour, hour),
        ("bob", -hour, RETRIES[0]),
        ("cid", 0, RETRIES[0]),
        ("dot", 100 * Time::DAY, Time::DAY),
        ("eve", i64::MAX, Time::DAY),
    ] {
        world.user(name);
        world.distribute();
        let due = world.due(&endpoint);
        world.records(&endpoint, &due[0], Outcome::Failed(Some(asked)));
        let DeliveryStatus::Due(next) = world.log()[0].status else { panic!("it is tried again") };
        let waits = next.0 - world.now().0;
        assert!((least..=least + least / 10).contains(&waits), "{name} waits {waits}");
    }
}

#[test]
fn a_webhook_that_is_gone_gets_nothing_until_it_is_enabled() {
    let world = World::new();
    let (gone, other) = (world.endpoint(&EventKind::ALL), world.endpoint(&EventKind::ALL));
    world.user("ann");
    world.user("bob");
    world.distribute();
    let due = world.due(&gone);
    world.records(&gone, &due[0], Outcome::Gone);
    let listed = world.read(|tx, _cx| webhooks::list(tx));
    let why = "it answered 410 Gone".to_owned();
    assert_eq!(listed[0].disabled, Some((world.now(), why)));
    assert_eq!(listed[1].disabled, None);
    world.user("cid");
    world.distribute();
    assert_eq!(world.due(&other).len(), 3);
    // What was to be told before waits.
    assert_eq!(events(&world.due(&gone)), events(&due[1..]));
}

#[test]
fn after_thirty_days_it_is_forgotten_what_was_told() {
    let world = World::new();
    let endpoint = world.endpoint(&EventKind::ALL);
    let kept = 30 * Time::DAY;
    let sweep = |world: &World| {
        world.write(move |tx, cx| webhooks::purge(tx, cx, kept, 2)).expect("it can be swept")
    };
    for name in ["ann", "bob", "cid"] {
        world.user(name);
    }
    while world.distribute() > 0 {}
    let due = world.due(&endpoint);
    world.records(&endpoint, &due[0], Outcome::Delivered);
    world.wait(Time::DAY);
    world.user("dot");
    world.distribute();
    world.wait(29 * Time::DAY);
    assert_eq!(sweep(&world), 0);
    world.wait(1);
    assert_eq!((sweep(&world), sweep(&world), sweep(&world)), (2, 1, 0));
    assert_eq!(world.log().len(), 1);
    assert_eq!(world.due(&endpoint).len(), 1);
    assert_eq!(world.problems(), []);
}

#[test]
fn the_secret_before_the_newest_signs_for_a_while() {
    let world = World::new();
    let id = world.endpoint(&EventKind::ALL).id;
    let rotate = || {
        let rotated = world.change(move |tx, cx| webhooks::rotate(tx, cx, id));
        rotated.expect("it is there")
    };
    let signing = |endpoint: &Endpoint, later: i64| {
        endpoint.signing(world.now().plus(later), Time::DAY).collect::<Vec<_>>()
    };
    let first = world.read(move |tx, _cx| webhooks::find(tx, id)).expect("it is there");
    assert_eq!(signing(&first, 0), [1]);
    let second = rotate();
    assert_eq!(signing(&second, 0), [2, 1]);
    assert_eq!(signing(&second, Time::DAY - 1), [2, 1]);
    assert_eq!(signing(&second, Time::DAY), [2]);
    world.wait(Time::HOUR);
    assert_eq!(signing(&rotate(), 0), [3, 2]);
}
