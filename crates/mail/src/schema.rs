//! The schema, step by step. A shipped step never changes: add the next one.

use db::Migration;

/// All steps of the schema.
pub const SCHEMA: &[Migration] = &[
    Migration { version: 1, name: "core", sql: include_str!("../schema/0001_core.sql"), oldest: 1 },
    Migration { version: 2, name: "v1", sql: include_str!("../schema/0002_v1.sql"), oldest: 2 },
    Migration {
        version: 3,
        name: "nodes",
        sql: include_str!("../schema/0003_nodes.sql"),
        oldest: 2,
    },
    Migration {
        version: 4,
        name: "changes",
        sql: include_str!("../schema/0004_changes.sql"),
        oldest: 2,
    },
    Migration {
        version: 5,
        name: "webhooks",
        sql: include_str!("../schema/0005_webhooks.sql"),
        oldest: 2,
    },
    Migration {
        version: 6,
        name: "reminders",
        sql: include_str!("../schema/0006_reminders.sql"),
        oldest: 2,
    },
];
