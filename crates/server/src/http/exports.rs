//! Exports that run: of each user one at a time, as each keeps a page in memory while its client
//! reads it. The next one waits, without a connection of the database.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::UserId;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use super::waits;

#[derive(Default)]
pub(crate) struct Exports(Mutex<HashMap<UserId, Arc<Queue<()>>>>);

/// The turn of an export; dropping it gives it to the next one.
pub(super) struct Turn {
    of: Arc<Exports>,
    user: UserId,
    taken: Option<OwnedMutexGuard<()>>,
}

impl Exports {
    fn running(&self) -> MutexGuard<'_, HashMap<UserId, Arc<Queue<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no export of that user runs.
    pub(super) async fn turn(self: &Arc<Self>, user: UserId) -> Turn {
        // Who gives up waiting drops this, too.
        let mut turn = Turn { of: Arc::clone(self), user, taken: None };
        let queue = Arc::clone(self.running().entry(user).or_default());
        turn.taken = Some(waits::wait(queue.lock_owned()).await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.taken = None;
        // Nobody runs or waits who is not counted here.
        if let Entry::Occupied(queue) = self.of.running().entry(self.user)
            && Arc::strong_count(queue.get()) == 1
        {
            queue.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn exports_of_a_user_take_turns_and_nothing_is_kept_of_them() {
        let exports = Arc::new(Exports::default());
        let [ann, bob] = [1, 2].map(|id| UserId::new(id).expect("it is an id"));
        let first = exports.turn(ann).await;
        let other = exports.turn(bob).await;
        let mut second = Box::pin(exports.turn(ann));
        let mut given_up = Box::pin(exports.turn(ann));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(given_up.as_mut().now_or_never().is_none());
        drop((first, given_up));
        let second = second.as_mut().now_or_never().expect("it is its turn");
        assert_eq!(exports.running().len(), 2);
        drop((second, other));
        assert!(exports.running().is_empty());
    }
}
