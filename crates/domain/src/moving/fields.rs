//! The fields of a line, each read into its type, with everything that is wrong in them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::base::{Invalid, Time, UserId, UserRef};

/// Something that is wrong in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The number of the line, from 1.
    pub line: i64,
    /// Where in the line: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// What is wrong and what to do, for a person; repeats no secret.
    pub detail: String,
}

impl Problem {
    /// The line of JSON by which it is reported.
    pub fn to_json(&self) -> String {
        let Self { line, pointer, code, detail } = self;
        serde_json::json!({ "line": line, "pointer": pointer, "code": code, "detail": detail })
            .to_string()
    }
}

/// The fields of an object that were not read yet.
pub(super) struct Fields<'t> {
    line: i64,
    pointer: String,
    left: BTreeMap<String, &'t RawValue>,
    /// Those that there are.
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'t> Fields<'t> {
    /// The fields of an object; `None` where it is none.
    pub(super) fn of(line: i64, pointer: String, text: &'t str) -> Option<Self> {
        let left = serde_json::from_str(text).ok()?;
        Some(Self { line, pointer, left, known: Vec::new(), problems: Vec::new() })
    }

    /// What no field has read, and everything that was wrong.
    pub(super) fn end(mut self) -> Vec<Problem> {
        for name in std::mem::take(&mut self.left).into_keys() {
            let detail = format!("there is no such field, but {}", self.known.join(", "));
            self.wrong(&name, "unknown_field", detail);
        }
        self.problems
    }

    /// The name and the object of a line with one field.
    pub(super) fn only(&self) -> Option<(&str, &'t str)> {
        let mut fields = self.left.iter();
        let (name, value) = fields.next()?;
        fields.next().is_none().then_some((name.as_str(), value.get()))
    }

    pub(super) fn wrong(&mut self, name: &str, code: &'static str, detail: String) {
        let name = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{}/{name}", self.pointer);
        self.problems.push(Problem { line: self.line, pointer, code, detail });
    }

    /// Notes what a parser of a type has refused.
    pub(super) fn parsed<T>(&mut self, name: &str, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_err(|invalid| self.wrong(name, "invalid", invalid.problem)).ok()
    }

    /// A field as JSON; `None` where it is missing or null.
    pub(super) fn raw(&mut self, name: &'static str) -> Option<&'t str> {
        self.known.push(name);
        let value = self.left.remove(name)?.get();
        (value != "null").then_some(value)
    }

    fn typed<T: for<'a> serde::Deserialize<'a>>(
        &mut self,
        name: &'static str,
        what: &str,
    ) -> Option<T> {
        let value = self.raw(name)?;
        let read = serde_json::from_str(value);
        read.map_err(|_wrong| self.wrong(name, "invalid", format!("it must be {what}"))).ok()
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.typed(name, "a string of JSON in UTF-8")
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.typed(name, "a list of strings")
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.typed(name, "true or false")
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<i64> {
        self.typed(name, "a whole number")
    }

    pub(super) fn time(&mut self, name: &'static str) -> Option<Time> {
        let text = self.text(name)?;
        let time = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
        let time = time.filter(|time| *time > 0).map(Time);
        if time.is_none() {
            let detail = "it must be a time after 1970 such as 2026-11-22T20:16:23.5Z";
            self.wrong(name, "invalid", detail.to_owned());
        }
        time
    }

    /// A text that is parsed into a type.
    pub(super) fn of_text<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.parsed(name, parse(&text))
    }

    /// A user: a number is an id, a string as in the bodies of the API.
    pub(super) fn user(&mut self, name: &'static str) -> Option<UserRef> {
        let value = self.raw(name)?;
        self.user_in(name, value)
    }

    /// A list of users.
    pub(super) fn users(&mut self, name: &'static str) -> Vec<UserRef> {
        let Some(list) = self.typed::<Vec<Box<RawValue>>>(name, "a list") else { return vec![] };
        let users = list.iter().enumerate();
        users
            .filter_map(|(at, value)| self.user_in(&format!("{name}\0{at}"), value.get()))
            .collect()
    }

    fn user_in(&mut self, name: &str, value: &str) -> Option<UserRef> {
        let user = if let Ok(text) = serde_json::from_str::<String>(value) {
            UserRef::named(&text).ok()
        } else {
            value.parse().ok().and_then(UserId::new).map(UserRef::Id)
        };
        if user.is_none() {
            let detail = "it must be a username, ext: and an external id, or the id of a user line";
            let pointer = format!("{}/{}", self.pointer, name.replace('\0', "/"));
            let (line, detail) = (self.line, detail.to_owned());
            self.problems.push(Problem { line, pointer, code: "invalid", detail });
        }
        user
    }

    /// The objects of a list, each with its own fields.
    pub(super) fn objects(&mut self, name: &'static str) -> Vec<(String, &'t str)> {
        let Some(list) = self.raw(name) else { return vec![] };
        let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(list) else {
            self.wrong(name, "invalid", "it must be a list".to_owned());
            return vec![];
        };
        let pointer = |at| format!("{}/{name}/{at}", self.pointer);
        list.iter().enumerate().map(|(at, value)| (pointer(at), value.get())).collect()
    }

    /// Adds what is wrong in an object of a list.
    pub(super) fn add(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    pub(super) fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        let path = format!("{}/{name}", self.pointer);
        let is_told = self.problems.iter().any(|problem| problem.pointer.starts_with(&path));
        if value.is_none() && !is_told {
            self.wrong(name, "missing", "it is required".to_owned());
        }
        value
    }

    pub(super) fn line(&self) -> i64 {
        self.line
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }
}
