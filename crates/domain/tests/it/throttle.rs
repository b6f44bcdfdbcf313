//! Failed logins: what is free, what is held up, for how long, and what is forgotten.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};

use domain::throttle::{self, Counted};
use domain::{Error, Exceeded, Time};

use crate::support::World;

/// What the account of a name is held up after each failure from the tenth on, in seconds.
const DELAYS: [i64; 9] = [30, 60, 120, 240, 480, 960, 1200, 1200, 1200];

/// By how many seconds requests may get to the database in another order than they came.
const SLACK: i64 = 15;

thread_local! {
    /// The latest attempt of a test that was counted.
    static LATEST: RefCell<Option<Counted>> = const { RefCell::new(None) };
}

/// An attempt of a stranger.
#[derive(Clone, Copy)]
struct SignInAttempt {
    name: &'static str,
    address: Option<IpAddr>,
}

impl SignInAttempt {
    fn new(name: &str, address: Option<IpAddr>) -> Self {
        Self { name: name.to_owned().leak(), address }
    }
}

fn at(name: &str, address: &str) -> SignInAttempt {
    SignInAttempt::new(name, Some(address.parse().expect("the address is valid")))
}

/// An address that no other number has, and no other /64.
fn address(number: u32) -> IpAddr {
    Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(number) << 64)).into()
}

impl World {
    /// Tries to log in: the seconds to wait where it is too early.
    fn attempt(&self, attempt: SignInAttempt) -> Result<(), i64> {
        let SignInAttempt { name, address } = attempt;
        match self.write(move |tx, cx| throttle::count(tx, cx, name, address)) {
            Ok(counted) => {
                LATEST.set(Some(counted));
                Ok(())
            }
            Err(Error::Throttled(Exceeded { retry_after, .. })) => {
                assert!((1..=1200 + SLACK).contains(&retry_after), "{retry_after} s");
                Err(retry_after)
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Gives the latest attempt back, as the password was right.
    fn was_right(&self) {
        let latest = LATEST.take().expect("an attempt was counted");
        self.write(move |tx, _cx| throttle::give_back(tx, &latest)).expect("it never fails");
    }

    fn throttles(&self) -> i64 {
        self.number("SELECT count(*) FROM throttles")
    }
}

#[test]
fn ten_tries_are_free_and_each_further_one_costs_more_up_to_twenty_minutes() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    for _ in 0..9 {
        assert_eq!(world.attempt(ann), Ok(()));
    }
    for seconds in DELAYS {
        assert_eq!(world.attempt(ann), Ok(()));
        assert_eq!(world.attempt(ann), Err(seconds));
        world.wait(seconds * Time::SECOND - 1);
        assert_eq!(world.attempt(ann), Err(1));
        world.wait(1);
    }
}

#[test]
fn the_time_to_wait_is_told_in_whole_seconds_and_is_enough() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    (0..10).for_each(|_| assert_eq!(world.attempt(ann), Ok(())));
    world.wait(1);
    assert_eq!(world.attempt(ann), Err(30));
    world.wait(Time::SECOND);
    assert_eq!(world.attempt(ann), Err(29));
    world.wait(29 * Time::SECOND);
    assert_eq!(world.attempt(ann), Ok(()));
}

#[test]
fn the_failures_at_one_account_hold_up_no_other() {
    let world = World::new();
    for number in 0..10 {
        let from = Some(address(number));
        assert_eq!(world.attempt(SignInAttempt::new("ann", from)), Ok(()));
    }
    assert_eq!(world.attempt(SignInAttempt::new("ann", Some(address(10)))), Err(30));
    assert_eq!(world.attempt(SignInAttempt::new("bob", Some(address(10)))), Ok(()));
}

#[test]
fn a_right_password_gives_back_its_own_try_and_no_other() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    for _ in 0..9 {
        assert_eq!(world.attempt(ann), Ok(()));
        world.was_right();
        assert_eq!(world.attempt(ann), Ok(()), "of somebody else, and wrong");
    }
    assert_eq!(world.attempt(ann), Ok(()));
    world.was_right();
    assert_eq!(world.attempt(ann), Ok(()), "the tenth that is wrong");
    assert_eq!(world.attempt(ann), Err(30));
    world.wait(30 * Time::SECOND);
    assert_eq!(world.attempt(ann), Ok(()));
    world.was_right();
    assert_eq!(world.attempt(ann), Ok(()), "as if nobody had been right");
    assert_eq!(world.attempt(ann), Err(60));
}

#[test]
fn failures_are_forgotten_after_a_day() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    for _ in 0..9 {
        assert_eq!(world.attempt(ann), Ok(()));
    }
    world.wait(Time::DAY - 1);
    assert_eq!(world.attempt(ann), Ok(()), "the tenth");
    assert_eq!(world.attempt(ann), Err(30));

    let bob = SignInAttempt::new("bob", None);
    for _ in 0..9 {
        assert_eq!(world.attempt(bob), Ok(()));
    }
    world.wait(Time::DAY);
    for _ in 0..10 {
        assert_eq!(world.attempt(bob), Ok(()));
    }
    assert_eq!(world.attempt(bob), Err(30));
}

#[test]
fn an_address_fails_thirty_times_a_minute() {
    let world = World::new();
    for number in 0..30 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(60));
    assert_eq!(world.attempt(at("ann", "192.0.2.2")), Ok(()));
    world.wait(Time::MINUTE - 1);
    assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(1));
    world.wait(1);
    for number in 0..30 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(60));
}

#[test]
fn without_an_address_only_the_account_is_counted() {
    let world = World::new();
    for number in 0..100 {
        assert_eq!(world.attempt(SignInAttempt::new(&format!("user {number}"), None)), Ok(()));
    }
    assert_eq!(world.throttles(), 100);
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    let world = World::new();
    for number in 0..30 {
        let from = format!("2001:db8:1:2:{number:x}::{number:x}");
        assert_eq!(world.attempt(at(&format!("user {number}"), &from)), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "2001:db8:1:2:ffff:ffff:ffff:ffff")), Err(60));
    assert_eq!(world.attempt(at("ann", "2001:db8:1:3::1")), Ok(()));
}

#[test]
fn a_wider_network_of_ipv6_has_twice_or_eight_times_as_many_tries_in_all() {
    let world = World::new();
    for number in 0..60 {
        let from = format!("2001:db8:1:{number:x}::1");
        assert_eq!(world.attempt(at(&format!("user {number}"), &from)), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "2001:db8:1:ff::1")), Err(60), "the same /56");
    for number in 60..240 {
        let from = format!("2001:db8:1:{number:x}00::1");
        assert_eq!(world.attempt(at(&format!("user {number}"), &from)), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "2001:db8:1:f500::1")), Err(60), "the same /48");
    assert_eq!(world.attempt(at("ann", "2001:db8:2::1")), Ok(()));
}

#[test]
fn an_ipv4_address_is_the_same_in_the_clothes_of_ipv6() {
    let world = World::new();
    for number in 0..30 {
        let from = if number % 2 == 0 { "192.0.2.1" } else { "::ffff:192.0.2.1" };
        assert_eq!(world.attempt(at(&format!("user {number}"), from)), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(60));
    assert_eq!(world.attempt(at("ann", "::ffff:192.0.2.1")), Err(60));
    assert_eq!(world.attempt(at("ann", "::ffff:192.0.2.2")), Ok(()), "its neighbour");
}

#[test]
fn an_account_is_never_taken_for_an_address() {
    let world = World::new();
    assert_eq!(world.attempt(at("AAAA", "65.65.65.65")), Ok(()));
    assert_eq!(world.throttles(), 2);
}

#[test]
fn what_was_typed_as_a_name_is_stored_nowhere() {
    let world = World::new();
    let typed = "my password, typed into the wrong field";
    assert_eq!(world.attempt(at(typed, "192.0.2.1")), Ok(()));
    let stored = world.stored_bytes();
    assert!(!stored.windows(typed.len()).any(|window| window == typed.as_bytes()));
}

#[test]
fn an_attempt_that_is_refused_because_of_the_account_is_not_counted() {
    let world = World::new();
    for number in 0..10 {
        assert_eq!(world.attempt(SignInAttempt::new("ann", Some(address(number)))), Ok(()));
    }
    for _ in 0..100 {
        assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(30));
    }
    world.wait(30 * Time::SECOND);
    assert_eq!(world.attempt(SignInAttempt::new("ann", None)), Ok(()));
    assert_eq!(
        world.attempt(SignInAttempt::new("ann", None)),
        Err(60),
        "as after one more failure"
    );
    for number in 0..30 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
}

#[test]
fn an_attempt_that_is_refused_because_of_the_address_is_not_counted() {
    let world = World::new();
    for number in 0..30 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
    for _ in 0..100 {
        assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(60));
    }
    for _ in 0..10 {
        assert_eq!(world.attempt(at("ann", "192.0.2.2")), Ok(()));
    }
    assert_eq!(world.attempt(at("ann", "192.0.2.2")), Err(30));
    world.wait(Time::MINUTE);
    assert_eq!(world.attempt(at("bob", "192.0.2.1")), Ok(()));
}

#[test]
fn a_right_password_gives_the_address_its_try_back() {
    let world = World::new();
    for _ in 0..100 {
        assert_eq!(world.attempt(at("ann", "192.0.2.1")), Ok(()));
        world.was_right();
    }
    for number in 0..29 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
    // The thirtieth is no failure, so nothing is held up; the next failure is.
    assert_eq!(world.attempt(at("ann", "192.0.2.1")), Ok(()));
    world.was_right();
    assert_eq!(world.attempt(at("user 29", "192.0.2.1")), Ok(()));
    assert_eq!(world.attempt(at("ann", "192.0.2.1")), Err(60));
}

#[test]
fn a_right_password_forgives_neither_other_accounts_nor_other_addresses() {
    let world = World::new();
    for number in 0..30 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
    for number in 0..10 {
        assert_eq!(world.attempt(SignInAttempt::new("ann", Some(address(number)))), Ok(()));
    }
    assert_eq!(world.attempt(at("bob", "192.0.2.2")), Ok(()));
    world.was_right();
    assert_eq!(world.attempt(at("bob", "192.0.2.1")), Err(60));
    assert_eq!(world.attempt(at("ann", "192.0.2.2")), Err(30));
}

#[test]
fn what_is_given_back_twice_leaves_nothing_below_zero() {
    let world = World::new();
    let ann = at("ann", "192.0.2.1");
    let counted = world.write(move |tx, cx| throttle::count(tx, cx, ann.name, ann.address));
    let counted = counted.expect("it is the first");
    for _ in 0..3 {
        let counted = counted.clone();
        world.write(move |tx, _cx| throttle::give_back(tx, &counted)).expect("it never fails");
    }
    assert_eq!(world.number("SELECT min(failures) FROM throttles"), 0);
}

/// As many guesses as the doubling delays leave in a day; more would be worth an attack.
const GUESSES_A_DAY: usize = 100;

#[test]
fn from_endless_addresses_an_account_takes_at_most_a_hundred_guesses_a_day() {
    let world = World::new();
    let end = world.now().plus(2 * Time::DAY + 60 * Time::MINUTE);
    let mut guesses = Vec::new();
    for number in 0.. {
        // Attempts elsewhere sweep what is over; that must not help.
        let elsewhere = SignInAttempt::new("eve", Some(address(1_000_000 + number)));
        assert_eq!(world.attempt(elsewhere), Ok(()));
        world.was_right();
        match world.attempt(SignInAttempt::new("ann", Some(address(number)))) {
            Ok(()) => guesses.push(world.now()),
            // Tries a little earlier too, as a block may end before it is told to.
            Err(1) => world.wait(Time::SECOND),
            Err(seconds) => world.wait((seconds - 1) * Time::SECOND),
        }
        assert!(guesses.len() < 4 * GUESSES_A_DAY, "the clock hardly has to move");
        if world.now() > end {
            break;
        }
    }
    let within_a_day = |first: usize| {
        let from = guesses[first];
        guesses[first..].iter().take_while(|guess| **guess < from.plus(Time::DAY)).count()
    };
    let most = (0..guesses.len()).map(within_a_day).max().unwrap();
    assert!(most <= GUESSES_A_DAY, "{most} guesses within a day");
    assert!(guesses.len() >= 2 * 80, "{} in two days: nobody is locked out", guesses.len());
}

#[test]
fn a_block_holds_to_its_end_although_its_window_ends_before() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    for _ in 0..9 {
        assert_eq!(world.attempt(ann), Ok(()));
    }
    world.wait(Time::DAY - Time::SECOND);
    assert_eq!(world.attempt(ann), Ok(()));
    world.wait(2 * Time::SECOND);
    assert_eq!(world.attempt(ann), Err(28));
    assert_eq!(world.attempt(SignInAttempt::new("bob", None)), Ok(()), "which sweeps what is over");
    assert_eq!(world.attempt(ann), Err(28));
    world.wait(28 * Time::SECOND);
    assert_eq!(world.attempt(ann), Ok(()));
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_for_longer_than_a_block_lasts() {
    let backs = [
        Time::SECOND,
        SLACK * Time::SECOND,
        SLACK * Time::SECOND + 1,
        Time::MINUTE,
        19 * Time::MINUTE,
        20 * Time::MINUTE,
        20 * Time::MINUTE + 1,
        60 * Time::MINUTE,
        Time::DAY,
        Time::DAY + 1,
        10_000 * Time::DAY,
    ];
    for back in backs {
        let world = World::new();
        for number in 0..9 {
            assert_eq!(world.attempt(SignInAttempt::new("ann", Some(address(number)))), Ok(()));
        }
        // As long as they get: 20 minutes for the account, one for the address.
        for number in 0..6 {
            let from = SignInAttempt::new("ann", Some(address(100 + number)));
            assert_eq!(world.attempt(from), Ok(()));
            world.wait(world.attempt(from).unwrap_err() * Time::SECOND);
        }
        assert_eq!(world.attempt(SignInAttempt::new("ann", None)), Ok(()));
        for number in 0..30 {
            assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
        }
        world.wait(-back);
        for (attempt, longest) in
            [(SignInAttempt::new("ann", None), 1200), (at("bob", "192.0.2.1"), 60)]
        {
            if let Err(seconds) = world.attempt(attempt) {
                assert!(seconds <= longest + SLACK, "{seconds} s after {back} µs back");
                world.wait(seconds * Time::SECOND);
                assert_eq!(world.attempt(attempt), Ok(()), "after {back} µs back");
            }
        }
    }
}

/// Many attempts at once do not get to the database in the order of their times.
#[test]
fn an_attempt_that_came_earlier_and_is_counted_later_is_one_more() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    for _ in 0..10 {
        assert_eq!(world.attempt(ann), Ok(()));
        world.wait(-Time::SECOND);
    }
    assert_eq!(world.attempt(ann), Err(31));
    for number in 0..30 {
        assert_eq!(world.attempt(at(&format!("user {number}"), "192.0.2.1")), Ok(()));
    }
    world.wait(-Time::SECOND);
    assert_eq!(world.attempt(at("bob", "192.0.2.1")), Err(61));
}

#[test]
fn a_window_that_begins_in_the_future_is_begun_again() {
    let world = World::new();
    let ann = SignInAttempt::new("ann", None);
    world.wait(365 * Time::DAY);
    for _ in 0..9 {
        assert_eq!(world.attempt(ann), Ok(()));
    }
    world.wait(-365 * Time::DAY);
    for _ in 0..10 {
        assert_eq!(world.attempt(ann), Ok(()));
    }
    assert_eq!(world.attempt(ann), Err(30));
}

#[test]
fn what_is_over_is_swept_by_those_who_come_later() {
    let world = World::new();
    for number in 0..20 {
        let from = format!("192.0.2.{number}");
        assert_eq!(world.attempt(at(&format!("user {number}"), &from)), Ok(()));
    }
    assert_eq!(world.throttles(), 40, "nothing is over");

    world.wait(Time::DAY);
    assert_eq!(world.attempt(SignInAttempt::new("later", None)), Ok(()));
    assert_eq!(world.throttles(), 37, "four of the addresses went, and one row came");

    world.wait(1);
    for number in 0..19 {
        assert_eq!(world.attempt(SignInAttempt::new(&format!("later {number}"), None)), Ok(()));
    }
    assert_eq!(world.throttles(), 20, "only what came later is left");
    assert_eq!(world.attempt(SignInAttempt::new("latest", None)), Ok(()));
    assert_eq!(world.throttles(), 21, "and that is not over");
}
