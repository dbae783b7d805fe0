//! The URL of the server, and TLS.

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

/// The timeout for a socket.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
/// How long sent data may stay without an acknowledgment, and a probe without an answer, before the connection is
/// closed: a server whose machine fails closes no connection. Linux waits a quarter of an hour by default, and two
/// hours if no data was sent.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to answer what was sent to it at once, before the connection is closed: longer than it lets a
/// statement run, so that only a frozen or unreachable server exceeds it.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection is idle before it is probed, and the wait between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How the server is reached.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) server: Config,
    /// `None` for a local connection, and with `sslmode=disable`.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Settings {
    /// Parses a `postgres://` URL. A connection to another machine uses TLS and verifies the certificate, unless the
    /// URL has `sslmode=disable`. `sslrootcert` names a PEM file of trusted certificate authorities, and implies TLS;
    /// without it the web's are trusted.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when the URL or the file is invalid.
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
        settings.tcp_user_timeout(ACKNOWLEDGED_WITHIN);
        settings.keepalives(true);
        settings.keepalives_idle(PROBE_EVERY);
        settings.keepalives_interval(PROBE_EVERY);
        let needs_tls = match mode {
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            None => roots.is_some() || !settings.get_hosts().iter().all(is_local),
            Some(other) => {
                return Err(refused(format!(
                    "sslmode={other} does not verify the server's certificate; use verify-full or disable"
                )));
            }
        };
        settings.ssl_mode(if needs_tls { SslMode::Require } else { SslMode::Disable });
        let tls = if needs_tls { Some(tls(roots)?) } else { None };
        Ok(Self { server: settings, tls })
    }

    /// The database and its server, for people.
    pub(super) fn place(&self) -> String {
        let hosts: Vec<String> = self.server.get_hosts().iter().map(host_name).collect();
        // The server's default (postgresql.org/docs/current/libpq-connect.html).
        let database = self
            .server
            .get_dbname()
            .or(self.server.get_user())
            .unwrap_or("postgres");
        format!("the PostgreSQL database {database} on {}", hosts.join(", "))
    }
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    }
}

/// Whether the connection stays on this machine.
fn is_local(host: &Host) -> bool {
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
    fn remote_connections_use_tls_unless_it_is_disabled() {
        for local in [
            "postgres:///weir?host=/run/postgresql",
            "postgres://weir@localhost/weir",
            "postgres://weir@127.0.0.1:5433/weir",
            "postgres://weir@db/weir?sslmode=disable",
        ] {
            assert!(!is_encrypted(local), "{local}");
        }
        for remote in [
            "postgres://weir@db/weir",
            "postgres://weir@localhost/weir?sslmode=verify-full",
            "postgres://weir@10.0.0.7/weir?sslmode=require",
            "postgresql://weir@localhost,db/weir?target_session_attrs=read-write",
        ] {
            assert!(is_encrypted(remote), "{remote}");
        }
    }

    #[test]
    fn unsafe_and_unreadable_urls_are_refused() {
        let reason = |url: &str| Settings::read(url).map(drop).unwrap_err().to_string();
        assert!(reason("postgres://weir@db/weir?sslmode=prefer").contains("use verify-full"));
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
