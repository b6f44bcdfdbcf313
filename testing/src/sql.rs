//! Statements from a test to a server, beside whatever the test is about.

use std::time::Duration;

use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

/// Rows of texts; what is NULL is an empty one.
pub type Rows = Vec<Vec<String>>;

/// A statement that takes longer hangs, and a test should fail rather than hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs statements at an address, on a connection of their own, and answers their rows.
#[track_caller]
pub fn sql(url: &str, text: &str) -> Rows {
    try_sql(url, text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// The same where the server may refuse or be away; the reason begins with its SQLSTATE.
///
/// It has its own thread, so that tests with a runtime can call it like those without one.
pub fn try_sql(url: &str, text: &str) -> Result<Rows, String> {
    std::thread::scope(|scope| {
        let rows = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let rows = tokio::time::timeout(PATIENCE, rows(url, text)).await;
                rows.unwrap_or_else(|_late| Err(format!("no answer within {PATIENCE:?}")))
            })
        });
        rows.join().expect("the statements do not panic")
    })
}

async fn rows(url: &str, text: &str) -> Result<Rows, String> {
    let config: Config = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let (client, connection) = config.connect(NoTls).await.map_err(|error| explain(&error))?;
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(text).await.map_err(|error| explain(&error))?;
    drop(client);
    // The server is done with the session as well: nobody meets it afterwards.
    drop(connection.await);
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// All that is known of an error; the library's own text only says `db error`.
fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(known) => format!("{} {}", known.code().code(), known.message()),
        None => format!("{error:?}"),
    }
}
