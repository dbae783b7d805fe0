//! Sources of components: a file, a URL, or a repository of an OCI registry.
//!
//! Each source returns the component's bytes and the signature published with them. No source is trusted: sizes are
//! bounded, a registry's digests are verified here, and signatures are verified by the host.

mod credentials;
mod oci;
mod reference;
mod web;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use clap::Args;
use url::Url;
use weir_domain::limits;
use weir_domain::manifest::Origin;

pub(super) use oci::Registry;
pub(super) use reference::{Reference, Repository};

use super::output::Output;
use super::{Exit, Failure};
use credentials::Credentials;
use web::{Get, Web};

/// Where a component is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    Web(Url),
    Oci(Reference),
}

/// Options for connections to a source.
#[derive(Clone, Debug, Args)]
pub(super) struct Access {
    /// Allow plain http to another machine
    #[arg(long)]
    plain_http: bool,
    /// User name for the registry; its password is read from WEIR_REGISTRY_PASSWORD (default: the stored `docker
    /// login`)
    #[arg(long, env = "WEIR_REGISTRY_USER", value_name = "NAME")]
    registry_user: Option<String>,
}

/// A fetched component.
pub(super) struct Obtained {
    pub(super) bytes: Bytes,
    /// In the format of minisign.
    pub(super) signature: Option<String>,
    /// Where it is published; none for a file.
    pub(super) source: Option<String>,
}

/// Longest signature; those of minisign have about 300 bytes.
const SIGNATURE_BYTES: usize = crate::core::provenance::SIGNATURE_BYTES;

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None => Ok(Self::File(PathBuf::from(text))),
            Some(("oci", reference)) => reference.parse().map(Self::Oci),
            Some(("http" | "https", _)) => match Url::parse(text) {
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    Err("URLs with credentials are not supported; download the file, and pass its path".to_owned())
                }
                Ok(mut url) => {
                    url.set_fragment(None);
                    Ok(Self::Web(url))
                }
                Err(error) => Err(format!("invalid URL: {error}")),
            },
            Some((scheme, _)) => Err(format!(
                "{scheme}:// is not supported; use a file, https://… or oci://HOST/REPOSITORY:TAG"
            )),
        }
    }
}

impl Access {
    /// Refuses plain http to another machine, unless it is allowed.
    fn admit(&self, url: &Url) -> Result<(), Failure> {
        if url.scheme() == "https" || self.plain_http || is_loopback(url) {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{} uses plain http, and the component could be modified in transit; use https://, or allow it with --plain-http",
            origin(url)
        )))
    }

    /// The URL of a registry: https, unless it is on this machine or plain http is allowed.
    fn registry(&self, repository: &Repository) -> Result<Url, Failure> {
        let at = |scheme| format!("{scheme}://{}/", repository.host()).parse::<Url>();
        let url = at("http").ok().filter(|url| self.plain_http || is_loopback(url));
        url.map_or_else(|| at("https"), Ok)
            .map_err(|error| Failure::usage(format!("invalid registry host {}: {error}", repository.host())))
    }

    /// The credentials for a registry: those of the command line, or else those of `docker login`. None are sent over
    /// plain http to another machine.
    fn credentials(&self, registry: &Url, repository: &Repository) -> Result<Credentials, Failure> {
        let is_private = registry.scheme() == "https" || is_loopback(registry);
        let Some(user) = &self.registry_user else {
            return Ok(if is_private {
                Credentials::of_docker(repository.host())
            } else {
                Credentials::None
            });
        };
        if !is_private {
            return Err(Failure::usage(
                "passwords are not sent over plain http; remove --plain-http or --registry-user",
            ));
        }
        let password = std::env::var("WEIR_REGISTRY_PASSWORD")
            .map_err(|_| Failure::usage("--registry-user requires a password; set WEIR_REGISTRY_PASSWORD"))?;
        Ok(Credentials::password(user.clone(), password))
    }
}

fn is_loopback(url: &Url) -> bool {
    Origin::of(url).is_some_and(|origin| origin.is_loopback())
}

/// Scheme, host and port, for messages: the path and the query may contain a secret, as in presigned URLs.
fn origin(url: &Url) -> String {
    Origin::of(url).map_or_else(|| url.scheme().to_owned(), |origin| origin.to_string())
}

impl Source {
    /// Fetches the component and its signature: from the file `given`, or else the published one.
    pub(super) async fn obtain(
        &self,
        access: &Access,
        given: Option<&Path>,
        output: &Output,
    ) -> Result<Obtained, Failure> {
        let mut obtained = match self {
            Self::File(path) => Obtained {
                bytes: read(path)?,
                signature: match given {
                    Some(_) => None,
                    None => published_signature(path)?,
                },
                source: None,
            },
            Self::Web(url) => fetched(url, access, given.is_none(), output).await?,
            Self::Oci(reference) => {
                Registry::new(reference.repository(), access, output)?
                    .pull(reference)
                    .await?
            }
        };
        if let Some(path) = given {
            obtained.signature = Some(text(path, &read(path)?)?);
        }
        Ok(obtained)
    }
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Bytes, Failure> {
    std::fs::read(path)
        .map(Bytes::from)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
}

fn text(path: &Path, bytes: &[u8]) -> Result<String, Failure> {
    signature(bytes).ok_or_else(|| {
        Failure::failed(format!(
            "{} is not a minisign signature; pass the .minisig file",
            path.display()
        ))
    })
}

/// The text, if it may be a signature; the host parses it.
fn signature(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= SIGNATURE_BYTES).then(|| text.to_owned())
}

/// The signature published with a file.
fn published_signature(component: &Path) -> Result<Option<String>, Failure> {
    let mut path = component.as_os_str().to_owned();
    path.push(".minisig");
    match std::fs::read(&path) {
        Ok(bytes) => text(Path::new(&path), &bytes).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::failed(format!(
            "cannot read {}: {error}",
            Path::new(&path).display()
        ))),
    }
}

/// A component at a URL, and the signature published with it, if `signed`.
async fn fetched(url: &Url, access: &Access, signed: bool, output: &Output) -> Result<Obtained, Failure> {
    access.admit(url)?;
    let web = Web::new(url, output)?;
    let get = |url, max_bytes| Get {
        url,
        accept: "application/wasm, */*",
        authorization: None,
        max_bytes,
        size: None,
    };
    let response = web.get(get(url, limits::COMPONENT_BYTES as u64)).await?;
    let bytes = match response.status {
        200 => response.body,
        401 | 403 => {
            return Err(Failure::failed(format!(
                "{} denied access ({}); download the file yourself, and pass its path",
                origin(url),
                response.status
            )));
        }
        status => return Err(unexpected(url, status)),
    };
    let mut signature_url = url.clone();
    signature_url.set_path(&format!("{}.minisig", url.path()));
    let signature = if signed {
        let response = web.get(get(&signature_url, SIGNATURE_BYTES as u64)).await?;
        match response.status {
            200 => Some(signature(&response.body).ok_or_else(|| {
                Failure::failed(format!(
                    "{signature_url} is not a minisign signature; pass one with --signature"
                ))
            })?),
            // Object stores that do not list their contents answer 403.
            403 | 404 | 410 => None,
            status => return Err(unexpected(&signature_url, status)),
        }
    } else {
        None
    };
    // The query may contain a secret, as in presigned URLs.
    let mut published = url.clone();
    published.set_query(None);
    Ok(Obtained {
        bytes,
        signature,
        source: Some(published.into()),
    })
}

/// A status that gives no information about the resource.
fn unexpected(url: &Url, status: u16) -> Failure {
    let origin = origin(url);
    match status {
        429 => Failure::new(
            Exit::Unreachable,
            format!("{origin} returned 429: too many requests; try again in a few minutes"),
        ),
        500.. => Failure::new(
            Exit::Unreachable,
            format!("{origin} returned {status}; try again later"),
        ),
        status => Failure::failed(format!("{origin} returned {status}; check the URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_parsed() {
        let source = |text: &str| text.parse::<Source>();
        assert_eq!(source("a/b.wasm"), Ok(Source::File("a/b.wasm".into())));
        // A name that looks like a repository is a file unless it has the scheme: nothing is fetched by accident.
        assert_eq!(source("ghcr.io/a/b:1"), Ok(Source::File("ghcr.io/a/b:1".into())));
        assert!(matches!(source("https://files.example/a.wasm"), Ok(Source::Web(_))));
        assert!(matches!(source("oci://ghcr.io/a/b:1"), Ok(Source::Oci(_))));
        for (text, words) in [
            ("ftp://files.example/a.wasm", "oci://HOST"),
            ("https://u:p@files.example/a.wasm", "URLs with credentials"),
            ("https://", "invalid URL"),
        ] {
            let error = source(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    fn access(plain_http: bool, user: Option<&str>) -> Access {
        Access {
            plain_http,
            registry_user: user.map(str::to_owned),
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_or_allowed() {
        let scheme = |host: &str, plain| {
            let reference: Reference = format!("{host}/a:1").parse().expect("a reference");
            let url = access(plain, None).registry(reference.repository()).expect("a host");
            url.scheme().to_owned()
        };
        for (host, plain, expected) in [
            ("127.0.0.1:5000", false, "http"),
            ("localhost:5000", false, "http"),
            ("[::1]:5000", false, "http"),
            ("ghcr.io", false, "https"),
            ("10.0.0.7:5000", false, "https"),
            ("10.0.0.7:5000", true, "http"),
        ] {
            assert_eq!(scheme(host, plain), expected, "{host}");
        }
        let url = |text: &str| text.parse::<Url>().expect("a URL");
        assert!(access(false, None).admit(&url("http://files.example/")).is_err());
        assert!(access(true, None).admit(&url("http://files.example/")).is_ok());
        assert!(access(false, None).admit(&url("http://127.0.0.1:1/")).is_ok());
        assert!(access(false, None).admit(&url("https://files.example/")).is_ok());
    }

    #[test]
    fn passwords_are_not_sent_over_plain_http() {
        let registry = "http://10.0.0.7:5000/".parse().expect("a URL");
        let repository = "10.0.0.7:5000/a".parse().expect("a repository");
        let credentials = |user| access(true, user).credentials(&registry, &repository);
        assert_eq!(credentials(Some("jane")).err().expect("refused").exit, Exit::Usage);
        assert!(matches!(credentials(None), Ok(Credentials::None)));
    }
}
