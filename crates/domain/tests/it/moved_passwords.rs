//! Passwords that other programs have hashed.
//!
//! The hashes were made by the programs themselves: those of Django 5.2.19 and 6.0.10 by
//! `make_password('pässword of ann', hasher=…)` with each hasher's defaults, with argon2-cffi
//! 25.1.0 and bcrypt 5.0.0; the plain ones by these two libraries.

use domain::passwords::{self, MovedHash};

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
        (format!("scrypt$16384$salt$8$17${scrypt}"), "16 runs"),
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
