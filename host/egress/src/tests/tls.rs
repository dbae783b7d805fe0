//! TLS: the name that was judged is the name that the certificate must bear.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use weir_domain::policy::RequestBody;

use super::support::{Names, config, ok, permit_to, request, send};
use crate::{Config, Egress, EgressError};

/// A certificate authority of this test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A server for `name`; answers where it listens.
    async fn serve(&self, name: &str) -> u16 {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .expect("a name")
            .signed_by(&key, &self.0)
            .expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a key of this certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a head"));
                }
                stream.write_all(ok("hi").as_bytes()).await.expect("it is read");
                let _ = stream.shutdown().await;
            }
        });
        port
    }

    fn trusted(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.0.der().to_vec()))
            .expect("a certificate");
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks them")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

fn here() -> Config {
    Config {
        resolver: Names::new(&[&["127.0.0.1"]]),
        ..config()
    }
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_bear_the_name() {
    let authority = Authority::new();
    let trusting = Egress::with_tls(here(), authority.trusted()).expect("a configuration");
    let right = authority.serve("localhost").await;
    let wrong = authority.serve("elsewhere.example").await;
    let permit = |port| {
        permit_to(
            &format!("https://localhost:{port}"),
            request("/a", RequestBody::Empty),
            Vec::new(),
        )
    };

    assert_eq!(
        &send(&trusting, permit(right)).await.expect("an answer").body[..],
        b"hi"
    );
    let web = Egress::new(here()).expect("a configuration");
    for (egress, port) in [(&trusting, wrong), (&web, right)] {
        let error = send(egress, permit(port)).await.expect_err("no trust");
        assert!(matches!(error, EgressError::Unreachable { .. }), "{error}");
        assert!(!error.may_have_been_seen());
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_gets_nothing() {
    let server = super::support::Server::doing(vec![super::support::Step::CloseUnread]).await;
    let egress = Egress::new(here()).expect("a configuration");
    let sandbox = format!("https://localhost:{}", server.address.port());
    let error = send(
        &egress,
        permit_to(&sandbox, request("/a", RequestBody::Empty), Vec::new()),
    )
    .await
    .expect_err("no TLS");
    assert!(matches!(error, EgressError::Unreachable { .. }), "{error}");
}
