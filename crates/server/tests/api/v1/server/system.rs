//! System users, as people meet them.

use db::params;
use domain::text::{DisplayName, Email, Username};
use domain::{UserId, users};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp};
use crate::user::{User, number};
use crate::v1::server::AppServer;

impl TestApp {
    /// Makes a system user.
    pub(super) async fn system(&self, name: &str, shown: &str, replies: bool) -> UserId {
        let cx = self.clock().cx();
        let name = Username::parse(name).expect("it is a name");
        let shown = DisplayName::parse(shown).expect("it is a name");
        let email = Email::parse("app@example.org").expect("it is an address");
        self.write(move |tx| {
            let id = users::create(tx, &cx, &name, Some(&shown), &email, "")?;
            users::make_system(tx, id, replies)?;
            Ok(id)
        })
        .await
    }

    /// Gives somebody the app's own id.
    pub(super) async fn known_as(&self, user: UserId, id: &'static str) {
        let sql = "UPDATE users SET external_id = ?2 WHERE id = ?1";
        self.write(move |tx| Ok(tx.execute(sql, &params![user, id])?)).await;
    }

    /// Sends a system message to people who get it.
    pub(super) async fn tell(&self, server: &AppServer, from: UserId, to: &[&User]) -> Vec<i64> {
        let to: Vec<_> = to.iter().map(|user| user.id.get()).collect();
        let news = json!({ "from": from.get(), "to": to, "subject": "news", "body": "of us" });
        let sent = server.post("/v1/server/messages", &news).await.expect(201);
        assert_eq!(sent["refused"], json!([]));
        let messages = sent["messages"].as_array().expect("it is a list");
        messages.iter().map(|message| number(&message["id"])).collect()
    }
}

#[tokio::test]
async fn nobody_answers_a_sender_that_takes_no_replies() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let shop = app.system("shop", "Our Shop", false).await;
    let id = app.tell(&server, shop, &[&ann]).await[0];

    let reply = json!({ "in_reply_to": id, "body": "thanks" });
    let refused = ann.post("/v1/messages", &reply).await.problem(403, "no_replies");
    let error = json!({ "pointer": "#/in_reply_to", "to": shop.get(), "code": "no_replies",
                        "detail": "this sender belongs to the app and takes no replies" });
    assert_eq!(refused["errors"], json!([error]));
    for to in [json!(["shop"]), json!([shop.get()]), json!(["shop", "nobody"])] {
        let new = json!({ "to": to, "body": "a question" });
        let refused = ann.post("/v1/messages", &new).await.problem(403, "no_replies");
        assert_eq!(
            refused["detail"].as_str().map(|detail| detail.contains("receiver")),
            Some(false)
        );
    }
    let draft = json!({ "receiver_id": shop.get(), "subject": "", "body": "a question" });
    let classic = ann.request("POST", "/messages/write_message").json(&draft).send().await;
    let error = classic.error(403);
    assert_eq!(error, "receiver_id: this sender belongs to the app and takes no replies");

    let several = json!({ "to": ["bob", "shop"], "in_reply_to": id, "body": "look at that" });
    let sent = ann.post("/v1/messages", &several).await.expect(201);
    assert_eq!(sent["refused"], json!([{ "to": "shop", "code": "no_replies" }]));
    assert_eq!(sent["to"].as_array().map(Vec::len), Some(1));
    let on = json!({ "in_reply_to": sent["id"], "body": "and then?" });
    bob.post("/v1/messages", &on).await.expect(201);

    let open = app.system("support", "Support", true).await;
    let id = app.tell(&server, open, &[&ann]).await[0];
    let reply = json!({ "in_reply_to": id, "body": "a question" });
    ann.post("/v1/messages", &reply).await.expect(201);
}

#[tokio::test]
async fn a_system_user_is_not_blocked_but_muted() {
    let app = TestApp::start().await;
    let server = app.server_key(&["system"]).await;
    let ann = app.user("ann").await;
    let shop = app.system("shop", "Our Shop", false).await;
    let id = app.tell(&server, shop, &[&ann]).await[0];
    for path in [format!("/v1/blocks/{}", shop.get()), "/v1/blocks/shop".to_owned()] {
        ann.request("PUT", &path).send().await.problem(403, "system_user");
    }
    assert_eq!(ann.call("GET", "/v1/blocks").await.ok()["data"], json!([]));
    let path = format!("/v1/conversations/{id}");
    let muted = ann.request("PATCH", &path).json(&json!({ "muted": true })).send().await.ok();
    assert_eq!(muted["muted"], true);
    for prefix in ["shop", "our", "Our Shop"] {
        let found = ann.request("GET", &format!("/v1/users?prefix={}", prefix.replace(' ', "%20")));
        assert_eq!(found.send().await.ok()["data"], json!([]), "{prefix}");
    }
    let shown = ann.call("GET", &format!("/v1/users/{}", shop.get())).await.ok();
    assert_eq!(shown["display_name"], "Our Shop");
}

#[tokio::test]
async fn the_name_of_a_system_user_is_reserved() {
    let app = TestApp::with(&[("registration", "open"), ("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let rename = async |user: &User, name: &str| {
        let body = json!({ "display_name": name });
        user.request("PATCH", "/v1/users/me").json(&body).send().await
    };
    rename(&bob, "Support").await.ok();
    app.system("helpdesk", "SUPPORT", false).await;

    let refused = rename(&ann, "support").await.problem(422, "name_reserved");
    assert_eq!(refused["errors"][0]["pointer"], "#/display_name");
    rename(&ann, "HelpDesk").await.problem(422, "name_reserved");
    assert_eq!(ann.call("GET", "/v1/users/me").await.ok()["display_name"], "ann");
    rename(&bob, "SUPPORT").await.ok();
    let account = |name: &str, shown: &str| {
        json!({ "username": name, "display_name": shown, "email": "a@example.org",
                "password": PASSWORD })
    };
    let client = app.client();
    let register = |body| client.request("POST", "/v1/users").json(&body).send();
    let refused = register(account("Support", "Cid")).await.problem(422, "name_reserved");
    assert_eq!(refused["errors"][0]["pointer"], "#/username");
    register(account("cid", "support")).await.problem(422, "name_reserved");
    let body = json!({ "username": "support", "email": "a@example.org", "password": PASSWORD });
    let visitor = app.visitor().await;
    let classic = visitor.request("POST", "/users/register").json(&body).send().await;
    assert!(classic.error(400).starts_with("username: this name is reserved"));
    register(account("cid", "Cid")).await.expect(201);
}

#[tokio::test]
async fn nobody_signs_in_as_a_system_user() {
    let app = TestApp::start().await;
    app.system("shop", "Our Shop", false).await;
    let client = app.client();
    for password in ["", "a password 7"] {
        let login = json!({ "username": "shop", "password": password });
        client
            .request("POST", "/v1/sessions")
            .json(&login)
            .send()
            .await
            .problem(401, "authentication_failed");
    }
    let words = "it is a system user: nobody can block, sign in or act as one";
    let set = app.command_with("a fine password 9", &["user", "passwd", "shop"]);
    assert_eq!(set, Err(format!("error: {words}\n")));
    let token = app.command(&["token", "add", "shop", "--name", "a program"]);
    assert_eq!(token, Err(format!("error: {words}\n")));
}

#[tokio::test]
async fn the_kind_is_set_at_creation_by_a_key_with_the_scope_and_never_changes() {
    let app = TestApp::start().await;
    let whole = app.server_key(&["users", "system"]).await;
    let narrow = app.server_key(&["users"]).await;
    app.user("ann").await;
    let put = async |server: &AppServer, id: &str, body: Value| {
        server.request("PUT", &format!("/v1/server/users/{id}")).json(&body).send().await
    };
    let shop = json!({ "kind": "system", "display_name": "Our Shop" });
    let refused = put(&narrow, "ext:shop", shop.clone()).await.problem(403, "missing_scope");
    assert_eq!(refused["detail"], "the server key needs the scope system");
    put(&narrow, "ext:shop", json!({ "replies": true })).await.problem(403, "missing_scope");
    let made = put(&whole, "ext:shop", shop.clone()).await.expect(201);
    assert_eq!((&made["kind"], &made["accept_from"]), (&json!("system"), &json!("nobody")));
    put(&whole, "ext:shop", shop.clone()).await.ok();
    let other = json!({ "kind": "person" });
    assert_eq!(put(&whole, "ext:shop", other.clone()).await.invalid(), ["#/kind invalid"]);
    put(&narrow, "ext:dana", other).await.expect(201);
    assert_eq!(put(&whole, "ext:dana", shop.clone()).await.invalid(), ["#/kind invalid"]);
    let replies = json!({ "replies": true });
    assert_eq!(put(&whole, "ext:dana", replies.clone()).await.invalid(), ["#/replies invalid"]);
    assert_eq!(put(&whole, "ext:new", replies.clone()).await.invalid(), ["#/replies invalid"]);
    assert_eq!(
        put(&whole, "ext:new", json!({ "kind": "bot" })).await.invalid(),
        ["#/kind invalid"]
    );

    let send = json!({ "from": "ext:shop", "to": ["ann"], "subject": "news", "body": "of us" });
    whole.post("/v1/server/messages", &send).await.expect(201);
    let ann = app.client();
    let login = json!({ "username": "ann", "password": PASSWORD, "name": "a program" });
    let token = ann.request("POST", "/v1/tokens").json(&login).send().await.expect(201);
    let token = token["token"].as_str().expect("it is text").to_owned();
    let write = async || {
        let body = json!({ "to": ["ext:shop"], "body": "a question" });
        ann.request("POST", "/v1/messages").bearer(&token).json(&body).send().await
    };
    write().await.problem(403, "no_replies");
    // What people accept is not for the app to change by the way.
    put(&narrow, "ext:shop", json!({ "accept_from": "everyone" })).await.ok();
    write().await.problem(403, "no_replies");
    let open = put(&whole, "ext:shop", replies).await.ok();
    assert_eq!(open["accept_from"], "everyone");
    write().await.expect(201);
    put(&whole, "ext:shop", json!({ "replies": false })).await.ok();
    write().await.problem(403, "no_replies");

    for (body, pointer) in [
        (json!({ "display_name": "OUR SHOP" }), "#/display_name"),
        (json!({ "username": "Our.Shop", "display_name": "our shop" }), "#/display_name"),
    ] {
        for id in ["ext:dana", "ext:another"] {
            let refused = put(&narrow, id, body.clone()).await.problem(422, "name_reserved");
            assert_eq!(refused["errors"][0]["pointer"], pointer);
        }
    }
    let users = json!([
        { "ref": "ext:eve", "display_name": "our shop" },
        { "ref": "ext:post", "kind": "system" },
        { "ref": "ext:fay", "display_name": "Fay" },
    ]);
    let batch = narrow.post("/v1/server/users/batch", &json!({ "users": users })).await.ok();
    let codes = [0, 1].map(|at| batch["results"][at]["errors"][0]["code"].clone());
    assert_eq!(codes, [json!("name_reserved"), json!("missing_scope")]);
    assert_eq!(batch["results"][2]["status"], "created");
    // The system user itself, and another one, may be called so.
    put(&whole, "ext:shop", json!({ "display_name": "our shop" })).await.ok();
    put(&whole, "ext:shop2", shop).await.expect(201);
}
