//! Loads a connector from untrusted bytes, or returns why it cannot.
//!
//! The order matters, each step relies on the one before: size and form; the amount of code; the engine's validation
//! and compilation; the imports, against the list of those that are allowed; the resources of an instance; the types of
//! imports and exports; the manifest, from a call of `describe` in which every import is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use weir_domain::limits;

use crate::call::data::CallData;
use crate::call::limits::Slots;
use crate::call::sandbox::Sandbox;
use crate::code::{Cache, Compiler};
use crate::connector::Connector;
use crate::context::{CodeSource, Host};
use crate::error::LoadError;
use crate::interface::exports::Exports;
use crate::interface::functions::FUNCTIONS;
use crate::{engine, imports, text};

mod checks;

use checks::{check_code, check_form, check_resources};

/// Settings of the runtime.
#[derive(Clone, Default)]
pub struct Settings {
    /// The cache of compiled components; without it, each load compiles.
    pub cache: Option<CacheSettings>,
    /// A program that calls [`compile_here`](crate::compile_here) when its first argument is `compile`: components are
    /// compiled in a child process of it. Without it they are compiled in this process, without a limit on time and
    /// memory.
    pub compiler: Option<PathBuf>,
    /// The key that each connector's honeytoken is derived from; without it, none is planted.
    pub honeytoken_key: Option<[u8; 32]>,
}

/// Without the keys.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

/// The cache of compiled components.
#[derive(Clone)]
pub struct CacheSettings {
    /// The folder; created if it does not exist. Only the host should write to it; a file that it did not write is
    /// ignored.
    pub folder: PathBuf,
    /// The host's master key, from which the cache's key is derived.
    pub master_key: [u8; 32],
}

impl std::fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheSettings")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Loads and runs connectors. One per process; cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<CallData>,
    cache: Option<Cache>,
    compiler: Compiler,
    honeytoken_key: Option<[u8; 32]>,
    host: Host,
    /// Bounds the number of instances.
    slots: Arc<Slots>,
    /// One compilation at a time: each uses all cores.
    compiling: Arc<Semaphore>,
}

impl Runtime {
    /// Starts the engine and its epoch thread.
    ///
    /// # Errors
    /// The machine cannot run compiled WebAssembly, or the cache's folder cannot be created.
    pub fn start(settings: Settings, host: Host) -> Result<Self, LoadError> {
        let engine = engine::start().map_err(|error| compiler(&error))?;
        let linker = imports::linker(&engine).map_err(|error| compiler(&error))?;
        let cache = settings
            .cache
            .map(|settings| Cache::open(settings.folder, &settings.master_key, &engine))
            .transpose()
            .map_err(|error| LoadError::Compiler {
                detail: format!("the cache's folder cannot be used: {error}"),
            })?;
        Ok(Self(Arc::new(Inner {
            engine,
            linker,
            cache,
            compiler: settings.compiler.map_or(Compiler::Here, Compiler::Child),
            honeytoken_key: settings.honeytoken_key,
            host,
            slots: Arc::new(Slots::of_process()),
            compiling: Arc::new(Semaphore::new(1)),
        })))
    }

    /// Loads a component. Compilation runs on a blocking thread, one component at a time.
    ///
    /// # Errors
    /// The first problem found, described for the connector's author.
    pub async fn load(&self, bytes: Bytes) -> Result<Connector, LoadError> {
        check_form(&bytes)?;
        let (component, digest) = self.ready(bytes).await?;
        let sandbox = self.link(&component)?;
        let exports = Exports::find(&component, FUNCTIONS)?;
        Connector::describe(sandbox, exports, digest, self.0.host.clone(), self.0.honeytoken_key).await
    }

    /// The compiled component, from the cache or the compiler, and the digest of its bytes.
    async fn ready(&self, bytes: Bytes) -> Result<(Component, String), LoadError> {
        // The semaphore is never closed; if it were, compiling two at once would do no harm.
        let turn = Arc::clone(&self.0.compiling).acquire_owned().await;
        let started = Instant::now();
        let inner = self.0.clone();
        // Released when the compiler ends, even if the caller stopped waiting.
        let compiled = tokio::task::spawn_blocking(move || {
            let digest = digest(&bytes);
            let readied = inner.ready(&bytes, &digest);
            drop(turn);
            readied.map(|(component, how)| (component, how, digest))
        });
        let (component, how, digest) = compiled.await.map_err(|_| LoadError::Compiler {
            detail: "the compiler panicked".to_owned(),
        })??;
        self.0.host.observer.on_loaded(&digest, how, started.elapsed());
        Ok((component, digest))
    }

    fn link(&self, component: &Component) -> Result<Sandbox, LoadError> {
        let engine = &self.0.engine;
        for (name, _) in component.component_type().imports(engine) {
            if !imports::is_allowed(name) {
                return Err(LoadError::Import {
                    import: text::line(name, limits::NAME_BYTES),
                });
            }
        }
        check_resources(component)?;
        let pre = self
            .0
            .linker
            .instantiate_pre(component)
            .map_err(|error| LoadError::Interface {
                interface: "import".to_owned(),
                detail: message(&error),
            })?;
        Ok(Sandbox::new(pre, self.0.slots.clone()))
    }
}

impl Inner {
    fn ready(&self, bytes: &[u8], digest: &str) -> Result<(Component, CodeSource), LoadError> {
        let how = match self.cache.as_ref().map(|cache| cache.get(digest)) {
            Some(Ok(Some(code))) => match code.load(&self.engine) {
                Ok(component) => return Ok((component, CodeSource::Cached)),
                // Code that this host wrote and that does not load was made by another version of the engine.
                Err(_) => CodeSource::Compiled,
            },
            Some(Err(_)) => {
                tracing::error!("The cached code of {digest} was not written by this host; compiling again");
                CodeSource::CacheTampered
            }
            None | Some(Ok(None)) => CodeSource::Compiled,
        };
        check_code(bytes)?;
        let code = self.compiler.compile(&self.engine, bytes)?;
        let component = code.load(&self.engine).map_err(|error| compiler(&error))?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(&code, digest)
        {
            tracing::warn!("The compiled code of {digest} was not cached: {error}");
        }
        Ok((component, how))
    }
}

/// SHA-256, lower-case hex.
fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn message(error: &wasmtime::Error) -> String {
    text::line(&format!("{error:#}"), limits::LOG_LINE_BYTES)
}

fn compiler(error: &wasmtime::Error) -> LoadError {
    LoadError::Compiler { detail: message(error) }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::os::unix::fs::PermissionsExt;
    use std::pin::pin;
    use std::process::Command;
    use std::task::Poll;

    use weir_domain::time::Timestamp;
    use weir_egress::{Egress, NoBodies};

    use super::checks::{COMPONENT, MAGIC};
    use super::*;
    use crate::context::{Clock, NoObserver};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }
    }

    /// A runtime whose compiler waits until the test writes into the pipe, and then fails.
    fn waiting(folder: &std::path::Path) -> Runtime {
        let made = Command::new("mkfifo").arg(folder.join("gate")).status();
        assert!(made.expect("mkfifo is there").success());
        let compiler = folder.join("compiler");
        let script = format!("#!/bin/sh\nread line < {}\nexit 1\n", folder.join("gate").display());
        std::fs::write(&compiler, script).expect("a file");
        std::fs::set_permissions(&compiler, PermissionsExt::from_mode(0o700)).expect("a program");
        let host = Host {
            egress: Egress::new(weir_egress::Config::default()).expect("a way out"),
            bodies: Arc::new(NoBodies),
            clock: Arc::new(Still),
            observer: Arc::new(NoObserver),
        };
        let settings = Settings {
            compiler: Some(compiler),
            ..Settings::default()
        };
        Runtime::start(settings, host).expect("a runtime")
    }

    #[tokio::test]
    async fn one_compiler_runs_though_callers_leave() {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = waiting(folder.path());
        let component = Bytes::from([MAGIC, COMPONENT].concat());
        for _ in 0..8 {
            let mut loading = pin!(runtime.load(component.clone()));
            let polled = std::future::poll_fn(|context| Poll::Ready(loading.as_mut().poll(context).is_pending()));
            assert!(polled.await);
        }
        assert_eq!(
            runtime.0.compiling.available_permits(),
            0,
            "the compiler of the first still runs"
        );
        let turn = Arc::clone(&runtime.0.compiling).acquire_owned();
        std::fs::write(folder.path().join("gate"), "go on\n").expect("the compiler reads it");
        drop(turn.await.expect("its turn ends with it"));
    }
}
