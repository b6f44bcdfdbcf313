//! Declares a body or a query string with `fields!`: the declaration is its type, its reader and
//! its description in the OpenAPI document, so a new field is one line:
//!
//! ```ignore
//! fields! {
//!     /// The account to create.
//!     struct NewUser {
//!         /// Letters, digits and `@ . + - _`.
//!         required username: Username = "dana";
//!         optional display_name: DisplayName = "Dana Deer";
//!     }
//! }
//! ```
//!
//! The doc comment is the description and `= …` the example. The type says how to parse the field
//! (`FieldType`), the word before its name whether it may be left out:
//!
//! | word | left out | null | type of the value |
//! |---|---|---|---|
//! | `required` | an error | as the type says | `T` |
//! | `optional` | `None` | `None` | `Option<T>` |
//! | `change` | `None` | an error: there is no value to change to | `Option<T>` |
//! | `clearable` | `None` | removes the current value | `Option<Option<T>>` |
//! | `or_default` | the default | an error | `T` |
//!
//! What limits an operation (a filter, a bound) is not `optional`: null would lift the limit.

use serde_json::{Map, Value, json};

use super::document::Schemas;
use super::reader::{FieldSet, FieldSpec, Rule};

/// Declares a request; see the documentation of this module. `for Type as "Name"` instead of
/// `struct Name` reads into a type of the domain, whose fields may have another name in JSON:
/// `words ("q")`. `rules [..]` are `Rule`s between the fields. `check |reader| {..}` sees each
/// field as an `Option`, which is `None` if it has an error.
macro_rules! fields {
    (@type required $type:ty) => { $type };
    (@type or_default $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
    (@type change $type:ty) => { Option<$type> };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $wire:literal) => { $wire };
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident {
            $($(#[doc = $doc:literal])* $presence:ident $field:ident: $type:ty $(= $example:tt)?;)*
        }
        $($rest:tt)*
    ) => {
        $(#[doc = $about])*
        $vis struct $name {
            $($(#[doc = $doc])*
            $vis $field: $crate::http::v1::declare::fields!(@type $presence $type),)*
        }
        $crate::http::v1::declare::fields! {
            @impl ($name) (stringify!($name)) ($($about)*)
            { $($(#[doc = $doc])* $presence $field: $type $(= $example)?;)* }
            $($rest)*
        }
    };
    (
        $(#[doc = $about:literal])*
        for $target:path as $name:literal {
            $($body:tt)*
        }
        $($rest:tt)*
    ) => {
        $crate::http::v1::declare::fields! {
            @impl ($target) ($name) ($($about)*) { $($body)* } $($rest)*
        }
    };
    (
        @impl ($target:path) ($name:expr) ($($about:literal)*) {
            $($(#[doc = $doc:literal])* $presence:ident $field:ident $(($wire:literal))?: $type:ty
              $(= $example:tt)?;)*
        }
        $(rules [$($rule:expr),* $(,)?])?
        $(check |$checked:ident| $check:block)?
    ) => {
        impl $crate::http::v1::reader::FieldSet for $target {
            const NAME: &'static str = $name;
            const ABOUT: &'static [&'static str] = &[$($about),*];
            const RULES: &'static [$crate::http::v1::reader::Rule] = &[$($($rule),*)?];
            const SPECS: &'static [$crate::http::v1::reader::FieldSpec] =
                &[$($crate::http::v1::reader::FieldSpec {
                    name: $crate::http::v1::declare::fields!(@name $field $($wire)?),
                    presence: stringify!($presence),
                    about: &[$($doc),*],
                    schema: <$type as $crate::http::v1::reader::FieldType>::schema,
                    example: concat!($(stringify!($example))?),
                },)*];

            fn read(reader: &mut $crate::http::v1::reader::FieldReader<'_>) -> Option<Self> {
                $(let $field = reader.$presence::<$type>(
                    $crate::http::v1::declare::fields!(@name $field $($wire)?),
                );)*
                $(let $checked = reader; $check)?
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}
pub(super) use fields;

/// The lines of a doc comment as one text.
pub(super) fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// Adds the schema of a body, and returns a reference to it.
pub(super) fn body_schema<T: FieldSet>(schemas: &mut Schemas) -> Value {
    let specs = T::specs();
    let properties: Map<_, _> =
        specs.iter().map(|spec| (spec.name.to_owned(), field_schema(spec, schemas))).collect();
    let required = specs.iter().filter(|spec| spec.presence == "required");
    let required: Vec<_> = required.map(|spec| spec.name).collect();
    let about: Vec<_> = [text(T::ABOUT)].into_iter().chain(T::RULES.iter().map(in_words)).collect();
    let mut schema = json!({
        "type": "object",
        "description": about.join("\n"),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    for rule in T::RULES {
        describe(rule, &mut schema);
    }
    schemas.put(T::NAME, schema)
}

fn field_schema(spec: &FieldSpec, schemas: &mut Schemas) -> Value {
    let mut schema = (spec.schema)(schemas);
    if matches!(spec.presence, "optional" | "clearable") {
        if schema.get("$ref").is_some() {
            schema = json!({ "oneOf": [{ "type": "null" }, schema] });
        } else {
            schema["type"] = json!([schema["type"], "null"]);
        }
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.push(Value::Null);
        }
    }
    if !spec.about.is_empty() {
        schema["description"] = text(spec.about).into();
    }
    if let Some(example) = spec.example() {
        schema["example"] = example;
    }
    schema
}

/// A rule as a sentence, for readers of what is generated from the document.
fn in_words(rule: &Rule) -> String {
    match *rule {
        Rule::OneOf(one, other) => format!("Send exactly one of `{one}` and `{other}`."),
        Rule::Unless(name, other) => format!("`{name}` may be left out only with `{other}`."),
        Rule::OnlyWith(name, other) => format!("Send `{name}` only with `{other}`."),
        Rule::Together(one, other) => format!("Send `{one}` and `{other}` together, or neither."),
    }
}

/// Adds a rule as `if`, `then` and `else`. Generators of clients leave these aside; of `anyOf`,
/// `oneOf` or `allOf` beside `properties` many make a type without the properties.
fn describe(rule: &Rule, schema: &mut Value) {
    let non_null = |name: &str| match &schema["properties"][name]["type"] {
        Value::Array(types) => json!({ "type": types[0] }),
        kind => json!({ "type": kind }),
    };
    let nothing = json!({ "type": "null" });
    let condition = match *rule {
        Rule::OneOf(one, other) => json!({
            "if": { "required": [one] },
            "then": { "not": { "required": [other] } },
            "else": { "required": [other] },
        }),
        Rule::Unless(name, other) => json!({
            "if": { "properties": { other: nothing } },
            "then": { "required": [name] },
        }),
        Rule::OnlyWith(name, other) => {
            schema["dependentRequired"][name] = json!([other]);
            return;
        }
        Rule::Together(one, other) => json!({
            "if": { "properties": { one: nothing } },
            "then": { "properties": { other: nothing } },
            "else": { "required": [other], "properties": { other: non_null(other) } },
        }),
    };
    add_condition(&condition, schema);
}

/// A schema has one `if`, so a further condition stands in both of its branches.
fn add_condition(condition: &Value, schema: &mut Value) {
    if schema.get("if").is_none() {
        let (schema, condition) = (schema.as_object_mut(), condition.as_object());
        let parts = condition.expect("it is an object").clone();
        return schema.expect("it is an object").extend(parts);
    }
    for branch in ["then", "else"] {
        if schema.get(branch).is_none() {
            schema[branch] = json!({});
        }
        add_condition(condition, &mut schema[branch]);
    }
}
