//! A component that exceeds the compiler's limits ends the process that compiles it, and nothing else.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::Connected;
use tokio::io::AsyncWriteExt;

type Result = anyhow::Result<()>;

/// The signal of Linux for exceeded processor time (signal(7)).
const SIGXCPU: i32 = 24;
/// Variables of the function, and bytes of its body: less than half of what the host lets a function have.
const LOCALS: u32 = 200;
const BODY_BYTES: usize = 200_000;

/// A number as WebAssembly writes it: LEB128 (WebAssembly core specification, Binary format, Integers).
fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.extend((value & 0x7f | 0x80).to_le_bytes().first());
        value >>= 7;
    }
    bytes.extend(value.to_le_bytes().first());
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("it is small");
    [&[id][..], &number(length), content].concat()
}

/// A component with one function that is small, valid, and takes its compiler minutes: thousands of loops, one after
/// another, over the same variables, so that each of them may come from any.
fn bomb() -> Vec<u8> {
    let mut body = [number(1), number(LOCALS), vec![0x7f]].concat();
    let mut turn: u32 = 0;
    while body.len() < BODY_BYTES {
        let (from, to) = ((turn * 13 + 5) % LOCALS + 1, (turn * 31 + 3) % LOCALS + 1);
        // loop; local.get from; i32.const; i32.add; local.tee to; br_if 0; end
        body.extend([0x03, 0x40, 0x20]);
        body.extend(number(from));
        body.push(0x41);
        body.extend(number(turn % 64));
        body.extend([0x6a, 0x22]);
        body.extend(number(to));
        body.extend([0x0d, 0x00, 0x0b]);
        turn += 1;
    }
    // The last of them is the answer.
    body.push(0x20);
    body.extend(number(LOCALS));
    body.push(0x0b);
    let length = number(u32::try_from(body.len()).expect("it is small"));
    let types = section(1, &[&number(1)[..], &[0x60, 1, 0x7f, 1, 0x7f]].concat());
    let functions = section(3, &[number(1), number(0)].concat());
    let code = section(10, &[number(1), length, body].concat());
    let module = [b"\0asm\x01\0\0\0".to_vec(), types, functions, code].concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figure is for the person who runs this")]
async fn c18_compile_bomb_ends_while_webhooks_flow() -> Result {
    let weir = Connected::begin().await?;
    let mut compiler = weir.stack.binaries().command("weir");
    compiler.args(["compile", "--cpu-seconds", "1"]).env_clear();
    let compiler = compiler.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut compiling = compiler.spawn()?;
    let mut input = compiling.stdin.take().expect("it was asked for");
    input.write_all(&bomb()).await?;
    drop(input);
    let compiling = compiling.wait_with_output();
    tokio::pin!(compiling);
    let (mut answered, mut longest) = (0, Duration::ZERO);
    let ended = loop {
        let body = weir.text_webhook("C+1==", &format!("m{answered}"), "meanwhile").await?;
        let started = Instant::now();
        tokio::select! {
            ended = &mut compiling => break ended?,
            status = weir.webhook(&body, 0) => assert_eq!(status?, 200),
        }
        answered += 1;
        longest = longest.max(started.elapsed());
    };
    println!("c18: while the bomb was compiled, {answered} webhooks were answered, the slowest in {longest:?}");
    assert_eq!(ended.status.signal(), Some(SIGXCPU), "{ended:?}");
    assert!(ended.stdout.is_empty(), "no code came of it");
    assert!(answered > 0);
    Ok(())
}
