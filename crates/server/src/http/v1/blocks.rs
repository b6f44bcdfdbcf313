//! `/v1/blocks`: whom the caller takes no messages from.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mail::blocks::{self, Block};
use mail::{UserId, users};
use serde::Serialize;
use utoipa::ToSchema;

use super::input::{Asked, Id};
use super::operation::{Api, Operation, Tag};
use super::page::Page;
use super::users::Person;
use crate::http::App;
use crate::http::Error;
use crate::http::auth::{Caller, Read, Write};
use crate::http::code::Code;
use crate::http::error::FieldError;
use crate::runtime::clock;

/// The calls under `/v1/blocks`.
pub(super) fn api(api: Api) -> Api {
    let list = Operation::get("/v1/blocks", "listBlocks", Tag::Blocks, "Lists who is blocked")
        .scope::<Read>()
        .paged()
        .answers_page::<Blocked>("A page of them, the newest account first.");
    let path = "/v1/blocks/{user}";
    let put = Operation::put(path, "block", Tag::Blocks, "Blocks a user")
        .scope::<Write>()
        .done("The user can write to the caller no more; what was sent before stays.")
        .errors(&[Code::Invalid]);
    let remove = Operation::delete(path, "unblock", Tag::Blocks, "Blocks a user no more")
        .scope::<Write>()
        .done("The user is not blocked.");
    api.add(list, self::list).add(put, self::put).add(remove, self::remove)
}

/// Somebody who is blocked.
#[derive(Serialize, ToSchema)]
#[schema(as = Block)]
struct Blocked {
    user: Person,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
}

async fn list(
    State(app): State<App>,
    caller: Caller<Read>,
    asked: Asked,
) -> Result<Json<Page<Blocked>>, Error> {
    let (limit, before) = asked.read(|fields| {
        let (limit, before) = (fields.limit(), fields.cursor());
        Some((limit?, before?))
    })?;
    let read = app.db.read(move |tx| {
        let blocks = blocks::list(tx, caller.user, before, limit + 1)?;
        let ids: Vec<_> = blocks.iter().map(|block| block.user).collect();
        Ok::<_, mail::Error>((blocks, users::people(tx, &ids)?))
    });
    let (blocks, people) = read.await?;
    let position = |block: &Block| [block.user.get()];
    // Nobody is ever removed from the users, so there is one for each block.
    let known = |block: &Block| people.iter().find(|person| person.id == block.user).cloned();
    let blocks: Vec<_> =
        blocks.into_iter().filter_map(|block| Some((known(&block)?, block))).collect();
    let page = Page::of(
        blocks,
        limit,
        |(_, block)| position(block),
        |(person, block)| Blocked {
            user: person.into(),
            created_at: clock::rfc3339(block.created_at),
        },
    );
    Ok(Json(page))
}

async fn put(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(user): Id<UserId>,
) -> Result<StatusCode, Error> {
    if user == caller.user {
        return Err(Error::invalid(vec![FieldError {
            pointer: None,
            parameter: Some("user".to_owned()),
            detail: "nobody can block himself".into(),
            code: "invalid",
        }]));
    }
    let cx = app.clock.cx();
    match app.db.write(move |tx| blocks::put(tx, &cx, caller.user, user)).await {
        Err(mail::Error::UnknownUser) => Err(Error::new(Code::NotFound, "there is no such user")),
        put => Ok(put.map(|()| StatusCode::NO_CONTENT)?),
    }
}

async fn remove(
    State(app): State<App>,
    caller: Caller<Write>,
    Id(user): Id<UserId>,
) -> Result<StatusCode, Error> {
    app.db.write(move |tx| blocks::remove(tx, caller.user, user)).await?;
    Ok(StatusCode::NO_CONTENT)
}
