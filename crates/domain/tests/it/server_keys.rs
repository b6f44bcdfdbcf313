//! Keys of the app's own server: what they look like, what they allow, and what ends them; whom
//! refs name; and what the audit log says.

use std::sync::Arc;

use domain::audit::{self, Call, Gathered, Record};
use domain::server_keys::{self, KeyHash, KeyInfo, KeyScope, KeyScopes, ServerKey, ValidKey};
use domain::text::{ExternalId, TokenName};
use domain::{Error, Result, ServerKeyId, Time, UserId, UserRef, history, users};

use crate::support::World;

const WEEK: i64 = 7 * Time::DAY;

impl World {
    fn key(&self, scopes: &'static [&'static str], until: Option<Time>) -> (ServerKeyId, String) {
        let name = TokenName::parse("shop").expect("it is a name");
        let scopes = KeyScopes::parse(scopes.iter().copied()).expect("they are scopes");
        let made = self.write(move |tx, cx| server_keys::create(tx, cx, &name, scopes, until));
        made.expect("it never fails")
    }

    fn valid_key(&self, key: &str) -> Option<ValidKey> {
        let hash = KeyHash::of(key.as_bytes());
        self.read(move |tx, cx| server_keys::find(tx, cx, &hash))
    }

    fn rotate_key(&self, id: ServerKeyId, overlap: i64) -> Option<String> {
        let rotated = self.write(move |tx, cx| server_keys::rotate(tx, cx, id, overlap));
        rotated.expect("it never fails")
    }

    fn keys(&self) -> Vec<KeyInfo> {
        self.read(|tx, _cx| server_keys::list(tx))
    }

    /// Gives a user an id of the app's.
    fn set_external_id(&self, user: UserId, external: &str) -> Result<()> {
        let external = external.to_owned();
        self.write(move |tx, _cx| {
            let sql = "UPDATE users SET external_id = ?2 WHERE id = ?1";
            tx.execute(sql, &db::params![user, external.as_str()])?;
            Ok(())
        })
    }

    fn resolved(&self, refs: Vec<UserRef>) -> Vec<Option<UserId>> {
        self.read(move |tx, _cx| users::resolve_all(tx, &refs))
    }
}

#[test]
fn a_key_is_found_until_it_expires_and_allows_what_its_scopes_say() {
    let world = World::new();
    let end = world.now().plus(Time::DAY);
    let (id, key) = world.key(&["users", "act", "users"], Some(end));
    assert_eq!((key.len(), &key[..4]), (47, "prk_"));
    let valid = world.valid_key(&key).expect("it is valid");
    assert_eq!((valid.key.id, valid.key.name.as_str(), valid.until), (id, "shop", Some(end)));
    assert_eq!(valid.key.scopes.names().collect::<Vec<_>>(), ["users", "act"]);
    assert!(valid.key.scopes.contains(KeyScope::Act));
    assert!(!valid.key.scopes.contains(KeyScope::Tokens));
    for wrong in ["", "prk_", &key[..46], &key.to_lowercase(), &format!("{key}a")] {
        assert_eq!(world.valid_key(wrong), None, "{wrong}");
    }
    world.wait(Time::DAY);
    assert_eq!(world.valid_key(&key), None);
    assert_eq!(world.rotate_key(id, 0), None);
}

#[test]
fn scopes_are_named_and_the_key_of_the_configuration_is_no_admin() {
    let names = KeyScope::ALL.map(KeyScope::name);
    let all = KeyScopes::parse(names).expect("they are scopes");
    assert_eq!(all.names().collect::<Vec<_>>(), names);
    assert_eq!(KeyScopes::of_an_app().names().collect::<Vec<_>>(), names[..7]);
    for wrong in [&[][..], &["messages:read"], &["users", "Admin"]] {
        let problem = KeyScopes::parse(wrong.iter().copied()).expect_err("it is none").problem;
        assert!(problem.contains("one"), "{problem}");
    }
}

#[test]
fn a_rotated_key_works_beside_the_new_one_for_the_overlap_alone() {
    let world = World::new();
    let (id, first) = world.key(&["users"], None);
    let second = world.rotate_key(id, Time::DAY).expect("it is valid");
    assert_ne!(first, second);
    let old = world.valid_key(&first).expect("both work");
    assert_eq!((old.key.id, old.until), (id, Some(world.now().plus(Time::DAY))));
    assert_eq!(world.valid_key(&second).expect("both work").until, None);
    // A second rotation ends the first key at once.
    let third = world.rotate_key(id, Time::HOUR).expect("it is valid");
    assert_eq!(world.valid_key(&first), None);
    assert!(world.valid_key(&second).is_some() && world.valid_key(&third).is_some());
    world.wait(Time::HOUR);
    assert!(world.valid_key(&second).is_none() && world.valid_key(&third).is_some());
    let revoked = world.write(move |tx, cx| server_keys::revoke(tx, cx, id));
    assert_eq!(revoked, Ok(true));
    assert_eq!(world.valid_key(&third), None);
    assert_eq!(world.rotate_key(id, 0), None);
}

#[test]
fn a_revoked_key_stays_in_the_list_with_the_time_of_its_first_revocation() {
    let world = World::new();
    let (id, key) = world.key(&["users"], None);
    let used = |world: &World| {
        world.write(move |tx, cx| Ok(server_keys::used(tx, cx, id)?)).expect("it never fails");
    };
    used(&world);
    let at = world.now();
    world.wait(Time::MINUTE);
    for _ in 0..2 {
        let revoked = world.write(move |tx, cx| server_keys::revoke(tx, cx, id));
        assert_eq!(revoked, Ok(true));
        world.wait(Time::MINUTE);
    }
    let [listed] = &world.keys()[..] else { panic!("there is one") };
    assert_eq!((listed.last_used_at, listed.created_at), (Some(at), at));
    assert_eq!(listed.revoked_at, Some(at.plus(Time::MINUTE)));
    assert_eq!(world.valid_key(&key), None);
    let nobody = ServerKeyId::new(99).expect("it is an id");
    assert_eq!(world.write(move |tx, cx| server_keys::revoke(tx, cx, nobody)), Ok(false));
}

#[test]
fn no_key_comes_back_by_a_restore() {
    let world = World::new();
    let (_id, key) = world.key(&["users"], None);
    world.write(|tx, cx| Ok(history::begin(tx, cx, 0)?)).expect("it can begin");
    assert_eq!(world.valid_key(&key), None);
    assert!(world.keys()[0].revoked_at.is_some());
}

#[test]
fn a_ref_names_one_user_and_an_erased_one_is_named_by_none() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("Ann"), world.user("bob"), world.user("7"));
    world.set_external_id(ann, "7").expect("it is free");
    world.set_external_id(bob, "Ä\"\\ 7").expect("it is free");
    assert!(world.set_external_id(cid, "7").is_err(), "it is taken");
    let external = |text: &str| UserRef::External(ExternalId::parse(text).expect("it is an id"));
    let name = |text: &str| UserRef::named(text).expect("it is a ref");
    let named = [
        (ann.into(), Some(ann)),
        (external("7"), Some(ann)),
        (name("ANN"), Some(ann)),
        (external("Ä\"\\ 7"), Some(bob)),
        (external("ä\"\\ 7"), None),
        (name("7"), Some(cid)),
        (name("name:7"), Some(cid)),
        (name("nobody"), None),
        (UserId::new(99).expect("it is an id").into(), None),
        (name("ann"), Some(ann)),
    ];
    let (refs, ids): (Vec<_>, Vec<_>) = named.into_iter().unzip();
    assert_eq!(world.resolved(refs.clone()), ids);
    for (of, id) in refs.iter().zip(&ids) {
        assert_eq!(world.resolved(vec![of.clone()]), [*id], "{of}");
    }
    assert_eq!(world.resolved(vec![]), []);
    world.write(move |tx, cx| users::erase(tx, cx, ann)).expect("ann is there");
    let gone = [ann.into(), external("7"), name("ann"), bob.into()].to_vec();
    assert_eq!(world.resolved(gone), [None, None, None, Some(bob)]);
    // The id of the app's is free again, and so is it for somebody who registers once more.
    world.set_external_id(cid, "7").expect("it is free");
}

fn call(key: i64, method: &'static str, route: &'static str) -> Call {
    let id = ServerKeyId::new(key).unwrap_or(ServerKeyId::CONFIGURED);
    let (name, scopes) = ("shop".to_owned(), KeyScopes::of_an_app());
    let key = Arc::new(ServerKey { id, name, scopes, expires_at: None });
    Call { key, method: method.into(), route, request_id: *b"00000000000000a1" }
}

fn gather<const N: usize>(world: &World, reads: [(&Call, UserId, Time); N]) {
    let mut gathered = Gathered::default();
    for (call, user, at) in reads {
        gathered.add(call, user, at);
    }
    world.write(move |tx, _cx| audit::record_gathered(tx, &gathered)).expect("it never fails");
}

/// How the log shows a call.
fn record(call: &Call, happened_at: Time, user: Option<UserId>) -> Record {
    let Call { key, method, route, request_id } = call;
    Record {
        happened_at,
        key: key.id,
        key_name: key.name.clone(),
        call: format!("{method} {route}"),
        request_id: String::from_utf8(request_id.to_vec()).expect("they are digits"),
        user,
    }
}

#[test]
fn no_key_is_called_as_that_of_the_configuration() {
    let world = World::new();
    for name in ["configuration", "Configuration", "config\u{200b}uration"] {
        let name = TokenName::parse(name).expect("it is a name");
        let scopes = KeyScopes::parse(["users"]).expect("they are scopes");
        let made = world.write(move |tx, cx| server_keys::create(tx, cx, &name, scopes, None));
        assert!(matches!(made, Err(Error::Invalid(_))), "{made:?}");
    }
}

#[test]
fn the_audit_log_says_which_key_did_what_for_whom() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let one = call(0, "GET", "/v1/messages");
    let other = call(3, "PUT", "/v1/server/users/{ref}");
    let first = world.now();
    let (made, both) = (one.clone(), other.clone());
    world
        .write(move |tx, cx| {
            audit::record(tx, cx, &made, Some(ann))?;
            audit::record_all(tx, cx, &both, &[ann, bob])?;
            audit::record_all(tx, cx, &both, &[])?;
            audit::record(tx, cx, &both, None)
        })
        .expect("it never fails");
    world.wait(WEEK);
    let gathered = record(&one, world.now(), Some(bob));
    gather(&world, [(&one, bob, world.now())]);
    let listed = |key: Option<i64>, user, limit| {
        let key = key.map(|key| ServerKeyId::new(key).unwrap_or(ServerKeyId::CONFIGURED));
        world.read(move |tx, _cx| audit::list(tx, key, user, limit))
    };
    let all = [
        gathered.clone(),
        record(&other, first, None),
        record(&other, first, Some(bob)),
        record(&other, first, Some(ann)),
        record(&one, first, Some(ann)),
    ];
    assert_eq!(listed(None, None, 9), all);
    assert_eq!(listed(None, None, 2), all[..2]);
    gather(&world, [(&one, cid, first.plus(-1))]);
    assert_eq!(listed(None, None, 9)[..5], all, "what was written late is not the newest");
    world.sql("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)");
    assert_eq!(listed(Some(0), None, 9), [all[0].clone(), all[4].clone()]);
    assert_eq!(listed(None, Some(ann), 9), all[3..]);
    assert_eq!(listed(Some(3), Some(bob), 9), all[2..3]);
    assert_eq!(listed(None, Some(bob), 9), [all[0].clone(), all[2].clone()]);
    // The time limit is exact, and a step is small.
    let purge = |limit| world.write(move |tx, cx| audit::purge(tx, cx, WEEK, limit));
    assert_eq!(purge(9), Ok(0));
    world.wait(1);
    assert_eq!((purge(3), purge(3), purge(3)), (Ok(3), Ok(1), Ok(0)));
    assert_eq!(listed(None, None, 9), [gathered]);
}

#[test]
fn what_was_gathered_is_recorded_once_however_much_it_is_and_in_however_many_steps() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    for (count, step) in [(1, 9), (31, 7), (96, 3), (97, 97), (500, 500), (500, 90)] {
        let mut gathered = Gathered::default();
        let mut expected = Vec::new();
        for at in 0..i64::try_from(count).expect("they are few") {
            let (method, route) = if at % 2 == 0 { ("GET", "/v1") } else { ("POST", "/v1/a") };
            let call = call(1 + at % 3, method, route);
            let (at, user) = (world.now().plus(at), if at % 5 == 0 { ann } else { bob });
            gathered.add(&call, user, at);
            expected.push(record(&call, at, Some(user)));
        }
        let failed = gathered.take(step);
        gathered.put_back(&failed);
        while !gathered.is_empty() {
            let (before, taken) = (gathered.len(), gathered.take(step));
            assert_eq!(taken.len(), before.min(step));
            assert_eq!(gathered.len(), before - taken.len());
            world.write(move |tx, _cx| audit::record_gathered(tx, &taken)).expect("it never fails");
        }
        let mut listed = world.read(move |tx, _cx| audit::list(tx, None, None, count));
        listed.reverse();
        assert_eq!(listed, expected);
        world.sql("DELETE FROM audit");
    }
}
