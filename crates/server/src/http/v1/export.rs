//! What one person has, as a file of JSON Lines.
//!
//! A page is read when the connection has room for it, in a transaction of its own: a client that
//! reads slowly keeps one page in memory, and nothing of the database. One that breaks off ends the
//! export with its connection. An export that cannot go on breaks the response off, so that nobody
//! takes a part for the whole.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use db::Owner;
use domain::credential::Credential;
use domain::moving::{self, Personal};
use domain::tokens;
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use super::events::has_ended;
use super::prelude::*;
use super::server::found;
use crate::http::bearer;
use crate::http::exports::Turn;
use crate::http::server_key::Export;
use crate::http::unfinished_bodies::{Holder, Unfinished};
use crate::runtime::jwt::Pass;

/// What an export may have in memory: a page, with each character of its texts escaped.
const IN_MEMORY: usize = 256 << 10;
/// How often a page is tried again, a second apart, while the database is busy or away.
const TRIES: u32 = 10;

const JSON_LINES: &str = "application/x-ndjson";

pub(super) fn api(api: Api) -> Api {
    api.on("GET /v1/users/me/export", "exportMe", "Exports what the caller has", own)
        .downloads(ABOUT)
        .header("Content-Disposition", "`attachment`, with the name of a file.")
}

pub(super) fn server_api(api: Api) -> Api {
    api.on("GET /v1/server/users/{ref}/export", "exportUser", "Exports what a user has", of_user)
        .downloads(ABOUT)
        .header("Content-Disposition", "`attachment`, with the name of a file.")
        .errors(&[Code::UserErased])
}

const ABOUT: &str = "JSON Lines as `postroom import` reads them: what the user wrote and received, \
    their settings, blocks, mutes and contacts, and their sessions and tokens, for which a token \
    needs the scope `account`. What came after the start is left out. One export of a user runs \
    at a time; the next one waits.";

async fn own(
    State(app): State<App>,
    caller: Caller<Listen>,
    method: Method,
) -> Result<Response, Error> {
    let by = For { owner: caller.line().owner(), holder: Holder::User(caller.user) };
    let login = Login::User(caller.key, caller.pass);
    let has_logins = caller.scopes.contains(tokens::Scope::Account);
    start(app, &method, caller.user, by, login, has_logins).await
}

async fn of_user(
    caller: ServerCaller<Export>,
    State(app): State<App>,
    PathRef(of): PathRef,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (cx, key) = (app.clock.cx(), caller.key.id);
    let user = app.db.of(key).read(move |tx| found(tx, &cx, &of)).await?;
    app.has_read(&caller.call, user, cx.now)?;
    let by = For { owner: key.into(), holder: Holder::Key };
    let login = Login::Key(bearer::of(&headers)?.unwrap_or_default().to_vec());
    start(app, &method, user, by, login, true).await
}

/// For whom an export is made.
#[derive(Clone, Copy)]
struct For {
    owner: Owner,
    holder: Holder,
}

/// By what an export was asked for. It ends with that.
enum Login {
    User(Credential, Option<Pass>),
    /// The server key itself.
    Key(Vec<u8>),
}

async fn start(
    app: App,
    method: &Method,
    user: UserId,
    by: For,
    login: Login,
    has_logins: bool,
) -> Result<Response, Error> {
    let name = format!("attachment; filename=\"postroom-{}.jsonl\"", user.get());
    let head = [(CONTENT_TYPE, JSON_LINES.to_owned()), (CONTENT_DISPOSITION, name)];
    // Who asks for the headers alone starts none.
    if method == Method::HEAD {
        return Ok(head.into_response());
    }
    let mut counted = app.unfinished_bodies.begin(by.holder);
    counted.hold(IN_MEMORY)?;
    let turn = app.exports.turn(user).await;
    let now = app.clock.cx().now;
    let begun = app.db.of(by.owner).scan(move |tx| {
        let personal = Personal::begin(tx, user, None, has_logins)?;
        Ok::<_, domain::Error>((moving::first_line(tx, now)?, personal))
    });
    let (first, personal) = begun.await?;
    let running =
        Running { app, by, login, personal: Arc::new(personal), _turn: turn, _counted: counted };
    let pages = stream::unfold(Some(running), async |running| running?.next().await);
    let first = stream::iter([Ok(Bytes::from(first + "\n"))]);
    Ok((head, Body::from_stream(first.chain(pages))).into_response())
}

struct Running {
    app: App,
    by: For,
    login: Login,
    personal: Arc<Personal>,
    _turn: Turn,
    _counted: Unfinished,
}

type Page = Result<Bytes, domain::Error>;

impl Running {
    /// The next page that says something, or why there is none; `None` at the end.
    async fn next(mut self) -> Option<(Page, Option<Self>)> {
        loop {
            match self.page().await {
                Ok(None) => return None,
                Ok(Some(text)) if text.is_empty() => {}
                Ok(Some(text)) => return Some((Ok(text.into()), Some(self))),
                Err(error) => {
                    tracing::warn!(%error, "an export was broken off");
                    return Some((Err(error), None));
                }
            }
        }
    }

    async fn has_ended(&self) -> bool {
        let (app, cx) = (&self.app, self.app.clock.cx());
        match &self.login {
            Login::User(key, pass) => has_ended(app, key, *pass).await,
            Login::Key(sent) => {
                let by = || self.by.owner;
                let key = app.server_keys.find(&app.0.last_key, &app.db, &cx, sent, by).await;
                key.is_ok_and(|key| key.is_none())
            }
        }
    }

    async fn page(&mut self) -> domain::Result<Option<String>> {
        let mut tries = 0;
        let page = loop {
            if self.has_ended().await {
                return Err(domain::Error::NotLoggedIn);
            }
            let (at, cx) = (Arc::clone(&self.personal), self.app.clock.cx());
            match self.app.db.of(self.by.owner).scan(move |tx| at.page(tx, &cx)).await {
                Err(domain::Error::Db(db::Error::Busy | db::Error::Unavailable(_)))
                    if tries < TRIES && !self.app.stopping.is_cancelled() =>
                {
                    tries += 1;
                    sleep(Duration::from_secs(1)).await;
                }
                page => break page?,
            }
        };
        let Some(page) = page else { return Ok(None) };
        Arc::make_mut(&mut self.personal).pass(&page);
        Ok(Some(page.text))
    }
}
