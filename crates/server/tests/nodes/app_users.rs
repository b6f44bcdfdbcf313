//! The users of an app, whose servers call any node.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{Client, Failure, Response};

use crate::nodes::{Nodes, cluster, url};
use crate::support::until;

/// How long what has ended at one node may be believed at another.
const BELIEVED: Duration = Duration::from_secs(5);

fn call(nodes: &Nodes, node: usize, key: &str, request: (&str, &str), body: &Value) -> Response {
    let client = Client::new(nodes.address(node));
    let (method, path) = request;
    client.request(method, path).bearer(key).json(body).wait().expect("an answer")
}

#[test]
fn of_puts_of_a_new_id_at_all_nodes_at_once_one_creates_and_batches_do_not_hinder_each_other() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let key = nodes.places[0].run(&["key", "add", "shop", "--scopes", "users"]).ok();
    let key = key.trim_end();
    let at_all_nodes = |request: (&str, &str), body: &(dyn Fn(usize) -> Value + Sync)| {
        thread::scope(|scope| {
            let nodes = &nodes;
            let mut calls = Vec::new();
            for at in 0..6 {
                calls.push(scope.spawn(move || call(nodes, at % 3, key, request, &body(at))));
            }
            calls.into_iter().map(|call| call.join().expect("it is answered")).collect::<Vec<_>>()
        })
    };
    for round in 0..10 {
        let path = format!("/v1/server/users/ext:{round}");
        let answers = at_all_nodes(("PUT", &path), &|_| json!({ "display_name": "Dana" }));
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 201]);
        let ids = answers.iter().map(|answer| answer.expect(answer.status)["id"].as_i64());
        assert_eq!(ids.collect::<BTreeSet<_>>().len(), 1);
    }
    // The same users in another order, and usernames that two of them want.
    let batch = |at: usize| {
        let users = (0..300).map(|number| {
            let number = if at.is_multiple_of(2) { number } else { 299 - number };
            let name = format!("name{}", number / 2);
            json!({ "ref": format!("ext:batch.{number}"), "username": name })
        });
        json!({ "users": users.collect::<Vec<_>>() })
    };
    let answers = at_all_nodes(("POST", "/v1/server/users/batch"), &batch);
    let mut created = 0;
    for answer in answers {
        let results = answer.ok()["results"].clone();
        for result in results.as_array().expect("it is a list") {
            created += usize::from(result["status"] == "created");
            let taken = result["errors"].pointer("/0/code") == Some(&json!("taken"));
            assert_eq!(result["status"] == "failed", taken, "{result}");
        }
    }
    assert_eq!(created, 150, "each name is somebody's");
    nodes.are_well();
}

#[test]
fn who_is_deactivated_or_linked_at_one_node_is_out_at_all() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let key = nodes.places[0].run(&["key", "add", "shop", "--scopes", "users"]).ok();
    let key = key.trim_end();
    let off = ("PUT", "/v1/server/users/ann", json!({ "active": false }));
    let link = ("POST", "/v1/server/users/bob/link", json!({ "external_id": "2" }));
    for (name, (method, path, body)) in [("ann", off), ("bob", link)] {
        let user = nodes.user(0, name);
        let twins: Vec<_> = (0..3).map(|node| user.twin(nodes.address(node))).collect();
        let statuses = || {
            let me = twins
                .iter()
                .map(|twin| twin.request("GET", "/v1/users/me").wait().expect("an answer").status);
            me.collect::<Vec<_>>()
        };
        assert_eq!(statuses(), [200; 3]);
        let streams = twins.iter().map(|twin| {
            let stream = twin.request("GET", "/v1/events").wait_for_events();
            stream.expect("it opens")
        });
        let streams: Vec<_> = streams.collect();
        call(&nodes, 1, key, (method, path), &body).ok();
        until(BELIEVED, "nobody lets them in", || statuses() == [401; 3]);
        for mut stream in streams {
            stream.set_timeout(BELIEVED);
            let end = loop {
                if let Err(end) = stream.wait() {
                    break end;
                }
            };
            assert!(matches!(end, Failure::Closed), "{end:?}");
        }
    }
    nodes.are_well();
}
