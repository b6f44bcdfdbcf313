//! What an app says of a user, in the body of a PUT and in the batch.

#![expect(clippy::option_option, reason = "the outer one is left out, the inner one null")]

use domain::LARGEST_ID;
use domain::server_keys::{KeyScope, ServerKey};
use domain::text::{DisplayName, Email, Username};
use domain::users::{AcceptFrom, Kind, UserChange};
use serde_json::{Value, json};

use crate::http::server_key::check_scope;
use crate::http::v1::document::Schemas;
use crate::http::v1::field_types::whole;
use crate::http::v1::prelude::*;
use crate::http::v1::reader::{FieldContext, FieldReader, FieldSet, FieldSpec, FieldType};

/// What an app says of a user, as it is read.
pub(in crate::http::v1) struct UserFields {
    person: NewPerson,
    rest: Rest,
}

/// What an app says of a person who may be new.
pub(in crate::http::v1) struct NewPerson {
    username: Option<Option<Username>>,
    display_name: Option<Option<CutName>>,
    email: Option<Option<Email>>,
    accept_from: Option<Option<AcceptFrom>>,
    reminders: Option<Option<bool>>,
    findable: Option<Option<bool>>,
    version: Option<Option<AppVersion>>,
}

/// What only those say who manage users.
struct Rest {
    active: Option<bool>,
    kind: Option<Kind>,
    replies: Option<bool>,
    recreate: bool,
}

fields! {
    /// What to make a person of.
    for NewPerson as "NewPerson" {
        /// Letters, digits and `@ . + - _`; a user without one gets `user-` and the id.
        clearable username: Username = "dana";
        /// Any text. What cannot be in a display name is removed, and the rest cut to 100
        /// characters; `changed` says so.
        clearable display_name: CutName = "Dana Deer";
        /// The address for reminders. Nobody is found or matched by it.
        clearable email: Email = "dana@example.org";
        clearable accept_from: AcceptFrom;
        /// Whether to send e-mails about unread messages; `true` at first.
        clearable reminders: bool;
        /// Whether look-ups find the user; `true` at first.
        clearable findable: bool;
        /// A number of the app's own that rises with each change. If it is lower than the one that
        /// was last taken, nothing changes: so changes may arrive in any order.
        clearable version: AppVersion = 17;
    }
}

fields! {
    for Rest as "" {
        /// `false` ends sessions, tokens and streams and closes the mailbox, whose texts stay;
        /// `true` opens it again.
        change active: bool;
        /// Set when the user is created, and never changed; a person where it is left out. A system
        /// user needs a key with the scope `system`.
        change kind: Kind = "person";
        /// Whether a system user takes replies; not at first. It is then shown as `accept_from`.
        change replies: bool;
        /// `true` creates somebody new where the user of this external id was erased.
        or_default recreate: bool;
    }
}

impl FieldSet for UserFields {
    const NAME: &'static str = "UserChange";
    const ABOUT: &'static [&'static str] = &[
        "What the app says of a user. Fields that are left out stay as they are; null makes them",
        "as for a new user.",
    ];

    fn read(reader: &mut FieldReader<'_>) -> Option<Self> {
        let (person, rest) = FieldSet::read(reader)?;
        Some(Self { person, rest })
    }

    fn specs() -> Vec<&'static FieldSpec> {
        <(NewPerson, Rest)>::specs()
    }
}

impl UserFields {
    /// Makes sure that the key may say this.
    pub(in crate::http::v1) fn confirm_scope(&self, key: &ServerKey) -> Result<(), Error> {
        if self.rest.kind == Some(Kind::System) || self.rest.replies.is_some() {
            check_scope(key, KeyScope::System)?;
        }
        Ok(())
    }

    /// The change, and the fields that it has in another form than they were sent in.
    pub(in crate::http::v1) fn split(self) -> (UserChange, Vec<&'static str>) {
        let name = self.person.display_name.as_ref().and_then(Option::as_ref);
        let changed = if name.is_some_and(|name| name.1) { vec!["display_name"] } else { vec![] };
        let Rest { active, kind, replies, recreate } = self.rest;
        let said = self.person.change();
        (UserChange { active, kind, replies, recreate, ..said }, changed)
    }
}

impl NewPerson {
    /// The change that makes or keeps a person, and brings back nobody who was erased.
    pub(in crate::http::v1) fn change(self) -> UserChange {
        UserChange {
            username: self.username,
            display_name: self.display_name.map(|name| name.and_then(|CutName(name, _)| name)),
            email: self.email,
            accept_from: self.accept_from,
            reminders: self.reminders,
            findable: self.findable,
            version: self.version.map(|version| version.map(|AppVersion(version)| version)),
            ..UserChange::default()
        }
    }
}

/// A display name that was made of any text, and whether it differs from that.
struct CutName(Option<DisplayName>, bool);

impl FieldType for CutName {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let text = String::read(value, field)?;
        let name = DisplayName::cut(&text);
        let differs = name.as_ref().map_or("", DisplayName::shown) != text;
        Some(Self(name, differs))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        String::schema(schemas)
    }
}

/// A number by which the app says what is newer.
struct AppVersion(i64);

impl FieldType for AppVersion {
    fn read(value: Value, field: &mut FieldContext<'_>) -> Option<Self> {
        let Value::Number(number) = value else {
            return field.refuse("wrong_type", "it must be a whole number");
        };
        let number = whole(&number).filter(|number| (0..=LARGEST_ID).contains(number));
        let problem = "it must be a whole number from 0, and below 2^53";
        number.map(Self).or_else(|| field.refuse("invalid", problem))
    }

    fn schema(_schemas: &mut Schemas) -> Value {
        json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": LARGEST_ID })
    }
}
