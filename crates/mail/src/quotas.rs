//! How much a user may send in a window of time. A window begins with the first use after the
//! last one was over.

use db::{Tx, params};

use crate::{Cx, Error, Over, Result, Time, UserId};

/// How much a user may do; all are settings of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages in an hour.
    pub sends_per_hour: i64,
    /// Messages in a day.
    pub sends_per_day: i64,
    /// First messages to somebody in an hour.
    pub contacts_per_hour: i64,
    /// First messages to somebody in a day.
    pub contacts_per_day: i64,
    /// How long an account is young, in microseconds.
    pub young_for: i64,
    /// A young account has this part of each limit, at least 1.
    pub young_divisor: i64,
}

/// What is limited. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SendsHour = 1,
    SendsDay = 2,
    ContactsHour = 3,
    ContactsDay = 4,
}

impl Kind {
    const SENDS: [Self; 2] = [Self::SendsHour, Self::SendsDay];
    const ALL: [Self; 4] = [Self::SendsHour, Self::SendsDay, Self::ContactsHour, Self::ContactsDay];

    fn name(self) -> &'static str {
        match self {
            Self::SendsHour => "send-hour",
            Self::SendsDay => "send-day",
            Self::ContactsHour => "contact-hour",
            Self::ContactsDay => "contact-day",
        }
    }

    fn length(self) -> i64 {
        match self {
            Self::SendsHour | Self::ContactsHour => Time::HOUR,
            Self::SendsDay | Self::ContactsDay => Time::DAY,
        }
    }

    fn limit(self, limits: &Limits, young: bool) -> i64 {
        let limit = match self {
            Self::SendsHour => limits.sends_per_hour,
            Self::SendsDay => limits.sends_per_day,
            Self::ContactsHour => limits.contacts_per_hour,
            Self::ContactsDay => limits.contacts_per_day,
        };
        if young { (limit / limits.young_divisor).max(limit.min(1)) } else { limit }
    }

    fn taken(self, contacts: i64) -> i64 {
        match self {
            Self::SendsHour | Self::SendsDay => 1,
            Self::ContactsHour | Self::ContactsDay => contacts,
        }
    }
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// `send-hour`, `send-day`, `contact-hour` or `contact-day`.
    pub name: &'static str,
    /// How much the window allows.
    pub limit: i64,
    /// How long the window is.
    pub window_seconds: i64,
    /// How much it allows still.
    pub remaining: i64,
    /// When the next one can begin.
    pub reset_seconds: i64,
}

/// A window of a user as it is after the taking.
struct Window {
    kind: Kind,
    limit: i64,
    used: i64,
    started_at: Time,
}

impl Window {
    fn seconds_left(&self, cx: &Cx) -> i64 {
        cx.now.seconds_until(self.started_at.plus(self.kind.length()))
    }

    fn standing(&self, cx: &Cx) -> Standing {
        Standing {
            name: self.kind.name(),
            limit: self.limit,
            window_seconds: self.kind.length() / Time::SECOND,
            remaining: self.limit - self.used,
            reset_seconds: self.seconds_left(cx),
        }
    }

    fn refusal(&self, cx: &Cx) -> Error {
        Error::QuotaExceeded(Over {
            name: self.kind.name(),
            limit: self.limit,
            window_seconds: self.kind.length() / Time::SECOND,
            retry_after: self.seconds_left(cx),
        })
    }
}

/// Takes one message and `contacts` first messages to somebody from what the owner may send, all
/// or nothing, and tells what is left of each limit that it touched.
///
/// The owner's mailbox was advanced before it: that is the lock.
///
/// # Errors
/// [`Error::QuotaExceeded`] where a limit does not allow it: of several the one that holds up
/// longest.
pub fn take(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    limits: &Limits,
    contacts: i64,
) -> Result<Vec<Standing>> {
    let young = is_young(tx, cx, owner, limits)?;
    let stored = tx.query(
        "SELECT kind, used, window_started_at FROM quotas WHERE owner_id = ?1",
        &params![owner],
        |row| Ok((row.int(0)?, row.int(1)?, Time(row.int(2)?))),
    )?;
    let kinds: &[Kind] = if contacts == 0 { &Kind::SENDS } else { &Kind::ALL };
    let window = |kind: &Kind| {
        // A window that begins later than now was begun by a clock that was wrong.
        let runs = |from: Time| from.has_come(cx.now) && cx.now < from.plus(kind.length());
        let running =
            stored.iter().find(|(stored, _, from)| *stored == *kind as i64 && runs(*from));
        let (used, started_at) = running.map_or((0, cx.now), |(_, used, from)| (*used, *from));
        let used = used + kind.taken(contacts);
        Window { kind: *kind, limit: kind.limit(limits, young), used, started_at }
    };
    let windows: Vec<_> = kinds.iter().map(window).collect();
    let exceeded = windows.iter().filter(|window| window.used > window.limit);
    if let Some(longest) = exceeded.max_by_key(|window| window.seconds_left(cx)) {
        return Err(longest.refusal(cx));
    }
    let row = |window: &Window| params![owner, window.kind as i64, window.used, window.started_at];
    tx.batch(
        "INSERT INTO quotas (owner_id, kind, used, window_started_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (owner_id, kind) DO UPDATE SET used = ?3, window_started_at = ?4",
        &windows.iter().map(row).collect::<Vec<_>>(),
    )?;
    Ok(windows.iter().map(|window| window.standing(cx)).collect())
}

/// Whether the account is young; asked only where that makes a difference.
fn is_young(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, limits: &Limits) -> Result<bool> {
    if limits.young_for <= 0 || limits.young_divisor <= 1 {
        return Ok(false);
    }
    let created_at =
        tx.query_one("SELECT created_at FROM users WHERE id = ?1", &params![owner], |row| {
            Ok(Time(row.int(0)?))
        })?;
    Ok(cx.now < created_at.plus(limits.young_for))
}
