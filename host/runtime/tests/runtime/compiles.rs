//! Compiling in a process of its own: what the host makes of how that process ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use weir_egress::{Egress, NoBodies};
use weir_runtime::context::Host;
use weir_runtime::{LoadError, Runtime, Settings};

use crate::support::{Frozen, Notes, component};

/// The result of loading Echo with this script as the compiler.
async fn load_with(name: &str, script: &str) -> LoadError {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let host = Host {
        egress: Egress::new(weir_egress::Config::default()).unwrap(),
        bodies: Arc::new(NoBodies),
        clock: Arc::new(Frozen),
        observer: Arc::new(Notes::default()),
    };
    let settings = Settings {
        cache: None,
        compiler: Some(program),
        honeytoken_key: None,
    };
    let runtime = Runtime::start(settings, host).unwrap();
    runtime.load(component("echo")).await.unwrap_err()
}

#[tokio::test]
async fn c18_compiler_bound_fails_one_component() {
    let cases = [
        (
            "cpu",
            "kill -XCPU $$",
            "takes too much to compile: it took more than 60 s of processor time",
        ),
        (
            "memory",
            "kill -ABRT $$",
            "takes too much to compile: it took more than 2147483648 bytes of memory",
        ),
        (
            "flood",
            "exec cat /dev/zero",
            "takes too much to compile: it came to more than",
        ),
        (
            "killed",
            "kill -KILL $$",
            "could not be compiled: the compiler's process ended with signal: 9",
        ),
        (
            "refused",
            "cat >/dev/null; printf 'no\\033[31m good' >&2; exit 1",
            "not supported: no good",
        ),
        (
            "verb",
            "echo \"$*, ${HOME:-nothing of the environment}\" >&2; exit 1",
            "not supported: compile, nothing of the environment",
        ),
        ("nonsense", "cat >/dev/null; echo nonsense", "could not be compiled"),
        ("nothing", "exit 0", "could not be compiled"),
    ];
    for (name, script, why) in cases {
        let words = load_with(name, script).await.to_string();
        assert!(words.contains(why), "{name}: {words}");
        assert!(words.len() < 4096 && !words.contains('\u{1b}'), "{name}: {words}");
    }
}
