//! E-mail, as an operator sets it up and reads of it in the log.

use db::Db;
use testing::User;
use testing::smtp::{Smtp, Turn};

use crate::support::{Place, TWO_HOURS_GO_BY};

const PASSWORD: &str = "canary-smtp-password";

impl Place {
    /// With a server for e-mail.
    fn with_smtp(self, smtp: &Smtp) -> Self {
        let url = format!("smtp://postroom:{PASSWORD}@{}", smtp.address());
        self.with("POSTROOM_SMTP_URL", &url)
            .with("POSTROOM_MAIL_FROM", "noreply@example.org")
            .with("POSTROOM_PUBLIC_URL", "https://post.example.org")
    }

    /// Makes all that has happened two hours older.
    fn two_hours_go_by(&self) {
        let db = Db::open_beside(&self.url(), domain::SCHEMA).expect("it can be opened");
        let write = db.write(|tx| {
            for statement in TWO_HOURS_GO_BY {
                tx.execute(statement, &[])?;
            }
            Ok::<_, db::Error>(())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("the system has a runtime").block_on(write).expect("it can be written");
    }
}

#[test]
fn an_operator_can_see_whether_mail_can_be_sent() {
    let smtp = Smtp::start();
    let place = Place::bare();
    let none = place.run(&["mail", "test", "ann@example.org"]).failed(2);
    assert_eq!(none, "error: smtp_url is not set\n");
    let place = place.with_smtp(&smtp);
    assert!(place.run(&["mail", "test", "nobody"]).failed(2).contains("nobody"));

    let sent = place.run(&["mail", "test", "ann@example.org"]).ok();
    assert_eq!(sent, "the server for e-mail has taken a mail to ann@example.org\n");
    let session = smtp.next();
    let text = session.text.expect("there is one");
    assert!(text.contains("\r\nSubject: A test of Postroom\r\n"), "{text}");
    assert!(text.contains("\r\nMIME-Version: 1.0\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{text}");
    let ids: Vec<_> = text.lines().filter(|line| line.starts_with("Message-ID: <")).collect();
    assert!(ids.len() == 1 && ids[0].ends_with("@example.org>"), "{text}");
    // Another mail is not taken for the same one.
    place.run(&["mail", "test", "ann@bücher.example"]).ok();
    let session = smtp.next();
    assert!(session.commands.contains(&"RCPT TO:<ann@xn--bcher-kva.example>".to_owned()));
    assert!(!session.text.expect("there is one").contains(ids[0]));
    // Whatever an account takes can be tried.
    let long = format!("{}@example.org", "a".repeat(100));
    for address in ["ann@[127.0.0.1]", &long] {
        place.run(&["mail", "test", address]).ok();
        assert!(smtp.next().commands.contains(&format!("RCPT TO:<{address}>")));
    }

    smtp.plan(&[
        Turn::Answer("RCPT", "550 5.1.1 nobody of that name"),
        Turn::Answer("AUTH", "535 postroom:canary-smtp-password is wrong"),
        Turn::Close,
    ]);
    let refused = place.run(&["mail", "test", "ann@example.org"]).failed(1);
    assert!(refused.contains("RCPT") && refused.contains("nobody of that name"), "{refused}");
    for named in ["AUTH: answered with 535", "connecting"] {
        let refused = place.run(&["mail", "test", "ann@example.org"]).failed(1);
        assert!(refused.contains(named) && !refused.contains("canary"), "{refused}");
    }
    // The library does not read a code without a text.
    smtp.plan(&[Turn::Answer(".", "250")]);
    let unknown = place.run(&["mail", "test", "ann@example.org"]).failed(1);
    assert!(unknown.contains("the text: the response cannot be parsed"), "{unknown}");
    let shown = place.run(&["config"]).ok();
    assert!(shown.contains("smtp://postroom:(hidden)@") && !shown.contains("canary"), "{shown}");
}

#[test]
fn the_log_tells_of_each_trouble_once_and_names_nobody() {
    let smtp = Smtp::start();
    let place = Place::new().with_smtp(&smtp).with("POSTROOM_LOG", "trace");
    let server = place.serve();
    let mut ann = User::register(server.address, "ann");
    let bob = User::register(server.address, "bob");
    ann.send_message(bob.id, "canary-subject", "canary-body");
    smtp.plan(&[Turn::Answer("RCPT", "550 5.1.1 <bob@example.org>: canary-answer")]);
    place.two_hours_go_by();
    assert!(!smtp.next().accepted);

    let words = server.last_words();
    assert_eq!(words.matches("a reminder was refused").count(), 1, "{words}");
    assert!(words.contains("RCPT: answered with 550"), "{words}");
    for secret in ["canary", "bob@example.org", "Y2FuYXJ5"] {
        let line = words.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "it told {secret}: {line:?}");
    }
    assert_eq!(smtp.rest().len(), 0);
    place.is_whole();
}

#[test]
fn a_mail_that_is_on_its_way_does_not_hold_up_the_end_and_comes_again() {
    let smtp = Smtp::start();
    let place = Place::new().with_smtp(&smtp);
    let server = place.serve();
    let mut ann = User::register(server.address, "ann");
    let bob = User::register(server.address, "bob");
    ann.send_message(bob.id, "hello", "");
    smtp.plan(&[Turn::HangAfterText]);
    place.two_hours_go_by();
    crate::support::until(testing::TIMEOUT, "the mail is on its way", || smtp.texts() == 1);
    let words = server.stop();
    assert!(words.contains("stopped"), "{words}");
    assert!(!smtp.next().accepted);

    let server = place.serve();
    place.two_hours_go_by();
    assert!(smtp.next().accepted, "it was in doubt");
    server.stop();
}
