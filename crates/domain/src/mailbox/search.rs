//! Search: words, "phrases" and prefix* in the texts of a mailbox.
//!
//! Case, accents and the scripts of digits do not count; anything but letters and digits separates
//! words (`base::words` has the rules). In scripts without spaces, each character counts as a word;
//! a word of Hangul also matches as the beginning of a longer one. A text matches when it has all
//! words of a query. A query is never an error; one without a word finds nothing.

use crate::base::words::{ends_in_hangul, searched};

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    phrases: Vec<Vec<Word>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    /// Whether it may be only the beginning of a word.
    prefix: bool,
}

/// Words of a query that are searched for; further words are ignored.
const WORDS: usize = 32;

impl Query {
    /// Parses a query as a user typed it.
    pub fn parse(text: &str) -> Self {
        let mut phrases = Vec::new();
        let mut left = WORDS;
        for (index, part) in text.split('"').enumerate() {
            if index % 2 == 1 {
                push(&mut phrases, &mut left, part, false);
                continue;
            }
            for word in part.split_whitespace() {
                push(&mut phrases, &mut left, word, word.ends_with('*'));
            }
        }
        Self { phrases }
    }

    /// Whether the texts together match; each phrase has to be within one of them.
    pub fn matches(&self, texts: &[&str]) -> bool {
        if self.phrases.is_empty() {
            return false;
        }
        let texts: Vec<Vec<String>> = texts.iter().map(|text| searched(text)).collect();
        self.phrases.iter().all(|phrase| texts.iter().any(|text| is_in(phrase, text)))
    }
}

/// Adds the words of a part of a query, which have to follow each other; `prefix` is of the last.
fn push(phrases: &mut Vec<Vec<Word>>, left: &mut usize, text: &str, prefix: bool) {
    let mut texts = searched(text);
    texts.truncate(*left);
    *left -= texts.len();
    let word = |text: String| Word { prefix: ends_in_hangul(&text), text };
    let mut phrase: Vec<_> = texts.into_iter().map(word).collect();
    if let Some(last) = phrase.last_mut() {
        last.prefix |= prefix;
        phrases.push(phrase);
    }
}

fn is_in(phrase: &[Word], text: &[String]) -> bool {
    let same = |(word, text): (&Word, &String)| {
        *text == word.text || (word.prefix && text.starts_with(&word.text))
    };
    text.windows(phrase.len()).any(|window| phrase.iter().zip(window).all(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, text: &str) -> bool {
        Query::parse(query).matches(&["Subject line", text])
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
