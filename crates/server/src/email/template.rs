//! Templates with placeholders, `{{name}}`, for e-mails and HTML pages.
//!
//! Not minijinja: even without its features it adds 250 KB to the binary, and these templates need
//! only placeholders.

use anyhow::{Context as _, bail};

pub(crate) struct Template(Vec<Part>);

enum Part {
    Text(String),
    Placeholder(&'static str),
}

impl Template {
    /// Parses a text with placeholders of these names; `{{ name }}` is the same as `{{name}}`.
    ///
    /// # Errors
    /// If a placeholder has another name or is not closed.
    pub(crate) fn parse(text: &str, names: &[&'static str]) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").context("{{ is not followed by }}")?;
            let name = name.trim();
            let Some(name) = names.iter().find(|known| **known == name) else {
                bail!("{{{{{name}}}}} is unknown; the names are {}", names.join(", "));
            };
            parts.extend([Part::Text(before.to_owned()), Part::Placeholder(name)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text with a value for each placeholder, which is not escaped.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Placeholder(name) => value(name),
        });
        parts.collect()
    }
}

/// A built-in page with these values, which are HTML already.
pub(crate) fn page(html: &str, values: &[(&'static str, String)]) -> String {
    let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
    let template = Template::parse(html, &names).expect("it has these placeholders");
    template.fill(|name| {
        let value = values.iter().find(|(known, _)| *known == name);
        value.map(|(_, value)| value.clone()).unwrap_or_default()
    })
}

/// Escapes text for HTML, also inside quotes.
pub(crate) fn escape(text: &str) -> String {
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
    use super::*;

    #[test]
    fn an_unknown_or_open_placeholder_is_an_error() {
        let problem =
            |text| Template::parse(text, &["name", "link"]).err().expect(text).to_string();
        assert_eq!(problem("a {{boby}}"), "{{boby}} is unknown; the names are name, link");
        assert_eq!(problem("a {{name"), "{{ is not followed by }}");
        assert!(Template::parse("body { color: red } }} {", &[]).is_ok());
    }

    #[test]
    fn a_value_is_not_a_template() {
        let html =
            page("<{{a}}|{{ b }}|{{a}}>", &[("a", "{{b}}".to_owned()), ("b", escape("<'\">&"))]);
        assert_eq!(html, "<{{b}}|&lt;&#39;&quot;&gt;&amp;|{{b}}>");
    }
}
