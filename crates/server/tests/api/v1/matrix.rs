//! Who may do what: every operation of the document, by everybody. A new operation is
//! listed here with its rule.

mod keys;
mod scopes;

use domain::text::TokenName;
use domain::tokens::{self, NewToken, Scope, Scopes};
use domain::{UserId, users};
use serde_json::{Value, json};
use testing::{Client, Request, Response};

use super::verbs::{comparable, emptied};
use super::{newcomer, text};
use crate::contract::document;
use crate::harness::{PASSWORD, TestApp};
use crate::user::{User, number};

/// A number that nothing has had.
const NEVER: i64 = 4_000_000;
/// What only those may see who have the message.
const SECRET: &str = "between us";

/// Whose an operation is, besides that it takes a login.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Anybody's, also without a login.
    Open,
    /// Everybody's: it is about the caller, or about what everybody may see.
    Everybody,
    /// Of those who have the message.
    Message,
    /// The sender's; who received the message is told so.
    Sender,
    /// Of those who have a message of the conversation.
    Conversation,
    /// The owner's: the thing is the sender's session or token.
    Owner,
    /// Everybody's but that of those whom the sender of the message blocks.
    Writer,
    /// Everybody's about somebody else.
    Others,
    /// Nobody's who has a token.
    Session,
}

/// The rule of an operation, what its path names, and its body.
fn rule(id: &str, world: &World) -> (Rule, Option<i64>, Value) {
    let (message, ann) = (Some(world.message), Some(world.ann.id.get()));
    let password = json!({ "current_password": PASSWORD, "new_password": "another fine one 8" });
    let login = json!({ "username": "ann", "password": PASSWORD });
    let batch = json!({ "ids": [world.message], "set": { "starred": true } });
    match id {
        "createUser" => (Rule::Open, None, newcomer("newcomer")),
        "getCsrfToken" => (Rule::Open, None, Value::Null),
        "logIn" => (Rule::Open, None, login),
        "sendMessage" => (Rule::Writer, None, json!({ "to": ["ann"], "body": "hi" })),
        "listMessages" | "listChanges" | "streamEvents" | "getUnread" | "listConversations"
        | "listBlocks" | "getMe" | "findUsers" | "listSessions" | "listTokens" | "eraseMe"
        | "exportMe" => (Rule::Everybody, None, Value::Null),
        "changeMe" => (Rule::Everybody, None, json!({ "display_name": "Somebody" })),
        "changePassword" => (Rule::Everybody, None, password),
        "createToken" => (Rule::Everybody, None, json!({ "name": "a program" })),
        "batchMessages" => (Rule::Everybody, None, batch),
        "getUser" | "unblock" => (Rule::Everybody, ann, Value::Null),
        "block" => (Rule::Others, ann, Value::Null),
        "getMessage" | "deleteMessage" => (Rule::Message, message, Value::Null),
        "markMessage" => (Rule::Message, message, json!({ "starred": true })),
        "unsendMessage" => (Rule::Sender, message, Value::Null),
        "getConversation" | "trashConversation" => (Rule::Conversation, message, Value::Null),
        "changeConversation" => (Rule::Conversation, message, json!({ "muted": true })),
        "endSession" => (Rule::Owner, Some(world.session), Value::Null),
        "revokeToken" => (Rule::Owner, Some(world.token), Value::Null),
        "logOut" => (Rule::Session, None, Value::Null),
        _ => panic!("whose is {id}?"),
    }
}

/// A message of ann to bob and fred, and everybody around it.
struct World {
    app: TestApp,
    client: Client,
    /// The sender, with a session.
    ann: User,
    /// Everybody with a token that holds, by name.
    tokens: Vec<(&'static str, String)>,
    revoked: String,
    erased: String,
    message: i64,
    session: i64,
    token: i64,
}

impl World {
    /// The message is answered by bob, or not.
    async fn new(answered: bool) -> Self {
        let app = TestApp::start().await;
        let ann = app.user("ann").await;
        let client = app.client();
        let (own, own_id) = token(&app, ann.id, Scopes::all()).await;
        let mut tokens = vec![("ann", own)];
        for name in ["bob", "fred", "bea", "eve"] {
            let id = app.account(name).await;
            tokens.push((name, token(&app, id, Scopes::all()).await.0));
        }
        let era = app.account("era").await;
        let (revoked, id) = token(&app, ann.id, Scopes::all()).await;
        ann.call("DELETE", &format!("/v1/tokens/{id}")).await.expect(204);
        let mut world = Self {
            erased: token(&app, era, Scopes::all()).await.0,
            revoked,
            message: 0,
            session: number(&ann.call("GET", "/v1/sessions").await.ok()["data"][0]["id"]),
            token: own_id,
            app,
            client,
            ann,
            tokens,
        };
        world.set_up(answered).await;
        world
    }

    async fn set_up(&mut self, answered: bool) {
        let to = json!({ "to": ["bob", "fred", "era"], "subject": SECRET, "body": SECRET });
        self.message = number(&self.ann.write(&to).await["id"]);
        let path = format!("/v1/messages/{}", self.message);
        self.request("DELETE", &path).bearer(self.of("fred")).send().await.expect(204);
        if answered {
            let reply = json!({ "in_reply_to": self.message, "to": ["ann"], "body": SECRET });
            self.request("POST", "/v1/messages")
                .bearer(self.of("bob"))
                .json(&reply)
                .send()
                .await
                .expect(201);
        }
        let bea = self.request("GET", "/v1/users/me").bearer(self.of("bea")).send().await.ok();
        self.ann.call("PUT", &format!("/v1/blocks/{}", bea["id"])).await.expect(204);
        self.request("DELETE", "/v1/users/me").bearer(&self.erased).send().await.expect(204);
        emptied(&self.app).await;
    }

    fn request(&self, method: &str, path: &str) -> Request<'_> {
        self.client.request(method, path)
    }

    fn of(&self, name: &str) -> &str {
        let found = self.tokens.iter().find(|(owner, _)| *owner == name);
        &found.expect("everybody has one").1
    }

    /// Everything in the database but when somebody was last seen.
    async fn state(&self) -> Vec<String> {
        self.app.settle().await;
        let cut = |row: String| match row.split(' ').next() {
            Some("token") => row.rsplit_once(' ').map_or(row.clone(), |(row, _)| row.to_owned()),
            Some("session") => row.split(' ').take(4).collect::<Vec<_>>().join(" "),
            _ => row,
        };
        self.app.dump().await.into_iter().map(cut).collect()
    }
}

/// A token with these scopes, and its id.
async fn token(app: &TestApp, owner: UserId, scopes: Scopes) -> (String, i64) {
    let name = TokenName::parse("of the matrix").expect("it is a name");
    let (cx, new) = (app.clock().cx(), NewToken { name, scopes, expires_at: None });
    let secret = cx.random();
    // By a password, so that it may do everything that its scopes say.
    let made = app.write(move |tx| {
        let login = users::password_of(tx, owner)?.expect("the account is enabled");
        tokens::create_by_password(tx, &cx, &login, &secret, &new)
    });
    let made = made.await;
    (made.token, made.listed.id)
}

/// An operation of the document.
#[derive(Clone)]
struct Operation {
    id: String,
    method: String,
    path: String,
    scope: Option<String>,
}

fn operations() -> Vec<Operation> {
    let paths = document()["paths"].as_object().expect("it is an object").iter();
    let each = paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().expect("it is an object").iter();
        operations.map(move |(method, said)| Operation {
            id: text(&said["operationId"]),
            method: method.to_ascii_uppercase(),
            path: path.clone(),
            scope: said["security"].pointer("/0/bearerAuth/0").map(text),
        })
    });
    // What is the app's own server's is tried in `server/keys.rs`.
    each.filter(|operation| !operation.path.starts_with("/v1/server/")).collect()
}

impl Operation {
    /// The request about a thing. Where a list can be asked for the message, it is.
    fn request<'w>(&self, world: &'w World, thing: Option<i64>, body: &Value) -> Request<'w> {
        let mut path = self.path.clone();
        if let (Some(thing), Some((start, rest))) = (thing, self.path.split_once('{')) {
            let (_name, end) = rest.split_once('}').expect("it is closed");
            path = format!("{start}{thing}{end}");
        }
        assert!(!path.contains('{'), "what does {} name?", self.id);
        match self.id.as_str() {
            "findUsers" => path += "?prefix=ann",
            "listChanges" => path += "?since=0",
            "listMessages" => path += "?folder=all&q=between",
            _ => {}
        }
        let request = world.client.request(&self.method, &path);
        if body.is_null() { request } else { request.json(body) }
    }

    fn changes(&self) -> bool {
        self.method != "GET"
    }
}

/// What an operation answers to somebody who has a token: a status and, if it is an error, a code.
fn expected(rule: Rule, name: &str) -> Option<(u16, &'static str)> {
    let has_it = matches!(name, "ann" | "bob");
    match rule {
        Rule::Message | Rule::Conversation if has_it => None,
        Rule::Sender | Rule::Owner if name == "ann" => None,
        Rule::Sender if name == "bob" => Some((403, "not_the_sender")),
        Rule::Writer if name == "bea" => Some((403, "recipient_unavailable")),
        Rule::Others if name == "ann" => Some((422, "invalid")),
        Rule::Open | Rule::Everybody | Rule::Writer | Rule::Others => None,
        Rule::Message | Rule::Conversation | Rule::Sender | Rule::Owner | Rule::Session => {
            Some((404, "not_found"))
        }
    }
}

#[track_caller]
fn tells_nothing(answer: &Response, who: &str, operation: &Operation) {
    let said = String::from_utf8_lossy(&answer.body);
    assert!(!said.contains(SECRET), "{} tells {who}: {said}", operation.id);
}

/// Asks as everybody who is refused whatever it is about.
async fn refused_to_all(operation: &Operation, world: &World) {
    let (_, thing, body) = rule(&operation.id, world);
    let Some(scope) = &operation.scope else { return };
    let others = Scope::ALL.map(Scope::name).into_iter().filter(|other| other != scope);
    let others = Scopes::parse(others).expect("they are scopes");
    let (narrow, _id) = token(&world.app, world.ann.id, others).await;
    let before = world.state().await;
    let request = || operation.request(world, thing, &body);
    let answers = [
        ("nobody", request().send().await, 401, "unauthenticated"),
        ("nobody at all", request().bearer("prt_1.AAAA").send().await, 401, "unauthenticated"),
        ("revoked", request().bearer(&world.revoked).send().await, 401, "unauthenticated"),
        ("erased", request().bearer(&world.erased).send().await, 401, "unauthenticated"),
        ("narrow", request().bearer(&narrow).send().await, 403, "insufficient_scope"),
    ];
    for (who, answer, status, code) in &answers {
        answer.problem(*status, code);
        tells_nothing(answer, who, operation);
    }
    let [_, unknown, revoked, erased, _] = answers.map(|(_, answer, _, _)| comparable(&answer));
    assert_eq!((&revoked, &erased), (&unknown, &unknown), "{} tells them apart", operation.id);
    assert_eq!(world.state().await, before, "{} changed something", operation.id);
}

/// Asks as everybody who has a token.
async fn ruled(operation: &Operation, world: &World) {
    let (rule, thing, body) = rule(&operation.id, world);
    for name in ["eve", "fred", "bea", "bob", "ann"] {
        if rule == Rule::Open {
            continue;
        }
        let what = format!("{} by {name}", operation.id);
        let before = world.state().await;
        let answer = operation.request(world, thing, &body).bearer(world.of(name)).send().await;
        // Fred has deleted the message, and may do so again.
        let again = operation.id == "deleteMessage" && name == "fred";
        if again {
            assert_eq!(world.state().await, before, "{what} changed something");
        }
        match expected(rule, name).filter(|_| !again) {
            None => assert!((200..300).contains(&answer.status), "{what}: {answer:?}"),
            Some((status, code)) => {
                answer.problem(status, code);
                assert_eq!(world.state().await, before, "{what} changed something");
            }
        }
        if answer.status == 404 && thing.is_some() {
            let never = operation.request(world, Some(NEVER), &body).bearer(world.of(name));
            assert_eq!(
                comparable(&answer),
                comparable(&never.send().await),
                "{what} tells that it is there"
            );
        }
        if !matches!(name, "ann" | "bob") {
            tells_nothing(&answer, name, operation);
        }
        if operation.id == "batchMessages" && name != "bob" && name != "ann" {
            assert_eq!(answer.ok()["not_found"], json!([world.message]), "{what}");
            assert_eq!(world.state().await, before, "{what} changed something");
        }
    }
}

#[tokio::test]
async fn every_operation_is_for_those_whose_it_is() {
    for operation in operations() {
        let world = World::new(false).await;
        refused_to_all(&operation, &world).await;
        ruled(&operation, &world).await;
        if matches!(
            rule(&operation.id, &world).0,
            Rule::Message | Rule::Conversation | Rule::Sender
        ) {
            ruled(&operation, &World::new(true).await).await;
        }
    }
}

#[tokio::test]
async fn what_anybody_may_do_takes_no_login() {
    let world = World::new(false).await;
    let mut open = 0;
    for operation in operations() {
        let (rule, thing, body) = rule(&operation.id, &world);
        assert_eq!(operation.scope.is_none(), rule == Rule::Open, "{}", operation.id);
        if rule == Rule::Open {
            let status = if operation.changes() { 201 } else { 200 };
            operation.request(&world, thing, &body).send().await.expect(status);
            open += 1;
        }
    }
    assert_eq!(open, 3);
}

#[tokio::test]
async fn a_session_alone_changes_nothing() {
    let world = World::new(true).await;
    let csrf = world.ann.client.cookie("csrftoken").expect("it is kept");
    let session = format!("sessionid={}; csrftoken={csrf}", world.ann.client.session());
    let mut asked = 0;
    for operation in operations().into_iter().filter(Operation::changes) {
        let (rule, thing, body) = rule(&operation.id, &world);
        let request = || operation.request(&world, thing, &body).cookies(&session);
        let before = world.state().await;
        let foreign = request().csrf(&csrf).header("origin", "https://evil.example").send().await;
        foreign.problem(403, "forbidden_origin");
        if rule != Rule::Open {
            request().send().await.problem(403, "csrf");
            request().csrf("x").send().await.problem(403, "csrf");
            let forged = csrf.chars().rev().collect::<String>();
            let forged =
                request().csrf(&forged).cookies(&format!("csrftoken={forged}")).send().await;
            forged.problem(403, "csrf");
            asked += 1;
        }
        assert_eq!(world.state().await, before, "{} changed something", operation.id);
    }
    assert!(asked >= 12, "{asked}");
    let before = world.state().await;
    for operation in operations().into_iter().filter(|operation| !operation.changes()) {
        let (_, thing, body) = rule(&operation.id, &world);
        let read = operation.request(&world, thing, &body).cookies(&session).send().await;
        assert_eq!(read.status, 200, "{}: {read:?}", operation.id);
    }
    assert_eq!(world.state().await, before, "reading changes nothing");
}

#[tokio::test]
async fn what_is_not_mine_cannot_be_answered_listed_or_found() {
    for answered in [false, true] {
        let world = World::new(answered).await;
        let before = world.state().await;
        for name in ["eve", "fred", "bea"] {
            let reply = async |id: i64| {
                let body = json!({ "in_reply_to": id, "to": [name], "body": "" });
                world
                    .request("POST", "/v1/messages")
                    .bearer(world.of(name))
                    .json(&body)
                    .send()
                    .await
            };
            let there = reply(world.message).await;
            assert_eq!(there.invalid(), ["#/in_reply_to invalid"]);
            assert_eq!(comparable(&there), comparable(&reply(NEVER).await), "{name}");
            for query in [
                "folder=all".to_owned(),
                "folder=trash".to_owned(),
                "folder=all&q=between".to_owned(),
                format!("folder=all&conversation={}", world.message),
                format!("folder=all&with={}", world.ann.id.get()),
            ] {
                let path = format!("/v1/messages?{query}");
                let list = world.request("GET", &path).bearer(world.of(name)).send().await.ok();
                assert_eq!(list["data"], json!([]), "{name} {query}");
            }
            let unread =
                world.request("GET", "/v1/unread").bearer(world.of(name)).send().await.ok();
            assert_eq!((&unread["messages"], &unread["conversations"]), (&0.into(), &0.into()));
        }
        assert_eq!(world.state().await, before);
    }
}
