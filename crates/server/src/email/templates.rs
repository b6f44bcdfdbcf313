//! The texts of a reminder: files with places for what differs.

use std::path::Path;

use anyhow::{Context as _, bail};
use mail::reminders::{Reminder, Waiting};

/// Characters of a subject or of a name that are shown.
const SHOWN: usize = 150;
/// What is shown for a subject that is empty.
const NO_SUBJECT: &str = "(no subject)";

/// The three texts.
pub(crate) struct Templates {
    subject: Template,
    text: Template,
    html: Template,
}

/// A reminder as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Text with places in it.
struct Template(Vec<Part>);

enum Part {
    Text(String),
    Value(Value),
}

/// What may stand in a place.
#[derive(Clone, Copy)]
enum Value {
    Name,
    Sender,
    Subject,
    Unread,
    Messages,
    Unsubscribe,
}

const VALUES: [(&str, Value); 6] = [
    ("name", Value::Name),
    ("sender", Value::Sender),
    ("subject", Value::Subject),
    ("unread", Value::Unread),
    ("messages", Value::Messages),
    ("unsubscribe", Value::Unsubscribe),
];

impl Templates {
    /// Reads those that are in a folder, where one is given; the others are the defaults.
    ///
    /// # Errors
    /// Where the folder or a file in it cannot be read, or a place in it is none.
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Self> {
        if !folder.as_os_str().is_empty() && !folder.is_dir() {
            bail!("templates_dir: {} is no folder", folder.display());
        }
        let load = |name: &str, default: &str| {
            let path = folder.join(name);
            if folder.as_os_str().is_empty() || !path.exists() {
                return Template::parse(default);
            }
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            Template::parse(&text).with_context(|| format!("in {}", path.display()))
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

    /// A reminder, with the address that ends them.
    pub(crate) fn render(&self, reminder: &Reminder, unsubscribe: &str) -> Rendered {
        let content = Content { reminder, unsubscribe };
        Rendered {
            subject: one_line(&self.subject.fill(|value| content.text(value))),
            text: self.text.fill(|value| content.text(value)),
            html: self.html.fill(|value| content.html(value)),
        }
    }
}

/// What stands in the places.
struct Content<'a> {
    reminder: &'a Reminder,
    unsubscribe: &'a str,
}

impl Content<'_> {
    fn text(&self, value: Value) -> String {
        match value {
            Value::Name => one_line(&self.reminder.name),
            Value::Sender => self.oldest().0,
            Value::Subject => self.oldest().1,
            Value::Unread => self.reminder.unread.to_string(),
            Value::Messages => self.messages(|sender, subject| format!("  {sender}: {subject}")),
            Value::Unsubscribe => self.unsubscribe.to_owned(),
        }
    }

    fn html(&self, value: Value) -> String {
        match value {
            Value::Messages => self.messages(|sender, subject| {
                format!("<li>{}: {}</li>", escaped(sender), escaped(subject))
            }),
            value => escaped(&self.text(value)),
        }
    }

    fn messages(&self, write: impl Fn(&str, &str) -> String) -> String {
        let shown = self.reminder.messages.iter().map(shown);
        shown.map(|(sender, subject)| write(&sender, &subject)).collect::<Vec<_>>().join("\n")
    }

    fn oldest(&self) -> (String, String) {
        self.reminder.messages.first().map(shown).unwrap_or_default()
    }
}

/// The sender and the subject.
fn shown(message: &Waiting) -> (String, String) {
    let subject = one_line(&message.subject);
    let subject = if subject.is_empty() { NO_SUBJECT.to_owned() } else { subject };
    (one_line(&message.sender), subject)
}

impl Template {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").context("{{ is not followed by }}")?;
            let name = name.trim();
            let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == name) else {
                let known = VALUES.map(|(name, _)| name).join(", ");
                bail!("{{{{{name}}}}} stands for nothing; there are {known}");
            };
            parts.extend([Part::Text(before.to_owned()), Part::Value(*value)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    fn fill(&self, value: impl Fn(Value) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Value(name) => value(*name),
        });
        parts.collect()
    }
}

/// A text of a user as one short line that disturbs nothing around it: no control characters, no
/// ends of lines, and nothing that turns the direction of what follows.
fn one_line(text: &str) -> String {
    let turns = |c: &char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let blank = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    let plain: String = text.chars().filter(|c| !turns(c)).map(blank).collect();
    let line = plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use mail::{MessageId, Time, UserId};

    use super::*;

    fn reminder(name: &str, messages: &[(&str, &str)]) -> Reminder {
        let waiting = |(sender, subject): &(&str, &str)| Waiting {
            sender: (*sender).to_owned(),
            subject: (*subject).to_owned(),
        };
        Reminder {
            owner: UserId::new(1).unwrap(),
            message: MessageId::new(1).unwrap(),
            since: Time(0),
            attempt: 1,
            email: "bob@example.org".to_owned(),
            name: name.to_owned(),
            unread: 7,
            messages: messages.iter().map(waiting).collect(),
        }
    }

    fn rendered(template: &str, reminder: &Reminder) -> Rendered {
        let parsed = || Template::parse(template).unwrap();
        let templates = Templates { subject: parsed(), text: parsed(), html: parsed() };
        templates.render(reminder, "https://mail.example.org/unsubscribe?token=abc")
    }

    #[test]
    fn each_place_is_filled_and_html_is_escaped() {
        let reminder = reminder("<Bob>", &[("Ann & \"co\"", "1 < 2"), ("cid", "")]);
        let template = "{{name}}|{{ sender }}|{{subject}}|{{unread}}|{{messages}}|{{unsubscribe}}";
        let link = "https://mail.example.org/unsubscribe?token=abc";
        let rendered = rendered(template, &reminder);
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
        let rendered = rendered("{{subject}}", &reminder("bob", &[("ann", odd)]));
        assert_eq!(rendered.subject, "a Bcc: x y z {{name}}");
        assert_eq!(rendered.text, "a Bcc: x y z {{name}}");
        let long = "ü".repeat(151);
        assert_eq!(one_line(&long), format!("{}…", "ü".repeat(150)));
        assert_eq!(one_line(&long[2..]), "ü".repeat(150));
    }

    #[test]
    fn a_place_that_is_none_is_told() {
        let problem = |text| Template::parse(text).err().expect(text).to_string();
        let names = "name, sender, subject, unread, messages, unsubscribe";
        assert_eq!(
            problem("a {{boby}}"),
            format!("{{{{boby}}}} stands for nothing; there are {names}")
        );
        assert_eq!(problem("a {{name"), "{{ is not followed by }}");
        assert!(Template::parse("body { color: red } }} {").is_ok());
    }

    #[test]
    fn the_defaults_can_be_used() {
        let templates = Templates::load(Path::new("")).unwrap();
        let reminder = reminder("bob", &[("ann", "hello")]);
        let rendered = templates.render(&reminder, "https://mail.example.org/unsubscribe?token=a");
        assert_eq!(rendered.subject, "ann: hello");
        for text in [rendered.text, rendered.html] {
            assert!(text.contains("https://mail.example.org/unsubscribe?token=a"), "{text}");
            assert!(text.contains("ann: hello") && !text.contains("{{"), "{text}");
        }
    }
}
