//! What the files of the operations have in common.

pub(super) use axum::extract::State;
pub(super) use axum::http::StatusCode;
pub(super) use axum::response::{IntoResponse, Response};
pub(super) use db::{Purpose, Tx};
pub(super) use domain::{Cx, Missing, UserId};
pub(super) use serde::{Deserialize, Serialize};
pub(super) use utoipa::ToSchema;

pub(super) use super::declare::fields;
pub(super) use super::extract::{JsonBody, KeyedBody, PathId, QueryParams};
pub(super) use super::operation::Api;
pub(super) use super::page::{Fields, ListPage, MailboxPage, Paging, WithFields, WithMetadata};
pub(super) use super::preconditions::Preconditions;
pub(super) use super::reader::Rule;
pub(super) use super::refs::PathRef;
pub(super) use super::view::{MessageItem, People, PersonView};
pub(super) use crate::http::auth::{
    Account, Caller, Listen, Look, Read, Settings, Stranger, Write,
};
pub(super) use crate::http::by::By;
pub(super) use crate::http::client::Device;
pub(super) use crate::http::code::Code;
pub(super) use crate::http::json::{Json, View};
pub(super) use crate::http::server_key::ServerCaller;
pub(super) use crate::http::{App, Error, list_turns, waits};
pub(super) use crate::runtime::clock;
