//! A component is installed from its source: a file, a URL, a registry. It is the component that was requested, or
//! nothing is installed and one line states the reason.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, ensure};
use base64::Engine;
use serde_json::{Value, json};
use support::signed::{host, public, sign};
use support::text_of;
use weir_tests::{LOGIN, OciRegistry, Page, Site, Stack, digest, manifest};

type Result<T = ()> = anyhow::Result<T>;

/// The command line, without credentials for a registry.
async fn weir(stack: &Stack, arguments: &[&str]) -> Result<Output> {
    weir_with(stack, &[], arguments).await
}

/// The command line, with these variables.
async fn weir_with(stack: &Stack, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Output> {
    let mut command = stack.binaries().command("weir");
    command
        .args(arguments)
        .env("WEIR_URL", stack.api.origin())
        .env("WEIR_KEY", stack.api.key())
        // A folder without a `config.json`: whose machine this is must not decide.
        .env("DOCKER_CONFIG", stack.data())
        .envs(variables.iter().copied());
    Ok(command.output().await?)
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The documents that a command printed.
fn documents(output: &Output) -> Result<Vec<Value>> {
    ensure!(output.status.success(), "{}", complained(output));
    let text = String::from_utf8(output.stdout.clone())?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<std::result::Result<_, _>>()?)
}

/// Installs a component, and returns the staged version.
async fn install(stack: &Stack, source: &str) -> Result<Value> {
    let output = weir(stack, &["connector", "install", source, "--json"]).await?;
    documents(&output)?.pop().context("nothing was printed")
}

/// Expects one error line with these words, and nothing installed.
async fn refused(stack: &Stack, output: &Output, exit: i32, words: &[&str]) -> Result {
    let printed = complained(output);
    ensure!(
        output.status.code() == Some(exit),
        "{:?} instead of {exit}: {printed}",
        output.status
    );
    for word in words {
        ensure!(printed.contains(word), "no {word:?} in: {printed}");
    }
    ensure!(printed.trim().lines().count() == 1, "{printed}");
    let connectors = stack.api.get("/v1/connectors").await?.expect(200)?;
    ensure!(connectors["data"] == json!([]), "{connectors:#}");
    Ok(())
}

async fn registry(folder: &Path) -> Result<OciRegistry> {
    OciRegistry::start(&folder.join("registry"), false).await
}

#[tokio::test]
async fn a_component_comes_from_a_registry_by_its_tag_or_its_digest() -> Result {
    let folder = tempfile::tempdir()?;
    let registry = registry(folder.path()).await?;
    let stack = host(folder.path(), "").await?;
    let component = stack.binaries().connector("echo")?;
    let pushed = registry.push("acme/echo", "0.1.0", &component, &json!({})).await?;
    let by_tag = format!("oci://{}/acme/echo:0.1.0", registry.host());
    let staged = install(&stack, &by_tag).await?;
    ensure!(
        staged["name"] == "echo" && staged["digest"] == digest(&component),
        "{staged:#}"
    );
    ensure!(staged["signature"]["status"] == "unsigned", "{staged:#}");
    ensure!(staged["source"] == by_tag, "{staged:#}");
    // The same again, since a digest means one thing only.
    let by_digest = format!("oci://{}/acme/echo@{pushed}", registry.host());
    ensure!(install(&stack, &by_digest).await?["digest"] == digest(&component));
    let looked = weir(&stack, &["connector", "inspect", &by_digest, "--json"]).await?;
    ensure!(documents(&looked)?[0]["digest"] == digest(&component));
    // To one that serves, in one step.
    let output = weir(&stack, &["connector", "install", &by_tag, "--promote"]).await?;
    ensure!(output.status.success(), "{}", complained(&output));
    let echo = stack.api.get("/v1/connectors/echo").await?.expect(200)?;
    ensure!(echo["active_version"] == staged["version"], "{echo:#}");
    Ok(())
}

#[tokio::test]
async fn adjacent_signature_is_installed() -> Result {
    let folder = tempfile::tempdir()?;
    let registry = registry(folder.path()).await?;
    let stack = host(folder.path(), &format!("[trusted_keys]\nrelease = '{}'\n", public())).await?;
    let component = stack.binaries().connector("echo")?;
    let (unsigned, signature) = (component.clone(), sign(&component));
    let site = {
        let (component, signature) = (component.clone(), signature.clone());
        Site::start(move |path, _| match path {
            "/echo.wasm" => Page::of(component.clone()),
            "/echo.wasm.minisig" => Page::of(signature.clone()),
            // Release pages often redirect to another URL.
            "/latest" => Page::status(302).with("location", "/echo.wasm"),
            "/unsigned.wasm" => Page::of(unsigned.clone()),
            _ => Page::status(404),
        })
        .await?
    };
    registry.push("echo", "unsigned", &component, &json!({})).await?;
    let signed = json!({ "weir.minisig": signature });
    registry.push("echo", "signed", &component, &signed).await?;
    let forged = json!({ "weir.minisig": sign(b"something else") });
    registry.push("echo", "forged", &component, &forged).await?;
    let (registry, site) = (registry.host(), site.host());
    for source in [
        format!("oci://{registry}/echo:unsigned"),
        format!("oci://{registry}/echo:forged"),
        format!("http://{site}/unsigned.wasm"),
        format!("http://{site}/latest"),
    ] {
        let output = weir(&stack, &["connector", "install", &source]).await?;
        refused(&stack, &output, 3, &["sign"]).await.context(source)?;
    }
    let trusted = json!({ "status": "trusted", "key": "release" });
    for source in [
        format!("oci://{registry}/echo:signed"),
        format!("http://{site}/echo.wasm"),
    ] {
        let staged = install(&stack, &source).await?;
        ensure!(staged["signature"] == trusted, "{source}: {staged:#}");
    }
    // And from a separate file, for a component without one next to it.
    let file = folder.path().join("echo.minisig");
    std::fs::write(&file, &signature)?;
    let file = file.to_str().context("a folder with an odd name")?;
    let source = format!("http://{site}/latest");
    let output = weir(
        &stack,
        &["connector", "install", &source, "--signature", file, "--json"],
    )
    .await?;
    ensure!(documents(&output)?[0]["signature"] == trusted);
    Ok(())
}

#[tokio::test]
async fn missing_component_is_refused_in_one_line() -> Result {
    let folder = tempfile::tempdir()?;
    let registry = registry(folder.path()).await?;
    let stack = host(folder.path(), "").await?;
    let component = stack.binaries().connector("echo")?;
    registry.push("echo", "0.1.0", &component, &json!({})).await?;
    let of = manifest(&component, &json!({}));
    let with = |pointer: &str, value: Value| {
        let mut manifest = of.clone();
        if let Some(member) = manifest.pointer_mut(pointer) {
            *member = value;
        }
        manifest
    };
    let image = "application/vnd.oci.image.config.v1+json";
    registry
        .push_manifest("echo", "image", &with("/config/mediaType", json!(image)))
        .await?;
    let layer = &of["layers"][0];
    registry
        .push_manifest("echo", "two", &with("/layers", json!([layer, layer])))
        .await?;
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
    });
    registry.push_manifest("echo", "index", &index).await?;
    let host = registry.host();
    let none = format!("sha256:{}", "0".repeat(64));
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    // A server of plain http, which answers at once.
    let plain = stack.api.origin().trim_start_matches("http://");
    for (source, exit, words) in [
        (
            format!("oci://{host}/echo:9.9"),
            1,
            vec!["echo:9.9 was not found", "--available"],
        ),
        (
            format!("oci://{host}/other:0.1.0"),
            1,
            vec!["other:0.1.0 was not found"],
        ),
        (format!("oci://{host}/echo@{none}"), 1, vec!["was not found"]),
        (format!("oci://{host}/echo:image"), 3, vec![image, "wkg oci push"]),
        (format!("oci://{host}/echo:two"), 3, vec!["has 2 layers"]),
        (format!("oci://{host}/echo:index"), 3, vec!["index", "digest"]),
        (format!("oci://{free}/echo:0.1.0"), 4, vec!["not reachable"]),
        (
            format!("https://{plain}/echo.wasm"),
            4,
            vec!["does not support TLS", "--plain-http"],
        ),
    ] {
        let output = weir(&stack, &["connector", "install", &source]).await?;
        refused(&stack, &output, exit, &words).await.context(source)?;
    }
    // An invalid source is a usage error.
    for source in [
        "oci://ghcr.io/acme/echo",
        "ftp://files.example/echo.wasm",
        "http://files.example/echo.wasm",
    ] {
        let output = weir(&stack, &["connector", "install", source]).await?;
        ensure!(output.status.code() == Some(2), "{source}: {}", complained(&output));
    }
    Ok(())
}

/// A registry that holds `component`, and answers what it likes.
async fn dishonest(component: Vec<u8>, answer: impl Fn(&str, Page) -> Page + Send + Sync + 'static) -> Result<Site> {
    let document = manifest(&component, &json!({})).to_string();
    Site::start(move |path, _| {
        let honest = match path {
            "/v2/echo/manifests/1" => Page::of(document.clone()),
            _ if path == format!("/v2/echo/blobs/{}", digest(&component)) => Page::of(component.clone()),
            _ => Page::status(404),
        };
        answer(path, honest)
    })
    .await
}

#[tokio::test]
async fn bytes_that_are_not_what_was_named_are_not_taken() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = host(folder.path(), "").await?;
    let component = stack.binaries().connector("echo")?;
    let altered = dishonest(component.clone(), |path, mut page| {
        if path.contains("/blobs/")
            && let Some(last) = page.body.last_mut()
        {
            *last ^= 1;
        }
        page
    });
    let longer = dishonest(component.clone(), |path, mut page| {
        if path.contains("/blobs/") {
            page.body.push(0);
        }
        page
    });
    let another = dishonest(component.clone(), |path, page| match path {
        "/v2/echo/manifests/1" => page.with("docker-content-digest", digest(b"another manifest")),
        _ => page,
    });
    let huge = dishonest(component.clone(), |path, page| match path {
        "/v2/echo/manifests/1" => {
            let text = String::from_utf8_lossy(&page.body).into_owned();
            let mut manifest: Value = serde_json::from_str(&text).expect("our own manifest");
            manifest["layers"][0]["size"] = json!(17 << 20);
            Page::of(manifest.to_string())
        }
        _ => page,
    });
    let endless = dishonest(component, |path, page| match path {
        "/v2/echo/manifests/1" => Page::of(vec![b' '; 2 << 20]),
        _ => page,
    });
    for (site, words) in [
        (altered.await?, vec!["digest mismatch", "its manifest says sha256:"]),
        (longer.await?, vec!["larger than"]),
        (
            another.await?,
            vec!["digest mismatch", "as the manifest of", "instead of"],
        ),
        (huge.await?, vec!["17825792 bytes", "16777216"]),
        (endless.await?, vec!["larger than", "1048576"]),
    ] {
        let source = format!("oci://{}/echo:1", site.host());
        let output = weir(&stack, &["connector", "install", &source]).await?;
        refused(&stack, &output, 3, &words).await?;
    }
    // The operator's digest is compared with the downloaded bytes, whatever digest the registry reports.
    let other = format!("sha256:{}", "0".repeat(64));
    let site = Site::start(|_, _| Page::of("{}")).await?;
    let source = format!("oci://{}/echo@{other}", site.host());
    let output = weir(&stack, &["connector", "install", &source]).await?;
    refused(&stack, &output, 3, &["digest mismatch", &other]).await?;
    // A URL has no manifest that states the size.
    let site = Site::start(|_, _| Page::of(vec![0; (16 << 20) + 1])).await?;
    let source = format!("http://{}/echo.wasm", site.host());
    let output = weir(&stack, &["connector", "install", &source]).await?;
    refused(&stack, &output, 3, &["larger than", "16777216"]).await?;
    Ok(())
}

/// A host, and a registry that wants a login and holds this component as `echo:1`.
async fn private_registry(folder: &Path) -> anyhow::Result<(Stack, OciRegistry, Vec<u8>)> {
    let registry = OciRegistry::start(&folder.join("registry"), true).await?;
    let stack = host(folder, "").await?;
    let component = stack.binaries().connector("echo")?;
    registry.push("echo", "1", &component, &json!({})).await?;
    Ok((stack, registry, component))
}

#[tokio::test]
async fn registry_credentials_go_only_to_registry() -> Result {
    let folder = tempfile::tempdir()?;
    let (stack, registry, component) = private_registry(folder.path()).await?;
    let source = format!("oci://{}/echo:1", registry.host());
    let install = ["connector", "install", source.as_str(), "--json"];
    let output = weir(&stack, &install).await?;
    refused(&stack, &output, 1, &["WEIR_REGISTRY_USER", "WEIR_REGISTRY_PASSWORD"]).await?;
    let login = |password| [("WEIR_REGISTRY_USER", LOGIN.0), ("WEIR_REGISTRY_PASSWORD", password)];
    let output = weir_with(&stack, &login("guessed"), &install).await?;
    refused(&stack, &output, 1, &["rejected the credentials of \"jane\""]).await?;
    let output = weir_with(&stack, &login(LOGIN.1), &install).await?;
    ensure!(documents(&output)?[0]["digest"] == digest(&component));
    Ok(())
}

#[tokio::test]
async fn docker_logins_are_used() -> Result {
    let folder = tempfile::tempdir()?;
    let (stack, registry, component) = private_registry(folder.path()).await?;
    let source = format!("oci://{}/echo:1", registry.host());
    let install = ["connector", "install", source.as_str(), "--json"];
    let helper = |name: &str, script: &str| -> Result {
        let path = folder.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        Ok(std::fs::set_permissions(&path, Permissions::from_mode(0o700))?)
    };
    let answer = json!({ "ServerURL": registry.host(), "Username": LOGIN.0, "Secret": LOGIN.1 });
    helper(
        "vault",
        &format!("[ \"$(cat)\" = {} ] && echo '{answer}'", registry.host()),
    )?;
    // Like every credential helper, they read the registry's name before they answer.
    helper("locked", "cat > /dev/null; echo the vault is locked >&2; exit 1")?;
    helper(
        "empty",
        "cat > /dev/null; echo credentials not found in native keychain; exit 1",
    )?;
    let path = std::env::var("PATH")?;
    let path = format!("{}:{path}", folder.path().display());
    let docker = folder.path().to_str().context("a folder with an odd name")?;
    let with = async |config: Value, more: &[(&str, &str)]| -> Result<Output> {
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        let variables = [&[("DOCKER_CONFIG", docker), ("PATH", path.as_str())], more].concat();
        weir_with(&stack, &variables, &install).await
    };
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1));
    let stored = json!({ "auths": { registry.host(): { "auth": auth } } });
    for (config, words) in [
        (
            json!({ "credsStore": "locked" }),
            "docker-credential-locked: the vault is locked",
        ),
        (json!({ "credsStore": "none-such" }), "cannot be run"),
        (json!({ "credsStore": "empty" }), "docker login"),
        (
            json!({ "auths": { "other.example": { "auth": auth } } }),
            "docker login",
        ),
    ] {
        refused(&stack, &with(config, &[]).await?, 1, &[words, "WEIR_REGISTRY_USER"]).await?;
    }
    // Credentials in the environment take precedence over stored ones.
    let guessed = [("WEIR_REGISTRY_USER", LOGIN.0), ("WEIR_REGISTRY_PASSWORD", "guessed")];
    let output = with(stored.clone(), &guessed).await?;
    refused(&stack, &output, 1, &["rejected the credentials"]).await?;
    for config in [stored, json!({ "credHelpers": { registry.host(): "vault" } })] {
        let output = with(config, &[]).await?;
        ensure!(documents(&output)?[0]["digest"] == digest(&component));
    }
    Ok(())
}

#[tokio::test]
async fn registry_token_is_scoped_to_repository() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = host(folder.path(), "").await?;
    let component = stack.binaries().connector("echo")?;
    let document = manifest(&component, &json!({})).to_string();
    let blob = format!("/v2/acme/echo/blobs/{}", digest(&component));
    // Large registries keep blobs elsewhere, and send there.
    let files = {
        let component = component.clone();
        Site::start(move |_, _| Page::of(component.clone())).await?
    };
    let elsewhere = format!("http://{}/signed-for-one-reader", files.host());
    let site = Site::start(move |path, request| {
        let host = request.header("host").unwrap_or_default();
        if let Some(query) = path.strip_prefix("/token?") {
            let is_scoped = query == "service=weir+tests&scope=repository%3Aacme%2Fecho%3Apull";
            let page = json!({ "token": "let-me-in" }).to_string();
            return if is_scoped { Page::of(page) } else { Page::status(400) };
        }
        if request
            .header("authorization")
            .is_ok_and(|proof| proof == "Bearer let-me-in")
        {
            return match path {
                "/v2/acme/echo/manifests/1" => Page::of(document.clone()),
                _ if path == blob => Page::status(307).with("location", elsewhere.clone()),
                _ => Page::status(404),
            };
        }
        let scope = "repository:acme/echo:pull,push repository:acme/private:pull";
        let realm = format!("Bearer realm=\"http://{host}/token\",service=\"weir tests\",scope=\"{scope}\"");
        Page::status(401).with("www-authenticate", realm)
    })
    .await?;
    let staged = install(&stack, &format!("oci://{}/acme/echo:1", site.host())).await?;
    ensure!(staged["digest"] == digest(&component), "{staged:#}");
    let token_requests: Vec<_> = site
        .requests()
        .iter()
        .map(|token_requests| token_requests.head.clone())
        .collect();
    let tokens = token_requests
        .iter()
        .filter(|head| head.starts_with("GET /token"))
        .count();
    ensure!(tokens == 1, "a token is asked for once: {token_requests:#?}");
    let fetched = files.requests();
    ensure!(fetched.len() == 1, "{fetched:?}");
    ensure!(fetched[0].header("authorization").is_err(), "{:?}", fetched[0].head);
    Ok(())
}

#[tokio::test]
async fn a_registry_leads_nowhere_that_the_operator_did_not_name() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = host(folder.path(), "").await?;
    let inside = Site::start(|_, _| Page::of("an answer of the machine's own")).await?;
    // By another name for this machine than the one that was given.
    let inside = inside.host().replace("127.0.0.1", "127.0.0.2");
    for location in [
        format!("http://{inside}/"),
        format!("https://{inside}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let site = {
            let location = location.clone();
            Site::start(move |_, _| Page::status(302).with("location", location.clone())).await?
        };
        for source in [
            format!("oci://{}/echo:1", site.host()),
            format!("http://{}/echo.wasm", site.host()),
        ] {
            let output = weir(&stack, &["connector", "install", &source]).await?;
            refused(&stack, &output, 3, &[])
                .await
                .with_context(|| format!("{source} to {location}"))?;
        }
    }
    let site = Site::start(|_, _| Page::status(302).with("location", "/again")).await?;
    let source = format!("http://{}/echo.wasm", site.host());
    let output = weir(&stack, &["connector", "install", &source]).await?;
    refused(&stack, &output, 1, &["redirects more than"]).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_repository_has_is_held_against_what_is_installed() -> Result {
    let folder = tempfile::tempdir()?;
    let registry = registry(folder.path()).await?;
    let stack = host(folder.path(), "").await?;
    let component = stack.binaries().connector("echo")?;
    let repository = format!("oci://{}/acme/echo", registry.host());
    let available = ["connector", "list", "--available", repository.as_str(), "--json"];
    let output = weir(&stack, &["connector", "list", "--available"]).await?;
    refused(
        &stack,
        &output,
        2,
        &["no version was installed from a registry", "oci://HOST"],
    )
    .await?;
    let output = weir(&stack, &available).await?;
    refused(&stack, &output, 1, &["was not found"]).await?;
    registry.push("acme/echo", "edge", &component, &json!({})).await?;
    registry
        .push("acme/echo", "v99.0.0", b"a newer one", &json!({}))
        .await?;
    registry.push("acme/echo", "0.0.1", b"an older one", &json!({})).await?;
    let listing = async || -> Result<Vec<(String, String)>> {
        let rows = documents(&weir(&stack, &available).await?)?;
        rows.iter()
            .map(|row| Ok((text_of(&row["tag"])?, text_of(&row["is"])?)))
            .collect()
    };
    let expected = |all: [(&str, &str); 3]| all.map(|(tag, is)| (tag.to_owned(), is.to_owned()));
    let not = "not installed";
    ensure!(listing().await? == expected([("v99.0.0", not), ("0.0.1", not), ("edge", not)]));
    let promote = ["connector", "install", &format!("{repository}:edge"), "--promote"];
    let output = weir(&stack, &promote).await?;
    ensure!(output.status.success(), "{}", complained(&output));
    let rows = listing().await?;
    ensure!(
        rows == expected([("v99.0.0", "newer"), ("0.0.1", "older"), ("edge", "serves")]),
        "{rows:?}"
    );
    Ok(())
}
