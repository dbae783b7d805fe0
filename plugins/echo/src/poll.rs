//! Polling Echo for events, if it cannot call the operator.
//!
//! ```json
//! {"events":[{"type":"message","id":"m1",…}],"next":"17","wait_ms":2000}
//! ```
//! The events are those of a webhook. `next` is the cursor of the next poll.

use weir_sdk::abilities::polling::Batch;
use weir_sdk::types::{Channel, Failure};
use weir_sdk::{Repeat, http};

use crate::{manifest, receive};

/// The interval if Echo returns none.
const WAIT_MS: u64 = 5_000;

/// The events since `cursor`.
///
/// # Errors
/// The cursor and interval that follow from Echo's response.
pub fn poll(channel: &Channel, cursor: Option<String>) -> Result<Batch, Failure> {
    let request = http::get(manifest::UPDATES_URL);
    let request = match &cursor {
        Some(cursor) => request.query("after", cursor),
        None => request,
    };
    let answer = request
        .fetch()
        .map_err(|error| Failure::without_answer(&error, Repeat::Safe))?;
    let mut updates = match (answer.status, answer.json()) {
        (200, Some(updates)) => updates,
        (401, _) => return Err(Failure::reauthorize("Echo refused the token")),
        (status, _) => {
            let reason = format!("Echo answered {status}");
            return Err(Failure::retry("platform_unavailable", reason, None));
        }
    };
    let events = receive::events(&channel.platform_id, &mut updates);
    Ok(Batch {
        events,
        cursor: updates.filled_text("next").or(cursor),
        wait_ms: updates.number("wait_ms").unwrap_or(WAIT_MS),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use weir_sdk::testkit::Host;
    use weir_sdk::types::Verdict;

    use super::*;

    fn channel() -> Channel {
        Channel {
            platform_id: "acme".into(),
            username: None,
            country: None,
            settings: "{}".into(),
            callback_url: String::new(),
        }
    }

    #[test]
    fn updates_come_with_next_cursor() {
        let host = Host::at(0);
        let update_page = r#"{"events":[{"type":"arrival","id":"1","conversation":"c","contact":{"id":"u"}}],
                       "next":"17","wait_ms":2000}"#;
        host.answer("GET", manifest::UPDATES_URL, 200, update_page);
        let batch = poll(&channel(), None).unwrap();
        assert_eq!((batch.cursor.as_deref(), batch.wait_ms), (Some("17"), 2_000));
        assert_eq!(batch.events[0].channel_platform_id, "acme");
        // A response without a cursor leaves the cursor unchanged.
        host.answer("GET", manifest::UPDATES_URL, 200, "{}");
        let batch = poll(&channel(), batch.cursor).unwrap();
        assert_eq!((batch.cursor.as_deref(), batch.wait_ms), (Some("17"), WAIT_MS));
        assert!(batch.events.is_empty());
        assert_eq!(host.requests()[1].url, format!("{}?after=17", manifest::UPDATES_URL));
    }

    #[test]
    fn unreadable_page_is_requested_twice() {
        let host = Host::at(0);
        host.answer("GET", manifest::UPDATES_URL, 502, "<html>");
        assert_eq!(poll(&channel(), None).unwrap_err().verdict, Verdict::Retry(None));
        host.answer("GET", manifest::UPDATES_URL, 401, "");
        assert_eq!(poll(&channel(), None).unwrap_err().verdict, Verdict::Reauthorize);
    }
}
