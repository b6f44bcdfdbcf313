//! What a good asynchronous program does without the engine: a pool of tokio-postgres clients,
//! statements prepared once for each connection, a transaction only where it is needed.

use std::time::Instant;

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use tokio_postgres::{IsolationLevel, NoTls};

use crate::Result;
use crate::cases::{BODY, Case, Chance, PAGE, READERS, SUBJECT, TEXTS};

const POINT: &str = "SELECT id, sender_id, receiver_id, subject, body, sent_at FROM bench_texts
    WHERE id = $1";
const KEYS: &str = "SELECT text_id FROM bench_rows WHERE owner_id = $1
    ORDER BY text_id DESC LIMIT $2";
const ROWS: &str = "SELECT id, sender_id, receiver_id, subject, substr(body, 1, 140), sent_at
    FROM bench_texts WHERE id = ANY ($1)";
const ADVANCE: &str = "UPDATE bench_counters SET counter = counter + 1 WHERE owner_id = $1";
const STORE: &str = "INSERT INTO bench_texts (sender_id, receiver_id, subject, body, sent_at)
    VALUES ($1, $2, $3, $4, $5) RETURNING id";
const DELIVER: &str = "INSERT INTO bench_rows (owner_id, text_id, role, peer_id, seq)
    VALUES ($1, $2, $3, $4, (SELECT counter FROM bench_counters WHERE owner_id = $1))";

pub(crate) struct Pool {
    pool: deadpool_postgres::Pool,
}

impl Pool {
    pub(crate) fn open(url: &str, connections: usize) -> Result<Self> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(url.parse()?, NoTls, config);
        let pool = deadpool_postgres::Pool::builder(manager).max_size(connections).build()?;
        Ok(Self { pool })
    }

    /// Runs operations until the time is over and returns how many.
    pub(crate) async fn ask(&self, case: Case, mut chance: Chance, until: Instant) -> Result<u64> {
        let mut operations = 0;
        while Instant::now() < until {
            match case {
                Case::Point => self.point(chance.up_to(TEXTS)).await?,
                Case::Page => self.page(chance.up_to(READERS)).await?,
                Case::Send => self.send(chance.two()).await?,
            }
            operations += 1;
        }
        Ok(operations)
    }

    async fn point(&self, id: i64) -> Result<()> {
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(POINT).await?;
        let row = client.query_one(&statement, &[&id]).await?;
        let (found, body): (i64, &str) = (row.try_get(0)?, row.try_get(4)?);
        assert!(found == id && body == BODY, "the row that was asked for");
        Ok(())
    }

    async fn page(&self, owner: i64) -> Result<()> {
        let mut client = self.pool.get().await?;
        let snapshot = client.build_transaction().read_only(true);
        let transaction = snapshot.isolation_level(IsolationLevel::RepeatableRead).start().await?;
        let keys = transaction.prepare_cached(KEYS).await?;
        let mut ids = Vec::new();
        for row in transaction.query(&keys, &[&owner, &PAGE]).await? {
            ids.push(row.try_get::<_, i64>(0)?);
        }
        let rows = transaction.prepare_cached(ROWS).await?;
        let mut page = Vec::with_capacity(ids.len());
        for row in transaction.query(&rows, &[&ids]).await? {
            let subject: &str = row.try_get(3)?;
            let snippet: &str = row.try_get(4)?;
            page.push((row.try_get::<_, i64>(0)?, subject.to_owned(), snippet.to_owned()));
        }
        transaction.commit().await?;
        assert_eq!(page.len(), ids.len(), "a row for each key");
        Ok(())
    }

    async fn send(&self, (sender, recipient): (i64, i64)) -> Result<()> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let advance = transaction.prepare_cached(ADVANCE).await?;
        for owner in [sender, recipient] {
            transaction.execute(&advance, &[&owner]).await?;
        }
        let store = transaction.prepare_cached(STORE).await?;
        let row =
            transaction.query_one(&store, &[&sender, &recipient, &SUBJECT, &BODY, &0_i64]).await?;
        let id: i64 = row.try_get(0)?;
        let deliver = transaction.prepare_cached(DELIVER).await?;
        for (owner, role, peer) in [(sender, 2_i64, recipient), (recipient, 1, sender)] {
            transaction.execute(&deliver, &[&owner, &id, &role, &peer]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
