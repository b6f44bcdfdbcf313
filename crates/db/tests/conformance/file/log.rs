//! The write-ahead log: it is restarted although somebody always reads.

use std::time::{Duration, Instant};

use db::{Db, Result, Tx, params};

use crate::{Fresh, asked, count, until};

/// Something large, once committed.
fn megabyte(tx: &mut Tx<'_>) -> Result<u64> {
    tx.execute("INSERT INTO things (bytes) VALUES (?1)", &params![&*vec![7_u8; 1 << 20]])
}

/// A scan as long as one may be.
async fn scan(db: &Db) -> Result<i64> {
    db.scan(|tx| {
        let counted = count(tx)?;
        while !tx.is_late() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(counted)
    })
    .await
}

/// The log is cut by the first commit after its restart.
fn is_cut(fresh: &Fresh) {
    until(|| {
        let written = fresh
            .db
            .write_later(|tx| tx.execute("INSERT INTO things (words) VALUES ('a')", &[]).map(drop));
        written.expect("there is room in the queue");
        std::thread::sleep(Duration::from_millis(50));
        fresh.db.stats().log_bytes <= 64 << 20
    });
}

#[tokio::test]
async fn the_log_stays_short_while_scans_overlap() {
    const WRITTEN: u64 = 320;
    let fresh = Fresh::new();
    let scans = (0..5).map(|_| {
        let db = fresh.db.clone();
        tokio::spawn(async move {
            loop {
                scan(&db).await.expect("it waits for its turn");
            }
        })
    });
    let scans: Vec<_> = scans.collect();
    let mut longest = 0;
    for _ in 0..WRITTEN {
        fresh.db.write(megabyte).await.unwrap();
        longest = longest.max(fresh.db.stats().log_bytes);
        // The fastest disk writes no more than 80 MB in a second then.
        std::thread::sleep(Duration::from_millis(12));
    }
    let running = scans.iter().filter(|scan| !scan.is_finished()).count();
    scans.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(running, 5);
    assert!(longest < 160 << 20, "the log had {longest} bytes");
    is_cut(&fresh);
}

#[tokio::test]
async fn a_scan_does_not_wait_for_the_readers_of_others() {
    let fresh = Fresh::new();
    let beside = Db::open_beside(&fresh.url, crate::SCHEMA).expect("a command can open it");
    let (go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let reading = beside.scan(move |tx| {
        count(tx)?;
        let _ended = held.lock().map(|held| held.recv());
        Ok::<_, db::Error>(())
    });
    let reading = asked(reading).await;
    for _ in 0..80 {
        fresh.db.write(megabyte).await.unwrap();
    }
    assert!(fresh.db.stats().log_bytes > 70 << 20, "it cannot be restarted");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(fresh.db.scan(count).await, Ok(0));
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "not a second for each of them");
    drop(go);
    reading.await.unwrap();
    is_cut(&fresh);
}
