//! How long a stream rests after it has sent something.
//!
//! To read and to send costs a stream almost the same for ten messages as for one. Where messages
//! come to many streams at once, it would take more of the processors than those who write have
//! left; so all streams rest longer then, and read more at a time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The shortest rest: what comes to a mailbox within it is told together.
const SHORTEST: u32 = 20_000;
/// The longest one, and so the longest that a message waits.
const LONGEST: u32 = 500_000;
/// Pieces per second and processor that are sent without resting longer, at 50 to 100 microseconds
/// each: with a stream for everyone who receives, sends then keep 85 % of what they do without.
const PIECES: f64 = 750.0;
/// How often the rest is set, in microseconds.
const SPAN: u64 = 100_000;

/// What is shared by all streams; times are microseconds.
pub(super) struct Pace {
    start: Instant,
    /// When the present span began.
    began: AtomicU64,
    /// What was sent in it.
    pieces: AtomicU32,
    rest: AtomicU32,
    /// Pieces per second.
    aim: f64,
}

impl Default for Pace {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        Self {
            start: Instant::now(),
            began: AtomicU64::new(0),
            pieces: AtomicU32::new(0),
            rest: AtomicU32::new(SHORTEST),
            aim: PIECES * f64::from(processors),
        }
    }
}

impl Pace {
    /// A piece is sent; how long its stream rests.
    pub(super) fn rest(&self) -> Duration {
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.note(now)
    }

    fn note(&self, now: u64) -> Duration {
        self.pieces.fetch_add(1, Relaxed);
        let began = self.began.load(Relaxed);
        let span = now.saturating_sub(began);
        // Whoever comes first after the end of a span sets the rest of the next one.
        if span >= SPAN && self.began.compare_exchange(began, now, Relaxed, Relaxed).is_ok() {
            let pieces = f64::from(self.pieces.swap(0, Relaxed));
            let seconds = Duration::from_micros(span).as_secs_f64();
            let rest = f64::from(self.rest.load(Relaxed)) * pieces / seconds / self.aim;
            self.rest.store(bounded(rest), Relaxed);
        }
        Duration::from_micros(self.rest.load(Relaxed).into())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in bounds")]
fn bounded(rest: f64) -> u32 {
    rest.clamp(SHORTEST.into(), LONGEST.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest after a second in which so many streams send as often as they may.
    fn rest_of(pace: &Pace, busy: u64, from: u64) -> u64 {
        let (mut now, until) = (from, from + 1_000_000);
        loop {
            let rest = u64::try_from(pace.note(now).as_micros()).unwrap();
            if now >= until {
                return rest;
            }
            now += (rest / busy).max(1);
        }
    }

    #[test]
    fn the_busier_the_streams_the_longer_they_rest() {
        let pace = Pace { aim: 2000.0, ..Pace::default() };
        assert_eq!(rest_of(&pace, 1, 0), 20_000);
        assert_eq!(rest_of(&pace, 30, 1_000_000), 20_000);
        let rest = rest_of(&pace, 400, 2_000_000);
        assert!((180_000..220_000).contains(&rest), "{rest}");
        assert_eq!(rest_of(&pace, 10_000, 3_000_000), 500_000);
        assert_eq!(rest_of(&pace, 1, 4_000_000), 20_000);
    }
}
