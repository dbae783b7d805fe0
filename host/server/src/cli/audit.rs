//! `weir audit`: who changed what, and when.

use clap::Args;

use super::Done;
use super::client::Client;
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// How many changes, the newest first
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=200))]
    last: u8,
}

impl Audit {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        let mut url = client.at(&["v1", "audit-log"]);
        url.query_pairs_mut().append_pair("limit", &self.last.to_string());
        let changes = client.get(url).await?;
        let columns = [
            ("WHEN", "/at"),
            ("WHO", "/actor"),
            ("WHAT", "/action"),
            ("OF", "/subject"),
            ("HOW", "/detail"),
        ];
        output.list(&changes, &columns, "nobody changed anything yet");
        Ok(())
    }
}
