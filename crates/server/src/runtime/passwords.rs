//! The threads that hash passwords, so that sign-ins do not delay other requests.
//!
//! Who needs a hash takes a place first. An address has few places, registrations have few, and an
//! address is served by one thread at a time, and not by the same again while another one waits;
//! sign-ins come first. So neither an address with many connections nor a wave of registrations
//! keeps others waiting. Of the costly hashes that other programs have made one is verified at a
//! time, which bounds the memory and leaves the other threads to the others.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::throttle::Network;
use tokio::sync::oneshot;

/// How nice the threads are: above scans, which would starve who signs in, and below what answers
/// requests. They get a quarter of a busy processor, so a hash takes a tenth of a second. With a
/// tenth of it, one user who reads all the time made others wait for their sign-in for seconds.
const NICE: i32 = 5;
/// Places in all: at 25 ms each, the last one waits 1.6 s.
const PLACES: usize = 64;
/// Places of registrations.
const REGISTRATIONS: usize = 16;
/// Places of one address; a network of IPv6 has more, and none has more than half of all.
const SHARE: i64 = 8;

/// How long a thread has nothing to do before the memory of its hashes goes back to the system.
const IDLE: Duration = Duration::from_secs(2);

/// How long it counts that verifying took longer than it should.
const SLOW_FOR: Duration = Duration::from_mins(10);
/// How many times as long as it should failures wait at most: who waits for them gives up.
const SLOWEST: f64 = 4.0;
/// The next one may take somewhat longer.
const MARGIN: f64 = 1.25;

/// What a password is hashed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    SignIn,
    Registration,
}

/// A pool of threads, which end when it is dropped.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    /// How many times as long as it should verifying has taken at most, and when.
    slowness: Mutex<Option<(f64, Instant)>>,
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sign_ins: VecDeque<Job>,
    registrations: VecDeque<Job>,
    /// The places that are taken: all, those of registrations, those of each network.
    taken: usize,
    registering: usize,
    by_network: HashMap<Network, usize>,
    /// The widest networks of those who are being served, each by one thread.
    served: Vec<Network>,
    runs_costly: bool,
    is_closed: bool,
}

struct Job {
    /// The widest network of who waits for it; `None` where that says nothing.
    network: Option<Network>,
    is_costly: bool,
    work: Box<dyn FnOnce() + Send>,
}

/// What a thread did before.
#[derive(Clone, Copy, Default)]
struct Last {
    network: Option<Network>,
    is_costly: bool,
}

/// A place in the queue, which is free again when this is dropped, or when what it was used for is
/// done.
pub(crate) struct Place {
    queue: Arc<Queue>,
    purpose: Purpose,
    networks: Vec<Network>,
}

impl Pool {
    /// Starts the threads.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue { state: Mutex::default(), changed: Condvar::new() });
        let pool = Self { queue: Arc::clone(&queue), slowness: Mutex::default() };
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            let name = format!("password-{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&queue))?;
        }
        Ok(pool)
    }

    /// Notes how long it has taken to verify a hash that should take no longer than `wait`.
    pub(crate) fn note(&self, took: Duration, wait: Duration) {
        let now = Instant::now();
        let slower = (took.as_secs_f64() / wait.as_secs_f64() * MARGIN).min(SLOWEST);
        let mut slowness = self.slowness.lock().unwrap_or_else(PoisonError::into_inner);
        if slowness.is_none_or(|(most, at)| slower >= most || now - at > SLOW_FOR) {
            *slowness = Some((slower, now));
        }
    }

    /// How long failures wait where it should be `wait`: as much longer as verifying took lately,
    /// on a machine that is slow or busy.
    pub(crate) fn stretch(&self, wait: Duration) -> Duration {
        let slowness = *self.slowness.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = slowness.filter(|(_, at)| at.elapsed() <= SLOW_FOR);
        recent.map_or(wait, |(slower, _)| wait.mul_f64(slower.max(1.0)))
    }

    /// Takes a place for a client at that address, if one is free that it may take. No address is
    /// one that many clients may have.
    pub(crate) fn place(&self, address: Option<IpAddr>, purpose: Purpose) -> Option<Place> {
        let networks: Vec<_> = address.into_iter().flat_map(Network::all_of).collect();
        let mut state = self.queue.state();
        let has_share = |network: &Network| {
            let share = usize::try_from(SHARE * network.share()).unwrap_or(PLACES);
            state.by_network.get(network).is_none_or(|taken| *taken < share.min(PLACES / 2))
        };
        let registers = purpose == Purpose::Registration;
        if state.taken >= PLACES
            || registers && state.registering >= REGISTRATIONS
            || !networks.iter().all(has_share)
        {
            return None;
        }
        state.taken += 1;
        state.registering += usize::from(registers);
        for network in &networks {
            *state.by_network.entry(*network).or_default() += 1;
        }
        drop(state);
        Some(Place { queue: Arc::clone(&self.queue), purpose, networks })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.is_closed = true;
        // They hold places, which hold the queue.
        let left = (std::mem::take(&mut state.sign_ins), std::mem::take(&mut state.registrations));
        drop(state);
        drop(left);
        self.queue.changed.notify_all();
    }
}

impl Place {
    /// Runs `work` on the pool.
    ///
    /// # Errors
    /// [`db::Error::Closed`] if the pool has ended.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, db::Error> {
        self.queue_up(false, work).await
    }

    /// The same for costly work, of which the pool does one at a time.
    ///
    /// # Errors
    /// [`db::Error::Closed`] if the pool has ended.
    pub(crate) async fn run_alone<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, db::Error> {
        self.queue_up(true, work).await
    }

    async fn queue_up<T: Send + 'static>(
        self,
        is_costly: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, db::Error> {
        let (reply, answer) = oneshot::channel();
        let (queue, purpose) = (Arc::clone(&self.queue), self.purpose);
        let network = self.networks.last().copied();
        let work = Box::new(move || {
            // The client may be gone.
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
            drop(self);
        });
        queue.push(purpose, Job { network, is_costly, work });
        answer.await.map_err(|_gone| db::Error::Closed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.taken -= 1;
        state.registering -= usize::from(self.purpose == Purpose::Registration);
        for network in &self.networks {
            if let Some(taken) = state.by_network.get_mut(network) {
                *taken -= 1;
                if *taken == 0 {
                    state.by_network.remove(network);
                }
            }
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, purpose: Purpose, job: Job) {
        let mut state = self.state();
        if state.is_closed {
            // Its place needs the lock.
            drop(state);
            return drop(job);
        }
        match purpose {
            Purpose::SignIn => state.sign_ins.push_back(job),
            Purpose::Registration => state.registrations.push_back(job),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for a job, of another client than the last one if there is one; `None` if the pool has
    /// ended.
    fn next(&self, last: Last) -> Option<Job> {
        let (mut has_memory, mut state) = (true, self.state());
        state.served.retain(|served| Some(*served) != last.network);
        state.runs_costly &= !last.is_costly;
        let mut last = last.network;
        loop {
            if let Some(job) = state.next(last.take()) {
                state.served.extend(job.network);
                state.runs_costly |= job.is_costly;
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            if !has_memory {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout(state, IDLE);
            let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if waited.timed_out() {
                drop(state);
                return_memory();
                has_memory = false;
                state = self.state();
            }
        }
    }
}

impl State {
    fn next(&mut self, last: Option<Network>) -> Option<Job> {
        let Self { sign_ins, registrations, served, runs_costly, .. } = self;
        [sign_ins, registrations].into_iter().find_map(|waiting| {
            let is_free = |job: &Job| {
                job.network.is_none_or(|of| !served.contains(&of))
                    && !(job.is_costly && *runs_costly)
            };
            let is_other = |job: &Job| job.network.is_none() || job.network != last;
            let other = waiting.iter().position(|job| is_free(job) && is_other(job));
            waiting.remove(other.or_else(|| waiting.iter().position(is_free))?)
        })
    }
}

/// Makes the allocator return the memory of hashes to the system. By itself it kept some 40 MiB on
/// a quiet server for as long as that was watched, until a piece of this size was freed.
fn return_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
}

fn work(queue: &Queue) {
    db::be_nice(NICE);
    let mut last = Last::default();
    while let Some(Job { network, is_costly, work }) = queue.next(last) {
        last = Last { network, is_costly };
        work();
    }
}
