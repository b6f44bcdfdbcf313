//! At what pace each may go on, once they had much: a time of theirs is taken for everything, some
//! of it ahead, and who has taken more waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long anybody waits at most, so that connections do not wait for ever.
pub(super) const LONGEST: Duration = Duration::from_secs(5);
/// How many are counted at a time; beyond that, all begin again.
const COUNTED: usize = 30_000;

/// Until when the time of each is taken.
pub(crate) struct Paces<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Paces<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Paces<K> {
    /// Takes a time of somebody, who has so much ahead. Returns how long they wait for it; nothing
    /// is taken where that is [`LONGEST`] or more.
    pub(super) fn pause(&self, of: K, time: Duration, ahead: Duration, now: Instant) -> Duration {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() >= COUNTED && !ends.contains_key(&of) {
            ends.clear();
        }
        let end = ends.entry(of).or_insert(now);
        let after = now.max(*end) + time;
        let pause = after.duration_since(now).saturating_sub(ahead);
        if pause < LONGEST {
            *end = after;
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(20);

    #[test]
    fn who_had_much_waits_in_turn_and_others_do_not() {
        let (paces, now) = (Paces::default(), Instant::now());
        let mut pauses = std::iter::repeat_with(|| paces.pause(1, TIME, 100 * TIME, now));
        assert!(pauses.by_ref().take(100).all(|pause| pause.is_zero()));
        assert_eq!(pauses.next(), Some(TIME));
        assert_eq!(pauses.next(), Some(2 * TIME));
        // However much they ask for.
        assert!(pauses.take(10_000).all(|pause| pause <= LONGEST));
        assert_eq!(paces.pause(2, TIME, 100 * TIME, now), Duration::ZERO);
    }

    #[test]
    fn who_pauses_begins_again_and_nobody_waits_longer_for_what_they_did_not_get() {
        let (paces, now) = (Paces::default(), Instant::now());
        for _ in 0..10_000 {
            paces.pause(1, TIME, 100 * TIME, now);
        }
        let soon = now + LONGEST;
        let pause = |at| paces.pause(1, TIME, 100 * TIME, at);
        assert_eq!([(); 2].map(|()| pause(soon)), [Duration::ZERO, TIME]);
        let later = soon + TIME * 101;
        assert!((0..100).all(|_| pause(later).is_zero()));
    }
}
