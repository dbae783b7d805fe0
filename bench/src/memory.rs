//! P6: resident memory of an idle Weir with a hundred thousand channels and ten connectors, and of each call in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use wasmparser::{Parser, Payload};
use weir_domain::limits;
use weir_tests::Binaries;

use crate::record::Record;
use crate::report::{Row, whole};
use crate::rig::{Rig, text};
use crate::start::Loader;

const CHANNELS: usize = 100_000;
/// Connectors besides TikTok's: the echo connector under names of its length.
const OTHERS: u8 = 9;
/// How long a host is idle before its memory is read.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let idle = idle().await?;
    let (call, guest) = in_flight().await?;
    Ok(Row::new("P6", "memory")
        .saw(format!(
            "{} channels, {} connectors",
            whole(CHANNELS as f64),
            OTHERS + 1
        ))
        .at_most("idle, MB", idle / 1e6, 150.0)
        .saw(format!("the guest's own memory {:.0} KiB", guest / 1024.0))
        .at_most(
            "a call in flight beyond the guest's memory, KiB",
            (call - guest) / 1024.0,
            256.0,
        ))
}

async fn idle() -> anyhow::Result<f64> {
    let mut rig = Rig::begin(false).await?;
    let echo = rig.stack.binaries().connector("echo")?;
    for n in 0..OTHERS {
        install(&rig, renamed(&echo, &format!("ech{n}"))?).await?;
    }
    rig.stack.stop_weir().await?;
    {
        let manifest = Arc::clone(Loader::start()?.load().await?.manifest());
        let record = Record::open(&rig.record(), manifest).await?;
        record.connect(CHANNELS).await?;
        record.store.close().await;
    }
    rig.stack.start_weir().await?;
    rig.stack.api.get("/v1/channels?limit=200").await?.expect(200)?;
    tokio::time::sleep(IDLE).await;
    let resident = rig.resident()?;
    rig.stack.stop().await?;
    Ok(resident)
}

/// The component under another name of the same length: replaced where it is text, and where the compiler encoded it as
/// a number.
fn renamed(component: &[u8], name: &str) -> anyhow::Result<Vec<u8>> {
    const OLD: [u8; 4] = *b"echo";
    let name: [u8; 4] = name
        .as_bytes()
        .try_into()
        .with_context(|| format!("{name:?} is not as long as the name it takes the place of"))?;
    let mut bytes = component.to_vec();
    replace(&mut bytes, &OLD, &name);
    replace(&mut bytes, &operand(OLD), &operand(name));
    Ok(bytes)
}

/// Four letters as the operand of `i32.const`: LEB128 (WebAssembly core specification, 5.2.2), which takes five bytes
/// for any.
fn operand(letters: [u8; 4]) -> [u8; 5] {
    let number = u32::from_le_bytes(letters);
    std::array::from_fn(|n| {
        let seven = (number >> (7 * n)) as u8 & 0x7f;
        if n < 4 { seven | 0x80 } else { seven }
    })
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(old.len()).position(|window| window == old) {
        at += found;
        bytes[at..at + old.len()].copy_from_slice(new);
    }
}

async fn install(rig: &Rig, bytes: Vec<u8>) -> anyhow::Result<()> {
    let api = &rig.stack.api;
    let request = api.request(reqwest::Method::POST, "/v1/connectors");
    let staged = api
        .send(request.header("content-type", "application/wasm").body(bytes))
        .await?
        .expect(201)?;
    let (name, version) = (text(&staged, "name")?, text(&staged, "version")?);
    let grants = json!({"grants": staged["wanted_grants"]});
    api.put(&format!("/v1/connectors/{name}/grants"), grants)
        .await?
        .expect(200)?;
    api.post(&format!("/v1/connectors/{name}/versions/{version}/promote"), json!({}))
        .await?
        .expect(200)?;
    Ok(())
}

/// The resident memory that each of many sends in flight adds, and the memory that the guest declares for itself.
async fn in_flight() -> anyhow::Result<(f64, f64)> {
    let rig = Rig::begin(true).await?;
    let calls = limits::SENDS_IN_FLIGHT;
    let conversations = rig.everybody_writes(calls).await?;
    tokio::time::sleep(IDLE).await;
    let before = rig.resident()?;
    let fault = json!({"on": "send", "fault": {"delay_ms": 15_000}, "times": calls});
    rig.stack.phone.order_fault(fault).await?;
    for conversation in &conversations {
        let id = text(conversation, "id")?;
        rig.stack.api.say(&id, "Held up on its way.").await?.expect(202)?;
    }
    // The most that is seen while they wait at the platform.
    let end = Instant::now() + Duration::from_secs(10);
    let mut most = before;
    while Instant::now() < end {
        most = most.max(rig.resident()?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.stack.stop().await?;
    let guest = declared(&Binaries::find()?.connector("tiktok")?)?;
    Ok(((most - before) / calls as f64, guest as f64))
}

/// The memory that a component's modules have from the beginning, in bytes.
fn declared(component: &[u8]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::MemorySection(memories) = payload? {
            for memory in memories {
                bytes += memory?.initial * 65_536;
            }
        }
    }
    ensure!(bytes > 0, "the component has no memory");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_changed_wherever_it_stands() -> anyhow::Result<()> {
        assert_eq!(renamed(b"an echo, echo", "ech1")?, b"an ech1, ech1");
        assert!(renamed(b"echo", "longer").is_err());
        Ok(())
    }
}
