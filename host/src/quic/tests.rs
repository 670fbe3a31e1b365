//! Two endpoints on loopback: who gets in, and as whom.

use std::net::Ipv4Addr;

use quinn::ConnectionError;
use rustls::{
    SignatureScheme, client::ResolvesClientCert, crypto::ring, pki_types::CertificateDer,
    sign::CertifiedKey,
};

use super::*;
use crate::frames::{read_frame, write_frame};

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn listener(seed: u8) -> (Listener, SocketAddr) {
    let endpoint = server_endpoint(&secret(seed), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap();
    (Listener::new(endpoint), address)
}

#[tokio::test]
async fn each_side_learns_the_others_identity_and_frames_go_both_ways() {
    let (listener, address) = listener(1);
    let client = client_endpoint(&secret(2)).unwrap();
    let serving = async {
        let (connection, peer) = listener.accept().await.unwrap().finish().await.unwrap();
        assert_eq!(peer, secret(2).peer_id());
        assert!(address_of(&connection).is_ipv4());
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        let question = read_frame(&mut receive, 100).await.unwrap().unwrap();
        write_frame(&mut send, &[&question[..], b"!"].concat()).await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    };
    let asking = async {
        let (connection, peer) = connect(&client, address).await.unwrap();
        assert_eq!(peer, secret(1).peer_id());
        assert_eq!(address_of(&connection), address);
        assert_eq!(peer_of(&connection), peer);
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        write_frame(&mut send, b"hello").await.unwrap();
        assert_eq!(read_frame(&mut receive, 100).await.unwrap().unwrap(), b"hello!");
        assert!(read_frame(&mut receive, 100).await.unwrap().is_none());
        connection.close(0_u32.into(), b"");
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn an_endpoint_on_all_addresses_is_reached_by_ipv4() {
    let unspecified = "[::]:0".parse().unwrap();
    let Ok(endpoint) = server_endpoint(&secret(1), unspecified) else {
        // A machine without IPv6 has nothing to show here.
        return;
    };
    let port = endpoint.local_addr().unwrap().port();
    let listener = Listener::new(endpoint);
    let client = client_endpoint(&secret(2)).unwrap();
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let (served, asked) = tokio::join!(
        async { listener.accept().await.unwrap().finish().await },
        connect(&client, address)
    );
    assert!(address_of(&served.unwrap().0).is_ipv4());
    asked.unwrap();
}

/// Dials a server with `crypto`, and expects that it lets nobody in.
async fn is_refused(crypto: rustls::ClientConfig) {
    let (listener, address) = listener(1);
    let server = listener.endpoint().clone();
    let client = client_endpoint(&secret(2)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(crypto).unwrap()));
    // What is refused by its first packet alone never becomes a handshake.
    let serving = async {
        while let Some(handshake) = listener.accept().await {
            handshake.finish().await.unwrap_err();
        }
    };
    let dialling = async {
        // The client's half of the handshake may end first; then the connection is closed at once.
        let error = match client.connect_with(config, address, "storemesh").unwrap().await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        };
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
        server.close(0_u32.into(), b"");
    };
    tokio::time::timeout(HANDSHAKE, async { tokio::join!(serving, dialling) }).await.unwrap();
}

fn stranger() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    raw_key::client_builder(Arc::new(ring::default_provider())).unwrap()
}

fn speaking_our_protocol(mut crypto: rustls::ClientConfig) -> rustls::ClientConfig {
    crypto.alpn_protocols = vec![ALPN.to_vec()];
    crypto
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    is_refused(speaking_our_protocol(stranger().with_no_client_auth())).await;
}

/// Offers an X.509 certificate. Its bytes are of no kind: the server must not get as far as them.
#[derive(Debug)]
struct X509(Arc<CertifiedKey>);

impl ResolvesClientCert for X509 {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_client_with_an_x509_certificate_is_refused() {
    let signing = raw_key::certified(&secret(2)).unwrap().key.clone();
    let certificate = CertificateDer::from(vec![0x30, 0x00]);
    let shown = Arc::new(X509(Arc::new(CertifiedKey::new(vec![certificate], signing))));
    is_refused(speaking_our_protocol(stranger().with_client_cert_resolver(shown))).await;
}

#[tokio::test]
async fn a_client_that_shows_anothers_key_is_refused() {
    let signing = raw_key::certified(&secret(2)).unwrap().key.clone();
    let shown = raw_key::certified(&secret(3)).unwrap().cert.clone();
    let stolen = Arc::new(CertifiedKey::new(shown, signing));
    let resolver = Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(stolen));
    is_refused(speaking_our_protocol(stranger().with_client_cert_resolver(resolver))).await;
}

#[tokio::test]
async fn a_client_of_another_major_version_is_refused() {
    let mut crypto = raw_key::client_config(&secret(2)).unwrap();
    crypto.alpn_protocols = vec![b"storemesh/2".to_vec()];
    is_refused(crypto).await;
}

#[tokio::test]
async fn a_port_in_use_is_said_with_the_remedy() {
    let (_listener, address) = listener(1);
    let error = server_endpoint(&secret(2), address).unwrap_err().to_string();
    assert!(error.contains("is in use") && error.contains("another port"), "{error}");
}
