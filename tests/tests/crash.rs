//! Nothing is lost or duplicated by repeated power failures. `cargo xtask crash` runs more rounds.

use weir_tests::{Crash, Plan};

#[expect(clippy::print_stdout, reason = "the test runner shows it when the test fails")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_power_cuts_lose_nothing_and_double_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = Plan {
        nodes: None,
        rounds: 10,
        seed: 20_261_122,
    };
    println!("the seed is {}", plan.seed);
    let mut crash = Crash::begin(plan, &folder.path().join("data")).await?;
    while crash.has_more() {
        crash.round().await?;
    }
    let figures = crash.end().await?;
    println!("{figures:#?}");
    assert_eq!(figures.rounds, 10);
    assert!(
        figures.written > 12 && figures.accepted > 0,
        "there was no load: {figures:#?}"
    );
    Ok(())
}
