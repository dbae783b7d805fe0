//! Architecture rules, checked automatically: crates and what they may use, and the store's methods.

mod imports;
mod pages;
mod terms;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

type Result = anyhow::Result<()>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Every dependency of a crate, direct or not, as cargo resolves them for the machine this runs on.
fn dependencies(package: &str) -> anyhow::Result<Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = [
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--locked",
    ];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

fn never(package: &str, forbidden: &[&str]) -> Result {
    let found = dependencies(package)?;
    assert!(found.len() > 1, "cargo shows no dependencies of {package}");
    for name in forbidden {
        assert!(
            !found.iter().any(|dependency| dependency == name),
            "{package} must not depend on {name}"
        );
    }
    Ok(())
}

#[test]
fn the_domain_can_do_no_io() -> Result {
    never(
        "weir-domain",
        &[
            "tokio",
            "mio",
            "reqwest",
            "hyper",
            "rusqlite",
            "wasmtime",
            "axum",
            "socket2",
            "async-trait",
        ],
    )
}

#[test]
fn each_heavy_dependency_has_one_owner() -> Result {
    never(
        "weir-store",
        &["wasmtime", "axum", "weir-runtime", "weir-egress", "reqwest"],
    )?;
    never(
        "weir-egress",
        &["wasmtime", "axum", "rusqlite", "weir-store", "weir-runtime"],
    )?;
    never("weir-runtime", &["axum", "rusqlite", "weir-store", "reqwest"])
}

#[test]
fn server_names_no_engine_crates() -> Result {
    let manifest = std::fs::read_to_string(root().join("host/server/Cargo.toml"))?;
    let normal = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for name in ["wasmtime", "rusqlite", "reqwest"] {
        assert!(
            !normal.lines().any(|line| line.starts_with(name)),
            "host/server names {name}"
        );
    }
    Ok(())
}

#[test]
fn no_connector_names_a_host_crate() -> Result {
    for package in ["weir-sdk", "weir-echo", "weir-tiktok"] {
        never(
            package,
            &[
                "weir-domain",
                "weir-egress",
                "weir-store",
                "weir-runtime",
                "weir-server",
            ],
        )?;
    }
    Ok(())
}

#[test]
fn only_one_crate_of_the_host_opens_a_connection() -> Result {
    let mut files = Vec::new();
    sources(&root().join("host"), &mut files)?;
    let outside: Vec<_> = files
        .iter()
        .filter(|file| !file.starts_with(root().join("host/egress")))
        .collect();
    assert!(outside.len() > 40, "the host's sources were not found");
    for file in outside {
        let text = std::fs::read_to_string(file)?;
        for call in [
            "reqwest::",
            "TcpStream::connect",
            "lookup_host",
            "UdpSocket",
            "hyper::client",
            "client::legacy",
        ] {
            assert!(!text.contains(call), "{} uses {call}", file.display());
        }
    }
    Ok(())
}

#[test]
fn unsafe_code_is_one_line_argued_for_where_it_stands() -> Result {
    let mut files = Vec::new();
    sources(&root().join("host"), &mut files)?;
    sources(&root().join("plugins/tiktok"), &mut files)?;
    let holding = |file: &&PathBuf| {
        std::fs::read_to_string(file).is_ok_and(|text| {
            text.lines()
                .any(|line| line.contains("unsafe {") && !line.trim_start().starts_with("//"))
        })
    };
    let with_unsafe: Vec<_> = files.iter().filter(holding).collect();
    assert_eq!(with_unsafe.len(), 1, "{with_unsafe:?}");
    assert!(
        with_unsafe[0].starts_with(root().join("host/runtime")),
        "{with_unsafe:?}"
    );
    Ok(())
}

#[test]
fn our_connectors_import_nothing_but_what_the_interface_lends() -> Result {
    let binaries = weir_tests::Binaries::find()?;
    for name in ["tiktok", "echo"] {
        let bytes = binaries.connector(name)?;
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("weir:connector/http@0.2.0"), "{name} is no connector");
        assert!(!text.contains("wasi:"), "{name} imports something of WASI");
    }
    Ok(())
}

#[test]
fn no_text_from_outside_becomes_sql() -> Result {
    /// What statements are put together from: texts of ours, each written out where its name is bound; `names` and
    /// `values` are the columns of the first schema, which is a file of ours, and what fills them.
    const OURS: [&str; 10] = [
        "table",
        "row",
        "theirs",
        "event_rows",
        "named",
        "of",
        "whole",
        "names",
        "values",
        "columns",
    ];
    let mut files = Vec::new();
    sources(&root().join("host/store/src"), &mut files)?;
    files.retain(|file| !file.ends_with("tests.rs") && !file.components().any(|part| part.as_os_str() == "tests"));
    let mut statements = 0;
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let words = [
                "SELECT ",
                "INSERT ",
                "UPDATE ",
                "DELETE ",
                " WHERE ",
                "WHERE ",
                " AND {",
                " SET ",
                "ORDER BY ",
            ];
            let code = line.trim_start();
            if code.starts_with("//") || !words.iter().any(|word| line.contains(word)) {
                continue;
            }
            statements += 1;
            for (name, _) in line.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
                let is_constant =
                    |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                // A constant of another module is below the text.
                let stands_below = || {
                    let below = lines.iter().skip(at + 1).take(4);
                    below
                        .filter_map(|line| line.trim().rsplit("::").next())
                        .any(is_constant)
                };
                ensure!(
                    is_constant(name) || OURS.contains(&name) || (name.is_empty() && stands_below()),
                    "{} puts {{{name}}} into a statement: {line}",
                    file.display()
                );
            }
        }
    }
    ensure!(statements > 100, "only {statements} lines of SQL were found");
    Ok(())
}

#[test]
fn the_lock_file_is_whole() -> Result {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    assert!(
        metadata["packages"]
            .as_array()
            .is_some_and(|packages| packages.len() >= 11)
    );
    Ok(())
}

/// Methods of the store that take the id of a tenant's row and no workspace, and why.
const ACROSS_WORKSPACES: [(&str, &str); 22] = [
    ("channel_of_any", "asks whose it is"),
    ("media_of_any", "a signed link or a judged message has them"),
    ("connect_session_of_any", "its link is signed, its browser has a cookie"),
    ("keep_first_tokens", "the session was taken by its secret"),
    ("finish_connect_session", "the session was taken by its secret"),
    ("insert_session", "its key was proved"),
    ("answer_claim", "the claim has the workspace"),
    (
        "free_deliveries",
        "the node that frees them leased them, of all workspaces",
    ),
    (
        "free_messages",
        "the node that frees them leased them, of all workspaces",
    ),
    ("free_work", "the node that frees it leased it, of all workspaces"),
    ("take_work", "the channel was found, its work is the nodes'"),
    ("request_history", "the channel was found, its work is the nodes'"),
    ("enlist_polls", "polls of all workspaces"),
    ("put_media_part", "the caller created the id or has its row"),
    ("end_media_parts", "the caller created the id or has its row"),
    ("media_part", "its row was found"),
    ("media_bytes_size", "its row was found"),
    ("remove_media_bytes", "their rows are gone"),
    ("files_removed", "their rows are gone"),
    ("media_without_row", "files of which no row is known"),
    ("hold_state", "a version of a connector serves all workspaces"),
    ("give_state_back", "a version of a connector serves all workspaces"),
];

/// An id alone finds nothing: it could be another tenant's.
#[test]
fn the_store_finds_a_tenants_rows_by_their_workspace() -> Result {
    let ids = [
        "Channel",
        "ConnectSession",
        "Contact",
        "Conversation",
        "DeadLetter",
        "Delivery",
        "Endpoint",
        "Event",
        "Key",
        "Media",
        "Message",
        "Referral",
        "Refusal",
    ];
    let mut files = Vec::new();
    sources(&root().join("host/store/src/store"), &mut files)?;
    let mut across = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let methods = text.split("\nimpl<E: Engine>").next().unwrap_or_default();
        for method in methods.split(" fn ").skip(1) {
            let (name, rest) = method.split_once('(').context("a method has parameters")?;
            let parameters = rest.split(')').next().unwrap_or_default();
            let is_by_id = ids.iter().any(|id| parameters.contains(&format!("{id}Id")));
            if is_by_id && !parameters.contains("workspace: &str") {
                across.insert(name.to_owned());
            }
        }
    }
    let listed = ACROSS_WORKSPACES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(across, listed);
    Ok(())
}
