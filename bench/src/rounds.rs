//! The runs, in turns, so that what else the machine does falls on both systems alike.

use std::collections::HashSet;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::acked::Acked;
use crate::batches::{self, Batch};
use crate::database::Server;
use crate::delivery::{Delivery, Measured};
use crate::followers::Follower;
use crate::load::{Figures, Ids, Load};
use crate::plans::Plans;
use crate::process::{Process, System};
use crate::report::Case;
use crate::requests::{User, postroom};
use crate::settings::{Settings, Workload};
use crate::streams::Streams;

/// What a system still does after its run must not be charged to the next one.
const BETWEEN: Duration = Duration::from_millis(300);
/// Connections of the runs beside sign-ins, and of the soak.
pub(crate) const USUAL: usize = 32;

pub(crate) const SOAK: &str = "soak";
pub(crate) const BY_TOKEN: &str = "v1read by a token";
pub(crate) const W3_ALONE: &str = "w3 alone";
pub(crate) const W1_ALONE: &str = "w1 alone";
pub(crate) const W1_BESIDE: &str = "w1 beside streams";
pub(crate) const W3_BESIDE: &str = "w3 beside 2 sign-ins";

/// A running system and what is asked of it.
pub(crate) struct Subject {
    pub(crate) process: Process,
    pub(crate) plans: Plans,
}

pub(crate) struct Rounds<'a> {
    settings: &'a Settings,
    database: Option<&'a Server>,
    cases: Vec<Case>,
    acked: Acked,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(settings: &'a Settings, database: Option<&'a Server>) -> Self {
        Self { settings, database, cases: Vec::new(), acked: Acked::default() }
    }

    /// All that was measured, and the acknowledged sends.
    pub(crate) fn finish(self) -> (Vec<Case>, Acked) {
        (self.cases, self.acked)
    }

    /// The workloads that both systems have. Each is first in every second round: what a run leaves
    /// to do falls on the next one.
    pub(crate) async fn in_turns(&mut self, server: &Subject, other: &Subject) -> Result<()> {
        for round in 0..self.settings.rounds {
            for workload in self.settings.shared() {
                for &conns in &self.settings.conns {
                    let both = [server, other];
                    for subject in if round % 2 == 0 { both } else { [other, server] } {
                        self.run(workload.name(), subject, workload, conns).await?;
                    }
                }
            }
            self.say_done(round);
        }
        Ok(())
    }

    /// Sign-ins alone, and what two of them at a time do to those who read.
    pub(crate) async fn sign_ins(&mut self, server: &Subject) -> Result<()> {
        for round in 0..self.settings.rounds {
            self.run(Workload::Signin.name(), server, Workload::Signin, 1).await?;
            self.run(W3_ALONE, server, Workload::W3, USUAL).await?;
            let (reads, sign_ins) =
                (self.load(server, Workload::W3, USUAL), self.load(server, Workload::Signin, 2));
            let (reads, sign_ins) = tokio::try_join!(reads.run(), sign_ins.run())?;
            ensure!(sign_ins.figures.not_2xx == 0, "sign-ins were refused");
            self.note(W3_BESIDE, USUAL, System::Postroom, reads.figures);
            sleep(BETWEEN).await;
            self.say_done(round);
        }
        Ok(())
    }

    /// Reads by the credentials of an app, beside those by a token of ours. Every second round goes
    /// the other way round: what a run leaves to do falls on the next one.
    pub(crate) async fn of_an_app(&mut self, server: &Subject) -> Result<()> {
        let wanted = self.settings.workloads.iter().filter(|workload| workload.is_of_an_app());
        let wanted = wanted.map(|workload| (workload.name(), *workload));
        let mut runs: Vec<_> = iter::once((BY_TOKEN, Workload::V1read)).chain(wanted).collect();
        for round in 0..self.settings.rounds {
            for (name, workload) in &runs {
                self.run(name, server, *workload, USUAL).await?;
            }
            runs.reverse();
            self.say_done(round);
        }
        Ok(())
    }

    /// Sends to users who all have a stream open, and to the same without.
    pub(crate) async fn beside_streams(&mut self, server: &Subject, users: &[User]) -> Result<()> {
        let fill = self.settings.fill;
        let recipients = &users[fill.owners()..];
        let requests: Vec<_> = recipients.iter().map(postroom::events).collect();
        for round in 0..self.settings.rounds {
            self.run(W1_ALONE, server, Workload::W1, USUAL).await?;
            let streams = Streams::open(server.process.port, &requests).await?;
            let run = self.load(server, Workload::W1, USUAL).run().await?;
            self.note(W1_BESIDE, USUAL, System::Postroom, run.figures);
            let sent = run.acked.iter().map(Vec::len).sum();
            let heard = streams.take(sent).await;
            let heard: HashSet<_> = heard.iter().map(|event| event.message).collect();
            let lost = run.acked.iter().flatten().filter(|id| !heard.contains(id)).count();
            ensure!(lost == 0, "{lost} of {sent} messages were not heard of");
            self.acked.add(run.acked);
            streams.check()?;
            drop(streams);
            sleep(BETWEEN).await;
            self.say_done(round);
        }
        Ok(())
    }

    /// Calls about many users, and as many about one each.
    pub(crate) async fn batches(&mut self, server: &Subject, users: &[User]) -> Result<Vec<Batch>> {
        let (process, rounds) = (&server.process, self.settings.rounds);
        let mut measured = Vec::new();
        if self.settings.runs(Workload::Puts) {
            measured.push(batches::puts(process, rounds).await?);
        }
        if self.settings.runs(Workload::Unreads) {
            measured.push(batches::unread(process, users, rounds).await?);
        }
        if self.settings.runs(Workload::System) {
            let recipients = &users[self.settings.fill.owners()..];
            let rest = (rounds, &mut self.acked);
            measured.push(batches::system(process, &users[0], recipients, rest).await?);
        }
        Ok(measured)
    }

    /// Messages to users of whom each has a stream open.
    pub(crate) async fn deliver(
        &mut self,
        process: &Process,
        senders: &[User],
        followers: &Arc<[Follower]>,
    ) -> Result<Measured> {
        let Settings { rate, rounds, length, .. } = *self.settings;
        let database = self.database;
        let delivery = Delivery { process, database, senders, followers, rate, rounds, length };
        let (measured, acked) = delivery.run().await?;
        self.acked.add(acked);
        Ok(measured)
    }

    /// Sends for long, at the usual number of connections.
    pub(crate) async fn soak(&mut self, server: &Subject, length: Duration) -> Result<()> {
        let load = Load { length, ..self.load(server, Workload::W1, USUAL) };
        let run = load.run().await?;
        self.acked.add(run.acked);
        self.note(SOAK, USUAL, System::Postroom, run.figures);
        Ok(())
    }

    async fn run(
        &mut self,
        name: &'static str,
        subject: &Subject,
        workload: Workload,
        conns: usize,
    ) -> Result<()> {
        let load = self.load(subject, workload, conns);
        let ids = load.ids;
        let run = load.run().await?;
        if ids == Ids::Kept {
            self.acked.add(run.acked);
        }
        self.note(name, conns, subject.process.system, run.figures);
        sleep(BETWEEN).await;
        Ok(())
    }

    fn load<'s>(&'s self, subject: &'s Subject, workload: Workload, conns: usize) -> Load<'s> {
        let process = &subject.process;
        let kept = workload.sends() && process.system == System::Postroom;
        Load {
            process,
            database: self.database,
            plan: subject.plans.of(workload),
            conns,
            length: self.settings.length,
            ids: if kept { Ids::Kept } else { Ids::Ignored },
        }
    }

    fn note(&mut self, name: &'static str, conns: usize, system: System, figures: Figures) {
        let same = |case: &&mut Case| (case.name, case.conns, case.system) == (name, conns, system);
        match self.cases.iter_mut().find(same) {
            Some(case) => case.runs.push(figures),
            None => self.cases.push(Case { name, conns, system, runs: vec![figures] }),
        }
    }

    fn say_done(&self, round: usize) {
        eprintln!("round {} of {}", round + 1, self.settings.rounds);
    }
}
