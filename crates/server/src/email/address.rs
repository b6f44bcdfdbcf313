//! Addresses as every mail server takes them.

use lettre::Address;

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
