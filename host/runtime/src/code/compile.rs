//! Compiling, in a process of its own: a component that is slow or heavy to compile takes nothing with it but that process.
//!
//! The child is this same program, so that both sides agree on what code is. It gets the component on its standard input,
//! bounds itself before it reads that, has no environment and so no secret, and writes the code to its standard output. What
//! is wrong with the component it says on standard error, in the engine's words.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rlimit::Resource;
use wasmtime::Engine;
use weir_domain::limits;

use super::precompiled::MachineCode;
use crate::error::LoadError;
use crate::{engine, text};

/// Where components are compiled.
#[derive(Clone, Debug)]
pub(crate) enum Compiler {
    /// In this process.
    Here,
    /// By this program, asked to `compile`.
    Child(PathBuf),
}

/// The first argument by which a program is asked to be the compiler.
const VERB: &str = "compile";
/// What the child says of a component, at most.
const WORDS_BYTES: u64 = limits::LOG_LINE_BYTES as u64;
/// Out of processor time, and broken off for want of memory, as Linux numbers its signals (signal(7)).
const SIGXCPU: i32 = 24;
const SIGABRT: i32 = 6;

impl Compiler {
    /// Compiles a component. Blocks until that is done, or was given up.
    ///
    /// # Errors
    /// The engine's words if it is not valid; which bound it met if it takes too much.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8]) -> Result<MachineCode, LoadError> {
        match self {
            Self::Here => engine
                .precompile_component(bytes)
                .map(MachineCode)
                .map_err(|error| LoadError::Invalid {
                    detail: text::line(&format!("{error:#}"), limits::LOG_LINE_BYTES),
                }),
            Self::Child(program) => {
                let child = Command::new(program)
                    .arg(VERB)
                    .env_clear()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn();
                let ended = child.and_then(|child| attend(child, bytes));
                judge(ended.map_err(|error| LoadError::Compiler {
                    detail: format!("{} cannot be run as the compiler: {error}", program.display()),
                })?)
            }
        }
    }
}

/// What a child left behind.
struct Ended {
    status: ExitStatus,
    code: Vec<u8>,
    words: Vec<u8>,
    is_late: bool,
}

/// Feeds a child, reads what it says, and ends it if it takes too long.
fn attend(mut child: Child, bytes: &[u8]) -> io::Result<Ended> {
    let piped = || io::Error::other("a pipe is missing");
    let mut stdin = child.stdin.take().ok_or_else(piped)?;
    let stdout = child.stdout.take().ok_or_else(piped)?;
    let stderr = child.stderr.take().ok_or_else(piped)?;
    let child = Mutex::new(child);
    let kill = || child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|threads| {
        let kill = &kill;
        // Dropped however this ends, so that nobody waits for the watch.
        let done = done;
        let watch = threads.spawn(move || {
            let is_late = waiting.recv_timeout(limits::COMPILE_WALL) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                // It may have ended in this moment.
                let _ = kill();
            }
            is_late
        });
        threads.spawn(move || {
            // A child that ends before it has read all says why by its status.
            let _ = stdin.write_all(bytes);
        });
        let said = threads.spawn(move || {
            let mut words = Vec::new();
            let _ = stderr.take(WORDS_BYTES).read_to_end(&mut words);
            words
        });
        let mut code = Vec::new();
        let read = stdout.take(limits::COMPILED_BYTES + 1).read_to_end(&mut code);
        // Its end of the pipe is closed, or it wrote more than anybody reads: either way it has nothing more to do.
        if code.len() as u64 > limits::COMPILED_BYTES || read.is_err() {
            kill()?;
        }
        let status = wait(&child)?;
        drop(done);
        let broken = |_| io::Error::other("a thread broke off");
        Ok(Ended {
            status,
            code,
            words: said.join().map_err(broken)?,
            is_late: watch.join().map_err(broken)?,
        })
    })
}

/// The child's end. The lock is let go between two looks, so that the watch can end it.
fn wait(child: &Mutex<Child>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn judge(ended: Ended) -> Result<MachineCode, LoadError> {
    let too_much = |what: String| Err(LoadError::TooMuchToCompile { what });
    if ended.is_late {
        return too_much(format!("it took more than {} s", limits::COMPILE_WALL.as_secs()));
    }
    if ended.code.len() as u64 > limits::COMPILED_BYTES {
        return too_much(format!("it came to more than {} bytes of code", limits::COMPILED_BYTES));
    }
    match (ended.status.code(), ended.status.signal()) {
        (Some(0), _) => Ok(MachineCode(ended.code)),
        (Some(1), _) => Err(LoadError::Invalid {
            detail: text::line(&String::from_utf8_lossy(&ended.words), limits::LOG_LINE_BYTES),
        }),
        (_, Some(SIGXCPU)) => too_much(format!(
            "it took more than {} s of processor time",
            limits::COMPILE_CPU.as_secs()
        )),
        (_, Some(SIGABRT)) => too_much(format!(
            "it took more than {} bytes of memory",
            limits::COMPILE_MEMORY_BYTES
        )),
        _ => Err(LoadError::Compiler {
            detail: format!("the compiler's process ended with {}", ended.status),
        }),
    }
}

/// The child's side: bounds this process, compiles the component that `input` holds, and writes its code to `output`. A
/// process that meets one of its bounds is ended by the system.
///
/// # Errors
/// What is wrong with the component, or which pipe broke.
pub fn compile_here(cpu: Duration, mut input: impl Read, mut output: impl Write) -> Result<(), String> {
    let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let seconds = cpu.as_secs();
    // One second more until the end that names no reason.
    Resource::CPU
        .set(seconds, seconds + 1)
        .map_err(told("processor time"))?;
    let memory = limits::COMPILE_MEMORY_BYTES;
    Resource::AS.set(memory, memory).map_err(told("memory"))?;
    // What is left of a process that was ended holds nothing that anybody reads.
    Resource::CORE.set(0, 0).map_err(told("core"))?;
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(limits::COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(told("the component cannot be read"))?;
    let engine = engine::compiling().map_err(|error| format!("{error:#}"))?;
    let code = engine
        .precompile_component(&bytes)
        .map_err(|error| format!("{error:#}"))?;
    output.write_all(&code).map_err(told("the code cannot be written"))?;
    output.flush().map_err(told("the code cannot be written"))
}
