//! What changed since a state, and the states themselves.

use serde_json::{Value, json};
use testing::Response;

use super::text;
use super::verbs::ids;
use crate::harness::TestApp;
use crate::user::{User, number};

const NOTHING: [Vec<i64>; 3] = [vec![], vec![], vec![]];

impl User {
    /// Asks what changed since a state.
    pub(super) async fn try_changes(&self, query: &str) -> Response {
        self.call("GET", &format!("/v1/changes?{query}")).await
    }

    /// What changed since a state: came, changed, went.
    pub(super) async fn changes(&self, since: &str) -> [Vec<i64>; 3] {
        let changes = self.try_changes(&format!("since={since}")).await.ok();
        assert_eq!((&changes["old_state"], &changes["has_more"]), (&since.into(), &false.into()));
        assert_eq!(changes["new_state"], self.state().await);
        lists(&changes)
    }

    /// The state of the mailbox, which all say alike.
    pub(super) async fn state(&self) -> String {
        let state = text(&self.page("").await["state"]);
        assert_eq!(self.call("GET", "/v1/unread").await.ok()["state"], state);
        assert_eq!(self.call("GET", "/v1/conversations").await.ok()["state"], state);
        state
    }
}

fn lists(changes: &Value) -> [Vec<i64>; 3] {
    ["created", "updated", "destroyed"]
        .map(|list| changes[list].as_array().expect("it is a list").iter().map(number).collect())
}

#[tokio::test]
async fn what_came_changed_and_went_since_a_state_is_told() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let old = ann.write_to(&[&bob], "old").await;
    let going = ann.write_to(&[&bob], "going").await;
    let state = bob.state().await;
    assert_eq!(bob.changes(&state).await, NOTHING);

    let new = ann.write_to(&[&bob], "new").await;
    assert_eq!(bob.changes(&state).await, [vec![new], vec![], vec![]]);
    bob.mark(old, json!({ "starred": true })).await;
    bob.mark(new, json!({ "read": true })).await;
    bob.destroy(going).await;
    let brief = ann.write_to(&[&bob], "came and went").await;
    ann.unsend(brief).await.ok();
    assert_eq!(bob.changes(&state).await, [vec![new], vec![old], vec![going]]);
    assert_eq!(bob.changes("0").await, [vec![old, new], vec![], vec![]], "from the beginning");
    let eve = app.user("eve").await;
    assert_eq!(eve.changes("0").await, NOTHING, "nobody else's");
}

#[tokio::test]
async fn a_page_ends_where_the_next_begins() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let sent = app.send_many(&ann, &bob, 230).await;
    let (mut since, mut came) = ("0".to_owned(), vec![]);
    let mut sizes = vec![];
    loop {
        let page = bob.try_changes(&format!("since={since}&limit=1000")).await.ok();
        assert_eq!(page["old_state"], since);
        let [created, updated, destroyed] = lists(&page);
        assert!(updated.is_empty() && destroyed.is_empty());
        sizes.push(created.len());
        came.extend(created);
        since = text(&page["new_state"]);
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(sizes, [100, 100, 30], "more than 100 are 100");
    assert_eq!((came, since), (sent, bob.state().await));
}

#[tokio::test]
async fn a_state_that_is_none_is_refused_and_one_that_is_not_known_is_gone() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    ann.write_to(&[&bob], "hi").await;
    for state in ["2", "17", "999999999999999999"] {
        bob.try_changes(&format!("since={state}")).await.problem(410, "cannot_calculate_changes");
    }
    for state in ["", "-1", "+1", "x", "1.0", "1000000000000000000", "%201"] {
        let refused = bob.try_changes(&format!("since={state}")).await;
        assert_eq!(refused.invalid(), ["since invalid"], "{state}");
    }
    assert_eq!(bob.try_changes("").await.invalid(), ["since missing"]);
    let refused = bob.try_changes("since=0&limit=0&until=1").await;
    assert_eq!(refused.invalid(), ["limit invalid", "until unknown_field"]);
}

#[tokio::test]
async fn a_list_that_the_client_has_is_not_sent_again() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let ids_of = async |path: &str| ids(&bob.call("GET", path).await.ok()["data"]);
    for number in 0..3 {
        ann.write_to(&[&bob], &format!("number {number}")).await;
    }
    for path in ["/v1/messages", "/v1/messages?folder=sent", "/v1/conversations?limit=2"] {
        let list = bob.call("GET", path).await;
        let tag = list.header("etag").expect("a first page has a tag").to_owned();
        assert!(tag.starts_with(&format!("\"{}-", text(&list.ok()["state"]))), "{path}: {tag}");
        let again = async || bob.request("GET", path).header("if-none-match", &tag).send().await;
        let unchanged = again().await;
        unchanged.expect(304);
        assert_eq!(unchanged.header("etag"), Some(&*tag), "{path}");
        bob.mark(ids_of("/v1/messages").await[0], json!({ "starred": path.len() % 2 == 0 })).await;
        ann.write_to(&[&bob], "another").await;
        let changed = again().await;
        changed.ok();
        assert_ne!(changed.header("etag"), Some(&*tag), "{path}");
    }
    // A further page has no state.
    let first = bob.page("limit=1").await;
    let further = format!("/v1/messages?limit=1&cursor={}", text(&first["next_cursor"]));
    let further = bob.request("GET", &further).header("if-none-match", "*").send().await;
    assert_eq!((further.header("etag"), ids(&further.ok()["data"]).len()), (None, 1));
}

#[tokio::test]
async fn another_name_changes_the_tag_of_a_list_and_not_its_state() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let (cat, eve) = app.pair("cat", "eve").await;
    let id = ann.write_to(&[&bob, &cat], "hi").await;
    let paths = [
        "/v1/messages",
        "/v1/messages?folder=all&q=hi&limit=1",
        "/v1/messages?with=1",
        "/v1/conversations",
    ];
    let single = format!("/v1/messages/{id}");
    let mut known = Vec::new();
    for path in paths.into_iter().chain([single.as_str()]) {
        let tag = bob.call("GET", path).await;
        known.push((path, tag.header("etag").expect("it has a tag").to_owned()));
    }
    let state = async || text(&bob.call("GET", "/v1/unread").await.ok()["state"]);
    let before = state().await;
    let ask = async |path: &str, tag: &str| {
        bob.request("GET", path).header("if-none-match", tag).send().await
    };
    let first = known.clone();
    let show = |name: Value| json!({ "display_name": name });
    eve.set(show("Eve E.".into())).await;
    for (path, tag) in &known {
        ask(path, tag).await.expect(304);
    }
    for change in ["Ann A.", "Cat C.", "erased"] {
        match change {
            "Ann A." => ann.set(show(change.into())).await,
            "Cat C." => cat.set(show(change.into())).await,
            _ => drop(ann.call("DELETE", "/v1/users/me").await.expect(204)),
        }
        for (path, tag) in &mut known {
            let changed = ask(path, tag).await;
            let shown = changed.ok().to_string();
            let name = if change == "erased" { "deleted user" } else { change };
            assert!(shown.contains(name), "{path}: {shown}");
            *tag = changed.header("etag").expect("it has a tag").to_owned();
            ask(path, tag).await.expect(304);
        }
    }
    assert_eq!(state().await, before, "nothing happened in the mailbox");

    // To change something, the state alone counts.
    let (_, tag) = &first[4];
    let mark = bob.request("PATCH", &single).header("if-match", tag);
    mark.json(&json!({ "read": true })).send().await.ok();
    let mark = bob.request("PATCH", &single).header("if-match", tag);
    mark.json(&json!({ "read": true })).send().await.problem(412, "precondition_failed");
}
