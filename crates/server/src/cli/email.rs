//! `postroom mail`

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use lettre::message::Mailbox;
use lettre::{Address, Message};
use mail::Time;

use super::{Failure, wait};
use crate::config::Settings;
use crate::email::mailer::Mailer;
use crate::runtime::clock::Clock;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Send a mail to an address, to see whether the server for e-mail can be used
    #[command(after_help = "Example:\n  postroom mail test you@example.org\n\n\
        It goes the way of the reminders: smtp_url, mail_from.")]
    Test {
        /// Where to send it
        address: String,
    },
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let Command::Test { address } = command;
    let to = address.parse::<Address>();
    let to = to.map_err(|error| Failure::Usage(format!("{address}: {error}")))?;
    let mailer = Mailer::new(settings)?;
    let mailer = mailer.ok_or_else(|| Failure::Usage("smtp_url is not set".to_owned()))?;
    let seconds = u64::try_from(Clock::default().now().0 / Time::SECOND).unwrap_or_default();
    let mail = Message::builder()
        .from(mailer.sender().clone())
        .to(Mailbox::new(None, to.clone()))
        .subject("A test of Postroom")
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .body("This server can send e-mail.\n".to_owned())
        .context("the mail cannot be written")?;
    let sent = wait(mailer.send(&to, &mail.formatted()))?;
    sent.map_err(|failure| match failure.said.as_str() {
        "" => anyhow!("{}", failure.reason),
        said => anyhow!("{}: {said}", failure.reason),
    })?;
    println!("the server for e-mail has taken a mail to {to}");
    Ok(())
}
