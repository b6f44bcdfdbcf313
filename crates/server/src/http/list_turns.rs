//! Turns of those who ask for lists: one of each user is read, then others are served.
//!
//! A list is read on the thread that serves a share of all connections, and takes as long as a
//! hundred short requests. Who asks for many at once would otherwise have them all served before
//! anybody else. A long message counts as a list, and so does the body of a request.

use std::cell::RefCell;
use std::collections::HashMap;

use db::{Owner, Turns};
use domain::UserId;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::waits;

thread_local! {
    /// Those who had a turn in this round of this thread, each with their requests that wait.
    static SERVED: RefCell<HashMap<Owner, Waiting>> = RefCell::default();
}

type Waiting = Turns<Owner, oneshot::Sender<()>>;

/// Whose turn it is, and for whom: where a server key acts for users, the turn is that of the key,
/// and its users take turns of it.
#[derive(Clone, Copy)]
pub(super) struct Line {
    owner: Owner,
    user: Owner,
}

impl Line {
    pub(super) fn of_key(key: impl Into<Owner>, user: UserId) -> Self {
        Self { owner: key.into(), user: user.into() }
    }

    /// For whom the work is done.
    pub(super) fn owner(self) -> Owner {
        self.owner
    }
}

impl<T: Into<Owner>> From<T> for Line {
    fn from(owner: T) -> Self {
        let owner = owner.into();
        Self { owner, user: owner }
    }
}

/// Waits for a turn of this owner: at once, unless they had one since this thread has last looked
/// at all of its connections. Those who wait have their turns in the order in which they came.
pub(super) async fn ready(line: impl Into<Line>) {
    let line = line.into();
    let wait = SERVED.with_borrow_mut(|served| {
        let waiting = served.get_mut(&line.owner)?;
        let (turn, wait) = oneshot::channel();
        waiting.push(line.user, usize::MAX, None, turn).ok()?;
        Some(wait)
    });
    if let Some(wait) = wait {
        // It is never dropped: without its task, the thread itself has ended.
        waits::wait(wait).await.unwrap_or_default();
    }
}

/// How long a message, or the body of a request, may be without taking a turn, in bytes.
pub(super) const SHORT: usize = 8 << 10;
/// What a name in it counts: to look a person up takes longer than to copy a text.
const PERSON: usize = 100;

/// Takes the turn of an owner who was ready, where what was read for them is as long as a list.
pub(super) fn take_if_long(line: impl Into<Line>, bytes: usize, people: usize) {
    if bytes + PERSON * people > SHORT {
        take(line);
    }
}

/// Takes the turn of an owner who was ready.
pub(super) fn take(line: impl Into<Line>) {
    let begins = SERVED.with_borrow_mut(|served| {
        let begins = served.is_empty();
        served.entry(line.into().owner).or_default();
        begins
    });
    if begins {
        tokio::spawn(serve());
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
                std::iter::from_fn(|| waiting.pop()).any(|(_user, turn)| turn.send(()).is_ok())
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
    async fn a_long_message_takes_a_turn_and_a_short_one_does_not() {
        take_if_long(Owner::User(1), 2000, 5);
        SERVED.with_borrow(|served| assert!(served.is_empty()));
        take_if_long(Owner::User(1), 60_000, 2);
        take_if_long(Owner::User(2), 100, 100);
        SERVED.with_borrow(|served| assert_eq!(served.len(), 2));
        ready(Owner::User(1)).await;
    }

    /// Has all of them ask at once, but for the second, who no longer waits. Returns for which user
    /// each turn was.
    async fn turns(asking: Vec<Line>) -> Vec<Owner> {
        let served = Rc::new(RefCell::new(Vec::new()));
        let ask = |line: Line| {
            let served = Rc::clone(&served);
            async move {
                ready(line).await;
                take(line);
                served.borrow_mut().push(line.user);
            }
        };
        let all = async {
            let asked: Vec<_> = asking.into_iter().map(|line| spawn_local(ask(line))).collect();
            // It takes nobody's turn.
            asked[1].abort();
            for one in asked {
                drop(one.await);
            }
        };
        LocalSet::new().run_until(all).await;
        SERVED.with_borrow(|served| assert!(served.is_empty(), "nothing is kept of anybody"));
        served.take()
    }

    #[tokio::test]
    async fn users_for_whom_a_key_asks_have_turns_of_each_other() {
        let asking = [1, 1, 1, 1, 1, 2, 2, 3].map(Owner::User);
        let asking = asking.map(|user| Line { owner: Owner::Program(1), user });
        let expected = [1, 1, 2, 3, 1, 2, 1].map(Owner::User);
        assert_eq!(turns(asking.into()).await, expected);
    }

    #[tokio::test]
    async fn who_asks_for_much_waits_behind_others_who_ask_for_little() {
        let asking = [1, 1, 1, 1, 1, 2, 2, 3].map(|user| Line::from(Owner::User(user)));
        let mut served = turns(asking.into()).await;
        // The owners of a round have no order.
        served[3..5].sort_unstable_by_key(|user| format!("{user:?}"));
        assert_eq!(served, [1, 2, 3, 1, 2, 1, 1].map(Owner::User));
    }
}
