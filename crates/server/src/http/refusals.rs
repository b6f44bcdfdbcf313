//! Who is refused again and again gets their answers in turn.
//!
//! A refusal costs work as well, and no quota counts it. Who asks for nothing else, as fast as
//! they can, would take the processors from everybody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::Peer;
use super::forwarded::Forwarded;
use super::unfinished_bodies::Holder;

/// Between two refusals of one user or address, once there were many.
const SPAN: Duration = Duration::from_millis(20);
/// Refusals that are not held back.
const AT_ONCE: u32 = 100;
/// How long a refusal is held back at most, so that connections do not wait for ever.
const LONGEST: Duration = Duration::from_secs(5);
/// Users and addresses that are counted at a time; beyond that, all begin again.
const HOLDERS: usize = 10_000;

/// Whether a response is a refusal. What says how things are (404, 409, 412) is none, since those
/// who keep a copy of their mailbox get many of these.
pub(super) fn is_one(status: StatusCode) -> bool {
    let says_how_things_are =
        [StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
    status == StatusCode::SERVICE_UNAVAILABLE
        || status.is_client_error() && !says_how_things_are.contains(&status)
}

/// When the turns of each end that are taken.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<Holder, Instant>>);

impl Refusals {
    /// Counts a refusal of a user, or of an address where no credential was accepted. Returns how
    /// long it is held back. A server key is the operator's own, and loopback addresses stand for
    /// many, so theirs are not counted.
    pub(super) fn count(&self, accepted: Option<Holder>, from: Forwarded) -> Duration {
        let stranger = || Some(Holder::Stranger(Peer(from.public_address()?).network()));
        match accepted.or_else(stranger) {
            Some(Holder::Key) | None => Duration::ZERO,
            Some(holder) => self.pause(holder, Instant::now()),
        }
    }

    fn pause(&self, holder: Holder, now: Instant) -> Duration {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() >= HOLDERS && !ends.contains_key(&holder) {
            ends.clear();
        }
        let end = ends.entry(holder).or_insert(now);
        *end = now.max(*end);
        let pause = end.duration_since(now).saturating_sub(SPAN * (AT_ONCE - 1));
        if pause < LONGEST {
            *end += SPAN;
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn of(number: u8) -> Holder {
        Holder::Stranger(IpAddr::from([192, 0, 2, number]))
    }

    #[test]
    fn many_refusals_of_one_are_in_turn_and_those_of_others_at_once() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let mut pauses = std::iter::repeat_with(|| refusals.pause(of(1), now));
        assert!(pauses.by_ref().take(100).all(|pause| pause.is_zero()));
        assert_eq!(pauses.next(), Some(SPAN));
        assert_eq!(pauses.next(), Some(2 * SPAN));
        // However many connections wait.
        assert!(pauses.take(10_000).all(|pause| pause <= LONGEST));
        assert_eq!(refusals.pause(of(2), now), Duration::ZERO);
    }

    #[test]
    fn who_pauses_begins_again_and_nobody_waits_longer_for_having_been_refused_before() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for _ in 0..10_000 {
            refusals.pause(of(1), now);
        }
        let soon = now + LONGEST;
        assert_eq!([(); 2].map(|()| refusals.pause(of(1), soon)), [Duration::ZERO, SPAN]);
        let later = soon + SPAN * (AT_ONCE + 1);
        assert!((0..100).all(|_| refusals.pause(of(1), later).is_zero()));
    }

    #[test]
    fn what_says_how_things_are_is_no_refusal() {
        for (status, is_refusal) in
            [(200, false), (304, false), (404, false), (409, false), (412, false), (500, false)]
                .into_iter()
                .chain([400, 401, 403, 413, 422, 429, 503].map(|status| (status, true)))
        {
            assert_eq!(is_one(StatusCode::from_u16(status).unwrap()), is_refusal, "{status}");
        }
    }
}
