//! The sources of settings: the file and, taking precedence, environment variables. The variable for
//! `[limits] connections` is `WEIR_LIMITS_CONNECTIONS`. Both are read as text, so that a value has the same meaning and
//! the same error message in either.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::path::Path;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};
use url::Url;

use super::ConfigError;
use crate::core::nearest::nearest;

/// The file's values by key: `limits.connections`. A section is included with a trailing dot, so that an unknown
/// section is detected even if it is empty.
#[derive(Default)]
pub(super) struct File {
    path: String,
    keys: BTreeMap<String, Written>,
}

struct Written {
    text: String,
    line: usize,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Self::parse(path.display().to_string(), &text)
    }

    pub(super) fn parse(path: String, text: &str) -> Result<Self, ConfigError> {
        let mut keys = BTreeMap::new();
        match DeTable::parse(text) {
            Ok(table) => flatten(text, "", table.get_ref(), &mut keys),
            Err(error) => {
                return Err(ConfigError::File {
                    path,
                    line: error.span().map(|span| line(text, span.start)),
                    reason: error.message().to_owned(),
                });
            }
        }
        Ok(Self { path, keys })
    }
}

fn flatten(text: &str, section: &str, table: &DeTable<'_>, keys: &mut BTreeMap<String, Written>) {
    for (name, value) in table.iter() {
        let key = format!("{section}{}", name.get_ref());
        let line = line(text, name.span().start);
        let (key, text) = match value.get_ref() {
            DeValue::Table(inner) => {
                let section = format!("{key}.");
                flatten(text, &section, inner, keys);
                (section, String::new())
            }
            DeValue::String(value) => (key, value.to_string()),
            DeValue::Integer(value) => {
                let number = i128::from_str_radix(value.as_str(), value.radix());
                (
                    key,
                    number.map_or_else(|_| value.to_string(), |number| number.to_string()),
                )
            }
            _ => (key, text.get(value.span()).unwrap_or_default().to_owned()),
        };
        keys.insert(key, Written { text, line });
    }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The file and the environment. A key becomes known when it is read.
pub(super) struct Settings<'e> {
    file: File,
    env: &'e dyn Fn(&str) -> Option<String>,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'e> Settings<'e> {
    pub(super) fn new(file: File, env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            file,
            env,
            known: RefCell::default(),
        }
    }

    /// The value of a key, if it is set, read by `parse`.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.known.borrow_mut().insert(key);
        let variable = variable(key);
        let value = match self.variable(&variable) {
            Some(text) => Some(Value::new(variable, text)),
            None => self.file.keys.get(key).map(|written| Value::new(key, &written.text)),
        };
        value.as_ref().map(parse).transpose()
    }

    /// The values of a section whose names are the operator's. Its variable lists all of them, as
    /// `NAME=VALUE,NAME=VALUE`.
    pub(super) fn read_section(&self, section: &'static str) -> Result<BTreeMap<String, Value>, ConfigError> {
        self.known.borrow_mut().insert(section);
        let variable = variable(section.trim_end_matches('.'));
        if let Some(text) = self.variable(&variable) {
            let list = Value::new(variable, text);
            let named = |pair: &str| match pair.split_once('=') {
                Some((name, text)) => Ok((name.trim().to_owned(), Value::new(&list.name, text.trim()))),
                None => list.refuse("expected NAME=VALUE, separated by commas"),
            };
            return list.text.split(',').map(named).collect();
        }
        let written = self.file.keys.iter().filter_map(|(key, written)| {
            let name = key.strip_prefix(section).filter(|name| !name.is_empty())?;
            Some((name.to_owned(), Value::new(key, &written.text)))
        });
        Ok(written.collect())
    }

    /// A variable; an empty one counts as unset.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|text| !text.is_empty())
    }

    /// The keys that were read, and with a trailing dot the sections whose names the operator chooses.
    pub(super) fn known(&self) -> BTreeSet<&'static str> {
        self.known.borrow().clone()
    }

    /// Rejects a file with a key that was never read.
    pub(super) fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let known = self.known();
        let is_known = |key: &str| {
            known.iter().any(|known| {
                *known == key
                    || key.ends_with('.') && known.starts_with(key)
                    || known.ends_with('.') && key.starts_with(known)
            })
        };
        let Some((key, written)) = self.file.keys.iter().find(|(key, _)| !is_known(key)) else {
            return Ok(());
        };
        let known: Vec<&str> = known.into_iter().collect();
        let key = key.trim_end_matches('.');
        let reason = match nearest(key, &known) {
            Some(near) => format!("unknown key {key}; did you mean {}?", near.trim_end_matches('.')),
            None => format!("unknown key {key}; remove it, or see docs/configuration.md for the keys"),
        };
        Err(ConfigError::File {
            path: self.file.path.clone(),
            line: Some(written.line),
            reason,
        })
    }
}

/// The variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("WEIR_{}", key.replace('.', "_").to_uppercase())
}

/// A text, and its source: a key or a variable.
pub(super) struct Value {
    pub(super) name: String,
    pub(super) text: String,
}

impl Value {
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    pub(super) fn refuse<T>(&self, reason: &str) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            name: self.name.clone(),
            value: self.text.chars().take(128).collect(),
            reason: reason.to_owned(),
        })
    }

    pub(super) fn parse<T: FromStr>(&self, expected: &str) -> Result<T, ConfigError> {
        self.text.parse().or_else(|_| self.refuse(expected))
    }

    pub(super) fn number<T: FromStr + PartialOrd>(
        &self,
        bounds: impl RangeBounds<T>,
        expected: &str,
    ) -> Result<T, ConfigError> {
        let number = self.parse(expected)?;
        if bounds.contains(&number) {
            Ok(number)
        } else {
            self.refuse(expected)
        }
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        self.parse("expected true or false")
    }

    pub(super) fn http_url(&self) -> Result<Url, ConfigError> {
        match self.text.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(url),
            _ => self.refuse("expected an http or https URL"),
        }
    }

    pub(super) fn origin(&self) -> Result<Url, ConfigError> {
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
