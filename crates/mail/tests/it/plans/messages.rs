//! The statements of messages: what a mailbox holds, lists, counts and lets go.

use super::{ITS_PLANS, Plan, flat};
use crate::support::World;

/// As `plans!`, of statements that read whole entries.
macro_rules! entries {
    ($world:expr, $($rest:literal),+ $(,)?) => {
        [$($world.plan(
            concat!(
                "SELECT place, message_id, conversation_id, role, peer_id, read_at, starred_at, \
                 archived_at, trashed_at, created_seq, changed_seq FROM entries ",
                $rest
            ),
            concat!(
                "EXPLAIN QUERY PLAN SELECT place, message_id, conversation_id, role, peer_id, \
                 read_at, starred_at, archived_at, trashed_at, created_seq, changed_seq \
                 FROM entries ",
                $rest
            ),
        )),+]
    };
}

/// As `plans!`, of statements that read whole rows of conversations.
macro_rules! threads {
    ($world:expr, $($rest:literal),+ $(,)?) => {
        [$($world.plan(
            concat!(
                "SELECT conversation_id, last_message_id, unread, subject, participants, muted_at \
                 FROM threads ",
                $rest
            ),
            concat!(
                "EXPLAIN QUERY PLAN SELECT conversation_id, last_message_id, unread, subject, \
                 participants, muted_at FROM threads ",
                $rest
            ),
        )),+]
    };
}

/// What a request runs.
pub(super) fn hot(world: &World) -> Vec<Plan> {
    [mailbox, entries, changes, threads, envelopes, pages, conversations]
        .into_iter()
        .flat_map(|statements| statements(world))
        .collect()
}

/// Counters, guards, counts and the lists of the classic API.
fn mailbox(world: &World) -> Vec<Plan> {
    Vec::from(plans![
        world,
        "UPDATE mailboxes SET counter = counter + 1 WHERE owner_id = ?1",
        "UPDATE mailboxes SET counter = counter + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2
         WHERE owner_id = ?1 AND closed_at IS NULL",
        "UPDATE mailboxes SET counter = counter + 1, unread = unread + ?2,
         unread_conversations = unread_conversations + ?2
         WHERE owner_id = ?1 AND closed_at IS NULL AND accept_from = 0 AND blocks = 0",
        "SELECT sender_id FROM messages WHERE id = ?1",
        "SELECT closed_at, accept_from, blocks FROM mailboxes WHERE owner_id = ?1",
        "SELECT 1 FROM blocks WHERE owner_id = ?1 AND blocked_id = ?2",
        "SELECT 1 FROM threads WHERE owner_id = ?1 AND conversation_id = ?2",
        "SELECT participants FROM threads WHERE owner_id = ?1 AND last_message_id IS NOT NULL
         ORDER BY last_message_id DESC LIMIT ?2",
        "SELECT role FROM entries WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        "SELECT 1 FROM contacts WHERE owner_id = ?1 AND peer_id = ?2",
        "DELETE FROM trash WHERE owner_id = ?1 AND message_id = ?2",
        "SELECT unread, unread_conversations, counter FROM mailboxes WHERE owner_id = ?1",
        "SELECT message_id FROM entries
         WHERE owner_id = ?1 AND place BETWEEN 0 AND 7 AND role <> 2 LIMIT ?2",
        "SELECT message_id FROM entries
         WHERE owner_id = ?1 AND place IN (2, 3, 6, 7) LIMIT ?2",
    ])
}

/// What a mailbox says of a message.
fn entries(world: &World) -> Vec<Plan> {
    let mut all = Vec::from(plans![
        world,
        "INSERT INTO entries (owner_id, place, message_id, conversation_id, role, peer_id,
         created_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT counter FROM mailboxes WHERE owner_id = ?1))",
        "UPDATE entries SET place = ?4, read_at = ?5, starred_at = ?6, archived_at = ?7,
         trashed_at = ?8, changed_seq = (SELECT counter FROM mailboxes WHERE owner_id = ?1)
         WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        "UPDATE entries SET place = place + 1, conversation_id = message_id
         WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        "INSERT INTO tombstones (owner_id, seq, message_id, created_seq, destroyed_at)
         SELECT owner_id, counter, ?2, ?3, ?4 FROM mailboxes WHERE owner_id = ?1",
        "DELETE FROM entries WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        "UPDATE mailboxes SET unread = unread + ?2,
         unread_conversations = unread_conversations + ?3 WHERE owner_id = ?1",
    ]);
    all.extend(entries![
        world,
        "WHERE owner_id = ?1 AND place = ?2 AND message_id = ?3",
        "WHERE owner_id = ?1 AND place IN (1, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15)
         AND message_id = ?2",
    ]);
    all
}

/// What changed. The ends of the places are ranges of the key, as in a list.
fn changes(world: &World) -> Vec<Plan> {
    let mut all = Vec::from(plans![
        world,
        "SELECT unread, unread_conversations, counter, forgotten_seq FROM mailboxes
         WHERE owner_id = ?1",
        "SELECT owner_id, counter FROM mailboxes
         WHERE owner_id IN (SELECT value FROM json_each(?1))",
        "SELECT seq, message_id, created_seq FROM tombstones
         WHERE owner_id = ?1 AND seq > ?2 AND seq <= ?3",
    ]);
    all.extend(entries![world, "WHERE owner_id = ?1 AND changed_seq > ?2 AND changed_seq <= ?3",]);
    all
}

/// Rows of conversations.
fn threads(world: &World) -> Vec<Plan> {
    let mut all = Vec::from(plans![
        world,
        "SELECT message_id FROM entries
         WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1 AND message_id < ?3
         AND trashed_at IS NULL ORDER BY message_id DESC LIMIT 1",
        "SELECT unread, last_message_id FROM threads WHERE owner_id = ?1 AND conversation_id = ?2",
        "DELETE FROM threads WHERE owner_id = ?1 AND conversation_id = ?2",
        "UPDATE threads SET unread = ?3, last_message_id = ?4
         WHERE owner_id = ?1 AND conversation_id = ?2",
        "SELECT 1 FROM entries WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1
         LIMIT 1",
        "UPDATE threads SET participants = ?3 WHERE owner_id = ?1 AND conversation_id = ?2",
    ]);
    all.extend(threads![world, "WHERE owner_id = ?1 AND conversation_id = ?2",]);
    all
}

/// Texts.
fn envelopes(world: &World) -> Vec<Plan> {
    Vec::from(plans![
        world,
        "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject,
         substr(body, 1, 140), sent_at, client_id, metadata FROM messages WHERE id = ?1",
        "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject,
         substr(body, 1, 140), sent_at, client_id, metadata FROM messages
         WHERE id IN (SELECT value FROM json_each(?1))",
        "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject,
         body, sent_at, client_id, metadata FROM messages
         WHERE id IN (SELECT value FROM json_each(?1))",
        "SELECT id, sender_id, receiver_id, others, conversation_id, in_reply_to, subject, body,
         sent_at, client_id, metadata FROM messages WHERE id = ?1",
        "UPDATE messages SET holders = holders - ?2 WHERE id = ?1",
        "DELETE FROM messages WHERE id = ?1 AND holders <= 0",
        "SELECT id, sent_at FROM messages WHERE id >= ?1 ORDER BY id LIMIT 1",
    ])
}

/// Lists of messages.
fn pages(world: &World) -> Vec<Plan> {
    Vec::from(entries![
        world,
        "WHERE owner_id = ?1 AND place = ?2 AND message_id < ?3
         ORDER BY message_id DESC LIMIT ?4",
        "WHERE owner_id = ?1 AND role = 3 AND message_id < ?2
         AND archived_at IS NULL AND trashed_at IS NULL
         ORDER BY message_id DESC LIMIT ?3",
        "WHERE owner_id = ?1 AND starred_at IS NOT NULL AND message_id < ?2
         ORDER BY message_id DESC LIMIT ?3",
        "WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1
         AND message_id < ?3 ORDER BY message_id DESC LIMIT ?4",
    ])
}

/// Conversations.
fn conversations(world: &World) -> Vec<Plan> {
    let mut all = Vec::from(plans![
        world,
        "UPDATE threads SET muted_at = ?3 WHERE owner_id = ?1 AND conversation_id = ?2",
        "SELECT id FROM users WHERE name_folded = ?1 AND erased_at IS NULL",
    ]);
    all.extend(entries![
        world,
        "WHERE owner_id = ?1 AND place IN (1, 3, 5, 7, 9)
         AND message_id IN (SELECT value FROM json_each(?2))",
        "WHERE owner_id = ?1 AND place IN (3, 7, 15) AND conversation_id = ?2 LIMIT ?3",
        "WHERE owner_id = ?1 AND conversation_id = ?2 AND place % 2 = 1 AND role <> 2
         AND trashed_at IS NULL ORDER BY message_id DESC LIMIT 1",
    ]);
    all.extend(threads![
        world,
        "WHERE owner_id = ?1 AND last_message_id IS NOT NULL AND last_message_id < ?2
         ORDER BY last_message_id DESC LIMIT ?3",
    ]);
    all
}

/// What empties the trash and the mailboxes of erased users, a few rows at a time.
pub(super) fn background(world: &World) -> Vec<Plan> {
    let mut all = Vec::from(plans![
        world,
        "SELECT owner_id, message_id FROM trash WHERE trashed_at < ?1
         ORDER BY trashed_at LIMIT ?2",
        "SELECT owner_id FROM erasures ORDER BY owner_id LIMIT 1",
        "DELETE FROM tombstones WHERE owner_id = ?1",
        "DELETE FROM erasures WHERE owner_id = ?1",
        "SELECT owner_id, seq, message_id FROM tombstones WHERE destroyed_at < ?1
         ORDER BY destroyed_at LIMIT ?2",
        "UPDATE mailboxes SET forgotten_seq = ?2 WHERE owner_id = ?1 AND forgotten_seq < ?2",
        "DELETE FROM tombstones WHERE owner_id = ?1 AND seq = ?2 AND message_id = ?3",
        "SELECT 1 FROM reminders WHERE waits_since <= ?1 LIMIT 1",
        "SELECT owner_id, message_id, waits_since, tries FROM reminders WHERE waits_since <= ?1
         ORDER BY waits_since LIMIT ?2",
        "DELETE FROM reminders WHERE owner_id = ?1 AND waits_since = ?2",
        "UPDATE reminders SET message_id = ?3, waits_since = ?4, tries = 0
         WHERE owner_id = ?1 AND waits_since = ?2",
        "UPDATE reminders SET waits_since = NULL, tries = tries + 1
         WHERE owner_id = ?1 AND waits_since = ?2",
        "UPDATE reminders SET waits_since = ?4, tries = ?5
         WHERE owner_id = ?1 AND message_id = ?2 AND tries = ?3 AND waits_since IS NULL",
        "SELECT email FROM users
         WHERE id = ?1 AND disabled_at IS NULL AND reminders_off_at IS NULL",
        "SELECT max(last_seen_at) FROM sessions WHERE user_id = ?1",
        "SELECT max(last_used_at) FROM tokens WHERE user_id = ?1",
        "SELECT conversation_id FROM threads WHERE owner_id = ?1
         AND conversation_id IN (SELECT value FROM json_each(?2)) AND muted_at IS NOT NULL",
        "SELECT blocked_id FROM blocks WHERE owner_id = ?1
         AND blocked_id IN (SELECT value FROM json_each(?2))",
    ]);
    all.extend(entries![
        world,
        "WHERE owner_id = ?1 LIMIT ?2",
        "WHERE owner_id = ?1 AND place = ?2 AND message_id >= ?3 ORDER BY message_id LIMIT ?4",
    ]);
    all
}

#[test]
fn what_a_mailbox_holds_is_found_by_its_owner_first() {
    if testing::is_about_sqlite(ITS_PLANS) {
        return;
    }
    for plan in hot(&World::new()) {
        let tables = [" entries ", " threads ", " tombstones ", " blocks ", " contacts "];
        for step in plan.steps.iter().filter(|step| tables.iter().any(|table| step.contains(table)))
        {
            assert!(step.contains("(owner_id=?"), "{step}\n in {}", plan.statement);
        }
    }
}

/// The first statement of each list, and the key or index that holds exactly what is listed.
#[test]
fn a_list_is_a_range_of_the_key_or_of_an_index() {
    if testing::is_about_sqlite(ITS_PLANS) {
        return;
    }
    let plans = hot(&World::new());
    let lists = [
        ("place = ?2 AND message_id < ?3", "PRIMARY KEY (owner_id=? AND place=? AND message_id<?)"),
        ("place BETWEEN 0 AND 7 AND role <> 2", "PRIMARY KEY (owner_id=? AND place>? AND place<?)"),
        ("place IN (2, 3, 6, 7)", "PRIMARY KEY (owner_id=? AND place=?)"),
        ("role = 3 AND message_id < ?2", "INDEX entries_marked (owner_id=? AND message_id<?)"),
        (
            "starred_at IS NOT NULL AND message_id < ?2",
            "INDEX entries_marked (owner_id=? AND message_id<?)",
        ),
        (
            "conversation_id = ?2 AND place % 2 = 1 AND message_id < ?3 ORDER",
            "INDEX entries_thread (owner_id=? AND conversation_id=? AND message_id<?)",
        ),
        ("place IN (3, 7, 15)", "PRIMARY KEY (owner_id=? AND place=?)"),
        (
            "place IN (1, 3, 5, 7, 9) AND message_id IN",
            "PRIMARY KEY (owner_id=? AND place=? AND message_id=?)",
        ),
    ];
    for (condition, range) in lists {
        let found: Vec<_> =
            plans.iter().filter(|p| flat(p.statement).contains(condition)).collect();
        assert!(!found.is_empty(), "no statement has {condition}");
        for plan in found {
            let searched = format!("SEARCH entries USING {range}");
            assert_eq!(plan.steps[0], searched, "{}", plan.statement);
        }
    }
    let recent = plans.iter().find(|p| p.statement.contains("last_message_id < ?2"));
    assert_eq!(
        recent.expect("there is such a statement").steps,
        ["SEARCH threads USING INDEX threads_recent \
          (owner_id=? AND last_message_id>? AND last_message_id<?)"]
    );
}

#[test]
fn what_runs_in_the_background_reads_no_more_than_it_changes() {
    if testing::is_about_sqlite(ITS_PLANS) {
        return;
    }
    let steps: Vec<_> = background(&World::new()).into_iter().flat_map(|plan| plan.steps).collect();
    assert_eq!(
        steps,
        [
            "SEARCH trash USING COVERING INDEX trash_over (trashed_at<?)",
            // The first row of a table of erased users whose mailboxes are not empty yet.
            "SCAN erasures",
            "SEARCH tombstones USING PRIMARY KEY (owner_id=?)",
            "SEARCH erasures USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH tombstones USING COVERING INDEX tombstones_old (destroyed_at<?)",
            "SEARCH mailboxes USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH tombstones USING PRIMARY KEY (owner_id=? AND seq=? AND message_id=?)",
            "SEARCH reminders USING COVERING INDEX reminders_waiting (waits_since<?)",
            "SEARCH reminders USING INDEX reminders_waiting (waits_since<?)",
            "SEARCH reminders USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH reminders USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH reminders USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH reminders USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH users USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH sessions USING PRIMARY KEY (user_id=?)",
            "SEARCH tokens USING PRIMARY KEY (user_id=?)",
            "SEARCH threads USING PRIMARY KEY (owner_id=? AND conversation_id=?)",
            "LIST SUBQUERY 1",
            "SCAN json_each VIRTUAL TABLE INDEX 1:",
            "SEARCH blocks USING PRIMARY KEY (owner_id=? AND blocked_id=?)",
            "LIST SUBQUERY 1",
            "SCAN json_each VIRTUAL TABLE INDEX 1:",
            "SEARCH entries USING PRIMARY KEY (owner_id=?)",
            "SEARCH entries USING PRIMARY KEY (owner_id=? AND place=? AND message_id>?)",
        ]
    );
}
