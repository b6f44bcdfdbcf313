//! Accounts: names, addresses, passwords, and what disabling does.

use std::collections::BTreeSet;

use domain::credential::Credential;
use domain::passwords;
use domain::passwords::Password;
use domain::sending::Refusal;
use domain::sessions::Client;
use domain::text::{Email, USERNAME_CHARS, Username, fold};
use domain::users::{self, User};
use domain::{Error, Invalid, Time, UserId, UserRef, sessions};
use unicode_normalization::UnicodeNormalization as _;

use crate::support::{World, draft, nobody, refusal, refused};

#[test]
fn one_name_is_taken_in_all_its_forms() {
    let forms: [&[&str]; 10] = [
        &["ann", "ANN", "Ann", "ａｎｎ", "ＡＮＮ", "𝒶𝓃𝓃", "ⓐⓝⓝ"],
        &["ÅSA", "åsa", "Åsa", "\u{212b}sa"],
        &["Straße", "STRASSE", "strasse", "STRAẞE"],
        &["ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφοσ"],
        &["МАРИЯ", "мария"],
        &["kelvin", "\u{212a}elvin"],
        &["ﬁn", "fin", "FIN"],
        &["user1", "user①", "user¹", "user１"],
        &["ｶﾞ", "ガ"],
        &["ann@example.org", "ANN@EXAMPLE.ORG", "ann＠example．org"],
    ];
    let world = World::new();
    for forms in forms {
        let id = world.user(forms[0]);
        for form in forms {
            assert_eq!(refused(world.try_user(form)), Error::NameTaken, "{form}");
            let found = found(&world, form).unwrap();
            assert_eq!(found.id, id, "{form}");
        }
    }
    assert_eq!(world.number("SELECT count(*) FROM users"), 10);
    assert_eq!(world.number("SELECT count(*) FROM mailboxes"), 10);
}

#[test]
fn different_names_are_different_users() {
    let names = [
        "ann",
        "an",
        "anna",
        "ån",
        "ann.",
        "a-nn",
        "а\u{43d}\u{43d}",
        "i",
        "ı",
        "l",
        "1",
        "o",
        "0",
    ];
    let world = World::new();
    let users: BTreeSet<_> = names.map(|name| world.user(name)).into();
    assert_eq!(users.len(), names.len());
}

#[test]
fn a_composed_and_a_decomposed_name_are_the_same() {
    let (composed, decomposed) = ("\u{c5}sa", "A\u{30a}sa");
    let world = World::new();
    let asa = world.user(composed);
    assert_eq!(refused(world.try_user(decomposed)), Error::NameTaken);
    for typed in [composed, decomposed, "a\u{30a}sa", "\u{e5}SA"] {
        assert_eq!(world.credentials(typed).map(|found| found.user), Some(asa), "{typed}");
    }
}

#[test]
fn the_form_in_which_names_are_compared_is_stable() {
    for character in '\0'..='\u{1ffff}' {
        let text = String::from(character);
        let Ok(name) = Username::parse(&text) else { continue };
        let folded = name.folded();
        let mut forms = vec![text.nfd().collect(), text.nfkd().collect()];
        forms.extend([text.clone(), folded.to_owned(), name.shown().to_owned()]);
        if has_another_case(character) {
            forms.extend([text.to_lowercase(), text.to_uppercase()]);
        }
        for form in forms {
            assert_eq!(fold(&form), folded, "{form:?} of {text:?}");
        }
    }
}

fn has_another_case(character: char) -> bool {
    // `ı` in upper case is `I`, which is another letter. The others came with Unicode 17: the
    // standard library knows their cases, the tables of `caseless` 0.2.2 (Unicode 16) do not.
    !matches!(character, 'ı' | '\u{a7ce}'..='\u{a7d5}' | '\u{16ea0}'..='\u{16ed3}')
}

#[test]
fn a_name_is_shown_as_its_owner_wrote_it_in_nfkc() {
    for (typed, shown) in [("Ann", "Ann"), ("ÅSA", "ÅSA"), ("A\u{30a}sa", "Åsa"), ("ＡＮＮ", "ANN")]
    {
        assert_eq!(Username::parse(typed).unwrap().shown(), shown);
    }
}

#[test]
fn a_name_has_one_to_a_hundred_and_fifty_characters() {
    assert_eq!(USERNAME_CHARS, 150);
    for (character, most) in [("a", 150), ("é", 150), ("中", 150), ("𐐀", 150), ("ﬁ", 75)] {
        assert!(Username::parse(character).is_ok());
        assert!(Username::parse(&character.repeat(most)).is_ok(), "{character}");
        let invalid = Username::parse(&character.repeat(most + 1)).unwrap_err();
        assert_eq!(invalid.to_string(), "username: it must have 1 to 150 characters");
    }
    // `A` and a ring are one character in NFKC, and two before it.
    assert!(Username::parse(&"A\u{30a}".repeat(75)).is_ok());
    let invalid = Username::parse(&"A\u{30a}".repeat(76)).unwrap_err();
    assert_eq!(invalid.to_string(), "username: it must have 1 to 150 characters");
    let invalid = Username::parse("").unwrap_err();
    assert_eq!(invalid.to_string(), "username: it must have 1 to 150 characters");
}

#[test]
fn a_name_holds_letters_digits_and_five_signs() {
    let names = [
        "ann",
        "42",
        "@",
        ".",
        "+",
        "-",
        "_",
        "ann@example.org",
        "a.b+c-d_e",
        "žofie",
        "李雷",
        "мария",
        "محمد",
        "٣",
        "가나다",
        "さくら",
        "ß",
        "Ⅻ",
    ];
    for name in names {
        assert!(Username::parse(name).is_ok(), "{name}");
    }
    let refused = [
        " ",
        "a b",
        " ann",
        "ann ",
        "ann\t",
        "ann\n",
        "ann\r\n",
        "ann\0",
        "ann\u{7f}",
        "ann\u{a0}",
        "a/b",
        "a\\b",
        "a:b",
        "a,b",
        "a;b",
        "a!b",
        "a?b",
        "a#b",
        "a%b",
        "a&b",
        "a*b",
        "a=b",
        "a~b",
        "a'b",
        "a\"b",
        "a`b",
        "a^b",
        "a|b",
        "a$b",
        "a<b",
        "a>b",
        "a(b",
        "a)b",
        "a[b",
        "a]b",
        "a{b",
        "a}b",
        "😀",
        "½",
        "a\u{301}\u{327}",
        "\u{301}",
        "ann\u{200b}",
        "ann\u{200d}",
        "ann\u{ad}",
        "ann\u{feff}",
        "\u{202e}nna",
        "ann\u{2066}",
        "ann\u{fe0f}",
        "\u{e0061}",
        "\u{fffd}",
        "\u{ffff}",
        "–",
        "。",
    ];
    for name in refused {
        let invalid = Username::parse(name).unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "username: it may hold letters, digits and @ . + - _ only",
            "{name:?}"
        );
    }
}

#[test]
fn an_address_is_of_a_valid_form_and_kept_to_the_letter() {
    let longest = format!("{}@é", "é".repeat(252));
    for address in [
        "a@b",
        "Ann@Example.ORG",
        "root@localhost",
        "o'neil.{x}+tag=1/2#!$%&*?^_`|~-@a-b.example.org",
        "müller@exämple.de",
        "ан@почта.рф",
        "\"a@b\"@c",
        "a+b@[::1]",
        "a@[127.0.0.1]",
        "a@[IPv6:2001:db8::1]",
        &longest,
    ] {
        assert_eq!(Email::parse(address).unwrap().as_str(), address);
    }
    let no_form = "email: it must look like name@example.org";
    for address in [
        "a@b@c",
        "<script>@x",
        "a@<b>",
        "Ann<ann@b>",
        "<ann@b>",
        "a,b@c",
        ".a@b",
        "a..b@c",
        "a.@b",
        "\"a@b",
        "a@-b",
        "a@b-.org",
        "a@b..org",
        "a@.b",
        "a@b.",
        "a@[b",
        "a@[b]",
        "a@[]",
        "a@[127.0.0.256]",
        "a@[IPv6:127.0.0.1]",
        "a@127.0.0.1]",
        "a@b/c\\d",
        "a@b;rm",
        &format!("a@{}", "b".repeat(64)),
    ] {
        assert_eq!(Email::parse(address).unwrap_err().to_string(), no_form, "{address:?}");
    }
    let too_long = format!("{longest}x");
    let refused = [
        ("", "email: it must look like name@example.org"),
        ("ann", "email: it must look like name@example.org"),
        ("@", "email: it must look like name@example.org"),
        ("@example.org", "email: it must look like name@example.org"),
        ("ann@", "email: it must look like name@example.org"),
        ("a b@c", "email: it must not hold spaces or control characters"),
        ("a@b ", "email: it must not hold spaces or control characters"),
        ("a@b\n", "email: it must not hold spaces or control characters"),
        ("a@b\r\nBcc: c@d", "email: it must not hold spaces or control characters"),
        ("a\u{a0}@b", "email: it must not hold spaces or control characters"),
        ("a\u{85}@b", "email: it must not hold spaces or control characters"),
        ("a@b\0", "email: it must not hold spaces or control characters"),
        (too_long.as_str(), "email: it must have at most 254 characters"),
    ];
    for (address, problem) in refused {
        assert_eq!(Email::parse(address).unwrap_err().to_string(), problem, "{address:?}");
    }
}

fn password(text: &str) -> Result<Password, Invalid> {
    let name = Username::parse("Annabella").expect("the name is valid");
    Password::parse(text, &name, "Ann.Smith@Example.org")
}

#[test]
fn a_password_has_eight_to_1024_bytes() {
    for good in ["p7#kd90x", "éééü", "😀é77", &"x7".repeat(512), &"é".repeat(512), "        x"]
    {
        assert_eq!(password(good).unwrap().as_bytes(), good.as_bytes());
    }
    let long = [format!("{}x", "x7".repeat(512)), format!("{}é", "é".repeat(512))];
    for bad in ["", "p7#kd90", "éé7é", "😀é7", &long[0], &long[1]] {
        let invalid = password(bad).unwrap_err();
        assert_eq!(invalid.to_string(), "password: it must have 8 to 1024 bytes", "{bad}");
    }
}

#[test]
fn a_password_that_everybody_would_guess_is_refused() {
    let common = [
        "password",
        "PassWord",
        "ILOVEYOU!",
        "iloveyou10",
        "film@123",
        "!qaz1qaz",
        "１２３４５６７８９",
    ];
    for text in common {
        let invalid = password(text).unwrap_err();
        assert_eq!(invalid.to_string(), "password: it is one of the most common passwords");
    }
    for text in ["password-of-ann", "xiloveyou10", "!qaz1qa"] {
        assert!(!passwords::is_common(text), "{text}");
    }
}

#[test]
fn a_password_is_not_the_name_or_the_address_of_its_user_in_any_case() {
    let own = [
        "annabella",
        "ANNABELLA",
        "ａｎｎａｂｅｌｌａ",
        "ann.smith",
        "ANN.Smith",
        "ann.smith@example.org",
        "ANN.SMITH@EXAMPLE.ORG",
    ];
    for text in own {
        let invalid = password(text).unwrap_err();
        assert_eq!(invalid.to_string(), "password: it must not be the user's own name or address");
    }
    for text in ["annabella-7", "my ann.smith", "ann.smith@example.net"] {
        assert!(password(text).is_ok(), "{text}");
    }
}

#[test]
fn a_password_holds_anything_but_the_character_zero_and_never_shows_itself() {
    for text in ["\0 is it here", "it is \0 here", "it is here\0"] {
        let invalid = password(text).unwrap_err();
        assert_eq!(invalid.to_string(), "password: it must not hold the character U+0000");
    }
    let text = "tab\tline\nbidi\u{202e}😀";
    assert_eq!(password(text).unwrap().as_bytes(), text.as_bytes());
    assert_eq!(format!("{:?}", password(text).unwrap()), "Password(…)");
}

#[test]
fn a_password_fits_to_the_byte() {
    let (composed, decomposed) = ("caf\u{e9} noir", "cafe\u{301} noir");
    let hash = passwords::hash(&password(composed).unwrap(), [1; 16]);
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(passwords::verify(composed.as_bytes(), Some(&hash)));
    for other in [decomposed, "CAF\u{c9} NOIR", "caf\u{e9} noir ", ""] {
        assert!(!passwords::verify(other.as_bytes(), Some(&hash)), "{other}");
    }
    assert!(!passwords::verify(composed.as_bytes(), Some("not a hash")));
    assert!(!passwords::verify(composed.as_bytes(), None));
    assert_ne!(passwords::hash(&password(composed).unwrap(), [2; 16]), hash, "each has its salt");
}

#[test]
fn a_new_user_is_found_with_everything_that_was_given() {
    let world = World::new();
    let created_at = world.now();
    let id = world.user("Ann");
    let ann = User {
        id,
        name: "Ann".to_owned(),
        email: "somebody@example.org".to_owned(),
        created_at,
        disabled_at: None,
    };
    assert_eq!(found(&world, "ann"), Some(ann.clone()));
    assert_eq!(found(&world, "aNN"), Some(ann));
    for other in ["", "an", "ann ", "%", "a%", "_nn", "bob"] {
        assert_eq!(found(&world, other), None, "{other}");
    }
    assert_eq!(world.number("SELECT modseq FROM mailboxes WHERE owner_id = 1"), 0);
    assert_eq!(world.received(id), []);
}

fn found(world: &World, name: &str) -> Option<User> {
    let of = UserRef::named(name).expect("it can be a name");
    world.read(move |tx, _cx| users::find(tx, &of))
}

#[test]
fn the_name_of_a_disabled_user_stays_taken() {
    let world = World::new();
    let ann = world.user("ann");
    world.disable(ann);
    assert_eq!(refused(world.try_user("ANN")), Error::NameTaken);
    assert_eq!(found(&world, "ann").map(|found| found.id), Some(ann));
}

#[test]
fn users_are_listed_in_the_order_of_their_ids_page_by_page() {
    let world = World::new();
    for name in ["dot", "ann", "cid", "bob"] {
        world.user(name);
    }
    let page = |after, limit| {
        let users = world.read(move |tx, _cx| users::list(tx, after, limit));
        users.into_iter().map(|user| user.name).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3), ["dot", "ann", "cid"]);
    assert_eq!(page(3, 3), ["bob"]);
    assert_eq!(page(4, 3), [""; 0]);
    assert_eq!(page(0, 100).len(), 4);
}

#[test]
fn what_a_password_is_checked_against_is_that_of_the_name() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    for (name, user, hash) in [("ANN", ann, "hash of ann"), ("bob", bob, "hash of bob")] {
        let credentials = world.credentials(name).unwrap();
        assert_eq!((credentials.user, credentials.hash.as_str()), (user, hash));
    }
    assert!(world.credentials("cid").is_none());
}

/// Starts a session and returns whether it holds, each time it is asked.
fn session_of(world: &World, name: &str) -> impl Fn() -> bool {
    let credentials = world.credentials(name).expect("the user is enabled");
    let start = world.write(move |tx, cx| {
        sessions::start(tx, cx, &credentials, &cx.random(), &Client::default(), None)
    });
    let key = Credential::parse(&start.expect("the credentials hold")).expect("it is a token");
    move || world.read(move |tx, cx| sessions::find(tx, cx, &key)).is_some()
}

#[test]
fn a_new_password_ends_all_sessions_of_its_user_and_nobody_elses() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let sessions =
        [session_of(&world, "ann"), session_of(&world, "ann"), session_of(&world, "bob")];
    world.write(move |tx, _cx| users::set_password(tx, ann, "another hash")).unwrap();
    assert_eq!(sessions.each_ref().map(|holds| holds()), [false, false, true]);
    assert_eq!(world.credentials("ann").unwrap().hash, "another hash");
    assert_eq!(world.credentials("bob").unwrap().hash, "hash of bob");
}

#[test]
fn a_new_password_does_not_enable_anybody() {
    let world = World::new();
    let ann = world.user("ann");
    world.disable(ann);
    world.write(move |tx, _cx| users::set_password(tx, ann, "another hash")).unwrap();
    assert!(world.credentials("ann").is_none());
    world.enable(ann);
    assert_eq!(world.credentials("ann").unwrap().hash, "another hash");
}

#[test]
fn a_disabled_user_has_no_credentials_and_no_session_until_a_new_login() {
    let world = World::new();
    let ann = world.user("ann");
    world.user("bob");
    let (anns, bobs) = (session_of(&world, "ann"), session_of(&world, "bob"));
    world.disable(ann);
    assert!(world.credentials("ann").is_none());
    assert!(!anns() && bobs());
    assert!(world.credentials("bob").is_some());

    world.enable(ann);
    assert!(!anns(), "what has ended does not come back");
    assert!(session_of(&world, "ann")());
}

#[test]
fn a_disabled_user_keeps_what_the_mailbox_holds() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let (to_bob, to_ann) = (world.send(ann, bob, "one"), world.send(bob, ann, "other"));
    world.disable(ann);
    assert_eq!(world.received(bob), [to_bob]);
    assert_eq!(world.open(bob, to_bob).unwrap().envelope.from, ann);
    assert_eq!(world.open(bob, to_ann).unwrap().envelope.body, "other");
    assert_eq!(refusal(world.try_send(bob, draft(ann, "", ""))), Refusal::Unavailable);
    world.enable(ann);
    assert_eq!((world.received(ann), world.unread(ann)), (vec![to_ann], vec![to_ann]));
}

#[test]
fn disabling_and_enabling_can_be_repeated() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let first = world.now();
    for _ in 0..2 {
        world.disable(ann);
        world.wait(Time::DAY);
        assert_eq!(found(&world, "ann").unwrap().disabled_at, Some(first));
    }
    assert_eq!(found(&world, "bob").unwrap().disabled_at, None);
    for _ in 0..2 {
        world.enable(ann);
        assert_eq!(found(&world, "ann").unwrap().disabled_at, None);
        world.send(bob, ann, "hello");
    }
    assert_eq!(world.problems(), []);
}

#[test]
fn what_is_done_to_nobody_is_refused() {
    let world = World::new();
    world.user("ann");
    let id: UserId = nobody();
    let refusals = [
        world.write(move |tx, cx| users::disable(tx, cx, id)),
        world.write(move |tx, cx| users::enable(tx, cx, id)),
        world.write(move |tx, _cx| users::set_password(tx, id, "a hash")),
    ];
    assert_eq!(refusals.map(refused), [Error::UnknownUser, Error::UnknownUser, Error::UnknownUser]);
}

#[test]
fn a_letter_that_shows_nothing_makes_no_second_ann() {
    for filler in ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'] {
        assert!(Username::parse(&format!("ann{filler}")).is_err(), "{filler:?}");
    }
}
