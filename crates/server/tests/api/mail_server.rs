//! Reminders through a real server for e-mail: what it puts off, what it is too small for, and
//! addresses that it does not understand.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use domain::Time;
use serde_json::json;
use tempfile::TempDir;

use crate::email::FROM;
use crate::harness::TestApp;
use crate::user::User;

/// aiosmtpd, and what it logs.
struct MailServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl MailServer {
    /// Starts it, to take a mail at this attempt; `None` where it is not installed.
    fn start(attempts: &str, options: &[&str]) -> Option<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
        let port = port.expect("a port is free").port();
        let folder = tempfile::tempdir().expect("a folder can be made");
        let log = folder.path().join("log");
        let child = Command::new("aiosmtpd")
            .args(["--nosetuid", "--listen", &format!("127.0.0.1:{port}")])
            .args(options)
            .args(["--class", "greylist.Greylist"])
            .args([log.to_str().expect("it is text"), attempts])
            .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/mail_server"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                testing::skip("aiosmtpd (Debian package python3-aiosmtpd)");
                return None;
            }
            child => child.expect("it can be run"),
        };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self { child, port, folder })
    }

    /// A server that sends its e-mail there.
    async fn app(&self) -> TestApp {
        let url = format!("smtp://127.0.0.1:{}", self.port);
        let from = FROM.replace("example.org", "büro.example");
        let public = ("public_url", "https://p.example");
        TestApp::with(&[("smtp_url", &url), ("mail_from", &from), public]).await
    }

    /// What it answered: the code, for whom, and `To` and `Message-ID` of the text.
    fn answers(&self) -> Vec<[String; 4]> {
        let log: PathBuf = self.folder.path().join("log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            std::array::from_fn(|_| words.next().expect("there are four words"))
        };
        log.lines().map(line).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A letter to bob, who has this address and is away for longer than the time until a reminder.
async fn forgotten(app: &TestApp, address: &str) {
    let (ann, bob): (User, User) = app.pair("ann", "bob").await;
    bob.request("PATCH", "/v1/users/me").json(&json!({ "email": address })).send().await.ok();
    app.advance(5 * Time::MINUTE);
    ann.send(&bob, "hello", "").await;
    app.advance(61 * Time::MINUTE);
}

/// Waits until so many e-mails had this result.
async fn counted(app: &TestApp, result: &str, number: usize) {
    let line = format!("\npostroom_mails_total{{result=\"{result}\"}} {number}\n");
    while !app.scraper().request("GET", "/metrics").send().await.text().contains(&line) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_mail_that_is_put_off_comes_again_and_once() {
    let Some(server) = MailServer::start("3", &[]) else { return };
    let app = server.app().await;
    forgotten(&app, "bob@bücher.example").await;
    for (number, minutes) in [(1, 5), (2, 20)] {
        counted(&app, "put_off", number).await;
        // It is counted before it is noted.
        let noted = "SELECT count(*) FROM reminders WHERE waiting_since IS NOT NULL";
        while app.write(move |tx| Ok(tx.query_one(noted, &[], |row| row.int(0))?)).await == 0 {}
        assert_eq!(server.answers().len(), number, "it does not come before its time");
        app.advance(minutes * Time::MINUTE);
    }
    counted(&app, "sent", 1).await;
    let answers = server.answers();
    let codes: Vec<_> = answers.iter().map(|[code, ..]| code.as_str()).collect();
    assert_eq!(codes, ["450", "450", "250"]);
    // It does not take addresses beyond ASCII, and the mail was for one.
    for [_, recipient, ..] in &answers {
        assert_eq!(recipient, "bob@xn--bcher-kva.example");
    }
    assert_eq!(answers[2][2], "bob@xn--bcher-kva.example");
    assert_eq!(answers[1][3], answers[2][3]);
    assert!(answers[2][3].ends_with("@xn--bro-hoa.example>"), "{answers:?}");
}

#[tokio::test]
async fn a_mail_that_cannot_be_taken_is_tried_once() {
    // One is too long for the server, the other has an address that it does not take.
    for (size, address) in [("1000", "bob@example.org"), ("100000", "böb@bücher.example")] {
        let Some(server) = MailServer::start("1", &["--size", size]) else { return };
        let app = server.app().await;
        forgotten(&app, address).await;
        counted(&app, "refused", 1).await;
        app.advance(Time::DAY);
        app.user("cid").await;
        counted(&app, "put_off", 0).await;
        assert!(server.answers().is_empty(), "{:?}", server.answers());
    }
}

#[tokio::test]
async fn a_server_that_takes_all_addresses_gets_them_as_they_are() {
    let Some(server) = MailServer::start("1", &["--smtputf8"]) else { return };
    let app = server.app().await;
    forgotten(&app, "böb@bücher.example").await;
    counted(&app, "sent", 1).await;
    assert_eq!(server.answers()[0][1], "böb@xn--bcher-kva.example");
}
