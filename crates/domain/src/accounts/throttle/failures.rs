//! How many failures are free, and how long further ones are delayed.

use crate::base::{Error, Exceeded, Result, Time};

/// How many failures are free in a window, and how long further ones are delayed.
#[derive(Clone, Copy)]
pub(super) struct Policy {
    name: &'static str,
    free: i64,
    window: i64,
    first_delay: i64,
    longest_delay: i64,
}

/// 10 attempts, then one after 30 s, 1 min, 2 min … at most 20 min: fewer than 100 guesses in any
/// 24 hours, also where one window ends and the next begins, and never a permanent lock.
pub(super) const ACCOUNT: Policy = Policy {
    name: "login-account",
    free: 10,
    window: Time::DAY,
    first_delay: 30 * Time::SECOND,
    longest_delay: 20 * Time::MINUTE,
};

/// 30 failures a minute.
pub(super) const ADDRESS: Policy = Policy {
    name: "login-address",
    free: 30,
    window: Time::MINUTE,
    first_delay: Time::MINUTE,
    longest_delay: Time::MINUTE,
};

impl Policy {
    /// The policy of somebody who may do so many times as much.
    pub(super) fn times(self, share: i64) -> Self {
        Self { free: self.free * share, ..self }
    }
}

/// The failures of somebody in a window.
#[derive(Clone, Copy)]
pub(super) struct Failures {
    pub(super) number: i64,
    pub(super) started: Time,
    pub(super) blocked_until: Time,
}

impl Failures {
    pub(super) const NONE: Self = Self { number: 0, started: Time(0), blocked_until: Time(0) };

    /// One more, under a policy.
    ///
    /// # Errors
    /// [`Error::Throttled`] where it comes too early.
    pub(super) fn one_more(self, policy: &Policy, now: Time) -> Result<Self> {
        // A delay that ends later than the longest one was written by a wrong clock.
        let until = self.blocked_until;
        if until.plus(-policy.longest_delay).runs(policy.longest_delay, now) {
            return Err(Error::Throttled(Exceeded {
                name: policy.name,
                limit: policy.free,
                window_seconds: policy.window / Time::SECOND,
                retry_after: now.seconds_until(until),
            }));
        }
        let (before, started) = self.in_window(policy.window, now);
        let number = before + 1;
        let blocked_until = if number < policy.free {
            Time(0)
        } else {
            let doublings = u32::try_from((number - policy.free).min(20)).unwrap_or(20);
            now.plus((policy.first_delay << doublings).min(policy.longest_delay))
        };
        Ok(Self { number, started, blocked_until })
    }

    /// How many there were in the window of this length that runs now, and when it began.
    pub(super) fn in_window(self, window: i64, now: Time) -> (i64, Time) {
        if self.started.runs(window, now) { (self.number, self.started) } else { (0, now) }
    }

    /// When nothing of them is needed any more. A delay that starts late outlasts its window.
    pub(super) fn expires_at(self, policy: &Policy) -> Time {
        self.started.plus(policy.window).max(self.blocked_until)
    }
}
