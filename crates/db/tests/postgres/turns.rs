//! One owner does not get all connections, and neither do those who wait for one lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use db::{Db, Error, Of, Options, Owner, Result, Tx};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{
    CONNECTIONS, Opened, PATIENCE, counters, increment, lock_first_counter, patient, pause,
};

const BUSY: Owner = Owner::User(1);
const OTHER: Owner = Owner::User(2);

/// Work that waits until it is told to end, and counts itself while it runs.
#[derive(Clone, Default)]
struct Held {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Held {
    fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        while self.ended.load(SeqCst) == 0 {
            pause(tx)?;
        }
        self.running.fetch_sub(1, SeqCst);
        Ok(())
    }

    fn start(&self, opened: &Opened, of: Kind, writes: bool) -> JoinHandle<Result<()>> {
        let (held, db) = (self.clone(), opened.db.clone());
        tokio::spawn(async move {
            let work = move |tx: &mut Tx<'_>| held.run(tx);
            let db = of(&db);
            if writes { db.write(work).await } else { db.read(work).await }
        })
    }
}

/// Whose work it is, and of which kind.
type Kind = fn(&Db) -> Of<'_>;

async fn until(holds: impl Fn() -> bool) {
    let holds = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holds).await.expect("it happens");
}

/// Starts more work of an owner than there are connections. Returns how much of it ran at once,
/// while another read and wrote.
async fn most_of(of: Kind, writes: bool) -> usize {
    // Without names, each read is run by a fiber.
    let options = Options { named_statements: false, ..patient() };
    let Some(opened) = Opened::with(options, |_address| {}) else { return 0 };
    let held = Held::default();
    let all: Vec<_> = (0..3 * CONNECTIONS).map(|_| held.start(&opened, of, writes)).collect();
    until(|| held.running.load(SeqCst) > 0 && opened.db.stats().queued == all.len()).await;
    let others = async {
        for _ in 0..3 {
            assert_eq!(opened.db.of(OTHER).write(|tx| increment(tx, 2)).await, Ok(1));
            opened.db.of(OTHER).read(counters).await.expect("it can be read");
        }
    };
    timeout(PATIENCE, others).await.expect("others have connections");
    held.ended.store(1, SeqCst);
    for one in all {
        assert_eq!(one.await.expect("it does not panic"), Ok(()));
    }
    held.most.load(SeqCst)
}

#[tokio::test]
async fn two_writes_of_a_user_have_a_connection_and_others_have_the_rest() {
    assert!(most_of(|db| db.of(BUSY), true).await <= 2);
}

#[tokio::test]
async fn a_quarter_of_the_connections_serves_one_user_or_address_and_half_of_them_one_key() {
    let quarter = CONNECTIONS.div_ceil(4);
    assert!(most_of(|db| db.of(BUSY), false).await <= quarter);
    assert!(most_of(|db| db.of(Owner::Address(1)), true).await <= quarter);
    assert!(most_of(|db| db.of(Owner::Program(1)), true).await <= CONNECTIONS.div_ceil(2));
}

#[tokio::test]
async fn of_long_work_one_of_a_user_runs_and_a_quarter_of_the_connections_serves_one_key() {
    for writes in [false, true] {
        assert!(most_of(|db| db.of(BUSY).long(), writes).await <= 1, "{writes}");
        let of_key = most_of(|db| db.of(Owner::Program(1)).long(), writes).await;
        assert!(of_key <= CONNECTIONS.div_ceil(4), "{writes}");
        assert!(most_of(|db| db.of(BUSY).wide(), writes).await <= 1, "{writes}");
        assert!(most_of(|db| db.of(Owner::Program(1)).wide(), writes).await <= 1, "{writes}");
    }
}

#[tokio::test]
async fn writes_of_many_that_wait_for_one_lock_leave_connections_to_others() {
    let Some(opened) = Opened::new() else { return };
    let (go, holder) = lock_first_counter(&opened.db).await;
    let blocked: Vec<_> = (0..40)
        .map(|number| {
            let db = opened.db.clone();
            let owner = Owner::User(100 + number);
            tokio::spawn(async move { db.of(owner).write(|tx| increment(tx, 1)).await })
        })
        .collect();
    until(|| opened.db.stats().queued > blocked.len()).await;
    for _ in 0..3 {
        let other = opened.db.of(OTHER).write(|tx| increment(tx, 2));
        let other = timeout(PATIENCE / 4, other).await;
        assert_eq!(other.expect("it need not wait for the lock"), Ok(1));
    }
    drop(go);
    assert_eq!(holder.await.unwrap(), Ok(()));
    for write in blocked {
        assert_eq!(write.await.unwrap(), Ok::<_, Error>(1), "each of them is done");
    }
    assert_eq!(opened.db.read(counters).await, Ok(vec![41, 3]));
}
