//! The schema, step by step. A shipped step never changes: add the next one.

use db::Migration;

/// All steps of the schema.
pub const SCHEMA: &[Migration] = &[
    step(1, 1, "core", include_str!("../schema/0001_core.sql")),
    step(2, 2, "v1", include_str!("../schema/0002_v1.sql")),
    step(3, 2, "nodes", include_str!("../schema/0003_nodes.sql")),
    step(4, 2, "changes", include_str!("../schema/0004_changes.sql")),
    step(5, 2, "webhooks", include_str!("../schema/0005_webhooks.sql")),
    step(6, 2, "reminders", include_str!("../schema/0006_reminders.sql")),
    step(7, 7, "words", include_str!("../schema/0007_words.sql")),
    step(8, 7, "doors", include_str!("../schema/0008_doors.sql")),
    step(9, 7, "history", include_str!("../schema/0009_history.sql")),
    step(10, 7, "erasure", include_str!("../schema/0010_erasure.sql")),
    step(11, 7, "lookup", include_str!("../schema/0011_lookup.sql")),
    step(12, 7, "server", include_str!("../schema/0012_server.sql")),
    step(13, 7, "users", include_str!("../schema/0013_users.sql")),
    step(14, 7, "tokens", include_str!("../schema/0014_tokens.sql")),
    step(15, 7, "system", include_str!("../schema/0015_system.sql")),
    // An older program would change what is unread and leave the time of the oldest.
    step(16, 16, "oldest_unread", include_str!("../schema/0016_oldest_unread.sql")),
    step(17, 16, "sign_in", include_str!("../schema/0017_sign_in.sql")),
    step(18, 16, "spaces", include_str!("../schema/0018_names_without_spaces.sql")),
    // An older program would purge responses and leave the counts.
    step(19, 19, "kept_answers", include_str!("../schema/0019_kept_answers.sql")),
    step(20, 19, "audit_reads", include_str!("../schema/0020_audit_reads.sql")),
    step(21, 19, "moving", include_str!("../schema/0021_moving.sql")),
];

/// A step, and the oldest version of the schema whose programs can run beside it.
const fn step(version: i64, oldest: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration { version, name, sql, oldest }
}
