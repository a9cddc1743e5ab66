//! TLS with a certificate of our own, for this machine's names alone.
//!
//! Clients always fetch media by `https`, so TLS is always there: the first byte of a connection tells which of the two
//! a client speaks, and one port serves both. With `--tls` the plain half only says that it is not spoken.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::hexadecimal;

/// Where a state folder keeps the certificate for clients to trust.
pub(crate) const CERTIFICATE_FILE: &str = "certificate.pem";
/// The first byte of a TLS connection: a record of the type "handshake".
pub(crate) const FIRST_BYTE: u8 = 0x16;
/// What the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Characters in a line of PEM.
const PEM_LINE: usize = 64;

/// The certificate and its key, made once for a state folder.
#[derive(Serialize, Deserialize)]
pub(crate) struct Identity {
    #[serde(with = "hexadecimal")]
    certificate: Vec<u8>,
    #[serde(with = "hexadecimal")]
    key: Vec<u8>,
}

impl Identity {
    /// Makes a certificate that signs itself: who trusts it trusts this simulator and nobody else, since it may not sign
    /// others.
    pub(crate) fn generate() -> Result<Self> {
        let key = KeyPair::generate().context("cannot make a TLS key")?;
        let mut params = CertificateParams::new(NAMES.map(str::to_owned)).context("cannot make a TLS certificate")?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "WhatsApp simulator");
        params.not_before = date_time_ymd(2023, 1, 1);
        params.not_after = date_time_ymd(2096, 1, 1);
        let certificate = params.self_signed(&key).context("cannot sign a TLS certificate")?;
        Ok(Self {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
        })
    }

    /// The record kept in the state folder.
    pub(crate) fn to_record(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads what [`Self::to_record`] wrote.
    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).context("the TLS certificate cannot be read")
    }

    /// The certificate as text.
    pub(crate) fn pem(&self) -> String {
        let encoded = BASE64_STANDARD.encode(&self.certificate);
        let mut lines = vec!["-----BEGIN CERTIFICATE-----"];
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
            lines.push(line);
            rest = after;
        }
        lines.push("-----END CERTIFICATE-----\n");
        lines.join("\n")
    }

    /// Writes the certificate where clients find it.
    pub(crate) fn publish(&self, folder: &Path) -> Result<()> {
        let path = folder.join(CERTIFICATE_FILE);
        std::fs::write(&path, self.pem()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What turns accepted connections into TLS ones.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(self.certificate.clone())], key)
            .context("the TLS certificate is not usable")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_the_certificate_in_short_lines() {
        let identity = Identity::generate().unwrap();
        let pem = identity.pem();
        let lines: Vec<&str> = pem.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= PEM_LINE));
        let body = lines[1..lines.len() - 1].concat();
        assert_eq!(BASE64_STANDARD.decode(body).unwrap(), identity.certificate);
    }

    #[test]
    fn a_stored_identity_serves_with_the_same_certificate() {
        let identity = Identity::generate().unwrap();
        let again = Identity::from_record(&identity.to_record().unwrap()).unwrap();
        assert_eq!(again.pem(), identity.pem());
        again.acceptor().unwrap();
    }
}
