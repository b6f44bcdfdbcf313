//! Addresses as every mail server takes them.

use std::net::IpAddr;

use domain::Invalid;
use domain::text::{self, Email};
use lettre::Address;
use lettre::address::Envelope;

/// Parses an address as accounts have it: whatever they take can be written to. Parsers of the
/// library refuse some of them, for example a name of more than 64 bytes.
///
/// # Errors
/// What is wrong with the address.
pub(crate) fn parse(address: &str) -> Result<Address, Invalid> {
    let address = Email::parse(address)?;
    let (name, host) = address.parts();
    let host = match text::literal_ip(host) {
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        _ => host.to_owned(),
    };
    Ok(with_ascii_domain(&Address::new_dangerous(name, host)))
}

/// From whom and to whom an e-mail is: the library would parse its headers to find out.
pub(crate) fn envelope(from: &Address, to: &Address) -> Envelope {
    let envelope = Envelope::new(Some(from.clone()), vec![to.clone()]);
    envelope.expect("it is for somebody")
}

/// Writes an international domain as A-labels (`xn--…`), which need nothing of the mail server;
/// only letters before the `@` that are not ASCII need SMTPUTF8.
pub(crate) fn with_ascii_domain(address: &Address) -> Address {
    match idna::domain_to_ascii(address.domain()) {
        Ok(domain) if !address.domain().is_ascii() => {
            Address::new_dangerous(address.user(), domain)
        }
        _ => address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_account_takes_is_an_address() {
        let long = format!("{}@example.org", "a".repeat(100));
        for (address, written) in [
            ("ann@[127.0.0.1]", "ann@[127.0.0.1]"),
            ("ann@[::1]", "ann@[IPv6:::1]"),
            ("ann@[IPv6:2001:DB8::1]", "ann@[IPv6:2001:db8::1]"),
            ("\"a@b\"@bücher.example", "\"a@b\"@xn--bcher-kva.example"),
            (long.as_str(), long.as_str()),
        ] {
            assert_eq!(parse(address).unwrap().to_string(), written);
        }
        assert!(parse("a b@example.org").is_err());
    }

    #[test]
    fn only_an_international_domain_is_written_otherwise() {
        for (address, written) in [
            ("ann@bücher.example", "ann@xn--bcher-kva.example"),
            ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
            ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),
            ("änn@bücher.example", "änn@xn--bcher-kva.example"),
            ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
            ("Ann.X@Example.org", "Ann.X@Example.org"),
            ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(with_ascii_domain(&address).to_string(), written);
        }
    }
}
