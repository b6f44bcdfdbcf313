//! The pace of writes that tell many.

use std::time::Duration;

use db::{Error, Notice, Owner, Paces, Tx};

use crate::Fresh;

const ANN: Owner = Owner::User(1);

/// A write that tells so many.
async fn tell(fresh: &Fresh, owner: Owner, many: i64) -> Result<(), Error> {
    let write = move |tx: &mut Tx<'_>| {
        for key in 0..many {
            tx.notify(Notice { topic: 1, key });
        }
        Ok::<_, Error>(())
    };
    fresh.db.of(owner).write(write).await
}

#[tokio::test]
async fn who_tells_very_many_is_to_wait_and_nobody_else() {
    let fresh = Fresh::new();
    fresh.db.keep_pace();
    for _ in 0..10 {
        tell(&fresh, ANN, 100).await.expect("so many are free");
    }
    assert_eq!(fresh.db.pause(ANN), Duration::ZERO);
    tell(&fresh, ANN, 500).await.expect("it is done at once, and taken from the time to come");
    assert!(fresh.db.pause(ANN) > Duration::ZERO);
    for owner in [Owner::User(2), Owner::Program(1), Owner::Server, Owner::Address(1)] {
        assert_eq!(fresh.db.pause(owner), Duration::ZERO, "{owner:?}");
    }
}

#[tokio::test]
async fn who_does_not_wait_is_refused() {
    let fresh = Fresh::new();
    fresh.db.keep_pace();
    tell(&fresh, ANN, 100_000).await.expect("nothing was taken before");
    assert!(fresh.db.pause(ANN) > Paces::<Owner>::LONGEST);
    assert_eq!(tell(&fresh, ANN, 0).await, Err(Error::Busy));
    tell(&fresh, Owner::User(2), 0).await.expect("somebody else is not");
}

#[tokio::test]
async fn programs_the_server_and_what_tells_a_few_are_free() {
    let fresh = Fresh::new();
    fresh.db.keep_pace();
    for owner in [Owner::Program(1), Owner::Server] {
        tell(&fresh, owner, 100_000).await.expect("it keeps no pace");
        tell(&fresh, owner, 1).await.expect("it keeps no pace");
    }
    for _ in 0..500 {
        tell(&fresh, ANN, 10).await.expect("a message to a few");
    }
    assert_eq!(fresh.db.pause(ANN), Duration::ZERO);
}

#[tokio::test]
async fn what_fails_tells_nobody_and_takes_nothing() {
    let fresh = Fresh::new();
    fresh.db.keep_pace();
    let write = |tx: &mut Tx<'_>| {
        for key in 0..100_000 {
            tx.notify(Notice { topic: 1, key });
        }
        Err::<(), _>(Error::NoRow)
    };
    assert_eq!(fresh.db.of(ANN).write(write).await, Err(Error::NoRow));
    assert_eq!(fresh.db.pause(ANN), Duration::ZERO);
}
