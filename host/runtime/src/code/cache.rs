//! Compiled components on disk, and why they may be trusted.
//!
//! Machine code from a file is only run if this host wrote it: each file begins with an HMAC-SHA-256 over the
//! component's digest and the code, under a key derived from the host's master key and from everything of the engine
//! that the code depends on. The file is read into memory first and verified there, so that it cannot change in
//! between. A file that fails the check is not an error but a reason to compile again.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use weir_domain::limits;

use super::precompiled::MachineCode;

type HmacSha256 = Hmac<Sha256>;

/// Bytes of the HMAC before the code.
const MAC_BYTES: usize = 32;

pub(crate) struct Cache {
    folder: PathBuf,
    key: HmacSha256,
    /// The engine's part of file names, so that two versions of the host can share a folder.
    engine: String,
}

/// The file is there, and this host did not write it.
#[derive(Debug)]
pub(crate) struct Tampered;

impl Cache {
    pub(crate) fn open(folder: PathBuf, master_key: &[u8; 32], engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut derived = Derived(mac(master_key).chain_update(b"weir: compiled components\0"));
        engine.precompile_compatibility_hash().hash(&mut derived);
        let key = derived.0.finalize().into_bytes();
        let key = mac(&key);
        let name = key.clone().chain_update(b"name").finalize().into_bytes();
        Ok(Self {
            folder,
            key,
            engine: hex::encode(&name[..8]),
        })
    }

    /// The code of the component with this digest; none if it is not cached.
    pub(crate) fn get(&self, digest: &str) -> Result<Option<MachineCode>, Tampered> {
        let Some(bytes) = self.read(digest) else {
            return Ok(None);
        };
        self.verify(digest, bytes).map(Some).ok_or(Tampered)
    }

    /// Stores a component's code. Written to a temporary file and renamed, so that a reader never sees a partial file.
    pub(crate) fn put(&self, MachineCode(code): &MachineCode, digest: &str) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let temporary = self.folder.join(format!("{digest}-{process}-{count}.new"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&self.mac(digest, code).finalize().into_bytes())?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(temporary, self.path(digest))
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", self.engine))
    }

    fn read(&self, digest: &str) -> Option<Vec<u8>> {
        let file = fs::File::open(self.path(digest)).ok()?;
        let mut bytes = Vec::new();
        let read = file.take(limits::COMPILED_BYTES + 1).read_to_end(&mut bytes).ok()?;
        (read as u64 <= limits::COMPILED_BYTES).then_some(bytes)
    }

    fn verify(&self, digest: &str, mut bytes: Vec<u8>) -> Option<MachineCode> {
        let code = bytes.split_off(bytes.len().min(MAC_BYTES));
        self.mac(digest, &code).verify_slice(&bytes).ok()?;
        Some(MachineCode(code))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> HmacSha256 {
        // The digest has a fixed length, so the boundary between the two is unambiguous.
        self.key.clone().chain_update(digest).chain_update(code)
    }
}

fn mac(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)")
}

/// Feeds what the engine hashes into the key.
struct Derived(HmacSha256);

impl Hasher for Derived {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Never called: the key is the MAC itself.
        0
    }
}
