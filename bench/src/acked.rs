//! The account of acknowledged sends: each must be there afterwards, and be there once.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::process::Process;
use crate::requests::{User, postroom};
use crate::wire::Connection;

/// The ids that were acknowledged, by the sender's lane.
#[derive(Default)]
pub(crate) struct Acked {
    by_lane: Vec<Vec<u64>>,
}

#[derive(Default, Serialize)]
pub(crate) struct Account {
    pub(crate) acked: usize,
    pub(crate) lost: Vec<u64>,
    pub(crate) twice: Vec<u64>,
}

#[derive(Deserialize)]
struct MessageView {
    message_id: u64,
    sender_id: u64,
}

impl Acked {
    pub(crate) fn add(&mut self, run: Vec<Vec<u64>>) {
        self.by_lane.resize_with(self.by_lane.len().max(run.len()), Vec::new);
        for (all, mut ids) in self.by_lane.iter_mut().zip(run) {
            all.append(&mut ids);
        }
    }

    /// Looks every id up as the sender, which marks nothing as read: through the classic API, which
    /// shows what either of them sent.
    pub(crate) async fn settle(self, server: &Process, users: &[User]) -> Result<Account> {
        let (acked, twice) = self.count();
        let mut lookups = JoinSet::new();
        for (ids, sender) in self.by_lane.into_iter().zip(users) {
            lookups.spawn(missing(server.port, sender.clone(), ids.into()));
        }
        let mut lost = Vec::new();
        while let Some(ids) = lookups.join_next().await {
            lost.append(&mut ids??);
        }
        Ok(Account { acked, lost, twice })
    }

    /// How many there are, and those that occur again.
    fn count(&self) -> (usize, Vec<u64>) {
        let mut all = self.by_lane.concat();
        all.sort_unstable();
        let twice = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        (all.len(), twice.collect())
    }
}

impl Account {
    pub(crate) fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.lost.extend(other.lost);
        self.twice.extend(other.twice);
    }

    /// An error that names some of the ids, unless each was there once.
    pub(crate) fn check(&self) -> Result<()> {
        let some = |ids: &[u64]| format!("{:?}", &ids[..ids.len().min(10)]);
        if !self.lost.is_empty() {
            let lost = self.lost.len();
            bail!("{lost} acknowledged messages are not there, among them {}", some(&self.lost));
        }
        if !self.twice.is_empty() {
            let twice = self.twice.len();
            bail!("{twice} ids were acknowledged again, among them {}", some(&self.twice));
        }
        Ok(())
    }
}

async fn missing(port: u16, sender: User, ids: Arc<[u64]>) -> Result<Vec<u64>> {
    let mut connection = Connection::open(port).await?;
    let mut missing = Vec::new();
    for &id in &*ids {
        let answer = connection.exchange(&postroom::read(&sender, id)).await?;
        let found = answer.status != 404 && {
            let view: MessageView = serde_json::from_slice(answer.success()?)?;
            view.message_id == id && view.sender_id == sender.id
        };
        if !found {
            missing.push(id);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_acknowledged_to_two_senders_is_found() {
        let mut acked = Acked::default();
        acked.add(vec![vec![3, 1], vec![2]]);
        acked.add(vec![vec![4], vec![1]]);
        assert_eq!(acked.count(), (5, vec![1]));
    }

    #[test]
    fn a_lost_message_is_an_error_that_names_it() {
        let account = Account { acked: 2, lost: vec![77], twice: vec![] };
        assert!(account.check().unwrap_err().to_string().contains("77"));
        assert!(Account { acked: 2, lost: vec![], twice: vec![] }.check().is_ok());
    }
}
