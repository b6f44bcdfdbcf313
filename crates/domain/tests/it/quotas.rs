//! Quotas on sending: what a window allows, when it is over, and what is not taken.

use domain::quotas::{self, Remaining, SendLimits, Use};
use domain::throttle;
use domain::{Error, Exceeded, Result, Time, UserId};

use crate::support::{World, refused};

const LIMITS: SendLimits = SendLimits {
    sends_per_hour: 3,
    sends_per_day: 5,
    contacts_per_hour: 2,
    contacts_per_day: 4,
    lookups_per_hour: 6,
    young_for: 0,
    young_divisor: 1,
};

impl World {
    fn take(&self, owner: UserId, limits: SendLimits, contacts: i64) -> Result<Vec<Remaining>> {
        self.write(move |tx, cx| {
            let taken = Use { sends: 1, contacts, lookups: 0 };
            quotas::take(tx, cx, owner, &limits, &taken)
        })
    }

    /// Takes a message to somebody known: what remains of the hour and of the day.
    fn send_known(&self, owner: UserId) -> Vec<i64> {
        let left = self.take(owner, LIMITS, 0).expect("it is within the limits");
        left.into_iter().map(|standing| standing.remaining).collect()
    }

    fn quota_rows(&self) -> Vec<(i64, i64, i64)> {
        self.rows("SELECT owner_id, kind, used FROM quotas ORDER BY owner_id, kind", |row| {
            Ok((row.int(0)?, row.int(1)?, row.int(2)?))
        })
    }
}

#[test]
fn look_ups_take_of_a_limit_of_their_own() {
    let world = World::new();
    let ann = world.user("ann");
    let look_up =
        |count| world.write(move |tx, cx| quotas::take_lookups(tx, cx, ann, &LIMITS, count));
    assert_eq!((look_up(4), look_up(2)), (Ok(()), Ok(())));
    let refused = exceeded(refused(look_up(1)));
    assert_eq!(refused, ("lookup-hour", 6, 3600, 3600));
    assert_eq!(world.send_known(ann), [2, 4], "sends have their own");
    world.wait(Time::HOUR);
    assert_eq!(look_up(6), Ok(()));
}

#[test]
fn look_ups_that_are_counted_late_store_nothing_of_an_erased_user() {
    let world = World::new();
    let ann = world.user("ann");
    world.erase(ann);
    let late = world.write(move |tx, cx| quotas::take_lookups(tx, cx, ann, &LIMITS, 1));
    assert_eq!(refused(late), Error::NotLoggedIn);
    assert_eq!(world.quota_rows(), []);
}

fn exceeded(error: Error) -> (&'static str, i64, i64, i64) {
    match error {
        Error::QuotaExceeded(Exceeded { name, limit, window_seconds, retry_after }) => {
            (name, limit, window_seconds, retry_after)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_left_is_told_of_each_limit_that_was_touched() {
    let world = World::new();
    let ann = world.user("ann");
    let standing = |name, limit, window_seconds, remaining, reset_seconds| Remaining {
        name,
        limit,
        window_seconds,
        remaining,
        reset_seconds,
    };
    assert_eq!(
        world.take(ann, LIMITS, 0).unwrap(),
        [standing("send-hour", 3, 3600, 2, 3600), standing("send-day", 5, 86400, 4, 86400)]
    );
    world.wait(Time::SECOND + 1);
    assert_eq!(
        world.take(ann, LIMITS, 2).unwrap(),
        [
            standing("send-hour", 3, 3600, 1, 3599),
            standing("send-day", 5, 86400, 3, 86399),
            standing("contact-hour", 2, 3600, 0, 3600),
            standing("contact-day", 4, 86400, 2, 86400),
        ]
    );
}

#[test]
fn a_window_allows_its_limit_and_the_next_one_begins_when_it_is_over() {
    let world = World::new();
    let ann = world.user("ann");
    for remaining in [[2, 4], [1, 3], [0, 2]] {
        assert_eq!(world.send_known(ann), remaining);
    }
    let hour = |retry_after| ("send-hour", 3, 3600, retry_after);
    assert_eq!(exceeded(refused(world.take(ann, LIMITS, 0))), hour(3600));
    world.wait(Time::HOUR - Time::SECOND - 1);
    assert_eq!(exceeded(refused(world.take(ann, LIMITS, 0))), hour(2));
    world.wait(Time::SECOND);
    assert_eq!(exceeded(refused(world.take(ann, LIMITS, 0))), hour(1));
    world.wait(1);
    assert_eq!(world.send_known(ann), [2, 1]);
    assert_eq!(world.send_known(ann), [1, 0]);
    let day = ("send-day", 5, 86400, 23 * 3600);
    assert_eq!(exceeded(refused(world.take(ann, LIMITS, 0))), day);
    world.wait(23 * Time::HOUR - 1);
    assert_eq!(exceeded(refused(world.take(ann, LIMITS, 0))), ("send-day", 5, 86400, 1));
    world.wait(1);
    assert_eq!(world.send_known(ann), [2, 4]);
}

#[test]
fn of_several_limits_the_one_is_told_that_holds_up_longest() {
    let world = World::new();
    let ann = world.user("ann");
    let limits = SendLimits { sends_per_hour: 1, sends_per_day: 1, ..LIMITS };
    world.take(ann, limits, 0).unwrap();
    assert_eq!(exceeded(refused(world.take(ann, limits, 0))).0, "send-day");
    let error = refused(world.take(ann, limits, 0)).to_string();
    assert_eq!(error, "more than 1 in 86400 seconds, try again in 86400 seconds");
}

#[test]
fn nothing_is_taken_where_a_limit_does_not_allow_it() {
    let world = World::new();
    let ann = world.user("ann");
    world.take(ann, LIMITS, 1).unwrap();
    let before = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 4, 1)];
    assert_eq!(world.quota_rows(), before);
    let over = exceeded(refused(world.take(ann, LIMITS, 2)));
    assert_eq!(over, ("contact-hour", 2, 3600, 3600));
    assert_eq!(world.quota_rows(), before);
    world.take(ann, LIMITS, 1).unwrap();
    assert_eq!(world.quota_rows(), [(1, 1, 2), (1, 2, 2), (1, 3, 2), (1, 4, 2)]);
}

#[test]
fn a_message_to_many_takes_each_of_its_first_contacts() {
    let world = World::new();
    let ann = world.user("ann");
    let limits = SendLimits { contacts_per_hour: 100, contacts_per_day: 100, ..LIMITS };
    assert_eq!(world.take(ann, limits, 100).unwrap()[2].remaining, 0);
    let over = exceeded(refused(world.take(ann, limits, 1)));
    assert_eq!(over, ("contact-day", 100, 86400, 86400));
    let more = exceeded(refused(world.take(world.user("bob"), limits, 101)));
    assert_eq!((more.0, more.1), ("contact-day", 100));
}

#[test]
fn who_writes_to_known_people_touches_no_limit_on_contacts() {
    let world = World::new();
    let ann = world.user("ann");
    world.take(ann, LIMITS, 2).unwrap();
    assert_eq!(exceeded(refused(world.take(ann, LIMITS, 1))).0, "contact-hour");
    assert_eq!(world.send_known(ann), [1, 3]);
    assert_eq!(world.quota_rows(), [(1, 1, 2), (1, 2, 2), (1, 3, 2), (1, 4, 2)]);
}

#[test]
fn each_user_has_separate_limits() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    (0..3).for_each(|_| drop(world.send_known(ann)));
    assert!(world.take(ann, LIMITS, 0).is_err());
    assert_eq!(world.send_known(bob), [2, 4]);
}

#[test]
fn a_window_that_a_wrong_clock_began_is_over() {
    let world = World::new();
    let ann = world.user("ann");
    (0..3).for_each(|_| drop(world.send_known(ann)));
    world.wait(-15 * Time::SECOND - 1);
    assert_eq!(world.send_known(ann), [2, 4]);
    assert_eq!(world.send_known(ann), [1, 3], "the new window began now");
}

/// Requests do not get to the database in the order of their times.
#[test]
fn a_window_that_a_later_request_began_counts_for_an_earlier_one() {
    let world = World::new();
    let ann = world.user("ann");
    for remaining in [[2, 4], [1, 3], [0, 2]] {
        assert_eq!(world.send_known(ann), remaining);
        world.wait(-5 * Time::SECOND);
    }
    let over = exceeded(refused(world.take(ann, LIMITS, 0)));
    assert_eq!(over, ("send-hour", 3, 3600, 3615));
}

#[test]
fn a_young_account_has_a_part_of_each_limit_and_at_least_one() {
    let world = World::new();
    let ann = world.user("ann");
    let limits = SendLimits {
        sends_per_hour: 10,
        sends_per_day: 11,
        contacts_per_hour: 4,
        contacts_per_day: 0,
        lookups_per_hour: 9,
        young_for: Time::DAY,
        young_divisor: 5,
    };
    let told = |contacts| {
        let taken = world.take(ann, limits, contacts);
        taken.map(|left| left.iter().map(|one| (one.limit, one.remaining)).collect::<Vec<_>>())
    };
    assert_eq!(told(0).unwrap(), [(2, 1), (2, 1)]);
    assert_eq!(exceeded(refused(told(1))), ("contact-day", 0, 86400, 86400), "none is none");
    assert_eq!(exceeded(refused(told(2))).0, "contact-day");
    assert_eq!(told(0).unwrap(), [(2, 0), (2, 0)]);
    world.wait(Time::DAY - 1);
    assert_eq!(exceeded(refused(told(0))), ("send-day", 2, 86400, 1));
    world.wait(1);
    assert_eq!(told(0).unwrap(), [(10, 9), (11, 10)]);

    let one = SendLimits { contacts_per_day: 4, ..limits };
    let bob = world.user("bob");
    let left = world.take(bob, one, 1).unwrap();
    assert_eq!((left[2].limit, left[2].remaining), (1, 0));
    let old = SendLimits { young_for: 0, ..one };
    assert_eq!(world.take(bob, old, 1).unwrap()[2].limit, 4);

    world.wait(400 * Time::DAY);
    let eve = world.user("eve");
    world.wait(-400 * Time::DAY);
    assert_eq!(world.take(eve, one, 1).unwrap()[2].limit, 4, "a clock that was ahead made it");
}

/// Registers from an address, where 3 in an hour are allowed.
fn register(world: &World, address: &str) -> Result<()> {
    let address = address.parse().expect("the address is valid");
    world.write(move |tx, cx| throttle::count_registration(tx, cx, address, 3))
}

#[test]
fn an_address_registers_so_many_accounts_an_hour() {
    let world = World::new();
    for _ in 0..3 {
        assert_eq!(register(&world, "192.0.2.1"), Ok(()));
        world.wait(Time::SECOND);
    }
    let over = |retry_after| {
        let over = Exceeded { name: "register", limit: 3, window_seconds: 3600, retry_after };
        Err(Error::TooManyRegistrations(over))
    };
    assert_eq!(register(&world, "192.0.2.1"), over(3597));
    assert_eq!(register(&world, "::ffff:192.0.2.1"), over(3597));
    assert_eq!(register(&world, "192.0.2.2"), Ok(()));
    world.wait(3597 * Time::SECOND - 1);
    assert_eq!(register(&world, "192.0.2.1"), over(1));
    world.wait(1);
    for _ in 0..3 {
        assert_eq!(register(&world, "192.0.2.1"), Ok(()));
    }
    assert_eq!(register(&world, "192.0.2.1"), over(3600));
}

#[test]
fn a_network_of_ipv6_registers_as_one_address() {
    let world = World::new();
    for address in ["2001:db8::1", "2001:db8::ffff:1", "2001:db8::2:0:0:1"] {
        assert_eq!(register(&world, address), Ok(()));
    }
    assert!(register(&world, "2001:db8::5").is_err());
    assert_eq!(register(&world, "2001:db8:0:1::5"), Ok(()));
}

#[test]
fn registrations_of_a_wrong_clock_are_forgotten() {
    let world = World::new();
    (0..3).for_each(|_| assert_eq!(register(&world, "192.0.2.1"), Ok(())));
    world.wait(-15 * Time::SECOND);
    assert!(register(&world, "192.0.2.1").is_err(), "an earlier request that came later");
    world.wait(-1);
    assert_eq!(register(&world, "192.0.2.1"), Ok(()));
}

#[test]
fn registrations_are_no_failed_logins_and_are_swept_with_them() {
    let world = World::new();
    (0..3).for_each(|_| assert_eq!(register(&world, "192.0.2.1"), Ok(())));
    let address = "192.0.2.1".parse().ok();
    for _ in 0..9 {
        assert!(world.write(move |tx, cx| throttle::count(tx, cx, "ann", address)).is_ok());
    }
    assert!(register(&world, "192.0.2.1").is_err());
    assert_eq!(world.number("SELECT count(*) FROM throttles"), 3);
    world.wait(Time::HOUR + 1);
    assert_eq!(register(&world, "192.0.2.9"), Ok(()));
    assert_eq!(world.number("SELECT count(*) FROM throttles"), 2, "ann's, and the new one");
}

/// Tries to register from an address, where 3 in an hour may succeed.
fn try_to_register(world: &World, address: &str) -> Result<()> {
    let address = address.parse().expect("the address is valid");
    world.write(move |tx, cx| throttle::try_registration(tx, cx, address, 3))
}

#[test]
fn five_times_as_many_registrations_may_be_tried_as_may_succeed() {
    let world = World::new();
    for _ in 0..15 {
        assert_eq!(try_to_register(&world, "192.0.2.1"), Ok(()));
    }
    let limits = |refused: Result<()>| match refused {
        Err(Error::TooManyRegistrations(Exceeded { limit, .. })) => limit,
        other => panic!("{other:?}"),
    };
    assert_eq!(limits(try_to_register(&world, "192.0.2.1")), 15);
    assert_eq!(register(&world, "192.0.2.1"), Ok(()), "what was let through may be finished");
    assert_eq!(try_to_register(&world, "192.0.2.2"), Ok(()));
    (0..3).for_each(|_| assert_eq!(register(&world, "192.0.2.2"), Ok(())));
    assert_eq!(limits(try_to_register(&world, "192.0.2.2")), 3, "nobody hashes in vain");
    world.wait(Time::HOUR);
    assert_eq!(try_to_register(&world, "192.0.2.1"), Ok(()));
    assert_eq!(try_to_register(&world, "192.0.2.2"), Ok(()));
}

#[test]
fn wider_networks_of_ipv6_register_twice_and_eight_times_as_many() {
    let world = World::new();
    for number in 0..6 {
        assert_eq!(register(&world, &format!("2001:db8:0:{number:x}::1")), Ok(()));
    }
    assert!(register(&world, "2001:db8:0:ff::1").is_err(), "the same /56");
    for number in 1..=18 {
        assert_eq!(register(&world, &format!("2001:db8:0:{number:x}00::1")), Ok(()));
    }
    assert!(register(&world, "2001:db8:0:ff00::1").is_err(), "the same /48");
    assert_eq!(register(&world, "2001:db8:1::1"), Ok(()));
}
