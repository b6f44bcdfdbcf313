//! Reads the fields of a body or the parameters of a query string, and notes every error.

#![expect(
    clippy::option_option,
    reason = "the outer one is an error, an inner one left out or null"
)]

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use domain::Invalid;
use domain::text::Lengths;
use serde_json::{Map, Value};

use super::document::Schemas;
use crate::http::Error;
use crate::http::error::FieldError;

/// How many errors one response lists.
const MAX_ERRORS: usize = 100;
/// How much of a name an error repeats, in bytes.
const SHOWN: usize = 100;

/// What a field can hold.
pub(super) trait FieldType: Sized {
    /// Parses the value, or notes what is wrong.
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self>;

    fn schema(schemas: &mut Schemas) -> Value;
}

/// What `fields!` declares.
pub(super) trait FieldSet: Sized {
    /// The name of the schema; empty unless it is a body.
    const NAME: &'static str = "";
    /// The lines of the description.
    const ABOUT: &'static [&'static str] = &[];
    const RULES: &'static [Rule] = &[];
    const SPECS: &'static [FieldSpec] = &[];

    /// Reads all fields; `None` if one has an error.
    fn read(reader: &mut FieldReader<'_>) -> Option<Self>;

    fn specs() -> Vec<&'static FieldSpec> {
        Self::SPECS.iter().collect()
    }
}

impl FieldSet for () {
    fn read(_reader: &mut FieldReader<'_>) -> Option<Self> {
        Some(())
    }
}

impl<A: FieldSet, B: FieldSet> FieldSet for (A, B) {
    fn read(reader: &mut FieldReader<'_>) -> Option<Self> {
        let (a, b) = (A::read(reader), B::read(reader));
        Some((a?, b?))
    }

    fn specs() -> Vec<&'static FieldSpec> {
        A::specs().into_iter().chain(B::specs()).collect()
    }
}

/// What the document says about a field.
pub(super) struct FieldSpec {
    pub(super) name: &'static str,
    /// The word of the declaration: `required`, `optional`, ….
    pub(super) presence: &'static str,
    /// The lines of the description.
    pub(super) about: &'static [&'static str],
    pub(super) schema: fn(&mut Schemas) -> Value,
    /// JSON, or empty.
    pub(super) example: &'static str,
}

impl FieldSpec {
    pub(super) fn example(&self) -> Option<Value> {
        (!self.example.is_empty()).then(|| serde_json::from_str(self.example).expect("it is JSON"))
    }
}

/// What must hold between two fields.
pub(super) enum Rule {
    /// Exactly one of them is present.
    OneOf(&'static str, &'static str),
    /// The first must be present, unless the second is and is not null.
    Unless(&'static str, &'static str),
    /// The first may only be present together with the second.
    OnlyWith(&'static str, &'static str),
    /// Both are present and not null, or neither is.
    Together(&'static str, &'static str),
}

impl Rule {
    fn check(&self, reader: &mut FieldReader<'_>) {
        match *self {
            Self::OneOf(one, other) => match (reader.has(one), reader.has(other)) {
                (true, true) => {
                    reader.values.remove(other);
                    let detail = format!("send either {one} or {other}, not both");
                    reader.field(other).note("invalid", detail);
                }
                (false, false) => reader.field(one).missing(),
                _ => {}
            },
            Self::Unless(name, other) => {
                if !reader.has(name) && !reader.has_value(other) {
                    reader.field(name).missing();
                }
            }
            Self::OnlyWith(name, other) => {
                if reader.has(name) && !reader.has(other) {
                    reader.values.remove(name);
                    let detail = format!("there is no such field without {other}");
                    reader.field(name).note("unknown_field", detail);
                }
            }
            Self::Together(one, other) => match (reader.has_value(one), reader.has_value(other)) {
                (true, false) => reader.field(other).missing(),
                (false, true) => reader.field(one).missing(),
                _ => {}
            },
        }
    }
}

/// Where fields come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The JSON object of a body.
    Body,
    /// A query string: all values are text.
    Query,
}

/// What all fields of a request share.
pub(super) struct Shared {
    pub(super) source: Source,
    pub(super) lengths: Lengths,
    /// The body as received.
    pub(super) bytes: Bytes,
    errors: Vec<FieldError>,
}

/// Reads the fields of a body, or returns 422 with everything that is wrong.
pub(super) fn read<T: FieldSet>(
    lengths: Lengths,
    bytes: &Bytes,
    values: Map<String, Value>,
) -> Result<T, Error> {
    let shared = Shared { source: Source::Body, lengths, bytes: bytes.clone(), errors: vec![] };
    read_all(shared, values, &[])
}

/// The same for the parameters of a query string.
pub(super) fn read_query<T: FieldSet>(
    lengths: Lengths,
    pairs: Vec<(String, String)>,
) -> Result<T, Error> {
    let (mut values, mut repeated) = (Map::new(), vec![]);
    for (name, text) in pairs {
        if values.contains_key(&name) {
            repeated.push(name);
        } else {
            values.insert(name, Value::String(text));
        }
    }
    let shared = Shared { source: Source::Query, lengths, bytes: Bytes::new(), errors: vec![] };
    read_all(shared, values, &repeated)
}

fn read_all<T: FieldSet>(
    mut shared: Shared,
    values: Map<String, Value>,
    repeated: &[String],
) -> Result<T, Error> {
    let root = FieldContext { shared: &mut shared, path: Path::Root };
    let mut reader = FieldReader { object: root, values };
    for name in repeated {
        reader.field(name).note("repeated", "it is there more than once");
    }
    match reader.read() {
        Some(value) if shared.errors.is_empty() => Ok(value),
        _ => Err(Error::invalid(shared.errors)),
    }
}

/// An object, and those of its fields that were not read yet.
pub(super) struct FieldReader<'r> {
    object: FieldContext<'r>,
    values: Map<String, Value>,
}

impl FieldReader<'_> {
    fn read<T: FieldSet>(mut self) -> Option<T> {
        for rule in T::RULES {
            rule.check(&mut self);
        }
        let value = T::read(&mut self);
        let detail = match self.object.shared.source {
            Source::Body => "there is no such field",
            Source::Query => "there is no such parameter",
        };
        for name in std::mem::take(&mut self.values).keys().take(MAX_ERRORS) {
            self.field(name).note("unknown_field", detail);
        }
        value
    }

    // One method for each word of a declaration; the outermost `None` is a field with an error.

    pub(super) fn required<T: FieldType>(&mut self, name: &str) -> Option<T> {
        let value = self.change(name)?;
        if value.is_none() {
            self.field(name).missing();
        }
        value
    }

    pub(super) fn optional<T: FieldType>(&mut self, name: &str) -> Option<Option<T>> {
        self.clearable(name).map(Option::flatten)
    }

    pub(super) fn or_default<T: FieldType + Default>(&mut self, name: &str) -> Option<T> {
        self.change(name).map(Option::unwrap_or_default)
    }

    pub(super) fn clearable<T: FieldType>(&mut self, name: &str) -> Option<Option<Option<T>>> {
        if self.has(name) && !self.has_value(name) {
            self.values.remove(name);
            return Some(Some(None));
        }
        self.change(name).map(|value| value.map(Some))
    }

    pub(super) fn change<T: FieldType>(&mut self, name: &str) -> Option<Option<T>> {
        match self.values.remove(name) {
            None => Some(None),
            Some(value) => T::read(value, &mut self.field(name)).map(Some),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn has_value(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.is_null())
    }

    /// The context of a field, to note an error there.
    pub(super) fn field<'f>(&'f mut self, name: &'f str) -> FieldContext<'f> {
        let path = Path::Field(&self.object.path, name);
        FieldContext { shared: self.object.shared, path }
    }
}

/// Where a value is in the request. It becomes text only where there is an error.
#[derive(Clone, Copy)]
enum Path<'r> {
    Root,
    Field(&'r Path<'r>, &'r str),
    Item(&'r Path<'r>, usize),
}

impl Path<'_> {
    /// As a JSON Pointer in a fragment (RFC 6901, sections 3 and 6).
    fn pointer(&self) -> String {
        match *self {
            Self::Root => "#".to_owned(),
            Self::Field(object, name) => {
                let (name, ellipsis) = shown(name);
                format!("{}/{}{}", object.pointer(), escape(name), escape(ellipsis))
            }
            Self::Item(list, index) => format!("{}/{index}", list.pointer()),
        }
    }

    /// As the name of a parameter.
    fn parameter(&self) -> String {
        match *self {
            Self::Root => String::new(),
            Self::Field(_, name) => <[_; 2]>::from(shown(name)).concat(),
            Self::Item(list, index) => format!("{}/{index}", list.parameter()),
        }
    }
}

/// What an error repeats of a name, and an ellipsis where that is not all: no field that there is
/// has such a name.
fn shown(name: &str) -> (&str, &str) {
    let end = name.floor_char_boundary(SHOWN);
    (&name[..end], if end < name.len() { "…" } else { "" })
}

/// The place of a value in the request, and where its errors go.
pub(super) struct FieldContext<'r> {
    pub(super) shared: &'r mut Shared,
    path: Path<'r>,
}

impl FieldContext<'_> {
    pub(super) fn note(&mut self, code: &'static str, detail: impl Into<Cow<'static, str>>) {
        if self.shared.errors.len() == MAX_ERRORS {
            return;
        }
        let (pointer, parameter) = match self.shared.source {
            Source::Body => (Some(self.path.pointer()), None),
            Source::Query => (None, Some(self.path.parameter())),
        };
        self.shared.errors.push(FieldError {
            pointer,
            parameter,
            to: None,
            detail: detail.into(),
            code,
        });
    }

    fn missing(&mut self) {
        self.note("missing", "it is missing");
    }

    /// Notes an error, and returns no value.
    pub(super) fn refuse<T>(
        &mut self,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Option<T> {
        self.note(code, detail);
        None
    }

    /// The parsed value, or notes the domain's error.
    pub(super) fn parsed<T>(&mut self, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_or_else(|invalid| self.refuse("invalid", invalid.problem), Some)
    }

    /// The context of an item of this list.
    pub(super) fn item(&mut self, index: usize) -> FieldContext<'_> {
        FieldContext { shared: self.shared, path: Path::Item(&self.path, index) }
    }

    /// Reads this value as an object.
    pub(super) fn object<T: FieldSet>(&mut self, value: Value) -> Option<T> {
        let Value::Object(values) = value else {
            return self.refuse("wrong_type", "it must be an object");
        };
        let object = FieldContext { shared: self.shared, path: self.path };
        FieldReader { object, values }.read()
    }
}

/// A name as a step of such a pointer.
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
