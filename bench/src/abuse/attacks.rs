//! The attacks, each as one function that one of its connections runs until it is dropped.
//!
//! They are what a review of the running server found, and what is near it. All of one attack come
//! from one account or one address, but for the guesses, whose address changes.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::attack::{Attack, BATCH, LONGEST};
use super::attackers::Attacker;
use super::stage::ADDRESS;
use crate::process::SERVER_KEY;
use crate::requests::{PASSWORD, Request, User, bearer, forwarded, request, server};

/// An address of this machine that is no proxy.
const DIRECT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Connections that each of them opens: of all together more than one address may have.
const OPENED: usize = 30;
/// Requests that are sent ahead of their answers by who reads slowly.
const AHEAD: usize = 8;

pub(super) async fn run(attack: Attack, attacker: Attacker) {
    match attack {
        Attack::Search => search(attacker).await,
        Attack::Phrases => phrases(attacker).await,
        Attack::Lists => lists(attacker).await,
        Attack::Log => log(attacker).await,
        Attack::Keys => keys(attacker).await,
        Attack::Guesses => guesses(attacker).await,
        Attack::Registrations => registrations(attacker).await,
        Attack::Logins => logins(attacker).await,
        Attack::Batches => batches(attacker).await,
        Attack::Sends => sends(attacker).await,
        Attack::Lookups => lookups(attacker).await,
        Attack::Bodies => bodies(attacker).await,
        Attack::Heads => heads(attacker).await,
        Attack::Reads => reads(attacker).await,
        Attack::Pages => pages(attacker).await,
        Attack::SlowPages => slow_pages(attacker).await,
        Attack::SlowStreams => slow_streams(attacker).await,
        Attack::Streams => streams(attacker).await,
        Attack::Documents => documents(attacker).await,
        Attack::SlowDocuments => slow_documents(attacker).await,
        Attack::Members => members(attacker).await,
        Attack::Replays => replays(attacker).await,
        Attack::Tokens => tokens(attacker).await,
        Attack::Unsends => unsends(attacker).await,
        Attack::KeyMarks => key_marks(attacker).await,
        Attack::KeyPages => key_pages(attacker).await,
        Attack::KeyUsers => key_users(attacker).await,
        Attack::KeyLetters => key_letters(attacker).await,
    }
}

async fn search(mut me: Attacker) {
    let page = me.get("/v1/messages?folder=all&limit=100&q=zzz");
    loop {
        me.ask(&page).await;
    }
}

async fn phrases(mut me: Attacker) {
    let phrase = format!("%22{}b%22", "a%20".repeat(31));
    let page = me.get(&format!("/v1/messages?folder=all&limit=100&q={phrase}"));
    loop {
        me.ask(&page).await;
    }
}

async fn lists(mut me: Attacker) {
    let stranger = me.stage.person(0).id;
    let asked = [
        me.get("/messages/messages_per_receiver"),
        me.get(&format!("/v1/messages?folder=all&limit=100&with={stranger}")),
        me.get("/v1/messages?folder=all&limit=100&starred=true"),
        me.get("/v1/changes?since=0&limit=1000"),
    ];
    me.ask_for_ever(&asked).await;
}

async fn log(me: Attacker) {
    // Some hold snapshots, the others write.
    if me.number < 3 { search(me).await } else { batches(me).await }
}

async fn keys(mut me: Attacker) {
    let unsend = format!("/v1/messages/{}/unsend", me.stage.letters[0]);
    // Escaped, six bytes for each.
    let letter = json!({"to": [me.stage.account.id], "body": "\u{1}".repeat(LONGEST)}).to_string();
    let nowhere: Vec<_> = (1..=BATCH as u64).map(|number| (1 << 50) + number).collect();
    let batch = json!({"ids": nowhere, "set": {"read": true}}).to_string();
    loop {
        let number = me.stage.number();
        let headers = format!("{}Idempotency-Key: key-{number}\r\n", me.stage.headers);
        let request = match number % 8 {
            0 => request("POST", "/v1/messages", &headers, &letter),
            1 => request("POST", "/v1/messages/batch", &headers, &batch),
            2 => request("POST", "/v1/tokens", &headers, &json!({"name": "many"}).to_string()),
            _ => request("POST", &unsend, &headers, ""),
        };
        me.ask(&request).await;
    }
}

async fn guesses(mut me: Attacker) {
    loop {
        let number = me.stage.number();
        let [_, _, high, low] = u32::try_from(number).unwrap_or(0).to_be_bytes();
        let from = forwarded(Ipv4Addr::new(198, 18, high, low));
        let name = &me.stage.person(number).name;
        let guess = json!({"username": name, "password": format!("wrong-guess-{number}")});
        me.ask(&request("POST", "/v1/sessions", &from, &guess.to_string())).await;
    }
}

async fn registrations(mut me: Attacker) {
    let from = forwarded(ADDRESS);
    loop {
        let number = me.stage.number();
        let taken = &me.stage.person(number).name;
        let name = if number.is_multiple_of(4) { format!("new{number}") } else { taken.clone() };
        let email = format!("{name}@example.org");
        let new = json!({"username": name, "email": email, "password": PASSWORD});
        me.ask(&request("POST", "/v1/users", &from, &new.to_string())).await;
    }
}

async fn logins(mut me: Attacker) {
    let login = json!({"username": me.stage.account.name, "password": PASSWORD}).to_string();
    let login = request("POST", "/v1/sessions", &forwarded(ADDRESS), &login);
    loop {
        me.ask(&login).await;
    }
}

async fn batches(mut me: Attacker) {
    let ids = &me.stage.letters[me.stage.letters.len() - BATCH..];
    let batches = [true, false].map(|starred| {
        me.post("/v1/messages/batch", &json!({"ids": ids, "set": {"starred": starred}}))
    });
    me.ask_for_ever(&batches).await;
}

async fn sends(mut me: Attacker) {
    let own = me.stage.account.id;
    let nobody: Vec<_> = (0..100).map(|number| format!("nobody{number}")).collect();
    let sends = [json!([own]), json!(["nobody"]), json!(nobody), json!([me.stage.person(0).id])]
        .map(|to| me.post("/v1/messages", &json!({"to": to, "body": "a letter"})));
    me.ask_for_ever(&sends).await;
}

async fn lookups(mut me: Attacker) {
    let someone = me.stage.person(me.number as u64).id;
    let asked = [
        me.get("/v1/users?prefix=u"),
        me.get("/v1/users?prefix=user0"),
        me.get(&format!("/v1/users/{someone}")),
    ];
    me.ask_for_ever(&asked).await;
}

async fn bodies(me: Attacker) {
    // As long as each is allowed, but for the last byte.
    let (path, headers, length) = if me.number.is_multiple_of(2) {
        ("/v1/messages", me.stage.headers.clone(), 600_000)
    } else {
        ("/v1/users", forwarded(ADDRESS), 16_000)
    };
    let mut unfinished = request("POST", path, &headers, &" ".repeat(length)).into_vec();
    unfinished.pop();
    loop {
        let Ok(mut stream) = me.connect(Ipv4Addr::LOCALHOST).await else {
            me.wait().await;
            continue;
        };
        // An answer may come, and the connection be closed, in the middle of it.
        drop(stream.write_all(&unfinished).await);
        if timeout(Duration::from_secs(5), me.take_status(&mut stream)).await.is_err() {
            me.count(0);
        }
    }
}

async fn heads(me: Attacker) {
    let mut open: Vec<TcpStream> = Vec::new();
    loop {
        // One that can be read was refused or ended.
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for stream in open {
            let is_open = timeout(Duration::ZERO, stream.readable()).await.is_err();
            if is_open { kept.push(stream) } else { ended.push(stream) }
        }
        open = kept;
        for mut stream in ended {
            me.take_status(&mut stream).await;
        }
        while open.len() < OPENED
            && let Ok(mut stream) = me.connect(DIRECT).await
        {
            drop(stream.write_all(b"GET /v1/messages HTTP/1.1\r\nHost: local").await);
            open.push(stream);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn reads(mut me: Attacker) {
    let asked = [
        me.get("/v1/messages?limit=50"),
        me.get("/v1/changes?since=0"),
        me.get("/v1/conversations?limit=50"),
        me.get("/v1/unread"),
    ];
    me.ask_for_ever(&asked).await;
}

async fn pages(mut me: Attacker) {
    let pages = me.largest_pages();
    me.ask_for_ever(&pages).await;
}

async fn slow_pages(me: Attacker) {
    let pages = me.largest_pages();
    let ahead: Vec<u8> = pages.iter().cycle().take(AHEAD).flat_map(|page| page.to_vec()).collect();
    read_slowly(me, &ahead).await;
}

async fn slow_streams(me: Attacker) {
    let stream = me.get("/v1/events?since=0&fields=metadata");
    read_slowly(me, &stream).await;
}

async fn streams(me: Attacker) {
    let request = me.get("/v1/events?since=0");
    loop {
        let Ok(mut stream) = me.connect(Ipv4Addr::LOCALHOST).await else {
            me.wait().await;
            continue;
        };
        drop(stream.write_all(&request).await);
        me.take_status(&mut stream).await;
    }
}

async fn documents(mut me: Attacker) {
    let from = forwarded(ADDRESS);
    let documents = ["/openapi.json", "/docs", "/docs/errors", "/docs/script.js"];
    let documents = documents.map(|path| request("GET", path, &from, ""));
    me.ask_for_ever(&documents).await;
}

async fn slow_documents(me: Attacker) {
    let document = request("GET", "/openapi.json", "", "");
    let mut unread = Vec::new();
    loop {
        while unread.len() < OPENED
            && let Ok(mut stream) = me.connect(DIRECT).await
        {
            drop(stream.write_all(&document).await);
            me.take_status(&mut stream).await;
            unread.push(stream);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn replays(mut me: Attacker) {
    // Escaped, six bytes for each.
    let letter = json!({"to": [me.stage.account.id], "body": "\u{1}".repeat(LONGEST)}).to_string();
    let headers = format!("{}Idempotency-Key: the-same\r\n", me.stage.headers);
    let send = request("POST", "/v1/messages", &headers, &letter);
    loop {
        me.ask(&send).await;
    }
}

async fn members(mut me: Attacker) {
    // As many as a body may have, of which the call takes none.
    let members: Value = (0..1000).map(|number| (number.to_string(), json!(0))).collect();
    let stranger = request("POST", "/v1/sessions", &forwarded(ADDRESS), &members.to_string());
    let asked = [me.post("/v1/messages", &members), stranger];
    me.ask_for_ever(&asked).await;
}

async fn tokens(mut me: Attacker) {
    // All connections together make as many as an account may have, and are refused then.
    let create = me.post("/v1/tokens", &json!({"name": "n".repeat(100)}));
    for _ in 0..3 {
        me.ask(&create).await;
    }
    let list = me.get("/v1/tokens");
    loop {
        me.ask(&list).await;
    }
}

async fn unsends(mut me: Attacker) {
    let unsends = me.stage.letters.iter();
    let unsends = unsends.map(|id| me.post(&format!("/v1/messages/{id}/unsend"), &json!({})));
    let unsends: Vec<_> = unsends.collect();
    me.ask_for_ever(&unsends).await;
}

async fn key_marks(mut me: Attacker) {
    let marks = [true, false].map(|starred| json!({"filter": {}, "set": {"starred": starred}}));
    let marks = marks.map(|mark| mark.to_string());
    let batches: Vec<_> = marks
        .iter()
        .flat_map(|mark| {
            let people = me.stage.people.iter();
            people.map(|user| request("POST", "/v1/messages/batch", &acting(user), mark))
        })
        .collect();
    me.ask_for_ever(&batches).await;
}

async fn key_pages(mut me: Attacker) {
    let people = me.stage.people.iter();
    let pages = people.map(|user| request("GET", "/v1/messages?limit=100", &acting(user), ""));
    let pages: Vec<_> = pages.collect();
    me.ask_for_ever(&pages).await;
}

async fn key_users(mut me: Attacker) {
    loop {
        let number = me.stage.number();
        let ids: Vec<_> = (0..BATCH).map(|at| format!("{number}.{at}")).collect();
        me.ask(&server::put_all(SERVER_KEY, &ids)).await;
    }
}

async fn key_letters(mut me: Attacker) {
    let shop = json!({"kind": "system", "display_name": "Our Shop"});
    me.ask(&request("PUT", "/v1/server/users/ext:shop", &bearer(SERVER_KEY), &shop.to_string()))
        .await;
    let to: Vec<_> = me.stage.people.iter().map(|user| user.id).collect();
    let letter = json!({"from": "ext:shop", "to": to, "subject": "s", "body": "x".repeat(LONGEST)});
    let send = request("POST", "/v1/server/messages", &bearer(SERVER_KEY), &letter.to_string());
    loop {
        me.ask(&send).await;
    }
}

/// The headers of a server key that acts for a user.
fn acting(user: &User) -> String {
    format!("{}Postroom-User: {}\r\n", bearer(SERVER_KEY), user.id)
}

async fn read_slowly(me: Attacker, requests: &[u8]) {
    let mut piece = [0; 512];
    loop {
        let Ok(mut stream) = me.connect(Ipv4Addr::LOCALHOST).await else {
            me.wait().await;
            continue;
        };
        drop(stream.write_all(requests).await);
        me.take_status(&mut stream).await;
        while matches!(stream.read(&mut piece).await, Ok(1..)) {
            sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Attacker {
    fn get(&self, path: &str) -> Request {
        request("GET", path, &self.stage.headers, "")
    }

    fn post(&self, path: &str, body: &Value) -> Request {
        request("POST", path, &self.stage.headers, &body.to_string())
    }

    fn largest_pages(&self) -> [Request; 3] {
        [
            self.get("/v1/messages?folder=sent&limit=100&fields=full"),
            self.get("/v1/messages?folder=sent&limit=100&fields=metadata"),
            self.get("/v1/conversations?limit=100&fields=metadata"),
        ]
    }

    /// Asks round and round, each connection from another place on.
    async fn ask_for_ever(&mut self, requests: &[Request]) {
        for request in requests.iter().cycle().skip(self.number % requests.len()) {
            self.ask(request).await;
        }
    }
}
