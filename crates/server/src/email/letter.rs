//! A reminder as a mail on the wire.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use mail::Time;
use mail::reminders::Reminder;
use sha2::Sha256;

use super::templates::Rendered;

/// What is around the text.
pub(crate) struct Frame<'a> {
    pub(crate) from: &'a Mailbox,
    pub(crate) to: &'a Address,
    pub(crate) now: Time,
    /// The same in every try, so that whoever gets two can see that they are one.
    pub(crate) id: &'a str,
    /// The address that ends reminders.
    pub(crate) unsubscribe: &'a str,
}

/// The whole mail.
pub(crate) fn write(frame: &Frame<'_>, content: Rendered) -> Result<Vec<u8>, lettre::error::Error> {
    let seconds = u64::try_from(frame.now.0 / Time::SECOND).unwrap_or_default();
    let message = Message::builder()
        .from(frame.from.clone())
        .to(Mailbox::new(None, frame.to.clone()))
        .subject(content.subject)
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(frame.id.to_owned()))
        // RFC 8058: who gets it ends it by one click of his mail program.
        .raw_header(header("List-Unsubscribe", &format!("<{}>", frame.unsubscribe)))
        .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        // RFC 3834: no program should answer it.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .multipart(MultiPart::alternative_plain_html(content.text, content.html))?;
    Ok(message.formatted())
}

/// A header whose value holds nothing that a user wrote: an address must not be folded or encoded.
fn header(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

/// The name of a reminder, which tells nothing of whom it is for.
pub(crate) fn id(mac: &Hmac<Sha256>, reminder: &Reminder, host: &str) -> String {
    let mut mac = mac.clone();
    mac.update(&reminder.owner.get().to_be_bytes());
    mac.update(&reminder.message.get().to_be_bytes());
    let name = mac.finalize().into_bytes();
    format!("<{}@{host}>", URL_SAFE_NO_PAD.encode(&name[..16]))
}
