//! Fibers: synchronous code that waits without holding its thread.
//!
//! A fiber has a stack of its own. Where it would wait, it goes back to the runtime that runs it as
//! a future, and is called again when there is something to go on with. So the closures of the
//! domain stay plain functions, and one thread waits for many connections at once: a thread for
//! each had to be woken for every answer, which cost more than most statements do.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use corosensei::{Coroutine, CoroutineResult, Yielder};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, Result};

/// The fiber that runs.
pub(super) struct Fiber<'f> {
    yielder: &'f Yielder<Waker, ()>,
    waker: RefCell<Waker>,
}

impl Fiber<'_> {
    /// Waits for a future; others run on this thread meanwhile.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let polled = {
                let waker = self.waker.borrow();
                future.as_mut().poll(&mut Context::from_waker(&waker))
            };
            match polled {
                Poll::Ready(output) => return output,
                Poll::Pending => {
                    let waker = self.yielder.suspend(());
                    self.waker.replace(waker);
                }
            }
        }
    }
}

/// Runs a function as a fiber. A panic in it is one here.
pub(super) async fn run<T: 'static>(f: impl FnOnce(&Fiber<'_>) -> T + 'static) -> T {
    let mut coroutine = Coroutine::new(move |yielder: &Yielder<Waker, ()>, waker| {
        f(&Fiber { yielder, waker: RefCell::new(waker) })
    });
    poll_fn(|cx| match coroutine.resume(cx.waker().clone()) {
        CoroutineResult::Yield(()) => Poll::Pending,
        CoroutineResult::Return(output) => Poll::Ready(output),
    })
    .await
}

/// What waits for the server's answers.
pub(super) enum Waits<'f> {
    /// A fiber, and others have its thread meanwhile.
    Fiber(&'f Fiber<'f>),
    /// The thread, for a command that has nothing else to do.
    Thread(Runtime),
}

impl Waits<'static> {
    /// The thread that calls.
    pub(super) fn thread() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|cause| Error::File(format!("cannot start a runtime: {cause}")))?;
        Ok(Self::Thread(runtime))
    }
}

impl Waits<'_> {
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Fiber(fiber) => fiber.wait(future),
            Self::Thread(runtime) => runtime.block_on(future),
        }
    }
}
