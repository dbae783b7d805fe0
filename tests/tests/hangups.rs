//! A caller that hangs up loses only the response. `cargo xtask crash --hang-ups` runs more rounds.

use weir_tests::{HangUpPlan, HangUps, Options, Stack, unplayed_routes};

#[expect(clippy::print_stdout, reason = "the test runner shows it when the test fails")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_hangs_up_halves_and_doubles_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = HangUpPlan {
        rounds: 80,
        seed: 20_261_127,
    };
    let mut hang_ups = HangUps::begin(plan, &folder.path().join("data")).await?;
    while hang_ups.has_more() {
        hang_ups.round().await?;
    }
    let figures = hang_ups.end().await?;
    println!("{figures:#?}");
    assert_eq!(figures.rounds, 80);
    assert!(figures.cut_off > 0, "no caller hung up: {figures:#?}");
    Ok(())
}

#[tokio::test]
async fn every_route_that_changes_something_is_hung_up_on() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let document = stack.api.get("/v1/openapi.json").await?.expect(200)?;
    assert_eq!(unplayed_routes(&document), Vec::<String>::new());
    Ok(())
}
