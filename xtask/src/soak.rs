//! `cargo xtask soak`: a long steady load, and whether Weir's memory and open files grow under it.

use anyhow::Context;
use weir_tests::SoakPlan;

use crate::{build, show};

/// Plays the soak test and shows each sample; as JSON, the samples are the only output.
pub(crate) fn run(plan: SoakPlan, json: bool) -> anyhow::Result<()> {
    let data = build::empty_folder("soak")?;
    let runtime = tokio::runtime::Runtime::new().context("the async runtime cannot be started")?;
    let soaked = runtime.block_on(weir_tests::soak(plan, &data, |sample| {
        show::note(&format!(
            "{:>5} s: {} KiB resident, {} files, {} webhooks accepted of {} written, {} responses accepted",
            sample.second, sample.resident_kib, sample.files, sample.delivered, sample.written, sample.accepted
        ));
    }))?;
    if json {
        anstream::println!("{}", serde_json::to_string(&soaked)?);
        return Ok(());
    }
    let (first, last) = soaked.files;
    anstream::println!(
        "R6 soak: {} minutes, {:.0} webhooks/s and {:.0} sends/s kept up of {} and {}, resident memory {:+.1} % after warm-up \
         (target within 5 %), open files {first} then {last}",
        plan.minutes,
        soaked.in_a_second(|look| look.delivered),
        soaked.in_a_second(|look| look.accepted),
        plan.per_second,
        plan.sends,
        soaked.drift_percent
    );
    Ok(())
}
