//! The statements of accounts: who they are, what lets them in, and what limits them.

use super::Plan;
use crate::support::World;

pub(super) fn hot(world: &World) -> Vec<Plan> {
    users(world).into_iter().chain(keys(world)).chain(limits(world)).collect()
}

fn users(world: &World) -> Vec<Plan> {
    Vec::from(plans![
        world,
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE name_folded = ?1 AND erased_at IS NULL",
        "SELECT id, password_hash FROM users WHERE name_folded = ?1 AND disabled_at IS NULL",
        "SELECT id, password_hash FROM users WHERE id = ?1 AND disabled_at IS NULL",
        "SELECT 1 FROM users WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        "SELECT 1 FROM users WHERE id = ?1 AND disabled_at IS NULL",
        "SELECT 1 FROM users WHERE id = ?1 AND erased_at IS NULL",
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE id > ?1 AND erased_at IS NULL ORDER BY id LIMIT ?2",
        "UPDATE users SET password_hash = ?2 WHERE id = ?1 AND erased_at IS NULL",
        "UPDATE users SET password_hash = ?3
         WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        "UPDATE users SET disabled_at = coalesce(disabled_at, ?2)
         WHERE id = ?1 AND erased_at IS NULL",
        "UPDATE mailboxes SET closed_at = coalesce(closed_at, ?2) WHERE owner_id = ?1",
        "UPDATE users SET disabled_at = NULL WHERE id = ?1 AND erased_at IS NULL",
        "UPDATE mailboxes SET closed_at = NULL WHERE owner_id = ?1",
        "SELECT id, name, display_name FROM users WHERE id = ?1",
        "SELECT id, name, display_name FROM users WHERE id = ?1
         UNION ALL SELECT id, name, display_name FROM users WHERE id = ?2",
        "SELECT id, name, display_name FROM users
         WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
        "SELECT id, name, display_name, name_folded FROM users
         WHERE name_folded >= ?1 AND name_folded < ?2 AND disabled_at IS NULL
         ORDER BY name_folded LIMIT ?3",
        "SELECT id, name, display_name, display_folded FROM users
         WHERE display_folded >= ?1 AND display_folded < ?2 AND display_folded <> ''
         AND disabled_at IS NULL ORDER BY display_folded LIMIT ?3",
        "SELECT id, name, display_name, email, accept_from, created_at, reminders_off_at
         FROM users JOIN mailboxes ON mailboxes.owner_id = users.id
         WHERE users.id = ?1 AND erased_at IS NULL",
        "UPDATE users SET display_name = ?2, display_folded = ?3
         WHERE id = ?1 AND disabled_at IS NULL",
        "UPDATE users SET email = ?2 WHERE id = ?1 AND disabled_at IS NULL",
        "UPDATE mailboxes SET accept_from = ?2 WHERE owner_id = ?1",
        "UPDATE users SET name = '', name_folded = ?2, display_name = '', display_folded = '',
         email = '', password_hash = '', reminders_off_at = NULL, disabled_at = ?3, erased_at = ?3
         WHERE id = ?1 AND erased_at IS NULL",
        "DELETE FROM blocks WHERE owner_id = ?1",
        "DELETE FROM contacts WHERE owner_id = ?1",
        "DELETE FROM quotas WHERE owner_id = ?1",
        "DELETE FROM kept_answers WHERE owner_id = ?1",
        "DELETE FROM reminders WHERE owner_id = ?1",
        "UPDATE users SET reminders_off_at = NULL WHERE id = ?1",
        "UPDATE users SET reminders_off_at = coalesce(reminders_off_at, ?2)
         WHERE id = ?1 AND erased_at IS NULL",
        "UPDATE mailboxes SET closed_at = ?2, blocks = 0 WHERE owner_id = ?1",
    ])
}

fn keys(world: &World) -> Vec<Plan> {
    let sessions = plans![
        world,
        "DELETE FROM sessions WHERE user_id = ?1 AND (last_seen_at <= ?2 OR created_at <= ?3)",
        "SELECT token_hash, last_seen_at FROM sessions WHERE user_id = ?1",
        "SELECT created_at, last_seen_at FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        "SELECT token_hash, created_at, last_seen_at, address, user_agent FROM sessions
         WHERE user_id = ?1 AND last_seen_at > ?2 AND created_at > ?3",
        "UPDATE sessions SET last_seen_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND last_seen_at < ?3 AND last_seen_at > ?4",
        "SELECT user_id, last_seen_at, token_hash FROM sessions
         WHERE user_id IN (SELECT value FROM json_each(?1))
         AND last_seen_at > ?2 AND created_at > ?3",
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        "SELECT token_hash FROM sessions WHERE user_id = ?1",
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash <> ?2",
        "DELETE FROM sessions WHERE user_id = ?1",
    ];
    let tokens = plans![
        world,
        "DELETE FROM tokens WHERE user_id = ?1 AND expires_at <= ?2",
        "SELECT scopes, expires_at, last_used_at FROM tokens
         WHERE user_id = ?1 AND token_hash = ?2",
        "UPDATE tokens SET last_used_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND coalesce(last_used_at, 0) < ?3",
        "SELECT token_hash, name, scopes, created_at, expires_at, last_used_at FROM tokens
         WHERE user_id = ?1",
        "SELECT user_id, last_used_at, token_hash FROM tokens
         WHERE user_id IN (SELECT value FROM json_each(?1))
         AND coalesce(expires_at, ?2 + 1) > ?2",
        "DELETE FROM tokens WHERE user_id = ?1 AND token_hash = ?2",
        "DELETE FROM tokens WHERE user_id = ?1 AND token_hash <> ?2",
        "DELETE FROM tokens WHERE user_id = ?1",
        "SELECT token_hash FROM tokens WHERE user_id = ?1",
    ];
    sessions.into_iter().chain(tokens).collect()
}

fn limits(world: &World) -> Vec<Plan> {
    let blocks = plans![
        world,
        "SELECT blocked_id, created_at FROM blocks WHERE owner_id = ?1 AND blocked_id < ?2
         ORDER BY blocked_id DESC LIMIT ?3",
        "UPDATE mailboxes SET blocks = blocks + 1 WHERE owner_id = ?1",
        "DELETE FROM blocks WHERE owner_id = ?1 AND blocked_id = ?2",
        "UPDATE mailboxes SET blocks = blocks - 1 WHERE owner_id = ?1",
    ];
    let limits = plans![
        world,
        "SELECT kind, used, window_started_at FROM quotas WHERE owner_id = ?1",
        "SELECT created_at FROM users WHERE id = ?1",
        "DELETE FROM throttles WHERE subject IN
         (SELECT subject FROM throttles WHERE over_at < ?1 ORDER BY over_at LIMIT 2)",
        "DELETE FROM throttles WHERE subject = ?1",
        "UPDATE throttles SET failures = failures - 1, blocked_until = 0
         WHERE subject = ?1 AND failures > 0",
        "SELECT failures, window_started_at, blocked_until FROM throttles WHERE subject = ?1",
    ];
    let answers = plans![
        world,
        "SELECT request_hash, nonce, answer FROM kept_answers
         WHERE owner_id = ?1 AND key_hash = ?2 AND over_at > ?3",
        "SELECT owner_id, key_hash FROM kept_answers WHERE over_at <= ?1
         ORDER BY over_at LIMIT ?2",
        "DELETE FROM kept_answers WHERE owner_id = ?1 AND key_hash = ?2 AND over_at <= ?3",
        "DELETE FROM leases WHERE name = ?1 AND holder = ?2",
    ];
    blocks.into_iter().chain(limits).chain(answers).collect()
}
