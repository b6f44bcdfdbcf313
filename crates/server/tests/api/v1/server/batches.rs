//! Many users at once.

use domain::users::{self, Put, UserChange};
use domain::{UserRef, text::ExternalId};
use serde_json::{Value, json};
use testing::Response;

use super::AppServer;
use super::users::audited;
use crate::harness::TestApp;

impl AppServer {
    async fn batch(&self, users: &[Value]) -> Response {
        let body = json!({ "users": users });
        self.request("POST", "/v1/server/users/batch").json(&body).send().await
    }
}

#[tokio::test]
async fn each_user_gets_a_result_in_order_and_a_bad_one_fails_alone() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let bob = app.account("bob").await;
    server.put("ext:gone", &json!({})).await.expect(201);
    server.call("DELETE", "/v1/server/users/ext:gone").await.expect(202);
    let said = [
        json!({ "ref": "ext:1", "username": "ann", "display_name": " Ann " }),
        json!({ "ref": "ext:2", "username": "BOB" }),
        json!({ "ref": bob.get(), "display_name": "Bob B." }),
        json!({ "ref": "name:bob", "display_name": "Bob B." }),
        json!({ "ref": "ext:gone" }),
        json!({ "ref": "ext:3", "email": "nowhere", "colour": 7 }),
        json!({ "ref": "ext:4", "version": 5 }),
        json!({ "ref": "ext:4", "version": 4, "display_name": "old" }),
        json!({ "username": "nameless" }),
        json!({ "ref": "ext:" }),
        json!({ "ref": 4_000_000 }),
        json!({ "ref": "7" }),
        json!({ "ref": "ext:5", "username": "me" }),
        json!(7),
        json!(["ext:6"]),
        json!({ "ref": ["ext:6"] }),
    ];
    let results = server.batch(&said).await.ok()["results"].clone();
    let results = results.as_array().expect("it is a list");
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let errors = result["errors"].as_array().into_iter().flatten();
            let errors = errors.map(|error| {
                let part = |name: &str| error[name].as_str().expect("it is text").to_owned();
                format!(" {} {}", part("pointer"), part("code"))
            });
            let status = result["status"].as_str().expect("it is text");
            format!("{status}{}", errors.collect::<String>())
        })
        .collect();
    assert_eq!(
        told,
        [
            "created",
            "failed #/username taken",
            "updated",
            "unchanged",
            "failed #/ref user_erased",
            "failed #/email invalid #/colour unknown_field",
            "created",
            "stale",
            "failed #/ref missing",
            "failed #/ref invalid",
            "failed #/ref not_found",
            "failed #/ref not_found",
            "failed #/username invalid",
            "failed # wrong_type",
            "failed # wrong_type",
            "failed #/ref wrong_type",
        ]
    );
    for (result, said) in results.iter().zip(&said) {
        assert_eq!(result["ref"], said.get("ref").cloned().unwrap_or_default());
        assert_eq!(result.get("user").is_none(), result["status"] == "failed");
    }
    assert_eq!(results[0]["changed"], json!(["display_name"]));
    assert_eq!(results[0]["user"], {
        let id = &results[0]["user"]["id"];
        json!({ "id": id, "username": "ann", "display_name": "Ann", "external_id": "1",
                "kind": "person" })
    });
    let batch = "POST /v1/server/users/batch";
    let audited = audited(&app).await.into_iter().filter(|(call, _)| call == batch).count();
    assert_eq!(audited, 3, "those that were created or updated");
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_users() {
    let app = TestApp::start().await;
    let server = app.server_key(&["users"]).await;
    let user = |number: usize| json!({ "ref": format!("ext:{number}"), "version": number });
    let many: Vec<_> = (0..1001).map(user).collect();
    assert_eq!(server.batch(&many).await.invalid(), ["#/users invalid"]);
    assert_eq!(server.batch(&[]).await.invalid(), ["#/users invalid"]);
    let statuses = async |users: &[Value]| {
        let answer = server.batch(users).await.ok();
        let results = answer["results"].as_array().expect("it is a list").clone();
        results.iter().map(|result| result["status"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&many[..1000]).await, vec!["created"; 1000]);
    assert_eq!(statuses(&many[1..]).await, [vec!["unchanged"; 999], vec!["created"]].concat());
    let list = server.call("GET", "/v1/server/users?limit=1000").await.ok();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1000));
    assert!(list["next_cursor"].is_string());
    let narrow = app.server_key(&["tokens"]).await;
    narrow.batch(&many[..1]).await.problem(403, "missing_scope");
}

#[tokio::test]
async fn a_hundred_users_take_as_many_statements_as_one() {
    let app = TestApp::start().await;
    for (named, changed) in [(false, false), (true, false), (true, true)] {
        let mut counts = Vec::new();
        for size in [2, 100] {
            let puts = (0..size).map(|number| {
                let id = ExternalId::parse(&format!("{named} {size} {number}")).expect("an id");
                let name = domain::text::Username::parse(&format!("n{size}.{number}.{changed}"));
                let shown = domain::text::DisplayName::parse("Dana Deer").ok();
                let change = UserChange {
                    username: named.then(|| name.ok()),
                    display_name: Some(shown),
                    ..UserChange::default()
                };
                Put { user: UserRef::External(id), change }
            });
            let (puts, cx): (Vec<_>, _) = (puts.collect(), app.clock().cx());
            let statements = app.write(move |tx| {
                let done = users::put_all(tx, &cx, &puts)?;
                assert!(done.iter().all(Result::is_ok), "{done:?}");
                Ok(tx.statements())
            });
            counts.push(statements.await);
        }
        assert_eq!(counts[0], counts[1], "named: {named}, changed: {changed}");
        assert!(counts[1] <= if changed { 200 } else { 10 }, "{counts:?}");
    }
}
