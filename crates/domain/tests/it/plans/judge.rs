//! What a plan must not do. Tests of the server use this file as well.

use db::explain::{Engine, Plan, judge_plans};

/// Has every statement judged that this process runs from now on.
pub(crate) fn watch() {
    judge_plans(judge);
}

/// Statements that may read a whole table or index, or sort, by how they end.
const EXEMPT: [(&str, &str); 17] = [
    ("DELETE FROM sessions", "after a restore, nobody stays signed in"),
    ("DELETE FROM tokens", "as sessions"),
    (
        "UPDATE mailboxes SET modseq = ?1, purged_modseq = ?1",
        "after a restore, every client loads its mailbox again",
    ),
    ("max(modseq), 0) FROM mailboxes", "as above"),
    ("UPDATE users SET tokens_revoked_at = ?1", "after a restore, no token comes back"),
    ("FROM erasures ORDER BY owner_id LIMIT 1", "the first row of what is left to erase"),
    (
        "WHERE words_of IS DISTINCT FROM name || ' ' || display_name ORDER BY id LIMIT ?1",
        "the index has only these rows",
    ),
    ("FROM webhooks ORDER BY id", "there are few endpoints"),
    ("FROM webhook_events WHERE pending = 1 ORDER BY id LIMIT 1", "the index has only these rows"),
    ("FROM webhook_events WHERE pending = 1 ORDER BY id LIMIT ?1", "the index has only these rows"),
    ("FROM webhook_events ORDER BY id LIMIT ?1", "the oldest rows, in the order of the key"),
    ("FROM server_keys ORDER BY id", "there are few keys"),
    (
        "WHERE password_wait > 0 ORDER BY password_wait DESC LIMIT 1",
        "the index has only these rows",
    ),
    ("SET revoked_at = ?1 WHERE revoked_at IS NULL", "after a restore, no key comes back"),
    ("FROM audit ORDER BY id LIMIT ?1", "the oldest rows, in the order of the key"),
    ("ORDER BY id DESC LIMIT ?4", "a person looks at the audit log by the command line"),
    (
        "ORDER BY event_id DESC, webhook_id LIMIT ?3",
        "a person looks at the log by the command line",
    ),
];

/// Columns that a search may begin with, besides the owner and an id. What belongs to a user is
/// found by that user first, so none of them is in an index of entries or conversations.
const KEYS: [(&str, &str); 25] = [
    ("name_folded", "users are found by name"),
    ("external_id", "users are found by the app's own id"),
    ("key_hash", "server keys are found by their hash"),
    ("previous_hash", "server keys are found by their hash"),
    ("word", "users are found by any word of their names"),
    ("name_hash", "names of erased accounts"),
    ("erased_at", "a job removes names whose time is over"),
    ("subject", "failed sign-ins of a name or an address"),
    ("name", "leases"),
    ("expires_at", "a job removes what is over"),
    ("revoked_at", "a job removes what is over"),
    ("signed_in_at", "a job forgets from where people signed in long ago"),
    ("trashed_at", "a job empties the trash of everybody"),
    ("destroyed_at", "a job removes old tombstones of everybody"),
    ("waiting_since", "a job looks for the reminders that are due"),
    ("display_folded", "names of system users, of which there are few"),
    ("next_at", "the app is told of users whose unread counts have changed"),
    ("message_id", "messages that expire"),
    ("event_id", "webhooks are the app's, not a user's"),
    ("webhook_id", "webhooks are the app's, not a user's"),
    ("id_hash", "external ids of erased users"),
    ("updated_at", "the app's own server lists users by their last change"),
    ("peer_id", "a look-up among contacts goes both ways"),
    ("password_wait", "the costliest of the passwords that came from elsewhere"),
    ("source", "messages that an import has stored"),
];

fn judge(plan: &Plan) -> Result<(), String> {
    let file = plan.at.file();
    // An import sorts a temporary database as a whole; an export reads everything.
    if file.ends_with("/moving/spool.rs") || file.ends_with("/moving/export.rs") {
        return Ok(());
    }
    // Tests look at whole tables, all but the one beside this file, and so does `postroom check`.
    if !file.contains("/src/") && !file.ends_with("/it/plans.rs") || file.ends_with("/check.rs") {
        return Ok(());
    }
    let sql = flat(plan.sql);
    if EXEMPT.iter().any(|(end, _why)| sql.ends_with(end)) {
        return Ok(());
    }
    // Only an insert of values needs none. SQLite empties a whole table without one.
    if plan.steps.is_empty() && !sql.starts_with("INSERT ") {
        return Err("it has no plan".to_owned());
    }
    let searches = match plan.engine {
        Engine::Sqlite => sqlite(&plan.steps)?,
        Engine::Postgres => postgres(&plan.steps)?,
    };
    for search in &searches {
        let first = search.first().ok_or("it reads a whole index")?;
        let ids = ["owner_id", "user_id", "id"].contains(&first.column.as_str());
        if !ids && !KEYS.iter().any(|(column, _why)| first.column == *column) {
            return Err(format!("its search begins with {}", first.column));
        }
    }
    let bounded = |column: &str, is: fn(char) -> bool| {
        searches.iter().flatten().any(|bound| bound.column == column && is(bound.sign))
    };
    if let Some(column) = cursor(&sql)
        && !bounded(column, |sign| sign != '=')
    {
        return Err(format!("its page does not begin at {column}"));
    }
    let condition = sql.split_once(" WHERE ").map_or("", |(_, condition)| condition);
    // Else it would look at a whole mailbox for one message.
    if plan.engine == Engine::Sqlite
        && (sql.contains("FROM entries ") || sql.starts_with("UPDATE entries "))
        && condition.contains("message_id = ?")
        && !bounded("message_id", |sign| sign == '=')
    {
        return Err("it names one message and reads others".to_owned());
    }
    let by_place = ["place = ?", "place IN (", "place BETWEEN "];
    // PostgreSQL takes other columns of the key where a mailbox is as small as in a test.
    if plan.engine == Engine::Sqlite
        && by_place.iter().any(|by| condition.contains(by))
        && !bounded("place", |_| true)
    {
        return Err("it reads more places than it names".to_owned());
    }
    Ok(())
}

/// A statement on one line.
fn flat(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The column that a list is ordered by, where the statement says at which value a page begins.
fn cursor(sql: &str) -> Option<&str> {
    let (_, order) = sql.split_once(" ORDER BY ")?;
    let column = order.split([' ', ',']).next()?;
    let begins = |sign: &str| sql.contains(&format!("{column} {sign} ?"));
    ["<", "<=", ">", ">="].into_iter().any(begins).then_some(column)
}

/// What a search in a table or index is bounded by: `owner_id = …` or `message_id < …`.
struct Bound {
    column: String,
    sign: char,
}

impl Bound {
    /// Of `owner_id=?`, or `(a.owner_id = '1'::bigint)`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('(');
        let (column, rest) = text.split_at(text.find(['=', '<', '>', ' '])?);
        let column = column.rsplit('.').next()?;
        Some(Self { column: column.to_owned(), sign: rest.trim_start().chars().next()? })
    }
}

type Search = Vec<Bound>;

fn bounds(text: &str) -> Search {
    text.split(" AND ").filter_map(Bound::parse).collect()
}

/// The searches of a plan in SQLite's words.
fn sqlite(steps: &[String]) -> Result<Vec<Search>, String> {
    const OTHERS: [&str; 9] = [
        "LIST SUBQUERY",
        "REUSE LIST SUBQUERY",
        "SCALAR SUBQUERY",
        "CORRELATED SCALAR SUBQUERY",
        // The ids that a statement was given as one list.
        "SCAN rarray VIRTUAL TABLE INDEX 1:",
        // The rows that a statement itself inserts.
        "SCAN 8-ROW VALUES CLAUSE",
        // One after the other.
        "COMPOUND QUERY",
        "LEFT-MOST SUBQUERY",
        "UNION ALL",
    ];
    let (mut searches, mut streams) = (Vec::new(), Vec::new());
    for step in steps {
        if step.starts_with("SEARCH ") && !step.contains(" AUTOMATIC ") {
            let range = step.split_once('(').map_or("", |(_, range)| range);
            // SQLite's name for a column that is an INTEGER PRIMARY KEY.
            let key = if step.starts_with("SEARCH mailboxes ") { "owner_id" } else { "id" };
            searches.push(bounds(&range.trim_end_matches(')').replace("rowid", key)));
        } else if let Some(subquery) = step.strip_prefix("CO-ROUTINE ") {
            // Its rows are taken as they come; how they are found is a step of its own.
            streams.push(format!("SCAN {subquery}"));
        } else if !streams.contains(step) && !OTHERS.iter().any(|other| step.starts_with(other)) {
            return Err(format!("it has a step {step}"));
        }
    }
    Ok(searches)
}

/// The searches of a plan in PostgreSQL's words.
fn postgres(steps: &[String]) -> Result<Vec<Search>, String> {
    const REFUSED: [&str; 5] = ["Seq Scan", "Sort", "Incremental Sort", "Bitmap", "Hash Join"];
    let mut searches: Vec<Search> = Vec::new();
    for step in steps {
        let step = step.trim_start().trim_start_matches("->").trim_start();
        if REFUSED.iter().any(|node| step.starts_with(node)) {
            return Err(format!("it has a step {step}"));
        }
        if step.starts_with("Index Scan") || step.starts_with("Index Only Scan") {
            searches.push(Vec::new());
        } else if let Some(condition) = step.strip_prefix("Index Cond: ") {
            let search = searches.last_mut().ok_or("it has a condition of no index")?;
            *search = bounds(condition);
        }
    }
    Ok(searches)
}
