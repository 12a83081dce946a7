//! TLS as the options of a URL say it, for every transport that goes over a network.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::contract::TransportError;
use crate::options::truth;

/// How certificates are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Do not check the server's certificate.
    pub(crate) unchecked: bool,
    /// Check the certificate, but not that it is for the host in the URL.
    pub(crate) any_host: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// Names of the options.
pub(crate) const NAMES: [&str; 5] =
    ["ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"];

impl Tls {
    /// Reads one option; false if it is none of [`NAMES`].
    pub(crate) fn apply(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let path = || (!value.is_empty()).then(|| PathBuf::from(value));
        match name {
            "ssl_ca_certs" => self.ca = path(),
            "ssl_cert_reqs" => self.unchecked = unchecked(value)?,
            "ssl_certfile" => self.certificate = path(),
            "ssl_check_hostname" => self.any_host = !truth(name, value)?,
            "ssl_keyfile" => self.key = path(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Options that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.certificate.is_some() == self.key.is_some() {
            return Ok(());
        }
        Err("ssl_certfile and ssl_keyfile belong together: give both or none".into())
    }

    /// What a connection needs.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, TransportError> {
        let provider = provider();
        let config = |why: String| TransportError::Config(why);
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| config(format!("ssl_ca_certs '{}': {error}", path.display())))?;
            }
        } else {
            // A damaged one among a system's two hundred is no reason to trust none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| config(format!("TLS cannot be used: {error}")))?;
        let builder = if self.unchecked {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { inner: None, provider }))
        } else if self.any_host {
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| config(format!("no certificate of an authority is known: {error}")))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { inner: Some(inner), provider }))
        } else {
            builder.with_root_certificates(roots)
        };
        let client = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let parsed = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|error| config(format!("ssl_keyfile '{}' holds no key: {error}", key.display())))?;
                builder.with_client_auth_cert(certificates(certificate)?, parsed).map_err(|error| {
                    config(format!("ssl_certfile '{}' cannot be used: {error}", certificate.display()))
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(client))
    }
}

/// The process's provider of ciphers; who came first keeps theirs.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// The bytes of a certificate's or key's file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    std::fs::read(path).map_err(|error| {
        TransportError::Config(format!("cannot read the certificate file '{}': {error}", path.display()))
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TransportError::Config(format!("the file '{}' holds no certificate in PEM form", path.display()))),
    }
}

fn unchecked(value: &str) -> Result<bool, String> {
    let text = value.to_ascii_lowercase();
    match text.trim_start_matches("verifymode.").trim_start_matches("cert_") {
        "none" | "0" => Ok(true),
        // For a client, Python's CERT_OPTIONAL is the same as CERT_REQUIRED.
        "required" | "2" | "optional" | "1" => Ok(false),
        _ => Err(format!("ssl_cert_reqs is 'required', 'optional' or 'none', not '{value}'")),
    }
}

/// Believes any certificate (`inner` is `None`), or a good one of any host. Only what the URL asks for.
#[derive(Debug)]
struct Lenient {
    inner: Option<Arc<WebPkiServerVerifier>>,
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
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is what is looked at last, when everything else was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
