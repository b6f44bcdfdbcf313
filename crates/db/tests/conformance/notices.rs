//! Notices: received on all nodes, after the commit and never without it.

use std::collections::HashSet;
use std::time::Duration;

use db::{Db, Error, Heard, Notice, Result, Tx};
use testing::{Engine, engine};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::{Fresh, PATIENCE, SCHEMA, add, asked, count, hold};

fn about(key: i64) -> Notice {
    Notice { topic: 7, key }
}

/// A write that adds a user and sends a notice.
fn add_and_tell(key: i64) -> impl FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static {
    move |tx| {
        tx.notify(about(key));
        add(format!("user {key}"))(tx)
    }
}

type Listener = UnboundedReceiver<Heard>;

/// Receives everything from now on, in order.
fn listen(db: &Db) -> Listener {
    let (pass_on, heard) = unbounded_channel();
    db.listen(move |notice| {
        // The other end of the channel may have been dropped.
        let _ = pass_on.send(notice);
    });
    heard
}

async fn next(listener: &mut Listener) -> Option<Heard> {
    timeout(PATIENCE, listener.recv()).await.expect("something is heard")
}

/// The next notice, after perhaps a `Missed` from before the bus was connected.
async fn next_notice(listener: &mut Listener) -> Notice {
    loop {
        match next(listener).await {
            Some(Heard::Notice(notice)) => return notice,
            Some(Heard::Missed) => {}
            None => panic!("the database was closed"),
        }
    }
}

/// Another node: a handle that receives the notices of other nodes.
async fn another_node(fresh: &Fresh) -> (Db, Listener) {
    let db = Db::open(&fresh.url, SCHEMA).expect("a server may have several nodes");
    let mut listener = listen(&db);
    // Its bus is connected when it reports that notices may have been missed.
    assert_eq!(next(&mut listener).await, Some(Heard::Missed));
    (db, listener)
}

#[tokio::test]
async fn a_notice_is_received_on_this_node_when_its_write_is_acknowledged() {
    let fresh = Fresh::new();
    fresh.db.write(add_and_tell(2)).await.unwrap();
    let mut listener = listen(&fresh.db);
    for key in [1, -5, i64::MAX, i64::MIN] {
        fresh.db.write(add_and_tell(key)).await.unwrap();
        // It was received before the write was acknowledged, not later.
        let mut heard = listener.try_recv();
        while heard == Ok(Heard::Missed) {
            heard = listener.try_recv();
        }
        assert_eq!(heard, Ok(Heard::Notice(about(key))), "only what comes from now on");
    }
}

#[tokio::test]
async fn a_write_that_fails_sends_no_notice() {
    let fresh = Fresh::new();
    let mut listener = listen(&fresh.db);
    fresh.db.write(add_and_tell(1)).await.unwrap();
    let refused = fresh.db.write(|tx| {
        add_and_tell(2)(tx)?;
        Err::<(), _>(Error::NoRow)
    });
    refused.await.unwrap_err();
    fresh.db.write(add_and_tell(1)).await.unwrap_err();
    let panicked = fresh.db.write(|tx| -> Result<()> {
        add_and_tell(3)(tx)?;
        panic!("on purpose");
    });
    panicked.await.unwrap_err();
    let deaf = fresh.db.write(|tx| {
        tx.notify(about(4));
        add("user 1")(tx).unwrap_err();
        Ok::<_, Error>(())
    });
    deaf.await.unwrap_err();
    fresh.db.write(add_and_tell(9)).await.unwrap();
    assert_eq!(next_notice(&mut listener).await, about(1));
    assert_eq!(next_notice(&mut listener).await, about(9));
}

#[tokio::test]
async fn a_notice_comes_after_its_commit() {
    let fresh = Fresh::new();
    let mut listener = listen(&fresh.db);
    let writes: Vec<_> = (0..100)
        .map(|key| {
            let db = fresh.db.clone();
            tokio::spawn(async move { db.write(add_and_tell(key)).await })
        })
        .collect();
    let mut heard = HashSet::new();
    while heard.len() < 100 {
        heard.insert(next_notice(&mut listener).await);
        let there = usize::try_from(fresh.db.read(count).await.unwrap()).unwrap();
        assert!(there >= heard.len(), "{there} of {}", heard.len());
    }
    for write in writes {
        write.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_notice_is_not_received_before_its_write_ends() {
    let fresh = Fresh::new();
    let mut listener = listen(&fresh.db);
    let go = hold(&fresh.db);
    let write = asked(fresh.db.write(add_and_tell(1))).await;
    // It may first report that earlier ones were missed.
    while let Ok(heard) = timeout(Duration::from_millis(50), listener.recv()).await {
        assert_eq!(heard, Some(Heard::Missed));
    }
    drop(go);
    write.await.unwrap();
    assert_eq!(next_notice(&mut listener).await, about(1));
}

#[tokio::test]
async fn a_repeated_notice_of_a_write_is_received_once() {
    let fresh = Fresh::new();
    let mut listener = listen(&fresh.db);
    let many = |tx: &mut Tx<'_>| {
        for key in [1, 1, 1, 2, 2, 1] {
            tx.notify(about(key));
        }
        add("ann")(tx)
    };
    fresh.db.write(many).await.unwrap();
    fresh.db.write(add_and_tell(9)).await.unwrap();
    for expected in [1, 2, 1, 9] {
        assert_eq!(next_notice(&mut listener).await, about(expected));
    }
}

#[tokio::test]
async fn a_listener_ends_with_the_database() {
    let fresh = Fresh::new();
    let mut listener = listen(&fresh.db);
    let db = fresh.db.clone();
    db.close();
    drop((db, fresh));
    while let Some(heard) = next(&mut listener).await {
        assert_eq!(heard, Heard::Missed);
    }
}

#[tokio::test]
async fn another_node_receives_notices_of_commits_and_nothing_else() {
    if engine() == Engine::Sqlite {
        // SQLite has one node.
        return;
    }
    let fresh = Fresh::new();
    let mut here = listen(&fresh.db);
    assert_eq!(next(&mut here).await, Some(Heard::Missed));
    let (node, mut there) = another_node(&fresh).await;
    fresh.db.write(add_and_tell(1)).await.unwrap();
    fresh.db.write(add_and_tell(1)).await.unwrap_err();
    fresh.db.write(add_and_tell(2)).await.unwrap();
    let mut heard = HashSet::from([next_notice(&mut there).await]);
    assert!(node.read(count).await.unwrap() >= 1, "it is there for this node too");
    heard.insert(next_notice(&mut there).await);
    assert_eq!(heard, HashSet::from([about(1), about(2)]));
    // And in the other direction; a node receives its own only once.
    node.write(add_and_tell(3)).await.unwrap();
    assert_eq!(next_notice(&mut there).await, about(3));
    for expected in [1, 2, 3] {
        assert_eq!(next_notice(&mut here).await, about(expected));
    }
    // A command connects its bus only at its end.
    let command = fresh.beside();
    command.write(add_and_tell(4)).await.unwrap();
    command.close();
    assert_eq!(next_notice(&mut here).await, about(4));
    assert_eq!(next_notice(&mut there).await, about(4));
    // Many are sent in several payloads.
    let many = |tx: &mut Tx<'_>| {
        (1_000..4_000).for_each(|key| tx.notify(about(key)));
        add("some")(tx)
    };
    fresh.db.write(many).await.unwrap();
    let mut heard = HashSet::new();
    while heard.len() < 3_000 {
        heard.insert(next_notice(&mut there).await);
    }
    // Too many for the payloads are reported as missed.
    let many = |tx: &mut Tx<'_>| {
        (10_000..40_000).for_each(|key| tx.notify(about(key)));
        add("many")(tx)
    };
    fresh.db.write(many).await.unwrap();
    assert_eq!(next(&mut there).await, Some(Heard::Missed));
}
