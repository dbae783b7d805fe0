//! Components in OCI registries, in the layout of `wkg oci push`.
//!
//! A component is a manifest with a configuration of type `application/vnd.wasm.config.v0+json` and one layer of type
//! `application/wasm` (CNCF TAG Runtime, «Wasm OCI Artifact layout»). Its signature is the annotation [`SIGNATURE`] of
//! the manifest: other tools would not recognize a component with a second layer. The API is the OCI distribution
//! specification; authentication is the token specification
//! (<https://distribution.github.io/distribution/spec/auth/token/>).
//!
//! The requests are our own, since `oci-client` neither bounds the size of manifests, tokens and tag lists nor lets its
//! caller control redirects.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderValue;
use http_auth::{ChallengeParser, ChallengeRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use url::Url;
use weir_domain::limits;

use super::credentials::Credentials;
use super::reference::{Reference, Repository, is_digest};
use super::web::{Get, Response, Web};
use super::{Access, Obtained, SIGNATURE_BYTES, origin, unexpected};
use crate::cli::output::Output;
use crate::cli::{Exit, Failure};

/// The annotation of the manifest that contains the minisign signature.
const SIGNATURE: &str = "weir.minisig";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
/// Indexes and Docker's own manifests are accepted, too, so that they are reported as such and not as missing.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A client of a repository.
pub(in crate::cli) struct Registry<'a> {
    web: Web<'a>,
    at: Url,
    repository: Repository,
    credentials: Credentials,
    /// The header that the registry accepted.
    authorization: Option<HeaderValue>,
}

/// The manifest of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Manifest {
    /// `sha256:…` of the component.
    pub(in crate::cli) component: String,
    size: u64,
    signature: Option<String>,
}

/// Why a manifest is not one of a component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum NotAComponent {
    #[error("invalid manifest: {0}")]
    Unreadable(String),
    #[error("it is an index of several manifests; select one by its digest")]
    Index,
    #[error("its configuration has type {0:?} instead of {CONFIG}; publish it with `wkg oci push`")]
    Config(String),
    #[error("it has {0} layers instead of one")]
    Layers(usize),
    #[error("its layer has type {0:?} instead of {LAYER}")]
    Layer(String),
    #[error("its layer has digest {0:?}, which is not a SHA-256 digest")]
    Digest(String),
    #[error("it has {0} bytes, and the limit is {limit}", limit = limits::COMPONENT_BYTES)]
    TooLarge(u64),
    #[error("its annotation {SIGNATURE} is too long for a signature")]
    Signature,
}

impl<'a> Registry<'a> {
    /// A client of a repository; sends nothing yet.
    pub(in crate::cli) fn new(repository: &Repository, access: &Access, output: &'a Output) -> Result<Self, Failure> {
        let at = access.registry(repository)?;
        Ok(Self {
            web: Web::new(&at, output)?,
            credentials: access.credentials(&at, repository)?,
            at,
            repository: repository.clone(),
            authorization: None,
        })
    }

    /// Fetches a component.
    pub(super) async fn pull(&mut self, reference: &Reference) -> Result<Obtained, Failure> {
        let manifest = self.manifest(reference).await?.map_err(|reason| {
            Failure::new(
                Exit::Refused,
                format!("{reference} is not an installable component: {reason}"),
            )
        })?;
        let url = self.url(&["blobs", &manifest.component]);
        let response = self
            .request(&url, "application/wasm, */*", manifest.size, Some(manifest.size))
            .await?;
        let bytes = match response.status {
            200 => response.body,
            404 => {
                return Err(Failure::failed(format!(
                    "{} has the manifest of {reference}, but not its layer; push it again",
                    origin(&self.at)
                )));
            }
            status => return Err(self.refused(status)),
        };
        verify(&manifest.component, &bytes).map_err(|digest| {
            Failure::new(
                Exit::Refused,
                format!(
                    "digest mismatch: {} sent {digest} for {reference}, and its manifest says {}",
                    origin(&self.at),
                    manifest.component
                ),
            )
        })?;
        Ok(Obtained {
            bytes,
            signature: manifest.signature,
            source: Some(reference.to_string()),
        })
    }

    /// The manifest of a reference, if it is a component.
    pub(in crate::cli) async fn manifest(
        &mut self,
        reference: &Reference,
    ) -> Result<Result<Manifest, NotAComponent>, Failure> {
        let url = self.url(&["manifests", reference.wanted()]);
        let response = self
            .request(&url, MANIFESTS, limits::REGISTRY_ANSWER_BYTES, None)
            .await?;
        match response.status {
            200 => {}
            404 => {
                return Err(Failure::failed(format!(
                    "{reference} was not found; to list the tags, run `weir connector list --available {}`",
                    self.repository
                )));
            }
            status => return Err(self.refused(status)),
        }
        let announced = response
            .headers("docker-content-digest")
            .find(|digest| is_digest(digest));
        if let Some(expected) = reference.digest().or(announced) {
            verify(expected, &response.body).map_err(|digest| {
                Failure::new(
                    Exit::Refused,
                    format!(
                        "digest mismatch: {} sent {digest} as the manifest of {reference} instead of {expected}",
                        origin(&self.at)
                    ),
                )
            })?;
        }
        Ok(Manifest::read(&response.body))
    }

    /// The first [`limits::TAGS`] tags of the repository, in the registry's order.
    pub(in crate::cli) async fn tags(&mut self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut next = Some(self.url(&["tags", "list"]));
        while let Some(url) = next.take().filter(|_| tags.len() < limits::TAGS) {
            let response = self
                .request(&url, "application/json", limits::REGISTRY_ANSWER_BYTES, None)
                .await?;
            match response.status {
                200 => {}
                404 => {
                    return Err(Failure::failed(format!(
                        "{} was not found; check the name",
                        self.repository
                    )));
                }
                status => return Err(self.refused(status)),
            }
            let page: Tags = self.document(&response)?;
            let page = page.tags.unwrap_or_default();
            // Empty pages could repeat forever.
            if !page.is_empty() {
                next = response.headers("link").find_map(|link| next_page(&url, link));
            }
            tags.extend(page);
        }
        tags.truncate(limits::TAGS);
        Ok(tags)
    }

    fn url(&self, below: &[&str]) -> Url {
        let mut url = self.at.clone();
        // An http URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .push("v2")
                .extend(self.repository.name().split('/'))
                .extend(below);
        }
        url
    }

    /// Sends a request, and sends it again with credentials if the registry requires them.
    async fn request(
        &mut self,
        url: &Url,
        accept: &'static str,
        max_bytes: u64,
        size: Option<u64>,
    ) -> Result<Response, Failure> {
        let response = self.once(url, accept, max_bytes, size).await?;
        if response.status != 401 {
            return Ok(response);
        }
        match self.authorize(&response).await? {
            Some(header) => {
                self.authorization = Some(header);
                self.once(url, accept, max_bytes, size).await
            }
            None => Ok(response),
        }
    }

    async fn once(
        &self,
        url: &Url,
        accept: &'static str,
        max_bytes: u64,
        size: Option<u64>,
    ) -> Result<Response, Failure> {
        let get = Get {
            url,
            accept,
            authorization: self.authorization.as_ref(),
            max_bytes,
            size,
        };
        self.web.get(get).await
    }

    /// The header that answers a challenge, if there are credentials for it.
    async fn authorize(&self, response: &Response) -> Result<Option<HeaderValue>, Failure> {
        let challenges = challenges(response.headers("www-authenticate"));
        let of = |scheme: &str| {
            let named = |challenge: &&ChallengeRef<'_>| challenge.scheme.eq_ignore_ascii_case(scheme);
            challenges.iter().find(named)
        };
        if let Some(bearer) = of("bearer") {
            return self.token(bearer).await.map(Some);
        }
        Ok(of("basic").and_then(|_| self.credentials.basic()))
    }

    /// A token to read only this repository, whatever scope the challenge names.
    async fn token(&self, challenge: &ChallengeRef<'_>) -> Result<HeaderValue, Failure> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let realm = parameter(challenge, "realm").unwrap_or_default();
        let mut url = Url::parse(&realm).map_err(|_| {
            Failure::failed(format!(
                "{} requires a token, but names an invalid realm: {realm:?}",
                origin(&self.at)
            ))
        })?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = parameter(challenge, "service") {
                query.append_pair("service", &service);
            }
            query.append_pair("scope", &format!("repository:{}:pull", self.repository.name()));
        }
        let basic = self.credentials.basic();
        let response = self
            .web
            .get(Get {
                url: &url,
                accept: "application/json",
                authorization: basic.as_ref(),
                max_bytes: limits::REGISTRY_ANSWER_BYTES,
                size: None,
            })
            .await?;
        match response.status {
            200 => {}
            401 | 403 => return Err(self.refused(response.status)),
            status => return Err(unexpected(&url, status)),
        }
        let token: Token = self.document(&response)?;
        let text = token.token.or(token.access_token).unwrap_or_default();
        let mut value = HeaderValue::from_str(&format!("Bearer {text}"))
            .ok()
            .filter(|_| !text.is_empty())
            .ok_or_else(|| Failure::failed(format!("{} returned no valid token", origin(&url))))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn document<T: DeserializeOwned>(&self, response: &Response) -> Result<T, Failure> {
        serde_json::from_slice(&response.body).map_err(|_| {
            Failure::failed(format!(
                "the server at {} is not an OCI registry; check the host",
                origin(&self.at)
            ))
        })
    }

    /// The failure for a status other than 200.
    fn refused(&self, status: u16) -> Failure {
        let who = origin(&self.at);
        let repository = &self.repository;
        let otherwise = "set WEIR_REGISTRY_USER and WEIR_REGISTRY_PASSWORD";
        match (status, &self.credentials) {
            (401 | 403, Credentials::None) => Failure::failed(format!(
                "{who} requires credentials for {repository}: run `docker login`, or {otherwise}; also check the name"
            )),
            (401 | 403, Credentials::Unreadable(reason)) => Failure::failed(format!(
                "{who} requires credentials for {repository}, and the stored `docker login` cannot be used: {reason}; {otherwise}"
            )),
            (401, Credentials::Password { user, .. }) => Failure::failed(format!(
                "{who} rejected the credentials of {user:?} for {repository}; check WEIR_REGISTRY_PASSWORD, or run \
                 `docker login` again"
            )),
            (403, Credentials::Password { user, .. }) => Failure::failed(format!(
                "{who} denies {user:?} access to {repository}; ask its owner for access"
            )),
            (status, _) => unexpected(&self.at, status),
        }
    }
}

impl Manifest {
    fn read(bytes: &[u8]) -> Result<Self, NotAComponent> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Descriptor {
            media_type: String,
            digest: String,
            size: u64,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Document {
            media_type: Option<String>,
            /// Of an index.
            manifests: Option<serde::de::IgnoredAny>,
            config: Option<Descriptor>,
            #[serde(default)]
            layers: Vec<Descriptor>,
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| NotAComponent::Unreadable(error.to_string()))?;
        let kind = document.media_type.as_deref().unwrap_or(MANIFEST);
        if document.manifests.is_some() || kind == INDEX {
            return Err(NotAComponent::Index);
        }
        let config = document.config.map(|config| config.media_type).unwrap_or_default();
        if config != CONFIG {
            return Err(NotAComponent::Config(config));
        }
        let [layer] =
            <[Descriptor; 1]>::try_from(document.layers).map_err(|layers| NotAComponent::Layers(layers.len()))?;
        if layer.media_type != LAYER {
            return Err(NotAComponent::Layer(layer.media_type));
        }
        if !is_digest(&layer.digest) {
            return Err(NotAComponent::Digest(layer.digest));
        }
        if layer.size > limits::COMPONENT_BYTES as u64 {
            return Err(NotAComponent::TooLarge(layer.size));
        }
        let signature = document.annotations.get(SIGNATURE).cloned();
        if signature.as_ref().is_some_and(|text| text.len() > SIGNATURE_BYTES) {
            return Err(NotAComponent::Signature);
        }
        Ok(Self {
            component: layer.digest,
            size: layer.size,
            signature,
        })
    }
}

/// Checks that bytes have a digest; the error is the digest that they have.
fn verify(digest: &str, bytes: &Bytes) -> Result<(), String> {
    let actual = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    if actual == digest { Ok(()) } else { Err(actual) }
}

/// The next page of a list (RFC 8288); it must be of the same origin.
fn next_page(from: &Url, link: &str) -> Option<Url> {
    let (target, parameters) = link.trim_start().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.replace(' ', "").contains("rel=\"next\"");
    let next = from.join(target).ok().filter(|_| is_next)?;
    (next.origin() == from.origin()).then_some(next)
}

/// The challenges of `WWW-Authenticate` headers. A syntax error ends its header: the challenges before it are used.
fn challenges<'h>(headers: impl Iterator<Item = &'h str>) -> Vec<ChallengeRef<'h>> {
    let parsed = headers.map(|header| ChallengeParser::new(header).map_while(Result::ok));
    parsed.flatten().collect()
}

/// A parameter of a challenge; names are compared without case.
fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let named = challenge
        .params
        .iter()
        .find(|(have, _)| have.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.to_unescaped())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn challenges_are_found_in_any_notation() {
        let headers = [
            "Negotiate, BASIC Realm = \"a\"",
            "Bearer realm=\"https://auth.example/token\",service=\"registry, \\\"eu\\\"\"",
            "Digest realm=\"c\", =",
        ];
        let found = challenges(headers.into_iter());
        let schemes: Vec<&str> = found.iter().map(|challenge| challenge.scheme).collect();
        assert_eq!(schemes, ["Negotiate", "BASIC", "Bearer"]);
        assert_eq!(parameter(&found[1], "realm").as_deref(), Some("a"));
        assert_eq!(
            parameter(&found[2], "realm").as_deref(),
            Some("https://auth.example/token")
        );
        assert_eq!(parameter(&found[2], "service").as_deref(), Some("registry, \"eu\""));
        assert_eq!(parameter(&found[2], "scope"), None);
    }

    #[test]
    fn next_page_has_the_same_origin() {
        let from: Url = "https://ghcr.io/v2/a/tags/list".parse().expect("a URL");
        let next = |link| next_page(&from, link).map(String::from);
        assert_eq!(
            next("</v2/a/tags/list?last=1&n=2>; rel=\"next\"").as_deref(),
            Some("https://ghcr.io/v2/a/tags/list?last=1&n=2")
        );
        assert_eq!(next("<https://elsewhere.example/>; rel=\"next\""), None);
        assert_eq!(next("</v2/a/tags/list>; rel=\"last\""), None);
        assert_eq!(next("nothing"), None);
    }

    fn component() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2 },
            "layers": [{ "mediaType": LAYER, "digest": format!("sha256:{}", "2".repeat(64)), "size": 7 }],
            "annotations": { SIGNATURE: "untrusted comment: …" },
        })
    }

    fn read(document: &Value) -> Result<Manifest, NotAComponent> {
        Manifest::read(document.to_string().as_bytes())
    }

    #[test]
    fn component_manifest_is_parsed() {
        let manifest = read(&component()).expect("a component");
        assert_eq!(manifest.size, 7);
        assert_eq!(manifest.signature.as_deref(), Some("untrusted comment: …"));
        let mut old = component();
        old.as_object_mut().expect("an object").remove("mediaType");
        assert!(read(&old).is_ok(), "the media type may be in the header only");
    }

    #[test]
    fn other_manifests_are_refused() {
        let with = |pointer: &str, value: Value| {
            let mut document = component();
            *document.pointer_mut(pointer).expect("a member") = value;
            read(&document).expect_err("not a component")
        };
        let image = "application/vnd.oci.image.config.v1+json";
        assert_eq!(
            with("/config/mediaType", json!(image)),
            NotAComponent::Config(image.into())
        );
        assert_eq!(with("/layers", json!([])), NotAComponent::Layers(0));
        let layer = component()["layers"][0].clone();
        assert_eq!(with("/layers", json!([layer, layer])), NotAComponent::Layers(2));
        assert_eq!(
            with("/layers/0/mediaType", json!("x")),
            NotAComponent::Layer("x".into())
        );
        assert_eq!(
            with("/layers/0/digest", json!("sha512:00")),
            NotAComponent::Digest("sha512:00".into())
        );
        let limit = limits::COMPONENT_BYTES as u64;
        assert_eq!(
            with("/layers/0/size", json!(limit + 1)),
            NotAComponent::TooLarge(limit + 1)
        );
        assert_eq!(
            with("/annotations", json!({ SIGNATURE: "x".repeat(SIGNATURE_BYTES + 1) })),
            NotAComponent::Signature
        );
        assert_eq!(read(&json!({ "manifests": [] })), Err(NotAComponent::Index));
        assert!(matches!(read(&json!([])), Err(NotAComponent::Unreadable(_))));
    }
}
