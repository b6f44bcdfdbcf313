//! Threads, runtimes and locks of the engines, and panics on them.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::runtime::Runtime;

use crate::{Error, Result};

pub(crate) fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = Builder::new().name(name.to_owned()).spawn(f);
    spawned.map_err(|cause| Error::Setup(format!("cannot start a thread: {cause}")))
}

/// Lets other threads go before the calling one: the nicer it is, up to 19, the longer it waits
/// while the processors are busy.
pub fn be_nice(nice: i32) {
    // On Linux this sets the priority of the calling thread only.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

pub(crate) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|cause| Error::Setup(format!("cannot start a runtime: {cause}")))
}

pub(crate) fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a database thread had panicked");
        }
    }
}

/// Locks a mutex whose data stays valid if its holder panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Whether this thread is dropping a fiber. A suspended fiber is dropped by unwinding its
    /// stack, which passes through the same frames as a panic and must not be stopped there.
    static DROPS_A_FIBER: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` and returns its panic, if it panics. The unwinding of a dropped fiber goes on.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        if DROPS_A_FIBER.get() {
            resume_unwind(panic);
        }
        panic
    })
}

/// Drops a fiber, which may be suspended inside [`catch`].
pub(crate) fn drop_fiber<T>(fiber: T) {
    let outer = DROPS_A_FIBER.replace(true);
    drop(fiber);
    DROPS_A_FIBER.set(outer);
}

/// The message of a caught panic; empty if the panic carries no text.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
