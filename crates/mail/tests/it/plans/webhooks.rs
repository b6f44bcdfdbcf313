//! The statements of webhooks. Those who write events need none that has a plan.

use super::{ITS_PLANS, Plan};
use crate::support::World;

pub(super) fn background(world: &World) -> Vec<Plan> {
    let endpoints = plans![
        world,
        "SELECT id, url, kinds, created_at, secret_version, rotated_at, disabled_at, disabled_why
         FROM webhooks ORDER BY id",
        "SELECT id, url, kinds, created_at, secret_version, rotated_at, disabled_at, disabled_why
         FROM webhooks WHERE id = ?1",
        "DELETE FROM webhooks WHERE id = ?1",
        "UPDATE webhooks SET disabled_why = coalesce(disabled_why, ?3),
         disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1",
        "UPDATE webhooks SET disabled_at = NULL, disabled_why = NULL WHERE id = ?1",
        "UPDATE webhooks SET secret_version = secret_version + 1, rotated_at = ?2 WHERE id = ?1",
    ];
    endpoints.into_iter().chain(events(world)).collect()
}

fn events(world: &World) -> Vec<Plan> {
    Vec::from(plans![
        world,
        "SELECT id FROM webhook_events WHERE waits = 1 ORDER BY id LIMIT 1",
        "SELECT id, kind FROM webhook_events WHERE waits = 1 ORDER BY id LIMIT ?1",
        "UPDATE webhook_events SET waits = 0 WHERE id = ?1",
        "SELECT id, kind, happened_at, user_id, message_id, conversation_id, sender_id, receivers,
         client_id, attempts
         FROM webhook_deliveries JOIN webhook_events ON id = event_id
         WHERE webhook_id = ?1 AND due_at <= ?2 ORDER BY due_at, event_id LIMIT ?3",
        "UPDATE webhook_deliveries SET attempts = attempts + 1, due_at = ?3, tried_at = ?4,
         delivered_at = ?5, outcome = ?6 WHERE event_id = ?1 AND webhook_id = ?2",
        "SELECT id, happened_at FROM webhook_events ORDER BY id LIMIT ?1",
        "DELETE FROM webhook_deliveries WHERE event_id = ?1",
        "DELETE FROM webhook_events WHERE id = ?1",
        "SELECT id, kind, happened_at, user_id, message_id, conversation_id, sender_id, receivers,
         client_id, webhook_id, attempts, due_at, delivered_at, outcome
         FROM webhook_deliveries JOIN webhook_events ON id = event_id
         WHERE (?1 = 0 OR webhook_id = ?1)
         AND (?2 = 0 OR (due_at IS NULL AND delivered_at IS NULL))
         ORDER BY event_id DESC, webhook_id LIMIT ?3",
        "SELECT id, kind FROM webhook_events WHERE id = ?1",
        "SELECT id, kind FROM webhook_events WHERE id > ?1 AND happened_at >= ?2
         ORDER BY id LIMIT ?3",
        "SELECT id, kind FROM webhook_events JOIN webhook_deliveries ON event_id = id
         WHERE id > ?1 AND happened_at >= ?2 AND webhook_id = ?3
         AND due_at IS NULL AND delivered_at IS NULL ORDER BY id LIMIT ?4",
    ])
}

#[test]
fn whoever_tells_webhooks_reads_no_more_than_is_due() {
    if testing::is_about_sqlite(ITS_PLANS) {
        return;
    }
    let steps: Vec<_> =
        events(&World::new()).into_iter().take(8).flat_map(|plan| plan.steps).collect();
    assert_eq!(
        steps,
        [
            "SCAN webhook_events USING COVERING INDEX webhook_events_waiting",
            "SCAN webhook_events USING INDEX webhook_events_waiting",
            "SEARCH webhook_events USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH webhook_deliveries USING INDEX webhook_deliveries_due \
             (webhook_id=? AND due_at<?)",
            "SEARCH webhook_events USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH webhook_deliveries USING PRIMARY KEY (event_id=? AND webhook_id=?)",
            // In the order of the key, from its beginning.
            "SCAN webhook_events",
            "SEARCH webhook_deliveries USING PRIMARY KEY (event_id=?)",
            "SEARCH webhook_events USING INTEGER PRIMARY KEY (rowid=?)",
        ]
    );
}
