//! Our identities in a TLS 1.3 handshake, as raw public keys (RFC 7250).
//!
//! The rule: each side sends its ed25519 public key where others send a certificate, and signs the
//! handshake with it; any other kind of key, a certificate, or none ends the handshake. Whose key
//! it is stays open: that the signature holds is all that is shown here, and
//! [`peer_in`](self::peer_in) reads the key out.
//!
//! No session is ever resumed, so each connection proves the key anew, and no early data exists
//! that could be replayed.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key,
    },
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use storemesh_keys::{PeerId, SecretKey};
use zeroize::Zeroizing;

/// What stands before the 32 bytes of an ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of an ed25519 seed in a PKCS #8 private key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

pub(super) fn server_config(key: &SecretKey) -> anyhow::Result<rustls::ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Ed25519Only(provider.signature_verification_algorithms));
    let ours = Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(key)?));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .context("preparing TLS 1.3")?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(ours);
    config.alpn_protocols = vec![super::ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(super) fn client_config(key: &SecretKey) -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let ours = Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(key)?));
    let mut config = client_builder(provider)?.with_client_cert_resolver(ours);
    config.alpn_protocols = vec![super::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A client up to the question of what it shows of itself; tests answer that in other ways.
pub(super) fn client_builder(
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>> {
    let verifier = Arc::new(Ed25519Only(provider.signature_verification_algorithms));
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .context("preparing TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

/// Our key in the form rustls takes it.
pub(super) fn certified(key: &SecretKey) -> anyhow::Result<Arc<CertifiedKey>> {
    let mut private = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
    private[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    private[PKCS8_PREFIX.len()..].copy_from_slice(&key.seed()[..]);
    let signing = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&private[..]))
        .context("taking the identity into TLS")?;
    let public = [&SPKI_PREFIX[..], key.peer_id().as_bytes()].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signing)))
}

/// The identity in a `SubjectPublicKeyInfo`, if it is an ed25519 key.
pub(super) fn peer_in(key: &CertificateDer<'_>) -> Option<PeerId> {
    let key = key.strip_prefix(&SPKI_PREFIX)?;
    Some(PeerId::from_bytes(key.try_into().ok()?))
}

/// Holds that the other side has the secret half of the ed25519 key it shows, and nothing more.
#[derive(Debug)]
struct Ed25519Only(WebPkiSupportedAlgorithms);

impl Ed25519Only {
    fn check(shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        if peer_in(shown).is_none() || !more.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        Ok(())
    }

    fn verify(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }
}

impl ServerCertVerifier for Ed25519Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Ed25519Only {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_kind_length_or_company_is_refused() {
        let ours = [&SPKI_PREFIX[..], &[7; 32]].concat();
        let key = CertificateDer::from(ours.clone());
        Ed25519Only::check(&key, &[]).unwrap();
        assert!(Ed25519Only::check(&key, std::slice::from_ref(&key)).is_err());

        let mut x25519 = ours.clone();
        x25519[8] = 0x6e; // the last byte of the algorithm's name: X25519, which signs nothing
        let longer = [&ours[..], &[0]].concat();
        for other in [x25519, longer, ours[..43].to_vec(), vec![]] {
            assert!(Ed25519Only::check(&CertificateDer::from(other), &[]).is_err());
        }
    }
}
