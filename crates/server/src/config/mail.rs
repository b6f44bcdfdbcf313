//! What the settings of e-mail must be to be used.

use lettre::message::Mailbox;

use super::Settings;
use super::origin::Origin;
use super::smtp::Target;

impl Settings {
    /// # Errors
    /// The name of the setting that is wrong, and why.
    pub(super) fn check_mail(&self) -> Result<(), (&'static str, String)> {
        let url = self.smtp_url.expose();
        if !url.is_empty() {
            Target::parse(url).map_err(|problem| ("smtp_url", problem.to_owned()))?;
        }
        if !self.sends_mail() {
            return Ok(());
        }
        if self.mail_sender().is_none() {
            let problem = "it must look like \"Example Mail <noreply@example.org>\"";
            return Err(("mail_from", problem.to_owned()));
        }
        let public = Origin::parse(&self.public_url);
        let usable = public.is_some_and(|origin| origin.is_https()) && self.public_url.is_ascii();
        if self.reminder_after_minutes > 0 && !usable {
            let problem = "reminders need one that begins with https://, for the links that end \
                           them; without reminders set reminder_after_minutes to 0";
            return Err(("public_url", problem.to_owned()));
        }
        Ok(())
    }

    /// Whom mails are from.
    pub(crate) fn mail_sender(&self) -> Option<Mailbox> {
        self.mail_from.parse().ok()
    }

    /// Whether there is a server for e-mail.
    pub(crate) fn sends_mail(&self) -> bool {
        !self.smtp_url.expose().is_empty() || !self.smtp_url_file.as_os_str().is_empty()
    }
}
