//! Where the server is, who asks, and whether what is said on the way can be read by others.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Result, StoreError};

/// How long the server is waited for at most.
const REACHED_WITHIN: Duration = Duration::from_secs(5);

/// How the server is reached.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) server: Config,
    /// None on a socket of this machine, and where the operator says so.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Settings {
    /// Reads a `postgres://` URL. A server on another machine is spoken to by TLS, and its certificate is verified, unless the
    /// URL says `sslmode=disable`. `sslrootcert` names a PEM file of the authorities to trust; without one those of the web are.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when it cannot be read, or the file cannot.
    pub(super) fn read(url: &str) -> Result<Self> {
        let (server, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(value),
                _ => rest.push(pair),
            }
        }
        let mut settings = Config::from_str(&format!("{server}?{}", rest.join("&")))
            .map_err(|error| refused(format!("the URL of the database cannot be read: {error}")))?;
        settings.application_name("weir");
        settings.connect_timeout(REACHED_WITHIN);
        let needs_tls = match mode {
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            None => !settings.get_hosts().iter().all(is_here),
            Some(other) => {
                return Err(refused(format!(
                    "sslmode={other} leaves open whether the server is the right one; write verify-full, or disable"
                )));
            }
        };
        settings.ssl_mode(if needs_tls { SslMode::Require } else { SslMode::Disable });
        let tls = if needs_tls { Some(tls(roots)?) } else { None };
        Ok(Self { server: settings, tls })
    }
}

/// Whether what is said to it stays on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

fn tls(roots: Option<&str>) -> Result<MakeRustlsConnect> {
    let mut trusted = RootCertStore::empty();
    match roots {
        None => trusted.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unreadable =
                |error: &dyn std::fmt::Display| refused(format!("sslrootcert={path} cannot be read: {error}"));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                trusted.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Database(format!("TLS cannot be set up: {error}")))?;
    Ok(MakeRustlsConnect::new(
        config.with_root_certificates(trusted).with_no_client_auth(),
    ))
}

fn refused(reason: String) -> StoreError {
    StoreError::Schema(reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn is_encrypted(url: &str) -> bool {
        let settings = Settings::read(url).unwrap();
        assert_eq!(
            settings.tls.is_some(),
            settings.server.get_ssl_mode() == SslMode::Require
        );
        settings.tls.is_some()
    }

    #[test]
    fn what_leaves_this_machine_is_encrypted_unless_the_operator_says_otherwise() {
        for here in [
            "postgres:///weir?host=/run/postgresql",
            "postgres://weir@localhost/weir",
            "postgres://weir@127.0.0.1:5433/weir",
            "postgres://weir@db/weir?sslmode=disable",
        ] {
            assert!(!is_encrypted(here), "{here}");
        }
        for elsewhere in [
            "postgres://weir@db/weir",
            "postgres://weir@localhost/weir?sslmode=verify-full",
            "postgres://weir@10.0.0.7/weir?sslmode=require",
            "postgresql://weir@localhost,db/weir?target_session_attrs=read-write",
        ] {
            assert!(is_encrypted(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_kept_is_refused() {
        let reason = |url: &str| Settings::read(url).map(drop).unwrap_err().to_string();
        assert!(reason("postgres://weir@db/weir?sslmode=prefer").contains("write verify-full"));
        assert!(
            reason("postgres://weir@db/weir?sslrootcert=/nonexistent.pem").contains("/nonexistent.pem cannot be read")
        );
        let secret = reason("postgres://weir:hunter2@db:port/weir");
        assert!(
            secret.contains("the URL of the database cannot be read") && !secret.contains("hunter2"),
            "{secret}"
        );
    }
}
