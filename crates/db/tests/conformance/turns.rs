//! Queues serve owners in turns: nobody waits behind all the work of somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;

use db::{Error, Owner, Tx};
use tokio::time::timeout;

use crate::{Fresh, PATIENCE, asked, count, hold};

const BUSY: Owner = Owner::User(1);
const OTHER: Owner = Owner::User(2);

/// How much of the first owner had begun when the write of another began, which was queued last.
async fn begun_before(other: Owner) -> usize {
    let fresh = Fresh::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let go = hold(&fresh.db);
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let begun = Arc::clone(&begun);
        let write = move |tx: &mut Tx<'_>| {
            begun.fetch_add(1, SeqCst);
            count(tx)
        };
        waiting.push(asked(fresh.db.of(BUSY).write(write)).await);
    }
    let before = Arc::clone(&begun);
    let last = asked(fresh.db.of(other).write(move |_tx| Ok::<_, Error>(before.load(SeqCst))));
    let last = last.await;
    drop(go);
    for write in waiting {
        assert_eq!(write.await, Ok(0));
    }
    last.await.expect("it is done")
}

#[tokio::test]
async fn a_write_waits_for_few_of_forty_writes_of_another_owner() {
    // On a server the other connections do not stop at the second one.
    assert!(begun_before(OTHER).await < 20);
    assert!(begun_before(Owner::Server).await < 20, "nor does the server itself");
    let address = Owner::from(std::net::IpAddr::from([192, 0, 2, 1]));
    assert!(begun_before(address).await < 20);
    assert!(begun_before(BUSY).await >= 39, "the writes of one owner keep their order");
}

#[tokio::test]
async fn a_scan_does_not_wait_for_two_scans_of_another_owner() {
    let fresh = Fresh::new();
    let (go, wait) = channel::<()>();
    let (started, running) = channel();
    let long = move |tx: &mut Tx<'_>| {
        started.send(()).expect("the test waits for it");
        wait.recv().unwrap_or_default();
        count(tx)
    };
    let first = asked(fresh.db.of(BUSY).scan(long)).await;
    running.recv().unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let second = {
        let begun = Arc::clone(&begun);
        let scan = move |tx: &mut Tx<'_>| {
            begun.fetch_add(1, SeqCst);
            count(tx)
        };
        asked(fresh.db.of(BUSY).scan(scan)).await
    };
    for _ in 0..3 {
        let other = timeout(PATIENCE, fresh.db.of(OTHER).scan(count)).await;
        assert_eq!(other.expect("it need not wait"), Ok(0));
    }
    assert_eq!(begun.load(SeqCst), 0, "one scan of an owner at a time");
    drop(go);
    assert_eq!((first.await, second.await), (Ok(0), Ok(0)));
    assert_eq!(begun.load(SeqCst), 1);
}

#[tokio::test]
async fn one_owner_fills_a_quarter_of_the_queue() {
    const SHARE: usize = 1024;
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    let nothing = |_tx: &mut Tx<'_>| Ok(());
    for _ in 0..SHARE {
        assert_eq!(fresh.db.of(BUSY).write_later(nothing), Ok(()));
    }
    assert_eq!(fresh.db.of(BUSY).write_later(nothing), Err(Error::Busy));
    assert_eq!(fresh.db.of(BUSY).write(nothing).await, Err::<(), _>(Error::Busy));
    let other = asked(fresh.db.of(OTHER).write(count)).await;
    drop(go);
    assert_eq!(other.await, Ok(0));
}
