//! At what pace each may go on, once they had much: a time of theirs is taken for everything, some
//! of it ahead, and who has taken more waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many are counted at a time; beyond that, all begin again.
const COUNTED: usize = 30_000;

/// Until when the time of each is taken.
pub struct Paces<K> {
    ends: Mutex<HashMap<K, Instant>>,
    /// The last of them, in nanoseconds since `begun`: who asks while nobody is behind takes no
    /// lock.
    last: AtomicU64,
    begun: Instant,
}

impl<K> Default for Paces<K> {
    fn default() -> Self {
        Self { ends: Mutex::default(), last: AtomicU64::new(0), begun: Instant::now() }
    }
}

impl<K: Eq + Hash> Paces<K> {
    /// How long anybody waits at most, so that connections do not wait for ever.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// Takes a time of somebody, who has so much ahead. Returns how long they wait for it; nothing
    /// is taken where that is [`LONGEST`](Self::LONGEST) or more.
    pub fn pause(&self, of: K, time: Duration, ahead: Duration, now: Instant) -> Duration {
        self.with(of, now, |end| {
            let after = now.max(*end) + time;
            let pause = after.duration_since(now).saturating_sub(ahead);
            if pause < Self::LONGEST {
                *end = after;
            }
            pause
        })
    }

    /// Takes a time of somebody for what is done already.
    pub fn take(&self, of: K, time: Duration, now: Instant) {
        self.with(of, now, |end| *end = now.max(*end) + time);
    }

    /// How long it is until somebody, who has so much ahead, may go on.
    pub fn behind(&self, of: &K, ahead: Duration, now: Instant) -> Duration {
        let last = self.begun + Duration::from_nanos(self.last.load(Relaxed));
        if last <= now + ahead {
            return Duration::ZERO;
        }
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.get(of).copied().unwrap_or(now);
        end.saturating_duration_since(now).saturating_sub(ahead)
    }

    fn with<T>(&self, of: K, now: Instant, f: impl FnOnce(&mut Instant) -> T) -> T {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() >= COUNTED && !ends.contains_key(&of) {
            ends.clear();
        }
        let end = ends.entry(of).or_insert(now);
        let result = f(end);
        let last = end.saturating_duration_since(self.begun).as_nanos();
        self.last.fetch_max(u64::try_from(last).unwrap_or(u64::MAX), Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Paces::<i64>::LONGEST;

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

    #[test]
    fn what_is_done_is_taken_however_much_it_is() {
        let (paces, now) = (Paces::default(), Instant::now());
        let behind = |of| paces.behind(&of, 3 * TIME, now);
        paces.take(1, 3 * TIME, now);
        assert_eq!(behind(1), Duration::ZERO);
        paces.take(1, TIME, now);
        paces.take(1, 2 * LONGEST, now);
        assert_eq!([behind(1), behind(2)], [TIME + 2 * LONGEST, Duration::ZERO]);
        assert_eq!(paces.behind(&1, 3 * TIME, now + 3 * LONGEST), Duration::ZERO);
    }
}
