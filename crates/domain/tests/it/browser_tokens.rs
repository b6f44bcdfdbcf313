//! Browser tokens and JWTs, of which nothing is stored: what has happened since that ends them.

use db::params;
use domain::browser_tokens::{self, AppSession, Grant, Issued, Standing};
use domain::credential::Credential;
use domain::tokens::Scopes;
use domain::{Error, Time, UserId, history, users};

use crate::support::{World, nobody};

impl World {
    /// What a browser token says that is issued now, for an hour.
    fn granted(&self, user: UserId, session: Option<&str>) -> Grant {
        let generation = self.read(move |tx, _cx| browser_tokens::generation(tx, user));
        self.grant(user, Issued::In(generation), session)
    }

    /// What a JWT says that was issued then, less the leeway.
    fn jwt(&self, user: UserId, issued: Time, session: Option<&str>) -> Grant {
        self.grant(user, Issued::At(issued), session)
    }

    fn grant(&self, user: UserId, issued: Issued, session: Option<&str>) -> Grant {
        Grant {
            credential: Credential::of_browser(user, [7; 32]),
            scopes: Scopes::of_messages(),
            issued,
            session: session.map(AppSession::named),
            expires_at: self.now().plus(Time::HOUR),
        }
    }

    /// Alone, and among others.
    fn standing(&self, grant: &Grant) -> Standing {
        let (one, others) = (*grant, [*grant, *grant]);
        let alone = self.read(move |tx, cx| browser_tokens::standing(tx, cx, &one));
        let among = self.read(move |tx, cx| browser_tokens::standings(tx, cx, &others));
        assert_eq!(among, [alone; 2]);
        alone
    }

    fn revoke_tokens(&self, user: UserId, session: Option<&str>) -> domain::Result<()> {
        let session = session.map(AppSession::named);
        self.write(move |tx, cx| browser_tokens::revoke(tx, cx, user, session.as_ref()))
    }
}

#[test]
fn a_revocation_ends_all_tokens_of_its_user_and_none_of_another() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (before, other) = (world.granted(ann, None), world.granted(bob, None));
    let (old, new) = (world.jwt(ann, world.now(), None), world.now().plus(1));
    world.revoke_tokens(ann, None).expect("there is such a user");
    assert_eq!(world.standing(&before), Standing::Revoked);
    assert_eq!(world.standing(&old), Standing::Revoked, "issued at that very moment");
    assert_eq!(world.standing(&world.jwt(ann, new, None)), Standing::Valid);
    assert_eq!(world.standing(&world.granted(ann, None)), Standing::Valid);
    assert_eq!(world.standing(&other), Standing::Valid);
    assert_eq!(world.revoke_tokens(nobody(), None), Err(Error::UnknownUser));
    assert_eq!(world.revoke_tokens(nobody(), Some("a")), Err(Error::UnknownUser));
}

#[test]
fn a_session_of_the_app_ends_for_a_day_and_takes_no_other_with_it() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.revoke_tokens(ann, Some("web")).expect("there is such a user");
    world.wait(Time::HOUR);
    for (user, session, expected) in [
        (ann, Some("web"), Standing::Revoked),
        (ann, Some("Web"), Standing::Valid),
        (ann, None, Standing::Valid),
        (bob, Some("web"), Standing::Valid),
    ] {
        assert_eq!(world.standing(&world.granted(user, session)), expected, "{session:?}");
        let jwt = world.jwt(user, world.now(), session);
        assert_eq!(world.standing(&jwt), expected, "{session:?}");
    }
    let purged = |world: &World| world.write(|tx, cx| browser_tokens::purge(tx, cx, 10));
    assert_eq!(purged(&world), Ok(0));
    world.wait(Time::DAY);
    assert_eq!(purged(&world), Ok(1));
    assert_eq!(world.standing(&world.granted(ann, Some("web"))), Standing::Valid);
}

#[test]
fn a_token_ends_with_its_time_its_user_and_its_history() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (token, jwt) = (world.granted(ann, None), world.jwt(ann, world.now(), None));
    world.wait(Time::HOUR - 1);
    assert_eq!(world.standing(&token), Standing::Valid);
    world.wait(1);
    assert_eq!(world.standing(&token), Standing::Expired);
    assert_eq!(world.standing(&jwt), Standing::Expired);

    let (token, jwt) = (world.granted(ann, None), world.jwt(ann, world.now(), None));
    world.write(move |tx, cx| users::disable(tx, cx, ann)).expect("there is such a user");
    assert_eq!(world.standing(&token), Standing::Deactivated);
    assert_eq!(world.standing(&jwt), Standing::Deactivated);
    let refused = world.write(move |tx, _cx| browser_tokens::generation(tx, ann));
    assert_eq!(refused, Err(Error::UserDeactivated));
    world.write(move |tx, cx| users::enable(tx, cx, ann)).expect("there is such a user");
    assert_eq!(world.standing(&token), Standing::Revoked);
    assert_eq!(world.standing(&jwt), Standing::Revoked);

    let (token, jwt) = (world.granted(bob, None), world.jwt(bob, world.now(), None));
    world.write(|tx, cx| Ok(history::begin(tx, cx, 0)?)).expect("it can begin");
    assert_eq!(world.standing(&token), Standing::Revoked);
    assert_eq!(world.standing(&jwt), Standing::Revoked);

    let token = world.granted(bob, Some("web"));
    world.revoke_tokens(bob, Some("phone")).expect("there is such a user");
    world.write(move |tx, cx| users::erase(tx, cx, bob)).expect("there is such a user");
    assert_eq!(world.standing(&token), Standing::Erased);
    let refused = world.write(move |tx, _cx| browser_tokens::generation(tx, bob));
    assert_eq!(refused, Err(Error::UnknownUser));
    assert_eq!(world.revoke_tokens(bob, None), Err(Error::UnknownUser));
}

#[test]
fn no_token_is_that_of_a_system_user() {
    let world = World::new();
    let clerk = world.user("clerk");
    let (token, jwt) = (world.granted(clerk, None), world.jwt(clerk, world.now(), None));
    world
        .write(move |tx, _cx| {
            tx.execute("UPDATE users SET kind = 1 WHERE id = ?1", &params![clerk])?;
            Ok(())
        })
        .expect("it can be changed");
    assert_eq!(world.standing(&token), Standing::Revoked);
    assert_eq!(world.standing(&jwt), Standing::Revoked);
    let refused = world.write(move |tx, _cx| browser_tokens::generation(tx, clerk));
    assert_eq!(refused, Err(Error::SystemUser));
}
