//! Users who only follow their own mailbox.
//!
//! Ten thousand registrations would hash passwords for minutes, and nothing that is measured here
//! depends on them: these users are copies of a registered one, with copies of that user's token.

use anyhow::{Context as _, Result};

use crate::database::Server;
use crate::process::{Launch, Process};
use crate::requests::User;

/// Someone with a bearer token.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) id: u64,
    pub(crate) token: String,
}

/// The user who is copied, with the secret of their one token.
pub(crate) struct Model {
    id: u64,
    secret: String,
}

impl Model {
    pub(crate) async fn of(server: &Process, user: &User) -> Result<Self> {
        let token = user.make_token(server.port).await;
        let (_, secret) = token.split_once('.').context("a token of another form")?;
        Ok(Self { id: user.id, secret: secret.to_owned() })
    }

    /// Makes so many copies, while no server runs.
    pub(crate) fn copy(
        &self,
        launch: &Launch,
        database: Option<&Server>,
        count: usize,
    ) -> Result<Vec<Follower>> {
        let text = copies(self.id, count);
        let ids = if let Some(server) = database {
            server.run(launch, &text, IDS)?
        } else {
            let file = rusqlite::Connection::open(launch.data.join("postroom.db"))?;
            file.execute_batch(&text)?;
            let mut ids = file.prepare(IDS)?;
            let ids = ids.query_map([], |row| row.get::<_, i64>(0))?;
            ids.map(|id| Ok(u64::try_from(id?)?)).collect::<Result<Vec<_>>>()?
        };
        let token = |id| format!("prt_{id}.{}", self.secret);
        Ok(ids.into_iter().map(|id| Follower { id, token: token(id) }).collect())
    }
}

const IDS: &str = "SELECT id FROM users WHERE name LIKE 'follower%' ORDER BY id";

fn copies(model: u64, count: usize) -> String {
    format!(
        "BEGIN;
         WITH RECURSIVE numbers (n) AS
             (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
         INSERT INTO users (name, name_folded, email, password_hash, created_at)
         SELECT 'follower' || n, 'follower' || n, 'follower' || n || '@example.org',
                password_hash, created_at
         FROM users CROSS JOIN numbers WHERE id = {model};
         INSERT INTO mailboxes (owner_id, modseq)
         SELECT id, 0 FROM users WHERE name LIKE 'follower%';
         INSERT INTO tokens (user_id, token_hash, name, scopes, created_at)
         SELECT users.id, token_hash, tokens.name, scopes, tokens.created_at
         FROM users CROSS JOIN tokens
         WHERE users.name LIKE 'follower%' AND user_id = {model};
         COMMIT"
    )
}
