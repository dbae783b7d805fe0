//! P7: the time from the start of the process to the first 200 of `/readyz` on a large database, and of loading a
//! connector that was compiled before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use weir_domain::time::Timestamp;
use weir_egress::{Egress, NoBodies};
use weir_runtime::context::{CallEnd, CallObserver, Clock, Host, Refused};
use weir_runtime::{CacheSettings, Connector, Runtime, Settings};
use weir_tests::Binaries;

use crate::load::{Connection, address};
use crate::record::{self, Record};
use crate::report::{Row, median, whole};
use crate::rig::{MASTER_KEY, Rig, folder};

/// Conversations, and messages of each: a million in all.
const CONVERSATIONS: usize = 10_000;
const EACH: u32 = 100;
/// Starts; the middle one counts.
const STARTS: usize = 5;
/// Loads; the middle one counts.
const LOADS: usize = 25;

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let mut rig = Rig::begin(false).await?;
    rig.stack.stop_weir().await?;
    let runtime = Loader::start()?;
    let manifest = Arc::clone(runtime.load().await?.manifest());
    let path = rig.record();
    {
        let record = Arc::new(Record::open(&path, manifest).await?);
        let channels = record.connect(1).await?;
        record.everybody_writes(&channels, CONVERSATIONS).await?;
        record.store.close().await;
    }
    record::multiply(&path, EACH - 1)?;
    let messages = record::messages(&path)?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(ready(&mut rig).await?);
        rig.stack.stop_weir().await?;
    }
    let mut loads = Vec::new();
    for _ in 0..LOADS {
        let started = Instant::now();
        runtime.load().await?;
        loads.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    rig.stack.sandbox.stop().await?;
    Ok(Row::new("P7", "start")
        .saw(format!("{} messages", whole(messages as f64)))
        .at_most("ready after, s", median(&starts), 1.0)
        .at_most("loading a compiled connector, ms", median(&loads), 5.0))
}

/// Starts Weir and polls until it is ready; the seconds from before the start.
async fn ready(rig: &mut Rig) -> anyhow::Result<f64> {
    let started = Instant::now();
    rig.stack.start_weir().await?;
    let address = address(rig.origin())?.to_owned();
    let mut connection = Connection::open(&address).await?;
    while connection
        .exchange(b"GET /readyz HTTP/1.1\r\nhost: weir\r\n\r\n")
        .await?
        != 200
    {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(60), "not ready after a minute");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// A runtime separate from Weir's, with the TikTok connector's bytes and a cache of its own.
pub(crate) struct Loader {
    runtime: Runtime,
    bytes: Bytes,
    _cache: tempfile::TempDir,
}

impl Loader {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let cache = folder()?;
        let settings = Settings {
            cache: Some(CacheSettings {
                folder: cache.path().to_owned(),
                master_key: MASTER_KEY,
            }),
            compiler: None,
            honeytoken_key: None,
        };
        let host = Host {
            egress: Egress::new(weir_egress::Config::default()).context("no way out")?,
            bodies: Arc::new(NoBodies),
            clock: Arc::new(System),
            observer: Arc::new(NoObserver),
        };
        Ok(Self {
            runtime: Runtime::start(settings, host)?,
            bytes: Binaries::find()?.connector("tiktok")?.into(),
            _cache: cache,
        })
    }

    pub(crate) async fn load(&self) -> anyhow::Result<Connector> {
        Ok(self.runtime.load(self.bytes.clone()).await?)
    }
}

struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        record::now()
    }
}

struct NoObserver;

impl CallObserver for NoObserver {
    fn on_call_end(&self, _: &CallEnd<'_>) {}
    fn on_refusal(&self, _: &Refused<'_>) {}
}
