//! The cases through the engine, written like the domain.

use std::path::Path;
use std::time::Instant;

use db::{Db, Options, Row, Tx, Url, params};

use crate::Result;
use crate::cases::{BODY, Case, Chance, PAGE, READERS, SCHEMA, SUBJECT, TEXTS};

pub(crate) struct Engine {
    db: Db,
}

impl Engine {
    pub(crate) fn open(url: &str, connections: usize) -> Result<Self> {
        let options = Options { connections, ..Options::default() };
        let url = Url::with(url, Path::new(""), options)?;
        Ok(Self { db: Db::open(&url, SCHEMA)? })
    }

    pub(crate) fn close(&self) {
        self.db.close();
    }

    /// Runs operations until the time is over and returns how many.
    pub(crate) async fn ask(&self, case: Case, mut chance: Chance, until: Instant) -> Result<u64> {
        let mut operations = 0;
        while Instant::now() < until {
            match case {
                Case::Point => {
                    let id = chance.up_to(TEXTS);
                    self.db.read(move |tx| point(tx, id)).await?;
                }
                Case::Page => {
                    let owner = chance.up_to(READERS);
                    self.db.read(move |tx| page(tx, owner)).await?;
                }
                Case::Send => {
                    let (sender, recipient) = chance.two();
                    self.db.write(move |tx| send(tx, sender, recipient)).await?;
                }
            }
            operations += 1;
        }
        Ok(operations)
    }
}

fn point(tx: &mut Tx<'_>, id: i64) -> db::Result<()> {
    let found = tx.query_one(
        "SELECT id, sender_id, receiver_id, subject, body, sent_at FROM bench_texts
         WHERE id = ?1",
        &params![id],
        |row| Ok(row.int(0)? == id && row.text(4)? == BODY),
    )?;
    assert!(found, "the row that was asked for");
    Ok(())
}

fn page(tx: &mut Tx<'_>, owner: i64) -> db::Result<()> {
    let ids = tx.query(
        "SELECT text_id FROM bench_rows WHERE owner_id = ?1 ORDER BY text_id DESC LIMIT ?2",
        &params![owner, PAGE],
        |row| row.int(0),
    )?;
    let item = |row: &Row<'_>| Ok((row.int(0)?, row.text(3)?.to_owned(), row.text(4)?.to_owned()));
    let page = tx.query(
        "SELECT id, sender_id, receiver_id, subject, substr(body, 1, 140), sent_at
         FROM bench_texts WHERE id IN rarray(?1)",
        &params![ids.as_slice()],
        item,
    )?;
    assert_eq!(page.len(), ids.len(), "a row for each key");
    Ok(())
}

fn send(tx: &mut Tx<'_>, sender: i64, recipient: i64) -> db::Result<()> {
    for owner in [sender, recipient] {
        tx.execute(
            "UPDATE bench_counters SET counter = counter + 1 WHERE owner_id = ?1",
            &params![owner],
        )?;
    }
    let id = tx.insert(
        "INSERT INTO bench_texts (sender_id, receiver_id, subject, body, sent_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        &params![sender, recipient, SUBJECT, BODY, 0],
    )?;
    for (owner, role, peer) in [(sender, 2, recipient), (recipient, 1, sender)] {
        tx.execute(
            "INSERT INTO bench_rows (owner_id, text_id, role, peer_id, seq) VALUES
             (?1, ?2, ?3, ?4, (SELECT counter FROM bench_counters WHERE owner_id = ?1))",
            &params![owner, id, role, peer],
        )?;
    }
    Ok(())
}
