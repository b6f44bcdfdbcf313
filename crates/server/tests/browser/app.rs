//! An app with users of its own, whose pages call the server with tokens that the app gives them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};
use testing::{Client, Response};

use crate::copies::place;
use crate::driver::{Browser, Tab};
use crate::site;
use crate::support::{Place, Server};

/// The key that app and server share.
pub(crate) const KEY: &str = "the-key-that-the-app-and-its-Postroom-share";

/// How a page of the app begins. `args`: the server, the folder, and the life of a token that the
/// app claims, if it is not the real one.
const OPEN: &str = r#"
    const { Postroom } = await import("/postroom.js");
    const [url, folder, life] = args;
    const ask = window.fetch;
    window.sent = [];
    window.calls = [];
    window.fetch = async (url, options) => {
        if (!url.includes("/v1/")) return ask(url, options);
        sent.push(options.headers.Authorization);
        const begin = performance.now();
        const response = await ask(url, options);
        if (!url.includes("/v1/events")) calls.push([begin, performance.now()]);
        return response;
    };
    window.getToken = async () => {
        await window.held;
        const response = await ask("/token", { cache: "no-store" });
        if (response.status === 401) return null;
        if (!response.ok) throw new Error(`the app answered ${response.status}`);
        const given = await response.json();
        if (life) given.expires_at = new Date(Date.now() + life).toISOString();
        return given;
    };
    window.newClient = () => new Postroom({ url, getToken });
    window.client = newClient();
    window.folder = folder;
    window.statuses = [];
    window.mailbox = await client.openMailbox({ folder, limit: 20 });
    mailbox.addEventListener("status", ({ detail }) => statuses.push(detail));
"#;

/// What the app says when a page asks for a token.
#[derive(Clone)]
pub(crate) enum Says {
    /// A fresh token of the user with this id.
    User(&'static str),
    /// A token that it has given before.
    Again(String),
    /// Nobody is signed in.
    Nobody,
    /// It is broken.
    Nothing,
}

/// The app, which runs beside the server.
pub(crate) struct App {
    pub address: SocketAddr,
    server: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

/// Starts an app and its server. The folder is kept for the server.
pub(crate) fn start(says: Says) -> (App, Place, Server) {
    let server: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let says = Arc::new(Mutex::new(says));
    let asked = Arc::new(AtomicUsize::new(0));
    let (known, said, counted) = (Arc::clone(&server), Arc::clone(&says), Arc::clone(&asked));
    let address = site::serve(move |path| {
        if path != "/token" {
            return site::page();
        }
        counted.fetch_add(1, Relaxed);
        let says = said.lock().expect("no thread panics").clone();
        let server = known.lock().expect("no thread panics").expect("the server runs");
        match says {
            Says::User(id) => (200, "application/json", mint(server, id).to_string()),
            Says::Again(token) => (200, "application/json", json!({ "token": token }).to_string()),
            Says::Nobody => (401, "text/plain", String::new()),
            Says::Nothing => (500, "text/plain", String::new()),
        }
    });
    let place = place()
        .with("POSTROOM_CORS_ORIGINS", &format!("http://{address}"))
        .with("POSTROOM_SERVER_KEY", KEY);
    let running = place.serve();
    *server.lock().expect("no thread panics") = Some(running.address);
    (App { address, server: running.address, says, asked }, place, running)
}

/// A token for a user of the app.
fn mint(server: SocketAddr, id: &str) -> Value {
    let wanted = json!({ "user": format!("ext:{id}"), "create": { "display_name": id } });
    let answer = by_key(server, "POST", "/v1/server/tokens", &wanted);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// A call of the app's server.
pub(crate) fn by_key(server: SocketAddr, method: &str, path: &str, body: &Value) -> Response {
    let client = Client::new(server);
    client.request(method, path).bearer(KEY).json(body).wait().expect("it is answered")
}

impl App {
    /// What it says from now on.
    pub(crate) fn says(&self, says: Says) {
        *self.says.lock().expect("no thread panics") = says;
    }

    /// How often pages have asked for a token.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// The server's id of a user of the app.
    pub(crate) fn user(&self, id: &str) -> i64 {
        mint(self.server, id)["user"]["id"].as_i64().expect("it is a number")
    }

    /// A token of that user.
    pub(crate) fn token(&self, id: &str) -> String {
        mint(self.server, id)["token"].as_str().expect("it is text").to_owned()
    }

    /// Ends the tokens of that user.
    pub(crate) fn revoke(&self, id: &str) {
        let path = format!("/v1/server/users/ext:{id}/revoke");
        let answer = by_key(self.server, "POST", &path, &json!({}));
        assert!(answer.status < 300, "{}", answer.text());
    }

    /// The messages in a folder of that user.
    pub(crate) fn folder(&self, id: &str, folder: &str) -> Value {
        let path = format!("/v1/messages?folder={folder}");
        let client = Client::new(self.server);
        let answer = client.request("GET", &path).bearer(&self.token(id)).wait();
        answer.expect("it is answered").json()["data"].take()
    }

    /// Opens a tab with a copy of the inbox of who is signed in. `life`: what the app claims of a
    /// token, in milliseconds.
    #[track_caller]
    pub(crate) fn open<'b>(&self, browser: &'b Browser, life: Option<u64>) -> Tab<'b> {
        let tab = browser.open(self.address, "/");
        let url = format!("http://{}", self.server);
        tab.run(OPEN, &[json!(url), json!("inbox"), json!(life)]);
        tab
    }
}
