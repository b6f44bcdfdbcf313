//! How long a stream pauses after it has sent something.
//!
//! Reading and sending costs almost the same for ten messages as for one. Where messages come to
//! many streams at once, sending each at once would take the processors from those who write; so
//! all streams pause longer then, and read more at a time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The shortest pause in microseconds: what comes to a mailbox within it is sent together.
const SHORTEST: u32 = 20_000;
/// The longest pause, and so the longest that a message waits.
const LONGEST: u32 = 500_000;
/// Pieces per second and processor that are sent without a longer pause, at 50 to 100 microseconds
/// each: with a stream for every recipient, sends keep 85 % of their throughput without streams.
const PIECES: f64 = 750.0;
/// How often the pause is adjusted, in microseconds.
const SPAN: u64 = 100_000;

/// Shared by all streams; times are microseconds.
pub(super) struct Pacing {
    start: Instant,
    /// When the current span began; the thread that moves it sets `pause`.
    began: AtomicU64,
    /// Pieces sent in the current span.
    pieces: AtomicU32,
    pause: AtomicU32,
    aim: f64,
}

impl Default for Pacing {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let processors = u32::try_from(processors).unwrap_or(u32::MAX);
        Self {
            start: Instant::now(),
            began: AtomicU64::new(0),
            pieces: AtomicU32::new(0),
            pause: AtomicU32::new(SHORTEST),
            aim: PIECES * f64::from(processors),
        }
    }
}

impl Pacing {
    /// Counts a piece that was sent; returns how long its stream pauses.
    pub(super) fn pause(&self) -> Duration {
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.count(now)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    fn count(&self, now: u64) -> Duration {
        self.pieces.fetch_add(1, Relaxed);
        let began = self.began.load(Relaxed);
        let span = now.saturating_sub(began);
        if span >= SPAN && self.began.compare_exchange(began, now, Relaxed, Relaxed).is_ok() {
            let pieces = f64::from(self.pieces.swap(0, Relaxed));
            let seconds = Duration::from_micros(span).as_secs_f64();
            let pause = f64::from(self.pause.load(Relaxed)) * pieces / seconds / self.aim;
            self.pause.store(pause.clamp(SHORTEST.into(), LONGEST.into()) as u32, Relaxed);
        }
        Duration::from_micros(self.pause.load(Relaxed).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after a second in which so many streams send as often as they may.
    fn pause_of(pacing: &Pacing, busy: u64, from: u64) -> u64 {
        let (mut now, until) = (from, from + 1_000_000);
        loop {
            let pause = u64::try_from(pacing.count(now).as_micros()).unwrap();
            if now >= until {
                return pause;
            }
            now += (pause / busy).max(1);
        }
    }

    #[test]
    fn the_busier_the_streams_the_longer_they_pause() {
        let pacing = Pacing { aim: 2000.0, ..Pacing::default() };
        assert_eq!(pause_of(&pacing, 1, 0), 20_000);
        assert_eq!(pause_of(&pacing, 30, 1_000_000), 20_000);
        let pause = pause_of(&pacing, 400, 2_000_000);
        assert!((180_000..220_000).contains(&pause), "{pause}");
        assert_eq!(pause_of(&pacing, 10_000, 3_000_000), 500_000);
        assert_eq!(pause_of(&pacing, 1, 4_000_000), 20_000);
    }
}
