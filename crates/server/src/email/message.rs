//! A reminder as an e-mail on the wire.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Time;
use domain::digests::Digest;
use hmac::Hmac;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use sha2::Sha256;

use super::address::envelope;
use super::templates::Rendered;
use crate::config::secret;

/// Everything but the text.
pub(crate) struct Headers<'a> {
    pub(crate) from: &'a Mailbox,
    pub(crate) to: &'a Address,
    pub(crate) now: Time,
    /// The `Message-ID`: the same at every attempt, so that mail programs recognise a copy.
    pub(crate) id: &'a str,
    /// The URL that ends reminders.
    pub(crate) unsubscribe: &'a str,
}

pub(crate) fn write(
    headers: &Headers<'_>,
    content: Rendered,
) -> Result<Vec<u8>, lettre::error::Error> {
    let seconds = u64::try_from(headers.now.0 / Time::SECOND).unwrap_or_default();
    let message = Message::builder()
        .envelope(envelope(&headers.from.email, headers.to))
        .from(headers.from.clone())
        .to(Mailbox::new(None, headers.to.clone()))
        .subject(content.subject)
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(headers.id.to_owned()))
        // RFC 8058: one click in the mail program ends reminders.
        .raw_header(header("List-Unsubscribe", &format!("<{}>", headers.unsubscribe)))
        .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        // RFC 3834: programs should not reply.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .multipart(MultiPart::alternative_plain_html(content.text, content.html))?;
    Ok(message.formatted())
}

/// A header that is not folded or encoded, for values without text of users.
fn header(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

/// The `Message-ID` of a reminder; it reveals nothing about the recipient.
pub(crate) fn id(key: &Hmac<Sha256>, reminder: &Digest, host: &str) -> String {
    let claim = &reminder.claim;
    let parts = [claim.owner.get().to_be_bytes(), claim.message.get().to_be_bytes()];
    let id: [u8; 16] = secret::sign(key, parts.as_flattened());
    format!("<{}@{host}>", URL_SAFE_NO_PAD.encode(id))
}
