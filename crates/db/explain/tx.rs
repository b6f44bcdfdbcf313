//! How the engine runs each statement that a test really executes.
//!
//! Only behind the feature `explain`, which dev-dependencies enable: a released program has neither
//! the check nor its cost. A statement is explained on the connection that is about to run it, the
//! first time that a process runs it; one that is refused fails like a statement that the engine
//! does not accept, and so fails the test.

use std::collections::HashSet;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use super::{On, Tx};
use crate::{Error, Result, Value, sqlite::verbs};

/// A statement, and how an engine runs it.
#[derive(Debug)]
pub struct Plan {
    /// The statement as it is written.
    pub sql: &'static str,
    /// Where it is handed to a [`Tx`].
    pub at: &'static Location<'static>,
    /// In whose words the steps are.
    pub engine: Engine,
    /// What `EXPLAIN` says, a line each. PostgreSQL is made to avoid whole tables and sorting where
    /// it can: the tables of tests are so small that it would not mind.
    pub steps: Vec<String>,
}

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// `EXPLAIN QUERY PLAN`
    Sqlite,
    /// `EXPLAIN (COSTS OFF)`
    Postgres,
}

/// Says what is wrong with a plan.
pub type Judge = fn(&Plan) -> Result<(), String>;

static JUDGE: OnceLock<Judge> = OnceLock::new();

/// Has every statement of this process judged from now on; the first judge stays.
pub fn judge_plans(judge: Judge) {
    JUDGE.get_or_init(|| judge);
}

/// What need not be explained again: the text, where it stands, and the engine. What was refused is
/// not in it, and is refused again.
type Approved = HashSet<(&'static str, &'static str, Engine)>;

static APPROVED: LazyLock<Mutex<Approved>> = LazyLock::new(Mutex::default);

impl Tx<'_> {
    #[track_caller]
    pub(super) fn explain(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<()> {
        let Some(judge) = JUDGE.get() else { return Ok(()) };
        let engine = match self.on {
            On::Sqlite(_) => Engine::Sqlite,
            On::Postgres(_) => Engine::Postgres,
            // It has no connection yet. Fibers run it as well, where its judgement is made.
            On::Recorder(_) => return Ok(()),
        };
        let at = Location::caller();
        let key = (sql, at.file(), engine);
        if APPROVED.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        let steps = match &mut self.on {
            On::Sqlite(connection) => verbs::plan(connection, sql),
            On::Postgres(connection) => connection.plan(sql, params),
            On::Recorder(_) => return Ok(()),
        };
        let judged = steps.and_then(|steps| {
            let plan = Plan { sql, at, engine, steps };
            judge(&plan).map_err(|why| {
                Error::Engine(format!("{why}: {sql}\n at {at}\n {}", plan.steps.join("\n ")))
            })
        });
        if judged.is_ok() {
            APPROVED.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
        self.note(judged)
    }
}
