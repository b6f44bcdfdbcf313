//! Retention: where the operator sets it, messages leave every mailbox when they are old, as if
//! everybody had deleted them.
//!
//! Ids ascend with dates, so what is old stands at the beginning of the table, and no index of
//! dates is needed. That also judges dates which a wrong clock wrote: a message is due when its
//! date is over and those of all that were stored before it are.

use db::Tx;

use crate::accounts::modseq;
use crate::base::{Cx, LARGEST_ID, MessageId, Result, Time};
use crate::mailbox::entries;
use crate::mailbox::envelopes::{self, Stored};
use crate::outbox::known_time::FAR;

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many messages it removed.
    pub messages: u64,
    /// The last of them; the next step begins there.
    pub last: MessageId,
}

/// Whether [`remove`] has something to do: messages that are older than `kept` microseconds. Costs
/// one look at the oldest message.
pub fn is_due(tx: &mut Tx<'_>, cx: &Cx, kept: i64) -> Result<bool> {
    Ok(!due(tx, cx, kept, 0, 1)?.is_empty())
}

/// Removes messages above the id `after` that are older than `kept` microseconds from all
/// mailboxes, where clients learn of it as of any deletion: so many that about `copies` entries go,
/// and one at least. `None` where nothing is due.
pub fn remove(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kept: i64,
    after: Option<MessageId>,
    copies: usize,
) -> Result<Option<Step>> {
    let mut due = due(tx, cx, kept, after.map_or(0, MessageId::get), copies)?;
    let mut held = 0;
    let fits = due.iter().take_while(|message| {
        held += message.people.len();
        held <= copies
    });
    let fits = fits.count().max(1);
    due.truncate(fits);
    let Some(Stored { id: last, .. }) = due.last() else { return Ok(None) };
    let last = *last;

    let mut owners: Vec<_> = due.iter().flat_map(|message| message.people.clone()).collect();
    owners.sort();
    owners.dedup();
    modseq::lock_all(tx, &owners)?;
    let mut held = entries::find_up_to(tx, &owners, last)?;
    let at = |id| due.binary_search_by_key(&id, |message: &Stored| message.id);
    held.retain(|(_, entry)| at(entry.message).is_ok());
    let mut released: Vec<_> = due.iter().map(|message| (message.id, 0)).collect();
    for of_one in held.chunk_by(|(_, one), (_, next)| one.message == next.message) {
        entries::remove(tx, cx, of_one)?;
        if let Ok(at) = at(of_one[0].1.message) {
            released[at].1 = i64::try_from(of_one.len()).unwrap_or(i64::MAX);
        }
    }
    envelopes::release_all(tx, &released)?;
    Ok(Some(Step { messages: due.len() as u64, last }))
}

/// Up to `limit` messages above an id that are due, ascending: those before the first whose date is
/// not over.
fn due(tx: &mut Tx<'_>, cx: &Cx, kept: i64, after: i64, limit: usize) -> Result<Vec<Stored>> {
    let (before, latest) = (cx.now.plus(kept.saturating_neg()), cx.now.plus(FAR));
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let mut oldest = envelopes::stored_after(tx, after, limit)?;
    // A date in the future says nothing; what came later does.
    let is_over = |sent_at: Time| sent_at < before;
    let is_impossible = |sent_at: Time| sent_at > latest;
    let are_over = oldest
        .iter()
        .take_while(|message| is_over(message.sent_at) || is_impossible(message.sent_at))
        .count();
    let last_over = oldest[..are_over].iter().rposition(|message| is_over(message.sent_at));
    let are_due = match last_over {
        None if !oldest.is_empty() && are_over == oldest.len() => {
            let possible = next_possible(tx, &oldest, latest)?;
            if possible.is_some_and(is_over) { are_over } else { 0 }
        }
        last_over => last_over.map_or(0, |last| last + 1),
    };
    oldest.truncate(are_due);
    Ok(oldest)
}

/// When the first message with a possible date was sent that came after these, which have none. It
/// is found by bisection, as there may be many of these.
fn next_possible(tx: &mut Tx<'_>, these: &[Stored], latest: Time) -> Result<Option<Time>> {
    let last = these.last().map_or(0, |message| message.id.get());
    let (mut low, mut high) = (last + 1, LARGEST_ID + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match envelopes::first_from(tx, middle)? {
            Some((id, sent_at)) if sent_at > latest => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(envelopes::first_from(tx, low)?.map(|(_, sent_at)| sent_at))
}
