//! How the engine answers the hot statements: by an index that begins with their owner.

use std::collections::BTreeSet;

use crate::support::World;

/// A statement as it stands in a source file, and how the engine would run it.
struct Plan {
    statement: &'static str,
    steps: Vec<String>,
}

impl World {
    fn plan(&self, statement: &'static str, explain: &'static str) -> Plan {
        let steps = self.rows(explain, |row| Ok(row.text(3)?.to_owned()));
        Plan { statement, steps }
    }
}

/// Explains each of the statements, which have to be literals.
macro_rules! plans {
    ($world:expr, $($statement:literal),+ $(,)?) => {
        [$($world.plan($statement, concat!("EXPLAIN QUERY PLAN ", $statement))),+]
    };
}

fn hot(world: &World) -> Vec<Plan> {
    let mailbox = plans![
        world,
        "UPDATE mailboxes SET counter = counter + 1 WHERE owner_id = ?1",
        "UPDATE mailboxes SET counter = counter + 1 WHERE owner_id = ?1 AND closed_at IS NULL",
        "SELECT 1 FROM mailboxes WHERE owner_id = ?1",
        "SELECT sent, read_at FROM entries
             WHERE owner_id = ?1 AND received = ?2 AND unread = ?3 AND message_id = ?4",
        "INSERT INTO entries
         (owner_id, message_id, received, unread, sent, created_seq, changed_seq)
         VALUES (?1, ?2, ?3, ?3, ?4, (SELECT counter FROM mailboxes WHERE owner_id = ?1),
                 (SELECT counter FROM mailboxes WHERE owner_id = ?1))",
        "SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = 0
         UNION ALL
         SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = 1
         ORDER BY message_id LIMIT ?2",
        "SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = 1
         ORDER BY message_id LIMIT ?2",
        "UPDATE entries SET unread = 0, read_at = ?3,
         changed_seq = (SELECT counter FROM mailboxes WHERE owner_id = ?1)
         WHERE owner_id = ?1 AND received = 1 AND unread = 1 AND message_id = ?2",
        "INSERT INTO tombstones (owner_id, seq, message_id, created_seq, destroyed_at)
         SELECT entries.owner_id, counter, message_id, created_seq, ?5
         FROM entries JOIN mailboxes ON mailboxes.owner_id = entries.owner_id
         WHERE entries.owner_id = ?1 AND received = ?2 AND unread = ?3 AND message_id = ?4",
        "DELETE FROM entries
         WHERE owner_id = ?1 AND received = ?2 AND unread = ?3 AND message_id = ?4",
        "DELETE FROM tombstones WHERE owner_id = ?1 AND destroyed_at < ?2 AND seq IN
         (SELECT seq FROM tombstones WHERE owner_id = ?1 ORDER BY seq LIMIT 2)",
    ];
    let messages = plans![
        world,
        "SELECT sender_id, receiver_id, subject, body, sent_at FROM messages WHERE id = ?1",
        "SELECT receiver_id FROM messages WHERE id = ?1",
        "UPDATE messages SET holders = holders - ?2 WHERE id = ?1 RETURNING holders",
        "DELETE FROM messages WHERE id = ?1",
    ];
    let sessions = plans![
        world,
        "SELECT 1 FROM users WHERE id = ?1 AND password_hash = ?2 AND disabled_at IS NULL",
        "DELETE FROM sessions WHERE user_id = ?1 AND (last_seen_at <= ?2 OR created_at <= ?3)",
        "SELECT created_at, last_seen_at FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        "UPDATE sessions SET last_seen_at = ?3
         WHERE user_id = ?1 AND token_hash = ?2 AND last_seen_at < ?3 AND last_seen_at > ?4",
        "DELETE FROM sessions WHERE user_id = ?1 AND token_hash = ?2",
        "DELETE FROM sessions WHERE user_id = ?1",
    ];
    let throttle = plans![
        world,
        "DELETE FROM throttles WHERE subject IN
         (SELECT subject FROM throttles WHERE over_at < ?1 ORDER BY over_at LIMIT 2)",
        "DELETE FROM throttles WHERE subject = ?1",
        "UPDATE throttles SET failures = failures - 1, blocked_until = 0
             WHERE subject = ?1 AND failures > 0",
        "SELECT failures, window_started_at, blocked_until FROM throttles WHERE subject = ?1",
    ];
    let users = plans![
        world,
        "SELECT id, name, email, created_at, disabled_at FROM users WHERE name_folded = ?1",
        "SELECT id, password_hash FROM users WHERE name_folded = ?1 AND disabled_at IS NULL",
        "SELECT id, name, email, created_at, disabled_at FROM users
         WHERE id > ?1 ORDER BY id LIMIT ?2",
        "UPDATE users SET password_hash = ?2 WHERE id = ?1",
        "UPDATE mailboxes SET closed_at = coalesce(closed_at, ?2) WHERE owner_id = ?1",
        "UPDATE users SET disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1",
        "UPDATE mailboxes SET closed_at = NULL WHERE owner_id = ?1",
        "UPDATE users SET disabled_at = NULL WHERE id = ?1",
    ];
    mailbox.into_iter().chain(messages).chain(sessions).chain(throttle).chain(users).collect()
}

/// What may read a whole table: it runs once, after a restore.
const COLD: [&str; 1] = ["DELETE FROM sessions"];

/// A statement on one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The statements in the sources that have a plan: an insert has one where it selects.
fn in_the_sources() -> BTreeSet<String> {
    let sources = [
        include_str!("../../src/mailbox.rs"),
        include_str!("../../src/messages.rs"),
        include_str!("../../src/sessions.rs"),
        include_str!("../../src/throttle.rs"),
        include_str!("../../src/users.rs"),
    ];
    let literals = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let verbs = ["SELECT ", "UPDATE ", "DELETE ", "INSERT "];
    literals
        .map(flat)
        .filter(|text| verbs.iter().any(|verb| text.starts_with(verb)))
        .filter(|text| !text.starts_with("INSERT ") || text.contains("SELECT "))
        .filter(|statement| !COLD.contains(&statement.as_str()))
        .collect()
}

#[test]
fn what_is_explained_here_is_what_runs() {
    let explained: BTreeSet<_> =
        hot(&World::new()).iter().map(|plan| flat(plan.statement)).collect();
    let running = in_the_sources();
    let forgotten: Vec<_> = running.difference(&explained).collect();
    let outdated: Vec<_> = explained.difference(&running).collect();
    assert!(forgotten.is_empty() && outdated.is_empty(), "{forgotten:#?}\n{outdated:#?}");
}

#[test]
fn no_hot_statement_scans_or_sorts() {
    for plan in hot(&World::new()) {
        assert!(!plan.steps.is_empty(), "{}", plan.statement);
        for step in &plan.steps {
            let good = [
                "SEARCH ",
                "LIST SUBQUERY",
                "SCALAR SUBQUERY",
                "MERGE (UNION ALL)",
                "LEFT",
                "RIGHT",
            ]
            .iter()
            .any(|kind| step.starts_with(kind));
            assert!(good, "{step}\n in {}", plan.statement);
        }
    }
}

#[test]
fn the_lists_are_ranges_of_the_key() {
    let plans = hot(&World::new());
    let steps = |beginning: &str| {
        let found = plans.iter().find(|plan| flat(plan.statement).starts_with(beginning));
        found.expect("there is such a statement").steps.join("; ")
    };
    let range = "SEARCH entries USING PRIMARY KEY (owner_id=? AND received=? AND unread=?)";
    let list = "SELECT message_id FROM entries WHERE owner_id = ?1 AND received = 1 AND unread = ";
    assert_eq!(steps(&format!("{list}1 ORDER")), range);
    assert_eq!(
        steps(&format!("{list}0 UNION ALL")),
        format!("MERGE (UNION ALL); LEFT; {range}; RIGHT; {range}")
    );
}

#[test]
fn an_entry_is_found_by_its_owner_first() {
    for plan in hot(&World::new()) {
        for step in plan.steps.iter().filter(|step| step.contains(" entries ")) {
            assert!(step.contains("(owner_id=?"), "{step}\n in {}", plan.statement);
        }
    }
}
