//! E-mail: the way to the operator's server for it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, TlsParameters};

use crate::config::Settings;
use crate::config::smtp::{Target, Tls};
use crate::runtime::key;

/// Sends mails, each over a connection of its own.
pub(crate) struct Mailer {
    pub(super) target: Target,
    pub(super) tls: Option<TlsParameters>,
    pub(super) from: Mailbox,
    pub(super) patience: Duration,
}

/// What became of a mail that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server cannot be used, for this mail or any other.
    Down,
    /// This mail was not taken, and may be later.
    NotYet,
    /// It never will be.
    Refused,
    /// It may have been taken: the server did not say.
    InDoubt,
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What became of it.
    pub(crate) fate: Fate,
    /// What happened, for the log: no address, and nothing that the server wrote.
    pub(crate) reason: String,
    /// What the server wrote, for the operator alone.
    pub(crate) said: String,
}

impl Mailer {
    /// The way to the server of the settings, where there is one.
    ///
    /// # Errors
    /// Where its address or its certificates cannot be read.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Option<Self>> {
        if !settings.sends_mail() {
            return Ok(None);
        }
        let url = match settings.smtp_url.expose() {
            "" => key::read_file(&settings.smtp_url_file, "the address of the server for e-mail")?,
            url => url.to_owned(),
        };
        let target = Target::parse(&url).map_err(|problem| anyhow!("smtp_url: {problem}"))?;
        let from = settings.mail_sender().context("mail_from: it is no address")?;
        let tls = match target.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Required | Tls::Optional => Some(parameters(&target)?),
        };
        let patience = Duration::from_secs(settings.smtp_timeout_seconds);
        Ok(Some(Self { target, tls, from, patience }))
    }

    /// From whom its mails are.
    pub(crate) fn sender(&self) -> &Mailbox {
        &self.from
    }
}

/// How the server proves who it is.
fn parameters(target: &Target) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(target.host.clone());
    if let Some(path) = &target.ca {
        let read = std::fs::read(path);
        let pem = read.with_context(|| format!("cannot read {}", path.display()))?;
        let certificate = Certificate::from_pem(&pem).ok();
        let certificate =
            certificate.with_context(|| format!("no certificate is in {}", path.display()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().context("cannot prepare TLS for the server for e-mail")
}
