//! The templates of reminders.

use std::path::Path;

use anyhow::{Context as _, bail};
use domain::digests::{Digest, DigestLine};

use crate::config::read_text;
use crate::email::template::{Template, escape};

/// Characters of a subject or a name that are shown.
const SHOWN_CHARS: usize = 150;
const NO_SUBJECT: &str = "(no subject)";

pub(crate) struct Templates {
    subject: Template,
    text: Template,
    html: Template,
}

/// The texts of one reminder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

const NAMES: [&str; 6] = ["name", "sender", "subject", "unread", "messages", "unsubscribe"];

impl Templates {
    /// Reads the templates of a folder, if its path is not empty; missing ones are the defaults.
    ///
    /// # Errors
    /// If a file cannot be read, or a placeholder in it is unknown.
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Self> {
        if !folder.as_os_str().is_empty() && !folder.is_dir() {
            bail!("templates_dir: {} is not a folder", folder.display());
        }
        let load = |name: &str, default: &str| {
            let path = folder.join(name);
            if folder.as_os_str().is_empty() || !path.exists() {
                return Template::parse(default, &NAMES);
            }
            let text = read_text(&path).map_err(anyhow::Error::msg);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            Template::parse(&text, &NAMES).with_context(|| format!("in {}", path.display()))
        };
        Ok(Self {
            subject: load(
                "reminder.subject.txt",
                include_str!("../../templates/reminder.subject.txt"),
            )?,
            text: load("reminder.txt", include_str!("../../templates/reminder.txt"))?,
            html: load("reminder.html", include_str!("../../templates/reminder.html"))?,
        })
    }

    /// Renders a reminder; `unsubscribe` is the URL that ends them.
    pub(crate) fn render(&self, digest: &Digest, unsubscribe: &str) -> Rendered {
        let content = Content { digest, unsubscribe };
        Rendered {
            subject: one_line(&self.subject.fill(|name| content.text(name))),
            text: self.text.fill(|name| content.text(name)),
            html: self.html.fill(|name| content.html(name)),
        }
    }
}

/// The values of the placeholders.
struct Content<'a> {
    digest: &'a Digest,
    unsubscribe: &'a str,
}

impl Content<'_> {
    fn text(&self, name: &str) -> String {
        match name {
            "name" => one_line(&self.digest.name),
            "sender" => self.oldest().0,
            "subject" => self.oldest().1,
            "unread" => self.digest.unread.to_string(),
            "messages" => self.messages(|sender, subject| format!("  {sender}: {subject}")),
            "unsubscribe" => self.unsubscribe.to_owned(),
            _ => String::new(),
        }
    }

    fn html(&self, name: &str) -> String {
        match name {
            "messages" => self.messages(|sender, subject| {
                format!("<li>{}: {}</li>", escape(sender), escape(subject))
            }),
            name => escape(&self.text(name)),
        }
    }

    fn messages(&self, write: impl Fn(&str, &str) -> String) -> String {
        let shown = self.digest.messages.iter().map(shown);
        shown.map(|(sender, subject)| write(&sender, &subject)).collect::<Vec<_>>().join("\n")
    }

    fn oldest(&self) -> (String, String) {
        self.digest.messages.first().map(shown).unwrap_or_default()
    }
}

fn shown(message: &DigestLine) -> (String, String) {
    let subject = one_line(&message.subject);
    let subject = if subject.is_empty() { NO_SUBJECT.to_owned() } else { subject };
    (one_line(&message.sender), subject)
}

/// Makes text of a user one short line that cannot affect what is around it: no control characters,
/// no line breaks, nothing that changes the writing direction, and no encoded word of RFC 2047,
/// which mail programs would show as something else, line breaks included.
fn one_line(text: &str) -> String {
    let is_direction = |c: &char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let blank = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    let plain: String = text.chars().filter(|c| !is_direction(c)).map(blank).collect();
    let plain = plain.replace("=?", "= ?");
    let line = plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use domain::{MessageId, Time, UserId};

    use super::*;

    fn digest(name: &str, messages: &[(&str, &str)]) -> Digest {
        let waiting = |(sender, subject): &(&str, &str)| DigestLine {
            sender: (*sender).to_owned(),
            subject: (*subject).to_owned(),
        };
        Digest {
            claim: domain::reminders::Claim {
                owner: UserId::new(1).unwrap(),
                message: MessageId::new(1).unwrap(),
                since: Time(0),
                attempt: 1,
            },
            email: "bob@example.org".to_owned(),
            name: name.to_owned(),
            unread: 7,
            messages: messages.iter().map(waiting).collect(),
        }
    }

    fn rendered(template: &str, digest: &Digest) -> Rendered {
        let parsed = || Template::parse(template, &NAMES).unwrap();
        let templates = Templates { subject: parsed(), text: parsed(), html: parsed() };
        templates.render(digest, "https://mail.example.org/unsubscribe?token=abc")
    }

    #[test]
    fn placeholders_are_filled_and_html_is_escaped() {
        let digest = digest("<Bob>", &[("Ann & \"co\"", "1 < 2"), ("cid", "")]);
        let template = "{{name}}|{{ sender }}|{{subject}}|{{unread}}|{{messages}}|{{unsubscribe}}";
        let link = "https://mail.example.org/unsubscribe?token=abc";
        let rendered = rendered(template, &digest);
        let text =
            format!("<Bob>|Ann & \"co\"|1 < 2|7|  Ann & \"co\": 1 < 2\n  cid: (no subject)|{link}");
        assert_eq!(rendered.text, text);
        let html = format!(
            "&lt;Bob&gt;|Ann &amp; &quot;co&quot;|1 &lt; 2|7|\
             <li>Ann &amp; &quot;co&quot;: 1 &lt; 2</li>\n<li>cid: (no subject)</li>|{link}"
        );
        assert_eq!(rendered.html, html);
        assert!(rendered.subject.starts_with("<Bob>|Ann & \"co\"|1 < 2|7| Ann & "));
    }

    #[test]
    fn what_users_write_is_one_short_line() {
        let odd = "a\r\nBcc: x\u{2028}y\u{85}z\u{202e}\t\u{0} {{name}}";
        let rendered = rendered("{{subject}}", &digest("bob", &[("ann", odd)]));
        assert_eq!(rendered.subject, "a Bcc: x y z {{name}}");
        assert_eq!(rendered.text, "a Bcc: x y z {{name}}");
        let long = "ü".repeat(151);
        assert_eq!(one_line(&long), format!("{}…", "ü".repeat(150)));
        assert_eq!(one_line(&long[2..]), "ü".repeat(150));
        assert_eq!(one_line("=?utf-8?q?=0D=0ABcc?="), "= ?utf-8?q?=0D=0ABcc?=");
    }

    #[test]
    fn the_defaults_can_be_used() {
        let templates = Templates::load(Path::new("")).unwrap();
        let digest = digest("bob", &[("ann", "hello")]);
        let rendered = templates.render(&digest, "https://mail.example.org/unsubscribe?token=a");
        assert_eq!(rendered.subject, "ann: hello");
        for text in [rendered.text, rendered.html] {
            assert!(text.contains("https://mail.example.org/unsubscribe?token=a"), "{text}");
            assert!(text.contains("ann: hello") && !text.contains("{{"), "{text}");
        }
    }
}
