//! A server whose clock is far from what its database knows.

use std::time::Duration;

use serde_json::json;

use crate::support::{Place, until};

/// Within this, a job has run that runs every minute.
const REACH: Duration = Duration::from_mins(3);

/// What makes a server that starts now one whose clock is 400 days ahead.
const THEN: [&str; 3] = [
    "UPDATE leases SET until = until - 400 * 86400000000",
    "UPDATE trash SET trashed_at = trashed_at - 400 * 86400000000",
    "UPDATE entries SET trashed_at = trashed_at - 400 * 86400000000 WHERE trashed_at > 0",
];

#[test]
fn nothing_is_purged_by_a_clock_far_ahead_until_the_operator_believes_it() {
    let place = Place::new();
    let server = place.serve();
    let mut ann = server.user("ann");
    let id = ann.send_message(ann.id, "in the trash", "of ann");
    let path = format!("/v1/messages/{id}");
    ann.call("PATCH", &path, &json!({ "trashed": true })).expect("it answers").ok();
    let believed = || place.run(&["clock"]).ok().contains("\nthe clock is believed\n");
    until(REACH, "the time is noted", believed);
    server.stop();
    place.change(&THEN);

    let server = place.serve();
    ann.connect_to(server.address);
    let refused = "nothing is purged. If the clock is right, run `postroom clock accept`";
    until(REACH, "the clock is not believed", || server.log().contains(refused));
    let said = place.run(&["clock"]).ok();
    assert!(said.contains("the clock is 400 days ahead: nothing is purged until"), "{said}");
    assert!(!believed());
    until(REACH, "the job ran", || server.figure("postroom_task_runs_total", "task=\"jobs\"") > 0);
    assert_eq!(ann.call("GET", &path, &json!({})).expect("it answers").status, 200);

    let said = place.run(&["clock", "accept"]).ok();
    assert!(said.ends_with("Z: what is over by then is purged.\n"), "{said}");
    assert!(believed());
    // It looks every minute, and at its start.
    server.stop();
    let server = place.serve();
    ann.connect_to(server.address);
    until(REACH, "the trash is emptied", || {
        ann.call("GET", &path, &json!({})).expect("it answers").status == 404
    });
    server.is_unharmed();
}
