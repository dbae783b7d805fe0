//! P1: the cost of the WebAssembly sandbox. One `receive` of a real webhook in a fresh instance with all limits on,
//! compared with bare wasmtime with the same component and limits; and the whole inbound path, compared with the same
//! connector compiled natively.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::task::JoinSet;
use weir_domain::inbound::InboundEvent;
use weir_domain::limits;
use weir_domain::signature::{RawWebhook, verify};
use weir_runtime::Connector;
use weir_store::Source;
use weir_tests::Binaries;

use crate::load::Customers;
use crate::record::{Record, now};
use crate::report::{Row, median, whole};
use crate::rig::folder;
use crate::start::Loader;

/// Calls of one round, and rounds of each kind, in turn; the middle one counts.
const CALLS: usize = 4_000;
const ROUNDS: usize = 7;
/// Webhooks of one round of the whole path, and so many at once.
const WEBHOOKS: usize = 10_000;
const AT_ONCE: usize = 64;
const PEOPLE: usize = 1_000;

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let connector = Arc::new(Loader::start()?.load().await?);
    let bare = Arc::new(bare::Bare::compile(&Binaries::find()?.connector("tiktok")?)?);
    let webhook = Arc::new(webhooks(0, 1)?.remove(0));
    let [mut ours, mut ours_twice, mut theirs] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        ours.push(called(&connector, &webhook, 1).await?);
        theirs.push(bare.called(&webhook, CALLS).await?);
        ours_twice.push(called(&connector, &webhook, 2).await?);
    }
    let (one, two, bare) = (median(&ours), median(&ours_twice), median(&theirs));
    let (with_guest, natively) = whole_path(&connector).await?;
    Ok(Row::new("P1", "boundary")
        .saw(format!("a call {:.1} µs", 1e6 / one))
        .saw(format!("bare wasmtime {:.1} µs", 1e6 / bare))
        .saw(format!(
            "inbound {}/s, natively {}/s",
            whole(with_guest),
            whole(natively)
        ))
        .at_most("times the bare call", bare / one, 1.25)
        .at_least("two threads to one", two / one, 1.5)
        .at_least("throughput beside native", with_guest / natively, 0.90))
}

/// Calls in a second, by so many threads.
async fn called(connector: &Arc<Connector>, webhook: &Arc<RawWebhook>, threads: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..threads {
        let (connector, webhook) = (Arc::clone(connector), Arc::clone(webhook));
        tasks.spawn(async move {
            // Verified once: the signature is no part of the boundary's cost.
            let webhook = weir_domain::signature::VerifiedWebhook::from_dead_letter((*webhook).clone());
            for _ in 0..CALLS {
                black_box(connector.receive(&webhook).await?);
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((CALLS * threads) as f64 / started.elapsed().as_secs_f64())
}

/// Texts from customers as they come in.
fn webhooks(from: usize, count: usize) -> anyhow::Result<Vec<RawWebhook>> {
    let customers = Customers {
        path: "/hooks/tiktok",
        business: "shop_0",
        people: PEOPLE,
    };
    let raw = |request: Vec<u8>| {
        let request = String::from_utf8(request)?;
        let (head, body) = request.split_once("\r\n\r\n").context("a request without a body")?;
        let headers = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(RawWebhook {
            method: "POST".to_owned(),
            query: String::new(),
            headers: headers.collect(),
            body: body.as_bytes().to_vec().into(),
        })
    };
    customers.write(from, count).into_iter().map(raw).collect()
}

/// Webhooks in a second from the proof to the commit: through the guest, and through the same code in this program,
/// which is given what the guest's events become for nothing.
async fn whole_path(connector: &Arc<Connector>) -> anyhow::Result<(f64, f64)> {
    let folder = folder()?;
    let open = async |name: &str| {
        let record = Record::open(&folder.path().join(name), Arc::clone(connector.manifest())).await?;
        record.connect(1).await?;
        anyhow::Ok(Arc::new(record))
    };
    let (guests, natives) = (open("guest.db").await?, open("native.db").await?);
    let (mut with_guest, mut natively) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let raws = webhooks(round * WEBHOOKS, WEBHOOKS)?;
        let mut known = Vec::with_capacity(raws.len());
        for raw in &raws {
            let webhook = weir_domain::signature::VerifiedWebhook::from_dead_letter(raw.clone());
            known.push((raw.clone(), connector.receive(&webhook).await?));
        }
        with_guest.push(
            in_a_second(&guests, raws, |record, raw| {
                let connector = Arc::clone(connector);
                async move {
                    let webhook = proven(&record, raw)?;
                    let events = connector.receive(&webhook).await?;
                    keep(&record, events).await
                }
            })
            .await?,
        );
        natively.push(
            in_a_second(&natives, known, |record, (raw, events)| async move {
                let webhook = proven(&record, raw)?;
                black_box(weir_tiktok::receive::receive(&webhook.webhook().body).map_err(anyhow::Error::msg)?);
                keep(&record, events).await
            })
            .await?,
        );
    }
    guests.store.close().await;
    natives.store.close().await;
    Ok((median(&with_guest), median(&natively)))
}

fn proven(record: &Record, raw: RawWebhook) -> anyhow::Result<weir_domain::signature::VerifiedWebhook> {
    Ok(verify(
        record.policies.manifest().webhook.as_ref(),
        &record.app.secrets,
        raw,
        now(),
    )?)
}

async fn keep(record: &Record, events: Vec<InboundEvent>) -> anyhow::Result<()> {
    let recorded = record
        .store
        .record_inbound(&record.app, events, Source::Webhook, &record.policies, now())
        .await?;
    anyhow::ensure!(recorded.stored == 1, "a webhook was not stored: {recorded:?}");
    Ok(())
}

async fn in_a_second<W, F>(
    record: &Arc<Record>,
    work: Vec<W>,
    step: impl Fn(Arc<Record>, W) -> F,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let count = work.len();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for one in work {
        if tasks.len() >= AT_ONCE
            && let Some(done) = tasks.join_next().await
        {
            done??;
        }
        tasks.spawn(step(Arc::clone(record), one));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// Wasmtime as in its guide, with the same bounds on time, memory and copies. It shares no code with the runtime that
/// is compared with it: the cost of shared code would not be measured.
mod bare {
    use std::time::Instant;

    use wasmtime::component::{Component, HasSelf, Linker};
    use wasmtime::{
        Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits,
        StoreLimitsBuilder, UpdateDeadline,
    };

    use super::{RawWebhook, black_box, limits};

    wasmtime::component::bindgen!({
        path: "../wit/v0.2",
        world: "weir:connector/connector@0.2.0",
        exports: { default: async },
    });

    use exports::weir::connector::inbound::Webhook;
    use weir::connector::{clock, http, log, state, types};

    /// The store's data: the limits of the call. No import is called.
    struct Call(StoreLimits);

    impl types::Host for Call {}
    impl http::Host for Call {
        fn fetch(&mut self, _: http::Request) -> Result<http::Response, http::Error> {
            Err(http::Error::Refused(String::new()))
        }
    }
    impl state::Host for Call {
        fn get(&mut self, _: String) -> Result<Option<Vec<u8>>, state::Error> {
            Err(state::Error::Refused(String::new()))
        }
        fn set(&mut self, _: String, _: Vec<u8>) -> Result<(), state::Error> {
            Err(state::Error::Refused(String::new()))
        }
        fn delete(&mut self, _: String) -> Result<(), state::Error> {
            Err(state::Error::Refused(String::new()))
        }
        fn keys(&mut self, _: String) -> Result<Vec<String>, state::Error> {
            Err(state::Error::Refused(String::new()))
        }
    }
    impl log::Host for Call {
        fn write(&mut self, _: log::Level, _: String) {}
    }
    impl clock::Host for Call {
        fn now(&mut self) -> u64 {
            0
        }
    }

    /// A compiled component, ready to be instantiated.
    pub(super) struct Bare {
        engine: Engine,
        pre: ConnectorPre<Call>,
    }

    impl Bare {
        pub(super) fn compile(component: &[u8]) -> anyhow::Result<Self> {
            let mut pool = PoolingAllocationConfig::new();
            pool.total_component_instances(limits::INSTANCES)
                .total_core_instances(limits::INSTANCES * limits::CORE_INSTANCES)
                .total_memories(limits::INSTANCES)
                .total_tables(limits::INSTANCES * limits::GUEST_TABLES)
                .total_stacks(limits::INSTANCES)
                .max_core_instances_per_component(limits::CORE_INSTANCES)
                .max_tables_per_component(limits::GUEST_TABLES)
                .max_memory_size(limits::GUEST_MEMORY_BYTES)
                .table_elements(limits::GUEST_TABLE_ELEMENTS)
                .max_unused_warm_slots(limits::WARM_SLOTS)
                .linear_memory_keep_resident(limits::WARM_MEMORY_BYTES)
                .async_stack_keep_resident(limits::WARM_STACK_BYTES)
                .table_keep_resident(limits::WARM_TABLE_BYTES)
                .pagemap_scan(Enabled::Auto);
            let mut config = Config::new();
            config
                .epoch_interruption(true)
                .concurrency_support(false)
                .max_wasm_stack(limits::GUEST_STACK_BYTES)
                .async_stack_size(limits::CALL_STACK_BYTES)
                .memory_reservation(limits::GUEST_MEMORY_BYTES as u64)
                .memory_guard_size(limits::GUEST_GUARD_BYTES)
                .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            let engine = Engine::new(&config)?;
            let clock = engine.weak();
            std::thread::spawn(move || {
                while let Some(engine) = clock.upgrade() {
                    engine.increment_epoch();
                    std::thread::sleep(limits::EPOCH_TICK);
                }
            });
            let mut linker = Linker::new(&engine);
            Connector::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
            let pre = ConnectorPre::new(linker.instantiate_pre(&Component::from_binary(&engine, component)?)?)?;
            Ok(Self { engine, pre })
        }

        /// Calls in a second, one after the other.
        pub(super) async fn called(&self, raw: &RawWebhook, calls: usize) -> anyhow::Result<f64> {
            let webhook = Webhook {
                method: raw.method.clone(),
                query: raw.query.clone(),
                headers: raw
                    .headers
                    .iter()
                    .map(|(name, value)| types::Header {
                        name: name.clone(),
                        value: value.clone(),
                    })
                    .collect(),
                body: raw.body.to_vec(),
            };
            let started = Instant::now();
            for _ in 0..calls {
                let bounds = StoreLimitsBuilder::new()
                    .memory_size(limits::GUEST_MEMORY_BYTES)
                    .build();
                let mut store = Store::new(&self.engine, Call(bounds));
                store.limiter(|call| &mut call.0);
                store.set_hostcall_fuel(limits::HOSTCALL_FUEL);
                store.set_max_component_handles(limits::GUEST_HANDLES);
                store.set_epoch_deadline(1);
                store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
                let instance = self.pre.instantiate_async(&mut store).await?;
                let events = instance
                    .weir_connector_inbound()
                    .call_receive(&mut store, &webhook)
                    .await?;
                black_box(events.map_err(anyhow::Error::msg)?);
            }
            Ok(calls as f64 / started.elapsed().as_secs_f64())
        }
    }
}
