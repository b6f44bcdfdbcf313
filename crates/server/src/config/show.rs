//! How `postroom config` prints the settings.

use toml::Value;

use super::{Config, Layer};

/// Whether the value must not be printed as it is.
pub(super) fn is_secret(name: &str) -> bool {
    is_key(name) || matches!(name, "database_url" | "database_notices_url" | "smtp_url")
}

/// Whether nothing of the value may be printed.
fn is_key(name: &str) -> bool {
    matches!(
        name,
        "secret_key"
            | "server_key"
            | "backup_s3_access_key"
            | "backup_s3_secret_key"
            | "backup_s3_session_token"
    )
}

impl Config {
    /// Each setting as a line of TOML, and where it comes from; secrets are masked.
    pub fn lines(&self) -> impl Iterator<Item = (String, &Layer)> {
        self.table.iter().map(|(name, value)| {
            let shown = match (name.as_str(), value.as_str()) {
                (name, Some(text)) if is_key(name) && !text.is_empty() => "\"(hidden)\"".to_owned(),
                (name, Some(text)) if is_secret(name) => {
                    Value::from(mask_password(text)).to_string()
                }
                _ => masked(value).to_string(),
            };
            (format!("{name} = {shown}"), &self.layers[name])
        })
    }
}

/// A value, in which the passwords of addresses are masked.
fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) if has_password(text) => mask_password(text).into(),
        Value::Array(values) => Value::Array(values.iter().map(masked).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(name, value)| (name.clone(), masked(value))).collect())
        }
        value => value.clone(),
    }
}

/// Whether a text may be an address with a password.
pub(crate) fn has_password(text: &str) -> bool {
    text.contains("://") && text.contains('@')
}

/// Masks the password of an address, and its parameters, which may contain one.
pub(crate) fn mask_password(url: &str) -> String {
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
