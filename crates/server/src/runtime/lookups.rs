//! Look-ups of users: each is counted here, and a score of them at once in the database, so that
//! most cost no write. A node that stops forgets less than a score of each user.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use db::Of;
use domain::quotas::{self, SendLimits};
use domain::{Cx, Error, Exceeded, Result, Time, UserId};

/// How many are counted before they are written.
const SCORE: i64 = 20;
/// Users whose look-ups are counted at a time; beyond that, all begin again.
const USERS: usize = 10_000;

#[derive(Default)]
pub(crate) struct Lookups(Mutex<HashMap<UserId, Counted>>);

#[derive(Default)]
struct Counted {
    unwritten: i64,
    /// Which limit was reached, and until when it holds.
    reached: Option<(Exceeded, Time)>,
}

impl Lookups {
    /// Counts look-ups of a user.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`].
    pub(crate) async fn count(
        &self,
        db: Of<'_>,
        cx: &Cx,
        user: UserId,
        (count, limits): (usize, SendLimits),
    ) -> Result<()> {
        let Some(lookups) = self.add(cx, user, count, &limits)? else { return Ok(()) };
        let at = *cx;
        match db.write(move |tx| quotas::take_lookups(tx, &at, user, &limits, lookups)).await {
            Err(Error::QuotaExceeded(exceeded)) => {
                let until = cx.now.plus(exceeded.retry_after * Time::SECOND);
                let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                users.entry(user).or_default().reached = Some((exceeded, until));
                Err(Error::QuotaExceeded(exceeded))
            }
            // Where nothing can be written, people can still be looked up.
            _ => Ok(()),
        }
    }

    /// Adds to what is counted here. Returns what is to be written now.
    fn add(&self, cx: &Cx, user: UserId, count: usize, limits: &SendLimits) -> Result<Option<i64>> {
        // The smaller the limit, the more exactly it is kept.
        let score = (limits.lookups_per_hour / 50).clamp(1, SCORE);
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= USERS && !users.contains_key(&user) {
            users.clear();
        }
        let counted = users.entry(user).or_default();
        // What is reached for longer than a window was by a wrong clock.
        let holds = |until: &Time| (cx.now..cx.now.plus(Time::HOUR)).contains(&until.plus(-1));
        if let Some((exceeded, until)) = counted.reached.filter(|(_, until)| holds(until)) {
            let retry_after = cx.now.seconds_until(until);
            return Err(Error::QuotaExceeded(Exceeded { retry_after, ..exceeded }));
        }
        counted.reached = None;
        counted.unwritten += i64::try_from(count).unwrap_or(i64::MAX);
        let is_due = counted.unwritten >= score;
        Ok(is_due.then(|| std::mem::take(&mut counted.unwritten)))
    }
}
