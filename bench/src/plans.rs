//! What the signed-in users ask of each system.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use bench::{Fill, INBOX, SIGNED_IN};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::credentials;
use crate::load::Plan;
use crate::process::{Process, SERVER_KEY};
use crate::requests::{Request, User, floor, postroom, server, v1};
use crate::settings::{Settings, Workload};
use crate::wire::Connection;

/// Recipients per sender: 32 senders with 28 each reach about all of the 900 who receive.
const RECIPIENTS: usize = 28;
const LANES: RangeInclusive<usize> = 1..=SIGNED_IN;

pub(crate) struct Plans {
    w1: Plan,
    w2: Plan,
    w3: Plan,
    v1: V1,
    app: OfAnApp,
    signin: Plan,
}

/// Users of an app read messages; without lanes where that is not measured.
#[derive(Default)]
struct OfAnApp {
    key: Plan,
    browser: Plan,
    jwt: Plan,
}

/// Without lanes where nothing of /v1 is measured.
#[derive(Default)]
struct V1 {
    send: Plan,
    page: Plan,
    read: Plan,
    unread: Plan,
}

/// The inbox in a list of ids or in a page.
#[derive(Deserialize)]
#[serde(untagged)]
enum Inbox {
    Ids { messages_id: Vec<u64> },
    Page { data: Vec<Item> },
}

#[derive(Deserialize)]
struct Item {
    id: u64,
    /// A page without snippets would be cheaper than what is to be measured.
    #[serde(rename = "snippet")]
    _snippet: String,
}

#[derive(Deserialize)]
struct Unread {
    messages: u64,
}

impl Plans {
    /// Reads each inbox through once, so that afterwards all is marked as read.
    pub(crate) async fn postroom(
        server: &Process,
        settings: &Settings,
        users: &[User],
    ) -> Result<Self> {
        let user = |lane: usize| &users[lane - 1];
        let mut asking = Asking::of(server).await?;
        let lists = LANES.map(|lane| postroom::list(user(lane))).collect::<Vec<_>>();
        let read = |lane: usize, id| postroom::read(user(lane), id);
        let send = |lane: usize, to: usize| postroom::send(user(lane), users[to - 1].id);
        let w3 = asking.reads(&lists, read).await?;
        let v1 = if settings.v1() {
            V1::postroom(&mut asking, settings.fill, users).await?
        } else {
            V1::default()
        };
        let app = if settings.server_key() {
            OfAnApp::postroom(&mut asking, &lists, users).await?
        } else {
            OfAnApp::default()
        };
        Ok(Self {
            app,
            w1: sends(settings.fill, send),
            w2: one_each(lists),
            w3,
            v1,
            signin: one_each(LANES.map(|lane| {
                // Not those who send: a user has a hundred sessions, and then the oldest ends.
                let user = user(lane + SIGNED_IN);
                postroom::login(&user.name, &user.csrf)
            })),
        })
    }

    /// The same for the floor, where nobody signs in.
    pub(crate) async fn floor(floor: &Process, settings: &Settings) -> Result<Self> {
        let mut asking = Asking::of(floor).await?;
        let lists = LANES.map(floor::list).collect::<Vec<_>>();
        let w1 = sends(settings.fill, |lane, to| floor::send(lane, to as u64));
        let w3 = asking.reads(&lists, floor::read).await?;
        let pages = LANES.map(floor::page).collect::<Vec<_>>();
        Ok(Self {
            v1: V1 {
                send: sends(settings.fill, |lane, to| floor::v1_send(lane, to as u64)),
                read: asking.reads(&pages, floor::v1_read).await?,
                page: one_each(pages),
                unread: asking.unread(LANES.map(floor::unread)).await?,
            },
            w1,
            w2: one_each(lists),
            w3,
            app: OfAnApp::default(),
            signin: Plan::default(),
        })
    }

    pub(crate) fn of(&self, workload: Workload) -> &Plan {
        match workload {
            Workload::W1
            | Workload::W1streams
            | Workload::Streams
            | Workload::System
            | Workload::Puts => &self.w1,
            Workload::W2 => &self.w2,
            Workload::W3 => &self.w3,
            Workload::V1send => &self.v1.send,
            Workload::V1page => &self.v1.page,
            Workload::V1read => &self.v1.read,
            Workload::V1unread | Workload::Unreads => &self.v1.unread,
            Workload::V1key => &self.app.key,
            Workload::V1browser => &self.app.browser,
            Workload::V1jwt => &self.app.jwt,
            Workload::Signin => &self.signin,
        }
    }
}

impl OfAnApp {
    async fn postroom(asking: &mut Asking<'_>, lists: &[Request], users: &[User]) -> Result<Self> {
        let mut all = Vec::with_capacity(SIGNED_IN);
        for user in &users[..SIGNED_IN] {
            all.push(credentials::of(asking.process, user).await?);
        }
        let of = |lane: usize| &all[lane - 1];
        let by_key = |lane: usize, id| server::read(SERVER_KEY, users[lane - 1].id, id);
        Ok(Self {
            key: asking.reads(lists, by_key).await?,
            browser: asking.reads(lists, |lane, id| v1::read(&of(lane).browser_token, id)).await?,
            jwt: asking.reads(lists, |lane, id| v1::read(&of(lane).jwt, id)).await?,
        })
    }
}

impl V1 {
    /// With a token for each who reads, made as a browser would.
    async fn postroom(asking: &mut Asking<'_>, fill: Fill, users: &[User]) -> Result<Self> {
        let mut tokens = Vec::with_capacity(SIGNED_IN);
        for user in &users[..SIGNED_IN] {
            tokens.push(user.make_token(asking.process.port).await);
        }
        let pages = tokens.iter().map(|token| v1::page(token)).collect::<Vec<_>>();
        Ok(Self {
            send: sends(fill, |lane, to| v1::send(&users[lane - 1], users[to - 1].id)),
            read: asking.reads(&pages, |lane, id| v1::read(&tokens[lane - 1], id)).await?,
            page: one_each(pages),
            unread: asking.unread(tokens.iter().map(|token| v1::unread(token))).await?,
        })
    }
}

/// A connection for what must be known before anything is measured.
struct Asking<'a> {
    connection: Connection,
    process: &'a Process,
}

impl<'a> Asking<'a> {
    async fn of(process: &'a Process) -> Result<Self> {
        Ok(Self { connection: Connection::open(process.port).await?, process })
    }

    async fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T> {
        let answer = self.connection.exchange(request).await?;
        Ok(serde_json::from_slice(answer.success()?)?)
    }

    /// Each message of the listed inboxes, read once already.
    async fn reads(
        &mut self,
        lists: &[Request],
        read: impl Fn(usize, u64) -> Request,
    ) -> Result<Plan> {
        let system = self.process.system.name();
        let mut lanes = Vec::with_capacity(lists.len());
        for (lane, list) in LANES.zip(lists) {
            let ids = self.ask::<Inbox>(list).await.context("listing an inbox")?.ids();
            let count = ids.len();
            ensure!(count == INBOX, "user {lane} of {system} lists {count} messages");
            let requests = ids.into_iter().map(|id| read(lane, id)).collect::<Vec<_>>();
            for request in &requests {
                let answer = self.connection.exchange(request).await?;
                answer.success().context("reading a message")?;
            }
            lanes.push(requests.into());
        }
        Ok(Plan { lanes })
    }

    /// The counts of inboxes that were read through.
    async fn unread(&mut self, counts: impl IntoIterator<Item = Request>) -> Result<Plan> {
        let counts = counts.into_iter().collect::<Vec<_>>();
        for (lane, count) in LANES.zip(&counts) {
            let unread: Unread = self.ask(count).await.context("counting the unread")?;
            let (system, unread) = (self.process.system.name(), unread.messages);
            ensure!(unread == 0, "user {lane} of {system} has read all, and {unread} are unread");
        }
        Ok(one_each(counts))
    }
}

impl Inbox {
    fn ids(self) -> Vec<u64> {
        match self {
            Self::Ids { messages_id } => messages_id,
            Self::Page { data } => data.into_iter().map(|item| item.id).collect(),
        }
    }
}

fn one_each(requests: impl IntoIterator<Item = Request>) -> Plan {
    Plan { lanes: requests.into_iter().map(|request| [request].into()).collect() }
}

fn sends(fill: Fill, send: impl Fn(usize, usize) -> Request) -> Plan {
    let lane = |lane: usize| {
        let recipients = (0..RECIPIENTS).map(|k| fill.other(lane * RECIPIENTS + k));
        recipients.map(|to| send(lane, to)).collect()
    };
    Plan { lanes: LANES.map(lane).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_an_inbox_are_found_in_either_list() {
        for list in [
            r#"{"messages_id": [3, 5]}"#,
            r#"{"data": [{"id": 3, "snippet": "a"}, {"id": 5, "snippet": ""}], "state": "9"}"#,
        ] {
            assert_eq!(serde_json::from_str::<Inbox>(list).unwrap().ids(), [3, 5], "{list}");
        }
    }

    #[test]
    fn a_page_without_snippets_is_refused() {
        assert!(serde_json::from_str::<Inbox>(r#"{"data": [{"id": 3}]}"#).is_err());
    }
}
