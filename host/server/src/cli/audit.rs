//! `weir audit`: the audit log.

use clap::Args;

use super::Done;
use super::client::Client;
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Number of entries to show, newest first
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=200))]
    last: u8,
}

impl Audit {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        let mut url = client.at(&["v1", "audit-log"]);
        url.query_pairs_mut().append_pair("limit", &self.last.to_string());
        let entries = client.get(url).await?;
        let columns = [
            ("TIME", "/at"),
            ("ACTOR", "/actor"),
            ("ACTION", "/action"),
            ("SUBJECT", "/subject"),
            ("DETAIL", "/detail"),
        ];
        output.list(&entries, &columns, "no entries");
        Ok(())
    }
}
