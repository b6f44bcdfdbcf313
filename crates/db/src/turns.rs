//! Turns of owners.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;

/// Empty lines that are kept, and how long one of them may have been.
const SPARE: usize = 256;
const SHORT: usize = 16;

/// A queue that serves owners in turns, and the work of one in the order in which it came.
///
/// Adding and taking cost the same however many owners and however much work there is.
pub struct Turns<K, T> {
    /// Those of whom work waits, or runs where it is counted.
    lines: HashMap<K, Line<T>>,
    /// Those of whom work waits that may run now, in the order of their turns, each with the last
    /// round in which they had one.
    order: VecDeque<(K, u64)>,
    /// Empty lines, kept for the next owner so that nothing is allocated for a single job.
    spare: Vec<VecDeque<T>>,
    len: usize,
    round: u64,
}

struct Line<T> {
    waiting: VecDeque<T>,
    /// How much of it may run at once; `None` where nobody counts.
    most: Option<usize>,
    running: usize,
    /// The last round in which it had a turn.
    round: u64,
}

impl<T> Line<T> {
    fn may_run(&self) -> bool {
        self.most.is_none_or(|most| self.running < most)
    }
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        let (lines, order, spare) = (HashMap::new(), VecDeque::new(), Vec::new());
        Self { lines, order, spare, len: 0, round: 1 }
    }
}

impl<K: Copy + Eq + Hash, T> Turns<K, T> {
    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds work of an owner, of whom so much may wait, and so much run at once. Returns whether it
    /// may run before any of it is done.
    ///
    /// # Errors
    /// The work, where too much of that owner waits.
    pub fn push(
        &mut self,
        owner: K,
        share: usize,
        most: Option<usize>,
        work: T,
    ) -> Result<bool, T> {
        let line = match self.lines.entry(owner) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(place) => {
                let waiting = self.spare.pop().unwrap_or_default();
                place.insert(Line { waiting, most, running: 0, round: 0 })
            }
        };
        if line.waiting.len() >= share {
            return Err(work);
        }
        line.waiting.push_back(work);
        self.len += 1;
        let may_run = line.may_run();
        if may_run && line.waiting.len() == 1 {
            self.order.push_back((owner, line.round));
        }
        Ok(may_run)
    }

    /// Whether the owner whose turn it is had one in this round; `None` where nobody has one.
    pub(crate) fn comes_again(&self) -> Option<bool> {
        self.order.front().map(|(_, round)| *round == self.round)
    }

    /// Takes the work of the owner whose turn it is. Where it is counted, `done` follows.
    pub fn pop(&mut self) -> Option<(K, T)> {
        let (owner, _) = self.order.pop_front()?;
        let Entry::Occupied(mut place) = self.lines.entry(owner) else { return None };
        let line = place.get_mut();
        let work = line.waiting.pop_front()?;
        self.len -= 1;
        line.running += usize::from(line.most.is_some());
        line.round = self.round;
        if !line.waiting.is_empty() {
            if line.may_run() {
                self.order.push_back((owner, line.round));
            }
        } else if line.running == 0 {
            keep(&mut self.spare, place.remove());
        }
        Some((owner, work))
    }

    /// Counts off work that has run. What waits of its owner comes behind everybody else's.
    pub(crate) fn done(&mut self, owner: K) {
        let Entry::Occupied(mut place) = self.lines.entry(owner) else { return };
        let line = place.get_mut();
        let could_run = line.may_run();
        line.running = line.running.saturating_sub(1);
        if line.waiting.is_empty() {
            if line.running == 0 {
                keep(&mut self.spare, place.remove());
            }
        } else if !could_run {
            self.order.push_back((owner, line.round));
        }
    }

    /// Begins a round: nobody has had a turn in it.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
    }
}

/// Keeps an empty line for the next owner, unless it has become long.
fn keep<T>(spare: &mut Vec<VecDeque<T>>, line: Line<T>) {
    if spare.len() < SPARE && line.waiting.capacity() <= SHORT {
        spare.push(line.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;

    /// A queue of work with numbers, of owners with letters, of whom so much may run at once.
    fn queue(most: Option<usize>, work: &[(char, u32)]) -> Turns<char, u32> {
        let mut turns = Turns::default();
        for (owner, number) in work {
            turns.push(*owner, usize::MAX, most, *number).unwrap();
        }
        turns
    }

    fn take(turns: &mut Turns<char, u32>) -> Vec<(char, u32)> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn owners_have_turns_and_the_work_of_one_keeps_its_order() {
        let work = [('a', 1), ('a', 2), ('a', 3), ('b', 1), ('c', 1), ('b', 2)];
        let mut turns = queue(None, &work);
        assert_eq!(turns.len(), 6);
        assert_eq!(turns.push('a', 3, None, 4), Err(4), "three wait already");
        assert_eq!(turns.push('b', 3, None, 3), Ok(true));
        let expected = [('a', 1), ('b', 1), ('c', 1), ('a', 2), ('b', 2), ('a', 3), ('b', 3)];
        assert_eq!(take(&mut turns), expected);
        assert_eq!((turns.len(), turns.lines.len()), (0, 0), "nothing is kept of anybody");
    }

    #[test]
    fn what_is_behind_running_work_comes_behind_everybody_else() {
        let mut turns = queue(Some(1), &[('a', 1), ('a', 2), ('b', 1)]);
        assert_eq!(take(&mut turns), [('a', 1), ('b', 1)]);
        assert_eq!(turns.push('a', 9, Some(1), 3), Ok(false));
        assert_eq!(turns.push('c', 9, Some(1), 1), Ok(true));
        turns.done('a');
        assert_eq!(take(&mut turns), [('c', 1), ('a', 2)]);
        for owner in ['a', 'b', 'c'] {
            turns.done(owner);
        }
        assert_eq!(take(&mut turns), [('a', 3)]);
        turns.done('a');
        assert_eq!(turns.lines.len(), 0, "nothing is kept of anybody");
    }

    #[test]
    fn as_much_of_an_owner_runs_as_may() {
        let mut turns = queue(Some(2), &[('a', 1), ('a', 2), ('a', 3), ('a', 4)]);
        assert_eq!(take(&mut turns), [('a', 1), ('a', 2)]);
        turns.done('a');
        turns.done('a');
        assert_eq!(take(&mut turns), [('a', 3), ('a', 4)]);
    }

    #[test]
    fn an_owner_comes_again_in_the_round_of_their_turn() {
        let mut turns = queue(None, &[('a', 1), ('a', 2), ('b', 1)]);
        let mut again = || turns.pop().and_then(|_| turns.comes_again());
        assert_eq!([again(), again(), again()], [Some(false), Some(true), None]);
        let mut turns = queue(None, &[('a', 1), ('a', 2)]);
        turns.pop();
        turns.begin_round();
        assert_eq!(turns.comes_again(), Some(false));
    }
}
