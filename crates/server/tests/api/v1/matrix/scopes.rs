//! What a token shows: nothing of what messages say without the scope `messages:read`, neither of
//! an operation itself nor of the replay of one that somebody else made for the same user.

use domain::tokens::{Scope, Scopes};
use serde_json::{Value, json};
use testing::Response;

use super::{NEVER, Operation, World, operations, rule, tells_nothing, token};
use crate::user::number;
use crate::v1::text;

/// Every token without the scope to read.
fn narrow() -> impl Iterator<Item = Scopes> {
    (1..8).filter_map(Scopes::from_bits).filter(|scopes| !scopes.contains(Scope::Read))
}

/// Further bodies of an operation, each of which asks for something.
fn bodies(id: &str, first: Value, world: &World) -> Vec<Value> {
    let filters = ["read", "starred"].map(|mark| {
        json!({ "filter": { "folder": "all", "with": "bob", "since": "2020-01-01T00:00:00Z" },
                "set": { mark: true } })
    });
    let more = match id {
        "markMessage" | "changeConversation" => vec![json!({}), json!({ "read": true })],
        "sendMessage" => vec![
            json!({ "in_reply_to": world.message, "body": "hi" }),
            json!({ "in_reply_to": world.message, "to": ["bob", "nobody"], "body": "hi" }),
        ],
        "batchMessages" => filters.to_vec(),
        _ => vec![],
    };
    [first].into_iter().chain(more).collect()
}

/// Asserts that an answer says nothing of the people of the message, nor of the message.
#[track_caller]
fn shows_no_message(answer: &Response, scopes: Scopes, operation: &Operation) {
    let scopes: Vec<_> = scopes.names().collect();
    tells_nothing(answer, &scopes.join(" "), operation);
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    for field in ["body", "snippet", "last_message", "withdrawn_from", "read_by", "sent_at"] {
        assert!(!said.contains(&format!("\"{field}\":")), "{} shows {field}: {said}", operation.id);
    }
}

/// What ends the message, or the login of the one who asks.
const ENDS: [&str; 5] =
    ["deleteMessage", "unsendMessage", "trashConversation", "eraseMe", "changePassword"];

#[tokio::test]
async fn without_the_scope_to_read_no_operation_shows_a_message() {
    for scopes in narrow() {
        let shared = World::new(true).await;
        for operation in operations().into_iter().filter(|one| one.scope.is_some()) {
            let ends = ENDS.contains(&operation.id.as_str());
            let own = if ends { Some(World::new(true).await) } else { None };
            let world = own.as_ref().unwrap_or(&shared);
            let (_, thing, body) = rule(&operation.id, world);
            let (narrow, _id) = token(&world.app, world.ann.id, scopes).await;
            for body in bodies(&operation.id, body, world) {
                let request = || operation.request(world, thing, &body).bearer(&narrow);
                let stale = request().header("if-match", "\"0-0\"").send().await;
                shows_no_message(&stale, scopes, &operation);
                shows_no_message(&request().send().await, scopes, &operation);
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_only_writes_is_told_what_it_has_named_itself() {
    let world = World::new(true).await;
    let (writer, _id) =
        token(&world.app, world.ann.id, Scopes::parse(["messages:write"]).unwrap()).await;
    let ask = async |method: &str, path: &str, body: Value| {
        world.request(method, path).bearer(&writer).json(&body).send().await
    };
    let of = |path: &str| format!("/v1/{path}/{}", world.message);
    // Its own account may read what it writes to itself.
    let reply = json!({ "in_reply_to": world.message, "to": ["ann"], "body": "hi" });
    let refused = ask("POST", "/v1/messages", reply).await;
    assert_eq!(refused.problem(422, "invalid")["errors"][0]["pointer"], "#/subject");
    let only_id = json!({ "id": world.message });

    let sent = ask("POST", "/v1/messages", json!({ "to": ["bob", "nobody"], "body": "hi" })).await;
    let refused = json!([{ "to": "nobody", "code": "unknown_recipient" }]);
    let id = sent.expect(201)["id"].clone();
    assert_eq!(sent.expect(201), json!({ "id": id, "refused": refused }));
    assert_eq!(sent.header("location"), Some(format!("/v1/messages/{id}").as_str()));
    assert_eq!(sent.header("etag"), None);

    // Whom a reply does not reach says who wrote the message and who got it.
    let reply = json!({ "in_reply_to": world.message, "body": "hi" });
    world.ann.call("PUT", "/v1/blocks/bob").await.expect(204);
    let some = ask("POST", "/v1/messages", reply.clone()).await.expect(201);
    assert_eq!(some["refused"], json!([]));
    world.ann.call("PUT", "/v1/blocks/fred").await.expect(204);
    let all = ask("POST", "/v1/messages", reply).await.expect(403);
    assert_eq!(all["errors"], Value::Null, "{all}");
    for name in ["bob", "fred"] {
        world.ann.call("DELETE", &format!("/v1/blocks/{name}")).await.expect(204);
    }

    let marked = ask("PATCH", &of("messages"), json!({ "starred": true })).await;
    assert_eq!((marked.expect(200), marked.header("etag")), (only_id.clone(), None));
    let changed = ask("PATCH", &of("conversations"), json!({ "muted": true })).await;
    assert_eq!((changed.expect(200), changed.header("etag")), (only_id, None));
    ask("PATCH", &format!("/v1/conversations/{NEVER}"), json!({})).await.problem(404, "not_found");
    let unsent = ask("POST", &format!("/v1/messages/{id}/unsend"), json!({})).await;
    assert_eq!((unsent.expect(204), unsent.body.len()), (Value::Null, 0));

    let batch = async |batch| ask("POST", "/v1/messages/batch", batch).await;
    let named = batch(json!({ "ids": [world.message], "set": { "starred": false } })).await;
    assert_eq!(named.ok()["updated"], json!([world.message]));
    let of_words = json!({ "filter": { "folder": "all", "q": "between" }, "set": {} });
    let refused = batch(of_words).await;
    refused.problem(403, "missing_scope");
    assert!(refused.header("www-authenticate").unwrap().contains("messages:read"));
    let unread = json!({ "filter": { "unread": true }, "set": { "read": true } });
    let read = batch(unread.clone()).await.ok();
    assert_eq!((&read["updated"], &read["not_found"]), (&json!([]), &json!([])));
    let all = world.ann.call("GET", "/v1/unread").await.ok();
    assert_eq!(all["messages"], 0, "it is done, though not told");
    // Who may read is told.
    world
        .request("POST", "/v1/messages")
        .bearer(world.of("bob"))
        .json(&json!({ "to": ["ann"], "body": "" }))
        .send()
        .await
        .expect(201);
    let read = world.ann.request("POST", "/v1/messages/batch").json(&unread).send().await.ok();
    assert_eq!(read["updated"].as_array().map(Vec::len), Some(1));
}

/// Sends a request with a key, as one token and then as another.
async fn replayed(
    world: &World,
    (path, body): (&str, &Value),
    wide: &str,
    narrow: &str,
) -> (Response, Response) {
    let ask = async |token: &str| {
        let request = world.request("POST", path).bearer(token).json(body);
        request.header("idempotency-key", "the-same").send().await
    };
    (ask(wide).await, ask(narrow).await)
}

#[tokio::test]
async fn a_replay_shows_no_more_than_its_caller_may_see() {
    let world = World::new(true).await;
    let writes = Scopes::parse(["messages:write", "account"]).unwrap();
    let (narrow, _id) = token(&world.app, world.ann.id, writes).await;
    let wide = world.of("ann");
    let is_replay = |answer: &Response| answer.header("idempotency-replayed") == Some("true");

    let reply = json!({ "in_reply_to": world.message, "to": ["bob"], "body": "hi" });
    let (sent, again) = replayed(&world, ("/v1/messages", &reply), wide, &narrow).await;
    let id = number(&sent.expect(201)["id"]);
    assert!(is_replay(&again));
    assert_eq!(again.expect(201), json!({ "id": id, "refused": [] }));

    let path = format!("/v1/messages/{id}/unsend");
    let (unsent, again) = replayed(&world, (&path, &json!({})), wide, &narrow).await;
    assert!(unsent.ok()["withdrawn_from"].is_array() && is_replay(&again));
    assert_eq!((again.expect(204), again.body.len()), (Value::Null, 0));

    let new = json!({ "name": "a token" });
    let (made, again) = replayed(&world, ("/v1/tokens", &new), wide, &narrow).await;
    let secret = text(&made.expect(201)["token"]);
    again.problem(403, "insufficient_scope");
    assert!(!String::from_utf8_lossy(&again.body).contains(&secret));
    let (_, again) = replayed(&world, ("/v1/tokens", &new), &narrow, wide).await;
    assert_eq!(again.expect(201)["token"], secret, "who may see it gets it again");

    // The other way round, who may read is shown what a writer has sent.
    let another = json!({ "to": ["bob"], "body": "by a writer" });
    let ask = async |token: &str| {
        let request = world.request("POST", "/v1/messages").bearer(token).json(&another);
        request.header("idempotency-key", "other").send().await
    };
    ask(&narrow).await.expect(201);
    assert_eq!(ask(wide).await.expect(201)["body"], "by a writer");
}
