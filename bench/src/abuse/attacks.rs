//! The attacks, each as one function that one of its connections runs until it is dropped.
//!
//! They are what a review of the running server found, and what is near it. All of one attack come
//! from one account or one address, but for the guesses, whose address changes.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::attackers::Attacker;
use super::stage::{ADDRESS, Letters};
use crate::requests::{PASSWORD, Request, User, forwarded, request};

/// The longest body that the default settings allow, in bytes.
const LONGEST: usize = 65_536;
/// Messages of a batch at most.
const BATCH: usize = 1000;
/// One code point of three bytes that Unicode makes 18 of.
const LONG_WHEN_FOLDED: &str = "\u{fdfa}";
/// An address of this machine that is no proxy.
const DIRECT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Half-sent heads of each connection: of all together more than one address may have open.
const HEADS: usize = 30;
/// Requests that are sent ahead of their answers by who reads slowly.
const AHEAD: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// Searches of letters that are long when they are folded
    Search,
    /// Searches for a phrase that nearly occurs everywhere
    Phrases,
    /// Long lists, and filters that find nothing
    Lists,
    /// Searches beside batches, so that the log has much to keep
    Log,
    /// Writes with an idempotency key that is always another one
    Keys,
    /// Guesses at the passwords of the ordinary users, from changing addresses
    Guesses,
    /// Registrations of names that are taken, and of new ones
    Registrations,
    /// Right sign-ins of one account
    Logins,
    /// Batches of 1,000 messages
    Batches,
    /// Sends, most of them beyond the quota or to nobody
    Sends,
    /// Look-ups of users
    Lookups,
    /// Bodies that never end, with a login and without
    Bodies,
    /// Connections with half a head
    Heads,
    /// The largest pages
    Pages,
    /// The same, read slowly
    SlowPages,
    /// Event streams from the beginning, read slowly
    SlowStreams,
    /// Event streams that are opened and closed
    Streams,
    /// The largest documents that need no login
    Documents,
    /// JSON of many members, with a login and without
    Members,
}

impl Attack {
    /// Its name, how many connections it has, and what it does.
    fn facts(self) -> (&'static str, usize, &'static str) {
        match self {
            Self::Search => ("search", 8, "searches letters that are long when they are folded"),
            Self::Phrases => ("phrases", 8, "searches for a phrase that nearly occurs everywhere"),
            Self::Lists => ("lists", 16, "long lists, and filters that find nothing"),
            Self::Log => ("log", 8, "searches beside batches of 1,000"),
            Self::Keys => ("keys", 8, "writes with an idempotency key that is always another one"),
            Self::Guesses => ("guesses", 8, "guesses at passwords from changing addresses"),
            Self::Registrations => ("registrations", 80, "registers names, most of them taken"),
            Self::Logins => ("logins", 80, "signs in to one account"),
            Self::Batches => ("batches", 40, "marks 1,000 messages in each request"),
            Self::Sends => ("sends", 40, "sends beyond the quota, and to nobody"),
            Self::Lookups => ("lookups", 40, "looks users up"),
            Self::Bodies => ("bodies", 80, "bodies that never end"),
            Self::Heads => ("heads", 80, "30 connections each, with half a head"),
            Self::Pages => ("pages", 40, "asks for the largest pages"),
            Self::SlowPages => ("slow-pages", 60, "reads the largest pages slowly"),
            Self::SlowStreams => ("slow-streams", 50, "reads event streams slowly"),
            Self::Streams => ("streams", 40, "opens event streams and closes them"),
            Self::Documents => ("documents", 80, "asks for the largest documents"),
            Self::Members => ("members", 60, "sends JSON of many members"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.facts().0
    }

    pub(super) fn conns(self) -> usize {
        self.facts().1
    }

    pub(super) fn about(self) -> &'static str {
        self.facts().2
    }

    /// What its account has written before.
    pub(super) fn letters(self, account: &User, people: &[User]) -> Vec<Letters> {
        let own =
            |count, body: String| Letters { count, to: vec![account.id], body, metadata: None };
        let folded = || own(60, LONG_WHEN_FOLDED.repeat(LONGEST / LONG_WHEN_FOLDED.len()));
        let short = |count| own(count, "a letter to myself".to_owned());
        match self {
            Self::Search => vec![folded()],
            Self::Phrases => vec![own(60, "a ".repeat(LONGEST / 2))],
            Self::Lists => vec![short(3000)],
            Self::Log => vec![folded(), short(BATCH)],
            Self::Keys => vec![short(1)],
            Self::Batches => vec![short(BATCH)],
            Self::Pages | Self::SlowPages => vec![Letters {
                count: 100,
                to: people.iter().map(|user| user.id).collect(),
                body: "a letter to everybody ".repeat(100),
                metadata: Some("m".repeat(4000)),
            }],
            Self::SlowStreams => vec![own(500, "a ".repeat(2000))],
            _ => vec![],
        }
    }
}

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
        Attack::Pages => pages(attacker).await,
        Attack::SlowPages => slow_pages(attacker).await,
        Attack::SlowStreams => slow_streams(attacker).await,
        Attack::Streams => streams(attacker).await,
        Attack::Documents => documents(attacker).await,
        Attack::Members => members(attacker).await,
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
        while open.len() < HEADS
            && let Ok(mut stream) = me.connect(DIRECT).await
        {
            drop(stream.write_all(b"GET /v1/messages HTTP/1.1\r\nHost: local").await);
            open.push(stream);
        }
        sleep(Duration::from_millis(100)).await;
    }
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

async fn members(mut me: Attacker) {
    // As many as a body may have, of which the call takes none.
    let members: Value = (0..1000).map(|number| (number.to_string(), json!(0))).collect();
    let stranger = request("POST", "/v1/sessions", &forwarded(ADDRESS), &members.to_string());
    let asked = [me.post("/v1/messages", &members), stranger];
    me.ask_for_ever(&asked).await;
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
