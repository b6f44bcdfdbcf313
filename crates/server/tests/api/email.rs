//! A server that reminds by e-mail, and what a mail says.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Time;
use testing::smtp::{Smtp, SmtpSession};

use crate::harness::TestApp;
use crate::user::User;

/// From whom mails are.
pub(crate) const FROM: &str = "noreply@example.org";

/// A server that reminds after an hour, and the one that takes its mails.
pub(crate) struct EmailApp {
    pub app: TestApp,
    pub smtp: Smtp,
    guards: std::cell::Cell<u32>,
}

impl EmailApp {
    pub(crate) async fn start() -> Self {
        let smtp = Smtp::start();
        let url = format!("smtp://{}", smtp.address());
        Self::with(smtp, &[("smtp_url", &url)]).await
    }

    pub(crate) async fn with(smtp: Smtp, settings: &[(&str, &str)]) -> Self {
        let usual =
            [("mail_from", "Post & Co <noreply@example.org>"), ("public_url", "https://p.example")];
        let all: Vec<_> = usual.into_iter().chain(settings.iter().copied()).collect();
        Self { app: TestApp::with(&all).await, smtp, guards: std::cell::Cell::default() }
    }

    /// Lets so many minutes go by.
    pub(crate) fn wait(&self, minutes: i64) {
        self.app.advance(minutes * Time::MINUTE);
    }

    /// The next conversation, in which no mail is taken, when it was noted that it is tried again.
    pub(crate) async fn put_off(&self) -> SmtpSession {
        let session = self.smtp.next();
        assert!(!session.accepted, "{session:?}");
        while self.waited_for().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        session
    }

    /// For how many the time runs.
    async fn waited_for(&self) -> i64 {
        let waits = "SELECT count(*) FROM reminders WHERE waiting_since IS NOT NULL";
        self.app.write(move |tx| Ok(tx.query_one(waits, &[], |row| row.int(0))?)).await
    }

    /// Waits until the time runs for nobody.
    pub(crate) async fn nobody_is_waited_for(&self) {
        while self.waited_for().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the server knows that nobody listens.
    pub(crate) async fn nobody_listens(&self) {
        loop {
            let metrics = self.app.scraper().request("GET", "/metrics").send().await;
            if String::from_utf8_lossy(&metrics.body).contains("\npostroom_streams 0\n") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The mail that comes next, which is taken.
    #[track_caller]
    pub(crate) fn mail(&self) -> Mail {
        let session = self.smtp.next();
        assert!(session.accepted, "{session:?}");
        Mail::of(&session)
    }

    /// Whom the mails are for that are due now, those aside of somebody who surely gets one, and
    /// after all others.
    pub(crate) async fn reminded(&self, from: &User) -> Vec<String> {
        let number = self.guards.get() + 1;
        self.guards.set(number);
        let guard = self.app.user(&format!("z{number}")).await;
        self.wait(2);
        from.send(&guard, "guard", "").await;
        self.wait(60);
        let address = format!("z{number}@example.org");
        let mut reminded = Vec::new();
        loop {
            let to = self.mail().to;
            if to == address {
                return reminded;
            }
            reminded.push(to);
        }
    }
}

/// What a mail says.
#[derive(Debug)]
pub(crate) struct Mail {
    pub to: String,
    /// Names as they were written, and values in one line, decoded.
    pub headers: Vec<(String, String)>,
    pub plain: String,
    pub html: String,
    /// Everything as it came.
    pub raw: String,
}

impl Mail {
    #[track_caller]
    pub(crate) fn of(session: &SmtpSession) -> Self {
        let raw = session.text.clone().expect("a text was sent");
        let to = session.commands.iter().find_map(|command| command.strip_prefix("RCPT TO:<"));
        let to = to.expect("it is for somebody").trim_end_matches('>').to_owned();
        let (headers, body) = split(&raw);
        let kind = header(&headers, "Content-Type").expect("it has a type");
        assert!(kind.starts_with("multipart/alternative;"), "{kind}");
        let boundary = kind.split("boundary=\"").nth(1).expect("it has a boundary");
        let boundary = format!("--{}", boundary.trim_end_matches('"'));
        let parts: Vec<_> = body.split(&boundary).skip(1).map(str::to_owned).collect();
        assert_eq!(parts.len(), 3, "{raw}");
        assert_eq!(parts[2].trim(), "--");
        let part = |at: usize, kind: &str| {
            let (headers, body) = split(parts[at].trim_start_matches("\r\n"));
            assert_eq!(header(&headers, "Content-Type"), Some(&*format!("{kind}; charset=utf-8")));
            decoded(header(&headers, "Content-Transfer-Encoding").expect("it has one"), &body)
        };
        let (plain, html) = (part(0, "text/plain"), part(1, "text/html"));
        let headers = headers.into_iter().map(|(name, value)| (name, words(&value))).collect();
        Self { to, headers, plain, html, raw }
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name).unwrap_or_else(|| panic!("no {name} in {}", self.raw))
    }

    /// The link that ends reminders, without the host.
    #[track_caller]
    pub(crate) fn link(&self) -> String {
        let link = self.header("List-Unsubscribe");
        let link = link.strip_prefix("<https://p.example").and_then(|link| link.strip_suffix('>'));
        link.expect("it is one at the public address").to_owned()
    }
}

/// The headers, each in one line, and what follows them.
fn split(text: &str) -> (Vec<(String, String)>, String) {
    let (head, body) = text.split_once("\r\n\r\n").expect("headers end with an empty line");
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers = head.split("\r\n").map(|line| {
        assert!(!line.contains(['\r', '\n']), "{line:?}");
        let (name, value) = line.split_once(": ").expect("a header has a value");
        (name.to_owned(), value.to_owned())
    });
    (headers.collect(), body.to_owned())
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut values = headers.iter().filter(|(known, _)| known == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "{name} is there more than once");
    value
}

/// Encoded words (RFC 2047) as what they stand for.
fn words(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("=?utf-8?b?") {
        let (encoded, after) = after.split_once("?=").expect("an encoded word ends");
        let bytes = STANDARD.decode(encoded).expect("it is base64");
        // What is between two of them is nothing.
        if !before.trim().is_empty() || text.is_empty() {
            text += before;
        }
        text += &String::from_utf8(bytes).expect("it is UTF-8");
        rest = after;
    }
    text + rest
}

fn decoded(encoding: &str, body: &str) -> String {
    match encoding {
        "7bit" => body.to_owned(),
        "base64" => {
            let bytes = STANDARD.decode(body.replace("\r\n", "")).expect("it is base64");
            String::from_utf8(bytes).expect("it is UTF-8")
        }
        "quoted-printable" => {
            let body = body.replace("=\r\n", "");
            let mut bytes = Vec::new();
            let mut rest = body.as_bytes();
            while let Some((first, after)) = rest.split_first() {
                rest = after;
                if *first != b'=' {
                    bytes.push(*first);
                    continue;
                }
                let (digits, after) = rest.split_at(2);
                let digits = std::str::from_utf8(digits).expect("they are digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("they are digits"));
                rest = after;
            }
            String::from_utf8(bytes).expect("it is UTF-8")
        }
        _ => panic!("{encoding} is no encoding for text"),
    }
}
