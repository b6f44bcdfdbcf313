//! What the server says went wrong, in terms that a caller can act on.

use tokio_postgres::error::SqlState;

use super::catalog::Catalog;
use crate::Error;

/// What to do about a failure of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is as it is.
    Final,
    /// Others were in the way: the same again may succeed.
    Again,
    /// The connection is gone, or of no use: the same again on another one.
    Lost,
    /// No connection can be trusted: the server goes away, or takes no writes.
    AllLost,
}

/// Sorts a failure, of a read or of anything else.
pub(super) fn sort(
    error: &tokio_postgres::Error,
    catalog: &Catalog,
    reading: bool,
) -> (Error, Trouble) {
    let Some(said) = error.as_db_error() else {
        // The protocol's failures are those of the connection, except that a value may not fit.
        let lost = error.is_closed() || is_io(error);
        let text = causes(error);
        return if lost {
            (Error::Unavailable(text), Trouble::Lost)
        } else {
            (Error::Engine(text), Trouble::Final)
        };
    };
    // The message alone: the detail repeats what users wrote.
    let text = || format!("{} ({})", said.message(), said.code().code());
    let code = said.code();
    if *code == SqlState::UNIQUE_VIOLATION {
        return (Error::Unique(catalog.name(said)), Trouble::Final);
    }
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code) {
        return (Error::Busy, Trouble::Again);
    }
    if [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code) {
        return (Error::Busy, Trouble::Final);
    }
    if *code == SqlState::DISK_FULL {
        return (Error::Full, Trouble::Final);
    }
    // A read has tried to write: the server is not to blame.
    if reading && *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return (Error::Engine(text()), Trouble::Final);
    }
    // It takes no writes, or it goes away or is just coming.
    if [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ]
    .contains(code)
    {
        return (Error::Unavailable(text()), Trouble::AllLost);
    }
    match &code.code()[..2] {
        // Connection failures; sessions that were ended for idling; the end of a read that was not
        // waited for and failed, which broke what comes after it; too many connections, out of
        // memory; the operator's intervention.
        "08" | "25" | "53" | "57" => (Error::Unavailable(text()), Trouble::Lost),
        _ => (Error::Engine(text()), Trouble::Final),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The whole chain: the outermost alone says only that something failed.
pub(super) fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
