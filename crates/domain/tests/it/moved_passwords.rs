//! Passwords that other programs have hashed.
//!
//! The hashes were made by the programs themselves: those of Django 5.2.19 and 6.0.10 by
//! `make_password('pässword of ann', hasher=…)` with each hasher's defaults, with argon2-cffi
//! 25.1.0 and bcrypt 5.0.0; the plain ones by these two libraries.

use domain::passwords::{self, MovedHash};
use domain::{Error, users};

use crate::support::{World, refused};

const PASSWORD: &str = "pässword of ann";

const HASHES: &[&str] = &[
    // Django 5.2.19
    "pbkdf2_sha256$1000000$1655xW1bNrtasks88Wu9yY$BrvWOpj+9L+ZM07A/LFcIqr2wbvPxpcoLParzwcwZOA=",
    "pbkdf2_sha1$1000000$W4miv3LIdcWnvgKpOE3G7U$rwIdppMDOEpUqGN2T663hM99cuw=",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$VnpVT0pHWHZOM3VaOXMyZDJMV2ZlMg\
     $c/FyT41rAivV12HGbMV5i1fxpK3hJ0jTQm13wIQsrcU",
    "bcrypt$$2b$12$hnfZe30Pm41VW3Csj.VCrefVRAmJhTZHhBQT2eZpXx4LX3JpndqC2",
    "bcrypt_sha256$$2b$12$Qp16MTGRiIMzqpfzm5blQuDUSCHhCFWA6Oax8sCxAMyWydt0vWdWO",
    "scrypt$16384$wqsSkINl8zLmj2I14QNQQZ$8$5$/aaIi9Tzdxl2H2geGcrAe/g1SrgkTPqsFjtN8TJN\
     +iD9vKPl/O80mf4nYUGht0oKIG6Fh6Fzla9B68wugJmoHQ==",
    // Django 6.0.10
    "pbkdf2_sha256$1200000$k2OkleQ6uA26qrBuGP83ok$6+BLxYA86laS/Ci5L0AV5sb0WvdUelQhGzlM0l0Zthg=",
    "pbkdf2_sha1$1200000$L2VgRW5Edpa5l8fKPkFAzG$wdHATIhNnC/uo3bqHe7NnGEwAw0=",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$QjFyOXRWYVZyU1VUUmUzbHdFSW9Icw\
     $3tvU3QbIgKRjg9d5HfPOaQpQ3N3T0WuZrisOjpQzj8w",
    "bcrypt$$2b$12$GlnvHCCNB5Q6eaBbjPFAyeifnRvTBcqL1Azz/dwsrvlR0cSzhvU3.",
    "bcrypt_sha256$$2b$12$9QOspy3SKHH7I16CcjE4xui5IwvaINmTZVu.eXrS/jKVmgsib63su",
    "scrypt$16384$C0YR832Zr5kxlgHTqexYbR$8$5$pKis7aIy0SGDMm6YxbQrTg6mwer67GI5WTX41wCimICu\
     oqJlaTns3+0t78D3R56d/XD59PU3vOkuXZ8g0wa8lA==",
    // bcrypt 5.0.0; PHP calls the same form 2y.
    "$2b$10$1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi",
    "$2y$10$1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi",
    "$2a$10$ze7tAwNYfxpkt4y0i7VgiOQURXE7tttvQARKGLumEHA0YEogvHJ6u",
    // argon2-cffi 25.1.0
    "$argon2id$v=19$m=65536,t=3,p=4$DVMUN8VxGkZYEzZfgHGvGA\
     $3I2jMPGbXVffe0OYqAWsZRVP1C+LfdRUTqLBq3K5HzY",
    "$argon2i$v=19$m=1024,t=2,p=1$+q/aUPrv6POxWHKiEpTa1Q\
     $APaZExw6zVKgQBTUbkggI2KCI1+KBhhKu/oeL5uFfs0",
];

#[test]
fn hashes_of_django_and_others_fit_their_password_and_no_other() {
    for hash in HASHES {
        let moved = MovedHash::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
        assert!(passwords::verify(PASSWORD.as_bytes(), Some(moved.as_str())), "{hash}");
        assert!(!passwords::verify("password of ann".as_bytes(), Some(hash)), "{hash}");
    }
}

#[test]
fn a_right_password_gets_the_same_hash_of_ours_at_every_sign_in() {
    let upgraded = passwords::upgrade(PASSWORD.as_bytes(), HASHES[12]).unwrap();
    assert!(upgraded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{upgraded}");
    assert!(passwords::verify(PASSWORD.as_bytes(), Some(&upgraded)));
    assert_eq!(passwords::upgrade(PASSWORD.as_bytes(), HASHES[12]), Some(upgraded.clone()));
    assert_ne!(passwords::upgrade(PASSWORD.as_bytes(), HASHES[14]), Some(upgraded.clone()));
    assert_eq!(passwords::upgrade(PASSWORD.as_bytes(), &upgraded), None);
}

#[test]
fn what_is_too_much_work_or_no_hash_is_refused_and_not_repeated() {
    let key = "rwIdppMDOEpUqGN2T663hM99cuw=";
    let bcrypt = "1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi";
    let tail = "DVMUN8VxGkZYEzZfgHGvGA$3I2jMPGbXVffe0OYqAWsZRVP1C+LfdRUTqLBq3K5HzY";
    let scrypt = HASHES[5].rsplit_once('$').unwrap().1;
    for (hash, problem) in [
        (format!("pbkdf2_sha1$4000001$salt${key}"), "4,000,000"),
        (format!("$2b$16${bcrypt}"), "above 15"),
        (format!("bcrypt$$2b$16${bcrypt}"), "above 15"),
        (format!("$argon2id$v=19$m=131073,t=2,p=1${tail}"), "128 MiB"),
        (format!("$argon2id$v=19$m=1024,t=5,p=1${tail}"), "4 passes"),
        (format!("$argon2id$v=19$m=4096,t=1,p=17${tail}"), "16 lanes"),
        (format!("scrypt$131072$salt$8$1${scrypt}"), "64 MiB"),
        (format!("scrypt$16384$salt$8$9${scrypt}"), "8 runs"),
        (format!("scrypt$16383$salt$8$1${scrypt}"), "none of"),
        (format!("pbkdf2_sha1$0$salt${key}"), "none of"),
        (format!("pbkdf2_sha1$+1$salt${key}"), "none of"),
        (format!("pbkdf2_sha1$99999999999$salt${key}"), "none of"),
        (format!("pbkdf2_sha256$1000$salt${key}"), "none of"),
        (format!("pbkdf2_sha1$1000$${key}"), "none of"),
        (format!("pbkdf2_md5$1000$salt${key}"), "none of"),
        (format!("$2x$10${bcrypt}"), "none of"),
        (format!("$2b$03${bcrypt}"), "none of"),
        (format!("$2b$10${}", &bcrypt[1..]), "none of"),
        (String::from("$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ"), "none of"),
        (String::from("!AYJRIozGNJvzdJvkmRGa6gc59bQT8SWLMbxHrglh"), "none of"),
        (String::new(), "none of"),
        (String::from("md5$salt$e10adc3949ba59abbe56e057f20f883e"), "none of"),
    ] {
        let error = MovedHash::parse(&hash).expect_err(&hash).to_string();
        assert!(error.contains(problem), "{hash}: {error}");
        assert!(!error.contains("salt"), "a hash is secret: {error}");
    }
    let shown = format!("{:?}", MovedHash::parse(HASHES[0]).unwrap());
    assert!(!shown.contains("1655"), "{shown}");
}

/// 82 bytes.
const LONG: &str = "éééééééééééééééééééééééééééééééééééé0123456789";

/// Unusual passwords and salts. The first ones are of Django 5.2.19 with argon2-cffi 25.1.0 and
/// bcrypt 5.0.0.
const UNUSUAL: &[(&str, &str)] = &[
    ("", "pbkdf2_sha256$1000$x$9Rz89oeFGCfVyODUhl8Ue3px9RKn+L1Qragv5aMhTI8="),
    (PASSWORD, "pbkdf2_sha256$1001$abc$QdvsL0HoZc6i92SPn9k38Ja3dcOyY8v9QN5661xb5eg="),
    (PASSWORD, "pbkdf2_sha256$1001$sält$OQOf3EHAmxIQFPhrlpNZFEOTfnVWrPoYMHvI6HYu1Vs="),
    ("a\0b", "pbkdf2_sha1$1000$salt-1$PeXmoLbCm6fN3rxf4+303I5hrOo="),
    (LONG, "pbkdf2_sha256$1000$salt$gDYgEKVRA4unFjKF8fxR55IsDmM9LaqQfyw8YQOItxs="),
    (LONG, "bcrypt_sha256$$2b$04$Mx778vSORzEvjXpDnpqDCu3uo7S2vXHM32Jl/qjHLDVQkq9TNah1G"),
    ("a\0b", "bcrypt_sha256$$2b$04$Mx778vSORzEvjXpDnpqDCu3WSaRjdzymx7fsfP5VQGVqWLJYOUgfa"),
    ("", "bcrypt_sha256$$2b$04$Mx778vSORzEvjXpDnpqDCugFh4LZDIYbRMnpxVYAz6XrOwdEof74O"),
    ("a\0b", "bcrypt$$2b$04$Mx778vSORzEvjXpDnpqDCunmt8gK5RFVSv7unnbYxCdizRojrr.KK"),
    ("a\0", "bcrypt$$2b$04$Mx778vSORzEvjXpDnpqDCucB.S6T1FJkJE4VpfMLapcvF/BFfPpnS"),
    ("", "bcrypt$$2b$04$Mx778vSORzEvjXpDnpqDCua6.RrhbRsy/Vgdyy9DAAjosIlrLskLa"),
    (
        "éééééééééééééééééééééééééééééééééééé",
        "bcrypt$$2b$04$Mx778vSORzEvjXpDnpqDCu/D85IVN2StbKMM8R8RB7nmP45I7o3Zq",
    ),
    (
        "a\0b",
        "scrypt$32$odd$3$2$PXT/d85BrhGmmKWAd+TwYsWIwiovisIUCyJQQ7X+WcXeoWXb+hZEuIeiOK1tjvWO\
         s2BF7xTRQBvEr2k71Bi5qA==",
    ),
    (PASSWORD, "argon2$argon2i$v=19$m=512,t=2,p=2$MTIzNDU2Nzg$cN1eQ+bMUsi/NV4e07AP/Q"),
    (PASSWORD, "argon2$argon2i$v=16$m=512,t=2,p=2$MTIzNDU2Nzg$SxVfQQBFQWf82uVYTcdDkg"),
    (PASSWORD, "argon2$argon2d$v=19$m=512,t=2,p=2$MTIzNDU2Nzg$z9mbF14XeWK0fFxdVc65mg"),
    (
        "",
        "argon2$argon2i$v=19$m=512,t=2,p=2$WnQyem1QY0R4azRq\
         $PIATvWgpVUZxoCTI6h53CDQobdjeOdL0dhP7L5LgWy4",
    ),
    // bcrypt 4.3.0; the later ones refuse to hash more than 72 bytes.
    (LONG, "$2b$04$abcdefghijklmnopqrstuuKiIlCeXB6chNXkLyAo8C7XcLPzh6zUe"),
    (LONG, "$2a$04$abcdefghijklmnopqrstuuKiIlCeXB6chNXkLyAo8C7XcLPzh6zUe"),
    (LONG, "$2y$04$abcdefghijklmnopqrstuuKiIlCeXB6chNXkLyAo8C7XcLPzh6zUe"),
    ("a\0b", "$2b$04$abcdefghijklmnopqrstuusjHI0zQHpOe3SFDK1IriYv6N79Gzr32"),
];

#[test]
fn empty_and_long_passwords_and_those_with_any_byte_fit_as_where_they_come_from() {
    for (password, hash) in UNUSUAL {
        let moved = MovedHash::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
        let fits = |password: &str| passwords::verify(password.as_bytes(), Some(moved.as_str()));
        assert!(fits(password), "{hash}");
        for other in ["a", "b\0b"] {
            assert!(!fits(other), "{hash}: {other:?}");
        }
        let upgraded = passwords::upgrade(password.as_bytes(), hash).expect("it is not ours");
        assert!(passwords::verify(password.as_bytes(), Some(&upgraded)), "{hash}");
        assert!(!passwords::verify(b"another", Some(&upgraded)), "{hash}");
    }
    // Only 72 bytes count for bcrypt, with which the hash was made; all of them for ours.
    let (long, hash) = UNUSUAL[17];
    let shorter = &long.as_bytes()[..72];
    assert!(passwords::verify(shorter, Some(hash)));
    let upgraded = passwords::upgrade(long.as_bytes(), hash).expect("it is not ours");
    assert!(!passwords::verify(shorter, Some(&upgraded)));
}

#[test]
fn what_takes_more_memory_than_ours_or_over_a_second_is_costly() {
    let costly = |hash: &str| MovedHash::parse(hash).is_ok() && passwords::is_costly(hash);
    let of_ours = passwords::upgrade(b"a", UNUSUAL[0].1).expect("it is not ours");
    assert!(!costly(&of_ours));
    let found: Vec<_> = HASHES.iter().copied().filter(|hash| costly(hash)).collect();
    // Argon2 of Django takes 100 MiB, argon2-cffi 64; PBKDF2, bcrypt and scrypt by default do not.
    assert_eq!(found, [2, 8, 15].map(|at| HASHES[at]));
    let tail = "1asLCT/eryJ1SIOFD0INpunoULlNyVheUfhKBMuPC7868mj9wyvWi";
    assert!(costly(&format!("$2b$15${tail}")) && !costly(&format!("$2b$13${tail}")));
}

#[test]
fn an_upgrade_at_a_sign_in_leaves_a_password_that_was_set_meanwhile() {
    let world = World::new();
    let ann = world.user("ann");
    let moved = MovedHash::parse(HASHES[12]).expect("it is one");
    world.write(move |tx, _cx| users::set_moved_password(tx, ann, &moved)).unwrap();
    let wait = || world.read(|tx, _cx| users::longest_wait(tx));
    assert!(wait() > 0);
    let upgrade = || {
        let checked = world.credentials("ann").expect("they have a password");
        let hash = passwords::upgrade(PASSWORD.as_bytes(), &checked.hash);
        (checked, hash.unwrap_or_else(|| "a hash of ours".to_owned()))
    };
    let (checked, upgraded) = upgrade();
    let (other, again) = upgrade();

    // Signing in twice at once ends with the same hash, and both are let in.
    for (checked, upgraded) in [(checked, upgraded.clone()), (other, again)] {
        let done = world.write(move |tx, _cx| {
            let stored = users::upgrade_password(tx, &checked, &upgraded)?;
            users::confirm(tx, &stored)
        });
        assert_eq!(done, Ok(()));
    }
    assert_eq!(world.credentials("ann").map(|known| known.hash), Some(upgraded.clone()));
    assert_eq!(wait(), 0);

    for set in [true, false] {
        let old = world.credentials("ann").expect("they have a password");
        let known = old.clone();
        world
            .write(move |tx, _cx| {
                if set {
                    users::set_password(tx, ann, "set by the operator")
                } else {
                    users::change_password(tx, &known, "changed", None)
                }
            })
            .unwrap();
        let upgraded = upgraded.clone();
        let late = world.write(move |tx, _cx| {
            let stored = users::upgrade_password(tx, &old, &upgraded)?;
            users::confirm(tx, &stored)
        });
        assert_eq!(refused(late), Error::AuthenticationFailed);
        let stored = world.credentials("ann").map(|known| known.hash);
        let expected = if set { "set by the operator" } else { "changed" };
        assert_eq!(stored.as_deref(), Some(expected));
    }
}
