//! Every input gets a response: arbitrary bytes at each interface, and the API under a fuzzer that generates requests
//! from its description.
//!
//! `cargo-fuzz` requires a nightly compiler, which this repository does not use; proptest generates the same inputs,
//! bounded in number so that a run takes seconds. `WEIR_FUZZ_CASES` raises the number.

mod support;

use std::process::Stdio;

use anyhow::{Context, ensure};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use support::{Connected, libraries};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_tests::{Options, PATIENCE, Stack};

type Result<T = ()> = anyhow::Result<T>;

/// The default number of cases of each kind of input.
const CASES: u32 = 64;

fn cases() -> u32 {
    let case_count = std::env::var("WEIR_FUZZ_CASES").ok();
    case_count.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// So many values from a fixed seed, so that a failure is reproducible.
fn made<S: Strategy>(strategy: &S) -> Result<Vec<S::Value>> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    (0..cases())
        .map(|_| {
            let tree = strategy.new_tree(&mut runner);
            Ok(tree.map_err(|error| anyhow::anyhow!("no input: {error}"))?.current())
        })
        .collect()
}

/// Arbitrary bytes, and bytes that resemble valid input.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..512), ".{0,256}".prop_map(String::into_bytes)]
}

/// JSON that is no more than JSON.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,32}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((member(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A name that a platform uses, or any.
fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        "(event|content|create_time|user_openid|client_key|message_id|conversation_id|from|to|type|text|body|timestamp)",
        ".{0,12}",
    ]
}

/// The input of the connector's parser: signed, so that the parser is reached.
#[tokio::test]
async fn whatever_a_platform_says_is_answered_and_kept() -> Result {
    let weir = Connected::begin().await?;
    let real = weir.text_webhook("c-fuzz", "m-fuzz", "hello").await?;
    let mut bodies: Vec<String> = made(&json())?.iter().map(Value::to_string).collect();
    // A true one with something else inside, which gets further in.
    for inner in made(&json())? {
        let mut body: Value = serde_json::from_str(&real)?;
        body["content"] = Value::String(inner.to_string());
        bodies.push(body.to_string());
    }
    // And a true one with a byte changed.
    for (at, byte) in made(&(any::<prop::sample::Index>(), any::<u8>()))? {
        let mut body = real.clone().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        bodies.extend(String::from_utf8(body).ok());
    }
    for body in bodies {
        let status = weir.webhook(&body, 0).await?;
        ensure!(status == 200, "{status} for {body}");
    }
    weir.stack.api.get("/readyz").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn invalid_install_is_refused_with_reason() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let real = stack.binaries().connector("echo")?;
    let head = b"\0asm\x0d\0\x01\0".to_vec();
    let mut offered: Vec<Vec<u8>> = made(&bytes())?;
    offered.extend(made(&bytes())?.into_iter().map(|rest| [head.clone(), rest].concat()));
    // A true one, cut off or with a few bytes changed.
    for (at, byte) in made(&(any::<prop::sample::Index>(), any::<u8>()))? {
        let at = at.index(real.len());
        offered.push(real[..at].to_vec());
        // Its structure is at the beginning; the rest is only code.
        let mut changed = real.clone();
        changed[at % 4_096] = byte;
        offered.push(changed);
    }
    for component in offered {
        let request = stack.api.request(reqwest::Method::POST, "/v1/connectors");
        let request = request.header("content-type", "application/wasm").body(component);
        let answer = stack.api.send(request).await?;
        // The true one is among them where a byte was changed into itself, or into what means the same.
        if answer.status != 201 {
            let code = answer.body["code"].as_str().unwrap_or_default();
            ensure!(
                matches!(code, "component_refused" | "version_taken"),
                "{} {:#}",
                answer.status,
                answer.body
            );
        }
    }
    Ok(())
}

/// The accept loop gets bytes, not requests.
#[tokio::test]
async fn arbitrary_bytes_do_no_harm() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let address = stack.api.origin().trim_start_matches("http://").to_owned();
    let spoken = prop_oneof![
        bytes(),
        bytes().prop_map(|rest| [b"GET /v1/channels HTTP/1.1\r\n".to_vec(), rest, b"\r\n\r\n".to_vec()].concat()),
        bytes().prop_map(|rest| [
            b"POST /hooks/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            rest
        ]
        .concat()),
    ];
    for chunk in made(&spoken)? {
        let mut stream = tokio::net::TcpStream::connect(&address).await?;
        // The host may hang up at the first wrong byte.
        let _ = stream.write_all(&chunk).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.context("the host holds the connection open")?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    stack.api.get("/readyz").await?.expect(200)?;
    Ok(())
}

/// Requests for every operation, generated from its description: valid, invalid and almost valid.
const EXAMPLES: &str = "4";

#[tokio::test]
async fn the_api_under_a_fuzzer_never_fails_and_says_no_in_problems() -> Result {
    let weir = Connected::begin().await?;
    let folder = tempfile::tempdir()?;
    let hooks = folder.path().join("problems.py");
    std::fs::write(&hooks, PROBLEMS)?;
    let mut command = tokio::process::Command::new(libraries().await?.join("bin/schemathesis"));
    command
        .arg("run")
        .arg(format!("{}/v1/openapi.json", weir.stack.api.origin()))
        .args(["--header", &format!("Authorization: Bearer {}", weir.stack.api.key())])
        .args([
            "--checks",
            "not_a_server_error,problems",
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .args([
            "--max-examples",
            &std::env::var("WEIR_FUZZ_CASES").unwrap_or(EXAMPLES.to_owned()),
        ])
        .args([
            "--seed",
            "1",
            "--no-shrink",
            "--workers",
            "1",
            "--suppress-health-check",
            "all",
        ])
        // One at a time: Python 3.11 loses count of its own recursion when two threads parse.
        // A stream has no end; it is tested where it is read.
        .args([
            "--exclude-path",
            "/v1/events/stream",
            "--request-timeout",
            "20",
            "--warnings",
            "off",
        ])
        .env("SCHEMATHESIS_HOOKS", &hooks)
        .env("NO_COLOR", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let output = command.output().await?;
    let chunk = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{chunk}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(chunk.contains("No issues found"), "it tested nothing: {chunk}");
    weir.stack.api.get("/readyz").await?.expect(200)?;
    Ok(())
}

/// Every no is a problem document (RFC 9457), but for the two platform-facing doors that answer in plain text or pages.
const PROBLEMS: &str = r#"
import schemathesis

# A component is bytes.
schemathesis.serializer.alias("application/wasm", "application/octet-stream")

@schemathesis.check
def problems(ctx, response, case):
    if response.status_code < 400:
        return
    kind = response.headers.get("content-type", [""])[0]
    if case.path.startswith(("/oauth", "/connect")) and kind.startswith("text/html"):
        return
    assert kind == "application/problem+json", f"{response.status_code} with {kind}"
    problem = response.json()
    for member in ("type", "title", "status", "detail", "code", "request_id", "fault", "retryable"):
        assert member in problem, f"the problem has no {member}"
    assert problem["status"] == response.status_code
"#;
