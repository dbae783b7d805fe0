//! The operator's settings: `weir.toml`, overridden by environment variables. An unknown key is an error that names it.

mod settings;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use url::Url;
use weir_domain::credential::Secret;
use weir_domain::limits;
use weir_domain::policy::Reach;

use self::settings::{File, Settings, Value};
use crate::core::provenance::TrustedKeys;

/// The host's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens; loopback unless set, since a key alone guards it.
    pub listen: SocketAddr,
    /// The external base URL of this host, used in webhook addresses, callbacks and links. No path, no trailing `/`.
    pub public_url: Url,
    /// The data directory.
    pub data: PathBuf,
    /// Location of the database.
    pub store: StoreConfig,
    /// This host's name among the nodes that share the database; names need not be unique.
    pub node_name: String,
    /// Storage of media.
    pub media: MediaKeep,
    /// Bounds that an operator may lower or raise.
    pub limits: Limits,
    /// Keys whose signature on a component is trusted: name to public key in minisign's base64.
    pub trusted_keys: TrustedKeys,
    /// Whether components without a trusted signature are accepted; by default only if no trusted keys are configured.
    pub allow_unsigned: bool,
    /// A sandbox's clock to follow in place of the system's.
    pub clock: Option<Url>,
    /// Delivery of events and messages.
    pub delivery: Delivery,
    /// Retention periods.
    pub retention: Retention,
    /// Whether `/metrics` requires a key. Not by default: it shows counts and names of connectors, apps and rules.
    pub metrics_require_key: bool,
    /// The collector that receives spans; without one no spans are created.
    pub otlp: Option<Url>,
    /// The first API key, unless the host generates it.
    pub admin_key: Option<Secret>,
    /// Encrypts credentials at rest, unless the host generates it.
    pub master_key: Option<Secret>,
    /// The program that compiles components in a process of its own. Not for the operator to set: `weir serve` names
    /// itself.
    pub compiler: Option<PathBuf>,
}

/// Location of the database.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// A file in the data directory.
    Sqlite,
    /// A PostgreSQL server; the URL may contain a password.
    Postgres(Secret),
}

/// Storage of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKeep {
    /// Files in the data directory, which only one host uses.
    Folder,
    /// The database.
    Database,
}

/// Limits that an operator may change; the reasons for the defaults are in [`weir_domain::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once.
    pub connections: usize,
    /// Connections of one address; a reverse proxy has one.
    pub connections_per_address: usize,
    /// Sends in flight at once.
    pub sends_in_flight: usize,
    /// Concurrent deliveries of events.
    pub deliveries_in_flight: usize,
    /// Attachments fetched at once.
    pub fetches_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            sends_in_flight: limits::SENDS_IN_FLIGHT,
            deliveries_in_flight: limits::DELIVERIES_IN_FLIGHT,
            fetches_in_flight: limits::FETCHES_IN_FLIGHT,
        }
    }
}

/// Delivery of events and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whether endpoints may be on private addresses.
    pub allow_private: bool,
    /// Whether a text that the platform's complete history does not have is sent again.
    pub resend_if_absent: bool,
}

impl Delivery {
    /// Which addresses an endpoint may be at: public ones, unless the operator opens the private network.
    pub(crate) fn reach(self) -> Reach {
        if self.allow_private {
            Reach::OperatorSet
        } else {
            Reach::Public
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            allow_private: false,
            resend_if_absent: true,
        }
    }
}

/// Retention periods; messages and files are kept forever by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days for messages, with their attempts and events.
    pub messages_days: Option<u32>,
    /// Days for files; defaults to the period for messages.
    pub media_days: Option<u32>,
    /// Days for dead letters; defaults to the period for messages.
    pub dead_letters_days: Option<u32>,
    /// Days for refusals.
    pub refusals_days: u32,
    /// Days for the audit log.
    pub audit_days: u32,
    /// Calls of each connector that are recorded and kept, for replay against another version; 0 records none.
    pub transcripts: u32,
    /// Days for them.
    pub transcripts_days: u32,
}

impl Default for Retention {
    /// Three months to investigate a refusal, 13 months for an annual audit, and a week for transcripts, which contain
    /// message content.
    fn default() -> Self {
        Self {
            messages_days: None,
            media_days: None,
            dead_letters_days: None,
            refusals_days: 90,
            audit_days: 400,
            transcripts: limits::TRANSCRIPTS,
            transcripts_days: 7,
        }
    }
}

/// Why the configuration is invalid. Each error is one line with the location and the expected value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The operating system's error text.
        reason: String,
    },
    /// The file is not TOML, or contains an unknown key.
    #[error("{path}{}: {reason}", line.map_or_else(String::new, |line| format!(", line {line}")))]
    File {
        /// The file.
        path: String,
        /// The position.
        line: Option<usize>,
        /// The error, naming the key.
        reason: String,
    },
    /// A value cannot be used.
    #[error("invalid {name} = {value:?}: {reason}")]
    Value {
        /// The key, or the variable.
        name: String,
        /// The value found; never a secret.
        value: String,
        /// The expected value.
        reason: String,
    },
}

const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
const DATA: &str = "./weir-data";

impl Config {
    /// The configuration of the file at `path` (`None`: `weir.toml` in the current directory, if it exists), overridden
    /// by the variables of `env`.
    ///
    /// # Errors
    /// Names the file, the key or the variable, and the expected value.
    pub fn load(path: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => File::read(path)?,
            None if Path::new("weir.toml").exists() => File::read(Path::new("weir.toml"))?,
            None => File::default(),
        };
        Self::of(&Settings::new(file, &env))
    }

    /// A configuration for tests: any free port, files below `data`.
    pub fn for_testing(data: &Path) -> Self {
        let defaults = Self::of(&Settings::new(File::default(), &|_| None)).expect("the defaults are valid");
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: data.to_owned(),
            ..defaults
        }
    }

    fn of(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let address = |value: &Value| value.parse("expected an address and a port, such as 127.0.0.1:8080");
        let listen = settings.read("listen", address)?.unwrap_or(LISTEN);
        let public_url = match settings.read("public_url", Value::origin)? {
            Some(url) => url,
            None => Value::new("public_url", format!("http://{listen}")).origin()?,
        };
        let trusted_keys = trusted_keys(settings)?;
        let allow_unsigned = settings.read("allow_unsigned", Value::flag)?;
        let store = settings.read("store", store)?.unwrap_or(StoreConfig::Sqlite);
        let config = Self {
            listen,
            public_url,
            data: settings
                .read("data", |value| Ok(PathBuf::from(&value.text)))?
                .unwrap_or_else(|| PathBuf::from(DATA)),
            node_name: settings.read("node.name", node_name)?.unwrap_or_else(host_name),
            media: settings.read("media.keep", media_keep)?.unwrap_or(match store {
                StoreConfig::Sqlite => MediaKeep::Folder,
                // Several hosts may use it.
                StoreConfig::Postgres(_) => MediaKeep::Database,
            }),
            store,
            limits: Limits::of(settings)?,
            allow_unsigned: allow_unsigned.unwrap_or(trusted_keys.is_empty()),
            trusted_keys,
            clock: settings.read("clock", Value::http_url)?,
            delivery: Delivery::of(settings)?,
            retention: Retention::of(settings)?,
            metrics_require_key: settings.read("metrics_require_key", Value::flag)?.unwrap_or(false),
            otlp: settings.read("otlp", Value::http_url)?,
            admin_key: settings.variable("WEIR_ADMIN_KEY").map(Secret::new),
            master_key: settings.variable("WEIR_MASTER_KEY").map(Secret::new),
            compiler: None,
        };
        settings.refuse_unknown()?;
        Ok(config)
    }

    /// An address below [`Config::public_url`]; `path` starts with `/`.
    pub fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Whether clients reach this host over TLS, so that cookies may be restricted to it.
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

fn store(value: &Value) -> Result<StoreConfig, ConfigError> {
    match value.text.as_str() {
        "sqlite" => Ok(StoreConfig::Sqlite),
        url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            Ok(StoreConfig::Postgres(Secret::new(url)))
        }
        // Not shown: a malformed URL may contain a password.
        _ => Value::new(&value.name, "…").refuse("expected sqlite or a postgres:// URL"),
    }
}

/// A name that is valid in ids and labels.
fn node_name(value: &Value) -> Result<String, ConfigError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if value.text.is_empty() || value.text.len() > 63 || !value.text.chars().all(fits) {
        return value.refuse("expected 1 to 63 letters, digits, hyphens, underscores and dots");
    }
    Ok(value.text.clone())
}

/// The name of this machine.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    node_name(&Value::new("node.name", name.trim())).unwrap_or_else(|_| "weir".to_owned())
}

fn media_keep(value: &Value) -> Result<MediaKeep, ConfigError> {
    match value.text.as_str() {
        "folder" => Ok(MediaKeep::Folder),
        "database" => Ok(MediaKeep::Database),
        _ => value.refuse("expected folder or database"),
    }
}

fn trusted_keys(settings: &Settings<'_>) -> Result<TrustedKeys, ConfigError> {
    let values = settings.read_section("trusted_keys.")?;
    let texts = values.iter().map(|(name, value)| (name.clone(), value.text.clone()));
    TrustedKeys::parse(&texts.collect())
        .or_else(|name| values[&name].refuse("expected a minisign public key: the second line of a .pub file"))
}

impl Limits {
    fn of(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let count = |key, default| -> Result<usize, ConfigError> {
            let count = settings.read(key, |value| {
                value.number(1..=65_536, "expected a number from 1 to 65536")
            })?;
            Ok(count.unwrap_or(default))
        };
        let default = Self::default();
        Ok(Self {
            connections: count("limits.connections", default.connections)?,
            connections_per_address: count("limits.connections_per_address", default.connections_per_address)?,
            sends_in_flight: count("limits.sends_in_flight", default.sends_in_flight)?,
            deliveries_in_flight: count("limits.deliveries_in_flight", default.deliveries_in_flight)?,
            fetches_in_flight: count("limits.fetches_in_flight", default.fetches_in_flight)?,
        })
    }
}

impl Delivery {
    fn of(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let flag = |key, default| settings.read(key, Value::flag).map(|flag| flag.unwrap_or(default));
        let default = Self::default();
        Ok(Self {
            allow_private: flag("delivery.allow_private", default.allow_private)?,
            resend_if_absent: flag("delivery.resend_if_absent", default.resend_if_absent)?,
        })
    }
}

impl Retention {
    fn of(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let kept = |key| {
            settings.read(key, |value| {
                value.number(
                    1..,
                    "expected a number of days, at least 1; remove it to keep everything",
                )
            })
        };
        let count = |key, default| -> Result<u32, ConfigError> {
            let count = settings.read(key, |value| value.parse("expected a number; 0 keeps none"))?;
            Ok(count.unwrap_or(default))
        };
        let default = Self::default();
        Ok(Self {
            messages_days: kept("retention.messages_days")?,
            media_days: kept("retention.media_days")?,
            dead_letters_days: kept("retention.dead_letters_days")?,
            refusals_days: count("retention.refusals_days", default.refusals_days)?,
            audit_days: count("retention.audit_days", default.audit_days)?,
            transcripts: count("retention.transcripts", default.transcripts)?,
            transcripts_days: count("retention.transcripts_days", default.transcripts_days)?,
        })
    }
}

#[cfg(test)]
mod tests;
