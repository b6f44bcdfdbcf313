//! How the server would run a statement; for tests only.

use super::{calls::typed, connection::Connection, dialect};
use crate::{Result, Row, Value};

/// What the server does during EXPLAIN only where nothing else is possible.
const AVOIDED: [&str; 6] =
    ["seqscan", "bitmapscan", "sort", "incremental_sort", "hashjoin", "tidscan"];

impl Connection<'_> {
    pub(crate) fn plan(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<String>> {
        // The statement itself then finds its transaction begun.
        let prefix = self.prefix.take();
        self.send_prefix(prefix)?;
        self.driver.simple(&AVOIDED.map(|what| format!("SET enable_{what} = off")).join("; "))?;
        let client = self.driver.client();
        let text = format!("EXPLAIN (COSTS OFF) {}", dialect::statement(sql));
        let rows = self.driver.wait(client.query_typed(&text, &typed(params)))?;
        self.driver.simple(&AVOIDED.map(|what| format!("RESET enable_{what}")).join("; "))?;
        rows.iter().map(|row| Ok(Row::postgres(row).text(0)?.to_owned())).collect()
    }
}
