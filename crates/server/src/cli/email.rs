//! `postroom mail`

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use domain::Time;
use lettre::Message;
use lettre::message::{Mailbox, SinglePart};

use super::output::done;
use super::{Usage, wait};
use crate::config::{Settings, Unusable};
use crate::email::address;
use crate::email::mailer::Mailer;
use crate::runtime::clock::Clock;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Send a test e-mail
    #[command(after_help = "Example:\n  postroom mail test you@example.org\n\n\
        It is sent as reminders are, through smtp_url and from mail_from.")]
    Test {
        /// The address to send it to
        address: String,
    },
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<()> {
    let Command::Test { address } = command;
    let wrong = |error: domain::Invalid| Usage(format!("{address}: {}", error.problem));
    let to = address::parse(&address).map_err(wrong)?;
    let unset = || Usage("smtp_url is not set".to_owned());
    let mailer = Mailer::new(settings).map_err(Unusable)?.ok_or_else(unset)?;
    let cx = Clock::default().cx();
    let seconds = u64::try_from(cx.now.0 / Time::SECOND).unwrap_or_default();
    let random = u128::from_be_bytes(cx.random());
    let id = format!("<{random:032x}@{}>", mailer.sender().email.domain());
    let mail = Message::builder()
        .envelope(address::envelope(&mailer.sender().email, &to))
        .from(mailer.sender().clone())
        .to(Mailbox::new(None, to.clone()))
        .subject("A test of Postroom")
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(id))
        .singlepart(SinglePart::plain("This server can send e-mail.\n".to_owned()))
        .context("cannot write the e-mail")?;
    let sent = wait(mailer.send(&to, &mail.formatted()))?;
    sent.map_err(|failure| match failure.said.as_str() {
        "" => anyhow!("{}", failure.reason),
        said => anyhow!("{}: {said}", failure.reason),
    })?;
    done(&format!("the server for e-mail has taken a mail to {to}"));
    Ok(())
}
