//! Sessions: what a token is, how long it holds, and what ends it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use domain::credential::Credential;
use domain::sessions::{ABSOLUTE, Client, IDLE, MOST, SessionInfo, ValidSession};
use domain::{Error, Result, Time, UserId, sessions, users};
use sha2::{Digest as _, Sha256};

use crate::support::{World, nobody, refused};

fn key(token: &str) -> Credential {
    Credential::parse(token).expect("it is a token")
}

impl World {
    /// Starts a session, with what the name logs in with at this moment.
    pub(crate) fn log_in(&self, name: &str) -> Credential {
        key(&self.try_log_in(name, None).expect("the credentials hold"))
    }

    /// Starts a session from somewhere.
    fn log_in_from(&self, name: &str, client: Client) -> Credential {
        let credentials = self.credentials(name).expect("the user is enabled");
        let started = self.write(move |tx, cx| {
            sessions::start(tx, cx, &credentials, &cx.random(), &client, None)
        });
        key(&started.expect("the credentials hold"))
    }

    fn listed(&self, owner: UserId) -> Vec<SessionInfo> {
        self.read(move |tx, cx| sessions::list(tx, cx, owner))
    }

    fn end_by_id(&self, owner: UserId, id: i64) -> Option<Credential> {
        self.write(move |tx, _cx| sessions::end_by_id(tx, owner, id)).expect("it never fails")
    }

    fn try_log_in(&self, name: &str, replaced: Option<Credential>) -> Result<String> {
        let credentials = self.credentials(name).ok_or(Error::AuthenticationFailed)?;
        self.write(move |tx, cx| {
            sessions::start(
                tx,
                cx,
                &credentials,
                &cx.random(),
                &Client::default(),
                replaced.as_ref(),
            )
        })
    }

    fn session(&self, key: Credential) -> Option<ValidSession> {
        self.read(move |tx, cx| sessions::find(tx, cx, &key))
    }

    pub(crate) fn holds(&self, key: Credential) -> bool {
        self.session(key).is_some()
    }

    pub(crate) fn seen(&self, key: Credential) {
        self.write(move |tx, cx| Ok(sessions::seen(tx, cx, &key)?)).expect("it never fails");
    }

    fn stored_sessions(&self) -> i64 {
        self.number("SELECT count(*) FROM sessions")
    }
}

#[test]
fn a_token_names_its_user_and_its_session() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let anns = world.try_log_in("ann", None).unwrap();
    let bobs = world.try_log_in("bob", None).unwrap();
    assert_eq!((key(&anns).user, key(&bobs).user), (ann, bob));
    assert!(world.holds(key(&anns)) && world.holds(key(&bobs)));

    let (user, secret) = anns.split_once('.').unwrap();
    assert_eq!((user, secret.len()), ("1", 43));
    assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);

    let of_bob = bobs.replacen("2.", "1.", 1);
    assert!(!world.holds(key(&of_bob)), "the right secret of another user");
    let other = format!("1.{}", URL_SAFE_NO_PAD.encode([9; 32]));
    assert!(!world.holds(key(&other)), "another secret of the right user");
}

#[test]
fn each_login_is_a_session_of_its_own() {
    let world = World::new();
    world.user("ann");
    let (one, other) = (world.log_in("ann"), world.log_in("ann"));
    assert_ne!(one, other);
    assert!(world.holds(one) && world.holds(other));
}

#[test]
fn what_is_not_a_token_is_none() {
    let secret = URL_SAFE_NO_PAD.encode([0xfb; 32]);
    let zeros = "A".repeat(43);
    assert_eq!(key(&format!("7.{secret}")).user.get(), 7);
    assert_eq!(key(&format!("9007199254740991.{secret}")).user.get(), 9_007_199_254_740_991);
    key(&format!("7.{zeros}"));

    let users = [
        "",
        "0",
        "-7",
        "+7",
        "07",
        " 7",
        "7 ",
        "7\n",
        "7.0",
        "0x7",
        "7e0",
        "٧",
        "a",
        "9007199254740992",
        "9223372036854775808",
        "99999999999999999999999",
    ];
    for user in users {
        assert_eq!(Credential::parse(&format!("{user}.{secret}")), None, "{user:?}");
    }
    let standard = STANDARD_NO_PAD.encode([0xfb; 32]);
    let secrets = [
        "",
        &zeros[1..],
        &format!("{zeros}A"),
        &format!("{zeros}AA"),
        &zeros.repeat(2),
        &zeros.repeat(1000),
        // The last character holds two bits that belong to no byte.
        &format!("{}B", &zeros[1..]),
        &format!("{zeros}="),
        &format!("{zeros}=="),
        &format!("{zeros}."),
        &format!("{zeros}\n"),
        &format!(" {zeros}"),
        &format!("{}é", &zeros[2..]),
        &format!("{}\u{0}", &zeros[1..]),
        &format!("{}+", &zeros[1..]),
        standard.as_str(),
    ];
    for secret in secrets {
        assert_eq!(Credential::parse(&format!("7.{secret}")), None, "{secret:?}");
    }
    for text in ["", ".", "7", "7.", &secret, &format!("7{secret}"), &format!(".{secret}")] {
        assert_eq!(Credential::parse(text), None, "{text:?}");
    }
}

#[test]
fn only_a_hash_of_the_token_is_in_the_database() {
    let world = World::new();
    world.user("ann");
    let token = world.try_log_in("ann", None).unwrap();
    let secret = token.split_once('.').unwrap().1;
    let bytes = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));

    // Its files hold all tables, all columns and the log.
    let stored = world.stored_bytes();
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(&Sha256::digest(&bytes)), "what is looked for would be found");
    let forms: [&[u8]; 5] = [
        &bytes,
        token.as_bytes(),
        secret.as_bytes(),
        hex.as_bytes(),
        &hex.to_uppercase().into_bytes(),
    ];
    for form in forms {
        assert!(!holds(form), "{form:?}");
    }
}

#[test]
fn a_session_that_is_not_used_ends_after_fourteen_days() {
    let world = World::new();
    world.user("ann");
    let (started, session) = (world.now(), world.log_in("ann"));
    let found = world.session(session).unwrap();
    assert_eq!(found.last_seen_at, started);
    assert_eq!(found.expires_at, started.plus(14 * Time::DAY));

    world.wait(14 * Time::DAY - 1);
    assert!(world.holds(session));
    world.wait(1);
    assert!(!world.holds(session));
}

#[test]
fn each_use_puts_the_end_off_but_never_beyond_thirty_days() {
    let world = World::new();
    world.user("ann");
    let (started, session) = (world.now(), world.log_in("ann"));
    let end = started.plus(30 * Time::DAY);
    for _ in 0..3 {
        world.wait(9 * Time::DAY);
        world.seen(session);
        let found = world.session(session).unwrap();
        assert_eq!(found.last_seen_at, world.now());
        assert_eq!(found.expires_at, world.now().plus(14 * Time::DAY).min(end));
    }
    world.set_clock(end.plus(-1));
    world.seen(session);
    assert_eq!(world.session(session).unwrap().expires_at, end);
    world.wait(1);
    assert!(!world.holds(session));
    world.seen(session);
    assert!(!world.holds(session));
}

#[test]
fn a_use_that_is_noted_late_or_by_a_clock_set_back_takes_nothing_away() {
    let world = World::new();
    world.user("ann");
    let (started, session) = (world.now(), world.log_in("ann"));
    world.wait(-Time::DAY);
    world.seen(session);
    assert_eq!(world.session(session).unwrap().last_seen_at, started);
}

#[test]
fn a_use_does_not_bring_back_what_has_ended() {
    let world = World::new();
    world.user("ann");
    let (idle, ended) = (world.log_in("ann"), world.log_in("ann"));
    world.write(move |tx, _cx| sessions::end(tx, &ended)).unwrap();
    world.seen(ended);
    assert!(!world.holds(ended));

    world.wait(IDLE);
    world.seen(idle);
    assert!(!world.holds(idle), "it was over before it was used again");
}

#[test]
fn a_logout_ends_one_session_and_repeating_it_is_harmless() {
    let world = World::new();
    world.user("ann");
    world.user("bob");
    let (one, other, bobs) = (world.log_in("ann"), world.log_in("ann"), world.log_in("bob"));
    for _ in 0..2 {
        world.write(move |tx, _cx| sessions::end(tx, &one)).unwrap();
        assert_eq!([one, other, bobs].map(|key| world.holds(key)), [false, true, true]);
    }
}

#[test]
fn all_sessions_of_a_user_end_together_and_nobody_elses() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let (one, other, bobs) = (world.log_in("ann"), world.log_in("ann"), world.log_in("bob"));
    world.write(move |tx, _cx| users::end_credentials(tx, ann, None)).unwrap();
    assert_eq!([one, other, bobs].map(|key| world.holds(key)), [false, false, true]);
}

#[test]
fn a_restored_database_can_end_everybodys_sessions() {
    let world = World::new();
    world.user("ann");
    world.user("bob");
    let (anns, bobs) = (world.log_in("ann"), world.log_in("bob"));
    assert_eq!(world.write(|tx, _cx| Ok(sessions::end_all_users(tx)?)), Ok(2));
    assert!(!world.holds(anns) && !world.holds(bobs));
}

#[test]
fn a_new_login_replaces_the_session_that_it_came_with() {
    let world = World::new();
    world.user("ann");
    world.user("bob");
    let (old, other, bobs) = (world.log_in("ann"), world.log_in("ann"), world.log_in("bob"));
    let new = key(&world.try_log_in("ann", Some(old)).unwrap());
    assert_eq!([old, other, new].map(|key| world.holds(key)), [false, true, true]);

    // The same browser, another user.
    let next = key(&world.try_log_in("ann", Some(bobs)).unwrap());
    assert_eq!([bobs, new, next].map(|key| world.holds(key)), [false, true, true]);
}

#[test]
fn a_login_is_refused_where_the_password_was_changed_since_it_was_checked() {
    let world = World::new();
    let ann = world.user("ann");
    let session = world.log_in("ann");
    let checked = world.credentials("ann").unwrap();
    world.write(move |tx, _cx| users::set_password(tx, ann, "another hash")).unwrap();
    assert_eq!(late_login(&world, checked, None), Error::AuthenticationFailed);
    assert!(!world.holds(session));
    assert_eq!(world.stored_sessions(), 0);
    assert!(world.holds(world.log_in("ann")), "with the new one it works");
}

#[test]
fn a_login_is_refused_where_the_account_was_disabled_since_it_was_checked() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let bobs = world.log_in("bob");
    let checked = world.credentials("ann").unwrap();
    world.disable(ann);
    assert_eq!(late_login(&world, checked.clone(), Some(bobs)), Error::AuthenticationFailed);
    assert!(world.holds(bobs), "what was not replaced goes on");
    world.enable(ann);
    world
        .write(move |tx, cx| sessions::start(tx, cx, &checked, &[1; 32], &Client::default(), None))
        .unwrap();
}

#[test]
fn a_login_of_nobody_is_refused() {
    let world = World::new();
    let user = UserId::new(1).unwrap();
    let invented = users::StoredPassword { user, hash: "hash of ann".to_owned() };
    assert_eq!(late_login(&world, invented, None), Error::AuthenticationFailed);
}

fn late_login(
    world: &World,
    checked: users::StoredPassword,
    replaced: Option<Credential>,
) -> Error {
    refused(world.write(move |tx, cx| {
        sessions::start(tx, cx, &checked, &cx.random(), &Client::default(), replaced.as_ref())
    }))
}

#[test]
fn a_login_sweeps_what_has_expired_of_the_same_user() {
    let world = World::new();
    world.user("ann");
    world.user("bob");
    let used = world.log_in("ann");
    world.log_in("ann");
    world.log_in("bob");
    for _ in 0..2 {
        world.wait(7 * Time::DAY);
        world.seen(used);
    }
    assert_eq!(world.stored_sessions(), 3, "one of ann's and bob's are over, but still there");
    world.believe();
    let second = world.log_in("ann");
    assert_eq!(world.stored_sessions(), 3, "one has gone, one has come");
    assert!(world.holds(used) && world.holds(second));

    // `used` is over because of its age, though it was in use.
    for wait in [9 * Time::DAY, ABSOLUTE - IDLE - 9 * Time::DAY - 1] {
        world.wait(wait);
        world.seen(used);
        world.seen(second);
    }
    assert!(world.holds(used));
    world.wait(1);
    assert!(!world.holds(used));
    world.believe();
    world.log_in("ann");
    assert_eq!(world.stored_sessions(), 3, "bob's, the second and the new one");
    assert!(world.holds(second));
}

#[test]
fn a_login_sweeps_to_the_microsecond() {
    let world = World::new();
    world.user("ann");
    let old = world.log_in("ann");
    world.wait(IDLE - 1);
    world.log_in("ann");
    assert!(world.holds(old));
    assert_eq!(world.stored_sessions(), 2);
    world.wait(1);
    world.believe();
    world.log_in("ann");
    assert_eq!(world.stored_sessions(), 2);
}

#[test]
fn the_owner_sees_where_each_session_comes_from_the_newest_first() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let started = world.now();
    let address = "2001:db8::7".parse().ok();
    let old = world.log_in_from("ann", Client::new(address, "Old/1.0"));
    world.wait(Time::DAY);
    let new = world.log_in("ann");
    world.log_in("bob");
    world.wait(Time::DAY);
    world.seen(old);

    let listed =
        |key: Credential, created_at, last_seen_at, address: &str, user_agent: &str| SessionInfo {
            id: key.id(),
            created_at,
            last_seen_at,
            address: address.to_owned(),
            user_agent: user_agent.to_owned(),
            credential: key,
        };
    let later = started.plus(Time::DAY);
    let both = [
        listed(new, later, later, "", ""),
        listed(old, started, world.now(), "2001:db8::7", "Old/1.0"),
    ];
    assert_eq!(world.listed(ann), both);
    assert_eq!(world.listed(bob).len(), 1);
    assert_eq!(world.listed(nobody()), []);
}

#[test]
fn only_the_sessions_that_hold_are_listed() {
    let world = World::new();
    let ann = world.user("ann");
    let keys =
        |world: &World| world.listed(ann).into_iter().map(|one| one.credential).collect::<Vec<_>>();
    let (idle, used) = (world.log_in("ann"), world.log_in("ann"));
    world.wait(IDLE - 1);
    world.seen(used);
    assert_eq!(keys(&world).len(), 2);
    assert!(world.holds(idle));
    world.wait(1);
    assert_eq!(keys(&world), [used]);
    world.wait(Time::DAY);
    world.seen(used);
    world.wait(7 * Time::DAY);
    world.seen(used);
    world.wait(ABSOLUTE - IDLE - 8 * Time::DAY - 1);
    assert_eq!(keys(&world), [used]);
    world.wait(1);
    assert_eq!(keys(&world), []);
}

#[test]
fn what_a_client_says_of_itself_is_kept_within_bounds() {
    let world = World::new();
    let ann = world.user("ann");
    let said = |text: &str, address: Option<&str>| {
        let address = address.map(|address| address.parse().expect("the address is valid"));
        let key = world.log_in_from("ann", Client::new(address, text));
        let listed = world.listed(ann).into_iter().find(|one| one.credential == key);
        let listed = listed.expect("it holds");
        (listed.user_agent, listed.address)
    };
    assert_eq!(said("Ok/1 (é; 中)", None), ("Ok/1 (é; 中)".to_owned(), String::new()));
    let mapped = said("a\0b\nc\u{1b}[31md\u{85}e\u{7f}", Some("::ffff:192.0.2.1"));
    assert_eq!(mapped, ("abc[31mde".to_owned(), "192.0.2.1".to_owned()));
    let long = format!("\n{}", "é".repeat(201));
    assert_eq!(said(&long, Some("192.0.2.1")).0, "é".repeat(200));
}

#[test]
fn the_id_of_a_session_is_the_beginning_of_its_hash() {
    let world = World::new();
    let ann = world.user("ann");
    let token = world.try_log_in("ann", None).unwrap();
    let secret = URL_SAFE_NO_PAD.decode(token.split_once('.').unwrap().1).unwrap();
    let hash: [u8; 32] = Sha256::digest(secret).into();
    let hex = hash.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let id = i64::from_str_radix(&hex[..13], 16).unwrap();
    assert_eq!((key(&token).id(), world.listed(ann)[0].id), (id, id));
}

#[test]
fn a_session_is_ended_by_its_id_and_only_by_its_owner() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (one, other, bobs) = (world.log_in("ann"), world.log_in("ann"), world.log_in("bob"));
    assert_eq!(world.end_by_id(bob, one.id()), None);
    assert_eq!(world.end_by_id(ann, bobs.id()), None);
    assert_eq!(world.end_by_id(ann, 0), None);
    assert_eq!([one, other, bobs].map(|key| world.holds(key)), [true; 3]);
    assert_eq!(world.end_by_id(ann, one.id()), Some(one));
    assert_eq!([one, other, bobs].map(|key| world.holds(key)), [false, true, true]);
    assert_eq!(world.end_by_id(ann, one.id()), None);
}

#[test]
fn all_sessions_but_one_end_together_and_nobody_elses() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let (one, other, bobs) = (world.log_in("ann"), world.log_in("ann"), world.log_in("bob"));
    world.write(move |tx, _cx| users::end_credentials(tx, ann, Some(&other))).unwrap();
    assert_eq!([one, other, bobs].map(|key| world.holds(key)), [false, true, true]);
    // What is not the owner's keeps nothing.
    world.write(move |tx, _cx| users::end_credentials(tx, ann, Some(&bobs))).unwrap();
    assert_eq!([other, bobs].map(|key| world.holds(key)), [false, true]);
    let last = world.log_in("ann");
    world.write(move |tx, _cx| users::end_credentials(tx, ann, None)).unwrap();
    assert_eq!([last, bobs].map(|key| world.holds(key)), [false, true]);
}

#[test]
fn the_hundred_and_first_session_ends_the_one_that_was_least_recently_seen() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let bobs = world.log_in("bob");
    let (first, second) = (world.log_in("ann"), world.log_in("ann"));
    world.wait(1);
    let others: Vec<_> = (2..MOST).map(|_| world.log_in("ann")).collect();
    world.wait(1);
    world.seen(first);
    assert!(world.holds(second));
    assert_eq!(world.listed(ann).len(), 100);

    let last = world.log_in("ann");
    assert!(!world.holds(second));
    assert!(others.iter().chain([&first, &last, &bobs]).all(|key| world.holds(*key)));
    assert_eq!(world.listed(ann).len(), 100);

    let replacing = key(&world.try_log_in("ann", Some(last)).unwrap());
    assert!(others.iter().chain([&first, &replacing]).all(|key| world.holds(*key)));
}

#[test]
fn too_many_sessions_of_an_older_version_end_with_the_next_login() {
    let world = World::new();
    let ann = world.user("ann");
    let sessions = world.write(move |tx, cx| {
        let hashes: Vec<_> = (0..250).map(|number| [number; 32]).collect();
        let rows = (1..).zip(&hashes);
        let rows = rows.map(|(n, hash)| db::params![ann, hash, cx.now, cx.now.plus(n)]);
        let sql = "INSERT INTO sessions (user_id, token_hash, created_at, last_seen_at)
                   VALUES (?1, ?2, ?3, ?4)";
        Ok(tx.batch(sql, &rows.collect::<Vec<_>>())?)
    });
    assert_eq!(sessions.unwrap(), 250);
    assert_eq!(world.listed(ann).len(), 100);
    world.wait(Time::SECOND);
    let last = world.log_in("ann");
    assert!(world.holds(last));
    assert_eq!(world.stored_sessions(), 100);
    assert_eq!(
        world.number("SELECT min(last_seen_at) FROM sessions"),
        1_750_000_000_000_152,
        "the most recently seen stay"
    );
}
