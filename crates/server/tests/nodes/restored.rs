//! The database was put back by PostgreSQL's own means: to an earlier moment, by a base backup.

use serde_json::{Value, json};
use testing::{PASSWORD, Response, User};

use crate::nodes::{Nodes, cluster, place, url};

fn changes(user: &mut User, since: i64) -> Response {
    user.v1("GET", &format!("/changes?since={since}"), "", &Value::Null)
}

#[test]
fn nodes_over_a_base_backup_that_was_restored_give_nothing_out_again() {
    let Some(primary) = cluster() else { return };
    let nodes = Nodes::start(2, &url(&[primary.port()]));
    let (mut ann, mut bob) = (nodes.user(0, "ann"), nodes.user(1, "bob"));
    let old = bob.send_message(ann.id, "before the backup", "");
    // Made by pg_basebackup; it has no more of the log than it needs.
    let backup = primary.standby("backup");
    backup.stop();
    let lost = bob.send_message(ann.id, "after the backup", "");
    let (carl, state) = (nodes.user(0, "carl"), ann.state());
    assert_eq!(changes(&mut ann, state).status, 200);
    (0..2).for_each(|node| drop(nodes.stop(node)));
    primary.kill();
    backup.start_again();
    backup.promote();

    let url = url(&[backup.port()]);
    let operator = place(&url);
    for _ in 0..2 {
        let said = operator.run(&["restored"]).ok();
        assert!(said.contains(" has begun a new history.\n"), "{said}");
    }
    let nodes = Nodes::start(2, &url);
    let error = operator.run(&["restored"]).failed(1);
    assert!(error.contains("a server is using postgres://"), "{error}");
    for (node, user) in [&mut ann, &mut bob].into_iter().enumerate() {
        user.connect_to(nodes.address(node));
        assert!(!user.is_logged_in(), "the session of {} has come back", user.name);
        user.login(PASSWORD);
    }
    assert_eq!(ann.inbox(), [old], "what came after the backup is lost");
    let again = bob.send_message(ann.id, "another", "");
    let eve = nodes.user(1, "eve");
    assert!(again > lost + 1_000_000 && eve.id > carl.id + 1_000_000, "{again} {}", eve.id);
    let known = changes(&mut ann, state);
    assert_eq!(known.json()["code"], "cannot_calculate_changes", "{}", known.text());
    let reply = ann.v1("POST", "/messages", "", &json!({ "in_reply_to": lost, "body": "" }));
    assert!(reply.status >= 400, "it is no answer to another message: {}", reply.text());
    nodes.are_well();
}
