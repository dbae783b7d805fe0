//! A real OCI registry, Debian's `docker-registry`, and the operations of a publisher.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::PATIENCE;

/// A running registry; it ends with this value.
#[derive(Debug)]
pub struct OciRegistry {
    host: String,
    login: Option<(String, String)>,
    client: Client,
    _child: Child,
}

/// The user of a registry that requires authentication.
pub const LOGIN: (&str, &str) = ("jane", "secret");
/// [`LOGIN`] as htpasswd writes it (bcrypt, the fewest rounds).
const HTPASSWD: &str = "jane:$2b$04$qOk4JSLA7oGrfcL7AcmzVesns9EColMCLhWfOxZBflCdg1vsr9M36\n";

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A component's manifest, as `wkg oci push` writes it.
pub fn manifest(component: &[u8], annotations: &Value) -> Value {
    let config = config(component);
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.wasm.config.v0+json", "digest": digest(config.as_bytes()), "size": config.len(),
        },
        "layers": [{ "mediaType": "application/wasm", "digest": digest(component), "size": component.len() }],
        "annotations": annotations,
    })
}

fn config(component: &[u8]) -> String {
    let config = json!({
        "created": "2026-03-02T10:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [digest(component)],
        "component": { "exports": ["weir:connector/connector@0.1.0"], "imports": [] },
    });
    config.to_string()
}

impl OciRegistry {
    /// Starts one in `folder`, open to everybody, or to [`LOGIN`] alone.
    ///
    /// # Errors
    /// It is not installed, or cannot be started.
    pub async fn start(folder: &Path, asks: bool) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let passwords = folder.join("htpasswd");
        std::fs::write(&passwords, HTPASSWD)?;
        let mut config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.join("data") } },
            "http": { "addr": "127.0.0.1:0", "secret": "for one registry" },
        });
        if asks {
            config["auth"] = json!({ "htpasswd": { "realm": "here", "path": passwords } });
        }
        // JSON is YAML too.
        let file = folder.join("config.yml");
        std::fs::write(&file, config.to_string())?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("docker-registry cannot be started; Debian's package of that name has it")?;
        let errors = child.stderr.take().context("docker-registry has no output")?;
        let mut lines = BufReader::new(errors).lines();
        let mut log = String::new();
        let host = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let host = rest.split('"').next().unwrap_or_default();
                    return Ok(host.to_owned());
                }
                log.push_str(&line);
                log.push('\n');
            }
            bail!("it ended with the output:\n{log}")
        })
        .await
        .context("docker-registry did not report its address")??;
        // Read on, so that a full pipe never stops the program.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            host,
            login: asks.then(|| (LOGIN.0.to_owned(), LOGIN.1.to_owned())),
            client: Client::builder().no_proxy().build()?,
            _child: child,
        })
    }

    /// Its address and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Publishes a component under a tag. Gives its manifest's digest.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        component: &[u8],
        annotations: &Value,
    ) -> anyhow::Result<String> {
        self.push_blob(repository, config(component).into_bytes()).await?;
        self.push_blob(repository, component.to_vec()).await?;
        self.push_manifest(repository, tag, &manifest(component, annotations))
            .await
    }

    /// Publishes any manifest whose blobs are there.
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn push_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> anyhow::Result<String> {
        let body = manifest.to_string();
        let digest = digest(body.as_bytes());
        let kind = manifest["mediaType"].as_str().context("a manifest without a type")?;
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.host);
        let request = self.request(Method::PUT, &url).header("content-type", kind);
        let answer = request.body(body).send().await?;
        let status = answer.status();
        ensure!(status == StatusCode::CREATED, "{status}: {}", answer.text().await?);
        Ok(digest)
    }

    /// Uploads bytes (OCI distribution specification, «Pushing blobs»).
    ///
    /// # Errors
    /// The registry refuses.
    pub async fn push_blob(&self, repository: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let started = self.request(Method::POST, &url).send().await?;
        let location = started.headers().get("location").context("no place to upload to")?;
        let mut url: url::Url = location.to_str()?.parse()?;
        url.query_pairs_mut().append_pair("digest", &digest(&bytes));
        let request = self.request(Method::PUT, url.as_str());
        let request = request.header("content-type", "application/octet-stream");
        let answer = request.body(bytes).send().await?;
        let status = answer.status();
        ensure!(status == StatusCode::CREATED, "{status}: {}", answer.text().await?);
        Ok(())
    }

    fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url);
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}
