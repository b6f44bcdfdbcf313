//! The floor on SQLite: a thread that writes, readers where they are asked, and one that copies
//! the log back.

mod statements;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::Fill;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// Most inserts that share one commit.
const BATCH: usize = 128;
/// Pages in the log above which the writer starts it again: 64 MiB of 4 KiB pages.
const LONG_LOG: i64 = 16_000;
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Store {
    database: PathBuf,
    writer: SyncSender<Job>,
    log_pages: AtomicI64,
}

/// Work for the one thread that writes; the answer is the message's id, after the commit.
struct Job {
    write: Write,
    done: oneshot::Sender<i64>,
}

pub(crate) enum Write {
    Message { from: i64, to: i64, subject: Box<str>, body: Box<str> },
    Read { owner: i64, id: i64 },
}

thread_local! {
    static READER: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

impl Store {
    /// A filled one, and the threads that must not end.
    pub(crate) fn open(
        database: PathBuf,
        fill: Fill,
    ) -> Result<(&'static Self, [JoinHandle<Result<()>>; 2])> {
        let (writer, jobs) = sync_channel(4096);
        // Leaked because it lives as long as the process; a modseq shared by both runtimes would
        // cost.
        let store: &'static Self =
            Box::leak(Box::new(Self { database, writer, log_pages: AtomicI64::new(0) }));
        statements::fill(&store.connect()?, fill).context("filling the database")?;
        let threads =
            [thread::spawn(move || store.checkpoint()), thread::spawn(move || store.write(&jobs))];
        Ok((store, threads))
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        statements::open(&self.database)
    }

    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        READER.with_borrow_mut(|reader| {
            if reader.is_none() {
                *reader = Some(self.connect()?);
            }
            f(reader.as_ref().expect("opened above"))
        })
    }

    /// Copies the log back, so that no send has to wait for it.
    fn checkpoint(&self) -> Result<()> {
        let connection = self.connect()?;
        loop {
            thread::sleep(CHECKPOINT_EVERY);
            let pages =
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
            self.log_pages.store(pages, Ordering::Relaxed);
        }
    }

    fn write(&self, jobs: &Receiver<Job>) -> Result<()> {
        let connection = self.connect()?;
        let mut done = Vec::with_capacity(BATCH);
        while let Ok(first) = jobs.recv() {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let mut next = Some(first);
            while let Some(job) = next {
                done.push((job.done, apply(&connection, &job.write)?));
                next = if done.len() < BATCH { jobs.try_recv().ok() } else { None };
            }
            connection.prepare_cached("COMMIT")?.execute([])?;
            for (caller, id) in done.drain(..) {
                // A caller who hung up no longer wants to know.
                let _ = caller.send(id);
            }
            if self.log_pages.load(Ordering::Relaxed) > LONG_LOG {
                connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
                self.log_pages.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// `None` where the queue is full.
    pub(crate) async fn enqueue(&self, write: Write) -> Result<Option<i64>> {
        let (done, answer) = oneshot::channel();
        if self.writer.try_send(Job { write, done }).is_err() {
            return Ok(None);
        }
        Ok(Some(answer.await?))
    }

    pub(crate) fn inbox(&self, owner: i64) -> Result<String> {
        Ok(self.read(|connection| statements::inbox(connection, owner))?)
    }

    pub(crate) fn page(&self, owner: i64) -> Result<Vec<u8>> {
        Ok(self.read(|connection| statements::page(connection, owner))?)
    }

    pub(crate) fn message(&self, owner: i64, id: i64) -> Result<Option<(Vec<u8>, bool)>> {
        Ok(self.read(|connection| statements::message(connection, owner, id))?)
    }

    pub(crate) fn unread(&self, owner: i64) -> Result<i64> {
        Ok(self.read(|connection| statements::unread(connection, owner))?)
    }
}

fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<i64> {
    match write {
        Write::Message { from, to, subject, body } => {
            statements::send(connection, *from, *to, subject, body)
        }
        Write::Read { owner, id } => {
            statements::mark_read(connection, *owner, *id)?;
            Ok(*id)
        }
    }
}
