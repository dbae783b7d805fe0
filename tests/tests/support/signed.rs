//! Components signed in minisign's format, and a host with a configured list of trusted signers.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_compact::{KeyPair, Seed};
use weir_tests::{Options, Stack};

const ID: [u8; 8] = [7; 8];

fn keys() -> KeyPair {
    KeyPair::from_seed(Seed::new([7; 32]))
}

/// The public key, as minisign writes it.
pub(crate) fn public() -> String {
    STANDARD.encode([b"Ed", ID.as_slice(), keys().pk.as_slice()].concat())
}

/// A component's signature, as minisign writes it.
pub(crate) fn sign(component: &[u8]) -> String {
    let comment = "weir-tests";
    let signature = keys().sk.sign(component, None);
    let whole = keys()
        .sk
        .sign([signature.as_slice(), comment.as_bytes()].concat(), None);
    let line = STANDARD.encode([b"Ed", ID.as_slice(), signature.as_slice()].concat());
    format!(
        "untrusted comment: signature\n{line}\ntrusted comment: {comment}\n{}\n",
        STANDARD.encode(whole.as_slice())
    )
}

/// A host whose configuration is `toml`, on a folder of its own.
pub(crate) async fn host(folder: &Path, toml: &str) -> anyhow::Result<Stack> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let config = data.join("weir.toml");
    std::fs::write(&config, toml)?;
    let mut options = Options::new(&data);
    options.config = Some(config);
    Stack::start(options).await
}
