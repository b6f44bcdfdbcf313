//! Addresses of servers, which never show their passwords.

use std::path::Path;

use db::{Db, Error, Options, Url};

use crate::{Opened, SCHEMA, url};

fn parsed(text: &str) -> Result<Url, Error> {
    Url::parse(text, Path::new("/"))
}

#[test]
fn an_address_shows_its_hosts_and_its_database() {
    for (text, shown) in [
        ("postgres://ann:hunter2@db.example/post", "postgres://db.example:5432/post"),
        ("postgresql://ann:hunter2@[::1]:7000/post", "postgres://::1:7000/post"),
        ("postgres://ann@one:1,two:2/post?application_name=x", "postgres://one:1,two:2/post"),
        ("postgres://ann@one,two:2/post", "postgres://one:5432,two:2/post"),
        ("postgres://ann:hunter%402@one/post?sslmode=verify-full", "postgres://one:5432/post"),
        ("postgres://ann:1/?hunter2@one/post?sslmode=require", "postgres://one:5432/post"),
        ("postgres://ann@%2Fvar%2Frun/post", "postgres:///var/run:5432/post"),
        ("postgres://ann@one/post?sslmode=verify-ca&sslrootcert=%2Fetc%2Fca", {
            "postgres://one:5432/post"
        }),
    ] {
        let url = parsed(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.to_string(), shown);
        assert!(!format!("{url:?}").contains("hunter"), "{url:?}");
        assert_eq!(url.path(), None);
    }
}

#[test]
fn a_wrong_address_is_refused_and_never_repeated() {
    for wrong in [
        "postgres://",
        "postgres://ann:hunter2@/post",
        "postgres://ann:hunter2@host",
        "postgres://ann:hunter2@host/",
        "postgres://ann:hunter2@host:port/post",
        "postgres://ann:hunter2@host:99999/post",
        // The @ in the password should be %40.
        "postgres://ann:pass@hunter2@host/post",
        "postgres://ann:hunter2@host/post?sslmode=hunter2",
        "postgres://ann:hunter2@host/post?sslmode=disable&sslrootcert=/hunter2",
        "postgres://ann:hunter2@host/post?sslmode=verify-full&sslrootcert=",
        "postgres://ann:hunter2@host/post?sslmode=verify-full&sslrootcert=%f",
        "postgres://ann:hunter2@host/post?hunter2=7",
        "mysql://ann:hunter2@host/post",
    ] {
        let error = parsed(wrong).expect_err(wrong);
        assert!(matches!(error, Error::Url(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_parameter_that_is_there_twice_is_refused_by_name() {
    for (parameters, named) in [
        ("sslmode=verify-full&sslmode=disable", "sslmode is there twice"),
        ("sslmode=disable&sslmode=disable", "sslmode is there twice"),
        ("sslmode=verify-full&ssl%6Dode=disable", "sslmode is there twice"),
        ("sslrootcert=%2Fa&sslmode=require&sslrootcert=%2Fb", "sslrootcert is there twice"),
        ("application_name=a&application_name=b", "a parameter after the ? is there twice"),
    ] {
        let error = parsed(&format!("postgres://ann@host/post?{parameters}")).unwrap_err();
        assert!(error.to_string().contains(named), "{parameters}: {error}");
    }
    parsed("postgres://ann@host/post?sslmode=verify-full&application_name=sslmode").unwrap();
}

#[test]
fn neither_errors_nor_options_show_a_password() {
    let options = || Options {
        notices: Some("postgres://ann:hunter2@host/post".to_owned()),
        ..Options::default()
    };
    let address = url("postgres://ann@host/post", options());
    assert!(!format!("{address:?} {address}").contains("hunter2"), "{address:?}");
    let wrong = Options { notices: Some("postgres://ann:hunter2@host".to_owned()), ..options() };
    let error = Url::with("postgres://ann@host/post", Path::new("/"), wrong).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    // Nobody listens there.
    let nobody = url("postgres://ann:hunter2@127.0.0.1:1,127.0.0.1:2/post", options());
    for error in [Db::open(&nobody, SCHEMA).err(), Db::migrate(&nobody, SCHEMA, 1).err()] {
        assert!(matches!(error, Some(Error::Unavailable(_))), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn operations_on_files_are_refused_for_a_server() {
    let Some(opened) = Opened::new() else { return };
    let url = url(&opened.address, Options::default());
    let unsupported = |error: Option<Error>| matches!(error, Some(Error::Unsupported(_)));
    assert!(unsupported(Db::backup(&url, Path::new("/nowhere")).err()));
    let restored = Db::restore(&url, Path::new("/nowhere"), SCHEMA, (1, "now"), |_, _| Ok(()));
    assert!(unsupported(restored.err()));
    assert_eq!(Db::integrity(&url), Ok(vec![]));
}
