//! Quotas: how much a user may send and look up in a window of time. A window begins with the first
//! use after the last window ended.

use crate::accounts::{modseq, users};
use crate::base::{Cx, Error, Exceeded, Result, Time, UserId};
use db::{Tx, params};

/// How much a user may send and look up, from the settings of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendLimits {
    /// Messages in an hour.
    pub sends_per_hour: i64,
    /// Messages in a day.
    pub sends_per_day: i64,
    /// New contacts in an hour: people written to for the first time.
    pub contacts_per_hour: i64,
    /// New contacts in a day.
    pub contacts_per_day: i64,
    /// Look-ups in an hour: of users, and of recipients whom a message did not reach. Either says
    /// who is there.
    pub lookups_per_hour: i64,
    /// How long an account counts as young, in microseconds.
    pub young_for: i64,
    /// Each limit of a young account is divided by this, but is at least 1.
    pub young_divisor: i64,
}

/// A quota. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quota {
    SendsHour = 1,
    SendsDay = 2,
    ContactsHour = 3,
    ContactsDay = 4,
    LookupsHour = 5,
}

impl Quota {
    const ALL: [Self; 5] =
        [Self::SendsHour, Self::SendsDay, Self::ContactsHour, Self::ContactsDay, Self::LookupsHour];

    fn name(self) -> &'static str {
        match self {
            Self::SendsHour => "send-hour",
            Self::SendsDay => "send-day",
            Self::ContactsHour => "contact-hour",
            Self::ContactsDay => "contact-day",
            Self::LookupsHour => "lookup-hour",
        }
    }

    fn length(self) -> i64 {
        match self {
            Self::SendsHour | Self::ContactsHour | Self::LookupsHour => Time::HOUR,
            Self::SendsDay | Self::ContactsDay => Time::DAY,
        }
    }

    fn limit(self, limits: &SendLimits, young: bool) -> i64 {
        let limit = match self {
            Self::SendsHour => limits.sends_per_hour,
            Self::SendsDay => limits.sends_per_day,
            Self::ContactsHour => limits.contacts_per_hour,
            Self::ContactsDay => limits.contacts_per_day,
            Self::LookupsHour => limits.lookups_per_hour,
        };
        if young { (limit / limits.young_divisor).max(limit.min(1)) } else { limit }
    }

    fn taken(self, use_of: &Use) -> i64 {
        match self {
            Self::SendsHour | Self::SendsDay => use_of.sends,
            Self::ContactsHour | Self::ContactsDay => use_of.contacts,
            Self::LookupsHour => use_of.lookups,
        }
    }
}

/// What is taken from the quotas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Messages.
    pub sends: i64,
    /// New contacts.
    pub contacts: i64,
    /// Look-ups, and recipients whom a message did not reach.
    pub lookups: i64,
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// `send-hour`, `send-day`, `contact-hour`, `contact-day` or `lookup-hour`.
    pub name: &'static str,
    /// How much a window allows.
    pub limit: i64,
    /// The length of a window in seconds.
    pub window_seconds: i64,
    /// How much is left in it.
    pub remaining: i64,
    /// Seconds until the window ends.
    pub reset_seconds: i64,
}

/// A user's window, with what is taken now.
struct Window {
    kind: Quota,
    limit: i64,
    used: i64,
    started_at: Time,
}

impl Window {
    fn seconds_left(&self, cx: &Cx) -> i64 {
        cx.now.seconds_until(self.started_at.plus(self.kind.length()))
    }

    fn remaining(&self, cx: &Cx) -> Remaining {
        Remaining {
            name: self.kind.name(),
            limit: self.limit,
            window_seconds: self.kind.length() / Time::SECOND,
            remaining: self.limit - self.used,
            reset_seconds: self.seconds_left(cx),
        }
    }

    fn refusal(&self, cx: &Cx) -> Error {
        Error::QuotaExceeded(Exceeded {
            name: self.kind.name(),
            limit: self.limit,
            window_seconds: self.kind.length() / Time::SECOND,
            retry_after: self.seconds_left(cx),
        })
    }
}

/// Takes look-ups from the owner's quota.
///
/// # Errors
/// [`Error::QuotaExceeded`]; [`Error::NotLoggedIn`] where the owner was disabled meanwhile.
pub fn take_lookups(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    limits: &SendLimits,
    lookups: i64,
) -> Result<()> {
    modseq::lock(tx, owner)?;
    // They are counted late, and of an erased account nothing may be stored.
    users::confirm_enabled(tx, owner)?;
    take(tx, cx, owner, limits, &Use { lookups, ..Use::default() }).map(drop)
}

/// Takes what is used from the owner's quotas, all or nothing. Returns what is left of each quota
/// that it touched.
///
/// The owner's mailbox was locked before.
///
/// # Errors
/// [`Error::QuotaExceeded`] where a quota does not allow it; of several, the one with the longest
/// wait.
pub fn take(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    limits: &SendLimits,
    use_of: &Use,
) -> Result<Vec<Remaining>> {
    let windows = windows(tx, cx, owner, limits, use_of)?;
    let row = |window: &Window| params![owner, window.kind as i64, window.used, window.started_at];
    tx.batch(
        "INSERT INTO quotas (owner_id, kind, used, window_started_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (owner_id, kind) DO UPDATE SET used = ?3, window_started_at = ?4",
        &windows.iter().map(row).collect::<Vec<_>>(),
    )?;
    Ok(windows.iter().map(|window| window.remaining(cx)).collect())
}

/// Makes sure that what would be used is within the owner's quotas, and takes nothing.
///
/// # Errors
/// As [`take`].
pub fn check(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    limits: &SendLimits,
    use_of: &Use,
) -> Result<()> {
    windows(tx, cx, owner, limits, use_of).map(drop)
}

/// The windows of the quotas that something touches, with what it takes.
fn windows(
    tx: &mut Tx<'_>,
    cx: &Cx,
    owner: UserId,
    limits: &SendLimits,
    use_of: &Use,
) -> Result<Vec<Window>> {
    let young = is_young(tx, cx, owner, limits)?;
    let stored = tx.query(
        "SELECT kind, used, window_started_at FROM quotas WHERE owner_id = ?1",
        &params![owner],
        |row| Ok((row.int(0)?, row.int(1)?, Time(row.int(2)?))),
    )?;
    let kinds = Quota::ALL.iter().filter(|kind| kind.taken(use_of) > 0);
    let window = |kind: &Quota| {
        let runs = |from: Time| from.runs(kind.length(), cx.now);
        let running =
            stored.iter().find(|(stored, _, from)| *stored == *kind as i64 && runs(*from));
        let (used, started_at) = running.map_or((0, cx.now), |(_, used, from)| (*used, *from));
        let used = used + kind.taken(use_of);
        Window { kind: *kind, limit: kind.limit(limits, young), used, started_at }
    };
    let windows: Vec<_> = kinds.map(window).collect();
    let exceeded = windows.iter().filter(|window| window.used > window.limit);
    if let Some(longest) = exceeded.max_by_key(|window| window.seconds_left(cx)) {
        return Err(longest.refusal(cx));
    }
    Ok(windows)
}

/// Whether the account is young; looked up only where that makes a difference.
fn is_young(tx: &mut Tx<'_>, cx: &Cx, owner: UserId, limits: &SendLimits) -> Result<bool> {
    if limits.young_for <= 0 || limits.young_divisor <= 1 {
        return Ok(false);
    }
    let created_at =
        tx.query_one("SELECT created_at FROM users WHERE id = ?1", &params![owner], |row| {
            Ok(Time(row.int(0)?))
        })?;
    Ok(created_at.runs(limits.young_for, cx.now))
}
