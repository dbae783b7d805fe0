//! `weir nodes`: the hosts that use the database.

use super::Done;
use super::client::Client;
use super::output::Output;

pub(super) async fn run(client: &Client, output: &Output) -> Done {
    let nodes = client.get(client.at(&["v1", "nodes"])).await?;
    output.list(
        &nodes,
        &[
            ("NAME", "/name"),
            ("ID", "/id"),
            ("STATE", "/state"),
            ("VERSION", "/version"),
            ("STARTED", "/started_at"),
            ("LAST HEARTBEAT", "/last_beat_at"),
            ("DUTIES", "/duties"),
        ],
        "no nodes",
    );
    Ok(())
}
