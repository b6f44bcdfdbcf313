//! Clients that turn pages while things move, and are complete in the end by the way that
//! docs/api.md describes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::text;
use crate::harness::TestApp;
use crate::user::{User, number};

/// What a client has loaded, by id, and the state of the first page.
struct Copy {
    items: BTreeMap<i64, Value>,
    /// How often each was on a page.
    shown: BTreeMap<i64, usize>,
    state: String,
}

impl Copy {
    /// Turns the pages of a list, with something happening after each of them.
    async fn load(user: &User, list: &str, mut then: impl AsyncFnMut(usize)) -> Self {
        let mut copy =
            Self { items: BTreeMap::new(), shown: BTreeMap::new(), state: String::new() };
        let mut path = list.to_owned();
        for turned in 1.. {
            let page = user.call("GET", &path).await.ok();
            for item in page["data"].as_array().expect("it is a list") {
                *copy.shown.entry(number(&item["id"])).or_default() += 1;
                copy.items.insert(number(&item["id"]), item.clone());
            }
            if turned == 1 {
                copy.state = text(&page["state"]);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("{list}&cursor={cursor}");
            then(turned).await;
        }
        copy
    }

    /// The messages that were created, updated and destroyed since the first page.
    async fn changes(&self, user: &User) -> [Vec<i64>; 3] {
        let mut all = [vec![], vec![], vec![]];
        let mut since = self.state.clone();
        loop {
            let page = user.try_changes(&format!("since={since}&limit=3")).await.ok();
            for (list, of_page) in all.iter_mut().zip(["created", "updated", "destroyed"]) {
                list.extend(page[of_page].as_array().expect("it is a list").iter().map(number));
            }
            since = text(&page["new_state"]);
            if page["has_more"] == false {
                return all;
            }
        }
    }

    /// Loads a conversation again, or learns that it is not in the list any more.
    async fn reload(&mut self, user: &User, id: i64) {
        let answer = user.call("GET", &format!("/v1/conversations/{id}")).await;
        self.items.remove(&id);
        if answer.status == 200 && !answer.json()["last_message"].is_null() {
            self.items.insert(id, answer.json());
        }
    }

    /// The items, by their newest message.
    fn conversations(self) -> Vec<Value> {
        let mut all: Vec<_> = self.items.into_values().collect();
        all.sort_by_key(|item| -number(&item["last_message"]["id"]));
        all
    }
}

#[tokio::test]
async fn conversations_that_move_while_pages_are_turned_are_all_there_in_the_end() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let mut long = Vec::new();
    for _ in 0..15 {
        let first = ann.write_to(&[&bob], "first").await;
        ann.reply(first, "second").await;
        ann.reply(first, "third").await;
        long.push(first);
    }
    // Three on a page, the newest first.
    long.reverse();
    let (mut passing, mut thrown_away) = (0, 0);
    let mut copy = Copy::load(&bob, "/v1/conversations?limit=3", async |turned| match turned {
        1 => {
            ann.reply(long[5], "moves it from the second page above the first").await;
            bob.mark(long[0] + 2, json!({ "trashed": true })).await;
            bob.destroy(long[1] + 2).await;
            // It is above the cursor while its page is read, and comes down afterwards.
            passing = ann.reply(long[4], "comes, and goes").await;
        }
        2 => {
            ann.unsend(passing).await.ok();
            thrown_away = ann.reply(long[9], "comes, and is thrown away").await;
            ann.unsend(long[2] + 1).await.ok();
            ann.write_to(&[&bob], "a new one").await;
            let path = format!("/v1/conversations/{}", long[3]);
            bob.call("DELETE", &path).await.expect(204);
            // What was the newest of the first page comes down to the last one.
            for message in [long[1], long[1] + 1] {
                bob.destroy(message).await;
            }
            let old = ann.reply(long[11], "takes it out of the last page").await;
            bob.mark(old, json!({ "read": true })).await;
        }
        _ => {
            bob.mark(thrown_away, json!({ "trashed": true })).await;
            bob.destroy(thrown_away).await;
            // One that was counted is read and goes, and it is not the newest.
            bob.mark(long[7], json!({ "read": true })).await;
            bob.destroy(long[7]).await;
            for message in [long[6], long[6] + 1, long[6] + 2] {
                bob.destroy(message).await;
            }
        }
    })
    .await;
    for missing in [long[4], long[5], long[9], long[11]] {
        assert!(!copy.shown.contains_key(&missing), "it moved: {missing}");
    }

    let [created, updated, destroyed] = copy.changes(&bob).await;
    for message in created.into_iter().chain(updated) {
        let found = bob.try_show(message).await;
        if found.status == 200 {
            copy.reload(&bob, number(&found.json()["conversation_id"])).await;
        }
    }
    for message in destroyed {
        let of = |item: &&Value| item["last_message"]["id"] == message;
        if let Some(id) = copy.items.values().find(of).map(|item| number(&item["id"])) {
            copy.reload(&bob, id).await;
        }
    }
    let listed = bob.call("GET", "/v1/conversations?limit=100").await.ok();
    assert_eq!(json!(copy.conversations()), listed["data"]);
}

#[tokio::test]
async fn a_conversation_that_comes_down_is_on_a_second_page() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let first = ann.write_to(&[&bob], "first").await;
    ann.write_to(&[&bob], "between").await;
    let newest = ann.reply(first, "second").await;
    let copy = Copy::load(&bob, "/v1/conversations?limit=1", async |turned| {
        if turned == 1 {
            bob.mark(newest, json!({ "trashed": true })).await;
        }
    })
    .await;
    assert_eq!(copy.shown[&first], 2, "as the document says");
    assert_eq!(copy.items[&first]["last_message"]["id"], first, "the later page is right");
}

/// Whether a list has a message.
type Fits = fn(&Value) -> bool;

#[tokio::test]
async fn messages_that_enter_a_list_while_pages_are_turned_are_all_there_in_the_end() {
    let app = TestApp::with(&[("rate_limits", "off")]).await;
    let (ann, bob) = app.pair("ann", "bob").await;
    let unread = |item: &Value| item["read_at"].is_null() && item["trashed_at"].is_null();
    let starred = |item: &Value| !item["starred_at"].is_null() && item["trashed_at"].is_null();
    let inbox = |item: &Value| item["archived_at"].is_null() && item["trashed_at"].is_null();
    let archive = |item: &Value| !item["archived_at"].is_null() && item["trashed_at"].is_null();
    let trash = |item: &Value| !item["trashed_at"].is_null();
    let lists: [(&str, Fits, [Value; 2]); 6] = [
        ("unread=true", unread, [json!({ "read": false }), json!({ "read": true })]),
        ("starred=true", starred, [json!({ "starred": true }), json!({ "starred": false })]),
        ("folder=inbox", inbox, [json!({ "archived": false }), json!({ "archived": true })]),
        ("folder=archive", archive, [json!({ "archived": true }), json!({ "archived": false })]),
        ("folder=trash", trash, [json!({ "trashed": true }), json!({ "trashed": false })]),
        ("q=many", inbox, [json!({ "trashed": false }), json!({ "trashed": true })]),
    ];
    for (query, fits, [enter, leave]) in lists {
        // By turns in the list and not.
        let mut all = app.send_many(&ann, &bob, 20).await;
        all.reverse();
        for (at, id) in all.iter().enumerate() {
            bob.mark(*id, if at % 2 == 0 { enter.clone() } else { leave.clone() }).await;
        }
        let path = format!("/v1/messages?{query}&limit=3");
        let mut copy = Copy::load(&bob, &path, async |turned| {
            if turned == 1 {
                // One that was shown leaves, one above the cursor enters; the same below it.
                for (at, marks) in [(0, &leave), (1, &enter), (14, &leave), (15, &enter)] {
                    bob.mark(all[at], marks.clone()).await;
                }
                bob.destroy(all[2]).await;
                bob.destroy(all[12]).await;
                bob.mark(all[10], leave.clone()).await;
                bob.mark(all[10], enter.clone()).await;
            }
        })
        .await;
        assert!(copy.shown.values().all(|times| *times == 1), "{query}: none is there twice");
        let stayed = (0..20).step_by(2).filter(|at| ![0, 2, 10, 12, 14].contains(at));
        for at in stayed {
            assert!(copy.shown.contains_key(&all[at]), "{query}: what was there all the time");
        }
        assert!(!copy.shown.contains_key(&all[1]), "{query}: it entered above");

        let [created, updated, destroyed] = copy.changes(&bob).await;
        for id in created.into_iter().chain(updated) {
            copy.items.remove(&id);
            let found = bob.try_show(id).await;
            if found.status == 200 && fits(&found.json()) {
                copy.items.insert(id, found.json());
            }
        }
        for id in destroyed {
            copy.items.remove(&id);
        }
        let ours = bob.list(&format!("{query}&limit=100")).await;
        assert_eq!(copy.items.into_keys().rev().collect::<Vec<_>>(), ours, "{query}");
        let rest = json!({ "ids": all, "delete": true });
        bob.post("/v1/messages/batch", &rest).await.ok();
    }
}

#[tokio::test]
async fn who_is_blocked_all_the_time_is_on_one_page() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut users = Vec::new();
    for at in 0..8 {
        users.push(app.account(&format!("user{at}")).await.get());
    }
    let put = async |at: usize, method: &str| {
        ann.call(method, &format!("/v1/blocks/{}", users[at])).await.expect(204);
    };
    for at in [0, 1, 3, 4, 5, 6] {
        put(at, "PUT").await;
    }
    let first = ann.call("GET", "/v1/blocks?limit=2").await.ok();
    for (at, method) in [(7, "PUT"), (2, "PUT"), (6, "DELETE"), (3, "DELETE"), (1, "PUT")] {
        put(at, method).await;
    }
    let blocked = |page: &Value| {
        let users = page["data"].as_array().expect("it is a list").iter();
        users.map(|block| number(&block["user"]["id"])).collect::<Vec<_>>()
    };
    let cursor = text(&first["next_cursor"]);
    let rest = ann.call("GET", &format!("/v1/blocks?limit=9&cursor={cursor}")).await.ok();
    assert_eq!(blocked(&first), [users[6], users[5]]);
    assert_eq!(blocked(&rest), [users[4], users[2], users[1], users[0]]);
}
