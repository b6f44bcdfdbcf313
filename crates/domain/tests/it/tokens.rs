//! Tokens of programs: what they look like, what they allow, and what ends them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::browser_tokens::{self, Grant, Issued};
use domain::credential::{Credential, CredentialKind};
use domain::text::TokenName;
use domain::tokens::{self, Created, MOST, NewToken, Scope, Scopes, TokenInfo, ValidToken};
use domain::{Error, Result, Time, UserId, credentials, users};
use sha2::{Digest as _, Sha256};

use crate::support::{World, nobody, refused};

fn key(token: &str) -> Credential {
    Credential::parse_token(token).expect("it is a token")
}

fn new(name: &str, expires_at: Option<Time>) -> NewToken {
    let name = TokenName::parse(name).expect("the name is valid");
    NewToken { name, scopes: Scopes::all(), expires_at }
}

impl World {
    /// Makes a token that never expires.
    pub(crate) fn token(&self, owner: UserId) -> Credential {
        self.token_until(owner, None)
    }

    fn token_until(&self, owner: UserId, expires_at: Option<Time>) -> Credential {
        key(&self.try_token(owner, new("a program", expires_at)).expect("it can be made").token)
    }

    fn try_token(&self, owner: UserId, new: NewToken) -> Result<Created> {
        self.write(move |tx, cx| tokens::create(tx, cx, owner, &cx.random(), &new))
    }

    fn holding(&self, key: Credential) -> Option<ValidToken> {
        self.read(move |tx, cx| tokens::find(tx, cx, &key))
    }

    pub(crate) fn is_good(&self, key: Credential) -> bool {
        self.holding(key).is_some()
    }

    pub(crate) fn used(&self, key: Credential) {
        self.write(move |tx, cx| Ok(tokens::used(tx, cx, &key)?)).expect("it never fails");
    }

    fn tokens(&self, owner: UserId) -> Vec<TokenInfo> {
        self.read(move |tx, _cx| tokens::list(tx, owner))
    }

    fn revoke(&self, owner: UserId, id: i64) -> Option<Credential> {
        self.write(move |tx, _cx| tokens::revoke(tx, owner, id)).expect("it never fails")
    }
}

#[test]
fn a_credential_that_has_ended_makes_no_token() {
    let world = World::new();
    let ann = world.user("ann");
    let create = |by: Credential, grant: Option<Grant>| {
        let new = new("another program", None);
        world.write(move |tx, cx| {
            credentials::confirm(tx, cx, &by, grant.as_ref())?;
            tokens::create(tx, cx, by.user, &cx.random(), &new)
        })
    };
    let generation = world.read(move |tx, _cx| browser_tokens::generation(tx, ann));
    let granted = Grant {
        credential: Credential::of_browser(ann, [7; 32]),
        scopes: Scopes::all(),
        issued: Issued::In(generation),
        session: None,
        expires_at: world.now().plus(Time::HOUR),
    };
    let (session, token) = (world.log_in("ann"), world.token(ann));
    // The call was let in while its credential was still good.
    let callers = [(session, None), (token, None), (granted.credential, Some(granted))];
    for (by, grant) in callers {
        create(by, grant).expect("it has not ended");
    }
    world.write(move |tx, _cx| users::set_password(tx, ann, "another hash")).unwrap();
    for (by, grant) in callers {
        assert!(matches!(refused(create(by, grant)), Error::NotLoggedIn));
    }
    assert!(world.tokens(ann).is_empty());
}

#[test]
fn a_token_begins_with_prt_and_names_its_user() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let token = world.try_token(ann, new("backup", None)).unwrap().token;
    let secret = token.strip_prefix("prt_1.").unwrap();
    assert_eq!(secret.len(), 43);
    assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);
    assert_eq!((key(&token).user, key(&token).kind), (ann, CredentialKind::Token));
    assert!(world.is_good(key(&token)));

    assert!(!world.is_good(key(&format!("prt_{}.{secret}", bob.get()))), "of another user");
    let other = format!("prt_1.{}", URL_SAFE_NO_PAD.encode([9; 32]));
    assert!(!world.is_good(key(&other)), "another secret");
}

#[test]
fn a_token_is_no_session_and_a_session_no_token() {
    let secret = URL_SAFE_NO_PAD.encode([7; 32]);
    let (token, session) = (format!("prt_7.{secret}"), format!("7.{secret}"));
    assert_eq!(Credential::parse(&token), None);
    assert_eq!(Credential::parse_token(&session), None);
    assert_ne!(Credential::parse(&session), Credential::parse_token(&token));
    for text in ["", "prt_", "prt_7", "PRT_7.", "prt_prt_7.", "prt_07.", " prt_7."] {
        assert_eq!(Credential::parse_token(&format!("{text}{secret}")), None, "{text}");
    }

    let world = World::new();
    let ann = world.user("ann");
    let (session, token) = (world.log_in("ann"), world.token(ann));
    assert!(world.holds(session) && world.is_good(token));
    assert!(!world.holds(token) && !world.is_good(session));
}

#[test]
fn only_a_hash_of_a_token_is_in_the_database() {
    let world = World::new();
    let ann = world.user("ann");
    let created = world.try_token(ann, new("the name of it", None)).unwrap();
    let secret = created.token.strip_prefix("prt_1.").unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));

    let stored = world.stored_bytes();
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(&Sha256::digest(&bytes)) && holds(b"the name of it"), "it would be found");
    for form in [&bytes, secret.as_bytes(), hex.as_bytes(), &hex.to_uppercase().into_bytes()] {
        assert!(!holds(form), "{form:?}");
    }
}

#[test]
fn a_token_allows_what_its_scopes_say() {
    let world = World::new();
    let ann = world.user("ann");
    let cases: [(&[&str], [bool; 3]); 5] = [
        (&["messages:read"], [true, false, false]),
        (&["messages:write"], [false, true, false]),
        (&["account"], [false, false, true]),
        (&["account", "messages:read", "account"], [true, false, true]),
        (&["messages:read", "messages:write", "account"], [true; 3]),
    ];
    for (names, allowed) in cases {
        let scopes = Scopes::parse(names.iter().copied()).unwrap();
        let token = world.try_token(ann, NewToken { scopes, ..new("one", None) }).unwrap();
        let found = world.holding(key(&token.token)).unwrap().scopes;
        assert_eq!(Scope::ALL.map(|scope| found.contains(scope)), allowed, "{names:?}");
        let named = Scope::ALL.into_iter().filter(|scope| scopes.contains(*scope));
        let named: Vec<_> = named.map(Scope::name).collect();
        assert_eq!(found.names().collect::<Vec<_>>(), named);
    }
    assert_eq!(Scope::ALL.map(Scope::name), ["messages:read", "messages:write", "account"]);
    assert_eq!(Scopes::parse(Scope::ALL.map(Scope::name)), Ok(Scopes::all()));
    assert_eq!(Scopes::parse([]).unwrap_err().to_string(), "scopes: there must be at least one");
    for unknown in ["", "messages", "Account", "account ", "messages:delete"] {
        assert_eq!(
            Scopes::parse(["account", unknown]).unwrap_err().to_string(),
            "scopes: each must be messages:read, messages:write or account"
        );
    }
}

#[test]
fn the_name_of_a_token_is_a_line_of_up_to_a_hundred_characters() {
    for good in ["a", "nightly backup", "é", &"é".repeat(100), "<b> \"x\" & 😀"] {
        assert_eq!(TokenName::parse(good).unwrap().as_str(), good);
    }
    let bad = [
        ("", "name: it must have 1 to 100 characters"),
        (&"a".repeat(101), "name: it must have 1 to 100 characters"),
        ("a\nb", "name: it must not hold control characters"),
        ("a\0", "name: it must not hold control characters"),
        (" a", "name: it must not begin or end with a space"),
    ];
    for (text, problem) in bad {
        assert_eq!(TokenName::parse(text).unwrap_err().to_string(), problem, "{text:?}");
    }
}

#[test]
fn a_token_ends_at_its_time_to_the_microsecond() {
    let world = World::new();
    let ann = world.user("ann");
    let end = world.now().plus(Time::DAY);
    let (ending, lasting) = (world.token_until(ann, Some(end)), world.token(ann));
    assert_eq!(world.holding(ending).unwrap().expires_at, Some(end));
    assert_eq!(world.holding(lasting).unwrap().expires_at, None);
    world.wait(Time::DAY - 1);
    assert!(world.is_good(ending));
    world.wait(1);
    assert!(!world.is_good(ending) && world.is_good(lasting));
    world.wait(10_000 * Time::DAY);
    assert!(world.is_good(lasting));
}

#[test]
fn a_token_that_would_have_ended_already_is_refused() {
    let world = World::new();
    let ann = world.user("ann");
    for end in [world.now(), world.now().plus(-1), Time(0), Time(-1)] {
        let error = refused(world.try_token(ann, new("late", Some(end))));
        assert_eq!(error.to_string(), "expires_at: it must be in the future");
    }
    assert_eq!(world.tokens(ann), []);
    world.token_until(ann, Some(world.now().plus(1)));
}

#[test]
fn the_last_use_is_known_and_never_goes_back() {
    let world = World::new();
    let ann = world.user("ann");
    let (token, other) = (world.token(ann), world.token(ann));
    assert_eq!(world.holding(token).unwrap().last_used_at, None);
    world.wait(Time::MINUTE);
    let first = world.now();
    world.used(token);
    assert_eq!(world.holding(token).unwrap().last_used_at, Some(first));
    assert_eq!(world.holding(other).unwrap().last_used_at, None);
    world.wait(-1);
    world.used(token);
    assert_eq!(world.holding(token).unwrap().last_used_at, Some(first));
    world.wait(2);
    world.used(token);
    assert_eq!(world.holding(token).unwrap().last_used_at, Some(world.now()));
    let listed = world.tokens(ann).into_iter().find(|listed| listed.id == token.id());
    assert_eq!(listed.unwrap().last_used_at, Some(world.now()));
}

#[test]
fn a_use_does_not_bring_a_token_back() {
    let world = World::new();
    let ann = world.user("ann");
    let token = world.token(ann);
    world.revoke(ann, token.id());
    world.used(token);
    assert!(!world.is_good(token));
}

#[test]
fn the_owner_sees_all_tokens_the_newest_first() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (started, end) = (world.now(), world.now().plus(Time::DAY));
    let old = world.try_token(ann, new("old", Some(end))).unwrap();
    world.wait(1);
    let scopes = Scopes::parse(["messages:read"]).unwrap();
    let young = world.try_token(ann, NewToken { scopes, ..new("young", None) }).unwrap();
    world.token(bob);
    assert_eq!(
        young.listed,
        TokenInfo {
            id: key(&young.token).id(),
            name: "young".to_owned(),
            scopes,
            created_at: started.plus(1),
            expires_at: None,
            last_used_at: None,
        }
    );
    assert_eq!((old.listed.expires_at, old.listed.created_at), (Some(end), started));
    assert_eq!(world.tokens(ann), [young.listed, old.listed]);
    assert_eq!(world.tokens(nobody()), []);
}

#[test]
fn a_token_is_revoked_by_its_id_and_only_by_its_owner() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (one, other, bobs) = (world.token(ann), world.token(ann), world.token(bob));
    assert_eq!(world.revoke(bob, one.id()), None);
    assert_eq!(world.revoke(ann, bobs.id()), None);
    assert_eq!([one, other, bobs].map(|key| world.is_good(key)), [true; 3]);
    assert_eq!(world.revoke(ann, one.id()), Some(one));
    assert_eq!([one, other, bobs].map(|key| world.is_good(key)), [false, true, true]);
    assert_eq!(world.revoke(ann, one.id()), None);
}

#[test]
fn a_user_has_up_to_a_hundred_tokens_that_have_not_expired() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let end = world.now().plus(Time::DAY);
    let ending = world.token_until(ann, Some(end));
    let others: Vec<_> = (1..MOST).map(|_| world.token(ann)).collect();
    assert_eq!(world.tokens(ann).len(), 100);
    assert_eq!(refused(world.try_token(ann, new("one more", None))), Error::TooManyTokens);
    assert_eq!(world.tokens(ann).len(), 100);
    world.token(bob);

    world.set_clock(end.plus(-1));
    assert_eq!(refused(world.try_token(ann, new("one more", None))), Error::TooManyTokens);
    assert!(world.is_good(ending));
    world.set_clock(end);
    world.token(ann);
    assert_eq!(refused(world.try_token(ann, new("one more", None))), Error::TooManyTokens);
    world.revoke(ann, others[0].id());
    world.token(ann);
}

#[test]
fn all_tokens_of_a_user_end_together_and_nobody_elses() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (one, other, bobs) = (world.token(ann), world.token(ann), world.token(bob));
    world.write(move |tx, _cx| users::end_credentials(tx, ann, Some(&other))).unwrap();
    assert_eq!([one, other, bobs].map(|key| world.is_good(key)), [false, true, true]);
    world.write(move |tx, _cx| users::end_credentials(tx, ann, None)).unwrap();
    assert_eq!([one, other, bobs].map(|key| world.is_good(key)), [false, false, true]);
}

#[test]
fn a_disabled_user_has_no_tokens_and_gets_none() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (anns, bobs) = (world.token(ann), world.token(bob));
    world.disable(ann);
    assert!(!world.is_good(anns) && world.is_good(bobs));
    assert_eq!(refused(world.try_token(ann, new("late", None))), Error::NotLoggedIn);
    assert_eq!(refused(world.try_token(nobody(), new("nobody's", None))), Error::NotLoggedIn);
    world.enable(ann);
    assert!(!world.is_good(anns), "what has ended does not come back");
    let again = world.token(ann);
    assert!(world.is_good(again));
}

#[test]
fn a_new_password_by_the_operator_ends_all_tokens_of_its_user() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (anns, bobs) = (world.token(ann), world.token(bob));
    world.write(move |tx, _cx| users::set_password(tx, ann, "another hash")).unwrap();
    assert!(!world.is_good(anns) && world.is_good(bobs));
}
