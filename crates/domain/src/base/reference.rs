//! Refs: how a request names a user.

use std::fmt;

use crate::base::error::Invalid;
use crate::base::id::UserId;
use crate::base::text::{ExternalId, USERNAME_CHARS, fold};

/// A user as a request names them. Whether there is such a user only the database can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UserRef {
    /// By id.
    Id(UserId),
    /// By the id that the app's own server gave them: `ext:` and that id.
    External(ExternalId),
    /// By case-folded username: that, or `name:` and that.
    Name(String),
}

impl UserRef {
    /// The most characters of a ref, before its name is folded.
    pub const CHARS: usize = 4 + ExternalId::CHARS;

    /// Reads a ref of a path, a query or a header, where digits are an id.
    ///
    /// # Errors
    /// Where no user can have it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::named(text);
        }
        let id = Some(text).filter(|text| !text.starts_with('0'));
        let id = id.and_then(|text| text.parse().ok()).and_then(UserId::new);
        id.map(Self::Id).ok_or_else(|| Invalid::new("user", "it is not the id of a user"))
    }

    /// Reads a ref that is a string in JSON, where digits are a name.
    ///
    /// # Errors
    /// Where no user can have it.
    pub fn named(text: &str) -> Result<Self, Invalid> {
        if let Some(external) = text.strip_prefix("ext:") {
            return ExternalId::parse(external).map(Self::External);
        }
        let name = text.strip_prefix("name:").unwrap_or(text);
        if name.chars().nth(USERNAME_CHARS).is_some() || name.contains('\0') {
            let problem = "it must be the id of a user, a username, or ext: and the app's own id";
            return Err(Invalid::new("user", problem));
        }
        Ok(Self::Name(fold(name)))
    }
}

impl fmt::Display for UserRef {
    /// A ref that [`UserRef::parse`] reads as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{}", id.get()),
            Self::External(id) => write!(f, "ext:{}", id.as_str()),
            Self::Name(folded) => write!(f, "name:{folded}"),
        }
    }
}

impl From<UserId> for UserRef {
    fn from(id: UserId) -> Self {
        Self::Id(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i64) -> UserRef {
        UserRef::Id(UserId::stored(number))
    }

    fn external(text: &str) -> UserRef {
        UserRef::External(ExternalId::parse(text).expect("it is an id"))
    }

    fn name(folded: &str) -> UserRef {
        UserRef::Name(folded.to_owned())
    }

    #[test]
    fn in_a_path_digits_are_an_id_and_in_json_a_name() {
        for (text, in_path, in_json) in [
            ("7", id(7), name("7")),
            ("name:7", name("7"), name("7")),
            ("ext:7", external("7"), external("7")),
            ("Dana", name("dana"), name("dana")),
            ("name:DANA", name("dana"), name("dana")),
            ("ext:ext:Dana", external("ext:Dana"), external("ext:Dana")),
            ("ext: ", external(" "), external(" ")),
            ("7a", name("7a"), name("7a")),
            ("\u{664}", name("\u{664}"), name("\u{664}")),
            ("EXT:7", name("ext:7"), name("ext:7")),
            ("", name(""), name("")),
        ] {
            assert_eq!(UserRef::parse(text), Ok(in_path.clone()), "{text}");
            assert_eq!(UserRef::named(text), Ok(in_json), "{text}");
            assert_eq!(UserRef::parse(&in_path.to_string()), Ok(in_path), "{text}");
        }
    }

    #[test]
    fn what_no_user_can_have_is_no_ref() {
        let (long_id, long_name) = (format!("ext:{}", "x".repeat(256)), "x".repeat(151));
        let texts = ["ext:", "ext:a\nb", "a\0", &long_id, &long_name];
        for text in texts {
            assert!(UserRef::parse(text).is_err() && UserRef::named(text).is_err(), "{text:?}");
        }
        for text in ["0", "07", "9007199254740992", "99999999999999999999"] {
            assert!(UserRef::parse(text).is_err() && UserRef::named(text).is_ok(), "{text}");
        }
        assert!(UserRef::parse(&format!("ext:{}", "ü".repeat(255))).is_ok());
    }
}
