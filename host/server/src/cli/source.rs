//! Where a component comes from: a file, an `https://` address, or a repository of an OCI registry.
//!
//! Whichever it is, what comes out is the component's bytes and the signature that stood beside them. Nothing is trusted on
//! the way: bytes are bounded, digests that a registry names are checked, and who signed is for the host to judge.

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
use web::{Ask, Web};

/// A place that somebody named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// On this machine.
    File(PathBuf),
    /// By http or https.
    Web(Url),
    /// In a registry.
    Oci(Reference),
}

/// How strangers are spoken to.
#[derive(Clone, Debug, Args)]
pub(super) struct Access {
    /// Speak plain http, though the registry or the server is not on this machine
    #[arg(long)]
    plain_http: bool,
    /// User name for the registry (password: WEIR_REGISTRY_PASSWORD; default: the login stored by `docker login`)
    #[arg(long, env = "WEIR_REGISTRY_USER", value_name = "NAME")]
    registry_user: Option<String>,
}

/// A component in hand.
pub(super) struct Obtained {
    pub(super) bytes: Bytes,
    /// What minisign wrote.
    pub(super) signature: Option<String>,
    /// Where it is published, for the record; none for a file.
    pub(super) source: Option<String>,
}

/// Longest signature that is carried along; minisign's own have about 300 bytes.
const SIGNATURE_BYTES: usize = crate::provenance::SIGNATURE_BYTES;

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None => Ok(Self::File(PathBuf::from(text))),
            Some(("oci", reference)) => reference.parse().map(Self::Oci),
            Some(("http" | "https", _)) => match Url::parse(text) {
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    Err("leave out the user; files that want one have to be fetched beforehand".to_owned())
                }
                Ok(mut url) => {
                    url.set_fragment(None);
                    Ok(Self::Web(url))
                }
                Err(error) => Err(format!("it is no URL: {error}")),
            },
            Some((scheme, _)) => Err(format!(
                "nothing is fetched by {scheme}://; name a file, https://… or oci://HOST/REPOSITORY:TAG"
            )),
        }
    }
}

impl Access {
    /// Whether `url` may be spoken to as it is written.
    fn admit(&self, url: &Url) -> Result<(), Failure> {
        if url.scheme() == "https" || self.plain_http || is_loopback(url) {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{} is spoken to in the clear, where everybody on the way can change the component; write https://, or add \
             --plain-http",
            origin(url)
        )))
    }

    /// Where a registry's API is: by https, unless it is on this machine or the operator says so.
    fn registry(&self, repository: &Repository) -> Result<Url, Failure> {
        let at = |scheme| format!("{scheme}://{}/", repository.host()).parse::<Url>();
        let url = at("http").ok().filter(|url| self.plain_http || is_loopback(url));
        url.map_or_else(|| at("https"), Ok)
            .map_err(|error| Failure::usage(format!("{} is no host: {error}", repository.host())))
    }

    /// Who reads a registry: the user that the command line names, else the one of `docker login`. No password goes over plain
    /// http to another machine.
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
                "a password does not go over plain http; leave out --plain-http or the user",
            ));
        }
        let password = std::env::var("WEIR_REGISTRY_PASSWORD")
            .map_err(|_| Failure::usage("--registry-user wants the password in WEIR_REGISTRY_PASSWORD"))?;
        Ok(Credentials::password(user.clone(), password))
    }
}

fn is_loopback(url: &Url) -> bool {
    Origin::of(url).is_some_and(|origin| origin.is_loopback())
}

/// Scheme, host and port, for messages: paths and queries of what was fetched may hold what was signed for one reader.
fn origin(url: &Url) -> String {
    Origin::of(url).map_or_else(|| url.scheme().to_owned(), |origin| origin.to_string())
}

impl Source {
    /// Fetches the component, and its signature: `given`, or the one that stands beside it.
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
                    None => beside(path)?,
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
        .map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))
}

fn text(path: &Path, bytes: &[u8]) -> Result<String, Failure> {
    signature(bytes).ok_or_else(|| {
        Failure::failed(format!(
            "{} is no signature; name the .minisig file that minisign wrote",
            path.display()
        ))
    })
}

/// What can be a signature: the host reads it.
fn signature(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= SIGNATURE_BYTES).then(|| text.to_owned())
}

/// The signature that stands beside a file.
fn beside(component: &Path) -> Result<Option<String>, Failure> {
    let mut path = component.as_os_str().to_owned();
    path.push(".minisig");
    match std::fs::read(&path) {
        Ok(bytes) => text(Path::new(&path), &bytes).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::failed(format!(
            "{} cannot be read: {error}",
            Path::new(&path).display()
        ))),
    }
}

/// A component at an address, and the signature beside it, if that is wanted.
async fn fetched(url: &Url, access: &Access, signed: bool, output: &Output) -> Result<Obtained, Failure> {
    access.admit(url)?;
    let web = Web::new(url, output)?;
    let ask = |url, max_bytes| Ask {
        url,
        accept: "application/wasm, */*",
        authorization: None,
        max_bytes,
        size: None,
    };
    let got = web.get(ask(url, limits::COMPONENT_BYTES as u64)).await?;
    let bytes = match got.status {
        200 => got.body,
        401 | 403 => {
            return Err(Failure::failed(format!(
                "{} does not give it to us ({}); fetch it yourself and name the file",
                origin(url),
                got.status
            )));
        }
        404 | 410 => {
            return Err(Failure::failed(format!(
                "{} has nothing there ({}); check the address",
                origin(url),
                got.status
            )));
        }
        status => return Err(unexpected(url, status)),
    };
    let mut beside = url.clone();
    beside.set_path(&format!("{}.minisig", url.path()));
    let signature = if signed {
        let got = web.get(ask(&beside, SIGNATURE_BYTES as u64)).await?;
        match got.status {
            200 => Some(signature(&got.body).ok_or_else(|| {
                Failure::failed(format!("what stands at {beside} is no signature; minisign writes one"))
            })?),
            // Stores that do not tell what they have answer 403.
            403 | 404 | 410 => None,
            status => return Err(unexpected(&beside, status)),
        }
    } else {
        None
    };
    // A query may be a secret of whoever may read.
    let mut published = url.clone();
    published.set_query(None);
    Ok(Obtained {
        bytes,
        signature,
        source: Some(published.into()),
    })
}

/// An answer that says nothing about what was asked for.
fn unexpected(url: &Url, status: u16) -> Failure {
    let origin = origin(url);
    match status {
        429 => Failure::new(
            Exit::Unreachable,
            format!("{origin} asks for patience (429); try again in a few minutes"),
        ),
        500.. => Failure::new(
            Exit::Unreachable,
            format!("{origin} is not well ({status}); try again later"),
        ),
        status => Failure::failed(format!("{origin} answered {status}; check the address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_an_address_or_a_repository() {
        let source = |text: &str| text.parse::<Source>();
        assert_eq!(source("a/b.wasm"), Ok(Source::File("a/b.wasm".into())));
        // A name that looks like a repository is a file: only what is written as one is fetched.
        assert_eq!(source("ghcr.io/a/b:1"), Ok(Source::File("ghcr.io/a/b:1".into())));
        assert!(matches!(source("https://files.example/a.wasm"), Ok(Source::Web(_))));
        assert!(matches!(source("oci://ghcr.io/a/b:1"), Ok(Source::Oci(_))));
        for (text, words) in [
            ("ftp://files.example/a.wasm", "oci://HOST"),
            ("https://u:p@files.example/a.wasm", "leave out the user"),
            ("https://", "no URL"),
        ] {
            let said = source(text).expect_err(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    fn access(plain_http: bool, user: Option<&str>) -> Access {
        Access {
            plain_http,
            registry_user: user.map(str::to_owned),
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_or_for_who_asks_for_it() {
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
    fn a_password_does_not_go_over_plain_http() {
        let registry = "http://10.0.0.7:5000/".parse().expect("a URL");
        let repository = "10.0.0.7:5000/a".parse().expect("a repository");
        let credentials = |user| access(true, user).credentials(&registry, &repository);
        assert_eq!(credentials(Some("jane")).err().expect("refused").exit, Exit::Usage);
        assert!(matches!(credentials(None), Ok(Credentials::None)));
    }
}
