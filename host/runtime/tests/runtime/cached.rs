//! The cache of compiled components: used if this host wrote it, never if it was modified.

use std::fs;
use std::path::PathBuf;

use weir_runtime::context::CodeSource;

use crate::support::{component, runtime_in, webhook};

/// The smallest component that compiles: what is flipped, cut and swapped is the file, whatever was compiled into it.
#[tokio::test]
async fn modified_cache_file_is_recompiled() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("touched");
    let _ = fs::remove_dir_all(&folder);
    let load = || async {
        let (runtime, notes) = runtime_in(folder.clone());
        let connector = runtime.load(component("echo")).await.unwrap();
        assert_eq!(connector.receive(&webhook("hi")).await.unwrap().len(), 1);
        notes.loaded.lock().unwrap()[0]
    };
    assert_eq!(load().await, CodeSource::Compiled);
    assert_eq!(load().await, CodeSource::Cached);
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&file).unwrap();

    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let touched = [
        ("a bit of the signature", flipped(0)),
        ("a bit of the code", flipped(good.len() / 2)),
        ("the last bit", flipped(good.len() - 1)),
        ("cut off", good[..good.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("without its signature", good[32..].to_vec()),
    ];
    for (what, bytes) in touched {
        fs::write(&file, bytes).unwrap();
        assert_eq!(load().await, CodeSource::CacheTampered, "{what}");
        assert_eq!(fs::read(&file).unwrap().len(), good.len(), "{what}: repaired");
    }
    assert_eq!(load().await, CodeSource::Cached);
}
