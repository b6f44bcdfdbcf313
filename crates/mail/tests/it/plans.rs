//! How the engine answers the hot statements: by an index that begins with their owner.

use std::collections::BTreeSet;

use crate::support::World;

/// Why nothing here runs on another engine.
const ITS_PLANS: &str = "the plans are its own, and told in its words";

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

mod accounts;
mod messages;
mod webhooks;

fn hot(world: &World) -> Vec<Plan> {
    messages::hot(world).into_iter().chain(accounts::hot(world)).collect()
}

/// What no request runs: it may begin elsewhere than with an owner.
fn background(world: &World) -> Vec<Plan> {
    messages::background(world).into_iter().chain(webhooks::background(world)).collect()
}

/// What may read a whole table: it runs once, after a restore.
const COLD: [&str; 3] = [
    "DELETE FROM sessions",
    "DELETE FROM tokens",
    "UPDATE mailboxes SET counter = counter + ?1, forgotten_seq = counter + ?1",
];

/// A statement on one line.
fn flat(text: &str) -> String {
    text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The texts in quotes of a source file, and what stands before each.
fn literals(source: &str) -> Vec<(&str, String)> {
    let parts: Vec<_> = source.split('"').collect();
    parts.chunks_exact(2).map(|pair| (pair[0], flat(pair[1]))).collect()
}

/// The statements in the sources that have a plan: an insert has one where it selects.
fn in_the_sources() -> BTreeSet<String> {
    let sources = [
        include_str!("../../src/answers.rs"),
        include_str!("../../src/blocks.rs"),
        include_str!("../../src/changes.rs"),
        include_str!("../../src/conversations.rs"),
        include_str!("../../src/entries.rs"),
        include_str!("../../src/envelopes.rs"),
        include_str!("../../src/leases.rs"),
        include_str!("../../src/mailbox.rs"),
        include_str!("../../src/messages.rs"),
        include_str!("../../src/pages.rs"),
        include_str!("../../src/quotas.rs"),
        include_str!("../../src/reminders.rs"),
        include_str!("../../src/sending.rs"),
        include_str!("../../src/sessions.rs"),
        include_str!("../../src/threads.rs"),
        include_str!("../../src/throttle.rs"),
        include_str!("../../src/tokens.rs"),
        include_str!("../../src/users.rs"),
        include_str!("../../src/users/erase.rs"),
        include_str!("../../src/users/people.rs"),
        include_str!("../../src/users/profile.rs"),
        include_str!("../../src/webhooks.rs"),
        include_str!("../../src/webhooks/deliveries.rs"),
        include_str!("../../src/webhooks/endpoints.rs"),
        include_str!("../../src/webhooks/log.rs"),
    ];
    // A macro of these names puts its beginning before what it is given.
    let macros = [
        ("select_entries!(", include_str!("../../src/entries.rs")),
        ("select_threads!(", include_str!("../../src/threads.rs")),
    ];
    let beginnings = macros.map(|(name, source)| {
        let mut texts = literals(source).into_iter();
        let beginning = texts.find(|(before, _)| before.trim_end().ends_with("concat!("));
        (name, beginning.expect("the macro begins with a text").1)
    });
    let statement = |(before, text): (&str, String)| {
        let before = before.trim_end();
        let begun = beginnings.iter().find(|(name, _)| before.ends_with(name));
        match begun {
            Some((_, beginning)) => Some(format!("{beginning} {text}")),
            None if before.ends_with("concat!(") => None,
            None => Some(text),
        }
    };
    let verbs = ["SELECT ", "UPDATE ", "DELETE ", "INSERT "];
    sources
        .into_iter()
        .flat_map(literals)
        .filter_map(statement)
        .filter(|text| verbs.iter().any(|verb| text.starts_with(verb)))
        .filter(|text| !text.starts_with("INSERT ") || text.contains("SELECT "))
        // A lock, which a file has no use for.
        .filter(|text| !text.ends_with("FOR UPDATE"))
        .filter(|statement| !COLD.contains(&statement.as_str()))
        .collect()
}

#[test]
fn what_is_explained_here_is_what_runs() {
    if testing::is_about_sqlite(ITS_PLANS) {
        return;
    }
    let world = World::new();
    let explained: BTreeSet<_> =
        hot(&world).iter().chain(&background(&world)).map(|plan| flat(plan.statement)).collect();
    let running = in_the_sources();
    let forgotten: Vec<_> = running.difference(&explained).collect();
    let outdated: Vec<_> = explained.difference(&running).collect();
    assert!(forgotten.is_empty() && outdated.is_empty(), "{forgotten:#?}\n{outdated:#?}");
}

#[test]
fn no_hot_statement_scans_or_sorts() {
    if testing::is_about_sqlite(ITS_PLANS) {
        return;
    }
    for plan in hot(&World::new()) {
        assert!(!plan.steps.is_empty(), "{}", plan.statement);
        for step in &plan.steps {
            let good = [
                "SEARCH ",
                "LIST SUBQUERY",
                "SCALAR SUBQUERY",
                // The ids that a statement was given as one text.
                "SCAN json_each VIRTUAL TABLE INDEX 1:",
                // One after the other.
                "COMPOUND QUERY",
                "LEFT-MOST SUBQUERY",
                "UNION ALL",
            ]
            .iter()
            .any(|kind| step.starts_with(kind));
            assert!(good, "{step}\n in {}", plan.statement);
        }
    }
}
