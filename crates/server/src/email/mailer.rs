//! The mail server of the settings.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, TlsParameters};

use super::address::with_ascii_domain;
use crate::config::Settings;
use crate::config::smtp::{Target, Tls};
use crate::runtime::key;

/// The most bytes of a file of authorities.
const CERTIFICATE_BYTES: u64 = 1024 * 1024;

/// Sends e-mail; each message has a connection of its own.
pub(crate) struct Mailer {
    pub(super) target: Target,
    pub(super) tls: Option<TlsParameters>,
    pub(super) from: Mailbox,
    /// For each step of a session.
    pub(super) timeout: Duration,
}

/// What a failure means for the e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The server cannot be used, for this e-mail or any other.
    ServerUnavailable,
    /// The server rejected it temporarily.
    Temporary,
    /// The server rejected it for good.
    Permanent,
    /// It is not known whether the server accepted it.
    Unknown,
}

/// Why an e-mail was not sent.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For the log: without addresses, and without text of the server.
    pub(crate) reason: String,
    /// The text of the server, for the operator alone.
    pub(crate) said: String,
}

impl Mailer {
    /// The mailer of the settings, if they name a server.
    ///
    /// # Errors
    /// If the URL, the sender or the certificates cannot be read.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Option<Self>> {
        if !settings.sends_mail() {
            return Ok(None);
        }
        let url = match settings.smtp_url.expose() {
            "" => key::read_file(&settings.smtp_url_file, "the URL of the mail server")?,
            url => url.to_owned(),
        };
        let target = Target::parse(&url).map_err(|problem| anyhow!("smtp_url: {problem}"))?;
        let mut from = settings.mail_sender().context("mail_from: it is not an address")?;
        from.email = with_ascii_domain(&from.email);
        let tls = match target.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Required | Tls::Optional => Some(parameters(&target)?),
        };
        let timeout = Duration::from_secs(settings.smtp_timeout_seconds);
        Ok(Some(Self { target, tls, from, timeout }))
    }

    pub(crate) fn sender(&self) -> &Mailbox {
        &self.from
    }
}

fn parameters(target: &Target) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(target.host.clone());
    if let Some(path) = &target.ca {
        let pem = db::read_bounded(path, CERTIFICATE_BYTES);
        let pem = pem.with_context(|| format!("cannot read {}", path.display()))?;
        let certificate = Certificate::from_pem(&pem).ok();
        let certificate =
            certificate.with_context(|| format!("no certificate is in {}", path.display()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().context("cannot prepare TLS for the mail server")
}
