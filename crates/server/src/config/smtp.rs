//! The address of the mail server, as in `smtp_url`.

use std::net::IpAddr;
use std::path::PathBuf;

use lettre::transport::smtp::authentication::Credentials;
use percent_encoding::percent_decode_str;
use url::Url;

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// From the first byte.
    Implicit,
    /// By STARTTLS, without which no e-mail is sent.
    Required,
    /// By STARTTLS if the server offers it.
    Optional,
    /// Never.
    None,
}

/// A mail server. It has no `Debug`, because it holds a password.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) credentials: Option<Credentials>,
    /// A file of additional certificate authorities.
    pub(crate) ca: Option<PathBuf>,
}

impl Target {
    /// Parses `smtp://USER:PASSWORD@HOST:PORT?tls=…&ca=…`, or the same with `smtps`.
    /// Error texts repeat nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const LOOK: &str = "it must look like smtp://USER:PASSWORD@HOST:587 or smtps://…";
        let url = Url::parse(text).map_err(|_wrong| LOOK)?;
        let implicit = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(LOOK),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(LOOK)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(LOOK);
        }
        let usual = if implicit { 465 } else { 587 };
        let mut tls = match (implicit, is_this_machine(&host)) {
            (true, _) => Tls::Implicit,
            (false, true) => Tls::None,
            (false, false) => Tls::Required,
        };
        let mut ca = None;
        for (name, value) in url.query_pairs() {
            match (&*name, &*value) {
                ("tls", "required") if implicit => {}
                ("tls", "required") => tls = Tls::Required,
                ("tls", "optional") if !implicit => tls = Tls::Optional,
                ("tls", "none") if !implicit => tls = Tls::None,
                ("tls", _) => {
                    return Err("tls must be required, optional or none; with smtps only required");
                }
                ("ca", path) if !path.is_empty() => ca = Some(PathBuf::from(path)),
                _ => return Err("its parameters may be tls and ca only"),
            }
        }
        let credentials = credentials(&url)?;
        Ok(Self { host, port: url.port().unwrap_or(usual), tls, credentials, ca })
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, &'static str> {
    let decode = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_wrong| "user and password must be UTF-8")
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (_, None) | ("", _) => Err("a user needs a password, and a password a user"),
        (user, Some(password)) => Ok(Some(Credentials::new(decode(user)?, decode(password)?))),
    }
}

/// Whether the connection stays on this machine, where nobody else can read it.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Target {
        Target::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn the_port_and_tls_follow_from_the_scheme_and_the_host() {
        for (text, host, port, tls) in [
            ("smtp://mail.example.org", "mail.example.org", 587, Tls::Required),
            ("smtp://mail.example.org:25?tls=optional", "mail.example.org", 25, Tls::Optional),
            ("smtp://mail.example.org/?tls=none", "mail.example.org", 587, Tls::None),
            ("smtps://mail.example.org", "mail.example.org", 465, Tls::Implicit),
            ("smtps://mail.example.org?tls=required", "mail.example.org", 465, Tls::Implicit),
            ("smtp://localhost:25", "localhost", 25, Tls::None),
            ("smtp://127.0.0.1:25", "127.0.0.1", 25, Tls::None),
            ("smtp://[::1]:25", "::1", 25, Tls::None),
            ("smtp://[::1]:25?tls=required", "::1", 25, Tls::Required),
            ("smtp://10.0.0.1", "10.0.0.1", 587, Tls::Required),
        ] {
            let target = parsed(text);
            assert_eq!((&*target.host, target.port, target.tls), (host, port, tls), "{text}");
            assert!(target.credentials.is_none() && target.ca.is_none(), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let target = parsed("smtp://ann%40example.org:p%40%3Ass@mail.example.org?ca=%2Fa%20b.pem");
        let expected = Credentials::new("ann@example.org".to_owned(), "p@:ss".to_owned());
        assert!(target.credentials == Some(expected));
        assert_eq!(target.ca, Some(PathBuf::from("/a b.pem")));
    }
}
