//! A network that drops everything, or cuts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use db::{Db, Error, Tx};
use testing::Proxy;

use crate::{
    BOUND, CONNECTIONS, Opened, assert_all_connections_work, counters, increment, note, notes,
    open, usual,
};

/// The database through a proxy, and the proxy.
fn through_a_proxy(opened: &Opened) -> (Db, Arc<Proxy>) {
    let (before, rest) = opened.address.split_once("://").expect("it is a URL");
    let (host, database) = rest.split_once('/').expect("it names a database");
    let (user, host) = host.rsplit_once('@').expect("it names a user");
    let (_, port) = host.rsplit_once(':').expect("it names a port");
    let proxy = Arc::new(Proxy::start(port.parse().expect("a port is a number")));
    let address = format!("{before}://{user}@127.0.0.1:{}/{database}", proxy.port());
    (open(&address, usual()).expect("it can be opened"), proxy)
}

#[tokio::test]
async fn a_commit_whose_answer_never_comes_is_unknown_in_time() {
    let Some(opened) = Opened::new() else { return };
    let (db, proxy) = through_a_proxy(&opened);
    assert_all_connections_work(&db).await;
    let hole = Arc::clone(&proxy);
    let runs = Arc::new(AtomicUsize::new(0));
    let ran = Arc::clone(&runs);
    let begun = Instant::now();
    let write = db.write(move |tx| {
        ran.fetch_add(1, SeqCst);
        note("ann")(tx)?;
        hole.black_hole(true);
        Ok::<_, Error>(())
    });
    assert_eq!(write.await, Err(Error::Unknown));
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!(runs.load(SeqCst), 1, "it must not be tried again");
    proxy.black_hole(false);
    assert_all_connections_work(&db).await;
    assert!(db.read(notes).await.unwrap().len() <= 1);
}

#[tokio::test]
async fn no_request_hangs_on_a_connection_that_drops_everything() {
    let Some(opened) = Opened::new() else { return };
    let (db, proxy) = through_a_proxy(&opened);
    assert_all_connections_work(&db).await;
    // More than there are connections; those that wait have no more time than the others.
    let hole = Arc::clone(&proxy);
    let begun = Instant::now();
    let writer = db.clone();
    let first = tokio::spawn(async move {
        let write = move |tx: &mut Tx<'_>| {
            increment(tx, 1)?;
            hole.black_hole(true);
            increment(tx, 2)
        };
        writer.write::<_, Error, _>(write).await
    });
    let others: Vec<_> = (0..4 * CONNECTIONS)
        .map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                match number % 3 {
                    0 => db.read(notes).await.map(drop),
                    1 => db.scan(notes).await.map(drop),
                    _ => db.write(note(format!("note {number}"))).await,
                }
            })
        })
        .collect();
    let first = first.await.unwrap();
    assert!(matches!(first, Err(Error::Unavailable(_))), "{first:?}");
    for other in others {
        match other.await.unwrap() {
            // It was faster, or it was committing; there is no other result.
            Ok(()) | Err(Error::Unavailable(_) | Error::Unknown) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    // New connections get no answer either.
    let begun = Instant::now();
    let later = db.read(notes).await;
    assert!(matches!(later, Err(Error::Unavailable(_))), "{later:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    proxy.black_hole(false);
    assert_all_connections_work(&db).await;
    assert_eq!(db.read(counters).await, Ok(vec![0, 0]), "nothing of the first");
}

#[tokio::test]
async fn after_a_cut_connection_work_runs_again_but_never_twice() {
    let Some(opened) = Opened::new() else { return };
    let (db, proxy) = through_a_proxy(&opened);
    for round in 1..=10 {
        let (cut, mut runs) = (Arc::clone(&proxy), 0);
        let write = db.write::<_, Error, _>(move |tx: &mut Tx<'_>| {
            runs += 1;
            increment(tx, 1)?;
            if runs == 1 {
                cut.cut();
            }
            increment(tx, 2)
        });
        assert_eq!(write.await, Ok(1));
        assert_eq!(db.read(counters).await, Ok(vec![round, round]));
        proxy.cut();
    }
    assert_all_connections_work(&db).await;
}
