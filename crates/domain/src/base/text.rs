//! Parsed text: values that can only be made from valid input.

use std::net::IpAddr;

use caseless::default_case_fold_str;
use email_address::EmailAddress;
use unicode_normalization::UnicodeNormalization as _;

use crate::base::error::Invalid;
use crate::base::id::UserId;
use crate::base::looks::{shows_nothing, without_hidden};

/// Characters of the longest username, as in the Django app.
pub const USERNAME_CHARS: usize = 150;
/// Characters of the longest e-mail address (RFC 5321, 4.5.3.1.3, less the angle brackets).
const EMAIL_CHARS: usize = 254;
/// Characters of the longest label: a display name or the name of a token.
const LABEL_CHARS: usize = 100;
/// Characters by which looks are compared: more than any name has that is not made for it.
const LOOK_CHARS: usize = 200;

/// The form in which names are compared: NFKC, case folded.
///
/// U+0000 becomes U+0001: no name has either, and PostgreSQL stores no text with the former.
pub fn fold(name: &str) -> String {
    // The same without the tables.
    if name.is_ascii() {
        return name.to_ascii_lowercase().replace('\0', "\u{1}");
    }
    let folded = default_case_fold_str(&name.nfkc().collect::<String>());
    folded.nfkc().map(|c| if c == '\0' { '\u{1}' } else { c }).collect()
}

/// The form in which a name is compared with those that nobody may take: as [`fold`], without white
/// space and characters that show nothing.
///
/// Letters of other scripts that look alike, as in `Ѕupport`, still differ: see
/// [`mixes_scripts`](crate::looks::mixes_scripts).
///
/// It has 200 characters at most: of a name of 100 characters, each of which may be 18 when it is
/// folded, all would be much work and no use.
pub fn fold_look(name: &str) -> String {
    let seen = name.replace(shows_nothing, "");
    let begin = if seen.is_ascii() { seen } else { seen.nfkc().take(2 * LOOK_CHARS).collect() };
    fold(&begin).chars().filter(|c| !c.is_whitespace()).take(LOOK_CHARS).collect()
}

/// A username: letters, digits and `@ . + - _`, 1 to 150 characters after NFKC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    shown: String,
    folded: String,
}

impl Username {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // NFKC can make a text up to 18 times longer, so its length is checked before as well.
        if text.is_empty() || text.chars().nth(USERNAME_CHARS).is_some() {
            return Err(Self::invalid_length());
        }
        let shown: String = text.nfkc().collect();
        if shown.chars().nth(USERNAME_CHARS).is_some() {
            return Err(Self::invalid_length());
        }
        // Some are letters in Unicode but invisible: `ann` with one of them looks like `ann`.
        let allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
        if !shown.chars().all(|c| allowed(c) && !shows_nothing(c)) {
            let problem = "it may hold letters, digits and @ . + - _ only";
            return Err(Invalid::new("username", problem));
        }
        let folded = fold(&shown);
        Ok(Self { shown, folded })
    }

    fn invalid_length() -> Invalid {
        Invalid::new("username", format!("it must have 1 to {USERNAME_CHARS} characters"))
    }

    /// The name that a user gets who is given none.
    pub(crate) fn generated(id: UserId) -> Self {
        let name = format!("user-{}", id.get());
        Self { shown: name.clone(), folded: name }
    }

    /// Whether nobody can choose it: `me`, and what a generated name looks like, `user-7` or
    /// `user-7-7`.
    pub fn is_reserved(&self) -> bool {
        let numbers = self.folded.strip_prefix("user-");
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        self.folded == "me" || numbers.is_some_and(|numbers| numbers.split('-').all(is_number))
    }

    /// The name as its owner wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The name as it is compared.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// An e-mail address of a valid form. Whether it works only a mail to it can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: &str| Err(Invalid::new("email", problem));
        if text.chars().nth(EMAIL_CHARS).is_some() {
            return invalid("it must have at most 254 characters");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return invalid("it must not hold spaces or control characters");
        }
        if !has_form(text) {
            return invalid("it must look like name@example.org");
        }
        Ok(Self(text.to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the last `@`, and the host after it.
    pub fn parts(&self) -> (&str, &str) {
        self.0.rsplit_once('@').expect("an address has an @")
    }
}

/// The IP address that stands for a host; that of version 6 also without its tag, as Django has it.
pub fn literal_ip(host: &str) -> Option<IpAddr> {
    let literal = host.strip_prefix('[')?.strip_suffix(']')?;
    match literal.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse().ok().map(IpAddr::V6),
        _ => literal.parse().ok(),
    }
}

/// Whether a text has the form of RFC 5321 and 6531, by which a host without a dot and an IP
/// address in brackets are valid. A name may be longer than their 64 bytes, as Django allows.
fn has_form(address: &str) -> bool {
    let Some((name, host)) = address.rsplit_once('@') else { return false };
    let allowed = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let mut words = name.split('.');
    let is_host = if host.starts_with('[') {
        literal_ip(host).is_some()
    } else {
        EmailAddress::is_valid_domain(host)
    };
    is_host
        && (words.all(|word| !word.is_empty() && word.chars().all(allowed))
            || EmailAddress::is_valid_local_part(name))
}

/// A display name, kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName {
    shown: String,
    folded: String,
}

impl DisplayName {
    /// Parses a name of 1 to 100 characters, all of which can be seen.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        label("display_name", text)?;
        if without_hidden(text) != text {
            let problem = "it must not hold characters that show nothing";
            return Err(Invalid::new("display_name", problem));
        }
        Ok(Self { shown: text.to_owned(), folded: fold_look(text) })
    }

    /// Makes a name of any text, as apps have any: without what cannot be in one, and without
    /// spaces around it, cut to 100 characters. `None` where nothing is left.
    pub fn cut(text: &str) -> Option<Self> {
        let allowed: String = text.chars().filter(|c| !disturbs(*c)).collect();
        let seen = without_hidden(&allowed);
        let trimmed = seen.trim();
        let end = trimmed.char_indices().nth(LABEL_CHARS).map_or(trimmed.len(), |(end, _)| end);
        let shown = trimmed[..end].trim_end();
        (!shown.is_empty()).then(|| Self { shown: shown.to_owned(), folded: fold_look(shown) })
    }

    /// The name as its owner wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The name as it is compared with those of system users; empty where it shows nothing.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// The id that the app's own server gives a user, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalId(String);

impl ExternalId {
    /// Characters of the longest one.
    pub const CHARS: usize = 255;

    /// Parses an id of 1 to 255 characters, none of them a control character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.chars().nth(Self::CHARS).is_some() {
            let problem = format!("it must have 1 to {} characters", Self::CHARS);
            return Err(Invalid::new("external_id", problem));
        }
        if text.contains(char::is_control) {
            return Err(Invalid::new("external_id", "it must not hold control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a token or of a server key, kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenName(String);

impl TokenName {
    /// Parses a name of 1 to 100 characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        label("name", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character disturbs what is shown beside it: line and paragraph ends, and those that
/// change the direction of what follows.
fn disturbs(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Checks text that is shown on one line beside other things and must not disturb them.
fn label(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() || text.chars().nth(LABEL_CHARS).is_some() {
        return Err(Invalid::new(field, format!("it must have 1 to {LABEL_CHARS} characters")));
    }
    if text.contains(disturbs) {
        return Err(Invalid::new(field, "it must not hold control characters"));
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(Invalid::new(field, "it must not begin or end with a space"));
    }
    Ok(())
}

/// How long texts may be, from the settings of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Characters of a subject.
    pub subject_chars: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
}

/// The subject of a message, kept byte for byte; may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Parses a subject.
    pub fn parse(text: String, lengths: Lengths) -> Result<Self, Invalid> {
        let max = lengths.subject_chars;
        // A text has at most as many characters as bytes, so most subjects need no counting.
        if text.len() > max && text.chars().nth(max).is_some() {
            return Err(Invalid::new("subject", format!("it must have at most {max} characters")));
        }
        no_nul("subject", &text)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The body of a message, kept byte for byte; may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(String);

impl Body {
    /// Parses a body.
    pub fn parse(text: String, lengths: Lengths) -> Result<Self, Invalid> {
        let max = lengths.body_bytes;
        if text.len() > max {
            return Err(Invalid::new("body", format!("it must have at most {max} bytes")));
        }
        no_nul("body", &text)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn no_nul(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.as_bytes().contains(&0) {
        return Err(Invalid::new(field, "it must not hold the character U+0000"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_bounded_and_the_same_for_names_that_look_the_same() {
        let long = "\u{fdfa}".repeat(LABEL_CHARS);
        assert_eq!(fold_look(&long).chars().count(), LOOK_CHARS);
        assert_eq!(fold_look(&long), fold_look(&format!("\u{200b} {long}")));
        let usual = "Ünser Shop ".repeat(9);
        assert_eq!(fold_look(&usual), "ünsershop".repeat(9));
    }

    #[test]
    fn ascii_is_folded_as_any_text() {
        for c in '\0'..='\u{7f}' {
            let beside = fold(&format!("{c}\u{e9}"));
            assert_eq!(fold(&c.to_string()), beside.trim_end_matches('\u{e9}'), "{c:?}");
        }
    }
}
