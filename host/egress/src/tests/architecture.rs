//! No other crate opens a connection.

use std::fs;
use std::path::{Path, PathBuf};

/// The calls by which a Rust program opens a connection or resolves a name. A listener's accept is not among them.
const OPENS: &[&str] = &[
    "reqwest",
    "ureq",
    "TcpStream::connect",
    "TcpSocket",
    "UdpSocket",
    "lookup_host",
    "ToSocketAddrs",
    "to_socket_addrs",
    "hyper::client",
    "hyper_util::client",
    "hyper_rustls",
];

/// Crates that do it for others, as a manifest names them.
const CLIENTS: &[&str] = &["reqwest", "ureq", "hyper-rustls", "client-legacy"];

/// Every source and manifest below `folder`; tests may open what they like.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            files(&path, found);
        } else if name == "Cargo.toml" || (name.ends_with(".rs") && name != "tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_this_crate_opens_connections() {
    let egress = Path::new(env!("CARGO_MANIFEST_DIR"));
    let host = egress.parent().expect("the host's folder");
    let mut found = Vec::new();
    files(host, &mut found);
    for room in [
        "domain/src/lib.rs",
        "store/src/lib.rs",
        "runtime/src/lib.rs",
        "server/src/lib.rs",
    ] {
        assert!(found.contains(&host.join(room)), "the walk finds {room}");
    }
    let mut opens = Vec::new();
    for file in found.iter().filter(|file| !file.starts_with(egress)) {
        let text = fs::read_to_string(file).expect("a file");
        let words = if file.ends_with("Cargo.toml") { CLIENTS } else { OPENS };
        // What tests depend on does not ship.
        let text = text.split("[dev-dependencies]").next().unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                opens.push(format!("{}:{}: {word}", file.display(), number + 1));
            }
        }
    }
    assert!(
        opens.is_empty(),
        "connections are opened in host/egress only:\n{}",
        opens.join("\n")
    );
}
