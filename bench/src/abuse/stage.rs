//! What an attack has before it begins: an account with its letters, and whom it knows of.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use bench::SUBJECT;
use serde_json::json;
use tokio::task::JoinSet;

use super::attack::Attack;
use crate::load::sent_id;
use crate::requests::{Request, User, bearer, forwarded, request};
use crate::wire::Connection;

/// The one address of the attacker, as the proxy names it.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// Letters that are sent at the same time.
const SENDERS: usize = 8;

pub(super) struct Stage {
    pub(super) account: User,
    /// The headers of its requests: its token, and its address.
    pub(super) headers: String,
    /// The letters of the account.
    pub(super) letters: Vec<u64>,
    /// The ordinary users.
    pub(super) people: Vec<User>,
    counter: AtomicU64,
}

/// So many letters like one.
pub(super) struct Letters {
    pub(super) count: usize,
    pub(super) to: Vec<u64>,
    pub(super) body: String,
    pub(super) metadata: Option<String>,
}

impl Stage {
    /// Has the account send what the attack needs, while nothing is limited.
    pub(super) async fn of(
        attack: Attack,
        port: u16,
        account: &User,
        people: &[User],
    ) -> Result<Self> {
        let token = account.make_token(port).await;
        let headers = format!("{}{}", bearer(&token), forwarded(ADDRESS));
        let mut letters = Vec::new();
        for kind in attack.letters(account, people) {
            let mut letter = json!({"to": kind.to, "subject": SUBJECT, "body": kind.body});
            if let Some(text) = kind.metadata {
                letter["metadata"] = json!({ "text": text });
            }
            let send = request("POST", "/v1/messages", &headers, &letter.to_string());
            letters.extend(send_all(port, &send, kind.count).await?);
        }
        let (account, people) = (account.clone(), people.to_vec());
        Ok(Self { account, headers, letters, people, counter: AtomicU64::new(0) })
    }

    /// A number that this has not returned before.
    pub(super) fn number(&self) -> u64 {
        self.counter.fetch_add(1, Relaxed)
    }

    /// One of the ordinary users.
    pub(super) fn person(&self, number: u64) -> &User {
        let people = self.people.len() as u64;
        &self.people[usize::try_from(number % people).unwrap_or(0)]
    }
}

async fn send_all(port: u16, send: &Request, count: usize) -> Result<Vec<u64>> {
    let (mut senders, left) = (JoinSet::new(), Arc::new(AtomicU64::new(count as u64)));
    for _ in 0..SENDERS {
        let (send, left) = (send.clone(), Arc::clone(&left));
        senders.spawn(async move {
            let (mut connection, mut ids) = (Connection::open(port).await?, Vec::new());
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                let answer = connection.exchange(&send).await?;
                ids.push(sent_id(answer.success().context("a letter of an attack")?)?);
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::new();
    while let Some(sent) = senders.join_next().await {
        ids.extend(sent??);
    }
    ids.sort_unstable();
    Ok(ids)
}
