//! P2: signed webhooks in a second, each committed before its 200.

use std::path::Path;

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

/// Measures this build against the bare handler, and against another build of Weir if one is given.
pub(crate) async fn measure(against: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let rig = Rig::begin(false).await?;
    let other = match against {
        Some(weir) => Some(Rig::begin_with(false, Some(weir)).await?),
        None => None,
    };
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
    let others = match &other {
        Some(other) => Some(Customers {
            path: weirs.path,
            business: other.business()?,
            people: PEOPLE,
        }),
        None => None,
    };
    let neighbors = other.as_ref().zip(others.as_ref());
    // Conversations begin, caches warm.
    drive(rig.origin(), weirs.write(0, 2 * PEOPLE), CONNECTIONS).await?;
    drive(bare.origin(), bares.write(0, 2 * PEOPLE), CONNECTIONS).await?;
    if let Some((other, others)) = neighbors {
        drive(other.origin(), others.write(0, 2 * PEOPLE), CONNECTIONS).await?;
    }
    let (mut with_weir, mut with_other, mut with_bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let from = 2 * PEOPLE + round * WEBHOOKS;
        let in_a_second = |took: std::time::Duration| WEBHOOKS as f64 / took.as_secs_f64();
        with_weir.push(in_a_second(
            drive(rig.origin(), weirs.write(from, WEBHOOKS), CONNECTIONS).await?,
        ));
        if let Some((other, others)) = neighbors {
            with_other.push(in_a_second(
                drive(other.origin(), others.write(from, WEBHOOKS), CONNECTIONS).await?,
            ));
        }
        with_bare.push(in_a_second(
            drive(bare.origin(), bares.write(from, WEBHOOKS), CONNECTIONS).await?,
        ));
    }
    // Every answered webhook is stored.
    let messages = crate::record::messages(&rig.record())?;
    anyhow::ensure!(
        messages == (2 * PEOPLE + ROUNDS * WEBHOOKS) as u64,
        "{messages} messages are in the database"
    );
    let (weir, handler) = (median(&with_weir), median(&with_bare));
    bare.kill().await?;
    rig.stack.stop().await?;
    let mut rows = vec![
        Row::new("P2", "inbound")
            .saw(format!("{}/s", whole(weir)))
            .saw(format!("bare handler {}/s", whole(handler)))
            .at_least("ratio", weir / handler, 0.60),
    ];
    if let Some(other) = other {
        other.stack.stop().await?;
        let before = median(&with_other);
        rows.push(
            Row::new("P2b", "inbound against")
                .saw(format!("{}/s", whole(weir)))
                .saw(format!("the other build {}/s", whole(before)))
                .at_least("ratio", weir / before, crate::NOT_WORSE),
        );
    }
    Ok(rows)
}
