//! One conversation with the server for e-mail.
//!
//! Its steps are taken one by one, for what a failure means depends on where it comes: only after
//! the text was sent can nobody know whether the mail was taken.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use tokio::time::timeout;

use super::mailer::{Failure, Fate, Mailer};
use crate::config::smtp::Tls;

/// "I close this connection": at whatever step, it says nothing of the mail.
const CLOSING: u16 = 421;
/// How long a good-bye is waited for.
const POLITE: Duration = Duration::from_secs(3);

impl Mailer {
    /// Sends a mail, as it is on the wire, to one address.
    ///
    /// # Errors
    /// Where the server did not say that it has it.
    pub(crate) async fn send(&self, to: &Address, mail: &[u8]) -> Result<(), Failure> {
        let mut line = self.connect().await?;
        let sent = self.converse(&mut line, to, mail).await;
        // Whether it says good-bye changes nothing.
        drop(timeout(POLITE, line.abort()).await);
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let me = match self.from.email.domain() {
            domain if domain.is_ascii() => ClientId::Domain(domain.to_owned()),
            _ => ClientId::default(),
        };
        let target = &self.target;
        let at_once = self.tls.clone().filter(|_| target.tls == Tls::Implicit);
        let server = (target.host.as_str(), target.port);
        let opened = AsyncSmtpConnection::connect_tokio1(server, None, &me, at_once, None);
        let mut line = self.step("connecting", opened).await.map_err(Trouble::of_server)?;
        if let Some(tls) = self.tls.clone()
            && target.tls != Tls::Implicit
            && (target.tls == Tls::Required || line.can_starttls())
        {
            let secured = self.step("STARTTLS", line.starttls(tls, &me)).await;
            secured.map_err(Trouble::of_server)?;
        }
        if let Some(credentials) = &target.credentials {
            let known = [Mechanism::Plain, Mechanism::Login];
            let logged_in = self.step("AUTH", line.auth(&known, credentials)).await;
            // What it says of a login may repeat it.
            logged_in.map_err(|trouble| Trouble { said: String::new(), ..trouble }.of_server())?;
        }
        Ok(line)
    }

    async fn converse(
        &self,
        line: &mut AsyncSmtpConnection,
        to: &Address,
        mail: &[u8],
    ) -> Result<(), Failure> {
        let from = self.from.email.clone();
        let mut parameters = vec![];
        if !mail.is_ascii() {
            if !line.server_info().supports_feature(Extension::SmtpUtfEight) {
                let reason = "the server takes no address that is not ASCII".to_owned();
                return Err(Failure { fate: Fate::Refused, reason, said: String::new() });
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let begun = self.step("MAIL", line.command(Mail::new(Some(from), parameters))).await;
        begun.map_err(Trouble::of_server)?;
        let named = self.step("RCPT", line.command(Rcpt::new(to.clone(), vec![]))).await;
        named.map_err(Trouble::of_mail)?;
        self.step("DATA", line.command(Data)).await.map_err(Trouble::of_mail)?;
        let taken = self.step("the text", line.message(mail)).await;
        taken.map_err(Trouble::of_text)?;
        Ok(())
    }

    /// Waits for the answer to one step, no longer than is allowed.
    async fn step<T>(
        &self,
        name: &'static str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Trouble::new(name, &error)),
            Err(_elapsed) => Err(Trouble {
                code: None,
                reason: format!("{name}: no answer in time"),
                said: String::new(),
            }),
        }
    }
}

/// What went wrong at a step.
struct Trouble {
    /// The code, where the server answered with one.
    code: Option<u16>,
    reason: String,
    said: String,
}

impl Trouble {
    fn new(step: &str, error: &Error) -> Self {
        let code = error.status().map(u16::from);
        let said = error.to_string();
        let reason = match code {
            Some(code) => format!("{step}: answered with {code}"),
            // A part of an answer may name an address.
            None if error.is_response() => format!("{step}: no answer that can be read"),
            None => format!("{step}: {said}"),
        };
        Self { code, reason, said }
    }

    fn fate(self, fate: Fate) -> Failure {
        Failure { fate, reason: self.reason, said: self.said }
    }

    /// Before anything was said of the receiver.
    fn of_server(self) -> Failure {
        self.fate(Fate::Down)
    }

    /// Before the text was sent.
    fn of_mail(self) -> Failure {
        match self.code {
            None | Some(CLOSING) => self.fate(Fate::Down),
            Some(400..=499) => self.fate(Fate::NotYet),
            Some(_) => self.fate(Fate::Refused),
        }
    }

    /// After the text was sent: without an answer nobody knows.
    fn of_text(self) -> Failure {
        match self.code {
            None => self.fate(Fate::InDoubt),
            Some(400..=499) => self.fate(Fate::NotYet),
            Some(_) => self.fate(Fate::Refused),
        }
    }
}
