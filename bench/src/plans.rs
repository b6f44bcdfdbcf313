//! What the signed-in users ask of each system.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use bench::{Fill, INBOX, SIGNED_IN};
use serde::Deserialize;

use crate::load::Plan;
use crate::process::Process;
use crate::requests::{Request, User, floor, postroom};
use crate::settings::Workload;
use crate::wire::Connection;

/// Receivers per sender: 32 senders with 28 each reach about all of the 900 who receive.
const RECEIVERS: usize = 28;
const LANES: RangeInclusive<usize> = 1..=SIGNED_IN;

pub(crate) struct Plans {
    w1: Plan,
    w2: Plan,
    w3: Plan,
    signin: Plan,
}

#[derive(Deserialize)]
struct Inbox {
    messages_id: Vec<u64>,
}

impl Plans {
    /// Reads each inbox through once, so that afterwards all is marked as read.
    pub(crate) async fn postroom(server: &Process, fill: Fill, users: &[User]) -> Result<Self> {
        let user = |lane: usize| &users[lane - 1];
        let lists = LANES.map(|lane| postroom::list(user(lane))).collect::<Vec<_>>();
        let read = |lane: usize, id| postroom::read(user(lane), id);
        Ok(Self {
            w1: sends(fill, |lane, to| postroom::send(user(lane), users[to - 1].id)),
            w3: reads(server, &lists, read).await?,
            w2: one_each(lists),
            signin: one_each(LANES.map(user).map(|user| postroom::login(&user.name, &user.csrf))),
        })
    }

    /// The same for the floor, where nobody signs in.
    pub(crate) async fn floor(server: &Process, fill: Fill) -> Result<Self> {
        let lists = LANES.map(floor::list).collect::<Vec<_>>();
        Ok(Self {
            w1: sends(fill, |lane, to| floor::send(lane, to as u64)),
            w3: reads(server, &lists, floor::read).await?,
            w2: one_each(lists),
            signin: one_each([]),
        })
    }

    pub(crate) fn of(&self, workload: Workload) -> &Plan {
        match workload {
            Workload::W1 => &self.w1,
            Workload::W2 => &self.w2,
            Workload::W3 => &self.w3,
            Workload::Signin => &self.signin,
        }
    }
}

fn one_each(requests: impl IntoIterator<Item = Request>) -> Plan {
    Plan { lanes: requests.into_iter().map(|request| [request].into()).collect() }
}

fn sends(fill: Fill, send: impl Fn(usize, usize) -> Request) -> Plan {
    let lane = |lane: usize| {
        let receivers = (0..RECEIVERS).map(|k| fill.other(lane * RECEIVERS + k));
        receivers.map(|to| send(lane, to)).collect()
    };
    Plan { lanes: LANES.map(lane).collect() }
}

async fn reads(
    server: &Process,
    lists: &[Request],
    read: impl Fn(usize, u64) -> Request,
) -> Result<Plan> {
    let mut connection = Connection::open(server.port).await?;
    let mut lanes = Vec::with_capacity(lists.len());
    for (lane, list) in LANES.zip(lists) {
        let answer = connection.exchange(list).await?;
        let inbox: Inbox = serde_json::from_slice(answer.success().context("listing an inbox")?)?;
        let count = inbox.messages_id.len();
        ensure!(count == INBOX, "user {lane} of {} lists {count} messages", server.system.name());
        let requests = inbox.messages_id.into_iter().map(|id| read(lane, id)).collect::<Vec<_>>();
        for request in &requests {
            connection.exchange(request).await?.success().context("reading a message")?;
        }
        lanes.push(requests.into());
    }
    Ok(Plan { lanes })
}
