//! TLS to the server, and how its certificate is checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Error, Result, read_bounded};

/// The most bytes of a file of authorities; all those that Debian trusts have 220 KB.
const CERTIFICATE_BYTES: u64 = 1024 * 1024;

/// How to check the server's certificate. The file has authorities to trust instead of the
/// system's.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// Not at all: prevents eavesdropping, but anybody could pose as the server.
    Nothing,
    /// It must be of a trusted authority.
    Authority(Option<PathBuf>),
    /// It must be of a trusted authority and for the host's name.
    Name(Option<PathBuf>),
}

pub(super) fn connector(check: &Check) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| setup(&cause))?;
    let chain = match check {
        Check::Name(file) => {
            let config = builder.with_root_certificates(roots(file.as_deref())?);
            return Ok(MakeRustlsConnect::new(config.with_no_client_auth()));
        }
        Check::Authority(file) => {
            let roots = Arc::new(roots(file.as_deref())?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Some(chain.build().map_err(|cause| setup(&cause))?)
        }
        Check::Nothing => None,
    };
    let lenient = Arc::new(Lenient { chain, provider });
    let config = builder.dangerous().with_custom_certificate_verifier(lenient);
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn setup(cause: &dyn std::fmt::Display) -> Error {
    Error::Setup(format!("TLS cannot be set up: {cause}"))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        // Unreadable certificates of the system are skipped.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let unreadable =
        |cause: &dyn std::fmt::Display| Error::Certificates(format!("{}: {cause}", file.display()));
    let pem = read_bounded(file, CERTIFICATE_BYTES).map_err(|cause| unreadable(&cause))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|cause| unreadable(&cause))?;
        store.add(certificate).map_err(|cause| unreadable(&cause))?;
    }
    if store.is_empty() {
        return Err(unreadable(&"it holds no certificate"));
    }
    Ok(store)
}

/// Lets a name pass, or everything, as the mode says that the operator chose.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The chain is checked before the name is.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
