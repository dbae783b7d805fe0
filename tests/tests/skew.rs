//! A wrong clock sends nothing twice and expires nothing early. `cargo xtask crash --skew` runs more clocks.

use weir_tests::skew;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_clocks_double_and_expire_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let figures = skew(&[8, -600], &folder.path().join("data")).await?;
    assert_eq!(
        (figures.skews, figures.sent, figures.answers_lost),
        (2, 10, 6),
        "{figures:#?}"
    );
    assert!(figures.breaches.is_empty(), "{figures:#?}");
    Ok(())
}
