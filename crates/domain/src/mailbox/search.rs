//! Search: words, "phrases" and prefix* in the texts of a mailbox.
//!
//! Case, accents and the scripts of digits do not count; anything but letters and digits separates
//! words (`base::words` has the rules). In scripts without spaces, each character counts as a word;
//! a word of Hangul also matches as the beginning of a longer one. A text matches when it has all
//! words of a query. A query is never an error; one without a word finds nothing.

use crate::base::Budget;
use crate::base::words::{each_word, ends_in_hangul, searched};

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Those of all phrases, one phrase after the other.
    words: Vec<Word>,
    /// A bit for the first word of each phrase, and one for the last.
    first: u32,
    last: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    /// Whether it may be only the beginning of a word.
    prefix: bool,
}

/// Words of a query that are searched for, a bit for each; further words are ignored.
const WORDS: usize = 32;
/// Budget to parse a query: what is beyond 100,000 letters is ignored as well.
const PARSED: u64 = 100_000;

impl Query {
    /// Parses a query as a user typed it.
    pub fn parse(text: &str) -> Self {
        let mut query = Self { words: Vec::new(), first: 0, last: 0 };
        let mut budget = Budget::new(PARSED);
        for (index, part) in text.split('"').enumerate() {
            if index % 2 == 1 {
                query.push(part, false, &mut budget);
                continue;
            }
            for word in part.split_whitespace() {
                query.push(word, word.ends_with('*'), &mut budget);
            }
        }
        query
    }

    /// Adds the words of a part of a query, which have to follow each other; `prefix` is of the
    /// last.
    fn push(&mut self, text: &str, prefix: bool, budget: &mut Budget) {
        let begin = self.words.len();
        if begin == WORDS || budget.is_used_up() {
            return;
        }
        each_word(&searched(text), budget, |word| {
            self.words.push(Word { prefix: ends_in_hangul(word), text: word.to_owned() });
            self.words.len() < WORDS
        });
        if self.words.len() > begin {
            let end = self.words.len() - 1;
            self.words[end].prefix |= prefix;
            self.first |= 1 << begin;
            self.last |= 1 << end;
        }
    }

    /// Whether the texts together match; each phrase has to be within one of them. `None` where the
    /// work was used up before that was certain.
    ///
    /// All phrases are looked for at once, in one pass over the words: each word is compared with
    /// those of the query, and the phrases that it continues are bits (the algorithm Shift-And).
    /// So no text and no query takes more than its length times the number of words.
    pub fn matches(&self, texts: &[&str], budget: &mut Budget) -> Option<bool> {
        if self.words.is_empty() {
            return Some(false);
        }
        let mut missing = self.last;
        for text in texts {
            let mut reached = 0;
            let mut compared = 0;
            each_word(&searched(text), budget, |found| {
                compared += self.words.len() as u64;
                reached = (reached << 1 | self.first) & self.same(found);
                missing &= !reached;
                missing != 0
            });
            budget.spend(compared / 8);
            if missing == 0 {
                return Some(true);
            }
        }
        if budget.is_used_up() { None } else { Some(false) }
    }

    /// The bits of the words that this one is.
    fn same(&self, found: &str) -> u32 {
        let is = |word: &Word| {
            found == word.text || (word.prefix && found.starts_with(word.text.as_str()))
        };
        let bits = self.words.iter().enumerate().filter(|(_, word)| is(word));
        bits.fold(0, |bits, (at, _)| bits | 1 << at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, text: &str) -> bool {
        let found = Query::parse(query).matches(&["Subject line", text], &mut Budget::unlimited());
        found.expect("there is work left")
    }

    #[test]
    fn all_words_have_to_be_there() {
        assert!(found("quick fox", "The quick brown fox"));
        assert!(!found("quick wolf", "The quick brown fox"));
        assert!(!found("fo", "The quick brown fox"));
        assert!(found("SUBJECT brown", "The quick brown fox"));
    }

    #[test]
    fn a_phrase_is_words_in_their_order() {
        assert!(found("\"quick brown\"", "The quick, brown fox"));
        assert!(!found("\"brown quick\"", "The quick brown fox"));
        assert!(!found("\"line the\"", "The quick brown fox"));
        assert!(found("\"brown fox", "a phrase that is not closed: brown fox"));
        assert!(found("e-mail", "E-Mail me"));
        assert!(!found("e-mail", "mail e"));
    }

    #[test]
    fn a_prefix_ends_with_a_star() {
        assert!(found("qui* b*", "The quick brown fox"));
        assert!(!found("uick*", "The quick brown fox"));
        assert!(!found("\"qui*\"", "The quick brown fox"));
    }

    #[test]
    fn case_and_marks_do_not_count() {
        assert!(found("uber", "Über den Fluß"));
        assert!(found("FLUSS", "Über den Fluß"));
        assert!(found("crème", "Creme"));
        assert!(found("你好", "他说你好吗"));
        assert!(!found("好你", "他说你好吗"));
    }

    #[test]
    fn odd_queries_find_nothing_and_fail_never() {
        for odd in ["", " ", "\"", "\"\"", "*", "***", "-", "\" * \"", "\u{301}", "AND OR NOT ("] {
            assert!(!found(odd, "some text"), "{odd}");
        }
        let long = "word ".repeat(10_000);
        assert!(found(&long, "word"));
    }
}
