//! From the bytes of a stranger to a connector that can be called, or to the reason why not.
//!
//! In this order, so that each step may rely on the one before: size and form; how much there is to compile; the engine's own
//! validation and compilation; imports against the list of what a connector gets; what an instance needs; the shapes of
//! imports and exports; what it says of itself, asked with every import refused.

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

/// How the runtime is set up.
#[derive(Clone, Default)]
pub struct Settings {
    /// Where compiled components are kept; without, each load compiles.
    pub cache: Option<CacheSettings>,
    /// The program that compiles in a process of its own, with [`compile_here`](crate::compile_here) behind its verb
    /// `compile`; without, compiling is done in this process and nothing bounds it.
    pub compiler: Option<PathBuf>,
    /// The key that each connector's honeytoken is derived from; without it, none is planted.
    pub honeytoken_key: Option<[u8; 32]>,
}

/// Without the key.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("compiler", &self.compiler)
            .finish_non_exhaustive()
    }
}

/// Where compiled components are kept.
#[derive(Clone)]
pub struct CacheSettings {
    /// The folder; made if it is not there. Nobody but the host should write in it, and nothing bad follows if somebody does.
    pub folder: PathBuf,
    /// The host's master key, from which the cache's own is derived.
    pub master_key: [u8; 32],
}

impl std::fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheSettings")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Runs connectors. One for each process; cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<CallData>,
    cache: Option<Cache>,
    compiler: Compiler,
    honeytoken_key: Option<[u8; 32]>,
    host: Host,
    /// Instances alive at once.
    slots: Arc<Slots>,
    /// One compilation at a time: each uses every core by itself.
    compiling: Arc<Semaphore>,
}

impl Runtime {
    /// Starts the engine and the thread that keeps its time.
    ///
    /// # Errors
    /// The machine cannot run compiled WebAssembly, or the cache's folder cannot be made.
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

    /// Makes a connector of a component's bytes. Compiling is done off the async threads, one component at a time.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in words for the one who built it.
    pub async fn load(&self, bytes: Bytes) -> Result<Connector, LoadError> {
        check_form(&bytes)?;
        let digest = digest(&bytes);
        let component = self.ready(bytes, digest.clone()).await?;
        let sandbox = self.link(&component)?;
        let exports = Exports::find(&component, FUNCTIONS)?;
        Connector::introduce(sandbox, exports, digest, self.0.host.clone(), self.0.honeytoken_key).await
    }

    /// The component, from the cache or compiled.
    async fn ready(&self, bytes: Bytes, digest: String) -> Result<Component, LoadError> {
        // Never closed; and were it, compiling two at once would do no harm.
        let turn = Arc::clone(&self.0.compiling).acquire_owned().await;
        let started = Instant::now();
        let inner = self.0.clone();
        let name = digest.clone();
        // The turn ends with the compiler, and not with a caller that waits no longer.
        let compiled = tokio::task::spawn_blocking(move || {
            let readied = inner.ready(&bytes, &name);
            drop(turn);
            readied
        });
        let (component, how) = compiled.await.map_err(|_| LoadError::Compiler {
            detail: "the compiler broke off".to_owned(),
        })??;
        self.0.host.observer.on_loaded(&digest, how, started.elapsed());
        Ok(component)
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
                detail: words(&error),
            })?;
        Ok(Sandbox::new(pre, self.0.slots.clone()))
    }
}

impl Inner {
    fn ready(&self, bytes: &[u8], digest: &str) -> Result<(Component, CodeSource), LoadError> {
        let how = match self.cache.as_ref().map(|cache| cache.get(digest)) {
            Some(Ok(Some(code))) => match code.load(&self.engine) {
                Ok(component) => return Ok((component, CodeSource::Cached)),
                // Code of this host that does not load was made by an engine that is another all the same.
                Err(_) => CodeSource::Compiled,
            },
            Some(Err(_)) => {
                tracing::error!("The cache held something for {digest} that this host did not put there");
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
            tracing::warn!("The compiled form of {digest} is not kept: {error}");
        }
        Ok((component, how))
    }
}

/// SHA-256, lower-case hex.
fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn words(error: &wasmtime::Error) -> String {
    text::line(&format!("{error:#}"), limits::LOG_LINE_BYTES)
}

fn compiler(error: &wasmtime::Error) -> LoadError {
    LoadError::Compiler { detail: words(error) }
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

    /// A runtime whose compiler waits until somebody writes into the pipe, and then fails.
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
