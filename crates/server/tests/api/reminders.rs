//! Reminders by e-mail of what stays unread: what they say, who gets them, and what ends them.

use std::path::Path;

use serde_json::json;
use server::config::{Config, Sources};
use testing::smtp::{self, Smtp, Turn};

use crate::email::{EmailApp, FROM, Mail};
use crate::harness::PASSWORD;
use crate::user::User;

/// Ann writes to bob, who is away for longer than the time until a reminder.
async fn forgotten(email_app: &EmailApp) -> (User, User) {
    let (ann, bob) = email_app.app.pair("ann", "bob").await;
    email_app.wait(5);
    ann.send(&bob, "hello", "canary-body").await;
    email_app.wait(60);
    (ann, bob)
}

#[tokio::test]
async fn a_mail_says_who_wrote_and_what_about_and_nothing_of_the_letter() {
    let email_app = EmailApp::start().await;
    let (ann, bob) = email_app.app.pair("ann", "bob").await;
    let name = json!({ "display_name": "Ann <b>Ü \"x\", y@evil.example" });
    ann.request("PATCH", "/v1/users/me").json(&name).send().await.ok();
    email_app.wait(5);
    let subject = "Grüße, 李\r\nBcc: victim@evil.example\r\n\r\n<script>alert(1)</script>";
    ann.send(&bob, subject, "canary-body").await;
    ann.send(&bob, "", "canary-body").await;
    email_app.wait(60);

    let mail = email_app.mail();

    assert_eq!(mail.to, "bob@example.org");
    assert_eq!(mail.header("From"), "Post & Co <noreply@example.org>");
    assert_eq!(mail.header("To"), "bob@example.org");
    let shown = "Grüße, 李 Bcc: victim@evil.example <script>alert(1)</script>";
    let sender = "Ann <b>Ü \"x\", y@evil.example";
    assert_eq!(mail.header("Subject"), format!("{sender}: {shown}"));
    assert_eq!(mail.header("MIME-Version"), "1.0");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert!(mail.header("Message-ID").ends_with("@example.org>"));
    assert!(mail.header("Date").ends_with(" +0000"));
    assert!(mail.link().starts_with("/unsubscribe?token="));
    let names: Vec<_> = mail.headers.iter().map(|(name, _)| name.as_str()).collect();
    let known = [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
    ];
    assert_eq!(names, known);
    assert!(!mail.raw.contains("canary"), "{}", mail.raw);

    let lines = [&format!("  {sender}: {shown}"), &format!("  {sender}: (no subject)")];
    for line in lines {
        assert!(mail.plain.lines().any(|reported| reported == line), "{}", mail.plain);
    }
    assert!(
        mail.plain.contains("unread messages: 2.") && mail.html.contains("unread messages: 2.")
    );
    assert!(mail.plain.contains(&format!("https://p.example{}", mail.link())));
    let escaped = "Ann &lt;b&gt;Ü &quot;x&quot;, y@evil.example";
    assert!(mail.html.contains(&format!("<li>{escaped}: Grüße, 李 Bcc: ")), "{}", mail.html);
    assert!(mail.html.contains("&lt;script&gt;") && !mail.html.contains("<script"));
}

#[tokio::test]
async fn there_is_none_again_until_the_user_has_been_back() {
    let email_app = EmailApp::start().await;
    let (ann, bob) = forgotten(&email_app).await;
    assert_eq!(email_app.mail().to, "bob@example.org");
    for _ in 0..2 {
        ann.send(&bob, "another", "").await;
        assert_eq!(email_app.reminded(&ann).await, [""; 0]);
    }
    bob.request("GET", "/v1/messages").send().await.ok();
    email_app.app.settle().await;
    email_app.wait(5);
    ann.send(&bob, "after bob was back", "").await;
    assert_eq!(email_app.reminded(&ann).await, ["bob@example.org"]);
}

#[tokio::test]
async fn who_reads_or_is_seen_gets_none() {
    let email_app = EmailApp::start().await;
    let (ann, bob) = email_app.app.pair("ann", "bob").await;
    let (cid, dot) = email_app.app.pair("cid", "dot").await;
    email_app.wait(5);
    let read = ann.send(&bob, "read", "").await;
    for other in [&cid, &dot] {
        ann.send(other, "seen", "").await;
    }
    email_app.wait(30);
    bob.read(read).await;
    cid.unread().await;
    dot.logout().await;
    dot.login().await;
    email_app.app.settle().await;
    assert_eq!(email_app.reminded(&ann).await, [""; 0]);
}

#[tokio::test]
async fn a_user_with_an_open_stream_gets_none_until_it_is_closed() {
    let email_app = EmailApp::start().await;
    let (ann, bob) = email_app.app.pair("ann", "bob").await;
    let mut stream = bob.request("GET", "/v1/events").events().await;
    email_app.wait(5);
    ann.send(&bob, "streamed", "").await;
    stream.next_message().await;
    // The open stream is noted as a use of the session.
    email_app.nobody_is_waited_for().await;
    assert_eq!(email_app.reminded(&ann).await, [""; 0]);
    drop(stream);
    email_app.nobody_listens().await;
    email_app.wait(5);
    ann.send(&bob, "not streamed", "").await;
    assert_eq!(email_app.reminded(&ann).await, ["bob@example.org"]);
}

#[tokio::test]
async fn who_wants_none_says_so_in_the_account() {
    let email_app = EmailApp::start().await;
    let (ann, bob) = email_app.app.pair("ann", "bob").await;
    assert_eq!(bob.request("GET", "/v1/users/me").send().await.ok()["reminders"], true);
    let off = json!({ "reminders": false });
    let account = bob.request("PATCH", "/v1/users/me").json(&off).send().await.ok();
    assert_eq!(account["reminders"], false);
    assert_eq!(bob.request("GET", "/v1/users/me").send().await.ok()["reminders"], false);
    for wrong in [json!({ "reminders": null }), json!({ "reminders": "no" })] {
        let refused = bob.request("PATCH", "/v1/users/me").json(&wrong).send().await;
        assert_eq!(refused.invalid(), ["#/reminders wrong_type"]);
    }
    email_app.wait(5);
    ann.send(&bob, "hello", "").await;
    assert_eq!(email_app.reminded(&ann).await, [""; 0]);
    let on = json!({ "reminders": true });
    assert_eq!(bob.request("PATCH", "/v1/users/me").json(&on).send().await.ok()["reminders"], true);
    email_app.app.settle().await;
    email_app.wait(5);
    ann.send(&bob, "hello", "").await;
    assert_eq!(email_app.reminded(&ann).await, ["bob@example.org"]);
}

#[tokio::test]
async fn whatever_address_an_account_takes_gets_them_and_any_other_holds_up_nobody() {
    let email_app = EmailApp::start().await;
    let ann = email_app.app.user("ann").await;
    let long = format!("{}@example.org", "b".repeat(100));
    let addresses = [
        ("bob@[127.0.0.1]", "bob@[127.0.0.1]"),
        ("bob@[::1]", "bob@[IPv6:::1]"),
        ("\"bob@home\"@example.org", "\"bob@home\"@example.org"),
        (long.as_str(), long.as_str()),
        ("bob@localhost", "bob@localhost"),
    ];
    let mut users = vec![];
    for (number, (address, _)) in addresses.iter().enumerate() {
        let user = email_app.app.user(&format!("bob{number}")).await;
        let email = json!({ "email": address });
        user.request("PATCH", "/v1/users/me").json(&email).send().await.ok();
        users.push(user);
    }
    // Older versions took whatever had an @.
    let old = email_app.app.user("old").await;
    let id = old.id;
    let change = "UPDATE users SET email = 'two words@[nowhere' WHERE id = ?1";
    email_app.app.write(move |tx| Ok(tx.execute(change, &db::params![id])?)).await;
    let shown = old.request("GET", "/v1/users/me").send().await.ok();
    assert_eq!(shown["email"], "two words@[nowhere");
    email_app.wait(5);
    for user in [&old].into_iter().chain(&users) {
        ann.send(user, "hello", "").await;
    }
    email_app.wait(60);
    let mut reminded: Vec<_> = users.iter().map(|_| email_app.mail()).collect();
    reminded.sort_by_key(|mail| mail.to.clone());
    let mut written: Vec<_> = addresses.iter().map(|(_, written)| *written).collect();
    written.sort_unstable();
    assert_eq!(reminded.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), written);
    for mail in &reminded {
        assert_eq!(mail.header("To"), mail.to);
    }
    let refused = json!({ "email": "\"a b\"@example.org" });
    let refused = old.request("PATCH", "/v1/users/me").json(&refused).send().await;
    assert_eq!(refused.invalid().len(), 1);
    assert_eq!(email_app.reminded(&ann).await, [""; 0], "the others were tried once");
}

/// A request as somebody makes it who has nothing but the link.
async fn follow(email_app: &EmailApp, method: &str, link: &str, more: &str) -> String {
    let body = if method == "POST" { "List-Unsubscribe=One-Click" } else { "" };
    let request = format!(
        "{method} {link} HTTP/1.1\r\nHost: p.example\r\nConnection: close\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    email_app.app.raw(request.as_bytes()).await
}

#[tokio::test]
async fn one_post_to_the_link_ends_them_and_to_look_at_it_changes_nothing() {
    let email_app = EmailApp::start().await;
    let (_, bob) = forgotten(&email_app).await;
    let link = email_app.mail().link();
    let wants = async || bob.request("GET", "/v1/users/me").send().await.ok()["reminders"].clone();

    for method in ["GET", "HEAD"] {
        let page = follow(&email_app, method, &link, "").await;
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        assert!(page.contains("form-action 'self'") && page.contains("text/html"), "{page}");
        assert_eq!(
            page.contains(&format!("<form method=\"post\" action=\"{link}\">")),
            method == "GET"
        );
    }
    assert_eq!(wants().await, true);
    for method in ["PUT", "DELETE", "PATCH"] {
        let refused = follow(&email_app, method, &link, "").await;
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    }

    // As a provider's server does it, and as a browser on whatever page.
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let foreign = format!(
        "{form}Origin: https://mail.example\r\nSec-Fetch-Site: cross-site\r\n\
         Cookie: sessionid=x\r\n"
    );
    for more in [form, &foreign, "Content-Type: multipart/form-data; boundary=a\r\n", ""] {
        let on = json!({ "reminders": true });
        bob.request("PATCH", "/v1/users/me").json(&on).send().await.ok();
        for _ in 0..2 {
            let done = follow(&email_app, "POST", &link, more).await;
            assert!(done.starts_with("HTTP/1.1 200 "), "{done}");
            assert!(done.contains("not get any more e-mails") && !done.contains("bob"), "{done}");
            assert!(!done.to_ascii_lowercase().contains("set-cookie"), "{done}");
        }
        assert_eq!(wants().await, false);
    }
}

#[tokio::test]
async fn a_link_that_is_none_changes_nothing_and_tells_nothing() {
    let email_app = EmailApp::start().await;
    let (ann, bob) = forgotten(&email_app).await;
    let link = email_app.mail().link();
    let (start, last) = link.split_at(link.len() - 1);
    let turned = format!("{start}{}", if last == "A" { "B" } else { "A" });
    let before = email_app.app.dump().await;
    for link in [
        &*turned,
        start,
        "/unsubscribe",
        "/unsubscribe?",
        "/unsubscribe?token=",
        "/unsubscribe?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "/unsubscribe?token=%22%3E%3Cscript%3E",
        "/unsubscribe?other=1",
    ] {
        let refused = follow(&email_app, "POST", link, "").await;
        assert!(refused.starts_with("HTTP/1.1 404 "), "{link}: {refused}");
        assert!(!refused.contains("script>"), "{refused}");
    }
    assert_eq!(email_app.app.dump().await, before);
    for user in [ann, bob] {
        assert_eq!(user.request("GET", "/v1/users/me").send().await.ok()["reminders"], true);
    }
}

#[tokio::test]
async fn a_mail_that_is_not_taken_is_tried_again_and_one_that_never_will_be_is_not() {
    let email_app = EmailApp::start().await;
    email_app.smtp.plan(&[Turn::Answer("RCPT", "451 later"), Turn::Answer(".", "452 no room")]);
    let (ann, _bob) = forgotten(&email_app).await;
    let tried = email_app.put_off().await;
    assert!(tried.text.is_none(), "{tried:?}");
    email_app.wait(5);
    let again = email_app.put_off().await;
    assert!(again.text.is_some(), "{again:?}");
    email_app.wait(20);
    let mail = email_app.mail();
    assert_eq!(mail.header("Message-ID"), Mail::of(&again).header("Message-ID"));

    let never = [("eve", Turn::Answer("RCPT", "550 who?")), ("fay", Turn::Answer(".", "554 spam"))];
    for (name, turn) in never {
        let eve = email_app.app.user(name).await;
        email_app.wait(5);
        ann.send(&eve, "hello", "").await;
        email_app.smtp.plan(&[turn]);
        email_app.wait(60);
        assert!(!email_app.smtp.next().accepted);
        email_app.wait(24 * 60);
        assert_eq!(email_app.reminded(&ann).await, [""; 0]);
        let password = json!({ "password": PASSWORD });
        eve.request("DELETE", "/v1/users/me").json(&password).send().await.expect(204);
    }
    let metrics = email_app.app.scraper().request("GET", "/metrics").send().await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for figure in ["sent\"} 3", "put_off\"} 2", "refused\"} 2", "in_doubt\"} 0"] {
        let line = format!("postroom_mails_total{{result=\"{figure}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn where_nobody_knows_whether_it_was_taken_the_same_mail_comes_once_more() {
    // A code without a text is one that the library does not read.
    for doubt in [Turn::CloseAfterText, Turn::Answer(".", "250")] {
        let email_app = EmailApp::start().await;
        email_app.smtp.plan(&[doubt, doubt]);
        let (ann, _bob) = forgotten(&email_app).await;
        let first = Mail::of(&email_app.put_off().await);
        email_app.wait(5);
        let second = Mail::of(&email_app.smtp.next());
        assert_eq!(second.header("Message-ID"), first.header("Message-ID"));
        for _ in 0..2 {
            email_app.wait(24 * 60);
            assert_eq!(email_app.reminded(&ann).await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_costs_no_try() {
    let smtp = Smtp::start();
    let url = format!("smtp://ann:canary@{}", smtp.address());
    let email_app =
        EmailApp::with(smtp, &[("smtp_url", &url), ("smtp_timeout_seconds", "1")]).await;
    let down = [
        Turn::Close,
        Turn::Hang,
        Turn::Answer("EHLO", "500 what?"),
        Turn::Answer("AUTH", "535 who?"),
        Turn::Answer("MAIL", "550 not from you"),
        Turn::Close,
    ];
    email_app.smtp.plan(&down);
    forgotten(&email_app).await;
    for turn in down {
        let tried = email_app.put_off().await;
        assert!(tried.text.is_none(), "{turn:?}: {tried:?}");
        email_app.wait(30);
    }
    assert_eq!(email_app.mail().to, "bob@example.org");
}

#[tokio::test]
async fn a_recipient_at_whom_the_server_hangs_up_holds_up_nobody_else() {
    for hangs_up in [Turn::Answer("RCPT", "421 not them"), Turn::CloseAt("RCPT")] {
        let email_app = EmailApp::start().await;
        let fay = email_app.app.user("fay").await;
        email_app.smtp.plan(&[hangs_up]);
        let (ann, _bob) = forgotten(&email_app).await;
        let tried = email_app.put_off().await;
        assert!(tried.text.is_none(), "{tried:?}");
        ann.send(&fay, "hello", "").await;
        email_app.wait(60);
        let mut reminded = [email_app.mail().to, email_app.mail().to];
        reminded.sort();
        assert_eq!(reminded, ["bob@example.org", "fay@example.org"]);
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_doubt() {
    let smtp = Smtp::start();
    let url = format!("smtp://{}", smtp.address());
    let email_app =
        EmailApp::with(smtp, &[("smtp_url", &url), ("smtp_timeout_seconds", "1")]).await;
    email_app.smtp.plan(&[Turn::HangAfterText]);
    forgotten(&email_app).await;
    email_app.put_off().await;
    email_app.wait(5);
    assert_eq!(email_app.mail().to, "bob@example.org");
}

#[tokio::test]
async fn the_way_is_secret_where_it_has_to_be_and_only_to_whom_it_should_be() {
    for at_once in [false, true] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let ours = smtp::certificates(folder.path());
        let smtp = Smtp::secret(folder.path(), at_once);
        let scheme = if at_once { "smtps" } else { "smtp" };
        let at = format!("{scheme}://us%40er:pass@localhost:{}", smtp.address().port());
        let url = format!("{at}?tls=required&ca={}", ours.display());
        let email_app = EmailApp::with(smtp, &[("smtp_url", &url)]).await;
        forgotten(&email_app).await;
        let session = email_app.smtp.next();
        assert!(session.accepted && session.encrypted, "{session:?}");
        let login = session.login.expect("it logs in");
        assert_eq!(login, "PLAIN AHVzQGVyAHBhc3M=");
        assert!(session.commands.iter().any(|c| c == &format!("MAIL FROM:<{FROM}>")));

        // Nobody whom we trust says that it is the server.
        let smtp = Smtp::secret(folder.path(), at_once);
        let at = format!("{scheme}://us%40er:pass@localhost:{}", smtp.address().port());
        let email_app = EmailApp::with(smtp, &[("smtp_url", &format!("{at}?tls=required"))]).await;
        forgotten(&email_app).await;
        let session = email_app.smtp.next();
        assert!(session.login.is_none() && session.text.is_none(), "{session:?}");
    }
    // A server that offers no secret way where there has to be one.
    let smtp = Smtp::start();
    let at = format!("smtp://user:pass@{}?tls=required", smtp.address());
    let email_app = EmailApp::with(smtp, &[("smtp_url", &at)]).await;
    forgotten(&email_app).await;
    let session = email_app.smtp.next();
    assert!(session.login.is_none() && session.text.is_none(), "{session:?}");
}

#[tokio::test]
async fn the_texts_can_be_others_and_the_address_can_be_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    write("reminder.subject.txt", "{{unread}} für {{name}}\n").expect("it can be written");
    write("reminder.html", "<p>{{sender}} &amp; {{unsubscribe}}").expect("it can be written");
    let smtp = Smtp::start();
    write("address", &format!("smtp://{}\n", smtp.address())).expect("it can be written");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, templates) = (path("address"), path(""));
    let settings = [("smtp_url_file", &*file), ("templates_dir", &templates)];
    let email_app = EmailApp::with(smtp, &settings).await;
    forgotten(&email_app).await;
    let mail = email_app.mail();
    assert_eq!(mail.header("Subject"), "1 für bob");
    assert_eq!(mail.html.trim_end(), format!("<p>ann &amp; https://p.example{}", mail.link()));
    assert!(mail.plain.starts_with("Hello bob,"), "{}", mail.plain);
}

#[tokio::test]
async fn without_a_server_for_mail_or_with_no_time_nobody_is_waited_for() {
    for settings in [
        &[][..],
        &[("smtp_url", "smtp://127.0.0.1:1"), ("mail_from", FROM), ("reminder_after_minutes", "0")],
    ] {
        let app = crate::harness::TestApp::with(settings).await;
        let (ann, bob) = app.pair("ann", "bob").await;
        ann.send(&bob, "hello", "").await;
        let rows =
            app.write(|tx| Ok(tx.query("SELECT owner_id FROM reminders", &[], |row| row.int(0))?));
        assert_eq!(rows.await, [0; 0]);
    }
}

/// What is wrong with these settings.
fn problem(settings: &[(&str, &str)]) -> String {
    let flags = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let sources =
        Sources { flags: flags.collect(), folder: "/nowhere".into(), ..Sources::default() };
    match Config::load(&sources) {
        Ok(config) => {
            let shown: Vec<_> = config.lines().map(|(line, _)| line).collect();
            assert!(!shown.join("\n").contains("canary"), "{shown:?}");
            String::new()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn settings_that_cannot_work_are_refused_and_no_password_is_shown() {
    let smtp = ("smtp_url", "smtp://user:canary@mail.example.org?ca=canary");
    let from = ("mail_from", FROM);
    let public = ("public_url", "https://p.example");
    assert_eq!(problem(&[smtp, from, public]), "");
    assert_eq!(problem(&[smtp, from, ("reminder_after_minutes", "0")]), "");
    assert_eq!(problem(&[("reminder_after_minutes", "5")]), "");
    for (settings, named) in [
        (&[smtp, from][..], "public_url: reminders need one that begins with https://"),
        (&[smtp, from, ("public_url", "http://p.example")], "public_url: reminders need"),
        (&[smtp, public], "mail_from: it must look like"),
        (&[smtp, public, ("mail_from", "nobody")], "mail_from: it must look like"),
        (&[("smtp_url", "smtp://canary@x"), from, public], "smtp_url: a user needs a password"),
        (&[("smtp_url", "canary"), from, public], "smtp_url: it must look like smtp://"),
        (&[smtp, from, public, ("smtp_timeout_seconds", "0")], "it must be at least 1"),
    ] {
        let problem = problem(settings);
        assert!(problem.contains(named) && !problem.contains("canary"), "{problem}");
    }
}

#[tokio::test]
async fn a_start_with_texts_that_cannot_be_filled_says_which() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("reminder.txt");
    std::fs::write(&file, "Hello {{nobody}}").expect("it can be written");
    let start = async |templates: &Path| {
        let data = folder.path().join("data");
        let flags = [
            ("data_dir", data.to_str().expect("it is text")),
            ("listen", "127.0.0.1:0"),
            ("smtp_url", "smtp://127.0.0.1:1"),
            ("mail_from", FROM),
            ("public_url", "https://p.example"),
            ("templates_dir", templates.to_str().expect("it is text")),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let folder = folder.path().to_path_buf();
        let config = Config::load(&Sources { folder, flags, ..Sources::default() });
        let started =
            server::start(config.expect("it is right").settings, server::Clock::default());
        format!("{:#}", started.await.err().expect("it does not start"))
    };
    let reported = start(folder.path()).await;
    assert!(reported.contains("reminder.txt: {{nobody}} is unknown"), "{reported}");
    let reported = start(Path::new("/nowhere/at/all")).await;
    assert!(reported.contains("templates_dir: /nowhere/at/all is not a folder"), "{reported}");
}
