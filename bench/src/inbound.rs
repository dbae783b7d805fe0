//! P2: signed webhooks in a second, each committed before its 200.

use weir_tests::Program;

use crate::load::{Customers, drive};
use crate::report::{Row, median, whole};
use crate::rig::Rig;

/// Webhooks of one round.
const WEBHOOKS: usize = 10_000;
/// Connections that send them.
const CONNECTIONS: usize = 64;
/// Rounds of each, in turn; the middle one counts.
const ROUNDS: usize = 5;
/// People who write.
const PEOPLE: usize = 1_000;

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let rig = Rig::begin(false).await?;
    let data = rig.folder.path().join("bare");
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["bare-handler", "--data"]).arg(&data);
    let bare = Program::start("the bare handler", &mut command, &rig.folder.path().join("bare.log")).await?;
    let (weirs, bares) = (
        Customers {
            path: "/hooks/tiktok",
            business: rig.business()?,
            people: PEOPLE,
        },
        Customers {
            path: "/hooks/bare",
            business: rig.business()?,
            people: PEOPLE,
        },
    );
    // Conversations begin, caches warm.
    drive(rig.origin(), weirs.write(0, 2 * PEOPLE), CONNECTIONS).await?;
    drive(bare.origin(), bares.write(0, 2 * PEOPLE), CONNECTIONS).await?;
    let (mut with_weir, mut with_bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let from = 2 * PEOPLE + round * WEBHOOKS;
        let in_a_second = |took: std::time::Duration| WEBHOOKS as f64 / took.as_secs_f64();
        with_weir.push(in_a_second(
            drive(rig.origin(), weirs.write(from, WEBHOOKS), CONNECTIONS).await?,
        ));
        with_bare.push(in_a_second(
            drive(bare.origin(), bares.write(from, WEBHOOKS), CONNECTIONS).await?,
        ));
    }
    // What was answered is there.
    let messages = crate::record::messages(&rig.record())?;
    anyhow::ensure!(
        messages == (2 * PEOPLE + ROUNDS * WEBHOOKS) as u64,
        "{messages} messages are in the record"
    );
    let (weir, handler) = (median(&with_weir), median(&with_bare));
    bare.kill().await?;
    rig.stack.stop().await?;
    Ok(Row::new("P2", "inbound")
        .saw(format!("{}/s", whole(weir)))
        .saw(format!("bare handler {}/s", whole(handler)))
        .at_least("ratio", weir / handler, 0.60))
}
