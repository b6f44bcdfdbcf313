//! The bounded pool that hashes passwords, so that sign-ins never hold up letters.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Sign-ins that may wait: at 25 ms each the last one waits 1.6 s on one thread; more is `Busy`.
const QUEUE: usize = 64;
/// The lowest priority: whoever only reads or writes goes first.
const NICE: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that hash; clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    sender: SyncSender<Job>,
}

impl Pool {
    /// Starts so many threads. They end with the last clone of the pool.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let (sender, jobs) = sync_channel::<Job>(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            let name = format!("password-{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&jobs))?;
        }
        Ok(Self { sender })
    }

    /// Runs some work on the pool.
    ///
    /// # Errors
    /// [`db::Error::Busy`] where too many wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, db::Error> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || {
            // Whoever has gone away needs no hash.
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
        });
        self.sender.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => db::Error::Busy,
            TrySendError::Disconnected(_) => db::Error::Closed,
        })?;
        answer.await.map_err(|_gone| db::Error::Closed)
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // On Linux the priority belongs to the thread that asks.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the priority of a password thread stays as it is");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}
