//! What the load generator and the floor agree on: who writes to whom, and what.

use anyhow::{Result, ensure};

/// Users whose sessions carry the load.
pub const SIGNED_IN: usize = 32;

/// Messages in the inbox of everyone whose inbox is listed.
pub const INBOX: usize = 50;

/// The subject of every message, 20 characters.
pub const SUBJECT: &str = "Notes of the meeting";

/// The body of every message, 200 characters in words of usual length.
pub const BODY: &str = "Thank you all for coming on Monday. We agreed to move the archive to \
    the new building before winter, and Ruth will ask three firms what they want for it. \
    Please send her all your lists by Friday noon.";

const _: () = assert!(SUBJECT.len() == 20 && BODY.len() == 200);

/// The users and messages that are there before anything is measured; users count from 1.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    users: usize,
    messages: usize,
}

impl Fill {
    /// Refuses numbers that do not give every listed inbox its messages.
    pub fn new(users: usize, messages: usize) -> Result<Self> {
        let fill = Self { users, messages };
        let (owners, least) = (fill.owners(), fill.owners() * INBOX);
        ensure!(
            users > owners,
            "more than {owners} users are needed: somebody must receive what is sent"
        );
        ensure!(messages >= least, "{owners} inboxes of {INBOX} need {least} messages");
        Ok(fill)
    }

    pub fn users(self) -> usize {
        self.users
    }

    pub fn messages(self) -> usize {
        self.messages
    }

    /// Users 1 to this one have an inbox of exactly `INBOX` messages; no workload writes to them.
    pub fn owners(self) -> usize {
        if self.users >= 1000 { 100 } else { SIGNED_IN }
    }

    /// Who sends message `i`, counted from 0.
    pub fn sender(self, i: usize) -> usize {
        i * 7 % self.users + 1
    }

    /// Who receives message `i`, counted from 0.
    pub fn recipient(self, i: usize) -> usize {
        if i < self.owners() * INBOX { i / INBOX + 1 } else { self.other(i) }
    }

    /// The `i`th of those who are not owners, round and round.
    pub fn other(self, i: usize) -> usize {
        self.owners() + 1 + i % (self.users - self.owners())
    }
}

/// The bearer token by which the floor knows a user: as long as one of 256 random bits.
pub fn floor_token(user: usize) -> String {
    format!("{:043}", user * 7919)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_get_a_full_inbox_and_nothing_more() {
        for (users, messages) in [(1000, 100_000), (100, 10_000)] {
            let fill = Fill::new(users, messages).unwrap();
            let mut received = vec![0; users + 1];
            for i in 0..messages {
                assert!((1..=users).contains(&fill.sender(i)));
                received[fill.recipient(i)] += 1;
            }
            assert!(received[1..=fill.owners()].iter().all(|&n| n == INBOX));
            assert!(received[fill.owners() + 1..].iter().all(|&n| n > 0));
        }
    }

    #[test]
    fn too_few_users_or_messages_are_refused() {
        assert!(Fill::new(SIGNED_IN, 10_000).is_err());
        assert!(Fill::new(1000, 4999).is_err());
    }
}
