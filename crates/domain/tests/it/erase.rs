//! Erasing an account: what goes, what stays as a stub, and what does not come back.

use domain::credential::Credential;
use domain::text::DisplayName;
use domain::users::{self, Kind, Person, ProfileChange, Proof};
use domain::{
    Error, NameReservation, Result, Time, UserId, UserRef, blocks, idempotency, quotas, sessions,
    text, tokens,
};
use sha2::{Digest as _, Sha256};

use crate::support::{World, nobody, refused};

impl World {
    pub(crate) fn erase(&self, user: UserId) {
        self.try_erase(user).expect("the user is there");
    }

    fn try_erase(&self, user: UserId) -> Result<()> {
        self.write(move |tx, cx| users::erase(tx, cx, user))
    }

    /// In how many rows of each of these tables the user is the owner.
    fn owned(&self, user: UserId) -> Vec<i64> {
        let user = user.get();
        let owners: [&'static str; 7] = [
            "SELECT user_id FROM sessions",
            "SELECT user_id FROM tokens",
            "SELECT owner_id FROM blocks",
            "SELECT owner_id FROM contacts",
            "SELECT owner_id FROM quotas",
            "SELECT owner_id FROM stored_responses",
            "SELECT owner_id FROM stored_counts",
        ];
        let count = |sql| {
            let owners = self.rows(sql, |row| row.int(0));
            owners.into_iter().map(|owner| i64::from(owner == user)).sum()
        };
        owners.map(count).to_vec()
    }

    fn erasures(&self) -> Vec<i64> {
        self.rows("SELECT owner_id FROM erasures", |row| row.int(0))
    }
}

/// Two users who have one row of everything, who blocked each other and wrote to each other.
fn pair(world: &World) -> (UserId, UserId) {
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    for (name, user, other) in [("ann", ann, bob), ("bob", bob, ann)] {
        world.log_in(name);
        world.token(user);
        world.block(user, other);
        let change = ProfileChange {
            display_name: Some(DisplayName::parse(&format!("the shown {name}")).ok()),
            email: text::Email::parse(&format!("{name}@example.org")).ok(),
            ..ProfileChange::default()
        };
        world.update(user, change).expect("the user is there");
        world
            .write(move |tx, cx| {
                let limits = quotas::SendLimits {
                    sends_per_hour: 9,
                    sends_per_day: 9,
                    contacts_per_hour: 9,
                    contacts_per_day: 9,
                    lookups_per_hour: 9,
                    young_for: 0,
                    young_divisor: 1,
                };
                let taken = quotas::Use { sends: 1, ..quotas::Use::default() };
                quotas::take(tx, cx, user, &limits, &taken)?;
                let holder = idempotency::Holder::User(user);
                let request = idempotency::KeyedRequest::new(holder, "POST /", "key", b"");
                idempotency::store(tx, cx, &request, &[0; 16], b"an answer")
            })
            .expect("it is within the limits");
    }
    world.sql("INSERT INTO contacts (owner_id, peer_id, first_at) VALUES (1, 2, 0), (2, 1, 0)");
    (ann, bob)
}

#[test]
fn all_that_is_the_users_goes_and_nothing_of_others() {
    let world = World::new();
    let (ann, bob) = pair(&world);
    let before = world.owned(bob);
    assert_eq!(before, [1, 1, 1, 1, 2, 1, 1]);
    assert_eq!(world.owned(ann), before);
    let (bobs, credentials) = (world.profile(bob), world.credentials("bob"));
    world.erase(ann);
    assert_eq!(world.owned(ann), [0; 7]);
    assert_eq!(world.owned(bob), before);
    assert_eq!(world.profile(bob), bobs);
    assert!(world.credentials("bob") == credentials);
    assert_eq!(world.kept_numbers(), [0, 1]);
    assert_eq!(world.blocked(bob), [ann], "what others say of the user is theirs");
    assert_eq!(world.erasures(), [ann.get()]);
}

#[test]
fn an_erased_user_is_a_stub_that_is_the_same_for_all() {
    let world = World::new();
    let (ann, bob) = pair(&world);
    world.erase(ann);
    world.wait(Time::DAY);
    world.erase(bob);
    for id in [ann, bob] {
        let name = || "deleted user".to_owned();
        let stub = Person {
            id,
            username: name(),
            display_name: name(),
            external_id: None,
            kind: Kind::Person,
        };
        assert_eq!(world.person(id), Some(stub.clone()));
        assert_eq!(world.read(move |tx, _cx| users::people(tx, &[id])), [stub]);
        assert_eq!(world.profile(id), None);
    }
    assert_eq!(world.erasures(), [1, 2]);
}

#[test]
fn nothing_of_the_account_is_left_in_the_row() {
    let world = World::new();
    let (ann, _) = pair(&world);
    world.wait(Time::DAY);
    let erased_at = world.now();
    world.erase(ann);
    let texts = world.rows(
        "SELECT name, name_folded, email, password_hash, display_name, display_folded
         FROM users WHERE id = 1",
        |row| (0..6).map(|column| Ok(row.text(column)?.to_owned())).collect::<db::Result<Vec<_>>>(),
    );
    assert_eq!(texts, [["", "#1", "", "", "", ""]]);
    let times = world.rows(
        "SELECT disabled_at, erased_at, closed_at FROM users
         JOIN mailboxes ON owner_id = id WHERE id = 1",
        |row| Ok([row.int(0)?, row.int(1)?, row.int(2)?]),
    );
    assert_eq!(times, [[erased_at.0; 3]]);
}

#[test]
fn an_erased_user_is_found_by_nobody_and_logs_in_no_more() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let (session, token) = (world.log_in("ann"), world.token(ann));
    let checked = world.credentials("ann").unwrap();
    world.erase(ann);
    assert!(!world.holds(session) && !world.is_good(token));
    assert!(world.credentials("ann").is_none());
    for name in ["ann", "", "#1", "deleted user"] {
        assert!(world.credentials(name).is_none(), "{name}");
        let of = UserRef::named(name).expect("it can be a name");
        assert_eq!(world.read(move |tx, _cx| users::find(tx, &of)), None, "{name}");
        assert_eq!(world.look_up(name, 20), [""; 0], "{name}");
    }
    assert!(world.read(move |tx, _cx| users::password_of(tx, ann)).is_none());
    let listed = world.read(move |tx, _cx| users::list(tx, 0, 100));
    assert_eq!(listed.into_iter().map(|user| user.name).collect::<Vec<_>>(), ["bob"]);

    let client = sessions::Client::default();
    let late =
        world.write(move |tx, cx| sessions::start(tx, cx, &checked, &[1; 32], &client, None));
    assert_eq!(refused(late), Error::AuthenticationFailed);
}

#[test]
fn nothing_brings_an_erased_user_back() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.erase(ann);
    let id = ann;
    let refusals = [
        world.write(move |tx, cx| users::enable(tx, cx, id)),
        world.write(move |tx, cx| users::disable(tx, cx, id)),
        world.write(move |tx, _cx| users::set_password(tx, id, "a hash")),
        world.try_erase(ann),
        world.try_erase(nobody()),
    ];
    for refusal in refusals {
        assert_eq!(refused(refusal), Error::UnknownUser);
    }
    let email = text::Email::parse("back@example.org").ok();
    let change = ProfileChange { email, ..ProfileChange::default() };
    assert_eq!(refused(world.update(ann, change)), Error::NotLoggedIn);
    let block = world.write(move |tx, cx| blocks::put(tx, cx, ann, bob));
    assert_eq!(refused(block), Error::NotLoggedIn);
    let old = users::StoredPassword { user: ann, hash: String::new() };
    let change = world.write(move |tx, _cx| users::change_password(tx, &old, "a hash", None));
    assert_eq!(refused(change), Error::AuthenticationFailed);

    let open = "SELECT count(*) FROM mailboxes WHERE owner_id = 1 AND closed_at IS NULL";
    assert_eq!(world.number(open), 0);
    assert_eq!(world.number("SELECT count(*) FROM users WHERE email <> '' AND id = 1"), 0);
    assert_eq!(world.erasures(), [1]);
}

#[test]
fn the_name_of_an_erased_user_is_not_given_again_for_as_long_as_it_is_reserved() {
    let world = World::new();
    world.reserve_names(NameReservation::new([7; 32], 180 * Time::DAY));
    let ann = world.user("Ann");
    world.erase(ann);
    for name in ["ann", "ANN", "\u{ff21}nn"] {
        assert_eq!(refused(world.try_user(name)), Error::NameTaken, "{name}");
    }
    let (bob, before) = (world.user("bob"), world.number("SELECT count(*) FROM users"));
    world.wait(180 * Time::DAY - 1);
    assert_eq!(refused(world.try_user("ann")), Error::NameTaken);
    assert_eq!(world.number("SELECT count(*) FROM users"), before, "nothing was made");
    world.reserve_names(NameReservation::new([7; 32], 90 * Time::DAY));
    let other = world.user("ann");
    // Its time begins again with the next who had it.
    world.erase(other);
    world.erase(bob);
    world.wait(90 * Time::DAY - 1);
    assert_eq!(refused(world.try_user("ann")), Error::NameTaken);
    world.wait(1);
    world.user("ann");
}

#[test]
fn of_a_reserved_name_only_a_keyed_hash_is_kept_until_its_time_is_over() {
    let world = World::new();
    let hashes =
        || world.rows("SELECT name_hash FROM reserved_names", |row| Ok(row.blob(0)?.to_vec()));
    let purge =
        |limit| world.write(move |tx, cx| users::purge_reserved_names(tx, cx, limit)).unwrap();
    world.reserve_names(NameReservation::new([7; 32], Time::DAY));
    world.erase(world.user("ann"));
    let under_one_key = hashes();
    assert_ne!(under_one_key[0], Sha256::digest("ann").to_vec());
    world.wait(1);
    world.reserve_names(NameReservation::new([8; 32], Time::DAY));
    world.erase(world.user("ann"));
    let under_both = hashes();
    assert!(under_both.len() == 2 && under_both.contains(&under_one_key[0]), "{under_both:?}");
    world.wait(Time::DAY - 2);
    assert_eq!(purge(10), 0);
    world.wait(1);
    assert_eq!((purge(10), hashes().len()), (1, 1));
    assert!(!hashes().contains(&under_one_key[0]), "the oldest goes first");
    world.reserve_names(NameReservation::default());
    assert_eq!((purge(10), hashes().len()), (1, 0));
    world.erase(world.user("bob"));
    assert_eq!(hashes().len(), 0, "none is reserved");
}

#[test]
fn the_owner_needs_a_password_or_what_was_issued_for_one_a_short_while_ago() {
    let world = World::new();
    let erase = |proof: Proof| world.write(move |tx, cx| users::erase_own(tx, cx, &proof));
    let checked = |name: &str| world.credentials(name).expect("the account is enabled");
    for name in ["ann", "bob", "cid", "dot", "eve", "fay"] {
        world.user(name);
    }
    let session = world.log_in("ann");
    let login = checked("cid");
    let by_password = |secret: [u8; 32]| {
        let (login, name) = (login.clone(), text::TokenName::parse("laptop").unwrap());
        let new = tokens::NewToken { name, scopes: tokens::Scopes::all(), expires_at: None };
        world
            .write(move |tx, cx| tokens::create_by_password(tx, cx, &login, &secret, &new))
            .map(|made| Credential::parse_token(&made.token).unwrap())
            .unwrap()
    };
    let old = by_password([1; 32]);
    world.wait(10 * Time::MINUTE);
    let fresh = by_password([2; 32]);
    let by_session = world.token(checked("bob").user);
    for proof in [session, by_session, old] {
        assert_eq!(refused(erase(Proof::Credential(proof))), Error::FreshLoginRequired);
    }
    let late = world.log_in("dot");
    world.wait(10 * Time::MINUTE - 1);
    assert_eq!(erase(Proof::Credential(fresh)), Ok(()));
    assert_eq!(erase(Proof::Credential(late)), Ok(()));
    assert_eq!(refused(erase(Proof::Credential(late))), Error::NotLoggedIn, "it has ended");
    let (eve, fay) = (checked("eve"), checked("fay"));
    assert_eq!(erase(Proof::Password(eve.clone())), Ok(()));
    assert_eq!(refused(erase(Proof::Password(eve))), Error::AuthenticationFailed);
    let user = fay.user;
    world.write(move |tx, _cx| users::set_password(tx, user, "another hash")).unwrap();
    assert_eq!(refused(erase(Proof::Password(fay))), Error::AuthenticationFailed);
    assert_eq!(world.erasures(), [3, 4, 5]);
    // A wrong clock that was ahead makes no login fresh for as long as it was.
    let now = world.now();
    world.set_clock(now.plus(400 * Time::DAY));
    let ahead = world.log_in("ann");
    world.set_clock(now);
    assert_eq!(refused(erase(Proof::Credential(ahead))), Error::FreshLoginRequired);
}

#[test]
fn where_no_name_is_reserved_it_is_free_again_and_so_it_can_be_erased_again() {
    let world = World::new();
    let ann = world.user("ann");
    world.erase(ann);
    let other = world.user("ANN");
    assert_ne!(ann, other);
    assert_eq!(world.person(other).unwrap().username, "ANN");
    assert_eq!(world.person(ann).unwrap().username, "deleted user");
    world.erase(other);
    world.user("ann");
}

#[test]
fn a_disabled_user_can_be_erased() {
    let world = World::new();
    let ann = world.user("ann");
    world.disable(ann);
    world.wait(Time::DAY);
    world.erase(ann);
    assert_eq!(world.person(ann).unwrap().username, "deleted user");
    let since = "SELECT disabled_at FROM users JOIN mailboxes ON owner_id = id
                 WHERE disabled_at = erased_at AND closed_at = erased_at";
    assert_eq!(world.rows(since, |row| row.int(0)), [world.now().0]);
}
