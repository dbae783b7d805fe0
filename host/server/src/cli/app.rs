//! `weir app`: platform app credentials.

use std::collections::BTreeMap;
use std::io::Read;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use weir_domain::credential::Secret;

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Failure, pair};

#[derive(Debug, Subcommand)]
pub(super) enum App {
    /// Create or replace an app
    Set(Set),
    /// Rotate an app's secrets; the old ones stay valid for a while
    Rotate(Rotate),
    /// List apps
    List,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Name of the app; part of its webhook URL
    name: String,
    /// Connector to use (default: the app's name)
    #[arg(long)]
    connector: Option<String>,
    /// Secret; @FILE as the value reads it from a file, - from standard input; repeatable
    #[arg(long = "secret", value_name = "NAME=VALUE", value_parser = pair)]
    secrets: Vec<(String, String)>,
    /// Setting; the value may be JSON; repeatable
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// Send requests for a platform's origin to a sandbox instead; repeatable
    #[arg(long = "origin", value_name = "PLATFORM=SANDBOX", value_parser = pair)]
    origins: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Name of the app
    name: String,
    /// New secret; @FILE as the value reads it from a file, - from standard input; repeatable
    #[arg(long = "secret", value_name = "NAME=VALUE", value_parser = pair, required = true)]
    secrets: Vec<(String, String)>,
    /// Hours for which the old secrets stay valid
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    overlap: u16,
}

impl App {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        match self {
            Self::Set(set) => set.run(client, output).await,
            Self::Rotate(rotate) => rotate.run(client, output).await,
            Self::List => {
                let apps = client.get(client.at(&["v1", "apps"])).await?;
                let columns = [
                    ("NAME", "/name"),
                    ("CONNECTOR", "/connector"),
                    ("SECRETS", "/secrets"),
                    ("WEBHOOK", "/webhook_url"),
                ];
                output.list(&apps, &columns, "no apps; create one with `weir app set NAME`");
                Ok(())
            }
        }
    }
}

impl Set {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let mut secrets = BTreeMap::new();
        for (name, value) in self.secrets {
            let text = secret(&name, &value, output)?;
            secrets.insert(name, text);
        }
        let settings: Map<String, Value> = self
            .settings
            .into_iter()
            .map(|(name, value)| (name, serde_json::from_str(&value).unwrap_or(Value::String(value))))
            .collect();
        let origins: BTreeMap<_, _> = self.origins.into_iter().collect();
        let connector = self.connector.unwrap_or_else(|| self.name.clone());
        let body = json!({ "connector": connector, "settings": settings, "secrets": secrets, "origins": origins });
        let app = client
            .send(Method::PUT, client.at(&["v1", "apps", &self.name]), body)
            .await?;
        output.show(&app, || {
            output.facts(&[
                ("app", text(&app, "/name")),
                ("connector", text(&app, "/connector")),
                ("webhook URL", text(&app, "/webhook_url")),
                ("redirect URL", text(&app, "/redirect_url")),
            ]);
            output.line(
                "Register the redirect URL in the platform's developer portal, and the webhook URL unless the connector \
                 subscribes to webhooks itself. Then run `weir channel connect`.",
            );
        });
        Ok(())
    }
}

impl Rotate {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let mut secrets = BTreeMap::new();
        for (name, value) in self.secrets {
            let text = secret(&name, &value, output)?;
            secrets.insert(name, text);
        }
        let body = json!({ "secrets": secrets, "overlap_s": u32::from(self.overlap) * 3_600 });
        let url = client.at(&["v1", "apps", &self.name, "secrets", "rotate"]);
        let app = client.send(Method::POST, url, body).await?;
        output.show(&app, || {
            output.facts(&[
                ("app", text(&app, "/name")),
                ("rotating", text(&app, "/rotating")),
                ("old valid until", text(&app, "/old_secrets_until")),
            ]);
        });
        Ok(())
    }
}

/// Reads a secret that need not be on the command line, where other users of the machine see it.
fn secret(name: &str, value: &str, output: &Output) -> Result<String, Failure> {
    let read = match value.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("cannot read {path}: {error}")))?
        }
        None if value == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
            text
        }
        None => value.to_owned(),
    };
    let text = without_line_end(&read);
    if text.len() < read.len() {
        output.note(&format!("{name}: removed the line end after the secret"));
    }
    let checked = Secret::new(text).check();
    checked.map_err(|wrong| Failure::failed(format!("{name}: {wrong}")))?;
    Ok(text.to_owned())
}

/// Removes one trailing line break, as editors and shells append it.
fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n')
        .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_removed() {
        for (text, without) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            ("secret ", "secret "),
        ] {
            assert_eq!(without_line_end(text), without);
        }
    }

    #[test]
    fn secret_with_blanks_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("secret");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            secret("client_secret", &format!("@{}", path.display()), &Output::new(true)).ok()
        };
        assert_eq!(read("secret\n"), Some("secret".to_owned()));
        assert_eq!(read("secret \n"), None);
        assert_eq!(read("\n"), None);
    }
}
