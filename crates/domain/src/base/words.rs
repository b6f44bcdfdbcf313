//! The words of a text, in the form in which searches and look-ups compare them.
//!
//! Case and accents do not count, in the sense of Unicode: two letters are the same where they have
//! the same primary weight in CLDR's root collation. That is computed from the decompositions, case
//! foldings, combining classes and the property Alphabetic of Unicode, and a few letters beside
//! them, because the weights themselves would take some hundred KB. So an accent, a point or a tone
//! does not count, and a vowel sign or a virama does: it makes another letter.
//!
//! We differ from these weights where they would confuse words, or keep apart what people type
//! alike: the sound marks of kana and the nasal signs of Indic scripts count, hiragana and katakana
//! are different letters, and so are small kana; the dotless ı is an i, and hamza and madda are
//! marks, as in CLDR's collation for searching in Arabic.

use std::borrow::Cow;
use std::cell::Cell;

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, compose, is_combining_mark};

use crate::base::budget::Budget;

/// Marks with it are of their own only on и: й is a letter beside it, while ё is an е.
const BREVE: char = '\u{306}';

/// What a code point costs that had to be decomposed and folded, in units of [`Budget`].
const FOLDED: u64 = 4;
/// Units that are counted at once, so that a text ends soon after its work is used up.
const COUNTED: u64 = 4096;

/// The words of a short text. In scripts without spaces, each character counts as a word.
pub(crate) fn words(text: &str) -> Vec<String> {
    first_words(text, usize::MAX)
}

/// The same, but not more than so many.
pub(crate) fn first_words(text: &str, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    each_word(text, &mut Budget::unlimited(), |word| {
        all.push(word.to_owned());
        all.len() < most
    });
    all
}

/// Calls `found` with the words of a text, one after the other, for as long as it says to go on
/// and there is work left. Budget is counted after decomposition, which makes some characters 18.
pub(crate) fn each_word(text: &str, budget: &mut Budget, found: impl FnMut(&str) -> bool) {
    let mut words = Words {
        found,
        budget,
        word: String::new(),
        script: Script::Spaced,
        units: 0,
        ended: false,
    };
    let mut rest = text;
    while !rest.is_empty() && !words.ended {
        let (ascii, other) = split(rest, |c| !c.is_ascii());
        for c in ascii.chars() {
            words.count(1);
            if words.ended {
                break;
            }
            words.ascii(c);
        }
        let (other, next) = split(other, |c| c.is_ascii());
        words.others(other);
        rest = next;
    }
    words.end();
    words.budget.spend(words.units);
}

/// A text in two at the first character of that kind. Decomposed, the parts are as they were
/// together if the second begins with an ASCII character, or the first ends with one.
fn split(text: &str, is_next: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_next).unwrap_or(text.len()))
}

/// A text to search, for [`each_word`]. Here the decimal digits of all scripts are the same as
/// well, and the `l·l` of Catalan is `ll`; words of names are stored, and stay as [`words`] makes
/// them.
pub(crate) fn searched(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut text: String = text.chars().map(digit).collect();
    if text.contains(['·', 'ŀ', 'Ŀ']) {
        text = text.replace('ŀ', "l·").replace('Ŀ', "L·");
        text = text.replace("l·l", "ll").replace("L·L", "LL");
    }
    text.into()
}

/// The zeros of Unicode's decimal digits that it does not decompose; one to nine follow each.
#[rustfmt::skip]
const ZEROS: [u32; 68] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0x104a0,
    0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0,
    0x11de0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1e140, 0x1e2f0, 0x1e4f0,
    0x1e5f1, 0x1e950,
];

/// A decimal digit of any script as that of ASCII with its value; other characters as they are.
fn digit(c: char) -> char {
    if c.is_ascii() || !c.is_numeric() {
        return c;
    }
    let code = u32::from(c);
    let zeros = &ZEROS[..ZEROS.partition_point(|zero| *zero <= code)];
    zeros.last().and_then(|zero| char::from_digit(code - zero, 10)).unwrap_or(c)
}

/// Whether the last letter of a word is of Hangul, where particles are written onto words.
pub(crate) fn ends_in_hangul(word: &str) -> bool {
    word.chars().next_back().is_some_and(|c| Script::of(c) == Script::Hangul)
}

/// Which letters make one word together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Spaced,
    /// Particles follow words of other scripts too, as in `KBS에서`.
    Hangul,
    /// Without spaces between words: kana, Han, Thai, Lao, Khmer, Myanmar.
    Unspaced,
}

impl Script {
    fn of(letter: char) -> Self {
        match letter {
            '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7ff}' => Self::Hangul,
            '\u{e00}'..='\u{eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{a9e0}'..='\u{a9ff}'
            | '\u{aa60}'..='\u{aa7f}'
            | '\u{f900}'..='\u{faff}'
            | '\u{1b000}'..='\u{1b16f}'
            | '\u{20000}'..='\u{3ffff}' => Self::Unspaced,
            _ => Self::Spaced,
        }
    }
}

struct Words<'a, F> {
    found: F,
    budget: &'a mut Budget,
    word: String,
    /// Of the last letter of `word`.
    script: Script,
    /// Budget that is not counted yet.
    units: u64,
    ended: bool,
}

impl<F: FnMut(&str) -> bool> Words<'_, F> {
    fn count(&mut self, units: u64) {
        self.units += units;
        if self.units >= COUNTED {
            self.budget.spend(std::mem::take(&mut self.units));
            self.ended |= self.budget.is_used_up();
        }
    }

    fn end(&mut self) {
        if !self.word.is_empty() {
            self.ended = self.ended || !(self.found)(&self.word);
            self.word.clear();
        }
    }

    /// Adds characters none of which is ASCII.
    fn others(&mut self, text: &str) {
        let folded = Cell::new(0);
        let decomposed = text.nfkd().inspect(|_| folded.set(folded.get() + FOLDED));
        for c in decomposed.filter(|c| !is_accent(*c)).default_case_fold() {
            self.count(folded.take());
            if self.ended {
                return;
            }
            self.add(c);
        }
        self.count(folded.take());
    }

    fn ascii(&mut self, c: char) {
        if c.is_ascii_alphanumeric() {
            self.letter(c.to_ascii_lowercase(), Script::Spaced);
        } else {
            self.end();
        }
    }

    /// Adds a character that was decomposed and case folded.
    fn add(&mut self, c: char) {
        if c >= '\u{300}'
            && (is_combining_mark(c) || matches!(c, '\u{1161}'..='\u{11ff}'))
            && let Some(last) = self.word.pop()
        {
            return self.mark(last, c);
        }
        match c {
            ..'\u{80}' => self.ascii(c),
            // What shows nothing, or only where words join or how they run; and the tatweel.
            '\u{ad}'
            | '\u{640}'
            | '\u{200c}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {}
            'æ' | 'œ' => {
                self.letter(if c == 'æ' { 'a' } else { 'o' }, Script::Spaced);
                self.letter('e', Script::Spaced);
            }
            _ if is_combining_mark(c) => {}
            _ if c.is_alphanumeric() => self.letter(same(c), Script::of(c)),
            _ => self.end(),
        }
    }

    fn letter(&mut self, c: char, script: Script) {
        if script != self.script || script == Script::Unspaced {
            self.end();
        }
        self.script = script;
        self.word.push(c);
    }

    /// Puts a mark, or a further part of a syllable of Hangul, to the letter before it, so that a
    /// word does not begin with a part of a letter of another.
    fn mark(&mut self, last: char, mark: char) {
        match compose(last, mark) {
            Some(composed) if mark != BREVE || last == 'и' => self.word.push(composed),
            _ if mark == BREVE => self.word.push(last),
            _ => self.word.extend([last, mark]),
        }
    }
}

/// The letter that one is the same as though Unicode does not decompose it: letters with a stroke
/// or an upturn, and forms at the end of a word.
fn same(letter: char) -> char {
    match letter {
        'đ' | 'ð' => 'd',
        'ħ' => 'h',
        'ı' => 'i',
        'ł' => 'l',
        'ø' => 'o',
        'ґ' => 'г',
        'ך' => 'כ',
        'ם' => 'מ',
        'ן' => 'נ',
        'ף' => 'פ',
        'ץ' => 'צ',
        letter => letter,
    }
}

/// Whether a character is a mark that makes no other letter.
fn is_accent(c: char) -> bool {
    if c < '\u{300}' || c == BREVE || !is_combining_mark(c) {
        return false;
    }
    match canonical_combining_class(c) {
        // The sound marks of kana, and viramas.
        8 | 9 => false,
        // The points of Hebrew, Arabic and Syriac.
        10..=36 => true,
        // What is above and below letters, but for the vowel signs of Buginese and Tai Viet.
        200.. => !matches!(c, '\u{1a17}' | '\u{1a18}' | '\u{aab0}'..='\u{aabe}'),
        _ => !c.is_alphabetic(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ZEROS, digit};

    #[test]
    fn the_digits_of_all_scripts_have_the_values_of_those_of_ascii() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            for value in 0..10 {
                let c = char::from_u32(zero + value).expect("it is a character");
                assert!(
                    c.is_numeric() && digit(c) == char::from_digit(value, 10).unwrap(),
                    "{c:?}"
                );
            }
        }
        for other in ['a', '7', '½', '〇', '௰', '๛', '\u{66a}'] {
            assert_eq!(digit(other), other);
        }
    }
}
