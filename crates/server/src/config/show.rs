//! What is shown of the settings.

use toml::Value;

use super::{Config, Origin};

/// Whether the value must not be shown as it is.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(name, "secret_key" | "database_url" | "database_notices_url" | "smtp_url")
}

impl Config {
    /// Each setting as a line of TOML with its origin; secrets are masked.
    pub fn lines(&self) -> impl Iterator<Item = (String, &Origin)> {
        self.table.iter().map(|(name, value)| {
            let shown = match (name.as_str(), value.as_str()) {
                ("secret_key", Some(text)) if !text.is_empty() => "\"(hidden)\"".to_owned(),
                (name, Some(text)) if is_secret(name) => {
                    Value::from(mask_password(text)).to_string()
                }
                _ => value.to_string(),
            };
            (format!("{name} = {shown}"), &self.origins[name])
        })
    }
}

/// An address without its password and its parameters, which may hold one.
fn mask_password(url: &str) -> String {
    if url.is_empty() || url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let end = if parameters.is_empty() { "" } else { "?(hidden)" };
    match address.split_once("://") {
        Some((scheme, rest)) if !parameters.contains('@') => match rest.rsplit_once('@') {
            Some((credentials, host)) => {
                let user = credentials.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}:(hidden)@{host}{end}")
            }
            None => format!("{address}{end}"),
        },
        _ => "(hidden)".to_owned(),
    }
}
