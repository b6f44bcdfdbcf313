//! `postroom import django`

use std::io::{IsTerminal as _, Write as _, stderr, stdin};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use db::{Foreign, Url};
use domain::moving::Mode;
use domain::moving::django::{self, Columns, Counts, Names, Read, SOURCE, Tables};

use super::intake::Intake;
use super::report::Report;
use super::stages::Found;
use super::{How, Spool, check, open};
use crate::cli::output::done;
use crate::cli::{Usage, shown};
use crate::config::Settings;
use crate::serve::DataDir;

/// The end of its help.
pub(super) const HELP: &str = "Examples:\n  \
    postroom import django db.sqlite3 --dry-run\n  postroom import django db.sqlite3 --yes\n  \
    postroom import django postgres://app@db.example.org/app --messages chat_letter \\\n    \
    --map from=author_id,to=reader_id,body=text,sent_at=created\n\n\
    The database is only read, and its app may run. The tables are found by themselves where they \
    are those of django-postman, django-messages, pinax-messages, or of the app with the classic \
    API. What does not come, or changes, is said as lines of JSON, and a plan is printed before \
    anything is written. Other users of the machine can see a command line: rather than a \
    password in the address, use a role that may read without one. More: docs/moving.md";

#[derive(Args)]
pub(super) struct Django {
    /// The SQLite file of the app, or the postgres:// address of its database
    #[arg(value_name = "PATH|URL")]
    from: String,
    /// The table of users
    #[arg(long, value_name = "TABLE", default_value = "auth_user")]
    users: String,
    /// The table of messages, where it is not found by itself
    #[arg(long, value_name = "TABLE")]
    messages: Option<String>,
    /// Which of its columns say who wrote to whom, when and what: all are in docs/moving.md
    #[arg(long, value_name = "from=COLUMN,…", value_delimiter = ',')]
    map: Vec<String>,
    /// What becomes of users whose name cannot be a username here: they stay behind, get a name
    /// with their number behind it, or get their e-mail address as their name
    #[arg(long, value_enum, default_value_t = NamesArgument::Suffix)]
    names: NamesArgument,
    /// Go on after the plan without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Clone, Copy, ValueEnum)]
enum NamesArgument {
    Skip,
    Suffix,
    Email,
}

pub(super) fn run(settings: &Settings, from: &Django) -> Result<()> {
    let url = address(&from.from)?;
    let columns = Columns::parse(&from.map).map_err(|invalid| usage(&invalid))?;
    let cannot = || format!("cannot read the database of the app, {url}");
    // Closed until ours is open: both may be schemas of one database, which has to be unused.
    let foreign = Foreign::open(&url).with_context(cannot)?;
    let tables = django::find(&foreign, &from.users, (from.messages.as_deref(), &columns));
    let tables = tables.map_err(|invalid| usage(&invalid))?;
    drop(foreign);
    let _data_dir = DataDir::make(settings)?;
    let store = open(settings)?;
    let spool = Spool::make(&settings.data_dir)?;
    let mut report = Report::new(from.how.errors()?);
    report.tables =
        Some([tables.users().to_owned(), tables.messages().unwrap_or_default().to_owned()]);
    let mut foreign = Foreign::open(&url).with_context(cannot)?;
    let mut intake = Intake::new(spool.db.clone(), from.how.reading(settings));
    let how = (from.names.into(), store.cx.now);
    report.progress.begin("rows read", None);
    let counts = django::read(&mut foreign, &tables, how, &mut |read| {
        match read {
            Read::Line(number, text) => intake.take(number, Ok(text), &mut report)?,
            Read::Note(note) => report.note(&note)?,
        }
        report.progress.add(1);
        Ok::<_, anyhow::Error>(())
    });
    let counts = counts.with_context(cannot)?;
    drop(foreign);
    let mut import = intake.end(SOURCE.to_owned())?;
    let mode = (Mode::Keep, false);
    let found = check(&mut import, &store, mode, &mut report)?;
    done(&plan(&url, &tables, &counts, &found));
    if from.how.dry_run {
        done("Nothing was written.");
        return Ok(());
    }
    confirm(from.yes)?;
    import.write(&store, mode, &mut report)?;
    report.progress.end();
    store.db.close();
    done("All of it is here now.");
    Ok(())
}

fn address(text: &str) -> Result<Url> {
    let is_url = ["postgres://", "postgresql://", "sqlite:"].iter().any(|it| text.starts_with(it));
    let text = if is_url { text.to_owned() } else { format!("sqlite:{text}") };
    let here = std::env::current_dir().context("the current folder is gone")?;
    Ok(Url::parse(&text, Path::new(&here))?)
}

fn usage(invalid: &domain::Invalid) -> Usage {
    Usage(format!("--{}: {}", invalid.field, invalid.problem))
}

impl From<NamesArgument> for Names {
    fn from(names: NamesArgument) -> Self {
        match names {
            NamesArgument::Skip => Self::Skip,
            NamesArgument::Suffix => Self::Suffix,
            NamesArgument::Email => Self::Email,
        }
    }
}

/// Asks whether to go on.
fn confirm(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        bail!("nothing was written: read the plan, then run it again with --yes");
    }
    drop(write!(stderr(), "Write this? [y/N] "));
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("there is no answer")?;
    if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        bail!("nothing was written");
    }
    Ok(())
}

/// What will be written, and what does not come.
fn plan(url: &Url, tables: &Tables, counts: &Counts, found: &Found) -> String {
    let Counts { users, users_come, inactive, without_password, .. } = counts;
    let mut lines = vec![
        format!("from the Django database {url}"),
        format!(
            "users: {users} in {}, {users_come} come, {} new; {inactive} not active, \
             {without_password} without a password",
            tables.users(),
            found.new_users
        ),
    ];
    match tables.messages() {
        None => lines.push(
            "messages: no table is one of an app that is known; say --messages TABLE --map …"
                .to_owned(),
        ),
        Some(table) => {
            let span = found.summary.span.map_or(String::new(), |(first, last)| {
                format!(", sent from {} to {}", shown(first), shown(last))
            });
            lines.push(format!(
                "messages: {} in {table}, {} come, {} new; {} replies{span}",
                counts.messages, counts.messages_come, found.new_messages, counts.replies
            ));
            let marks = counts.marks.iter().map(|(mark, number)| format!("{number} {mark}"));
            let marks = marks.collect::<Vec<_>>().join(", ");
            // Ids ascend with dates.
            let renumbered = counts.messages_come.saturating_sub(found.numbered.cast_unsigned());
            if renumbered > 0 {
                lines.push(format!(
                    "{renumbered} messages get another id: theirs do not ascend with their dates"
                ));
            }
            lines.push(format!("marks: {}", if marks.is_empty() { "none" } else { &marks }));
        }
    }
    for (code, number) in &counts.notes {
        let what = match *code {
            "renamed" => "users get another username",
            "user_left_out" => "users do not come",
            "email_left_out" => "users come without their e-mail address",
            "password_left_out" => "users come without their password",
            "message_left_out" => "messages do not come",
            "not_a_reply" => "replies become messages of their own",
            "for_sender_only" => "messages come for their sender only",
            _ => "texts lose the character U+0000",
        };
        lines.push(format!("{code}: {number} {what}"));
    }
    if !tables.unread.is_empty() {
        lines.push(format!("columns that say nothing here: {}", tables.unread.join(", ")));
    }
    lines.push("other tables, and so groups, permissions and sessions, do not come".to_owned());
    lines.join("\n")
}
