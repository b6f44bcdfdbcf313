//! Parsed text: what cannot be made of bad input.

use caseless::default_case_fold_str;
use unicode_normalization::UnicodeNormalization as _;

use crate::{Invalid, passwords};

/// Longest name of a user in characters, as in the Django app.
pub const USERNAME_CHARS: usize = 150;
/// Longest address in characters (RFC 5321, 4.5.3.1.3, less the angle brackets).
const EMAIL_CHARS: usize = 254;
/// Longest name of a thing that is shown, in characters.
const LABEL_CHARS: usize = 100;
/// Shortest and longest password in bytes: the floor of OWASP ASVS 5.0 (6.2.1), and a bound for
/// the work that hashing one makes.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

/// The form of a name in which two names of one user are equal: NFKC, case folded.
///
/// U+0000 becomes U+0001: neither is in any name, and PostgreSQL knows no text with the former.
pub fn fold(name: &str) -> String {
    let folded = default_case_fold_str(&name.nfkc().collect::<String>());
    folded.nfkc().map(|c| if c == '\0' { '\u{1}' } else { c }).collect()
}

/// The name of a user: letters, digits and `@ . + - _`, 1 to 150 characters after NFKC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    shown: String,
    folded: String,
}

impl Username {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // NFKC can make a text longer (up to 18 times), so a bound stands before it as well.
        if text.is_empty() || text.chars().nth(USERNAME_CHARS).is_some() {
            return Err(Self::invalid_length());
        }
        let shown: String = text.nfkc().collect();
        if shown.chars().nth(USERNAME_CHARS).is_some() {
            return Err(Self::invalid_length());
        }
        // Unicode calls these two letters, but they show nothing: `ann` with one looks like `ann`.
        let invisible = ['\u{115f}', '\u{1160}'];
        let allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
        if !shown.chars().all(|c| allowed(c) && !invisible.contains(&c)) {
            let problem = "it may hold letters, digits and @ . + - _ only";
            return Err(Invalid::new("username", problem));
        }
        let folded = fold(&shown);
        Ok(Self { shown, folded })
    }

    fn invalid_length() -> Invalid {
        Invalid::new("username", format!("it must have 1 to {USERNAME_CHARS} characters"))
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

/// An e-mail address: something at something. Whether it works only a mail to it can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: &str| Err(Invalid::new("email", problem));
        if text.chars().nth(EMAIL_CHARS).is_some() {
            return invalid("it must have at most 254 characters");
        }
        match text.rsplit_once('@') {
            _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                invalid("it must not hold spaces or control characters")
            }
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                Ok(Self(text.to_owned()))
            }
            _ => invalid("it must look like name@example.org"),
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a user is shown as, kept to the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName {
    shown: String,
    folded: String,
}

impl DisplayName {
    /// Parses a name of 1 to 100 characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        label("display_name", text)?;
        Ok(Self { shown: text.to_owned(), folded: fold(text) })
    }

    /// The name as its owner wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The name as it is searched.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// What the owner of a token calls it, kept to the letter.
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

/// What is shown on one line beside other things and must not disturb them.
fn label(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() || text.chars().nth(LABEL_CHARS).is_some() {
        return Err(Invalid::new(field, format!("it must have 1 to {LABEL_CHARS} characters")));
    }
    // The ends of lines and paragraphs, and what turns the direction of all that follows.
    let disturbs =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.contains(disturbs) {
        return Err(Invalid::new(field, "it must not hold control characters"));
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(Invalid::new(field, "it must not begin or end with a space"));
    }
    Ok(())
}

/// A password that is good enough to be set. It never shows itself.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Parses a new password of the user of that name and address.
    pub fn parse(text: &str, name: &Username, email: &str) -> Result<Self, Invalid> {
        let invalid = |problem: &str| Err(Invalid::new("password", problem));
        if !PASSWORD_BYTES.contains(&text.len()) {
            return invalid("it must have 8 to 1024 bytes");
        }
        if text.contains('\0') {
            return invalid("it must not hold the character U+0000");
        }
        if passwords::is_common(text) {
            return invalid("it is one of the most common passwords");
        }
        let folded = fold(text);
        let local = email.rsplit_once('@').map_or(email, |(local, _)| local);
        if folded == name.folded() || folded == fold(email) || folded == fold(local) {
            return invalid("it must not be the user's own name or address");
        }
        Ok(Self(text.to_owned()))
    }

    /// Its bytes, for hashing.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How long texts may be; both are settings of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Characters of a subject.
    pub subject_chars: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
}

/// The subject of a message, kept to the letter; it may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Parses a subject.
    pub fn parse(text: String, lengths: Lengths) -> Result<Self, Invalid> {
        let max = lengths.subject_chars;
        // As many bytes are as many characters or fewer: the usual subject needs no counting.
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

/// The body of a message, kept to the letter; it may be empty.
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
