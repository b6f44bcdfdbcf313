//! A pooler before the server, which gives each transaction another session.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use db::{Db, Error, Options, Result, Tx, params};

use crate::{
    CONNECTIONS, SCHEMA, assert_all_connections_work, cluster, counters, increment, left_out,
    lock_first_counter, meet, note, notes, open, patient, until, url,
};

/// The usual operations of callers, and what must not go wrong with them.
pub(crate) async fn assert_the_main_paths_work(db: &Db) {
    let ids = db.write(|tx| {
        let insert = "INSERT INTO notes (words) VALUES (?1)";
        let id = tx.insert(insert, &params!["one"])?;
        let changed = tx.batch(insert, &[params!["two"], params!["three"], params!["four"]])?;
        Ok::<_, Error>((id, changed))
    });
    let (id, changed) = ids.await.expect("they can be added");
    assert_eq!(changed, 3);
    let found = db.read(move |tx| {
        let list = "SELECT id, words FROM notes WHERE id IN rarray(?1)";
        tx.query(list, &params![&[id, -7][..]], |row| Ok((row.int(0)?, row.text(1)?.to_owned())))
    });
    assert_eq!(found.await, Ok(vec![(id, "one".to_owned())]));
    let twice = Err(Error::Unique("notes_words_key".into()));
    assert_eq!(db.write(note("one")).await, twice);
    let in_a_batch = db.write(|tx| {
        note("five")(tx)?;
        let insert = "INSERT INTO notes (words) VALUES (?1)";
        tx.batch(insert, &[params!["six"], params!["one"], params!["seven"]]).map(drop)
    });
    assert_eq!(in_a_batch.await, twice);
    let refused = db.write(|tx| {
        note("five")(tx)?;
        Err::<(), _>(Error::NoRow)
    });
    assert_eq!(refused.await, Err(Error::NoRow));
    let sorted = ["four", "one", "three", "two"].map(str::to_owned);
    assert_eq!(db.read(notes).await, Ok(sorted.to_vec()));
    // One snapshot, and no way to write.
    let here = Arc::new(AtomicUsize::new(0));
    let met = Arc::clone(&here);
    let twice = move |tx: &mut Tx<'_>| -> Result<_> {
        let before = counters(tx)?;
        meet(tx, &met, 2)?;
        Ok((before, counters(tx)?))
    };
    let between = async {
        while here.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let written = db.write(|tx| increment(tx, 1)).await;
        here.fetch_add(1, SeqCst);
        written
    };
    let (read, written) = tokio::join!(db.read(twice), between);
    let (before, after) = read.expect("they can be read");
    assert_eq!((before, written), (after, Ok(1)));
    for read in [
        db.read(note("smuggled")).await,
        db.scan(note("smuggled")).await,
        db.read(|tx| notes(tx).and_then(|_| note("smuggled")(tx))).await,
    ] {
        assert!(matches!(read, Err(Error::Engine(_))), "{read:?}");
    }
    assert_eq!(db.read(notes).await, Ok(sorted.to_vec()));
    let panicked = db.write(|tx| -> Result<()> {
        note("five")(tx)?;
        panic!("on purpose");
    });
    assert_eq!(panicked.await, Err(Error::Panicked("on purpose".into())));
    assert_eq!(db.read(notes).await, Ok(sorted.to_vec()));
    assert_all_connections_work(db).await;
}

/// Asserts that waiting for a lock is limited.
async fn assert_locks_are_busy(db: &Db) {
    let (go, holder) = lock_first_counter(db).await;
    assert_eq!(db.write(|tx| increment(tx, 1)).await, Err(Error::Busy));
    drop(go);
    assert_eq!(holder.await.expect("it does not panic"), Ok(()));
}

/// A running pooler, which ends when this is dropped.
struct Pooler {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// A pooler with fewer sessions than we have connections.
    fn start(server: u16) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
        let program = program.into_iter().find(|program| Path::new(program).is_file())?;
        let folder = tempfile::tempdir_in("/tmp").expect("a folder can be made");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        // Below the range of outgoing connections, where a port could connect to itself.
        let mut ports = (10_000_u16..15_000).skip(std::process::id() as usize % 4_000);
        let port = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let port = port.expect("a port is free");
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {}\n",
            CONNECTIONS + 1,
        );
        fs::write(&settings, text).expect("it can be written");
        // It must end with us, and refuses to run as root.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if rustix::process::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(program).arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("it can be started");
        until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { process, port, _folder: folder })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn the_promises_hold_behind_pgbouncer() {
    let Some(cluster) = cluster() else { return };
    let Some(pooler) = Pooler::start(cluster.port()) else { return left_out() };
    let direct = cluster.url("postgres");
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", pooler.port);
    let options = || Options {
        named_statements: false,
        lock_timeout: Duration::from_millis(500),
        notices: Some(direct.clone()),
        ..patient()
    };
    Db::migrate(&url(&address, options()), SCHEMA, 1).expect("it can be migrated");
    cluster.sql("postgres", "ALTER DATABASE postgres SET synchronous_commit = off");
    let db = open(&address, options()).expect("it can be opened");
    // Other clients of its sessions find them with their default settings.
    let other = open(&address, options()).expect("it can be opened");
    assert_the_main_paths_work(&db).await;
    assert_locks_are_busy(&db).await;
    assert_all_connections_work(&other).await;
    let synchronous = db.write(|tx| {
        let setting = "SELECT current_setting('synchronous_commit')";
        tx.query_one(setting, &[], |row| Ok(row.text(0)?.to_owned()))
    });
    assert_eq!(synchronous.await.as_deref(), Ok("on"));
    for setting in ["default_transaction_read_only", "statement_timeout", "lock_timeout"] {
        let left = testing::sql(&address, &format!("SHOW {setting}")).concat().concat();
        assert!(["off", "0"].contains(&&*left), "{setting} was left to others as {left}");
    }
    // Notices go around the pooler.
    let (pass_on, mut heard_there) = tokio::sync::mpsc::unbounded_channel();
    other.listen(move |notice| {
        // The other end of the channel may have been dropped.
        let _ = pass_on.send(notice);
    });
    let notice = db::Notice { topic: 1, key: 2 };
    let heard = async {
        loop {
            let said = db.write(move |tx| {
                tx.notify(notice);
                increment(tx, 2)
            });
            said.await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(100), heard_there.recv()).await;
            if next == Ok(Some(db::Heard::Notice(notice))) {
                break;
            }
        }
    };
    tokio::time::timeout(crate::PATIENCE, heard).await.expect("it is heard");
}
