//! The threads that hash passwords, so that sign-ins do not delay other requests.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Sign-ins that may wait for a thread: at 25 ms each, the last one waits 1.6 s.
const QUEUE: usize = 64;
/// The lowest priority: other threads go first.
const NICE: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads, which its clones share.
#[derive(Clone)]
pub(crate) struct Pool {
    sender: SyncSender<Job>,
}

impl Pool {
    /// Starts the threads, which end when the last clone of the pool is dropped.
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

    /// Runs `work` on the pool.
    ///
    /// # Errors
    /// [`db::Error::Busy`] if the queue is full.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, db::Error> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || {
            // The client may be gone.
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
    // On Linux this sets the priority of the calling thread only.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "cannot lower the priority of a password thread");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}
