//! Compiles components in a child process: one that exhausts time or memory ends that process and nothing else.
//!
//! The child is the same program, so that both use the same engine. It reads the component from standard input after it
//! limited itself, has no environment and so no secret, and writes the code to standard output. What is wrong with the
//! component it writes to standard error, as the engine reports it.

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
    /// In a child process of this program, run with the argument `compile`.
    Child(PathBuf),
}

/// The argument that makes a program the compiler.
const VERB: &str = "compile";
/// How much of the child's standard error is read.
const ERROR_BYTES: u64 = limits::LOG_LINE_BYTES as u64;
/// Processor time exceeded, and aborted for lack of memory: signal numbers of Linux (signal(7)).
const SIGXCPU: i32 = 24;
const SIGABRT: i32 = 6;

impl Compiler {
    /// Compiles a component. Blocks until that is done, or a limit is reached.
    ///
    /// # Errors
    /// The engine's error if it is not valid; the limit that it exceeded if it takes too much.
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

/// The result of a child process.
struct Ended {
    status: ExitStatus,
    code: Vec<u8>,
    errors: Vec<u8>,
    is_late: bool,
}

/// Writes a child's input, reads its output, and kills it if it takes too long.
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
        // Dropped however this ends, so that the watchdog ends too.
        let done = done;
        let watch = threads.spawn(move || {
            let is_late = waiting.recv_timeout(limits::COMPILE_WALL) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                // It fails if the child has just ended.
                let _ = kill();
            }
            is_late
        });
        threads.spawn(move || {
            // If the child ends before it has read everything, its status shows why.
            let _ = stdin.write_all(bytes);
        });
        let errors = threads.spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.take(ERROR_BYTES).read_to_end(&mut text);
            text
        });
        let mut code = Vec::new();
        let read = stdout.take(limits::COMPILED_BYTES + 1).read_to_end(&mut code);
        // Either the pipe broke or the output is too large: in both cases the rest is not needed.
        if code.len() as u64 > limits::COMPILED_BYTES || read.is_err() {
            kill()?;
        }
        let status = wait(&child)?;
        drop(done);
        let broken = |_| io::Error::other("a thread panicked");
        Ok(Ended {
            status,
            code,
            errors: errors.join().map_err(broken)?,
            is_late: watch.join().map_err(broken)?,
        })
    })
}

/// Waits for the child's end. The lock is released between two checks, so that the watchdog can kill it.
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
            detail: text::line(&String::from_utf8_lossy(&ended.errors), limits::LOG_LINE_BYTES),
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

/// The child's side: limits this process, compiles the component in `input`, and writes its code to `output`. The
/// system ends a process that exceeds a limit.
///
/// # Errors
/// What is wrong with the component, or which pipe broke.
pub fn compile_here(cpu: Duration, mut input: impl Read, mut output: impl Write) -> Result<(), String> {
    let describe = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let seconds = cpu.as_secs();
    // One second more until SIGKILL, which does not name the limit.
    Resource::CPU
        .set(seconds, seconds + 1)
        .map_err(describe("processor time"))?;
    let memory = limits::COMPILE_MEMORY_BYTES;
    Resource::AS.set(memory, memory).map_err(describe("memory"))?;
    // A core dump of a process that exceeded a limit has no use.
    Resource::CORE.set(0, 0).map_err(describe("core"))?;
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(limits::COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(describe("the component cannot be read"))?;
    let engine = engine::compiling().map_err(|error| format!("{error:#}"))?;
    let code = engine
        .precompile_component(&bytes)
        .map_err(|error| format!("{error:#}"))?;
    output
        .write_all(&code)
        .map_err(describe("the code cannot be written"))?;
    output.flush().map_err(describe("the code cannot be written"))
}
