//! What the operator sets: `weir.toml`, overridden by `WEIR_*`. An unknown key is an error that names it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;
use weir_domain::credential::Secret;
use weir_domain::limits;
use weir_domain::policy::Reach;

use crate::core::provenance::TrustedKeys;

/// What the host runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens; loopback unless set, since a key alone guards it.
    pub listen: SocketAddr,
    /// What the outside calls this host: in webhook addresses, callbacks and links. No path, no `/` at its end.
    pub public_url: Url,
    /// Where files live.
    pub data: PathBuf,
    /// Where the record lives.
    pub store: StoreConfig,
    /// Bounds that an operator may lower or raise.
    pub limits: Limits,
    /// Keys whose signature on a component is trusted: name to public key in minisign's base64.
    pub trusted_keys: TrustedKeys,
    /// Whether components without a trusted signature are taken; who names keys and says nothing here wants signatures.
    pub allow_unsigned: bool,
    /// A sandbox's clock to follow in place of the system's.
    pub clock: Option<Url>,
    /// How events and messages are handed over.
    pub delivery: Delivery,
    /// How long things are kept.
    pub retention: Retention,
    /// Whether `/metrics` needs a key. It does not unless set: what it shows are counts and names of connectors, apps and rules.
    pub metrics_require_key: bool,
    /// A collector that spans are handed to; none are made if there is none.
    pub otlp: Option<Url>,
    /// The first API key, if it is not made by the host.
    pub admin_key: Option<Secret>,
    /// Encrypts credentials at rest, if it is not made by the host.
    pub master_key: Option<Secret>,
    /// The program that compiles components in a process of its own. Not for the operator to set: `weir serve` names itself.
    pub compiler: Option<PathBuf>,
}

/// Where the record lives.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// A file in the data directory.
    Sqlite,
    /// A PostgreSQL server; the URL may hold a password.
    Postgres(Secret),
}

/// Bounds that an operator may change; the reasons for the numbers stand in [`weir_domain::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections served at once.
    pub connections: usize,
    /// Connections of one address; a reverse proxy has one.
    pub connections_per_address: usize,
    /// Sends in flight at once.
    pub sends_in_flight: usize,
    /// Events handed over at once.
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

/// How events and messages are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

/// How long things are kept; messages and files for ever where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days for messages, with their attempts and events.
    pub messages_days: Option<u32>,
    /// Days for files; as long as messages where nothing is said.
    pub media_days: Option<u32>,
    /// Days for dead letters; as long as messages where nothing is said.
    pub dead_letters_days: Option<u32>,
    /// Days for refusals that can explain themselves.
    pub refusals_days: u32,
    /// Days for changes in the audit log.
    pub audit_days: u32,
    /// Calls of each connector that are written down and kept, to be asked again of another version; none with 0.
    pub transcripts: u32,
    /// Days for them.
    pub transcripts_days: u32,
}

impl Default for Retention {
    /// A quarter to ask why, a year and a month for an auditor who comes once a year, and a week of calls, which hold what
    /// people wrote.
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

impl Retention {
    fn of(self, env: &impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let days = |variable: &str, key: &str, days: Option<u32>| {
            let Some(value) = setting(env, variable, key, days.map(|days| days.to_string())) else {
                return Ok(None);
            };
            match value.parse("expected a number of days, at least 1")? {
                0 => value.refuse("expected a number of days, at least 1; remove it to keep everything"),
                days => Ok(Some(days)),
            }
        };
        Ok(Self {
            messages_days: days(
                "WEIR_RETENTION_MESSAGES_DAYS",
                "retention.messages_days",
                self.messages_days,
            )?,
            media_days: days("WEIR_RETENTION_MEDIA_DAYS", "retention.media_days", self.media_days)?,
            dead_letters_days: days(
                "WEIR_RETENTION_DEAD_LETTERS_DAYS",
                "retention.dead_letters_days",
                self.dead_letters_days,
            )?,
            ..self
        })
    }
}

/// Why the configuration is invalid. Each is one line with the place and what is expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file has a key that nobody reads, or a value of the wrong kind.
    #[error("{path}{}: {reason}", line.map_or_else(String::new, |line| format!(", line {line}")))]
    File {
        /// Which.
        path: String,
        /// Where.
        line: Option<usize>,
        /// What is wrong, naming the key.
        reason: String,
    },
    /// A value cannot be used.
    #[error("invalid {key} = {value:?}: {reason}")]
    Value {
        /// The key, or the variable.
        key: String,
        /// What stands there; never a secret.
        value: String,
        /// What would be right.
        reason: String,
    },
}

/// The form of the file; everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    listen: Option<String>,
    public_url: Option<String>,
    data: Option<PathBuf>,
    store: Option<String>,
    limits: Limits,
    trusted_keys: BTreeMap<String, String>,
    allow_unsigned: Option<bool>,
    clock: Option<String>,
    delivery: Delivery,
    retention: Retention,
    metrics_require_key: bool,
    otlp: Option<String>,
}

const LISTEN: &str = "127.0.0.1:8080";
const DATA: &str = "./weir-data";

impl Config {
    /// The configuration of the file at `path` (none: `weir.toml` here, if there is one) under the variables of `env`.
    ///
    /// # Errors
    /// Names the file, the key and what would be right.
    pub fn load(path: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => read(path)?,
            None if Path::new("weir.toml").exists() => read(Path::new("weir.toml"))?,
            None => File::default(),
        };
        Self::of(file, |name| env(name).filter(|value| !value.is_empty()))
    }

    /// A configuration for tests: any free port, files below `data`.
    pub fn for_testing(data: &Path) -> Self {
        let file = File {
            listen: Some("127.0.0.1:0".to_owned()),
            public_url: Some("http://127.0.0.1:8080".to_owned()),
            data: Some(data.to_owned()),
            ..File::default()
        };
        Self::of(file, |_| None).expect("every value is one of ours")
    }

    fn of(file: File, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let listen =
            setting(&env, "WEIR_LISTEN", "listen", file.listen).unwrap_or_else(|| Value::ours("listen", LISTEN));
        let listen: SocketAddr = listen.parse("expected an address and a port, such as 127.0.0.1:8080")?;
        let public_url = match setting(&env, "WEIR_PUBLIC_URL", "public_url", file.public_url) {
            Some(value) => value.origin()?,
            None => Value::ours("public_url", &format!("http://{listen}")).origin()?,
        };
        let clock = setting(&env, "WEIR_CLOCK", "clock", file.clock)
            .map(|value| value.http_url())
            .transpose()?;
        let otlp = setting(&env, "WEIR_OTLP", "otlp", file.otlp)
            .map(|value| value.http_url())
            .transpose()?;
        let allow_unsigned = match setting(&env, "WEIR_ALLOW_UNSIGNED", "allow_unsigned", None) {
            Some(value) => value.parse("expected true or false")?,
            None => file.allow_unsigned.unwrap_or(file.trusted_keys.is_empty()),
        };
        let trusted_keys = TrustedKeys::parse(&file.trusted_keys).map_err(|name| ConfigError::Value {
            value: file.trusted_keys.get(&name).cloned().unwrap_or_default(),
            key: format!("trusted_keys.{name}"),
            reason: "expected a minisign public key: the second line of a .pub file".to_owned(),
        })?;
        let allow_private = match setting(&env, "WEIR_DELIVERY_ALLOW_PRIVATE", "delivery.allow_private", None) {
            Some(value) => value.parse("expected true or false")?,
            None => file.delivery.allow_private,
        };
        let metrics_require_key = match setting(&env, "WEIR_METRICS_REQUIRE_KEY", "metrics_require_key", None) {
            Some(value) => value.parse("expected true or false")?,
            None => file.metrics_require_key,
        };
        let store = match setting(&env, "WEIR_STORE", "store", file.store) {
            None => StoreConfig::Sqlite,
            Some(value) if value.text == "sqlite" => StoreConfig::Sqlite,
            Some(value) if value.text.starts_with("postgres://") || value.text.starts_with("postgresql://") => {
                StoreConfig::Postgres(Secret::new(value.text))
            }
            // Not shown: what was meant as a URL may hold a password.
            Some(value) => {
                return Err(ConfigError::Value {
                    key: value.key,
                    value: "…".to_owned(),
                    reason: "expected sqlite or a postgres:// URL".to_owned(),
                });
            }
        };
        Ok(Self {
            listen,
            public_url,
            data: env("WEIR_DATA")
                .map(PathBuf::from)
                .or(file.data)
                .unwrap_or_else(|| PathBuf::from(DATA)),
            store,
            limits: file.limits.check()?,
            trusted_keys,
            allow_unsigned,
            clock,
            delivery: Delivery {
                allow_private,
                ..file.delivery
            },
            retention: file.retention.of(&env)?,
            metrics_require_key,
            otlp,
            admin_key: env("WEIR_ADMIN_KEY").map(Secret::new),
            master_key: env("WEIR_MASTER_KEY").map(Secret::new),
            compiler: None,
        })
    }

    /// An address below [`Config::public_url`]; `path` begins with `/`.
    pub fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Whether the outside reaches this host over TLS, so that cookies may be bound to it.
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

impl Limits {
    fn check(self) -> Result<Self, ConfigError> {
        for (key, value) in [
            ("limits.connections", self.connections),
            ("limits.connections_per_address", self.connections_per_address),
            ("limits.sends_in_flight", self.sends_in_flight),
            ("limits.deliveries_in_flight", self.deliveries_in_flight),
            ("limits.fetches_in_flight", self.fetches_in_flight),
        ] {
            if !(1..=65_536).contains(&value) {
                return Err(ConfigError::Value {
                    key: key.to_owned(),
                    value: value.to_string(),
                    reason: "expected a number from 1 to 65536".to_owned(),
                });
            }
        }
        Ok(self)
    }
}

/// A text, and where it was written.
struct Value {
    key: String,
    text: String,
}

fn setting(env: &impl Fn(&str) -> Option<String>, variable: &str, key: &str, text: Option<String>) -> Option<Value> {
    match (env(variable), text) {
        (Some(text), _) => Some(Value {
            key: variable.to_owned(),
            text,
        }),
        (None, Some(text)) => Some(Value {
            key: key.to_owned(),
            text,
        }),
        (None, None) => None,
    }
}

impl Value {
    fn ours(key: &str, text: &str) -> Self {
        Self {
            key: key.to_owned(),
            text: text.to_owned(),
        }
    }

    fn refuse<T>(&self, reason: &str) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            key: self.key.clone(),
            value: self.text.chars().take(128).collect(),
            reason: reason.to_owned(),
        })
    }

    fn parse<T: std::str::FromStr>(&self, right: &str) -> Result<T, ConfigError> {
        self.text.parse().or_else(|_| self.refuse(right))
    }

    fn http_url(&self) -> Result<Url, ConfigError> {
        match self.text.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(url),
            _ => self.refuse("expected an http or https URL"),
        }
    }

    fn origin(&self) -> Result<Url, ConfigError> {
        let url = self.http_url()?;
        let is_bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if is_bare {
            Ok(url)
        } else {
            self.refuse("expected only a scheme, a host and a port")
        }
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    parse(&path.display().to_string(), &text)
}

fn parse(path: &str, text: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        line: error
            .span()
            .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        reason: error.message().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    fn config(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::of(parse("weir.toml", file)?, |name| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn refused(file: &str, env: &[(&str, &str)]) -> String {
        config(file, env).expect_err("refused").to_string()
    }

    #[test]
    fn nothing_set_listens_on_this_machine_only() {
        let config = config("", &[]).expect("defaults");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.public("/hooks/tiktok"), "http://127.0.0.1:8080/hooks/tiktok");
        assert!(!config.delivery.allow_private);
    }

    /// A row of the tables of `docs/configuration.md`.
    struct Row {
        /// `limits.connections`; empty where there is a variable only.
        key: String,
        variable: String,
        default: String,
        bounds: String,
    }

    fn documented() -> Vec<Row> {
        let text = include_str!("../../../../docs/configuration.md");
        let rows = text
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| key"));
        rows.map(|row| {
            let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let [_, key, variable, default, bounds, ..] = cells.as_slice() else {
                panic!("a row has too few cells: {row}");
            };
            Row {
                key: key.replace('[', "").replace("] ", "."),
                variable: variable.clone(),
                default: default.clone(),
                bounds: bounds.clone(),
            }
        })
        .collect()
    }

    #[test]
    fn every_key_and_variable_is_documented() {
        let rows = documented();
        let named = |name: fn(&Row) -> &String| -> BTreeSet<String> {
            let names = rows.iter().map(name).filter(|name| !name.is_empty());
            names.cloned().collect()
        };
        let asked = RefCell::new(BTreeSet::from(["WEIR_LOG".to_owned()]));
        Config::of(File::default(), |name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        })
        .expect("defaults");
        assert_eq!(named(|row| &row.variable), asked.into_inner());
        // The parser lists what it knows.
        let mut known = BTreeSet::new();
        for section in ["", "limits", "delivery", "retention"] {
            let head = if section.is_empty() {
                String::new()
            } else {
                format!("[{section}]")
            };
            let words = refused(&format!("{head}\nnonsense = 1"), &[]);
            let (_, expected) = words.split_once("expected").expect("a list of names");
            let dot = if section.is_empty() { "" } else { "." };
            known.extend(
                expected
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|name| format!("{section}{dot}{name}")),
            );
        }
        for section in ["limits", "delivery", "retention"] {
            assert!(known.remove(section), "{known:?}");
        }
        // Of the table of keys the name is the operator's.
        assert!(
            known.remove("trusted_keys") && known.insert("trusted_keys.NAME".to_owned()),
            "{known:?}"
        );
        assert_eq!(named(|row| &row.key), known);
    }

    #[test]
    fn every_default_is_documented() {
        let Config {
            listen,
            public_url,
            data,
            store,
            limits,
            trusted_keys: _,
            allow_unsigned,
            clock,
            delivery,
            retention,
            metrics_require_key,
            otlp,
            admin_key,
            master_key,
            compiler: _,
        } = config("", &[]).expect("defaults");
        fn shown<T: ToString>(value: Option<T>) -> String {
            value.map_or_else(|| "none".to_owned(), |value| value.to_string())
        }
        let days = [
            retention.messages_days,
            retention.media_days,
            retention.dead_letters_days,
        ]
        .map(shown);
        let [messages_days, media_days, dead_letters_days] = days;
        let defaults = BTreeMap::from([
            ("listen", listen.to_string()),
            ("public_url", public_url.as_str().trim_end_matches('/').to_owned()),
            ("data", data.display().to_string()),
            (
                "store",
                if matches!(store, StoreConfig::Sqlite) {
                    "sqlite"
                } else {
                    "postgres"
                }
                .to_owned(),
            ),
            ("limits.connections", limits.connections.to_string()),
            (
                "limits.connections_per_address",
                limits.connections_per_address.to_string(),
            ),
            ("limits.sends_in_flight", limits.sends_in_flight.to_string()),
            ("limits.deliveries_in_flight", limits.deliveries_in_flight.to_string()),
            ("limits.fetches_in_flight", limits.fetches_in_flight.to_string()),
            ("trusted_keys.NAME", "none".to_owned()),
            ("allow_unsigned", allow_unsigned.to_string()),
            ("clock", shown(clock)),
            ("delivery.allow_private", delivery.allow_private.to_string()),
            ("delivery.resend_if_absent", delivery.resend_if_absent.to_string()),
            ("retention.messages_days", messages_days),
            ("retention.media_days", media_days),
            ("retention.dead_letters_days", dead_letters_days),
            ("retention.refusals_days", retention.refusals_days.to_string()),
            ("retention.audit_days", retention.audit_days.to_string()),
            ("retention.transcripts", retention.transcripts.to_string()),
            ("retention.transcripts_days", retention.transcripts_days.to_string()),
            ("metrics_require_key", metrics_require_key.to_string()),
            ("otlp", shown(otlp)),
            (
                "WEIR_ADMIN_KEY",
                if admin_key.is_none() { "none" } else { "some" }.to_owned(),
            ),
            (
                "WEIR_MASTER_KEY",
                if master_key.is_none() { "none" } else { "some" }.to_owned(),
            ),
            ("WEIR_LOG", "info".to_owned()),
        ]);
        let rows = documented();
        let documented: BTreeMap<&str, String> = rows
            .iter()
            .map(|row| {
                let name = if row.key.is_empty() { &row.variable } else { &row.key };
                (name.as_str(), row.default.clone())
            })
            .collect();
        assert_eq!(documented, defaults);
    }

    #[test]
    fn bounds_of_numbers_are_documented() {
        for row in documented() {
            let Some((section, name)) = row.key.split_once('.').filter(|(section, _)| *section == "limits") else {
                continue;
            };
            let (first, last) = row.bounds.split_once(" to ").expect("the first and the last number");
            let (first, last): (u64, u64) = (first.parse().expect("a number"), last.parse().expect("a number"));
            let read = |number: u64| config(&format!("[{section}]\n{name} = {number}"), &[]);
            for allowed in [first, last] {
                assert!(read(allowed).is_ok(), "{name} = {allowed}");
            }
            for refused in [first - 1, last + 1] {
                assert!(read(refused).is_err(), "{name} = {refused}");
            }
        }
    }

    #[test]
    fn no_page_names_another_variable() {
        /// Of the command line, and of a test that writes a page.
        const OTHERS: [&str; 6] = [
            "WEIR_WRITE_DOCS",
            "WEIR_URL",
            "WEIR_KEY",
            "WEIR_NEW_MASTER_KEY",
            "WEIR_REGISTRY_USER",
            "WEIR_REGISTRY_PASSWORD",
        ];
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let mut known: BTreeSet<String> = documented().into_iter().map(|row| row.variable).collect();
        known.extend(OTHERS.map(str::to_owned));
        let pages = std::fs::read_dir(format!("{root}/docs")).expect("docs");
        let mut pages: Vec<_> = pages.map(|page| page.expect("a page").path()).collect();
        pages.push(format!("{root}/README.md").into());
        for page in pages
            .iter()
            .filter(|page| page.extension().is_some_and(|kind| kind == "md"))
        {
            let text = std::fs::read_to_string(page).expect("a page");
            let names = text.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
            for name in names.filter(|name| name.starts_with("WEIR_") && *name != "WEIR_") {
                assert!(known.contains(name), "{} names {name}", page.display());
            }
        }
    }

    #[test]
    fn a_variable_wins_over_the_file() {
        let config = config("listen = '127.0.0.1:1'", &[("WEIR_LISTEN", "127.0.0.1:2")]).expect("both are right");
        assert_eq!(config.listen.port(), 2);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let words = refused("listen = '127.0.0.1:1'\nlissten = '127.0.0.1:2'", &[]);
        assert!(
            words.starts_with("weir.toml, line 2:") && words.contains("lissten"),
            "{words}"
        );
        let words = refused("[delivery]\nallow_privat = true", &[]);
        assert!(words.contains("allow_privat"), "{words}");
    }

    #[test]
    fn metrics_need_a_key_where_it_is_set() {
        let needs = |file, env: &[_]| config(file, env).expect("right").metrics_require_key;
        assert!(!needs("", &[]));
        assert!(needs("metrics_require_key = true", &[]));
        assert!(needs("", &[("WEIR_METRICS_REQUIRE_KEY", "true")]));
        assert!(!needs(
            "metrics_require_key = true",
            &[("WEIR_METRICS_REQUIRE_KEY", "false")]
        ));
        assert!(refused("", &[("WEIR_METRICS_REQUIRE_KEY", "yes")]).contains("true or false"));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        let words = refused("", &[("WEIR_LISTEN", "8080")]);
        assert!(
            words.contains("WEIR_LISTEN") && words.contains("127.0.0.1:8080"),
            "{words}"
        );
        let words = refused("public_url = 'https://weir.example/api'", &[]);
        assert!(words.contains("public_url"), "{words}");
        let words = refused("[limits]\nsends_in_flight = 0", &[]);
        assert!(words.contains("limits.sends_in_flight"), "{words}");
    }

    #[test]
    fn who_names_trusted_keys_wants_signatures() {
        assert!(config("", &[]).expect("defaults").allow_unsigned);
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let file = format!("[trusted_keys]\nrelease = '{key}'");
        assert!(!config(&file, &[]).expect("a key").allow_unsigned);
        assert!(
            config(&file, &[("WEIR_ALLOW_UNSIGNED", "true")])
                .expect("both")
                .allow_unsigned
        );
        let words = refused("[trusted_keys]\nrelease = 'x'", &[]);
        assert!(
            words.contains("trusted_keys.release") && words.contains("minisign"),
            "{words}"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let words = refused("", &[("WEIR_STORE", "mysql://root:hunter2@db")]);
        assert!(!words.contains("hunter2"), "{words}");
        let config = config("", &[("WEIR_ADMIN_KEY", "hunter2")]).expect("a key");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
