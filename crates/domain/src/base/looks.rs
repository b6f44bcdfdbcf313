//! What a name looks like: characters that show nothing, and scripts that look alike.

use unicode_script::{Script, ScriptExtension, UnicodeScript as _};

/// Whether a character shows nothing: those that Unicode calls default ignorable, and a few that
/// are blank, or stand for something that is not there.
pub(crate) fn shows_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffc}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A text without the characters that show nothing, except where they change what is shown: within
/// an emoji, in the scripts whose letters join, and after a Chinese character with variants.
pub(crate) fn without_hidden(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let chars: Vec<_> = text.chars().collect();
    let is_seen = |at: usize| {
        let before = at.checked_sub(1).map_or(' ', |before| chars[before]);
        let after = chars.get(at + 1).copied().unwrap_or(' ');
        !shows_nothing(chars[at]) || shapes(before, chars[at], after)
    };
    (0..chars.len()).filter(|at| is_seen(*at)).map(|at| chars[at]).collect()
}

/// Whether a character that shows nothing itself changes how its neighbours look.
fn shapes(before: char, c: char, after: char) -> bool {
    let has_shapes = |c: char| {
        !c.is_ascii() && !c.is_whitespace() && !shows_nothing(c) && !has_one_shape(c.script())
    };
    let tags = '\u{e0020}'..='\u{e007f}';
    match c {
        // Joiners: of what stands on both sides.
        '\u{200c}' | '\u{200d}' => {
            (has_shapes(before) || before == '\u{fe0f}') && has_shapes(after)
        }
        '\u{fe0f}' if after == '\u{20e3}' => true,
        // Variants: of what stands in front.
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' => has_shapes(before),
        '\u{e0100}'..='\u{e01ef}' => before.script() == Script::Han,
        // The flags of England, Scotland and Wales.
        _ if tags.contains(&c) => before == '\u{1f3f4}' || tags.contains(&before),
        _ => false,
    }
}

/// Whether the letters of a script look the same beside each other as alone.
fn has_one_shape(script: Script) -> bool {
    matches!(
        script,
        Script::Latin
            | Script::Greek
            | Script::Cyrillic
            | Script::Armenian
            | Script::Georgian
            | Script::Hebrew
            | Script::Hangul
            | Script::Hiragana
            | Script::Katakana
            | Script::Thai
            | Script::Lao
    )
}

/// Whether a word of a name is written in scripts that do not belong together, such as `аnn` with a
/// Cyrillic `а`. Latin letters belong to those of East Asia, as in UTS #39 (highly restrictive).
pub fn mixes_scripts(name: &str) -> bool {
    if name.is_ascii() {
        return false;
    }
    name.split_whitespace().any(|word| {
        let of_chars = word.chars().map(|c| c.script_extension());
        // A character of no script is newer than the tables.
        let of_letters = of_chars.filter(|one| !one.is_empty() && !is_east_asian(*one));
        let common = of_letters.reduce(ScriptExtension::intersection);
        common.is_some_and(ScriptExtension::is_empty)
    })
}

fn is_east_asian(scripts: ScriptExtension) -> bool {
    let theirs =
        [Script::Han, Script::Hiragana, Script::Katakana, Script::Hangul, Script::Bopomofo];
    let is_any = scripts.is_common() || scripts.is_inherited();
    !is_any && theirs.iter().any(|script| scripts.contains_script(*script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_taken_out_and_what_shapes_its_neighbours_stays() {
        for seen in [
            "👩\u{200d}🚀",
            "❤\u{fe0f}\u{200d}🔥",
            "1\u{fe0f}\u{20e3}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می\u{200c}خواهم",
            "ക്\u{200d}ഷ",
            "辻\u{e0100}",
        ] {
            assert_eq!(without_hidden(seen), seen, "{seen:?}");
        }
        for (hidden, seen) in [
            ("an\u{200d}n", "ann"),
            ("ann\u{fe0f}", "ann"),
            ("анна\u{200d}", "анна"),
            ("می\u{200c}", "می"),
            ("می\u{200c}\u{200c}خ", "میخ"),
            ("ann\u{e0061}", "ann"),
            ("\u{3164}\u{2800}", ""),
        ] {
            assert_eq!(without_hidden(hidden), seen, "{hidden:?}");
        }
    }

    #[test]
    fn a_word_of_scripts_that_do_not_belong_together_is_noticed() {
        for one in
            ["ann", "Ánn", "Анна Smith", "Анна-7", "Tanaka太郎", "ハンさん", "김Kim", "Zoë😀"]
        {
            assert!(!mixes_scripts(one), "{one}");
        }
        for mixed in ["аnn", "Ѕupport", "раypal", "Ann Smіth", "αnn", "한Аnn", "annа"] {
            assert!(mixes_scripts(mixed), "{mixed}");
        }
    }
}
