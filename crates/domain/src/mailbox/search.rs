//! Search: words, "phrases" and prefix* in the texts of a mailbox.
//!
//! Letters are compared without their case and the marks on them; anything but letters and digits
//! separates words. In scripts without spaces, each character counts as a word. A text matches when
//! it has all words of a query. A query is never an error; one without a word finds nothing.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    phrases: Vec<Phrase>,
}

/// Words that follow each other; the last may be only the beginning of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phrase {
    words: Vec<String>,
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
        let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        self.phrases.iter().all(|phrase| texts.iter().any(|text| phrase.is_in(text)))
    }
}

fn push(phrases: &mut Vec<Phrase>, left: &mut usize, text: &str, prefix: bool) {
    let mut words = words(text);
    words.truncate(*left);
    *left -= words.len();
    if !words.is_empty() {
        phrases.push(Phrase { words, prefix });
    }
}

impl Phrase {
    fn is_in(&self, text: &[String]) -> bool {
        let Some((last, first)) = self.words.split_last() else { return false };
        text.windows(self.words.len()).any(|window| {
            let (end, start) = window.split_last().expect("a window is as long as the phrase");
            start == first && (end == last || (self.prefix && end.starts_with(last.as_str())))
        })
    }
}

/// The words of a text in the form in which they are compared.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    if text.is_ascii() {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() {
                word.push(char::from(byte.to_ascii_lowercase()));
            } else {
                end(&mut word);
            }
        }
        end(&mut word);
        return words;
    }
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).default_case_fold() {
        if stands_alone(c) {
            end(&mut word);
            word.push(c);
            end(&mut word);
        } else if c.is_alphanumeric() {
            word.push(c);
        } else {
            end(&mut word);
        }
    }
    end(&mut word);
    words
}

/// Whether a character is of a script that puts no spaces between words: kana, Han, Thai, Lao,
/// Myanmar, Khmer.
fn stands_alone(c: char) -> bool {
    c.is_alphanumeric()
        && matches!(c,
            '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
            | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
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
