//! Responses in JSON.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use domain::Time;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::runtime::clock;

/// What most responses fit into.
const USUAL_BYTES: usize = 1024;

/// A response in JSON. Not that of axum, whose buffer is slower for many short writes.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut json = Written::default();
        json.add(&self.0);
        json.into_response()
    }
}

/// A response in JSON that is written in parts.
pub(super) struct Written(pub(super) Vec<u8>);

impl Default for Written {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_BYTES))
    }
}

impl Written {
    pub(super) fn add(&mut self, part: &impl Serialize) {
        by_serde(part, &mut self.0);
    }
}

pub(super) fn by_serde(part: &(impl Serialize + ?Sized), json: &mut Vec<u8>) {
    serde_json::to_writer(json, part).expect("what is shown can be written as JSON");
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.0).into_response()
    }
}

/// What writes itself as JSON at the end of a buffer. Messages do, of which a page has many: serde
/// looks through the name of each member each time for what has to be escaped.
pub(super) trait WriteJson {
    fn write(&self, json: &mut Vec<u8>);

    /// Whether an object has no such member.
    fn is_left_out(&self) -> bool {
        false
    }
}

/// A response of what writes itself.
pub(super) struct View<T>(pub(super) T);

impl<T: WriteJson> IntoResponse for View<T> {
    fn into_response(self) -> Response {
        let mut json = Written::default();
        self.0.write(&mut json.0);
        json.into_response()
    }
}

/// A member that an object has only if there is something to say.
pub(super) struct IfAny<T>(pub(super) Option<T>);

/// What was written as JSON before.
#[derive(Clone, Copy)]
pub(super) struct Ready<'a>(pub(super) &'a [u8]);

/// Implements [`WriteJson`] for a struct: an object of these members, in this order.
macro_rules! write_members {
    ($name:ident: $($member:ident)*) => {
        impl $crate::http::json::WriteJson for $name<'_> {
            fn write(&self, json: &mut Vec<u8>) {
                json.push(b'{');
                $(
                    let name = concat!("\"", stringify!($member), "\":");
                    $crate::http::json::write_member(name, &self.$member, json);
                )*
                json.push(b'}');
            }
        }
    };
}
pub(super) use write_members;

/// `name` with its quotation marks and colon.
pub(super) fn write_member(name: &str, value: &impl WriteJson, json: &mut Vec<u8>) {
    if value.is_left_out() {
        return;
    }
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    json.extend_from_slice(name.as_bytes());
    value.write(json);
}

impl<T: WriteJson> WriteJson for IfAny<T> {
    fn write(&self, json: &mut Vec<u8>) {
        self.0.write(json);
    }

    fn is_left_out(&self) -> bool {
        self.0.is_none()
    }
}

impl WriteJson for Ready<'_> {
    fn write(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(self.0);
    }
}

impl WriteJson for &RawValue {
    fn write(&self, json: &mut Vec<u8>) {
        Ready(self.get().as_bytes()).write(json);
    }
}

impl<T: WriteJson> WriteJson for Option<T> {
    fn write(&self, json: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(json),
            None => Ready(b"null").write(json),
        }
    }
}

impl<T: WriteJson> WriteJson for Vec<T> {
    fn write(&self, json: &mut Vec<u8>) {
        json.push(b'[');
        for (at, item) in self.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            item.write(json);
        }
        json.push(b']');
    }
}

impl WriteJson for &str {
    fn write(&self, json: &mut Vec<u8>) {
        let escaped = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
        // Not `any`, which looks at one byte at a time in order to stop at the first.
        if self.as_bytes().iter().filter(|byte| escaped(byte)).count() > 0 {
            return by_serde(self, json);
        }
        json.push(b'"');
        json.extend_from_slice(self.as_bytes());
        json.push(b'"');
    }
}

impl WriteJson for Time {
    fn write(&self, json: &mut Vec<u8>) {
        json.push(b'"');
        clock::write_rfc3339(*self, json);
        json.push(b'"');
    }
}

macro_rules! write_by_serde {
    ($($type:ty)*) => {
        $(impl WriteJson for $type {
            fn write(&self, json: &mut Vec<u8>) {
                by_serde(self, json);
            }
        })*
    };
}
write_by_serde!(i64 usize bool);

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct Item<'a> {
        id: i64,
        count: usize,
        is_new: bool,
        text: &'a str,
        none: Option<&'a str>,
        #[serde(skip)]
        left_out: IfAny<i64>,
        texts: Vec<&'a str>,
    }

    write_members!(Item: left_out id count is_new text none left_out texts);

    #[test]
    fn what_writes_itself_is_what_serde_writes() {
        for text in
            ["", "plain", "\"quoted\"", "back\\slash", "line\nbreak", "\u{1}\u{7f}é\u{2028}🦌"]
        {
            let item = Item {
                id: -7,
                count: 3,
                is_new: true,
                text,
                none: None,
                left_out: IfAny(None),
                texts: vec![text, "other"],
            };
            let mut written = Vec::new();
            item.write(&mut written);
            let by_serde = serde_json::to_string(&item).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), by_serde);
        }
        let mut written = Vec::new();
        IfAny(Some(Time(1_500_000))).write(&mut written);
        assert_eq!(written, b"\"1970-01-01T00:00:01.500000Z\"");
    }
}
