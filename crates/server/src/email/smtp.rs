//! One SMTP session with the operator's server.
//!
//! Its steps are taken one by one, because what a failure means depends on the step: only after the
//! text was sent can it be unknown whether the e-mail was accepted.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use tokio::time::timeout;

use super::mailer::{Failure, FailureKind, Mailer};
use crate::config::smtp::Tls;

/// How long QUIT may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(3);

/// What a failure of a step means, by the code of the response, if there was one.
type Meaning = fn(Option<u16>) -> FailureKind;

/// Before the recipient was named.
fn of_server(_code: Option<u16>) -> FailureKind {
    FailureKind::ServerUnavailable
}

/// Before the text was sent. A server that closes the connection, by 421 or without a word, may do
/// so for this recipient alone, so the e-mail is put off and the others go on; where it cannot be
/// used at all, the next one finds that out when it connects.
fn of_email(code: Option<u16>) -> FailureKind {
    match code {
        None | Some(400..=499) => FailureKind::Temporary,
        Some(_) => FailureKind::Permanent,
    }
}

/// After the text was sent.
fn of_text(code: Option<u16>) -> FailureKind {
    match code {
        None => FailureKind::Unknown,
        Some(400..=499) => FailureKind::Temporary,
        Some(_) => FailureKind::Permanent,
    }
}

impl Mailer {
    /// Sends a message, as it is on the wire, to one address.
    ///
    /// # Errors
    /// If the server did not confirm that it accepted it.
    pub(crate) async fn send(&self, to: &Address, email: &[u8]) -> Result<(), Failure> {
        let mut smtp = self.connect().await?;
        let sent = self.transfer(&mut smtp, to, email).await;
        drop(timeout(QUIT_TIMEOUT, smtp.abort()).await);
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let me = match self.from.email.domain() {
            domain if domain.is_ascii() => ClientId::Domain(domain.to_owned()),
            _ => ClientId::default(),
        };
        let target = &self.target;
        let implicit = self.tls.clone().filter(|_| target.tls == Tls::Implicit);
        let server = (target.host.as_str(), target.port);
        let connected = AsyncSmtpConnection::connect_tokio1(server, None, &me, implicit, None);
        let mut smtp = self.step("connecting", of_server, connected).await?;
        if let Some(tls) = self.tls.clone()
            && target.tls != Tls::Implicit
            && (target.tls == Tls::Required || smtp.can_starttls())
        {
            self.step("STARTTLS", of_server, smtp.starttls(tls, &me)).await?;
        }
        if let Some(credentials) = &target.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let logged_in = self.step("AUTH", of_server, smtp.auth(&mechanisms, credentials)).await;
            // The response may repeat the password.
            logged_in.map_err(|failure| Failure { said: String::new(), ..failure })?;
        }
        Ok(smtp)
    }

    async fn transfer(
        &self,
        smtp: &mut AsyncSmtpConnection,
        to: &Address,
        email: &[u8],
    ) -> Result<(), Failure> {
        let from = self.from.email.clone();
        let mut parameters = vec![];
        if !email.is_ascii() {
            if !smtp.server_info().supports_feature(Extension::SmtpUtfEight) {
                let reason = "the server accepts only ASCII addresses".to_owned();
                return Err(Failure { kind: FailureKind::Permanent, reason, said: String::new() });
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        self.step("MAIL", of_server, smtp.command(Mail::new(Some(from), parameters))).await?;
        self.step("RCPT", of_email, smtp.command(Rcpt::new(to.clone(), vec![]))).await?;
        self.step("DATA", of_email, smtp.command(Data)).await?;
        self.step("the text", of_text, smtp.message(email)).await?;
        Ok(())
    }

    /// Waits for the response to one step, within the timeout.
    async fn step<T>(
        &self,
        name: &str,
        meaning: Meaning,
        response: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let failure = |code, problem, said| {
            Err(Failure { kind: meaning(code), reason: format!("{name}: {problem}"), said })
        };
        let error = match timeout(self.timeout, response).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => error,
            Err(_elapsed) => return failure(None, "no answer in time".to_owned(), String::new()),
        };
        let (code, said) = (error.status().map(u16::from), error.to_string());
        let problem = match code {
            Some(code) => format!("answered with {code}"),
            // A part of a response may contain an address.
            None if error.is_response() => "the response cannot be parsed".to_owned(),
            None => said.clone(),
        };
        failure(code, problem, said)
    }
}
