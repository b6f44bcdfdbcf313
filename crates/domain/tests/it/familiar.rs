//! Somebody else's guesses do not keep the owner out: what is counted for an address from which
//! they have signed in, and for their sessions and tokens, is counted there alone.

use std::net::IpAddr;

use domain::credential::{self, Credential, CredentialKind};
use domain::throttle::{self, Counted};
use domain::{Error, Result, Time, UserId, users};

use crate::support::World;

const HOME: &str = "192.0.2.7";

impl World {
    fn count(&self, name: &'static str, from: &str) -> Result<Counted> {
        let from: IpAddr = from.parse().expect("the address is valid");
        self.write(move |tx, cx| throttle::count(tx, cx, name, Some(from)))
    }

    /// Tries to log in with a wrong password: the seconds to wait where it is too early.
    fn fails(&self, name: &'static str, from: &str) -> Result<(), i64> {
        seconds(self.count(name, from))
    }

    /// The same with the right one.
    fn gets_in(&self, name: &'static str, user: UserId, from: &str) -> Result<(), i64> {
        let counted = self.count(name, from);
        if let Ok(counted) = counted.clone() {
            self.let_in(user, counted);
        }
        seconds(counted)
    }

    fn let_in(&self, user: UserId, counted: Counted) {
        self.write(move |tx, cx| throttle::let_in(tx, cx, user, &counted)).expect("it never fails");
    }

    /// Has strangers fail until none of them may try.
    fn strangers_guess(&self, name: &'static str) {
        for number in 0..10 {
            assert_eq!(self.fails(name, &format!("198.51.100.{number}")), Ok(()));
        }
        assert_eq!(self.fails(name, "198.51.100.77"), Err(30));
    }

    fn holder_fails(&self, holder: Credential) -> Result<(), i64> {
        let from = HOME.parse().ok();
        seconds(self.write(move |tx, cx| throttle::count_of_holder(tx, cx, &holder, from)))
    }

    fn addresses(&self) -> i64 {
        self.number("SELECT count(*) FROM familiar_addresses")
    }
}

fn seconds(counted: Result<Counted>) -> Result<(), i64> {
    match counted {
        Ok(_) => Ok(()),
        Err(Error::Throttled(exceeded)) => Err(exceeded.retry_after),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn who_has_signed_in_from_an_address_is_not_kept_out_by_strangers() {
    let world = World::new();
    let ann = world.user("ann");
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    world.strangers_guess("ann");
    for _ in 0..100 {
        assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    }
    assert_eq!(world.fails("ann", "198.51.100.77"), Err(30), "which helps no stranger");
    // Nor do failures of others at that address, at other accounts.
    for number in 0..30 {
        let name = format!("user {number}").leak();
        assert_eq!(world.fails(name, HOME), Ok(()));
    }
    assert_eq!(world.fails("somebody", HOME), Err(60));
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
}

#[test]
fn what_fails_at_a_familiar_address_is_counted_there_as_elsewhere() {
    let world = World::new();
    let ann = world.user("ann");
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    for _ in 0..9 {
        assert_eq!(world.fails("ann", HOME), Ok(()));
        assert_eq!(world.gets_in("ann", ann, HOME), Ok(()), "which takes back no failure");
    }
    assert_eq!(world.fails("ann", HOME), Ok(()));
    assert_eq!(world.fails("ann", HOME), Err(30));
    assert_eq!(world.fails("ann", "198.51.100.1"), Ok(()), "strangers have a count of their own");
    world.wait(30 * Time::SECOND);
    assert_eq!(world.fails("ann", HOME), Ok(()));
    assert_eq!(world.fails("ann", HOME), Err(60));
    world.wait(Time::DAY);
    (0..10).for_each(|_| assert_eq!(world.fails("ann", HOME), Ok(())));
    assert_eq!(world.fails("ann", HOME), Err(30));
}

#[test]
fn an_address_is_familiar_to_one_account_and_with_all_of_its_network() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    assert_eq!(world.gets_in("bob", bob, HOME), Ok(()));
    assert_eq!(world.gets_in("ann", ann, "2001:db8:1:2::3"), Ok(()));
    world.strangers_guess("ann");
    assert_eq!(world.fails("ann", HOME), Err(30));
    assert_eq!(world.fails("ann", "2001:db8:1:3::3"), Err(30));
    assert_eq!(world.gets_in("ann", ann, "2001:db8:1:2:ffff::4"), Ok(()));
}

#[test]
fn without_an_address_nothing_is_familiar() {
    let world = World::new();
    let ann = world.user("ann");
    let counted = world.write(|tx, cx| throttle::count(tx, cx, "ann", None));
    world.let_in(ann, counted.expect("it is the first"));
    assert_eq!(world.addresses(), 0);
}

#[test]
fn a_session_has_a_count_of_its_own_and_all_tokens_of_a_user_have_one() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let secret = |user, kind, number| credential::token(user, kind, &[number; 32]);
    let session = |number| Credential::parse(&secret(ann, CredentialKind::Session, number));
    let session = |number| session(number).expect("it is a session's");
    let token =
        |user, number| Credential::parse_token(&secret(user, CredentialKind::Token, number));
    let token = |user, number| token(user, number).expect("it is a token's");
    world.strangers_guess("ann");
    for who in [session(1), session(2)] {
        (0..10).for_each(|_| assert_eq!(world.holder_fails(who), Ok(())));
        assert_eq!(world.holder_fails(who), Err(30));
    }
    // A token can make others.
    (0..10).for_each(|number| assert_eq!(world.holder_fails(token(ann, number)), Ok(())));
    assert_eq!(world.holder_fails(token(ann, 99)), Err(30));
    assert_eq!(world.holder_fails(token(bob, 1)), Ok(()));
    assert_eq!(world.holder_fails(session(3)), Ok(()));
}

#[test]
fn with_another_password_only_the_address_where_it_was_changed_is_familiar() {
    let world = World::new();
    let ann = world.user("ann");
    for from in [HOME, "192.0.2.8"] {
        assert_eq!(world.gets_in("ann", ann, from), Ok(()));
    }
    let (session, from) = (world.log_in("ann"), HOME.parse().ok());
    let old = world.credentials("ann").expect("there is a password");
    let changed = world.write(move |tx, cx| {
        let counted = throttle::count_of_holder(tx, cx, &session, from)?;
        users::change_password(tx, &old, "another hash", Some(&session))?;
        throttle::let_in(tx, cx, ann, &counted)
    });
    changed.expect("it is the right one");
    world.strangers_guess("ann");
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    assert_eq!(world.fails("ann", "192.0.2.8"), Err(30));

    world.write(move |tx, _cx| users::set_password(tx, ann, "a third hash")).unwrap();
    assert_eq!(world.fails("ann", HOME), Err(30), "the operator knows no address");
}

#[test]
fn the_sixteen_latest_addresses_of_ninety_days_are_familiar() {
    let world = World::new();
    let ann = world.user("ann");
    let home = |number: usize| format!("192.0.2.{number}");
    for number in 0..16 {
        assert_eq!(world.gets_in("ann", ann, &home(number)), Ok(()));
        world.wait(Time::SECOND);
    }
    assert_eq!(world.gets_in("ann", ann, &home(0)), Ok(()), "not the oldest any more");
    assert_eq!(world.gets_in("ann", ann, &home(99)), Ok(()));
    assert_eq!(world.addresses(), 16);
    world.strangers_guess("ann");
    assert_eq!(world.fails("ann", &home(1)), Err(30));
    for number in [0, 2, 15, 99] {
        assert_eq!(world.gets_in("ann", ann, &home(number)), Ok(()));
    }

    world.wait(90 * Time::DAY - 1);
    assert_eq!(world.gets_in("ann", ann, &home(99)), Ok(()));
    world.strangers_guess("ann");
    assert_eq!(world.gets_in("ann", ann, &home(0)), Ok(()));
    world.wait(1);
    assert_eq!(world.fails("ann", &home(15)), Err(30), "it is as strange as any");
    let purge =
        |limit| world.write(move |tx, cx| throttle::purge_familiar_addresses(tx, cx, limit));
    assert_eq!(purge(10), Ok(10));
    assert_eq!(purge(10), Ok(4));
    assert_eq!(purge(10), Ok(0));
    assert_eq!(world.addresses(), 2);
}

#[test]
fn of_an_address_only_a_keyed_hash_is_stored_and_it_goes_with_the_account() {
    let world = World::new();
    let ann = world.user("ann");
    let hash = || {
        world.rows("SELECT network_hash FROM familiar_addresses", |row| Ok(row.blob(0)?.to_vec()))
    };
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    let under_one_key = hash();
    let plain = [192, 0, 2, 7];
    assert!(!under_one_key[0].windows(4).any(|bytes| bytes == plain));
    world.reserve_names(domain::NameReservation::new([7; 32], 0));
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    assert_eq!(world.addresses(), 2);
    assert!(hash().iter().any(|hash| *hash != under_one_key[0]));

    world.write(move |tx, cx| users::erase(tx, cx, ann)).unwrap();
    assert_eq!(world.addresses(), 0);
}

#[test]
fn two_at_once_at_a_familiar_address_are_two() {
    let world = World::new();
    let ann = world.user("ann");
    assert_eq!(world.gets_in("ann", ann, HOME), Ok(()));
    let from = HOME.parse().ok();
    world.meanwhile(
        move |tx, cx| throttle::count(tx, cx, "ann", from).map(drop),
        || assert_eq!(world.fails("ann", HOME), Ok(())),
    );
    assert_eq!(world.number("SELECT failures FROM familiar_addresses"), 2);
}
