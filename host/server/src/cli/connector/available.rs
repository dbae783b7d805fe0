//! The versions in a repository, compared with those installed.

use semver::Version;
use serde_json::{Value, json};
use weir_domain::limits;

use crate::cli::client::Client;
use crate::cli::output::{Output, text};
use crate::cli::source::{Access, Registry, Repository, Source};
use crate::cli::{Done, Failure};

/// A version that is installed.
#[derive(Clone, Debug)]
struct Installed {
    connector: String,
    version: Option<Version>,
    digest: String,
    state: String,
    /// Where it was installed from, if that is a registry.
    repository: Option<Repository>,
}

/// A tag of a repository.
struct Tag {
    name: String,
    /// Set if the tag is a version number.
    version: Option<Version>,
    /// Set if the tag is a component.
    digest: Option<String>,
}

/// Lists the newest tags of a repository, or of every repository that a version was installed from.
pub(super) async fn list(repository: Option<&Repository>, access: &Access, client: &Client, output: &Output) -> Done {
    let connectors = client.get(client.at(&["v1", "connectors"])).await?;
    let installed = installed(&connectors);
    let repositories = match repository {
        Some(repository) => vec![repository.clone()],
        None => known(&installed),
    };
    if repositories.is_empty() {
        return Err(Failure::usage(
            "no version was installed from a registry; name a repository: --available oci://HOST/REPOSITORY",
        ));
    }
    let (mut rows, mut left_out) = (Vec::new(), 0);
    for repository in &repositories {
        let (tags, more) = tags(repository, access, output).await?;
        rows.extend(self::rows(repository, &tags, &installed));
        left_out += more;
    }
    let columns = [
        ("REPOSITORY", "/repository"),
        ("TAG", "/tag"),
        ("STATUS", "/is"),
        ("DIGEST", "/digest"),
    ];
    // The column is for lists of several repositories.
    let columns = if repository.is_some() { &columns[1..] } else { &columns };
    output.list(&json!({ "data": rows }), columns, "no tags");
    if left_out > 0 {
        output.note(&format!(
            "(not listed: {left_out}, older versions or tags that are not version numbers)"
        ));
    }
    if let Some(newest) = rows.iter().find(|row| text(row, "/is") == "newer") {
        output.note(&format!(
            "To stage the newest version, run `weir connector install {}`.",
            text(newest, "/source")
        ));
    }
    Ok(())
}

/// The repositories that versions were installed from, each once.
fn known(installed: &[Installed]) -> Vec<Repository> {
    let mut known: Vec<Repository> = Vec::new();
    for repository in installed.iter().filter_map(|version| version.repository.as_ref()) {
        if !known.contains(repository) {
            known.push(repository.clone());
        }
    }
    known
}

/// The newest tags with their digests, and the number of those left out.
async fn tags(repository: &Repository, access: &Access, output: &Output) -> Result<(Vec<Tag>, usize), Failure> {
    let mut registry = Registry::new(repository, access, output)?;
    let mut names = registry.tags().await?;
    newest_first(&mut names);
    let left_out = names.len().saturating_sub(limits::TAGS_SHOWN);
    names.truncate(limits::TAGS_SHOWN);
    let mut tags = Vec::with_capacity(names.len());
    for name in names {
        let manifest = registry.manifest(&repository.tagged(&name)).await?;
        tags.push(Tag {
            version: version_of(&name),
            digest: manifest.ok().map(|manifest| manifest.component),
            name,
        });
    }
    Ok((tags, left_out))
}

/// Sorts version numbers before other tags, the highest first.
fn newest_first(names: &mut [String]) {
    names.sort_by(|a, b| version_of(b).cmp(&version_of(a)).then_with(|| a.cmp(b)));
}

/// The version number that a tag is: `1.2.0` or `v1.2.0`.
fn version_of(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

fn installed(connectors: &Value) -> Vec<Installed> {
    let list = |document: &Value, member: &str| {
        let list = document.get(member).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let mut installed = Vec::new();
    for connector in list(connectors, "data") {
        installed.extend(list(&connector, "versions").iter().map(|version| Installed {
            connector: text(&connector, "/name"),
            version: Version::parse(&text(version, "/version")).ok(),
            digest: text(version, "/digest"),
            state: text(version, "/state"),
            repository: match text(version, "/source").parse() {
                Ok(Source::Oci(reference)) => Some(reference.repository().clone()),
                _ => None,
            },
        }));
    }
    installed
}

/// One document per tag.
fn rows(repository: &Repository, tags: &[Tag], installed: &[Installed]) -> Vec<Value> {
    let same = |tag: &Tag| {
        installed
            .iter()
            .find(|version| Some(&version.digest) == tag.digest.as_ref())
    };
    // The connector is the one installed from this repository, or else the one of its name.
    let by_source = || {
        installed
            .iter()
            .find(|version| version.repository.as_ref() == Some(repository))
    };
    let by_name = repository.name().rsplit('/').next().unwrap_or_default();
    let version = tags.iter().find_map(same).or_else(by_source);
    let connector = version.map_or(by_name, |version| &version.connector);
    let newest = installed.iter().filter(|version| version.connector == connector);
    let newest = newest.filter_map(|version| version.version.as_ref()).max();
    let is = |tag: &Tag| match (same(tag), &tag.version, newest) {
        (Some(version), ..) if version.state == "active" => "serves".to_owned(),
        (Some(version), ..) => version.state.clone(),
        (None, ..) if tag.digest.is_none() => "no component".to_owned(),
        (None, Some(tag), Some(newest)) if tag > newest => "newer".to_owned(),
        (None, Some(tag), Some(newest)) if tag < newest => "older".to_owned(),
        // The same version number with another digest, or a tag that is no version number.
        (None, _, Some(_)) => "another".to_owned(),
        (None, ..) => "not installed".to_owned(),
    };
    let row = |tag: &Tag| {
        json!({
            "source": repository.tagged(&tag.name).to_string(), "repository": repository.to_string(), "tag": tag.name, "digest": tag.digest, "is": is(tag),
        })
    };
    tags.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_come_first() {
        let mut names = ["latest", "1.2.0", "v1.10.0", "1.10.0-rc.1", "edge"].map(str::to_owned);
        newest_first(&mut names);
        assert_eq!(names, ["v1.10.0", "1.10.0-rc.1", "1.2.0", "edge", "latest"]);
    }

    fn tag(name: &str, digest: Option<&str>) -> Tag {
        Tag {
            name: name.to_owned(),
            version: version_of(name),
            digest: digest.map(str::to_owned),
        }
    }

    fn statuses(repository: &str, tags: &[Tag], connectors: &Value) -> Vec<String> {
        let repository = repository.parse().expect("a repository");
        let rows = rows(&repository, tags, &installed(connectors));
        rows.iter().map(|row| text(row, "/is")).collect()
    }

    #[test]
    fn tags_are_compared_with_installed_versions() {
        let connectors = json!({ "data": [{ "name": "tiktok", "versions": [
            { "version": "1.1.0", "digest": "b", "state": "staged", "source": "oci://ghcr.io/acme/known:1.1.0" },
            { "version": "1.0.0", "digest": "a", "state": "active" },
        ] }] });
        let tags = [
            tag("1.2.0", Some("c")),
            tag("1.1.0", Some("b")),
            tag("1.0.1", Some("d")),
            tag("1.0.0", Some("a")),
            tag("edge", Some("e")),
            tag("image", None),
        ];
        let expected = ["newer", "staged", "older", "serves", "another", "no component"];
        // By the version installed from it, whatever its name; otherwise by name.
        assert_eq!(statuses("ghcr.io/acme/connector", &tags, &connectors), expected);
        assert_eq!(statuses("ghcr.io/acme/tiktok", &tags[..1], &connectors), ["newer"]);
        assert_eq!(
            statuses("ghcr.io/acme/connector", &tags[..1], &connectors),
            ["not installed"]
        );
    }
}
