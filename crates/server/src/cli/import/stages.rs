//! The stages of an import after everything was read: check, write. Each step is one transaction of
//! a thousand lines.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use db::{Db, Tx};
use domain::moving::spool::{self, Summary};
use domain::moving::{self, Line, Message, Mode, People, Problem, Reading, Rows};

use super::report::Report;
use crate::cli::{Store, wait};

/// Lines of a transaction.
const STEP: i64 = 1000;

/// Up to so many lines after a number, with theirs.
type Pages = fn(&mut Tx<'_>, i64, i64) -> domain::Result<Vec<(i64, String)>>;

/// A file that was read.
pub(super) struct Import {
    pub(super) spool: Db,
    pub(super) reading: Reading,
    pub(super) source: String,
    pub(super) people: Arc<Mutex<People>>,
}

/// What a check has found.
pub(super) struct Found {
    pub(super) summary: Summary,
    pub(super) new_users: i64,
    pub(super) new_messages: i64,
    /// Messages whose number can be their id, where nothing else has it.
    pub(super) numbered: i64,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Import {
    /// Checks all lines against each other and against the database.
    pub(super) fn check(
        &mut self,
        store: &Store,
        (mode, stubs): (Mode, bool),
        report: &mut Report,
    ) -> Result<Found> {
        let problems = self.spooled(spool::compare)?;
        report.wrong(&problems)?;
        report.wrong(&self.spooled(spool::arrange)?)?;
        let summary = self.spooled(spool::summary)?;
        let numbered = self.spooled(spool::numbered)?;
        let (mut new_users, mut new_messages) = (0, 0);
        self.each_users(|users| {
            let cx = store.cx;
            let (problems, new) =
                store.read(move |tx| moving::check_users(tx, &cx, mode, &users))?;
            new_users += new;
            report.wrong(&problems)
        })?;
        let source = self.source.clone();
        let target = store.read(move |tx| moving::target(tx, &source))?;
        report.progress.begin("messages checked", Some(summary.messages));
        self.each_messages(|this, messages| {
            report.progress.add(messages.len());
            let named = messages.iter().flat_map(|(_, message)| message.named());
            let parents = this.known(named.map(str::to_owned).collect())?;
            let (target, people) = (target.clone(), Arc::clone(&this.people));
            let how = (stubs, mode == Mode::Refuse);
            let checked = store.read(move |tx| {
                let lines = (&*messages, &parents);
                moving::check_messages(tx, &target, &mut lock(&people), lines, how)
            });
            let (problems, new) = checked?;
            new_messages += new;
            report.wrong(&problems)
        })?;
        self.each_others(|this, lines| {
            let begun = lines.iter().filter_map(|(_, line)| line.conversation());
            let begun = begun.map(str::to_owned).collect::<Vec<_>>();
            let begun = this.spooled(move |tx| spool::conversations(tx, &begun))?;
            let begun = BTreeSet::from_iter(begun);
            let (source, people) = (this.source.clone(), Arc::clone(&this.people));
            let problems: Vec<Problem> = store.read(move |tx| {
                let lines = (&*lines, &begun);
                moving::check_others(tx, &source, &mut lock(&people), lines)
            })?;
            report.wrong(&problems)
        })?;
        Ok(Found { summary, new_users, new_messages, numbered })
    }

    /// Writes what was checked.
    pub(super) fn write(
        &mut self,
        store: &Store,
        (mode, stubs): (Mode, bool),
        report: &mut Report,
    ) -> Result<()> {
        let (cx, above) = (store.cx, self.spooled(spool::highest_id)?);
        let total = self.spooled(spool::summary)?.messages;
        let people = Arc::clone(&self.people);
        self.each_users(|users| {
            let people = Arc::clone(&people);
            store.write(move |tx| {
                moving::write_users(tx, &cx, mode, &mut lock(&people), (&users, above))
            })
        })?;
        if stubs {
            self.each_messages(|this, messages| {
                let people = Arc::clone(&this.people);
                store.write(move |tx| moving::write_stubs(tx, &cx, &mut lock(&people), &messages))
            })?;
        }
        let rows = Arc::new(Mutex::new(Rows::default()));
        report.progress.begin("messages written", Some(total));
        self.each_messages(|this, messages| {
            let number = messages.len();
            let (source, people) = (this.source.clone(), Arc::clone(&this.people));
            let (rows, mut is_again) = (Arc::clone(&rows), false);
            store.write(move |tx| {
                let mut rows = lock(&rows);
                // The transaction may be done once more.
                if std::mem::replace(&mut is_again, true) {
                    rows.clear();
                }
                let lines = (&*messages, &mut *rows);
                moving::write_messages(tx, &source, &mut lock(&people), lines)
            })?;
            report.progress.add(number);
            Ok(())
        })?;
        self.each_others(|this, lines| {
            let (source, people) = (this.source.clone(), Arc::clone(&this.people));
            store
                .write(move |tx| moving::write_others(tx, &cx, &source, &mut lock(&people), &lines))
        })
    }

    fn spooled<T: Send + 'static>(
        &self,
        f: impl FnMut(&mut Tx<'_>) -> domain::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(wait(self.spool.write(f))??)
    }

    /// Those of some external ids that the file has.
    fn known(&self, names: Vec<String>) -> Result<BTreeSet<String>> {
        let known = self.spooled(move |tx| spool::known(tx, &names))?;
        Ok(known.into_iter().collect())
    }

    fn each_users(
        &self,
        mut f: impl FnMut(Vec<(i64, Box<domain::users::MovedUser>)>) -> Result<()>,
    ) -> Result<()> {
        self.each(spool::users, |_, lines| {
            let users = lines.into_iter().filter_map(|(number, line)| match line {
                Line::User(user) => Some((number, user)),
                _ => None,
            });
            f(users.collect())
        })
    }

    fn each_others(&self, f: impl FnMut(&Self, Vec<(i64, Line)>) -> Result<()>) -> Result<()> {
        self.each(spool::others, f)
    }

    fn each(
        &self,
        page: Pages,
        mut f: impl FnMut(&Self, Vec<(i64, Line)>) -> Result<()>,
    ) -> Result<()> {
        let mut after = 0;
        loop {
            let texts = self.spooled(move |tx| page(tx, after, STEP))?;
            let Some((last, _)) = texts.last() else { return Ok(()) };
            after = *last;
            let lines = texts.iter().map(|(line, text)| Ok((*line, self.again(*line, text)?)));
            f(self, lines.collect::<Result<_>>()?)?;
        }
    }

    fn each_messages(&self, mut f: impl FnMut(&Self, Vec<Message>) -> Result<()>) -> Result<()> {
        let mut after = 0;
        loop {
            let turns = self.spooled(move |tx| spool::messages(tx, after, STEP))?;
            let Some(last) = turns.last() else { return Ok(()) };
            after = last.place;
            let mut messages = Vec::with_capacity(turns.len());
            for turn in turns {
                if let Line::Message(message) = self.again(turn.line, &turn.text)? {
                    messages.push((turn, message));
                }
            }
            f(self, messages)?;
        }
    }

    /// Reads a line again that was read before.
    fn again(&self, line: i64, text: &str) -> Result<Line> {
        Line::parse(line, text, &self.reading).ok().context("a line has changed since it was read")
    }
}
