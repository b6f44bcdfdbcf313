//! Fields and parameters, read one by one; everything that is wrong is told at once.

#![expect(clippy::option_option, reason = "the outer one is wrong, an inner one left out or null")]

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use mail::{Invalid, Time};
use serde_json::{Map, Value};

use super::input::{Named, whole};
use super::page;
use crate::http::Error;
use crate::http::error::FieldError;

/// Errors that one answer tells; whoever makes more learns of the others next time.
const MOST: usize = 100;

/// Where fields come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The JSON object of a body.
    Body,
    /// A query string: all values are text.
    Query,
}

/// The fields of a request that were not read yet, and what was wrong with the others.
pub(super) struct Fields {
    kind: Kind,
    /// Where the object is in the body.
    path: String,
    values: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Fields that nobody has read.
    pub(super) fn new(kind: Kind, values: Map<String, Value>) -> Self {
        Self { kind, path: "#".to_owned(), values, errors: vec![] }
    }

    /// Adds a parameter of a query string, which must not be there twice.
    pub(super) fn add(&mut self, name: String, text: String) {
        if self.values.contains_key(&name) {
            self.place(&name).note("repeated", "it is there more than once");
        } else {
            self.values.insert(name, Value::String(text));
        }
    }

    /// The value that a reader makes of the fields, where nothing is wrong.
    ///
    /// # Errors
    /// 422 with everything that is wrong.
    pub(super) fn read<T>(self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Error> {
        self.try_read(read).map_err(Error::invalid)
    }

    fn try_read<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, Vec<FieldError>> {
        let value = read(&mut self);
        for name in std::mem::take(&mut self.values).keys() {
            let detail = match self.kind {
                Kind::Body => "there is no such field",
                Kind::Query => "there is no such parameter",
            };
            self.place(name).note("unknown_field", detail);
        }
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(self.errors),
        }
    }

    /// A field that must be there; `None` where something is wrong with it.
    pub(super) fn required<T>(&mut self, name: &str, parse: impl Parse<T>) -> Option<T> {
        match self.values.remove(name) {
            Some(value) => parse(value, &mut self.place(name)),
            None => self.place(name).refuse("missing", "it is missing"),
        }
    }

    /// A field that may be left out or be null; the outer `None` where something is wrong with it.
    pub(super) fn optional<T>(&mut self, name: &str, parse: impl Parse<T>) -> Option<Option<T>> {
        self.nullable(name, parse).map(Option::flatten)
    }

    /// A field that may be left out, and whose null means something else than that.
    pub(super) fn nullable<T>(
        &mut self,
        name: &str,
        parse: impl Parse<T>,
    ) -> Option<Option<Option<T>>> {
        match self.values.remove(name) {
            None => Some(None),
            Some(Value::Null) => Some(Some(None)),
            Some(value) => parse(value, &mut self.place(name)).map(|value| Some(Some(value))),
        }
    }

    /// A field that may be left out, but not be null: null is no other value to change to.
    pub(super) fn changed<T>(&mut self, name: &str, parse: impl Parse<T>) -> Option<Option<T>> {
        match self.values.remove(name) {
            None => Some(None),
            Some(value) => parse(value, &mut self.place(name)).map(Some),
        }
    }

    /// Whether a field is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Notes that a field must not be there beside others.
    pub(super) fn refuse<T>(&mut self, name: &str, detail: &'static str) -> Option<T> {
        self.values.remove(name);
        self.place(name).refuse("invalid", detail)
    }

    /// Notes that a field is missing that another one needs.
    pub(super) fn missing<T>(&mut self, name: &str) -> Option<T> {
        self.place(name).refuse("missing", "it is missing")
    }

    /// How many items a page may have: the parameter `limit`.
    pub(super) fn limit(&mut self) -> Option<i64> {
        let limit = self.optional("limit", |value: Value, place: &mut Place<'_>| {
            let text = value.as_str().unwrap_or_default();
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number has are a large number all the same.
            match text.parse().unwrap_or(i64::MAX) {
                limit if digits && limit > 0 => Some(limit.min(page::MOST)),
                _ => place.refuse("invalid", "it must be a whole number from 1"),
            }
        });
        limit.map(|limit| limit.unwrap_or(page::USUAL))
    }

    /// Where a page begins: the parameter `cursor`, made by [`page::cursor`].
    pub(super) fn cursor<T: Named>(&mut self) -> Option<Option<T>> {
        self.optional("cursor", |value: Value, place: &mut Place<'_>| {
            let bytes = URL_SAFE_NO_PAD.decode(value.as_str().unwrap_or_default()).ok();
            let number = bytes.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
            let position = number.and_then(T::named);
            position.or_else(|| place.refuse("invalid", "it is no cursor of this list"))
        })
    }

    fn place(&mut self, name: &str) -> Place<'_> {
        let path = match self.kind {
            Kind::Body => format!("{}/{}", self.path, escape(name)),
            Kind::Query => name.to_owned(),
        };
        Place { kind: self.kind, path, errors: &mut self.errors }
    }
}

/// Where a value stands, and whom to tell what is wrong with it.
pub(super) struct Place<'r> {
    kind: Kind,
    path: String,
    errors: &'r mut Vec<FieldError>,
}

impl Place<'_> {
    /// Notes what is wrong with the value, and is none.
    pub(super) fn refuse<T>(
        &mut self,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Option<T> {
        self.note(code, detail);
        None
    }

    fn note(&mut self, code: &'static str, detail: impl Into<Cow<'static, str>>) {
        if self.errors.len() == MOST {
            return;
        }
        let path = Some(self.path.clone());
        let (pointer, parameter) = match self.kind {
            Kind::Body => (path, None),
            Kind::Query => (None, path),
        };
        self.errors.push(FieldError { pointer, parameter, detail: detail.into(), code });
    }

    /// A place below this one.
    pub(super) fn inside(&mut self, step: impl Display) -> Place<'_> {
        let path = format!("{}/{step}", self.path);
        Place { kind: self.kind, path, errors: self.errors }
    }
}

/// Makes something of a value, or says at its place why not.
pub(super) trait Parse<T>: FnOnce(Value, &mut Place<'_>) -> Option<T> {}

impl<T, F: FnOnce(Value, &mut Place<'_>) -> Option<T>> Parse<T> for F {}

/// Text, as the domain parses it.
pub(super) fn text<T>(parse: impl FnOnce(&str) -> Result<T, Invalid>) -> impl Parse<T> {
    move |value: Value, place: &mut Place<'_>| match value {
        Value::String(text) => {
            parse(&text).map_or_else(|invalid| place.refuse("invalid", invalid.problem), Some)
        }
        _ => place.refuse("wrong_type", "it must be text"),
    }
}

/// Any text.
pub(super) fn any_text(value: Value, place: &mut Place<'_>) -> Option<String> {
    text(|text| Ok(text.to_owned()))(value, place)
}

/// A moment, as RFC 3339 writes it.
pub(super) fn time(value: Value, place: &mut Place<'_>) -> Option<Time> {
    let Value::String(text) = value else {
        return place.refuse("wrong_type", "it must be text, as 2026-12-31T00:00:00Z");
    };
    match text.parse::<Timestamp>() {
        Ok(time) => Some(Time(time.as_microsecond())),
        Err(_cause) => place.refuse("invalid", "it must look like 2026-12-31T00:00:00Z"),
    }
}

/// A list of so many items; each of them is parsed, also where another is wrong.
pub(super) fn list<T>(
    lengths: RangeInclusive<usize>,
    mut item: impl FnMut(Value, &mut Place<'_>) -> Option<T>,
) -> impl Parse<Vec<T>> {
    move |value: Value, place: &mut Place<'_>| {
        let Value::Array(values) = value else {
            return place.refuse("wrong_type", "it must be a list");
        };
        if !lengths.contains(&values.len()) {
            let (least, most) = lengths.into_inner();
            return place.refuse("invalid", format!("it must have {least} to {most} items"));
        }
        let items = values.into_iter().enumerate();
        let items: Vec<_> =
            items.map(|(index, value)| item(value, &mut place.inside(index))).collect();
        items.into_iter().collect()
    }
}

/// An object, whose fields are read like those of the body.
pub(super) fn object<T>(read: impl FnOnce(&mut Fields) -> Option<T>) -> impl Parse<T> {
    move |value: Value, place: &mut Place<'_>| {
        let Value::Object(values) = value else {
            return place.refuse("wrong_type", "it must be an object");
        };
        let fields = Fields { kind: place.kind, path: place.path.clone(), values, errors: vec![] };
        fields.try_read(read).map_err(|errors| place.errors.extend(errors)).ok()
    }
}

/// A flag; in a query string it is a word.
pub(super) fn flag(value: Value, place: &mut Place<'_>) -> Option<bool> {
    match (value, place.kind) {
        (Value::Bool(flag), _) => Some(flag),
        (Value::String(word), Kind::Query) if word == "true" => Some(true),
        (Value::String(word), Kind::Query) if word == "false" => Some(false),
        (_, Kind::Query) => place.refuse("invalid", "it must be true or false"),
        (_, Kind::Body) => place.refuse("wrong_type", "it must be true or false"),
    }
}

/// An id; in a query string it is in digits.
pub(super) fn id<T: Named>(value: Value, place: &mut Place<'_>) -> Option<T> {
    let number = match (value, place.kind) {
        (Value::Number(number), _) => whole(&number),
        (Value::String(digits), Kind::Query) => digits.parse().ok(),
        _ => return place.refuse("wrong_type", "it must be a whole number"),
    };
    let id = number.and_then(T::named);
    id.or_else(|| place.refuse("invalid", "it must be an id: from 1, and below 2^53"))
}

/// A name as a step of a JSON Pointer in a fragment (RFC 6901, sections 3 and 6).
fn escape(name: &str) -> String {
    let mut step = String::new();
    for byte in name.bytes() {
        match byte {
            b'~' => step.push_str("~0"),
            b'/' => step.push_str("~1"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                step.push(char::from(byte));
            }
            _ => write!(step, "%{byte:02X}").expect("writing to a string succeeds"),
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use mail::MessageId;
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(values) => Fields::new(Kind::Body, values),
            _ => panic!("{value} is no object"),
        }
    }

    fn told(fields: Fields, read: impl FnOnce(&mut Fields) -> Option<()>) -> Vec<String> {
        let errors = fields.try_read(read).expect_err("something is wrong").into_iter();
        let place = |error: &FieldError| error.pointer.clone().or(error.parameter.clone());
        errors.map(|error| format!("{} {}", place(&error).unwrap(), error.code)).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let body = json!({
            "number": 7,
            "list": ["a", 1, "b", null],
            "null": null,
            "a/b~c d": true,
        });
        let errors = told(fields(body), |fields| {
            let missing = fields.required("missing", any_text);
            let number = fields.required("number", any_text);
            let list = fields.required("list", list(1..=9, any_text));
            let null = fields.required("null", any_text);
            let absent = fields.optional("absent", any_text);
            assert_eq!(absent, Some(None));
            let _all = (missing?, number?, list?, null?);
            Some(())
        });
        assert_eq!(
            errors,
            [
                "#/missing missing",
                "#/number wrong_type",
                "#/list/1 wrong_type",
                "#/list/3 wrong_type",
                "#/null wrong_type",
                "#/a~1b~0c%20d unknown_field",
            ]
        );
    }

    #[test]
    fn a_value_is_made_only_where_nothing_is_wrong() {
        let read = |body| fields(body).read(|fields| fields.required("a", any_text));
        assert_eq!(read(json!({ "a": "b" })).unwrap(), "b");
        assert!(read(json!({ "a": "b", "c": null })).is_err());
        assert!(read(json!({ "a": 1 })).is_err());
    }

    #[test]
    fn null_is_told_from_nothing() {
        let read = |body| fields(body).read(|fields| fields.nullable("a", any_text)).unwrap();
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({ "a": null })), Some(None));
        assert_eq!(read(json!({ "a": "b" })), Some(Some("b".to_owned())));
    }

    #[test]
    fn a_limit_is_clamped_and_a_cursor_comes_back() {
        let query = |name: &str, text: &str| {
            let mut fields = Fields::new(Kind::Query, Map::new());
            fields.add(name.to_owned(), text.to_owned());
            fields
        };
        let limit = |text| query("limit", text).read(Fields::limit).ok();
        let limits = ["1", "100", "101", "99999999999999999999", "0", "-1", "", "1.5", "a"];
        let read = [Some(1), Some(100), Some(100), Some(100), None, None, None, None, None];
        assert_eq!(limits.map(limit), read);

        let cursor = |text: &str| query("cursor", text).read(Fields::cursor).ok();
        assert_eq!(cursor(&page::cursor([7])), Some(MessageId::new(7)));
        for text in ["", "AAAA", "?", &page::cursor([0]), &page::cursor([7, 8])] {
            assert_eq!(cursor(text), None, "{text}");
        }
        let mut twice = query("limit", "1");
        twice.add("limit".to_owned(), "1".to_owned());
        assert_eq!(told(twice, |fields| fields.limit().map(drop)), ["limit repeated"]);
    }
}
