//! `--abuse`: what one account or one address can do to everybody else.
//!
//! Each attack runs beside ordinary users, who are measured twice: while as many connections as the
//! attack has ask for /healthz as fast as they can, and while the attack runs. So the attack is not
//! charged with the processors that the load generator itself takes. The server has the limits of
//! a default installation behind a proxy, and is started again for each attack.

mod attack;
mod attackers;
mod attacks;
pub(crate) mod ordinary;
mod stage;
mod table;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

pub(crate) use self::attack::Attack;
pub(crate) use self::ordinary::PEOPLE;
pub(crate) use self::table::Table;

use self::attackers::{Attackers, What};
use self::ordinary::Ordinary;
use self::stage::Stage;
use self::table::{Row, Side};
use crate::acked::Acked;
use crate::database::Server;
use crate::fill::{self, Filled};
use crate::process::{Launch, Process, System, size_of_dir};
use crate::requests::User;
use crate::settings::Settings;

/// How long others have asked already when the ordinary users begin.
const HEAD_START: Duration = Duration::from_millis(500);
/// How often the size of the folder is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Attacks on one database: beside more of them, the ordinary users would send more than new
/// accounts may.
const ATTACKS: usize = 20;

/// Runs the attacks, each between two starts of the server.
pub(crate) async fn measure(settings: &Settings, binary: &Path, dir: &Path) -> Result<Table> {
    let mut table = Table { seconds: settings.length.as_secs(), ..Table::default() };
    for (number, attacks) in settings.attacks.chunks(ATTACKS).enumerate() {
        run(settings, attacks, binary, &dir.join(number.to_string()), &mut table).await?;
    }
    Ok(table)
}

/// Runs attacks on a database of their own.
async fn run(
    settings: &Settings,
    attacks: &[Attack],
    binary: &Path,
    dir: &Path,
    table: &mut Table,
) -> Result<()> {
    let database = settings.database.open();
    let database = database.as_ref();
    let system = System::Postroom;
    let launch = Launch {
        system,
        binary: binary.to_owned(),
        data: dir.join(system.name()),
        fill: settings.fill,
        database: database.map(|server| (server.create(system), settings.pool)),
        server_key: true,
        limits: false,
    };
    eprintln!("filling in {} messages", settings.fill.messages());
    let Filled { server, users, .. } = fill::fill(&launch, database, 0).await?;
    let (people, accounts) = users.split_at(PEOPLE);
    let ordinary = Ordinary::of(server.port, people).await?;
    let mut stages = Vec::new();
    for (attack, account) in attacks.iter().zip(accounts) {
        stages.push(Stage::of(*attack, server.port, account, people).await?);
    }
    server.stop()?;

    let scene = Scene {
        launch: Launch { limits: true, ..launch },
        database,
        ordinary,
        length: settings.length,
    };
    let (server, _) = scene.launch.start()?;
    scene.ordinary.sign_in(server.port).await?;
    server.stop()?;
    let mut acked = Acked::default();
    for (stage, attack) in stages.into_iter().zip(attacks) {
        table.rows.push(scene.row(*attack, Arc::new(stage), &mut acked).await?);
    }
    table.account.add(scene.account(acked, people).await?);
    table.on_postgres = database.is_some();
    Ok(())
}

/// What the rows have in common.
struct Scene<'a> {
    launch: Launch,
    database: Option<&'a Server>,
    ordinary: Ordinary,
    length: Duration,
}

impl Scene<'_> {
    async fn row(&self, attack: Attack, stage: Arc<Stage>, acked: &mut Acked) -> Result<Row> {
        eprintln!("{}: {}", attack.name(), attack.about());
        let (server, _) = self.launch.start()?;
        self.ordinary.warm_up(server.port).await?;
        let without = self.side(&server, &stage, What::Healthz(attack), acked).await?;
        let with = self.side(&server, &stage, What::Attack(attack), acked).await?;
        let stopped = server.stop().inspect_err(|error| eprintln!("{error}")).is_ok();
        Ok(Row { attack: attack.name(), conns: attack.conns(), without, with, stopped })
    }

    /// The ordinary users beside one load.
    async fn side(
        &self,
        server: &Process,
        stage: &Arc<Stage>,
        what: What,
        acked: &mut Acked,
    ) -> Result<Side> {
        server.forget_peak()?;
        let before = self.size()?;
        let attackers = Attackers::start(server.port, stage, what)?;
        sleep(HEAD_START).await;
        let mut ordinary = pin!(self.ordinary.run(server.port, self.length));
        let mut largest = before;
        let (kinds, sent) = loop {
            tokio::select! {
                seen = &mut ordinary => break seen?,
                // PostgreSQL is asked only where nothing is measured.
                () = sleep(LOOK), if self.database.is_none() => {
                    largest = largest.max(self.size()?);
                }
            }
        };
        let answers = attackers.stop()?;
        largest = largest.max(self.size()?);
        acked.add(sent);
        Ok(Side {
            kinds,
            answers,
            peak_mib: server.peak_mib()?,
            growth: largest.saturating_sub(before),
        })
    }

    /// Bytes of what the server keeps.
    fn size(&self) -> Result<u64> {
        match self.database {
            Some(server) => server.size(self.launch.system),
            None => size_of_dir(&self.launch.data),
        }
    }

    /// Looks every acknowledged send up; those who do it are not limited.
    async fn account(&self, acked: Acked, people: &[User]) -> Result<crate::acked::Account> {
        eprintln!("looking up every acknowledged send");
        let (server, _) = self.launch.start()?;
        let account = acked.settle(&server, people).await?;
        server.stop()?;
        Ok(account)
    }
}
