//! The same by server keys: what a key may do for a user is what that user may do, and no more.

use std::time::Duration;

use db::params;
use domain::{UserId, audit, users};
use testing::Response;

use super::{Operation, Rule, World, expected, operations, rule, tells_nothing, token};
use crate::v1::server::AppServer;
use domain::server_keys::KeyScope;
use domain::tokens::Scopes;

/// What the user alone can do.
const OWN: [&str; 12] = [
    "createUser",
    "logIn",
    "logOut",
    "listSessions",
    "endSession",
    "listTokens",
    "createToken",
    "revokeToken",
    "changePassword",
    "eraseMe",
    "streamEvents",
    "exportMe",
];
/// What shows messages.
const READS: [&str; 4] = ["listMessages", "getMessage", "listConversations", "getConversation"];

impl World {
    /// The calls in the audit log for a user, oldest first.
    async fn audited(&self, user: i64) -> Vec<String> {
        self.app.settle().await;
        let user = UserId::new(user);
        let newest = self.app.write(move |tx| audit::list(tx, None, user, 10_000)).await;
        newest.into_iter().rev().map(|record| record.call).collect()
    }

    /// Everything but the audit log.
    async fn rest(&self) -> Vec<String> {
        let mut state = self.state().await;
        state.retain(|row| !row.starts_with("audit "));
        state
    }
}

impl Operation {
    /// The request of a server key for a user.
    async fn by_key(&self, world: &World, server: &AppServer, user: Option<&str>) -> Response {
        let (_, thing, body) = rule(&self.id, world);
        let request = self.request(world, thing, &body).bearer(&server.key);
        match user {
            Some(user) => request.header("postroom-user", user).send().await,
            None => request.send().await,
        }
    }

    fn is_own(&self) -> bool {
        OWN.contains(&self.id.as_str())
    }

    /// As the audit log names it.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[tokio::test]
async fn a_key_may_do_for_users_what_they_may_and_each_change_is_in_the_audit_log() {
    for operation in operations().into_iter().filter(|one| one.id != "getCsrfToken") {
        let world = World::new(false).await;
        let server = world.app.server_key(&["act"]).await;
        let (rule, ..) = rule(&operation.id, &world);
        for name in ["eve", "fred", "bea", "bob", "ann"] {
            let what = format!("{} for {name}", operation.id);
            let folded = name.to_owned();
            let user = world.app.scan(move |tx| {
                let id = "SELECT id FROM users WHERE name_folded = ?1";
                tx.query_one(id, &params![folded.as_str()], |row| row.int(0))
            });
            let user = user.await;
            let (before, audited) = (world.rest().await, world.audited(user).await);
            let answer = operation.by_key(&world, &server, Some(name)).await;
            if operation.is_own() {
                answer.problem(403, "not_by_key");
                assert_eq!(world.rest().await, before, "{what} changed something");
                continue;
            }
            // Fred has deleted the message, and may do so again.
            let again = operation.id == "deleteMessage" && name == "fred";
            match expected(rule, name).filter(|_| !again) {
                None => assert!((200..300).contains(&answer.status), "{what}: {answer:?}"),
                Some((status, code)) => drop(answer.problem(status, code)),
            }
            if !matches!(name, "ann" | "bob") {
                tells_nothing(&answer, name, &operation);
            }
            let changed = world.rest().await != before;
            let mut audited_now = world.audited(user).await;
            let others: Vec<_> = audited_now.drain(audited.len()..).collect();
            let is_read = READS.contains(&operation.id.as_str());
            assert!(!changed || others == [operation.name()], "{what}: {others:?}");
            assert!(answer.status < 400 || is_read || others.is_empty(), "{what}: {others:?}");
        }
    }
}

#[tokio::test]
async fn each_reading_of_letters_by_a_key_is_in_the_audit_log() {
    let world = World::new(true).await;
    let server = world.app.server_key(&["act"]).await;
    let mut read = Vec::new();
    for operation in operations() {
        if operation.method != "GET" || operation.is_own() || operation.id == "getCsrfToken" {
            continue;
        }
        operation.by_key(&world, &server, Some("bob")).await.ok();
        let shows = READS.contains(&operation.id.as_str());
        if shows {
            read.push(operation.name());
        }
    }
    assert_eq!(read.len(), READS.len());
    let bob = "SELECT id FROM users WHERE name = 'bob'";
    let bob = world.app.scan(move |tx| tx.query_one(bob, &[], |row| row.int(0))).await;
    // They are written together, once a second.
    while world.audited(bob).await.len() < read.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut audited = world.audited(bob).await;
    audited.sort_unstable();
    read.sort_unstable();
    assert_eq!(audited, read);
}

#[tokio::test]
async fn a_key_without_its_scope_or_its_user_is_refused() {
    let world = World::new(false).await;
    let app = &world.app;
    let server = app.server_key(&["act"]).await;
    let all = KeyScope::ALL.map(KeyScope::name);
    let others: Vec<_> = all.into_iter().filter(|scope| *scope != "act").collect();
    let narrow = app.server_key(&others).await;
    let revoked = app.server_key(&["act"]).await;
    let (cx, id) = (app.clock().cx(), revoked.id);
    app.write(move |tx| domain::server_keys::revoke(tx, &cx, id)).await;
    let gone = app.account("gone").await;
    app.write(move |tx| users::disable(tx, &cx, gone)).await;
    let system = app.account("system").await;
    app.write(move |tx| {
        Ok(tx.execute("UPDATE users SET kind = 1 WHERE id = ?1", &params![system])?)
    })
    .await;
    let token = token(app, world.ann.id, Scopes::all()).await.0;
    app.settle().await;
    for operation in operations() {
        if operation.is_own() || operation.scope.is_none() {
            continue;
        }
        let before = world.state().await;
        operation.by_key(&world, &server, None).await.problem(400, "user_required");
        for nobody in ["nobody", "ext:ann", "4000000", "0", "era", "ext:", "%ff"] {
            let answer = operation.by_key(&world, &server, Some(nobody)).await;
            answer.problem(404, "user_unknown");
        }
        operation.by_key(&world, &server, Some("gone")).await.problem(403, "user_deactivated");
        operation.by_key(&world, &server, Some("system")).await.problem(403, "system_user");
        let missing = operation.by_key(&world, &narrow, Some("ann")).await;
        let said = missing.problem(403, "missing_scope");
        assert_eq!(said["detail"], "the server key needs the scope act");
        operation.by_key(&world, &revoked, Some("ann")).await.problem(401, "unauthenticated");
        let (_, thing, body) = rule(&operation.id, &world);
        let request = || operation.request(&world, thing, &body).header("postroom-user", "ann");
        let in_page = request().bearer(&server.key).header("origin", "https://a.example");
        in_page.send().await.problem(403, "server_key_in_browser");
        let twice = request().bearer(&server.key).header("postroom-user", "ann").send().await;
        twice.problem(400, "bad_request");
        let present = request().bearer(&server.key).header("postroom-present", "yes");
        present.send().await.problem(400, "bad_request");
        request().bearer(&token).send().await.problem(403, "act_not_allowed");
        request().send().await.problem(401, "unauthenticated");
        assert_eq!(world.state().await, before, "{} changed something", operation.id);
    }
    let session = format!("sessionid={}", world.ann.client.session());
    let request = world.client.request("GET", "/v1/messages").cookies(&session);
    let answer = request.header("postroom-user", "bob").send().await;
    answer.problem(403, "act_not_allowed");
    for path in ["/messages/messages_per_receiver", "/messages/unread_per_receiver"] {
        let classic = world.client.request("GET", path).bearer(&server.key);
        classic.header("postroom-user", "ann").send().await.error(403);
    }
}

#[tokio::test]
async fn what_anybody_may_do_is_the_users_own_as_well() {
    let world = World::new(false).await;
    let server = world.app.server_key(&["act"]).await;
    let mut own = 0;
    for operation in operations() {
        let (rule, ..) = rule(&operation.id, &world);
        if rule == Rule::Open && operation.is_own() {
            operation.by_key(&world, &server, Some("ann")).await.problem(403, "not_by_key");
            own += 1;
        }
    }
    assert_eq!(own, 2);
}
