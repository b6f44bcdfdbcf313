//! Turns of those who ask for lists: one of each user is read, then others are served.
//!
//! A list is read on the thread that serves a share of all connections, and takes as long as a
//! hundred short requests. Who asks for many at once would otherwise have them all served before
//! anybody else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};

use db::Owner;
use tokio::sync::oneshot;
use tokio::task::yield_now;

thread_local! {
    /// Those who had a turn in this round of this thread, each with their requests that wait.
    static SERVED: RefCell<HashMap<Owner, VecDeque<oneshot::Sender<()>>>> = RefCell::default();
}

/// Waits for a turn of this owner: at once, unless they had one since this thread has last looked
/// at all of its connections. Those who wait have their turns in the order in which they came.
pub(super) async fn turn(owner: impl Into<Owner>) {
    let owner = owner.into();
    let (begins, wait) = SERVED.with_borrow_mut(|served| {
        let begins = served.is_empty();
        match served.entry(owner) {
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                (begins, None)
            }
            Entry::Occupied(mut place) => {
                let (turn, wait) = oneshot::channel();
                place.get_mut().push_back(turn);
                (begins, Some(wait))
            }
        }
    });
    if begins {
        tokio::spawn(serve());
    }
    if let Some(wait) = wait {
        // It is never dropped: without its task, the thread itself has ended.
        wait.await.unwrap_or_default();
    }
}

/// Gives turns, one of each owner in a round, until nobody waits.
async fn serve() {
    loop {
        // Everything that was ready when it began is served before it goes on.
        yield_now().await;
        let is_done = SERVED.with_borrow_mut(|served| {
            served.retain(|_, waiting| {
                // Some may no longer wait.
                std::iter::from_fn(|| waiting.pop_front()).any(|turn| turn.send(()).is_ok())
            });
            served.is_empty()
        });
        if is_done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn who_asks_for_much_waits_behind_others_who_ask_for_little() {
        let served = Rc::new(RefCell::new(Vec::new()));
        let ask = |user: i64| {
            let served = Rc::clone(&served);
            async move {
                turn(Owner::User(user)).await;
                served.borrow_mut().push(user);
            }
        };
        let local = LocalSet::new();
        let all = local.run_until(async {
            let asked = [1, 1, 1, 1, 1, 2, 2, 3].map(|user| spawn_local(ask(user)));
            // One that no longer waits takes nobody's turn.
            asked[1].abort();
            for one in asked {
                drop(one.await);
            }
        });
        all.await;
        assert_eq!(*served.borrow(), [1, 2, 3, 1, 2, 1, 1]);
        SERVED.with_borrow(|served| assert!(served.is_empty(), "nothing is kept of anybody"));
    }
}
