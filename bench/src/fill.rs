//! Fills Postroom through its public API and takes the figures that need it at rest.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::Fill;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::database::Server;
use crate::followers::{Follower, Model};
use crate::numbers::real;
use crate::process::{Launch, Process, size_of_dir};
use crate::requests::{PASSWORD, User, client, postroom};
use crate::wire::Connection;

/// A password costs the server 20 ms of a core; more at once would only queue.
const SIGN_INS: usize = 4;
/// Enough senders that commits are shared.
const SENDERS: usize = 64;
const STARTS: usize = 5;
/// What a server that was just started still has to do is done after this.
const SETTLED: Duration = Duration::from_secs(1);

/// A running, filled Postroom.
pub(crate) struct Filled {
    pub(crate) server: Process,
    pub(crate) users: Vec<User>,
    pub(crate) followers: Arc<[Follower]>,
    pub(crate) starts: Vec<Duration>,
    pub(crate) idle_mib: f64,
    pub(crate) bytes_per_message: f64,
}

/// Sizes are taken after a clean stop, so that the log is part of the database; sessions must
/// outlive that stop, or the fill fails.
pub(crate) async fn fill(
    launch: &Launch,
    database: Option<&Server>,
    followers: usize,
) -> Result<Filled> {
    let size = || match database {
        Some(server) => server.size(launch.system),
        None => size_of_dir(&launch.data),
    };
    let (server, _) = launch.start()?;
    let users = users(server.port, launch.fill).await?;
    let model = match followers {
        0 => None,
        _ => Some(Model::of(&server, &users[0]).await?),
    };
    server.stop()?;
    let copies = model.map(|model| model.copy(launch, database, followers)).transpose()?;
    let empty = real(size()?);

    let (server, _) = launch.start()?;
    messages(server.port, launch.fill, &users).await?;
    server.stop()?;
    let full = real(size()?);

    let (mut server, first) = launch.start()?;
    let mut starts = vec![first];
    while starts.len() < STARTS {
        server.stop()?;
        let again = launch.start()?;
        server = again.0;
        starts.push(again.1);
    }
    sleep(SETTLED).await;
    Ok(Filled {
        idle_mib: server.pss_mib()?,
        server,
        users,
        followers: copies.unwrap_or_default().into(),
        starts,
        bytes_per_message: (full - empty) / real(launch.fill.messages() as u64),
    })
}

/// All users, registered and signed in.
async fn users(port: u16, fill: Fill) -> Result<Vec<User>> {
    let mut workers = JoinSet::new();
    for worker in 0..SIGN_INS {
        workers.spawn(async move {
            let mut users = Vec::new();
            for number in (worker..fill.users()).step_by(SIGN_INS) {
                users.push((number, user(port, number + 1).await));
            }
            users
        });
    }
    let mut users = Vec::with_capacity(fill.users());
    while let Some(worker) = workers.join_next().await {
        users.append(&mut worker?);
    }
    users.sort_unstable_by_key(|(number, _)| *number);
    Ok(users.into_iter().map(|(_, user)| user).collect())
}

/// Each has a client of their own: a login ends the session that the client had.
async fn user(port: u16, number: usize) -> User {
    let name = format!("user{number:04}");
    let client = client(port);
    let csrf = client.csrf_token().await;
    let email = format!("{name}@example.org");
    let registered = client.try_register(&name, &email, PASSWORD).await.ok();
    let id = registered["user_id"].as_u64().expect("an id is a number");
    client.try_login(&name, PASSWORD).await.ok();
    User { id, name, csrf, session: client.session() }
}

async fn messages(port: u16, fill: Fill, users: &[User]) -> Result<()> {
    let users: Arc<[User]> = users.into();
    let mut workers = JoinSet::new();
    for worker in 0..SENDERS {
        let users = Arc::clone(&users);
        workers.spawn(async move {
            let mut connection = Connection::open(port).await?;
            for i in (worker..fill.messages()).step_by(SENDERS) {
                let (from, to) = (&users[fill.sender(i) - 1], &users[fill.recipient(i) - 1]);
                let answer = connection.exchange(&postroom::send(from, to.id)).await?;
                answer.success().context("sending")?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}
