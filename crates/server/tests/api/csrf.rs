//! What a page of another site must not be able to do in the name of a visitor.
//!
//! The matrix is every call that changes something, with every token, origin and site there can
//! be. What must happen is computed from the contract by [`Cell::may_pass`], not by the server.

use domain::{sessions, users};
use serde_json::json;
use testing::{Client, Request, Response};

use crate::harness::{PASSWORD, TestApp};
use crate::user::User;

const PUBLIC: &str = "https://mail.example.org";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Right,
    NoHeader,
    NoCookie,
    Different,
    Unsigned,
    Altered,
    Empty,
    SecondOfTwo,
    FirstOfTwo,
    AnotherVisitors,
}

const TOKENS: [Token; 10] = [
    Token::Right,
    Token::NoHeader,
    Token::NoCookie,
    Token::Different,
    Token::Unsigned,
    Token::Altered,
    Token::Empty,
    Token::SecondOfTwo,
    Token::FirstOfTwo,
    Token::AnotherVisitors,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Origin {
    Absent,
    Host,
    OtherPort,
    OtherHost,
    Null,
    Public,
    HttpsOfHost,
}

const ORIGINS: [Origin; 7] = [
    Origin::Absent,
    Origin::Host,
    Origin::OtherPort,
    Origin::OtherHost,
    Origin::Null,
    Origin::Public,
    Origin::HttpsOfHost,
];

const SITES: [Option<&str>; 5] =
    [None, Some("same-origin"), Some("same-site"), Some("none"), Some("cross-site")];

/// One request of the matrix.
#[derive(Debug, Clone, Copy)]
struct Cell {
    token: Token,
    origin: Origin,
    site: Option<&'static str>,
}

impl Cell {
    fn all() -> impl Iterator<Item = Self> {
        TOKENS.into_iter().flat_map(|token| {
            ORIGINS.into_iter().flat_map(move |origin| {
                SITES.into_iter().map(move |site| Self { token, origin, site })
            })
        })
    }

    /// The rule of the contract: the header repeats a cookie that the server issued, and no
    /// foreign page asks.
    fn may_pass(self) -> bool {
        let repeated = match self.token {
            Token::Right | Token::SecondOfTwo | Token::FirstOfTwo | Token::AnotherVisitors => true,
            Token::NoHeader
            | Token::NoCookie
            | Token::Different
            | Token::Unsigned
            | Token::Altered
            | Token::Empty => false,
        };
        let ours = match self.origin {
            Origin::Absent | Origin::Host | Origin::Public | Origin::HttpsOfHost => true,
            Origin::OtherPort | Origin::OtherHost | Origin::Null => false,
        };
        repeated && ours && self.site != Some("cross-site")
    }
}

/// The tokens of one visitor, of another, and of none.
struct Tokens {
    host: String,
    own: String,
    others: String,
}

impl Tokens {
    async fn new(app: &TestApp) -> Self {
        let (own, others) = (app.client().csrf_token().await, app.client().csrf_token().await);
        Self { host: app.address().host(), own, others }
    }

    /// A request as that cell of the matrix has it.
    fn put<'b>(&self, request: Request<'b>, cell: Cell, session: Option<&str>) -> Request<'b> {
        let (own, others) = (self.own.as_str(), self.others.as_str());
        // The last character holds bits of the signature; so does every one of the last 21.
        let mut altered = own.to_owned();
        let end = if altered.ends_with("Aw") { "Qg" } else { "Aw" };
        altered.replace_range(own.len() - 2.., end);
        let unsigned = "A".repeat(own.len());
        let (header, kept) = match cell.token {
            Token::Right => (Some(own), vec![own]),
            Token::NoHeader => (None, vec![own]),
            Token::NoCookie => (Some(own), vec![]),
            Token::Different => (Some(own), vec![others]),
            Token::Unsigned => (Some(unsigned.as_str()), vec![unsigned.as_str()]),
            Token::Altered => (Some(altered.as_str()), vec![altered.as_str()]),
            Token::Empty => (Some(""), vec![""]),
            Token::SecondOfTwo => (Some(own), vec![others, own]),
            Token::FirstOfTwo => (Some(own), vec![own, others]),
            Token::AnotherVisitors => (Some(others), vec![others]),
        };
        let request =
            if let Some(token) = header { request.csrf(token) } else { request.without_csrf() };
        let cookies = kept.iter().map(|token| format!("csrftoken={token}"));
        let cookies = cookies.chain(session.map(|session| format!("sessionid={session}")));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let request =
            if cookies.is_empty() { request.without_cookies() } else { request.cookies(&cookies) };
        let origin = match cell.origin {
            Origin::Absent => None,
            Origin::Host => Some(format!("http://{}", self.host)),
            Origin::OtherPort => Some("http://127.0.0.1:1".to_owned()),
            Origin::OtherHost => Some("https://evil.example".to_owned()),
            Origin::Null => Some("null".to_owned()),
            Origin::Public => Some(PUBLIC.to_owned()),
            Origin::HttpsOfHost => Some(format!("https://{}", self.host)),
        };
        let request =
            if let Some(origin) = origin { request.header("origin", origin) } else { request };
        if let Some(site) = cell.site { request.header("sec-fetch-site", site) } else { request }
    }
}

/// Holds the answer to the rule; `before` is what the database held before it.
async fn hold(app: &TestApp, cell: Cell, answer: &Response, before: &[String]) {
    let changed = app.dump().await != before;
    if cell.may_pass() {
        assert_eq!(answer.status, 200, "{cell:?}: {answer:?}");
        assert!(changed, "{cell:?}: it did nothing");
    } else {
        assert_eq!(answer.status, 403, "{cell:?}: {answer:?}");
        assert!(answer.cookies().is_empty(), "{cell:?}: {answer:?}");
        assert!(!changed, "{cell:?}: it was refused and yet done");
    }
}

async fn start() -> TestApp {
    TestApp::with(&[("public_url", PUBLIC)]).await
}

#[tokio::test]
async fn login_is_guarded() {
    let app = start().await;
    app.account("ann").await;
    let (client, tokens) = (app.client(), Tokens::new(&app).await);

    for cell in Cell::all() {
        let before = app.dump().await;
        let body = json!({ "username": "ann", "password": PASSWORD });
        let request = client.request("POST", "/users/login").json(&body);
        let answer = tokens.put(request, cell, None).send().await;
        hold(&app, cell, &answer, &before).await;
    }
}

#[tokio::test]
async fn registration_is_guarded() {
    let app = start().await;
    let (client, tokens) = (app.client(), Tokens::new(&app).await);

    for (number, cell) in Cell::all().enumerate() {
        let before = app.dump().await;
        let name = format!("user{number}");
        let body = json!({ "username": name, "email": "a@example.org", "password": PASSWORD });
        let request = client.request("POST", "/users/register").json(&body);
        let answer = tokens.put(request, cell, None).send().await;
        hold(&app, cell, &answer, &before).await;
    }
}

/// A session of the user, made without a login: these cost a password each.
async fn session(app: &TestApp, user: &User) -> String {
    let (cx, name) = (app.clock().cx(), user.name.clone());
    let start = app.write(move |tx| {
        let credentials = users::password(tx, &name)?.expect("the user is there");
        sessions::start(tx, &cx, &credentials, &cx.random(), &sessions::Client::default(), None)
    });
    start.await
}

#[tokio::test]
async fn logout_is_guarded() {
    let app = start().await;
    let (ann, tokens) = (app.user("ann").await, Tokens::new(&app).await);

    for cell in Cell::all() {
        let session = session(&app, &ann).await;
        let before = app.dump().await;
        let request = ann.request("POST", "/users/logout");
        let answer = tokens.put(request, cell, Some(&session)).send().await;
        hold(&app, cell, &answer, &before).await;
    }
}

#[tokio::test]
async fn writing_is_guarded() {
    let app = start().await;
    let (ann, tokens) = (app.user("ann").await, Tokens::new(&app).await);
    let session = ann.client.session();

    for cell in Cell::all() {
        let before = app.dump().await;
        let body = json!({ "receiver_id": ann.id.get(), "subject": "", "body": "" });
        let request = ann.request("POST", "/messages/write_message").json(&body);
        let answer = tokens.put(request, cell, Some(&session)).send().await;
        hold(&app, cell, &answer, &before).await;
    }
}

#[tokio::test]
async fn deleting_is_guarded() {
    let app = start().await;
    let (ann, tokens) = (app.user("ann").await, Tokens::new(&app).await);
    let session = ann.client.session();
    let passing = Cell::all().filter(|cell| cell.may_pass()).count();
    let mut messages = app.send_many(&ann, &ann, passing).await;

    for cell in Cell::all() {
        let before = app.dump().await;
        let body = json!({ "message_id": messages.last().copied().unwrap_or(1) });
        let request = ann.request("DELETE", "/messages/delete_message").json(&body);
        let answer = tokens.put(request, cell, Some(&session)).send().await;
        hold(&app, cell, &answer, &before).await;
        if cell.may_pass() {
            messages.pop();
        }
    }
    assert!(messages.is_empty());
}

/// The same request with other headers than the matrix has.
async fn write_with(user: &User, headers: &[(&str, &str)]) -> Response {
    let body = json!({ "receiver_id": user.id.get(), "subject": "", "body": "" });
    let mut request = user.request("POST", "/messages/write_message").json(&body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await
}

#[tokio::test]
async fn an_origin_that_only_looks_like_ours_is_foreign() {
    let app = start().await;
    let ann = app.user("ann").await;
    let host = app.address().host();
    let before = app.dump().await;

    for origin in [
        String::new(),
        "http://".to_owned(),
        host.clone(),
        format!("//{host}"),
        format!("ftp://{host}"),
        format!("http://{host}.evil.example"),
        format!("http://evil.example/{host}"),
        format!("http://{host}@evil.example"),
        format!("http://evil.example#{host}"),
        format!("http://evil.example, http://{host}"),
        format!("http://{host} http://evil.example"),
        format!("http://user@{host}"),
        "http://127.0.0.1".to_owned(),
        "http://localhost".to_owned(),
        "http://mail.example.org".to_owned(),
        "https://mail.example.org:8443".to_owned(),
        "https://mail.example.org.evil.example".to_owned(),
        "https://evilmail.example.org".to_owned(),
        "https://sub.mail.example.org".to_owned(),
        "NULL".to_owned(),
    ] {
        write_with(&ann, &[("origin", &origin)]).await.error(403);
    }
    let own = format!("http://{host}");
    write_with(&ann, &[("origin", &own), ("origin", "https://evil.example")]).await.error(403);
    write_with(&ann, &[("origin", "https://evil.example"), ("origin", &own)]).await.error(403);
    let sites = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
    write_with(&ann, &sites).await.error(403);

    assert_eq!(app.dump().await, before);
    write_with(&ann, &[("origin", &own)]).await.ok();
}

#[tokio::test]
async fn a_token_from_before_the_login_stays_good_after_it() {
    let app = TestApp::start().await;
    app.account("ann").await;
    let client = app.client();
    let token = client.csrf_token().await;

    let answer = client.try_login("ann", PASSWORD).await;

    assert_eq!(answer.cookie().name, "sessionid", "the login does not replace the token");
    client.request("POST", "/users/logout").csrf(&token).send().await.ok();
    assert_eq!(client.csrf_token().await, token);
}

#[tokio::test]
async fn no_part_of_a_token_can_be_altered() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = ann.client.csrf_token().await;
    let session = ann.client.session();
    let try_token = async |token: &str| {
        let request = ann.request("POST", "/messages/write_message").csrf(token);
        let body = json!({ "receiver_id": ann.id.get(), "subject": "", "body": "" });
        request.cookies(&format!("csrftoken={token}; sessionid={session}")).json(&body).send().await
    };
    try_token(&token).await.ok();

    for at in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'x' { b'y' } else { b'x' };
        try_token(&String::from_utf8(altered).expect("it is text")).await.error(403);
        try_token(&token[..at]).await.error(403);
    }
    for altered in [format!("{token}A"), format!("{token}="), format!("A{token}"), token.repeat(2)]
    {
        try_token(&altered).await.error(403);
    }
}

#[tokio::test]
async fn a_token_of_another_server_is_none() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    app.account("ann").await;
    let client = app.client();
    client.set_cookie("csrftoken", &other.client().csrf_token().await);

    client.try_login("ann", PASSWORD).await.error(403);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_mark_a_message_as_read() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let id = ann.send(&bob, "hi", "").await;
    let before = app.dump().await;
    let path = format!("/messages/read_message?message_id={id}");

    // Nor can one of another origin of this site: an image there says nothing else of itself.
    for site in ["cross-site", "same-site"] {
        bob.request("GET", &path).header("sec-fetch-site", site).send().await.ok();
        assert_eq!(app.dump().await, before, "{site}");
    }
    assert_eq!(bob.unread().await, [id]);
    // Not every browser says the site; the cookie goes along all the same.
    for origin in ["http://evil.example", "null"] {
        bob.request("GET", &path).header("origin", origin).send().await.ok();
        assert_eq!(app.dump().await, before, "{origin}");
    }

    for site in ["same-origin", "none"] {
        let id = ann.send(&bob, site, "").await;
        let path = format!("/messages/read_message?message_id={id}");
        bob.request("GET", &path).header("sec-fetch-site", site).send().await.ok();
        assert!(!bob.unread().await.contains(&id), "{site}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_uses_up_nothing_of_a_visitor() {
    let app = TestApp::with(&[("cors_origins", "https://app.example")]).await;
    let ann = app.user("ann").await;
    let token = ann.token(Some(&["messages:read"])).await;
    let site = |site| vec![("sec-fetch-site", site)];
    let from = |origin| vec![("sec-fetch-site", "cross-site"), ("origin", origin)];
    for path in ["/v1/users?prefix=ann", "/v1/messages?q=much", "/v1/unread", "/v1/sessions"] {
        for (headers, is_foreign) in [
            (site("cross-site"), true),
            (site("same-site"), true),
            (from("https://evil.example"), true),
            (vec![("origin", "null")], true),
            (from("https://app.example"), false),
            (site("same-origin"), false),
            (site("none"), false),
            (vec![], false),
        ] {
            let with = |request| {
                headers.iter().fold(request, |one: Request<'_>, (name, is)| one.header(name, is))
            };
            let answer = with(ann.request("GET", path)).send().await;
            if is_foreign {
                answer.problem(403, "forbidden_origin");
            } else {
                answer.expect(200);
            }
            // Nobody but the page itself adds a token.
            let answer = with(app.client().request("GET", path)).bearer(&token).send().await;
            assert!(answer.status == 200 || path == "/v1/sessions", "{path}: {answer:?}");
        }
    }
    let stream = ann.request("GET", "/v1/events").header("sec-fetch-site", "same-site");
    stream.send().await.problem(403, "forbidden_origin");
}

#[tokio::test]
async fn without_any_cookie_a_change_lacks_only_the_login() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let calls = [
        ("POST", "/users/logout"),
        ("POST", "/messages/write_message"),
        ("DELETE", "/messages/delete_message"),
    ];
    for (method, path) in calls {
        let bare = || ann.request(method, path).without_cookies().without_csrf();
        bare().send().await.error(401);
        bare().header("origin", "https://evil.example").send().await.error(403);
        // With a cookie, whosever it is, it is a browser.
        ann.request(method, path).cookies("theme=dark").without_csrf().send().await.error(403);
    }
    for path in ["/users/login", "/users/register"] {
        ann.request("POST", path).without_cookies().without_csrf().send().await.error(403);
    }
}

#[tokio::test]
async fn the_refusal_says_what_to_do() {
    let app = TestApp::start().await;
    let client: Client = app.client();

    let error = client.try_login("ann", PASSWORD).await.error(403);

    for word in ["CSRF", "X-CSRFToken", "csrftoken", "/users/token"] {
        assert!(error.contains(word), "{error}");
    }
}
