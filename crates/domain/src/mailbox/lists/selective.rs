//! Pages whose filter is tried on one entry after the other, with so much work and no more.

use db::Tx;

use super::{Filter, newest};
use crate::accounts::users;
use crate::base::{Budget, MessageId, Result, Time, UserId};
use crate::mailbox::entries::Entry;
use crate::mailbox::envelopes::{self, BodyPart, SNIPPET};
use crate::mailbox::messages::{self, Message};

/// The work of a page, at most about 120 ms: some 10,000 entries, 4,000 short messages, 7 MB of
/// English text, or five messages of 64 KiB that Unicode makes 18 times longer.
const PAGE: u64 = 8 << 20;
/// What it costs to read an entry, to try it, and to load its message with the first bytes of the
/// body; eight more of them are one unit.
pub(super) const ENTRY: u64 = 200;
const TRIED: u64 = 600;
const MESSAGE: u64 = 1_200;
/// Entries that are read at once, also where their texts have to be.
const STEP: usize = 500;
const TEXTS_STEP: usize = 200;
/// Budget after which to look at the clock: about 2 ms of it.
const UNTIMED: u64 = 1 << 17;
/// How far apart the clocks may be that set the times of two messages.
const SKEW: i64 = Time::DAY;

/// A page as far as it has come.
struct Scan<'a> {
    owner: UserId,
    filter: &'a Filter,
    /// The user whom the filter names.
    with: Option<UserId>,
    limit: usize,
    budget: Budget,
    /// Budget at the last look at the clock.
    timed: u64,
    items: Vec<Message>,
    /// The last message that was looked at. Every page looks at one at least.
    looked: Option<MessageId>,
}

/// How a step ended.
enum Ended {
    /// All of it was looked at; and whether it came to what is older than the filter wants.
    Through { too_old: bool },
    /// The page is full, or its work or time is used up.
    Here,
}

/// Up to `limit` messages that fit, and below which one the next page begins.
pub(super) fn select(
    tx: &mut Tx<'_>,
    owner: UserId,
    filter: &Filter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<(Vec<Message>, Option<MessageId>)> {
    let longest = if filter.needs_texts() { TEXTS_STEP } else { STEP };
    let with = match &filter.with {
        Some(of) => users::id_of(tx, of)?,
        None => None,
    };
    if filter.with.is_some() && with.is_none() {
        return Ok((vec![], None));
    }
    let sources = filter.sources().0;
    let mut below = before.unwrap_or(MessageId::ABOVE_ALL);
    if let Some(until) = filter.until {
        below = below.min(first_after(tx, until.plus(SKEW))?);
    }
    let (budget, items) = (Budget::new(PAGE), Vec::new());
    let mut scan = Scan { owner, filter, with, limit, budget, timed: 0, items, looked: None };
    // The first step is enough where most entries fit.
    let mut step = longest.min(limit + 1);
    loop {
        let entries = newest(tx, owner, &sources, below, step, &mut scan.budget)?;
        let last = entries.last().map(|entry| entry.message);
        let ended = entries.len() < step;
        scan.budget.spend(TRIED * entries.len() as u64);
        let fitting: Vec<_> =
            entries.into_iter().filter(|entry| filter.fits(entry, with)).collect();
        match scan.step(tx, &fitting)? {
            Ended::Here => return Ok((scan.items, scan.looked)),
            Ended::Through { too_old: true } => return Ok((scan.items, None)),
            Ended::Through { too_old: false } => {}
        }
        match last {
            Some(last) if !ended => below = last,
            _ => return Ok((scan.items, None)),
        }
        scan.looked = Some(below);
        if scan.is_over(tx) {
            return Ok((scan.items, Some(below)));
        }
        step = (4 * step).min(longest);
    }
}

impl Scan<'_> {
    /// Adds the messages of these entries that fit.
    fn step(&mut self, tx: &mut Tx<'_>, entries: &[Entry]) -> Result<Ended> {
        let certain = !self.filter.needs_texts() && self.with.is_none();
        // What certainly fits need not be read beyond the page.
        let most = self.limit + 1 - self.items.len();
        let entries = if certain { &entries[..entries.len().min(most)] } else { entries };
        let part = if self.filter.words.is_some() { BodyPart::Whole } else { BodyPart::Snippet };
        let mut oldest = None;
        for (mut message, bytes) in messages::sized_views(tx, entries, part)? {
            let id = message.entry.message;
            oldest = Some(message.envelope.sent_at);
            self.budget.spend(MESSAGE + bytes / 8);
            let fits = self.filter.fits_envelope(
                self.owner,
                self.with,
                &message.envelope,
                &mut self.budget,
            );
            // The next page has all its work for this message; one that is longer than all of it
            // is searched so far.
            if fits.is_none() && self.looked.is_some() {
                return Ok(Ended::Here);
            }
            if fits == Some(true) {
                if self.items.len() == self.limit {
                    return Ok(self.full());
                }
                let body = &mut message.envelope.body;
                if let Some((end, _)) = body.char_indices().nth(SNIPPET) {
                    body.truncate(end);
                }
                self.items.push(message);
            }
            self.looked = Some(id);
            if self.is_over(tx) {
                return Ok(Ended::Here);
            }
        }
        let too_old = self
            .filter
            .since
            .is_some_and(|since| oldest.is_some_and(|oldest| oldest < since.plus(-SKEW)));
        Ok(Ended::Through { too_old })
    }

    /// Ends a full page, of which there is more.
    fn full(&mut self) -> Ended {
        self.looked = self.items.last().map(|last| last.entry.message);
        Ended::Here
    }

    /// Whether work or time is used up.
    fn is_over(&mut self, tx: &Tx<'_>) -> bool {
        if self.budget.spent() >= self.timed + UNTIMED {
            self.timed = self.budget.spent();
            if tx.is_late() {
                return true;
            }
        }
        self.budget.is_used_up()
    }
}

/// An id such that every message sent up to a moment has a lower one: ids ascend with the times,
/// as far as clocks agree. Found by bisection, in a few dozen look-ups however many messages there
/// are. A message that is dated later than the newest one says nothing: a wrong clock dated it.
fn first_after(tx: &mut Tx<'_>, moment: Time) -> Result<MessageId> {
    let (mut low, mut high) = (0, MessageId::ABOVE_ALL.get());
    let Some(newest) = envelopes::newest_time(tx)? else { return Ok(MessageId::ABOVE_ALL) };
    let latest = newest.plus(SKEW);
    while low < high {
        let middle = low + (high - low) / 2;
        match envelopes::first_from(tx, middle)? {
            Some((id, sent_at)) if sent_at <= moment || sent_at > latest => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(MessageId::stored(low))
}
