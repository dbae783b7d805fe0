//! A long steady load, and whether memory and open files of Weir grow under it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{Options, Reply, Stack, Subscriber};

/// Customers who write in turn.
const PEOPLE: usize = 200;
/// The platform's own rate; for more sends in a second it is lifted on both sides.
const PLATFORM_RATE: u32 = 10;
/// Calls of the API at once.
const CALLS: usize = 64;
/// The interval between two samples of the process.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The first part of the time is not evaluated: caches fill, and SQLite's log reaches its size.
const WARM_UP: f64 = 0.2;

/// The plan of a run.
#[derive(Clone, Copy, Debug)]
pub struct SoakPlan {
    /// How long.
    pub minutes: u64,
    /// Webhooks in a second.
    pub per_second: u32,
    /// Messages that the operator sends in a second.
    pub sends: u32,
    /// Whether every event is delivered to an endpoint.
    pub endpoint: bool,
}

/// One sample of Weir's process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// The time since the start.
    pub second: u64,
    /// Resident memory.
    pub resident_kib: u64,
    /// Open files.
    pub files: usize,
    /// Messages that customers wrote until then.
    pub written: u64,
    /// Webhooks that were delivered until then.
    pub delivered: u64,
    /// Messages that Weir accepted until then.
    pub accepted: u64,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Soaked {
    /// The samples.
    pub samples: Vec<Sample>,
    /// By how much the median resident memory of the last quarter exceeds that of the first quarter after the warm-up,
    /// in percent.
    pub drift_percent: f64,
    /// Most open files in the first quarter after the warm-up, and in the last.
    pub files: (usize, usize),
}

impl Soaked {
    /// The growth of a count per second, from the first sample to the last.
    pub fn in_a_second(&self, count: impl Fn(&Sample) -> u64) -> f64 {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return 0.0;
        };
        let seconds = (last.second - first.second).max(1);
        count(last).saturating_sub(count(first)) as f64 / seconds as f64
    }
}

/// Runs the load in `data`, and prints each sample.
///
/// # Errors
/// A program does not start, ends, or refuses.
pub async fn soak(plan: SoakPlan, data: &Path, mut show: impl FnMut(&Sample)) -> anyhow::Result<Soaked> {
    let mut options = Options::new(data);
    options.env.push(("WEIR_DELIVERY_ALLOW_PRIVATE".into(), "true".into()));
    options.env.push(("WEIR_LOG".into(), "warn".into()));
    let stack = Stack::start(options).await?;
    stack.install("tiktok").await?;
    if plan.sends > PLATFORM_RATE {
        stack.phone.set(json!({"qps": null})).await?;
        stack.put_app_with(json!({"queries_per_second": 1_000_000})).await?;
    } else {
        stack.put_app().await?;
    }
    stack.connect("acme_store").await?;
    let subscriber = Subscriber::forgetful(|_, _| Reply::Status(200)).await?;
    if plan.endpoint {
        let endpoint = json!({"url": subscriber.url()});
        stack.api.post("/v1/endpoints", endpoint).await?.expect(201)?;
    }
    let seconds = plan.minutes * 60;
    let load = json!({
        "account": "acme_store", "people": PEOPLE, "per_second": plan.per_second,
        "count": u64::from(plan.per_second) * seconds,
    });
    stack.phone.order("load", load).await?;
    let conversations = crate::until("conversations", async || {
        let page = stack.api.get("/v1/conversations?limit=100").await?.expect(200)?;
        let rows = page["data"].as_array().cloned().unwrap_or_default();
        let ids: Vec<String> = rows
            .iter()
            .filter_map(|row| row["id"].as_str().map(str::to_owned))
            .collect();
        Ok((ids.len() == 100).then_some(ids))
    })
    .await?;
    let process = stack
        .weir
        .as_ref()
        .and_then(crate::Program::id)
        .context("weir is not running")?;
    let (began, mut samples, mut accepted, mut sent) = (Instant::now(), Vec::new(), 0, 0_usize);
    let mut pace = tokio::time::interval(Duration::from_secs(1) / plan.sends);
    let mut look = tokio::time::interval(CHECK_INTERVAL);
    let mut calls: JoinSet<anyhow::Result<bool>> = JoinSet::new();
    while began.elapsed().as_secs() < seconds {
        tokio::select! {
            _ = pace.tick(), if calls.len() < CALLS => {
                sent += 1;
                let (api, conversation) = (stack.api.clone(), conversations[sent % conversations.len()].clone());
                calls.spawn(async move {
                    let answer = api.say(&conversation, &format!("answer {sent}")).await?;
                    ensure!(answer.status < 500, "a send is answered {} {:#}", answer.status, answer.body);
                    Ok(answer.status == 202)
                });
            }
            Some(answered) = calls.join_next() => accepted += u64::from(answered??),
            _ = look.tick() => {
                let load = stack.phone.look("load").await?;
                let (resident_kib, files) = process_of(process)?;
                let sample = Sample {
                    second: began.elapsed().as_secs(),
                    resident_kib,
                    files,
                    written: load["load"]["written"].as_u64().unwrap_or(0),
                    delivered: load["webhooks"]["delivered"].as_u64().unwrap_or(0),
                    accepted,
                };
                show(&sample);
                samples.push(sample);
            }
        }
    }
    stack.stop().await?;
    judged(samples)
}

fn judged(samples: Vec<Sample>) -> anyhow::Result<Soaked> {
    let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
    let quarter = warm.len() / 4;
    ensure!(quarter > 0, "too short for a result: {} samples", samples.len());
    let (first, last) = (&warm[..quarter], &warm[warm.len() - quarter..]);
    let most_files = |part: &[Sample]| part.iter().map(|sample| sample.files).max().unwrap_or(0);
    let (before, after) = (median(first), median(last));
    Ok(Soaked {
        drift_percent: (after - before) / before * 100.0,
        files: (most_files(first), most_files(last)),
        samples,
    })
}

fn median(samples: &[Sample]) -> f64 {
    let mut resident: Vec<u64> = samples.iter().map(|sample| sample.resident_kib).collect();
    resident.sort_unstable();
    resident[resident.len() / 2] as f64
}

/// Resident memory in KiB, and open files (Linux, proc(5)).
fn process_of(id: u32) -> anyhow::Result<(u64, usize)> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("weir is gone")?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .context("the process has no VmRSS")?;
    let files = std::fs::read_dir(format!("/proc/{id}/fd"))
        .context("weir is gone")?
        .count();
    Ok((resident, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(second: u64, resident_kib: u64) -> Sample {
        Sample {
            second,
            resident_kib,
            files: 20,
            written: 0,
            delivered: 0,
            accepted: 0,
        }
    }

    #[test]
    fn only_growth_after_warm_up_is_drift() {
        let steady = (0..20).map(|n| look(n, if n < 4 { 100 } else { 200 })).collect();
        assert!(judged(steady).is_ok_and(|soaked| soaked.drift_percent.abs() < 0.01));
        let growing = (0..20).map(|n| look(n, 1_000 + n * 50)).collect();
        assert!(judged(growing).is_ok_and(|soaked| soaked.drift_percent > 30.0));
        assert!(judged(vec![look(0, 1)]).is_err());
    }
}
