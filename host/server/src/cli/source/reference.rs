//! Names of components in registries: `HOST[:PORT]/REPOSITORY:TAG`, or `@sha256:…` instead of the tag.
//!
//! The rules for names and tags are those of the OCI distribution specification, «Pulling manifests».

use std::fmt;
use std::str::FromStr;

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Repository {
    host: String,
    name: String,
}

/// A component in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<String>,
}

/// The host of Docker Hub's API, which users write as `docker.io`.
pub(super) const DOCKER_HUB: &str = "registry-1.docker.io";

impl Repository {
    /// The registry's host, with the port if it is not the default.
    pub(super) fn host(&self) -> &str {
        match self.host.as_str() {
            "docker.io" => DOCKER_HUB,
            host => host,
        }
    }

    /// The name within the registry.
    pub(in crate::cli) fn name(&self) -> &str {
        &self.name
    }

    /// The component with this tag.
    pub(in crate::cli) fn tagged(&self, tag: &str) -> Reference {
        Reference {
            repository: self.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        }
    }
}

impl Reference {
    pub(in crate::cli) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The digest that its manifest must have.
    pub(super) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The reference by which the manifest is requested: the digest, which is unambiguous, or else the tag.
    pub(super) fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.host, self.name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

const FORM: &str = "use oci://HOST/REPOSITORY:TAG, or @sha256:… instead of the tag";

impl FromStr for Repository {
    type Err = String;

    /// From `HOST/REPOSITORY`, with or without `oci://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (host, name) = text.split_once('/').ok_or("use oci://HOST/REPOSITORY")?;
        let is_host = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
        if !is_host {
            return Err(format!("invalid registry host {host:?}; {FORM}"));
        }
        if name.len() > 255 || !name.split('/').all(is_name) {
            return Err(format!(
                "invalid repository name {name:?}; use lowercase letters and digits, separated by . _ - or /"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl FromStr for Reference {
    type Err = String;

    /// From the text after `oci://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(format!(
                "invalid digest after @: expected sha256: and 64 hexadecimal digits; {FORM}"
            ));
        }
        // A colon before the last slash belongs to the port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("invalid tag {tag:?}; {FORM}"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(format!(
                "missing tag; {FORM} (to list the tags, run `weir connector list --available oci://{rest}`)"
            ));
        }
        Ok(Self {
            repository: repository.parse()?,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_name(component: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |text: &str| matches!(text, "." | "_" | "__") || (!text.is_empty() && text.chars().all(|c| c == '-'));
    component.starts_with(is_inner)
        && component.ends_with(is_inner)
        && component.split(is_inner).filter(|text| !text.is_empty()).all(between)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(is_word) && text.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

/// `sha256:` and 64 hexadecimal digits: the one algorithm that every registry supports.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_round_trip() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in [
            "ghcr.io/acme/tiktok:1.2.0".to_owned(),
            "127.0.0.1:5000/tiktok:v1".to_owned(),
            "[::1]:5000/a/b__c/d---e:_".to_owned(),
            format!("ghcr.io/acme/tiktok@{digest}"),
            format!("registry.example:443/acme/tiktok:1.2.0@{digest}"),
        ] {
            let reference: Reference = text.parse().expect("a reference");
            assert_eq!(reference.to_string(), format!("oci://{text}"));
        }
    }

    #[test]
    fn digest_precedes_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let wanted = |text: String| text.parse::<Reference>().expect("a reference").wanted().to_owned();
        assert_eq!(wanted(format!("ghcr.io/a:1@{digest}")), digest);
        assert_eq!(wanted("ghcr.io/a:1".into()), "1");
    }

    #[test]
    fn invalid_references_are_refused() {
        for (text, words) in [
            ("", "missing tag"),
            ("ghcr.io", "missing tag"),
            ("127.0.0.1:5000", "oci://HOST/REPOSITORY"),
            ("ghcr.io/acme/tiktok", "--available oci://ghcr.io/acme/tiktok"),
            ("127.0.0.1:5000/tiktok", "missing tag"),
            ("ghcr.io/Acme/tiktok:1", "lowercase letters"),
            ("ghcr.io/acme//tiktok:1", "lowercase letters"),
            ("ghcr.io/a___b:1", "lowercase letters"),
            ("ghcr.io/../../v1:1", "lowercase letters"),
            ("ghcr.io/a?b:1", "lowercase letters"),
            ("ghcr.io/a:-1", "invalid tag"),
            ("ghcr.io/a:", "invalid tag"),
            ("ghcr.io/a@sha256:00", "64 hexadecimal"),
            ("ghcr.io/a@sha512:00", "64 hexadecimal"),
            ("u@ghcr.io/a:1", "64 hexadecimal"),
            ("gh cr.io/a:1", "invalid registry host"),
            ("/a:1", "invalid registry host"),
        ] {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
