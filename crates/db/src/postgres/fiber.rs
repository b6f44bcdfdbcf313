//! Fibers: synchronous code that waits without blocking its thread.
//!
//! A fiber has a stack of its own. Where it would wait, it returns to the runtime that runs it as a
//! future, and continues when it is woken. So the closures of the domain stay plain functions, and
//! one thread waits for many connections at once. A thread for each connection would have to be
//! woken for every answer, which takes longer than most statements.
//!
//! Dropping a suspended fiber unwinds its stack, so code that catches panics in a fiber must do it
//! with [`crate::threads::catch`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use corosensei::{Coroutine, CoroutineResult, Yielder};
use tokio::runtime::Runtime;

use crate::{Result, threads};

pub(super) struct Fiber<'f> {
    yielder: &'f Yielder<Waker, ()>,
    /// Of the current poll of the fiber's future. Replaced whenever the fiber is resumed.
    waker: RefCell<Waker>,
}

impl Fiber<'_> {
    /// Waits for a future, while other fibers run on this thread.
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

/// The coroutine of a fiber, which is dropped in the one way that [`threads::catch`] knows.
struct Stack<T: 'static>(Option<Coroutine<Waker, (), T>>);

impl<T> Drop for Stack<T> {
    fn drop(&mut self) {
        threads::drop_fiber(self.0.take());
    }
}

/// Runs a function as a fiber. If it panics, so does the future.
pub(super) async fn run<T: 'static>(f: impl FnOnce(&Fiber<'_>) -> T + 'static) -> T {
    let mut stack = Stack(Some(Coroutine::new(move |yielder: &Yielder<Waker, ()>, waker| {
        f(&Fiber { yielder, waker: RefCell::new(waker) })
    })));
    poll_fn(|cx| match stack.0.as_mut().map(|it| it.resume(cx.waker().clone())) {
        Some(CoroutineResult::Return(output)) => Poll::Ready(output),
        Some(CoroutineResult::Yield(())) | None => Poll::Pending,
    })
    .await
}

/// Who waits for the answers of the server.
pub(super) enum Waiter<'f> {
    /// A fiber, which leaves its thread to others meanwhile.
    Fiber(&'f Fiber<'f>),
    /// The thread of a command, which has nothing else to do.
    Thread(Runtime),
}

impl Waiter<'static> {
    /// The calling thread.
    pub(super) fn thread() -> Result<Self> {
        threads::runtime().map(Self::Thread)
    }
}

impl Waiter<'_> {
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Fiber(fiber) => fiber.wait(future),
            Self::Thread(runtime) => runtime.block_on(future),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Waker};

    use super::{Fiber, run};
    use crate::sqlite::prepared::Prepared;
    use crate::{Error, Result, Tx, job, threads::catch, tx::On};

    /// Drops a fiber that is suspended in `body`. Returns whether its stack was unwound, and how
    /// often `body` caught that.
    fn dropped(body: impl Fn(&Fiber<'_>, &Cell<usize>) + 'static) -> (bool, usize) {
        let caught = Rc::new(Cell::new(0));
        let on_stack = Rc::clone(&caught);
        {
            let mut fiber = pin!(run(move |fiber| body(fiber, &on_stack)));
            assert!(fiber.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(Rc::strong_count(&caught), 2, "it is suspended");
        }
        (Rc::strong_count(&caught) == 1, caught.get())
    }

    #[test]
    fn a_dropped_fiber_unwinds_through_a_loop_that_catches_panics() {
        let body = |fiber: &Fiber<'_>, caught: &Cell<usize>| {
            while catch(|| fiber.wait(pending::<()>())).is_err() {
                caught.set(caught.get() + 1);
                // Otherwise the test would never end.
                if caught.get() == 10 {
                    return;
                }
            }
        };
        assert_eq!(dropped(body), (true, 0));
    }

    #[test]
    fn a_dropped_fiber_unwinds_through_a_closure_of_a_caller() {
        let body = |fiber: &Fiber<'_>, caught: &Cell<usize>| {
            let connection = rusqlite::Connection::open_in_memory().expect("SQLite works");
            let connection = Prepared::new(connection);
            let waits = |_tx: &mut Tx<'_>| -> Result<()> {
                fiber.wait(pending::<()>());
                Ok(())
            };
            let ran: Result<(), Error> = job::run(&mut Tx::on(On::Sqlite(&connection)), waits);
            caught.set(caught.get() + usize::from(ran.is_err()));
        };
        assert_eq!(dropped(body), (true, 0));
    }

    #[test]
    fn a_panic_in_a_fiber_is_still_caught() {
        let mut fiber = pin!(run(|_fiber| catch(|| panic!("on purpose")).is_err()));
        let polled = fiber.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_ready());
    }
}
