//! TLS as WhatsApp is dialled with it.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
#[cfg(not(feature = "sandbox"))]
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::UnixTime;
#[cfg(feature = "sandbox")]
use tokio_rustls::rustls::{
    self, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName},
};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error};

use super::trouble::Trouble;
use crate::domain::Timestamp;

/// TLS with the Mozilla roots that are compiled in: a container image often has none of its own. Made once.
pub(super) fn connector() -> Result<TlsConnector, Trouble> {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(connector.clone());
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| Trouble::tls("no protocol version"))?;
    #[cfg(feature = "sandbox")]
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    #[cfg(not(feature = "sandbox"))]
    let config = config.with_root_certificates(RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    });
    let config = config.with_no_client_auth();
    Ok(CONNECTOR.get_or_init(|| TlsConnector::from(Arc::new(config))).clone())
}

/// In a sandbox build alone, which dials this machine alone: the simulator's certificate is its own. That the other side
/// holds the certificate's key is still checked.
#[cfg(feature = "sandbox")]
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

#[cfg(feature = "sandbox")]
impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A short word for a TLS failure; the library's own text is for its authors.
pub(super) fn detail(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    let Some(inner) = inner else {
        return "the connection broke off".to_owned();
    };
    let Error::InvalidCertificate(problem) = inner else {
        return "the other side does not speak TLS as expected".to_owned();
    };
    let date = |time: &UnixTime| {
        let at = Timestamp::from_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)).to_string();
        at.get(..10).unwrap_or(&at).to_owned()
    };
    match problem {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the certificate was valid until {}, and this machine's clock says {}",
            date(not_after),
            date(time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the certificate is valid from {} on, and this machine's clock says {}",
            date(not_before),
            date(time)
        ),
        CertificateError::Expired | CertificateError::NotValidYet => {
            "the certificate is not valid at this machine's time".to_owned()
        }
        CertificateError::UnknownIssuer => "the certificate comes from an unknown issuer".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate belongs to another name".to_owned()
        }
        _ => "the certificate cannot be trusted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_valid_now_is_told_with_both_times() {
        let time = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let told = |problem| detail(&io::Error::other(Error::InvalidCertificate(problem)));
        let early = CertificateError::NotValidYetContext {
            time: time(0),
            not_before: time(1_767_225_600),
        };
        assert_eq!(
            told(early),
            "the certificate is valid from 2026-01-01 on, and this machine's clock says 1970-01-01"
        );
        let late = CertificateError::ExpiredContext {
            time: time(1_767_225_600),
            not_after: time(0),
        };
        assert_eq!(
            told(late),
            "the certificate was valid until 1970-01-01, and this machine's clock says 2026-01-01"
        );
        assert!(told(CertificateError::UnknownIssuer).contains("unknown issuer"));
        assert_eq!(detail(&io::ErrorKind::UnexpectedEof.into()), "the connection broke off");
    }
}
