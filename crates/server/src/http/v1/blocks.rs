//! `/v1/blocks`: the users from whom the caller accepts no messages.

use domain::{blocks, users};

use super::prelude::*;

pub(super) fn api(api: Api) -> Api {
    api.tag("Blocks", "The users from whom a user accepts no messages.")
        .on("GET /v1/blocks", "listBlocks", "Lists the blocked users", list)
        .answers_page::<BlockView>("A page, the newest account first.")
        .on("PUT /v1/blocks/{user}", "block", "Blocks a user", put)
        .done("Neither can write to the other any more; earlier messages stay.")
        .errors(&[Code::Invalid, Code::SystemUser, Code::QuotaExceeded])
        .on("DELETE /v1/blocks/{user}", "unblock", "Unblocks a user", remove)
        .done("The user is no longer blocked.")
        .errors(&[Code::QuotaExceeded])
}

/// A blocked user.
#[derive(Serialize, ToSchema)]
#[schema(as = Block)]
struct BlockView {
    user: PersonView,
    #[schema(format = DateTime, example = "2026-11-22T20:16:23Z")]
    created_at: String,
}

async fn list(
    State(app): State<App>,
    caller: Caller<Look>,
    QueryParams(paging): QueryParams<Paging>,
) -> Result<Json<ListPage<BlockView>>, Error> {
    let limit = usize::from(paging.limit.0);
    list_turns::take(caller.line());
    let read = caller.long(&app).read(move |tx| {
        let one_more = i64::from(paging.limit.0) + 1;
        let blocks = blocks::list(tx, caller.user, paging.before(), one_more)?;
        let ids: Vec<_> = blocks.iter().map(|block| block.user).collect();
        Ok::<_, domain::Error>((blocks, users::people(tx, &ids)?))
    });
    let (blocks, people) = read.await?;
    let next = blocks.get(limit).and_then(|_more| blocks.get(limit - 1));
    // Users are never removed from the table, so there is one for each block.
    let shown = blocks.iter().take(limit).filter_map(|block| {
        let person = people.iter().find(|person| person.id == block.user)?.clone();
        let created_at = clock::rfc3339(block.created_at);
        Some(BlockView { user: person.into(), created_at })
    });
    Ok(ListPage::new(shown.collect(), next.map(|block| block.user.get())))
}

async fn put(
    State(app): State<App>,
    caller: Caller<Write>,
    PathRef(user): PathRef,
) -> Result<StatusCode, Error> {
    let (cx, owner) = (app.clock.cx(), caller.user);
    app.count_lookups(owner, 1).await?;
    let put = caller.write(&app, move |tx| {
        let user = users::id_of(tx, &user)?.ok_or(domain::Error::NotFound(Missing::User))?;
        blocks::put(tx, &cx, owner, user)
    });
    put.await.map_err(Error::in_path)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    State(app): State<App>,
    caller: Caller<Write>,
    PathRef(user): PathRef,
) -> Result<StatusCode, Error> {
    let owner = caller.user;
    app.count_lookups(owner, 1).await?;
    let removed = caller.write(&app, move |tx| {
        let user = users::id_of(tx, &user)?.ok_or(domain::Error::NotFound(Missing::User))?;
        blocks::remove(tx, owner, user)
    });
    removed.await.map_err(Error::in_path)?;
    Ok(StatusCode::NO_CONTENT)
}
