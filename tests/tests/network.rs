//! A hostile network has no effect: neither by replay, nor by size, nor by slowness, nor by a forged host name.

mod support;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, ensure};
use serde_json::json;
use support::{Connected, SECRET, signature, text_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{APP, HOUR_MS, PATIENCE, Stack};

type Result = anyhow::Result<()>;

/// Connections that start a request and then send nothing.
const HALF_OPEN: usize = 300;

async fn dial(stack: &Stack) -> anyhow::Result<TcpStream> {
    let address = stack.api.origin().trim_start_matches("http://").to_owned();
    Ok(TcpStream::connect(address).await?)
}

/// All bytes that arrive until the peer closes the connection.
async fn to_the_end(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut text = Vec::new();
    // A reset is an end too: the host need not read what it refuses.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    let _ = read.context("the host holds the connection open")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn redelivered_webhook_changes_nothing() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let known = weir
        .stack
        .api
        .get(&format!("/v1/conversations/{thread}"))
        .await?
        .expect(200)?;
    let body = weir
        .text_webhook(&text_of(&known["platform_id"])?, "replayed", "once")
        .await?;
    let at = weir.now().await? / 1000;
    let proof = signature(SECRET, at, &body);
    ensure!(weir.post_webhook(&body, &proof).await? == 200);
    weir.stack.stop_weir().await?;
    weir.stack.start_weir().await?;
    ensure!(
        weir.post_webhook(&body, &proof).await? == 200,
        "the platform repeats what it is not sure of"
    );
    weir.stack.time_passes(HOUR_MS).await?;
    ensure!(
        weir.post_webhook(&body, &proof).await? == 401,
        "an hour later it is no proof"
    );
    let logged: Vec<_> = weir
        .messages(&thread)
        .await?
        .into_iter()
        .filter(|message| message["content"]["text"] == "once")
        .collect();
    ensure!(logged.len() == 1, "{logged:#?}");
    Ok(())
}

#[tokio::test]
async fn rotation_accepts_both_secrets_meanwhile() -> Result {
    const NEW: &str = "another-client-secret";
    let weir = Connected::begin().await?;
    let rotate = json!({ "secrets": { "client_secret": NEW }, "overlap_s": 2 * 3_600 });
    let app = weir
        .stack
        .api
        .post(&format!("/v1/apps/{APP}/secrets/rotate"), rotate)
        .await?
        .expect(200)?;
    ensure!(app["rotating"] == json!(["client_secret"]), "{app:#}");
    ensure!(!app.to_string().contains(NEW) && !app.to_string().contains(SECRET));
    let proved = async |secret: &str, id: &str| -> anyhow::Result<u16> {
        let body = weir.text_webhook("c-rotation", id, "hello").await?;
        let at = weir.now().await? / 1000;
        weir.post_webhook(&body, &signature(secret, at, &body)).await
    };
    ensure!(proved(SECRET, "old").await? == 200);
    ensure!(proved(NEW, "new").await? == 200);
    ensure!(proved("neither", "forged").await? == 401);
    weir.stack.time_passes(2 * HOUR_MS).await?;
    ensure!(proved(SECRET, "too late").await? == 401);
    ensure!(proved(NEW, "in time").await? == 200);
    let app = weir.stack.api.get(&format!("/v1/apps/{APP}")).await?.expect(200)?;
    ensure!(
        app["rotating"] == json!([]) && app["old_secrets_until"].is_null(),
        "{app:#}"
    );
    let log = weir.stack.api.get("/v1/audit-log").await?.expect(200)?.to_string();
    ensure!(log.contains("app.rotate_secrets") && !log.contains(NEW), "{log}");
    Ok(())
}

#[tokio::test]
async fn half_open_connections_end_and_others_are_served_meanwhile() -> Result {
    let weir = Connected::begin().await?;
    let mut open = Vec::new();
    for n in 0..HALF_OPEN {
        let mut stream = dial(&weir.stack).await?;
        // Some send nothing, some a part of a head.
        if n % 2 == 1 {
            let part = b"POST /hooks/tiktok HTTP/1.1\r\nHost: weir\r\nX-Slow: ";
            stream.write_all(part).await?;
        }
        open.push(stream);
    }
    for n in 0..50 {
        let body = weir.text_webhook("c-busy", &format!("m{n}"), "hello").await?;
        ensure!(weir.webhook(&body, 0).await? == 200);
    }
    for mut stream in open {
        let response = to_the_end(&mut stream).await?;
        ensure!(response.is_empty() || response.starts_with("HTTP/1.1 4"), "{response}");
    }
    Ok(())
}

#[tokio::test]
async fn a_head_or_a_body_without_end_is_cut_off() -> Result {
    let weir = Connected::begin().await?;
    // A head: header after header.
    let mut stream = dial(&weir.stack).await?;
    let mut head = Vec::new();
    head.extend_from_slice(b"POST /hooks/tiktok HTTP/1.1\r\nHost: weir\r\n");
    for n in 0..10_000 {
        write!(head, "X-Header-{n}: {n}\r\n")?;
    }
    // The host may hang up before all of it is out.
    let _ = stream.write_all(&head).await;
    let response = to_the_end(&mut stream).await?;
    ensure!(
        response.is_empty() || response.starts_with("HTTP/1.1 431") || response.starts_with("HTTP/1.1 400"),
        "{response}"
    );
    // A chunked body without a length: not read without a signature, and only up to the limit with one.
    let health = weir.stack.api.get("/healthz").await?.expect(200)?;
    let now = health["now_ms"].as_i64().context("/healthz has no now_ms")? / 1_000;
    let signed = format!("TikTok-Signature: t={now},s={}\r\n", "0".repeat(64));
    for (signature, status) in [("", "401"), (signed.as_str(), "413")] {
        let mut stream = dial(&weir.stack).await?;
        let head =
            format!("POST /hooks/tiktok HTTP/1.1\r\nHost: weir\r\nTransfer-Encoding: chunked\r\n{signature}\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut chunk = format!("{:x}\r\n", 1 << 16).into_bytes();
        chunk.extend(vec![b' '; 1 << 16]);
        chunk.extend_from_slice(b"\r\n");
        for _ in 0..64 {
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let response = to_the_end(&mut stream).await?;
        ensure!(
            response.is_empty() || response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
    }
    // Compressed: the signature is checked over the compressed bytes, and so does not match.
    let url = format!("{}/hooks/{APP}", weir.stack.api.origin());
    let request = weir.stack.client().post(url).header("content-encoding", "gzip");
    let answer = request.body(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).send().await?;
    ensure!(answer.status() == 401, "{}", answer.status());
    Ok(())
}

#[tokio::test]
async fn no_link_is_made_of_what_the_request_says_its_host_is() -> Result {
    let weir = Connected::begin().await?;
    for (method, path, body) in [
        (reqwest::Method::POST, "/v1/connect-sessions", json!({ "app": APP })),
        (reqwest::Method::GET, "/v1/apps/tiktok", json!({})),
    ] {
        let request = weir
            .stack
            .api
            .request(method, path)
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example;proto=https")
            .json(&body);
        let answer = weir.stack.api.send(request).await?;
        ensure!(answer.status < 300, "{path}: {:#}", answer.body);
        ensure!(
            !answer.body.to_string().contains("evil.example"),
            "{path}: {:#}",
            answer.body
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_first_key_is_for_its_owner_alone() -> Result {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let binaries = weir_tests::Binaries::find()?;
    let mut command = binaries.command("weir");
    command
        .arg("serve")
        .env("WEIR_LISTEN", "127.0.0.1:0")
        .env("WEIR_DATA", &data);
    std::fs::create_dir_all(&data)?;
    let weir = weir_tests::Program::start("weir", &mut command, &folder.path().join("weir.log")).await?;
    for (file, mode) in [("admin.key", 0o600), ("master.key", 0o600)] {
        let found = std::fs::metadata(data.join(file))?.permissions().mode() & 0o777;
        ensure!(found == mode, "{file} has {found:o}");
    }
    weir.kill().await?;
    let log = std::fs::read_to_string(folder.path().join("weir.log"))?;
    for file in ["admin.key", "master.key"] {
        let key = std::fs::read_to_string(data.join(file))?;
        ensure!(
            key.trim().len() >= 32 && !log.contains(key.trim()),
            "{file} is in the log"
        );
    }
    Ok(())
}
